from pathlib import Path

import numpy as np
import pytest

from mend.masks.crops import make_hole_drawer


def test_drawn_holes_grow_over_the_epochs_and_the_validation_has_all_sizes():
    draw, described = make_hole_drawer("boxes", 32, 0, ramp=4)
    assert described == "boxes, 5 % to 50 % (10 % at first, more over 4 epochs)"
    largest = [max(draw(epoch, i).mean() for i in range(60)) for epoch in (0, 1, 3, 5, 9)]
    assert largest == pytest.approx([0.5, 0.1, 0.3, 0.5, 0.5], abs=0.03)
    plain, _ = make_hole_drawer("boxes", 32, 0)
    assert all(np.array_equal(draw(7, i), plain(7, i)) for i in range(9))


def test_borrowed_holes_are_grown(masks: Path):
    draw, described = make_hole_drawer(str(masks), 64, 0, grow=0.1)
    plain, _ = make_hole_drawer(str(masks), 64, 0)
    assert described.endswith("borrowed and grown by up to 10% of the side")
    pairs = [(draw(1, i), plain(1, i)) for i in range(20)]
    assert all(hole.shape == (1, 64, 64) and set(np.unique(hole)) <= {0.0, 1.0} for hole, _ in pairs)
    assert all((hole >= own).all() for hole, own in pairs)
    assert sum(hole.sum() > own.sum() for hole, own in pairs) > 10
