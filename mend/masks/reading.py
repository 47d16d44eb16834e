"""Masks as people have them, read as a hole (1, 1, H, W), a float32 array."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mend.errors import InputError, pick
from mend.images import Picture, to_pixels
from mend.masks.coco import read_coco
from mend.masks.facts import MARKS, NEAR, MaskFacts, are_edges, is_flat_paint, read_facts
from mend.masks.hole import MOST, check_hole, format_share, measure_share, resize_hole
from mend.masks.painted import find_painted

LARGEST = 0.9  # a hole larger than this share of its picture so rarely that it is asked about


def as_hole(
    mask: Any, size: tuple[int, int], marked: str = "auto", photo: str = "", picture: Picture | None = None
) -> tuple[np.ndarray, list[str]]:
    """A mask of any kind that `Inpainter` takes as a hole (B, 1, H, W), and what there is to say about how it was read.

    `size` is the (height, width) it must have. A file or a Pillow image is read by `understand_mask`, to which `marked`,
    `photo` and `picture` go. In arrays booleans are taken as they are, floats at one half; integers up to 1 are zeros and ones,
    others 8-bit levels at 128, or 16-bit ones at 32768. `marked` is "auto", "white" or "black" for them. InputError for what
    has another shape, size or range, or could mean labels.
    """
    if isinstance(mask, (str, os.PathLike, Image.Image)):
        reading = understand_mask(mask if isinstance(mask, Image.Image) else Path(mask), size, marked, photo, picture)
        return reading.hole, reading.notes
    if marked not in ("auto", "white", "black"):
        raise InputError(
            f'`hole="{marked}"` is for mask files and Pillow images; an array is white or black where the hole is.'
        )
    values = np.asarray(mask)
    if values.size == 0 or values.dtype.kind not in "buif":
        raise InputError(f"a mask holds booleans or numbers, and is not empty; this one is {values.dtype} {values.shape}.")
    if values.shape == (*size, 1):  # as some libraries read a picture of grey
        values = values[..., 0]
    if values.ndim < 2 or values.ndim > 4 or (values.ndim > 2 and values.shape[-3] != 1):
        raise InputError(f"a mask is (H, W), (1, H, W) or (B, 1, H, W); this one is {values.shape}.")
    if values.dtype != np.bool_:
        highest = values.max()
        deep = values.dtype.kind == "u" and values.itemsize == 2 and highest > 255
        top = 1.0 if values.dtype.kind == "f" or highest <= 1 else 65535.0 if deep else 255.0
        if not (values.min() >= 0 and highest <= top):
            raise InputError(f"mask values run from {values.min():g} to {highest:g}; expected 0 to {top:g}, white = hole.")
        if top > 1 and highest <= top / 2:
            raise InputError(
                f"mask values end at {highest:g}, so none is white; expected 0 and 1, or levels up to {top:g}. "
                "Pass booleans, such as labels == 2."
            )
        values = values >= (top + 1) / 2 if top > 1 else values >= 0.5
    hole = (~values if marked == "black" else values).astype(np.float32).reshape(-1, 1, *values.shape[-2:])
    return check_hole(hole, size), []


class Undecided(InputError):
    """More than one reading of a mask makes sense; `why` is the reason alone."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class NearlyAll(Undecided):
    """So much of a mask is white that it may be inverted."""


@dataclass(frozen=True)
class Reading:
    """A mask understood: its `hole` (1, 1, H, W), what `marked` it, the facts `seen`, and `notes` on all that was decided."""

    hole: np.ndarray
    marked: str
    seen: str
    notes: list[str]


def understand_mask(
    mask: str | Path | bytes | Image.Image,
    size: tuple[int, int] | None = None,
    marked: str = "auto",
    photo: str = "",
    picture: Picture | None = None,
) -> Reading:
    """A mask as a hole of its picture's `size`, (height, width): a picture file or its bytes, COCO or LabelMe annotations
    (.json), or a Pillow image.

    `marked` says what marks the hole, a name of `MARKS`; "auto" decides where there is only one sense in it: white on black,
    noise and smooth edges allowed, or colours on black; or, with the `picture` at hand, where that was painted over.
    A mask of the same shape in another size is scaled. `photo` is the picture's path, by which COCO annotations of several
    pictures name it.

    Raises Undecided, with the facts and what to add, for all that cannot be decided; InputError for a damaged file or another
    shape.
    """
    name = "the mask" if isinstance(mask, (bytes, Image.Image)) else str(mask)
    if name.lower().endswith(".json") or (isinstance(mask, bytes) and mask.lstrip()[:1] in (b"{", b"[")):
        if marked != "auto":
            raise InputError(f"{name} says itself what the hole is. Leave out `hole`.")
        inside, marked, notes = read_coco(mask if isinstance(mask, bytes) else Path(name), size, photo)
        _check_shape(name, inside.shape, size)
        seen = f"{name}: {inside.shape[1]}×{inside.shape[0]}, {marked.partition(',')[0]}"
    else:
        inside, marked, seen, notes = _read_picture(mask, name, size, marked, picture)
    if size is not None and inside.shape != tuple(size):
        notes.append(f"scaled from {inside.shape[1]}×{inside.shape[0]} to the picture's {size[1]}×{size[0]}")
        inside = resize_hole(inside, size)
    if not inside.any():
        notes.append("nothing is marked: the hole is empty")
    elif inside.all():
        notes.append("everything is marked: the hole is the whole picture")
    return Reading(inside.astype(np.float32)[None, None], marked, seen, notes)


def _read_picture(
    mask: str | Path | bytes | Image.Image, name: str, size: tuple[int, int] | None, marked: str, picture: Picture | None
) -> tuple[np.ndarray, str, str, list[str]]:
    """What a mask that is a picture marks, bool (H, W), by what, the facts, and notes."""
    facts = read_facts(mask, name)
    _check_shape(name, facts.highest.shape, size)
    seen, notes = f"{name}: {facts.describe()}", facts.notes
    try:
        if marked == "auto":
            marked, why = _decide(name, facts)
            notes += why
        else:
            _check_mark(marked, name, facts, seen)
        inside = pick(MARKS, marked, "mark of a hole")(facts)
    except Undecided as undecided:
        if picture is None:
            raise
        fits = facts.highest.shape == picture.pixels.shape[:2]
        found = None
        if fits and facts.opaque.all():  # what is not may be what was erased, or an object that was cut out
            found = find_painted(np.asarray(facts.colours.convert("RGB")), to_pixels(picture.image())[0])
        if found is None:
            if fits or not facts.coloured.any():
                raise
            advice = f"If it is the picture, painted over: paint on it at {picture.size}."
            raise Undecided(f"{undecided} {advice}", undecided.why) from None
        inside, marked = found, "painted"
        notes.append("it is the photograph, painted over in places: where it differs is the hole")
    if marked == "white" and facts.top > 0 and not inside.any():
        raise InputError(f"nothing in {name} is white: its values end at {facts.top:g} of {facts.full}. {seen}.")
    return inside, marked, seen, notes


def _check_mark(marked: str, name: str, facts: MaskFacts, seen: str) -> None:
    """InputError where what is said to mark the hole is not there, Undecided where it makes no sense."""
    if marked in ("opaque", "transparent") and facts.alpha is None:
        raise InputError(f'`hole="{marked}"` needs an alpha channel, and there is none. {seen}.')
    if marked == "painted" and facts.coloured.any() and not is_flat_paint(facts.paint):
        raise Undecided(
            f"what is coloured in {name} has many colours, as a photograph has. Paint on black, or on the photograph itself. "
            f"{seen}.",
            "it has many colours",
        )


def _decide(name: str, facts: MaskFacts) -> tuple[str, list[str]]:
    """What marks the hole, with notes; Undecided where more than one answer makes sense."""
    black, coloured = facts.black, facts.coloured
    between = ~black & ~facts.white
    kind = Undecided
    if facts.alpha is not None and facts.alpha.min() < 255 - NEAR:
        why = "it is not opaque all over"
    elif coloured.any():
        if measure_share(black) >= 1 - MOST and is_flat_paint(facts.paint) and are_edges(~black & ~coloured, black, coloured):
            return "painted", ["colours on black: what is coloured is the hole"]
        why = "it has colours, and not just a few on black"
    elif facts.is_faint:
        why = f"its values end at {facts.top:g} of {facts.full}, as those of labels do"
    elif not are_edges(between, black, facts.white):
        why = "it has greys that are not the edges of black and white, as a photograph has"
    elif measure_share(facts.bright) > LARGEST:
        why, kind = f"{format_share(facts.bright)} of it is white, and a hole is rarely so large", NearlyAll
    else:
        notes = []
        if between.any():
            notes.append(f"{format_share(between)} of its pixels are neither black nor white (edges, noise): cut at half")
        if measure_share(facts.bright) > MOST:
            notes.append(f'{format_share(facts.bright)} is white; if the black part is the hole, add `hole="black"`')
        return "white", notes
    marks = dict(MARKS)
    if not (coloured.any() and is_flat_paint(facts.paint)):
        del marks["painted"]
    if facts.alpha is None:
        del marks["opaque"], marks["transparent"]
    found = {marked: mark(facts) for marked, mark in marks.items()}
    offers = [f'`hole="{marked}"` ({format_share(part)})' for marked, part in found.items() if part.any()]
    choice = f"Add the one that is the hole; the brackets say how much it fills: {', '.join(offers)}; or paint"
    advice = choice if offers else "Paint"
    raise kind(
        f"cannot tell which part of {name} is the hole: {why}. It is {facts.describe()}. {advice} the hole white on black.", why
    )


def _check_shape(name: str, own: tuple[int, ...], size: tuple[int, int] | None) -> None:
    """InputError unless one size is the other scaled, up to the rounding of its sides to whole pixels."""
    if size is None:
        return
    (height, width), (tall, wide) = own, size
    off = abs(height * wide - tall * width)
    if off > min(max(height, width, tall, wide), 0.02 * height * wide):
        advice = "Turn the mask as the picture is shown: its EXIF orientation may turn what is stored."
        if own != (wide, tall):
            advice = (
                f"Draw the mask on the picture itself, or make it {wide}×{tall}. mend scales masks of the same aspect ratio."
            )
        raise InputError(f"{name} is {width}×{height}, its picture {wide}×{tall} (width×height). {advice}")
