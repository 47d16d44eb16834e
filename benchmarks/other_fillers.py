"""Fillers of other programs, and Laplace's equation, called as the classical ones are: to be measured beside ours.

G'MIC (`pip install gmic`) and PyPatchMatch (`pip install pypatchmatch`) are used where they are installed.
"""

from importlib.util import find_spec

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

from mend.images import to_pixels
from mend.inpaint.classical import CLASSICAL, Classical, Picture
from mend.inpaint.filler import Filler


def harmonic(masked: Picture, missing: np.ndarray) -> Picture:
    """Every missing pixel is the mean of its neighbours: Laplace's equation, solved exactly, insulated at the border."""
    number = np.full(missing.shape, -1)
    number[missing] = np.arange(missing.sum())
    neighbours, total, pairs = np.zeros(missing.sum()), np.zeros((missing.sum(), 3)), []
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        there = missing.copy()
        np.moveaxis(there, axis, 0)[-1 if step == 1 else 0] = False
        own, other = number[there], np.roll(number, -step, axis)[there]
        neighbours[own] += 1
        total[own[other < 0]] += np.roll(masked, -step, axis)[there][other < 0]
        pairs.append(np.stack([own, other])[:, other >= 0])
    own, other = np.concatenate(pairs, 1)
    beside = coo_matrix((np.ones(len(own)), (own, other)), (len(neighbours), len(neighbours)))
    filled = masked.astype(np.float64)
    filled[missing] = splu((diags(neighbours) - beside).tocsc()).solve(total)
    return filled.clip(0, 1).astype(np.float32)


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
    made = {"harmonic": harmonic}
    if find_spec("gmic"):
        made["gmic"] = gmic
    if find_spec("patchmatch"):
        made["pypatchmatch"] = pypatchmatch
    CLASSICAL.update(made)
    return {name: Classical(name) for name in made}
