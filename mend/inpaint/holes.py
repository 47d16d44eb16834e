"""Where holes lie, and which are thick."""

import cv2
import numpy as np

THIN = 6  # pixels: what lies beside a hole no wider says what is in it
SPOT = 100  # pixels: as much is thick where two thin strokes cross


def find_thick(holes: np.ndarray) -> np.ndarray:
    """The parts of holes (B, 1, H, W) that are wider than `THIN` pixels, bool; where thin strokes cross is none."""
    return np.stack([_open(hole[0] > 0)[None] for hole in holes])


def _open(hole: np.ndarray) -> np.ndarray:
    rows, columns = surround(hole, 0)  # of a large picture a hole is a small part
    part = hole[rows, columns]
    framed = np.pad(part.astype(np.uint8), THIN)  # what lies outside the picture is no part of the hole
    square = np.ones((THIN + 1, THIN + 1), np.uint8)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(framed, cv2.MORPH_OPEN, square))
    large = facts[:, cv2.CC_STAT_AREA] >= SPOT
    large[0] = False  # what is no part
    whole = cv2.dilate(large[labels].astype(np.uint8), square)  # with what the square cut off at a round rim
    thick = np.zeros(hole.shape, np.bool_)
    thick[rows, columns] = part & (whole[THIN:-THIN, THIN:-THIN] > 0)
    return thick


def estimate_depth(hole: np.ndarray) -> np.ndarray:
    """How many pixels each pixel of a hole (H, W), bool, is from what is known: nearly."""
    return cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)


def surround(hole: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The rows and columns in which a hole (H, W) lies, and so many more on every side; none where there is no hole."""
    places = [np.flatnonzero(hole.any(axis)) for axis in (1, 0)]
    rows, columns = (slice(max(0, p[0] - margin), p[-1] + margin + 1) if len(p) else slice(0) for p in places)
    return rows, columns
