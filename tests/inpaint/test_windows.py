"""The windows that holes are filled from."""

import numpy as np
import pytest

from mend.images import mask_out
from mend.inpaint.onnx import PyramidOnnx
from mend.inpaint.windows import NEAREST, find_windows


def pixels_of(windows: list[tuple[slice, slice]], shape: tuple[int, int]) -> np.ndarray:
    counts = np.zeros(shape, int)
    for window in windows:
        counts[window] += 1
    return counts


def test_a_hole_has_as_much_around_it_as_it_is_long():
    hole = np.zeros((900, 1200), bool)
    hole[400:420, 500:600] = True  # 100 long
    hole[700:705, 1100:1104] = True
    assert find_windows(hole) == [
        (slice(300, 520), slice(400, 700)),
        (slice(700 - NEAREST, 705 + NEAREST), slice(1100 - NEAREST, 1104 + NEAREST)),
    ]


@pytest.mark.parametrize("count", [1, 7, 40])
def test_windows_hold_every_hole_once_and_are_those_of_the_mirrored_picture(count: int):
    places = np.random.default_rng(count)
    hole = np.zeros((700, 1001), bool)
    for y, x, height, width in places.integers((0, 0, 1, 1), (650, 950, 50, 50), (count, 4)):
        hole[y : y + height, x : x + width] = True
    windows = find_windows(hole)
    counts = pixels_of(windows, hole.shape)
    assert counts.max() == 1
    assert counts[hole].all()
    assert np.array_equal(pixels_of(find_windows(hole[:, ::-1]), hole.shape)[:, ::-1], counts)


def test_no_hole_and_nothing_but_hole():
    assert find_windows(np.zeros((5, 6), bool)) == []
    assert find_windows(np.ones((5, 6), bool)) == [(slice(0, 5), slice(0, 6))]


def test_what_is_far_from_a_hole_in_a_panorama_does_not_tint_it():
    y, x = np.mgrid[:200, :1600].astype(np.float32)
    image = np.stack([0.3 + y / 1000, 0.4 + x / 8000, 0.5 + 0.05 * np.sin(x / 30)])[None].astype(np.float32)
    hole = np.zeros((1, 1, 200, 1600), np.float32)
    hole[..., 80:120, 1400:1450] = 1
    with_tower = image.copy()
    with_tower[:, :, :, 100:160] = np.array([1, 0.5, 0], np.float32)[:, None, None]
    fill, missing = PyramidOnnx(), hole[0, 0] > 0
    plain, beside_tower = (fill(mask_out(one, hole), hole)[0][:, missing] for one in (image, with_tower))
    assert np.array_equal(plain, beside_tower)
