// Trainings: their curves side by side, their samples epoch by epoch.
import { watch } from "./request.js";
import { make } from "./dom.js";

const NAMES = { val_psnr: "Validation PSNR (dB)", val_ssim: "Validation SSIM", val_loss: "Validation loss", loss: "Training loss" };
const MEANINGS = {
  val_psnr: "How close the filling is to the original, pixel by pixel; higher is better.",
  val_ssim: "How much of the structure is as in the original; at most 1, higher is better.",
  val_loss: "The error that training reduces, on pictures that it does not learn from; lower is better.",
  loss: "The error that training reduces, on pictures that it learns from; lower is better.",
};
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
    this.table.hidden = this.samples.hidden = true; // until it is known what there is
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
    this.message.textContent = names.length ? "" : "No training runs yet. When you start “mend train” in this folder, they appear here by themselves.";
    this.message.hidden = names.length > 0;
    this.table.hidden = this.curves.hidden = this.samples.hidden = names.length === 0;
    if (!names.length) return;
    const shown = names.filter((name) => this.chosen.has(name));
    const focus = document.activeElement?.dataset.key;
    this.table.replaceChildren(this.drawTable(names, shown));
    if (focus) [...this.table.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focus)?.focus();
    this.curves.replaceChildren(...Object.entries(NAMES).map(([key, title]) => {
      const lines = shown.map((name) => ({ name, points: this.runs[name].rows.filter((row) => key in row).map((row) => [row.epoch, row[key]]) }));
      const caption = make("figcaption", { textContent: title, className: "heading" });
      return make("figure", { className: "card" }, caption, make("p", { textContent: MEANINGS[key], className: "quiet" }), chart(lines, title));
    }));
    this.drawSamples();
  }

  drawTable(names, shown) {
    const table = make("table");
    const head = ["Show", "Run", "Model", "Epochs", "PSNR (dB)", "SSIM", "Minutes"].map((textContent) => make("th", { textContent, scope: "col" }));
    table.append(make("caption", { textContent: "Trainings", className: "heading" }), make("thead", {}, make("tr", {}, ...head)));
    for (const name of names) {
      const { config, rows, error } = this.runs[name];
      const best = rows.reduce((a, b) => ((b.val_psnr ?? -1) > (a.val_psnr ?? -1) ? b : a), {});
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

// Lines {name, points: (x, y)} on one pair of axes; y is null where it is no number, which is marked. Pointing at an epoch tells
// the values there.
function chart(lines, title) {
  const [width, height, left, bottom] = [270, 170, 54, 24];
  const points = lines.flatMap((line) => line.points);
  const numbers = points.filter(([, value]) => value !== null);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} by epoch` });
  if (!numbers.length) return svg;
  const range = (of, i) => [Math.min(...of.map((p) => p[i])), Math.max(...of.map((p) => p[i]))];
  const [[x0, x1], [y0, y1]] = [range(points, 0), range(numbers, 1)];
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
    const known = line.points.filter(([, value]) => value !== null);
    svg.append(draw("polyline", { points: known.map(([a, b]) => `${x(a)},${y(b)}`).join(" "), stroke: colour, "stroke-dasharray": dashes, class: "curve" }));
    if (known.length) svg.append(draw("circle", { cx: x(known.at(-1)[0]), cy: y(known.at(-1)[1]), r: 3, fill: colour }));
    const lost = line.points.find(([, value]) => value === null);
    if (!lost) return;
    const [at, from] = [x(lost[0]), known.findLast(([epoch]) => epoch < lost[0])];
    const mark = draw("text", { x: at, y: (from ? y(from[1]) : 12) + 5, "text-anchor": "middle", class: "lost" }, "×");
    mark.style.fill = colour;
    mark.append(draw("title", {}, `${line.name}: no longer a number from epoch ${lost[0]} on`));
    svg.append(mark);
  });
  return make("div", { className: "chart" }, svg, pointed(svg, lines, { x, width, height, bottom }));
}

// What is told where somebody points at a chart, or goes through it with the arrow keys: the values at the nearest epoch.
function pointed(svg, lines, { x, width, height, bottom }) {
  const epochs = [...new Set(lines.flatMap((line) => line.points.map(([epoch]) => epoch)))].sort((a, b) => a - b);
  const told = make("p", { className: "told quiet" });
  told.setAttribute("role", "status");
  const rule = draw("line", { y1: 8, y2: height - bottom, class: "pointed", visibility: "hidden" });
  svg.append(rule);
  svg.setAttribute("tabindex", "0");
  let at = null;
  const show = (i) => {
    at = Math.min(Math.max(i, 0), epochs.length - 1);
    const values = lines.map(({ name, points }) => [name, points.find(([epoch]) => epoch === epochs[at])?.[1]]).filter(([, value]) => value !== undefined);
    told.textContent = `Epoch ${epochs[at]}: ${values.map(([name, value]) => `${name} ${value === null ? "not a number" : value.toPrecision(5)}`).join(", ")}`;
    for (const end of ["x1", "x2"]) rule.setAttribute(end, x(epochs[at]));
    rule.setAttribute("visibility", "visible");
  };
  svg.onpointermove = (event) => {
    const box = svg.getBoundingClientRect();
    const to = ((event.clientX - box.left) / box.width) * width;
    const far = epochs.map((epoch) => Math.abs(x(epoch) - to));
    show(far.indexOf(Math.min(...far)));
  };
  svg.onpointerleave = () => {
    told.textContent = "";
    rule.setAttribute("visibility", "hidden");
  };
  svg.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(at === null ? (step > 0 ? 0 : epochs.length - 1) : at + step);
  };
  return told;
}

function draw(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
