"""What the page shows of a picture: files that a browser can show, beside the picture in its folder.

`preview.webp` is scaled down; `full.jpg`, made when somebody asks for it, has the full size.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mend.images import Picture, encode_pil, write_bytes

PREVIEW = 1600  # longest side of a preview, in pixels


def write_preview(folder: Path, picture: Picture) -> None:
    """`preview.webp`: scaled down, 8 bits, alpha kept, with the picture's colour profile, but for grey."""
    shown = to_pil_8_bits(picture)
    factor = min(1.0, PREVIEW / max(shown.size))
    size = max(1, round(shown.width * factor)), max(1, round(shown.height * factor))
    shown = shown.resize(size, Image.Resampling.BOX, reducing_gap=2.0) if factor < 1 else shown
    _save(folder, shown.convert("RGBA" if shown.mode in ("LA", "RGBA") else "RGB"), _find_profile(picture))


def write_smooth_preview(folder: Path, of: Path, raw: np.ndarray, hole: np.ndarray) -> None:
    """The preview of the picture in the folder `of`, filled by `raw` (B, 3, H, W) in its hole (B, 1, H, W): what it looks like
    before there is texture."""
    with Image.open(of / "preview.webp") as opened:
        shown, profile = np.asarray(opened.convert("RGB"), np.float32), opened.info.get("icc_profile")
    scale = partial(cv2.resize, dsize=(shown.shape[1], shown.shape[0]), interpolation=cv2.INTER_AREA)
    inside = scale(hole[0, 0])
    filled = np.stack([scale(plane * hole[0, 0]) for plane in raw[0]], axis=-1)
    pixels = np.rint(shown * (1 - inside[..., None]) + 255 * filled).clip(0, 255).astype(np.uint8)
    _save(folder, Image.fromarray(pixels), profile)


def write_full(folder: Path, picture: Picture) -> None:
    """`full.jpg`: 8 bits, alpha laid on white, with the picture's colour profile, but for grey."""
    shown = to_pil_8_bits(picture)
    if shown.mode in ("LA", "RGBA"):
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown.convert("RGBA"))
    data = encode_pil(shown.convert("RGB"), "JPEG", quality=95, icc_profile=_find_profile(picture))
    write_bytes(folder / "full.jpg", data)


def to_pil_8_bits(picture: Picture) -> Image.Image:
    """A picture as Pillow has it, L, LA, RGB or RGBA: 16 bits become 8, without metadata."""
    pixels = picture.pixels
    levels = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def _save(folder: Path, shown: Image.Image, profile: bytes | None) -> None:
    data = encode_pil(shown, "WEBP", quality=90, icc_profile=profile)
    write_bytes(folder / "preview.webp", data)  # whole, since it may be asked for meanwhile


def _find_profile(picture: Picture) -> bytes | None:
    """What the numbers of a picture mean as colours; of a grey one, which is shown in three channels, nothing."""
    return picture.metadata.get("icc_profile") if picture.pixels.shape[2] >= 3 else None
