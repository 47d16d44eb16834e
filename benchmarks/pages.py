"""The tables of the README and of docs/results.md that are made of committed results.

    python benchmarks/pages.py

`TABLES` says which table stands where, between the lines `<!-- NAME -->` and `<!-- /NAME -->`. The other tables there are made
by `mend report --into docs/results.md` and `large_holes.py`.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mend.evaluate.result import read_result
from mend.report import write_into
from mend.report.tables import markdown_table, metric_table, ordered

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "results" / "cifar10-object-v1"


def scores() -> str:
    """The table of the experiment in small: those of its metrics that were measured, without intervals."""
    result = read_result(RESULT)
    header, rows = metric_table(result, ordered(result, None), further=False)
    measured = [i for i, name in enumerate(header) if i < 2 or any(row[i].text not in ("", "n/a") for row in rows[:-2])]
    rows = [row for row in rows if not row[0].text.endswith("*")]
    return markdown_table(([header[i] for i in measured], [[row[i] for i in measured] for row in rows]))


def trainings() -> str:
    """What each network moved from one training to the other."""
    lines = (RESULT / "reproduced.txt").read_text(encoding="utf-8").splitlines()
    moved = {(name, metric): (old, new, by) for name, metric, old, new, by, *_ in map(str.split, lines[1:-2])}
    names = [name for name, metric in moved if metric == "PSNR" and re.search(r"-w\d+$", name)]
    table = ["| Network | PSNR (dB), first → second training | LPIPS-CIFAR | FID-CIFAR |", "| :--- | ---: | ---: | ---: |"]
    for name in names:
        cells = (moved[name, metric] for metric in ("PSNR", "LPIPS-CIFAR", "FID-CIFAR"))
        table.append(f"| {name} | " + " | ".join(f"{old} → {new} ({by})" for old, new, by in cells) + " |")
    return "\n".join(table) + "\n"


def signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def refinement() -> str:
    """Simple refinement minus none, by coverage, with intervals over images."""
    rows = pd.read_csv(RESULT / "simple-against-unet.csv").set_index(["group", "metric"])
    columns = {
        "psnr_hole": ("PSNR in the hole (dB)", 2),
        "psnr_band": ("PSNR at the rim (dB)", 2),
        "lpips-cifar": ("LPIPS-CIFAR", 4),
    }
    table = ["| Missing | n | " + " | ".join(title for title, _ in columns.values()) + " |", "| :--- |" + " ---: |" * 4]
    groups = [group for group in rows.index.get_level_values(0).unique() if group == "all" or group.startswith("coverage ")]
    for group in groups:
        cells = []
        for metric, (_, digits) in columns.items():
            shown = [signed(rows.loc[(group, metric)][key], digits) for key in ("difference", "low", "high")]
            cells.append("{} <sub>{} to {}</sub>".format(*shown))
        n = rows.loc[(group, "psnr_hole")]["n"]
        table.append(f"| {group.removeprefix('coverage ')} | {n} | " + " | ".join(cells) + " |")
    return "\n".join(table) + "\n"


TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "scores"): scores,
    ("docs/results.md", "trainings"): trainings,
    ("docs/results.md", "refinement"): refinement,
}


def main() -> None:
    for (page, name), table in TABLES.items():
        write_into(ROOT / page, table(), name)


if __name__ == "__main__":
    main()
