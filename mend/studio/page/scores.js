// Evaluations: the means of every method, and the images of one method, sorted by any of their scores.
import { request, sentence, watch } from "./request.js";
import { make } from "./dom.js";

const NAMES = { psnr: "PSNR (dB)", ssim: "SSIM", mae: "MAE (/255)", name: "Image", class: "Class", coverage: "Coverage" };
const MEANINGS = {
  psnr: "PSNR: how close the filling is to the original, pixel by pixel, in decibels; higher is better.",
  ssim: "SSIM: how much of the structure is as in the original; at most 1, higher is better.",
  mae: "MAE: the average difference of a colour value, of 255; lower is better.",
  lpips: "LPIPS: how different the two look to a network trained on people's judgements; lower is better.",
  fid: "FID: how different all fillings together are from the real pictures; lower is better.",
  kid: "KID: as FID, but also right for few pictures; lower is better.",
  "p-ids": "P-IDS: how often, in %, a classifier takes the filling for more real than the original; higher is better.",
  "u-ids": "U-IDS: how often, in %, a classifier cannot tell fillings from real pictures; higher is better.",
};
const VIEWS = { hole: "in the hole", band: "at the rim", raw: "raw" };

export class Scores {
  news = watch("/results");
  results = {};
  reading = null; // the AbortController of the table that was asked for last
  open = null; // {result, method, by, up}: the table of images that is shown, or on its way
  read = { asked: null, table: make("div") }; // the one that was shown last, which comes back when a reading is cancelled

  constructor(root) {
    this.root = root;
  }

  async refresh() {
    const { results } = (await this.news()) ?? {};
    if (!results) return;
    this.results = results;
    this.draw();
  }

  draw(images = this.table ?? this.read.table) {
    this.table = images;
    const cards = Object.entries(this.results).map(([name, result]) => this.means(name, result));
    this.root.replaceChildren(...cards, images);
  }

  means(name, { title, n, methods }) {
    const metrics = [...new Set(Object.values(methods).flatMap(Object.keys))];
    const rows = Object.entries(methods).map(([method, values]) => {
      const pick = make("button", { textContent: method, className: "link", onclick: () => this.images({ result: name, method, by: "", up: true }) });
      if (this.open?.result === name && this.open.method === method) pick.setAttribute("aria-current", "true");
      return make("tr", {}, make("td", {}, pick), ...metrics.map((metric) => make("td", { textContent: shown(values[metric]) })));
    });
    const heads = ["Method", ...metrics.map(label)].map((textContent) => make("th", { textContent, scope: "col" }));
    const caption = make("caption", { textContent: `${title}, n = ${n}`, className: "heading" });
    const known = metrics.map((metric) => MEANINGS[metric.replace(/-cifar$/, "")]).filter(Boolean);
    const meant = known.map((textContent) => make("p", { className: "quiet", textContent }));
    const table = make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    return make("div", { className: "card" }, table, ...meant);
  }

  async images(asked) {
    this.reading?.abort();
    const reading = (this.reading = new AbortController());
    const start = performance.now();
    this.open = asked;
    const { result, method, up } = asked;
    const passed = make("span");
    const cancel = make("button", { type: "button", textContent: "Cancel", onclick: () => reading.abort() });
    const slow = make("div", { className: "card reading" }, make("p", { role: "status" }, "Reading the scores… ", passed), cancel);
    const clock = setInterval(() => {
      const seconds = (performance.now() - start) / 1000;
      passed.textContent = `${seconds.toFixed(0)} s`;
      if (seconds > 0.5 && this.table !== slow) this.draw(slow);
    }, 100);
    const at = `/results/${encodeURIComponent(result)}/${encodeURIComponent(method)}?${new URLSearchParams({ by: asked.by, up })}`;
    let found;
    try {
      found = await request(at, { method: "GET", signal: reading.signal });
    } catch (error) {
      if (this.reading !== reading) return; // another table was asked for meanwhile
      if (error.name !== "AbortError") return this.draw(make("p", { textContent: sentence(error.message), className: "error" }));
      this.open = this.read.asked;
      return this.draw(this.read.table);
    } finally {
      clearInterval(clock);
    }
    const { by } = found;
    const heads = found.columns.map((column) => {
      const sort = make("button", { textContent: label(column), className: "link" });
      sort.onclick = () => this.images({ ...asked, by: column, up: column === by ? !up : true });
      const head = make("th", { scope: "col" }, sort);
      if (column === by) head.ariaSort = up ? "ascending" : "descending";
      return head;
    });
    const rows = found.rows.map((values) => make("tr", {}, ...values.map((value) => make("td", { textContent: shown(value) }))));
    const text = `Images filled by ${method}: ${rows.length} of ${found.of}, ${up ? "lowest" : "highest"} ${label(by)} first`;
    const caption = make("caption", { textContent: text, className: "heading" });
    const table = make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    this.read = { asked, table: make("div", { className: "card tall", tabIndex: 0, role: "region", ariaLabel: text }, table) };
    this.draw(this.read.table);
    this.root.querySelector("th[aria-sort] button").focus();
  }
}

function label(column) {
  const [metric, view] = column.split("_");
  return `${NAMES[metric] ?? metric.toUpperCase()}${view ? `, ${VIEWS[view] ?? view}` : ""}`;
}

const shown = (value) => (typeof value !== "number" ? value ?? "–" : Math.abs(value) < 1 ? value.toFixed(4) : value.toPrecision(4));
