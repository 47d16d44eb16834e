from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import Save, inside, smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw, ImageOps

from mend.errors import InputError
from mend.images import Picture, read_image, write_image
from mend.masks.hole import compute_feather, dilate, draw_preview, find_parts, widen
from mend.masks.reading import Undecided, as_hole, understand_mask


def shape(width: int = 120, height: int = 90) -> np.ndarray:
    """A disc, a slanted line and a box, bool (H, W)."""
    drawn = Image.new("1", (width, height))
    draw = ImageDraw.Draw(drawn)
    draw.ellipse((width * 0.1, height * 0.2, width * 0.4, height * 0.7), fill=1)
    draw.line((width * 0.5, height * 0.9, width * 0.9, height * 0.1), fill=1, width=3)
    draw.rectangle((width * 0.7, height * 0.7, width * 0.8, height * 0.9), fill=1)
    return np.asarray(drawn)


def painted(inside: np.ndarray, paint: Any, ground: Any) -> np.ndarray:
    return np.where(inside[..., None], np.array(paint), np.array(ground)).astype(np.uint8)


def differ(one: np.ndarray, other: np.ndarray) -> float:
    return float((one != other).mean())


def test_masks_of_every_kind():
    wanted = np.array([[[[0.0, 1.0]]]])
    for mask in (
        np.array([[False, True]]),
        np.array([[0, 1]], np.uint8),
        np.array([[0, 255]], np.uint8),
        np.array([[100, 200]], np.uint8),
        np.array([[0.2, 0.9]]),
        np.array([[[0, 1]]]),
        Image.fromarray(np.array([[0, 255]], np.uint8)),
    ):
        assert np.array_equal(as_hole(mask, (1, 2))[0], wanted)
    assert as_hole(np.array([[0, 1], [0, 0]], np.uint8), (2, 2))[0].sum() == 1


def test_a_pillow_image_is_read_as_a_file_is(save: Save):
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.fromarray(shape().T[:, ::-1].astype(np.uint8) * 255).transpose(Image.Transpose.ROTATE_180)
    for content, how in (
        (painted(shape(), [255, 0, 0], [0, 0, 0]), {}),  # red is level 76 of grey
        (palette(shape()), {}),
        (shape(240, 180).astype(np.uint8) * 255, {}),
        (turned, {"exif": exif}),
    ):
        path = save(content, **how)
        with Image.open(path) as opened:
            assert np.array_equal(as_hole(opened, (90, 120))[0], understand_mask(path, (90, 120)).hole)
    erased = Image.fromarray(layer(shape()))
    with pytest.raises(Undecided, match="which part of the mask is the hole: it is not opaque all over"):
        as_hole(erased, (90, 120))
    assert np.array_equal(as_hole(erased, (90, 120), "transparent")[0][0, 0], shape())
    assert erased.getpixel((0, 0)) is not None, "closed, though it is the caller's"


def test_integers_that_may_be_labels_are_refused():
    for dtype, top in ((np.uint8, 2), (np.int64, 127), (np.uint16, 20)):
        with pytest.raises(InputError, match=f"mask values end at {top}, so none is white"):
            as_hole(np.array([[0, top]], dtype), (1, 2))


def test_black_may_be_the_hole_in_arrays_too():
    for mask in (np.array([[True, False]]), np.array([[255, 0]], np.uint8), np.array([[0.8, 0.1]])):
        assert as_hole(mask, (1, 2), "black")[0].tolist() == [[[[0.0, 1.0]]]]
    with pytest.raises(InputError, match='`hole="painted"` is for mask files and Pillow images'):
        as_hole(np.array([[True]]), (1, 1), "painted")


# --- What is certain -------------------------------------------------------------------------------------------------


def palette(drawn: np.ndarray) -> Image.Image:
    image = Image.fromarray(drawn.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    return image


CERTAIN: dict[str, tuple[Callable[[np.ndarray], Any], str, str]] = {
    "white on black": (lambda m: m.astype(np.uint8) * 255, "white", ""),
    "one bit": (lambda m: Image.fromarray(m), "white", ""),
    "zeros and ones": (lambda m: m.astype(np.uint8), "white", "its values are 0 and 1"),
    "16 bits": (lambda m: m.astype(np.uint16) * 65535, "white", ""),
    "16 bits, zeros and ones": (lambda m: m.astype(np.uint16), "white", "its values are 0 and 1"),
    "colour file": (lambda m: painted(m, [255, 255, 255], [0, 0, 0]), "white", ""),
    "opaque alpha": (lambda m: painted(m, [255, 255, 255, 255], [0, 0, 0, 255]), "white", ""),
    "nearly black and white": (lambda m: painted(m, [250, 244, 240], [9, 3, 12]), "white", ""),
    "red on black": (lambda m: painted(m, [255, 0, 0], [0, 0, 0]), "painted", "colours on black"),
    "dark red on black": (lambda m: painted(m, [64, 0, 0], [0, 0, 0]), "painted", "colours on black"),
    "palette": (palette, "painted", "colours on black"),
}


@pytest.mark.parametrize("kind", CERTAIN)
def test_what_is_certain_is_decided(kind: str, save: Save):
    make, marked, said = CERTAIN[kind]
    path = save(make(shape()))
    reading = understand_mask(path, (90, 120))
    assert np.array_equal(as_hole(path, (90, 120))[0], reading.hole)
    assert np.array_equal(reading.hole[0, 0], shape())
    assert reading.hole.shape == (1, 1, 90, 120)
    assert reading.marked == marked
    assert bool(reading.notes) == bool(said)
    assert said in "".join(reading.notes)


def test_floats_are_read(save: Save):
    assert np.array_equal(inside(save(shape().astype(np.float32), "m.tiff")), shape())


def test_jpeg_noise_and_smooth_edges_are_cut_at_half_and_said(save: Save):
    drawn = shape(480, 360)
    for quality in (20, 60, 95):
        reading = understand_mask(save(drawn.astype(np.uint8) * 255, "m.jpg", quality=quality))
        assert differ(reading.hole[0, 0] > 0, drawn) < 0.002
        noise = [note for note in reading.notes if "neither black nor white (edges, noise): cut at half" in note]
        assert len(noise) == (quality < 95)
    large = Image.fromarray(shape(480, 360).astype(np.uint8) * 255)
    small = large.resize((120, 90), Image.Resampling.LANCZOS)
    assert np.array_equal(inside(save(small)), np.asarray(small) >= 128)
    red = save(painted(drawn, [255, 0, 0], [0, 0, 0]), "red.jpg", quality=80)
    assert differ(inside(red), drawn) < 0.02


def test_the_name_may_be_in_any_script(save: Save):
    for name in ("Maske – Zürich.png", "маска.png", "蒙版.png", "مرحبا.json"):
        content = {"size": [1, 3], "counts": [1, 2]} if name.endswith("json") else np.array([[0, 255, 255]], np.uint8)
        assert inside(save(content, name)).tolist() == [[False, True, True]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_its_exif_says(orientation: int, save: Save):
    exif = Image.Exif()
    exif[274] = orientation
    path = save(shape().astype(np.uint8) * 255, exif=exif)
    reading = understand_mask(path)
    with Image.open(path) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened)) >= 128
    assert np.array_equal(reading.hole[0, 0] > 0, upright)
    assert reading.hole.shape[-2:] == ((90, 120) if orientation < 5 else (120, 90))
    assert any("EXIF" in note for note in reading.notes) == (orientation > 1)


def test_an_empty_mask_is_said_and_a_full_or_inverted_one_is_asked_about(save: Save):
    assert "the hole is empty" in understand_mask(save(np.zeros((5, 6), np.uint8))).notes[-1]
    full = save(np.full((5, 6), 255, np.uint8))
    with pytest.raises(Undecided, match=r"100\.0% of it is white.* `hole=\"white\"` \(100\.0%\)"):
        understand_mask(full)
    reading = understand_mask(full, None, "white")
    assert reading.hole.all()
    assert "the hole is the whole picture" in reading.notes[-1]
    inverted = save((np.arange(600) % 20 > 0).astype(np.uint8).reshape(20, 30) * 255)
    with pytest.raises(Undecided, match=r'`hole="white"` \(95\.0%\), `hole="black"` \(5\.0%\)'):
        understand_mask(inverted)
    assert inside(inverted, None, "black").mean() == pytest.approx(0.05)


def test_a_mask_that_is_mostly_white_names_the_flag(save: Save):
    path = save((~shape()).astype(np.uint8) * 255)
    assert 'add `hole="black"`' in understand_mask(path).notes[0]
    assert np.array_equal(inside(path, None, "black"), shape())
    assert understand_mask(path, None, "black").notes == []


# --- What is not -----------------------------------------------------------------------------------------------------


def layer(drawn: np.ndarray) -> np.ndarray:
    return np.dstack([smooth(90, 120, 0), np.where(drawn, 0, 255).astype(np.uint8)])


NOT_CERTAIN: dict[str, tuple[Callable[[np.ndarray], Any], str, dict[str, bool]]] = {
    "erased to transparent": (layer, "it is not opaque all over", {"transparent": True, "opaque": False}),
    "red on white": (lambda m: painted(m, [255, 0, 0], [255, 255, 255]), "not just a few on black", {"painted": True}),
    "green on grey": (lambda m: painted(m, [0, 200, 0], [120, 120, 120]), "not just a few on black", {"painted": True}),
    "black on pink": (lambda m: painted(m, [0, 0, 0], [255, 150, 150]), "not just a few on black", {"black": True}),
    "mostly red": (lambda m: painted(m, [0, 0, 0], [255, 0, 0]), "not just a few on black", {"painted": False}),
    "dark grey": (lambda m: m.astype(np.uint8) * 140, "greys that are not the edges", {"white": True, "black": False}),
}


@pytest.mark.parametrize("kind", NOT_CERTAIN)
def test_what_is_not_certain_is_asked_with_flags_that_then_work(kind: str, save: Save):
    make, why, answers = NOT_CERTAIN[kind]
    path = save(make(shape()))
    with pytest.raises(InputError) as error:
        understand_mask(path, (90, 120))
    said = str(error.value)
    assert why in said
    assert "m.png" in said
    assert "120×90, mode " in said
    assert "paint the hole white on black" in said
    for marked, same in answers.items():
        hole = inside(path, (90, 120), marked)
        assert np.array_equal(hole, shape() == same)
        assert f'`hole="{marked}"` ({hole.mean():.1%})' in said


def test_photographs_and_labels_are_not_taken_for_masks(save: Save):
    texture = np.random.default_rng(0).integers(0, 256, (90, 120), np.uint8)
    night = np.where(shape(), Image.fromarray(smooth(90, 120, 3)).convert("L"), 0).astype(np.uint8)
    cut = np.where(shape()[..., None], np.random.default_rng(0).integers(0, 256, (90, 120, 3)), 0).astype(np.uint8)
    y, x = np.mgrid[:90, :120].astype(np.uint8)
    rainbow = Image.fromarray(np.dstack([x * 2, np.full_like(x, 255), 70 + y * 2]), "HSV").convert("RGB")
    bright = np.where(shape()[..., None], rainbow, 0).astype(np.uint8)
    lamps = night.copy()
    lamps[30:33, 40:43] = 255
    circled = np.dstack([night] * 3)
    circled[5:15, 90:110] = (255, 0, 0)  # paint on a dark grey photograph: the photograph is no part of the mask
    for content, why in (
        (smooth(90, 120, 1), "it has colours"),
        (Image.fromarray(smooth(90, 120, 1)).convert("L"), "greys"),
        (texture, "greys"),
        (night, "greys"),
        (lamps, "greys"),
        (cut, "it has colours"),
        (bright, "it has colours"),
        (circled, "it has colours"),
        (shape().astype(np.uint8) * 20, "its values end at 20 of 255"),
        (shape().astype(np.uint16) * 256, "its values end at 256 of 65535"),
        (shape().astype(np.uint16) * 513, "its values end at 513 of 65535"),
    ):
        with pytest.raises(InputError, match=f"cannot tell .*{why}"):
            understand_mask(save(content))


def test_sixteen_bits_of_colour_are_read_by_their_own_values(save: Save, tmp_path: Path):
    for channels in (3, 4):
        for top, said in ((2, "end at 2 of 255"), (300, "end at 300 of 65535"), (513, "end at 513 of 65535")):
            levels = np.zeros((90, 120, channels), np.uint16)
            levels[shape()], levels[..., 3:] = top, 65535
            write_image(tmp_path / "m.png", Picture(levels))
            with pytest.raises(Undecided, match=f"its values {said}"):
                understand_mask(tmp_path / "m.png")
        for top in (1, 255, 65535):
            levels[shape(), :3] = top
            write_image(tmp_path / "m.png", Picture(levels))
            assert np.array_equal(inside(tmp_path / "m.png"), shape())
    assert cv2.imwrite(str(tmp_path / "m.jp2"), np.dstack([shape()] * 3).astype(np.uint16) * 65535)
    assert np.array_equal(inside(tmp_path / "m.jp2"), shape()), "white is black as Pillow reads it"


def test_a_mark_that_is_not_there_or_everywhere_is_refused(save: Save):
    with pytest.raises(InputError, match=r"nothing in .*m\.png is white: its values end at 2 of 255"):
        understand_mask(save(shape().astype(np.uint8) * 2), None, "white")
    with pytest.raises(InputError, match=r"nothing in .*m\.png is white: its values end at 100 of 255"):
        understand_mask(save(shape().astype(np.uint8) * 100), None, "white")
    assert not inside(save(np.zeros((9, 9), np.uint8)), None, "white").any()
    y, x = np.mgrid[:90, :120].astype(np.uint8)
    photograph = np.array(Image.fromarray(np.dstack([x * 2, np.full_like(x, 255), 70 + y * 2]), "HSV").convert("RGB"))
    photograph[shape()] = (255, 0, 255)
    with pytest.raises(
        InputError, match=r"what is coloured in .*m\.png has many colours, as a photograph has. Paint on black, or"
    ):
        understand_mask(save(photograph), None, "painted")
    with pytest.raises(Undecided) as error:
        understand_mask(save(photograph))
    assert '`hole="white"`' in str(error.value)
    assert "painted" not in str(error.value), "what is then refused is offered"


def test_arrays_of_sixteen_bits_and_of_one_channel_are_read():
    levels = np.array([[0, 65535, 40000]], np.uint16)
    for values in (levels, levels[..., None], levels // 257, levels.astype(">u2")):
        assert as_hole(values, (1, 3))[0].tolist() == [[[[0, 1, 1]]]]
    with pytest.raises(InputError, match="mask values end at 513, so none is white; expected 0 and 1, or levels up to 65535"):
        as_hole(np.array([[0, 513]], np.uint16), (1, 2))
    for odd in (np.zeros((0, 4)), np.array([["a"]]), np.array([[None]])):
        with pytest.raises(InputError, match="a mask holds booleans or numbers, and is not empty; this one is"):
            as_hole(odd, (1, 1))


def test_a_mask_that_pillow_has_not_read_to_the_end_is_named(tmp_path: Path):
    Image.fromarray(shape().astype(np.uint8) * 255).save(tmp_path / "m.png")
    data = (tmp_path / "m.png").read_bytes()
    (tmp_path / "m.png").write_bytes(data[: len(data) // 2])
    with Image.open(tmp_path / "m.png") as opened, pytest.raises(InputError, match="the mask is damaged: "):
        understand_mask(opened)


def test_sixteen_bits_of_grey_that_are_read_as_eight_are_a_mask_too(tmp_path: Path):
    Image.fromarray(shape().astype(np.uint8) * 255).save(tmp_path / "m.sgi", bpc=2)
    assert np.array_equal(inside(tmp_path / "m.sgi"), shape())


def test_shares_name_every_kind_of_pixel(save: Save):
    rgba = np.zeros((10, 10, 4), np.uint8)
    rgba[..., 3] = 255
    rgba[:2, :, :3] = 255
    rgba[2, :, :3] = (200, 0, 0)
    rgba[3, :5, :3] = 128
    rgba[9, :, 3] = 0
    seen = understand_mask(save(rgba), None, "white").seen
    assert seen.endswith("m.png: 10×10, mode RGBA: 65.0% black, 20.0% white, 10.0% coloured, 5.0% grey, 10.0% transparent")


def test_a_mark_that_the_file_does_not_have_is_refused(save: Save):
    path = save(shape().astype(np.uint8) * 255)
    for marked in ("opaque", "transparent"):
        with pytest.raises(InputError, match=f'hole="{marked}"` needs an alpha channel.*mode L'):
            understand_mask(path, None, marked)
    with pytest.raises(InputError, match="Did you mean 'white'"):
        understand_mask(path, None, "wite")
    with pytest.raises(InputError, match="Leave out `hole`"):
        understand_mask(save({"size": [1, 1], "counts": [1]}, "m.json"), None, "black")


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([3, 4]))))
def test_any_picture_is_either_decided_or_asked(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray):
    path = tmp_path_factory.getbasetemp() / "any.png"
    Image.fromarray(pixels).save(path)
    try:
        reading = understand_mask(path)
    except InputError:
        pass
    else:
        assert set(np.unique(reading.hole)) <= {0.0, 1.0}
        assert np.array_equal(understand_mask(path, None, reading.marked).hole, reading.hole)
    for one, other in (("white", "black"), ("opaque", "transparent")):
        if one == "white" or pixels.shape[2] == 4:
            if one == "white" and inside(path, None, other).all() and pixels[..., :3].any():
                with pytest.raises(InputError, match="nothing in .* is white"):
                    understand_mask(path, None, one)
                continue
            assert np.array_equal(inside(path, None, one), ~inside(path, None, other))


# --- Another size ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(45, 60), (360, 480), (23, 31), (1201, 1601)])
def test_a_mask_of_the_same_shape_is_scaled_and_says_so(size: tuple[int, int], save: Save):
    reading = understand_mask(save(shape(480, 360).astype(np.uint8) * 255), size)
    assert reading.hole.shape[-2:] == size
    assert set(np.unique(reading.hole)) == {0.0, 1.0}
    scaled = reading.hole[0, 0] > 0
    if size[0] >= 360:
        assert differ(scaled, shape(size[1], size[0])) < 0.01
    y, x = np.nonzero(shape(480, 360))
    rows, columns = (y + 0.5) * size[0] / 360, (x + 0.5) * size[1] / 480
    assert scaled[rows.astype(int), columns.astype(int)].mean() > 0.99, "something that was marked is lost"
    assert any(f"scaled from 480×360 to the picture's {size[1]}×{size[0]}" in note for note in reading.notes) == (
        size != (360, 480)
    )


def test_scaling_up_smooths_the_stairs_and_keeps_single_pixels(save: Save):
    y, x = np.mgrid[:720, :960] / 8 + 1 / 16
    disc = (x - 60.3) ** 2 + (y - 40.1) ** 2 < 30**2
    small = disc[4::8, 4::8]
    scaled = inside(save(small.astype(np.uint8) * 255), (720, 960))
    assert differ(scaled, disc) < 0.85 * differ(small.repeat(8, 0).repeat(8, 1), disc)
    dot = np.zeros((9, 9), np.uint8)
    dot[4, 4] = 255
    assert inside(save(dot), (72, 72))[34:38, 34:38].all()


@pytest.mark.parametrize("size", [(44, 55), (48, 60), (40, 50), (80, 100), (38, 47), (41, 51)])
def test_no_speck_is_lost_in_another_size(size: tuple[int, int], save: Save):
    specks = np.random.default_rng(0).random((40, 50)) < 0.02
    scaled = inside(save(specks.astype(np.uint8) * 255), size)
    y, x = np.nonzero(specks)
    rows, columns = (y + 0.5) * size[0] / 40, (x + 0.5) * size[1] / 50
    assert scaled[rows.astype(int), columns.astype(int)].all()
    assert scaled.mean() < 5 * specks.mean(), "of four pixels that it may touch none more"


def test_a_side_that_alone_is_smaller_loses_nothing(save: Save):
    specks = np.zeros((100, 402), np.uint8)
    specks[50, ::2] = 255
    assert inside(save(specks), (100, 400))[50].all(), "two of a hundred fell between the pixels"


@pytest.mark.parametrize("size", [(90, 90), (90, 125), (92, 121), (1, 1), (3000, 4100)])
def test_another_shape_is_refused(size: tuple[int, int], save: Save):
    with pytest.raises(InputError, match=rf"m.png is 120×90, its picture {size[1]}×{size[0]}"):
        understand_mask(save(shape().astype(np.uint8) * 255), size)


def test_a_mask_on_its_side_is_refused_and_said(save: Save):
    with pytest.raises(InputError, match="Turn the mask as the picture is shown"):
        understand_mask(save(shape().astype(np.uint8) * 255), (120, 90))


# --- Broken files ----------------------------------------------------------------------------------------------------


def test_broken_files_are_named(save: Save, tmp_path: Path):
    whole = save(np.random.default_rng(0).integers(0, 256, (50, 50), np.uint8), "whole.png").read_bytes()
    for content, name, said in (
        (b"", "m.png", r"m\.png is empty"),
        (b"a mask", "m.png", "is not a picture"),
        (whole[: len(whole) // 2], "m.png", "is damaged"),
        (b"", "m.json", "is not JSON"),
        (b"\xff\xfe\x00", "m.json", "is not JSON"),
        (b'{"size": [2, 2], "counts": ', "m.json", "is not JSON"),
        (b"[" * 100_000, "m.json", "is not JSON"),
    ):
        with pytest.raises(InputError, match=said):
            understand_mask(save(content, name))
    for name in ("none.png", "none.json"):
        with pytest.raises(InputError, match="there is no file"):
            understand_mask(tmp_path / name)


# --- Grown, feathered, shown -----------------------------------------------------------------------------------------


def as_array(drawn: np.ndarray) -> np.ndarray:
    return drawn.astype(np.float32)[None, None]


@settings(max_examples=40, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 16), st.integers(1, 16))), st.integers(0, 6), st.integers(0, 6))
def test_the_blend_lies_in_what_was_grown(drawn: np.ndarray, grow: int, feather: int):
    hole, feather = as_array(drawn), min(grow, feather)
    wide, weight = widen(hole, grow, feather)
    y, x = np.nonzero(drawn)
    near = np.zeros_like(drawn)
    for row, column in np.ndindex(drawn.shape):
        near[row, column] = ((y - row) ** 2 + (x - column) ** 2 <= grow**2).any()
    assert np.array_equal(wide[0, 0], near), "a disk"
    assert (weight is None) == (feather == 0)
    if weight is not None:
        assert np.array_equal(weight > 0, wide > 0)
        assert (weight[hole > 0] == 1).all(), "what was marked is replaced entirely"
        assert (weight <= 1).all()


def test_the_ramp_rises_evenly_from_the_rim():
    hole = np.zeros((1, 1, 20, 20), np.float32)
    hole[..., 4:] = 1  # to the border of the picture, which is no rim
    assert compute_feather(hole, 3)[0, 0, 5].tolist() == pytest.approx([0, 0, 0, 0, 0.25, 0.5, 0.75, *[1.0] * 13])
    assert np.array_equal(compute_feather(np.ones((1, 1, 5, 5), np.float32), 3), np.ones((1, 1, 5, 5), np.float32))
    assert np.array_equal(compute_feather(hole, 0), hole)
    assert not dilate(np.zeros((1, 1, 5, 5), np.float32), 3).any()
    dot = np.zeros((1, 1, 5, 5), np.float32)
    dot[..., 2, 2] = 1
    wide, weight = widen(dot, 1, 1)
    assert (wide.sum(), weight[..., 2, 2]) == (5, 1)


def test_a_feather_beyond_the_ring_is_refused():
    with pytest.raises(InputError, match="`feather=4` is more than `grow=3`.*`grow=4`"):
        widen(np.ones((1, 1, 3, 3), np.float32), 3, 4)
    with pytest.raises(InputError, match="`grow` is -1 pixels; expected 0 or more"):
        widen(np.ones((1, 1, 3, 3), np.float32), -1)


def test_parts_are_counted_with_the_largest_first():
    drawn = np.zeros((20, 30), np.bool_)
    drawn[2, 3], drawn[3, 4] = True, True  # touching at a corner: one part
    drawn[10:14, 20:26] = True
    assert find_parts(as_array(drawn)).tolist() == [[20, 10, 6, 4, 24], [3, 2, 2, 2, 2]]
    assert len(find_parts(as_array(np.zeros((3, 3))))) == 0


@pytest.mark.parametrize("level", [(0, 0, 0), (255, 255, 255), (230, 57, 70), (128, 128, 128)])
def test_a_preview_is_seen_on_any_colour_and_leaves_the_rest(level: tuple[int, int, int]):
    pixels = np.full((60, 80, 3), level, np.uint8)
    hole = np.zeros((1, 1, 60, 80), np.float32)
    hole[..., 20:40, 30:50] = 1
    shown = draw_preview(pixels, hole)
    assert (shown[19, 30:50].min(), shown[18, 30:50].max()) == (255, 0)
    assert np.array_equal(shown[:17], pixels[:17])
    assert (pixels == level).all()
    if level != (230, 57, 70):
        assert np.abs(shown[30, 40].astype(int) - level).max() > 50
    assert np.array_equal(draw_preview(pixels, np.zeros_like(hole)), pixels)


@pytest.mark.parametrize(("side", "line"), [(899, 1), (900, 2)])
def test_the_line_of_a_preview_is_wider_on_larger_pictures(side: int, line: int):
    hole = np.zeros((1, 1, 40, side), np.float32)
    hole[..., 20:, :] = 1
    shown = draw_preview(np.full((40, side, 3), 128, np.uint8), hole)
    assert shown[:20, 0, 0].tolist() == [128] * (20 - 2 * line) + [0] * line + [255] * line


def photograph() -> np.ndarray:
    noise = np.random.default_rng(1).integers(-9, 10, (96, 128, 1))
    return (smooth(96, 128, 4) + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("paint", [(255, 255, 255), (255, 0, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize(
    "how", [("m.png", {}), ("m.jpg", {"quality": 90}), ("m.jpg", {"quality": 75}), ("m.jpg", {"quality": 40})], ids=str
)
@pytest.mark.parametrize("marked", ["auto", "painted"])
def test_the_photograph_painted_over_is_a_mask(paint: tuple[int, ...], how: tuple[str, Any], marked: str, save: Save):
    pixels = photograph()
    if how[1]:  # then it was a JPEG before it was painted
        pixels = read_image(save(pixels, "before.jpg", quality=92)).pixels
    painted = pixels.copy()
    painted[30:60, 40:90] = paint
    painted[30:35, 40:90] = (0, 0, 255)  # of two colours
    file, name = save(painted, how[0], **how[1]), how[0]
    reading = understand_mask(file, (96, 128), marked, picture=Picture(pixels))
    found, expected = reading.hole[0, 0] > 0, np.zeros((96, 128), np.bool_)
    expected[30:60, 40:90] = True
    wide = cv2.dilate(expected.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    assert not (found & ~wide).any(), "noise is taken for paint"
    assert (found & expected).sum() >= 0.999 * expected.sum()
    assert name == "m.jpg" or np.array_equal(found, expected)
    assert reading.marked == "painted"
    assert "it is the photograph, painted over in places: where it differs is the hole" in reading.notes


@pytest.mark.parametrize("how", [("m.png", {}), ("m.jpg", {"quality": 85})], ids=str)
def test_paint_on_a_grey_copy_is_asked_about(how: tuple[str, Any], save: Save):
    """In a grey copy all that has colours differs, too: a car or a face would be taken for paint."""
    pixels = np.random.default_rng(0).integers(90, 160, (96, 128, 1)).repeat(3, 2)
    pixels[:, :64] += np.array([4, 0, -4])  # hardly any colour
    pixels[:, 64:] += np.array([25, 0, -25])
    pixels[10:25, 100:120] += np.array([90, -60, -60])
    pixels = pixels.clip(0, 255).astype(np.uint8)
    painted = (pixels @ [0.3, 0.59, 0.11]).astype(np.uint8)[..., None].repeat(3, 2)
    painted[30:60, 20:60] = (0, 255, 0)
    with pytest.raises(Undecided, match=r'`hole="painted"` \((9|1\d)\.'):
        understand_mask(save(painted, how[0], **how[1]), (96, 128), picture=Picture(pixels))


def test_noise_beside_large_even_areas_is_not_taken_for_paint(save: Save):
    """A JPEG leaves them as they are, so that most pixels are the very same."""
    pixels = photograph()
    pixels[:70] = 140
    pixels = read_image(save(pixels, "before.jpg", quality=97)).pixels
    painted = pixels.copy()
    painted[10:30, 40:90] = (255, 0, 0)
    found = understand_mask(save(painted, "m.jpg", quality=90), (96, 128), picture=Picture(pixels)).hole[0, 0] > 0
    assert found[10:30, 40:90].all()
    assert not found[60:].any()


def test_paint_on_a_copy_of_another_size_is_told_which(save: Save):
    small = cv2.resize(photograph(), (64, 48), interpolation=cv2.INTER_AREA)
    small[15:30, 20:45] = (255, 0, 0)
    with pytest.raises(Undecided, match="If it is the picture, painted over: paint on it at 128×96"):
        understand_mask(save(small, "m.png"), (96, 128), picture=Picture(photograph()))


def test_paint_on_as_much_as_a_hole_may_have_counts_to_a_level(save: Save):
    pixels = smooth(50, 100, 1)
    painted = pixels.copy()
    painted[20:] = (255, 0, 0)
    painted[19, 7] ^= 1
    painted[20, 7] = pixels[20, 7]
    reading = understand_mask(save(painted, "m.png"), (50, 100), picture=Picture(pixels))
    assert np.array_equal(reading.hole[0, 0] > 0, (painted != pixels).any(2))


def test_the_photograph_in_part_transparent_is_asked_about(save: Save):
    """It may have been erased there, or what is left may be an object cut out."""
    layer = np.dstack([photograph(), np.full((96, 128), 255, np.uint8)])
    layer[30:60, 40:90, 3] = 0
    with pytest.raises(Undecided, match='`hole="transparent"`'):
        understand_mask(save(layer, "m.png"), (96, 128), picture=Picture(photograph()))


def test_another_photograph_is_no_mask_nor_is_the_same(save: Save):
    pixels = photograph()
    others = {"another": smooth(96, 128, 9), "the same": pixels, "turned": pixels[::-1], "smaller": pixels[:48, :64]}
    for name, other in others.items():
        for how in ("m.png", "m.jpg"):
            with pytest.raises(Undecided, match="cannot tell which part"):
                understand_mask(save(np.ascontiguousarray(other), how), None, picture=Picture(pixels))
            assert name
