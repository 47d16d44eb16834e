"""A page that sorts the images of an evaluation: the worst and best of a method, and where two methods disagree most."""

import base64
import html
import io
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mend.evaluate.metrics import METRICS
from mend.evaluate.pictures import SHARED
from mend.evaluate.result import Result
from mend.images import grid

COLUMNS = ("psnr_hole", "lpips-cifar", "ssim_hole")  # what one may sort by, where it was scored
EXTREMES, APART, WIDE = 8, 4, 20  # pictures a list for one method, for two; pictures a row of a sprite


def gallery(result: Result, folder: Path, rows: dict[str, pd.DataFrame]) -> str:
    """The page as one HTML file, from the per-image rows of each method; "" where the pictures are not in `folder`, or nothing
    was scored that one may sort by."""
    methods = list(rows)
    files = {name: folder / "pictures" / f"{name}.npy" for name in (*SHARED, *methods)}
    columns = [c for c in COLUMNS if all(c in table for table in rows.values())]
    if not columns or not all(file.exists() for file in files.values()):
        return ""
    values = {c: np.stack([rows[m][c].to_numpy(np.float64) for m in methods]) for c in columns}  # (methods, images)
    shown = _extremes(values)
    first = rows[methods[0]].iloc[shown]
    places = first.index.to_numpy()  # rows may have been left out; the pictures have not
    side = int(np.load(files["original"], mmap_mode="r").shape[1])
    data = {
        "methods": methods,
        "columns": [_describe(c) for c in columns],
        "values": {c: [[_number(v) for v in line] for line in values[c][:, shown]] for c in columns},
        "names": [f"{name} · {kind}" if kind else str(name) for name, kind in zip(first["name"], first["class"], strict=True)],
        "coverage": [round(100 * float(c), 1) for c in first["coverage"]],
        "extremes": EXTREMES,
        "apart": APART,
        "wide": WIDE,
        "side": side,
        "scale": 3 if side <= 64 else 1,
        "shared": SHARED,
    }
    images = [f"background-image:url(data:image/webp;base64,{_sprite(file, places)})" for file in files.values()]
    sprites = "".join(f".p{i}{{{image}}}" for i, image in enumerate(images))
    title = html.escape(f"{result.protocol.title}: image by image")
    picked = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return PAGE.replace("{title}", title).replace("{sprites}", sprites).replace("{data}", picked)


def _extremes(values: dict[str, np.ndarray]) -> np.ndarray:
    """The images that any list on the page needs, in order."""
    chosen: set[int] = set()
    for table in values.values():
        for line in table:
            order = [int(i) for i in np.argsort(line, kind="stable") if np.isfinite(line[i])]
            chosen.update(order[:EXTREMES] + order[-EXTREMES:])
        for a, b in combinations(range(len(table)), 2):
            apart = np.nan_to_num(np.abs(table[a] - table[b]))
            chosen.update(int(i) for i in np.argsort(-apart, kind="stable")[:APART])
    return np.array(sorted(chosen), dtype=np.int64)


def _describe(column: str) -> dict[str, str | int | bool]:
    name, _, view = column.partition("_")
    metric = METRICS[name]
    where = " inside the hole" if view else ""
    return {
        "key": column,
        "title": metric.title + where,
        "unit": metric.unit,
        "digits": metric.digits,
        "up": metric.higher_is_better,
    }


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _sprite(file: Path, rows: np.ndarray) -> str:
    pictures = np.load(file, mmap_mode="r")[rows]
    lines = [pictures[i : i + WIDE] for i in range(0, len(pictures), WIDE)]
    data = io.BytesIO()
    Image.fromarray(grid(lines, gap=0)).save(data, "WEBP", quality=88)
    return base64.b64encode(data.getvalue()).decode()


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>
:root { --ink: #1c1f23; --soft: #5b6470; --line: #e3e6ea; --mark: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: #fff;
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0 1rem; }
form { display: flex; flex-wrap: wrap; gap: .6rem 1.2rem; position: sticky; top: 0; z-index: 1; padding: .7rem 0;
       background: #fff; border-bottom: 1px solid var(--line); }
label { font-size: .8rem; color: var(--soft); display: grid; gap: .15rem; }
select { font: inherit; font-size: 1rem; color: var(--ink); padding: .3rem .4rem; background: #fff;
         border: 1px solid #b8bfc8; border-radius: .3rem; }
section { padding: 1rem 0; border-bottom: 1px solid var(--line); }
h2 { font-size: .9rem; font-weight: 600; margin: 0 0 .5rem; } h2 span { color: var(--soft); font-weight: 400; }
.strip { display: grid; gap: .6rem .5rem; }
figure { margin: 0; overflow-wrap: anywhere; }
figcaption { font-size: .78rem; line-height: 1.3; margin-top: .2rem; color: var(--soft); }
figcaption b { display: block; color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.picture { image-rendering: pixelated; border-radius: 2px; outline: 3px solid transparent; outline-offset: 1px; }
figure.chosen .picture { outline-color: var(--mark); }
figure.chosen figcaption { color: var(--mark); }
@media (max-width: 40rem) { form { position: static; } }
{sprites}
</style></head><body><h1>{title}</h1>
<form><label>Show<select id="view"><option value="worst">worst images</option><option value="best">best images</option>
<option value="apart">largest disagreement</option></select></label>
<label>of<select id="a"></select></label><label id="with">and<select id="b"></select></label>
<label>by<select id="column"></select></label></form><main id="list"></main>
<script>
const data = {data};
const at = id => document.getElementById(id), element = tag => document.createElement(tag);
for (const id of ["a", "b"]) data.methods.forEach((m, i) => at(id).add(new Option(m, i)));
data.columns.forEach((c, i) => at("column").add(new Option(c.title, i)));
at("a").value = data.methods.length - 1; at("b").value = Math.max(0, data.methods.length - 2);
const text = (value, c) => value === null ? "n/a" : value.toFixed(c.digits) + (c.unit ? " " + c.unit : "");
function picture(sheet, i) {
  const size = data.side * data.scale, div = element("div");
  div.className = "picture p" + sheet;
  const sheetWidth = size * Math.min(data.wide, data.names.length);
  div.style.cssText = `width:${size}px;height:${size}px;background-size:${sheetWidth}px auto;` +
    `background-position:-${(i % data.wide) * size}px -${Math.floor(i / data.wide) * size}px`;
  return div;
}
function figure(sheet, i, name, value, chosen) {
  const box = element("figure"), caption = element("figcaption"), strong = element("b");
  if (chosen) box.className = "chosen";
  strong.textContent = value; caption.textContent = name; caption.prepend(strong);
  box.append(picture(sheet, i), caption);
  box.firstChild.setAttribute("role", "img"); box.firstChild.setAttribute("aria-label", name + ", " + data.names[i]);
  return box;
}
function show() {
  const c = data.columns[at("column").value], values = data.values[c.key], view = at("view").value;
  const a = +at("a").value, b = +at("b").value, two = view === "apart";
  at("with").style.display = two ? "" : "none";
  const score = i => two ? -Math.abs(values[a][i] - values[b][i]) : values[a][i] * (c.up === (view === "worst") ? 1 : -1);
  const order = data.names.map((_, i) => i).filter(i => values[a][i] !== null && (!two || values[b][i] !== null))
    .sort((i, j) => score(i) - score(j)).slice(0, two ? data.apart : data.extremes);
  at("list").replaceChildren(...order.map(i => {
    const section = element("section"), strip = element("div"), h = element("h2"), small = element("span");
    h.textContent = data.names[i] + " ";
    const gap = two ? `, apart by ${text(Math.abs(values[a][i] - values[b][i]), c)}` : "";
    small.textContent = `${data.coverage[i]} % missing${gap}`;
    h.append(small); strip.className = "strip";
    strip.style.gridTemplateColumns = `repeat(auto-fill, ${data.side * data.scale}px)`;
    strip.append(...data.shared.map((name, s) => figure(s, i, name, "\\u00a0", false)),
      ...data.methods.map((m, k) =>
        figure(k + data.shared.length, i, m, text(values[k][i], c), k === a || (two && k === b))));
    section.append(h, strip);
    return section;
  }));
}
for (const id of ["view", "a", "b", "column"]) at(id).addEventListener("change", show);
show();
</script></body></html>
"""
