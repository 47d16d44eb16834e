"""The class of every network: what it says of itself, such as its stride and reach, and how it fills an image of any size."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mend.images import pad_to
from mend.inpaint.tiles import cut_tiles
from mend.progress import Report, ignore


class Network(nn.Module):
    """`(masked, hole) -> raw`: (B, 3, H, W) and (B, 1, H, W) to (B, 3, H, W) in [0, 1]; H and W multiples of `stride`.

    stride  what it is given at once is padded to multiples of so many pixels
    reach   pixels seen around a tile
    tiles   sides of tiles, the preferred first; None: the picture at once
    memory  bytes for each pixel of what it is given at once, as measured at 512×512 (PyTorch 2.15, fp32), rounded up
    graph   the name of the module that `mend export` writes, "" for the network itself
    """

    stride: int = 8
    reach: int = 64
    tiles: tuple[int | None, ...] = (None, 2048, 1024, 512, 256, 128)
    memory: int
    graph: str = ""

    def scales(self, masked: Tensor, hole: Tensor) -> list[Tensor]:
        """`raw` at every scale that is trained, the finest first."""
        return [fill_padded(self, masked, hole)]

    def fill(self, masked: Tensor, hole: Tensor, tile: int | None = None, report: Report = ignore) -> Tensor:
        """`raw` for any H and W, in tiles of so many pixels; at once for None."""
        if tile is None:
            return fill_padded(self, masked, hole)
        # What lies beside the hole is worked out too: it says by how much the filling misses the picture.
        wanted = F.max_pool2d(hole, 3, stride=1, padding=1)
        raw, work = masked.clone(), list(cut_tiles((1 - wanted).cpu().numpy(), tile, self.reach, self.stride))
        for done, part in enumerate(work, 1):
            seen = fill_padded(self, masked[(..., *part.seen)], hole[(..., *part.seen)])
            raw[(..., *part.place)] = seen[(..., *part.inner)].to(raw.dtype)
            report(done, len(work))
        return raw

    def graph_inputs(self, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """The inputs of the exported graph by name, and their shapes."""
        return {"masked": (batch, 3, height, width), "hole": (batch, 1, height, width)}


def fill_padded(network: Network, masked: Tensor, hole: Tensor) -> Tensor:
    """What a network returns for an image of any size: padded to its stride, un-padded after."""
    height, width = hole.shape[-2:]
    return network(pad_to(masked, network.stride), pad_to(hole, network.stride))[..., :height, :width]


def hash_weights(network: nn.Module) -> str:
    """SHA-256 over the names and bytes of a network's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def limit_threads() -> Iterator[None]:
    """Few pixels are worked on by one thread, so that the number of threads changes nothing of them.

    Over few pixels oneDNN divides a convolution's sums themselves between the threads, which rounds them otherwise; over more
    it divides the pixels. The setting is the process's: another thread that meets PyTorch for the first time meanwhile keeps
    to one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
