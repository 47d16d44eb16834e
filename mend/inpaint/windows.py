"""The parts of a picture that its holes are filled from.

A hole says little about what is far from it. Where a network looks at a whole panorama to fill a small hole, something bright
far away tints the filling; and it adapts to the contrast of all that it sees. So a hole is filled from a window: what lies
around it, as far as it is long.
"""

import cv2
import numpy as np

Window = tuple[slice, slice]  # rows and columns

NEAREST = 64  # pixels around a hole, at least: what the network sees at the finest scale


def find_windows(hole: np.ndarray) -> list[Window]:
    """For a hole (H, W), bool, the windows that it is filled from: they do not overlap, and all that is missing lies in one.

    Around each part of the hole a window has as much as the part is long; windows that overlap are one.
    """
    boxes = _find_boxes(hole.astype(np.uint8))
    margin = np.maximum(boxes[:, 2:] - boxes[:, :2], NEAREST).max(1)[:, None]
    boxes = np.hstack([(boxes[:, :2] - margin).clip(min=0), np.minimum(boxes[:, 2:] + margin, hole.shape)])
    while True:
        if (boxes[:, 2:] - boxes[:, :2] == hole.shape).all(1).any():
            return [(slice(0, hole.shape[0]), slice(0, hole.shape[1]))]
        merged = _find_boxes(_cover(boxes, hole.shape))
        if len(merged) == len(boxes):
            return [(slice(top, bottom), slice(left, right)) for top, left, bottom, right in merged.tolist()]
        boxes = merged


def _find_boxes(mask: np.ndarray) -> np.ndarray:
    """The bounding box of each connected part of a mask: (N, 4), top, left, bottom, right."""
    facts = cv2.connectedComponentsWithStats(mask)[2][1:]
    corner = facts[:, [cv2.CC_STAT_TOP, cv2.CC_STAT_LEFT]]
    return np.hstack([corner, corner + facts[:, [cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH]]])


def _cover(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mask of what lies in any box, by sums over its corners: there may be many thousands."""
    counts = np.zeros((shape[0] + 1, shape[1] + 1), np.int32)
    for y, x, sign in ((0, 1, 1), (0, 3, -1), (2, 1, -1), (2, 3, 1)):
        np.add.at(counts, (boxes[:, y], boxes[:, x]), sign)
    return (counts.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32)[:-1, :-1] > 0).astype(np.uint8)
