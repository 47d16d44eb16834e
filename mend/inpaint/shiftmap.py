"""A hole filled with copies of known pixels, whose steps are blended in the gradient domain.

A shift-map says for every missing pixel which known one it copies (Pritch, Kav-Venaki and Peleg, 2009). Neighbours that copy
from different places do not meet; so a smooth correction is added to the copies, with which their gradients are as near as can
be to those at the places that they copy (Pérez, Gangnet and Blake, Poisson Image Editing, 2003).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mend.inpaint.compiled import compile_loop, inline_loop, run
from mend.inpaint.patchmatch import AROUND

SCREENING = 0.05**2  # holds pixels to the colour copied: a step between copies is blended over about 1/0.05 pixels
EDGE = 0.1  # a step between copies that is much higher stays: it is an edge, and blended it would be a glow
STEPS = 40  # of conjugate gradients at a scale; the scale below has dealt with what is wider


@dataclass
class ShiftMap:
    """For every missing pixel of a picture of some `shape` the known one that it copies, flat indices both, and the
    `correction` (3, N) of its colour."""

    shape: tuple[int, int]
    missing: np.ndarray
    source: np.ndarray
    correction: np.ndarray

    def colours(self, image: np.ndarray) -> np.ndarray:
        """What the missing pixels of an image (3, H, W) become: (3, N)."""
        return (image.reshape(3, -1)[:, self.source] + self.correction).clip(0, 1)


def enlarge_copies(coarse: ShiftMap, hole: np.ndarray) -> np.ndarray:
    """What the missing pixels of a hole (H, W) twice as large copy: each lies in its source's cell as it lies in its own.

    At an odd side the last cell has but one row or column, which is copied then.
    """
    height, width = hole.shape
    sources = np.zeros(coarse.shape, np.int32)
    sources.flat[coarse.missing] = coarse.source
    y, x = np.divmod(np.flatnonzero(hole).astype(np.int32), width)
    v, u = np.divmod(sources[y // 2, x // 2], coarse.shape[1])
    return (2 * v + y % 2).clip(max=height - 1) * width + (2 * u + x % 2).clip(max=width - 1)


# --- Blending --------------------------------------------------------------------------------------------------------


class Poisson(NamedTuple):
    """Poisson's equation for N missing pixels.

    divergence  (3, N) of what the gradients miss
    degree      (N,) how many neighbours a pixel has
    neighbours  (4, N) their numbers among the missing; N for a known one, and beyond the border
    """

    divergence: np.ndarray
    degree: np.ndarray
    neighbours: np.ndarray


def blend_copies(image: np.ndarray, hole: np.ndarray, source: np.ndarray, coarse: ShiftMap | None) -> ShiftMap:
    """The shift-map of a hole (H, W) in an image (3, H, W), corrected so that neighbours differ as their sources do.

    The correction is nothing where the picture is known, and starts from that of the scale half as large.
    """
    missing = np.flatnonzero(hole).astype(np.int32)
    count = len(missing)
    number = np.full(hole.shape, -1, np.int32)
    number.flat[missing] = np.arange(count, dtype=np.int32)
    correction = np.zeros((3, count + 1), np.float32)
    if coarse is not None:
        enlarge_correction(coarse, missing, hole.shape[1], correction[:, :-1])
    poisson = Poisson(np.empty((3, count), np.float32), np.empty(count, np.float32), np.empty((4, count), np.int32))
    run(compare_gradients, count, image, missing, number, source, poisson)
    run(solve, 3, poisson, np.float32(SCREENING), STEPS, correction, grain=1)
    return ShiftMap((hole.shape[0], hole.shape[1]), missing, source, correction[:, :-1])


def enlarge_correction(coarse: ShiftMap, missing: np.ndarray, width: int, correction: np.ndarray) -> None:
    """Writes the correction (3, N) of the missing pixels of a picture twice as large and so wide, bilinearly."""
    height, wide = coarse.shape
    y, x = np.divmod(missing, width)
    v, u = y // 2, x // 2
    beside_v, beside_u = (v + y % 2 * 2 - 1).clip(0, height - 1), (u + x % 2 * 2 - 1).clip(0, wide - 1)
    field, quarter = np.zeros((height, wide), np.float32), np.float32(0.25)
    for c in range(3):
        field.flat[coarse.missing] = coarse.correction[c]
        near = 3 * quarter * field[v, u] + quarter * field[v, beside_u]
        far = 3 * quarter * field[beside_v, u] + quarter * field[beside_v, beside_u]
        correction[c] = 3 * quarter * near + quarter * far


@compile_loop
def compare_gradients(
    start: int, stop: int, pixels: np.ndarray, missing: np.ndarray, number: np.ndarray, source: np.ndarray, poisson: Poisson
) -> None:
    """Poisson's equation for missing pixels that copy each its `source`; `number` (H, W) is −1 where the picture is known.

    The gradient wanted between two neighbours is that at the one's source, or at the other's: the mean, where both are known.
    """
    height, width = number.shape
    divergence, degree, neighbours = poisson
    excess = np.empty(3, np.float32)
    for i in range(start, stop):
        y, x = missing[i] // width, missing[i] % width
        v, u = source[i] // width, source[i] % width
        divergence[:, i] = 0
        degree[i] = 0
        for side, (dy, dx) in enumerate(AROUND):
            neighbours[side, i] = len(missing)
            if not (0 <= y + dy < height and 0 <= x + dx < width):
                continue
            degree[i] += 1
            s, r = y + dy, x + dx  # what the neighbour shows: itself, or its source
            neighbour = number[s, r]
            if neighbour >= 0:
                neighbours[side, i] = neighbour
                s, r = source[neighbour] // width, source[neighbour] % width
            ours = 0 <= v + dy < height and 0 <= u + dx < width and number[v + dy, u + dx] < 0
            theirs = 0 <= s - dy < height and 0 <= r - dx < width and number[s - dy, r - dx] < 0
            if not (ours or theirs):
                continue
            square = np.float32(0)
            for c in range(3):
                wanted = np.float32(0)
                if ours:
                    wanted += pixels[c, v, u] - pixels[c, v + dy, u + dx]
                if theirs:
                    wanted += pixels[c, s - dy, r - dx] - pixels[c, s, r]
                if ours and theirs:
                    wanted *= np.float32(0.5)
                excess[c] = wanted - (pixels[c, v, u] - pixels[c, s, r])
                square += excess[c] * excess[c]
            kept = np.float32(math.exp(-square / (2 * EDGE**2)))
            for c in range(3):
                divergence[c, i] += kept * excess[c]


@inline_loop
def _apply(degree: np.ndarray, neighbours: np.ndarray, screening: float, values: np.ndarray, i: int) -> float:
    """(−∆ + screening) values, at one pixel."""
    total = (degree[i] + screening) * values[i]
    for side in range(4):
        total -= values[neighbours[side, i]]
    return total


@compile_loop
def solve(start: int, stop: int, poisson: Poisson, screening: float, steps: int, solution: np.ndarray) -> None:
    """(−∆ + screening) solution = divergence, for channels `start` to `stop`, by so many steps of conjugate gradients.

    `solution` (3, N + 1) is where they start from; its last column is the 0 that all known pixels have.
    """
    divergence, degree, neighbours = poisson
    count = len(degree)
    rest, ahead, direction = np.empty(count, np.float32), np.empty(count, np.float32), np.zeros(count + 1, np.float32)
    for c in range(start, stop):
        values = solution[c]
        square = 0.0
        for i in range(count):
            rest[i] = divergence[c, i] - _apply(degree, neighbours, screening, values, i)
            direction[i] = rest[i]
            square += rest[i] * rest[i]
        for _ in range(steps):
            curvature = 0.0
            for i in range(count):
                ahead[i] = _apply(degree, neighbours, screening, direction, i)
                curvature += direction[i] * ahead[i]
            length, before, square = np.float32(square / max(curvature, 1e-12)), square, 0.0
            for i in range(count):
                values[i] += length * direction[i]
                rest[i] -= length * ahead[i]
                square += rest[i] * rest[i]
            turn = np.float32(square / max(before, 1e-12))
            for i in range(count):
                direction[i] = rest[i] + turn * direction[i]
