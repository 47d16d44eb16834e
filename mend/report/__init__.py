"""The report: an evaluation as Markdown, LaTeX, HTML pages and pictures. Nothing is computed here, only shown."""

import base64
import html
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mend.data.duplicates import read_list
from mend.errors import InputError
from mend.evaluate.metrics import METRICS
from mend.evaluate.result import Result, find_result_folder, find_rows_file, read_result, read_scores
from mend.evaluate.statistics import FEWEST, bootstrap, nested_bootstrap, summarise
from mend.evaluate.trainings import group_trainings, name_group
from mend.images import encode_pil, write_bytes
from mend.inpaint.classical import CLASSICAL
from mend.report.gallery import render_gallery
from mend.report.pictures import draw_grid, plot_coverage, plot_curves
from mend.report.tables import (
    Cell,
    Table,
    define_metrics,
    order_methods,
    render_latex,
    render_markdown,
    tabulate_differences,
    tabulate_groups,
    tabulate_metrics,
    tabulate_trainings,
    write_footnotes,
)
from mend.report.tables import readme_table as readme_table  # notebooks of version 0.1 import it from here

STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
VIEWS = {
    "": "Composited: the known pixels kept",
    "_hole": "Inside the hole only",
    "_band": "At the rim of the hole, where a seam would show: a 32nd of the shorter side deep, 2 pixels at least",
    "_raw": "Raw output of the method",
}


@dataclass(frozen=True)
class Content:
    """What a report says, on every kind of page: its first section is the table of all metrics."""

    title: str
    headline: str
    sections: list[tuple[str, Table]]
    notes: list[str]
    trainings: list[str]
    pictures: dict[str, bytes]


def report(result: str | Path, out: str | Path, runs: list[str] | None = None, without: str | Path | None = None) -> Path:
    """Write report.html, report.md, report.tex, images.html and their pictures for an evaluation; returns report.html.

    Of several trainings of a recipe the pictures are those of the first that has any, and the plot by coverage is their mean.
    `runs` restricts the networks shown, by name or folder; classical fillers stay. `without` is a list of images to leave out,
    as `mend duplicates` writes it. Raises InputError for an unknown run, or a file that is no such list.
    """
    shown, folder, out = read_result(result), find_result_folder(result), Path(out)
    methods = order_methods(shown, runs)
    rows = {method: read_scores(find_rows_file(result, method)) for method in methods}
    if without is not None:
        shown, rows = leave_out(shown, rows, read_list(without), Path(without).stem)
    together = group_trainings(shown, methods)
    drawn = [[name for name in group if (folder / f"{name}.png").exists()] for group in together]
    first = [names[0] for names in drawn if names]
    pictures = {
        "grid": encode_pil(draw_grid(folder, first), "PNG", optimize=True),
        "coverage": plot_coverage(_average_rows(shown, rows, together)),
    }
    if any(shown.methods[m].training for m in methods):
        pictures["curves"] = plot_curves(shown, together)
    for name, data in pictures.items():
        write_bytes(out / f"{name}.png", data)
    content = Content(
        title=shown.protocol.title,
        headline=write_headline(shown, rows),
        sections=_make_sections(shown, rows),
        notes=[*write_footnotes(shown), *define_metrics(shown)],
        trainings=_describe_trainings(shown, methods),
        pictures=pictures,
    )
    write_bytes(out / "report.md", _render_markdown(content).encode())
    caption = f"{content.title}. " + " ".join(line.removeprefix("* ") for line in content.notes)
    write_bytes(out / "report.tex", render_latex(content.sections[0][1], caption).encode())
    page = render_gallery(shown, folder, {method: rows[method] for method in first})
    if page:
        write_bytes(out / "images.html", page.encode())
    # Where the pictures were deleted since, the page that was made of them still shows what it did.
    with_gallery = bool(page) or (out / "images.html").exists()
    write_bytes(out / "report.html", _render_html(content, with_gallery).encode())
    return out / "report.html"


def _average_rows(result: Result, rows: dict[str, pd.DataFrame], together: list[list[str]]) -> dict[str, pd.DataFrame]:
    """The rows of each method, of several trainings the mean of each image's PSNR."""
    found: dict[str, pd.DataFrame] = {}
    for group in together:
        table = rows[group[0]]
        means = {c: np.mean([rows[name][c] for name in group], 0) for c in ("psnr", "psnr_hole") if c in table}
        found[name_group(result, group)] = table.assign(**means)
    return found


def leave_out(
    result: Result, rows: dict[str, pd.DataFrame], images: set[str], listed_in: str
) -> tuple[Result, dict[str, pd.DataFrame]]:
    """The result and the rows without some images, by their ids; metrics of whole sets are then not to be had."""
    kept = {method: table[~table["image"].isin(images)] for method, table in rows.items()}
    if all(len(kept[m]) in (0, len(rows[m])) for m in rows):
        raise InputError(
            f"none, or all, of the images of {result.protocol.name} are in {listed_in}, so there is nothing to leave out, or "
            "nothing left. Is this the list of another data set?"
        )
    methods = {m: replace(result.methods[m], **summarise(table)._asdict()) for m, table in kept.items()}
    count = len(next(iter(kept.values())))
    title = f"{result.protocol.title}, without {listed_in} ({result.n - count} images)"
    why = "a distance of sets needs the pictures themselves"
    sets = {name: why for name, metric in METRICS.items() if metric.distance and name in result.scored}
    return replace(
        result,
        methods=methods,
        protocol=replace(result.protocol, title=title),
        n=count,
        unavailable={**sets, **result.unavailable},
    ), kept


def write_into(file: str | Path, table: str, place: str = "results") -> None:
    """Put a table between the lines `<!-- PLACE -->` and `<!-- /PLACE -->` of a Markdown file."""
    file, begin, end = Path(file), f"<!-- {place} -->\n", f"<!-- /{place} -->"
    text = file.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise InputError(f"{file} has no place for the table: expected the lines {begin.strip()} and {end}.")
    before, rest = text.split(begin, 1)
    write_bytes(file, (before + begin + table + end + rest.split(end, 1)[1]).encode())


def write_headline(result: Result, rows: dict[str, pd.DataFrame]) -> str:
    """What the numbers say about the best two networks, in one sentence, without claiming more than a paired interval does.

    Of one training each it is about these weights, of several each about the networks.
    """
    networks = [m for m in rows if m not in CLASSICAL and result.methods[m].mean("psnr") is not None]
    together = group_trainings(result, networks)
    means = [sum(result.methods[m].mean("psnr") or 0 for m in group) / len(group) for group in together]
    if not means:
        return ""
    first, *others = sorted(range(len(means)), key=lambda i: -means[i])
    best, name = together[first], name_group(result, together[first])
    score = result.methods[best[0]].metrics["psnr"]
    interval = f" ({score.low:.2f} to {score.high:.2f})" if score.low is not None and score.high is not None else ""
    of = f", mean of {len(best)} trainings" if len(best) > 1 else interval
    kind = "networks" if all(result.methods[m].model.trained for m in networks) else "methods"
    text = f"{name} reaches the highest PSNR of the {kind}, {means[first]:.2f} dB{of}"
    if others:
        second = together[others[0]]
        text += (
            f"; {name_group(result, second)} follows with {means[others[0]]:.2f} dB, {_describe_difference(rows, best, second)}"
        )
    return text + "."


def _describe_difference(rows: dict[str, pd.DataFrame], best: list[str], second: list[str]) -> str:
    """What is shown of the difference in PSNR of two groups of trainings on the same images."""
    a, b = (np.stack([rows[m]["psnr"].to_numpy(np.float64) for m in group])[..., None] for group in (best, second))
    there, images = np.isfinite(a).all((0, 2)) & np.isfinite(b).all((0, 2)), rows[best[0]]["image"].to_numpy()
    a, b, images = a[:, there], b[:, there], images[there]
    alone = min(len(best), len(second)) == 1
    low, high = bootstrap((a.mean(0) - b.mean(0)), images) if alone else nested_bootstrap(a, b, images, (True, True))
    if np.isnan(low[0]):
        return f"on fewer than {FEWEST} images, too few to tell them apart"
    if not low[0] > 0:
        return "and the interval of the difference contains zero"
    over = "of these weights: one training says nothing of a network" if alone else "over trainings and images"
    return f"{a.mean() - b.mean():.2f} dB less on the same images ({low[0]:.2f} to {high[0]:.2f}, {over})"


def _make_sections(result: Result, rows: dict[str, pd.DataFrame]) -> list[tuple[str, Table]]:
    methods = list(rows)
    sections = [(title, tabulate_metrics(result, methods, suffix)) for suffix, title in VIEWS.items()]
    each = tabulate_trainings(result, methods)
    sections += [("Each training by itself", each)] if each else []
    first = result.methods[methods[0]]
    if "psnr" in first.metrics_scored:
        if first.by_coverage:
            sections.append(("PSNR inside the hole (dB ↑) by coverage", tabulate_groups(result, methods, "coverage")))
        if first.by_class:
            sections.append(("PSNR inside the hole (dB ↑) by class", tabulate_groups(result, methods, "class")))
    return [*sections, *tabulate_differences(result, rows)]


def _describe_trainings(result: Result, methods: list[str]) -> list[str]:
    lines: list[str] = []
    for method in methods:
        trained, curve = result.methods[method].model.trained, result.methods[method].training
        if trained and curve:
            minutes = sum(row["seconds"] or 0 for row in curve) / 60
            lines.append(
                f"{method}: {len(curve)} epochs of {trained.images} images in {minutes:.1f} min on {trained.device}, "
                f"the weights of epoch {trained.epoch}, commit {trained.commit or 'unknown'}, torch {trained.torch}"
            )
    return lines


def _render_markdown(content: Content) -> str:
    parts = [f"# {content.title}\n", content.headline + "\n", "![Picture grid](grid.png)\n"]
    for title, table in content.sections:
        parts += [f"## {title}\n", render_markdown(table, notes=True)]
    parts += ["\n".join(f"- {line.removeprefix('* ')}" for line in content.notes) + "\n"]
    parts += ["## PSNR against coverage\n", "![PSNR against coverage](coverage.png)\n"]
    if "curves" in content.pictures:
        parts += ["## Training\n", "![Training curves](curves.png)\n"]
        parts += ["\n".join(f"- {line}" for line in content.trainings) + "\n"]
    return "\n".join(parts)


def _render_html(content: Content, with_gallery: bool) -> str:
    (main, table), *others = content.sections
    pictures = content.pictures
    body = [
        f"<h1>{html.escape(content.title)}</h1>",
        f'<p class="lead">{html.escape(content.headline)}</p>',
        _render_picture(pictures["grid"], "Original, mask, masked input, and one row a method", "grid"),
        f"<h2>{html.escape(main)}</h2>{_render_table(table)}{_render_notes(content.notes)}",
        '<p><a href="images.html">Image by image: the worst, the best, the largest disagreements</a></p>'
        if with_gallery
        else "",
        f"<h2>PSNR against coverage</h2>{_render_picture(pictures['coverage'], 'PSNR against coverage', 'plot')}",
    ]
    if "curves" in pictures:
        curves = _render_picture(pictures["curves"], "Training curves", "plot")
        body.append(f"<h2>Training</h2>{curves}{_render_notes(content.trainings)}")
    body += [f"<h2>{html.escape(title)}</h2>{_render_table(table)}" for title, table in others]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(content.title)}</title><style>\n{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _render_notes(lines: list[str]) -> str:
    return f"<ul class='notes'>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def _render_table(table: Table) -> str:
    header, rows = table
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)

    def cell(c: Cell) -> str:
        note = f"<small>{html.escape(c.note)}</small>" if c.note else ""
        return f"<td{' class=best' if c.best else ''}>{html.escape(c.text)}{note}</td>"

    body = "".join(f"<tr>{''.join(cell(c) for c in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _render_picture(data: bytes, alt: str, kind: str) -> str:
    source = base64.b64encode(data).decode()
    return f'<div class="wide"><img class="{kind}" alt="{html.escape(alt)}" src="data:image/png;base64,{source}"></div>'
