"""A mask that is the photograph itself, painted over: found by comparing it with the picture as it was."""

from functools import reduce

import cv2
import numpy as np

from mend.masks.facts import COLOURED, EDGE, NEAR
from mend.masks.hole import MOST, measure_share

NOISE = 12  # levels by which JPEG changes most pixels at most
FAINT = 0.005  # share of a picture that may differ beside what was painted


def find_painted(mask: np.ndarray, picture: np.ndarray) -> np.ndarray | None:
    """Where a mask differs from its picture, both uint8 (H, W, 3), if it is that picture painted over: bool (H, W); else None.

    Where most pixels are the very same, and there is no noise, every difference counts. Else it was saved as a JPEG, whose
    noise is nothing on average, and differences are followed from where they are something on average. One that differs
    elsewhere too, or in which what differs is neither strongly coloured nor of one colour, is another picture: a grey copy, a
    brighter one.
    """
    apart = reduce(np.maximum, (cv2.absdiff(mask[..., i], picture[..., i]) for i in range(3)))
    if measure_share(apart <= NOISE) < 1 - MOST or apart.max() <= NEAR:
        return None
    if measure_share(apart == 0) >= 1 - MOST:
        count, part = cv2.connectedComponents((apart > 0).astype(np.uint8), connectivity=8)
        sizes, strong = (np.bincount(part[where], minlength=count) for where in (apart > 0, apart > NEAR))
        if sizes[strong < 0.1 * sizes].sum() <= FAINT * apart.size:
            return apart > 0
    average, wide = (_average_difference(mask, picture, side) for side in (5, 2 * EDGE + 1))
    near = cv2.dilate((average > NEAR).astype(np.uint8), np.ones((EDGE + 1, EDGE + 1), np.uint8)) > 0
    found = ((average > NEAR) | (near & (apart > NOISE))).astype(np.uint8)
    _, part = cv2.connectedComponents(cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((EDGE + 1, EDGE + 1), np.uint8)))
    strokes = np.setdiff1d(part[average > COLOURED], 0)
    painted = np.isin(part, strokes)
    around = cv2.dilate(painted.astype(np.uint8), np.ones((4 * EDGE + 1, 4 * EDGE + 1), np.uint8)) > 0
    if not painted.any() or measure_share((wide > NOISE) & ~around) > FAINT:
        return None
    for stroke in strokes:
        paint = mask[(part == stroke) & (average > COLOURED)]
        is_coloured = paint.max(1) - paint.min(1) >= COLOURED
        is_one = (abs(paint - np.median(paint, 0)) <= NEAR).all(1)
        if max(measure_share(is_coloured), measure_share(is_one)) <= 0.5:
            return None
    return painted


def _average_difference(one: np.ndarray, other: np.ndarray, side: int) -> np.ndarray:
    """How far apart two (H, W, 3) uint8 pictures are on average over squares of so many pixels a side, the largest of the
    channels: (H, W)."""
    average = cv2.blur(one.astype(np.float32) - other, (side, side))
    return reduce(np.maximum, (abs(average[..., i]) for i in range(3)))
