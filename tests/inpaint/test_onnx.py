import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import smooth
from hypothesis import given, settings
from hypothesis import strategies as st

import mend
from mend.filling.load import load_filler
from mend.images import Picture, mask_out
from mend.inpaint import onnx, scales
from mend.inpaint.filler import Filler
from mend.inpaint.onnx import DEFAULT, PyramidOnnx


def test_onnx_runtime_reports_nothing(tmp_path: Path):
    """Where it does, it keeps a number of the computer in a hidden file among the temporary ones."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)  # which this process has set
    code = "from mend.inpaint.onnx import GRAPH, open_session; open_session(GRAPH)"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def by_onnx() -> PyramidOnnx:
    return PyramidOnnx()


@pytest.fixture(scope="module")
def by_torch() -> Filler:
    return load_filler(DEFAULT, "cpu")


def scene(height: int, width: int, seed: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) and a hole (1, 1, H, W) of one kind."""
    hole = np.zeros((1, 1, height, width), np.float32)
    if kind == "box":
        hole[..., height // 4 : height // 2 + 1, width // 3 : width // 2 + 1] = 1
    elif kind == "corner":
        hole[..., height // 2 :, width // 3 :] = 1
    elif kind == "specks":
        hole[:] = np.random.default_rng(seed).random(hole.shape) > 0.5
    elif kind == "full":
        hole[:] = 1
    return smooth(height, width, seed), hole


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 230),
    st.integers(1, 230),
    st.integers(0, 99),
    st.sampled_from(["box", "corner", "specks", "full", "empty"]),
)
def test_both_runtimes_fill_alike(by_onnx: PyramidOnnx, by_torch: Filler, height: int, width: int, seed: int, kind: str):
    """Sums in another order: 6e-4 of 255 levels at most where it was measured, up to 1500×1300 pixels. In 8 bits that shows at
    about 13 of a million values, by one level, where a value lies on the edge between two."""
    pixels, hole = scene(height, width, seed, kind)
    picture, inside = Picture(pixels), hole[0, 0] > 0
    masked = mask_out(picture.image(), hole)
    expected = by_torch(masked, hole, 512)
    off = np.abs(by_onnx(masked, hole, 512) - expected)
    assert off.max() <= 0.005 / 255
    filled = mend.Inpainter(by_onnx).fill_picture(picture, hole).pixels
    apart = filled.astype(int) - mend.Inpainter(by_torch).fill_picture(picture, hole).pixels
    edges = (np.abs(expected[0].transpose(1, 2, 0) * 255 % 1 - 0.5) < 0.01) & inside[..., None]
    assert not apart[~edges].any()
    assert np.abs(apart).max() <= 1
    assert np.array_equal(filled[~inside], pixels[~inside])


def test_a_large_picture_in_tiles(by_onnx: PyramidOnnx, by_torch: Filler, monkeypatch: pytest.MonkeyPatch):
    pixels, hole = scene(700, 900, 1, "box")
    hole[..., -5:, -5:] = 1
    masked, seen, correct = mask_out(Picture(pixels).image(), hole), [], by_onnx.correct
    expected = by_torch(masked, hole, 512)
    monkeypatch.setattr(by_onnx, "correct", lambda x: seen.append(x.shape) or correct(x))
    told: list[tuple[int, int]] = []
    raw = by_onnx(masked, hole, 512, lambda done, of: told.append((done, of)))
    assert max(max(shape[2:]) for shape in seen) <= 512 + 2 * by_onnx.reach
    assert np.abs(raw - expected).max() <= 0.005 / 255
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (told[0][1], told[0][1])
    assert np.abs(by_onnx(masked, hole, 128) - raw).max() < 1e-4, "tiles of another side"


def test_what_is_far_from_a_scratch_hardly_changes_its_filling(
    by_onnx: PyramidOnnx, by_torch: Filler, monkeypatch: pytest.MonkeyPatch
):
    pixels, hole = scene(400, 500, 1, "empty")
    for i in range(20, 380, 60):
        hole[..., i : i + 40, i : i + 5] = 1
    masked = mask_out(Picture(pixels).image(), hole)
    raw = by_onnx(masked, hole)
    assert np.abs(raw - by_torch(masked, hole)).max() <= 0.005 / 255
    monkeypatch.setattr(scales, "NEAR", scales.REACH)
    apart = np.abs(raw - by_onnx(masked, hole))
    assert 0 < apart.max() < 1 / 255


def test_it_is_the_network_that_pytorch_loads(by_onnx: PyramidOnnx, by_torch: Filler):
    for fact in ("name", "reach", "tiles", "parameters", "config"):
        assert getattr(by_onnx, fact) == getattr(by_torch, fact), fact
    assert by_onnx.memory.seen == by_torch.memory.seen  # type: ignore[union-attr]


def test_the_guess_is_relaxed_where_the_network_says_so(by_onnx: PyramidOnnx, tmp_path: Path):
    for file in DEFAULT.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**asdict(by_onnx.config), "model": "pyramid"}))
    plain, by_torch = PyramidOnnx(tmp_path), load_filler(tmp_path, "cpu")
    assert (plain.name, by_torch.name, by_onnx.name) == ("pyramid", "pyramid", "structure")
    pixels, hole = scene(70, 90, 1, "box")
    masked = mask_out(Picture(pixels).image(), hole)
    raw = plain(masked, hole)
    assert np.abs(raw - by_torch(masked, hole)).max() <= 0.005 / 255
    assert np.abs(raw - by_onnx(masked, hole)).max() > 1 / 255
    assert np.array_equal(plain(np.concatenate([masked] * 2), np.concatenate([hole] * 2))[1:], raw)


def test_each_picture_of_a_batch_is_filled_as_by_itself(by_onnx: PyramidOnnx):
    parts = [scene(40, 50, seed, kind) for seed, kind in enumerate(("box", "specks", "corner"))]
    masked, holes = zip(*((mask_out(Picture(pixels).image(), hole), hole) for pixels, hole in parts), strict=True)
    together = by_onnx(np.concatenate(masked), np.concatenate(holes))
    assert np.array_equal(together, np.concatenate([by_onnx(*one) for one in zip(masked, holes, strict=True)]))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 999), st.sampled_from([(2,), (3,), (2, 3)]))
def test_a_mirrored_picture_is_filled_as_the_picture_is(
    by_onnx: PyramidOnnx, height: int, width: int, seed: int, axes: tuple[int, ...]
):
    pixels, hole = scene(height, width, seed, "specks")
    masked = mask_out(Picture(pixels).image(), hole)
    other = by_onnx(np.flip(masked, axes), np.flip(hole, axes))
    assert np.array_equal(np.flip(other, axes), by_onnx(masked, hole))


def test_the_number_of_cores_changes_nothing(by_onnx: PyramidOnnx, monkeypatch: pytest.MonkeyPatch):
    scenes = [scene(176, 168, 0, "specks"), scene(33, 40, 1, "box"), scene(560, 64, 2, "corner"), scene(300, 400, 3, "empty")]
    for place in (40, 55, 200):
        scenes[-1][1][..., place : place + 3, place : place + 60] = 1
    for there in (1, 2, 3, 64):
        monkeypatch.setattr(onnx, "count_cores", lambda there=there: there)
        other = PyramidOnnx()
        for pixels, hole in scenes:
            masked = mask_out(Picture(pixels).image(), hole)
            assert np.array_equal(other(masked, hole), by_onnx(masked, hole))


def test_a_ramp_goes_on_and_a_flat_picture_stays_flat(by_onnx: PyramidOnnx):
    fill = mend.Inpainter(by_onnx).fill_picture
    y, x = np.mgrid[:257, :199]
    ramp = np.rint(255 * (0.1 + 0.4 * y / 256 + 0.4 * x / 198))[..., None].repeat(3, 2).astype(np.uint8)
    _, hole = scene(257, 199, 0, "corner")
    assert np.abs(fill(Picture(ramp), hole).pixels.astype(int) - ramp).max() <= 1
    for level in (0, 77, 255):
        flat = np.full((90, 70, 3), level, np.uint8)
        assert np.array_equal(fill(Picture(flat), scene(90, 70, 0, "box")[1]).pixels, flat)
    grey = fill(Picture(np.zeros((40, 9, 3), np.uint8)), np.ones((1, 1, 40, 9), np.float32))
    assert (grey.pixels == 128).all(), "nothing is known"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_nothing_outside_the_hole_changes_in_any_kind_of_picture(by_onnx: PyramidOnnx, dtype: Any, channels: int):
    values = np.random.default_rng(0).random((37, 41, channels))
    pixels = values.astype(dtype) if dtype == np.float32 else (values * np.iinfo(dtype).max).astype(dtype)
    _, hole = scene(37, 41, 0, "box")
    before = pixels.copy()
    filled, outside = mend.Inpainter(by_onnx).fill_picture(Picture(pixels), hole).pixels, hole[0, 0] == 0
    assert filled.dtype == dtype
    assert filled[outside].tobytes() == pixels[outside].tobytes()
    assert not np.array_equal(filled[~outside], pixels[~outside])
    assert np.array_equal(pixels, before)


def test_the_finer_scales_go_on_from_a_start(by_onnx: PyramidOnnx):
    """Another network's filling of a coarser scale takes the place of all that is coarser."""
    pixels, hole = scene(100, 131, 3, "box")
    masked = mask_out(Picture(pixels).image(), hole)
    blue = np.zeros((1, 3, 25, 33), np.float32)
    blue[:, 2] = 1
    raw = by_onnx(masked, hole, start=blue)
    inside = raw[:, :, hole[0, 0] > 0]
    assert inside[:, 2].mean() > 0.6 > 0.4 > inside[:, :2].mean()
    assert np.array_equal(raw[..., hole[0, 0] == 0], masked[..., hole[0, 0] == 0])
    with pytest.raises(ValueError, match=r"start is 30×25; expected one of the scales 131×100, 66×50, 33×25"):
        by_onnx(masked, hole, start=blue[..., :30])


def test_the_picture_itself_may_be_the_start(by_onnx: PyramidOnnx):
    pixels, hole = scene(60, 50, 3, "box")
    image = Picture(pixels).image()
    assert np.abs(by_onnx(mask_out(image, hole), hole, start=image) - image).max() < 1e-6
