"""The tables of the README and of the docs that are made of committed results.

    python benchmarks/pages.py

`TABLES` says which table stands where, between the lines `<!-- NAME -->` and `<!-- /NAME -->`. Other tables of docs/results.md
are made by `mend report --into docs/results.md` and `large_holes.py`.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mutants import is_equal

from mend.evaluate.result import read_result
from mend.evaluate.statistics import bootstrap, estimate_training_interval
from mend.evaluate.trainings import group_trainings, name_group
from mend.report import write_into
from mend.report.tables import order_methods, render_markdown, tabulate_metrics

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "results" / "cifar10-object-v1"
VALIDATED = {"PSNR (dB) ↑": ("val_psnr", 2), "SSIM ↑": ("val_ssim", 4), "LPIPS-CIFAR ↓": ("val_lpips_cifar", 4)}  # by title
BY_IMAGE = {"psnr": ("PSNR (dB) ↑", 2), "ssim": ("SSIM ↑", 4), "lpips-cifar": ("LPIPS-CIFAR ↓", 4)}  # titles and digits


def scores() -> str:
    """The table of the experiment in small: its metrics that were measured; of several trainings mean ± standard deviation, and
    no intervals."""
    result = read_result(RESULT)
    header, rows = tabulate_metrics(result, order_methods(result, None), further=False)
    rows = [[replace(cell, note=cell.note * cell.note.startswith("±")) for cell in row] for row in rows]
    return render_markdown((header, [row for row in rows if not row[0].text.endswith("*")]), notes=True)


def photographs(protocol: str) -> str:
    """The scores of whole photographs, with 95 % intervals."""
    result = read_result(ROOT / "results" / protocol)
    header, rows = tabulate_metrics(result, order_methods(result, None), further=False)
    (commit,) = {result.methods[name].commit for name in ("mend", "mend-smooth")}
    assert result.protocol.drawn is not None
    photos = result.n // result.protocol.drawn.per_image
    note = (
        f"n = {result.n} holes in {photos} photographs. Small: 95 % bootstrap interval of the mean, over photographs. Bold: "
        f"best. Commit {commit}."
    )
    return render_markdown((header, rows), notes=True) + f"\n<sub>{note}</sub>\n"


def set_aside_gains() -> str:
    """The smooth filling minus the harmonic one on the photographs set aside, inside the hole, by its size; and without those
    of the largest source."""
    folder = ROOT / "results" / "photos-free-test"
    ours, theirs = (pd.read_parquet(folder / f"{name}.parquet") for name in ("mend-smooth", "harmonic"))
    sources = pd.read_csv(folder / "photographs.csv").set_index("image")["file"].str.split("/").str[0]
    without = ours["image"].map(sources) != "clothing"
    columns = {"PSNR (dB) ↑": ("psnr_hole", 2), "SSIM ↑": ("ssim_hole", 3)}
    titles = [f"{title}{more}" for more in ("", ", without clothing") for title in columns]
    table = ["| part of the picture | n | " + " | ".join(titles) + " |", "| :--- | ---: |" + " ---: |" * len(titles)]
    for least, most in ((0.05, 0.10), (0.10, 0.25), (0.25, 0.40)):
        inside = (ours["coverage"] > least) & (ours["coverage"] <= most)
        cells = []
        for chosen in (inside, inside & without):
            for column, digits in columns.values():
                apart = (ours[column] - theirs[column])[chosen].to_numpy(np.float64)[:, None]
                low, high = bootstrap(apart, ours["image"][chosen].to_numpy())
                cells.append(difference({"difference": apart.mean(), "low": low[0], "high": high[0]}, digits))
        table.append(f"| {least:.0%} to {most:.0%} | {inside.sum()} | ".replace("%", " %") + " | ".join(cells) + " |")
    note = "Of the pixels in the hole. Small: 95 % intervals over photographs."
    return "\n".join([*table, "", f"<sub>{note}</sub>", ""])


def trainings() -> str:
    """How far trainings of one recipe lie apart: mean ± standard deviation, and the lowest and highest."""
    result, columns = read_result(RESULT), {"psnr": 2, "lpips-cifar": 4, "fid-cifar": 2}
    table = ["| Network | Trainings | PSNR (dB) | LPIPS-CIFAR | FID-CIFAR |", "| :--- |" + " ---: |" * 4]
    for group in group_trainings(result, order_methods(result, None)):
        cells = []
        for column, digits in columns.items() if len(group) > 1 else ():
            means = [mean for name in group if (mean := result.methods[name].mean(column)) is not None]
            shown = (statistics.mean(means), statistics.stdev(means), min(means), max(means))
            cells.append("{} ± {} <sub>{} – {}</sub>".format(*(f"{value:.{digits}f}" for value in shown)))
        table += [f"| {name_group(result, group)} | {len(group)} | " + " | ".join(cells) + " |"] if cells else []
    return "\n".join(table) + "\n"


def signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def refinement() -> str:
    """Simple refinement minus none, by coverage, with its intervals."""
    columns = {
        "psnr_hole": ("PSNR in the hole (dB)", 2),
        "psnr_band": ("PSNR at the rim (dB)", 2),
        "lpips-cifar": ("LPIPS-CIFAR", 4),
    }
    rows = pd.read_csv(RESULT / "simple-against-unet.csv").set_index(["group", "metric"])
    table = ["| Missing | n | " + " | ".join(title for title, _ in columns.values()) + " |", "| :--- |" + " ---: |" * 4]
    groups = [group for group in rows.index.get_level_values(0).unique() if group == "all" or group.startswith("coverage ")]
    for group in groups:
        cells = [difference(rows.loc[(group, metric)], digits) for metric, (_, digits) in columns.items()]
        n = rows.loc[(group, "psnr_hole")]["n"]
        table.append(f"| {group.removeprefix('coverage ')} | {n} | " + " | ".join(cells) + " |")
    return "\n".join(table) + "\n"


def difference(row: Any, digits: int) -> str:
    shown = [signed(row[key], digits) for key in ("difference", "low", "high")]
    return "{} <sub>{} to {}</sub>".format(*shown)


def context() -> str:
    """`unet-context`, with and without LPIPS-CIFAR in its loss, minus each refined U-Net, on all images."""
    metrics = {**BY_IMAGE, "fid-cifar": ("FID-CIFAR ↓", 2)}
    table = [
        "| | Trainings | " + " | ".join(title for title, _ in metrics.values()) + " |",
        "| :--- | ---: |" + " ---: |" * len(metrics),
    ]
    for ours in ("context", "context-l1"):
        for other in ("simple", "aspp"):
            rows = pd.read_csv(RESULT / f"{ours}-against-{other}.csv").query("group == 'all'").set_index("metric")
            counts = rows.loc["psnr"]
            cells = [difference(rows.loc[metric], digits) for metric, (_, digits) in metrics.items()]
            name = f"unet-{ours} minus unet-{other}"
            table.append(f"| {name} | {counts.trainings_a}, {counts.trainings_b} | " + " | ".join(cells) + " |")
    return "\n".join(table) + "\n"


def holes() -> str:
    """`unet-context` minus each refined U-Net, on images with their own hole and with a borrowed one."""
    causes = _read("causes.json")
    found = {(one["network"], one["group"], one["metric"]): one for one in causes["own and borrowed"]}
    titles = " | ".join(title for title, _ in BY_IMAGE.values())
    table = [f"| | Holes | n | {titles} |", "| :--- | :--- | ---: |" + " ---: |" * len(BY_IMAGE)]
    for other in ("unet-simple", "unet-aspp"):
        for kind in ("own", "borrowed"):
            pair = f"unet-context-w16 minus {other}-w16"
            cells = [difference(found[pair, kind, metric], digits) for metric, (_, digits) in BY_IMAGE.items()]
            table.append(f"| unet-context minus {other} | {kind} | {causes['holes'][kind]:,} | " + " | ".join(cells) + " |")
    return "\n".join(table) + "\n"


def context_ablation() -> str:
    """What each change on the way to `unet-context` brings in short trainings: the mean of the seeds, and each."""
    rows = pd.read_csv(ROOT / "results" / "context-ablation.csv")
    table = ["| | " + " | ".join(VALIDATED) + " |", "| :--- |" + " ---: |" * len(VALIDATED)]
    for name, part in rows.groupby("row", sort=False):
        cells = []
        for metric, digits in VALIDATED.values():
            each = ", ".join(f"{value:.{digits}f}" for value in part[metric])
            cells.append(f"{part[metric].mean():.{digits}f} <sub>{each}</sub>")
        table.append(f"| {name} | " + " | ".join(cells) + " |")
    (epochs,), commits = rows["epoch"].unique(), ", ".join(rows["commit"].unique())
    note = f"{epochs} epochs, width 16; the 1,000 validation images. Small: each of the two trainings. Commits: {commits}."
    return "\n".join([*table, "", f"<sub>{note}</sub>", ""])


def fifteen_epochs() -> str:
    """`unet-context` and ASPP with its input and loss, trained to the end: means ± deviation, and what differs."""
    rows = pd.read_csv(ROOT / "results" / "context-15-epochs.csv")
    table = ["| | Trainings | " + " | ".join(VALIDATED) + " |", "| :--- | ---: |" + " ---: |" * len(VALIDATED)]
    parts = dict(list(rows.groupby("row", sort=False)))
    for name, part in parts.items():
        cells = [f"{part[m].mean():.{digits}f} ± {part[m].std():.{digits + 1}f}" for m, digits in VALIDATED.values()]
        table.append(f"| {name} | {len(part)} | " + " | ".join(cells) + " |")
    aspp, ours = parts.values()
    apart = []
    for metric, digits in VALIDATED.values():
        low, high = estimate_training_interval(list(ours[metric]), list(aspp[metric]))
        middle = ours[metric].mean() - aspp[metric].mean()
        apart.append(difference({"difference": middle, "low": low, "high": high}, digits))
    table.append("| difference | | " + " | ".join(apart) + " |")
    (epochs,), commits = rows["epoch"].unique(), ", ".join(rows["commit"].unique())
    note = f"{epochs} epochs, width 16; the 1,000 validation images. Small: 95 % intervals over trainings. Commits: {commits}."
    return "\n".join([*table, "", f"<sub>{note}</sub>", ""])


def small_marks() -> str:
    """PSNR of what is filled in small marks, and mend's difference from each other method on the same ones."""
    record = json.loads((ROOT / "results" / "small-marks.json").read_text(encoding="utf-8"))
    kinds = record["by kind"]
    names = list(next(iter(kinds.values()))["means"])
    table = ["| | " + " | ".join(kinds) + " | seconds at 2 megapixels |", "| :--- |" + " ---: |" * (len(kinds) + 1)]
    for name in names:
        cells = []
        for kind in kinds.values():
            apart = kind["mend minus"].get(name, {}).get("psnr")
            shown = [signed(apart[key], 2) for key in ("mean", "low", "high")] if apart else []
            cells.append(
                f"{kind['means'][name]['psnr']['mean']:.2f}"
                + (" <sub>mend {} ({} to {})</sub>".format(*shown) if shown else "")
            )
        table.append(f"| {name} | " + " | ".join(cells) + f" | {record['seconds at 2 megapixels'][name]:.2f} |")
    note = (
        f"PSNR (dB ↑) of the filled pixels, n = {record['photographs']} photographs of BSDS500. Small: mend minus the method "
        f"of the row, with its 95 % interval over photographs. {record['device']}, commit {record['commit']}."
    )
    return "\n".join([*table, "", f"<sub>{note}</sub>", ""])


def object_selection() -> str:
    """How well the studio's object tool outlines objects, by what a person shows it."""
    record = json.loads((ROOT / "results" / "object-selection.json").read_text(encoding="utf-8"))
    groups = record["intersection_over_union"]
    table = ["| | " + " | ".join(f"{group}, n = {values['n']}" for group, values in groups.items()) + " |"]
    table.append("| :--- |" + " ---: |" * len(groups))
    for name in groups["all"]:
        if name != "n":
            cells = (f"{values[name]['median']:.2f} <sub>{values[name]['mean']:.2f}</sub>" for values in groups.values())
            table.append(f"| {name.replace(' and', ', then')} | " + " | ".join(cells) + " |")
    seconds = record["seconds_of_a_core_at_2_megapixels"]
    note = (
        f"Intersection over union with outlines drawn by hand, 1 = the same: median; small: mean. A box takes "
        f"{seconds['median']:.1f} s of one core at 2 megapixels (median of {seconds['n']}; at most {seconds['most']:.1f} s). "
        f"Commit {record['commit']}."
    )
    return "\n".join([*table, "", f"<sub>{note}</sub>", ""])


def neighbours() -> str:
    """mend beside other programs. What was measured here is read; the rest is from their sources, as the README says below."""
    installed = json.loads((ROOT / "results" / "performance.json").read_text(encoding="utf-8"))["installing"]["cases"]
    now = installed["fill a photograph"]["now"]
    holes = json.loads((ROOT / "results" / "large-holes.json").read_text(encoding="utf-8"))["by coverage"]

    def seconds(method: str) -> str:
        medians = [methods[method]["seconds"]["median"] for methods in holes.values() if method in methods]
        return f"{max(medians):.1f} s" if medians else "not measured"

    weights = sum(file.stat().st_size for file in (ROOT / "mend" / "assets" / "structure").glob("*.safetensors"))
    names = ("", "mend", "IOPaint 1.6", "simple-lama 0.1", "LaMa", "G'MIC `inpaint`")
    rows = (
        names,
        ("---",) * len(names),
        (
            "you install",
            f"{now['megabytes']:.0f} MB in {now['pip']:.0f} s, no PyTorch",
            "PyTorch and diffusers",
            "PyTorch",
            "PyTorch of 2021",
            "one program",
        ),
        (
            "network",
            f"{weights / 1e6:.0f} MB, comes with it",
            "fetched; LaMa is 206 MB",
            "fetched, 206 MB",
            "fetched, 27 or 51 M weights",
            "none: copies patches",
        ),
        (
            "a large hole in 0.15 megapixels, CPU ¹",
            f"{seconds('mend')}; smooth {seconds('mend, smooth')}",
            "not measured",
            "not measured",
            "not measured",
            seconds("gmic"),
        ),
        ("licence of the code", "Apache-2.0", "Apache-2.0", "not stated in its README", "Apache-2.0", "CeCILL"),
        ("offline", "yes", "after the downloads", "after the download", "after the download", "yes"),
        (
            "other pixels",
            "identical in PNG, TIFF, lossless WebP; in JPEG, only blocks at the hole change; each file is checked",
            "JPEG is encoded again",
            "sizes that are no multiple of 8 come back larger",
            "identical, unless you switch on its refinement",
            "not checked by us",
        ),
        (
            "limits",
            "invents nothing new; takes no text prompt",
            "folders: writes PNG only, stops at a bad file; no longer developed",
            "one picture at a time",
            "its optional refinement needs a GPU with 24 GB",
            "only copies patches: lines and shapes break in large holes",
        ),
    )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def damaged() -> str:
    """What became of damaged files, by command."""
    record = _read("mutations.json")
    table = ["| command | filled, checked or scored | refused with a sentence | faults |", "| :--- | ---: | ---: | ---: |"]
    for command, counts in record["by_command"].items():
        faults = sum(counts.values()) - counts["done"] - counts["refused"]
        name = command if command.startswith("POST") else f"mend {command.removesuffix(' in its format')}"
        more = ", in the file's own format" if command.endswith(" in its format") else ""
        table.append(f"| `{name}`{more} | {counts['done']:,} | {counts['refused']:,} | {faults:,} |")
    note = (
        f"n = {record['damaged']:,} damaged files, seed {record['seed']}, commit {record['commit']}. The slowest took "
        f"{record['slowest']['seconds']:.1f} s for all commands together, beside other work on the same two cores."
    )
    if mended := {one["number"] for one in record.get("mended", [])}:
        note += f" Files that went wrong before a fault of mend was fixed, and right when they were tried again: {len(mended)}."
    return "\n".join([*table, "", f"<sub>{note}</sub>", ""])


def kills() -> str:
    """What became of commands that were killed, by job."""
    record = _read("kills.json")
    table = ["| command | killed | ended as if undisturbed | faults |", "| :--- | ---: | ---: | ---: |"]
    for job, counts in record["jobs"].items():
        wrong = sum(counts[outcome] for outcome in ("damaged", "failed", "other"))
        table.append(f"| {job} | {counts['same'] + wrong} | {counts['same']} | {wrong} |")
    left = sum(counts["left"] for counts in record["jobs"].values())
    note = f"{_seeds_and_commits(record['jobs'])}. Hidden temporary files that a kill left behind: {left}."
    return "\n".join([*table, "", f"<sub>{note}</sub>", ""])


def disks() -> str:
    """What became of commands on disks that were full, or could only be read, by job."""
    record = _read("disks.json")
    kinds = ("full", "read-only")
    table = ["| command | " + " | ".join(f"{kind}: tried | refused | done | faults" for kind in kinds) + " |"]
    table.append("| :--- |" + " ---: |" * 8)
    for job, counts in record["jobs"].items():
        cells = []
        for one in (counts[kind] for kind in kinds):
            tried = sum(one.values())
            cells += [tried, one["refused"], one["done"], tried - one["refused"] - one["done"]]
        table.append(f"| {job} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*table, "", f"<sub>{_seeds_and_commits(record['jobs'])}.</sub>", ""])


def processes() -> str:
    """The validation PSNR of trainings by one process and by two."""
    record = _read("processes.json")
    names = ("one process", "two processes", "another seed")
    table = ["| network | " + " | ".join(names) + " | one and two, farthest apart |", "| :--- |" + " ---: |" * 4]
    for network, runs in record["trained"].items():
        apart = max(abs(a - b) for a, b in zip(runs[names[0]], runs[names[1]], strict=True))
        table.append(f"| `{network}` | " + " | ".join(f"{runs[name][-1]:.2f} dB" for name in names) + f" | {apart:.2f} dB |")
    note = (
        f"Width 8, {record['pictures']:,} pictures of 32×32, batch 128, {len(runs[names[0]])} epochs, on a CPU; n = 1 training "
        f"of each. PSNR on the validation images after the last epoch; farthest apart: in any epoch. Commit {record['commit']}."
    )
    return "\n".join([*table, "", f"<sub>{note}</sub>", ""])


def gradients() -> str:
    """What each process of a training sends in a step, in a ring of n."""
    table = ["| network | weights | S | sent in each step, n = 8 | n = 64 |", "| --- |" + " ---: |" * 4]
    for one in _read("processes.json")["counted"]:
        size = 4 * one["weights"] / 1e6
        cells = [f"{one['weights']:,}", *(f"{size * part:.1f} MB" for part in (1, 2 * 7 / 8, 2 * 63 / 64))]
        table.append(f"| `{one['network']}`, width {one['width']} | " + " | ".join(cells) + " |")
    return "\n".join([*table, ""])


def mutants() -> str:
    """How many faults in mend's own code the tests find, by module."""
    record = _read("mutants.json")
    table = ["| module | possible faults | tried | change no result | found by the tests |", "| :--- |" + " ---: |" * 4]
    counts = []
    for name, module in record["modules"].items():
        equal = sum(is_equal(name, one) for one in module["survived"])
        found = module["drawn"] - len(module["survived"])
        counts.append((module["mutants"], module["drawn"], equal, found))
        table.append(f"| `{name}` {_found(*counts[-1])}")
    table.append(f"| all {_found(*map(sum, zip(*counts, strict=True)))}")
    note = f"Drawn at random. {_seeds_and_commits(record['modules'])}. Percent of those that change a result."
    return "\n".join([*table, "", f"<sub>{note}</sub>", ""])


def _seeds_and_commits(parts: dict[str, Any]) -> str:
    """Of the parts of a record, which may have been measured one after another."""
    seeds, commits = (", ".join(dict.fromkeys(str(part[key]) for part in parts.values())) for key in ("seed", "commit"))
    return f"Seed {seeds}, commit {commits}"


def _found(possible: int, drawn: int, equal: int, found: int) -> str:
    share = 100 * found // (drawn - equal)  # rounded down: 100 % is all
    return f"| {possible:,} | {drawn} | {equal} | {found} ({share} %) |"


def _read(name: str) -> Any:
    return json.loads((ROOT / "results" / name).read_text(encoding="utf-8"))


TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "scores"): scores,
    ("README.md", "neighbours"): neighbours,
    ("docs/reliability.md", "damaged"): damaged,
    ("docs/reliability.md", "kills"): kills,
    ("docs/reliability.md", "disks"): disks,
    ("docs/reliability.md", "mutants"): mutants,
    ("docs/context.md", "context"): context,
    ("docs/context.md", "holes"): holes,
    ("docs/results.md", "photographs"): partial(photographs, "photos-large-v1"),
    ("docs/results.md", "set aside"): partial(photographs, "photos-free-test"),
    ("docs/results.md", "set aside gains"): set_aside_gains,
    ("docs/results.md", "trainings"): trainings,
    ("docs/results.md", "refinement"): refinement,
    ("docs/results.md", "small-marks"): small_marks,
    ("docs/scale.md", "processes"): processes,
    ("docs/scale.md", "gradients"): gradients,
    ("docs/studio.md", "object-selection"): object_selection,
    ("docs/context.md", "ablation"): context_ablation,
    ("docs/context.md", "15 epochs"): fifteen_epochs,
}


def main() -> None:
    for (page, name), table in TABLES.items():
        write_into(ROOT / page, table(), name)


if __name__ == "__main__":
    main()
