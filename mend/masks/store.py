"""The mask set on disk: one bit a pixel, written as it is made, read without being loaded.

masks.npy      (N, ⌈H·W/8⌉) uint8, `numpy.packbits` of row-major booleans, True = hole
manifest.json  what the masks were made from and by, and how many are done
done.npy       (N,) bool, only while rows are missing: a killed run goes on where it stopped
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from mend.data.cache import create_array
from mend.data.random import uniform
from mend.data.sources import Images, hash_content
from mend.errors import InputError
from mend.images import write_bytes

VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What a mask set is. `fingerprint` is that of the images' file split; `segmenter` names what made the masks."""

    source: str
    split: str
    fingerprint: str
    segmenter: str
    weights: str  # SHA-256 of the segmenter's weights, "" where it has none
    count: int
    height: int
    width: int
    done: int = 0
    sha256: str = ""  # of masks.npy's rows, once all are done
    scaled: int | None = None  # the side that the images were scaled to, None for their own
    version: int = VERSION


@dataclass(frozen=True)
class ObjectPolicy:
    """When an image's own mask is used: when it covers `low` to `high` of the image. Otherwise it borrows one that does."""

    low: float = 0.01
    high: float = 0.60
    seed: int = 0


class MaskSet:
    """A mask set, memory-mapped. `MaskSet.create` starts or resumes one, `MaskSet.open` reads a finished one."""

    def __init__(self, folder: Path, manifest: Manifest, packed: np.ndarray, done: np.ndarray) -> None:
        self.folder, self.manifest, self.packed, self.done = folder, manifest, packed, done

    def __len__(self) -> int:
        return self.manifest.count

    @classmethod
    def create(cls, folder: str | Path, manifest: Manifest) -> "MaskSet":
        """The set at `folder`, new or as far as it had come. InputError when it was made for something else."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # several processes may start at once
            if not (folder / "manifest.json").exists():
                shape = (manifest.count, -(-manifest.height * manifest.width // 8))
                _create_array(folder / "masks.npy", np.uint8, shape)
                _create_array(folder / "done.npy", np.bool_, (manifest.count,))
                _write_manifest(folder, manifest)
        there = _read_manifest(folder)
        old, new = asdict(replace(there, done=0, sha256="")), asdict(manifest)
        differs = [f"{key}: {old[key]!r} there, {new[key]!r} now" for key in new if old[key] != new[key]]
        if differs:
            raise InputError(f"{folder} holds another mask set ({'; '.join(differs)}). Choose another `out`.")
        return cls._map(folder, there, "r+")

    @classmethod
    def open(cls, folder: str | Path) -> "MaskSet":
        """The finished set at `folder`. InputError when there is none or rows are missing."""
        folder = Path(folder)
        if not (folder / "manifest.json").exists():
            raise InputError(f"no mask set in {folder}: manifest.json is missing. Make one with 'mend masks'.")
        masks = cls._map(folder, _read_manifest(folder), "r")
        if not masks.done.all():
            missing = int((~masks.done).sum())
            raise InputError(
                f"the mask set {folder} lacks {missing} of {len(masks)} masks. Run the 'mend masks' command that made it "
                "again: it goes on where it stopped."
            )
        return masks

    @classmethod
    def _map(cls, folder: Path, manifest: Manifest, mode: Any) -> "MaskSet":
        try:
            packed = np.load(folder / "masks.npy", mmap_mode=mode)
            unfinished = (folder / "done.npy").exists()
            done = np.load(folder / "done.npy", mmap_mode=mode) if unfinished else np.ones(manifest.count, np.bool_)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"the mask set {folder} is damaged: {error}. Make it again.") from None
        if packed.shape != (manifest.count, -(-manifest.height * manifest.width // 8)):
            raise InputError(f"the mask set {folder} is damaged: masks.npy is {packed.shape}, not what its manifest says.")
        return cls(folder, manifest, packed, done)

    def write(self, rows: np.ndarray, masks: np.ndarray) -> None:
        """Store boolean (n, H, W) masks in these rows. The pixels are written before the rows count as done."""
        self.packed[rows] = np.packbits(masks.reshape(len(masks), -1), axis=1)
        _flush(self.packed)
        self.done[rows] = True
        _flush(self.done)

    def finish(self) -> "MaskSet":
        """Bring the manifest up to date; when every row is done the set is sealed with its hash."""
        with FileLock(self.folder / ".lock"):
            if not (self.folder / "done.npy").exists():  # another process has sealed it
                self.manifest = _read_manifest(self.folder)
                return self
            count = int(self.done.sum())
            complete = count == len(self)
            digest = hashlib.sha256(np.ascontiguousarray(self.packed).data).hexdigest() if complete else ""
            self.manifest = replace(self.manifest, done=count, sha256=digest)
            _write_manifest(self.folder, self.manifest)
            if complete or os.name == "nt":  # a mapped file cannot be removed on Windows
                self.done = np.array(self.done)
            if complete:
                with suppress(PermissionError):  # whoever made another range lets go of it last, and removes it
                    (self.folder / "done.npy").unlink()
        return self

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Boolean (n, H, W) masks of these rows, True = hole."""
        manifest = self.manifest
        bits = np.unpackbits(np.asarray(self.packed[rows]), axis=1, count=manifest.height * manifest.width)
        return bits.reshape(-1, manifest.height, manifest.width).view(np.bool_)

    def coverage(self) -> np.ndarray:
        """The share of each image that is hole, (N,) float64 in [0, 1]."""
        return np.bitwise_count(np.asarray(self.packed)).sum(1) / (self.manifest.height * self.manifest.width)

    def check(self, images: Images) -> None:
        """InputError unless the set was made for these images."""
        manifest = self.manifest
        if (manifest.height, manifest.width) != images.size:
            height, width = images.size
            raise InputError(
                f"the mask set {self.folder} holds {manifest.width}×{manifest.height} masks, the images of {images.source} are "
                f"{width}×{height} (width×height). Make a mask set for this size with 'mend masks'."
            )
        if manifest.fingerprint != images.fingerprint:
            raise InputError(
                f"the mask set {self.folder} is for {manifest.source} ({manifest.split}, {manifest.count} images, "
                f"fingerprint {manifest.fingerprint[:12]}), not for {images.source} ({images.split}, "
                f"{images.fingerprint[:12]}). Make one for these images with 'mend masks'."
            )

    def holes(self, images: Images, policy: ObjectPolicy) -> np.ndarray:
        """One hole an image by the object policy: (n, 1, H, W) uint8, 1 = missing."""
        return self.read(self.rows(images, policy)).view(np.uint8)[:, None]

    def rows(self, images: Images, policy: ObjectPolicy) -> np.ndarray:
        """The row of each image's hole: its own, or that of one whose mask the policy lets be used."""
        self.check(images)
        rows, able = images.rows.copy(), self.donors(policy)
        for i in np.flatnonzero(~np.isin(rows, able)):
            drawn = uniform(1, policy.seed, int(hash_content(images.pixels[i]), 16))[0]
            rows[i] = able[int(drawn * len(able))]
        return rows

    def donors(self, policy: ObjectPolicy) -> np.ndarray:
        """The rows whose masks the policy lets be used, ordered by the masks' bits: the order of the rows does not matter."""
        coverage = self.coverage()
        fits = np.flatnonzero((coverage >= policy.low) & (coverage <= policy.high))
        if not len(fits):
            raise InputError(
                f"no mask covers {policy.low:.0%} to {policy.high:.0%} of its image; there is nothing to borrow. "
                "Another segmenter, or drawn masks, would give some."
            )
        packed = np.ascontiguousarray(self.packed[fits])
        return fits[np.argsort(packed.view(f"S{packed.shape[1]}")[:, 0], kind="stable")]


def find_set(folder: str | Path, images: Images) -> MaskSet:
    """The mask set for these images: `folder` itself, or its `train` or `test` folder, whichever was made for them."""
    folder = Path(folder)
    inner = folder / ("test" if images.split == "test" else "train")
    masks = MaskSet.open(inner if (inner / "manifest.json").exists() else folder)
    masks.check(images)
    return masks


def from_npz(file: str | Path, images: Images, segmenter: str, out: str | Path) -> MaskSet:
    """A mask set from an `.npz` whose `mask` key holds packed rows in the order of the images' file split."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            packed = archive["mask"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{file} is no mask archive with a 'mask' key: {error}.") from None
    height, width = images.size
    if packed.shape != (len(images), -(-height * width // 8)) or packed.dtype != np.uint8:
        raise InputError(f"{file} holds {packed.shape} {packed.dtype}, expected one row of {height}×{width} bits an image.")
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    masks = MaskSet.create(out, make_manifest(images, segmenter, digest))
    masks.packed[:] = packed
    masks.done[:] = True
    return masks.finish()


def make_manifest(images: Images, segmenter: str, weights: str) -> Manifest:
    """The manifest of an empty set for these images: a whole file split."""
    height, width = images.size
    split = "test" if images.split == "test" else "train"
    return Manifest(
        images.source, split, images.fingerprint, segmenter, weights, len(images), height, width, scaled=images.scaled
    )


def _flush(array: np.ndarray) -> None:
    if isinstance(array, np.memmap):
        array.flush()


def _create_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    part = path.with_suffix(".part")
    create_array(part, dtype, shape).flush()
    part.replace(path)


def _read_manifest(folder: Path) -> Manifest:
    try:
        values = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        manifest = Manifest(**values)
        if not all(isinstance(n, int) for n in (manifest.count, manifest.height, manifest.width, manifest.done)):
            raise TypeError("its count, height, width and done are to be whole numbers")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / 'manifest.json'} is no manifest of a mask set: {error}.") from None
    if manifest.version != VERSION:
        raise InputError(f"{folder} is a mask set of version {manifest.version}; this is mend for version {VERSION}.")
    return manifest


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    write_bytes(folder / "manifest.json", json.dumps(asdict(manifest), indent=2).encode() + b"\n")
