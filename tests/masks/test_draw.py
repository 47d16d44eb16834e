import hashlib
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mend.masks.draw import DRAWN


@pytest.mark.parametrize("kind", DRAWN)
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_a_drawn_mask_covers_what_was_asked(kind: str, height: int, width: int, coverage: float, seed: int):
    mask = DRAWN[kind](height, width, coverage, seed)
    assert mask.shape == (height, width)
    assert mask.dtype == np.bool_
    assert abs(mask.sum() - coverage * height * width) <= 0.5 + 1e-9
    assert np.array_equal(mask, DRAWN[kind](height, width, coverage, seed))


DRAWN_BEFORE = {
    "strokes": "46e62f5882a69cb833cb69ea232b0b90a61dec31c3ff89bc6a75dc623a2b55f7",
    "boxes": "04d5b221c4ded409bfc44b74978444bbeef5549bd56b82e0897d0fa242dd01f2",
    "borders": "93ef7b52c6f85e290a259c8537052527f2929d4c73b0b735fac5f1b2efc1f237",
    "marks": "163d711c819a91d5ac3889a04baac9f5a577f773301450b651b8c845edd806c2",
}


@pytest.mark.parametrize("kind", DRAWN)
def test_drawn_masks_are_what_they_were(kind: str):
    """The digests were made by the first version of each; for strokes it computed every dot over the whole picture."""
    digest = hashlib.sha256()
    for size in ((5, 3), (32, 32), (33, 47), (256, 256)):
        for coverage in (0.001, 0.25, 0.6, 0.99):
            for keys in ((0,), (7, 3)):
                digest.update(np.packbits(DRAWN[kind](*size, coverage, *keys)).tobytes())
    assert digest.hexdigest() == DRAWN_BEFORE[kind]


def test_strokes_over_a_large_picture_take_no_noticeable_time():
    start = time.perf_counter()
    assert DRAWN["strokes"](1000, 1500, 0.3, 0).sum() == 450_000
    assert time.perf_counter() - start < 0.5


def test_drawn_masks_look_like_what_they_are_called():
    box = DRAWN["boxes"](32, 32, 0.25, 1)
    rows, columns = box.any(1), box.any(0)
    assert box.sum() >= 0.9 * rows.sum() * columns.sum()
    border = DRAWN["borders"](32, 32, 0.4, 1)
    assert border[[0, -1]].any()
    assert not border[~border.all(1)].all()
    assert not np.array_equal(DRAWN["strokes"](32, 32, 0.2, 1), DRAWN["strokes"](32, 32, 0.2, 2))
    for size in (64, 512):  # marks do not grow with the picture: 6 pixels wide at most, and where two cross
        mark = DRAWN["marks"](size, size, 0.02, 1).astype(np.uint8)
        assert 0 < cv2.distanceTransform(mark, cv2.DIST_L2, 5).max() < 5
