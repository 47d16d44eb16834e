"""More than 8 bits a channel, where Pillow cuts them off, misplaces them or cannot write them."""

import io
import re
import struct
from typing import Any

import numpy as np
from PIL import Image

from mend.images.metadata import ORIENTATION
from mend.images.picture import Picture

START = 65536  # bytes of a file, in which all that is looked for here stands
GREY_WITH_ALPHA = 4  # the colour type of a PNG
_HEADER = re.compile(rb"P([36])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)")  # of a PPM: width, height and the value of white


def straighten(opened: Image.Image) -> None:
    """Make white 65535 in a TIFF of 16-bit grey: Pillow leaves 12 bits at the lower end, and white as 0 where that is said."""
    tags = opened.tag_v2  # type: ignore[attr-defined]
    levels, bits, order = np.asarray(opened), tags[258][0], "<u2" if opened.mode == "I;16" else ">u2"
    if bits < 16:
        levels = levels << (16 - bits) | levels >> (2 * bits - 16)
    if tags.get(262) == 0:
        levels = 65535 - levels
    opened.paste(Image.fromarray(levels.astype(order)))


def largest_level(start: bytes, opened: Image.Image) -> int:
    """The value of white in a file that begins with `start`: 255 where it has no more than 8 bits a channel."""
    bits = 8
    if opened.format == "PPM" and (header := _HEADER.match(start)):
        return int(header[4])
    if opened.format == "PNG":
        bits = start[24]
    elif opened.format == "TIFF":
        bits = max(opened.tag_v2.get(258, (8,)))  # type: ignore[attr-defined]
    elif opened.format == "SGI":
        bits = 8 * start[3]
    elif opened.format == "JPEG2000" and (at := start.find(b"\xff\x4f\xff\x51")) >= 0:
        bits = (start[at + 42] & 0x7F) + 1
    elif opened.format == "AVIF" and (at := start.find(b"av1C")) >= 0:
        bits = {0x40: 10, 0x60: 12}.get(start[at + 6] & 0x60, 8)
    return max(255, 2**bits - 1)


def deepen(picture: Picture, content: bytes, white: int, opened: Image.Image) -> None:
    """Put a file's own levels, of which the highest is `white`, in place of Pillow's 8 bits; a note says where that failed."""
    deep = _ppm(content, white) if opened.format == "PPM" else _by_opencv(content, white, opened, picture.pixels)
    if deep is None:
        picture.notes.append(f"{white.bit_length()} bits a channel cut to 8")
        return
    picture.pixels = np.ascontiguousarray(deep)
    if opened.format == "PNG" and content[25] == GREY_WITH_ALPHA:
        picture.notes.append("16-bit grey with alpha converted to RGBA")


def _ppm(content: bytes, white: int) -> np.ndarray | None:
    """As grey, three times as wide, Pillow reads all bits of it."""
    if not (header := _HEADER.match(content)):
        return None
    magic, width, height = header[1].translate(bytes.maketrans(b"36", b"25")), int(header[2]), int(header[3])
    with Image.open(io.BytesIO(b"P%b %d %d %d" % (magic, 3 * width, height, white) + content[header.end() :])) as grey:
        return np.asarray(grey).astype(np.uint16).reshape(height, width, 3)


def _by_opencv(content: bytes, white: int, opened: Image.Image, pixels: np.ndarray) -> np.ndarray | None:
    """A picture as OpenCV reads it, if that is what Pillow reads as 8-bit `pixels`, upright."""
    if opened.format not in ("PNG", "TIFF", "JPEG2000") or opened.mode not in ("RGB", "RGBA"):
        return None
    import cv2

    deep = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
        return None
    deep = deep[..., [2, 1, 0, 3][: deep.shape[2]]]
    if opened.format == "JPEG2000":  # which Pillow rounds: white to 256, which it takes for 0
        bits = white.bit_length()
        rounded = (deep.astype(np.int32) + (1 << (bits - 9)) >> (bits - 8)).astype(np.uint8)
        return np.rint(deep * (65535 / white)).astype(np.uint16) if np.array_equal(rounded, pixels) else None
    for upright in (deep, _turned(deep, opened.getexif().get(ORIENTATION, 1))):  # OpenCV turns a TIFF itself, but not a PNG
        if upright.shape[:2] == pixels.shape[:2] and np.array_equal(upright[..., :3] >> 8, pixels[..., :3]):
            return upright
    return None


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    flips: dict[int, tuple[int, ...]] = {2: (1,), 3: (0, 1), 4: (0,), 6: (0,), 7: (0, 1), 8: (1,)}
    pixels = np.flip(pixels, flips.get(orientation, ()))  # flips, then a transposition, make the eight EXIF orientations
    return pixels.swapaxes(0, 1) if orientation >= 5 else pixels


def deep_png(pixels: np.ndarray, metadata: dict[str, Any]) -> bytes:
    """OpenCV writes the 16 bits; Pillow the metadata, into a picture of one pixel, from which they are taken over."""
    import cv2

    done, data = cv2.imencode(".png", pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
    assert done
    other = io.BytesIO()
    Image.new("RGB", (1, 1)).save(other, "PNG", **metadata)
    content, at, chunks = other.getvalue(), 8, b""
    while at < len(content):
        end = at + 12 + struct.unpack_from(">I", content, at)[0]
        chunks += b"" if content[at + 4 : at + 8] in (b"IHDR", b"IDAT", b"IEND") else content[at:end]
        at = end
    return data[:33].tobytes() + chunks + data[33:].tobytes()  # 33: after the signature and the header
