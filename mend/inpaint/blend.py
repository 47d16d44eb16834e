"""A filling that meets the picture all around the hole, by gradient-domain blending.

A network that draws the known pixels anew misses them by a little, and so what it puts beside them. Poisson's equation with
the filling's own gradients as guide (Pérez, Gangnet and Blake, Poisson Image Editing, 2003) comes down to Laplace's: what the
filling misses at the rim is carried into the hole as a membrane, and added.
"""

import numpy as np

from mend.inpaint.arrays import double, halve
from mend.inpaint.filler import Wrapper
from mend.progress import Report, ignore

ROUNDS = 24  # of relaxation at each scale; what is wider than they reach, the scale below has dealt with


class Blended(Wrapper):
    """A `Filler` whose filling meets the picture all around the hole: it must be worked out one pixel beside it, too."""

    PICTURE = 110
    VERSION = " seam"

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Report = ignore) -> np.ndarray:
        """As `Filler`."""
        return blend(self.filler(masked, hole, tile, report), masked, hole)


def blend(raw: np.ndarray, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """`raw` (B, 3, H, W) in [0, 1] that meets `image` all around the hole (B, 1, H, W); only what is in the hole changes."""
    return (raw + hole * approximate_laplace(image - raw, 1 - hole)).clip(0, 1)


def approximate_laplace(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values (B, C, H, W) with each pixel that is not `known` (B, 1, H, W) the mean of its neighbours, nearly.

    Solved from coarse to fine; `mend.inpaint.laplace` solves it exactly, and takes longer. All 0 where nothing is known.
    """
    if (known > 0).all():
        return values
    height, width = known.shape[-2:]
    if max(height, width) > 2:
        share = halve(known)
        means = halve(values * known) / np.maximum(share, np.float32(1e-6))
        guess = double(approximate_laplace(means, (share > 0).astype(known.dtype)), height, width)
    else:
        guess = (values * known).sum((2, 3), keepdims=True) / known.sum((2, 3), keepdims=True).clip(min=1)
    return relax(np.where(known > 0, values, guess), known == 0)


def relax(values: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Values (B, C, H, W) after so many rounds in which each `unknown` (B, 1, H, W) one becomes the mean of its neighbours."""
    batch, channels, height, width = values.shape
    framed = np.zeros((channels, batch, height + 2, width + 2), values.dtype)  # with zeros, which change no sum
    framed[..., 1:-1, 1:-1] = values.swapaxes(0, 1)
    flat = framed.reshape(channels, -1)
    inside = np.pad(np.ones(unknown[:, 0].shape, np.float32), ((0, 0), (1, 1), (1, 1))).ravel()
    places = np.flatnonzero(np.pad(unknown[:, 0], ((0, 0), (1, 1), (1, 1))))
    neighbours = [places + step for step in (-width - 2, -1, 1, width + 2)]
    count = np.maximum(sum(inside[beside] for beside in neighbours), 1)
    for _ in range(ROUNDS):
        flat[:, places] = sum(flat[:, beside] for beside in neighbours) / count
    return framed[..., 1:-1, 1:-1].swapaxes(0, 1)
