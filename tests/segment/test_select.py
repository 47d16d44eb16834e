"""An object told from its surroundings by a box, a line or clicks; how well, benchmarks/object_selection.py measures."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, smooth
from PIL import Image

from mend.segment.select import NETWORK, WINDOW, grow, select, warp_image

PHOTOS = ROOT.parent / "shared" / "data" / "photos"


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A striped thing before a background of grain, and where it is."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(90, 150, (120, 160, 3), np.uint8)
    y, x = np.mgrid[:120, :160]
    thing = ((x - 70) / 30) ** 2 + ((y - 60) / 20) ** 2 < 1
    pixels[thing] = np.where((x // 4 % 2 == 0)[..., None], (220, 40, 30), (60, 10, 120))[thing]
    return pixels, thing


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    return (found & truth).sum() / (found | truth).sum()


def test_a_box_a_line_and_a_click_find_the_same_thing(scene: tuple[np.ndarray, np.ndarray]):
    pixels, thing = scene
    ways = [
        {"box": (0.22, 0.30, 0.66, 0.70)},
        {"lasso": [(0.2, 0.5), (0.4, 0.28), (0.68, 0.5), (0.4, 0.72)]},
        {"points": [(0.44, 0.5, True)]},
    ]
    for way in ways:
        assert overlap(select(pixels, **way), thing) > 0.9, way  # type: ignore[arg-type]


@pytest.mark.parametrize("noise", [0, 4])
def test_a_click_anywhere_on_a_plain_thing_finds_all_of_it(noise: int):
    picture = smooth(300, 400, 5).astype(np.int64)
    thing = np.zeros((300, 400), np.bool_)
    thing[100:180, 150:250] = True
    picture[thing] = (30, 40, 200)
    picture += np.rint(np.random.default_rng(0).normal(0, noise, picture.shape)).astype(np.int64)
    pixels = picture.clip(0, 255).astype(np.uint8)
    wrong = {
        (x, y): round(found, 2)
        for y in range(104, 180, 18)
        for x in range(154, 250, 23)
        if (found := overlap(select(pixels, [((x + 0.5) / 400, (y + 0.5) / 300, True)]), thing)) < 0.97
    }
    assert not wrong
    corner = (0.5, 0.45, True), (0.39, 0.35, False)
    assert not select(pixels, corner)[105, 156], "what was taken away stayed"


def test_a_thing_reaches_the_sides_of_the_box_around_it():
    pixels = np.random.default_rng(0).integers(90, 150, (120, 160, 3), np.uint8)
    body, legs = np.zeros((2, 120, 160), np.bool_)
    body[30:60, 40:100] = legs[60:95, 45:60] = legs[60:95, 80:95] = True
    pixels[body] = (200, 60, 40)
    pixels[legs] += np.array((30, 0, -30)).astype(np.uint8)  # hardly another colour than what is behind them
    box = (0.24, 0.24, 0.64, 0.8)
    assert select(pixels, box=box)[legs].mean() > 0.8
    too_much = [(0.35, 0.65, False)]
    assert select(pixels, too_much, box)[legs].mean() < 0.2, "what a person took away came back"


def test_clicks_add_and_take_away(scene: tuple[np.ndarray, np.ndarray]):
    pixels, thing = scene
    pixels, other = pixels.copy(), np.zeros_like(thing)
    other[50:70, 120:140] = True
    pixels[other] = (30, 220, 40)
    box = (0.2, 0.25, 0.92, 0.75)
    both = select(pixels, [(0.44, 0.5, True), (0.81, 0.5, True)], box)
    assert both[other].mean() > 0.9
    assert both[thing].mean() > 0.9
    one = select(pixels, [(0.44, 0.5, True), (0.81, 0.5, False)], box)
    assert one[other].mean() < 0.1
    assert one[thing].mean() > 0.9


def test_a_network_is_asked_what_a_click_means(scene: tuple[np.ndarray, np.ndarray]):
    pixels, thing = scene
    whole = np.zeros_like(thing)
    whole[30:90, 20:140] = True  # all of this, says the network
    pixels = np.where(whole[..., None] & ~thing[..., None], (200, 200, 40), pixels).astype(np.uint8)
    asked = []

    def find(pictures: np.ndarray) -> np.ndarray:
        asked.append(pictures.shape)
        return whole[None]

    found = select(pixels, [(0.44, 0.5, True)], find_objects=find)
    assert asked == [(1, 120, 160, 3)]
    assert overlap(found, whole) > 0.8
    assert overlap(select(pixels, [(0.44, 0.5, True)]), whole) < 0.5


@pytest.mark.parametrize("size", [(1, 2000), (2, 2000), (900, 2), (5, 5)])
def test_thin_and_tiny_pictures_are_looked_at(size: tuple[int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for found in (select(pixels, [(0.5, 0.5, True)]), select(pixels, box=(0.2, 0.0, 0.8, 1.0))):
        assert found.shape == size


def test_a_large_picture_is_shrunk_without_aliasing():
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), np.uint8)
    scale = WINDOW / 1600
    window = warp_image(noise, np.array([[scale, 0, 0], [0, scale, 0]]), scale)
    assert window.std() < 8, "that of the pixels is 74, that of the means of 12×12 of them 6"


def test_the_same_arguments_give_the_same(scene: tuple[np.ndarray, np.ndarray]):
    pixels, _ = scene
    first, second = (select(pixels, [(0.4, 0.5, True)], (0.1, 0.1, 0.9, 0.9)) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_rim_goes_with_it():
    found = np.zeros((200, 400), np.bool_)
    found[100, 200] = True
    assert 3 * 3 < grow(found).sum() < 40 * 40


def test_the_network_says_nothing_of_the_machine_that_made_it():
    assert b".py" not in NETWORK.read_bytes(), "the stack of calls, with its paths"


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="there are no photographs in ../shared/data/photos")
def test_an_object_of_a_photograph_is_found():
    outline = json.loads((Path(__file__).parents[1] / "data" / "object-outlines.json").read_text())[14]
    pixels = np.asarray(Image.open(PHOTOS / outline["photo"]).convert("RGB"))
    corners = np.array(outline["outline"]) / pixels.shape[1::-1]
    found = select(pixels, box=(*corners.min(0), *corners.max(0)))
    assert 0.2 < found.mean() < 0.4
