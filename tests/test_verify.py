import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mend.cli import main
from mend.errors import InputError
from mend.images import Picture, read_image, write_image
from mend.verify import compare, verify, write_filled


def hole(height: int, width: int) -> torch.Tensor:
    made = torch.zeros(1, 1, height, width)
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
        assert f"1 of 90 pixels outside the hole (1.1%) differ, by at most 7 of {np.iinfo(dtype).max} levels" in str(verdict)
        assert verdict.digests[0] != verdict.digests[1]
    assert verdict.digests[0] == hashlib.sha256(before[here[0, 0].numpy() == 0].tobytes()).hexdigest()


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
        Image.fromarray(pixels if mode in ("LA", "RGBA") else pixels[..., :3]).convert(mode).save(folder / name, exif=exif, **options)
    height, width = read_image(folder / name).pixels.shape[:2]
    write_image(folder / "mask.png", (hole(height, width)[0, 0, ..., None] * 255).byte().numpy())
    return folder / name


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("suffix", [None, ".png", ".tif"])
def test_fill_then_verify(name: str, suffix: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photo, mask = photograph(tmp_path, name), tmp_path / "mask.png"
    main(["fill", str(photo), "--mask", str(mask), "--model", "mean-colour", *(["-o", str(tmp_path / f"out{suffix}")] * bool(suffix))][:6] + (["-o", str(tmp_path / f"out{suffix}")] if suffix else []))
    said = capsys.readouterr().out
    (out,) = [file for file in tmp_path.iterdir() if file not in (photo, mask)]
    assert str(out) in said
    lossy = suffix is None and name in ("lossy.webp", "colour.jpg", "grey.jpg", "cmyk.jpg")
    with pytest.raises(SystemExit) if lossy and "0 of" not in said and "identical" not in said else io.StringIO() as ended:
        main(["verify", str(photo), str(mask), str(out)])
    shown = capsys.readouterr().out
    if lossy:
        assert f"{out.suffix} is lossy" in said
        assert "differ, by at most" in shown
        assert ended.value.code == 1
    else:
        assert "pixels outside the hole are identical" in said
        assert "pixels outside the hole are identical" in shown
        picture, filled = read_image(photo), read_image(out)
        inside = hole(*picture.pixels.shape[:2])[0, 0].numpy() > 0
        assert (filled.pixels != picture.pixels)[inside].any(), "nothing was filled"
