// Many pictures at once: one mask for all, one each, or a region where the same stamp stands in all; a ZIP in the end.
import { $, make, seconds } from "./dom.js";
import { sentence, sentences } from "./request.js";

const count = (pictures) => `${pictures} picture${pictures === 1 ? "" : "s"}`;

export class Batch {
  photos = []; // files
  masks = []; // files
  box = null; // what was drawn on the first picture: [left, top, right, bottom], shares
  drawn = null; // its height and width
  running = null; // an AbortController

  constructor(server) {
    this.server = server;
    $("batch-photos").onchange = (event) => this.take("photos", event);
    $("batch-masks").onchange = (event) => this.take("masks", event);
    for (const radio of document.querySelectorAll("[name=batch-where]")) radio.onchange = () => this.update();
    $("batch-start").onclick = () => (this.running ? this.running.abort() : this.run());
    this.#drawable($("batch-region"));
    this.update();
  }

  offer(methods) {
    $("batch-model").replaceChildren(...methods.map(([name, what]) => new Option(`${name}: ${what}`, name)));
  }

  get where() {
    return document.querySelector("[name=batch-where]:checked").value;
  }

  take(kind, { target }) {
    this[kind] = [...target.files];
    if (kind === "photos") {
      this.box = null;
      const [first] = this.photos;
      $("batch-first").src = first ? URL.createObjectURL(first) : "";
      this.list(this.photos.map((file) => ({ name: file.name })));
    }
    $("batch-zip").hidden = true;
    this.update();
  }

  // The mask of each picture: the file of its name, with whatever suffix; photo_mask.png and photo-mask.png will do, too.
  pairs() {
    const stem = (file) => file.name.replace(/\.\w+$/, "").normalize("NFC").toLowerCase();
    const named = new Map(this.masks.map((mask) => [stem(mask).replace(/[-_ ]mask$/, ""), mask]));
    return this.photos.map((photo) => named.get(stem(photo)));
  }

  // Why nothing can be done yet; nothing where it can.
  why() {
    if (!this.photos.length) return "First choose pictures.";
    if (this.where === "one" && this.masks.length !== 1) return "Choose one mask. It is white where every picture is to be filled.";
    if (this.where === "each" && !this.masks.length) return "Choose the masks. Each has the file name of its picture.";
    if (this.where === "each" && !this.pairs().some(Boolean)) return "No mask has the file name of a picture. The mask of beach.jpg is called beach.png.";
    if (this.where === "region" && !this.box) return "Draw a box around what should go.";
    return "";
  }

  update() {
    $("batch-masking").hidden = this.where === "region";
    $("batch-drawing").hidden = this.where !== "region" || !this.photos.length;
    $("batch-masks").multiple = this.where === "each";
    const missing = this.where === "each" ? this.pairs().filter((mask) => !mask).length : 0;
    const left = missing ? ` ${missing} without a mask will be left out.` : "";
    $("batch-why").textContent = this.running ? "" : this.why() || `${count(this.photos.length)} chosen.${left}`;
    $("batch-start").textContent = this.running ? "Cancel" : "Fill them all";
    $("batch-start").disabled = !this.running && Boolean(this.why());
    $("batch-start").classList.toggle("second", !$("batch-zip").hidden);
    const mark = $("batch-mark");
    mark.hidden = !this.box;
    if (this.box) {
      const [left, top, right, bottom] = this.box.map((share) => 100 * share);
      Object.assign(mark.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
    }
  }

  #drawable(area) {
    let from = null;
    const at = (event) => {
      const box = area.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) => Math.min(1, Math.max(0, share)));
    };
    area.onpointerdown = (event) => {
      if (!event.isPrimary || event.button) return;
      area.setPointerCapture(event.pointerId);
      from = at(event);
    };
    area.onpointermove = (event) => {
      if (!from || !event.isPrimary) return;
      const to = at(event);
      const [x, y] = [0, 1].map((i) => [Math.min(from[i], to[i]), Math.max(from[i], to[i])]);
      const large = x[1] - x[0] > 0.005 && y[1] - y[0] > 0.005;
      this.box = large ? [x[0], y[0], x[1], y[1]] : null;
      this.drawn = [$("batch-first").naturalHeight, $("batch-first").naturalWidth];
      this.update();
    };
    area.onpointerup = area.onpointercancel = () => (from = null);
  }

  // What became of each picture, or is to.
  list(rows) {
    const cells = rows.map(({ name, said = "", bad = false }) =>
      make("tr", {}, make("td", {}, make("bdi", { textContent: name })), make("td", { textContent: said, className: bad ? "bad" : "" })),
    );
    $("batch-list").replaceChildren(...cells);
  }

  async run() {
    this.running = new AbortController();
    const options = { signal: this.running.signal };
    const start = performance.now();
    let left = null; // {seconds, at}
    const said = new Map();
    const show = () => this.list(this.photos.map((file, i) => said.get(i) ?? { name: file.name }));
    const tick = () => {
      const passed = (performance.now() - start) / 1000;
      const rest = left && left.seconds - (performance.now() - left.at) / 1000;
      $("batch-seconds").textContent = rest === null ? `${passed.toFixed(0)} s` : rest < 1 ? "nearly done" : `about ${seconds(rest)} left`;
    };
    const clock = setInterval(tick, 200);
    $("batch-error").textContent = "";
    $("batch-zip").hidden = true;
    $("batch-progress").hidden = false;
    this.update();
    const stage = (words, share) => {
      $("batch-stage").textContent = sentence(words);
      $("batch-progress").classList.toggle("measured", share !== undefined);
      $("batch-progress").style.setProperty("--share", share ?? 0);
    };
    try {
      const { where, server } = this;
      const { batch } = await server.ask("/batches", options);
      const at = `/batches/${batch}`;
      const masks = where === "each" ? this.pairs() : [];
      const sent = []; // by number, from 1: the places of the pictures in the list
      for (const [i, photo] of this.photos.entries()) {
        if (where === "each" && !masks[i]) {
          said.set(i, { name: photo.name, said: "Left out: it has no mask" });
          continue;
        }
        stage(`sending picture ${i + 1} of ${this.photos.length}`, i / this.photos.length);
        const { number } = await server.ask(`${at}/pictures?name=${encodeURIComponent(photo.name)}`, { ...options, body: photo });
        if (masks[i]) await server.ask(`${at}/masks?number=${number}`, { ...options, body: masks[i] });
        sent.push(i);
      }
      if (where === "one") await server.ask(`${at}/masks`, { ...options, body: this.masks[0] });
      const region = where === "region" ? { box: this.box, drawn: this.drawn, letters: $("batch-letters").checked } : null;
      const wanted = { model: $("batch-model").value, grow: +$("batch-grow").value, region };
      const settle = ({ name, error, notes }, i) =>
        said.set(i, { name, said: error ? sentence(error) : sentences(["Filled", ...notes]), bad: Boolean(error) });
      const follow = (words, share, message = {}) => {
        stage(words, share);
        if (message.left !== undefined) left = { seconds: message.left, at: performance.now() };
        if (message.file) settle(message.file, sent[message.file.number - 1]);
        if (message.file) show();
      };
      const done = await server.ask(`${at}/fill`, { ...options, body: JSON.stringify(wanted) }, follow);
      for (const [i, file] of done.files.entries()) settle(file, sent[i]);
      show();
      $("batch-zip").hidden = !done.filled;
      $("batch-zip").href = server.at(`${at}/zip`);
      $("batch-zip").textContent = `Save ${count(done.filled)} as a ZIP`;
      if (done.filled) $("batch-zip").focus();
    } catch (error) {
      if (error.name !== "AbortError") $("batch-error").textContent = sentence(error.message);
    } finally {
      clearInterval(clock);
      this.running = null;
      $("batch-progress").hidden = true;
      this.update();
    }
  }
}
