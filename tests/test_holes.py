from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mend.errors import InputError
from mend.holes import as_hole, read_mask


def test_a_mask_of_another_size_is_refused(tmp_path: Path):
    Image.new("L", (7, 5)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"m\.png is 7×5, its picture 9×6"):
        read_mask(tmp_path / "m.png", (6, 9))


def test_masks_of_every_kind():
    wanted = torch.tensor([[[[0.0, 1.0]]]])
    for mask in (
        np.array([[False, True]]),
        np.array([[0, 1]], np.uint8),
        np.array([[0, 255]], np.uint8),
        np.array([[100, 200]], np.uint8),
        np.array([[0.2, 0.9]]),
        torch.tensor([[[0, 1]]]),
        Image.fromarray(np.array([[0, 255]], np.uint8)),
    ):
        assert torch.equal(as_hole(mask, (1, 2)), wanted)
    assert torch.equal(as_hole(np.array([[0, 1], [0, 0]], np.uint8), (2, 2)).sum(), torch.tensor(1.0))
