"""A mask set to look at: a contact sheet over the images where they can be had, with a histogram of coverage."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from mend.data.sources import load_images
from mend.errors import InputError
from mend.images import arrange_grid, write_image
from mend.masks.store import MaskSet

ACROSS, DOWN = 12, 6
LEAST = 700  # pixels across, in which the histogram can be read
TINT = np.array([230, 57, 70], np.float32)


def contact_sheet(folder: str | Path, out: str | Path) -> Path:
    """Draw masks evenly spaced over the coverages of the set in `folder`, red on their images, and a histogram below."""
    masks = MaskSet.open(folder)
    coverage = masks.coverage()
    order = np.argsort(coverage, kind="stable")
    rows = order[np.linspace(0, len(order) - 1, min(ACROSS * DOWN, len(order))).astype(np.int64)]
    holes = masks.read(rows)[..., None]
    images = _load_images(masks, rows)
    pictures = np.where(holes, 0.35 * images + 0.65 * TINT, images).astype(np.uint8)
    scale = max(1, 64 // masks.manifest.height)
    sheet = Image.fromarray(arrange_grid([pictures[i : i + ACROSS] for i in range(0, len(rows), ACROSS)], gap=4, scale=scale))
    chart = Image.open(io.BytesIO(_draw_histogram(masks, coverage, max(sheet.width, LEAST)))).convert("RGB")
    whole = Image.new("RGB", (chart.width, sheet.height + chart.height), "white")
    whole.paste(sheet, (0, 0))
    whole.paste(chart, (0, sheet.height))
    write_image(Path(out), np.asarray(whole))
    return Path(out)


def _load_images(masks: MaskSet, rows: np.ndarray) -> np.ndarray:
    """The images under the masks; mid-grey where their source is not on this machine."""
    manifest = masks.manifest
    try:
        images = load_images(manifest.source, "all" if manifest.split == "train" else "test", manifest.scaled)
        masks.check(images)
        return images.pixels[rows].astype(np.float32)
    except InputError:
        return np.full((len(rows), manifest.height, manifest.width, 3), 160, np.float32)


def _draw_histogram(masks: MaskSet, coverage: np.ndarray, width: int) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.hist(coverage * 100, bins=[2.5 * i for i in range(41)], color="#e63946")
    axis.set(xlabel="coverage (% of the image)", ylabel="masks", xlim=(0, 100))
    axis.spines[["top", "right"]].set_visible(False)
    manifest = masks.manifest
    count = f"{len(masks)} mask{'s' * (len(masks) != 1)}"
    title = (
        f"{manifest.segmenter} on {manifest.source} ({manifest.split})\n{count}, mean {coverage.mean():.1%}, "
        f"median {np.median(coverage):.1%}, nothing found in {(coverage == 0).mean():.1%}"
    )
    axis.set_title(title, fontsize=9, loc="left")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100)
    return data.getvalue()
