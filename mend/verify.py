"""Proof that a filled picture is the one of before outside its hole: every value, read back from the file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from mend.errors import InputError
from mend.holes import read_mask
from mend.images import Picture, encode, read_image, write_bytes
from mend.images.metadata import differences


@dataclass(frozen=True)
class Verdict:
    """What `compare` found outside the hole.

    outside    how many pixels there are
    changed    how many of them differ, alpha included
    largest    the largest difference, in levels of the deeper of both pictures, of which white has `full`
    first      (x, y) of the first that differs, row by row; None where none does
    digests    SHA-256 of these pixels before and after; of both as 16 bits, or as RGBA, where depth or channels differ
    metadata   for each kind that the picture of before has: "kept", "changed" or "lost"
    kinds      depth and channels before and after, in words
    """

    outside: int
    changed: int
    largest: int
    full: int
    first: tuple[int, int] | None
    digests: tuple[str, str]
    metadata: dict[str, str]
    kinds: tuple[str, str]

    @property
    def untouched(self) -> bool:
        return self.changed == 0

    def __str__(self) -> str:
        if self.untouched:
            return f"all {self.outside:,} pixels outside the hole are identical"
        return (
            f"{self.changed:,} of {self.outside:,} pixels outside the hole ({self.changed / self.outside:.1%}) differ, "
            f"by at most {self.largest} of {self.full} levels"
        )


def verify(before: Path, mask: Path, after: Path) -> tuple[Verdict, list[str]]:
    """Compare two picture files outside a mask, and what had to be converted to do so, in words; see `compare`."""
    pictures = read_image(before), read_image(after)
    notes = [f"{file.name}: {note}" for file, picture in zip((before, after), pictures, strict=True) for note in picture.notes]
    return compare(pictures[0], read_mask(mask, pictures[0].pixels.shape[:2]), pictures[1]), notes


def compare(before: Picture, hole: Tensor, after: Picture) -> Verdict:
    """Compare two pictures outside the hole (1, 1, H, W). InputError when their sizes differ."""
    (height, width), other = before.pixels.shape[:2], after.pixels.shape[:2]
    if other != (height, width):
        raise InputError(
            f"the picture is {width}×{height}, the filled one {other[1]}×{other[0]} (width×height); expected one size."
        )
    outside = hole[0, 0].cpu().numpy() == 0
    old, new = (pixels[outside] for pixels in _alike(before.pixels, after.pixels))
    digest = hashlib.sha256(old).hexdigest()
    changed, largest, first, digests = 0, 0, None, (digest, digest)
    if not np.array_equal(old, new):
        where = np.flatnonzero((old != new).any(1))
        y, x = divmod(int(np.flatnonzero(outside)[where[0]]), width)
        changed, first = len(where), (x, y)
        largest = int(np.abs(old[where].astype(np.int32) - new[where]).max())
        digests = (digest, hashlib.sha256(new).hexdigest())
    fates = differences(before.metadata, after.metadata)
    full = int(np.iinfo(old.dtype).max)
    return Verdict(len(old), changed, largest, full, first, digests, fates, (before.kind, after.kind))


def _alike(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with one depth and the same channels."""
    if a.dtype != b.dtype:
        a, b = (pixels.astype(np.uint16) * 257 if pixels.dtype == np.uint8 else pixels for pixels in (a, b))
    if a.shape[2] != b.shape[2]:
        a, b = _four_channels(a), _four_channels(b)
    return a, b


def _four_channels(pixels: np.ndarray) -> np.ndarray:
    """Red, green, blue and alpha: grey is repeated, no alpha is opaque."""
    channels = pixels.shape[2]
    colours = pixels[..., :1].repeat(3, axis=2) if channels < 3 else pixels[..., :3]
    alpha = pixels[..., -1:] if channels in (2, 4) else np.full_like(pixels[..., :1], np.iinfo(pixels.dtype).max)
    return np.concatenate([colours, alpha], axis=2)


def write_filled(path: Path, before: Picture, hole: Tensor, filled: Picture, quality: int | None = None) -> list[str]:
    """Write `filled`, read back from its bytes first; what there is to say about the file comes back, in sentences.

    `quality` is as in `encode`. InputError, and no file, when a format that promises every value changed one outside the hole.
    """
    data, loss = encode(filled, path, quality)
    verdict = compare(before, hole, read_image(data))
    if not (verdict.untouched or loss):
        raise InputError(f"{path} was not written: read back, {verdict}. Use .png, which keeps them.")
    write_bytes(path, data)
    said = [str(verdict)]
    if not verdict.untouched:
        said = [f"{path.suffix} is lossy: {loss}, {verdict}; '-o {path.stem}.png' keeps them"]
    elif loss:
        said = [f"{loss}; {verdict}"]
    gone = [name for name, fate in verdict.metadata.items() if fate != "kept"]
    return said + ([f"not kept by {path.suffix}: {', '.join(gone)}"] if gone else [])
