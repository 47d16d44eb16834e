"""The report: an evaluation as Markdown, as one HTML file, and as pictures. Nothing is computed here, only shown."""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from mend.classical import CLASSICAL
from mend.errors import InputError
from mend.evaluate import read_summary
from mend.images import write_bytes
from mend.metrics import METRICS, Metric
from mend.models import MODELS

UNAVAILABLE = "n/a"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#999933")  # Okabe and Ito, 2008
VIEWS = {"": "Composited: the known pixels kept", "_hole": "Inside the hole only", "_raw": "Raw output of the method"}


def report(result: str | Path, out: str | Path, runs: list[str] | None = None) -> Path:
    """Write report.md, report.html, grid.png, curves.png and coverage.png for an evaluation; returns the HTML file.

    `runs` restricts the networks shown, by name or folder; classical fillers stay. Raises InputError for an unknown one.
    """
    summary, folder, out = read_summary(result), Path(str(result).removesuffix(".json")), Path(out)
    methods = _ordered(summary, runs)
    grid_picture = picture_grid(folder, methods)
    pictures = {"grid": png(grid_picture), "coverage": coverage_plot(folder, methods)}
    if any(summary["methods"][m]["training"] for m in methods):
        pictures["curves"] = curves_plot(summary, methods)
    for name, data in pictures.items():
        write_bytes(out / f"{name}.png", data)
    write_bytes(out / "report.md", _markdown(summary, methods, pictures).encode())
    write_bytes(out / "report.html", _html(summary, methods, pictures).encode())
    return out / "report.html"


def _ordered(summary: dict[str, Any], runs: list[str] | None) -> list[str]:
    """Classical fillers, then networks in the order of `MODELS`, width and name."""
    there = summary["methods"]
    wanted = {Path(run).name for run in runs} if runs else None
    if wanted and wanted - set(there):
        raise InputError(f"no result for {', '.join(sorted(wanted - set(there)))}. Evaluated: {', '.join(there)}.")
    networks = [m for m in there if m not in CLASSICAL and (wanted is None or m in wanted)]
    kinds = list(MODELS)

    def place(method: str) -> tuple[int, int, str]:
        config = there[method]["model"]
        return kinds.index(config["model"]) if config["model"] in kinds else 99, config["options"].get("width", 0), method

    return [m for m in CLASSICAL if m in there] + sorted(networks, key=place)


# --- Tables ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False
    note: str = ""  # the interval


Table = tuple[list[str], list[list[Cell]]]


def metric_table(summary: dict[str, Any], methods: list[str], suffix: str = "", published: bool = True) -> Table:
    """Every metric of every method in one view ("" composited, "_hole", "_raw"); the best of each column is marked."""
    names = [n for n in _shown(summary) if suffix != "_hole" or METRICS[n].pixels is not None]
    header = ["Method", "Parameters", *(_heading(METRICS[n]) for n in names)]
    columns = [_cells(METRICS[n], [summary["methods"][m]["metrics"].get(n + suffix) for m in methods]) for n in names]
    rows = [
        [Cell(m), Cell(_millions(summary["methods"][m]["parameters"])), *(column[i] for column in columns)]
        for i, m in enumerate(methods)
    ]
    if published and not suffix:
        for row in summary["protocol"]["published"]:
            values = [Cell(f"{row[n]:.{METRICS[n].digits}f}" if n in row else "") for n in names]
            rows.append([Cell(row["name"] + " *"), Cell(""), *values])
    return header, rows


def group_table(summary: dict[str, Any], methods: list[str], group: str, metric: str = "psnr_hole") -> Table:
    """One metric of every method by coverage bin ("by_coverage") or class ("by_class")."""
    groups = list(next(iter(summary["methods"].values()))[group])
    kind = METRICS[metric.split("_")[0]]
    columns = [_cells(kind, [summary["methods"][m][group].get(g, {}).get(metric) for m in methods]) for g in groups]
    counts = [summary["methods"][methods[0]][group][g].get(metric, {}).get("n", 0) for g in groups]
    header = ["Method", *(f"{g} (n = {n})" for g, n in zip(groups, counts, strict=True))]
    return header, [[Cell(m), *(column[i] for column in columns)] for i, m in enumerate(methods)]


def _shown(summary: dict[str, Any]) -> list[str]:
    """The metrics that a method has, or that could not be had; those that nobody asked for have no column."""
    scored = {name for method in summary["methods"].values() for name in method["metrics_scored"]}
    return [n for n in summary["protocol"]["metrics"] if n in scored or n in summary.get("unavailable", [])]


def _cells(metric: Metric, values: list[dict[str, Any] | None]) -> list[Cell]:
    means = [v["mean"] for v in values if v and v["mean"] is not None]
    best = (max if metric.higher_is_better else min)(means) if len(means) > 1 else None
    cells: list[Cell] = []
    for value in values:
        if not value or value["mean"] is None:
            cells.append(Cell(UNAVAILABLE))
            continue
        note = f"{value['low']:.{metric.digits}f} – {value['high']:.{metric.digits}f}" if value.get("low") is not None else ""
        cells.append(Cell(f"{value['mean']:.{metric.digits}f}", value["mean"] == best, note))
    return cells


def _heading(metric: Metric) -> str:
    return f"{metric.title}{f' ({metric.unit})' if metric.unit else ''} {metric.arrow}"


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters else "–"


def markdown_table(table: Table, notes: bool = False) -> str:
    header, rows = table
    lines = ["| " + " | ".join(header) + " |", "|" + " :--- |" + " ---: |" * (len(header) - 1)]
    for row in rows:
        texts = [f"**{c.text}**" if c.best else c.text for c in row]
        if notes:
            texts = [f"{t} <sub>{c.note}</sub>" if c.note else t for t, c in zip(texts, row, strict=True)]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def as_text(summary: dict[str, Any]) -> str:
    """The composited view for a terminal: columns lined up, the best of each marked by a star behind it."""
    header, rows = metric_table(summary, _ordered(summary, None))
    texts = [header] + [[c.text + ("*" if c.best else " ") for c in row] for row in rows]
    texts[0] = [header[0], *(f"{name} " for name in header[1:])]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(row[1:], widths[1:], strict=True))]) for row in texts
    ]
    return "\n".join([*lines, "", *footnotes(summary)])


def footnotes(summary: dict[str, Any]) -> list[str]:
    """What stands under every table: n, the interval, what is missing, and the definitions of the metrics shown."""
    protocol = summary["protocol"]
    lines = [
        f"n = {summary['n']} images, protocol {protocol['name']}, mask set {summary['mask_set'][:12]}. Small: 95 % "
        "bootstrap interval of the mean over images. Marked: best of its column."
    ]
    missing = [METRICS[n].title for n in summary.get("unavailable", [])]
    if missing:
        lines.append(f"{UNAVAILABLE} (weights not available): {' and '.join(missing)} need pretrained weights, missing here.")
    lines += [f"* {source}. Quoted, not measured here." for source in sorted({r["source"] for r in protocol["published"]})]
    lines += [f"{METRICS[n].title}: {METRICS[n].definition}." for n in _shown(summary)]
    return lines


def readme_table(summary: dict[str, Any]) -> str:
    """The table for the README's first screen: the composited view with a line on n, the interval and what is quoted."""
    methods = _ordered(summary, None)
    lines = footnotes(summary)
    short = [line for line in lines if not any(line.startswith(f"{m.title}:") for m in METRICS.values())]
    return (
        markdown_table(metric_table(summary, methods), notes=True)
        + "\n"
        + "<br>\n".join(f"<sub>{s}</sub>" for s in short)
        + "\n"
    )


def write_into(file: str | Path, result: str | Path) -> None:
    """Put the README table between the lines `<!-- results -->` and `<!-- /results -->` of a Markdown file."""
    file, begin, end = Path(file), "<!-- results -->\n", "<!-- /results -->"
    text = file.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise InputError(f"{file} has no place for the table: expected the lines {begin.strip()} and {end}.")
    before, rest = text.split(begin, 1)
    write_bytes(file, (before + begin + readme_table(read_summary(result)) + end + rest.split(end, 1)[1]).encode())


# --- Pictures --------------------------------------------------------------------------------------------------------


def picture_grid(folder: Path, methods: list[str], scale: int = 3) -> Image.Image:
    """The seed's grid: original, mask, masked input, then one row a method, each with its name."""
    rows = [
        (name, Image.open(folder / f"{name}.png").convert("RGB")) for name in ("original", "mask", "masked input", *methods)
    ]
    first = rows[0][1]
    side, count = first.height, first.width // first.height
    font = _font(15)
    label = max(int(font.getlength(name)) for name, _ in rows) + 24
    gap, cell = 4, side * scale
    sheet = Image.new("RGB", (label + count * (cell + gap), len(rows) * (cell + gap) - gap), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (name, strip) in enumerate(rows):
        draw.text((label - 12, y * (cell + gap) + cell // 2), name, fill="#222222", font=font, anchor="rm")
        for x in range(count):
            one = strip.crop((x * side, 0, (x + 1) * side, side)).resize((cell, cell), Image.Resampling.NEAREST)
            sheet.paste(one, (label + x * (cell + gap), y * (cell + gap)))
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont:
    from matplotlib import font_manager

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    return data.getvalue()


def curves_plot(summary: dict[str, Any], methods: list[str]) -> bytes:
    """Training loss and validation PSNR and SSIM over the epochs, one line a network, as PNG."""
    panels = {"loss": "training loss", "val_psnr": "validation PSNR (dB)", "val_ssim": "validation SSIM"}
    curves = {m: pd.DataFrame(summary["methods"][m]["training"]) for m in methods if summary["methods"][m]["training"]}
    panels = {column: title for column, title in panels.items() if all(column in curve for curve in curves.values())}
    figure, axes = _figure(len(panels))
    for method, curve in curves.items():
        for axis, column in zip(axes, panels, strict=True):
            axis.plot(curve["epoch"], curve[column], color=_colour(method, methods), label=method, marker="o", markersize=3)
    for axis, title in zip(axes, panels.values(), strict=True):
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_yscale("log")
    return _drawn(figure, axes[-1])


def coverage_plot(folder: Path, methods: list[str]) -> bytes:
    """PSNR of the composited image and inside the hole against coverage, with 95 % intervals, as PNG."""
    figure, axes = _figure(2)
    for method in methods:
        rows = pd.read_parquet(folder / f"{method}.parquet")
        bins = pd.cut(rows["coverage"], np.linspace(0, max(0.1, float(rows["coverage"].max())), 9))
        for axis, column in zip(axes, ("psnr", "psnr_hole"), strict=True):
            if column not in rows:
                continue
            grouped = rows.groupby(bins, observed=True)
            enough = grouped[column].count() > 1
            x, y, error = grouped["coverage"].mean() * 100, grouped[column].mean(), 1.96 * grouped[column].sem()
            style = {"linestyle": "--", "linewidth": 1} if method in CLASSICAL else {}
            axis.errorbar(
                x[enough],
                y[enough],
                error[enough],
                color=_colour(method, methods),
                label=method,
                marker="o",
                markersize=3,
                **style,
            )
    axes[0].set(title="PSNR, composited (dB)", xlabel="coverage (% of the image)")
    axes[1].set(title="PSNR inside the hole (dB)", xlabel="coverage (% of the image)")
    return _drawn(figure, axes[-1])


def _colour(method: str, methods: list[str]) -> str:
    return COLOURS[(len(methods) - 1 - methods.index(method)) % len(COLOURS)]


def _figure(panels: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * panels + 2, 3.6), layout="constrained")
    axes = figure.subplots(1, panels)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, axes


def _drawn(figure: Any, legend: Any) -> bytes:
    handles, labels = legend.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=130)
    return data.getvalue()


# --- Pages -----------------------------------------------------------------------------------------------------------


def headline(summary: dict[str, Any], methods: list[str]) -> str:
    """What the numbers say about the best two networks, in one sentence, without claiming more than the intervals do."""
    networks = [m for m in methods if m not in CLASSICAL]
    scored = [(summary["methods"][m]["metrics"]["psnr"], m) for m in networks if "psnr" in summary["methods"][m]["metrics"]]
    if not scored:
        return ""
    scored.sort(key=lambda pair: -pair[0]["mean"])
    best, name = scored[0]
    text = f"{name} reaches the highest PSNR of the networks, {best['mean']:.2f} dB ({best['low']:.2f} to {best['high']:.2f})"
    if len(scored) > 1:
        second, other = scored[1]
        apart = best["low"] > second["high"]
        text += f"; {other} follows with {second['mean']:.2f} dB, " + (
            "and their intervals do not overlap" if apart else "and their intervals overlap"
        )
    return text + "."


def _sections(summary: dict[str, Any], methods: list[str]) -> list[tuple[str, Table]]:
    sections = [(title, metric_table(summary, methods, suffix)) for suffix, title in VIEWS.items()]
    any_method = summary["methods"][methods[0]]
    for group, title in (("by_coverage", "coverage"), ("by_class", "class")):
        if any_method[group] and "psnr" in any_method["metrics_scored"]:
            sections.append((f"PSNR inside the hole (dB ↑) by {title}", group_table(summary, methods, group)))
    return sections


def _training_lines(summary: dict[str, Any], methods: list[str]) -> list[str]:
    lines: list[str] = []
    for method in methods:
        trained = summary["methods"][method]["model"].get("trained")
        curve = summary["methods"][method]["training"]
        if trained and curve:
            minutes = sum(row["seconds"] for row in curve) / 60
            lines.append(
                f"{method}: {len(curve)} epochs of {trained['images']} images in {minutes:.1f} min on {trained['device']}, "
                f"the weights of epoch {trained['epoch']}, commit {trained['commit'] or 'unknown'}, torch {trained['torch']}"
            )
    return lines


def _markdown(summary: dict[str, Any], methods: list[str], pictures: dict[str, bytes]) -> str:
    parts = [f"# {summary['protocol']['title']}\n", headline(summary, methods) + "\n", "![Picture grid](grid.png)\n"]
    for title, table in _sections(summary, methods):
        parts += [f"## {title}\n", markdown_table(table, notes=True)]
    parts += ["\n".join(f"- {line.removeprefix('* ')}" for line in footnotes(summary)) + "\n"]
    parts += ["## PSNR against coverage\n", "![PSNR against coverage](coverage.png)\n"]
    if "curves" in pictures:
        parts += ["## Training\n", "![Training curves](curves.png)\n"]
        parts += ["\n".join(f"- {line}" for line in _training_lines(summary, methods)) + "\n"]
    return "\n".join(parts)


STYLE = """
:root { --ink: #1c1f23; --soft: #5b6470; --line: #e3e6ea; --best: #e5f3ea; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: #fff;
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.lead { font-size: 1.05rem; color: var(--soft); margin: .3rem 0 1.4rem; max-width: 48rem; }
.wide { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; min-width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
th { font-size: .85rem; color: var(--soft); border-bottom: 2px solid var(--ink); vertical-align: bottom; }
td small { display: block; color: var(--soft); font-size: .72rem; }
td.best { background: var(--best); font-weight: 650; } td.best small { font-weight: 400; }
img { max-width: 100%; height: auto; display: block; } .wide img { max-width: none; }
img.grid { width: max(100%, 46rem); } img.plot { width: max(100%, 40rem); }
.notes { color: var(--soft); font-size: .85rem; padding-left: 1.1rem; } details > summary { cursor: pointer; }
"""


def _html(summary: dict[str, Any], methods: list[str], pictures: dict[str, bytes]) -> str:
    main, *others = _sections(summary, methods)
    notes = "".join(f"<li>{html.escape(line)}</li>" for line in footnotes(summary))
    body = [
        f"<h1>{html.escape(summary['protocol']['title'])}</h1>",
        f'<p class="lead">{html.escape(headline(summary, methods))}</p>',
        _html_picture(pictures["grid"], "Original, mask, masked input, and one row a method", "grid"),
        f"<h2>{html.escape(main[0])}</h2>{_html_table(main[1])}<ul class='notes'>{notes}</ul>",
        f"<h2>PSNR against coverage</h2>{_html_picture(pictures['coverage'], 'PSNR against coverage', 'plot')}",
    ]
    if "curves" in pictures:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in _training_lines(summary, methods))
        body.append(
            f"<h2>Training</h2>{_html_picture(pictures['curves'], 'Training curves', 'plot')}<ul class='notes'>{lines}</ul>"
        )
    body += [f"<h2>{html.escape(title)}</h2>{_html_table(table)}" for title, table in others]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(summary['protocol']['title'])}</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _html_table(table: Table) -> str:
    header, rows = table
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)

    def cell(c: Cell) -> str:
        note = f"<small>{html.escape(c.note)}</small>" if c.note else ""
        return f"<td{' class=best' if c.best else ''}>{html.escape(c.text)}{note}</td>"

    body = "".join(f"<tr>{''.join(cell(c) for c in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _html_picture(data: bytes, alt: str, kind: str) -> str:
    source = base64.b64encode(data).decode()
    return f'<div class="wide"><img class="{kind}" alt="{html.escape(alt)}" src="data:image/png;base64,{source}"></div>'
