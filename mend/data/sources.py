"""Sources of images: named by one string, their splits, and where their pictures come from.

cifar10                       the hub's `uoft-cs/cifar10`
hub:owner/name[:column]       any hub dataset with an image column
a folder of Parquet files     a local copy in the hub's layout
a folder of images            searched recursively, every format Pillow reads; train/ and test/ folders are its splits
photos                        the photographs that scikit-image ships, cut to 32×32 at several scales
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mend.data.cache import Decoded, Entry, Reader, find_cache, read_decoded
from mend.data.random import permutation
from mend.errors import InputError, make_unknown_error
from mend.images import find_pictures, read_rgb

HELD_OUT = 1000  # training images kept for validation, at most a tenth of all
SPLITS = ("train", "val", "test")
HUB_NAMES = {"cifar10": "uoft-cs/cifar10"}
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Images(Decoded):
    """A split of a source, in memory: `pixels`, `labels` and `names` as in `Decoded`.

    `fingerprint` is that of the file split they come from, and `rows` (N,) are the rows in it: "train" and "val" are parts of
    one file split, and a mask set covers the whole of it.
    """

    rows: np.ndarray
    source: str
    split: str
    scaled: int | None = None  # the `size` it was asked for

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def part(self, rows: np.ndarray) -> "Images":
        """Some of the rows, as positions in this split."""
        names = [self.names[i] for i in rows]
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows], names=names, rows=self.rows[rows])


def load_images(source: str, split: str, size: int | None = None) -> Images:
    """The images of `source` in `split` ("train", "val" or "test"), or "all": every image of the training file split.

    `size` cuts each picture to its central square and scales it to size×size; without it all pictures must be equally
    large. Decoded once, cached by what the source's files are. Raises InputError for an unknown source, an empty folder,
    unequal sizes, or when more than 1 % of the files are unreadable.
    """
    if split not in (*SPLITS, "all"):
        raise make_unknown_error("split", split, (*SPLITS, "all"))
    if size is not None and size < 1:
        raise InputError(f"`size` is {size}; expected a side in pixels, 1 or more.")
    key, read = locate(source, "test" if split == "test" else "train", size)
    found = read_decoded(key, read, source, size)
    images = Images(**vars(found), rows=np.arange(len(found.pixels)), source=source, split=split, scaled=size)
    rows = split_rows(len(images), split)
    return images if len(rows) == len(images) else images.part(rows)


def split_rows(count: int, split: str) -> np.ndarray:
    """The rows of a file split of `count` that "train" and "val" have; every row for "test" and "all"."""
    if split not in ("train", "val"):
        return np.arange(count)
    held = min(HELD_OUT, max(1, count // 10))
    order = permutation(count, 0)
    return np.sort(order[:held] if split == "val" else order[held:])


def hash_content(pixels: np.ndarray) -> str:
    """What an image is called wherever it stands: 16 hexadecimal digits of the SHA-256 of its uint8 (H, W, 3) pixels."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()[:16]


# --- Where they come from --------------------------------------------------------------------------------------------


def locate(source: str, split: str, size: int | None) -> tuple[str, Reader]:
    """A cheap key that changes when the source does, and the function that reads it."""
    if source == "photos":
        from mend.data import photos

        def embedded() -> tuple[Iterable[Entry], int, tuple[str, ...]]:
            found = list(photos.cut_photos(split))
            return (Entry(name, pixels) for name, pixels in found), len(found), ()

        return _make_key(source, split, size, photos.VERSION), embedded
    if source in HUB_NAMES or source.startswith("hub:"):
        name, _, column = HUB_NAMES.get(source, source.removeprefix("hub:")).partition(":")
        return _make_key(source, split, size), lambda: _list_hub(name, column, split)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"unknown source {source!r}: no such folder, and none of the names cifar10, photos, hub:owner/name[:column]."
        )
    parquet = sorted(folder.glob(f"{split}-*.parquet")) or sorted((folder / "data").glob(f"{split}-*.parquet"))
    if parquet:
        return _make_key(split, size, *map(_describe_file, parquet)), lambda: _list_parquet(parquet)
    files = find_image_files(folder, split)
    key = _make_key(split, size, *map(_describe_file, files))
    return key, lambda: ((Entry(file.relative_to(folder).as_posix(), file) for file in files), len(files), ())


def _make_key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(p) for p in parts]).encode()).hexdigest()[:24]


def _describe_file(path: Path) -> str:
    stat = path.stat()
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"


def find_image_files(folder: Path, split: str) -> list[Path]:
    """The picture files of a folder source in `split` ("train" or "test").

    Where the folder has `train` and `test` (or `val`) folders these are the splits. Otherwise a file is for test when the
    SHA-256 of its name says so, for one in ten: adding a file never moves another.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}. Pictures of any size are read from a folder of files, nothing else.")
    if (folder / "train").is_dir():
        for name in ("train",) if split == "train" else ("test", "val"):
            if (folder / name).is_dir():
                return find_pictures(folder / name)
        raise InputError(f"{folder} has a train folder but no test or val folder. Add one, or put all files in one.")
    found = find_pictures(folder)
    if len(found) < 2:
        raise InputError(f"{folder} holds one picture; training and test need one each.")
    first_byte = {p: hashlib.sha256(p.relative_to(folder).as_posix().encode()).digest()[0] for p in found}
    test = {p for p in found if first_byte[p] < 26} or {min(found, key=lambda p: first_byte[p])}
    return [p for p in found if (p in test) == (split == "test")]


def set_aside(files: list[Path], count: int) -> list[Path]:
    """The `count` files of the smallest SHA-256, by it: the same pictures under any names. InputError when they are all."""
    if count >= len(files):
        raise InputError(f"{count} pictures cannot be set aside: there are {len(files)}, and training needs some.")
    return sorted(files, key=lambda file: hashlib.sha256(file.read_bytes()).digest())[:count]


def _list_parquet(files: list[Path]) -> tuple[Iterable[Entry], int, tuple[str, ...]]:
    import datasets

    table = datasets.load_dataset(
        "parquet", data_files=[str(f) for f in files], split="train", cache_dir=str(find_cache() / "datasets")
    )
    return _list_dataset(table, "")


def _list_hub(name: str, column: str, split: str) -> tuple[Iterable[Entry], int, tuple[str, ...]]:
    import datasets

    try:
        table = datasets.load_dataset(name, split=split, cache_dir=str(find_cache() / "datasets"))
    except Exception as error:  # the library raises a different type for each of: offline, no such name, no such split
        raise InputError(
            f"the hub's dataset {name!r} could not be loaded ({type(error).__name__}: {error}). "
            "Check the name and the network, or name a folder with the dataset's Parquet files instead."
        ) from error
    return _list_dataset(table, column)


def _list_dataset(table: Any, column: str) -> tuple[Iterable[Entry], int, tuple[str, ...]]:
    import datasets

    def holds_images(name: str) -> bool:
        kind = table.features[name]
        return isinstance(kind, datasets.Image) or (isinstance(kind, dict) and "bytes" in kind)

    columns = [c for c in table.column_names if holds_images(c)]
    if (column and column not in columns) or not columns:
        raise InputError(f"no image column {column!r} among {table.column_names}; image columns: {columns or 'none'}.")
    column = column or columns[0]
    table = table.cast_column(column, datasets.Image(decode=False))
    known = (c for c in ("label", "labels", "fine_label") if c in table.column_names and _holds_classes(table.features[c]))
    label = next(known, None)
    kind = table.features[label] if label else None
    classes = tuple(kind.names) if isinstance(kind, datasets.ClassLabel) else ()
    if kind is not None and not classes and set(table[label]) <= set(range(10)):
        first = table[0][column]  # plain Parquet has lost the names
        is_cifar = len(table) in (50_000, 10_000) and read_rgb(first["bytes"] or first["path"]).shape == (32, 32, 3)
        classes = CIFAR10_CLASSES if is_cifar else ()

    def entries() -> Iterator[Entry]:
        for i, row in enumerate(table):
            name = Path(row[column].get("path") or "").name or str(i)
            file = row[column]["bytes"] if row[column]["bytes"] is not None else row[column]["path"]
            yield Entry(name, file, int(row[label]) if label and row[label] is not None else -1)

    return entries(), len(table), classes


def _holds_classes(kind: Any) -> bool:
    return hasattr(kind, "names") or str(getattr(kind, "dtype", "")).startswith(("int", "uint"))
