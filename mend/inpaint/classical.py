"""Fillers without a network, called as a network is: `(masked, hole) -> raw`.

To add one: a function on one picture, one line in `CLASSICAL`, one test.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from mend.images import to_pixels

Picture = np.ndarray
"""(H, W, 3) float32 in [0, 1], zeros in the hole; the hole beside it is (H, W) bool."""


def mean_colour(masked: Picture, hole: np.ndarray) -> Picture:
    """The mean of the known pixels, everywhere."""
    return np.broadcast_to(masked[~hole].mean(0), masked.shape)


def telea(masked: Picture, hole: np.ndarray) -> Picture:
    """Fast marching (Telea, 2004), by OpenCV, radius 3 pixels, 8 bits."""
    import cv2

    return _opencv(masked, hole, cv2.INPAINT_TELEA)


def navier_stokes(masked: Picture, hole: np.ndarray) -> Picture:
    """Isophotes carried inward as a fluid (Bertalmio et al., 2001), by OpenCV, radius 3 pixels, 8 bits."""
    import cv2

    return _opencv(masked, hole, cv2.INPAINT_NS)


def biharmonic(masked: Picture, hole: np.ndarray) -> Picture:
    """The smoothest continuation: ∆²u = 0 in the hole (Damelin and Hoang, 2018), by scikit-image."""
    from skimage.restoration import inpaint_biharmonic

    return np.clip(inpaint_biharmonic(masked, hole, channel_axis=-1), 0, 1)


def _opencv(masked: Picture, hole: np.ndarray, method: int) -> Picture:
    import cv2

    pixels = to_pixels(torch.from_numpy(masked).permute(2, 0, 1)[None])[0]
    return cv2.inpaint(pixels, hole.astype(np.uint8), 3, method).astype(np.float32) / 255


CLASSICAL: dict[str, Callable[[Picture, np.ndarray], Picture]] = {
    "mean-colour": mean_colour,
    "telea": telea,
    "navier-stokes": navier_stokes,
    "biharmonic": biharmonic,
}


class Classical(nn.Module):
    """A classical filler in the place of a network. A picture that is all hole comes back mid-grey."""

    stride = 1

    def __init__(self, name: str) -> None:
        super().__init__()
        self.fill = CLASSICAL[name]

    def forward(self, masked: Tensor, hole: Tensor) -> Tensor:
        raw = [self._one(picture, inside) for picture, inside in zip(masked, hole, strict=True)]
        return torch.stack(raw).to(masked)

    def _one(self, masked: Tensor, hole: Tensor) -> Tensor:
        inside = hole[0].cpu().numpy() > 0
        if inside.all():
            return torch.full_like(masked, 0.5)
        if not inside.any():
            return masked
        picture = np.ascontiguousarray(masked.permute(1, 2, 0).cpu().numpy(), dtype=np.float32)
        filled = self.fill(picture, inside)
        return torch.from_numpy(np.array(filled, dtype=np.float32)).permute(2, 0, 1)
