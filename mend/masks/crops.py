"""Holes for random crops of large pictures: each is drawn, or is a mask that was made for another picture."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from mend.data.random import uniform
from mend.errors import InputError
from mend.masks.draw import DRAWN
from mend.masks.hole import dilate
from mend.masks.store import MaskSet, ObjectPolicy


@dataclass(frozen=True)
class DrawnHole:
    """A new hole of one kind for every crop, covering 5 % to 50 %; from epoch 1 to epoch `ramp` to 10 % at first, then more.

    Epoch 0 is the validation's, and has all sizes.
    """

    kind: str
    side: int
    seed: int
    ramp: int = 0

    def __call__(self, epoch: int, i: int) -> np.ndarray:
        most = 0.1 + 0.4 * min(1.0, (epoch - 1) / self.ramp) if self.ramp and epoch else 0.5
        coverage = 0.05 + (most - 0.05) * uniform(1, self.seed, epoch, i, 2)[0]
        mask = DRAWN[self.kind](self.side, self.side, coverage, self.seed, epoch, i, 3)
        return mask.astype(np.float32)[None]


@dataclass(frozen=True)
class BorrowedHole:
    """For every crop some mask of a set, whatever picture it was made for: scaled to the crop, and grown by up to `grow` of its
    side. Each worker opens the set."""

    folder: str
    side: int
    seed: int
    grow: float = 0.0

    def __call__(self, epoch: int, i: int) -> np.ndarray:
        masks, rows = _open_donors(self.folder)
        row = rows[int(uniform(1, self.seed, epoch, i, 2)[0] * len(rows))]
        mask = masks.read(np.array([row]))[0].astype(np.float32)
        if mask.shape != (self.side, self.side):
            mask = np.asarray(Image.fromarray(mask).resize((self.side, self.side), Image.Resampling.BICUBIC))
        hole = (mask >= 0.5).astype(np.float32)[None]
        if self.grow:  # what people mark goes beyond the object's edge, and its shadow is to be covered too
            pixels = round(self.grow * self.side * uniform(1, self.seed, epoch, i, 5)[0])
            hole = dilate(hole[None], pixels)[0]
        return hole


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


def make_hole_drawer(masks: str, side: int, seed: int, ramp: int = 0, grow: float = 0.0) -> tuple[AnyHole, str]:
    """The holes (1, side, side) of crops, drawn for (epoch, row), and in words what they are.

    `masks` names drawn kinds and mask sets, with commas between; the former become larger over `ramp` epochs, the latter are
    grown by up to `grow` of the side. Raises InputError for one that is neither.
    """
    kinds, described = zip(*(_parse_kind(name.strip(), side, seed, ramp, grow) for name in masks.split(",")), strict=True)
    return AnyHole(kinds, seed), "; ".join(described)


def _parse_kind(masks: str, side: int, seed: int, ramp: int, grow: float) -> tuple[DrawnHole | BorrowedHole, str]:
    if masks in DRAWN:
        ramped = f" (10 % at first, more over {ramp} epochs)" if ramp else ""
        return DrawnHole(masks, side, seed, ramp), f"{masks}, 5 % to 50 %{ramped}"
    if not Path(masks).exists():
        raise InputError(
            f"unknown masks {masks!r}. With `crop` expected {', '.join(DRAWN)}, or a mask set; several with commas between."
        )
    masks = str(Path(masks) / "train") if (Path(masks) / "train" / "manifest.json").exists() else masks
    widened = f" and grown by up to {grow:.0%} of the side" if grow else ""
    return BorrowedHole(masks, side, seed, grow), f"{MaskSet.open(masks).manifest.segmenter}, borrowed{widened}"
