import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mend.errors import InputError
from mend.inpaint.classical import Classical
from mend.inpaint.folder import Model
from mend.inpaint.plan import MASK, PROGRAM, READ, Plan, check_mask, make_plan, parse_memory
from mend.inpaint.tiles import cut_tiles
from mend.models import build
from mend.models.filler import TorchFiller

GB = 2**30


def hole(height: int, width: int, *boxes: tuple[int, int, int]) -> np.ndarray:
    missing = np.zeros((1, 1, height, width), np.float32)
    for top, left, side in boxes:
        missing[..., top : top + side, left : left + side] = 1
    return missing


def test_a_tile_knows_its_place_and_what_lies_around_it():
    missing = hole(300, 200, (0, 0, 5), (299, 199, 1))
    (first, last) = cut_tiles(1 - missing, 128, 64, 128)
    assert first.place == (slice(0, 128), slice(0, 128))
    assert first.seen == (slice(0, 192), slice(0, 192))
    assert last.place == (slice(256, 300), slice(128, 200))
    assert last.seen == (slice(192, 300), slice(64, 200))
    assert last.inner == (slice(64, 108), slice(64, 136))
    (first, last) = cut_tiles(1 - missing, 128, 64, 8)
    assert (first.place, last.place) == ((slice(0, 8), slice(0, 8)), (slice(296, 300), slice(192, 200)))
    assert (first.seen, last.seen) == ((slice(0, 72), slice(0, 72)), (slice(232, 300), slice(128, 200)))
    assert last.pixels == 68 * 72


def test_holes_that_are_far_apart_are_cropped_apart_and_long_ones_divided_evenly():
    def places(*boxes: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
        found = (tile.place for tile in cut_tiles(1 - hole(1024, 1024, *boxes), 512, 64, 8))
        return [(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in found]

    assert places() == []
    assert places((300, 200, 480)) == [(296, 784, 200, 680)], "the grid of a picture cuts it into four"
    assert places((0, 0, 600)) == [(0, 296, 0, 296), (0, 296, 296, 600), (296, 600, 0, 296), (296, 600, 296, 600)]
    assert places((0, 0, 8), (136, 136, 8)) == [(0, 144, 0, 144)], "128 pixels apart, something would be seen twice"
    assert places((0, 0, 8), (144, 144, 8)) == [(0, 8, 0, 8), (144, 152, 144, 152)]
    assert places((0, 0, 400), (200, 600, 400)) == [(0, 400, 0, 400), (200, 600, 600, 1000)], "cut at 300"
    assert places((0, 0, 8), (0, 200, 8), (200, 100, 8)) == [(0, 8, 0, 8), (0, 8, 200, 208), (200, 208, 96, 112)]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 99), st.floats(0, 0.02), st.sampled_from([8, 64]))
def test_tiles_hold_everything_once(height: int, width: int, seed: int, share: float, step: int):
    missing = (np.random.default_rng(seed).random((1, 1, height, width)) < share).astype(np.float32)
    held = np.zeros((height, width), np.int64)
    for tile in cut_tiles(1 - missing, 64, 16, step):
        held[tile.place] += 1
        for place, seen, inner in zip(tile.place, tile.seen, tile.inner, strict=True):
            assert place.start % step == 0
            assert 0 < place.stop - place.start <= 64
            assert (seen.start + inner.start, seen.start + inner.stop) == (place.start, place.stop)
    assert held.max() <= 1
    assert held[missing[0, 0] > 0].all()


def filler(name: str, width: int) -> TorchFiller:
    return TorchFiller(build(name, width=width), torch.device("cpu"), Model(model=name))


def test_the_largest_tile_that_keeps_to_the_memory_is_chosen():
    network = filler("unet", 16)
    missing, memory = hole(1024, 1024, (300, 200, 300)), network.memory
    assert make_plan(network, missing).tile is None, "there is room for all of it"
    for side, tile in ((1024, None), (640, 512), (384, 256), (256, 128)):
        most = memory.program + memory.picture * 1024**2 + memory.seen * side**2
        plan = make_plan(network, missing, most)
        assert plan.tile == tile
        assert plan.memory <= most
    assert str(Plan(512, 3 * GB // 2)) == "tiles of at most 512 pixels, at most 1.5 GB of memory"


def test_the_pyramid_keeps_to_its_own_tile_or_a_smaller_one():
    network = filler("pyramid", 48)
    missing = hole(1024, 1024, (500, 500, 40), (0, 1000, 10))
    assert make_plan(network, missing).tile == 512
    assert make_plan(network, missing, make_plan(network, missing).memory - 1).tile == 256


def test_a_promise_that_cannot_be_kept_is_refused():
    with pytest.raises(
        InputError,
        match=r"`max_memory` is 512 MB, which is too little: 3000×2000 pixels take 1.\d GB even in the smallest tiles",
    ):
        make_plan(filler("pyramid", 48), hole(2000, 3000, (0, 0, 9)), GB // 2)
    with pytest.raises(InputError, match="not known"):
        make_plan(Classical("biharmonic"), hole(20, 20), GB)
    assert str(make_plan(Classical("biharmonic"), hole(20, 20))) == "whole"


def test_a_picture_that_is_more_than_usual_by_itself_is_not_cut_into_the_smallest_tiles():
    large = np.broadcast_to(np.float32(0), (1, 1, 7000, 7000))
    plan = make_plan(filler("pyramid", 48), large)
    assert plan.tile == 512
    assert plan.memory is not None
    assert plan.memory > 4 * GB, "nobody asked: it is tried"
    assert make_plan(filler("unet", 16), large).tile == 512, "the largest that takes less than 1 GB"


@pytest.mark.parametrize(("text", "size"), [("2GB", 2 * GB), ("1.5 gb", 3 * GB // 2), ("800M", 800 * 2**20), ("1GiB", GB)])
def test_memory_in_words(text: str, size: int):
    assert parse_memory(text) == size


def test_memory_without_a_unit_is_refused():
    for text in ("2", "much", "-1GB", "2 GBit"):
        with pytest.raises(InputError, match="expected a number and a unit"):
            parse_memory(text)


def test_a_mask_that_is_much_larger_than_its_picture_counts():
    check_mask("the mask m.png", 10**6, 10**6, 2**20)  # of the same size: the plan of the picture has the say
    check_mask("the mask m.png", 10**7, 10**7 - 1, PROGRAM + MASK * 10**7 + READ * 10**7)
    with pytest.raises(
        InputError,
        match=r"`max_memory` is 1.0 GB, which is too little: the mask m\.png has 50,000,000 pixels, its picture 1,000,000",
    ):
        check_mask("the mask m.png", 5 * 10**7, 10**6, 2**30)
