import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import inside, smooth
from PIL import Image, ImageCms

from mend.errors import InputError
from mend.evaluate.methods import load_folder_method
from mend.evaluate.reading import make_scored_reader
from mend.evaluate.scenes import load_folder_scenes
from mend.images import Picture, write_image

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def read(file: Path, original: Path | None = None) -> tuple[np.ndarray, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels = make_scored_reader()(file, original)
    return pixels, [str(warning.message).partition(": ")[2] for warning in caught]


def test_what_is_as_good_as_rgb_is_scored_without_a_word(tmp_path: Path):
    pixels = smooth(16, 24, 0)
    few = Image.fromarray(pixels // 64 * 64).quantize(256)
    opaque = Image.fromarray(np.dstack([pixels, np.full((16, 24), 255, np.uint8)]))
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "turned.png", exif=exif)
    opaque.save(tmp_path / "opaque.png")
    few.save(tmp_path / "palette.png")
    for name, expected in (("turned", pixels), ("opaque", pixels), ("palette", np.asarray(few.convert("RGB")))):
        found, said = read(tmp_path / f"{name}.png")
        assert np.array_equal(found, expected), name
        assert said == [], name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("alpha.png", "its transparency is not scored, only the colours under it"),
        ("deep.png", "more than 8 bits a channel are scored as 8"),
        ("grey.png", "more than 8 bits a channel are scored as 8"),
        ("cmyk.tif", "CMYK is scored as RGB"),
        ("two.gif", "the first of its frames or pages is scored"),
        ("key.png", "its transparency is not scored, only the colours under it"),
    ],
)
def test_what_is_not_scored_is_said(name: str, said: str, tmp_path: Path):
    pixels, file = smooth(16, 24, 0), tmp_path / name
    if name == "alpha.png":
        write_image(file, np.dstack([pixels, np.full((16, 24), 128, np.uint8)]))
    elif name in ("deep.png", "grey.png"):
        write_image(file, Picture((pixels.astype(np.uint16) * 257)[..., : 1 if name == "grey.png" else 3]))
    elif name == "cmyk.tif":
        Image.fromarray(pixels).convert("CMYK").save(file)
    elif name == "two.gif":
        Image.fromarray(pixels).save(file, save_all=True, append_images=[Image.fromarray(smooth(16, 24, 1))])
    else:
        Image.fromarray(pixels).save(file, transparency=tuple(int(level) for level in pixels[0, 0]))
    found, words = read(file)
    assert words == [said]
    if name in ("alpha.png", "deep.png", "key.png"):
        assert np.array_equal(found, pixels)


def test_profiles_of_a_pair_are_compared(tmp_path: Path):
    for name, profile in (("with.png", PROFILE), ("again.png", PROFILE), ("without.png", None)):
        Image.fromarray(smooth(16, 24, 0)).save(tmp_path / name, icc_profile=profile)
    assert read(tmp_path / "with.png", tmp_path / "again.png")[1] == []
    (said,) = read(tmp_path / "with.png", tmp_path / "without.png")[1]
    assert said.startswith("its ICC profile is not that of its original")


def test_a_folder_says_each_kind_once(tmp_path: Path):
    for i in range(3):
        pixels, alpha = smooth(16, 24, i), np.full((16, 24), 128, np.uint8)
        write_image(tmp_path / "truth" / f"{i}.png", pixels)
        write_image(tmp_path / "filled" / f"{i}.png", np.dstack([pixels, alpha]))
        write_image(tmp_path / "masks" / f"{i}.png", np.pad(np.full((4, 4, 1), 255, np.uint8), ((6, 6), (10, 10), (0, 0))))
    scenes = load_folder_scenes(tmp_path / "truth", tmp_path / "masks")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        method = load_folder_method(tmp_path / "filled", tmp_path / "truth", scenes)
        for places, image, hole in scenes.batches():
            method.fill(places, image.numpy(), hole.numpy())
    (said,) = [str(warning.message) for warning in caught]
    assert said.startswith(f"{tmp_path / 'filled' / '0.png'}, and perhaps others: its transparency is not scored")


@pytest.mark.parametrize("kind", ["nearly all white", "grey edges wider than an edge is"])
def test_a_mask_that_filling_would_ask_about_is_scored_with_a_warning(kind: str, tmp_path: Path):
    levels = np.full((64, 64), 255) if kind == "nearly all white" else np.broadcast_to(np.arange(64) * 4, (64, 64)).copy()
    levels[:3] = 0
    for i in range(2):
        write_image(tmp_path / "truth" / f"{i}.png", smooth(64, 64, i))
        write_image(tmp_path / "masks" / f"{i}.png", levels.astype(np.uint8)[..., None])
    scenes = load_folder_scenes(tmp_path / "truth", tmp_path / "masks")
    with pytest.warns(UserWarning, match="0.png, and perhaps others: .*lighter than half is taken for the hole") as said:
        found = [scenes.mask(0), scenes.mask(1)]
    assert all(np.array_equal(one, levels >= 128) for one in found)
    assert len(said) == 1


def test_a_mask_is_read_as_it_is_for_filling(tmp_path: Path):
    """Red and yellow paint on black, and labels of 0 and 1: by their brightness alone other pixels would be missing."""
    painted = np.zeros((16, 24, 3), np.uint8)
    painted[2:6, 2:12], painted[8:12, 4:8] = (255, 0, 0), (255, 255, 0)
    labels = (painted.any(-1, keepdims=True)).astype(np.uint8)
    for name, mask in (("painted", painted), ("labels", labels)):
        write_image(tmp_path / "truth" / f"{name}.png", smooth(16, 24, 0))
        write_image(tmp_path / "masks" / f"{name}.png", mask)
    scenes = load_folder_scenes(tmp_path / "truth", tmp_path / "masks")
    for i, name in enumerate(scenes.names):
        assert np.array_equal(scenes.mask(i), inside(tmp_path / "masks" / f"{name}.png")), name
        assert scenes.mask(i).sum() == 56
    write_image(tmp_path / "masks" / "labels.png", np.pad(np.full((8, 8, 1), 255, np.uint8), ((12, 12), (20, 20), (0, 0))))
    with pytest.raises(InputError, match=r"labels\.png is 48×32, its picture 24×16"):
        load_folder_scenes(tmp_path / "truth", tmp_path / "masks").mask(0)
