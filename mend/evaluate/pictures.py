"""The pictures of an evaluation: every one, small, for the page that shows them; and a strip of samples for the report."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mend.data import new_array
from mend.images import grid, mask_out, to_pixels, write_image
from mend.protocol import Scenes

SAMPLES = 12  # pictures in a strip
SHARED = ("original", "mask", "masked input")  # pictures that every method shares
SIDE = 192  # pixels, of the largest picture kept for looking
ROOM = 2**30  # bytes that the pictures of a method may take; where there are very many, each is smaller


class Pictures:
    """Every picture of a method, scaled down to `side` pixels: `pictures/<name>.npy`, (N, S, S, 3) uint8 on white."""

    def __init__(self, out: Path, name: str, scenes: Scenes) -> None:
        self.side = max(1, min(SIDE, max(max(size) for size in scenes.sizes), int((ROOM / 3 / len(scenes)) ** 0.5)))
        self.file = out / "pictures" / f"{name}.npy"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.part = self.file.with_suffix(f".{os.getpid()}.part")  # another process may be at the shared ones
        self.array = new_array(self.part, np.uint8, (len(scenes), self.side, self.side, 3))

    def add(self, places: np.ndarray, image: Tensor) -> None:
        for place, pixels in zip(places, to_pixels(image), strict=True):
            height, width = pixels.shape[:2]
            if max(height, width) > self.side:
                picture = Image.fromarray(pixels)
                picture.thumbnail((self.side, self.side))
                pixels = np.asarray(picture)
            self.array[place] = 255
            self.array[place, : pixels.shape[0], : pixels.shape[1]] = pixels

    def finish(self) -> None:
        self.array.flush()
        del self.array  # a mapped file cannot be renamed on Windows
        self.part.replace(self.file)


def write_shared(out: Path, scenes: Scenes) -> np.ndarray:
    """The pictures that every method shares, and the places of the sample pictures: evenly spaced over the coverages, from the
    first 500, so that none is chosen by looking."""
    writers = {name: Pictures(out, name, scenes) for name in SHARED}
    coverage: list[Tensor] = []
    for places, image, hole in scenes.batches():
        coverage.append(hole.mean((1, 2, 3)))
        views = {"original": image, "mask": hole.expand(-1, 3, -1, -1), "masked input": mask_out(image, hole)}
        for name, view in views.items():
            writers[name].add(places, view)
    for writer in writers.values():
        writer.finish()
    order = np.argsort(torch.cat(coverage)[:500].numpy(), kind="stable")
    samples = order[np.linspace(0, len(order) - 1, min(SAMPLES, len(order))).astype(np.int64)]
    for name in writers:
        write_strip(out, name, samples)
    return samples


def write_strip(out: Path, name: str, samples: np.ndarray) -> None:
    pictures = np.load(out / "pictures" / f"{name}.npy", mmap_mode="r")
    write_image(out / f"{name}.png", grid([pictures[samples]], gap=0))
