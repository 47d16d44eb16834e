"""A date or a caption at the same place of many pictures: where that is in each, and which pixels are its letters."""

import cv2
import numpy as np

Box = tuple[float, float, float, float]  # left, top, right, bottom, in shares of the width and the height

STANDS_OUT = 24  # levels of 255 by which a letter differs from what is around it, at least
MOST = 0.4  # share of a region that letters cover: what is more is no writing


def place_region(box: Box, drawn: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns, in a picture of this size (height, width), of a box that was drawn on another.

    Cameras print at a fixed distance from the nearest corner, and as large as the shorter side demands, upright or not.
    """
    scale = min(size) / min(drawn)

    def span(low: float, high: float, length: int, new: int) -> slice:
        at_end = low + high > 1
        edges = [length - high * length, length - low * length] if at_end else [low * length, high * length]
        near, far = (min(new, round(edge * scale)) for edge in edges)
        return slice(new - far, max(new - near, new - far + 1)) if at_end else slice(near, max(far, near + 1))

    left, top, right, bottom = box
    return span(top, bottom, drawn[0], size[0]), span(left, right, drawn[1], size[1])


def find_letters(pixels: np.ndarray) -> np.ndarray:
    """The pixels of letters in a region, uint8 (h, w, 3), with their soft edges, as bool (h, w); all where none stand out.

    Letters are thin: what differs from the median around it by more than the background does (Otsu, 1979).
    """
    height, width = pixels.shape[:2]
    side = min(255, max(3, min(height, width) // 2)) | 1
    around = cv2.medianBlur(np.ascontiguousarray(pixels), side)
    apart = cv2.absdiff(pixels, around).max(axis=2)
    level, _ = cv2.threshold(apart, 0, 255, cv2.THRESH_OTSU)
    letters = apart > max(level, STANDS_OUT)
    if not 0 < letters.mean() <= MOST:
        return np.ones((height, width), np.bool_)
    reach = max(2, height // 12)
    return cv2.dilate(letters.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)) > 0
