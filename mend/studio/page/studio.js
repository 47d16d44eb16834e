// The page of the studio: a picture, what is marked on it, and what became of it.
import { Batch } from "./batch.js";
import { Compare } from "./compare.js";
import { $, make, seconds } from "./dom.js";
import { Easel } from "./easel.js";
import { Gestures } from "./gestures.js";
import { Marks } from "./marks.js";
import { openPages, pageKey, token } from "./pages.js";
import { Pointing } from "./pointing.js";
import { Recovery } from "./recovery.js";
import { sentence, sentences } from "./request.js";
import { Runs } from "./runs.js";
import { Scores } from "./scores.js";
import { Server } from "./server.js";
import { remember } from "./settings.js";
import { Steps } from "./steps.js";
import { Store } from "./store.js";
import { Tasks } from "./tasks.js";
import { Viewport } from "./viewport.js";

const body = document.body;
const server = new Server();
const viewport = new Viewport(devicePixelRatio);
export const marks = new Marks($("overlay"), viewport); // for the tests, which count what is marked
const easel = new Easel(viewport, marks);
const tasks = new Tasks(update);
const task = (what) => tasks.run(what);
const steps = new Steps();
const watched = [new Runs($("trainings")), new Scores($("scores"))];
let limits = {};
// A picture or a result: {id, name, width, height, kind, notes, file, shown}, where it came from: {from, root}, ids; of a result
// also {model, seconds, coverage, number}; what was marked when it was left: draft; and its {key, session} on the server.
let versions = [];
let current = null; // the version that is open
let selected = null; // the object that clicks refine: {points, box, base}
let compared = false; // whether Compare shows results, not the picture
let before = null; // {version, runs, score}: what was compared
let recovery = null;

const compare = new Compare({
  marks, task, asked, filled, reveal, view, update,
  kept: () => (before = { version: current, runs: marks.packed, score: $("score").checked }),
  preview: (key) => server.at(`/pictures/${key}/preview`),
  picture: () => current,
  request: (path, options, stage) => server.ask(path, options, stage),
  open: async (facts, options) => (await add(facts, null, options), await load(facts)),
  show(what) {
    compared = what === "compared";
    if (!compared && before.version !== current) task(() => turn(before.version, before.runs)).then(() => ($("score").checked = before.score));
    update();
  },
});

const batch = new Batch(server);

// --- Versions ------------------------------------------------------------------------------------------------------

const version = (id) => versions.find((one) => one.id === id);
const urls = new WeakMap(); // of files

function url(file) {
  if (!urls.has(file)) urls.set(file, URL.createObjectURL(file));
  return urls.get(file);
}

// A file that the browser can show: the version's own; or, of a format that browsers do not know, what the server makes of it.
async function showable(one, options, stage) {
  if (one.shown) return;
  const image = Object.assign(new Image(), { src: url(one.file) });
  const known = await image.decode().then(() => image.naturalWidth === one.width && image.naturalHeight === one.height, () => false);
  if (known && one.file.type !== "image/gif") { // which would move
    one.shown = one.file;
    return;
  }
  await server.askOf(one, "/full", options, stage);
  one.shown = await (await server.fetch(one, "full", options)).blob();
}

const draw = (one) => easel.show(url(one.shown), url(version(one.root).shown), [one.width, one.height]);

// Show a version, with what is marked on it. Unless it can be shown nothing changes.
async function go(to, runs = to.draft) {
  await draw(to);
  if (current) current.draft = marks.packed;
  const same = current && current.width === to.width && current.height === to.height;
  if (current?.root !== to.root) {
    compared = false;
    compare.leave();
  }
  current = to;
  selected = null;
  const longest = Math.max(to.width, to.height);
  $("grow").max = Math.max(12, Math.round(longest / 40));
  if (!same) marks.open(to.width, to.height);
  marks.packed = runs;
  describe();
  update();
}

// The same as a step.
async function turn(to, runs) {
  const [from, had] = [current, current && marks.packed];
  await go(to, runs);
  if (from && from !== to) steps.add({ undo: () => go(from, had), redo: () => go(to, runs) });
  notify("");
  more(false);
  update();
}

function describe() {
  const { name, width, height, kind } = current;
  $("name").textContent = name;
  document.title = `${name} – mend studio`;
  $("facts").textContent = [`${width} × ${height}`, kind, ...version(current.root).notes].join(" · ");
  $("notes").textContent = current.from ? sentences(current.notes) : "";
  $("download").hidden = $("mask-download").hidden = !current.from;
  if (!current.from) return;
  const stem = (one) => one.replace(/\.\w+$/, "");
  $("download").href = url(current.file);
  $("download").download = filledName(current);
  $("mask-download").href = server.at(`/pictures/${current.key}/mask`);
  $("mask-download").download = `${stem(filledName(current))}-mask.png`;
}

// PHOTO-filled.jpg, PHOTO-filled-2.jpg, …: no two results of a picture are saved under one name.
function filledName({ root, number, suffix }) {
  return `${version(root).name.replace(/\.\w+$/, "")}-filled${number > 1 ? `-${number}` : ""}${suffix}`;
}

function listed(one, what) {
  const thumbnail = make("canvas", { width: 128, height: 128 });
  const image = Object.assign(new Image(), { src: url(one.shown) });
  const cover = Math.max(128 / one.width, 128 / one.height);
  const [width, height] = [one.width * cover, one.height * cover];
  image.decode().then(() => thumbnail.getContext("2d").drawImage(image, (128 - width) / 2, (128 - height) / 2, width, height), () => {});
  const back = () => task(async () => (view("fill"), one === current || (await turn(one))));
  const button = make("button", { type: "button", title: what, ariaLabel: what, onclick: back }, thumbnail);
  button.dataset.version = one.id;
  $("items").append(button);
}

const told = (one) => (one.from ? `Result ${one.number} of ${version(one.root).name}, filled by ${one.model}` : `Opened: ${one.name}`);

async function admit(one, options, stage) {
  await showable(one, options, stage);
  versions.push(one);
  listed(one, told(one));
}

// --- A picture -----------------------------------------------------------------------------------------------------

// A picture of which the server has told the facts; its file comes from the server where the page has none.
async function add(facts, file, options, stage) {
  const { picture: key, name, width, height, kind, notes } = facts;
  const one = { id: token(), key, session: server.session, name, width, height, kind, notes };
  one.root = one.id;
  one.file = file ?? (await (await server.fetch(one, "source", options)).blob());
  await admit(one, options, stage);
  await turn(one, null);
}

function openFile(file) {
  if (["runs", "batch"].includes(body.dataset.view)) view("fill");
  return task(async (options, stage) => {
    fits(file);
    stage("sending the picture");
    await add(await server.send(file.name || "pasted.png", file, options, stage), file, options, stage);
  });
}

function fits(file) {
  if (!limits.megabytes) throw new Error("The studio had no room for this page. Reload the page to try again.");
  if (file.size > limits.megabytes * 1e6)
    throw new Error(`${file.name} is larger than ${limits.megabytes} MB, the most that the studio takes. Use “mend fill” for it.`);
}

function openExample(name) {
  return task(async (options, stage) => {
    const facts = await server.ask(`/examples/${name}`, options, stage);
    await add(facts, null, options, stage);
    marks.outline(facts.outline);
  });
}

for (const id of ["choose", "another"]) {
  $(id).onchange = () => {
    if ($(id).files[0]) openFile($(id).files[0]);
    $(id).value = "";
  };
}
addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file) openFile(file);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  body.classList.add("dragging");
});
addEventListener("dragleave", (event) => event.relatedTarget || body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  body.classList.remove("dragging");
  if (event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
});

// --- Marks ---------------------------------------------------------------------------------------------------------

const tool = () => document.querySelector("[name=tool]:checked").value;

function choose(name) {
  document.querySelector(`[name=tool][value=${name}]`).checked = true;
  sliders();
}

function sliders() {
  marks.tool = body.dataset.tool = tool();
  if (marks.tool !== "object") selected = null;
  marks.size = +$("size").value;
  marks.grow = +$("grow").value;
  $("size-said").textContent = $("size").value;
  $("grow-said").textContent = `${$("grow").value} px`;
  marks.draw();
  showCursor();
  update();
}
for (const id of ["size", "grow"]) $(id).oninput = sliders;
for (const radio of document.querySelectorAll("[name=tool]")) radio.onchange = sliders;

function resize(by) {
  $("size").value = Math.round(+$("size").value + by);
  $("size").dispatchEvent(new Event("change"));
  sliders();
}

const pointing = new Pointing($("box"), viewport);
const gestures = new Gestures($("overlay"), viewport, {
  moves: () => easel.comparing || Boolean(tasks.running),
  step: () => (marks.tool === "object" ? 40 : marks.size),
  begin: (point) => (marks.tool === "object" ? pointing.to(point) : marks.begin(point)),
  extend: (point) => (marks.tool === "object" ? pointing.to(point) : marks.extend(point)),
  cancel: () => (marks.tool === "object" ? pointing : marks).cancel(),
  end(event) {
    if (marks.tool === "object") select(pointing.end(), event);
    else if (marks.end()) atOnce();
  },
  resize,
  show: showCursor,
  hide: () => ($("cursor").style.display = "none"),
});

function showCursor() {
  if (!gestures?.point) return;
  const [left, top] = gestures.point;
  $("cursor").classList.toggle("pointer", !gestures.keyboard);
  const side = `${marks.tool === "object" ? 16 : marks.size}px`;
  Object.assign($("cursor").style, { display: "block", width: side, height: side, left: `${left}px`, top: `${top}px` });
}

marks.onstep = (step) => {
  steps.add(step);
  selected = null;
  notify("");
};
marks.onchange = () => {
  if (marks.empty) $("score").checked = false; // it was true of what was marked
  update();
};
$("clear").onclick = () => marks.clear();

const undo = (way) => task(async () => (await steps[way](), (selected = null)));
$("undo").onclick = () => undo("undo");
$("redo").onclick = () => undo("redo");

function atOnce() {
  if ($("at-once").checked && body.dataset.view === "fill" && !marks.empty) fill();
}

async function load({ image }) {
  marks.clear();
  await marks.add(image);
}
$("load").onchange = () => {
  const file = $("load").files[0];
  $("load").value = "";
  if (file) task(async (options, stage) => {
    fits(file);
    stage("sending the mask");
    await load(await server.askOf(current, "/mask", { ...options, body: file }, stage));
  });
};

// --- Objects -------------------------------------------------------------------------------------------------------

// A click or a box marks an object; further clicks add to it what is missing, and take away what is too much.
function select({ box, point }, event) {
  const kind = event?.shiftKey ? "add" : event?.altKey ? "take" : document.querySelector("[name=click]:checked").value;
  const refined = point && kind !== "new" ? selected : null;
  return task(async (options, stage) => {
    const points = [...(refined?.points ?? []), ...(point ? [{ x: point[0], y: point[1], add: kind !== "take" || !refined }] : [])];
    const wanted = { points, box: box ?? refined?.box ?? null };
    const base = refined?.base ?? marks.bytes.slice();
    const found = await server.askOf(current, "/select", { ...options, body: JSON.stringify(wanted) }, stage);
    await marks.add(found.image, base);
    selected = { ...wanted, base };
    update();
  }).then(() => selected && atOnce());
}

// --- Filling -------------------------------------------------------------------------------------------------------

// What to fill, as it is marked now.
function asked() {
  return { grow: marks.grow, mask: marks.png() };
}

// A version filled: a version to be.
async function filled(input, wanted, options, stage) {
  const facts = await server.askOf(input, "/fill", { ...options, body: JSON.stringify(wanted) }, stage);
  return { ...facts, input, model: wanted.model };
}

// The version that a result is. Its file is fetched, so that nothing more is needed of the server.
async function receive({ input, picture: key, model, coverage, seconds, notes }, options, stage) {
  const one = { id: token(), key, session: server.session, from: input.id, root: input.root, model, coverage, seconds, notes };
  const answer = await server.fetch(one, "result", options);
  const suffix = /\.\w+(?="?$)/.exec(answer.headers.get("Content-Disposition"))?.[0] ?? "";
  const number = 1 + versions.filter((other) => other.from && other.root === one.root).length;
  const { name, width, height, kind } = input;
  Object.assign(one, { file: await answer.blob(), suffix, number, width, height, kind });
  one.name = name.replace(/\.\w+$/, "") + suffix;
  await admit(one, options, stage);
  return one;
}

function fill() {
  if (why()) return say();
  return task(async (options, stage) => {
    const input = current;
    const progress = (said, share, message = {}) => {
      if (message.preview) easel.glimpse(server.at(`/pictures/${message.picture}/preview`));
      stage(said, share, message);
    };
    try {
      const found = await filled(input, { ...asked(), model: $("model").value }, options, progress);
      await turn(await receive(found, options, stage), null);
    } finally {
      await draw(current); // after a glimpse
    }
  });
}
$("fill").onclick = fill;

// A result of Compare, to go on with.
async function reveal(found, options, stage) {
  await turn(await receive(found, options, stage), null);
}

$("download").onclick = () => {
  current.saved = true;
  keep();
};
addEventListener("beforeunload", (event) => {
  if (current?.from && !current.saved) event.preventDefault(); // the browser asks
});

// --- What is kept --------------------------------------------------------------------------------------------------

function keep() {
  if (!recovery || !current) return;
  const state = { versions: versions.map((one) => ({ ...one })), current: current.id, runs: marks.packed, grow: marks.grow };
  recovery.keep(state).catch(() => {
    recovery = null;
    notify("This browser has no room to keep your work: download it before you leave.");
  });
}

function notify(text) {
  $("notice").textContent = text;
}

async function recover() {
  if (compare.linked !== null) sessionStorage.removeItem("page"); // what a link shows takes no other work's place
  const store = await Store.open();
  recovery = new Recovery(store, await pageKey());
  const kept = await recovery.load();
  if (kept) return restore(kept).then(() => recovery.forget(null));
  const left = navigator.locks && (await recovery.latest(await openPages()));
  const found = left && (await recovery.load(left));
  if (!found) return recovery.forget(null);
  $("left-name").textContent = found.versions.find((one) => one.id === found.current).name;
  $("left-off").hidden = false;
  $("resume").onclick = () => task(async () => (await restore(found), await recovery.forget(left)));
  $("forget").onclick = () => (($("left-off").hidden = true), recovery.forget(left));
}

async function restore(state) {
  const { current: id, runs, grow } = state;
  recovery.adopt(state);
  versions = state.versions;
  for (const one of versions) listed(one, told(one));
  $("grow").value = grow;
  await go(version(id), runs);
  sliders();
  const results = versions.filter((one) => one.from).length;
  const parts = [marks.empty ? "" : "your marks", results ? `${results} result${results > 1 ? "s" : ""}` : ""].filter(Boolean);
  notify(`Your work is back${parts.length ? `, with ${parts.join(" and ")}` : ""}.`);
}

// --- Keys ----------------------------------------------------------------------------------------------------------

const KEYS = {
  "[": () => resize(-Math.max(1, +$("size").value / 8)),
  "]": () => resize(Math.max(1, +$("size").value / 8)),
  b: () => choose("brush"),
  e: () => choose(tool() === "eraser" ? "brush" : "eraser"),
  o: () => choose("object"),
  c: () => current.from && easel.compare(!easel.comparing),
  h: () => easel.hold(true),
  0: () => viewport.fit(),
  1: () => viewport.zoomTo(viewport.actual),
  "+": () => viewport.zoomBy(1.5),
  "=": () => viewport.zoomBy(1.5),
  "-": () => viewport.zoomBy(1 / 1.5),
  Enter: () => fill(),
};

addEventListener("keydown", (event) => {
  if (event.key === "?" && !event.target.closest("select, dialog")) return $("help").showModal();
  if (!current || $("help").open || ["runs", "batch"].includes(body.dataset.view)) return;
  const control = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (control && ["z", "y"].includes(key)) {
    event.preventDefault();
    undo(key === "y" || event.shiftKey ? "redo" : "undo");
  } else if (!control || event.getModifierState("AltGraph")) {
    const own = event.target.closest(key === "Enter" ? "button, a, input, select, summary" : "select");
    if (own || body.dataset.state !== "marking" || !(key in KEYS) || (key === "Enter" && body.dataset.view !== "fill")) return;
    event.preventDefault();
    KEYS[key]();
  }
});
addEventListener("keyup", (event) => event.key.toLowerCase() === "h" && easel.hold(false));
$("keys-shown").onclick = () => $("help").showModal();

// --- What is seen --------------------------------------------------------------------------------------------------

function view(name) {
  body.dataset.view = name;
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (name === "runs") watch();
  update();
}
// A training that runs, or an evaluation that ends, shows up by itself.
const watch = () =>
  Promise.all(watched.map((part) => part.refresh())).then(
    () => ($("trouble").textContent = ""),
    (error) => ($("trouble").textContent = sentence(error.message)),
  );
setInterval(() => $("runs").hidden || watch(), 5000);
for (const button of document.querySelectorAll("nav button")) button.onclick = () => view(button.dataset.view);

// On a phone, what is not under the thumb.
function more(open) {
  body.classList.toggle("more", open);
  $("more-shown").setAttribute("aria-expanded", open);
}
$("more-shown").onclick = () => more(!body.classList.contains("more"));
$("overlay").addEventListener("pointerdown", () => more(false));

// Why there is nothing to fill; nothing where there is.
function why() {
  if (marks.empty) return marks.tool === "object" ? "Click the object, or draw a box around it." : "First paint over what should go.";
  return "";
}

function say() {
  const share = (100 * marks.count) / marks.bytes.length;
  const result = current?.from && marks.empty && !tasks.running;
  $("download").classList.toggle("second", !result);
  const done = result && `Done: ${(100 * current.coverage).toFixed(1)} % filled by ${current.model} in ${seconds(current.seconds)}.`;
  $("why").textContent = tasks.running ? "" : done || why() || `${share < 0.1 ? "Under 0.1" : share.toFixed(1)} % of the picture is marked.`;
}

function update() {
  const name = body.dataset.view;
  const apart = ["runs", "batch"].includes(name); // from the picture that is open
  const state = (body.dataset.state = !current ? "empty" : name === "compare" && compared ? "compared" : "marking");
  $("runs").hidden = name !== "runs";
  $("batch").hidden = name !== "batch";
  $("welcome").hidden = apart || state !== "empty";
  $("easel").hidden = apart || state !== "marking";
  $("grid").hidden = apart || state !== "compared";
  $("look").hidden = !current?.from;
  const busy = Boolean(tasks.running);
  $("undo").disabled = busy || !steps.done.length;
  $("redo").disabled = busy || !steps.undone.length;
  $("clear").disabled = busy || marks.empty;
  $("fill").setAttribute("aria-disabled", busy || Boolean(why()));
  say();
  compare.update(busy || marks.empty);
  $("history").hidden = versions.length === 0;
  for (const button of $("items").children) {
    if (button.dataset.version === current?.id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  keep();
}

// --- The start -----------------------------------------------------------------------------------------------------

async function start() {
  limits = await server.open();
  const offered = Object.entries(limits.models);
  $("model").replaceChildren(...offered.map(([name, what]) => new Option(`${name}: ${what}`, name)));
  compare.offer(offered);
  batch.offer(offered);
  $("examples").replaceChildren(
    ...limits.examples.map((name) => {
      const image = make("img", { src: `/examples/${name}`, alt: `Example: ${name}` });
      return make("button", { type: "button", onclick: () => openExample(name) }, image);
    }),
  );
  for (const id of ["size", "at-once"]) remember($(id));
  sliders();
  await recover().catch(() => (recovery = null)); // a browser that keeps nothing
  update();
  body.dataset.ready = "true";
  server.alive(); // an open page gives way to no other, and says so twice in the time for which that holds
  setInterval(() => server.alive(), 240_000);
  await compare.follow();
}
addEventListener("pagehide", (event) => event.persisted || server.close());
start().catch((error) => tasks.say(error));
