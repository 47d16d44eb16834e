"""Drawn masks: free-form strokes, boxes and borders, each with exactly the coverage asked for.

A kind is `(height, width, coverage, *keys) -> (H, W) bool`, True = hole; the same keys draw the same mask anywhere.
To add one: a function, one line in `DRAWN`, one test. Only sums, products and square roots are used, which every
processor rounds alike; a sine is not.
"""

from collections.abc import Callable

import numpy as np

from mend.chance import uniform


def boxes(height: int, width: int, coverage: float, *keys: int) -> np.ndarray:
    """One rectangle, anywhere, about as tall as wide to half or twice that; its last column may be short."""
    target = _pixels(height, width, coverage)
    mask = np.zeros((height, width), np.bool_)
    if target:
        shape, y, x = uniform(3, *keys)
        tall = min(height, max(-(-target // width), round((target * (0.5 + 1.5 * shape)) ** 0.5)))
        wide = -(-target // tall)
        top, left = int(y * (height - tall + 1)), int(x * (width - wide + 1))
        pixel = np.arange(target)  # column by column
        mask[top + pixel % tall, left + pixel // tall] = True
    return mask


def borders(height: int, width: int, coverage: float, *keys: int) -> np.ndarray:
    """Everything but a rectangle: outpainting."""
    return ~boxes(height, width, 1 - _pixels(height, width, coverage) / (height * width), *keys)


def strokes(height: int, width: int, coverage: float, *keys: int) -> np.ndarray:
    """Free-form strokes of a round brush that changes direction as it goes (after Yu et al., 2019, arXiv:1806.03589)."""
    target = _pixels(height, width, coverage)
    side = min(height, width)
    mask = np.zeros((height, width), np.bool_)
    y, x = np.mgrid[:height, :width] + 0.5
    stroke = 0
    while mask.sum() < target:
        steps = 12
        numbers = uniform(3 + 3 * steps, *keys, stroke)
        cy, cx, radius = numbers[0] * height, numbers[1] * width, side * (0.03 + 0.07 * numbers[2])
        dy, dx = _direction(numbers[3], numbers[4])
        for bend_y, bend_x, _ in numbers[3:].reshape(steps, 3):
            ty, tx = _direction(bend_y, bend_x)
            dy, dx = _unit(dy + 0.7 * ty, dx + 0.7 * tx)
            for _ in range(3):
                cy, cx = cy + dy * radius * 0.6, cx + dx * radius * 0.6
                distance = (y - cy) ** 2 + (x - cx) ** 2
                new = (distance <= max(radius, 0.8) ** 2) & ~mask
                room = target - int(mask.sum())
                if new.sum() >= room:  # the last dot gives only its innermost pixels
                    order = np.argsort(np.where(new, distance, np.inf), axis=None, kind="stable")
                    mask.flat[order[:room]] = True
                    return mask
                mask |= new
        stroke += 1
    return mask


Kind = Callable[..., np.ndarray]
DRAWN: dict[str, Kind] = {"strokes": strokes, "boxes": boxes, "borders": borders}


def _pixels(height: int, width: int, coverage: float) -> int:
    return min(height * width, max(0, round(coverage * height * width)))


def _direction(y: float, x: float) -> tuple[float, float]:
    return _unit(2 * y - 1, 2 * x - 1)


def _unit(y: float, x: float) -> tuple[float, float]:
    length = (y * y + x * x) ** 0.5
    return (y / length, x / length) if length > 1e-9 else (1.0, 0.0)
