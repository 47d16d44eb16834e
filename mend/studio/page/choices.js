// What people chose without knowing the names: kept in this browser, as a CSV, and as a Bradley–Terry table.
import { make } from "./dom.js";

const KEPT = "mend-choices";

export class Choices {
  list = []; // {won, lost: [names], picture, time}

  constructor(root) {
    this.root = root;
    try {
      this.list = JSON.parse(localStorage.getItem(KEPT)) ?? [];
    } catch {
      // another program's, or a browser that keeps nothing
    }
    this.draw();
  }

  add(won, lost, picture) {
    this.list.push({ won, lost, picture, time: new Date().toISOString() });
    this.keep();
  }

  keep() {
    try {
      localStorage.setItem(KEPT, JSON.stringify(this.list));
    } catch {
      // full, or not allowed: they last as long as the page
    }
    this.draw();
  }

  // A row for each choice: when, on which picture, what won, what it was compared with.
  get csv() {
    const cell = (text) => (/[",\n]/.test(text) || /^[=+\-@]/.test(text) ? `"${text.replace(/^(?=[=+\-@])/, "'").replaceAll('"', '""')}"` : text);
    const rows = this.list.map(({ time, picture, won, lost }) => [time, picture, won, lost.join("; ")].map(cell).join(","));
    return ["time,picture,chosen,against", ...rows, ""].join("\n");
  }

  draw() {
    const rows = bradleyTerry(this.list).map(({ name, strength, wins, of }) =>
      make("tr", {}, ...[name, `${wins} of ${of}`, `${Math.round(100 * strength)} %`].map((textContent) => make("td", { textContent }))),
    );
    this.root.hidden = !rows.length;
    const heads = ["Method", "Chosen", "Share"].map((textContent) => make("th", { textContent, scope: "col" }));
    const caption = make("caption", { textContent: "What you chose blind", className: "heading" });
    const table = make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    const save = make("a", { textContent: "Save as CSV", className: "button", download: "choices.csv" });
    save.href = `data:text/csv;charset=utf-8,${encodeURIComponent(this.csv)}`;
    const forget = make("button", { type: "button", textContent: "Forget them" });
    forget.onclick = () => ((this.list = []), this.keep());
    const what = "Share: how often it would win if all were compared with all (Bradley–Terry).";
    this.root.replaceChildren(table, make("p", { className: "quiet", textContent: what }), make("div", { className: "row" }, save, forget));
  }
}

// How strong each method is by choices among several (Hunter, MM algorithms for generalized Bradley–Terry models, 2004): strengths
// add up to 1, the strongest is first. Half a win against all and half a loss are added to each, so that few choices say little.
export function bradleyTerry(list, rounds = 200) {
  const names = [...new Set(list.flatMap(({ won, lost }) => [won, ...lost]))];
  if (!names.length) return [];
  const contests = list.map(({ won, lost }) => ({ won, all: [won, ...lost], weight: 1 }));
  for (const name of names) {
    for (const other of names) if (other !== name) contests.push({ won: name, all: [name, other], weight: 0.5 / (names.length - 1) });
  }
  let strength = Object.fromEntries(names.map((name) => [name, 1 / names.length]));
  for (let i = 0; i < rounds; i++) {
    const wins = Object.fromEntries(names.map((name) => [name, 0]));
    const met = { ...wins };
    for (const { won, all, weight } of contests) {
      wins[won] += weight;
      const total = all.reduce((sum, name) => sum + strength[name], 0);
      for (const name of all) met[name] += weight / total;
    }
    const next = names.map((name) => [name, wins[name] / met[name]]);
    const sum = next.reduce((total, [, value]) => total + value, 0);
    strength = Object.fromEntries(next.map(([name, value]) => [name, value / sum]));
  }
  const count = (name) => ({ wins: list.filter((one) => one.won === name).length, of: list.filter((one) => one.won === name || one.lost.includes(name)).length });
  return names.map((name) => ({ name, strength: strength[name], ...count(name) })).sort((a, b) => b.strength - a.strength);
}
