"""Holes for random crops of large pictures: a new one for every crop, drawn, or borrowed from a mask set."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mend.chance import uniform
from mend.errors import InputError
from mend.holes import grown
from mend.masks.draw import DRAWN
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

    def __call__(self, epoch: int, i: int) -> Tensor:
        most = 0.1 + 0.4 * min(1.0, (epoch - 1) / self.ramp) if self.ramp and epoch else 0.5
        coverage = 0.05 + (most - 0.05) * uniform(1, self.seed, epoch, i, 2)[0]
        mask = DRAWN[self.kind](self.side, self.side, coverage, self.seed, epoch, i, 3)
        return torch.from_numpy(mask).float()[None]


@dataclass(frozen=True)
class BorrowedHole:
    """A mask of a set, drawn for every crop, scaled to it and grown by up to `grow` of its side; each worker reads the set."""

    folder: str
    side: int
    seed: int
    grow: float = 0.0

    def __call__(self, epoch: int, i: int) -> Tensor:
        masks, rows = _borrowable(self.folder)
        row = rows[int(uniform(1, self.seed, epoch, i, 2)[0] * len(rows))]
        mask = torch.from_numpy(masks.read(np.array([row]))).float()[None]
        if mask.shape[-2:] != (self.side, self.side):
            mask = F.interpolate(mask, (self.side, self.side), mode="bicubic", antialias=True)
        hole = (mask >= 0.5).float()
        if self.grow:  # what people mark goes beyond the object's edge, and its shadow is to be covered too
            pixels = round(self.grow * self.side * uniform(1, self.seed, epoch, i, 5)[0])
            hole = torch.from_numpy(grown(hole.numpy(), pixels))
        return hole[0]


@lru_cache
def _borrowable(folder: str) -> tuple[MaskSet, np.ndarray]:
    masks = MaskSet.open(folder)
    return masks, masks.donors(ObjectPolicy())


@dataclass(frozen=True)
class AnyHole:
    """For every crop a hole of one of several kinds, each as likely."""

    kinds: tuple[DrawnHole | BorrowedHole, ...]
    seed: int

    def __call__(self, epoch: int, i: int) -> Tensor:
        return self.kinds[int(uniform(1, self.seed, epoch, i, 4)[0] * len(self.kinds))](epoch, i)


def hole_drawer(masks: str, side: int, seed: int, ramp: int = 0, grow: float = 0.0) -> tuple[AnyHole, str]:
    """The holes (1, side, side) of crops, drawn for (epoch, row), and in words what they are.

    `masks` names drawn kinds and mask sets, with commas between; the former become larger over `ramp` epochs, the latter are
    grown by up to `grow` of the side. Raises InputError for one that is neither.
    """
    kinds, described = zip(*(_one_kind(name.strip(), side, seed, ramp, grow) for name in masks.split(",")), strict=True)
    return AnyHole(kinds, seed), "; ".join(described)


def _one_kind(masks: str, side: int, seed: int, ramp: int, grow: float) -> tuple[DrawnHole | BorrowedHole, str]:
    if masks in DRAWN:
        ramped = f" (10 % at first, more over {ramp} epochs)" if ramp else ""
        return DrawnHole(masks, side, seed, ramp), f"{masks}, 5 % to 50 %{ramped}"
    if not Path(masks).exists():
        raise InputError(
            f"unknown masks {masks!r}. With --crop expected {', '.join(DRAWN)}, or a mask set; several with commas between."
        )
    masks = str(Path(masks) / "train") if (Path(masks) / "train" / "manifest.json").exists() else masks
    widened = f" and grown by up to {grow:.0%} of the side" if grow else ""
    return BorrowedHole(masks, side, seed, grow), f"{MaskSet.open(masks).manifest.segmenter}, borrowed{widened}"
