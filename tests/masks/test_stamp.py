"""Where a date stands in pictures of several sizes, and which pixels are its letters."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mend.masks.stamp import find_letters, place_region


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((300, 400), ((270, 290), (300, 380))),
        ((600, 800), ((540, 580), (600, 760))),
        ((400, 300), ((370, 390), (200, 280))),  # upright: as far from the corner, as large
        ((300, 900), ((270, 290), (800, 880))),
    ],
)
def test_a_stamp_keeps_to_its_corner(size: tuple[int, int], expected: tuple[tuple[int, int], ...]):
    box = (300 / 400, 270 / 300, 380 / 400, 290 / 300)
    found = place_region(box, (300, 400), size)
    assert tuple((part.start, part.stop) for part in found) == expected


def test_a_stamp_at_the_left_is_measured_from_there_and_stays_within():
    rows, columns = place_region((0, 0, 0.5, 0.1), (100, 400), (400, 100))
    assert (rows, columns) == (slice(0, 10), slice(0, 100))


def test_letters_are_found_with_their_edges_and_little_else():
    picture = Image.fromarray(np.random.default_rng(0).integers(80, 110, (60, 300, 3), np.uint8))
    clean = np.asarray(picture)
    ImageDraw.Draw(picture).text((20, 10), "98 12 24", fill=(255, 150, 30), font_size=36)
    drawn = (np.asarray(picture) != clean).any(axis=2)
    found = find_letters(np.asarray(picture))
    assert found[drawn].all()
    assert found[:, 200:].mean() < 0.02  # where there are none
    assert found.mean() < 0.4


def test_where_no_letters_stand_out_all_is_marked():
    assert find_letters(np.full((20, 50, 3), 90, np.uint8)).all()
