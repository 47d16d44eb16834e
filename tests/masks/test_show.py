import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mend.data.sources import load_images
from mend.masks.show import contact_sheet
from mend.segment.make import make_masks


def test_the_contact_sheet_shows_masks_over_their_images(masks: Path, tmp_path: Path):
    sheet = np.asarray(Image.open(contact_sheet(masks / "train", tmp_path / "sheet.png"))).astype(int)
    assert min(sheet.shape[:2]) > 300
    red = (sheet[..., 0] - sheet[..., 1:3].max(-1)) > 60
    assert 0.03 < red.mean() < 0.6


def test_a_set_of_few_small_masks_has_a_histogram_that_can_be_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mend.masks.show.ACROSS", 1)
    make_masks(load_images(str(folder), "test"), "boxes", tmp_path / "set")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sheet = Image.open(contact_sheet(tmp_path / "set", tmp_path / "sheet.png"))
    assert sheet.width >= 700
