import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import spsolve

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


def test_harmonic_solves_laplaces_equation_whatever_the_hole_looks_like():
    """Beside a direct solution: many parts, holes of one pixel, thin ones, at the border, and one that leaves two pixels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:75, :90]
    many = rng.random((75, 90)) < 0.4
    many[20:60, 30:80] = True
    holes = [many, x > 5, y % 2 == 0, (x - 40) ** 2 + (y - 40) ** 2 < 900, (y != 50) | (x % 60 != 7)]
    for hole in holes:
        image = rng.random((75, 90, 3)).astype(np.float32)
        raw = Classical("harmonic")(image.transpose(2, 0, 1)[None] * ~hole, hole[None, None].astype(np.float32))
        assert np.abs(raw[0].transpose(1, 2, 0) - direct(image, hole)).max() < 1e-6


def direct(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Every missing pixel as the mean of its neighbours in the picture, by scipy's sparse LU."""
    height, width = hole.shape
    rows, columns, values, right = [], [], [], image.reshape(-1, 3).astype(np.float64)
    for y, x in np.ndindex(height, width):
        beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)] if hole[y, x] else []
        beside = [(v, u) for v, u in beside if 0 <= v < height and 0 <= u < width]
        rows += [y * width + x] * (1 + len(beside))
        columns += [y * width + x, *(v * width + u for v, u in beside)]
        values += [max(1, len(beside)), *[-1] * len(beside)]
    right[hole.ravel()] = 0
    return spsolve(csc_matrix((values, (rows, columns))), right).reshape(height, width, 3)


def test_harmonic_takes_no_more_memory_than_its_plan_says():
    hole = no_hole(1, 1, 400, 400)
    hole[..., 4:, :] = 1
    masked = np.random.default_rng(0).random((1, 3, 400, 400), np.float32) * (1 - hole)
    filler = Classical("harmonic")
    filler(masked, hole)
    tracemalloc.start()
    filler(masked, hole)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 < peak / hole.size / filler.memory.picture < 1, "bytes for each pixel"


def test_biharmonic_continues_a_ramp_exactly_and_mean_colour_does_not():
    image, hole = ramp(), no_hole(1, 1, 24, 32)
    hole[..., 8:16, 10:20] = 1
    errors = {n: np.abs(Classical(n)(mask_out(image, hole), hole) - image)[..., 8:16, 10:20].max() for n in CLASSICAL}
    assert errors["biharmonic"] < 1e-3
    assert errors["harmonic"] < 1e-5, "a ramp has no curvature"
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
