"""Pictures of an evaluation: the grid of samples, and the plots."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from mend.evaluate.pictures import SHARED
from mend.evaluate.result import Result
from mend.evaluate.trainings import name_group
from mend.inpaint.classical import CLASSICAL

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#999933")  # Okabe and Ito, 2008


def draw_grid(folder: Path, methods: list[str]) -> Image.Image:
    """Sample pictures as the reference experiment shows them: original, mask, masked input, then one row a method."""
    from matplotlib import font_manager

    rows = [(name, Image.open(folder / f"{name}.png").convert("RGB")) for name in (*SHARED, *methods)]
    first = rows[0][1]
    side, count = first.height, first.width // first.height
    scale = 3 if side <= 64 else 1
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 15)
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


def plot_curves(result: Result, together: list[list[str]]) -> bytes:
    """Training loss and validation PSNR and SSIM over the epochs, a line for each training, as PNG. The trainings of one recipe
    have one colour."""
    panels = {"loss": "training loss", "val_psnr": "validation PSNR (dB)", "val_ssim": "validation SSIM"}
    first = {method: group[0] for group in together for method in group}
    curves = {m: pd.DataFrame(result.methods[m].training) for m in first if result.methods[m].training}
    methods, named = list(dict.fromkeys(first.values())), {group[0]: name_group(result, group) for group in together}
    panels = {column: title for column, title in panels.items() if all(column in curve for curve in curves.values())}
    figure, axes = _make_figure(len(panels))
    for method, curve in curves.items():
        for axis, column in zip(axes, panels, strict=True):
            style: dict[str, Any] = {"linewidth": 0.8}
            if method in named:
                style = {"label": named[method], "marker": _choose_marker(first[method], methods), "markersize": 3}
            axis.plot(curve["epoch"], curve[column], color=_choose_colour(first[method], methods), **style)
    for axis, title in zip(axes, panels.values(), strict=True):
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_yscale("log")
    return _encode_figure(figure, axes[-1])


def plot_coverage(tables: dict[str, pd.DataFrame]) -> bytes:
    """PSNR of the composited image and inside the hole against coverage, with 95 % intervals, as PNG."""
    figure, axes = _make_figure(2)
    methods = list(tables)
    for method, rows in tables.items():
        bins = pd.cut(rows["coverage"], np.linspace(0, max(0.1, float(rows["coverage"].max())), 9))
        for axis, column in zip(axes, ("psnr", "psnr_hole"), strict=True):
            if column not in rows:
                continue
            grouped = rows.groupby(bins, observed=True)
            x, y, error = grouped["coverage"].mean() * 100, grouped[column].mean(), 1.96 * grouped[column].sem()
            style = {"linestyle": "--", "linewidth": 1} if method in CLASSICAL else {}
            axis.errorbar(
                x,
                y,
                error.fillna(0),  # of one image there is none
                color=_choose_colour(method, methods),
                label=method,
                marker=_choose_marker(method, methods),
                markersize=3,
                **style,
            )
    axes[0].set(title="PSNR, composited (dB)", xlabel="coverage (% of the image)")
    axes[1].set(title="PSNR inside the hole (dB)", xlabel="coverage (% of the image)")
    return _encode_figure(figure, axes[-1])


def _choose_colour(method: str, methods: list[str]) -> str:
    return COLOURS[(len(methods) - 1 - methods.index(method)) % len(COLOURS)]


def _choose_marker(method: str, methods: list[str]) -> str:
    """A square where a colour comes for the second time."""
    return "os"[(len(methods) - 1 - methods.index(method)) // len(COLOURS) % 2]


def _make_figure(panels: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * panels + 2, 3.6), layout="constrained")
    axes = figure.subplots(1, panels)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, axes


def _encode_figure(figure: Any, legend: Any) -> bytes:
    handles, labels = legend.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=130)
    return data.getvalue()
