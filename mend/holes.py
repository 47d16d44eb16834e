"""Masks as people have them, read as a hole."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mend.errors import InputError
from mend.images import as_rgb, open_picture


def read_mask(path: str | Path, size: tuple[int, int] | None = None) -> Tensor:
    """The mask at `path` as a hole (1, 1, H, W): white is missing, the threshold is half.

    `size` is the (height, width) of its picture; InputError when the mask has another.
    """
    with open_picture(path) as opened:
        grey = np.asarray(as_rgb(ImageOps.exif_transpose(opened)).convert("L"))
    return check_hole(torch.from_numpy((grey >= 128).astype(np.float32))[None, None], size, f"the mask {path}")


def check_hole(hole: Tensor, size: tuple[int, int] | None, name: str = "the mask") -> Tensor:
    """`hole` itself, or InputError when its (height, width) is not `size`."""
    height, width = hole.shape[-2:]
    if size is not None and (height, width) != tuple(size):
        raise InputError(
            f"{name} is {width}×{height}, its picture {size[1]}×{size[0]} (width×height). "
            "A mask has the size of its picture; resize it without smoothing, or draw it on the picture itself."
        )
    return hole


def as_hole(mask: Any, size: tuple[int, int]) -> Tensor:
    """A mask of any kind that `Inpainter` takes as a hole (B, 1, H, W); `size` is the (height, width) it must have.

    Booleans are taken as they are, floats at one half; integers up to 1 are zeros and ones, others 8-bit levels at 128.
    """
    if isinstance(mask, (str, Path)):
        return read_mask(mask, size)
    if isinstance(mask, Image.Image):
        mask = np.asarray(mask.convert("L"))
    values = torch.as_tensor(mask if isinstance(mask, Tensor) else np.array(mask))
    if values.ndim < 2 or values.ndim > 4 or (values.ndim > 2 and values.shape[-3] != 1):
        raise InputError(f"a mask is (H, W), (1, H, W) or (B, 1, H, W); this one is {tuple(values.shape)}.")
    if values.dtype != torch.bool:
        top = 1.0 if values.is_floating_point() or values.max() <= 1 else 255.0
        if not (values.min() >= 0 and values.max() <= top):
            raise InputError(f"mask values run from {values.min():g} to {values.max():g}; expected 0 to {top:g}, white = hole.")
        values = values >= (top + 1) // 2 if top > 1 else values >= 0.5
    hole = values.float().reshape(-1, 1, *values.shape[-2:])
    return check_hole(hole, size)
