"""A filler whose filling gets texture from elsewhere in the picture; how that is made, `mend.inpaint.synthesis` says."""

import numpy as np

from mend.images import composite
from mend.inpaint.filler import Filler, Wrapper
from mend.inpaint.holes import find_thick
from mend.progress import Report, ignore, split_report


class Textured(Wrapper):
    """A `Filler` whose filling is made anew from patches of the known picture, where the hole is not thin."""

    # Measured: 150 MB of numba, 220 where it compiles; 400 MB with the largest scale at which patches are compared (1.5
    # megapixels); at 12 megapixels 33 bytes a pixel where a twentieth is missing, 145 where nine tenths are.
    PROGRAM = 350 * 2**20
    PICTURE = 150
    VERSION = " texture"

    def __init__(self, filler: Filler) -> None:
        super().__init__(filler)
        self.name = f"{filler.name}, texture"

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Report = ignore) -> np.ndarray:
        """As `Filler`."""
        thick = find_thick(hole)
        if not thick.any():
            return self.filler(masked, hole, tile, report)
        from mend.inpaint.synthesis import add_texture  # it imports numba, which takes half a second

        structure, texture = split_report(report, [100, 100])
        return add_texture(composite(masked, self.filler(masked, hole, tile, structure), hole), thick, texture)

    def notes(self, hole: np.ndarray) -> list[str]:
        """Those of the filler, and whether no texture can be made."""
        notes, thick = list(super().notes(hole)), find_thick(hole)
        if thick.any():
            from mend.inpaint.synthesis import has_patches

            if not has_patches(thick):
                notes.append("no texture was made: too little of the picture is known to take patches from")
        return notes
