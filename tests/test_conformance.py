"""What anyone may rely on, whatever the picture: with the network that comes with mend, through Python and the command line."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import peak, smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mend
from mend.errors import InputError
from mend.images import Picture, read_image, write_image
from mend.inpaint.onnx import DEFAULT

ROOT = Path(mend.__file__).parent.parent
SIDES = (1, 2, 3, 31, 33, 97, 256, 257)


@pytest.fixture(scope="module")
def default() -> mend.Inpainter:
    return mend.load(device="cpu")


def box(height: int, width: int, *place: int) -> np.ndarray:
    mask = np.zeros((height, width), np.bool_)
    top, bottom, left, right = place
    mask[top:bottom, left:right] = True
    return mask


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SIDES), st.sampled_from(SIDES), st.sampled_from(["empty", "full", "one", "specks", "border"]), st.data())
def test_every_size_and_hole(default: mend.Inpainter, height: int, width: int, kind: str, data: st.DataObject):
    pixels = smooth(height, width, height + width)
    mask = np.full((height, width), kind == "full")
    if kind == "one":
        mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = True
    elif kind == "specks":
        mask = np.random.default_rng(0).random((height, width)) < 0.1
    elif kind == "border":
        mask[[0, -1]] = mask[:, [0, -1]] = True
    before = pixels.copy()
    filled = default(pixels, mask)
    assert filled.shape == pixels.shape
    assert np.array_equal(filled[~mask], pixels[~mask])
    assert np.array_equal(pixels, before)


def test_very_long_pictures(default: mend.Inpainter):
    for height, width in ((1, 4097), (4097, 3)):
        pixels = smooth(height, width, 1)
        mask = box(height, width, 0, max(1, height // 2), 0, max(1, width // 2))
        assert np.array_equal(default(pixels, mask)[~mask], pixels[~mask])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_flat_picture_stays_flat(default: mend.Inpainter, dtype: type, level: float):
    full = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    pixels = np.full((90, 70, 3), level * full, dtype)
    filled = default(pixels, box(90, 70, 20, 80, 0, 50))
    assert np.abs(filled.astype(np.float64) - pixels).max() <= full * 1e-5


def test_what_the_hole_holds_is_never_seen(default: mend.Inpainter):
    pixels, mask = smooth(100, 120, 2), box(100, 120, 30, 90, 20, 100)
    other = pixels.copy()
    other[mask] = 255 - other[mask]
    assert np.array_equal(default(pixels, mask), default(other, mask))


@pytest.mark.parametrize(("height", "width"), [(129, 160), (9, 21), (600, 40)])
def test_batches_and_threads_change_nothing(height: int, width: int):
    default = mend.load(DEFAULT, "cpu")  # by PyTorch; ONNX Runtime has a test of its own
    pixels = torch.stack([torch.from_numpy(smooth(height, width, i)).permute(2, 0, 1) for i in range(3)])
    rows, columns = (height // 6, height - height // 4), (width // 6, width - width // 4)
    masks = torch.stack([torch.from_numpy(box(height, width, rows[0] + i, rows[1], *columns))[None] for i in range(3)])
    threads = torch.get_num_threads()

    def filled(count: int) -> list[torch.Tensor]:
        torch.set_num_threads(count)
        images = pixels / 255
        return [default(images, masks), torch.stack([default(*one) for one in zip(images, masks, strict=True)])]

    try:
        first, *others = [values for count in (1, 2, 4, 7) for values in filled(count)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("across", [(0, 1), (1, 0), (0.5, 0.5)])
def test_a_ramp_goes_on_through_a_hole(default: mend.Inpainter, across: tuple[float, float]):
    """Inside it, and in a corner: to the level that it was rounded to."""
    y, x = np.mgrid[:257, :199]
    ramp = 0.1 + 0.8 * (across[0] * y / 256 + across[1] * x / 198)
    pixels = np.rint(255 * np.stack([ramp, 1 - ramp, 0.5 * ramp + 0.2], -1)).astype(np.uint8)
    for place in ((85, 128, 66, 99), (64, 192, 49, 149), (128, 257, 99, 199)):
        off = np.abs(default(pixels, box(257, 199, *place)).astype(int) - pixels)
        assert off.max() <= 1


def test_all_kinds_of_pictures_agree(default: mend.Inpainter, tmp_path: Path):
    pixels, mask = smooth(60, 70, 3), box(60, 70, 20, 50, 20, 60)
    write_image(tmp_path / "p.png", pixels)
    write_image(tmp_path / "m.png", mask[..., None].astype(np.uint8) * 255)
    expected = default(pixels, mask)
    assert np.array_equal(np.asarray(mend.fill(tmp_path / "p.png", tmp_path / "m.png")), expected)
    assert np.array_equal(np.asarray(mend.fill(Image.fromarray(pixels), Image.fromarray(mask))), expected)
    deep = mend.fill(pixels.astype(np.uint16) * 257, mask)
    assert np.abs(deep / 257 - expected).max() <= 0.51


def test_the_network_that_comes_with_mend_is_small_and_fills_better_than_telea(default: mend.Inpainter):
    """Not a benchmark: that is benchmarks/large_holes.py. A wrong file, or a network that learned nothing, would show."""
    from skimage.data import astronaut

    assert (DEFAULT / "model.safetensors").stat().st_size <= 6_000_000
    pixels = astronaut()
    errors = {"telea": 0.0, "mend": 0.0}
    for place in ((100, 220, 300, 420), (330, 460, 20, 150), (10, 130, 20, 140)):
        mask = box(512, 512, *place)
        for name, inpainter in (("telea", mend.load("telea")), ("mend", default)):
            errors[name] += float(((inpainter(pixels, mask).astype(float) - pixels)[mask] ** 2).mean())
    assert errors["mend"] < 0.9 * errors["telea"], errors


def test_texture_is_sharper_and_keeps_what_is_known(default: mend.Inpainter):
    from skimage.data import grass

    pixels = np.repeat(grass()[..., None], 3, axis=2)
    mask = box(512, 512, 200, 300, 180, 320)
    plain, sharp = mend.fill(pixels, mask, smooth=True), default(pixels, mask)
    assert np.array_equal(sharp[~mask], pixels[~mask])
    assert 1.3 * plain[mask].std() < sharp[mask].std() < 1.3 * pixels[mask].std()


@pytest.mark.parametrize("runtime", ["PyTorch", "ONNX Runtime"])
def test_memory_is_kept_to_what_was_promised(tmp_path: Path, runtime: str):
    if sys.platform != "linux":
        pytest.skip("the peak of a process is read from /proc")
    y, x = np.mgrid[:1500, :2000]
    pixels = np.stack([(x // 7 + y // 11) % 256, x // 16 % 256, y // 12 % 256], axis=-1).astype(np.uint8)
    write_image(tmp_path / "p.png", Picture(pixels))
    mask = box(1500, 2000, 300, 720, 400, 860)
    write_image(tmp_path / "m.png", mask[..., None].astype(np.uint8) * 255)
    hole = mask[None, None].astype(np.float32)
    inpainter = mend.load(DEFAULT if runtime == "PyTorch" else None, "cpu")
    photo, painted, out = (str(tmp_path / f"{name}.png") for name in "pmo")
    words = ["fill", photo, "--mask", painted, "--device", "cpu", "-o", out]
    words += ["--model", str(DEFAULT)] if runtime == "PyTorch" else []
    usual = inpainter.plan(hole)
    small = inpainter.plan(hole, usual.memory - 2**25)
    assert small.tile is not None
    assert usual.tile is not None
    assert small.tile < usual.tile
    peaks = [peak([*words, "--max-memory", f"{plan.memory / 2**20:.0f}MB"]) for plan in (small, usual)]
    assert peaks[0] <= small.memory, (peaks, small)
    assert peaks[1] <= usual.memory, (peaks, usual)
    filled = read_image(tmp_path / "o.png").pixels
    assert np.array_equal(filled[~mask], pixels[~mask])
    with pytest.raises(InputError, match="`max_memory` is 200 MB, which is too little"):
        inpainter.plan(hole, 200 * 2**20)
