"""Sources of images: named by one string, decoded once into one uint8 array, or streamed as random crops.

cifar10                       the hub's `uoft-cs/cifar10`
hub:owner/name[:column]       any hub dataset with an image column
a folder of Parquet files     a local copy in the hub's layout
a folder of images            searched recursively, every format Pillow reads; train/ and test/ folders are its splits
photos                        the photographs that scikit-image ships, cut to 32×32 at several scales
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from mend.chance import permutation, uniform
from mend.errors import InputError, unknown
from mend.images import picture_files, read_rgb
from mend.progress import progress
from mend.ranks import FIRST

HELD_OUT = 1000  # training images kept for validation, at most a tenth of all
BROKEN = 0.01  # the share of unreadable files above which a run stops
SPLITS = ("train", "val", "test")
HUB_NAMES = {"cifar10": "uoft-cs/cifar10"}
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Images:
    """A split of a source, in memory.

    `pixels` is (N, H, W, 3) uint8, memory-mapped; `labels` (N,) int64, −1 where there is none; `names` one a row.
    `fingerprint` is the SHA-256 of the pixels of the file split the rows come from, and `rows` (N,) are the rows in it:
    "train" and "val" are parts of one file split, and a mask set covers the whole of it.
    """

    pixels: np.ndarray
    labels: np.ndarray
    names: list[str]
    classes: tuple[str, ...]
    rows: np.ndarray
    fingerprint: str
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


def load_images(source: str, split: str, size: int | None = None, limit: int | None = None) -> Images:
    """The images of `source` in `split` ("train", "val" or "test"), or "all": every image of the training file split.

    `size` cuts each picture to its central square and scales it to size×size; without it all pictures must be equally
    large. `limit` keeps the first so many. Decoded once, cached by what the source's files are. Raises InputError for
    an unknown source, an empty folder, unequal sizes, or when more than 1 % of the files are unreadable.
    """
    if split not in (*SPLITS, "all"):
        raise unknown("split", split, (*SPLITS, "all"))
    if size is not None and size < 1:
        raise InputError(f"the size is {size}; expected a side in pixels, 1 or more.")
    whole = _load_file_split(source, "test" if split == "test" else "train", size)
    rows = split_rows(len(whole), split)
    images = whole if len(rows) == len(whole) else whole.part(rows)
    images = replace(images, split=split)
    return images if limit is None or limit >= len(images) else images.part(np.arange(limit))


def split_rows(count: int, split: str) -> np.ndarray:
    """The rows of a file split of `count` that "train" and "val" have; every row for "test" and "all"."""
    if split not in ("train", "val"):
        return np.arange(count)
    held = min(HELD_OUT, max(1, count // 10))
    order = permutation(count, 0)
    return np.sort(order[:held] if split == "val" else order[held:])


def content_id(pixels: np.ndarray) -> str:
    """What an image is called wherever it stands: 16 hexadecimal digits of the SHA-256 of its uint8 (H, W, 3) pixels."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()[:16]


# --- One file split, decoded and cached ------------------------------------------------------------------------------


def _load_file_split(source: str, split: str, size: int | None) -> Images:
    key, read = _locate(source, split, size)
    folder = cache_folder() / "images" / key
    if not (folder / "meta.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):  # several processes may start at once
            if not (folder / "meta.json").exists():
                _decode(read, source, size, folder)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    if FIRST:  # at every start, not at the first alone
        name_broken(meta["broken"], len(meta["broken"]) + len(meta["names"]))
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    labels = np.load(folder / "labels.npy")
    classes = tuple(meta["classes"])
    rows = np.arange(len(pixels))
    return Images(pixels, labels, meta["names"], classes, rows, meta["fingerprint"], source, split, size)


def cache_folder() -> Path:
    """`$MEND_CACHE`, or `mend` in the user's cache folder."""
    named = os.environ.get("MEND_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mend"


@dataclass
class Entry:
    """One picture of a source before it is read: a file, its bytes, or pixels; and what is known about it."""

    name: str
    file: str | Path | bytes | np.ndarray
    label: int = -1


Reader = Callable[[], tuple[Iterable[Entry], int, tuple[str, ...]]]  # entries, how many, class names


def _locate(source: str, split: str, size: int | None) -> tuple[str, Reader]:
    """A cheap key that changes when the source does, and the function that reads it."""
    if source == "photos":
        from mend import photos

        def embedded() -> tuple[Iterable[Entry], int, tuple[str, ...]]:
            found = list(photos.cuts(split))
            return (Entry(name, pixels) for name, pixels in found), len(found), ()

        return _key(source, split, size, photos.VERSION), embedded
    if source in HUB_NAMES or source.startswith("hub:"):
        name, _, column = HUB_NAMES.get(source, source.removeprefix("hub:")).partition(":")
        return _key(source, split, size), lambda: _hub_entries(name, column, split)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"unknown source {source!r}: no such folder, and none of the names cifar10, photos, hub:owner/name[:column]."
        )
    parquet = sorted(folder.glob(f"{split}-*.parquet")) or sorted((folder / "data").glob(f"{split}-*.parquet"))
    if parquet:
        return _key(split, size, *map(_stamp, parquet)), lambda: _parquet_entries(parquet)
    files = image_files(folder, split)
    return _key(split, size, *map(_stamp, files)), lambda: _file_entries(files, folder)


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(p) for p in parts]).encode()).hexdigest()[:24]


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"


def image_files(folder: Path, split: str) -> list[Path]:
    """The picture files of a folder source in `split` ("train" or "test").

    Where the folder has `train` and `test` (or `val`) folders these are the splits. Otherwise a file is for test when the
    SHA-256 of its name says so, for one in ten: adding a file never moves another.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}. Pictures of any size are read from a folder of files, nothing else.")
    named = {"train": ["train"], "test": ["test", "val"]}[split]
    if (folder / "train").is_dir():
        folders = [folder / name for name in named if (folder / name).is_dir()]
        if not folders:
            raise InputError(f"{folder} has a train folder but no test or val folder. Add one, or put all files in one.")
        root, choose = folders[0], False
    else:
        root, choose = folder, True
    found = picture_files(root)
    if not choose:
        return found
    digests = {p: hashlib.sha256(p.relative_to(root).as_posix().encode()).digest()[0] for p in found}
    test = [p for p in found if digests[p] < 26] or min(([p] for p in found), key=lambda p: digests[p[0]])
    if len(found) < 2:
        raise InputError(f"{root} holds one picture; training and test need one each.")
    return test if split == "test" else [p for p in found if p not in set(test)]


def set_aside(files: list[Path], count: int) -> list[Path]:
    """The `count` files of the smallest SHA-256, by it: the same pictures under any names. InputError when they are all."""
    if count >= len(files):
        raise InputError(f"{count} pictures cannot be set aside: there are {len(files)}, and training needs some.")
    return sorted(files, key=lambda file: hashlib.sha256(file.read_bytes()).digest())[:count]


def _file_entries(files: list[Path], root: Path) -> tuple[Iterable[Entry], int, tuple[str, ...]]:
    return (Entry(p.relative_to(root).as_posix(), p) for p in files), len(files), ()


def _parquet_entries(files: list[Path]) -> tuple[Iterable[Entry], int, tuple[str, ...]]:
    import datasets

    table = datasets.load_dataset(
        "parquet", data_files=[str(f) for f in files], split="train", cache_dir=str(cache_folder() / "datasets")
    )
    return _dataset_entries(table, "")


def _hub_entries(name: str, column: str, split: str) -> tuple[Iterable[Entry], int, tuple[str, ...]]:
    import datasets

    try:
        table = datasets.load_dataset(name, split=split, cache_dir=str(cache_folder() / "datasets"))
    except Exception as error:  # the library raises a different type for each of: offline, no such name, no such split
        raise InputError(
            f"the hub's dataset {name!r} could not be loaded ({type(error).__name__}: {error}). "
            "Check the name and the network, or name a folder with the dataset's Parquet files instead."
        ) from error
    return _dataset_entries(table, column)


def _dataset_entries(table: Any, column: str) -> tuple[Iterable[Entry], int, tuple[str, ...]]:
    import datasets

    def holds_images(name: str) -> bool:
        kind = table.features[name]
        return isinstance(kind, datasets.Image) or (isinstance(kind, dict) and "bytes" in kind)

    columns = [c for c in table.column_names if holds_images(c)]
    if (column and column not in columns) or not columns:
        raise InputError(f"no image column {column!r} among {table.column_names}; image columns: {columns or 'none'}.")
    column = column or columns[0]
    table = table.cast_column(column, datasets.Image(decode=False))
    labels = [c for c in ("label", "labels", "fine_label") if c in table.column_names and _holds_classes(table.features[c])]
    kind = table.features[labels[0]] if labels else None
    classes = tuple(kind.names) if isinstance(kind, datasets.ClassLabel) else ()
    if kind is not None and not classes and set(table[labels[0]]) <= set(range(10)):
        first = table[0][column]  # plain Parquet has lost the names
        known = len(table) in (50_000, 10_000) and read_rgb(first["bytes"] or first["path"]).shape == (32, 32, 3)
        classes = CIFAR10_CLASSES if known else ()

    def entries() -> Iterator[Entry]:
        for i, row in enumerate(table):
            name = Path(row[column].get("path") or "").name or str(i)
            file = row[column]["bytes"] if row[column]["bytes"] is not None else row[column]["path"]
            yield Entry(name, file, int(row[labels[0]]) if labels and row[labels[0]] is not None else -1)

    return entries(), len(table), classes


def _holds_classes(kind: Any) -> bool:
    return hasattr(kind, "names") or str(getattr(kind, "dtype", "")).startswith(("int", "uint"))


def _decode(read: Reader, source: str, size: int | None, folder: Path) -> None:
    """Decode every entry into one array under `folder`, whole or not at all."""
    entries, count, classes = read()
    part = folder.with_name(folder.name + ".part")
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
                picture = square(picture, size)
            if pixels is None:
                pixels = new_array(part / "pixels.npy", np.uint8, (count, *picture.shape))
            if picture.shape != pixels.shape[1:]:
                raise InputError(
                    f"{source}: {entry.name} is {picture.shape[1]}×{picture.shape[0]}, {names[0]} is "
                    f"{pixels.shape[2]}×{pixels.shape[1]} (width×height). Scale all to one size with --size N, "
                    "or train on random crops with --crop N."
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


def new_array(file: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A memory-mapped array of zeros in a new file, with its room on the disk taken.

    Without that a disk that fills up later ends the process by a signal, not by an error.
    """
    array = np.lib.format.open_memmap(file, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def stop_when_broken(broken: list[str], count: int) -> None:
    """Raise InputError when the unreadable files, named, are more than 1 % of `count`."""
    if len(broken) > BROKEN * count:
        raise InputError(
            f"{len(broken)} of {count} pictures are unreadable, more than {BROKEN:.0%}; nothing was kept:\n  {_first(broken)}"
        )


def name_broken(broken: list[str], count: int) -> None:
    """Warn of the unreadable files by name."""
    if broken:
        said = f"{len(broken)} of {count} pictures are unreadable and were skipped:\n  {_first(broken)}"
        warnings.warn(said, stacklevel=2)


def _first(broken: list[str]) -> str:
    return "\n  ".join(broken[:10]) + (f"\n  … and {len(broken) - 10} more" if len(broken) > 10 else "")


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The central square of uint8 (H, W, 3) pixels, scaled to (size, size, 3)."""
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    cut = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(cut.resize((size, size), Image.Resampling.LANCZOS))


ROOM = 2**28  # bytes of decoded pictures that are kept, and as many of masks
WORKERS_ROOM = 2**30  # in a training's worker: decoding a picture for each of its crops would take as long as cutting them


def kept(read: Callable[[int], np.ndarray], room: int | None = None) -> Callable[[int], np.ndarray]:
    """`read`, which keeps what it read while there is room, in bytes; `ROOM` where nothing is said.

    For what is read again and again in the same order: where not all fit, dropping the oldest would never find one again.
    """
    there: dict[int, np.ndarray] = {}
    left = ROOM if room is None else room

    def read_once(i: int) -> np.ndarray:
        nonlocal left
        if i in there:
            return there[i]
        array = read(i)
        if array.nbytes <= left:
            there[i], left = array, left - array.nbytes
        return array

    return read_once


# --- Batches ---------------------------------------------------------------------------------------------------------


def epoch_rows(count: int, seed: int, epoch: int, batch_size: int, rank: int = 0, world: int = 1) -> np.ndarray:
    """The rows of this epoch in its order: of every batch this process's share, and in all shares each row once.

    A process for which the last batch has nothing left takes its first row, so that all make equally many steps; `share` gives
    that row no weight.
    """
    order = permutation(count, seed, epoch)
    batches = np.split(order, range(batch_size, count, batch_size))
    return np.concatenate([batch[rank::world] if rank < len(batch) else batch[:1] for batch in batches])


def share(size: int, rank: int, world: int) -> int:
    """How many of a batch of `size` images are this process's."""
    return len(range(rank, size, world))


class Batches:
    """Shuffled batches of (image, hole) from arrays that live on the training device.

    `pixels` (N, 3, H, W) and `holes` (N, 1, H, W) are uint8 tensors. The order depends on (seed, epoch) alone.
    """

    def __init__(self, pixels: Tensor, holes: Tensor, rows: np.ndarray, batch_size: int) -> None:
        self.pixels, self.holes, self.batch_size = pixels, holes, batch_size
        self.rows = torch.as_tensor(rows).to(pixels.device)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in self.rows.split(self.batch_size):
            yield self.pixels[rows].float() / 255, self.holes[rows].float()


class Crops(IterableDataset[tuple[Tensor, Tensor]]):
    """Random crops of large pictures with a hole each, read by workers; `rows` are those of one pass.

    A row is a picture: row i and row i + len(files) are two crops of one. `draw_hole(epoch, i)` is the hole (1, crop, crop) of
    row i in this epoch. `zoom` is how much of a picture a crop may show; see `random_crop`. What a row gives depends on
    (seed, epoch, i) alone, not on the worker that reads it.
    """

    def __init__(
        self,
        files: list[Path],
        crop: int,
        rows: np.ndarray,
        draw_hole: Callable[[int, int], Tensor],
        seed: int,
        epoch: int,
        batch_size: int = 1,
        zoom: float = 1.0,
    ) -> None:
        self.files, self.crop, self.rows, self.draw_hole, self.seed, self.epoch = files, crop, rows, draw_hole, seed, epoch
        self.batch_size, self.zoom = batch_size, zoom

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A worker reads whole batches, in turn with the others: the batches are the same for any number of workers.
        worker = get_worker_info()
        batches = [self.rows[i : i + self.batch_size] for i in range(0, len(self.rows), self.batch_size)]
        mine = self.rows if worker is None else np.concatenate([self.rows[:0], *batches[worker.id :: worker.num_workers]])
        broken: dict[int, str] = {}
        several = len(self.rows) > len(self.files)  # crops of a picture in one pass
        read = kept(self._read, WORKERS_ROOM) if several else self._read
        for i in mine.tolist():
            picture = self._readable(i % len(self.files), read, broken)
            cut = torch.from_numpy(random_crop(picture, self.crop, self.zoom, self.seed, self.epoch, i))
            yield cut.permute(2, 0, 1).float() / 255, self.draw_hole(self.epoch, i)

    def _readable(self, file: int, read: Callable[[int], np.ndarray], broken: dict[int, str]) -> np.ndarray:
        """A picture; for one that cannot be read the next that can, so that all processes make equally many steps."""
        while True:
            try:
                if file not in broken:
                    return read(file)
            except InputError as error:
                broken[file] = str(error)
                stop_when_broken(list(broken.values()), len(self.files))
                name_broken([broken[file]], len(self.files))
            mine = np.unique(self.rows % len(self.files))  # never one of another split
            file = int(mine[np.searchsorted(mine, file, "right") % len(mine)])

    def _read(self, file: int) -> np.ndarray:
        return read_rgb(self.files[file])


def random_crop(pixels: np.ndarray, crop: int, zoom: float, *keys: int) -> np.ndarray:
    """A (crop, crop, 3) part of uint8 (H, W, 3) pixels at a place drawn for these keys, mirrored for half of them.

    The part is up to `zoom` times as large as the crop, as likely any factor (in its logarithm), and shrunk to it. A picture
    that is smaller than the crop is enlarged to it.
    """
    y, x, scale, mirror = uniform(4, *keys, 1)
    side = min(*pixels.shape[:2], round(crop * zoom**scale))
    top, left = int(y * (pixels.shape[0] - side + 1)), int(x * (pixels.shape[1] - side + 1))
    part = pixels[top : top + side, left : left + side]
    if side != crop:
        part = np.asarray(Image.fromarray(part).resize((crop, crop), Image.Resampling.LANCZOS))
    return (part[:, ::-1] if mirror < 0.5 else part).copy()
