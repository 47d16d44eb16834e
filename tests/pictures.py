"""Small pictures and masks as files."""

from pathlib import Path

import numpy as np
from conftest import smooth

from mend.images import write_image


def picture(file: Path, seed: int = 0, height: int = 24, width: int = 32) -> Path:
    write_image(file, smooth(height, width, seed))
    return file


def mask(file: Path, height: int = 24, width: int = 32) -> Path:
    """An eighth of a picture of the usual size."""
    pixels = np.zeros((height, width, 1), np.uint8)
    pixels[6:14, 8:20] = 255
    write_image(file, pixels)
    return file
