from pathlib import Path

import numpy as np
from PIL import Image

from mend.masks.show import contact_sheet


def test_the_contact_sheet_shows_masks_over_their_images(masks: Path, tmp_path: Path):
    sheet = np.asarray(Image.open(contact_sheet(masks / "train", tmp_path / "sheet.png"))).astype(int)
    assert min(sheet.shape[:2]) > 300
    red = (sheet[..., 0] - sheet[..., 1:3].max(-1)) > 60
    assert 0.03 < red.mean() < 0.6
