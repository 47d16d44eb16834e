"""The Lightning modules: a network's steps of training and validation, and the images with holes that it is trained on."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from mend import distributed
from mend.data.loaders import Batches, Crops, count_share, draw_epoch_rows
from mend.data.sources import find_image_files, load_images, set_aside, split_rows
from mend.errors import InputError
from mend.evaluate.metrics import psnr, ssim
from mend.images import composite, find_pictures, mask_out
from mend.inpaint.folder import Trained
from mend.masks.crops import make_hole_drawer
from mend.masks.store import ObjectPolicy, find_set
from mend.models.network import Network
from mend.train.config import TrainConfig
from mend.train.losses import make_terms, weigh_scales, weigh_terms


class Inpainting(pl.LightningModule):
    """One training step, one validation step, and the optimiser."""

    def __init__(self, config: TrainConfig, network: Network) -> None:
        super().__init__()
        self.config = config
        self.terms = make_terms(config.feature_network)
        self.network = network.to(memory_format=torch.channels_last)
        self.average = (
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True) if config.ema else None
        )
        if self.average is not None:
            self.average.requires_grad_(False)
        # The bound method: a second module here would put every weight into the checkpoint twice.
        self.step = _compile_step(network.scales) if config.compile else network.scales

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        data: ArrayData | CropData = self.trainer.datamodule  # type: ignore[attr-defined]
        size = min(self.config.batch_size, data.counts["train"] - batch_index * self.config.batch_size)
        mine = count_share(size)
        image, hole = (part.contiguous(memory_format=torch.channels_last) for part in batch)
        raws = self.step(mask_out(image, hole), hole)
        loss, terms = weigh_scales(self.config.loss, raws, image, hole, self.terms)
        # To look at it is to wait for the device, which a GPU's queue of work does not survive. What is not finite stays so.
        at_once = loss.device.type == "cpu"
        if (at_once or batch_index % 50 == 0 or self.trainer.is_last_batch) and not loss.isfinite():
            raise InputError(
                f"the loss is {loss.item()} {'at' if at_once else 'by'} batch {batch_index} of epoch {self.current_epoch} "
                f"(step {self.global_step}). {advise(self.config)}"
            )
        for name, value in terms.items():
            self._log(f"loss/{name}", value, mine / data.counts["train"])
        self._log("loss", loss, mine / data.counts["train"])
        return loss * (mine * distributed.WORLD / size)  # the processes' gradients are averaged

    def _log(self, name: str, value: Tensor, part: float) -> None:
        """A mean over the epoch, of which this batch is such a part. Lightning's own is wrong for processes of unequal shares:
        it averages how many images each has as whole numbers."""
        self.log(name, value * part, on_epoch=True, on_step=False, reduce_fx="sum", sync_dist=True)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.average is not None:
            self.average.update_parameters(self.network)

    @property
    def judged(self) -> Network:
        """The network that is validated and saved: the moving average where there is one."""
        return self.network if self.average is None else cast(Network, self.average.module)

    def on_validation_start(self) -> None:
        # On CPUs each process has batch norm's statistics of its own; what is validated is what the first one saves.
        if distributed.WORLD > 1:
            for statistics in self.buffers():
                torch.distributed.broadcast(statistics, 0)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        image, hole = batch
        raw = self.judged.fill(mask_out(image, hole), hole).float()
        filled = composite(image, raw, hole)
        count = self.trainer.datamodule.counts["val"]  # type: ignore[attr-defined]
        part = len(image) / count if count > distributed.RANK else 0.0
        self._log("val_psnr", psnr(filled, image).mean(), part)
        self._log("val_ssim", ssim(filled, image).mean(), part)
        self._log("val_loss", weigh_terms(self.config.loss, raw, image, hole, self.terms)[0], part)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.config.lr, fused=True)
        if self.config.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def advise(config: TrainConfig) -> str:
    """What to do about a loss that is no number."""
    now = f"Try a smaller learning rate (now {config.lr:g}) or precision fp32 (now {config.precision}); "
    return now + "the last epoch's checkpoint is kept."


def _compile_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step`, compiled for each size of a batch by itself: there are two, and one graph for any size would be slower.

    On a GPU it is recorded as CUDA graphs, which spare the launching of every kernel; not with SyncBatchNorm, whose exchanges
    wait for the device.
    """
    recorded = torch.cuda.is_available() and distributed.WORLD == 1
    return torch.compile(step, dynamic=False, mode="reduce-overhead" if recorded else None)


# --- Images and holes ------------------------------------------------------------------------------------------------

Loader = Iterable[tuple[Tensor, Tensor]]


class ArrayData(pl.LightningDataModule):
    """Small images, held on the device that trains, each with one hole by the object policy."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        splits = [load_images(config.data, split, config.size) for split in ("train", "val")]
        self.counts = {images.split: len(images) for images in splits}
        masks = find_set(config.masks, splits[0])
        self.arrays = [
            (
                torch.from_numpy(np.require(images.pixels, requirements="W")).permute(0, 3, 1, 2),
                torch.from_numpy(masks.holes(images, ObjectPolicy())),
            )
            for images in splits
        ]
        self.facts = Trained(
            data=config.data,
            fingerprint=splits[0].fingerprint,
            masks=masks.manifest.segmenter,
            mask_set=masks.manifest.sha256,
            images=len(splits[0]),
        )

    def setup(self, stage: str) -> None:
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        self.arrays = [(pixels.to(device), holes.to(device)) for pixels, holes in self.arrays]

    def train_dataloader(self) -> Loader:
        assert self.trainer is not None
        config = self.config
        rows = draw_epoch_rows(self.counts["train"], config.seed, self.trainer.current_epoch, config.batch_size)
        return Batches(*self.arrays[0], rows, count_share(config.batch_size))

    def val_dataloader(self) -> Loader:
        return Batches(*self.arrays[1], _part(np.arange(len(self.arrays[1][0]))), 250)


class CropData(pl.LightningDataModule):
    """Random crops of large pictures, streamed through workers; their holes are drawn, or borrowed from a mask set."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        assert config.crop is not None
        self.config, self.crop = config, config.crop
        if config.set_aside:
            found = find_pictures(Path(config.data))
            aside = set(set_aside(found, config.set_aside))
            self.files = [file for file in found if file not in aside]
        else:
            self.files = find_image_files(Path(config.data), "train")
        self.rows = {split: split_rows(len(self.files), split) for split in ("train", "val")}
        self.counts = {"train": config.crops * len(self.rows["train"]), "val": len(self.rows["val"])}
        self.draw_hole, described = make_hole_drawer(config.masks, self.crop, config.seed, config.ramp, config.grow)
        listed = "".join(f"{file.name} {file.stat().st_size}\n" for file in self.files)
        self.facts = Trained(
            data=config.data,
            fingerprint=hashlib.sha256(listed.encode()).hexdigest(),  # of names and sizes: large pictures are many bytes
            masks=described,
            images=len(self.rows["train"]),
        )

    def train_dataloader(self) -> Loader:
        assert self.trainer is not None
        config, epoch = self.config, self.trainer.current_epoch
        rows = np.concatenate([self.rows["train"] + k * len(self.files) for k in range(config.crops)])
        rows = rows[draw_epoch_rows(self.counts["train"], config.seed, epoch, config.batch_size)]
        return self._loader(rows, epoch + 1)

    def val_dataloader(self) -> Loader:
        return self._loader(_part(self.rows["val"]), 0)  # the same crops in every epoch

    def _loader(self, rows: np.ndarray, epoch: int) -> Loader:
        batch_size = count_share(self.config.batch_size)
        crops = Crops(self.files, self.crop, rows, self.draw_hole, self.config.seed, epoch, batch_size, self.config.zoom)
        return DataLoader(crops, batch_size=batch_size, num_workers=min(self.config.workers, -(-len(rows) // batch_size)))


def _part(rows: np.ndarray) -> np.ndarray:
    """This process's part of the validation; where nothing is left for it a row that does not count: each has to measure."""
    return rows[distributed.RANK :: distributed.WORLD] if len(rows) > distributed.RANK else rows[:1]
