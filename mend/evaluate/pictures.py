"""The pictures of an evaluation: every one, small, for the page that shows them; and a strip of samples for the report."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mend.data.cache import create_array
from mend.evaluate.scenes import Scenes
from mend.images import arrange_grid, make_folder, mask_out, to_pixels, write_image

SAMPLES = 12  # pictures in a strip
SHARED = ("original", "mask", "masked input")  # pictures that every method shares
SIDE = 192  # pixels, of the largest picture kept for looking
ROOM = 2**30  # bytes that the pictures of a method may take; where there are very many, each is smaller


@contextmanager
def open_pictures(out: Path, name: str, scenes: Scenes) -> Iterator[np.ndarray]:
    """An array for every picture of a method, as `make_thumbnails` makes them: `pictures/<name>.npy`, (N, S, S, 3) uint8, whole
    or not at all."""
    file, side = out / "pictures" / f"{name}.npy", choose_side(scenes)
    make_folder(file.parent)
    part = file.with_suffix(f".{os.getpid()}.part")  # another process may be at the shared ones
    array = create_array(part, np.uint8, (len(scenes), side, side, 3))
    try:
        with closing(array._mmap):  # type: ignore[attr-defined]  # a mapped file cannot be renamed or removed on Windows
            yield array
            array.flush()
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def choose_side(scenes: Scenes) -> int:
    """The side in pixels of the pictures that are kept for looking."""
    return max(1, min(SIDE, max(max(size) for size in scenes.sizes), int((ROOM / 3 / len(scenes)) ** 0.5)))


def make_thumbnails(image: Tensor, side: int) -> np.ndarray:
    """Images (B, 3, H, W) as (B, side, side, 3) uint8: scaled down where they are larger, on white."""
    height, width = image.shape[-2:]
    if (longest := max(height, width)) > side:
        height, width = (max(1, round(one * side / longest)) for one in (height, width))
        image = F.interpolate(image, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
    framed = np.full((len(image), side, side, 3), 255, np.uint8)
    framed[:, :height, :width] = to_pixels(image)
    return framed


def write_shared(out: Path, scenes: Scenes) -> np.ndarray:
    """The pictures that every method shares, and the places of the sample pictures: evenly spaced over the coverages, from the
    first 500, so that none is chosen by looking."""
    coverage = torch.empty(len(scenes))
    side = choose_side(scenes)  # once: it looks at all of them
    with ExitStack() as stack:
        arrays = {name: stack.enter_context(open_pictures(out, name, scenes)) for name in SHARED}
        for places, image, hole in scenes.batches():
            coverage[places] = hole.mean((1, 2, 3))
            views = {"original": image, "mask": hole.expand(-1, 3, -1, -1), "masked input": mask_out(image, hole)}
            for name, view in views.items():
                arrays[name][places] = make_thumbnails(view, side)
    order = np.argsort(coverage[:500].numpy(), kind="stable")
    samples = order[np.linspace(0, len(order) - 1, min(SAMPLES, len(order))).astype(np.int64)]
    for name in SHARED:
        write_strip(out, name, samples)
    return samples


def write_strip(out: Path, name: str, samples: np.ndarray) -> None:
    there = np.load(out / "pictures" / f"{name}.npy", mmap_mode="r")
    write_image(out / f"{name}.png", arrange_grid([there[samples]], gap=0))
