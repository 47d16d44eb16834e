"""A filler whose filling gets texture from elsewhere in the picture; how that is made, `mend.inpaint.synthesis` says."""

import cv2
import numpy as np

from mend.images import composite
from mend.inpaint.filler import Filler, Wrapper
from mend.progress import Report, ignore, split_report

THIN = 6  # pixels: a hole no wider needs no texture; what lies beside says what is in it
SPOT = 100  # pixels: as much is thick where two thin strokes cross


def find_thick(holes: np.ndarray) -> np.ndarray:
    """The parts of holes (B, 1, H, W) that are wider than `THIN` pixels, bool; where thin strokes cross is none."""
    return np.stack([_open(hole[0] > 0)[None] for hole in holes])


def _open(hole: np.ndarray) -> np.ndarray:
    rows, columns = surround(hole, 0)  # of a large picture a hole is a small part
    part = hole[rows, columns]
    framed = np.pad(part.astype(np.uint8), THIN)  # what lies outside the picture is no part of the hole
    square = np.ones((THIN + 1, THIN + 1), np.uint8)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(framed, cv2.MORPH_OPEN, square))
    large = facts[:, cv2.CC_STAT_AREA] >= SPOT
    large[0] = False  # what is no part
    whole = cv2.dilate(large[labels].astype(np.uint8), square)  # with what the square cut off at a round rim
    thick = np.zeros_like(hole)
    thick[rows, columns] = part & (whole[THIN:-THIN, THIN:-THIN] > 0)
    return thick


def surround(hole: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The rows and columns in which a hole (H, W) lies, and so many more on every side; none where there is no hole."""
    places = [np.flatnonzero(hole.any(axis)) for axis in (1, 0)]
    rows, columns = (slice(max(0, p[0] - margin), p[-1] + margin + 1) if len(p) else slice(0) for p in places)
    return rows, columns


class Textured(Wrapper):
    """A `Filler` whose filling is made anew from patches of the known picture, where the hole is not thin."""

    # Measured: 150 MB of numba, 220 where it compiles; 400 MB with the largest scale at which patches are compared (1.5
    # megapixels); at 12 megapixels 33 bytes a pixel where a twentieth is missing, 145 where nine tenths are.
    PROGRAM = 350 * 2**20  # bytes, more
    PICTURE = 150  # bytes for each pixel of the picture, more

    def __init__(self, filler: Filler) -> None:
        super().__init__(filler)
        self.name = f"{filler.name}, texture"

    @property
    def version(self) -> str:
        """That of the filler, and that it has texture."""
        return f"{self.filler.version} texture"

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Report = ignore) -> np.ndarray:
        """As `Filler`."""
        thick = find_thick(hole)
        if not thick.any():
            return self.filler(masked, hole, tile, report)
        from mend.inpaint.synthesis import add_texture  # it imports numba, which takes half a second

        structure, texture = split_report(report, 2)
        return add_texture(composite(masked, self.filler(masked, hole, tile, structure), hole), thick, texture)

    def notes(self, hole: np.ndarray) -> list[str]:
        """Those of the filler, and whether no texture can be made."""
        notes, thick = list(super().notes(hole)), find_thick(hole)
        if thick.any():
            from mend.inpaint.synthesis import has_patches

            if not has_patches(thick):
                notes.append("no texture was made: too little of the picture is known to take patches from")
        return notes
