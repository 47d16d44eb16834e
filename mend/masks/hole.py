"""A hole (1, 1, H, W), a float32 array: checked, scaled, grown, feathered, written and shown."""

from pathlib import Path

import cv2
import numpy as np

from mend.errors import InputError
from mend.images import write_image

MOST = 0.6  # a hole larger than this share of its picture is rarely meant
TINT = np.array([230, 57, 70])


def check_hole(hole: np.ndarray, size: tuple[int, int], name: str = "the mask") -> np.ndarray:
    """`hole` itself, or InputError when its (height, width) is not `size`."""
    height, width = hole.shape[-2:]
    if (height, width) != tuple(size):
        raise InputError(
            f"{name} is {width}×{height}, its picture {size[1]}×{size[0]} (width×height). "
            "A mask has the size of its picture; resize it without smoothing, or draw it on the picture itself."
        )
    return hole


def resize_hole(inside: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A hole in another size, no marked pixel lost: smoothed and cut at half when larger, all that it touches when smaller."""
    (height, width), (tall, wide) = inside.shape, size
    if tall < height or wide < width:  # a side at a time: they may have been rounded in different directions
        reduced = cv2.resize(inside.astype(np.float32), (min(wide, width), min(tall, height)), interpolation=cv2.INTER_AREA)
        inside = reduced > 0
    if inside.shape == (tall, wide):
        return inside
    enlarged = cv2.resize(inside.astype(np.float32), (wide, tall), interpolation=cv2.INTER_LINEAR) >= 0.5
    (height, width), (y, x) = inside.shape, np.nonzero(inside)
    enlarged[(2 * y + 1) * tall // (2 * height), (2 * x + 1) * wide // (2 * width)] = True  # a speck is below half all around
    return enlarged


def widen(hole: np.ndarray, grow: int = 0, feather: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """A hole (1, 1, H, W) grown by `grow` pixels, then its `compute_feather` over the outer `feather` of them, if any.

    All that was marked is so replaced entirely, the blend lies in the grown ring, and nothing outside it changes. InputError
    for a feather that is wider than the ring.
    """
    check_ring(grow, feather)
    hole = dilate(hole, grow) if grow else hole
    return hole, compute_feather(hole, feather) if feather else None


def check_ring(grow: int, feather: int) -> None:
    """Raise InputError for a hole that cannot be grown and feathered by so many pixels."""
    if grow < 0 or feather < 0:
        raise InputError(f"`{'grow' if grow < 0 else 'feather'}` is {min(grow, feather)} pixels; expected 0 or more.")
    if feather > grow:
        raise InputError(
            f"`feather={feather}` is more than `grow={grow}`: what was marked would show through. The blend lies in what the "
            f"hole is grown by: give `grow={feather}` or more."
        )


def dilate(hole: np.ndarray, pixels: int) -> np.ndarray:
    """A hole (1, 1, H, W) with every pixel that is no farther than `pixels` from it: dilated by a disk of that radius."""
    return (measure_distance(hole) <= pixels).astype(np.float32)


def compute_feather(hole: np.ndarray, feather: int) -> np.ndarray:
    """The share of the filling to take, (1, 1, H, W): 0 outside the hole, rising from its rim, 1 deeper than `feather`."""
    depth = measure_depth(hole)
    return np.where(depth > feather, 1, depth / (feather + 1)) * hole


def measure_depth(hole: np.ndarray) -> np.ndarray:
    """Each pixel's distance to the nearest known one (1, 1, H, W), in pixels between centres."""
    return cv2.distanceTransform((hole[0, 0] > 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[None, None]


def measure_distance(hole: np.ndarray) -> np.ndarray:
    """Each pixel's distance to the nearest one of the hole (1, 1, H, W)."""
    return measure_depth(1 - hole)


def write_mask(path: Path, hole: np.ndarray) -> None:
    """A hole (1, 1, H, W) as a mask: 8-bit, white = hole."""
    write_image(path, (hole[0, 0, :, :, None] > 0).astype(np.uint8) * 255)


def find_parts(hole: np.ndarray) -> np.ndarray:
    """The connected parts of a hole (1, 1, H, W), the largest first: rows of x, y, width, height, pixels."""
    _, _, found, _ = cv2.connectedComponentsWithStats((hole[0, 0] > 0).astype(np.uint8), connectivity=8)
    return found[1:][np.argsort(-found[1:, cv2.CC_STAT_AREA], kind="stable")]


def draw_preview(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """A uint8 (H, W, 3) picture with a hole (1, 1, H, W) tinted, and around it a white line within a black one, seen on any
    colour."""
    inside = hole[0, 0] > 0
    outside = measure_distance(hole)[0, 0]
    line = max(1, round(max(inside.shape) / 600))
    shown = pixels.copy()
    shown[inside] = (0.45 * pixels[inside] + 0.55 * TINT).astype(np.uint8)
    shown[~inside & (outside <= 2 * line)] = 0
    shown[~inside & (outside <= line)] = 255
    return shown


def format_share(part: np.ndarray) -> str:
    """The share of True in text; a small one is not rounded to nothing."""
    mean = measure_share(part)
    return "under 0.1%" if 0 < mean < 0.001 else f"{mean:.1%}"


def measure_share(part: np.ndarray) -> float:
    """The share of True, 0 to 1."""
    return np.count_nonzero(part) / part.size  # mean() goes through floats
