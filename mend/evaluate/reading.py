"""Pictures of folders, read as they are scored."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mend.images import as_rgb, explain_read_errors, is_deep, open_picture, read_alpha
from mend.images.picture import FOREIGN, count_frames


def make_scored_reader() -> Callable[[Path, Path | None], np.ndarray]:
    """What reads the pictures of a folder as they are scored: upright, in 8-bit RGB, (H, W, 3) uint8.

    It is called with a file and, for a filled picture, its original. A palette is as good as RGB, and so is alpha that is
    opaque all over. What else is in a file and is not scored is warned of, once for each kind.
    """
    said = set[str]()

    def read(file: Path, original: Path | None) -> np.ndarray:
        with explain_read_errors(str(file)), open_picture(file) as opened:
            pixels = np.asarray(as_rgb(ImageOps.exif_transpose(opened), str(file)))
            for what in set(_find_unscored(file, opened, original)) - said:
                warnings.warn(f"{file}, and perhaps others: {what}", stacklevel=3)
                said.add(what)
        return pixels

    return read


def _find_unscored(file: Path, opened: Image.Image, original: Path | None) -> Iterator[str]:
    if opened.mode[0] in "IF" or is_deep(file, opened):
        yield "more than 8 bits a channel are scored as 8"
    alpha = read_alpha(opened)
    if alpha is not None and alpha.min() < 255:
        yield "its transparency is not scored, only the colours under it"
    if opened.mode in FOREIGN:
        yield f"{opened.mode} is scored as RGB"
    profile = opened.info.get("icc_profile")
    if original is not None:
        with Image.open(original) as other:
            if other.info.get("icc_profile") != profile:
                yield "its ICC profile is not that of its original; the numbers are compared, not the colours they stand for"
    if count_frames(opened) > 1:
        yield "the first of its frames or pages is scored"
