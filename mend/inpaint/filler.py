"""The contract of whatever fills a hole: a network of ours, a network of somebody else, a classical filler, texture on top.

numpy in, numpy out, so that nothing which only uses a filler needs to know the library behind it. Tiles, the memory budget,
the studio's list, the evaluation and the report ask the filler what it is; nobody asks for its class.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mend.inpaint.folder import Model
from mend.progress import Report, ignore


@dataclass(frozen=True)
class Memory:
    """What a filler takes, in bytes: its `program` once, and more for each pixel of the picture and for each pixel that is
    seen at once."""

    program: int
    picture: int
    seen: int


class Filler(Protocol):
    """Fills holes of images of any size.

    name        what it is called in tables and lists
    runtime     what does the work, and where, in words
    reach       how many pixels around a hole its filling depends on; None: the whole picture
    tiles       the sides of the tiles that it can work in, in pixels, the preferred first; None: the picture at once
    memory      what it takes; None where that is not known
    version     text that changes whenever its filling may: the SHA-256 of its weights, or its library's version
    parameters  how many weights it has
    config      what is on record of it, as a result has it
    """

    @property
    def name(self) -> str: ...
    @property
    def runtime(self) -> str: ...
    @property
    def reach(self) -> int | None: ...
    @property
    def tiles(self) -> tuple[int | None, ...]: ...
    @property
    def memory(self) -> Memory | None: ...
    @property
    def version(self) -> str: ...
    @property
    def parameters(self) -> int: ...
    @property
    def config(self) -> Model: ...

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Report = ignore) -> np.ndarray:
        """`raw` (B, 3, H, W) in [0, 1] from what is known (B, 3, H, W), zeros in the hole, and the hole (B, 1, H, W), float32.

        Only what lies in the hole counts. `tile` is one of `tiles`; `report` is told how far it is.
        """
        ...

    def notes(self, hole: np.ndarray) -> list[str]:
        """What a person should know of how this hole will be filled."""
        ...


class Wrapper:
    """A `Filler` on top of another, whose facts it has, but for these."""

    PROGRAM = 0  # bytes, more
    PICTURE = 0  # bytes for each pixel of the picture, more
    VERSION = ""  # what it adds to the version

    def __init__(self, filler: Filler) -> None:
        self.filler = filler
        self.name, self.runtime, self.config = filler.name, filler.runtime, filler.config
        self.reach, self.tiles = filler.reach, filler.tiles
        inner = filler.memory
        self.memory = inner and Memory(inner.program + self.PROGRAM, inner.picture + self.PICTURE, inner.seen)

    @property
    def version(self) -> str:
        """That of the filler, and what is done to its filling."""
        return f"{self.filler.version}{self.VERSION}"

    @property
    def parameters(self) -> int:
        """Those of the filler."""
        return self.filler.parameters

    def notes(self, hole: np.ndarray) -> list[str]:
        """Those of the filler."""
        return self.filler.notes(hole)
