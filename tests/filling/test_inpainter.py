import io
import json
import os
from pathlib import Path
from typing import Any, get_overloads

import cv2
import numpy as np
import pytest
import torch
from conftest import smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mend
from mend.errors import InputError
from mend.images import Picture, read_image, write_image
from mend.inpaint.classical import CLASSICAL
from mend.inpaint.onnx import PyramidOnnx
from mend.inpaint.texture import Textured


@pytest.fixture(scope="module")
def inpainter(run: Path) -> mend.Inpainter:
    return mend.load(run, "cpu")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 9))
def test_any_size_comes_back_with_its_known_pixels_untouched(inpainter: mend.Inpainter, height: int, width: int, seed: int):
    pixels = smooth(height, width, seed)
    mask = np.random.default_rng(seed).random((height, width)) > 0.5
    before = pixels.copy()
    filled = inpainter(pixels, mask)
    assert filled.shape == pixels.shape
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~mask], pixels[~mask])
    assert np.array_equal(pixels, before)


def test_the_same_kind_comes_back_and_all_kinds_agree(inpainter: mend.Inpainter, tmp_path: Path):
    pixels = smooth(37, 51, 1)
    mask = np.zeros((37, 51), np.bool_)
    mask[10:20, 15:40] = True
    expected = inpainter(pixels, mask)
    write_image(tmp_path / "p.png", pixels)
    write_image(tmp_path / "m.png", mask[..., None].astype(np.uint8) * 255)
    from_path = inpainter(tmp_path / "p.png", str(tmp_path / "m.png"))
    from_pil = inpainter(Image.fromarray(pixels), Image.fromarray(mask))
    assert isinstance(from_path, Image.Image)
    assert isinstance(from_pil, Image.Image)
    assert np.array_equal(np.asarray(from_path), expected)
    assert np.array_equal(np.asarray(from_pil), expected)
    floats = inpainter(pixels.astype(np.float32) / 255, mask)
    assert floats.dtype == np.float32
    assert np.abs(floats * 255 - expected).max() <= 0.5 + 1e-4
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    single, batch = inpainter(tensor, torch.from_numpy(mask)), inpainter(torch.stack([tensor, tensor]), mask)
    assert (single.dtype, single.shape, batch.shape) == (torch.uint8, (3, 37, 51), (2, 3, 37, 51))
    assert np.array_equal(single.permute(1, 2, 0).numpy(), expected)
    assert torch.equal(batch[1], single)
    grey = inpainter(pixels[..., 0], mask)
    assert grey.shape == (37, 51)
    deep = inpainter(pixels.astype(np.uint16) * 257, mask)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - expected).max() <= 0.51


def test_a_mask_that_can_be_read_in_two_ways_is_asked_and_answered_by_name(tmp_path: Path):
    pixels, mask = smooth(20, 24, 1), np.zeros((20, 24), np.bool_)
    mask[5:12, 8:14] = True
    layer = Image.fromarray(np.dstack([pixels, np.where(mask, 0, 255).astype(np.uint8)]))
    expected = mend.fill(pixels, mask)
    with pytest.raises(InputError, match='`hole="transparent"`'):
        mend.fill(pixels, layer)
    assert np.array_equal(mend.fill(pixels, layer, hole="transparent"), expected)
    assert np.array_equal(mend.fill(pixels, ~mask, hole="black"), expected)
    images = [{"id": i, "file_name": f"{name}.png", "height": 20, "width": 24} for i, name in enumerate("xp")]
    segments = [{"image_id": 1, "segmentation": [[8, 5, 14, 5, 14, 12, 8, 12]]}]
    (tmp_path / "coco.json").write_text(json.dumps({"images": images, "annotations": segments}))
    write_image(tmp_path / "p.png", pixels)
    assert np.array_equal(np.asarray(mend.fill(tmp_path / "p.png", tmp_path / "coco.json")), expected)


def test_an_empty_hole_is_the_identity_and_a_full_one_is_finite(inpainter: mend.Inpainter):
    pixels = np.random.default_rng(0).random((33, 31, 3)).astype(np.float32)
    assert np.array_equal(inpainter(pixels, np.zeros((33, 31), np.bool_)), pixels)
    assert np.isfinite(inpainter(pixels, np.ones((33, 31), np.bool_))).all()


def test_the_network_never_sees_the_hole(inpainter: mend.Inpainter):
    pixels, mask = smooth(40, 40, 2), np.zeros((40, 40), np.bool_)
    mask[5:30, 8:22] = True
    other = pixels.copy()
    other[mask] = 255 - other[mask]
    assert np.array_equal(inpainter(pixels, mask), inpainter(other, mask))


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_fillers_are_called_alike(name: str):
    pixels, mask = smooth(20, 24, 2), np.zeros((20, 24), np.bool_)
    mask[5:12, 8:14] = True
    filled = mend.load(name)(pixels, mask)
    assert np.array_equal(filled[~mask], pixels[~mask])


def test_what_does_not_fit_is_refused(inpainter: mend.Inpainter):
    pixels, mask = smooth(8, 9, 0), np.zeros((8, 9), np.bool_)
    for image, hole, said in (
        (pixels, mask.T, r"the mask is 8×9, its picture 9×8"),
        (pixels.astype(np.int32), mask, "is uint8, uint16 or float"),
        (pixels.astype(np.float32), mask, "expected 0 to 1"),
        (np.full((8, 9, 3), np.nan), mask, "the image holds NaN; expected 0 to 1"),
        (torch.full((3, 8, 9), torch.nan), mask, "the image holds NaN"),
        (np.zeros((8, 9, 5), np.uint8), mask, "with 1 to 4 channels"),
        (torch.rand(4, 8, 9), mask, r"is \(3, H, W\) or"),
        (pixels, np.zeros((3, 8, 9)), r"a mask is \(H, W\)"),
        (pixels, mask - 1.0, "mask values run from -1"),
        (torch.rand(3, 3, 8, 9), torch.zeros(2, 1, 8, 9), "2 masks for 3 images"),
        (pixels, torch.zeros(2, 1, 8, 9), "2 masks for one picture"),
        (Image.fromarray(pixels), torch.zeros(2, 1, 8, 9), "2 masks for one picture"),
    ):
        with pytest.raises(InputError, match=said):
            inpainter(image, hole)


def test_what_pillow_cannot_hold_is_an_error_before_the_work(inpainter: mend.Inpainter, tmp_path: Path):
    write_image(tmp_path / "deep.png", Picture(smooth(20, 24, 1).astype(np.uint16) * 257))
    with pytest.raises(InputError, match="Pillow has no 16-bit colour"):
        inpainter(tmp_path / "deep.png", tmp_path / "no mask.png")


def test_what_was_converted_is_warned_of(inpainter: mend.Inpainter, tmp_path: Path):
    palette, mask = Image.fromarray(smooth(20, 24, 1)).convert("P"), np.eye(20, 24, dtype=np.bool_)
    palette.save(tmp_path / "p.png")
    with pytest.warns(UserWarning, match=r"^p\.png: palette converted to RGB$") as warned:
        inpainter(tmp_path / "p.png", mask)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="^the picture: palette converted to RGB$"):
        inpainter(palette, mask)


def test_how_a_mask_was_read_is_warned_of(inpainter: mend.Inpainter, tmp_path: Path):
    pixels = smooth(20, 24, 1)
    Image.fromarray(np.eye(10, 12, dtype=np.uint8)).save(tmp_path / "m.png")
    images = (pixels, torch.from_numpy(pixels).permute(2, 0, 1), Image.fromarray(pixels))
    for image, name in zip(images, (tmp_path / "m.png", str(tmp_path / "m.png"), Image.open(tmp_path / "m.png")), strict=True):
        with pytest.warns(UserWarning, match=r"^(the mask|m\.png): ") as warned:
            inpainter(image, name)
        start = "the mask" if isinstance(name, Image.Image) else "m.png"
        assert [str(warning.message) for warning in warned] == [
            f"{start}: its values are 0 and 1: 1 is taken as white",
            f"{start}: scaled from 12×10 to the picture's 24×20",
        ]
        assert {warning.filename for warning in warned} == {__file__}


def test_masks_that_are_tensors_are_read_as_arrays_are(inpainter: mend.Inpainter):
    pixels, mask = smooth(20, 24, 1), np.zeros((20, 24), np.uint8)
    mask[5:12, 8:14] = 1
    tensor, expected = torch.from_numpy(mask), inpainter(pixels, mask)
    for same in (tensor, tensor[None], tensor.bool(), tensor * 255, tensor.to(torch.uint16), tensor.bfloat16() * 0.7):
        assert np.array_equal(inpainter(pixels, same), expected)
    assert np.array_equal(inpainter(pixels, 1 - tensor, hole="black"), expected)
    with pytest.raises(InputError, match="mask values end at 2, so none is white"):
        inpainter(pixels, tensor * 2)


def test_no_argument_is_changed_and_none_need_be_writable(inpainter: mend.Inpainter):
    pixels, mask = smooth(20, 24, 1), np.zeros((20, 24), np.bool_)
    mask[5:12, 8:14] = True
    floats, levels = (pixels / 255).astype(np.float32), mask.astype(np.uint8) * 255
    tensor = torch.from_numpy(floats).permute(2, 0, 1).contiguous()
    for image in (pixels, floats, pixels[..., 0], tensor, (tensor * 255).byte(), Image.fromarray(pixels)):
        for hole in (mask, levels, mask.astype(np.float32), torch.from_numpy(mask.copy()).float(), Image.fromarray(levels)):
            before = [np.array(argument) for argument in (image, hole)]
            for argument in (image, hole):
                if isinstance(argument, np.ndarray):
                    argument.setflags(write=False)
            filled = inpainter(image, hole)
            assert not np.array_equal(np.array(filled), before[0])
            assert all(np.array_equal(np.array(now), was) for now, was in zip((image, hole), before, strict=True))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ([[1, 2]], "this one is list"),
        (b"png", "this one is bytes"),
        (np.zeros((0, 4, 3), np.uint8), r"not empty; this one is \(0, 4, 3\)"),
        (torch.zeros(0, 3, 4, 4), "not empty; this one is"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "uint8 or float in .*; this one is torch.int32"),
        (torch.zeros(3, 4, 4, dtype=torch.bool), "this one is torch.bool"),
        (torch.zeros(3, 4, 4, dtype=torch.complex64), "this one is torch.complex64"),
    ],
)
def test_what_is_no_image_is_named(inpainter: mend.Inpainter, image: Any, said: str):
    with pytest.raises(InputError, match=said):
        inpainter(image, np.ones((4, 4), np.bool_))


def test_unusual_images_are_filled_or_named(inpainter: mend.Inpainter, tmp_path: Path):
    hole = np.zeros((20, 24), np.bool_)
    hole[5:12, 8:14] = True
    for dtype in (">u2", ">f4"):
        pixels = (smooth(20, 24, 1) / 255).astype(dtype) if "f" in dtype else (smooth(20, 24, 1) * 257.0).astype(dtype)
        filled = inpainter(pixels, hole)
        assert filled.dtype == pixels.dtype
        assert np.array_equal(filled[~hole], pixels[~hole])
        assert np.array_equal(filled, inpainter(pixels.astype(pixels.dtype.newbyteorder("=")), hole))
    clear = Image.fromarray(smooth(20, 24, 1)).convert("LA").convert("La")
    assert inpainter(clear, hole).mode == "LA"
    data = io.BytesIO()
    Image.fromarray(smooth(200, 240, 1)).save(data, "JPEG")

    class Place(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(tmp_path / "p.png")

    write_image(tmp_path / "p.png", smooth(20, 24, 1))
    assert inpainter(Place(), hole).size == (24, 20)
    with pytest.raises(InputError, match="the picture is damaged: image file is truncated"):
        inpainter(Image.open(io.BytesIO(data.getvalue()[:2000])), np.ones((200, 240), np.bool_))


def test_a_tensor_is_filled_by_a_plan_as_a_picture_is(monkeypatch: pytest.MonkeyPatch):
    inpainter, sides = mend.load(device="cpu"), []
    call = PyramidOnnx.__call__
    monkeypatch.setattr(PyramidOnnx, "__call__", lambda self, *a: (sides.append(a[2]), call(self, *a))[1])
    tensor, hole = torch.rand(2, 3, 40, 700), torch.zeros(1, 1, 40, 700)
    hole[..., 10:20, 100:120] = 1
    inpainter(tensor, hole)
    assert sides == [inpainter.plan(hole.numpy()).tile] * 2 == [512] * 2


def test_texture_without_a_patch_to_take_it_from_is_said(inpainter: mend.Inpainter):
    hole = np.ones((1, 1, 20, 24), np.float32)
    hole[..., 0, :] = 0
    textured = mend.Inpainter(Textured(inpainter.filler))
    said = "no texture was made: too little of the picture is known to take patches from"
    picture = Picture(smooth(20, 24, 1))
    assert textured.fill_picture(picture, hole).notes == [said]
    assert inpainter.fill_picture(picture, hole).notes == picture.notes == []
    hole[..., :8, :8] = 0
    assert textured.fill_picture(picture, hole).notes == []
    assert textured.fill_picture(picture, np.zeros_like(hole)).notes == []


def test_a_hole_is_grown_for_every_kind(inpainter: mend.Inpainter, tmp_path: Path):
    image, mask = smooth(40, 50, 0), np.zeros((40, 50), np.uint8)
    mask[10:20, 15:30] = 255
    grown = np.where(cv2.distanceTransform(255 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= 3, 255, 0).astype(np.uint8)
    expected = inpainter(image, grown)
    assert np.array_equal(inpainter(image, mask, grow=3), expected)
    assert not np.array_equal(inpainter(image, mask), expected)
    write_image(tmp_path / "a.png", image)
    write_image(tmp_path / "m.png", mask[..., None])
    assert np.array_equal(np.asarray(inpainter(tmp_path / "a.png", tmp_path / "m.png", grow=3)), expected)
    batch = torch.from_numpy(np.stack([image, image])).permute(0, 3, 1, 2)
    masks = torch.from_numpy(np.stack([mask, mask])).float()[:, None] / 255
    filled = inpainter(batch, masks, grow=3)
    assert np.abs(filled[1].permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1
    with pytest.raises(InputError, match="`grow` is -3 pixels; expected 0 or more"):
        inpainter(image, mask, grow=-3)


def test_the_kind_that_comes_back_is_typed():
    for function in (mend.fill, mend.Inpainter.__call__):
        returned = [overload.__annotations__["return"] for overload in get_overloads(function)]
        assert returned == [np.ndarray, "Tensor", Image.Image]
    assert (Path(mend.__file__).parent / "py.typed").is_file(), "type checkers look no further"


def test_alpha_and_sixteen_bits_survive_the_way_through_files(inpainter: mend.Inpainter, tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 22, 4)).astype(np.uint16)
    write_image(tmp_path / "p.png", Picture(pixels))
    hole = np.zeros((1, 1, 20, 22), np.float32)
    hole[..., 5:12, 6:13] = 1
    write_image(tmp_path / "f.png", inpainter.fill_picture(read_image(tmp_path / "p.png"), hole))
    filled = read_image(tmp_path / "f.png").pixels
    outside = hole[0, 0] == 0
    assert np.array_equal(filled[outside], pixels[outside])
    assert np.array_equal(filled[..., 3], pixels[..., 3])
    assert not np.array_equal(filled[~outside], pixels[~outside])
