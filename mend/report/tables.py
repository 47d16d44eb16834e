"""Tables of an evaluation: cells first, then as Markdown, LaTeX, or lines for a terminal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Literal

import numpy as np
import pandas as pd

from mend.errors import InputError
from mend.evaluate.compare import Difference, compare_groups
from mend.evaluate.metrics import METRICS, Metric, name_metric
from mend.evaluate.reproduction import Reproduction
from mend.evaluate.result import Result, Score
from mend.evaluate.statistics import FEWEST, label_coverage
from mend.evaluate.trainings import group_trainings, name_group, pair_with_plain
from mend.inpaint.classical import CLASSICAL
from mend.models import MODELS

UNAVAILABLE = "n/a"


def order_methods(result: Result, runs: list[str] | None) -> list[str]:
    """Classical fillers, then networks by width, in the order of `MODELS`, by name. InputError for a run that is not there."""
    there = result.methods
    wanted = {Path(run).name for run in runs} if runs else None
    if wanted and wanted - set(there):
        raise InputError(f"no result for {', '.join(sorted(wanted - set(there)))}. Evaluated: {', '.join(there)}.")
    networks = [m for m in there if m not in CLASSICAL and (wanted is None or m in wanted)]

    def place(method: str) -> tuple[int, int, str]:
        model = there[method].model
        return model.width, list(MODELS).index(model.model) if model.model in MODELS else len(MODELS), method

    return [m for m in CLASSICAL if m in there] + sorted(networks, key=place)


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False
    note: str = ""  # the interval, or the deviation over trainings


Table = tuple[list[str], list[list[Cell]]]


def tabulate_metrics(result: Result, methods: list[str], suffix: str = "", further: bool = True) -> Table:
    """Every metric of every method in one view ("" composited, "_hole", "_band", "_raw"); the best of a column is marked.

    Trainings of one recipe are one row: their mean ± their standard deviation. `further` metrics are those that were scored and
    are not the protocol's; without them those are left out too that no method has.
    """
    scored = result.scored
    shown = [n for n in _list_metrics(result) if further or (n in result.protocol.metrics and n in scored)]
    names = [n for n in shown if suffix not in ("_hole", "_band") or METRICS[n].pixels is not None]
    header = ["Method", "Parameters", *(_format_heading(METRICS[n]) for n in names)]
    together = group_trainings(result, methods)
    columns = [
        _format_column(METRICS[n], [[result.methods[m].metrics.get(n + suffix) for m in group] for group in together])
        for n in names
    ]
    titles = [Cell(_format_title(result, group)) for group in together]
    parameters = [Cell(_format_millions(result.methods[group[0]].parameters)) for group in together]
    rows = [list(row) for row in zip(titles, parameters, *columns, strict=True)]
    if not suffix:
        for row in result.protocol.published:
            values = [Cell(f"{row.scores[n]:.{METRICS[n].digits}f}" if n in row.scores else "") for n in names]
            rows.append([Cell(row.name + " *"), Cell(""), *values])
    if not any(result.methods[m].parameters for m in methods):  # of pictures that other programs filled nobody knows them
        header, rows = [header[0], *header[2:]], [[row[0], *row[2:]] for row in rows]
    return header, rows


def tabulate_groups(result: Result, methods: list[str], by: Literal["coverage", "class"]) -> Table:
    """PSNR inside the hole of every method by coverage bin or by class; trainings of one recipe are one row."""
    scores = {m: result.methods[m].by_coverage if by == "coverage" else result.methods[m].by_class for m in methods}
    first, together = scores[methods[0]], group_trainings(result, methods)
    metric = "psnr_hole"
    columns = [
        _format_column(METRICS["psnr"], [[scores[m].get(label, {}).get(metric) for m in group] for group in together])
        for label in first
    ]
    header = ["Method", *(f"{label} (n = {part[metric].n if metric in part else 0})" for label, part in first.items())]
    titles = [Cell(_format_title(result, group)) for group in together]
    return header, [list(row) for row in zip(titles, *columns, strict=True)]


def tabulate_trainings(result: Result, methods: list[str]) -> Table | None:
    """Every training by itself, where a recipe was trained several times; None where none was."""
    names, rows = _list_metrics(result), list[list[Cell]]()
    for group in group_trainings(result, methods):
        for method in group if len(group) > 1 else ():
            trained, scores = result.methods[method].model.trained, result.methods[method].metrics
            cells = [_format_column(METRICS[n], [[scores.get(n)]])[0] for n in names]
            rows.append([Cell(method), Cell(str(trained.config.get("seed", "")) if trained else ""), *cells])
    return (["Training", "Seed", *(_format_heading(METRICS[n]) for n in names)], rows) if rows else None


CAUSES = ("psnr_hole", "psnr_band", "lpips-cifar")  # what differences are shown by coverage


def tabulate_differences(result: Result, rows: dict[str, pd.DataFrame]) -> list[tuple[str, Table]]:
    """For each width by how much each network differs from the plain U-Net, bin by bin of coverage, and a title that says over
    what the intervals are. In bold what is shown to be better."""
    found: list[tuple[str, Table]] = []
    for width, pairs in pair_with_plain(result, rows).items():
        plain, alone = pairs[0][0], len(pairs[0][0]) == 1
        names = [name for pair in pairs for group in pair for name in group]
        header, table = ["Difference from " + name_group(result, plain)], list[list[Cell]]()
        for column in [column for column in CAUSES if all(column in rows[name] for name in names)]:
            metric, view = METRICS[name_metric(column)], {"hole": " in the hole", "band": " at the rim"}
            title = f"{_format_heading(metric)}{view.get(column.partition('_')[2], '')}"
            for _, group in pairs:
                a, b = ([rows[name] for name in side] for side in (group, plain))
                differences = compare_groups(label_coverage(a[0]["coverage"]), [column], a, b)
                cells = [_format_difference(one, metric.digits) for one in differences]
                table.append([Cell(f"{name_group(result, group)}: {title}"), *cells])
                header = [header[0], *(f"{one.group} (n = {one.n})" for one in differences)]
        over = "over images alone: of one training each they speak of these weights" if alone else "over trainings and images"
        found += [(f"By coverage of the hole, width {width}; intervals {over}", (header, table))] if table else []
    return found


def _format_difference(one: Difference, digits: int) -> Cell:
    note = "" if np.isnan(one.low) else f"{one.low:+.{digits}f} to {one.high:+.{digits}f}"
    return Cell(f"{one.difference:+.{digits}f}", one.better == "A", note)


def _format_title(result: Result, group: list[str]) -> str:
    return name_group(result, group) + (f" ({len(group)} trainings)" if len(group) > 1 else "")


def _list_metrics(result: Result) -> list[str]:
    """The protocol's metrics that a method has or that could not be had, then others that were scored."""
    own, scored = result.protocol.metrics, result.scored
    return [n for n in own if n in scored or n in result.unavailable] + [n for n in METRICS if n in scored and n not in own]


def _format_column(metric: Metric, groups: Sequence[Sequence[Score | None]]) -> list[Cell]:
    """A column: the mean of each method, or of those trainings of a group that have the metric; which is best; the interval, or
    the deviation."""
    there = [[score.mean for score in group if score and score.mean is not None] for group in groups]
    means = [mean(values) if values else None for values in there]
    known = [value for value in means if value is not None]
    best = (max if metric.higher_is_better else min)(known) if len(known) > 1 else None
    cells: list[Cell] = []
    for value, values, group in zip(means, there, groups, strict=True):
        if value is None:
            cells.append(Cell(UNAVAILABLE))
            continue
        notes = [f"± {stdev(values):.{metric.digits + 1}f}"] if len(values) > 1 else []
        if len(values) < len(group):
            notes.append(f"{len(values)} of {len(group)}")
        score = group[0]
        if len(group) == 1 and score is not None and score.low is not None and score.high is not None:
            notes.append(f"{score.low:.{metric.digits}f} – {score.high:.{metric.digits}f}")
        cells.append(Cell(f"{value:.{metric.digits}f}", value == best, ", ".join(notes)))
    return cells


def _format_heading(metric: Metric) -> str:
    return f"{metric.title}{f' ({metric.unit})' if metric.unit else ''} {metric.arrow}"


def _format_millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters else "–"


def render_markdown(table: Table, notes: bool = False) -> str:
    header, rows = table
    lines = ["| " + " | ".join(header) + " |", "|" + " :--- |" + " ---: |" * (len(header) - 1)]
    for row in rows:
        texts = [f"**{c.text}**" if c.best else c.text for c in row]
        if notes:
            texts = [f"{t} <sub>{c.note}</sub>" if c.note else t for t, c in zip(texts, row, strict=True)]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def render_latex(table: Table, caption: str) -> str:
    """A `table` environment for the booktabs package; the best of a column is bold."""
    header, rows = table
    lines = [
        *(r"\begin{table}", r"\centering", r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}", r"\toprule"),
        *(" & ".join(map(_escape_latex, header)) + r" \\", r"\midrule"),
        *(" & ".join(map(_render_latex_cell, row)) + r" \\" for row in rows),
        *(r"\bottomrule", r"\end{tabular}", rf"\caption{{{_escape_latex(caption)}}}", r"\end{table}"),
    ]
    return "\n".join(lines) + "\n"


def _render_latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{_escape_latex(cell.text)}}}" if cell.best else _escape_latex(cell.text)
    return text + (rf" {{\scriptsize {_escape_latex(cell.note)}}}" if cell.note else "")


def _escape_latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "σ": r"$\sigma$", "−": "$-$"}
    special |= {"·": r"$\cdot$", "×": r"$\times$", "₁₀": r"$_{10}$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    return re.sub("₁₀|.", lambda found: special.get(found[0], found[0]), text)


def render_text(result: Result) -> str:
    """The composited view for a terminal: columns lined up, the best of each marked by a star behind it."""
    header, rows = tabulate_metrics(result, order_methods(result, None))
    texts = [header] + [[c.text + ("*" if c.best else " ") for c in row] for row in rows]
    texts[0] = [header[0], *(f"{name} " for name in header[1:])]
    return "\n".join([*align_rows(texts, 1), "", *write_footnotes(result, intervals=False, mark="*"), *define_metrics(result)])


def render_comparison(found: list[Difference], a: str, b: str) -> str:
    """A table for a terminal; each line ends with what it shows."""
    lines = [("", "n", a, b, "A − B", "95 % interval", "")]
    for d in found:
        metric = METRICS[name_metric(d.metric)]
        view = d.metric.partition("_")[2]
        digits = metric.digits + 1
        title = metric.title + (f" {view}" if view else "") + (f", {d.group}" if d.group != "all" else "")
        if np.isnan(d.low):
            few = "its features are not kept beside the result" if metric.distance else f"fewer than {FEWEST} images"
            interval, said = "", f"no interval: {few}"
        else:
            interval = f"{d.low:+.{digits}f} to {d.high:+.{digits}f}"
            ahead = a if d.better == "A" else b
            said = (
                f"{ahead} is better" if 1 not in (d.trainings_a, d.trainings_b) else f"these weights differ: {ahead} is ahead"
            )
            said = said if d.better else "no difference shown"
        numbers = (f"{d.a:.{digits}f}", f"{d.b:.{digits}f}", f"{d.difference:+.{digits}f}")
        lines.append((title, str(d.n), *numbers, interval, said))
    judged = sum(not np.isnan(d.low) for d in found)
    note = f"{judged} intervals of 95 %: where nothing differs, about {judged / 20:.0f} of them would still exclude zero."
    return "\n".join([*_add_remarks(lines, 1), *(["", note] if judged else []), *_describe_level(found, a, b)])


def _describe_level(found: list[Difference], a: str, b: str) -> list[str]:
    """What a comparison speaks about: of networks, these weights or their recipes; nothing where neither was trained."""
    trained = {name: n for name, n in ((a, found[0].trainings_a), (b, found[0].trainings_b)) if n} if found else {}
    if not trained:
        return []
    if max(trained.values()) == 1:
        return [
            "One training each: the intervals are over images, and say that these weights differ, not that these networks do. "
            "Two trainings of one network differ as well: train each with several seeds, and compare the groups."
        ]
    of = " and ".join(f"{n} of {name}" for name, n in trained.items())
    return [
        f"Trainings: {of}. The intervals are over trainings and images: a bootstrap over both, widened by Student's t for few "
        "trainings; those of distances of sets are over trainings alone."
    ]


def render_reproduction(found: Reproduction) -> str:
    """A table for a terminal, how many numbers are within their tolerance, and which methods they cannot tell apart."""
    table = [("", "", "old", "new", "difference", "tolerance", "")]
    for line in found.lines:
        digits = METRICS[line.metric].digits + 1
        numbers = (
            f"{line.old:.{digits}f}",
            f"{line.new:.{digits}f}",
            f"{line.new - line.old:+.{digits}f}",
            f"{line.tolerance:.{digits}f}",
        )
        said = "" if line.within else "ANOTHER ORDER" if line.turned else "OUTSIDE"
        table.append((line.method, METRICS[line.metric].title, *numbers, said))
    within = sum(line.within for line in found.lines)
    below = [f"{within} of {len(found.lines)} numbers within tolerance"]
    for one, two in found.alike:
        below.append(
            f"{one} and {two} cannot be told apart: in every metric they differ by less than two trainings of one network may. "
            "If their numbers were swapped, this check would not notice."
        )
    return "\n".join([*_add_remarks(table, 2), "", *below])


def _add_remarks(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """`align_rows`, with the last column as a remark behind each line."""
    numbers = align_rows([row[:-1] for row in rows], left)
    return [f"{line}  {row[-1]}".rstrip() for line, row in zip(numbers, rows, strict=True)]


def align_rows(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows of cells as lines of one width a column: the first `left` columns begin together, the others end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust if i < left else str.rjust for i in range(len(widths))]
    return ["  ".join(side(text, width) for side, text, width in zip(sides, row, widths, strict=True)) for row in rows]


def write_footnotes(result: Result, intervals: bool = True, empty: bool = True, mark: str = "Bold") -> list[str]:
    """What stands under every table: n, the interval, what is missing of columns that are shown `empty` or are not, and what
    is quoted. `mark` says how the table shows the best value."""
    protocol = result.protocol
    per_image = protocol.drawn.per_image if protocol.drawn else 1
    count = f"{result.n} images" if per_image == 1 else f"{result.n} holes, {per_image} an image"
    some = any(s.low is not None for method in result.methods.values() for s in method.metrics.values())
    small = "Small: 95 % bootstrap interval of the mean over images. " if intervals and some else ""
    if any(len(group) > 1 for group in group_trainings(result, result.methods)):
        small = small.replace("images. ", "images; ±: standard deviation over trainings that differ in the seed. ")
    lines = [f"n = {count}, protocol {protocol.name}, mask set {result.mask_set[:12]}. {small}{mark}: best of its column."]
    if protocol.masks and protocol.drawn is None:
        low, high = (f"{share:.0%}".replace("%", " %") for share in (protocol.policy.low, protocol.policy.high))
        lines.append(
            f"An image whose own object covers less than {low} or more than {high} of it has the hole of another image."
        )
    reasons: dict[str, list[str]] = {}
    for name, reason in result.unavailable.items():
        reasons.setdefault(reason, []).append(METRICS[name].title)
    missing = UNAVAILABLE if empty else "Not measured"
    lines += [f"{missing} ({reason}): {', '.join(titles)}." for reason, titles in reasons.items()]
    checked: dict[str, list[str]] = {}
    for name, by in result.certified.items():
        checked.setdefault(by, []).append(METRICS[name].title)
    said = [f"{', '.join(titles)} against {by or 'nothing, no reference is stored'}" for by, titles in checked.items()]
    lines += [f"Checked at the start on reference pictures: {'; '.join(said)}."] if said else []
    return lines + [f"* {source}. Quoted, not measured here." for source in sorted({row.source for row in protocol.published})]


def define_metrics(result: Result, empty: bool = True) -> list[str]:
    """A definition of each of the metrics shown, those of `empty` columns too."""
    return [f"{METRICS[n].title}: {METRICS[n].definition}." for n in _list_metrics(result) if empty or n in result.scored]


def readme_table(result: Result) -> str:
    """The table for the README's first screen: the composited view with a line on n, the interval and what is quoted."""
    methods = order_methods(result, None)
    return (
        render_markdown(tabulate_metrics(result, methods, further=False), notes=True)
        + "\n"
        + "<br>\n".join(f"<sub>{line}</sub>" for line in write_footnotes(result, empty=False))
        + "\n\n<details><summary>What is measured</summary>\n\n"
        + "\n".join(f"- {line}" for line in define_metrics(result, empty=False))
        + "\n\n</details>\n"
    )
