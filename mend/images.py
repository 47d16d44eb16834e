"""The words that every module uses, and the one door in and out for pictures.

image   (B, 3, H, W) float32 RGB in [0, 1]
hole    (B, 1, H, W) float32, 1 = missing, 0 = known
masked  `image * (1 - hole)`: all that a network may see of the image
raw     what a network returns, (B, 3, H, W) in [0, 1]
filled  `composite(image, raw, hole)`: raw in the hole, image elsewhere, bit for bit
mask    a file or a flag: 8-bit, white = hole. Tensors are called hole, files are called masks.
"""

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mend.errors import InputError


def to_image(pixels: np.ndarray | Tensor) -> Tensor:
    """uint8 (B, H, W, 3) or (B, 3, H, W) pixels as an image; a tensor stays on its device."""
    tensor = torch.as_tensor(pixels)
    if tensor.shape[-1] == 3 and tensor.shape[1] != 3:
        tensor = tensor.permute(0, 3, 1, 2)
    return tensor.float() / 255


def to_pixels(image: Tensor) -> np.ndarray:
    """An image as uint8 (B, H, W, 3), rounded to the nearest level."""
    return (image.detach().float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def mask_out(image: Tensor, hole: Tensor) -> Tensor:
    """`masked`: the image with zeros where it is missing."""
    return image * (1 - hole)


def composite(image: Tensor, raw: Tensor, hole: Tensor) -> Tensor:
    """`filled`: `raw` in the hole, `image` elsewhere, bit for bit."""
    return torch.where(hole > 0, raw.to(image.dtype), image)


def pad_to(tensor: Tensor, stride: int) -> Tensor:
    """(B, C, H, W) grown at the right and bottom to multiples of `stride` by repeating the border."""
    height, width = tensor.shape[-2:]
    if height % stride == 0 and width % stride == 0:
        return tensor
    return F.pad(tensor, (0, -width % stride, 0, -height % stride), mode="replicate")


# --- Files -----------------------------------------------------------------------------------------------------------


@dataclass
class Picture:
    """A picture file in memory.

    `pixels` is (H, W, C), uint8, uint16 or float in [0, 1]; C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
    `save` holds what Pillow needs to write the file's metadata again. `notes` says what had to be converted.
    """

    pixels: np.ndarray
    save: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: list[str] = field(default_factory=list[str])

    @property
    def full(self) -> int:
        """The value of white: 255, 65535, or 1 for floats."""
        return int(np.iinfo(self.pixels.dtype).max) if self.pixels.dtype.kind == "u" else 1

    def image(self) -> Tensor:
        """The colours as an image (1, 3, H, W); grey is repeated, alpha is left out."""
        colours = self.pixels[..., : self._colours()].astype(np.float32) / self.full
        rgb = np.array(np.broadcast_to(colours, (*colours.shape[:2], 3)), order="C")
        return torch.from_numpy(rgb).permute(2, 0, 1)[None]

    def fill(self, filled: Tensor, hole: Tensor) -> "Picture":
        """A copy whose colours come from `filled` (1, 3, H, W) in the hole; every other value is the same integer.

        A pixel of the hole keeps its alpha.
        """
        inside = hole[0, 0].cpu().numpy() > 0
        levels = filled[0].detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        if self._colours() == 1:
            levels = levels @ np.array([[0.299], [0.587], [0.114]], np.float32)  # luma, ITU-R BT.601, as Pillow's "L"
        pixels = self.pixels.copy()
        levels = levels[inside] * self.full
        pixels[inside, : self._colours()] = (np.rint(levels) if pixels.dtype.kind == "u" else levels).astype(pixels.dtype)
        return Picture(pixels, dict(self.save), list(self.notes))

    def to_pil(self) -> Image.Image:
        """As a Pillow image. InputError for 16-bit colour, which Pillow does not have."""
        if self.pixels.dtype == np.uint16 and self.pixels.shape[2] > 1:
            raise InputError("Pillow has no 16-bit colour. Pass an array instead of a path, or use 'mend fill'.")
        return Image.fromarray(self.pixels[..., 0] if self.pixels.shape[2] == 1 else self.pixels)

    def _colours(self) -> int:
        return 1 if self.pixels.shape[2] < 3 else 3


def read_image(path: str | Path) -> Picture:
    """The picture at `path`, upright (EXIF orientation applied), with alpha, 16-bit depth and metadata kept.

    Palette, CMYK and other colour spaces become RGB, which `notes` says. Raises InputError when the file is
    missing, empty, truncated or no picture.
    """
    with open_picture(path) as opened:
        deep = _sixteen_bit_colour(path, opened)
        picture = picture_from_pil(opened)
        if deep is not None:
            picture.pixels = deep
        return picture


def picture_from_pil(opened: Image.Image) -> Picture:
    """A Pillow image as a `Picture`: upright, metadata kept; what is not grey or RGB is converted, which `notes` says."""
    save: dict[str, Any] = {k: opened.info[k] for k in ("icc_profile", "dpi") if opened.info.get(k)}
    frames = getattr(opened, "n_frames", 1)
    notes = [f"animation: the first of {frames} frames"] if frames > 1 else []
    upright = ImageOps.exif_transpose(opened)
    exif = upright.getexif()
    if exif:
        save["exif"] = exif.tobytes()
    if upright.mode.startswith("I;16"):
        return Picture(np.asarray(upright).astype(np.uint16)[..., None], save, notes)
    target = _plain_mode(upright)
    if target != upright.mode:
        notes.append(f"{upright.mode} converted to {target}")
        if upright.mode in ("CMYK", "LAB", "YCbCr"):
            save.pop("icc_profile", None)  # it describes the colours of before
        upright = as_rgb(upright) if target == "RGB" else upright.convert(target)
    pixels = np.asarray(upright)
    return Picture(pixels[..., None] if pixels.ndim == 2 else pixels, save, notes)


def read_rgb(file: str | Path | bytes) -> np.ndarray:
    """The colours of a picture file, or of its bytes, as upright uint8 (H, W, 3): what training and masks read.

    Transparency is dropped and 16 bits become 8. Raises InputError as `read_image` does.
    """
    with open_picture(file) as opened:
        return np.asarray(as_rgb(ImageOps.exif_transpose(opened), "a picture" if isinstance(file, bytes) else str(file)))


def write_image(path: str | Path, picture: "Picture | np.ndarray") -> None:
    """Write pixels to `path` in the format of its suffix, whole or not at all."""
    picture = picture if isinstance(picture, Picture) else Picture(picture)
    path, pixels = Path(path), picture.pixels
    if path.suffix.lower() not in Image.registered_extensions():
        raise InputError(f"cannot write {path}: the suffix {path.suffix!r} names no picture format. Use .png or .jpg.")
    data = io.BytesIO()
    kind = Image.registered_extensions()[path.suffix.lower()]
    if pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        data.write(_encode_deep(path, pixels))
    else:
        flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        if kind == "JPEG" and (pixels.dtype == np.uint16 or pixels.shape[2] in (2, 4)):
            raise InputError(f"cannot write {path}: JPEG has no alpha and 8 bits only. Use .png, which keeps both.")
        # quality 95 without chroma subsampling: what Pillow recommends as its highest useful setting
        extra: dict[str, Any] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
        Image.fromarray(flat).save(data, format=kind, **picture.save, **extra)
    write_bytes(path, data.getvalue())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def open_picture(file: str | Path | bytes) -> Image.Image:
    """The file opened and decoded; every way in which it can be broken is one InputError that names it."""
    name = f"{len(file)} bytes" if isinstance(file, bytes) else str(file)
    try:
        opened = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
        opened.load()
        return opened
    except FileNotFoundError:
        raise InputError(f"there is no file {name}.") from None
    except (UnidentifiedImageError, IsADirectoryError):
        empty = not isinstance(file, bytes) and Path(file).is_file() and Path(file).stat().st_size == 0
        said = "is empty (0 bytes)" if empty else "is not a picture that Pillow can read"
        raise InputError(f"{name} {said}. Expected PNG, JPEG, WebP, TIFF or another picture format.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{name} is damaged: {error}. Copy it again from where it came.") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large to open safely: {error}.") from None


def as_rgb(opened: Image.Image, name: str = "the picture") -> Image.Image:
    if opened.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it to white
        levels = np.asarray(opened).astype(np.int64)
        return Image.fromarray(np.clip(levels // 257 if levels.max() > 255 else levels, 0, 255).astype(np.uint8)).convert("RGB")
    if opened.mode == "F":
        return Image.fromarray(_float_levels(np.asarray(opened), name)).convert("RGB")
    if opened.mode == "P" and "transparency" in opened.info:
        opened = opened.convert("RGBA")  # straight to RGB would warn and pick the transparent colour's entry
    return opened.convert("RGB")


def _float_levels(values: np.ndarray, name: str) -> np.ndarray:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # NaN fails both
        raise InputError(f"{name} holds float values from {low:g} to {high:g}; expected 0 to 1, none of them NaN.")
    return np.rint(values * 255).astype(np.uint8)


def _plain_mode(opened: Image.Image) -> str:
    if opened.mode in ("L", "LA", "RGB", "RGBA"):
        return opened.mode
    if opened.mode == "1":
        return "L"
    if opened.mode in ("PA", "La", "RGBa") or "transparency" in opened.info:
        return "RGBA"
    return "RGB"


def _sixteen_bit_colour(path: str | Path, opened: Image.Image) -> np.ndarray | None:
    """16-bit RGB(A), which Pillow would cut to 8 bits, read by OpenCV; None for every other picture."""
    if opened.format not in ("PNG", "TIFF") or opened.mode not in ("RGB", "RGBA"):
        return None
    import cv2

    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        return None
    pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    orientation = opened.getexif().get(274, 1)
    flips: dict[int, tuple[int, ...]] = {2: (1,), 3: (0, 1), 4: (0,), 6: (0,), 7: (0, 1), 8: (1,)}
    pixels = np.flip(pixels, flips.get(orientation, ()))  # flips, then a transposition, make the eight EXIF orientations
    return np.ascontiguousarray(pixels.swapaxes(0, 1) if orientation >= 5 else pixels)


def _encode_deep(path: Path, pixels: np.ndarray) -> bytes:
    import cv2

    if path.suffix.lower() not in (".png", ".tif", ".tiff"):
        raise InputError(f"cannot write {path}: 16 bits a channel need .png or .tiff.")
    if pixels.shape[2] == 2:
        raise InputError(f"cannot write {path}: 16-bit grey with alpha has no writer. Convert the picture to RGBA first.")
    order = [2, 1, 0, 3][: pixels.shape[2]]
    done, data = cv2.imencode(path.suffix.lower(), pixels[..., order])
    if not done:
        raise InputError(f"OpenCV could not encode {path}.")
    return data.tobytes()


# --- Looking ---------------------------------------------------------------------------------------------------------


def grid(rows: list[np.ndarray], gap: int = 2, scale: int = 1) -> np.ndarray:
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
