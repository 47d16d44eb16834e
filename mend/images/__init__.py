"""Pictures in memory and in files, and the words that every module uses.

image   (B, 3, H, W) float32 RGB in [0, 1]
hole    (B, 1, H, W) float32, 1 = missing, 0 = known
masked  `image * (1 - hole)`: all that a network may see of the image
raw     what a network returns, (B, 3, H, W) in [0, 1]
filled  `composite(image, raw, hole)`: raw in the hole, image elsewhere, bit for bit
mask    a file or a flag: 8-bit, white = hole. Tensors are called hole, files are called masks.

They are tensors where a network is, and numpy arrays on the way from and to files, for which no PyTorch is imported.
"""

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mend.images.formats import check_quality as check_quality
from mend.images.formats import choose_suffix as choose_suffix
from mend.images.formats import find_pictures as find_pictures
from mend.images.formats import has_quality as has_quality
from mend.images.formats import name_format as name_format
from mend.images.formats import name_output as name_output
from mend.images.picture import Picture as Picture
from mend.images.picture import as_rgb as as_rgb
from mend.images.picture import find_differences as find_differences
from mend.images.picture import is_turned as is_turned
from mend.images.picture import picture_from_pil as picture_from_pil
from mend.images.picture import read_alpha as read_alpha
from mend.images.reading import explain_read_errors as explain_read_errors
from mend.images.reading import is_deep as is_deep
from mend.images.reading import open_picture as open_picture
from mend.images.reading import peek as peek
from mend.images.reading import read_image as read_image
from mend.images.reading import read_rgb as read_rgb
from mend.images.writing import check_fits as check_fits
from mend.images.writing import check_may_write as check_may_write
from mend.images.writing import encode as encode
from mend.images.writing import encode_pil as encode_pil
from mend.images.writing import make_folder as make_folder
from mend.images.writing import write_bytes as write_bytes
from mend.images.writing import write_image as write_image

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


def to_pixels(image: "np.ndarray | Tensor") -> np.ndarray:
    """An image as uint8 (B, H, W, 3), rounded to the nearest level."""
    if isinstance(image, np.ndarray):
        return np.rint(image.clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return (image.detach().float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def find_array_module(array: Any) -> Any:
    """The functions of the array API for an array or a tensor. numpy has them itself; the wrapper takes a tenth of a second."""
    if isinstance(array, np.ndarray):
        return np
    from array_api_compat import array_namespace

    return array_namespace(array)


def mask_out(image: Array, hole: Array) -> Array:
    """`masked`: the image with zeros where it is missing."""
    return image * (1 - hole)


def composite(image: Array, raw: Array, hole: Array) -> Array:
    """`filled`: `raw` in the hole, `image` elsewhere, bit for bit."""
    if isinstance(image, np.ndarray):
        return np.where(hole > 0, raw.astype(image.dtype, copy=False), image)
    return raw.to(image.dtype).where(hole > 0, image)


def pad_to(image: Array, stride: int) -> Array:
    """(B, C, H, W) grown at the right and bottom to multiples of `stride` by repeating the border."""
    xp, (height, width) = find_array_module(image), image.shape[-2:]
    down: int = -height % stride
    right: int = -width % stride
    if down:
        image = xp.concat([image, *[image[..., -1:, :]] * down], axis=2)
    if right:
        image = xp.concat([image, *[image[..., -1:]] * right], axis=3)
    return image


def arrange_grid(rows: list[np.ndarray], gap: int = 2, scale: int = 1) -> np.ndarray:
    """Rows of equally large uint8 (N, H, W, 3) pictures as one picture on white, each pixel repeated `scale` times."""
    count = max(len(row) for row in rows)
    height, width = rows[0].shape[1:3]
    cell_h, cell_w = height * scale + gap, width * scale + gap
    sheet = np.full((len(rows) * cell_h + gap, count * cell_w + gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            top, left = y * cell_h + gap, x * cell_w + gap
            sheet[top : top + height * scale, left : left + width * scale] = cell.repeat(scale, 0).repeat(scale, 1)
    return sheet
