import io
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mend.filling.huffman import list_codes
from mend.filling.job import Job, fill_file
from mend.filling.jpeg import encode_changes
from mend.filling.options import Options
from mend.filling.verify import verify
from mend.images import Picture, encode, find_differences, read_image, write_image
from mend.images.metadata import PREVIEW

CAMERA = Image.Exif()
CAMERA[271] = "camera"
HOLE = (slice(35, 60), slice(50, 75))


def photograph(orientation: int = 1, grey: bool = False, **options: Any) -> bytes:
    """A JPEG with noise, of 109×93 pixels as it lies in the file: whole in no block."""
    noise = np.random.default_rng(0).integers(-12, 13, (93, 109, 1))
    pixels = (smooth(93, 109, 3) + noise).clip(0, 255).astype(np.uint8)
    CAMERA[274] = orientation
    data = io.BytesIO()
    Image.fromarray(pixels).convert("L" if grey else "RGB").save(data, "JPEG", exif=CAMERA, **options)
    return data.getvalue()


def paint(picture: Picture) -> Picture:
    pixels = picture.pixels.copy()
    pixels[HOLE] = np.arange(25, dtype=np.uint8)[:, None, None] * 9
    return replace(picture, pixels=pixels)


def reach(subsampling: int) -> tuple[slice, slice]:
    """The blocks that the hole touches, and the pixel beside them over which colours are smoothed."""
    block = 16 if subsampling else 8
    return tuple(slice(side.start // block * block - 1, -(-side.stop // block) * block + 1) for side in HOLE)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_blocks": 3}, {"grey": True}], ids=str)
@pytest.mark.parametrize("quality", [40, 97])
def test_blocks_in_which_nothing_changes_are_copied(subsampling: int, options: dict[str, Any], quality: int):
    picture = read_image(photograph(subsampling=subsampling, quality=quality, **options))
    painted = paint(picture)
    same, changed = (read_image(encode_changes(one) or b"") for one in (picture, painted))
    assert np.array_equal(same.pixels, picture.pixels)
    differs = find_differences(changed.pixels, picture.pixels)
    assert differs[HOLE].any()
    differs[reach(0 if options.get("grey") else subsampling)] = False
    assert not differs.any(), "a block was changed in which nothing is filled"
    whole = read_image(encode(painted, "a.jpg")[0])
    errors = [np.abs(one.pixels[HOLE] - painted.pixels[HOLE].astype(int)).mean() for one in (changed, whole)]
    assert errors[0] <= errors[1] + 0.1, "what is filled comes out worse than in a JPEG that Pillow makes"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("subsampling", [0, 1])
def test_a_turned_jpeg_stays_turned_inside(orientation: int, subsampling: int):
    picture = read_image(photograph(orientation, subsampling=subsampling, dpi=(300, 200)))
    painted = paint(picture)
    data = encode_changes(painted) or b""
    with Image.open(io.BytesIO(data)) as opened:
        assert (opened.size, opened.getexif()[274], opened.getexif()[271]) == ((109, 93), orientation, "camera")
    again = read_image(data)
    assert again.metadata == picture.metadata
    assert [note for note in again.notes if note != PREVIEW] == picture.notes
    # As the file lies the blocks start at other pixels of the upright picture.
    differs = find_differences(again.pixels, picture.pixels)
    differs[tuple(slice(side.start - 17, side.stop + 17) for side in HOLE)] = False
    assert not differs.any()
    assert np.abs(again.pixels[HOLE] - painted.pixels[HOLE].astype(int)).mean() < 6


def test_the_factors_of_other_programs_are_kept():
    """4:4:0 and 4:1:1, which Pillow cannot write: the frame of a file says so, and fewer blocks of colour are there."""
    import cv2

    pixels = smooth(70, 90, 1)
    for factor in (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411):
        content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])[1].tobytes()
        picture = read_image(content)
        changed = read_image(encode_changes(paint(picture)) or b"")
        differs = find_differences(changed.pixels, picture.pixels)
        differs[tuple(slice(side.start - 33, side.stop + 33) for side in HOLE)] = False
        assert differs.sum() == 0
        assert Image.open(io.BytesIO(encode_changes(picture) or b"")).layer == Image.open(io.BytesIO(content)).layer


@pytest.mark.parametrize("kind", ["progressive", "CMYK", "RGB", "Adobe", "grown", "cut", "nothing"])
def test_what_cannot_be_copied_is_encoded_as_a_whole(kind: str):
    if kind == "CMYK":
        data = io.BytesIO()
        Image.fromarray(smooth(24, 32, 1)).convert("CMYK").save(data, "JPEG")
        content = data.getvalue()
    elif kind in ("RGB", "Adobe"):
        data = io.BytesIO()
        Image.fromarray(smooth(24, 32, 1)).save(data, "JPEG", keep_rgb=True)
        content = data.getvalue()
        if kind == "Adobe":  # whose marker alone says so, and not the names of the components
            for number, name in enumerate(b"RGB", 1):
                content = content.replace(bytes([name, 0x11]), bytes([number, 0x11]))
            content = content.replace(b"\x03R\x00G\x00B\x00", b"\x03\x01\x00\x02\x00\x03\x00")
    else:
        content = photograph(progressive=kind == "progressive")
    picture = read_image(content)
    if kind == "grown":
        picture.pixels = picture.pixels.repeat(2, axis=0)
    elif kind == "cut":
        picture.content = content[: len(content) // 2]
    elif kind == "nothing":
        picture.content = b""
    assert encode_changes(picture) is None


def test_a_header_with_another_size_than_the_pixels_is_noticed(monkeypatch: pytest.MonkeyPatch):
    content = bytearray(photograph())
    picture = read_image(bytes(content))
    content[content.index(b"\xff\xc0") + 6] //= 2  # the height
    picture.content = bytes(content)
    monkeypatch.setattr("mend.filling.jpeg.read_image", lambda _: picture)
    assert encode_changes(picture) is None


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_codes_are_noticed_or_read_but_never_a_fault(data: st.DataObject):
    content = bytearray(photograph())
    picture = read_image(bytes(content))
    for place in data.draw(st.lists(st.integers(2, len(content) - 1), min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    picture.content = bytes(content)
    with pytest.MonkeyPatch.context() as patch:  # what Pillow says of such a file is another matter
        patch.setattr("mend.filling.jpeg.read_image", lambda _: picture)
        made = encode_changes(paint(picture))
    assert made is None or made[:2] == b"\xff\xd8"


def test_what_was_changed_before_is_not_taken_from_the_file():
    """The studio fills a picture again and again: its file shows what was removed first."""
    picture = read_image(photograph())
    first = picture.pixels.copy()
    first[5:20, 5:20] = 0
    again = read_image(encode_changes(paint(replace(picture, pixels=first))) or b"")
    assert again.pixels[5:20, 5:20].mean() < 10 < 50 < picture.pixels[5:20, 5:20].mean()


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_sentence_and_verify_say_what_changed(orientation: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photo, mask, out = (tmp_path / name for name in ("photo.jpg", "mask.png", "out.jpg"))
    photo.write_bytes(photograph(orientation, quality=90))
    marked = np.zeros((*read_image(photo).pixels.shape[:2], 1), np.uint8)
    marked[HOLE] = 255
    write_image(mask, marked)
    result = fill_file(Job(photo, mask, out, options=Options(model="telea")))
    assert result.notes[0].startswith(".jpg is lossy (only the blocks at the hole are encoded again): ")
    verdict, lines = verify(photo, mask, out)
    assert str(verdict) in result.notes[0]
    assert re.search(r"by at most \d+ of 255 levels, none farther than \d+ pixels from it$", str(verdict))
    assert verdict.farthest is not None
    assert 0 < verdict.farthest <= 17
    assert "EXIF: kept" in lines
    once, twice = tmp_path / "once.jpg", tmp_path / "twice.jpg"
    for before, after in itertools.pairwise((photo, once, twice)):
        fill_file(Job(before, mask, after, options=Options(model="telea")))
    assert verify(photo, mask, twice)[0].farthest == verdict.farthest, "filled twice the change goes on"
    fill_file(Job(photo, mask, out, options=Options(model="telea", quality=90)))
    assert str(verify(photo, mask, out)[0]).endswith("of 255 levels"), "a wide change is said to be near"


def test_where_libjpeg_sees_something_else_the_whole_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "photo.jpg").write_bytes(photograph())
    wrong = Picture(np.zeros((93, 109, 3), np.uint8))
    monkeypatch.setattr("mend.filling.jpeg.encode_changes", lambda picture: encode(wrong, "a.jpg")[0])
    mask = np.zeros((93, 109, 1), np.uint8)
    mask[:5, :5] = 255
    write_image(tmp_path / "mask.png", mask)
    result = fill_file(Job(tmp_path / "photo.jpg", tmp_path / "mask.png", options=Options(model="telea")))
    assert ".jpg is lossy (re-encoded with the input's tables)" in result.notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("subsampling", "turned"), [("4:4:4", 0), ("4:2:0", 2), ("4:2:2", 0)])
def test_tables_and_colours_turn_with_the_picture_where_all_is_encoded_anew(orientation: int, subsampling: str, turned: int):
    picture = read_image(photograph(orientation, subsampling=subsampling, progressive=True))
    data, loss = encode(picture, "a.jpg")
    assert loss == "re-encoded with the input's tables"
    with Image.open(io.BytesIO(photograph(quality=75))) as opened:
        table = np.reshape(opened.quantization[0], (8, 8))
    with Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(np.reshape(opened.quantization[0], (8, 8)), table.T if orientation > 4 else table)
        assert not np.array_equal(table, table.T)
    assert picture.source["subsampling"] == (turned if orientation > 4 else {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}[subsampling])


def test_colours_that_are_coarse_down_are_coarse_across_once_turned():
    import cv2

    made = cv2.imencode(".jpg", smooth(64, 48, 0), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440])
    CAMERA[274] = 6
    data = CAMERA.tobytes()
    segment = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    content = made[1].tobytes()
    picture = read_image(content[:2] + segment + content[2:])
    assert (picture.source["orientation"], picture.source["subsampling"]) == (6, 1), "4:2:2"
    assert read_image(content).source["subsampling"] == 0, "Pillow has no 4:4:0"


def test_a_table_that_uses_the_code_of_ones_is_refused():
    """It would encode a block in more bytes than there is room for."""
    assert len(list(list_codes(bytes([1, 1, *[0] * 14, 7, 8])))) == 2
    with pytest.raises(ValueError, match="too many codes"):
        list(list_codes(bytes([2, *[0] * 15, 7, 8])))
