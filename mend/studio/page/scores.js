// Evaluations: the means of every method, and the images of one method, sorted by any of their scores.
import { make, watcher } from "./dom.js";

const NAMES = { psnr: "PSNR (dB)", ssim: "SSIM", mae: "MAE (/255)", name: "Image", class: "Class", coverage: "Coverage" };
const VIEWS = { hole: "in the hole", band: "at the rim", raw: "raw" };

export class Scores {
  news = watcher("/results");
  results = {};
  open = null; // {result, method, by, up}: the table of images that is shown

  constructor(root) {
    this.root = root;
  }

  async refresh() {
    const results = await this.news();
    if (!results) return;
    this.results = results;
    this.draw();
  }

  draw(images = this.table ?? make("div")) {
    this.table = images;
    const cards = Object.entries(this.results).map(([name, result]) => this.means(name, result));
    this.root.replaceChildren(...cards, images);
  }

  means(name, { title, n, methods }) {
    const metrics = [...new Set(Object.values(methods).flatMap(Object.keys))];
    const rows = Object.entries(methods).map(([method, values]) => {
      const pick = make("button", { textContent: method, className: "link", onclick: () => this.images({ result: name, method, by: "psnr", up: true }) });
      if (this.open?.result === name && this.open.method === method) pick.setAttribute("aria-current", "true");
      return make("tr", {}, make("td", {}, pick), ...metrics.map((metric) => make("td", { textContent: shown(values[metric]) })));
    });
    const heads = ["Method", ...metrics.map(label)].map((textContent) => make("th", { textContent, scope: "col" }));
    const caption = make("caption", { textContent: `${title}, n = ${n}`, className: "heading" });
    return make("div", { className: "card" }, make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)));
  }

  async images(asked) {
    this.open = asked;
    const { result, method, by, up } = asked;
    const slow = setTimeout(() => this.draw(make("p", { textContent: "Reading the scores…", role: "status" })), 500);
    const found = await fetch(`/results/${encodeURIComponent(result)}/${encodeURIComponent(method)}?${new URLSearchParams({ by, up })}`)
      .then((answer) => answer.json())
      .catch(() => ({ error: "the studio does not answer" }));
    clearTimeout(slow);
    if (this.open !== asked) return;
    if (found.error) return this.draw(make("p", { textContent: `The images of ${method} cannot be shown: ${found.error}` }));
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
    this.draw(make("div", { className: "card tall", tabIndex: 0, role: "region", ariaLabel: text }, table));
    this.root.querySelector("th[aria-sort] button").focus();
  }
}

function label(column) {
  const [metric, view] = column.split("_");
  return `${NAMES[metric] ?? metric.toUpperCase()}${view ? `, ${VIEWS[view] ?? view}` : ""}`;
}

const shown = (value) => (typeof value === "number" ? value.toPrecision(4) : value ?? "–");
