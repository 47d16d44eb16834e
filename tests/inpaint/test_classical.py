import numpy as np
import pytest

from mend.errors import InputError
from mend.images import mask_out
from mend.inpaint.classical import CLASSICAL, Classical


def ramp(height: int = 24, width: int = 32) -> np.ndarray:
    x = np.broadcast_to(np.linspace(0.2, 0.8, width, dtype=np.float32), (height, width))
    return np.stack([x, 1 - x, np.full_like(x, 0.5)])[None]


def no_hole(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_constant_picture_is_continued(name: str):
    image, hole = np.full((2, 3, 16, 16), 0.4, np.float32), no_hole(2, 1, 16, 16)
    hole[0, :, 4:9, 5:11] = 1
    hole[1, :, :3, :] = 1
    raw = Classical(name)(mask_out(image, hole), hole)
    assert raw.shape == image.shape
    # OpenCV works in 8 bits, and its Telea does not quite keep a constant (opencv/opencv#25404).
    assert np.abs(raw - image).max() < 2 / 255 + 1e-6


def test_biharmonic_continues_a_ramp_exactly_and_mean_colour_does_not():
    image, hole = ramp(), no_hole(1, 1, 24, 32)
    hole[..., 8:16, 10:20] = 1
    errors = {n: np.abs(Classical(n)(mask_out(image, hole), hole) - image)[..., 8:16, 10:20].max() for n in CLASSICAL}
    assert errors["biharmonic"] < 1e-3
    assert errors["mean-colour"] > 0.05
    assert errors["telea"] < 0.1
    assert errors["navier-stokes"] < 0.1


@pytest.mark.parametrize("name", CLASSICAL)
def test_nothing_known_and_nothing_missing(name: str):
    image = ramp()
    assert np.array_equal(Classical(name)(image, no_hole(1, 1, 24, 32)), image)
    assert (Classical(name)(0 * image, 1 + no_hole(1, 1, 24, 32)) == 0.5).all()


def test_only_biharmonic_needs_scikit_image(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mend.inpaint.classical.find_spec", lambda name: None)
    for name in set(CLASSICAL) - {"biharmonic"}:
        assert Classical(name).name == name
    with pytest.raises(InputError, match=r"scikit-image is not installed. Run in the folder of mend: pip install '.\[eval\]'"):
        Classical("biharmonic")
