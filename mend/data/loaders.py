"""Batches for PyTorch: of small images that lie on the device, and random crops of large ones that workers read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from mend import distributed
from mend.data.cache import remember, stop_when_broken, warn_of_broken
from mend.data.random import permutation, uniform
from mend.errors import InputError
from mend.images import read_rgb

ROOM = 2**30  # bytes of pictures that a worker keeps: decoding one for each of its crops would take as long as cutting them


def to_image(pixels: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) pixels as an image."""
    writable = np.require(pixels, requirements="W")  # Pillow's are read-only, of which PyTorch warns
    return torch.from_numpy(writable).permute(0, 3, 1, 2).float() / 255


def draw_epoch_rows(
    count: int, seed: int, epoch: int, batch_size: int, rank: int = distributed.RANK, world: int = distributed.WORLD
) -> np.ndarray:
    """The rows of this epoch in its order: of every batch this process's share, and in all shares each row once.

    A process for which the last batch has nothing left takes its first row, so that all make equally many steps;
    `count_share` gives that row no weight.
    """
    order = permutation(count, seed, epoch)
    batches = np.split(order, range(batch_size, count, batch_size))
    return np.concatenate([batch[rank::world] if rank < len(batch) else batch[:1] for batch in batches])


def count_share(size: int, rank: int = distributed.RANK, world: int = distributed.WORLD) -> int:
    """How many of a batch of `size` images are this process's."""
    return len(range(rank, size, world))


class Batches:
    """Shuffled batches of (image, hole) from arrays that live on the training device.

    `pixels` (N, 3, H, W) and `holes` (N, 1, H, W) are uint8 tensors. The order depends on (seed, epoch) alone.
    """

    def __init__(self, pixels: Tensor, holes: Tensor, rows: np.ndarray, batch_size: int) -> None:
        self.pixels, self.holes, self.batch_size = pixels, holes, batch_size
        self.rows = torch.as_tensor(rows).to(pixels.device)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in self.rows.split(self.batch_size):
            yield self.pixels[rows].float() / 255, self.holes[rows].float()


@dataclass(eq=False)
class Crops(IterableDataset[tuple[Tensor, Tensor]]):
    """Random crops of large pictures with a hole each, read by workers; `rows` are those of one pass.

    A row is a picture: row i and row i + len(files) are two crops of one. `draw_hole(epoch, i)` is the hole (1, crop, crop) of
    row i in this epoch. `zoom` is how much of a picture a crop may show; see `draw_crop`. What a row gives depends on
    (seed, epoch, i) alone, not on the worker that reads it.
    """

    files: list[Path]
    crop: int
    rows: np.ndarray
    draw_hole: Callable[[int, int], np.ndarray]
    seed: int
    epoch: int
    batch_size: int = 1
    zoom: float = 1.0

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A worker reads whole batches, in turn with the others: the batches are the same for any number of workers.
        worker = get_worker_info()
        batches = [self.rows[i : i + self.batch_size] for i in range(0, len(self.rows), self.batch_size)]
        mine = self.rows if worker is None else np.concatenate([self.rows[:0], *batches[worker.id :: worker.num_workers]])
        broken: dict[int, str] = {}
        several = len(self.rows) > len(self.files)  # crops of a picture in one pass
        read = remember(self._read, ROOM) if several else self._read
        for i in mine.tolist():
            picture = self._read_next_readable(i % len(self.files), read, broken)
            cut = torch.from_numpy(draw_crop(picture, self.crop, self.zoom, self.seed, self.epoch, i))
            yield cut.permute(2, 0, 1).float() / 255, torch.from_numpy(self.draw_hole(self.epoch, i))

    def _read_next_readable(self, file: int, read: Callable[[int], np.ndarray], broken: dict[int, str]) -> np.ndarray:
        """A picture; for one that cannot be read the next that can, so that all processes make equally many steps."""
        while True:
            try:
                if file not in broken:
                    return read(file)
            except InputError as error:
                broken[file] = str(error)
                stop_when_broken(list(broken.values()), len(self.files))
                warn_of_broken([broken[file]], len(self.files))
            mine = np.unique(self.rows % len(self.files))  # never one of another split
            file = int(mine[np.searchsorted(mine, file, "right") % len(mine)])

    def _read(self, file: int) -> np.ndarray:
        return read_rgb(self.files[file])


def draw_crop(pixels: np.ndarray, crop: int, zoom: float, *keys: int) -> np.ndarray:
    """A (crop, crop, 3) part of uint8 (H, W, 3) pixels at a place drawn for these keys, mirrored for half of them.

    The part is up to `zoom` times as large as the crop, as likely any factor (in its logarithm), and shrunk to it. A picture
    that is smaller than the crop is enlarged to it.
    """
    y, x, scale, mirror = uniform(4, *keys, 1)
    side = min(*pixels.shape[:2], round(crop * zoom**scale))
    top, left = int(y * (pixels.shape[0] - side + 1)), int(x * (pixels.shape[1] - side + 1))
    part = pixels[top : top + side, left : left + side]
    if side != crop:
        part = np.asarray(Image.fromarray(part).resize((crop, crop), Image.Resampling.LANCZOS))
    return (part[:, ::-1] if mirror < 0.5 else part).copy()
