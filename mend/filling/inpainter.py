"""The `Inpainter`: one object that fills any image of any size. Command line, notebook and evaluation all use it."""

import math
import os
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mend.errors import InputError
from mend.images import Picture, composite, loaded, mask_out, pad_to, picture_from_pil, read_image
from mend.inpaint.blend import evened
from mend.inpaint.classical import CLASSICAL, Classical
from mend.inpaint.onnx import DEFAULT
from mend.inpaint.plan import REACH, SEAM, TEXTURE, Plan, make_plan
from mend.inpaint.texture import has_patches, textured
from mend.inpaint.tiles import tiles
from mend.masks.hole import as_hole
from mend.models.checkpoint import load_model
from mend.models.device import find_device
from mend.models.pyramid import Pyramid
from mend.progress import Report, shared

Picturelike = str | Path | Image.Image | np.ndarray | Tensor


def load(path: str | Path = DEFAULT, device: str = "auto", texture: bool = False, seam: bool = False) -> "Inpainter":
    """An `Inpainter` from a model folder, a run folder, or the name of a classical filler such as "telea"; else the default.

    `device` is "auto" (a GPU where there is one), or a PyTorch device. With `texture` the filling is made anew of patches of
    the known picture (see `mend.inpaint.texture`), with `seam` it meets the picture all around the hole (see
    `mend.inpaint.blend`). Raises InputError as `load_model` does.
    """
    if str(path) in CLASSICAL:
        return Inpainter(Classical(str(path)), torch.device("cpu"), {"model": str(path)}, texture, seam)
    network, config = load_model(path)
    return Inpainter(network, find_device(device), config, texture, seam)


@overload
def fill(image: np.ndarray, mask: Any, texture: bool = False, *, hole: str = "auto") -> np.ndarray: ...
@overload
def fill(image: Tensor, mask: Any, texture: bool = False, *, hole: str = "auto") -> Tensor: ...
@overload
def fill(image: str | Path | Image.Image, mask: Any, texture: bool = False, *, hole: str = "auto") -> Image.Image: ...
def fill(image: Picturelike, mask: Any, texture: bool = False, *, hole: str = "auto") -> np.ndarray | Tensor | Image.Image:
    """Fill `image` where `mask` is white with the default network; see `Inpainter.__call__` for what they and `hole` may be.

    With `texture` the filling is made anew of patches of the known picture: sharper, and farther from the truth on average.
    """
    return _default(texture)(image, mask, hole=hole)


@lru_cache
def _default(texture: bool) -> "Inpainter":
    return load(texture=texture)


def any_size(network: Callable[[Tensor, Tensor], Tensor], stride: int, masked: Tensor, hole: Tensor) -> Tensor:
    """What a network returns for an image of any size: padded to its stride, un-padded after."""
    height, width = hole.shape[-2:]
    return network(pad_to(masked, stride), pad_to(hole, stride))[..., :height, :width]


class Inpainter:
    """Fills holes with one network, or with a classical filler; evens out the seam and adds texture if asked to. `config` says
    what it is."""

    def __init__(
        self, network: nn.Module, device: torch.device, config: dict[str, Any], texture: bool = False, seam: bool = False
    ) -> None:
        self.network, self.device, self.config = network.eval().to(device), device, config
        self.texture, self.seam = texture, seam
        self.stride = int(getattr(network, "stride", 1))

    @property
    def runtime(self) -> str:
        """What does the work, and where, in words."""
        return "no network" if isinstance(self.network, Classical) else f"PyTorch on {self.device}"

    def plan(self, hole: np.ndarray, most: int | None = None) -> Plan:
        """How a hole (B, 1, H, W) will be filled in at most so many bytes; see `make_plan`."""
        return make_plan(self.network, hole, most, max(TEXTURE * self.texture, SEAM * self.seam))

    @torch.inference_mode()
    def raw(self, image: Tensor, hole: Tensor, plan: Plan | None = None, report: Report = lambda done, of: None) -> Tensor:
        """What the network returns for an image and its hole, un-padded, on the image's device; in tiles when planned so.

        `report` is told how far it is; of what is filled at once it hears nothing.
        """
        back, (report, for_texture) = image.device, shared(report, 2) if self.texture else (report, report)
        masked, hole = mask_out(image, hole).to(self.device), hole.to(self.device)
        del image  # a large one, which the caller may have let go
        side = None if plan is None else plan.tile
        if side is None:
            raw = any_size(self.network, self.stride, masked, hole)
        elif isinstance(self.network, Pyramid):
            raw = self.network.fill(masked, hole, side, report)
        else:
            known = 1 - (F.max_pool2d(hole, 3, stride=1, padding=1) if self.seam else hole)  # a seam needs what lies beside
            raw, work = masked.clone(), list(tiles(known.cpu().numpy(), side, REACH, side))
            for done, tile in enumerate(work, 1):
                seen = any_size(self.network, self.stride, masked[(..., *tile.seen)], hole[(..., *tile.seen)])
                raw[(..., *tile.place)] = seen[(..., *tile.inner)].float()
                report(done, len(work))
        raw = raw.float()
        report(1, 1)
        if self.seam:
            raw = evened(raw, masked, hole)
        return (textured(composite(masked, raw, hole), hole, for_texture) if self.texture else raw).to(back)

    def fill(self, image: Tensor, hole: Tensor) -> Tensor:
        """`filled`: an image (B, 3, H, W) with its hole (B, 1, H, W) filled; known pixels are the same bits."""
        return composite(image, self.raw(image, hole), hole)

    def fill_picture(
        self,
        picture: Picture,
        hole: np.ndarray,
        weight: np.ndarray | None = None,
        plan: Plan | None = None,
        report: Report = lambda done, of: None,
    ) -> Picture:
        """A picture with its hole (1, 1, H, W) filled: every value outside it is the same integer, alpha is kept.

        `weight` (1, 1, H, W) is the share of the filling that is taken in the hole; all of it unless given. `plan` says in
        which tiles it is worked through; that of `plan(hole)` unless given.
        """
        missing = torch.from_numpy(hole)
        raw = self.raw(torch.from_numpy(picture.image()), missing, plan or self.plan(hole), report)
        filled = picture.fill(raw.numpy(), hole, weight)
        if self.texture and hole.any() and not has_patches(missing):
            filled.notes.append("no texture was made: too little of the picture is known to take patches from")
        return filled

    @overload
    def __call__(self, image: np.ndarray, mask: Any, *, hole: str = "auto") -> np.ndarray: ...
    @overload
    def __call__(self, image: Tensor, mask: Any, *, hole: str = "auto") -> Tensor: ...
    @overload
    def __call__(self, image: str | Path | Image.Image, mask: Any, *, hole: str = "auto") -> Image.Image: ...
    def __call__(self, image: Picturelike, mask: Any, *, hole: str = "auto") -> np.ndarray | Tensor | Image.Image:
        """Fill `image` where `mask` is white (or True, or 1); the same kind comes back, and the argument is not changed.

        image  a path (a PIL image comes back) · a PIL image · an array (H, W) or (H, W, C), uint8, uint16 or float in [0, 1]
               · a tensor (3, H, W) or (B, 3, H, W), uint8 or float in [0, 1]
        mask   a path or a PIL image (read by `mend.masks.hole.understand_mask`) · an array (H, W) · a tensor (H, W), (1, H, W)
               or (B, 1, H, W); of the image's size, a path or a PIL image in another size of the same shape too
        hole   what marks the hole in the mask, as --hole: "auto", "white", "black", "opaque", "transparent" or "painted"

        Raises InputError for another size, shape, type or range, and for a mask that can be read in more than one way. Warns of
        all that had to be converted in a file or a PIL image, and of how a mask in one was read.
        """
        if not isinstance(image, (Tensor, np.ndarray, Image.Image, str, os.PathLike)):
            raise InputError(f"an image is a path, a PIL image, an array or a tensor; this one is {type(image).__name__}.")
        if isinstance(image, Tensor):
            return self._fill_tensor(image, mask, hole)
        if isinstance(image, np.ndarray):
            pixels = self._fill_alone(_picture_from_array(image), mask, hole).pixels
            return pixels.reshape(image.shape).astype(image.dtype, copy=False)  # in its order of bytes
        if isinstance(image, Image.Image):
            picture, name = picture_from_pil(loaded(image, "the picture")), ""
        else:
            picture, name = read_image(Path(image)), Path(image).name
        picture.to_pil()  # what Pillow cannot hold is an error before the work, not after it
        filled = self._fill_alone(picture, mask, hole, str(image) if name else "")
        for note in filled.notes:
            warnings.warn(f"{name or 'the picture'}: {note}", stacklevel=2)
        return filled.to_pil()

    def _fill_alone(self, picture: Picture, mask: Any, marked: str, name: str = "") -> Picture:
        hole = _read_hole(mask, picture.pixels.shape[:2], marked, name)
        if len(hole) > 1:
            raise InputError(f"{len(hole)} masks for one picture; give one, or a tensor (B, 3, H, W) with as many images.")
        return self.fill_picture(picture, hole)

    def _fill_tensor(self, image: Tensor, mask: Any, marked: str) -> Tensor:
        if image.ndim not in (3, 4) or image.shape[-3] != 3 or image.numel() == 0:
            raise InputError(f"a tensor image is (3, H, W) or (B, 3, H, W), not empty; this one is {tuple(image.shape)}.")
        if image.dtype != torch.uint8 and not image.is_floating_point():
            raise InputError(f"a tensor image is uint8 or float in [0, 1]; this one is {image.dtype}.")
        batch = image if image.ndim == 4 else image[None]
        colours = batch.float() / 255 if batch.dtype == torch.uint8 else batch.float()
        _check_range(colours.min().item(), colours.max().item())
        hole = torch.from_numpy(_read_hole(mask, (batch.shape[-2], batch.shape[-1]), marked)).to(image.device)
        if len(hole) not in (1, len(batch)):
            raise InputError(f"{len(hole)} masks for {len(batch)} images; give one, or one for each.")
        # One by one on a CPU: in a batch its convolutions sum in another order.
        at_once = 1 if self.device.type == "cpu" else len(batch)
        alone = zip(colours.split(at_once), hole.expand(len(batch), -1, -1, -1).split(at_once), strict=True)
        raw = torch.cat([self.raw(one, missing, self.plan(missing.numpy(force=True))) for one, missing in alone])
        raw = (raw.clamp(0, 1) * 255).round() if batch.dtype == torch.uint8 else raw
        return composite(batch, raw, hole).reshape(image.shape)


def _read_hole(mask: Any, size: tuple[int, int], marked: str, photo: str = "") -> np.ndarray:
    """`as_hole` of tensors, too; what there is to say about how the mask was read is warned of."""
    if isinstance(mask, Tensor):
        mask = (mask.float() if mask.is_floating_point() else mask).numpy(force=True)  # numpy has no bfloat16
    hole, notes = as_hole(mask, size, marked, photo)
    for note in notes:
        warnings.warn(f"{Path(mask).name if isinstance(mask, (str, Path)) else 'the mask'}: {note}", stacklevel=4)
    return hole


def _picture_from_array(array: np.ndarray) -> Picture:
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
