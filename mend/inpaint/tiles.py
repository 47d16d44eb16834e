"""A large picture in tiles, with what has to be seen around each: crops of what is missing, none larger than a side."""

import itertools
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
    """Tiles that together hold all pixels where `known` (B, 1, H, W) is below 1; `reach` pixels are seen around each.

    Holes that are so far apart that nothing is seen twice have tiles of their own, each cut down to what it misses, in steps of
    `step` pixels; what is longer than `side`, a multiple of `step`, is divided evenly. A step is a multiple of a network's
    stride, so that a tile lies on the grid of the whole picture.
    """
    for cells in _crops(_cells(known, step), (0, 0), side // step, 2 * reach // step):
        yield Tile(*zip(*(_span(*part, step, reach) for part in zip(cells, known.shape[-2:], strict=True)), strict=True))


def widen(tile: Tile, size: tuple[int, int], least: int, step: int) -> Tile:
    """The tile with more seen around it, in steps of `step` pixels, so that it sees more than `least` pixels where a picture of
    this size has them."""
    seen = list(tile.seen)
    while math.prod(part.stop - part.start for part in seen) <= least and any(
        part.stop - part.start < length for part, length in zip(seen, size, strict=True)
    ):
        seen = [
            slice(max(0, part.start - step), min(part.stop + step, length)) for part, length in zip(seen, size, strict=True)
        ]
    inner = (slice(p.start - s.start, p.stop - s.start) for p, s in zip(tile.place, seen, strict=True))
    return Tile(tile.place, (seen[0], seen[1]), (next(inner), next(inner)))


def _cells(known: np.ndarray, step: int) -> np.ndarray:
    """Which squares of `step` pixels miss anything."""
    missing = np.logical_or.reduce(known < 1, (0, 1))
    for axis, length in enumerate(missing.shape):
        missing = np.logical_or.reduceat(missing, np.arange(0, length, step), axis)
    return missing


def _crops(cells: np.ndarray, corner: tuple[int, int], side: int, apart: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of rectangles in which all `cells` are that miss something; `corner` is where they begin."""
    for longest, axis in itertools.product((max(cells.shape), side), (0, 1)):  # only where there is no gap is a hole divided
        stretches = _stretches(np.logical_or.reduce(cells, 1 - axis), longest, apart)
        if stretches != [(0, cells.shape[axis])]:
            for start, stop in stretches:
                part, moved = (cells[start:stop], (start, 0)) if axis == 0 else (cells[:, start:stop], (0, start))
                yield from _crops(part, (corner[0] + moved[0], corner[1] + moved[1]), side, apart)
            return
    yield slice(corner[0], corner[0] + cells.shape[0]), slice(corner[1], corner[1] + cells.shape[1])


def _stretches(line: np.ndarray, longest: int, apart: int) -> list[tuple[int, int]]:
    """From where to where cells of a line are missing: more than `apart` known ones divide two stretches, and one beyond the
    `longest` is divided evenly."""
    found: list[tuple[int, int]] = []
    places = np.flatnonzero(line)
    for run in np.split(places, np.flatnonzero(np.diff(places) > apart + 1) + 1) if len(places) else ():
        start, length = int(run[0]), int(run[-1] - run[0]) + 1
        count = -(-length // longest)
        found += itertools.pairwise(start + length * i // count for i in range(count + 1))
    return found


def _span(cells: slice, length: int, step: int, reach: int) -> tuple[slice, slice, slice]:
    start, stop = cells.start * step, min(cells.stop * step, length)
    seen = slice(max(0, start - reach), min(stop + reach, length))
    return slice(start, stop), seen, slice(start - seen.start, stop - seen.start)
