"""A mask set made for a source of images: what a segmenter finds in each, or what is drawn for it."""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader

from mend import distributed
from mend.data.sources import Images
from mend.errors import InputError, make_unknown_error
from mend.masks.draw import DRAWN
from mend.masks.store import MaskSet, make_manifest
from mend.progress import Report, ignore
from mend.segment.networks import SEGMENTERS, Segmenter, load_segmenter


def make_masks(
    images: Images,
    segmenter: str,
    out: str | Path,
    device: str = "auto",
    coverage: float = 0.25,
    seed: int = 0,
    start: int = 0,
    stop: int | None = None,
    on_batch: Report = ignore,
) -> MaskSet:
    """A mask for each of the images in rows `start` to `stop`, in the mask set at `out`; what is done is not done again.

    `segmenter` names one (see `load_segmenter`), or a drawn kind, which then has this `coverage` and `seed`. `on_batch(done,
    of)` is called after each batch. The processes of a job (`mend.distributed`) share the batches, and the first writes.
    Several jobs may fill one set, each its own range.
    """
    stop = len(images) if stop is None else stop
    if not 0 <= start < stop <= len(images):
        raise InputError(f"the range {start}:{stop} is not within the {len(images)} images of {images.source}.")
    maker = _make_drawer(segmenter, coverage, seed, images.size) if segmenter in DRAWN else _load_finder(segmenter, device)
    manifest = make_manifest(images, maker.name, maker.weights)
    # On Windows a file that another process has mapped cannot be sealed.
    masks = distributed.run_first(lambda: MaskSet.create(out, manifest))
    missing = distributed.broadcast(start + np.flatnonzero(~masks.done[start:stop]) if masks is not None else np.arange(0))
    done = stop - start - len(missing)
    on_batch(done, stop - start)

    def find(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rows, maker.masks(images.pixels[rows]) if segmenter not in DRAWN else maker.masks(rows)

    batch = min(maker.batch, max(16, 2**22 // math.prod(images.size)))  # of large masks fewer: they wait in memory
    for rows, found in _find_all([missing[i : i + batch] for i in range(0, len(missing), batch)], find, maker, images.size[1]):
        assert masks is not None, "only the first gets them"
        masks.write(rows, found)
        done += len(rows)
        on_batch(done, stop - start)
    if masks is not None:
        masks.finish()
    distributed.broadcast(None)  # now it is sealed
    return MaskSet.create(out, manifest) if masks is None else masks


def _find_all(batches: list[np.ndarray], find: Callable[[np.ndarray], Any], maker: Segmenter, width: int) -> Iterator[Any]:
    """What `find` gives for each batch, in order: found by the processes of the job, or by as many as there are cores.

    The latter for makers without a network, since all they do has one thread; on Linux, where a process can be forked.
    """
    workers = min(torch.get_num_threads(), len(batches))
    if distributed.WORLD > 1 or maker.weights or workers < 2 or sys.platform != "linux":
        return distributed.distribute(batches, find)

    def pack(rows: Any) -> list[torch.Tensor]:
        # Tensors lie in shared memory, of which a container may have little: so they are bits. Arrays would fill the pipe, and
        # a worker that cannot empty it outlives a killed parent.
        rows, found = find(rows)
        return [torch.from_numpy(rows), torch.from_numpy(np.packbits(found, axis=2))]

    def unpack(rows: torch.Tensor, bits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        return rows.numpy(), np.unpackbits(bits.numpy(), axis=2, count=width).astype(np.bool_)

    dataset = cast(Any, batches)
    loader = DataLoader(dataset, batch_size=None, collate_fn=pack, num_workers=workers, multiprocessing_context="fork")
    return (unpack(*found) for found in loader)


def _load_finder(name: str, device: str) -> Segmenter:
    if name not in SEGMENTERS and not name.startswith("hf:"):
        raise make_unknown_error("segmenter", name, [*SEGMENTERS, *DRAWN, "hf:owner/name", "hf:FOLDER"])
    return load_segmenter(name, device)


def _make_drawer(kind: str, coverage: float, seed: int, size: tuple[int, int]) -> Segmenter:
    if not 0 < coverage < 1:
        raise InputError(f"`coverage` is {coverage:g}; expected a share of the image between 0 and 1, such as 0.25.")
    if seed < 0:
        raise InputError(f"`seed` is {seed}; expected 0 or more.")
    draw = DRAWN[kind]
    name = f"{kind} coverage {coverage:g} seed {seed}"
    return Segmenter(name, "", lambda rows: np.stack([draw(*size, coverage, seed, int(row)) for row in rows]), 256)
