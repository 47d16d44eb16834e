// Trainings: their curves side by side, their samples epoch by epoch.
import { watch } from "./request.js";
import { make } from "./dom.js";

const NAMES = { val_psnr: "Validation PSNR (dB)", val_ssim: "Validation SSIM", val_loss: "Validation loss", loss: "Training loss" };
const COLOURS = ["#1f5f5b", "#b4452f", "#3d5a9e", "#8a6d1a", "#7b3f8c", "#4c6b1f"];

export class Runs {
  chosen = new Set();
  news = watch("/runs");
  runs = {};
  open = null; // the run whose samples are shown
  epochs = {}; // by run, the sample that was chosen; the latest where none was

  constructor(root) {
    this.message = make("p");
    this.table = make("div", { className: "card" });
    this.curves = make("div", { className: "charts" });
    this.title = make("span", { className: "heading" });
    this.epoch = make("output");
    this.slider = make("input", { type: "range", min: 0, ariaLabel: "Epoch of the samples" });
    this.image = make("img");
    this.samples = make("div", { className: "card" }, make("div", { className: "range" }, this.title, this.epoch), this.slider, this.image);
    this.slider.oninput = () => {
      this.epochs[this.open] = this.runs[this.open].samples[this.slider.value];
      this.drawSamples();
    };
    root.append(this.message, this.table, this.curves, this.samples);
  }

  async refresh() {
    const { runs } = (await this.news()) ?? {};
    if (!runs) return;
    for (const name of Object.keys(runs)) if (!(name in this.runs) && this.chosen.size < 4) this.chosen.add(name);
    this.runs = runs;
    if (!(this.open in runs)) this.open = Object.keys(runs)[0] ?? null;
    this.draw();
  }

  draw() {
    const names = Object.keys(this.runs);
    this.message.textContent = names.length ? "" : "No runs here. “mend train” makes them in the folder runs, and they show up by themselves.";
    this.message.hidden = names.length > 0;
    this.table.hidden = this.curves.hidden = this.samples.hidden = names.length === 0;
    if (!names.length) return;
    const shown = names.filter((name) => this.chosen.has(name));
    const focus = document.activeElement?.dataset.key;
    this.table.replaceChildren(this.drawTable(names, shown));
    if (focus) [...this.table.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focus)?.focus();
    this.curves.replaceChildren(...Object.entries(NAMES).map(([key, title]) => {
      const lines = shown.map((name) => this.runs[name].rows.filter((row) => key in row).map((row) => [row.epoch, row[key]]));
      return make("figure", { className: "card" }, make("figcaption", { textContent: title, className: "heading" }), chart(lines, title));
    }));
    this.drawSamples();
  }

  drawTable(names, shown) {
    const table = make("table");
    const head = ["Show", "Run", "Model", "Epochs", "PSNR (dB)", "SSIM", "Minutes"].map((textContent) => make("th", { textContent, scope: "col" }));
    table.append(make("caption", { textContent: "Trainings", className: "heading" }), make("thead", {}, make("tr", {}, ...head)));
    for (const name of names) {
      const { config, rows, error } = this.runs[name];
      const best = rows.reduce((a, b) => (b.val_psnr > (a.val_psnr ?? -1) ? b : a), {});
      const box = make("input", { type: "checkbox", checked: this.chosen.has(name), ariaLabel: `Show the curves of ${name}` });
      box.onchange = () => (box.checked ? this.chosen.add(name) : this.chosen.delete(name), this.draw());
      const swatch = make("i");
      if (shown.includes(name)) Object.assign(swatch, look(shown.indexOf(name)).swatch);
      const pick = make("button", { textContent: name, className: "link", onclick: () => ((this.open = name), this.draw()) });
      if (name === this.open) pick.setAttribute("aria-current", "true");
      [box.dataset.key, pick.dataset.key] = [`show ${name}`, `open ${name}`];
      const minutes = rows.reduce((sum, row) => sum + (row.seconds ?? 0), 0) / 60;
      const numbers = [config.model ?? "–", `${rows.length} of ${config.epochs ?? "?"}`, best.val_psnr?.toFixed(2) ?? "–", best.val_ssim?.toFixed(4) ?? "–", minutes.toFixed(1)];
      const cells = error ? [make("td", { colSpan: 5, className: "bad" }, make("p", { textContent: error }))] : numbers.map((textContent) => make("td", { textContent }));
      table.append(make("tr", {}, make("td", {}, box), make("td", {}, swatch, pick), ...cells));
    }
    return table;
  }

  drawSamples() {
    const names = this.runs[this.open].samples;
    const chosen = names.includes(this.epochs[this.open]) ? names.indexOf(this.epochs[this.open]) : names.length - 1;
    this.title.textContent = names.length ? `Samples of ${this.open}` : `${this.open} has no samples yet.`;
    this.slider.hidden = this.image.hidden = this.epoch.hidden = names.length === 0;
    if (!names.length) return;
    this.slider.max = names.length - 1;
    this.slider.value = chosen;
    this.epoch.textContent = names[chosen].replace("epoch-", "epoch ");
    const src = `/runs/${encodeURIComponent(this.open)}/${names[chosen]}`;
    if (this.image.getAttribute("src") !== src) this.image.src = src;
    this.image.alt = `Samples of ${this.open}, ${names[chosen]}: originals, holes, masked, filled`;
  }
}

// How a run is drawn: after as many runs as there are colours, these come again with dashes.
function look(i) {
  const colour = COLOURS[i % COLOURS.length];
  return { colour, dashes: i < COLOURS.length ? "none" : "6 4", swatch: { className: i < COLOURS.length ? "" : "dashed", style: `--colour: ${colour}` } };
}

// Lines of points (x, y) on one pair of axes.
function chart(lines, title) {
  const [width, height, left, bottom] = [270, 170, 48, 24];
  const points = lines.flat();
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} by epoch` });
  if (!points.length) return svg;
  const range = (i) => [Math.min(...points.map((p) => p[i])), Math.max(...points.map((p) => p[i]))];
  const [[x0, x1], [y0, y1]] = [range(0), range(1)];
  const x = (value) => left + ((value - x0) / (x1 - x0 || 1)) * (width - left - 8);
  const y = (value) => height - bottom - ((value - y0) / (y1 - y0 || 1)) * (height - bottom - 12);
  for (const [i, value] of [y0, (y0 + y1) / 2, y1].entries()) {
    svg.append(draw("line", { x1: left, x2: width - 8, y1: y(value), y2: y(value), class: "rule" }));
    if (i === 1 && y0 === y1) continue;
    svg.append(draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value.toPrecision(4)));
  }
  svg.append(draw("text", { x: (left + width - 8) / 2, y: height - 6, "text-anchor": "middle" }, "epoch"));
  for (const value of new Set([x0, x1])) svg.append(draw("text", { x: x(value), y: height - 6, "text-anchor": value === x0 ? "start" : "end" }, value));
  lines.forEach((line, i) => {
    const { colour, dashes } = look(i);
    svg.append(draw("polyline", { points: line.map(([a, b]) => `${x(a)},${y(b)}`).join(" "), stroke: colour, "stroke-dasharray": dashes, class: "curve" }));
    if (line.length) svg.append(draw("circle", { cx: x(line.at(-1)[0]), cy: y(line.at(-1)[1]), r: 3, fill: colour }));
  });
  return svg;
}

function draw(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
