"""Picture files encoded and written, whole or not at all: nothing else encodes one."""

import errno
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mend.errors import InputError
from mend.images.bit_depth import read_png_chunks
from mend.images.formats import LOSSY, check_quality, name_format
from mend.images.metadata import Metadata, make_tiff_tags, save_arguments
from mend.images.picture import Picture, Source


def write_image(path: str | Path, picture: Picture | np.ndarray) -> None:
    """Write pixels to `path` in the format of its suffix, whole or not at all; see `encode`."""
    write_bytes(Path(path), encode(picture if isinstance(picture, Picture) else Picture(picture), path)[0])


def encode(picture: Picture, path: str | Path, quality: int | None = None) -> tuple[bytes, str]:
    """A file for the name `path`, and how it loses something, in words: empty where the format keeps every value.

    A JPEG from a JPEG is made with the tables and the subsampling of before, a WebP is lossless unless it was lossy before;
    `quality`, 1 to 100, is for JPEG, WebP and AVIF. InputError as `check_fits` raises it.
    """
    kind, pixels = check_fits(path, picture, quality), picture.pixels
    if kind == "TIFF":
        return _encode_tiff(pixels, picture.metadata, picture.source.get("compression") != "raw"), ""
    metadata = save_arguments(picture.metadata, kind)
    if pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        return _deep_png(pixels, metadata), ""
    compression, loss = _choose_compression(picture.source, kind, quality)
    opened = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    try:
        return encode_pil(opened, kind, **metadata, **compression), loss
    except (OSError, ValueError) as error:  # more pixels or metadata than the format has room for, or other channels
        raise InputError(f"cannot write {path}: {error}. Use .png, which holds it.") from None


def check_fits(path: str | Path, picture: Picture, quality: int | None = None) -> str:
    """The format that the suffix of `path` names. InputError when there is none, or when it cannot hold the picture, and for
    a `quality` (see `encode`) that it does not have."""
    kind, channels = name_format(Path(path).suffix), picture.pixels.shape[2]
    if kind is None:
        what = f"{Path(path).suffix} files" if Path(path).suffix else "files without a suffix"
        raise InputError(f"cannot write {path}: mend writes no {what}. Use .png or .jpg.")
    if quality is not None:
        check_quality(path, quality)
    if kind == "JPEG" and (picture.pixels.dtype == np.uint16 or channels in (2, 4)):
        raise InputError(f"cannot write {path}: JPEG has no alpha and 8 bits only. Use .png, which keeps both.")
    if picture.pixels.dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        raise InputError(f"cannot write {path}: 16 bits a channel need .png or .tiff.")
    if picture.pixels.dtype == np.uint16 and channels == 2:
        raise InputError(f"cannot write {path}: 16-bit grey with alpha has no writer. Convert the picture to RGBA first.")
    return kind


def _choose_compression(source: Source, kind: str, quality: int | None) -> tuple[dict[str, Any], str]:
    """Pillow's arguments, and what the format loses, in words."""
    if kind == "JPEG" and quality is None and "qtables" in source:
        own = {"qtables": source["qtables"], "subsampling": source["subsampling"], "progressive": source["progressive"]}
        return own, "re-encoded with the input's tables"
    if kind == "WEBP" and quality is None and source.get("lossless", True):
        # exact: colours under full transparency too. Quality is effort here: 80, the default, takes ten times as long
        return {"lossless": True, "exact": True, "quality": 20}, ""
    if kind in LOSSY:
        # 95 without chroma subsampling: what Pillow recommends as its highest useful setting
        arguments: dict[str, Any] = {"quality": quality or 95}
        if kind != "WEBP":
            arguments["subsampling"] = "4:4:4"
        return arguments, f"quality {quality or 95}"
    return {}, "256 colours" if kind == "GIF" else ""


def encode_pil(picture: Image.Image, kind: str, **how: Any) -> bytes:
    """A Pillow image as the bytes of a file of the format `kind`, such as "PNG"; `how` are Pillow's arguments for it."""
    data = io.BytesIO()
    picture.save(data, kind, **how)
    return data.getvalue()


# --- What Pillow does not write --------------------------------------------------------------------------------------


def _deep_png(pixels: np.ndarray, metadata: dict[str, Any]) -> bytes:
    """OpenCV writes the 16 bits; Pillow the metadata, into a picture of one pixel, from which they are taken over."""
    import cv2

    done, data = cv2.imencode(".png", pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
    assert done
    other = encode_pil(Image.new("RGB", (1, 1)), "PNG", **metadata)
    chunks = b"".join(chunk for name, chunk in read_png_chunks(io.BytesIO(other)) if name not in ("IHDR", "IDAT", "IEND"))
    return data[:33].tobytes() + chunks + data[33:].tobytes()  # 33: after the signature and the header


def _encode_tiff(pixels: np.ndarray, metadata: Metadata, compressed: bool) -> bytes:
    """A TIFF in strips of 64 rows, deflated or bare; Pillow writes the list of tags.

    Pillow's own writer has no 16-bit colour, and no EXIF in a compressed file.
    """
    height, width, channels = pixels.shape
    rows = pixels.astype(pixels.dtype.newbyteorder("<"))
    if compressed:
        rows[:, 1:] -= pixels[:, :-1]  # the difference from the pixel to the left is smaller to deflate
    bare = [rows[top : top + 64].tobytes() for top in range(0, height, 64)]
    strips = [zlib.compress(strip, 4) for strip in bare] if compressed else bare  # 4: a sixth of the time of 6, 3 % larger
    tags = ImageFileDirectory_v2()
    for tag, value in make_tiff_tags(metadata).items():
        tags[tag] = value
    if "icc_profile" in metadata:
        tags[34675] = metadata["icc_profile"]
    if "dpi" in metadata:
        (tags[282], tags[283]), tags[296] = metadata["dpi"], 2
    if channels in (2, 4):
        tags[338] = 2  # the last channel is alpha, not multiplied in
    tags[256], tags[257], tags[277], tags[278], tags[284] = width, height, channels, 64, 1
    tags[258], tags[262] = (pixels.itemsize * 8,) * channels, 1 if channels < 3 else 2
    tags[259], tags[317] = (8, 2) if compressed else (1, 1)
    tags[279] = tuple(len(strip) for strip in strips)
    tags[273] = tuple(int(at) for at in np.cumsum([0, *tags[279][:-1]]))  # from where the tags end, which Pillow adds
    data = io.BytesIO()
    tags.save(data)
    return data.getvalue() + b"".join(strips)


# --- Onto the disk ---------------------------------------------------------------------------------------------------


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed. A link stays one: its target is written,
    and keeps who may read it."""
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _explain_write_errors(path):
            part.write_bytes(data)
            with suppress(OSError):  # a new file has the rights of any; not every disk has such
                part.chmod(path.stat().st_mode)
            part.replace(path)
    finally:
        with suppress(OSError):  # on a disk that can only be read even what is not there cannot be removed
            part.unlink(missing_ok=True)


def check_may_write(path: Path) -> None:
    """InputError, before anything is worked out, for a file in a folder that may not be written to."""
    path = Path(os.path.realpath(path))
    folder = next((folder for folder in path.parents if folder.exists()), path.parent)
    with _explain_write_errors(path):
        if not os.access(folder, os.W_OK):
            read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
            raise OSError(errno.EROFS, "") if read_only else PermissionError


def make_folder(folder: Path) -> None:
    """The folder and those around it, where they are not there."""
    with _explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _explain_write_errors(path: Path) -> Iterator[None]:
    """What hinders the writing of `path` as an InputError."""
    try:
        yield
    except PermissionError:
        raise InputError(f"{path} may not be written: no permission for it or its folder. Write to another folder.") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:  # which ends all work, and not that on one file
            raise OSError(error.errno, error.strerror, str(path)) from None
        if error.errno == errno.EROFS:
            raise InputError(f"{path} cannot be written: its disk can only be read. Write to another folder.") from None
        raise InputError(f"{path} cannot be written: {error.strerror}. Write to another folder, or by another name.") from None
