"""A large picture in tiles: rectangles that together hold all that is missing, each with what must be seen around it."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """Rows and columns to fill, and those to look at."""

    place: tuple[slice, slice]
    seen: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the former lie in the latter."""
        rows, columns = (slice(p.start - s.start, p.stop - s.start) for p, s in zip(self.place, self.seen, strict=True))
        return rows, columns

    @property
    def pixels(self) -> int:
        """How many are seen: what the tile costs."""
        return math.prod(part.stop - part.start for part in self.seen)


def cut_tiles(known: np.ndarray, side: int, reach: int, step: int) -> Iterator[Tile]:
    """Tiles that together hold all pixels where `known` (B, 1, H, W) is below 1; `reach` pixels are seen around each.

    Holes that are so far apart that nothing is seen twice have tiles of their own, each cut down to what it misses, in steps of
    `step` pixels; what is longer than `side`, a multiple of `step`, is divided evenly. A step is a multiple of a network's
    stride, so that a tile lies on the grid of the whole picture.
    """
    size = known.shape[-2], known.shape[-1]
    for cells in _cut_crops(_find_cells(known, step), (0, 0), side // step, 2 * reach // step):
        rows, columns = (slice(p.start * step, min(p.stop * step, n)) for p, n in zip(cells, size, strict=True))
        yield see_around((rows, columns), reach, size)


def see_around(place: tuple[slice, slice], reach: int, size: tuple[int, int]) -> Tile:
    """A tile with so many pixels seen around it, as far as a picture of this size has them."""
    rows, columns = (slice(max(0, p.start - reach), min(p.stop + reach, n)) for p, n in zip(place, size, strict=True))
    return Tile(place, (rows, columns))


def widen(tile: Tile, size: tuple[int, int], least: int, step: int) -> Tile:
    """The tile with more seen around it, in steps of `step` pixels, so that it sees more than `least` pixels where a picture of
    this size has them."""
    while tile.pixels <= least and tile.pixels < math.prod(size):
        tile = Tile(tile.place, see_around(tile.seen, step, size).seen)
    return tile


def _find_cells(known: np.ndarray, step: int) -> np.ndarray:
    """Which squares of `step` pixels miss anything."""
    missing = np.logical_or.reduce(known < 1, (0, 1))
    for axis, length in enumerate(missing.shape):
        missing = np.logical_or.reduceat(missing, np.arange(0, length, step), axis)
    return missing


def _cut_crops(cells: np.ndarray, corner: tuple[int, int], side: int, apart: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of rectangles in which all `cells` are that miss something; `corner` is where they begin."""
    for longest, axis in itertools.product((max(cells.shape), side), (0, 1)):  # only where there is no gap is a hole divided
        stretches = _find_stretches(np.logical_or.reduce(cells, 1 - axis), longest, apart)
        if stretches != [(0, cells.shape[axis])]:
            for start, stop in stretches:
                part, moved = (cells[start:stop], (start, 0)) if axis == 0 else (cells[:, start:stop], (0, start))
                yield from _cut_crops(part, (corner[0] + moved[0], corner[1] + moved[1]), side, apart)
            return
    yield slice(corner[0], corner[0] + cells.shape[0]), slice(corner[1], corner[1] + cells.shape[1])


def _find_stretches(line: np.ndarray, longest: int, apart: int) -> list[tuple[int, int]]:
    """From where to where cells of a line are missing: more than `apart` known ones divide two stretches, and one beyond the
    `longest` is divided evenly."""
    found: list[tuple[int, int]] = []
    places = np.flatnonzero(line)
    for run in np.split(places, np.flatnonzero(np.diff(places) > apart + 1) + 1) if len(places) else ():
        start, length = int(run[0]), int(run[-1] - run[0]) + 1
        count = -(-length // longest)
        found += itertools.pairwise(start + length * i // count for i in range(count + 1))
    return found
