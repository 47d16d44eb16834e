"""Laplace's equation in a hole: every missing pixel is the mean of its neighbours, and nothing flows over the picture's border.

Conjugate gradients, preconditioned by one V-cycle over scales (Briggs, Henson and McCormick, "A Multigrid Tutorial", 2000): the
number of rounds, about 15, hardly depends on the size of the hole, so time and memory follow its area. Parts of the hole that
lie apart are solved one by one, each in the box around it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
RAMP = np.array([0.25, 0.75, 0.75, 0.25], np.float32)  # bilinear interpolation to twice the size, seen from the coarse pixel
APART = 8  # pixels; specks nearer than twice that are solved together
DAMPING = 0.8  # of Jacobi's iteration, which smooths the error
DIRECT = 400  # missing pixels up to which the equations are solved at once
RESIDUAL = 1e-8  # at most, of every equation, where white is 1; against a direct solution the error was below 1e-6
ROUNDS = 200  # never reached: a hole of 24 megapixels takes 17


def solve_laplace(masked: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) float32 with its `hole` (H, W) bool filled; some pixel has to be known.

    It takes some 130 bytes for each pixel of the box around the largest part of the hole.
    """
    filled = masked.copy()
    for box, part in _find_parts(hole):
        picture = filled[box]
        scales = _build_scales(part)
        for channel in range(picture.shape[2]):
            known = np.where(hole[box], 0, picture[..., channel]).astype(np.float64)
            solution = _solve(scales, part * _neighbours(known))
            picture[..., channel][part] = solution[part]
    return filled


def _find_parts(hole: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """The parts of a hole that are farther than twice `APART` from each other: the box around each, some known pixels
    included, and the part within it."""
    around = cv2.dilate(hole.astype(np.uint8), np.ones((2 * APART + 1, 2 * APART + 1), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(around)
    for i in range(1, count):
        left, top, width, height = stats[i, :4]
        box = slice(top, top + height), slice(left, left + width)
        yield box, hole[box] & (labels[box] == i)


@dataclass(frozen=True)
class _Scale:
    """The equations of one scale, `count`·u − the sum of the missing neighbours = r, (H, W) each.

    `hole` is 1 where a pixel is missing, `count` the number of its neighbours in the picture; `inverse` solves them at once.
    """

    hole: np.ndarray
    count: np.ndarray
    inverse: np.ndarray | None

    def apply(self, u: np.ndarray) -> np.ndarray:
        """The left side of the equations for a `u` that is 0 outside the hole."""
        return self.hole * (self.count * u - _neighbours(u))

    def smooth(self, u: np.ndarray, r: np.ndarray) -> np.ndarray:
        return u + DAMPING * (r - self.apply(u)) / self.count


def _build_scales(part: np.ndarray) -> list[_Scale]:
    """From the finest on; a pixel is missing where all four of the finer scale are. The coarsest is solved at once, or, where
    nothing would be missing any more, has only thin holes, which smoothing fills."""
    scales: list[_Scale] = []
    while part.any():
        small = np.count_nonzero(part) <= DIRECT
        hole = part.astype(np.float32)
        count = _neighbours(np.ones_like(hole))
        scales.append(_Scale(hole, count, _invert(part, count) if small else None))
        if small:
            break
        odd_rows, odd_columns = (side % 2 for side in part.shape)
        even = np.pad(part, ((0, odd_rows), (0, odd_columns)), mode="edge")
        part = even[::2, ::2] & even[1::2, ::2] & even[::2, 1::2] & even[1::2, 1::2]
    return scales


def _invert(part: np.ndarray, count: np.ndarray) -> np.ndarray:
    number = np.full(part.shape, -1)
    number[part] = np.arange(np.count_nonzero(part))
    matrix = np.diag(count[part].astype(np.float64))
    for one, other in ((number[1:], number[:-1]), (number[:, 1:], number[:, :-1])):
        both = (one >= 0) & (other >= 0)
        matrix[one[both], other[both]] = matrix[other[both], one[both]] = -1
    return np.linalg.inv(matrix)


def _solve(scales: list[_Scale], right: np.ndarray) -> np.ndarray:
    """The `u` whose equations have this right side, by preconditioned conjugate gradients (Hestenes and Stiefel, 1952)."""
    u, residual = np.zeros_like(right), right
    direction, before = np.zeros_like(right), 1.0
    for _ in range(ROUNDS):
        if np.abs(residual).max() <= RESIDUAL:
            break
        step = _run_cycle(scales, residual)
        now = float((residual * step).sum())
        direction = step + now / before * direction
        moved = scales[0].apply(direction)
        length = now / float((direction * moved).sum())
        u += length * direction
        residual = residual - length * moved
        before = now
    return u


def _run_cycle(scales: list[_Scale], residual: np.ndarray) -> np.ndarray:
    """Nearly the solution for this residual: smoothed, corrected at the scale below, and smoothed in the same way again."""
    (scale, *coarser) = scales
    if scale.inverse is not None:
        u = np.zeros_like(residual)
        u[scale.hole > 0] = scale.inverse @ residual[scale.hole > 0]
        return u
    u = scale.smooth(scale.smooth(np.zeros_like(residual), residual), residual)
    if coarser:
        below = coarser[0].hole * _halve(residual - scale.apply(u))
        u += scale.hole * _double(_run_cycle(coarser, below), *residual.shape)
    return scale.smooth(scale.smooth(u, residual), residual)


def _neighbours(u: np.ndarray) -> np.ndarray:
    """The sum of the four neighbours of each pixel, those beyond the border being 0."""
    return cv2.filter2D(u, -1, CROSS, borderType=cv2.BORDER_CONSTANT)


def _double(u: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(u, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[:height, :width]


def _halve(u: np.ndarray) -> np.ndarray:
    """The transpose of `_double`, as conjugate gradients need it."""
    rows, columns = (side % 2 for side in u.shape)
    even = cv2.copyMakeBorder(u, 0, rows, 0, columns, cv2.BORDER_CONSTANT, value=0)
    return cv2.sepFilter2D(even, -1, RAMP, RAMP, anchor=(1, 1), borderType=cv2.BORDER_REFLECT)[::2, ::2]
