"""A filling whose seam is evened out: what a network is off by around a hole is taken from its filling, smoothly.

A network that draws the known pixels anew misses them by a little, and so the filling beside them. That difference, carried
into the hole as smoothly as can be, is what gradient-domain blending adds (Pérez, Gangnet and Blake, 2003, "Poisson Image
Editing", with the filling's own gradients as guide): inside, the filling keeps its gradients; at the rim it meets the picture.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mend.inpaint.filler import Filler, Memory
from mend.inpaint.scales import double as doubled
from mend.inpaint.scales import halve as halved
from mend.progress import Report, ignore

ROUNDS = 24  # of averaging at each scale; what is wider than they reach, the scale below has dealt with
BESIDE = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def evened(raw: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """`raw` (B, 3, H, W) in [0, 1] that meets `image` all around the hole (B, 1, H, W); only what is in the hole changes."""
    return (raw + hole * spread(image - raw, 1 - hole)).clamp(0, 1)


def spread(values: Tensor, known: Tensor) -> Tensor:
    """Values (B, C, H, W), carried from where `known` (B, 1, H, W) is 1 into where it is 0: each the mean of its neighbours.

    Solved from coarse to fine. All 0 where nothing is known.
    """
    height, width = known.shape[-2:]
    if max(height, width) > 2:
        share = halved(known)
        coarse = spread(halved(values * known) / share.clamp(min=1e-6), (share > 0).float())
        guess = torch.where(known > 0, values, doubled(coarse, height, width))
    else:
        mean = (values * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
        guess = torch.where(known > 0, values, mean)
    if (known > 0).all():
        return guess
    beside = BESIDE.to(known).expand(values.shape[1], 1, 3, 3)
    count = F.conv2d(torch.ones_like(known), BESIDE.to(known)[None, None], padding=1).clamp(min=1)
    for _ in range(ROUNDS):
        mean = F.conv2d(guess, beside, padding=1, groups=values.shape[1]) / count
        guess = torch.where(known > 0, values, mean)
    return guess


class Blended:
    """A `Filler` whose filling meets the picture all around the hole."""

    PICTURE = 110  # bytes for each pixel of the picture, more

    def __init__(self, filler: Filler) -> None:
        self.filler, self.notes = filler, filler.notes
        self.name, self.runtime, self.config = filler.name, filler.runtime, filler.config
        self.stride, self.reach, self.tiles = filler.stride, filler.reach, filler.tiles
        self.version, self.parameters = f"{filler.version} seam", filler.parameters
        inner = filler.memory
        self.memory = inner and Memory(inner.program, inner.picture + self.PICTURE, inner.seen)

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Report = ignore) -> np.ndarray:
        """As `Filler`."""
        parts = (self.filler(masked, hole, tile, report), masked, hole)
        return evened(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts)).numpy()
