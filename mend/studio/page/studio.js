// The page of the studio: a picture, what is marked on it, and what became of it.
import { Marks } from "./marks.js";
import { Runs } from "./runs.js";
import { Scores } from "./scores.js";

const $ = (id) => document.getElementById(id);
const body = document.body;
const marks = new Marks($("overlay"), $("cursor"), $("easel"));
const watched = [new Runs($("trainings")), new Scores($("scores"))];
let session, limits;
let picture = null; // facts of the picture that is open
let result = null; // an entry of the history that is shown
const entries = []; // {picture, input, model, seconds}
let loaded = false; // the marks are those of a mask file, which the server has at full size
let running = null; // the AbortController of the task at work

// --- Asking the server ---------------------------------------------------------------------------------------------

const at = (path = "") => `/sessions/${session}/pictures${path}`;
const preview = (key) => at(`/${key}/preview`);

// Answers come in lines of JSON: stages, then facts or an error.
async function ask(url, options, onStage = () => {}) {
  let response;
  try {
    response = await fetch(url, { method: "POST", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The studio does not answer. Is “mend studio” still running?");
  }
  let text = "";
  let last = {};
  const decoder = new TextDecoder();
  const take = (line) => {
    if (!line) return;
    last = JSON.parse(line);
    if (last.error) throw new Error(last.error);
    if (last.says) onStage(last.says, last.share);
  };
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    text += decoder.decode(value, { stream: !done });
    const lines = text.split("\n");
    text = done ? "" : lines.pop();
    lines.forEach(take);
    if (done) break;
  }
  if (!response.ok) throw new Error(`The studio answered with ${response.status}.`);
  return last.done ?? last;
}

// One thing at a time, with its stage and seconds shown, and a way to stop it; what goes wrong is one sentence.
async function task(what) {
  if (running) return;
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
  } catch (error) {
    if (error.name !== "AbortError") {
      $("error").textContent = sentence(error.message);
      $("error").scrollIntoView({ block: "nearest" });
    }
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
  picture = facts;
  result = null;
  loaded = false;
  $("photo").src = preview(facts.picture);
  await $("photo").decode().catch(() => {});
  $("name").textContent = facts.name;
  const notes = facts.notes.length ? ` · ${facts.notes.join(", ")}` : "";
  $("facts").textContent = `${facts.width} × ${facts.height} · ${facts.kind}${notes}`;
  marks.open($("photo").naturalWidth, $("photo").naturalHeight, facts.width / $("photo").naturalWidth);
  const longest = Math.max(facts.width, facts.height);
  $("grow").max = Math.max(12, Math.round(longest / 40));
  $("size").max = Math.max(40, Math.round(longest / 5));
  $("size").value = Math.round(longest / 16);
  $("grow").value = 0;
  state("marking");
  sliders();
}

function openFile(file) {
  return task(async (options, stage) => {
    if (file.size > limits.megabytes * 1e6) throw new Error(`The file is larger than ${limits.megabytes} MB, the most that the studio takes.`);
    stage("sending the picture");
    const facts = await ask(at(`?name=${encodeURIComponent(file.name || "pasted.png")}`), { ...options, body: file }, stage);
    await show(facts);
  });
}

function openExample(name) {
  return task(async (options, stage) => {
    const facts = await ask(`/sessions/${session}/examples/${name}`, options, stage);
    await show(facts);
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
  loaded = false;
  update();
};
marks.onselect = (x, y) =>
  task(async (options, stage) => {
    const found = await ask(at(`/${picture.picture}/select`), { ...options, body: JSON.stringify({ x, y }) }, stage);
    await marks.add(found.mask, { x, y });
  });

async function loadMask(file, options, stage) {
  const found = await ask(at(`/${picture.picture}/mask`), { ...options, body: file }, stage);
  await marks.add(found.mask);
  loaded = true;
}
$("load").onchange = () => {
  const file = $("load").files[0];
  $("load").value = "";
  if (file) task((options, stage) => {
    stage("sending the mask");
    marks.clear();
    return loadMask(file, options, stage);
  });
};

// --- Filling -------------------------------------------------------------------------------------------------------

async function filled(model, score, options, stage) {
  const asked = { model, score, grow: +$("grow").value, ...(loaded ? {} : { mask: marks.png() }) };
  const facts = await ask(at(`/${picture.picture}/fill`), { ...options, body: JSON.stringify(asked) }, stage);
  return { ...facts, input: picture, model };
}

$("fill").onclick = () =>
  task(async (options, stage) => {
    const entry = await filled($("model").value, false, options, stage);
    entries.push(entry);
    await reveal(entry);
    $("download").focus({ preventScroll: true });
  });

async function reveal(entry) {
  result = entry;
  $("before").src = preview(entry.input.picture);
  $("after").src = preview(entry.picture);
  await Promise.all([$("before").decode(), $("after").decode()]).catch(() => {});
  $("took").textContent = `${(100 * entry.share).toFixed(1)} % filled by ${entry.model} in ${seconds(entry.seconds)}`;
  $("download").href = at(`/${entry.picture}/result`);
  $("mask-download").href = at(`/${entry.picture}/mask`);
  const lossy = [".jpg", ".webp", ".gif"].includes(entry.input.suffix);
  $("lossy").textContent = lossy ? `${entry.input.kind.split(",")[0]} is lossy: pixels outside the mask may change slightly.` : "";
  $("split").value = 50;
  $("slider").style.setProperty("--split", "50%");
  state("result");
}
$("split").oninput = () => $("slider").style.setProperty("--split", `${$("split").value}%`);
$("again").onclick = () => show({ ...result.input, picture: result.picture });
$("back").onclick = async () => {
  if (picture !== result.input) await show(result.input);
  state("marking");
};

function listed() {
  $("history").hidden = entries.length === 0;
  $("items").replaceChildren(
    ...entries.map((entry, i) => {
      const button = document.createElement("button");
      const image = document.createElement("img");
      image.src = preview(entry.picture);
      image.alt = `Result ${i + 1}: ${entry.input.name}, filled by ${entry.model}`;
      button.append(image);
      button.onclick = () => reveal(entry);
      if (entry === result) button.setAttribute("aria-current", "true");
      return button;
    }),
  );
}

// --- Comparing -----------------------------------------------------------------------------------------------------

const methods = () => [...document.querySelectorAll("#methods :checked")].map((box) => box.value);
let shared = ""; // the result whose mask a link to the comparison names

$("compare").onclick = () =>
  task(async (options, stage) => {
    const score = $("score").checked;
    const figures = [];
    $("linked").textContent = "";
    for (const [i, model] of methods().entries()) {
      const entry = await filled(model, score, options, (said, share) => stage(`${i + 1} of ${methods().length}, ${model}: ${said}`, share));
      figures.push(entry);
      shared = entry.picture;
      compared(figures, score);
    }
    $("link").hidden = false;
  });

function compared(figures, score) {
  const best = score && figures.length > 1 ? Math.max(...figures.map((one) => one.psnr)) : null;
  const figure = (src, alt, title, ...said) => {
    const made = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const image = Object.assign(new Image(), { src, alt });
    caption.append(Object.assign(document.createElement("b"), { textContent: title }), ...said);
    made.append(image, caption);
    return made;
  };
  $("grid").replaceChildren(
    figure(marks.shown($("photo")), "What was marked", "Marked"),
    ...figures.map((one) => {
      const numbers = score ? ` · PSNR ${one.psnr.toFixed(2)} dB · SSIM ${one.ssim.toFixed(3)}` : "";
      const text = document.createElement(one.psnr === best ? "mark" : "span");
      text.textContent = `${seconds(one.seconds)}${numbers}`;
      return figure(preview(one.picture), `Filled by ${one.model}`, one.model, text);
    }),
  );
  state("compared");
}

$("link").onclick = async () => {
  await ask(`/sessions/${session}/share`);
  const facts = { session, picture: picture.picture, mask: shared, methods: methods().join(), score: $("score").checked };
  window.history.replaceState(null, "", `#${new URLSearchParams({ compare: "", ...facts })}`);
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  $("linked").textContent = copied ? "Copied. It works as long as this studio runs." : "The link is in the address bar. It works as long as this studio runs.";
};

async function reproduce(asked) {
  view("compare");
  await task(async (options, stage) => {
    session = asked.get("session");
    const facts = await ask(at(`/${asked.get("picture")}`), { ...options, method: "GET" });
    await show(facts);
    const mask = await fetch(at(`/${asked.get("mask")}/mask`));
    await loadMask(await mask.blob(), options, stage);
    for (const box of document.querySelectorAll("#methods input")) box.checked = asked.get("methods").split(",").includes(box.value);
    $("score").checked = asked.get("score") === "true";
  });
  if (picture) $("compare").click();
}

// --- What is seen --------------------------------------------------------------------------------------------------

// A capital at the start; a file's name, which may stand there, is left as it is.
const sentence = (text) => (/^[a-z]+[ ,]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text);
const seconds = (value) => (value < 10 ? `${value.toFixed(1)} s` : `${value.toFixed(0)} s`);

function state(name) {
  body.dataset.state = name;
  update();
}

function view(name) {
  body.dataset.view = name;
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (picture && ["result", "compared"].includes(body.dataset.state)) body.dataset.state = "marking";
  if (name === "runs") watch();
  update();
}
// A training that runs, or an evaluation that ends, shows up by itself.
const watch = () => watched.forEach((part) => part.refresh());
setInterval(() => $("runs").hidden || watch(), 5000);
for (const button of document.querySelectorAll("nav button")) button.onclick = () => view(button.dataset.view);

function update() {
  const now = body.dataset.state;
  const training = body.dataset.view === "runs";
  $("runs").hidden = !training;
  $("welcome").hidden = training || now !== "empty";
  $("easel").hidden = training || now !== "marking";
  $("slider").hidden = $("result").hidden = training || now !== "result";
  $("grid").hidden = training || now !== "compared";
  $("undo").disabled = !marks.steps.length;
  $("clear").disabled = marks.empty;
  $("fill").disabled = Boolean(running) || marks.empty;
  $("filling").hidden = now === "result";
  const count = methods().length;
  $("compare").disabled = Boolean(running) || marks.empty || count < 2 || count > 6;
  if (now !== "result") result = null;
  listed();
  fit();
}

// The picture as large as there is room, small ones up to twice their size.
function fit() {
  const wide = $("stage").clientWidth - (innerWidth > 760 ? 48 : 32);
  const high = innerWidth > 760 ? $("stage").clientHeight - 48 : innerHeight * 0.65;
  const { naturalWidth: w, naturalHeight: h } = body.dataset.state === "result" ? $("after") : $("photo");
  if (!w || wide <= 0) return;
  const factor = Math.min(wide / w, high / h, 2);
  for (const id of ["easel", "slider"]) Object.assign($(id).style, { width: `${w * factor}px`, height: `${h * factor}px` });
  marks.draw();
}
addEventListener("resize", fit);

// --- The start -----------------------------------------------------------------------------------------------------

async function start() {
  limits = await ask("/sessions");
  session = limits.session;
  $("model").replaceChildren(...limits.models.map((name) => new Option(name)));
  $("methods").replaceChildren(
    ...limits.models.map((name, i) => {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", value: name, checked: i < 4, onchange: update });
      const text = document.createElement("span");
      text.textContent = name;
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
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("compare")) await reproduce(asked);
}
addEventListener("pagehide", (event) => event.persisted || navigator.sendBeacon(`/sessions/${session}/close`));
start().catch((error) => ($("error").textContent = error.message));
