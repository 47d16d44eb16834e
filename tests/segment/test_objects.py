import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, smooth
from conftest import mend as run_mend

from mend.data.photos import find_skimage_folder as skimage_folder
from mend.errors import InputError
from mend.filling.job import Job, fill_file
from mend.filling.options import Options
from mend.images import Picture, read_image, read_rgb, write_image
from mend.masks.hole import dilate
from mend.segment.networks import Segmenter, load_segmenter
from mend.segment.objects import GROW, make_object_finder, map_classes

DEEPLAB = SHARED / "models" / "deeplabv3_mobilenet_v2_513"
needs_deeplab = pytest.mark.skipif(not DEEPLAB.is_dir(), reason=f"{DEEPLAB.name} is not in ../shared/models")


def painted(*boxes: tuple[int, int, int, int, int]) -> Segmenter:
    """A segmenter that sees (class, top, bottom, left, right) on a grid of 20×30, whatever the picture."""
    scores = torch.zeros(1, 5, 20, 30)
    scores[:, 0] = 1
    for index, top, bottom, left, right in boxes:
        scores[:, :, top:bottom, left:right] = 0
        scores[:, index, top:bottom, left:right] = 1
    classes = ("background", "dog", "cat", "potted plant", "horse")
    return Segmenter("painted", "", lambda pixels: np.zeros((1, 20, 30), np.bool_), 1, lambda pixels: scores, classes, 0)


PIXELS = np.zeros((40, 60, 3), np.uint8)
SEEN = painted((1, 2, 5, 2, 6), (1, 12, 14, 20, 22), (2, 8, 16, 4, 9), (4, 8, 16, 9, 14))


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((40, 60), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def test_a_class_is_all_its_pixels_at_the_pictures_own_size():
    classes = map_classes(PIXELS, SEEN)
    assert classes.shape == (40, 60)
    assert np.array_equal(classes == 1, box(4, 10, 4, 12) | box(24, 28, 40, 44))
    assert np.array_equal(classes == 2, box(16, 32, 8, 18))
    hole, note = make_object_finder("dog", SEEN)(PIXELS)
    assert hole.shape == (1, 1, 40, 60)
    assert np.array_equal(hole[0, 0] > 0, classes == 1)
    assert note == "dog"


def test_class_borders_are_smooth_at_any_size():
    """Scaled scores, then compared: a slanted border has no steps of the network's grid."""
    y, x = np.mgrid[:20, :30]
    scores = torch.from_numpy((x - y - 5.0)[None, None] * np.array([-1.0, 1.0])[None, :, None, None])
    slanted = Segmenter("slanted", "", lambda pixels: np.zeros(0), 1, lambda pixels: scores, ("background", "dog"), 0)
    classes = map_classes(np.zeros((400, 600, 3), np.uint8), slanted)
    inside = np.s_[20:-20, 20:-20]
    y, x = (np.mgrid[:400, :600] / 20)[:, *inside]
    beside = abs(x - y - 5) > 0.01
    assert np.array_equal(classes[inside][beside], (x - y > 5)[beside])


def test_the_largest_is_what_hangs_together():
    hole, note = make_object_finder("largest", SEEN)(PIXELS)
    assert np.array_equal(hole[0, 0] > 0, box(16, 32, 8, 28))
    assert note == "cat (50.0%) and horse (50.0%)"


def test_names_are_found_however_they_are_written_and_typing_errors_are_said():
    plant = painted((3, 2, 5, 2, 6))
    for name in ("potted plant", "PottedPlant", "potted-plant"):
        assert make_object_finder(name, plant)(PIXELS)[0].sum() == 48
    with pytest.raises(InputError, match=r"unknown object 'hrose'. Did you mean 'horse'\? Known: dog, cat, .*largest"):
        make_object_finder("hrose", SEEN)
    with pytest.raises(InputError, match="unknown object 'background'"):
        make_object_finder("background", SEEN)


def test_what_is_not_there_is_said_with_what_is():
    with pytest.raises(
        InputError, match=r"no potted plant is found in the picture, but cat \(6\.7%\), horse \(6\.7%\), dog \(2\.7%\)"
    ):
        make_object_finder("potted plant", SEEN)(PIXELS)
    for name in ("dog", "largest"):
        with pytest.raises(InputError, match="painted finds no object in the picture. Give a `mask`"):
            make_object_finder(name, painted())(PIXELS)


def test_graph_segmentation_finds_the_largest_and_knows_no_names():
    graph = load_segmenter("felzenszwalb", "cpu")
    y, x = np.mgrid[:600, :800]
    disc = np.hypot(y - 300, x - 380) < 150
    pixels = np.full((600, 800, 3), 40, np.uint8)
    pixels[disc] = (220, 60, 40)
    hole, note = make_object_finder("largest", graph)(pixels)
    found = hole[0, 0] > 0
    assert (found & disc).sum() / (found | disc).sum() > 0.95
    assert note == "a region"
    with pytest.raises(InputError, match="knows no names such as 'dog'. Ask for `object=\"largest\"`"):
        make_object_finder("dog", graph)
    with pytest.raises(InputError, match="finds no object"):
        make_object_finder("largest", graph)(np.full((60, 50, 3), 9, np.uint8))


def test_regions_are_looked_for_in_a_small_copy():
    seen = []
    half = np.arange(256) < 128
    graph = Segmenter("graph", "", lambda small: (seen.append(small.shape), half[None, None].repeat(small.shape[1], 1))[1], 1)
    hole, _ = make_object_finder("largest", graph)(np.zeros((300, 1000, 3), np.uint8))
    assert seen == [(1, 77, 256, 3)]
    assert hole[0, 0, :, :500].all()
    assert not hole[0, 0, :, 500:].any()


@needs_deeplab
def test_a_pretrained_deeplabv3_finds_an_astronaut():
    deeplab = load_segmenter(f"hf:{DEEPLAB}", "cpu")
    pixels = read_rgb(skimage_folder() / "astronaut.png")
    hole, note = make_object_finder("Person", deeplab)(pixels)
    assert hole.shape == (1, 1, 512, 512)
    found = dilate(hole, round(GROW * 512))[0, 0] > 0
    assert note == "person"
    assert found[60:150, 180:270].all(), "her face"
    assert found[300:400, 60:200].all(), "her suit"
    assert not found[20:200, 340:].any(), "the shuttle"
    with pytest.raises(InputError, match=r"no cat is found in the picture, but person \(4"):
        make_object_finder("cat", deeplab)(pixels)


def test_filling_an_object_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    y, x = np.mgrid[:90, :120]
    pixels = smooth(90, 120, 0) // 8
    disc = np.hypot(y - 45, x - 60) < 25
    pixels[disc] = (250, 240, 30)
    for name in ("a", "b"):
        write_image(tmp_path / "photos" / f"{name}.png", pixels)
    (tmp_path / "photos" / "c.png").write_bytes(b"")
    end = ("--object", "largest", "--segmenter", "felzenszwalb", "--model", "telea", "-o")
    code, said, errors = run_mend(capsys, "fill", tmp_path / "photos" / "a.png", *end, tmp_path / "o.png", "--grow", 4)
    assert code == 0, errors
    assert "object: a region, " in said
    assert "grown by 4 pixels" in said
    unless_given = run_mend(capsys, "fill", tmp_path / "photos" / "a.png", *end, tmp_path / "p.png")[1]
    assert f"grown by {round(0.02 * 120)} pixels" in unless_given
    filled = read_image(tmp_path / "o.png").pixels
    assert filled[disc].max() < 100
    far = np.hypot(y - 45, x - 60) > 35
    assert np.array_equal(filled[far], pixels[far])
    code, said, errors = run_mend(capsys, "fill", tmp_path / "photos", *end, tmp_path / "out", "--grow", 4)
    assert (code, "2 filled, 0 skipped, 1 failed" in said, "c.png" in errors) == (1, True, True)
    assert np.array_equal(read_image(tmp_path / "out" / "b.png").pixels, filled)
    for words, expected in (
        (("--object", "dog"), "knows no names such as 'dog'"),
        (("--object", "largest", "--segmenter", "felzenswalb"), "Did you mean 'felzenszwalb'"),
        (("--object", "largest", "--mask", "m.png"), "give one of them"),
    ):
        words = (*words, *(("--segmenter", "felzenszwalb") if "--segmenter" not in words else ()))
        code, _, errors = run_mend(capsys, "fill", tmp_path / "photos", *words, "--model", "telea", "-o", tmp_path / "x")
        assert (code, expected in errors) == (1, True), errors
    assert not (tmp_path / "x").exists()


def test_a_missing_extra_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch):
    job = Job(Picture(smooth(20, 30, 0)), options=Options(object="largest", segmenter="felzenszwalb", model="telea"))
    for module in ("mend.segment.objects", "mend.segment.networks"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"torch is not installed. Run in the folder of mend: pip install '.\[segment\]'"):
        fill_file(job)
