"""The picture of docs/context.md: `unet-context` against both refined U-Nets, by how much of the image is missing.

    python benchmarks/context.py

It reads results/cifar10-object-v1/context-against-*.csv, which `mend compare` wrote, and writes results/context.png.
"""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from mend.images import write_bytes

RESULTS = Path(__file__).parent.parent / "results"
METRICS = {"psnr_hole": "PSNR in the hole (dB)", "ssim_hole": "SSIM in the hole", "lpips-cifar": "LPIPS-CIFAR"}
OTHERS = {"simple": ("unet-simple", "#d55e00", -0.09), "aspp": ("unet-aspp", "#0072b2", 0.09)}  # name, colour, offset


def main() -> None:
    figure, axes = plt.subplots(1, len(METRICS), figsize=(11, 3.4), layout="constrained")
    for axis, (metric, title) in zip(axes, METRICS.items(), strict=True):
        for other, (name, colour, offset) in OTHERS.items():
            rows = pd.read_csv(RESULTS / "cifar10-object-v1" / f"context-against-{other}.csv")
            rows = rows[(rows.metric == metric) & rows.group.str.startswith("coverage ")]
            bars = [rows.difference - rows.low, rows.high - rows.difference]
            places = [i + offset for i in range(len(rows))]
            axis.errorbar(places, rows.difference, bars, fmt="o", color=colour, capsize=3, markersize=5, label=f"minus {name}")
        axis.axhline(0, color="#888888", linewidth=0.8)
        names = [group.removeprefix("coverage ").removesuffix(" %").replace("up to ", "≤ ") for group in rows.group]
        axis.set_xticks(range(len(rows)), names)
        better = "lower is better" if metric.startswith("lpips") else "higher is better"
        axis.set_title(f"{title}, {better}", fontsize=10)
        axis.set_xlabel("missing part of the image (%)")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("unet-context minus the other")
    axes[0].legend(frameon=False, fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150)
    write_bytes(RESULTS / "context.png", picture.getvalue())


if __name__ == "__main__":
    main()
