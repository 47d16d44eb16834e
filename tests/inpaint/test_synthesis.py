"""Texture from elsewhere in the picture: what it must bring, what it must leave alone, and odd pictures and holes."""

from functools import partial
from inspect import getclosurevars, isfunction
from typing import Any

import cv2
import numpy as np
import pytest

import mend.inpaint.compiled
from mend.data.random import uniform
from mend.inpaint import patchmatch, shiftmap, synthesis
from mend.inpaint.holes import find_thick
from mend.inpaint.patchmatch import Scale, make_scale, match, measure_roughness
from mend.inpaint.shiftmap import ShiftMap, enlarge_copies
from mend.inpaint.synthesis import COHERENCE, SMOOTH
from mend.progress import Report, ignore


def grain(height: int, width: int, low: float = 0.3, high: float = 0.7) -> np.ndarray:
    """Coloured noise of a few pixels' width, between `low` and `high`: (1, 3, H, W)."""
    noise = uniform(3 * height * width, 1, height, width).astype(np.float32).reshape(3, height, width)
    smooth = np.stack([cv2.blur(channel, (3, 3)) for channel in noise])[None]
    return (low + (high - low) * (smooth - smooth.min()) / (smooth.max() - smooth.min())).astype(np.float32)


def box(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    hole = np.zeros((1, 1, height, width), np.float32)
    hole[..., rows, columns] = 1
    return hole


def smooth_filling(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """What a network trained on averages returns: the right colours, no grain."""
    wide = np.stack([cv2.blur(channel, (17, 17)) for channel in image[0]])[None]
    return np.where(hole > 0, wide, image)


def inside(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return image[:, :, hole[0, 0] > 0]


def grey(row: np.ndarray, height: int = 64) -> np.ndarray:
    """Rows that are all alike: (1, 3, H, W)."""
    return np.broadcast_to(row.astype(np.float32), (1, 3, height, len(row)))


def add_texture(filled: np.ndarray, hole: np.ndarray, report: Report = ignore) -> np.ndarray:
    return synthesis.add_texture(filled, find_thick(hole), report)


def has_patches(hole: np.ndarray) -> bool:
    return synthesis.has_patches(find_thick(hole))


def test_grain_comes_back_in_a_smooth_filling():
    image, hole = grain(80, 96), box(80, 96, slice(20, 52), slice(30, 62))
    filled = smooth_filling(image, hole)
    result = add_texture(filled, hole)
    assert inside(filled, hole).std() < 0.3 * inside(image, hole).std()
    assert inside(result, hole).std() == pytest.approx(inside(image, hole).std(), rel=0.2)


def test_neighbours_copy_neighbours():
    """Of noise, where no patch is like another: with coherence, what is copied comes in larger pieces."""
    image, hole = grain(80, 96), box(80, 96, slice(20, 52), slice(30, 62))

    def share(coherence: float) -> float:
        scale = make_scale(smooth_filling(image, hole)[0], hole[0, 0] > 0, np.zeros((3, 80, 96), np.float32), coherence)
        places = np.zeros(scale.number.size, int)
        places[scale.targets] = scale.sources[match(scale, None).source]
        return float(np.mean(np.diff(places.reshape(80, 96)[20:52, 30:62]) == 1))

    assert share(0) < 0.5 < 0.6 < share(0.5)


def test_copies_are_coherent_at_all_scales_but_that_of_the_picture(monkeypatch: pytest.MonkeyPatch):
    image, hole = grain(160, 192), box(160, 192, slice(40, 110), slice(60, 130))
    made: list[float] = []

    def remember(*of: Any) -> Scale:
        made.append(float(of[-1]))
        return make_scale(*of)

    monkeypatch.setattr(synthesis, "make_scale", remember)
    add_texture(smooth_filling(image, hole), hole)
    assert len(made) > 2
    assert made == [*[COHERENCE] * (len(made) - 1), 0]
    matched = made[:-1]
    made.clear()
    monkeypatch.setattr(synthesis, "MATCHED", 160 * 192 - 1)  # the picture is too large to match patches in
    add_texture(smooth_filling(image, hole), hole)
    assert made == matched


def test_roughness_is_that_of_the_surroundings():
    """Rough on the left and even on the right: so is the filling, whose pixels alone say nothing of it."""
    image, hole = grain(80, 160), box(80, 160, slice(20, 52), slice(40, 120))
    image[..., 80:] = 0.5
    rough = measure_roughness(image[0], hole[0, 0] > 0)
    assert rough[36, 50] > 2 * rough[36, 110]
    result = add_texture(np.where(hole > 0, np.float32(0.5), image), hole)
    assert result[..., 20:52, 42:60].std() > 0.5 * image[..., :40].std()
    assert result[..., 20:52, 100:118].std() < 0.1 * image[..., :40].std()


def test_where_texture_says_something_else_a_filling_without_grain_does_not_stay():
    """The surroundings are nearly even, and the filling is far from them: it was a guess, and a wrong one."""
    image, hole = np.full((1, 3, 60, 80), 0.5, np.float32) + 0.15 * grain(60, 80), box(60, 80, slice(20, 40), slice(20, 60))
    wrong = np.where(hole > 0, np.float32(0.7), image)
    assert SMOOTH / 2 < measure_roughness(image[0], hole[0, 0] > 0)[30, 40] < 2 * SMOOTH
    assert abs(inside(add_texture(wrong, hole), hole).mean() - inside(image, hole).mean()) < 0.06


def test_an_even_ramp_goes_on_where_no_copy_can():
    y, x = np.mgrid[:90, :90] / np.float32(180)
    image, hole = np.stack([y + x, 1 - y - x, y])[None].astype(np.float32), box(90, 90, slice(50, 90), slice(50, 90))
    assert np.abs(add_texture(image, hole) - image).max() < 1e-3


def test_thin_parts_are_known_to_the_thick_one():
    image, hole = grain(100, 120), box(100, 120, slice(40, 64), slice(40, 70))
    specks = hole.copy()
    specks[..., ::5, ::5] = 1
    assert has_patches(specks)
    result = add_texture(smooth_filling(image, specks), specks)
    assert result[..., 42:62, 42:68].std() > 0.6 * image[..., 42:62, 42:68].std()
    few = (specks > 0) & (hole == 0)
    few[..., 38:66, 38:72] = False
    assert np.array_equal(inside(result, few), inside(smooth_filling(image, specks), few))


def test_where_there_is_no_grain_the_filling_stays():
    image, hole = np.full((1, 3, 60, 80), 0.5, np.float32) + 0.002 * grain(60, 80), box(60, 80, slice(20, 40), slice(20, 60))
    filled = smooth_filling(image, hole)
    assert np.array_equal(add_texture(filled, hole), filled)


def test_stripes_go_on_through_the_hole():
    image, hole = grey(np.arange(96) % 8 < 4), box(64, 96, slice(20, 44), slice(30, 60))
    assert np.abs(add_texture(smooth_filling(image, hole), hole) - image).mean() < 0.002


def test_an_edge_that_was_filled_with_a_blur_is_sharp_and_the_colours_are_those_of_the_picture():
    image, hole = grey((np.arange(96) < 48) * 0.8 + 0.1), box(64, 96, slice(20, 44), slice(34, 62))
    result = inside(add_texture(smooth_filling(image, hole), hole), hole)
    assert ((result > 0.2) & (result < 0.8)).mean() < 0.05


def test_steps_between_copies_do_not_show_in_a_gradient():
    y, x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None], np.linspace(-1, 1, 96, dtype=np.float32)
    image = np.broadcast_to(0.8 - 0.3 * (y * y + x * x), (1, 3, 64, 96))  # brightest in the hole: no known patch fits
    hole = box(64, 96, slice(16, 48), slice(30, 66))
    result = add_texture(smooth_filling(image, hole), hole)
    assert np.abs(np.diff(result)).max() < 1.5 * np.abs(np.diff(image)).max()


def test_a_patch_of_the_colour_of_the_filling_is_taken():
    image = np.concatenate([grain(64, 64, 0.0, 0.3), grain(64, 64, 0.7, 1.0)], 3)
    hole = box(64, 128, slice(20, 44), slice(14, 50))
    dark, light = (add_texture(np.where(hole > 0, np.float32(colour), image), hole) for colour in (0.15, 0.85))
    assert inside(dark, hole).mean() + 0.3 < inside(light, hole).mean()


@pytest.mark.parametrize("matched", [1_500_000, 61 * 75 // 2])
def test_nothing_outside_the_hole_changes_and_neither_do_the_arguments(matched: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthesis, "MATCHED", matched)
    image, hole = grain(61, 75), box(61, 75, slice(0, 20), slice(50, 75))
    hole[0, 0, 40:42, :20] = 1
    filled = smooth_filling(image, hole)
    before = filled.copy(), hole.copy()
    result = add_texture(filled, hole)
    known = np.broadcast_to(hole == 0, image.shape)
    assert np.array_equal(result[known], filled[known])
    assert not np.array_equal(result, filled)
    assert np.array_equal(filled, before[0])
    assert np.array_equal(hole, before[1])


def test_above_a_size_the_copies_are_enlarged_and_keep_their_grain(monkeypatch: pytest.MonkeyPatch):
    image, hole = grain(90, 101), box(90, 101, slice(20, 51), slice(30, 61))
    monkeypatch.setattr(synthesis, "MATCHED", 90 * 101 // 3)
    result = add_texture(smooth_filling(image, hole), hole)
    assert inside(result, hole).std() == pytest.approx(inside(image, hole).std(), rel=0.2)


def test_the_last_row_and_column_of_an_odd_side_are_the_only_ones_of_their_cell():
    hole = box(3, 5, slice(0, 2), slice(0, 2))[0, 0] > 0
    first, last = np.array([0], np.int32), np.array([5], np.int32)  # of the 2×3 cells, of which the first copies the last
    copies = ShiftMap((2, 3), first, last, np.zeros((3, 1), np.float32))
    assert enlarge_copies(copies, hole).tolist() == [14, 14, 14, 14]


def test_a_copy_lies_in_its_cell_of_an_enlarged_scale_as_its_pixel_does(monkeypatch: pytest.MonkeyPatch):
    image, hole = 0.8 * grain(90, 101) + 0.2 * grey(np.arange(101) % 2, 90), box(90, 101, slice(20, 51), slice(30, 61))
    monkeypatch.setattr(synthesis, "MATCHED", 90 * 101 // 3)
    result = add_texture(smooth_filling(image, hole), hole)[..., 20:50, 30:60]
    assert (result[..., 1::2] - result[..., ::2]).mean() == pytest.approx(0.2, abs=0.03)


def test_where_most_of_a_picture_is_flat_the_rest_does_not_spread():
    image = np.concatenate([grain(32, 128, 0.0, 0.6), np.ones((1, 3, 64, 128), np.float32)], 2)
    hole = box(96, 128, slice(24, 70), slice(40, 90))
    result = add_texture(smooth_filling(image, hole), hole)
    assert np.abs(result - image)[..., 40:70, 40:90].max() < 0.03  # a seam is blended over some pixels


def test_a_hole_of_any_depth_is_filled_with_grain():
    image, hole = grain(900, 24), box(900, 24, slice(0, 860), slice(0, 24))  # nothing known but below: 860 pixels deep
    result = add_texture(np.where(hole > 0, np.float32(0.5), image), hole)
    assert result[:, :, :100].std() > 0.5 * image.std()


@pytest.mark.filterwarnings("error")
def test_a_picture_of_one_colour_keeps_it():
    image, hole = np.full((1, 3, 64, 80), 0.3, np.float32), box(64, 80, slice(20, 40), slice(20, 60))
    assert np.array_equal(add_texture(image, hole), image)


def test_a_hole_along_all_four_borders_is_filled_with_grain():
    image, hole = grain(70, 90), 1 - box(70, 90, slice(12, 58), slice(12, 78))
    result = add_texture(smooth_filling(image, hole), hole)
    assert inside(result, hole).std() == pytest.approx(inside(image, hole).std(), rel=0.3)
    assert np.array_equal(inside(result, 1 - hole), inside(image, 1 - hole))


def test_a_hundredth_of_a_picture_suffices():
    image, hole = grain(120, 150), 1 - box(120, 150, slice(50, 62), slice(70, 85))
    assert hole.mean() == 0.99
    result = add_texture(np.where(hole > 0, np.float32(0.5), image), hole)
    assert inside(result, hole).std() > 0.5 * inside(image, 1 - hole).std()
    assert 0 <= result.min() <= result.max() <= 1


def test_a_filling_that_is_not_a_number_spreads_to_nothing():
    image, hole = grain(60, 70), box(60, 70, slice(20, 40), slice(20, 45))
    for missing in (hole, box(60, 70, slice(30, 31), slice(30, 31))):
        result = add_texture(np.where(missing > 0, np.float32(np.nan), image), hole)
        assert np.isfinite(result).all()
        assert np.array_equal(inside(result, 1 - hole), inside(image, 1 - hole))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (1, 70_000), (6, 90), (7, 7), (20, 20)])
def test_where_no_patch_is_known_the_filling_comes_back(size: tuple[int, int]):
    filled = np.random.default_rng(0).random((1, 3, *size), np.float32)
    hole = np.ones((1, 1, *size), np.float32)
    hole[..., ::5, ::5] = 0
    for missing in (hole, np.ones_like(hole)):
        assert np.array_equal(add_texture(filled, missing), filled)
    assert has_patches(np.ones_like(hole)) == (min(size) < 10), "what is thin needs none"


def test_one_known_patch_is_enough():
    filled, hole = grain(20, 30), np.ones((1, 1, 20, 30), np.float32)
    hole[..., :7, :7] = 0
    result = add_texture(filled, hole)
    assert np.isfinite(result).all()
    assert not np.array_equal(result, filled)
    assert has_patches(hole)


def test_a_large_picture_without_a_scale_to_match_patches_at_comes_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthesis, "MATCHED", 400)
    filled, hole = grain(24, 30), box(24, 30, slice(8, 18), slice(10, 20))
    assert np.array_equal(add_texture(filled, hole), filled)
    assert not has_patches(hole)


def test_a_picture_without_a_hole_is_returned():
    image = grain(30, 40)
    assert np.array_equal(add_texture(image, np.zeros((1, 1, 30, 40), np.float32)), image)


def test_pictures_of_a_batch_are_filled_one_by_one():
    images = np.concatenate([grain(40, 50), 1 - grain(40, 50)])
    holes = np.concatenate([box(40, 50, slice(10, 20), slice(10, 30)), box(40, 50, slice(30, 40), slice(0, 9))])
    both = add_texture(images, holes)
    assert np.array_equal(both, np.concatenate([add_texture(images[i : i + 1], holes[i : i + 1]) for i in (0, 1)]))
    assert has_patches(holes)
    assert not has_patches(np.concatenate([holes, np.ones_like(holes[:1])]))


def test_the_same_bits_for_any_number_of_threads_and_any_order_in_memory(monkeypatch: pytest.MonkeyPatch):
    image, hole = grain(180, 200), box(180, 200, slice(20, 160), slice(25, 165))
    filled = smooth_filling(image, hole)
    monkeypatch.setattr(patchmatch, "run", partial(mend.inpaint.compiled.run, grain=64))  # coarse scales, too, in many parts
    results = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(mend.inpaint.compiled, "count_cores", lambda cores=cores: cores)
        results.append(add_texture(filled, hole))
    odd = np.asfortranarray(filled), np.asfortranarray(hole)
    odd[0].setflags(write=False)
    results.append(add_texture(*odd))
    assert all(np.array_equal(result, results[0]) for result in results)
    functions = [each for module in (patchmatch, shiftmap) for each in vars(module).values() if isfunction(each)]
    loops = [getclosurevars(each).nonlocals["cached"] for each in functions if hasattr(each, "__wrapped__")]
    counts = {loop.__name__: len(loop.signatures) for loop in loops}
    assert len(counts) > 5
    assert set(counts.values()) == {1}, f"compiled again for other types of arguments, for which one waits: {counts}"


def test_progress_grows_and_ends(monkeypatch: pytest.MonkeyPatch):
    image, hole = grain(90, 101), box(90, 101, slice(20, 51), slice(30, 61))
    told: list[float] = []
    add_texture(np.concatenate([image, image]), np.concatenate([hole, hole]), lambda done, of: told.append(done / of))
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) == 4
