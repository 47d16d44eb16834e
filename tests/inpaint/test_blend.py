"""Gradient-domain blending: the filling meets the picture, keeps its gradients, and nothing else changes."""

import numpy as np
import pytest
import torch

from mend.filling.load import load_filler
from mend.images import composite, mask_out
from mend.inpaint.blend import Blended, approximate_laplace, blend
from mend.inpaint.filler import Filler
from mend.inpaint.folder import Model
from mend.inpaint.onnx import PyramidOnnx
from mend.models import build
from mend.models.filler import TorchFiller


def scene(height: int = 61, width: int = 90) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[: 1 : height * 1j, : 1 : width * 1j].astype(np.float32)
    image = 0.2 + 0.6 * np.stack([rows, columns, (rows + columns) / 2])[None]
    hole = np.zeros((1, 1, height, width), np.float32)
    hole[..., 20:45, 30:70] = 1
    return image, hole


def fill(filler: Filler, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return composite(image, filler(mask_out(image, hole), hole), hole)


def test_a_constant_and_a_ramp_are_carried_on():
    image, hole = scene()
    constant = np.full_like(image, 0.3)
    assert np.allclose(approximate_laplace(mask_out(constant, hole), 1 - hole), constant, atol=1e-6)
    assert np.abs(approximate_laplace(mask_out(image, hole), 1 - hole) - image).max() < 0.01, "a ramp is harmonic"
    assert not approximate_laplace(image, np.zeros_like(hole)).any(), "nothing is known"


def test_a_filling_that_is_off_by_a_ramp_is_put_right_and_keeps_its_detail():
    image, hole = scene()
    detail = np.float32(0.05) * np.sin(np.arange(90, dtype=np.float32) / 2) * hole
    off = np.linspace(-0.1, 0.1, 90, dtype=np.float32)
    assert np.abs(blend(image + detail + off, image, hole) - image - detail)[:, :, 20:45, 30:70].max() < 0.01
    assert np.array_equal(blend(image, image, hole), image), "what meets the picture stays"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (7, 300)])
def test_any_size(size: tuple[int, int]):
    rng = np.random.default_rng(0)
    image, raw = rng.random((2, 2, 3, *size), np.float32)
    hole = (rng.random((2, 1, *size)) < 0.5).astype(np.float32)
    result = blend(raw, image, hole)
    assert result.shape == image.shape
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1
    assert np.isfinite(blend(raw, image, np.ones_like(hole))).all()


def test_known_pixels_are_the_same_bits_and_each_image_is_by_itself():
    image, hole = scene()
    plain = TorchFiller(build("unet", width=4), torch.device("cpu"), Model(model="unet"))
    filled = fill(Blended(plain), image, hole)
    known = np.broadcast_to(hole == 0, image.shape)
    assert np.array_equal(filled[known], image[known])
    assert not np.array_equal(filled, fill(plain, image, hole))
    both = fill(Blended(plain), np.concatenate([image, image[..., ::-1]]), np.concatenate([hole, hole[:, :, ::-1]]))
    assert np.allclose(both[:1], filled, atol=1e-5)


def test_fillings_that_meet_the_picture_by_themselves_stay_as_they_are():
    image, hole = scene()
    image = np.round(image * 255) / np.float32(255)  # of which OpenCV's keep every level
    for plain in (PyramidOnnx(), *(load_filler(name) for name in ("telea", "navier-stokes", "biharmonic"))):
        assert np.array_equal(fill(plain, image, hole), fill(Blended(plain), image, hole)), plain.name


def test_it_is_the_filler_that_it_blends_and_takes_more():
    pyramid = PyramidOnnx()
    filler: Filler = Blended(pyramid)
    assert (filler.name, filler.tiles) == (pyramid.name, pyramid.tiles)
    assert filler.version != pyramid.version
    assert filler.memory is not None
    assert filler.memory.picture > pyramid.memory.picture
