"""A hole filled from coarse to fine: at every scale a network corrects the filling of the scale below.

At the coarsest scale a large hole is a few pixels wide; at every finer one it is already filled, and what is left to do is
to add detail. So the same weights fill a hole of any size, and the network need not see far. Multiscale recursion with shared
weights: Nah et al., 2017, arXiv:1612.02177; Tao et al., 2018, arXiv:1802.01770. The average of the known pixels going up and
the blend coming down are the pull and push of Gortler et al., 1996, "The Lumigraph".

Written once for numpy and PyTorch, by the array API: tensors stay on their device and keep their gradients, which training
needs; arrays are enough where ONNX Runtime runs the network.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mend.images import composite, find_array_module, pad_to
from mend.inpaint.arrays import (
    Array,
    average_neighbours,
    choose_sum_type,
    copy,
    double,
    double_part,
    halve,
    is_darker_half_first,
    mirror,
    sum_lines,
    sum_squares,
    to_numpy,
)
from mend.inpaint.holes import find_thick
from mend.inpaint.tiles import Tile, cut_tiles, widen
from mend.inpaint.windows import find_windows
from mend.progress import Report, ignore, split_report

Correct = Callable[[Array], Array]
"""The network of one scale: `seen` (B, 7, H, W), the filling so far, its change from the guess, and what is missing, to a
`correction` (B, 3, H, W), all in units of the picture's contrast; H and W are multiples of `STRIDE`."""

COARSEST = 8  # pixels: the longer side of the coarsest scale, at most
STRIDE = 8  # pixels: `seen` is padded to multiples of it, and tiles end on its grid
REACH = 64  # pixels seen around a tile; `tests/models/test_pyramid.py` holds the network to it
NEAR = 16  # the same for a thin hole, whose filling hardly depends on what is farther: results/small-marks.json, with 16
SMALLEST = 256  # pixels: the sides of what the smallest tile sees; a scale that fits in is seen whole
RIDGE = 0.03  # of the picture's sides squared; see `fit_plane`
RELAX = 2  # rounds of `refine` by the network `structure`; each sees one pixel farther, and with two `REACH` is still enough


def fill_scales(
    masked: Array,
    hole: Array,
    correct: Correct,
    tile: int,
    report: Report = ignore,
    start: Array | None = None,
    small: int = 0,
    on_small: Callable[[], AbstractContextManager[Any]] = nullcontext,
    relax: int = 0,
) -> Array:
    """`raw` (B, 3, H, W) from what is known (B, 3, H, W), zeros in the hole, and the hole (B, 1, H, W).

    A scale is worked through in tiles of at most `tile` pixels, and only those that miss something: the result is the same for
    any side (`REACH` pixels are seen around each), memory is bounded, and time follows the area that is looked at, not the
    number of holes. Of a thin hole (`find_thick`) less is looked at, `NEAR` pixels around each part. A picture is first
    mirrored so that its lighter half is above, and left: so the filling of a mirrored picture is the filling, mirrored.

    A hole is filled from the windows around it (`find_windows`), each as a picture of its own.

    `start` is the filling of a coarser scale, made by another network: (B, 3, ⌈H/2ᵏ⌉, ⌈W/2ᵏ⌉) in [0, 1], of the whole picture,
    which is then the window. The scales from that one down are left out. `on_small` is entered around the scales of at most
    `small` pixels, and around all scales of a thin hole; every other tile sees more than that. `relax` is for `refine`.
    `report` counts pixels.
    """
    whole = [(slice(0, hole.shape[2]), slice(0, hole.shape[3]))]
    windows = [find_windows(one[0] > 0) for one in to_numpy(hole)] if start is None else []
    fill = partial(_fill, correct=correct, tile=tile, small=small, on_small=on_small, relax=relax)
    if all(of_image in ([], whole) for of_image in windows):
        return fill(masked, hole, report, start)
    places = [(slice(i, i + 1), slice(None), *window) for i, of_image in enumerate(windows) for window in of_image]
    raw = copy(masked)
    for place, part in zip(places, split_report(report, [math.prod(hole[place].shape) for place in places]), strict=True):
        raw[place] = fill(masked[place], hole[place], part, None)
    return raw


def _fill(
    masked: Array,
    hole: Array,
    report: Report,
    start: Array | None,
    *,
    correct: Correct,
    tile: int,
    small: int,
    on_small: Callable[[], AbstractContextManager[Any]],
    relax: int,
) -> Array:
    """A window at all scales."""
    small = small if len(masked) == 1 else 0
    over = is_darker_half_first(masked)
    masked, hole = mirror(masked, over), mirror(hole, over)
    levels, plane, contrast = build_levels(masked, hole)
    raw = None
    if start is not None:
        raw, levels = _begin(mirror(start, over), levels, plane)
    is_thin = not find_thick(to_numpy(hole)).any()
    work = [_find_tiles(to_numpy(known), tile, small, is_thin) for _, known in levels]
    steps = iter(split_report(report, [part.pixels for parts in reversed(work) for part in parts]))
    refine_part = partial(refine, contrast=contrast, correct=correct, relax=relax)
    with on_small():
        while levels and (is_thin or math.prod(levels[-1][1].shape[-2:]) <= small):
            raw = _fill_level(raw, *levels.pop(), work.pop(), refine_part, steps)
    while levels:
        raw = _fill_level(raw, *levels.pop(), work.pop(), refine_part, steps)
    assert raw is not None
    for i in range(raw.shape[1]):  # channel by channel: of a large picture a copy takes memory
        colours = raw[:, i : i + 1] + plane.rows[:, i : i + 1] + plane.columns[:, i : i + 1]
        raw[:, i : i + 1] = composite(masked[:, i : i + 1], find_array_module(raw).clip(colours, 0, 1), hole)
    return mirror(raw, over)


def _fill_level(
    coarse: Array | None,
    colour: Array,
    known: Array,
    parts: list[Tile],
    refine_part: Callable[..., Array],
    steps: Iterator[Report],
) -> Array:
    """A scale filled in parts, a step each, from the filling of the scale below, if there is one."""
    raw = copy(colour)
    for part in parts:
        seen = colour[(..., *part.seen)]
        guess = find_array_module(seen).zeros_like(seen) if coarse is None else double_part(coarse, *part.seen)
        refined = refine_part(seen, known[(..., *part.seen)], guess)
        raw[(..., *part.place)] = refined[(..., *part.inner)]
        next(steps)(1, 1)
    return raw


def _find_tiles(known: np.ndarray, tile: int, small: int, is_thin: bool) -> list[Tile]:
    """The tiles of a scale; of a thin hole they are the same whatever side is asked for."""
    if is_thin and math.prod(known.shape[-2:]) > SMALLEST**2:
        return list(cut_tiles(known, SMALLEST - 2 * NEAR, NEAR, STRIDE))
    return [widen(part, known.shape[-2:], small, STRIDE) for part in cut_tiles(known, tile, REACH, STRIDE)]


def fill_all_scales(masked: Array, hole: Array, correct: Correct, relax: int = 0) -> list[Array]:
    """`raw` at every scale, the finest first; each is half as large as the one before, odd sides rounded up."""
    levels, plane, contrast = build_levels(masked, hole)
    raws: list[Array] = []
    for colour, known in reversed(levels):
        guess = double(raws[-1], *colour.shape[-2:]) if raws else find_array_module(colour).zeros_like(colour)
        raws.append(refine(colour, known, guess, contrast, correct, relax))
    for i in reversed(range(len(raws))):
        raws[i] = find_array_module(raws[i]).clip(raws[i] + plane.rows + plane.columns, 0, 1)
        plane = plane.halve()
    return raws[::-1]


def build_levels(masked: Array, hole: Array) -> tuple[list[tuple[Array, Array]], "Plane", Array]:
    """(colour, known) of every scale, the finest first; the plane that was taken from the colours; their contrast.

    `known` is the share of a cell that is there; `colour` is the mean over the cell, missing pixels counted as 0.
    `contrast` (B, 1, 1, 1) is the standard deviation of the known colours from the plane.
    """
    xp = find_array_module(masked)
    known = 1 - hole
    plane = fit_plane(masked, known)
    colour = masked - plane.rows
    colour -= plane.columns
    colour *= known
    count = xp.sum(sum_lines(known, 3), axis=(1, 2))
    deviation = xp.sum(sum_squares(colour), axis=1) / xp.clip(3 * count, min=1)
    contrast = xp.astype(xp.sqrt(deviation)[:, None, None, None], colour.dtype)
    levels = [(colour, known)]
    while max(levels[-1][1].shape[-2:]) > COARSEST:
        levels.append((halve(levels[-1][0]), halve(levels[-1][1])))
    return levels, plane, contrast


def refine(colour: Array, known: Array, guess: Array, contrast: Array, correct: Correct, relax: int = 0) -> Array:
    """One scale: the guess blended in where pixels are missing, relaxed so many rounds, and corrected there.

    Blending alone leaves the enlarged cells of the scale below at the rim of the hole. Relaxed, the missing pixels meet the
    known ones: over all scales that is a cascade towards Laplace's equation (Bornemann and Deuflhard, 1996). Untrained it is
    half a decibel nearer to photographs than the blend, as the equation itself is by one. The network sees the guess too, and
    can take back what relaxing blurs.
    """
    xp = find_array_module(colour)
    base = colour + (1 - known) * guess
    for _ in range(relax):
        base = colour + (1 - known) * average_neighbours(base)
    # In units of the picture's contrast: an even picture comes back as it is, a faint one is filled as a strong one is.
    unit = xp.clip(contrast, min=1e-3)
    seen = xp.concat([base / unit, (base - guess) / unit, 1 - known], axis=1)
    height, width = seen.shape[-2:]
    correction = xp.astype(correct(pad_to(seen, STRIDE))[..., :height, :width], colour.dtype)
    return base + (1 - known) * contrast * correction


def _begin(start: Array, levels: list[tuple[Array, Array]], plane: "Plane") -> tuple[Array, list[tuple[Array, Array]]]:
    """The filling of the scale that `start` has, and the scales that are finer."""
    for i, (colour, known) in enumerate(levels):
        if colour.shape == start.shape:
            return colour + (1 - known) * (start - plane.rows - plane.columns), levels[:i]
        plane = plane.halve()
    sizes = ", ".join(f"{known.shape[-1]}×{known.shape[-2]}" for _, known in levels)
    raise ValueError(f"start is {start.shape[-1]}×{start.shape[-2]}; expected one of the scales {sizes} (width×height)")


# --- The plane -------------------------------------------------------------------------------------------------------


class Plane(NamedTuple):
    """Colours that change evenly down and across: `rows` (B, 3, H, 1) and `columns` (B, 3, 1, W), to be added."""

    rows: Array
    columns: Array

    def halve(self) -> "Plane":
        """The plane of the scale below."""
        return Plane(halve(self.rows), halve(self.columns))


def fit_plane(masked: Array, known: Array) -> Plane:
    """The plane nearest to the known colours; mid-grey where nothing is known.

    Slopes are held back by `RIDGE` times the share of the colours' variance that they do not explain: an even ramp goes on as
    it is, while a few known pixels at one side say little of the other (ridge regression, Hoerl and Kennard, 1970).
    """
    xp, kind = find_array_module(masked), choose_sum_type(masked)
    height, width = known.shape[-2:]
    y, x = (((xp.arange(n, dtype=kind, device=masked.device) + 0.5) / n - 0.5)[None, None] for n in (height, width))
    known_rows, known_columns = sum_lines(known, 3), sum_lines(known, 2)  # (B, 1, H) and (B, 1, W)
    rows, columns = sum_lines(masked, 3), sum_lines(masked, 2)  # (B, 3, H) and (B, 3, W)
    count = xp.sum(known_rows, axis=2)  # (B, 1)

    def mean(total: Array) -> Array:
        return xp.sum(total, axis=-1) / xp.clip(count, min=1)

    y, x = y - mean(known_rows * y)[..., None], x - mean(known_columns * x)[..., None]
    yy, xx = mean(known_rows * y**2), mean(known_columns * x**2)
    yx = mean(y * _sum_known(known, x))
    average, down, across = mean(rows), mean(rows * y), mean(columns * x)  # (B, 3)
    variance = xp.sum(sum_squares(masked) / xp.clip(count, min=1) - average**2, axis=1)[:, None]

    def slopes(ridge: Array) -> tuple[Array, Array]:
        a, c = yy + ridge, xx + ridge
        scale = a * c - yx**2
        return (c * down - yx * across) / scale, (a * across - yx * down) / scale

    # For pictures of one row, and for one known pixel: above what the sums are rounded by.
    least = 1e-9 if kind == xp.float64 else 1e-5
    by_y, by_x = slopes(least)
    explained = xp.sum(by_y * down + by_x * across, axis=1)[:, None] / xp.clip(variance, min=1e-12)
    by_y, by_x = slopes(least + RIDGE * (1 - xp.clip(explained, 0, 1)))
    level = xp.where(count > 0, average, xp.full_like(average, 0.5))
    return Plane(
        xp.astype((level[..., None] + by_y[..., None] * y)[..., None], masked.dtype),
        xp.astype((by_x[..., None] * x)[..., None, :], masked.dtype),
    )


def _sum_known(known: Array, x: Array) -> Array:
    """For each row of `known` (B, 1, H, W) the sum of `x` (B, 1, W) over what is known: (B, 1, H)."""
    xp = find_array_module(known)
    return (xp.astype(known, x.dtype) @ x[..., None])[..., 0]
