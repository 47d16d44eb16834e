"""Fillers of other programs, and Laplace's equation, called as networks are: to be measured beside ours.

G'MIC (`pip install gmic`) and PyPatchMatch (`pip install pypatchmatch`) are used where they are installed.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu
from torch import Tensor, nn

from mend.images import to_image, to_pixels


def harmonic(pixels: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Every missing pixel is the mean of its neighbours: Laplace's equation, solved exactly, insulated at the border."""
    number = np.full(missing.shape, -1)
    number[missing] = np.arange(missing.sum())
    neighbours, total, pairs = np.zeros(missing.sum()), np.zeros((missing.sum(), 3)), []
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        there = missing.copy()
        np.moveaxis(there, axis, 0)[-1 if step == 1 else 0] = False
        own, other = number[there], np.roll(number, -step, axis)[there]
        neighbours[own] += 1
        total[own[other < 0]] += np.roll(pixels, -step, axis)[there][other < 0]
        pairs.append(np.stack([own, other])[:, other >= 0])
    own, other = np.concatenate(pairs, 1)
    beside = coo_matrix((np.ones(len(own)), (own, other)), (len(neighbours), len(neighbours)))
    filled = pixels.astype(np.float64)
    filled[missing] = splu((diags(neighbours) - beside).tocsc()).solve(total)
    return filled.round().clip(0, 255).astype(np.uint8)


def gmic(pixels: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """`inpaint_matchpatch` as it is set by default: patches over scales, David Tschumperlé."""
    import gmic as program

    parts = [part.astype(np.float32) for part in (pixels, 255 * missing[..., None])]
    found = program.run("inpaint_matchpatch[0] [1]", program.ImageList([program.Image.from_yxc(part) for part in parts]))
    return found[0].to_numpy()[:, :, 0].transpose(1, 0, 2).round().clip(0, 255).astype(np.uint8)  # from (x, y, z, channel)


def pypatchmatch(pixels: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """PatchMatch and expectation maximisation over scales, patches of 7×7 as its examples have them."""
    import patchmatch

    patchmatch.set_random_seed(0)
    return patchmatch.inpaint(pixels, missing.astype(np.uint8), patch_size=3)


class Other(nn.Module):
    """`(masked, hole) -> raw` by a function of uint8 pixels (H, W, 3) and of what is missing (H, W), bool."""

    stride = 1

    def __init__(self, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.fill = fill

    def forward(self, masked: Tensor, hole: Tensor) -> Tensor:
        pairs = zip(to_pixels(masked.cpu()), hole[:, 0].cpu().numpy() > 0, strict=True)
        return to_image(np.stack([self.fill(pixels, missing) for pixels, missing in pairs])).to(masked)


def other_fillers() -> dict[str, nn.Module]:
    """Those that can be used here."""
    made = {"harmonic": Other(harmonic)}
    if find_spec("gmic"):
        made["gmic"] = Other(gmic)
    if find_spec("patchmatch"):
        made["pypatchmatch"] = Other(pypatchmatch)
    return made
