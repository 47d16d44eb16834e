"""The fillers on top of others: `Textured` here, `Blended` in `test_blend`."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from mend.data.random import uniform
from mend.inpaint.classical import Classical
from mend.inpaint.filler import Filler, Memory
from mend.inpaint.holes import find_thick
from mend.inpaint.onnx import PyramidOnnx
from mend.inpaint.synthesis import add_texture
from mend.inpaint.texture import Textured

NOTHING = "no texture was made: too little of the picture is known to take patches from"


def scene() -> tuple[np.ndarray, np.ndarray]:
    image = uniform(3 * 60 * 70, 3).astype(np.float32).reshape(1, 3, 60, 70)
    hole = np.zeros((1, 1, 60, 70), np.float32)
    hole[..., 20:40, 30:50] = 1
    return image * (1 - hole), hole


def test_the_filling_of_another_filler_gets_texture():
    masked, hole = scene()
    telea = Classical("telea")
    filler: Filler = Textured(telea)
    told: list[float] = []
    raw = filler(masked, hole, None, lambda done, of: told.append(done / of))
    assert np.array_equal(raw, add_texture(np.where(hole > 0, telea(masked, hole), masked), find_thick(hole)))
    assert filler.name == "telea, texture"
    assert filler.version != telea.version
    assert told == sorted(told)
    assert 0 < told[0] < 1 == told[-1]


def test_it_takes_what_the_filler_takes_and_more():
    pyramid = PyramidOnnx()
    filler = Textured(pyramid)
    assert (filler.reach, filler.tiles) == (pyramid.reach, pyramid.tiles)
    more = filler.memory
    assert isinstance(more, Memory)
    assert more.seen == pyramid.memory.seen
    assert more.picture > pyramid.memory.picture
    assert Textured(Classical("telea")).memory is None


def test_a_hole_that_leaves_no_patch_is_said():
    filler = Textured(Classical("telea"))
    hole = np.ones((1, 1, 20, 24), np.float32)
    hole[..., 0, 0] = 0
    assert NOTHING in filler.notes(hole)
    hole[..., :8, :8] = 0
    assert NOTHING not in filler.notes(hole)
    assert filler.notes(np.zeros_like(hole)) == []


@pytest.mark.parametrize(("wide", "thick"), [(6, False), (10, True)])
def test_a_hole_is_thin_up_to_six_pixels_at_a_border_too(wide: int, thick: bool):
    for place in ((slice(0, wide), slice(None)), (slice(None), slice(30, 30 + wide)), (slice(20, 20 + wide), slice(10, 60))):
        hole = np.zeros((1, 1, 60, 70), np.bool_)
        hole[0, 0][place] = True
        assert find_thick(hole).any() == thick
        assert not thick or np.array_equal(find_thick(hole), hole)


def test_where_thin_strokes_cross_nothing_is_thick():
    hole = np.zeros((80, 80), np.uint8)
    cv2.line(hole, (5, 5), (75, 75), 1, 5)
    cv2.line(hole, (5, 75), (75, 5), 1, 5)
    assert cv2.erode(hole, np.ones((7, 7), np.uint8)).any()
    assert not find_thick(hole[None, None]).any()


def test_a_thin_hole_gets_no_texture():
    masked, hole = scene()
    hole[:] = 0
    hole[..., 10:16, 5:60] = 1
    hole[..., 30:50, 20:26] = 1
    masked = masked * (1 - hole)
    telea = Classical("telea")
    assert np.array_equal(Textured(telea)(masked, hole), telea(masked, hole))
    thin = hole > 0
    hole[..., 30:50, 40:60] = 1
    masked = masked * (1 - hole)
    assert np.array_equal(Textured(telea)(masked, hole)[..., thin[0, 0]], telea(masked, hole)[..., thin[0, 0]])
    assert not np.array_equal(Textured(telea)(masked, hole), telea(masked, hole))


def test_what_the_filler_says_is_said():
    filler = Classical("telea")
    filler.notes = lambda hole: ["too dark"]  # type: ignore[method-assign]
    assert Textured(filler).notes(scene()[1])[0] == "too dark"


def test_neither_pytorch_nor_without_texture_numba_is_imported():
    code = """
import sys
import numpy as np
from mend.inpaint.classical import Classical
from mend.inpaint.blend import Blended
from mend.inpaint.texture import Textured
hole = np.zeros((1, 1, 40, 40), np.float32)
hole[..., 10:20, 10:20] = 1
filler = Textured(Blended(Classical("telea")))
filler.filler(1 - hole.repeat(3, 1), hole)
assert "numba" not in sys.modules
filler(1 - hole.repeat(3, 1), hole)
filler.notes(hole)
assert "numba" in sys.modules
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
