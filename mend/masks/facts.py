"""What there is to see in a mask file, before it is decided what of it is the hole."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from mend.images import as_rgb, explain_read_errors, is_deep, is_turned, open_picture, read_alpha, read_image
from mend.images.picture import count_frames
from mend.masks.hole import format_share, measure_share

NEAR = 32  # levels this close to black or white count as such: JPEG noise stays below it, away from edges
COLOURED = 48  # a pixel whose channels differ by so much is coloured; the darkest paint of VOC and DAVIS masks differs by 64
EDGE = 8  # pixels: as far as JPEG noise, whose blocks are 8×8, or smoothing reaches from an edge


@dataclass(frozen=True)
class MaskFacts:
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

    def describe(self) -> str:
        """Size, mode, and the share of each kind of pixel, as a phrase."""
        parts = {"black": self.black, "white": self.white, "coloured": self.coloured}
        parts["grey"] = ~(self.black | self.white | self.coloured)
        if self.alpha is not None:
            parts["transparent"] = ~self.opaque
        shares = ", ".join(f"{format_share(part)} {name}" for name, part in parts.items() if part.any())
        return f"{self.colours.width}×{self.colours.height}, mode {self.mode}: {shares}"


MARKS: dict[str, Callable[[MaskFacts], np.ndarray]] = {
    "white": lambda facts: facts.bright,
    "black": lambda facts: ~facts.bright,
    "opaque": lambda facts: facts.opaque,
    "transparent": lambda facts: ~facts.opaque,
    "painted": lambda facts: facts.coloured,
}
"""What can mark a hole: the lighter or the darker half, what is opaque or transparent, what is strongly coloured."""


def read_facts(mask: str | Path | bytes | Image.Image, name: str) -> MaskFacts:
    """What is in a picture file, its bytes or a Pillow image; InputError, which calls it `name`, for a damaged one."""
    source = nullcontext(mask) if isinstance(mask, Image.Image) else open_picture(mask, name)
    with explain_read_errors(name), source as opened:
        opened.load()
        turned, upright, notes = is_turned(opened), ImageOps.exif_transpose(opened), []
        if (frames := count_frames(opened)) > 1:
            notes.append(f"the first of {frames} frames")
        if turned:
            notes.append("turned upright, as its EXIF orientation says")
        grey = upright.mode in ("1", "L", "LA")
        colours, alpha = upright.convert("L") if grey else as_rgb(upright, name), read_alpha(upright)
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
    return MaskFacts(opened.mode, colours, alpha, top, full, notes)


def are_edges(between: np.ndarray, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether pixels are but the edges of two areas: at most a fifth of all, with both areas close to each."""
    if not between.any():
        return True
    block = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    close = cv2.dilate(one.astype(np.uint8), block) & cv2.dilate(other.astype(np.uint8), block)
    return bool(measure_share(between) <= 0.2 and close[between].all())


def is_flat_paint(colours: np.ndarray) -> bool:
    """Whether (N, 3) colours are flat paint: nearly all fall into 32 of the 4,096 that 4 bits a channel tell apart."""
    codes = (colours >> 4).astype(np.int64) @ np.array([256, 16, 1])
    counts = np.sort(np.bincount(codes))[::-1]
    return bool(counts[:32].sum() >= 0.95 * len(colours))
