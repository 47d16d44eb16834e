"""The `Inpainter`: one object that fills any image of any size. The command line, the studio and the notebook use it."""

import math
import os
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, overload

import numpy as np
from PIL import Image

from mend.errors import InputError
from mend.filling.load import load_filler
from mend.images import Picture, composite, explain_read_errors, mask_out, picture_from_pil, read_image
from mend.inpaint.filler import Filler
from mend.inpaint.plan import Plan, make_plan
from mend.masks.hole import widen
from mend.masks.reading import as_hole
from mend.progress import Report, ignore

if TYPE_CHECKING:
    from torch import Tensor


def load(
    model: str | Path | None = None, device: str = "auto", *, smooth: bool = False, texture: bool = False, seam: bool = False
) -> "Inpainter":
    """An `Inpainter` from whatever `load_filler` takes: the network that comes with mend, with texture, unless you name one."""
    return Inpainter(load_filler(model, device, smooth=smooth, texture=texture, seam=seam))


@overload
def fill(image: np.ndarray, mask: Any, *, smooth: bool = False, hole: str = "auto", grow: int = 0) -> np.ndarray: ...
@overload
def fill(image: "Tensor", mask: Any, *, smooth: bool = False, hole: str = "auto", grow: int = 0) -> "Tensor": ...
@overload
def fill(
    image: str | Path | Image.Image, mask: Any, *, smooth: bool = False, hole: str = "auto", grow: int = 0
) -> Image.Image: ...
def fill(image: Any, mask: Any, *, smooth: bool = False, hole: str = "auto", grow: int = 0) -> Any:
    """Fill `image` where `mask` is white with the default network; see `Inpainter.__call__` for the arguments.

    With `smooth` it is left without texture: nearer to what was there on average, and a blur in a large hole.
    """
    return _load_default(smooth)(image, mask, hole=hole, grow=grow)


@lru_cache
def _load_default(smooth: bool) -> "Inpainter":
    return load(smooth=smooth)


class Inpainter:
    """Fills holes of images of any kind with one `Filler`."""

    def __init__(self, filler: Filler) -> None:
        self.filler = filler

    @property
    def name(self) -> str:
        return self.filler.name

    @property
    def runtime(self) -> str:
        """What does the work, and where, in words."""
        return self.filler.runtime

    def plan(self, hole: np.ndarray, most: int | None = None) -> Plan:
        """How a hole (B, 1, H, W) will be filled in at most so many bytes; see `make_plan`."""
        return make_plan(self.filler, hole, most)

    def fill_picture(
        self,
        picture: Picture,
        hole: np.ndarray,
        weight: np.ndarray | None = None,
        plan: Plan | None = None,
        report: Report = ignore,
    ) -> Picture:
        """A picture with its hole (1, 1, H, W) filled: every value outside it is the same integer, alpha is kept.

        `weight` (1, 1, H, W) is the share of the filling that is taken in the hole; all of it unless given. `plan` says in
        which tiles it is worked through; that of `plan(hole)` unless given.
        """
        # Nothing here holds on to the image while it is filled: a large one takes memory.
        raw = self.filler(mask_out(picture.image(), hole), hole, (plan or self.plan(hole)).tile, report)
        filled = picture.fill(raw, hole, weight)
        filled.notes.extend(self.filler.notes(hole))
        return filled

    @overload
    def __call__(self, image: np.ndarray, mask: Any, *, hole: str = "auto", grow: int = 0) -> np.ndarray: ...
    @overload
    def __call__(self, image: "Tensor", mask: Any, *, hole: str = "auto", grow: int = 0) -> "Tensor": ...
    @overload
    def __call__(self, image: str | Path | Image.Image, mask: Any, *, hole: str = "auto", grow: int = 0) -> Image.Image: ...
    def __call__(self, image: Any, mask: Any, *, hole: str = "auto", grow: int = 0) -> Any:
        """Fill `image` where `mask` is white (or True, or 1); the same kind comes back, and the argument is not changed.

        image  a path (a PIL image comes back) · a PIL image · an array (H, W) or (H, W, C), uint8, uint16 or float in [0, 1]
               · a tensor (3, H, W) or (B, 3, H, W), uint8 or float in [0, 1]
        mask   a path or a PIL image (read by `mend.masks.reading.understand_mask`) · an array (H, W) · a tensor (H, W),
               (1, H, W) or (B, 1, H, W); of the image's size, a path or a PIL image in another size of the same shape too
        hole   what marks the hole in the mask: "auto", "white", "black", "opaque", "transparent" or "painted"
        grow   pixels by which the hole is enlarged on all sides, for a mask that is a little too small

        Raises InputError for another size, shape, type or range, and for a mask that can be read in more than one way. Warns of
        all that had to be converted in a file or a PIL image, and of how a mask in one was read.
        """
        if is_tensor(image):
            return self._fill_tensor(image, mask, hole, grow)
        if not isinstance(image, (np.ndarray, Image.Image, str, os.PathLike)):
            raise InputError(f"an image is a path, a PIL image, an array or a tensor; this one is {type(image).__name__}.")
        if isinstance(image, np.ndarray):
            pixels = self._fill_alone(_read_array(image), mask, hole, grow).pixels
            return pixels.reshape(image.shape).astype(image.dtype, copy=False)  # in its order of bytes
        if isinstance(image, Image.Image):
            with explain_read_errors("the picture"):
                image.load()
            picture, name = picture_from_pil(image), ""
        else:
            picture, name = read_image(Path(image)), Path(image).name
        picture.to_pil()  # what Pillow cannot hold is an error before the work, not after it
        filled = self._fill_alone(picture, mask, hole, grow, str(image) if name else "")
        for note in filled.notes:
            warnings.warn(f"{name or 'the picture'}: {note}", stacklevel=2)
        return filled.to_pil()

    def _fill_alone(self, picture: Picture, mask: Any, marked: str, grow: int, name: str = "") -> Picture:
        hole = _read_hole(mask, picture.pixels.shape[:2], marked, name, picture)
        if len(hole) > 1:
            raise InputError(f"{len(hole)} masks for one picture; give one, or a tensor (B, 3, H, W) with as many images.")
        return self.fill_picture(picture, widen(hole, grow)[0])

    def _fill_tensor(self, image: "Tensor", mask: Any, marked: str, grow: int) -> "Tensor":
        import torch

        if image.ndim not in (3, 4) or image.shape[-3] != 3 or image.numel() == 0:
            raise InputError(f"a tensor image is (3, H, W) or (B, 3, H, W), not empty; this one is {tuple(image.shape)}.")
        if image.dtype != torch.uint8 and not image.is_floating_point():
            raise InputError(f"a tensor image is uint8 or float in [0, 1]; this one is {image.dtype}.")
        batch = image if image.ndim == 4 else image[None]
        colours = (batch.float() / 255 if batch.dtype == torch.uint8 else batch.float()).numpy(force=True)
        _check_range(float(colours.min()), float(colours.max()))
        holes = _read_hole(mask, (batch.shape[-2], batch.shape[-1]), marked)
        if grow:
            holes = np.concatenate([widen(hole[None], grow)[0] for hole in holes])
        if len(holes) not in (1, len(batch)):
            raise InputError(f"{len(holes)} masks for {len(batch)} images; give one, or one for each.")
        holes = np.broadcast_to(holes, (len(batch), *holes.shape[1:]))
        alone = zip(np.split(colours, len(batch)), np.split(holes, len(batch)), strict=True)
        raws = [self.filler(mask_out(one, hole), hole, self.plan(hole).tile) for one, hole in alone]
        raw = torch.from_numpy(np.concatenate(raws))
        raw = (raw.clamp(0, 1) * 255).round() if batch.dtype == torch.uint8 else raw
        hole = torch.from_numpy(np.array(holes)).to(image.device)
        return composite(batch, raw.to(image.device), hole).reshape(image.shape)


def is_tensor(value: Any) -> "TypeGuard[Tensor]":
    """Whether a value is a PyTorch tensor, asked without importing PyTorch: who has a tensor has done so."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _read_hole(mask: Any, size: tuple[int, int], marked: str, photo: str = "", picture: Picture | None = None) -> np.ndarray:
    """`as_hole` of tensors, too; what there is to say about how the mask was read is warned of."""
    if is_tensor(mask):
        mask = (mask.float() if mask.is_floating_point() else mask).numpy(force=True)  # numpy has no bfloat16
    hole, notes = as_hole(mask, size, marked, photo, picture)
    for note in notes:
        warnings.warn(f"{Path(mask).name if isinstance(mask, (str, Path)) else 'the mask'}: {note}", stacklevel=4)
    return hole


def _read_array(array: np.ndarray) -> Picture:
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or pixels.size == 0:
        raise InputError(f"an array image is (H, W) or (H, W, C) with 1 to 4 channels, not empty; this one is {array.shape}.")
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype not in (np.uint8, np.uint16) and not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(f"an array image is uint8, uint16 or float in [0, 1]; this one is {array.dtype}.")
    if np.issubdtype(pixels.dtype, np.floating):
        _check_range(float(pixels.min()), float(pixels.max()))
    return Picture(pixels)


def _check_range(low: float, high: float) -> None:
    if math.isnan(low):  # the least of values of which one is NaN
        raise InputError("the image holds NaN; expected 0 to 1. Put a number there, any where the mask is white.")
    if not (low >= 0 and high <= 1):
        raise InputError(f"float values run from {low:g} to {high:g}; expected 0 to 1. Divide by the value of white.")
