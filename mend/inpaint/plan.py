"""How a picture is filled without taking more memory than there is: all at once, or tile by tile."""

import re
import sys
from dataclasses import dataclass

import numpy as np

from mend.errors import InputError
from mend.inpaint.tiles import tiles

PROGRAM = 700 * 2**20  # bytes: Python with PyTorch and OpenCV loaded; 570 MB where it was measured, and some room
LIGHT = 150 * 2**20  # bytes: Python with ONNX Runtime and OpenCV loaded; 110 MB where it was measured
MASK = 75  # bytes for each pixel of a mask while it is read: 73 of a JPEG 2000 of 16 bits, measured, and 10 of 8-bit grey
READ = 8  # bytes for each pixel of a picture that was read: four channels of 16 bits
PICTURE = 100  # bytes for each pixel of the picture: it and its hole, masked, halved again and again, and filled
TEXTURE = 110  # bytes for each pixel of the picture, more: 1.2 GB for 12 megapixels where it was measured
SEAM = 110  # bytes for each pixel of the picture, more
REACH = 64  # pixels seen around a tile
STRIDE = 8  # pixels, in steps of which tiles are cut down to what they miss, where a network is made for tiles
SIDES = (2048, 1024, 512, 256, 128)
USUAL = 4 * 2**30  # bytes: what a plan keeps to where nobody asked
LEAST = 2**30  # bytes: what the network may take even of a picture that is more than USUAL alone, where nobody asked


@dataclass(frozen=True)
class Plan:
    """`tile` is the longest side in pixels, None for all at once; `count` tiles miss something; `memory` is the peak, in bytes,
    None where it is not known."""

    tile: int | None
    count: int
    memory: int | None

    def __str__(self) -> str:
        how = "whole" if self.tile is None else f"{self.count} tile{'s' * (self.count != 1)} of at most {self.tile} pixels"
        known = "" if self.memory is None else f", at most {self.memory / 2**30:.1f} GB of memory"
        return how + known


def make_plan(network: object, hole: np.ndarray, most: int | None = None, more: int = 0) -> Plan:
    """The largest tile whose filling of `hole` (B, 1, H, W) takes no more than `most` bytes, the program included.

    `more` is what each pixel of the picture takes besides. A network states its `memory` (see `mend.models`); one with a `TILE`
    of its own keeps to that or smaller ones, and one that needs no PyTorch says what its `program` and a pixel of the `picture`
    take instead of `PROGRAM` and `PICTURE`. Raises InputError when even the smallest tile takes more than was asked for, and
    for a filler whose memory is not known.
    """
    own: int | None = getattr(network, "TILE", None)
    per_pixel: int | None = getattr(network, "memory", None)
    if per_pixel is None:
        if most is not None:
            raise InputError("how much memory this filler takes is not known, so none can be promised. Leave --max-memory out.")
        return Plan(None, 1, None)
    pixels = hole.size
    picture = getattr(network, "program", PROGRAM) + (getattr(network, "picture", PICTURE) + more) * pixels
    room = max(USUAL - picture, LEAST) if most is None else most - picture
    if own is None and per_pixel * pixels <= room:
        return Plan(None, 1, picture + per_pixel * pixels)
    side = taken = 0
    for side in SIDES if own is None else SIDES[SIDES.index(own) :]:
        taken = per_pixel * _seen(side, hole)
        if taken <= room:
            break
    else:
        if most is not None:
            raise InputError(
                f"{most / 2**30:.2g} GB are too little: {hole.shape[-1]}×{hole.shape[-2]} pixels take "
                f"{(picture + taken) / 2**30:.1f} GB even in the smallest tiles. Allow more, or fill a smaller picture."
            )
    return Plan(side, sum(1 for _ in tiles(1 - hole, side, REACH, side if own is None else STRIDE)), picture + taken)


def check_mask(name: str, mask: int, picture: int, most: int) -> None:
    """InputError where reading a mask of so many pixels, beside a picture of so many, takes more than `most` bytes: one of the
    picture's size never does where filling does not."""
    taken = (PROGRAM if "torch" in sys.modules else LIGHT) + MASK * mask + READ * picture
    if mask > picture and taken > most:
        raise InputError(
            f"{most / 2**30:.2g} GB are too little: the mask {name} has {mask:,} pixels, its picture {picture:,}, and to read "
            f"it takes {taken / 2**30:.1f} GB. Allow more, or scale the mask to the size of the picture."
        )


def _seen(side: int, hole: np.ndarray) -> int:
    """The pixels that are looked at, at once, for one tile."""
    height, width = hole.shape[-2:]
    return min(height, side + 2 * REACH) * min(width, side + 2 * REACH) * len(hole)


def memory_size(text: str) -> int:
    """Bytes from text such as 800MB or 1.5 GB. InputError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])i?B?\s*", text, re.IGNORECASE)
    if not found:
        raise InputError(f"the memory is {text!r}; expected a number and a unit, such as 800MB or 2GB.")
    return int(float(found[1]) * 1024 ** ("KMGT".index(found[2].upper()) + 1))
