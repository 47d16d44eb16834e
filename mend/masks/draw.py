"""Drawn masks: free-form strokes, boxes and borders, each with exactly the coverage asked for.

A kind is `(height, width, coverage, *keys) -> (H, W) bool`, True = hole; the same keys draw the same mask anywhere.
To add one: a function, one line in `DRAWN`, one test. Only sums, products and square roots are used, which every
processor rounds alike; a sine is not.
"""

import math
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np

from mend.data.random import uniform


def boxes(height: int, width: int, coverage: float, *keys: int) -> np.ndarray:
    """One rectangle, anywhere, from half to twice as tall as it is wide; its last column may be short."""
    target = _count_pixels(height, width, coverage)
    mask = np.zeros((height, width), np.bool_)
    if target:
        shape, y, x = uniform(3, *keys)
        tall = min(height, max(-(-target // width), round(math.sqrt(target * (0.5 + 1.5 * shape)))))
        wide = -(-target // tall)
        top, left = int(y * (height - tall + 1)), int(x * (width - wide + 1))
        pixel = np.arange(target)  # column by column
        mask[top + pixel % tall, left + pixel // tall] = True
    return mask


def borders(height: int, width: int, coverage: float, *keys: int) -> np.ndarray:
    """Everything but a rectangle: outpainting."""
    return ~boxes(height, width, 1 - _count_pixels(height, width, coverage) / (height * width), *keys)


def strokes(height: int, width: int, coverage: float, *keys: int) -> np.ndarray:
    """Free-form strokes of a round brush that changes direction as it goes (after Yu et al., 2019, arXiv:1806.03589)."""
    return _paint(height, width, coverage, _draw_dots(height, width, min(height, width), (0.03, 0.1), 0.7, *keys))


def marks(height: int, width: int, coverage: float, *keys: int) -> np.ndarray:
    """Scratches, hairs and wires: strokes of 1 to 6 pixels, however large the picture is, that hardly turn."""
    return _paint(height, width, coverage, _draw_dots(height, width, 1, (0.5, 3), 0.2, *keys))


def _paint(height: int, width: int, coverage: float, dots: Iterator[tuple[float, float, float]]) -> np.ndarray:
    """As many of the dots as the coverage needs."""
    room = _count_pixels(height, width, coverage)
    mask = np.zeros((height, width), np.bool_)
    y, x = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
    while room:
        cy, cx, radius = next(dots)
        rows, columns = _find_span(cy, radius), _find_span(cx, radius)
        there, distance = mask[rows, columns], (y[rows] - cy) ** 2 + (x[columns] - cx) ** 2
        new = (distance <= radius * radius) & ~there
        gain = int(np.count_nonzero(new))
        if gain > room:  # the last dot gives only its innermost pixels
            order = np.argsort(np.where(new, distance, np.inf), axis=None, kind="stable")
            new.flat[order[room:]] = False
            gain = room
        there |= new
        room -= gain
    return mask


def _draw_dots(
    height: int, width: int, side: int, brush: tuple[float, float], turn: float, *keys: int
) -> Iterator[tuple[float, float, float]]:
    """The dots of one stroke after another, without end: y, x and radius of each that touches the picture.

    The radius is between `brush` times `side`; `turn` is how much of a new direction each step takes.
    """
    thin, thick = brush
    steps = 12
    for stroke in count():
        # Plain floats: sums of numpy's scalars take several times as long.
        numbers = uniform(3 + 3 * steps, *keys, stroke).tolist()
        y, x, size = numbers[0] * height, numbers[1] * width, side * (thin + (thick - thin) * numbers[2])
        radius = max(size, 0.8)
        dy, dx = _draw_direction(numbers[3], numbers[4])
        for i in range(3, 3 + 3 * steps, 3):
            ty, tx = _draw_direction(numbers[i], numbers[i + 1])
            dy, dx = _normalise(dy + turn * ty, dx + turn * tx)
            for _ in range(3):
                y, x = y + dy * size * 0.6, x + dx * size * 0.6
                if -radius < y < height + radius and -radius < x < width + radius:
                    yield y, x, radius


Kind = Callable[..., np.ndarray]
DRAWN: dict[str, Kind] = {"strokes": strokes, "boxes": boxes, "borders": borders, "marks": marks}


def _count_pixels(height: int, width: int, coverage: float) -> int:
    return min(height * width, max(0, round(coverage * height * width)))


def _find_span(centre: float, radius: float) -> slice:
    """The rows or columns that a dot reaches, and perhaps one more at either end."""
    return slice(max(0, int(centre - radius)), int(centre + radius) + 1)


def _draw_direction(y: float, x: float) -> tuple[float, float]:
    return _normalise(2 * y - 1, 2 * x - 1)


def _normalise(y: float, x: float) -> tuple[float, float]:
    length = math.sqrt(y * y + x * x)
    return (y / length, x / length) if length > 1e-9 else (1.0, 0.0)
