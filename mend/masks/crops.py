"""Holes for random crops of large pictures: a new one for every crop, drawn, or borrowed from a mask set."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from mend.data.random import uniform
from mend.errors import InputError
from mend.masks.draw import DRAWN
from mend.masks.store import MaskSet, ObjectPolicy


@dataclass(frozen=True)
class DrawnHole:
    """A new hole of one kind for every crop, covering 5 % to 50 %."""

    kind: str
    side: int
    seed: int

    def __call__(self, epoch: int, i: int) -> np.ndarray:
        coverage = 0.05 + 0.45 * uniform(1, self.seed, epoch, i, 2)[0]
        mask = DRAWN[self.kind](self.side, self.side, coverage, self.seed, epoch, i, 3)
        return mask.astype(np.float32)[None]


@dataclass(frozen=True)
class BorrowedHole:
    """A mask of a set, drawn for every crop and scaled to it; the set is read in each worker."""

    folder: str
    side: int
    seed: int

    def __call__(self, epoch: int, i: int) -> np.ndarray:
        masks, rows = _open_donors(self.folder)
        row = rows[int(uniform(1, self.seed, epoch, i, 2)[0] * len(rows))]
        mask = masks.read(np.array([row]))[0].astype(np.float32)
        if mask.shape != (self.side, self.side):
            mask = np.asarray(Image.fromarray(mask).resize((self.side, self.side), Image.Resampling.BICUBIC))
        return (mask >= 0.5).astype(np.float32)[None]


@lru_cache
def _open_donors(folder: str) -> tuple[MaskSet, np.ndarray]:
    masks = MaskSet.open(folder)
    return masks, masks.donors(ObjectPolicy())


@dataclass(frozen=True)
class AnyHole:
    """For every crop a hole of one of several kinds, each as likely."""

    kinds: tuple[DrawnHole | BorrowedHole, ...]
    seed: int

    def __call__(self, epoch: int, i: int) -> np.ndarray:
        return self.kinds[int(uniform(1, self.seed, epoch, i, 4)[0] * len(self.kinds))](epoch, i)


def make_hole_drawer(masks: str, side: int, seed: int) -> tuple[AnyHole, str]:
    """The holes (1, side, side) of crops, drawn for (epoch, row), and in words what they are.

    `masks` names drawn kinds and mask sets, with commas between. Raises InputError for one that is neither.
    """
    kinds, described = zip(*(_parse_kind(name.strip(), side, seed) for name in masks.split(",")), strict=True)
    return AnyHole(kinds, seed), "; ".join(described)


def _parse_kind(masks: str, side: int, seed: int) -> tuple[DrawnHole | BorrowedHole, str]:
    if masks in DRAWN:
        return DrawnHole(masks, side, seed), f"{masks}, 5 % to 50 %"
    if not Path(masks).exists():
        raise InputError(
            f"unknown masks {masks!r}. With `crop` expected {', '.join(DRAWN)}, or a mask set; several with commas between."
        )
    masks = str(Path(masks) / "train") if (Path(masks) / "train" / "manifest.json").exists() else masks
    return BorrowedHole(masks, side, seed), f"{MaskSet.open(masks).manifest.segmenter}, borrowed"
