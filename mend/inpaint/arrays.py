"""What the recursion over scales does with arrays, written once for numpy and PyTorch, by the array API.

Images are (B, C, H, W).
"""

from typing import Any

import numpy as np

from mend.images import find_array_module

Array = Any  # a numpy array or a tensor


# --- Sums that no number of threads changes ---------------------------------------------------------------------------


def sum_lines(image: Array, axis: int) -> Array:
    """Along one axis, in float64; channel by channel, since PyTorch copies what it sums in another type."""
    xp = find_array_module(image)
    kind = choose_sum_type(image)
    return xp.stack([xp.sum(image[:, i], axis=axis - 1, dtype=kind) for i in range(image.shape[1])], axis=1)


def sum_squares(image: Array) -> Array:
    """Of each channel, (B, C); one by one, since the squares of a large picture take memory, and row by row: PyTorch would
    divide the sum of a whole picture between its threads."""
    xp = find_array_module(image)
    kind = choose_sum_type(image)
    channels = (image[:, i] for i in range(image.shape[1]))
    return xp.stack([xp.sum(xp.sum(xp.square(channel), axis=2, dtype=kind), axis=1) for channel in channels], axis=1)


def choose_sum_type(array: Array) -> Any:
    xp = find_array_module(array)
    return xp.float32 if str(array.device).startswith("mps") else xp.float64  # Apple's GPUs have no other


# --- Mirrors and scales ----------------------------------------------------------------------------------------------


def is_darker_half_first(masked: Array) -> Array:
    """Whether the upper half of each image is darker than the lower one, and the left than the right: (B, 2), bool."""
    xp = find_array_module(masked)
    halves = []
    for axis in (2, 3):
        lines = xp.sum(sum_lines(masked, 5 - axis), axis=1)
        middle = lines.shape[1] // 2
        halves.append(xp.sum(lines[:, :middle], axis=1) < xp.sum(lines[:, lines.shape[1] - middle :], axis=1))
    return xp.stack(halves, axis=1)


def mirror(image: Array, over: Array) -> Array:
    """Images (B, C, H, W), each turned upside down and left to right where `over` (B, 2) says so."""
    xp = find_array_module(image)
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
    return find_array_module(image).concat([means, _cut(image, axis, slice(length - 1, length))], axis=axis)


def double(coarse: Array, height: int, width: int) -> Array:
    """`coarse` at twice its size, bilinearly, cut to (height, width).

    PyTorch's `interpolate` rounds otherwise where a thread's share ends.
    """
    return _double(_double(coarse, 2), 3)[..., :height, :width]


def _double(image: Array, axis: int) -> Array:
    xp, most = find_array_module(image), 0.75 * image
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
    xp, length = find_array_module(image), image.shape[axis]
    first, last = _cut(image, axis, slice(0, 1)), _cut(image, axis, slice(length - 1, length))
    before = xp.concat([first, _cut(image, axis, slice(0, length - 1))], axis=axis)
    after = xp.concat([_cut(image, axis, slice(1, length)), last], axis=axis)
    return before, after


# --- numpy and PyTorch -----------------------------------------------------------------------------------------------


def _cut(image: Array, axis: int, part: slice) -> Array:
    return image[(*(slice(None),) * axis, part)]


def copy(array: Array) -> Array:
    return find_array_module(array).asarray(array, copy=True)


def to_numpy(array: Array) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.numpy(force=True)
