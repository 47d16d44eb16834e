"""How a picture is filled without taking more memory than there is: all at once, or tile by tile."""

import math
import re
from dataclasses import dataclass

import numpy as np

from mend.errors import InputError
from mend.inpaint.filler import Filler

PROGRAM = 150 * 2**20  # bytes: Python with OpenCV loaded, before it fills
MASK = 75  # bytes for each pixel of a mask while it is read: 73 of a JPEG 2000 of 16 bits, measured, and 10 of 8-bit grey
READ = 8  # bytes for each pixel of a picture that was read: four channels of 16 bits
USUAL = 4 * 2**30  # bytes: what a plan keeps to where nobody asked
LEAST = 2**30  # bytes: what the network may take even of a picture that is more than USUAL alone, where nobody asked


@dataclass(frozen=True)
class Plan:
    """`tile` is the longest side of a tile in pixels, None for the whole; `memory` is the peak in bytes, None if not known."""

    tile: int | None
    memory: int | None

    def __str__(self) -> str:
        how = "whole" if self.tile is None else f"tiles of at most {self.tile} pixels"
        known = "" if self.memory is None else f", at most {format_memory(self.memory)} of memory"
        return how + known


def make_plan(filler: Filler, hole: np.ndarray, most: int | None = None) -> Plan:
    """The largest of a filler's tiles with which filling `hole` (B, 1, H, W) takes no more than `most` bytes, program included.

    Raises InputError when even the smallest tile takes more than was asked for, and for a filler whose memory is not known.
    """
    memory = filler.memory
    if memory is None:
        if most is not None:
            raise InputError(
                "how much memory this filler takes is not known, so none can be promised. Leave `max_memory` out. "
                "(Of a network of others its contract may say it, as memory.)"
            )
        return Plan(None, None)
    picture = memory.program + memory.picture * hole.size
    room = max(USUAL - picture, LEAST) if most is None else most - picture
    side, taken = None, 0
    for side in filler.tiles:
        taken = memory.seen * (hole.size if side is None else _count_seen(side, hole, filler.reach or 0))
        if taken <= room:
            break
    else:
        if most is not None:
            raise InputError(
                f"`max_memory` is {format_memory(most)}, which is too little: {hole.shape[-1]}×{hole.shape[-2]} pixels take "
                f"{format_memory(picture + taken)} even in the smallest tiles, {format_memory(memory.program)} of it whatever "
                "the picture. Allow more, or fill a smaller picture."
            )
    return Plan(side, picture + taken)


def check_mask(name: str, mask: int, picture: int, most: int) -> None:
    """InputError where reading a mask of so many pixels, beside a picture of so many, takes more than `most` bytes: one of the
    picture's size never does where filling does not."""
    taken = PROGRAM + MASK * mask + READ * picture
    if mask > picture and taken > most:
        raise InputError(
            f"`max_memory` is {format_memory(most)}, which is too little: {name} has {mask:,} pixels, its picture "
            f"{picture:,}, and to read it takes {format_memory(taken)}. Allow more, or scale the mask to the picture's size."
        )


def _count_seen(side: int, hole: np.ndarray, reach: int) -> int:
    """The pixels that are looked at, at once, for one tile."""
    height, width = hole.shape[-2:]
    return min(height, side + 2 * reach) * min(width, side + 2 * reach) * len(hole)


def format_memory(size: int) -> str:
    """Bytes as text, rounded up: in MB below one GB."""
    return f"{math.ceil(10 * size / 2**30) / 10} GB" if size >= 2**30 else f"{math.ceil(size / 2**20)} MB"


def parse_memory(text: str) -> int:
    """Bytes from text such as 800MB or 1.5 GB. InputError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])i?B?\s*", text, re.IGNORECASE)
    if not found:
        raise InputError(f"`max_memory` is {text!r}; expected a number and a unit, such as 800MB or 2GB.")
    return int(float(found[1]) * 1024 ** ("KMGT".index(found[2].upper()) + 1))
