"""A network as a `Filler`, by PyTorch."""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from mend.inpaint.filler import Memory
from mend.inpaint.folder import Model
from mend.models.checkpoint import load_model
from mend.models.device import find_device
from mend.models.network import Network, hash_weights
from mend.progress import Report, ignore

PROGRAM = 700 * 2**20  # bytes: Python with PyTorch and OpenCV loaded; 570 MB where it was measured, and some room
# Bytes for each pixel of the picture: it and its hole, masked, halved again and again, and filled. 90 to 114 where it was
# measured (7.7 megapixels, 4 runs): the allocator decides. And 12 where a window is nearly the whole picture.
PICTURE = 132


def load_network(path: str | Path, device: str = "auto") -> "TorchFiller":
    """The network of a model folder or a run folder. Raises InputError as `load_model` and `find_device` do."""
    network, config = load_model(path)
    return TorchFiller(network, find_device(device), config)


class TorchFiller:
    """A network as a `Filler`, on a device. `config` is what is on record of it."""

    def __init__(self, network: Network, device: torch.device, config: Model) -> None:
        self.network, self.device, self.config = network.eval().to(device), device, config
        self.name = config.model
        self.runtime = f"PyTorch on {device}"
        self.reach, self.tiles = network.reach, network.tiles
        self.memory = Memory(PROGRAM, PICTURE, network.memory)
        self.parameters = sum(weights.numel() for weights in network.parameters())

    @cached_property
    def version(self) -> str:
        """The SHA-256 of its weights."""
        return hash_weights(self.network)

    @torch.inference_mode()
    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Report = ignore) -> np.ndarray:
        """As `Filler`."""
        image, missing = (torch.from_numpy(np.require(part, requirements=["C", "W"])) for part in (masked, hole))
        raw = self.network.fill(image.to(self.device), missing.to(self.device), tile, report)
        report(1, 1)
        return raw.float().cpu().numpy()

    def notes(self, hole: np.ndarray) -> list[str]:
        """None: it fills any hole."""
        return []
