"""Picture files opened and read: nothing else opens one."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mend.errors import InputError
from mend.images.bit_depth import (
    SEARCHED,
    UNSURE,
    find_largest_level,
    is_undecided,
    normalise_grey_tiff,
    read_jpeg_2000,
    read_png_chunks,
    restore_depth,
)
from mend.images.formats import KNOWN, find_format, name_format
from mend.images.heif import is_heif, register_heif
from mend.images.metadata import ORIENTATION, read_tags
from mend.images.picture import Picture, as_rgb, picture_from_pil

MOST = 1_000_000_000  # pixels of a picture that is opened
PILLOWS_MOST = 1024**3 // 4 // 3  # pixels from which Pillow warns of an attack; at twice as many it refuses
# Pixels in a byte, at most, by the format, of a TIFF by its compression; the others have no bound, or none that helps.
DENSEST = {"GIF": 2731, "JPEG": 1024, "PNG": 8256, "PPM": 8, "TGA": 64}
DENSEST |= {"raw": 8, "jpeg": 1024, "tiff_lzw": 21845, "tiff_adobe_deflate": 8256}
OTHERS = {
    b"%pdf": "a PDF, not a picture",
    b"%!ps": "a PostScript file, which is a program that draws, not a picture",
    b"<svg": "an SVG drawing, not a picture of pixels",
    b"<?xml": "an XML file, perhaps an SVG drawing, not a picture of pixels",
    b"<!doctype": "a web page, not a picture",
    b"<html": "a web page, not a picture",
    b"pk\3\4": "a ZIP archive or a document, not a picture",
}
"""What people take for a picture, by its first bytes, in small letters."""
_opening, _lock = 0, Lock()


def read_image(file: str | Path | bytes, name: str = "") -> Picture:
    """The picture in a file, or in its bytes: upright (EXIF orientation applied), with alpha, 16-bit depth and metadata kept.

    Palette, CMYK and other colour spaces become RGB, which `notes` says; they also say where the suffix of `name`, its path
    unless given, is that of another format. Raises InputError when the file is missing, empty, truncated or no picture, has
    more than a gigapixel, or holds floats or integers that 16 bits do not hold.
    """
    name = name or _name_source(file)
    with explain_read_errors(name), open_picture(file, name) as opened:
        picture = picture_from_pil(opened)
        white = _find_white(file, opened)
        if white > picture.full:
            restore_depth(picture, name, _read_content(file), white, opened)
        if opened.format == "PNG":
            chunks = _find_png_chunks(file, "cICP", "mDCV", "cLLI")
            if "cICP" in chunks:
                picture.metadata["colour"] = picture.metadata.get("colour", {}) | {"cICP": chunks.pop("cICP")}
            picture.notes += [f"the PNG chunk {chunk} is left out" for chunk in chunks]  # Pillow cannot write them
        if picture.source["format"] == "JPEG":
            picture.content = _read_content(file)
        if opened.format == "WEBP":
            picture.source["lossless"] = _is_lossless_webp(_read_content(file))
    named, found = name_format(Path(name).suffix), picture.source["format"]
    if named and named != found:
        picture.notes.append(f"{Path(name).name} is a {found} by its content")
    return picture


def read_rgb(file: str | Path | bytes) -> np.ndarray:
    """The colours of a picture file, or of its bytes, as upright uint8 (H, W, 3): what training and masks read.

    Transparency is dropped and 16 bits become 8. Raises InputError as `read_image` does.
    """
    name = _name_source(file)
    with explain_read_errors(name), open_picture(file, name) as opened:
        return np.asarray(as_rgb(ImageOps.exif_transpose(opened), name))


def peek(file: Path | bytes) -> tuple[str | None, int]:
    """The format of a picture by its content, and how many pixels it has, from its beginning; (None, 0) for no picture."""
    try:
        with _allow_large_pictures(), Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
            return find_format(opened), opened.width * opened.height
    except Exception:  # as in `explain_read_errors`
        return None, 0


def is_deep(file: str | Path | bytes, opened: Image.Image) -> bool:
    """Whether the file has more than 8 bits a channel, and Pillow, which opened it, not."""
    return opened.mode[0] not in "IF" and _find_white(file, opened) > 255


def open_picture(file: str | Path | bytes, name: str = "") -> Image.Image:
    """The file opened and decoded; every way in which it can be broken, or be too large, is one InputError that names it.

    It is called `name` there, by its path unless given.
    """
    name = name or _name_source(file)
    with explain_read_errors(name):
        if is_heif(head := _read_head(file, 12)):
            register_heif(name)
        try:
            with _allow_large_pictures():
                opened = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
                if opened.width * opened.height > MOST and Image.MAX_IMAGE_PIXELS == 2 * MOST:
                    raise Image.DecompressionBombError(
                        f"it has {opened.width}×{opened.height} pixels, and {MOST:,} are the most."
                    )
                _check_density(file, opened)
                if opened.format == "TIFF":  # Pillow turns it as it loads, and forgets that it did
                    opened.info["orientation"] = opened.getexif().get(ORIENTATION)
                opened.load()
        except UnidentifiedImageError:
            raise InputError(f"{name} {_describe_unknown(head)}") from None
        if opened.format == "TIFF" and opened.mode in ("I;16", "I;16B"):
            normalise_grey_tiff(opened)
        elif opened.format == "TIFF" and read_tags(opened).get(284) == 2 and is_deep(file, opened):
            raise InputError(
                f"{name} has 16 bits and its channels one after another, which mend cannot read. Save it as PNG first."
            )
        elif opened.format == "TIFF" and opened.info.get("compression") in UNSURE:
            with _allow_large_pictures():
                if is_undecided(_read_content(file), opened):
                    raise InputError(f"{name} is damaged: some of its rows cannot be read. Copy it again from where it came.")
        if opened.format == "JPEG2000":
            _repair_white(file, name, opened)
        return opened


def _check_density(file: str | Path | bytes, opened: Image.Image) -> None:
    """Raise OSError for a large picture whose file is too short to hold it: room for all its pixels is taken before they are
    read."""
    kind = opened.info.get("compression") if opened.format == "TIFF" else find_format(opened)
    pixels, densest = opened.width * opened.height, DENSEST.get(kind or "")
    length = len(file) if isinstance(file, bytes) else Path(file).stat().st_size
    if densest is not None and pixels > max(PILLOWS_MOST, densest * length):
        raise OSError(f"{length:,} bytes are too few for the {opened.width}×{opened.height} pixels that it claims to have")


@contextmanager
def _allow_large_pictures() -> Iterator[None]:
    """Pillow's limit, which is against pictures that strangers send, lifted for those that a person named.

    Another limit than Pillow's own was set by somebody, and stays. Pillow has one for all threads: the last to leave puts it
    back.
    """
    global _opening
    with _lock:
        _opening += 1
        if Image.MAX_IMAGE_PIXELS == PILLOWS_MOST:
            Image.MAX_IMAGE_PIXELS = 2 * MOST
    try:
        yield
    finally:
        with _lock:
            _opening -= 1
            if not _opening and Image.MAX_IMAGE_PIXELS == 2 * MOST:
                Image.MAX_IMAGE_PIXELS = PILLOWS_MOST


@contextmanager
def explain_read_errors(name: str) -> Iterator[None]:
    """Whatever Pillow raises of a file as an InputError: of a damaged one it raises errors of any type."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{name} takes more memory to open than is free. Scale it, or cut it into parts.") from None
    except FileNotFoundError:
        raise InputError(f"there is no file {name}.") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a folder. Expected a picture file.") from None
    except PermissionError:
        raise InputError(f"{name} may not be read: no permission for it. Change that, or copy the file.") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large to open: {error} Scale it, or cut it into parts.") from None
    except Exception as error:
        if "Ghostscript" in str(error):
            raise InputError(
                f"{name} is EPS, which is a program: to draw it takes Ghostscript. Save it as PNG first."
            ) from None
        raise InputError(f"{name} is damaged: {error}. Copy it again from where it came.") from None


def _describe_unknown(head: bytes) -> str:
    """What a file is that is no picture, or none that can be read, by its first bytes, and what to do."""
    expected = f"Expected {KNOWN}."
    if not head:
        return f"is empty (0 bytes). {expected} Copy it again from where it came."
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "is a TIFF that mend cannot read, or a camera's raw file. Open it with another program and save it as PNG."
    for beginning, kind in OTHERS.items():
        if head.lower().startswith(beginning):
            return f"is {kind}. {expected} Open it with another program and save the picture in it as PNG."
    return (
        f"is not a picture, or one in a format that mend does not know. {expected} If it is a picture, open it with another "
        "program and save it as PNG; if it should be one of these, copy it again from where it came."
    )


# --- What Pillow does not read ---------------------------------------------------------------------------------------


def _find_white(file: str | Path | bytes, opened: Image.Image) -> int:
    return find_largest_level(_read_content(file) if opened.format in SEARCHED else _read_head(file, 25), opened)


def _repair_white(file: str | Path | bytes, name: str, opened: Image.Image) -> None:
    """Make white 255 in a JPEG 2000 of more bits: Pillow rounds it to 256, which is 0."""
    content = _read_content(file)
    if opened.mode[0] == "I" or (white := find_largest_level(content, opened)) == 255:
        return
    deep = read_jpeg_2000(content, white)
    if deep is None or deep.shape[2] != len(opened.getbands()):
        raise InputError(
            f"{name} is a JPEG 2000 of more than 8 bits that cannot be read whole. Convert it to PNG or TIFF first."
        )
    opened.paste(Image.fromarray(np.rint(deep / 257).astype(np.uint8)))


def _find_png_chunks(file: str | Path | bytes, *names: str) -> dict[str, bytes]:
    """What is in these chunks, of those before the pixels: Pillow does not know them."""
    with io.BytesIO(file) if isinstance(file, bytes) else Path(file).open("rb") as opened:
        return {name: chunk[8:-4] for name, chunk in read_png_chunks(opened, until="IDAT") if name in names}


def _is_lossless_webp(content: bytes) -> bool:
    at = 12
    while at + 8 <= len(content):
        kind, length = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        at += 24 if kind == b"ANMF" else 8 + length + length % 2  # the first frame of an animation has its chunk inside
    return False


def _name_source(file: str | Path | bytes) -> str:
    return "the picture" if isinstance(file, bytes) else str(file)


def _read_content(file: str | Path | bytes) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def _read_head(file: str | Path | bytes, count: int) -> bytes:
    if isinstance(file, bytes):
        return file[:count]
    with Path(file).open("rb") as opened:
        return opened.read(count)
