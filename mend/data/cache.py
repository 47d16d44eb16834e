"""Pictures decoded once: a source's pictures as one uint8 array in a file, which every later start maps into memory."""

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from mend.distributed import FIRST
from mend.errors import InputError
from mend.images import read_rgb
from mend.progress import progress

BROKEN = 0.01  # the share of unreadable files above which a run stops
ROOM = 2**28  # bytes of decoded pictures that `remember` keeps, and as many of masks


@dataclass
class Entry:
    """One picture of a source before it is read: a file, its bytes, or pixels; and what is known about it."""

    name: str
    file: str | Path | bytes | np.ndarray
    label: int = -1


Reader = Callable[[], tuple[Iterable[Entry], int, tuple[str, ...]]]  # entries, how many, class names


@dataclass(frozen=True)
class Decoded:
    """A source's pictures: `pixels` (N, H, W, 3) uint8, memory-mapped; `labels` (N,) int64, −1 where there is none; `names` one
    a row. `fingerprint` is the SHA-256 of all pixels that were decoded."""

    pixels: np.ndarray
    labels: np.ndarray
    names: list[str]
    classes: tuple[str, ...]
    fingerprint: str


def read_decoded(key: str, read: Reader, source: str, size: int | None) -> Decoded:
    """The pictures that `read` gives, from the cache where they lie under this key, else decoded and put there.

    `size` cuts each to its central square and scales it to size×size. Raises InputError for unequal sizes, or when more than
    1 % of the pictures are unreadable; warns of fewer, by name, at every start.
    """
    folder = find_cache() / "images" / key
    if not (folder / "meta.json").exists():
        lock = FileLock(folder.with_name(folder.name + ".lock"))  # several processes may start at once
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            held = lock.acquire()
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise InputError(
                f"{find_cache()}, where mend keeps decoded pictures, cannot be written: {error.strerror}. Name another "
                "folder by the environment variable MEND_CACHE."
            ) from None
        with held:
            if not (folder / "meta.json").exists():
                try:
                    _decode(read, source, size, folder)
                finally:  # on a full disk nothing stays that nobody reads
                    shutil.rmtree(_name_part(folder), ignore_errors=True)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    if FIRST:
        warn_of_broken(meta["broken"], len(meta["broken"]) + len(meta["names"]))
    pixels, labels = np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    return Decoded(pixels, labels, meta["names"], tuple(meta["classes"]), meta["fingerprint"])


def _decode(read: Reader, source: str, size: int | None, folder: Path) -> None:
    """Decode every entry into one array under `folder`, whole or not at all."""
    entries, count, classes = read()
    part = _name_part(folder)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    pixels: np.ndarray | None = None
    names: list[str] = []
    labels: list[int] = []
    broken: list[str] = []
    with progress(f"decoding {source}", "images") as on_image:
        for i, entry in enumerate(entries):
            on_image(i, count)
            try:
                picture = entry.file if isinstance(entry.file, np.ndarray) else read_rgb(entry.file)
            except InputError as error:
                broken.append(f"{entry.name}: {error}")
                continue
            if size is not None:
                picture = _crop_square(picture, size)
            if pixels is None:
                pixels = create_array(part / "pixels.npy", np.uint8, (count, *picture.shape))
            if picture.shape != pixels.shape[1:]:
                raise InputError(
                    f"{source}: {entry.name} is {picture.shape[1]}×{picture.shape[0]}, {names[0]} is "
                    f"{pixels.shape[2]}×{pixels.shape[1]} (width×height). Scale all to one size with `size`, "
                    "or train on random crops with `crop`."
                )
            pixels[len(names)] = picture
            names.append(entry.name)
            labels.append(entry.label)
        on_image(count, count)
    stop_when_broken(broken, count)
    if pixels is None:
        raise InputError(f"{source}: no picture could be read.")
    if broken:  # the array was made for all entries
        pixels = np.array(pixels[: len(names)])  # a mapped file cannot be written anew on Windows
        np.save(part / "pixels.npy", pixels)
    fingerprint = hashlib.sha256(f"{pixels.shape}".encode())
    fingerprint.update(np.ascontiguousarray(pixels).data)
    np.save(part / "labels.npy", np.array(labels, np.int64))
    meta = {"source": source, "names": names, "classes": classes, "fingerprint": fingerprint.hexdigest(), "broken": broken}
    (part / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    del pixels  # a mapped file cannot be renamed on Windows
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _name_part(folder: Path) -> Path:
    """What is to become this folder."""
    return folder.with_name(folder.name + ".part")


def _crop_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The central square of uint8 (H, W, 3) pixels, scaled to (size, size, 3)."""
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    cut = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(cut.resize((size, size), Image.Resampling.LANCZOS))


def find_cache() -> Path:
    """`$MEND_CACHE`, or `mend` in the user's cache folder."""
    named = os.environ.get("MEND_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mend"


def create_array(file: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A memory-mapped array of zeros in a new file, with its room on the disk taken; no file where there is none.

    Without that a disk that fills up later ends the process by a signal, not by an error.
    """
    try:
        array = np.lib.format.open_memmap(file, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):
            with file.open("r+b") as opened:
                os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    except OSError as error:
        with suppress(OSError):
            file.unlink()
        raise OSError(error.errno, error.strerror, str(file)) from None
    return array


def stop_when_broken(broken: list[str], count: int) -> None:
    """Raise InputError when the unreadable files, named, are more than 1 % of `count`."""
    if len(broken) > BROKEN * count:
        raise InputError(
            f"{len(broken)} of {count} pictures are unreadable, more than {BROKEN:.0%}; nothing was kept:\n"
            f"  {_list_first(broken)}"
        )


def warn_of_broken(broken: list[str], count: int) -> None:
    """Warn of the unreadable files by name."""
    if broken:
        message = f"{len(broken)} of {count} pictures are unreadable and were skipped:\n  {_list_first(broken)}"
        warnings.warn(message, stacklevel=2)


def _list_first(broken: list[str]) -> str:
    return "\n  ".join(broken[:10]) + (f"\n  … and {len(broken) - 10} more" if len(broken) > 10 else "")


def remember(read: Callable[[int], np.ndarray], room: int | None = None) -> Callable[[int], np.ndarray]:
    """`read`, but what was read once is kept in memory while there is `room`, in bytes; None is `ROOM`.

    For what is read again and again in the same order: where not all fit, dropping the oldest would never find one again.
    """
    known: dict[int, np.ndarray] = {}
    left = ROOM if room is None else room

    def read_once(i: int) -> np.ndarray:
        nonlocal left
        if i in known:
            return known[i]
        array = read(i)
        if array.nbytes <= left:
            known[i], left = array, left - array.nbytes
        return array

    return read_once
