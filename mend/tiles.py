"""A large picture in tiles, with what has to be seen around each; only the tiles that miss something."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """Rows and columns to fill, those to look at, and where the first lie in the second."""

    place: tuple[slice, slice]
    seen: tuple[slice, slice]
    inner: tuple[slice, slice]

    @property
    def pixels(self) -> int:
        """How many are seen: what the tile costs."""
        return math.prod(part.stop - part.start for part in self.seen)


def tiles(known: np.ndarray, side: int, reach: int, step: int) -> Iterator[Tile]:
    """The tiles of `side` pixels in which `known` (B, 1, H, W) is anywhere below 1; `reach` pixels are seen around each.

    A tile is cut down to what it misses, in steps of `step` pixels: a small hole costs little. All three are multiples of a
    network's stride, so that a tile lies on the grid of the whole picture.
    """
    height, width = known.shape[-2:]
    for top in range(0, height, side):
        for left in range(0, width, side):
            missing = np.logical_or.reduce(known[..., top : top + side, left : left + side] < 1, (0, 1))
            if missing.any():
                rows = _span(missing.any(1), top, reach, step, height)
                columns = _span(missing.any(0), left, reach, step, width)
                yield Tile((rows[0], columns[0]), (rows[1], columns[1]), (rows[2], columns[2]))


def _span(missing: np.ndarray, start: int, reach: int, step: int, length: int) -> tuple[slice, slice, slice]:
    first, last = (int(i) for i in np.flatnonzero(missing)[[0, -1]])
    start, stop = start + first // step * step, min(start + (last // step + 1) * step, length)
    seen = slice(max(0, start - reach), min(stop + reach, length))
    return slice(start, stop), seen, slice(start - seen.start, stop - seen.start)
