"""More than 8 bits a channel, where Pillow cuts them off or misplaces them; and damage that it passes over."""

import io
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from mend.errors import InputError
from mend.images.metadata import ORIENTATION, read_tags
from mend.images.picture import Picture

SEARCHED = ("PPM", "JPEG2000", "AVIF")  # formats in which the depth of the channels may stand anywhere
PATTERNS = (0x35, 0xCA)  # bytes that memory seldom holds by itself, as new memory holds zeros
FAXES = ("group3", "group4", "tiff_ccitt")  # compressions of a TIFF
UNSURE = (*FAXES, "jpeg")  # of which libtiff passes over damage
GREY_WITH_ALPHA = 4  # the colour type of a PNG
_HEADER = re.compile(rb"P([36])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)")  # of a PPM: width, height and the value of white


def normalise_grey_tiff(opened: Image.Image) -> None:
    """Make white 65535 in a TIFF of 16-bit grey: Pillow leaves 12 bits at the lower end, and white as 0 where that is said."""
    tags = read_tags(opened)
    levels, bits, order = np.asarray(opened), tags[258][0], "<u2" if opened.mode == "I;16" else ">u2"
    if bits < 16:
        levels = levels << (16 - bits) | levels >> (2 * bits - 16)
    if tags.get(262) == 0:
        levels = 65535 - levels
    opened.paste(Image.fromarray(levels.astype(order)))


def find_largest_level(content: bytes, opened: Image.Image) -> int:
    """The value of white in a file: 255 where it has no more than 8 bits a channel.

    Of `content` the first 25 bytes are enough, but for the formats `SEARCHED`.
    """
    bits = 8
    if opened.format == "PPM" and (header := _HEADER.match(content)):
        return max(255, int(header[4]))
    if opened.format == "PNG":
        bits = content[24]
    elif opened.format == "TIFF":
        bits = max(read_tags(opened).get(258, (8,)))
    elif opened.format == "SGI":
        bits = 8 * content[3]
    elif opened.format == "HEIF":
        bits = opened.info.get("bit_depth", 8)
    elif opened.format == "JPEG2000":
        bits = (content[content.find(b"\xff\x4f\xff\x51") + 42] & 0x7F) + 1
    elif opened.format == "AVIF" and (at := content.find(b"av1C")) >= 0:
        bits = {0x40: 10, 0x60: 12}.get(content[at + 6] & 0x60, 8)
    return max(255, 2**bits - 1)


def restore_depth(picture: Picture, name: str, content: bytes, white: int, opened: Image.Image) -> None:
    """Put a file's own levels, of which the highest is `white`, in place of Pillow's 8 bits.

    A note says so where they have no reader and are cut; InputError where there is one, and it does not see what Pillow sees.
    """
    deep: np.ndarray | None = None
    if opened.format == "PPM":
        deep = _read_ppm(content)
    elif opened.format == "JPEG2000":
        deep = read_jpeg_2000(content, white)
    elif opened.format in ("PNG", "TIFF") and opened.mode in ("RGB", "RGBA"):
        deep = _match_orientation(_decode_by_opencv(content), picture.pixels, opened)
        if deep is None:
            raise InputError(f"{name} has 16 bits a channel and cannot be read whole. Save it anew, as a plain PNG.")
    if deep is None:
        picture.lose(f"{white.bit_length()} bits a channel cut to 8")
        return
    picture.pixels = np.ascontiguousarray(deep)
    if opened.format == "PNG" and content[25] == GREY_WITH_ALPHA:
        picture.notes.append("16-bit grey with alpha converted to RGBA")


def _read_ppm(content: bytes) -> np.ndarray | None:
    """The levels (H, W, 3) of a PPM that Pillow has read, so it is whole."""
    if not (header := _HEADER.match(content)):
        return None
    width, height, white = (int(number) for number in header.groups()[1:])
    if header[1] == b"6":
        levels = np.frombuffer(content, ">u2", 3 * width * height, header.end() + 1)
    else:
        text = re.sub(rb"#[^\r\n]*", b"", content[header.end() :])
        levels = np.fromstring(text, np.uint16, 3 * width * height, sep=" ")
    return _scale_to_16_bits(levels, white).reshape(height, width, 3)


def read_jpeg_2000(content: bytes, white: int) -> np.ndarray | None:
    """The levels (H, W, C) of a JPEG 2000, None where OpenCV cannot read it."""
    deep = _decode_by_opencv(content)
    return None if deep is None else _scale_to_16_bits(deep, white)


def _scale_to_16_bits(levels: np.ndarray, white: int) -> np.ndarray:
    """Levels up to `white` as levels up to 65535; higher ones, which there should not be, are white."""
    if white == 65535:
        return levels.astype(np.uint16)
    return np.rint(np.minimum(np.arange(65536), white) * (65535 / white)).astype(np.uint16)[levels]


def is_undecided(content: bytes, opened: Image.Image) -> bool:
    """Whether a TIFF of a compression that is `UNSURE` gives other pixels when it is read again, a fax also by OpenCV: of a
    damaged one libtiff leaves rows as its memory happens to be, which nothing else tells. So that is made another each time."""
    own, tags = np.asarray(opened.convert("L")), read_tags(opened)
    strip = opened.width * sum(tags.get(258, (1,))) // 8 * min(tags.get(278, opened.height), opened.height)
    for value in PATTERNS:
        _write_into_free_memory(value, strip)
        with Image.open(io.BytesIO(content)) as again:
            if not np.array_equal(np.asarray(again.convert("L")), own):
                return True
    if opened.info["compression"] not in FAXES:  # of others OpenCV may round in another way
        return False
    other = _decode_buffer(content)
    return other is not None and other.shape == own.shape and not any(np.array_equal(other, ink) for ink in (own, 255 - own))


def _write_into_free_memory(value: int, size: int) -> None:
    """Leave memory that holds `value` for whoever asks next for so many bytes: all that is free in such pieces, up to 4 MB."""
    size = max(size, 1024)
    held = [np.full(size, value, np.uint8) for _ in range(1 + (1 << 22) // size)]
    del held


def _decode_by_opencv(content: bytes) -> np.ndarray | None:
    """The levels (H, W, C) of a colour picture as the file has them, None where OpenCV finds no such."""
    deep = _decode_buffer(content)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
        return None
    return deep[..., [2, 1, 0, 3][: deep.shape[2]]]


def _decode_buffer(content: bytes) -> np.ndarray | None:
    import cv2

    said = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # else it warns of tags it does not know
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    finally:
        cv2.utils.logging.setLogLevel(said)


def _match_orientation(deep: np.ndarray | None, pixels: np.ndarray, opened: Image.Image) -> np.ndarray | None:
    """The levels turned as 8-bit `pixels`, which are their upper halves, None if they are not."""
    for turned in () if deep is None else (deep, orient(deep, opened.getexif().get(ORIENTATION, 1))):
        if turned.shape[:2] == pixels.shape[:2] and np.array_equal(turned[..., :3] >> 8, pixels[..., :3]):
            return turned[..., : pixels.shape[2]]  # OpenCV turns a TIFF itself, but not a PNG
    return None


def orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, …) as an EXIF orientation says that they are to be shown."""
    flips: dict[int, tuple[int, ...]] = {2: (1,), 3: (0, 1), 4: (0,), 6: (0,), 7: (0, 1), 8: (1,)}
    pixels = np.flip(pixels, flips.get(orientation, ()))  # flips, then a transposition, make the eight EXIF orientations
    return pixels.swapaxes(0, 1) if orientation >= 5 else pixels


def read_png_chunks(file: BinaryIO, until: str = "") -> Iterator[tuple[str, bytes]]:
    """The chunks of a PNG, up to the first that is called `until`: each by its name and whole, which is 4 bytes of length, 4 of
    the name, the data, and 4 of a checksum."""
    file.seek(8)
    while len(start := file.read(8)) == 8 and (name := start[4:].decode("latin-1")) != until:
        yield name, start + file.read(struct.unpack(">I", start[:4])[0] + 4)
