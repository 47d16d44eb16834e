"""Fillers without a network.

To add one: a function on one picture, one line in `CLASSICAL`, one test.
"""

import hashlib
from collections.abc import Callable
from importlib.util import find_spec

import cv2
import numpy as np

from mend.errors import make_missing_error, pick
from mend.inpaint.filler import Memory
from mend.inpaint.folder import Model
from mend.inpaint.plan import PROGRAM
from mend.progress import Report, ignore

Picture = np.ndarray
"""(H, W, 3) float32 in [0, 1], zeros in the hole; the hole beside it is (H, W) bool."""


def mean_colour(masked: Picture, hole: np.ndarray) -> Picture:
    """The mean of the known pixels, everywhere."""
    return np.broadcast_to(masked[~hole].mean(0), masked.shape)


def telea(masked: Picture, hole: np.ndarray) -> Picture:
    """Fast marching (Telea, 2004), by OpenCV, radius 3 pixels, 8 bits."""
    return _fill_by_opencv(masked, hole, cv2.INPAINT_TELEA)


def navier_stokes(masked: Picture, hole: np.ndarray) -> Picture:
    """Isophotes carried inward as a fluid (Bertalmio et al., 2001), by OpenCV, radius 3 pixels, 8 bits."""
    return _fill_by_opencv(masked, hole, cv2.INPAINT_NS)


def biharmonic(masked: Picture, hole: np.ndarray) -> Picture:
    """The smoothest continuation: ∆²u = 0 in the hole (Damelin and Hoang, 2018), by scikit-image."""
    from skimage.restoration import inpaint_biharmonic

    return np.clip(inpaint_biharmonic(masked, hole, channel_axis=-1), 0, 1)


def harmonic(masked: Picture, hole: np.ndarray) -> Picture:
    """Every missing pixel is the mean of its neighbours: Laplace's equation, solved to the precision of float32."""
    from mend.inpaint.laplace import solve_laplace

    return solve_laplace(masked, hole)


def _fill_by_opencv(masked: Picture, hole: np.ndarray, method: int) -> Picture:
    pixels = np.rint(masked.clip(0, 1) * 255).astype(np.uint8)
    return cv2.inpaint(pixels, hole.astype(np.uint8), 3, method).astype(np.float32) / 255


CLASSICAL: dict[str, Callable[[Picture, np.ndarray], Picture]] = {
    "mean-colour": mean_colour,
    "telea": telea,
    "navier-stokes": navier_stokes,
    "harmonic": harmonic,
    "biharmonic": biharmonic,
}
MEMORY = {"harmonic": Memory(PROGRAM, 180, 0)}  # by name, where it is known: 152 bytes a pixel, measured at 1 and 3 megapixels


def is_installed(name: str) -> bool:
    """Whether what a classical filler needs is there: scikit-image, for one of them, need not be."""
    return name != "biharmonic" or find_spec("skimage") is not None


def _find_version(library: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # which takes a while

    try:
        return version(library)
    except PackageNotFoundError:  # only one filler needs scikit-image
        return "none"


class Classical:
    """A `Filler` without a network. A picture that is all hole comes back mid-grey."""

    runtime = "no network"
    reach, tiles, parameters = None, (None,), 0

    def __init__(self, name: str) -> None:
        self.name, self.function = name, pick(CLASSICAL, name, "classical filler")
        if not is_installed(name):  # said once, and not of each picture of a folder
            raise make_missing_error("scikit-image", "eval")
        self.config = Model(model=name)
        self.memory = MEMORY.get(name)

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Report = ignore) -> np.ndarray:
        """As `Filler`, one picture after another."""
        raw = np.empty_like(masked)
        for i, (picture, inside) in enumerate(zip(masked.transpose(0, 2, 3, 1), hole[:, 0] > 0, strict=True)):
            raw[i] = self._fill(np.ascontiguousarray(picture), inside).transpose(2, 0, 1)
            report(i + 1, len(masked))
        return raw

    @property
    def version(self) -> str:
        """A hash of its name and of the versions of the libraries that classical fillers are from."""
        libraries = " ".join(f"{library} {_find_version(library)}" for library in ("opencv-python-headless", "scikit-image"))
        return hashlib.sha256(f"{self.name} {libraries.replace('-python-headless', '')}".encode()).hexdigest()

    def _fill(self, masked: Picture, hole: np.ndarray) -> Picture:
        if hole.all():
            return np.full_like(masked, 0.5)
        return self.function(masked, hole) if hole.any() else masked

    def notes(self, hole: np.ndarray) -> list[str]:
        """None: it fills any hole."""
        return []
