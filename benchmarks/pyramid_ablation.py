"""An ablation of the network `pyramid`: short trainings that differ from its recipe in one thing each.

    python benchmarks/pyramid_ablation.py ../shared/data masks/cifar10

The first argument is a folder with `photos` and `cifar10`, the second a folder of mask sets of CIFAR-10. Every variant is
trained in runs/ablation, and goes on there when it was stopped; an epoch of CIFAR-10 has 0.7 times as many pixels. Then all
fill the same large holes in photographs that none has seen (see large_holes.py). Writes results/pyramid/ablation.json, .csv
(a row a filling) and .md.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from large_holes import BINS, DIGITS, METRICS, device, measure, scenes
from torch import Tensor

from mend.evaluate.statistics import bootstrap
from mend.filling.load import load_filler
from mend.images import write_bytes
from mend.inpaint.scales import build_levels, refine
from mend.models import MODELS
from mend.models.checkpoint import find_commit
from mend.models.device import device_name
from mend.models.pyramid import Pyramid
from mend.progress import Report, ignore, progress
from mend.train.config import TrainConfig, read_recipe
from mend.train.run import train

OUT = Path(__file__).parent.parent / "results" / "pyramid" / "ablation"
EPOCHS = 2  # of the recipe's fifteen
HOW = ("", f"for {EPOCHS} epochs, on")


class OneScale(Pyramid):
    """The pyramid's network at full size alone: it fills what it cannot see across from the mean colour."""

    tiles = (None,)

    def scales(self, masked: Tensor, hole: Tensor) -> list[Tensor]:
        [(colour, known), *_], plane, contrast = build_levels(masked, hole)
        raw = refine(colour, known, torch.zeros_like(colour), contrast, self.correct)
        return [(raw + plane.rows + plane.columns).clamp(0, 1)]

    def fill(self, masked: Tensor, hole: Tensor, tile: int | None = None, report: Report = ignore) -> Tensor:
        return self.scales(masked, hole)[0]


MODELS["pyramid-one-scale"] = OneScale


def variants(data: Path, masks: Path) -> dict[str, dict[str, Any]]:
    """What each changes of the recipe."""
    photos = {"data": str(data / "photos"), "masks": f"strokes,boxes,{masks}", "epochs": EPOCHS}
    small = {"data": str(data / "cifar10"), "masks": str(masks), "epochs": EPOCHS, "crop": None, "zoom": 1.0, "crops": 1}
    return {
        "as the recipe has it": photos,
        "one scale": {**photos, "model": "pyramid-one-scale"},
        "squares in place of absolute differences": {**photos, "loss": {"hole_mse": 1.0}},
        "details only (zoom 1)": {**photos, "zoom": 1.0},
        "half the width": {**photos, "width": 24},
        "CIFAR-10 in place of photographs": {**small, "batch_size": 128},
    }


def trained(name: str, changes: dict[str, Any], out: Path) -> Path:
    config = TrainConfig(**{**read_recipe("pyramid"), **changes})
    with progress(name, "steps") as report:
        return train(config, out / re.sub(r" \(.*|,", "", name).replace(" ", "-"), report)


def table(rows: pd.DataFrame, names: list[str]) -> str:
    """Means by the size of the hole, and the paired difference from the recipe, with its 95 % interval over photographs."""
    labels = ["–".join(f"{edge:.0%}".rstrip("%") for edge in edges) + " %" for edges in BINS]
    lines = [
        "| Variant | " + " | ".join(labels) + " | PSNR minus that of the first row (dB) |",
        "| :--- |" + " ---: |" * (len(labels) + 1),
    ]
    wide = rows.pivot_table(index=["photo", "bin"], columns="method", values="psnr")
    first = names[0]
    for name in names:
        own = rows[rows["method"] == name].groupby("bin")[list(METRICS)].mean()
        cells = [" · ".join(f"{own.loc[b, m]:.{DIGITS[m]}f}" for m in METRICS) for b in range(len(BINS))]
        apart = (wide[name] - wide[first]).groupby("photo").mean().to_numpy()
        low, high = bootstrap(apart[:, None])
        said = "–" if name == first else f"{apart.mean():+.2f} ({low[0]:+.2f} to {high[0]:+.2f})"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {said} |")
    return "\n".join(lines)


def write(
    out: Path, rows: pd.DataFrame, names: list[str], changes: dict[str, Any], made_at: str | None, where: str, how: str
) -> None:
    """OUT.json, .csv and .md; `where` says what the photographs are, `how` what each variant was trained on."""
    network = out.parent.name
    facts = {"commit": made_at, "device": device_name(device), "photographs": rows["photo"].nunique(), "seed": 0}
    means = rows.groupby(["method", "bin"], sort=False)[list(METRICS)].mean().reset_index().to_dict("records")
    found = {**facts, "definition": "PSNR and SSIM of the pixels of the hole", "variants": changes, "means": means}
    note = (
        "PSNR (dB ↑) · SSIM (↑) of the pixels of the hole · LPIPS-CIFAR (↓) of the photograph: means over "
        f"n = {facts['photographs']} photographs a column{where}. Each variant was trained once (seed 0), {how} "
        f"{facts['device']}, commit {facts['commit']}. Such short trainings show what learns fast, not what is best after a "
        f"long training. Made by `benchmarks/{network}_ablation.py`."
    )
    text = f"# Ablation of the network `{network}`\n\n{table(rows, names)}\n\n{note}\n"
    write_bytes(out.with_suffix(".csv"), rows.to_csv(index=False, float_format="%.5g").encode())
    write_bytes(out.with_suffix(".json"), json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n")
    write_bytes(out.with_suffix(".md"), text.encode())
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--every", type=int, default=2, help="each so many-th photograph only")
    asked = parser.parse_args()
    changes = variants(asked.data, asked.masks)
    fillers = {name: load_filler(trained(name, change, Path("runs/ablation"))) for name, change in changes.items()}
    rows, _ = measure(fillers, list(scenes(asked.data / "photos" / "val", asked.masks / "test", asked.every)))
    write(OUT, rows, list(changes), changes, find_commit(), *HOW)


if __name__ == "__main__":
    main()
