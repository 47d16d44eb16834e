"""Fillers of other programs, called as the classical ones are: to be measured beside ours.

G'MIC (`pip install gmic`) and PyPatchMatch (`pip install pypatchmatch`) are used where they are installed.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from mend.images import to_pixels
from mend.inpaint.classical import CLASSICAL, Classical, Picture
from mend.inpaint.filler import Filler


def gmic(masked: Picture, missing: np.ndarray) -> Picture:
    """`inpaint_matchpatch` as it is set by default: patches over scales, David Tschumperlé."""
    import gmic as program

    parts = [255 * part.astype(np.float32) for part in (masked, missing[..., None])]
    found = program.run("inpaint_matchpatch[0] [1]", program.ImageList([program.Image.from_yxc(part) for part in parts]))
    return found[0].to_numpy()[:, :, 0].transpose(1, 0, 2).clip(0, 255) / 255  # from (x, y, z, channel)


def pypatchmatch(masked: Picture, missing: np.ndarray) -> Picture:
    """PatchMatch and expectation maximisation over scales, patches of 7×7 as its examples have them."""
    import patchmatch

    patchmatch.set_random_seed(0)
    pixels = to_pixels(masked.transpose(2, 0, 1)[None])[0]
    return patchmatch.inpaint(pixels, missing.astype(np.uint8), patch_size=3).astype(np.float32) / 255


def other_fillers() -> dict[str, Filler]:
    """Those that can be used here; they become classical ones by their names."""
    made: dict[str, Callable[[Picture, np.ndarray], Picture]] = {}
    if find_spec("gmic"):
        made["gmic"] = gmic
    if find_spec("patchmatch"):
        made["pypatchmatch"] = pypatchmatch
    CLASSICAL.update(made)
    return {name: Classical(name) for name in made}
