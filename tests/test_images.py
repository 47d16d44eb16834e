from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import smooth
from PIL import Image

from mend.errors import InputError
from mend.holes import read_mask
from mend.images import (
    Picture,
    composite,
    grid,
    mask_out,
    pad_to,
    read_image,
    read_rgb,
    to_image,
    to_pixels,
    write_image,
)


def test_convention_image_is_rgb_in_the_unit_interval():
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[0, 0, 1] = (255, 128, 0)
    image = to_image(pixels)
    assert image.shape == (1, 3, 2, 2)
    assert image.dtype == torch.float32
    assert image[0, :, 0, 1].tolist() == pytest.approx([1.0, 128 / 255, 0.0])


def test_convention_hole_is_one_where_missing_and_masks_are_white_there(tmp_path: Path):
    Image.fromarray(np.array([[0, 255], [127, 128]], np.uint8)).save(tmp_path / "m.png")
    hole = read_mask(tmp_path / "m.png")
    assert hole.tolist() == [[[[0.0, 1.0], [0.0, 1.0]]]]
    image = torch.full((1, 3, 2, 2), 0.7)
    assert mask_out(image, hole)[0, 0].tolist() == [[pytest.approx(0.7), 0], [pytest.approx(0.7), 0]]


def test_convention_filled_is_raw_in_the_hole_and_the_image_elsewhere_bit_for_bit():
    image, raw = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    hole = (torch.rand(2, 1, 5, 7) > 0.5).float()
    filled = composite(image, raw, hole)
    inside = hole.expand_as(image) > 0
    assert torch.equal(filled[inside], raw[inside])
    assert torch.equal(filled[~inside], image[~inside])
    assert torch.equal(composite(image, torch.full_like(raw, torch.nan), hole)[~inside], image[~inside])


def test_pixels_survive_the_round_trip():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert np.array_equal(to_pixels(to_image(pixels)), pixels)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 33), (8, 16), (5, 257)])
def test_padding_reaches_the_stride_and_keeps_the_picture(height: int, width: int):
    image = torch.rand(1, 3, height, width)
    padded = pad_to(image, 8)
    assert padded.shape[2] % 8 == padded.shape[3] % 8 == 0
    assert torch.equal(padded[..., :height, :width], image)
    assert torch.equal(padded[..., -1, -1], image[..., -1, -1])


MODES = {
    "grey": ("L", 1, np.uint8),
    "grey-alpha": ("LA", 2, np.uint8),
    "rgb": ("RGB", 3, np.uint8),
    "alpha": ("RGBA", 4, np.uint8),
    "16-bit": ("I;16", 1, np.uint16),
}


@pytest.mark.parametrize("name", MODES)
def test_reading_and_writing_png_keeps_every_value(name: str, tmp_path: Path):
    _, channels, dtype = MODES[name]
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (9, 11, channels)).astype(dtype)
    write_image(tmp_path / "a.png", Picture(pixels))
    read = read_image(tmp_path / "a.png")
    assert read.pixels.dtype == dtype
    assert np.array_equal(read.pixels, pixels)
    assert read.notes == []
    assert read.image().shape == (1, 3, 9, 11)


def test_sixteen_bit_colour_is_kept(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    write_image(tmp_path / "deep.png", Picture(pixels))
    assert np.array_equal(read_image(tmp_path / "deep.png").pixels, pixels)
    assert read_rgb(tmp_path / "deep.png").dtype == np.uint8


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path):
    write_image(tmp_path / "deep.png", Picture(np.array([[[0], [32896], [65535]]], np.uint16)))
    assert read_rgb(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 128, 255]


def test_palette_cmyk_and_black_and_white_are_converted_and_say_so(tmp_path: Path):
    rgb = Image.fromarray(smooth(10, 12, 1))
    rgb.convert("P").save(tmp_path / "p.png")
    rgb.convert("CMYK").save(tmp_path / "c.jpg")
    rgb.convert("1").save(tmp_path / "1.png")
    assert (read_image(tmp_path / "p.png").pixels.shape, read_image(tmp_path / "p.png").notes) == (
        (10, 12, 3),
        ["P converted to RGB"],
    )
    assert read_image(tmp_path / "c.jpg").notes == ["CMYK converted to RGB"]
    assert set(np.unique(read_image(tmp_path / "1.png").pixels)) == {0, 255}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once_in_8_and_16_bits(orientation: int, tmp_path: Path):
    exif = Image.Exif()
    exif[274] = orientation
    plain = smooth(6, 9, 3)
    Image.fromarray(plain).save(tmp_path / "a.png", exif=exif)
    upright = read_image(tmp_path / "a.png")
    assert np.array_equal(upright.pixels, np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))))
    for suffix, data in (("png", deep_png(plain, exif)), ("tif", deep_tiff(plain, orientation))):
        (tmp_path / f"deep.{suffix}").write_bytes(data)
        deep = read_image(tmp_path / f"deep.{suffix}")
        assert (deep.pixels.dtype, deep.notes) == (np.uint16, [])
        assert np.array_equal(deep.pixels // 257, upright.pixels), suffix
    assert upright.pixels.shape[:2] == ((6, 9) if orientation < 5 else (9, 6))
    write_image(tmp_path / "b.png", upright)
    assert np.array_equal(read_image(tmp_path / "b.png").pixels, upright.pixels), "turned twice"


def test_metadata_is_kept(tmp_path: Path):
    exif = Image.Exif()
    exif[271] = "camera"
    Image.fromarray(smooth(6, 9, 3)).save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300), icc_profile=b"profile")
    write_image(tmp_path / "b.jpg", read_image(tmp_path / "a.jpg"))
    with Image.open(tmp_path / "b.jpg") as read:
        assert read.getexif()[271] == "camera"
        assert read.info["dpi"] == (300, 300)
        assert read.info["icc_profile"] == b"profile"


def test_a_filled_picture_changes_nothing_outside_the_hole():
    rng = np.random.default_rng(0)
    for channels, dtype in ((1, np.uint8), (2, np.uint8), (3, np.uint8), (4, np.uint8), (3, np.uint16), (1, np.uint16)):
        pixels = rng.integers(0, np.iinfo(dtype).max + 1, (8, 9, channels)).astype(dtype)
        before = pixels.copy()
        hole = torch.zeros(1, 1, 8, 9)
        hole[..., 2:5, 3:6] = 1
        filled = Picture(pixels).fill(torch.ones(1, 3, 8, 9), hole).pixels
        outside = hole[0, 0].numpy() == 0
        assert np.array_equal(filled[outside], before[outside])
        colours = filled[~outside][:, : 1 if channels < 3 else 3]
        assert (colours == np.iinfo(dtype).max).all()
        if channels in (2, 4):
            assert np.array_equal(filled[..., -1], before[..., -1]), "alpha changed"
        assert np.array_equal(pixels, before), "the argument changed"


BROKEN = {
    "nothing.png": (None, "there is no file"),
    "empty.png": (b"", r"is empty \(0 bytes\)"),
    "text.png": (b"just words", "is not a picture"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(name: str, tmp_path: Path):
    data, said = BROKEN[name]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value)


def test_a_truncated_picture_is_named(tmp_path: Path):
    Image.fromarray(smooth(64, 64, 0)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:600])
    with pytest.raises(InputError, match=r"cut\.jpg is damaged"):
        read_image(tmp_path / "cut.jpg")


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "a.png"
    write_image(file, smooth(4, 4, 0))
    before = file.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_image(file, smooth(4, 4, 1))
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_formats_that_cannot_hold_the_picture_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="JPEG has no alpha"):
        write_image(tmp_path / "a.jpg", Picture(np.zeros((4, 4, 4), np.uint8)))
    with pytest.raises(InputError, match="names no picture format"):
        write_image(tmp_path / "a.xyz", smooth(4, 4, 0))


def test_grid_puts_each_picture_in_its_place():
    rows = [np.full((2, 3, 4, 3), 10, np.uint8), np.full((1, 3, 4, 3), 20, np.uint8)]
    sheet = grid(rows, gap=1, scale=2)
    assert sheet.shape == (2 * 7 + 1, 2 * 9 + 1, 3)
    assert sheet[1, 1, 0] == 10
    assert sheet[8, 1, 0] == 20
    assert sheet[8, 10, 0] == 255
