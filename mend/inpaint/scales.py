"""A hole filled from coarse to fine: at every scale a network corrects the filling of the scale below.

At the coarsest scale a large hole is a few pixels wide; at every finer one it is already filled, and what is left to do is
to add detail. So the same weights fill a hole of any size, and the network need not see far. Multiscale recursion with shared
weights: Nah et al., 2017, arXiv:1612.02177; Tao et al., 2018, arXiv:1802.01770. The average of the known pixels going up and
the blend coming down are the pull and push of Gortler et al., 1996, "The Lumigraph".

Written once for numpy and PyTorch, by the array API: tensors stay on their device and keep their gradients, which training
needs; arrays are enough where ONNX Runtime runs the network.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mend.images import array_module, composite, pad_to
from mend.inpaint.holes import find_thick
from mend.inpaint.tiles import Tile, tiles, widen
from mend.inpaint.windows import Window, find_windows
from mend.progress import Report, ignore

Array = Any  # a numpy array or a tensor
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
    windows = [find_windows(one[0] > 0) for one in _to_numpy(hole)] if start is None else []
    fill = partial(_fill, correct=correct, tile=tile, small=small, on_small=on_small, relax=relax)
    if all(of_image in ([], whole) for of_image in windows):
        return fill(masked, hole, report, start)
    raw, done, of = _copy(masked), 0, sum(_size(window) for of_image in windows for window in of_image)
    for i, of_image in enumerate(windows):
        for window in of_image:
            place, share = (slice(i, i + 1), slice(None), *window), _size(window)
            raw[place] = fill(masked[place], hole[place], _part_of(report, done, share, of), None)
            done += share
    return raw


def _size(window: Window) -> int:
    rows, columns = window
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _part_of(report: Report, before: int, share: int, of: int) -> Report:
    return lambda done, part_of: report(before + round(share * done / max(part_of, 1)), of)


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
    over = darker_half_first(masked)
    masked, hole = mirror(masked, over), mirror(hole, over)
    levels, plane, contrast = build_levels(masked, hole)
    raw = None
    if start is not None:
        raw, levels = _begin(mirror(start, over), levels, plane)
    is_thin = not find_thick(_to_numpy(hole)).any()
    work = [_find_tiles(_to_numpy(known), tile, small, is_thin) for _, known in levels]
    done, of = 0, sum(part.pixels for scale in work for part in scale)

    def fill_level(raw: Array | None) -> Array:
        nonlocal done
        (colour, known), parts = levels.pop(), work.pop()
        coarse, raw = raw, _copy(colour)
        for part in parts:
            seen = colour[(..., *part.seen)]
            guess = _zeros_like(seen) if coarse is None else double_part(coarse, *part.seen)
            refined = refine(seen, known[(..., *part.seen)], guess, contrast, correct, relax)
            raw[(..., *part.place)] = refined[(..., *part.inner)]
            done += part.pixels
            report(done, of)
        return raw

    with on_small():
        while levels and (is_thin or _area(levels[-1][1]) <= small):
            raw = fill_level(raw)
    while levels:
        raw = fill_level(raw)
    assert raw is not None
    for i in range(raw.shape[1]):  # channel by channel: of a large picture a copy takes memory
        colours = raw[:, i : i + 1] + plane.rows[:, i : i + 1] + plane.columns[:, i : i + 1]
        raw[:, i : i + 1] = composite(masked[:, i : i + 1], array_module(raw).clip(colours, 0, 1), hole)
    return mirror(raw, over)


def _find_tiles(known: np.ndarray, tile: int, small: int, is_thin: bool) -> list[Tile]:
    """The tiles of a scale; of a thin hole they are the same whatever side is asked for."""
    if is_thin and _area(known) > SMALLEST**2:
        return list(tiles(known, SMALLEST - 2 * NEAR, NEAR, STRIDE))
    return [widen(part, known.shape[-2:], small, STRIDE) for part in tiles(known, tile, REACH, STRIDE)]


def all_scales(masked: Array, hole: Array, correct: Correct, relax: int = 0) -> list[Array]:
    """`raw` at every scale, the finest first; each is half as large as the one before, odd sides rounded up."""
    levels, plane, contrast = build_levels(masked, hole)
    raws: list[Array] = []
    for colour, known in reversed(levels):
        guess = double(raws[-1], *colour.shape[-2:]) if raws else _zeros_like(colour)
        raws.append(refine(colour, known, guess, contrast, correct, relax))
    for i in reversed(range(len(raws))):
        raws[i] = array_module(raws[i]).clip(raws[i] + plane.rows + plane.columns, 0, 1)
        plane = plane.halved()
    return raws[::-1]


def build_levels(masked: Array, hole: Array) -> tuple[list[tuple[Array, Array]], "Plane", Array]:
    """(colour, known) of every scale, the finest first; the plane that was taken from the colours; their contrast.

    `known` is the share of a cell that is there; `colour` is the mean over the cell, missing pixels counted as 0.
    `contrast` (B, 1, 1, 1) is the standard deviation of the known colours from the plane.
    """
    xp = array_module(masked)
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
    xp = array_module(colour)
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
        plane = plane.halved()
    sizes = ", ".join(f"{known.shape[-1]}×{known.shape[-2]}" for _, known in levels)
    raise ValueError(f"start is {start.shape[-1]}×{start.shape[-2]}; expected one of the scales {sizes} (width×height)")


# --- The plane -------------------------------------------------------------------------------------------------------


class Plane(NamedTuple):
    """Colours that change evenly down and across: `rows` (B, 3, H, 1) and `columns` (B, 3, 1, W), to be added."""

    rows: Array
    columns: Array

    def halved(self) -> "Plane":
        """The plane of the scale below."""
        return Plane(halve(self.rows), halve(self.columns))


def fit_plane(masked: Array, known: Array) -> Plane:
    """The plane nearest to the known colours; mid-grey where nothing is known.

    Slopes are held back by `RIDGE` times the share of the colours' variance that they do not explain: an even ramp goes on as
    it is, while a few known pixels at one side say little of the other (ridge regression, Hoerl and Kennard, 1970).
    """
    xp, kind = array_module(masked), _widest_float(masked)
    height, width = known.shape[-2:]
    y, x = (((xp.arange(n, dtype=kind, device=masked.device) + 0.5) / n - 0.5)[None, None] for n in (height, width))
    known_rows, known_columns = sum_lines(known, 3), sum_lines(known, 2)  # (B, 1, H) and (B, 1, W)
    rows, columns = sum_lines(masked, 3), sum_lines(masked, 2)  # (B, 3, H) and (B, 3, W)
    count = xp.sum(known_rows, axis=2)  # (B, 1)

    def mean(total: Array) -> Array:
        return xp.sum(total, axis=-1) / xp.clip(count, min=1)

    y, x = y - mean(known_rows * y)[..., None], x - mean(known_columns * x)[..., None]
    yy, xx = mean(known_rows * y**2), mean(known_columns * x**2)
    yx = mean(y * _known_times(known, x))
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


def _known_times(known: Array, x: Array) -> Array:
    """For each row of `known` (B, 1, H, W) the sum of `x` (B, 1, W) over what is known: (B, 1, H)."""
    xp = array_module(known)
    return (xp.astype(known, x.dtype) @ x[..., None])[..., 0]


# --- Sums that no number of threads changes ---------------------------------------------------------------------------


def sum_lines(image: Array, axis: int) -> Array:
    """Along one axis, in float64; channel by channel, since PyTorch copies what it sums in another type."""
    xp = array_module(image)
    kind = _widest_float(image)
    return xp.stack([xp.sum(image[:, i], axis=axis - 1, dtype=kind) for i in range(image.shape[1])], axis=1)


def sum_squares(image: Array) -> Array:
    """Of each channel, (B, C); one by one, since the squares of a large picture take memory, and row by row: PyTorch would
    divide the sum of a whole picture between its threads."""
    xp = array_module(image)
    kind = _widest_float(image)
    channels = (image[:, i] for i in range(image.shape[1]))
    return xp.stack([xp.sum(xp.sum(xp.square(channel), axis=2, dtype=kind), axis=1) for channel in channels], axis=1)


def _widest_float(array: Array) -> Any:
    xp = array_module(array)
    return xp.float32 if str(array.device).startswith("mps") else xp.float64  # Apple's GPUs have no other


# --- Mirrors and scales ----------------------------------------------------------------------------------------------


def darker_half_first(masked: Array) -> Array:
    """Whether the upper half of each image is darker than the lower one, and the left than the right: (B, 2), bool."""
    xp = array_module(masked)
    halves = []
    for axis in (2, 3):
        lines = xp.sum(sum_lines(masked, 5 - axis), axis=1)
        middle = lines.shape[1] // 2
        halves.append(xp.sum(lines[:, :middle], axis=1) < xp.sum(lines[:, lines.shape[1] - middle :], axis=1))
    return xp.stack(halves, axis=1)


def mirror(image: Array, over: Array) -> Array:
    """Images (B, C, H, W), each turned upside down and left to right where `over` (B, 2) says so."""
    xp = array_module(image)
    for axis, which in ((2, over[:, 0]), (3, over[:, 1])):
        if xp.any(which):
            flipped = xp.flip(image, axis=axis)
            image = flipped if xp.all(which) else xp.where(which[:, None, None, None], flipped, image)
    return image


def halve(image: Array) -> Array:
    """Means of 2×2 cells; at an odd side the last cell has what there is."""
    return _halve(_halve(image, 2), 3)


def _halve(image: Array, axis: int) -> Array:
    length = image.shape[axis]
    means = 0.5 * (_cut(image, axis, slice(0, length - length % 2, 2)) + _cut(image, axis, slice(1, length, 2)))
    if length % 2 == 0:
        return means
    return array_module(image).concat([means, _cut(image, axis, slice(length - 1, length))], axis=axis)


def double(coarse: Array, height: int, width: int) -> Array:
    """`coarse` at twice its size, bilinearly, cut to (height, width).

    PyTorch's `interpolate` rounds otherwise where a thread's share ends.
    """
    return _double(_double(coarse, 2), 3)[..., :height, :width]


def _double(image: Array, axis: int) -> Array:
    xp, most = array_module(image), 0.75 * image
    twice = xp.stack([most + 0.25 * beside for beside in _neighbours(image, axis)], axis=axis + 1)
    return xp.reshape(twice, (*image.shape[:axis], 2 * image.shape[axis], *image.shape[axis + 1 :]))


def double_part(coarse: Array, rows: slice, columns: slice) -> Array:
    """The rows and columns, from even ones on, of `coarse` at twice its size."""
    top, left = max(0, rows.start // 2 - 1), max(0, columns.start // 2 - 1)  # one cell more, which interpolation reads
    part = coarse[..., top : -(-rows.stop // 2) + 1, left : -(-columns.stop // 2) + 1]
    return double(part, rows.stop - 2 * top, columns.stop - 2 * left)[..., rows.start - 2 * top :, columns.start - 2 * left :]


def average_neighbours(image: Array) -> Array:
    """The mean of the four pixels beside each; at the border a pixel stands for the one that is missing beside it."""
    (above, below), (left, right) = _neighbours(image, 2), _neighbours(image, 3)
    return ((above + below) + (left + right)) / 4


def _neighbours(image: Array, axis: int) -> tuple[Array, Array]:
    """For each pixel the one before it and the one after it; at the border itself."""
    xp, length = array_module(image), image.shape[axis]
    first, last = _cut(image, axis, slice(0, 1)), _cut(image, axis, slice(length - 1, length))
    before = xp.concat([first, _cut(image, axis, slice(0, length - 1))], axis=axis)
    after = xp.concat([_cut(image, axis, slice(1, length)), last], axis=axis)
    return before, after


# --- numpy and PyTorch -----------------------------------------------------------------------------------------------


def _cut(image: Array, axis: int, part: slice) -> Array:
    return image[(*(slice(None),) * axis, part)]


def _area(known: Array) -> int:
    return int(known.shape[-2] * known.shape[-1])


def _copy(array: Array) -> Array:
    return array_module(array).asarray(array, copy=True)


def _zeros_like(array: Array) -> Array:
    return array_module(array).zeros_like(array)


def _to_numpy(array: Array) -> Any:
    return array if isinstance(array, np.ndarray) else array.numpy(force=True)
