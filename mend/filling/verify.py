"""Proof that a filled picture is the one of before outside its hole: every value, read back from the file."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mend.errors import InputError
from mend.images import Picture, encode, find_differences, name_format, read_image
from mend.images.metadata import compare_metadata
from mend.masks.hole import measure_distance, widen
from mend.masks.reading import understand_mask

NEAR = 48  # pixels: as far as a block of a JPEG reaches that the hole touches, and the smoothing of its colours


@dataclass(frozen=True)
class Verdict:
    """What `compare` found outside the hole.

    outside    how many pixels there are
    changed    how many of them differ, alpha included
    largest    the largest difference, in levels of the deeper of both pictures, of which white has `full`
    first      (x, y) of the first that differs, row by row; None where none does
    farthest   how many pixels the farthest of them is from the hole; None where none differs, or there is no hole
    metadata   for each kind that one of them has: "kept", "changed", "lost" or "added"
    losses     what was converted or left out as they were read, before they were compared
    """

    outside: int
    changed: int
    largest: int
    full: int
    first: tuple[int, int] | None
    farthest: int | None
    metadata: dict[str, str]
    losses: list[str]

    @property
    def untouched(self) -> bool:
        return self.changed == 0

    def __str__(self) -> str:
        if self.untouched:
            as_read = f" as read ({'; '.join(self.losses)})" if self.losses else ""
            return f"all {self.outside:,} pixels outside the hole are identical{as_read}"
        near = f", none farther than {self.farthest} pixels from it" if self.farthest and self.farthest <= NEAR else ""
        return (
            f"{self.changed:,} of {self.outside:,} pixels outside the hole ({self.changed / self.outside:.2%}) differ, "
            f"by at most {self.largest} of {self.full} levels{near}"
        )


def verify(before: Path, mask: Path, after: Path, marked: str = "auto", grow: int = 0) -> tuple[Verdict, list[str]]:
    """Compare two picture files outside a mask, read by `understand_mask` and grown by so many pixels; see `compare`.

    In lines of text: what else there is to know. The SHA-256 is of the untouched pixels, row by row; where depth or channels
    differ, of both as 16 bits or as RGBA.
    """
    pictures = read_image(before), read_image(after)
    hole, _ = widen(understand_mask(mask, pictures[0].pixels.shape[:2], marked, str(before), pictures[0]).hole, grow)
    verdict = compare(pictures[0], hole, pictures[1])
    lines = [] if verdict.first is None else [f"the first that differs: x={verdict.first[0]}, y={verdict.first[1]}"]
    outside = hole[0, 0] == 0
    alike = _match_channels(pictures[0].pixels, pictures[1].pixels)
    for file, picture, pixels in zip((before, after), pictures, alike, strict=True):
        lines.append(
            f"{file.name}: {picture.size}, {picture.kind}, SHA-256 outside {hashlib.sha256(pixels[outside]).hexdigest()}"
        )
        lines += [f"{file.name}: {note}" for note in picture.notes]
    return verdict, lines + [f"{name}: {fate}" for name, fate in verdict.metadata.items()]


def compare(before: Picture, hole: np.ndarray, after: Picture) -> Verdict:
    """Compare two pictures outside the hole (1, 1, H, W). InputError when their sizes differ."""
    if before.size != after.size:
        raise InputError(f"the picture is {before.size}, the filled one {after.size} (width×height); expected the same size.")
    outside = hole[0, 0] == 0
    old, new = _match_channels(before.pixels, after.pixels)
    differs = find_differences(old, new) & outside
    largest, first, farthest = 0, None, None
    if differs.any():
        y, x = divmod(int(differs.argmax()), differs.shape[1])
        largest, first = int(np.abs(old[differs].astype(np.int32) - new[differs]).max()), (x, y)
        if not outside.all():
            farthest = math.ceil(measure_distance(hole)[0, 0][differs].max())
    fates = compare_metadata(before.metadata, after.metadata)
    return Verdict(
        outside=int(outside.sum()),
        changed=int(differs.sum()),
        largest=largest,
        full=int(np.iinfo(old.dtype).max),
        first=first,
        farthest=farthest,
        metadata=fates,
        losses=list(dict.fromkeys(before.losses + after.losses)),
    )


def _match_channels(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with one depth and the same channels."""
    if a.dtype != b.dtype:
        a, b = (pixels.astype(np.uint16) * 257 if pixels.dtype == np.uint8 else pixels for pixels in (a, b))
    if a.shape[2] != b.shape[2]:
        a, b = _add_channels(a), _add_channels(b)
    return a, b


def _add_channels(pixels: np.ndarray) -> np.ndarray:
    """Red, green, blue and alpha: grey is repeated, no alpha is opaque."""
    channels = pixels.shape[2]
    colours = pixels[..., :1].repeat(3, axis=2) if channels < 3 else pixels[..., :3]
    alpha = pixels[..., -1:] if channels in (2, 4) else np.full_like(pixels[..., :1], np.iinfo(pixels.dtype).max)
    return np.concatenate([colours, alpha], axis=2)


COPIED = "nothing is to be filled: the file is copied as it is"


def encode_filled(
    path: Path, before: Picture, hole: np.ndarray, filled: Picture, quality: int | None = None
) -> tuple[bytes, list[str]]:
    """A file of `filled` for the name `path`, read back, and what there is to say of it, in sentences.

    `quality` is as in `encode`. InputError when a format that promises every value changed one outside the hole.
    """
    data, loss, verdict = b"", "", None
    if filled.content and quality is None and name_format(path.suffix) == "JPEG":
        from mend.filling.jpeg import KEPT, encode_changes  # numba takes half a second

        data, loss = encode_changes(filled) or b"", KEPT
        verdict = compare(before, hole, read_image(data)) if data else None
    if verdict is None or (verdict.farthest or 0) > NEAR:  # a file of which libjpeg makes something else than we do
        data, loss = encode(filled, path, quality)
        verdict = compare(before, hole, read_image(data))
    if not (verdict.untouched or loss):
        raise InputError(f"{path} was not written: read back, {verdict}. Use .png, which keeps them.")
    notes = [str(verdict)]
    if not verdict.untouched:
        notes = [f"{path.suffix} is lossy ({loss}): {verdict}; a PNG keeps them"]
    elif loss:
        notes = [f"{loss}; {verdict}"]
    gone = [name for name, fate in verdict.metadata.items() if fate in ("changed", "lost")]
    return data, notes + ([f"not kept by {path.suffix}: {', '.join(gone)}"] if gone else [])
