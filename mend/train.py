"""Training: a recipe and a source of images to a run folder. The same command resumes it.

runs/<name>/config.toml · checkpoints/{best,last}.ckpt · model/ · metrics.csv · samples/ · tensorboard/
"""

import csv
import hashlib
import io
import logging
import signal
import time
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import tomli_w
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from mend import ranks
from mend.checkpoint import commit, load_model, save_model
from mend.data import Batches, Crops, epoch_rows, image_files, load_images, set_aside, share, split_rows
from mend.device import device_name, find_device, has_bf16
from mend.errors import InputError, pick
from mend.images import composite, grid, mask_out, pad_to, picture_files, to_pixels, write_bytes, write_image
from mend.inpaint import any_size
from mend.losses import LOSSES, load_features, over_scales, weighted, with_network
from mend.masks.crops import hole_drawer
from mend.masks.store import ObjectPolicy, find_set
from mend.metrics import psnr, ssim
from mend.models import build
from mend.models.pyramid import Pyramid
from mend.recipes import TrainConfig

SAMPLES = 12  # validation pictures in the grid of each epoch


def train(config: TrainConfig, out: str | Path, on_step: Callable[[int, int], None] | None = None) -> Path:
    """Train, or go on training, in the run folder `out`; returns it.

    `on_step(done, of)` is called after each step. The processes of a job (see `mend.ranks`) share every batch. Raises
    InputError when `out` holds a run of another configuration, for data and masks that do not fit each other, and when the loss
    is no longer finite.
    """
    out = Path(out)
    for name in config.loss:
        pick(LOSSES, name, "loss")
    if "features" in config.loss:
        load_features(config.feature_network, torch.device("cpu"))
    if config.batch_size < ranks.WORLD:
        raise InputError(f"batch_size is {config.batch_size}; expected one image at least for each of {ranks.WORLD} processes.")
    network = _build(config)
    data = CropData(config) if config.crop else ArrayData(config)
    _write_config(config, out)
    trained = {**data.facts, "commit": commit(), "torch": torch.__version__, "config": asdict(config)}
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    with _quiet():
        trainer = _trainer(config, out, [RunFiles(out, config, trained, on_step)])
        last = out / "checkpoints" / "last.ckpt"
        if last.exists():
            _check_readable(last)
        resume = str(last) if last.exists() else None
        try:
            trainer.fit(Inpainting(config, network), datamodule=data, ckpt_path=resume, weights_only=True)
        except InputError as error:  # from a worker it comes wrapped in the worker's traceback
            raise InputError(str(error).rsplit("InputError: ", 1)[-1].strip()) from None
        except SystemExit:  # what Lightning makes of Ctrl-C, having told the system to ignore the next one
            signal.signal(signal.SIGINT, on_ctrl_c)
            raise KeyboardInterrupt from None
    return out


def _build(config: TrainConfig) -> torch.nn.Module:
    if config.start is not None:
        network, found = load_model(config.start)
        there, wanted = (found["model"], found["options"]), (config.model, _options(config))
        if there != wanted:
            raise InputError(f"start: {config.start} holds {there}, and {wanted} is to be trained.")
        return network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build(config.model, **_options(config))


def _options(config: TrainConfig) -> dict[str, Any]:
    return {"width": config.width} | ({"hole_channel": True} if config.hole_channel else {})


# --- The step --------------------------------------------------------------------------------------------------------


class Inpainting(pl.LightningModule):
    """One training step, one validation step, and the optimiser."""

    def __init__(self, config: TrainConfig, network: torch.nn.Module) -> None:
        super().__init__()
        self.config = config
        self.terms = with_network(config.feature_network)
        self.network = network.to(memory_format=torch.channels_last)
        self.stride = int(getattr(network, "stride", 1))
        self.average = (
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True) if config.ema else None
        )
        if self.average is not None:
            self.average.requires_grad_(False)
        # The bound method: a second module here would put every weight into the checkpoint twice.
        step = network.scales if isinstance(network, Pyramid) else network.forward
        self.step: Callable[[Tensor, Tensor], Tensor | list[Tensor]] = _compiled(step) if config.compile else step

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        data: ArrayData | CropData = self.trainer.datamodule  # type: ignore[attr-defined]
        size = min(self.config.batch_size, data.counts["train"] - batch_index * self.config.batch_size)
        mine = share(size, ranks.RANK, ranks.WORLD)
        image, hole = (part.contiguous(memory_format=torch.channels_last) for part in batch)
        raws = self.step(pad_to(mask_out(image, hole), self.stride), pad_to(hole, self.stride))
        raws = raws if isinstance(raws, list) else [raws]
        loss, terms = over_scales(self.config.loss, raws, image, hole, self.terms)
        # To look at it is to wait for the device, which a GPU's queue of work does not survive. What is not finite stays so.
        at_once = loss.device.type == "cpu"
        if (at_once or batch_index % 50 == 0 or self.trainer.is_last_batch) and not loss.isfinite():
            raise InputError(
                f"the loss is {loss.item()} {'at' if at_once else 'by'} batch {batch_index} of epoch {self.current_epoch} "
                f"(step {self.global_step}). "
                f"Try a smaller learning rate (now {self.config.lr:g}) or precision fp32 (now {self.config.precision}); "
                "the last epoch's checkpoint is kept."
            )
        for name, value in terms.items():
            self._log(f"loss/{name}", value, mine / data.counts["train"])
        self._log("loss", loss, mine / data.counts["train"])
        return loss * (mine * ranks.WORLD / size)  # the processes' gradients are averaged

    def _log(self, name: str, value: Tensor, part: float) -> None:
        """A mean over the epoch, of which this batch is such a part. Lightning's own is wrong for processes of unequal shares:
        it averages how many images each has as whole numbers."""
        self.log(name, value * part, on_epoch=True, on_step=False, reduce_fx="sum", sync_dist=True)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.average is not None:
            self.average.update_parameters(self.network)

    @property
    def judged(self) -> torch.nn.Module:
        """The network that is validated and saved: the moving average where there is one."""
        return self.network if self.average is None else self.average.module

    def on_validation_start(self) -> None:
        # On CPUs each process has batch norm's statistics of its own; what is validated is what the first one saves.
        if ranks.WORLD > 1:
            for statistics in self.buffers():
                torch.distributed.broadcast(statistics, 0)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        image, hole = batch
        raw = any_size(self.judged, self.stride, mask_out(image, hole), hole).float()
        filled = composite(image, raw, hole)
        count = self.trainer.datamodule.counts["val"]  # type: ignore[attr-defined]
        part = len(image) / count if count > ranks.RANK else 0.0
        self._log("val_psnr", psnr(filled, image).mean(), part)
        self._log("val_ssim", ssim(filled, image).mean(), part)
        self._log("val_loss", weighted(self.config.loss, raw, image, hole, self.terms)[0], part)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.config.lr, fused=True)
        if self.config.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step`, compiled for each size of a batch by itself: there are two, and one graph for any size would be slower.

    On a GPU it is recorded as CUDA graphs, which spare the launching of every kernel; not with SyncBatchNorm, whose exchanges
    wait for the device.
    """
    recorded = torch.cuda.is_available() and ranks.WORLD == 1
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
                masks.holes(images, ObjectPolicy()),
            )
            for images in splits
        ]
        self.facts = {
            "data": config.data,
            "fingerprint": splits[0].fingerprint,
            "masks": masks.manifest.segmenter,
            "mask_set": masks.manifest.sha256,
            "images": len(splits[0]),
        }

    def setup(self, stage: str) -> None:
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        self.arrays = [(pixels.to(device), holes.to(device)) for pixels, holes in self.arrays]

    def train_dataloader(self) -> Loader:
        assert self.trainer is not None
        rows = _epoch_rows(self.counts["train"], self.config, self.trainer.current_epoch)
        return Batches(*self.arrays[0], rows, _share(self.config))

    def val_dataloader(self) -> Loader:
        return Batches(*self.arrays[1], _part(np.arange(len(self.arrays[1][0]))), 250)


class CropData(pl.LightningDataModule):
    """Random crops of large pictures, streamed through workers; their holes are drawn, or borrowed from a mask set."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        assert config.crop is not None
        self.config, self.crop = config, config.crop
        if config.set_aside:
            there = picture_files(Path(config.data))
            kept = set(there) - set(set_aside(there, config.set_aside))
            self.files = [file for file in there if file in kept]
        else:
            self.files = image_files(Path(config.data), "train")
        self.rows = {split: split_rows(len(self.files), split) for split in ("train", "val")}
        self.counts = {"train": config.crops * len(self.rows["train"]), "val": len(self.rows["val"])}
        self.draw_hole, described = hole_drawer(config.masks, self.crop, config.seed, config.ramp, config.grow)
        listed = "".join(f"{file.name} {file.stat().st_size}\n" for file in self.files)
        self.facts = {
            "data": config.data,
            "fingerprint": hashlib.sha256(listed.encode()).hexdigest(),  # of names and sizes: large pictures are many bytes
            "masks": described,
            "images": len(self.rows["train"]),
        }

    def train_dataloader(self) -> Loader:
        assert self.trainer is not None
        rows = np.concatenate([self.rows["train"] + k * len(self.files) for k in range(self.config.crops)])
        rows = rows[_epoch_rows(self.counts["train"], self.config, self.trainer.current_epoch)]
        return self._loader(rows, self.trainer.current_epoch + 1)

    def val_dataloader(self) -> Loader:
        return self._loader(_part(self.rows["val"]), 0)  # the same crops in every epoch

    def _loader(self, rows: np.ndarray, epoch: int) -> Loader:
        batch_size = _share(self.config)
        crops = Crops(self.files, self.crop, rows, self.draw_hole, self.config.seed, epoch, batch_size, self.config.zoom)
        return DataLoader(crops, batch_size=batch_size, num_workers=min(self.config.workers, -(-len(rows) // batch_size)))


def _epoch_rows(count: int, config: TrainConfig, epoch: int) -> np.ndarray:
    return epoch_rows(count, config.seed, epoch, config.batch_size, ranks.RANK, ranks.WORLD)


def _share(config: TrainConfig) -> int:
    return share(config.batch_size, ranks.RANK, ranks.WORLD)


def _part(rows: np.ndarray) -> np.ndarray:
    """This process's part of the validation; where nothing is left for it a row that does not count: each has to measure."""
    return rows[ranks.RANK :: ranks.WORLD] if len(rows) > ranks.RANK else rows[:1]


# --- The run folder --------------------------------------------------------------------------------------------------


class RunFiles(pl.Callback):
    """After each epoch: a row of metrics.csv, a sample grid, and the model when it is the best so far."""

    def __init__(
        self, out: Path, config: TrainConfig, trained: dict[str, Any], on_step: Callable[[int, int], None] | None
    ) -> None:
        self.out, self.config, self.trained, self.on_step = out, config, trained, on_step
        self.rows: list[dict[str, float]] = []
        self.best = -float("inf")
        self.started = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "best": self.best, "of": self._of()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on; InputError when the pictures or masks are no longer those that the run began with."""
        others = [name for name, value in state_dict.get("of", {}).items() if self._of().get(name) != value]
        if others:
            raise InputError(
                f"{self.out} was begun with other {' and '.join(others)} than are there now. Choose another --out, or put "
                "them back."
            )
        self.rows, self.best = state_dict["rows"], state_dict["best"]

    def _of(self) -> dict[str, str | None]:
        """What tells the pictures and the masks apart."""
        return {"pictures": self.trained.get("fingerprint"), "masks": self.trained.get("mask_set")}

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.on_step is not None and trainer.is_global_zero:
            self.on_step(trainer.global_step, int(trainer.estimated_stepping_batches))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        ranks.heed()  # Lightning would first tell the others, of whom one may be gone

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Inpainting)
        measured = {k: float(v) for k, v in trainer.callback_metrics.items() if "/" not in k}  # waits for a GPU's queue
        seconds = time.perf_counter() - self.started
        epoch = trainer.current_epoch + 1
        self.rows.append({"epoch": epoch, "step": trainer.global_step, **measured, "seconds": seconds})
        if not trainer.is_global_zero:
            return
        write_table(self.out / "metrics.csv", self.rows)
        self._sample(trainer, pl_module, epoch)
        if measured["val_psnr"] > self.best:
            self.best = measured["val_psnr"]
            trained = {
                **self.trained,
                "epoch": epoch,
                "seconds": sum(row["seconds"] for row in self.rows),
                "device": device_name(pl_module.device),
                "validation": {k: measured[k] for k in ("val_psnr", "val_ssim")},
            }
            save_model(self.out / "model", pl_module.judged, self.config.model, _options(self.config), trained)

    @torch.no_grad()
    def _sample(self, trainer: pl.Trainer, module: Inpainting, epoch: int) -> None:
        data: ArrayData | CropData = trainer.datamodule  # type: ignore[attr-defined]
        image, hole = (part[:SAMPLES].to(module.device) for part in next(iter(data.val_dataloader())))
        training = module.judged.training
        filled = composite(image, any_size(module.judged.eval(), module.stride, mask_out(image, hole), hole), hole)
        module.judged.train(training)
        rows = [to_pixels(part) for part in (image, hole.expand(-1, 3, -1, -1), mask_out(image, hole), filled)]
        write_image(self.out / "samples" / f"epoch-{epoch:03d}.png", grid(rows, scale=max(1, 64 // image.shape[-1])))


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows of one kind as a CSV file, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def _write_config(config: TrainConfig, out: Path) -> None:
    """Write the run's config.toml, or InputError when the folder holds a run of another configuration."""
    file = out / "config.toml"
    values = {key: value for key, value in asdict(config).items() if value is not None}
    if file.exists():
        there = tomllib.loads(file.read_text(encoding="utf-8"))
        differs = [
            f"{key} is {there.get(key)!r} there and {values.get(key)!r} now"
            for key in sorted({*there, *values})
            if there.get(key) != values.get(key)
        ]
        if differs:
            raise InputError(f"{out} is a run of another configuration: {'; '.join(differs)}. Choose another --out.")
        return
    write_bytes(file, tomli_w.dumps(values).encode())


# --- Lightning -------------------------------------------------------------------------------------------------------


def _trainer(config: TrainConfig, out: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    # Two, because one that watches a metric saves its `last` only when the best changes too.
    every: dict[str, Any] = {"dirpath": out / "checkpoints", "enable_version_counter": False, "save_on_train_epoch_end": True}
    best = ModelCheckpoint(filename="best", monitor="val_psnr", mode="max", **every)
    last = ModelCheckpoint(filename="last", **every)
    find_device("auto")  # InputError where a GPU is missing
    return pl.Trainer(
        max_epochs=config.epochs,
        # Lightning has no DDP on Apple's GPUs.
        accelerator="cpu" if ranks.WORLD > 1 and not torch.cuda.is_available() else "auto",
        devices=ranks.LOCAL_WORLD,
        num_nodes=ranks.WORLD // ranks.LOCAL_WORLD,
        strategy="ddp" if ranks.WORLD > 1 else "auto",
        sync_batchnorm=ranks.WORLD > 1 and torch.cuda.is_available(),  # PyTorch has it on GPUs only
        precision=_precision(config),
        callbacks=[*callbacks, best, last],
        plugins=[WholeFiles()],
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        reload_dataloaders_every_n_epochs=1,  # the order of the images is drawn for each epoch
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=50,
    )


class WholeFiles(TorchCheckpointIO):
    """A checkpoint is written beside its place and renamed; Lightning's goes through the temporary folder of the system.

    PyTorch writes into memory: of a full disk it would say no more than that its own writing failed.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        data = io.BytesIO()
        torch.save(checkpoint, data)
        write_bytes(Path(path), data.getvalue())


def _precision(config: TrainConfig) -> Any:
    bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16())
    return "bf16-mixed" if bf16 else "32-true"


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's banners and hints off: what matters here is reported by us."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _check_readable(checkpoint: Path) -> None:
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged zip, a foreign pickle and a short read all raise differently
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{checkpoint} is damaged ({said}). Delete it to start this run from the beginning.") from error
