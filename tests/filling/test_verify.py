import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from conftest import smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mend.cli import main
from mend.errors import InputError
from mend.filling.verify import compare, encode_filled, verify
from mend.images import Picture, read_image, write_image


def mend(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return (int(ended.value.code or 0), *capsys.readouterr())


def hole(height: int, width: int) -> np.ndarray:
    made = np.zeros((1, 1, height, width), np.float32)
    made[..., height // 4 : height // 2, width // 4 : width // 2] = 1
    return made


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 4]), st.sampled_from([np.uint8, np.uint16]), st.data())
def test_one_changed_value_is_found_where_it_is(seed: int, channels: int, dtype: type, data: st.DataObject):
    rng = np.random.default_rng(seed)
    before = rng.integers(0, 100, (8, 12, channels)).astype(dtype)
    after = before.copy()
    after[2:4, 3:6] += 1
    here = hole(8, 12)
    assert compare(Picture(before), here, Picture(after)).untouched
    x, y, c = (data.draw(st.integers(0, top - 1)) for top in (12, 8, channels))
    after[y, x, c] += 7
    verdict = compare(Picture(before), here, Picture(after))
    inside = bool(here[0, 0, y, x])
    assert verdict.untouched == inside
    assert verdict.outside == 96 - 6
    if not inside:
        assert (verdict.changed, verdict.largest, verdict.first) == (1, 7, (x, y))
        assert f"1 of 90 pixels outside the hole (1.11%) differ, by at most 7 of {np.iinfo(dtype).max} levels" in str(verdict)


def test_transparency_that_is_lost_or_added_is_a_change():
    colours, here = smooth(8, 12, 0), hole(8, 12)
    for plain in (colours, colours[..., :1]):
        clear = np.dstack([plain, np.full_like(plain[..., :1], 255)])
        clear[7, 11, -1] = 40
        for before, after in ((clear, plain), (plain, clear)):
            verdict = compare(Picture(before), here, Picture(after))
            assert (verdict.changed, verdict.largest, verdict.first) == (1, 215, (11, 7))


def test_how_far_changes_reach_is_said_as_long_as_that_is_near():
    here = np.zeros((1, 1, 4, 60), np.float32)
    here[..., 0] = 1
    for far, said in ((48, "none farther than 48 pixels from it"), (49, "levels")):
        changed = np.zeros((4, 60, 3), np.uint8)
        changed[0, far] = 1
        assert str(compare(Picture(np.zeros_like(changed)), here, Picture(changed))).endswith(said)


def test_depth_and_channels_may_differ_where_the_values_do_not():
    grey = Picture(smooth(8, 12, 0)[..., :1])
    here = hole(8, 12)
    for other in (
        grey.pixels.repeat(3, axis=2),
        np.dstack([grey.pixels, np.full_like(grey.pixels, 255)]),
        grey.pixels.astype(np.uint16) * 257,
    ):
        assert compare(grey, here, Picture(other)).untouched
        changed = other.copy()
        changed[0, 0, -1] ^= 1
        verdict = compare(grey, here, Picture(changed))
        assert (verdict.changed, verdict.largest) == (1, 1)
    with pytest.raises(InputError, match="the picture is 12×8, the filled one 8×12"):
        compare(grey, here, Picture(np.zeros((12, 8, 1), np.uint8)))


SOURCES = {
    "grey.png": ("L", {}),
    "grey-alpha.png": ("LA", {}),
    "colour.png": ("RGB", {}),
    "alpha.png": ("RGBA", {}),
    "palette.png": ("P", {}),
    "palette.gif": ("P", {"transparency": 3}),
    "cmyk.tif": ("CMYK", {"compression": "tiff_lzw"}),
    "alpha.tif": ("RGBA", {}),
    "alpha.webp": ("RGBA", {"lossless": True, "exact": True}),
    "lossy.webp": ("RGB", {"quality": 60}),
    "colour.jpg": ("RGB", {"quality": 80}),
    "grey.jpg": ("L", {"quality": 80}),
    "cmyk.jpg": ("CMYK", {"quality": 80}),
    "deep.png": (np.uint16, {}),
    "deep.tiff": (np.uint16, {}),
}


def photograph(folder: Path, name: str) -> Path:
    mode, options = SOURCES[name]
    pixels, exif = smooth(48, 64, 1), Image.Exif()
    pixels = np.dstack([pixels, pixels[..., :1] // 2 * 2])
    exif[274] = 6
    if mode is np.uint16:
        write_image(folder / name, Picture(pixels.astype(np.uint16) * 257 + 3))
    elif mode == "P":
        Image.fromarray(pixels[..., :3]).convert("P").save(folder / name, **options)
    else:
        Image.fromarray(pixels if mode in ("LA", "RGBA") else pixels[..., :3]).convert(mode).save(
            folder / name, exif=exif, **options
        )
    height, width = read_image(folder / name).pixels.shape[:2]
    write_image(folder / "mask.png", (hole(height, width)[0, 0, ..., None] * 255).astype(np.uint8))
    return folder / name


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("suffix", ["", ".png", ".tif"])
def test_fill_then_verify(name: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photo, mask = photograph(tmp_path, name), tmp_path / "mask.png"
    named = ["-o", tmp_path / f"out{suffix}"] if suffix else []
    code, said, _ = mend(capsys, "fill", photo, "--mask", mask, "--model", "mean-colour", *named)
    assert code == 0
    (out,) = [file for file in tmp_path.iterdir() if file not in (photo, mask)]
    assert said.startswith(f"{out}: ")
    lossy = suffix == "" and name in ("lossy.webp", "colour.jpg", "grey.jpg", "cmyk.jpg")
    code, shown, _ = mend(capsys, "verify", photo, mask, out)
    assert code == lossy
    if lossy:
        assert f"  {out.suffix} is lossy (" in said
        assert "; a PNG keeps them" in said
        assert "differ, by at most" in shown
        assert "the first that differs: x=" in shown
    else:
        assert "pixels outside the hole are identical" in said
        assert "pixels outside the hole are identical" in shown
    picture, filled = read_image(photo), read_image(out)
    inside = hole(*picture.pixels.shape[:2])[0, 0] > 0
    assert (filled.pixels[..., 0] != picture.pixels[..., 0])[inside].mean() > 0.5, "nothing was filled"


def test_how_a_jpeg_was_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photo = photograph(tmp_path, "colour.jpg")
    words = ("fill", photo, "--mask", tmp_path / "mask.png", "--model", "mean-colour", "-o", tmp_path / "out.jpg")
    assert "only the blocks at the hole are encoded again" in mend(capsys, *words)[1]
    assert ".jpg is lossy (quality 70)" in mend(capsys, *words, "--quality", "70")[1]


def test_metadata_that_a_format_cannot_hold_is_said(tmp_path: Path):
    picture = Picture(smooth(8, 12, 0), {"dpi": (300, 300), "xmp": b"<x/>", "text": {"parameters": "a fox"}})
    data, said = encode_filled(tmp_path / "a.webp", picture, hole(8, 12), picture)
    (tmp_path / "a.webp").write_bytes(data)
    assert said == ["all 90 pixels outside the hole are identical", "not kept by .webp: DPI, PNG text"]
    write_image(tmp_path / "a.png", picture)
    write_image(tmp_path / "mask.png", (hole(8, 12)[0, 0, ..., None] * 255).astype(np.uint8))
    verdict, lines = verify(tmp_path / "a.png", tmp_path / "mask.png", tmp_path / "a.webp")
    assert verdict.metadata == {"XMP": "kept", "DPI": "lost", "PNG text": "lost"}
    coloured = replace(picture, metadata=picture.metadata | {"icc_profile": b"profile"})
    assert compare(picture, hole(8, 12), coloured).metadata["ICC profile"] == "added", "other colours are shown"
    digest = hashlib.sha256(picture.pixels[hole(8, 12)[0, 0] == 0].tobytes()).hexdigest()
    assert lines == [
        f"a.png: 12×8, 8-bit RGB, SHA-256 outside {digest}",
        f"a.webp: 12×8, 8-bit RGB, SHA-256 outside {digest}",
        "XMP: kept",
        "DPI: lost",
        "PNG text: lost",
    ]


def test_an_output_that_nobody_named_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photo = photograph(tmp_path, "colour.png")
    words = ("fill", photo, "--mask", tmp_path / "mask.png", "--model", "mean-colour")
    assert mend(capsys, *words)[0] == 0
    out = tmp_path / "colour-filled.png"
    before = out.stat().st_mtime_ns
    code, _, said = mend(capsys, *words)
    assert code == 1
    assert "colour-filled.png is there already" in said
    assert out.stat().st_mtime_ns == before
    assert mend(capsys, *words, "-o", out)[0] == 0
    assert out.stat().st_mtime_ns > before


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photo = photograph(tmp_path, "alpha.png")
    words = ("fill", photo, "--mask", tmp_path / "mask.png", "--model", "nowhere", "-o", tmp_path / "out.jpg")
    assert "JPEG has no alpha" in mend(capsys, *words)[2]
    assert "--quality is 90 for out.png" in mend(capsys, *words[:-1], tmp_path / "out.png", "--quality", "90")[2]


def test_a_file_of_which_nothing_is_filled_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(smooth(30, 40, 0)).save(tmp_path / "in" / "a.jpg", exif=exif, quality=60)
    Image.new("L", (30, 40)).save(tmp_path / "m.png")
    words = ("--mask", tmp_path / "m.png", "--model", "telea", "-o")
    for source, out in (("in/a.jpg", "b.jpg"), ("in", "out")):
        assert mend(capsys, "fill", tmp_path / source, *words, tmp_path / out)[0] == 0
    before = (tmp_path / "in" / "a.jpg").read_bytes()
    assert (tmp_path / "b.jpg").read_bytes() == (tmp_path / "out" / "a.jpg").read_bytes() == before
    record = json.loads((tmp_path / "out" / "mend-fill.json").read_text())
    assert record["files"]["a.jpg"]["notes"] == ["nothing is to be filled: the file is copied as it is"]
    assert mend(capsys, "fill", tmp_path / "in" / "a.jpg", *words, tmp_path / "b.jpg", "--quality", "1")[0] == 0
    assert (tmp_path / "b.jpg").stat().st_size < len(before)


@pytest.mark.parametrize("kind", ["LAB", "CMYK", "channels", "bits"])
def test_what_was_lost_in_reading_is_part_of_the_verdict(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pixels = smooth(48, 64, 1)
    said = {
        "LAB": "LAB converted to RGB",
        "CMYK": "CMYK converted to RGB; it has no ICC profile, colours are approximate",
        "channels": "the first 3 of 5 channels are taken",
        "bits": "10 bits a channel cut to 8",
    }[kind]
    photo, mask, out = tmp_path / ("a.avif" if kind == "bits" else "a.tif"), tmp_path / "m.png", tmp_path / "out.png"
    if kind == "channels":
        extra = {"extrasamples": ["unspecified", "unspecified"]}
        tifffile.imwrite(photo, np.dstack([pixels, pixels[..., :2]]), photometric="rgb", **extra)
    elif kind == "bits":
        photo.write_bytes(cv2.imencode(".avif", pixels.astype(np.uint16) * 4, [cv2.IMWRITE_AVIF_DEPTH, 10])[1].tobytes())
    else:
        Image.merge(kind, [Image.fromarray(pixels[..., i % 3]) for i in range(len(kind))]).save(photo)
    write_image(mask, (hole(48, 64)[0, 0, ..., None] * 255).astype(np.uint8))
    sentence = f"all 2,880 pixels outside the hole are identical as read ({said})"
    code, shown, _ = mend(capsys, "fill", photo, "--mask", mask, "--model", "mean-colour", "-o", out)
    assert (code, shown.count(said)) == (0, 1), "said twice"
    assert sentence in shown
    code, shown, _ = mend(capsys, "verify", photo, mask, out)
    assert code == 0
    assert f"{out}: {sentence}\n" in shown
    verdict, _ = verify(out, mask, out)
    assert str(verdict) == "all 2,880 pixels outside the hole are identical", "nothing was lost there"
