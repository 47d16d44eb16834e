// The page of the studio: a picture, what is marked on it, and what became of it.
import { request, sentence } from "./request.js";
import { $, make } from "./dom.js";
import { Marks } from "./marks.js";
import { Runs } from "./runs.js";
import { Scores } from "./scores.js";
import { Slider } from "./slider.js";

const body = document.body;
const marks = new Marks($("overlay"), $("cursor"));
const slider = new Slider();
const watched = [new Runs($("trainings")), new Scores($("scores"))];
const shown = { fill: "marking", compare: "marking" }; // what each view shows of the picture: its marks, or what became of it
let session, limits = {};
let picture = null; // facts of the picture that is open
let result = null; // the entry of the history that was shown last
const entries = []; // of the history: pictures, and results {picture, input, model, seconds, marked: {bytes, grow, loaded}}
const drafts = new Map(); // what was marked on pictures when another was opened, by their keys
let loaded = null; // the key of a mask file that the marks are, which the server has at full size
let comparison = null; // what a link is to show
let running = null; // the AbortController of the task at work

// --- Asking the server ---------------------------------------------------------------------------------------------

const at = (path = "") => `/sessions/${session}/pictures${path}`;
const preview = (key) => at(`/${key}/preview`);

const BUSY = "One thing at a time: wait until this is done, or cancel it.";

function say(error) {
  $("error").textContent = sentence(error.message);
  $("error").scrollIntoView({ block: "nearest" });
}

// One thing at a time, with its stage and seconds shown, and a way to stop it; what goes wrong is one sentence.
async function task(what) {
  if (running) return say(new Error(BUSY));
  running = new AbortController();
  const start = performance.now();
  $("error").textContent = "";
  body.setAttribute("aria-busy", "true");
  $("fill").disabled = $("compare").disabled = true;
  const tick = () => {
    const passed = (performance.now() - start) / 1000;
    $("progress").hidden = passed < 0.3;
    $("seconds").textContent = `${passed.toFixed(0)} s`;
  };
  const clock = setInterval(tick, 100);
  try {
    const stage = (said, share) => {
      const percent = share === undefined ? "…" : `${Math.floor(100 * share)} %`;
      $("stage-said").textContent = `${said[0].toUpperCase()}${said.slice(1)} ${percent}`;
      $("progress").classList.toggle("measured", share !== undefined);
      $("progress").style.setProperty("--share", share ?? 0);
    };
    stage("working");
    await what({ signal: running.signal }, stage);
    if ($("error").textContent === BUSY) $("error").textContent = "";
  } catch (error) {
    if (error.name !== "AbortError") say(error);
  } finally {
    clearInterval(clock);
    running = null;
    $("progress").hidden = true;
    body.removeAttribute("aria-busy");
    update();
  }
}
$("cancel").onclick = () => running?.abort();

// --- A picture -----------------------------------------------------------------------------------------------------

async function show(facts) {
  const src = preview(facts.picture);
  await Object.assign(new Image(), { src }).decode().catch(() => {
    throw new Error("The picture is no longer here. Open it again.");
  });
  if (picture) drafts.set(picture.picture, kept());
  $("photo").src = src;
  await $("photo").decode();
  picture = facts;
  comparison = null;
  address();
  $("name").textContent = facts.name;
  const notes = facts.notes.length ? ` · ${facts.notes.join(", ")}` : "";
  $("facts").textContent = `${facts.width} × ${facts.height} · ${facts.kind}${notes}`;
  marks.open($("photo").naturalWidth, $("photo").naturalHeight, facts.width / $("photo").naturalWidth);
  const longest = Math.max(facts.width, facts.height);
  $("grow").max = Math.max(12, Math.round(longest / 40));
  $("size").max = Math.max(40, Math.round(longest / 5));
  $("size").value = Math.round(longest / 16);
  $("grow").value = 0;
  shown.fill = shown.compare = "marking";
  sliders();
  if (drafts.has(facts.picture)) mark(drafts.get(facts.picture));
  update();
}

// A picture that came from outside.
async function add(facts) {
  await show(facts);
  listed(facts, `Opened: ${facts.name}`, turn);
}

// Go on marking a picture.
async function turn(facts) {
  if (picture.picture !== facts.picture) await show(facts);
  shown.fill = "marking";
  update();
}

function openFile(file) {
  if (body.dataset.view === "runs") view("fill");
  return task(async (options, stage) => {
    stage("sending the picture");
    await add(await send(at(`?name=${encodeURIComponent(file.name || "pasted.png")}`), file, options, stage));
  });
}

function send(url, file, options, stage) {
  const most = limits.megabytes;
  if (file.size > most * 1e6) throw new Error(`${file.name} is larger than ${most} MB, the most that the studio takes. Use “mend fill” for it.`);
  return request(url, { ...options, body: file }, stage);
}

function openExample(name) {
  return task(async (options, stage) => {
    const facts = await request(`/sessions/${session}/examples/${name}`, options, stage);
    await add(facts);
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

function sliders() {
  marks.tool = document.querySelector("[name=tool]:checked").value;
  body.dataset.tool = marks.tool;
  $("size").disabled = marks.tool === "object";
  marks.size = +$("size").value;
  marks.grow = +$("grow").value;
  $("size-said").textContent = `${$("size").value} px`;
  $("grow-said").textContent = `${$("grow").value} px`;
  marks.draw();
}
for (const id of ["size", "grow"]) $(id).oninput = sliders;
for (const radio of document.querySelectorAll("[name=tool]")) radio.onchange = sliders;
$("undo").onclick = () => marks.undo();
$("clear").onclick = () => marks.clear();
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && body.dataset.state === "marking") {
    event.preventDefault();
    marks.undo();
  }
});
marks.onchange = () => {
  loaded = null;
  if (marks.empty) $("score").checked = false; // it was true of what was marked
  update();
};
marks.onselect = (x, y) =>
  task(async (options, stage) => {
    const found = await request(at(`/${picture.picture}/select`), { ...options, body: JSON.stringify({ x, y }) }, stage);
    await marks.add(found.image, { x, y });
  });

// A mask file, of which the server has the key `mask` and the page the `image`, in place of the marks.
async function load({ mask, image }) {
  marks.clear();
  await marks.add(image);
  loaded = mask;
  update();
}
$("load").onchange = () => {
  const file = $("load").files[0];
  $("load").value = "";
  if (file) task(async (options, stage) => {
    stage("sending the mask");
    await load(await send(at(`/${picture.picture}/mask`), file, options, stage));
  });
};

// --- Filling -------------------------------------------------------------------------------------------------------

// What to fill, as it is marked now.
const asked = () => ({ grow: marks.grow, ...(loaded ? { loaded } : { mask: marks.png() }) });
const kept = () => ({ bytes: marks.marked, grow: marks.grow, loaded }); // to be marked again

function mark(what) {
  $("grow").value = what.grow;
  sliders();
  marks.set(what.bytes);
  loaded = what.loaded;
}

async function filled(input, wanted, options, stage) {
  const facts = await request(at(`/${input.picture}/fill`), { ...options, body: JSON.stringify(wanted) }, stage);
  return { ...facts, input, model: wanted.model };
}

$("fill").onclick = () =>
  task(async (options, stage) => {
    const marked = kept();
    const entry = await filled(picture, { ...asked(), model: $("model").value }, options, stage);
    await reveal({ ...entry, marked });
    if (body.dataset.view === "fill") $("download").focus({ preventScroll: true });
  });

async function reveal(entry) {
  if (picture.picture !== entry.input.picture) await show(entry.input);
  if (!entries.includes(entry)) listed(entry, `Result: ${entry.input.name}, filled by ${entry.model}`, reveal);
  result = entry;
  await slider.show(at(`/${entry.input.picture}`), at(`/${entry.picture}`), entry);
  $("took").textContent = `${(100 * entry.coverage).toFixed(1)} % filled by ${entry.model} in ${seconds(entry.seconds)}`;
  $("download").href = at(`/${entry.picture}/result`);
  $("mask-download").href = at(`/${entry.picture}/mask`);
  $("notes").textContent = entry.notes.map((note) => `${sentence(note)}.`).join(" ");
  shown.fill = "result";
  update();
}
$("actual").onclick = () =>
  task(async (options, stage) => {
    for (const one of slider.actual ? [] : [result.input, result]) await request(at(`/${one.picture}/full`), options, stage);
    await slider.toggle();
  });
$("again").onclick = () => task(() => turn({ ...result.input, picture: result.picture }));
$("back").onclick = () => {
  mark(result.marked);
  shown.fill = "marking";
  update();
};

// An entry of the history, and what brings it back. The server keeps what was used last: what it no longer has leaves the list.
function listed(entry, what, bring) {
  const back = async () => {
    await request(at(`/${entry.picture}`), { method: "GET" }).catch((error) => {
      if (error.status === 400) {
        entries.splice(entries.indexOf(entry), 1);
        entry.button.remove();
      }
      throw error;
    });
    view("fill");
    await bring(entry);
  };
  const image = Object.assign(new Image(), { src: preview(entry.picture), alt: what });
  entry.button = make("button", { type: "button", title: what, onclick: () => task(back) }, image);
  entries.push(entry);
  $("items").append(entry.button);
}

// --- Comparing -----------------------------------------------------------------------------------------------------

const methods = () => [...document.querySelectorAll("#methods :checked")].map((box) => box.value);

// A blob of about 15 % of the picture, somewhere within it: as good as any to measure by.
$("cut").onclick = () => {
  const [x, y, phase] = [0.3 + 0.4 * Math.random(), 0.3 + 0.4 * Math.random(), 2 * Math.PI * Math.random()];
  const corners = Array.from({ length: 90 }, (_, i) => {
    const angle = (2 * Math.PI * i) / 90;
    const radius = 0.215 * (1 + 0.25 * Math.sin(3 * angle + phase));
    return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
  });
  marks.clear();
  marks.outline(corners);
  $("score").checked = true;
};

$("compare").onclick = () =>
  task(async (options, stage) => {
    const [input, chosen, score] = [picture, methods(), $("score").checked];
    const wanted = { ...asked(), score, compared: true };
    const [marked, before] = [kept(), marks.shown($("photo"))];
    const figures = [];
    comparison = null;
    for (const [i, model] of chosen.entries()) {
      const said = (what, share) => stage(`${i + 1} of ${chosen.length}, ${model}: ${what}`, share);
      const failed = (error) => {
        if (error.name === "AbortError") throw error;
        return { model, error: error.message };
      };
      figures.push({ ...(await filled(input, { ...wanted, model }, options, said).catch(failed)), marked });
      compared(before, figures);
    }
    const done = figures.findLast((one) => one.picture); // the first is the first to give way
    if (done) comparison = { picture: input.picture, result: done.picture, methods: chosen, score };
  });

function compared(before, figures) {
  const best = Math.max(...figures.map((one) => one.psnr ?? -1));
  const figure = (image, title, text, name = "span") => {
    const made = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.append(
      Object.assign(document.createElement("b"), { textContent: title }),
      Object.assign(document.createElement(name), { textContent: text }),
    );
    made.append(image, caption);
    return made;
  };
  $("grid").replaceChildren(
    figure(Object.assign(new Image(), { src: before, alt: "What was marked" }), "Marked", ""),
    ...figures.map((one) => {
      if (one.error) return figure(Object.assign(document.createElement("p"), { className: "failed", textContent: sentence(one.error) }), one.model, "");
      const image = Object.assign(new Image(), { src: preview(one.picture), alt: `Filled by ${one.model}` });
      const numbers = "psnr" in one ? ` · PSNR ${one.psnr.toFixed(2)} dB · SSIM ${one.ssim.toFixed(3)}` : "";
      const open = make("button", { type: "button", onclick: () => task(() => reveal(one).then(() => view("fill"))) }, image);
      return figure(open, one.model, `${seconds(one.seconds)}${numbers}`, figures.length > 1 && one.psnr === best ? "mark" : "span");
    }),
  );
  shown.compare = "compared";
  update();
}
$("change").onclick = () => {
  shown.compare = "marking";
  update();
};

$("link").onclick = () =>
  task(async (options) => {
    comparison.link ??= (await request(`/sessions/${session}/links`, { ...options, body: JSON.stringify(comparison) })).link;
    address(comparison.link);
    const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    $("linked").textContent = `${copied ? "Copied." : "The link is in the address bar."} It works until this studio is ended.`;
  });

// The page's address leads to a comparison, or only to the page.
function address(link) {
  window.history.replaceState(null, "", link ? `#compare=${link}` : location.pathname);
  $("linked").textContent = "";
}

// What a link shows, in a session of one's own.
async function reproduce() {
  const link = new URLSearchParams(location.hash.slice(1)).get("compare");
  if (link === null) return;
  address();
  view("compare");
  let found = null;
  await task(async (options, stage) => {
    found = await request(`/sessions/${session}/links/${encodeURIComponent(link)}`, options, stage);
    await add(found);
    await load(found);
    for (const box of document.querySelectorAll("#methods input")) box.checked = found.methods.includes(box.value);
    $("score").checked = found.score;
    address(link);
  });
  if (found) $("compare").click();
}
addEventListener("hashchange", reproduce);

// --- What is seen --------------------------------------------------------------------------------------------------

const seconds = (value) => (value < 0.1 ? "under 0.1\u00a0s" : `${value.toFixed(value < 10 ? 1 : 0)}\u00a0s`);

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

function update() {
  const training = body.dataset.view === "runs";
  const now = (body.dataset.state = picture ? shown[body.dataset.view] ?? "marking" : "empty");
  $("runs").hidden = !training;
  $("welcome").hidden = training || now !== "empty";
  $("easel").hidden = training || now !== "marking";
  $("slider").hidden = $("result").hidden = training || now !== "result";
  $("grid").hidden = training || now !== "compared";
  $("undo").disabled = !marks.steps.length;
  $("clear").disabled = marks.empty;
  const unmarked = marks.empty && !loaded;
  $("fill").disabled = Boolean(running) || unmarked;
  const count = methods().length;
  $("compare").disabled = Boolean(running) || unmarked || count < 2 || count > 6;
  $("link").hidden = !comparison;
  $("history").hidden = entries.length === 0;
  const open = now === "result" ? result : picture;
  for (const entry of entries) {
    if (entry.picture === open?.picture) entry.button.setAttribute("aria-current", "true");
    else entry.button.removeAttribute("aria-current");
  }
  fit();
}

// The picture as large as there is room, small ones up to twice their size.
function fit() {
  const wide = $("stage").clientWidth - (innerWidth > 760 ? 48 : 32);
  const high = innerWidth > 760 ? $("stage").clientHeight - 48 : innerHeight * 0.65;
  const { naturalWidth: w, naturalHeight: h } = $("photo");
  if (!w || wide <= 0) return;
  const factor = Math.min(wide / w, high / h, 2);
  Object.assign($("easel").style, { width: `${w * factor}px`, height: `${h * factor}px` });
  slider.fit(wide, high);
}
addEventListener("resize", fit);

// --- The start -----------------------------------------------------------------------------------------------------

async function start() {
  limits = await request("/sessions");
  session = limits.session;
  const offered = Object.entries(limits.models);
  $("model").replaceChildren(...offered.map(([name, what]) => new Option(`${name}: ${what}`, name)));
  $("methods").replaceChildren(
    ...offered.map(([name, what], i) => {
      const label = document.createElement("label");
      const checked = i < 4 && name !== "biharmonic"; // which may take minutes
      const box = Object.assign(document.createElement("input"), { type: "checkbox", value: name, checked, onchange: update });
      const text = document.createElement("span");
      text.append(name, " ", Object.assign(document.createElement("small"), { className: "quiet", textContent: what }));
      label.className = "check";
      label.append(box, text);
      return label;
    }),
  );
  $("examples").replaceChildren(
    ...limits.examples.map((name) => {
      const button = document.createElement("button");
      button.append(Object.assign(new Image(), { src: `/examples/${name}`, alt: `Example: ${name}` }));
      button.onclick = () => openExample(name);
      return button;
    }),
  );
  update();
  body.dataset.ready = "true";
  const alive = () => fetch(`/sessions/${session}/alive`, { method: "POST" }).catch(() => {});
  alive(); // an open page gives way to no other, and says so twice in the time for which that holds
  setInterval(alive, 240_000);
  await reproduce();
}
addEventListener("pagehide", (event) => event.persisted || navigator.sendBeacon(`/sessions/${session}/close`));
start().catch(say);
