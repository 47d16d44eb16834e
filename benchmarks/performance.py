"""The figures of speed and growth in one place: results/performance.json, its two pictures, and the table in docs/.

    python benchmarks/performance.py [--measure-filling]

Each benchmark puts its own part there (`record`); this draws them, and what others wrote beside it, anew. With
--measure-filling all that is said of `mend fill`, with texture and without, is measured first, results/filling.json too. That
takes minutes, in which nothing else should run.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mend.images import write_bytes
from mend.models.checkpoint import find_commit
from mend.models.device import device_name, find_device
from mend.report import write_into

RESULTS = Path(__file__).parent.parent / "results"
FILE = RESULTS / "performance.json"
COMMIT = find_commit()  # before a result makes the checkout another
INK, SOFT = "#0072b2", "#b8bec6"


def record(part: str, found: dict[str, Any]) -> None:
    """Put what was measured under its name, with where it was."""
    there = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    facts = {"commit": COMMIT, "device": device_name(find_device("auto")), "torch": torch.__version__}
    write_bytes(FILE, json.dumps({**there, part: {**facts, **found}}, indent=1, ensure_ascii=False).encode() + b"\n")


def read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


Row = tuple[str, str, str, str]


def training(part: dict[str, Any]) -> list[Row]:
    return [
        (
            f"Training {case}, as a notebook writes it → `mend train`",
            f"{found['reference']:,.0f} → {found['mend']:,.0f} pictures/s",
            f"{found['times']:.1f}×; {found['of_the_matrix_rate']:.0%} of the bf16 matrix rate",
            f"{len(found['rounds'])} rounds, {found['n']:,} pictures",
        )
        for case, found in part["cases"].items()
    ]


def segmenters(part: dict[str, Any]) -> list[Row]:
    return [
        (
            f"Masks by {case}, its library one by one → `mend masks`",
            f"{found['library']:,.1f} → {found['mend']:,.1f} pictures/s",
            f"{found['times']:.1f}×" + ("" if found["equal"] is None else f"; {found['equal']:.2%} of the pixels equal"),
            f"{found['n']} pictures",
        )
        for case, found in part["cases"].items()
    ]


def installing(part: dict[str, Any]) -> list[Row]:
    rows = []
    for case, found in part["cases"].items():
        before, now = found["before"], found["now"]
        seconds = ", ".join(f"{before[tool]:.0f} → {now[tool]:.0f} s by {tool}" for tool in ("uv", "pip") if tool in now)
        megabytes = f"{before['megabytes']:,.0f} → {now['megabytes']:,.0f} MB"
        rows.append(
            (f"`pip install .{found['extras']}`: {case}", megabytes, seconds, f"{found['n']} run{'s' * (found['n'] > 1)}")
        )
    return rows


def before(part: dict[str, Any]) -> list[Row]:
    return [
        (
            f"`mend fill` {case}, commit {part['before']} → now, with its network",
            f"{found['before']['seconds']:.2f} → {found['now']['seconds']:.2f} s",
            f"{found['before']['peak_bytes'] / 2**20:,.0f} → {found['now']['peak_bytes'] / 2**20:,.0f} MB"
            + ("; the same pixels" if found["same_pixels"] else ""),
            f"{found['n']} runs",
        )
        for case, found in part["cases"].items()
    ]


def starting(part: dict[str, Any]) -> list[Row]:
    return [
        (f"`{case}`", f"{found['median']:.2f} s", f"{found['least']:.2f} – {found['most']:.2f} s", f"{found['n']} runs")
        for case, found in part["cases"].items()
    ]


def growth(part: dict[str, Any]) -> list[Row]:
    rows = []
    for case, found in part["cases"].items():
        largest = found["points"][-1]
        rows.append(
            (
                f"{case}, {largest['n']:,.0f} {found['of']}",
                f"{largest['seconds']:,.1f} s, {largest['memory'] / 2**30:.2f} GB",
                f"time grows with the power {found['exponent']:.2f}",
                f"{len(found['points'])} sizes",
            )
        )
    return rows


PARTS: dict[str, Callable[[dict[str, Any]], list[Row]]] = {
    "training": training,
    "segmenters": segmenters,
    "installing": installing,
    "before": before,
    "starting": starting,
    "growth": growth,
    "filling": growth,
}


def table(found: dict[str, Any]) -> str:
    rows: list[Row] = [row for name, rows_of in PARTS.items() if name in found for row in rows_of(found[name])]
    evaluation, studio = read("evaluation-speed"), read("studio-soak")
    rows.append(
        (
            "The full protocol for one network, as a process",
            f"{max(t['process'] for t in evaluation['seconds']):.0f} s",
            "PSNR, SSIM, MAE, LPIPS-CIFAR, FID-CIFAR",
            f"{evaluation['n']:,} pictures",
        )
    )
    pairs = evaluation["folders"]["rows"][0]
    rate = f"{pairs['n'] / pairs['process']:.1f} pairs a second"
    rows.append(
        (f"Folders of {pairs['size']} photographs, as a process", rate, "PSNR, SSIM, MAE, LPIPS-CIFAR", f"{pairs['n']} pairs")
    )
    rows.append(("The studio, a thousand requests", *studio_cells(studio)))
    lines = ["| What | Figure | | n |", "| :--- | ---: | :--- | ---: |", *(f"| {' | '.join(row)} |" for row in rows)]
    where = "; ".join(sorted({f"{found[name]['device']}, commit {found[name]['commit']}" for name in PARTS if name in found}))
    note = "Both sides of an arrow were measured in one run. The last three: results/evaluation-speed.json, studio-soak.json."
    return "\n".join([*lines, "", f"<sub>{where}. {note}</sub>", ""])


def studio_cells(studio: dict[str, Any]) -> tuple[str, str, str]:
    return (
        f"{studio['megabytes']:.0f} MB",  # the time they take depends on what else the machine does
        f"{studio['growth']:+.1%} since the first hundred, {studio['lost']} lost".replace("-", "−"),
        f"{studio['requests']:,} requests",
    )


def draw(found: dict[str, Any]) -> None:
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    pairs = [("training", "reference", "pictures a second, training"), ("segmenters", "library", "pictures a second, masks")]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    for axis, (part, other, title) in zip(axes, pairs, strict=True):
        cases = found[part]["cases"]
        for i, case in enumerate(cases.values()):
            axis.barh(i - 0.2, case[other], 0.38, color=SOFT, label="reference" if i == 0 else None)
            axis.barh(i + 0.2, case["mend"], 0.38, color=INK, label="mend" if i == 0 else None)
            axis.annotate(f"{case['times']:.1f}×", (case["mend"], i + 0.2), (4, 0), textcoords="offset points", va="center")
        axis.set_yticks(range(len(cases)), list(cases))
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_title(title, loc="left")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=2)
    figure.savefig(RESULTS / "performance.png", dpi=150)
    plt.close(figure)
    cases = {**found["growth"]["cases"], **found["filling"]["cases"]}
    figure, axes = plt.subplots(2, len(cases), figsize=(2.6 * len(cases), 4.6), constrained_layout=True)
    for column, (case, measured) in enumerate(cases.items()):
        sizes = [point["n"] for point in measured["points"]]
        for axis, key, unit, by in ((axes[0, column], "seconds", "s", 1), (axes[1, column], "memory", "GB", 2**30)):
            axis.loglog(sizes, [point[key] / by for point in measured["points"]], color=INK, marker="o", markersize=4)
            axis.set_ylabel(unit if column == 0 else "")
            axis.grid(alpha=0.25)
        axes[0, column].set_title(f"{case}\ntime ~ n^{measured['exponent']:.2f}", loc="left")
        axes[1, column].set_ylim(0.01, 20)
        axes[1, column].set_xlabel(measured["of"])
    figure.savefig(RESULTS / "growth.png", dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure-filling", action="store_true")
    if parser.parse_args().measure_filling:
        for words in (["starting.py"], ["growth.py", "photographs"], ["filling.py"]):
            subprocess.run([sys.executable, str(Path(__file__).parent / words[0]), *words[1:]], check=True)
    found = json.loads(FILE.read_text(encoding="utf-8"))
    draw(found)
    write_into(RESULTS.parent / "docs" / "performance.md", table(found), "performance")
    print(table(found))


if __name__ == "__main__":
    main()
