import io
import itertools
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from conftest import smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from mend.data.loaders import to_image
from mend.errors import InputError
from mend.images import (
    Picture,
    arrange_grid,
    check_fits,
    composite,
    encode,
    find_pictures,
    mask_out,
    name_output,
    open_picture,
    pad_to,
    peek,
    picture_from_pil,
    read_image,
    read_rgb,
    to_pixels,
    write_image,
)
from mend.images.bit_depth import PATTERNS, _write_into_free_memory
from mend.images.metadata import PREVIEW, compare_metadata, reset_orientation
from mend.images.reading import DENSEST, PILLOWS_MOST, is_deep
from mend.masks.reading import understand_mask


def test_convention_image_is_rgb_in_the_unit_interval():
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[0, 0, 1] = (255, 128, 0)
    image = to_image(pixels)
    assert image.shape == (1, 3, 2, 2)
    assert image.dtype == torch.float32
    assert image[0, :, 0, 1].tolist() == pytest.approx([1.0, 128 / 255, 0.0])


def test_convention_hole_is_one_where_missing_and_masks_are_white_there(tmp_path: Path):
    Image.fromarray(np.array([[0, 255], [127, 128]], np.uint8)).save(tmp_path / "m.png")
    hole = understand_mask(tmp_path / "m.png", marked="white").hole
    assert hole.tolist() == [[[[0.0, 1.0], [0.0, 1.0]]]]
    image = torch.full((1, 3, 2, 2), 0.7)
    assert mask_out(image, torch.from_numpy(hole))[0, 0].tolist() == [[pytest.approx(0.7), 0], [pytest.approx(0.7), 0]]


def test_convention_filled_is_raw_in_the_hole_and_the_image_elsewhere_bit_for_bit():
    image, raw = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    hole = (torch.rand(2, 1, 5, 7) > 0.5).float()
    filled = composite(image, raw, hole)
    inside = hole.expand_as(image) > 0
    assert torch.equal(filled[inside], raw[inside])
    assert torch.equal(filled[~inside], image[~inside])
    assert torch.equal(composite(image, torch.full_like(raw, torch.nan), hole)[~inside], image[~inside])


@pytest.mark.parametrize("size", [(16, 16), (3, 5), (5, 3)])
def test_pixels_survive_the_round_trip(size: tuple[int, int]):
    pixels = np.arange(3 * size[0] * size[1]).astype(np.uint8).reshape(1, *size, 3)
    assert np.array_equal(to_pixels(to_image(pixels)), pixels)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 33), (8, 16), (5, 257)])
def test_padding_reaches_the_stride_and_keeps_the_picture(height: int, width: int):
    image = torch.rand(1, 3, height, width)
    padded = pad_to(image, 8)
    assert padded.shape[2] % 8 == padded.shape[3] % 8 == 0
    assert torch.equal(padded[..., :height, :width], image)
    assert torch.equal(padded[..., -1, -1], image[..., -1, -1])


TURNED = "turned upright, as its EXIF orientation says; the mask is taken as drawn on the upright picture"
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
        ["palette converted to RGB"],
    )
    assert read_image(tmp_path / "c.jpg").notes == ["CMYK converted to RGB; it has no ICC profile, colours are approximate"]
    assert set(np.unique(read_image(tmp_path / "1.png").pixels)) == {0, 255}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once_in_8_and_16_bits(orientation: int, tmp_path: Path):
    exif = Image.Exif()
    exif[274] = orientation
    plain = smooth(6, 9, 3)
    Image.fromarray(plain).save(tmp_path / "a.png", exif=exif)
    upright = read_image(tmp_path / "a.png")
    assert np.array_equal(upright.pixels, np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))))
    high = plain.astype(np.uint16) * 257
    write_image(tmp_path / "deep.png", Picture(high, {"exif": exif.tobytes()}))
    tifffile.imwrite(tmp_path / "deep.tif", high, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    for suffix in ("png", "tif"):
        deep = read_image(tmp_path / f"deep.{suffix}")
        assert (deep.pixels.dtype, deep.notes) == (np.uint16, [TURNED] if orientation > 1 else [])
        assert np.array_equal(deep.pixels // 257, upright.pixels), suffix
    assert upright.pixels.shape[:2] == ((6, 9) if orientation < 5 else (9, 6))
    write_image(tmp_path / "b.png", upright)
    assert np.array_equal(read_image(tmp_path / "b.png").pixels, upright.pixels), "turned twice"


XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>\xc3\xa9</x:xmpmeta>"


def camera(orientation: int = 1, preview: bytes = b"") -> bytes:
    """EXIF with a maker's note and GPS, as a camera writes it; Pillow writes no preview, so that is put in by hand."""
    exif = Image.Exif()
    exif[271], exif[274] = "camera", orientation
    exif[34665] = {37500: b"maker's note", 33434: 0.01}
    exif[34853] = {1: "N", 2: (48.0, 8.0, 14.0)}
    block = bytearray(exif.tobytes()[6:])
    order = "<" if block[:2] == b"II" else ">"
    if preview:
        first = struct.unpack_from(order + "I", block, 4)[0]
        link = first + 2 + 12 * struct.unpack_from(order + "H", block, first)[0]
        struct.pack_into(order + "I", block, link, len(block))
        data = len(block) + 2 + 24 + 4
        block += struct.pack(order + "HHHIIHHIII", 2, 513, 4, 1, data, 514, 4, 1, len(preview), 0) + preview
    return b"Exif\0\0" + bytes(block)


FULL: dict[str, Any] = {"exif": camera(), "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
FULL |= {"xmp": XMP, "dpi": (300, 300)}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_metadata_is_kept_and_saving_twice_changes_nothing_more(suffix: str, channels: int, dtype: type, tmp_path: Path):
    pixels = smooth(6, 9, 3)[..., [0, 1, 2, 0][:channels]].astype(dtype)
    if (dtype == np.uint16 and suffix in (".jpg", ".webp")) or (channels == 4 and suffix == ".jpg"):
        with pytest.raises(InputError, match="cannot write"):
            check_fits(f"a{suffix}", Picture(pixels))
        return
    files = [tmp_path / f"{name}{suffix}" for name in "abc"]
    write_image(files[0], Picture(pixels * (257 if dtype == np.uint16 else 1), FULL))
    for old, new in itertools.pairwise(files):
        write_image(new, read_image(old))
    first, second = read_image(files[1]), read_image(files[2])
    fates = compare_metadata(FULL, first.metadata)
    assert fates.pop("DPI") == ("lost" if suffix == ".webp" else "kept")
    assert fates == {"ICC profile": "kept", "EXIF": "kept", "XMP": "kept"}
    assert (first.metadata, first.source, first.notes) == (second.metadata, second.source, second.notes)
    assert first.pixels.dtype == dtype
    if suffix != ".jpg":
        assert files[1].read_bytes() == files[2].read_bytes()


def test_metadata_is_carried_from_any_format_into_any_other(tmp_path: Path):
    for old in (".jpg", ".png", ".tif", ".webp"):
        write_image(tmp_path / f"a{old}", Picture(smooth(6, 9, 3), FULL))
        picture = read_image(tmp_path / f"a{old}")
        for new in (".jpg", ".png", ".tif", ".webp"):
            write_image(tmp_path / f"b{new}", picture)
            fates = compare_metadata(picture.metadata, read_image(tmp_path / f"b{new}").metadata)
            assert {name for name, fate in fates.items() if fate != "kept"} == (
                {"DPI"} & set(fates) if new == ".webp" else set()
            )
            with Image.open(tmp_path / f"b{new}") as opened:
                assert opened.getexif()[271] == "camera"
                assert new == ".tif" or 273 not in opened.getexif(), "where a TIFF had its pixels"
                assert opened.getexif().get_ifd(34665)[37500] == b"maker's note"
                assert opened.getexif().get_ifd(34853)[1] == "N"


def test_a_jpeg_is_turned_once_and_its_preview_goes_but_the_rest_of_its_exif_stays_byte_for_byte(tmp_path: Path):
    small = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(small, "JPEG")
    exif = camera(6, small.getvalue())
    Image.fromarray(smooth(6, 9, 3)).save(tmp_path / "a.jpg", exif=exif)
    picture = read_image(tmp_path / "a.jpg")
    assert picture.pixels.shape == (9, 6, 3)
    assert picture.notes == [PREVIEW, TURNED]
    write_image(tmp_path / "b.jpg", picture)
    again = read_image(tmp_path / "b.jpg")
    assert (again.pixels.shape, again.notes) == ((9, 6, 3), [])
    kept = again.metadata["exif"]
    assert small.getvalue() not in kept
    changed = [i for i, (a, b) in enumerate(zip(exif, kept, strict=False)) if a != b]
    assert 0 < len(changed) <= 1 + 4, "more than the orientation and the link to the preview"
    assert reset_orientation(kept) == (kept, [])
    followed, _ = reset_orientation(camera(1, b"preview") + b"maker's data")
    assert followed.endswith(bytes(len(b"preview")) + b"maker's data")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_exif_is_left_out_or_kept_but_never_a_fault(data: st.DataObject):
    block = bytearray(camera(6, b"preview"))
    for place in data.draw(st.lists(st.integers(0, len(block) - 1), max_size=8)):
        block[place] = data.draw(st.integers(0, 255))
    cut, _ = reset_orientation(bytes(block[: data.draw(st.integers(0, len(block)))]))
    assert reset_orientation(cut)[0] == cut or not reset_orientation(cut)[0], "not the same when done twice"


def test_png_text_stays_and_orientation_as_text_is_not_applied_twice(tmp_path: Path):
    notes = PngInfo()
    notes.add_text("parameters", "a red fox, steps: 20")
    notes.add_itxt("Title", "Füchse", "de", "Titel")
    block = camera(6)[6:].hex()
    notes.add_text("Raw profile type exif", f"\nexif\n{len(block) // 2:8}\n{block}\n")
    Image.fromarray(smooth(6, 9, 3)).save(tmp_path / "a.png", pnginfo=notes)
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.png"))
    again = read_image(tmp_path / "b.png")
    assert again.metadata["text"] == {"parameters": "a red fox, steps: 20", "Title": "Füchse"}
    assert again.metadata["text"]["Title"].lang == "de"
    assert again.pixels.shape == (9, 6, 3)
    with Image.open(tmp_path / "b.png") as opened:
        assert opened.getexif()[271] == "camera"


def test_gamma_and_primaries_of_a_png_stay(tmp_path: Path):
    chunks = PngInfo()
    numbers = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    chunks.add(b"gAMA", struct.pack(">I", 45455))
    chunks.add(b"cHRM", struct.pack(">8I", *numbers))
    chunks.add(b"sRGB", b"\2")
    Image.fromarray(smooth(6, 9, 3)).save(tmp_path / "a.png", pnginfo=chunks)
    picture = read_image(tmp_path / "a.png")
    colour = {"gamma": 0.45455, "chromaticity": tuple(number / 100_000 for number in numbers), "srgb": 2}
    assert picture.metadata["colour"] == colour
    for dtype in (np.uint8, np.uint16):
        write_image(tmp_path / "b.png", replace(picture, pixels=picture.pixels.astype(dtype)))
        assert read_image(tmp_path / "b.png").metadata["colour"] == colour
    assert picture.to_pil().info == colour
    write_image(tmp_path / "b.jpg", picture)
    assert compare_metadata(picture.metadata, read_image(tmp_path / "b.jpg").metadata) == {"gamma and primaries": "lost"}


def test_extended_xmp_goes_and_is_said(tmp_path: Path):
    Image.fromarray(smooth(6, 9, 3)).save(tmp_path / "a.jpg", xmp=XMP)
    content = (tmp_path / "a.jpg").read_bytes()
    more = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 3, 0) + b"<x>"
    (tmp_path / "a.jpg").write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(more) + 2) + more + content[2:])
    picture = read_image(tmp_path / "a.jpg")
    assert picture.notes == ["the extended XMP (depth maps and the like) is left out"]
    assert picture.metadata["xmp"] == XMP


def test_previews_in_xmp_go_and_the_rest_of_it_stays(tmp_path: Path):
    xmp = b"<a><xmp:Thumbnails>\n<xmpGImg:image>/9j/4AA</xmpGImg:image></xmp:Thumbnails><b>kept</b></a>"
    Image.fromarray(smooth(6, 9, 3)).save(tmp_path / "a.jpg", xmp=xmp)
    picture = read_image(tmp_path / "a.jpg")
    assert (picture.metadata["xmp"], picture.notes) == (b"<a><b>kept</b></a>", [PREVIEW])


def test_pillow_images_keep_their_info():
    given = Image.fromarray(smooth(6, 9, 3))
    given.info = dict(FULL)
    assert picture_from_pil(given).to_pil().info == given.info
    assert Picture(smooth(6, 9, 3), {"text": {"parameters": "a fox"}}).to_pil().info == {"parameters": "a fox"}


def test_cmyk_becomes_srgb_by_its_profile(tmp_path: Path):
    cmyk = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    cmyk.save(tmp_path / "damaged.tif", icc_profile=b"profile")
    damaged = read_image(tmp_path / "damaged.tif")
    assert damaged.notes == ["CMYK converted to RGB; its ICC profile is damaged or none of CMYK, colours are approximate"]
    assert "icc_profile" not in damaged.metadata, "a profile of CMYK on RGB"
    cmyk.save(tmp_path / "a.tif", icc_profile=cmyk_profile(cyan=(128, 128, 128)))
    picture = read_image(tmp_path / "a.tif")
    assert picture.notes == ["CMYK converted to RGB (sRGB, by its ICC profile)"]
    assert picture.pixels[0, 0] == pytest.approx([119, 119, 119], abs=1), "the grey that is cyan in this profile"


def cmyk_profile(cyan: tuple[int, int, int]) -> bytes:
    """An ICC profile in which full cyan is this colour of Lab, in 8 bits, and all other inks are white (ICC.1:2001-04)."""
    inks = [bytes([255, 128, 128])] * 16  # each ink none or full, the last one changing first
    inks[8] = bytes(cyan)
    same, ramp = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9))), bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + same + 4 * ramp + b"".join(inks) + 3 * ramp
    head = struct.pack(
        ">I4s4s12s12x4s28x3i48x", 144 + len(table), b"lcms", b"\2\x10\0\0", b"prtrCMYKLab ", b"acsp", 63190, 65536, 54061
    )
    return head + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


@pytest.mark.parametrize("white", [255, 256])
def test_a_level_over_255_makes_a_picture_deep(white: int):
    content = b"P6 1 1 %d\n" % white + bytes(3 if white == 255 else 6)
    with Image.open(io.BytesIO(content)) as opened:
        assert is_deep(content, opened) == (white == 256)


def test_layers_of_photoshop_are_no_frames(tmp_path: Path):
    pixels = smooth(6, 9, 3)
    layer = struct.pack(">16xH8s4xI12x", 0, b"8BIMnorm", 12)
    layers = struct.pack(">h", 2) + 2 * layer
    head = b"8BPS\0\1" + struct.pack(">6xHIIHH8x", 3, 6, 9, 8, 3) + struct.pack(">II", 4 + len(layers), len(layers))
    (tmp_path / "a.psd").write_bytes(head + layers + bytes(2) + pixels.transpose(2, 0, 1).tobytes())
    with Image.open(tmp_path / "a.psd") as opened:
        assert opened.n_frames == 2  # type: ignore[attr-defined]
    picture = read_image(tmp_path / "a.psd")
    assert (picture.losses, picture.source.get("frames")) == ([], None)
    assert np.array_equal(picture.pixels, pixels)


def test_lab_is_converted(tmp_path: Path):
    Image.merge("LAB", [Image.new("L", (4, 4), level) for level in (120, 130, 140)]).save(tmp_path / "lab.tif")
    picture = read_image(tmp_path / "lab.tif")
    assert picture.notes == picture.losses == ["LAB converted to RGB"]
    assert picture.pixels[0, 0] == pytest.approx([121, 110, 91], abs=2)


def test_transparency_of_palettes_and_of_one_colour_becomes_alpha(tmp_path: Path):
    Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P").save(tmp_path / "p.png", transparency=0)
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "rgb.png", transparency=(1, 2, 3))
    Image.new("L", (1, 1), 3).save(tmp_path / "l.png", transparency=3)
    for name, alpha in (("p", [[0, 255]]), ("rgb", [[0]]), ("l", [[0]])):
        assert read_image(tmp_path / f"{name}.png").pixels[..., -1].tolist() == alpha
        assert "converted to" in read_image(tmp_path / f"{name}.png").notes[0]


def test_sixteen_bit_tiff_of_either_byte_order_and_with_alpha(tmp_path: Path):
    for channels, order in ((1, ">"), (1, "<"), (3, ">"), (3, "<"), (4, "<")):
        pixels = np.random.default_rng(channels).integers(0, 65536, (7, 9, channels)).astype(np.uint16)
        extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
        photometric = "rgb" if channels > 1 else "minisblack"
        tifffile.imwrite(tmp_path / "a.tif", pixels.squeeze(), photometric=photometric, byteorder=order, **extra)
        picture = read_image(tmp_path / "a.tif")
        assert np.array_equal(picture.pixels, pixels)
        write_image(tmp_path / "b.tif", picture)
        assert np.array_equal(read_image(tmp_path / "b.tif").pixels, pixels)
        assert np.array_equal(tifffile.imread(tmp_path / "b.tif").reshape(pixels.shape), pixels), "only mend reads it"
        with tifffile.TiffFile(tmp_path / "b.tif") as opened:
            assert opened.pages[0].extrasamples == ((2,) if channels == 4 else ()), "what the fourth channel is"


def test_a_tiff_of_grey_has_its_white_where_it_belongs(tmp_path: Path):
    levels = np.array([[0, 1, 1000, 65535]], np.uint16)
    tifffile.imwrite(tmp_path / "inverted.tif", 65535 - levels, photometric="miniswhite")
    twelve = np.array([[0, 1, 2048, 4095]], np.uint16)
    first, second = twelve[0, ::2], twelve[0, 1::2]  # two levels to three bytes
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()
    tags = ImageFileDirectory_v2()
    for tag, value in {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 277: 1, 278: 1, 279: len(packed)}.items():
        tags[tag] = value
    tags[273] = 0
    data = io.BytesIO()
    tags.save(data)
    (tmp_path / "twelve.tif").write_bytes(data.getvalue() + packed)
    for name, expected in (("inverted", levels), ("twelve", np.array([[0, 16, 32776, 65535]], np.uint16))):
        picture = read_image(tmp_path / f"{name}.tif")
        assert np.array_equal(picture.pixels[..., 0], expected), name
        write_image(tmp_path / "again.tif", picture)
        assert np.array_equal(read_image(tmp_path / "again.tif").pixels, picture.pixels)
        assert np.array_equal(tifffile.imread(tmp_path / "again.tif").squeeze(), expected.squeeze())
        assert read_rgb(tmp_path / f"{name}.tif")[0, :, 0].tolist() == (expected[0] // 257).tolist()


def test_values_that_eight_and_sixteen_bits_do_not_hold_are_refused_not_cut(tmp_path: Path):
    for dtype, said in ((np.int16, "grey of 32 bits or with a sign"), (np.int32, "grey of 32 bits"), (np.float32, "floats")):
        tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 5), dtype))
        with pytest.raises(InputError, match=rf"a\.tif holds {said}.* Save it with 16 bits"):
            read_image(tmp_path / "a.tif")
    with pytest.raises(InputError, match="the picture holds floats"):
        picture_from_pil(Image.fromarray(np.ones((4, 5), np.float32)))
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535 " + np.array([7, 65535], ">u2").tobytes())
    assert read_image(tmp_path / "a.pgm").pixels[..., 0].tolist() == [[7, 65535]]


def test_sixteen_bits_that_cannot_be_read_are_cut_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("RGB", (4, 3), (1, 2, 3)).save(tmp_path / "a.sgi", bpc=2)
    Image.new("L", (4, 3), 1).save(tmp_path / "grey.sgi", bpc=2)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 4, 4), np.uint16), photometric="separated")
    done, avif = cv2.imencode(".avif", np.zeros((16, 16, 3), np.uint16), [cv2.IMWRITE_AVIF_DEPTH, 10])
    assert done
    (tmp_path / "a.avif").write_bytes(avif)
    for name, bits in (("a.sgi", 16), ("grey.sgi", 16), ("a.tif", 16), ("a.avif", 10)):
        picture = read_image(tmp_path / name)
        assert (picture.pixels.dtype, picture.notes[-1]) == (np.uint8, f"{bits} bits a channel cut to 8"), name
        Image.fromarray(picture.pixels.squeeze()).save(tmp_path / "plain.png")
        assert read_image(tmp_path / "plain.png").notes == [], "eight bits are said to be more"
    write_image(tmp_path / "a.png", Picture(np.full((3, 4, 3), 0x1234, np.uint16)))
    monkeypatch.setattr("cv2.imdecode", lambda *_: np.zeros((3, 4, 3), np.uint16))
    with pytest.raises(InputError, match=r"a\.png has 16 bits a channel and cannot be read whole"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_that_is_misread_or_converted_says_so(order: str, tmp_path: Path):
    planar = np.random.default_rng(0).integers(0, 65536, (3, 9, 8)).astype(np.uint16)
    for compression in (None, "zlib"):
        tifffile.imwrite(
            tmp_path / "a.tif", planar, photometric="rgb", planarconfig="separate", byteorder=order, compression=compression
        )
        for read in (read_image, read_rgb):
            with pytest.raises(InputError, match=r"^.*a\.tif has 16 bits and its channels one after another, which") as error:
                read(tmp_path / "a.tif")
            assert "damaged" not in str(error.value)
    eight = (planar >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", eight, photometric="rgb", planarconfig="separate", byteorder=order)
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, eight.transpose(1, 2, 0))
    rgba = np.dstack([eight.transpose(1, 2, 0) // 2, np.full((9, 8), 128, np.uint8)])
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["assocalpha"], byteorder=order)
    assert read_image(tmp_path / "a.tif").notes == ["its colours, which were multiplied by alpha, are divided by it"]
    five = np.dstack([rgba, rgba[..., :1]])
    tifffile.imwrite(tmp_path / "a.tif", five, photometric="rgb", extrasamples=["unassalpha", "unspecified"], byteorder=order)
    assert read_image(tmp_path / "a.tif").losses == ["the first 4 of 5 channels are taken"]
    deep = planar.transpose(1, 2, 0)[..., [0, 1, 2, 0]]
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", extrasamples=["unspecified"], byteorder=order)
    picture = read_image(tmp_path / "a.tif")
    assert np.array_equal(picture.pixels, deep[..., :3]), "what is not said to be alpha is none"
    assert "the first 3 of 4 channels are taken" in " ".join(picture.notes)


def test_what_a_png_says_of_high_dynamic_range_stays(tmp_path: Path):
    chunks, said = PngInfo(), {"cICP": bytes([9, 16, 0, 1])}
    chunks.add(b"cICP", said["cICP"])
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png", pnginfo=chunks)
    content = (tmp_path / "a.png").read_bytes()
    light = struct.pack(">I", 8) + b"cLLI" + bytes(8) + struct.pack(">I", zlib.crc32(b"cLLI" + bytes(8)))
    (tmp_path / "c.png").write_bytes(content[:33] + light + content[33:])
    assert read_image(tmp_path / "c.png").notes == ["the PNG chunk cLLI is left out"]
    for picture in (
        read_image(tmp_path / "a.png"),
        replace(read_image(tmp_path / "a.png"), pixels=np.zeros((3, 4, 3), np.uint16)),
    ):
        assert picture.metadata["colour"] == said
        write_image(tmp_path / "b.png", picture)
        assert read_image(tmp_path / "b.png").metadata["colour"] == said
        assert compare_metadata(picture.metadata, {})["gamma and primaries"] == "lost"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_a_quarter_turn_exchanges_what_is_said_of_width_and_height(name: str, tmp_path: Path):
    exif = Image.Exif()
    exif[274], exif[34665] = 6, {40962: 40, 40963: 30}
    exif[282], exif[283], exif[296] = 300.0, 240.0, 2
    Image.new("RGB", (40, 30)).save(tmp_path / name, exif=exif.tobytes(), dpi=(300, 240))
    picture = read_image(tmp_path / name)
    assert picture.pixels.shape[:2] == (40, 30)
    assert tuple(round(float(number)) for number in picture.metadata["dpi"]) == (240, 300)
    kept = Image.Exif()
    kept.load(picture.metadata["exif"])
    assert (kept.get_ifd(34665)[40962], kept.get_ifd(34665)[40963]) == (30, 40)
    assert name == "a.tif" or (kept[282], kept[283]) == (240, 300)


def test_a_jpeg_without_a_resolution_gets_none(tmp_path: Path):
    exif = Image.Exif()
    exif[315] = "A"
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert opened.info["dpi"] == (72, 72), "Pillow no longer makes it up"
    picture = read_image(tmp_path / "a.jpg")
    assert "dpi" not in picture.metadata
    write_image(tmp_path / "b.jpg", picture)
    assert (tmp_path / "b.jpg").read_bytes()[13:18] == bytes([0, 0, 1, 0, 1]), "JFIF: no unit, square pixels"
    Image.new("RGB", (4, 3)).save(tmp_path / "c.jpg", dpi=(72, 72))
    assert read_image(tmp_path / "c.jpg").metadata["dpi"] == (72, 72)


@pytest.mark.parametrize(("magic", "white"), [("P6", 65535), ("P6", 1023), ("P3", 65535), ("P3", 4095)])
def test_a_ppm_keeps_more_than_eight_bits(magic: str, white: int, tmp_path: Path):
    levels = np.random.default_rng(0).integers(0, white + 1, (5, 7, 3))
    levels[0, 0] = 0, 1, white
    data = levels.astype(">u2").tobytes() if magic == "P6" else " ".join(map(str, levels.ravel())).encode()
    (tmp_path / "a.ppm").write_bytes(f"{magic}\n# by hand\n7 5\n{white}\n".encode() + data)
    picture = read_image(tmp_path / "a.ppm")
    assert picture.notes == []
    assert np.array_equal(picture.pixels, np.rint(levels * (65535 / white)).astype(np.uint16))
    if white == 1023:  # more than white, which there should not be, is white and not what is left of it
        (tmp_path / "b.ppm").write_bytes(b"P6 1 1 1023 " + np.array([2000, 1023, 0], ">u2").tobytes())
        assert read_image(tmp_path / "b.ppm").pixels.tolist() == [[[65535, 65535, 0]]]


@pytest.mark.parametrize("channels", [3, 4])
def test_a_jpeg_2000_keeps_more_than_eight_bits(channels: int, tmp_path: Path):
    y, x = np.mgrid[:48, :64]
    levels = np.stack([y * 1000 + x * 100 + 5000, x * 900 + y * 10, 60000 - y * 500 - x * 200, 65535 - x * 3], -1)
    levels = levels[..., :channels].astype(np.uint16)
    done, data = cv2.imencode(".jp2", levels[..., [2, 1, 0, 3][:channels]])
    assert done
    (tmp_path / "a.jp2").write_bytes(data)
    picture = read_image(tmp_path / "a.jp2")
    assert picture.notes == []
    assert np.array_equal(picture.pixels, levels)


def test_white_of_a_deep_jpeg_2000_is_white_and_its_depth_is_found_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done, data = cv2.imencode(".jp2", np.full((48, 64, 3), 65535, np.uint16))
    assert done
    content = data.tobytes()
    at = content.index(b"jp2c") - 4
    for gap in (0, 70_000, 65536 - at - 60):  # a box of text between the header and the codestream
        box = struct.pack(">I", 8 + gap) + b"xml " + b" " * gap if gap else b""
        (tmp_path / "a.jp2").write_bytes(content[:at] + box + content[at:])
        picture = read_image(tmp_path / "a.jp2")
        assert (picture.pixels.dtype, picture.pixels.min(), picture.notes) == (np.uint16, 65535, []), gap
        assert read_rgb(tmp_path / "a.jp2").min() == 255
    monkeypatch.setattr("cv2.imdecode", lambda *_: None)
    with pytest.raises(InputError, match="is a JPEG 2000 of more than 8 bits that cannot be read whole"):
        read_rgb(tmp_path / "a.jp2")


def test_a_deep_ppm_may_be_large_and_say_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # at three times its width Pillow would refuse it
    levels = np.full((20, 20, 3), 258, ">u2")
    (tmp_path / "a.ppm").write_bytes(b"P6\n#" + b"x" * 70_000 + b"\n20 20\n65535\n" + levels.tobytes())
    assert read_image(tmp_path / "a.ppm").pixels.max() == 258


def test_what_a_program_left_in_a_picture_is_kept_or_left_out(tmp_path: Path):
    image = Image.new("RGB", (4, 3))
    image.getexif()[315], image.info["dpi"] = "山田", 300
    picture = picture_from_pil(image)
    assert picture.notes == ["its resolution, 300 dots per inch, is none; it is left out"]
    write_image(tmp_path / "a.jpg", picture)
    assert "山田".encode() in (tmp_path / "a.jpg").read_bytes()
    write_image(tmp_path / "b.jpg", Picture(picture.pixels, {"dpi": (100_000.0, 100_000.0)}))
    assert "dpi" not in read_image(tmp_path / "b.jpg").metadata


def test_sixteen_bit_grey_with_alpha_is_said_to_become_colour(tmp_path: Path):
    levels = np.random.default_rng(0).integers(0, 65536, (3, 4, 2)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 4, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"".join(struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    picture = read_image(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, levels[..., [0, 0, 0, 1]])
    assert picture.notes == ["16-bit grey with alpha converted to RGBA"]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.gif", {}, "animation: the first of 2 is taken"),
        ("a.webp", {"lossless": True}, "animation: the first of 2 is taken"),
        ("a.tif", {}, "several pages: the first of 2 is taken"),
        ("a.mpo", {}, "several pictures in one file, as phones make them: the main one of 2 is taken"),
    ],
)
def test_of_several_frames_the_first_is_taken_and_said(name: str, options: dict[str, Any], said: str, tmp_path: Path):
    red, blue = (Image.new("RGB", (16, 8), colour) for colour in ("red", "blue"))
    red.save(tmp_path / name, save_all=True, append_images=[blue], **options)
    picture = read_image(tmp_path / name)
    assert said in picture.notes
    assert picture.losses == [said]
    assert np.abs(picture.pixels[0, 0].astype(int) - [255, 0, 0]).max() <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.sampled_from([0, 1, 2]), st.integers(30, 95), st.booleans())
def test_a_jpeg_is_encoded_with_the_tables_it_had(seed: int, subsampling: int, quality: int, grey: bool):
    data = io.BytesIO()
    given = Image.fromarray(smooth(40, 56, seed)).convert("L" if grey else "RGB")
    given.save(data, "JPEG", quality=quality, subsampling=subsampling, progressive=True)
    picture = read_image(data.getvalue())
    again, loss = encode(picture, "a.jpg")
    assert loss == "re-encoded with the input's tables"
    before, after = (Image.open(io.BytesIO(file)) for file in (data.getvalue(), again))
    assert (after.quantization, after.info["progressive"]) == (before.quantization, 1)
    assert grey or after.layer == before.layer, "another subsampling"
    if grey or subsampling == 0:
        mean = {
            name: np.abs(read_image(file).pixels - picture.pixels.astype(int)).mean()
            for name, file in (("tables", again), ("quality 95", encode(picture, "a.jpg", 95)[0]))
        }
        assert mean["tables"] <= mean["quality 95"] + 0.05


def test_quality_is_for_lossy_formats_and_stated(tmp_path: Path):
    picture = Picture(smooth(40, 56, 0))
    assert encode(picture, "a.jpg")[1] == "quality 95"
    assert encode(picture, "a.jpg", 60)[1] == "quality 60"
    assert len(encode(picture, "a.jpg", 60)[0]) < len(encode(picture, "a.jpg")[0])
    for name, quality in (("a.png", 90), ("a.jpg", 0), ("a.webp", 101)):
        with pytest.raises(InputError, match="it is 1 to 100"):
            check_fits(name, picture, quality)


def test_webp_stays_what_it_was(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (9, 11, 4)).astype(np.uint8)
    for lossless in (True, False):
        Image.fromarray(noise).save(tmp_path / "a.webp", lossless=lossless, exact=True, exif=camera())
        picture = read_image(tmp_path / "a.webp")
        data, loss = encode(picture, "b.webp")
        assert loss == ("" if lossless else "quality 95")
        assert np.array_equal(read_image(data).pixels, picture.pixels) == lossless
    assert encode(Picture(noise), "b.webp")[1] == "", "from another format"


def test_a_bare_tiff_stays_bare_and_others_are_deflated(tmp_path: Path):
    for compression, after in (("raw", "raw"), ("tiff_lzw", "tiff_adobe_deflate"), ("jpeg", "tiff_adobe_deflate")):
        Image.fromarray(smooth(6, 9, 3)).save(tmp_path / "a.tif", compression=compression)
        write_image(tmp_path / "b.tif", read_image(tmp_path / "a.tif"))
        with Image.open(tmp_path / "b.tif") as opened:
            assert opened.info["compression"] == after
            assert 282 not in opened.tag_v2, "a resolution that nobody gave"


def test_a_wrong_suffix_is_said_and_the_output_is_what_its_suffix_says(tmp_path: Path):
    Image.fromarray(smooth(6, 9, 3)).save(tmp_path / "ein Foto.png", "JPEG")
    picture = read_image(tmp_path / "ein Foto.png")
    assert picture.notes == ["ein Foto.png is a JPEG by its content"]
    write_image(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as opened:
        assert opened.format == "PNG"


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("a.jpg", "JPEG", "a-filled.jpg"),
        ("a.JPG", "JPEG", "a-filled.JPG"),
        ("a.png", "PNG", "a-filled.png"),
        ("日 本.tiff", "TIFF", "日 本-filled.tiff"),
        ("a.webp", "WEBP", "a-filled.webp"),
        ("a.mpo", "JPEG", "a-filled.mpo"),
        ("a.gif", "GIF", "a-filled.png"),
        ("a.bmp", "BMP", "a-filled.png"),
        ("a.jpg", "PNG", "a-filled.png"),
        ("a", "JPEG", "a-filled.png"),
    ],
)
def test_a_filled_picture_lies_beside_its_photo_in_its_format(name: str, kind: str, expected: str, tmp_path: Path):
    Image.fromarray(smooth(6, 9, 3)).save(tmp_path / name, kind)
    assert name_output(tmp_path / name, peek(tmp_path / name)[0]) == tmp_path / expected


def test_unicode_and_space_in_names_in_every_depth(tmp_path: Path):
    for dtype in (np.uint8, np.uint16):
        file = tmp_path / "une île à midi" / "été 日本 .png"
        write_image(file, Picture(smooth(6, 9, 3).astype(dtype)))
        assert read_image(file).pixels.dtype == dtype


def test_a_filled_picture_changes_nothing_outside_the_hole():
    rng = np.random.default_rng(0)
    for channels, dtype in ((1, np.uint8), (2, np.uint8), (3, np.uint8), (4, np.uint8), (3, np.uint16), (1, np.uint16)):
        pixels = rng.integers(0, np.iinfo(dtype).max + 1, (8, 9, channels)).astype(dtype)
        before = pixels.copy()
        hole = np.zeros((1, 1, 8, 9), np.float32)
        hole[..., 2:5, 3:6] = 1
        filled = Picture(pixels).fill(np.ones((1, 3, 8, 9), np.float32), hole).pixels
        outside = hole[0, 0] == 0
        assert np.array_equal(filled[outside], before[outside])
        colours = filled[~outside][:, : 1 if channels < 3 else 3]
        assert (colours == np.iinfo(dtype).max).all()
        if channels in (2, 4):
            assert np.array_equal(filled[..., -1], before[..., -1]), "alpha changed"
        assert np.array_equal(pixels, before), "the argument changed"


def test_transparent_pixels_of_a_hole_are_counted():
    pixels = np.full((4, 5, 4), 255, np.uint8)
    pixels[0, 0, 3], pixels[3, :, 3] = 254, 0
    hole = np.zeros((1, 1, 4, 5), np.float32)
    assert Picture(pixels).fill(np.ones((1, 3, 4, 5), np.float32), hole).notes == []
    hole[..., :2, :2] = 1
    filled = Picture(pixels, notes=["before"]).fill(np.ones((1, 3, 4, 5), np.float32), hole)
    assert filled.notes == ["before", "1 of the 4 pixels of the hole are not opaque, and stay so"]
    assert filled.pixels[0, 0, 3] == 254
    assert Picture(pixels[..., :3]).fill(np.ones((1, 3, 4, 5), np.float32), hole).notes == []


_deep_grey_alpha = io.BytesIO()
tifffile.imwrite(_deep_grey_alpha, np.zeros((4, 5, 2), np.uint16), photometric="minisblack", extrasamples=["unassalpha"])
BROKEN = {
    "nothing.png": (None, "there is no file"),
    "empty.png": (b"", r"is empty \(0 bytes\)"),
    "text.png": (b"just words", "is not a picture, or .* Expected PNG, JPEG, WebP, .* save it as PNG"),
    "page.jpg": (b"<!DOCTYPE html><title>404</title>", "is a web page, not a picture. Expected PNG, JPEG"),
    "scan.pdf": (b"%PDF-1.7\n", "is a PDF, not a picture. Expected PNG, .* save the picture in it as PNG"),
    "drawing.svg": (b'<?xml version="1.0"?><svg/>', "perhaps an SVG drawing"),
    "grey-alpha.tif": (_deep_grey_alpha.getvalue(), "is a TIFF that mend cannot read, or .* save it as PNG"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(name: str, tmp_path: Path):
    data, said = BROKEN[name]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("installed", [True, False])
def test_heic_is_read_or_the_message_names_the_extra(installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if installed:
        pillow_heif = pytest.importorskip("pillow_heif")
        given = smooth(64, 48, 0)
        pillow_heif.from_pillow(Image.fromarray(given)).save(tmp_path / "IMG_1.HEIC", quality=95)
        picture = read_image(tmp_path / "IMG_1.HEIC")
        assert (picture.source, picture.notes) == ({"format": "HEIF"}, [])
        assert np.abs(picture.pixels - given.astype(int)).mean() < 5
        assert name_output(tmp_path / "IMG_1.HEIC", "HEIF").name == "IMG_1-filled.png"
        assert find_pictures(tmp_path) == [tmp_path / "IMG_1.HEIC"]
        (tmp_path / "IMG_1.HEIC").write_bytes((tmp_path / "IMG_1.HEIC").read_bytes()[:400])
        with pytest.raises(InputError, match=r"IMG_1\.HEIC is "):
            read_image(tmp_path / "IMG_1.HEIC")
    else:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
        with pytest.raises(InputError, match=r"phone\.heic is HEIC, which needs pillow-heif.*pip install '\.\[heif\]'"):
            read_image(tmp_path / "phone.heic")


def test_pages_that_are_smaller_copies_or_masks_do_not_count(tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(smooth(40, 30, 0), photometric="rgb")
        writer.write(smooth(20, 15, 0), photometric="rgb", subfiletype=1)
        writer.write(np.zeros((40, 30), np.bool_), photometric=4, subfiletype=4)
    picture = read_image(tmp_path / "a.tif")
    assert (picture.losses, picture.source.get("frames")) == ([], None)
    assert np.array_equal(picture.pixels, smooth(40, 30, 0))


@pytest.mark.parametrize("error", [TypeError("Missing dimensions"), SyntaxError("unknown pixel mode"), KeyError(3)], ids=repr)
def test_whatever_a_decoder_raises_is_a_sentence_about_the_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 8, 3), np.uint8), photometric="rgb")

    def fail(self: object) -> None:
        raise error

    monkeypatch.setattr(TiffImageFile, "load", fail)
    readers: list[Callable[[Path], object]] = [read_image, understand_mask, read_rgb]
    for read in readers:
        with pytest.raises(InputError, match=r"a\.tif is damaged: .*Copy it again"):
            read(tmp_path / "a.tif")


def test_a_page_that_cannot_be_read_is_counted_and_the_first_is_taken(tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for i in range(3):
            writer.write(smooth(40, 30, i), photometric="rgb")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        place = opened.pages[1].tags[258].valueoffset  # type: ignore[union-attr]
    content[place] = 77  # bits a sample
    (tmp_path / "a.tif").write_bytes(content)
    picture = read_image(tmp_path / "a.tif")
    assert picture.losses == ["several pages: the first of 3 is taken"]
    assert np.array_equal(picture.pixels, smooth(40, 30, 0))


@pytest.mark.parametrize("compression", ["group3", "group4"])
@pytest.mark.parametrize("white", [0, 1])
def test_a_fax_is_read_and_a_damaged_one_is_named(compression: str, white: int, tmp_path: Path):
    """Of that libtiff leaves rows as its memory happens to be: every reading of the file gives other pixels."""
    page = Image.fromarray(smooth(90, 120, 0)).convert("1")
    page.save(tmp_path / "a.tif", compression=compression, tiffinfo={262: white})
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels[..., 0], np.asarray(page.convert("L")))
    if compression == "group3":  # in which every row is for itself
        return
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with Image.open(tmp_path / "a.tif") as opened:
        start, length = opened.tag_v2[273][0], opened.tag_v2[279][0]  # type: ignore[attr-defined]
    content[start + length // 3 : start + length // 3 + 40] = bytes(40)
    (tmp_path / "a.tif").write_bytes(content)
    for read in (read_image, understand_mask):
        with pytest.raises(InputError, match=r"a\.tif is damaged"):
            read(tmp_path / "a.tif")


def test_a_fax_is_whole_where_opencv_takes_its_ink_for_white(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = Image.fromarray(smooth(90, 120, 0)).convert("1")
    page.save(tmp_path / "a.tif", compression="group4")
    monkeypatch.setattr("mend.images.bit_depth._decode_buffer", lambda content: 255 - np.asarray(page.convert("L")))
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels[..., 0], np.asarray(page.convert("L")))


def test_a_damaged_fax_is_named_where_opencv_happens_to_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(smooth(90, 120, 0)).convert("1").save(tmp_path / "a.tif", compression="group4")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with Image.open(tmp_path / "a.tif") as opened:
        start, length = opened.tag_v2[273][0], opened.tag_v2[279][0]  # type: ignore[attr-defined]
    content[start + length // 3 : start + length // 3 + 40] = bytes(40)
    monkeypatch.setattr("mend.images.bit_depth._decode_buffer", lambda content: None)
    noticed = 0
    for _ in range(20):
        _write_into_free_memory(85, 90 * 15)
        try:
            read_image(bytes(content))
        except InputError:
            noticed += 1
    assert noticed >= 15, "what memory held is taken for the picture"


def test_a_fax_is_read_again_out_of_other_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(smooth(90, 120, 0)).convert("1").save(tmp_path / "a.tif", compression="group4")
    written = []
    monkeypatch.setattr("mend.images.bit_depth._write_into_free_memory", lambda *given: written.append(given))
    read_image(tmp_path / "a.tif")
    assert written == [(value, 90 * 15) for value in PATTERNS], "a damaged one would be read the same again"


def test_a_jpeg_in_a_tiff_is_read_and_a_damaged_one_is_named(tmp_path: Path):
    Image.fromarray(smooth(90, 120, 0)).save(tmp_path / "a.tif", compression="jpeg")
    content = (tmp_path / "a.tif").read_bytes()
    assert read_image(content).size == "120×90"
    at = content.index(b"\xff\xc0\x00\x11\x08\x00\x5a\x00\x78") + 5  # the height that the JPEG itself says
    _write_into_free_memory(85, 90 * 120 * 3)
    with pytest.raises(InputError, match="is damaged"):
        read_image(content[:at] + bytes([0, 40]) + content[at + 2 :])


def test_a_truncated_picture_is_named(tmp_path: Path):
    Image.fromarray(smooth(64, 64, 0)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:600])
    with pytest.raises(InputError, match=r"cut\.jpg is damaged"):
        read_image(tmp_path / "cut.jpg")


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def denied(file: object) -> Image.Image:
        raise PermissionError(13, "Permission denied", str(file))

    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    monkeypatch.setattr("mend.images.reading.Image.open", denied)
    with pytest.raises(InputError, match=r"a\.png may not be read: no permission"):
        read_image(tmp_path / "a.png")


def test_large_pictures_are_opened_up_to_a_limit_and_a_limit_of_ones_own_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert Image.MAX_IMAGE_PIXELS == PILLOWS_MOST, "Pillow has another limit now"
    for name, compression in (("a.png", {}), ("a.tif", {"compression": "tiff_deflate"})):
        Image.new("1", (14000, 13000)).save(tmp_path / name, **compression)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert open_picture(tmp_path / name).size == (14000, 13000)
        assert Image.MAX_IMAGE_PIXELS == PILLOWS_MOST
    monkeypatch.setattr("mend.images.reading.MOST", 181_999_999)
    with pytest.raises(InputError, match=r"a\.png is too large to open: it has 14000×13000 pixels, and 181,999,999 are"):
        open_picture(tmp_path / "a.png")
    assert Image.MAX_IMAGE_PIXELS == PILLOWS_MOST
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90_000_000)
    with pytest.raises(InputError, match=r"a\.png is too large to open: .*180000000 pixels"):
        open_picture(tmp_path / "a.png")
    assert Image.MAX_IMAGE_PIXELS == 90_000_000


def test_no_memory_is_taken_for_pixels_that_a_file_is_too_short_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(smooth(90, 120, 0)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    at = content.index(b"\x00\x5a\x00\x78")  # the height and the width
    lie = content[:at] + (30000).to_bytes(2, "big") * 2 + content[at + 4 :]
    (tmp_path / "a.jpg").write_bytes(lie)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it is decoded"))
    for file, name in ((tmp_path / "a.jpg", r"a\.jpg"), (lie, "the picture")):
        with pytest.raises(InputError, match=rf"{name} is damaged: [\d,]+ bytes are too few for the 30000×30000 pixels"):
            read_image(file)


@pytest.mark.parametrize("kind", list(DENSEST))
def test_the_densest_files_are_long_enough_for_their_pixels(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mend.images.reading.PILLOWS_MOST", 0)
    options = {"JPEG": {"progressive": True, "optimize": True, "quality": 1}, "TGA": {"compression": "tga_rle"}}
    as_tiff = {"compression": kind} if kind.islower() else {}
    for mode in ("L",) if kind in (*options, "jpeg") else ("1", "L"):
        picture = Image.new(mode, (3000, 3000))
        picture.save(tmp_path / "flat", "TIFF" if as_tiff else kind, **as_tiff, **options.get(kind, {}))
        assert open_picture(tmp_path / "flat").size == (3000, 3000)


def test_a_picture_that_takes_more_memory_than_is_free_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(self: object) -> None:
        raise MemoryError

    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(InputError, match=r"a\.png takes more memory to open than is free"):
        read_image(tmp_path / "a.png")


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "a.png"
    write_image(file, smooth(4, 4, 0))
    before = file.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space .*/a\.png'"):
        write_image(file, smooth(4, 4, 1))
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def denied(self: Path, data: bytes) -> int:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_bytes", denied)
    with pytest.raises(InputError, match=r"a\.png may not be written"):
        write_image(tmp_path / "a.png", smooth(4, 4, 0))


def test_a_disk_that_can_only_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: Path, *_: object, **__: object) -> None:  # there, even what is not there cannot be removed
        raise OSError(30, "Read-only file system", str(self))

    for name in ("write_bytes", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(InputError, match=r"/a\.png cannot be written: its disk can only be read"):
        write_image(tmp_path / "a.png", smooth(4, 4, 0))


def test_formats_that_cannot_hold_the_picture_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="JPEG has no alpha"):
        write_image(tmp_path / "a.jpg", Picture(np.zeros((4, 4, 4), np.uint8)))
    for name, what in (
        ("a.xyz", r"\.xyz files"),
        ("a.pdf", r"\.pdf files"),
        ("a.heic", r"\.heic files"),
        ("a", "files without a suffix"),
    ):
        with pytest.raises(InputError, match=f"mend writes no {what}\\. Use"):
            write_image(tmp_path / name, smooth(4, 4, 0))
    with pytest.raises(InputError, match=r"cannot write a\.bmp: cannot write mode LA"):
        encode(Picture(np.zeros((4, 4, 2), np.uint8)), "a.bmp")
    with pytest.raises(InputError, match=r"cannot write a\.jpg.*Use \.png"):
        encode(Picture(np.zeros((1, 65536, 3), np.uint8)), "a.jpg")


def test_grid_puts_each_picture_in_its_place():
    rows = [np.full((2, 3, 4, 3), 10, np.uint8), np.full((1, 3, 4, 3), 20, np.uint8)]
    sheet = arrange_grid(rows, gap=1, scale=2)
    assert sheet.shape == (2 * 7 + 1, 2 * 9 + 1, 3)
    assert sheet[1, 1, 0] == 10
    assert sheet[8, 1, 0] == 20
    assert sheet[8, 10, 0] == 255


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_a_picture_with_damaged_exif_is_read(tmp_path: Path, suffix: str):
    Image.fromarray(smooth(20, 30, 0)).save(tmp_path / f"p{suffix}", exif=b"Exif\0\0" + bytes(40))
    picture = read_image(tmp_path / f"p{suffix}")
    assert "exif" not in picture.metadata
    assert any("the EXIF block is damaged" in note for note in picture.notes)


def test_the_layers_of_a_photoshop_tiff_go(tmp_path: Path):
    """They show the picture as it was."""
    tags = ImageFileDirectory_v2()
    secret, kept = b"what was to be removed", "Canon"
    for tag in (34377, 37724):
        tags.tagtype[tag] = 7
        tags[tag] = secret
    tags[271] = kept
    Image.fromarray(smooth(20, 30, 0)).save(tmp_path / "layered.tif", tiffinfo=tags)
    assert secret in (tmp_path / "layered.tif").read_bytes()
    picture = read_image(tmp_path / "layered.tif")
    assert any("layers" in note for note in picture.notes)
    for name in ("out.tif", "out.png", "out.jpg"):
        data, _ = encode(picture, tmp_path / name)
        assert secret not in data
        assert kept.encode() in data


def test_text_of_a_tiff_keeps_its_bytes_whatever_they_are(tmp_path: Path):
    said = {270: "stack, 0.5 µm".encode(), 315: "José".encode("latin-1"), 33432: "© 山田".encode(), 65000: "ß".encode("cp1252")}
    tags = [(tag, 2, 0, text, True) for tag, text in said.items()]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 3), np.uint8), description=None, metadata=None, extratags=tags)
    picture = read_image(tmp_path / "a.tif")
    assert picture.notes == []
    write_image(tmp_path / "b.tif", picture)
    content = (tmp_path / "b.tif").read_bytes()
    assert all(text in content for text in said.values())
    write_image(tmp_path / "b.jpg", picture)
    for name in ("b.tif", "b.jpg"):
        with Image.open(tmp_path / name) as opened:
            exif = opened.getexif()
            assert {tag: exif[tag].encode("latin-1") for tag in said} == said, name
        assert compare_metadata(picture.metadata, read_image(tmp_path / name).metadata)["EXIF"] == "kept"


def test_exif_that_pillow_cannot_write_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 3), np.uint8), extratags=[(315, 2, 0, "José".encode(), True)])
    monkeypatch.setattr("mend.images.metadata._keep_bytes", lambda value: value)
    assert read_image(tmp_path / "a.tif").notes == ["EXIF tags that could not be kept as they are: Artist"]


@pytest.mark.parametrize("resolution", [(0, 0), (2**32 - 1, 1)])
def test_a_resolution_that_is_none_is_left_out_and_said(resolution: tuple[int, int], tmp_path: Path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.tif", dpi=(7, 7))
    data = (tmp_path / "a.tif").read_bytes()
    assert data.count(struct.pack("<2I", 7, 1)) == 2
    (tmp_path / "a.tif").write_bytes(data.replace(struct.pack("<2I", 7, 1), struct.pack("<2I", *resolution)))
    picture = read_image(tmp_path / "a.tif")
    assert "dpi" not in picture.metadata
    assert "dots per inch, is none; it is left out" in picture.notes[0]
    for name in ("b.tif", "b.png", "b.jpg"):
        write_image(tmp_path / name, picture)
        assert "DPI" not in compare_metadata(picture.metadata, read_image(tmp_path / name).metadata)


def test_what_has_no_name_is_the_picture(tmp_path: Path):
    Image.fromarray(np.full((4, 5), 7, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="^the picture holds float values from 7 to 7; expected 0 to 1"):
        read_rgb((tmp_path / "a.tif").read_bytes())


def test_a_dark_picture_of_16_bits_is_dark_whatever_else_is_in_it(tmp_path: Path):
    levels = np.full((4, 5, 1), 200, np.uint16)
    for brightest in (200, 300, 40000):
        levels[0, 0] = brightest
        write_image(tmp_path / "a.png", levels)
        found = read_rgb(tmp_path / "a.png")
        assert (found[1:] == 0).all()
        assert found[0, 0, 0] == brightest // 257


def test_a_link_is_written_through_and_a_file_keeps_its_rights(tmp_path: Path):
    target, link = tmp_path / "folder" / "a.png", tmp_path / "link.png"
    write_image(target, smooth(6, 9, 0))
    target.chmod(0o640)
    link.symlink_to(target)
    write_image(link, smooth(6, 9, 1))
    assert link.is_symlink()
    assert np.array_equal(read_image(target).pixels, smooth(6, 9, 1))
    assert target.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in target.parent.iterdir()] == ["a.png"]
