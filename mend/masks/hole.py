"""Masks as people have them, read as a hole (1, 1, H, W), a float32 array; the hole grown, feathered and shown."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from mend.errors import InputError, pick
from mend.images import (
    Picture,
    as_rgb,
    decode,
    explain_read_errors,
    is_deep,
    is_turned,
    open_picture,
    read_image,
    to_pixels,
    write_image,
)
from mend.images.picture import count_frames
from mend.masks.coco import read_coco

NEAR = 32  # levels this close to black or white count as such: JPEG noise stays below it, away from edges
COLOURED = 48  # a pixel whose channels differ by so much is coloured; the darkest paint of VOC and DAVIS masks differs by 64
NOISE = 12  # levels by which JPEG changes most pixels at most
EDGE = 8  # pixels: as far as JPEG noise, whose blocks are 8×8, or smoothing reaches from an edge
FAINT = 0.005  # share of a picture that may differ beside what was painted
MOST = 0.6  # a hole larger than this share of its picture is rarely meant
LARGEST = 0.9  # one larger than this so rarely that it is asked about
TINT = np.array([230, 57, 70])


def check_hole(hole: np.ndarray, size: tuple[int, int] | None, name: str = "the mask") -> np.ndarray:
    """`hole` itself, or InputError when its (height, width) is not `size`."""
    height, width = hole.shape[-2:]
    if size is not None and (height, width) != tuple(size):
        raise InputError(
            f"{name} is {width}×{height}, its picture {size[1]}×{size[0]} (width×height). "
            "A mask has the size of its picture; resize it without smoothing, or draw it on the picture itself."
        )
    return hole


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
        raise InputError(f"hole={marked!r} is for mask files and Pillow images; an array is white or black where the hole is.")
    values = np.asarray(mask)
    if values.size == 0 or values.dtype.kind not in "buif":
        raise InputError(f"a mask holds booleans or numbers, and is not empty; this one is {values.dtype} {values.shape}.")
    if values.ndim == 3 and values.shape == (*size, 1):  # as some libraries read a picture of grey
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


# --- Masks as people have them ---------------------------------------------------------------------------------------


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
        look = _inspect(mask, name)
        _check_shape(name, look.highest.shape, size)
        seen, notes = f"{name}: {look.facts()}", look.notes
        painted = None
        try:
            if marked == "auto":
                marked, why = _decide(name, look)
                notes += why
            elif marked in ("opaque", "transparent") and look.alpha is None:
                raise InputError(f'`hole="{marked}"` needs an alpha channel, and there is none. {seen}.')
            elif marked == "painted" and look.coloured.any() and not _is_flat_paint(look.paint):
                raise Undecided(
                    f"what is coloured in {name} has many colours, as a photograph has. Paint on black, or on the photograph "
                    f"itself. {seen}.",
                    "it has many colours",
                )
        except Undecided as undecided:
            painted = _find_painted(look, picture)
            if painted is None:
                if picture is None or not look.coloured.any() or look.highest.shape == picture.pixels.shape[:2]:
                    raise
                advice = f"If it is the picture, painted over: paint on it at {picture.size}."
                raise Undecided(f"{undecided} {advice}", undecided.why) from None
            marked = "painted"
            notes.append("it is the photograph, painted over in places: where it differs is the hole")
        inside = pick(MARKS, marked, "mark of a hole")(look) if painted is None else painted
        if marked == "white" and look.top > 0 and not inside.any():
            raise InputError(f"nothing in {name} is white: its values end at {look.top:g} of {look.full}. {seen}.")
    if size is not None and inside.shape != tuple(size):
        notes.append(f"scaled from {inside.shape[1]}×{inside.shape[0]} to the picture's {size[1]}×{size[0]}")
        inside = resize_hole(inside, size)
    if not inside.any():
        notes.append("nothing is marked: the hole is empty")
    elif inside.all():
        notes.append("everything is marked: the hole is the whole picture")
    return Reading(inside.astype(np.float32)[None, None], marked, seen, notes)


@dataclass(frozen=True)
class _Look:
    """A mask file upright: its `colours`, a Pillow image in mode L or RGB, and, where there is one, `alpha` (H, W), uint8.

    `top` is the highest value in the file itself, in which white has `full`. What is asked of a pixel is worked out once,
    channel by channel: over the last axis of (H, W, 3) it takes far longer.
    """

    mode: str
    colours: Image.Image
    alpha: np.ndarray | None
    top: float
    full: int
    notes: list[str]

    @cached_property
    def channels(self) -> list[np.ndarray]:
        return [np.asarray(channel) for channel in self.colours.split()]

    @cached_property
    def highest(self) -> np.ndarray:
        """The largest of each pixel's channels."""
        return reduce(np.maximum, self.channels)

    @cached_property
    def lowest(self) -> np.ndarray:
        return reduce(np.minimum, self.channels)

    @cached_property
    def black(self) -> np.ndarray:
        return self.highest <= NEAR

    @cached_property
    def white(self) -> np.ndarray:
        return self.lowest >= 255 - NEAR

    @cached_property
    def coloured(self) -> np.ndarray:
        return self.highest - self.lowest >= COLOURED

    @property
    def is_faint(self) -> bool:
        """Whether it is not black all over, and nothing in it is lighter than noise, as in labels."""
        return 0 < self.top <= NEAR / 255 * self.full

    @cached_property
    def paint(self) -> np.ndarray:
        """The colours (N, 3) of what is coloured."""
        return np.stack([channel[self.coloured] for channel in self.channels], -1)

    @cached_property
    def bright(self) -> np.ndarray:
        return np.asarray(self.colours.convert("L")) >= 128

    @cached_property
    def opaque(self) -> np.ndarray:
        return np.ones(self.highest.shape, np.bool_) if self.alpha is None else self.alpha >= 128

    def facts(self) -> str:
        """Size, mode, and the share of each kind of pixel, as a phrase."""
        parts = {"black": self.black, "white": self.white, "coloured": self.coloured}
        parts["grey"] = ~(self.black | self.white | self.coloured)
        if self.alpha is not None:
            parts["transparent"] = ~self.opaque
        shares = ", ".join(f"{format_share(part)} {name}" for name, part in parts.items() if part.any())
        return f"{self.colours.width}×{self.colours.height}, mode {self.mode}: {shares}"


MARKS: dict[str, Callable[[_Look], np.ndarray]] = {
    "white": lambda look: look.bright,
    "black": lambda look: ~look.bright,
    "opaque": lambda look: look.opaque,
    "transparent": lambda look: ~look.opaque,
    "painted": lambda look: look.coloured,
}
"""What can mark a hole: the lighter or the darker half, what is opaque or transparent, what is strongly coloured."""


def format_share(part: np.ndarray) -> str:
    """The share of True in text; a small one is not rounded to nothing."""
    mean = _share(part)
    return "under 0.1%" if 0 < mean < 0.001 else f"{mean:.1%}"


def _share(part: np.ndarray) -> float:
    return np.count_nonzero(part) / part.size  # mean() goes through floats


def _inspect(mask: str | Path | bytes | Image.Image, name: str) -> _Look:
    source = nullcontext(decode(mask, name)) if isinstance(mask, Image.Image) else open_picture(mask, name)
    with explain_read_errors(name), source as opened:
        turned, upright, notes = is_turned(opened), ImageOps.exif_transpose(opened), []
        if (frames := count_frames(opened)) > 1:
            notes.append(f"the first of {frames} frames")
        if turned:
            notes.append("turned upright, as its EXIF orientation says")
        grey = upright.mode in ("1", "L", "LA")
        colours, alpha = upright.convert("L") if grey else as_rgb(upright, name), None
        if upright.has_transparency_data and upright.mode[0] not in "IF":  # Pillow converts neither integers nor floats
            alpha = np.asarray(upright.convert("RGBA").getchannel("A"))
    levels = np.asarray(upright) if upright.mode[0] in "IF" else np.asarray(colours)
    if not isinstance(mask, Image.Image) and is_deep(mask, opened):
        pixels = read_image(mask).pixels
        if pixels.dtype == np.uint16:
            levels = pixels[..., :3]
    if levels.dtype.kind in "iu" and levels.dtype.itemsize > 1 and levels.max() <= 255:  # only the lowest bits are used
        colours = Image.fromarray(levels.clip(0).astype(np.uint8))
    top = levels.max()
    full = 1 if levels.dtype.kind == "f" else 65535 if top > 255 else 255
    if top == 1 < full:
        notes.append("its values are 0 and 1: 1 is taken as white")
        top, colours = full, colours.point(lambda level: 255 * level)
    return _Look(opened.mode, colours, alpha, top, full, notes)


def _decide(name: str, look: _Look) -> tuple[str, list[str]]:
    """What marks the hole, with notes; Undecided where more than one answer makes sense."""
    black, white, coloured = look.black, look.white, look.coloured
    kind = Undecided
    if look.alpha is not None and look.alpha.min() < 255 - NEAR:
        why = "it is not opaque all over"
    elif coloured.any():
        if _share(black) >= 1 - MOST and _is_flat_paint(look.paint) and _are_edges(~black & ~coloured, black, coloured):
            return "painted", ["colours on black: what is coloured is the hole"]
        why = "it has colours, and not just a few on black"
    elif look.is_faint:
        why = f"its values end at {look.top:g} of {look.full}, as those of labels do"
    else:
        between = ~black & ~white
        if _are_edges(between, black, white) and _share(look.bright) > LARGEST:
            why, kind = f"{format_share(look.bright)} of it is white, and a hole is rarely so large", NearlyAll
        elif _are_edges(between, black, white):
            notes = []
            if between.any():
                notes.append(f"{format_share(between)} of its pixels are neither black nor white (edges, noise): cut at half")
            if _share(look.bright) > MOST:
                notes.append(f'{format_share(look.bright)} is white; if the black part is the hole, add `hole="black"`')
            return "white", notes
        else:
            why = "it has greys that are not the edges of black and white, as a photograph has"
    marks = dict(MARKS)
    if not (coloured.any() and _is_flat_paint(look.paint)):
        del marks["painted"]
    if look.alpha is None:
        del marks["opaque"], marks["transparent"]
    found = {name: mark(look) for name, mark in marks.items()}
    offers = [f'`hole="{name}"` ({format_share(part)})' for name, part in found.items() if part.any()]
    choice = f"Add the one that is the hole; the brackets say how much it fills: {', '.join(offers)}; or paint"
    advice = choice if offers else "Paint"
    raise kind(
        f"cannot tell which part of {name} is the hole: {why}. It is {look.facts()}. {advice} the hole white on black.", why
    )


def _find_painted(look: _Look, picture: Picture | None) -> np.ndarray | None:
    """Where a mask differs from the picture, if it is that picture painted over: bool (H, W); else None.

    Where most pixels are the very same, and there is no noise, every difference counts. Else it was saved as a JPEG, whose
    noise is nothing on average, and differences are followed from where they are something on average. One that is transparent
    may be what was erased, or an object that was cut out. One that differs elsewhere too, or in which what differs is neither
    strongly coloured nor of one colour, is another picture: a grey copy, a brighter one.
    """
    if picture is None or look.highest.shape != picture.pixels.shape[:2] or not look.opaque.all():
        return None
    own, other = np.asarray(look.colours.convert("RGB")), to_pixels(picture.image())[0]
    apart = reduce(np.maximum, (cv2.absdiff(own[..., i], other[..., i]) for i in range(3)))
    if _share(apart <= NOISE) < 1 - MOST or apart.max() <= NEAR:
        return None
    if _share(apart == 0) >= 1 - MOST:
        count, part = cv2.connectedComponents((apart > 0).astype(np.uint8), connectivity=8)
        sizes, strong = (np.bincount(part[where], minlength=count) for where in (apart > 0, apart > NEAR))
        if sizes[strong < 0.1 * sizes].sum() <= FAINT * apart.size:
            return apart > 0
    average, wide = (_average(own, other, side) for side in (5, 2 * EDGE + 1))
    near = cv2.dilate((average > NEAR).astype(np.uint8), np.ones((EDGE + 1, EDGE + 1), np.uint8)) > 0
    found = ((average > NEAR) | (near & (apart > NOISE))).astype(np.uint8)
    _, part = cv2.connectedComponents(cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((EDGE + 1, EDGE + 1), np.uint8)))
    strokes = np.setdiff1d(part[average > COLOURED], 0)
    painted = np.isin(part, strokes)
    around = cv2.dilate(painted.astype(np.uint8), np.ones((4 * EDGE + 1, 4 * EDGE + 1), np.uint8)) > 0
    if not painted.any() or _share((wide > NOISE) & ~around) > FAINT:
        return None
    for stroke in strokes:
        core = (part == stroke) & (average > COLOURED)
        is_one = (abs(own[core] - np.median(own[core], 0)) <= NEAR).all(1)
        if max(_share(look.coloured[core]), _share(is_one)) <= 0.5:
            return None
    return painted


def _average(one: np.ndarray, other: np.ndarray, side: int) -> np.ndarray:
    """How far apart two (H, W, 3) uint8 pictures are on average over squares of so many pixels a side, the largest of the
    channels: (H, W)."""
    average = cv2.blur(one.astype(np.float32) - other, (side, side))
    return reduce(np.maximum, (abs(average[..., i]) for i in range(3)))


def _are_edges(between: np.ndarray, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether pixels are but the edges of two areas: at most a fifth of all, with both areas close to each."""
    if not between.any():
        return True
    block = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    close = cv2.dilate(one.astype(np.uint8), block) & cv2.dilate(other.astype(np.uint8), block)
    return bool(_share(between) <= 0.2 and close[between].all())


def _is_flat_paint(colours: np.ndarray) -> bool:
    """Whether (N, 3) colours are flat paint: nearly all fall into 32 of the 4,096 that 4 bits a channel tell apart."""
    codes = (colours >> 4).astype(np.int64) @ np.array([256, 16, 1])
    counts = np.sort(np.bincount(codes))[::-1]
    return bool(counts[:32].sum() >= 0.95 * len(colours))


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


def resize_hole(inside: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A hole in another size, no marked pixel lost: smoothed and cut at half when larger, all that it touches when smaller."""
    (height, width), (tall, wide) = inside.shape, size
    if tall < height or wide < width:  # a side at a time: they may have been rounded in different directions
        reduced = cv2.resize(inside.astype(np.float32), (min(wide, width), min(tall, height)), interpolation=cv2.INTER_AREA)
        inside = reduced > 0
    if inside.shape == (tall, wide):
        return inside
    enlarged = cv2.resize(inside.astype(np.float32), (wide, tall), interpolation=cv2.INTER_LINEAR) >= 0.5
    (height, width), (y, x) = inside.shape, np.nonzero(inside)
    enlarged[(2 * y + 1) * tall // (2 * height), (2 * x + 1) * wide // (2 * width)] = True  # a speck is below half all around
    return enlarged


# --- Grown and feathered ---------------------------------------------------------------------------------------------


def widen(hole: np.ndarray, grow: int = 0, feather: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """A hole (1, 1, H, W) grown by `grow` pixels, then its `feather_weight` over the outer `feather` of them, if any.

    All that was marked is so replaced entirely, the blend lies in the grown ring, and nothing outside it changes. InputError
    for a feather that is wider than the ring.
    """
    if grow < 0 or feather < 0:
        raise InputError(f"{'grow' if grow < 0 else 'feather'} is {min(grow, feather)} pixels; expected 0 or more.")
    if feather > grow:
        raise InputError(
            f"feather {feather} is more than grow {grow}: what was marked would show through. The blend lies in what the "
            f"hole is grown by: give `grow={feather}` or more."
        )
    hole = dilate(hole, grow) if grow else hole
    return hole, feather_weight(hole, feather) if feather else None


def dilate(hole: np.ndarray, pixels: int) -> np.ndarray:
    """A hole (1, 1, H, W) with every pixel that is no farther than `pixels` from it: dilated by a disk of that radius."""
    return (measure_distance(hole) <= pixels).astype(np.float32)


def feather_weight(hole: np.ndarray, feather: int) -> np.ndarray:
    """The share of the filling to take, (1, 1, H, W): 0 outside the hole, rising from its rim, 1 deeper than `feather`."""
    depth = measure_depth(hole)
    return np.where(depth > feather, 1, depth / (feather + 1)) * hole


def measure_depth(hole: np.ndarray) -> np.ndarray:
    """Each pixel's distance to the nearest known one (1, 1, H, W), in pixels between centres."""
    return cv2.distanceTransform((hole[0, 0] > 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[None, None]


def measure_distance(hole: np.ndarray) -> np.ndarray:
    """Each pixel's distance to the nearest one of the hole (1, 1, H, W)."""
    return measure_depth(1 - hole)


def write_mask(path: Path, hole: np.ndarray) -> None:
    """A hole (1, 1, H, W) as a mask: 8-bit, white = hole."""
    write_image(path, (hole[0, 0, :, :, None] > 0).astype(np.uint8) * 255)


# --- Looking ---------------------------------------------------------------------------------------------------------


def find_parts(hole: np.ndarray) -> np.ndarray:
    """The connected parts of a hole (1, 1, H, W), the largest first: rows of x, y, width, height, pixels."""
    _, _, found, _ = cv2.connectedComponentsWithStats((hole[0, 0] > 0).astype(np.uint8), connectivity=8)
    return found[1:][np.argsort(-found[1:, cv2.CC_STAT_AREA], kind="stable")]


def draw_preview(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """A uint8 (H, W, 3) picture with a hole (1, 1, H, W) tinted, and around it a white line within a black one, seen on any
    colour."""
    inside = hole[0, 0] > 0
    outside = measure_distance(hole)[0, 0]
    line = max(1, round(max(inside.shape) / 600))
    shown = pixels.copy()
    shown[inside] = (0.45 * pixels[inside] + 0.55 * TINT).astype(np.uint8)
    shown[~inside & (outside <= 2 * line)] = 0
    shown[~inside & (outside <= line)] = 255
    return shown
