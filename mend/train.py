"""Training: a recipe and a source of images to a run folder. The same command resumes it.

runs/<name>/config.toml · checkpoints/{best,last}.ckpt · model/ · metrics.csv · samples/ · tensorboard/
"""

import csv
import dataclasses
import io
import logging
import os
import time
import tomllib
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import tomli_w
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from mend.checkpoint import commit, save_model
from mend.data import Batches, Images, epoch_rows, load_images
from mend.errors import InputError, nearest
from mend.images import composite, grid, mask_out, to_pixels, write_image
from mend.losses import weighted
from mend.masks.store import ObjectPolicy, find_set
from mend.metrics import psnr, ssim
from mend.models import build


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on. A field is a flag, a recipe key and an entry of the run's config.toml."""

    data: str
    """Source of images: cifar10, photos, hub:owner/name[:column], or a folder."""
    masks: str
    """A mask set, or a folder with a train and a test mask set."""
    model: str = "unet-aspp"
    """autoencoder, unet, unet-simple or unet-aspp."""
    width: int = 64
    """Channels at full resolution."""
    hole_channel: bool = False
    """Show the hole to the encoder as a fourth channel."""
    size: int | None = None
    """Cut every picture to its central square and scale it to this side, in pixels."""
    epochs: int = 15
    """Passes over the training images."""
    batch_size: int = 128
    """Images a step, over all processes."""
    lr: float = 1e-3
    """Adam's learning rate."""
    schedule: str = "constant"
    """Learning rate over time: constant or cosine (to zero)."""
    loss: dict[str, float] = field(default_factory=lambda: {"mse": 1.0})
    """Weight of each loss term."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is judged and saved; 0 for none."""
    precision: str = "auto"
    """auto, bf16 or fp32; auto is bf16 where the processor has it."""
    compile: bool = False
    """Compile the network first (torch.compile)."""
    seed: int = 0
    """Of the weights and of the order of the images."""


def train(config: TrainConfig, out: str | Path, on_epoch: Callable[[int, int], None] | None = None) -> Path:
    """Train, or go on training, in the run folder `out`; returns it.

    `on_epoch(done, of)` is called after each epoch. Raises InputError when `out` holds a run of another
    configuration, or for data and masks that do not fit each other.
    """
    out = Path(out)
    write_config(config, out)
    images = load_images(config.data, "train", config.size)
    held_out = load_images(config.data, "val", config.size)
    masks = find_set(config.masks, images)
    network = _build(config)
    module = Inpainting(config, network)
    data = Data(config, (images, masks.holes(images, ObjectPolicy())), (held_out, masks.holes(held_out, ObjectPolicy())))
    trained = {
        "data": images.source,
        "fingerprint": images.fingerprint,
        "masks": masks.manifest.segmenter,
        "mask_set": masks.manifest.sha256,
        "images": len(images),
        "commit": commit(),
        "torch": torch.__version__,
        "config": asdict(config),
    }
    with _quiet():
        trainer = _trainer(config, out, [RunFiles(out, config, trained, on_epoch)])
        last = out / "checkpoints" / "last.ckpt"
        try:
            trainer.fit(module, datamodule=data, ckpt_path=str(last) if last.exists() else None, weights_only=True)
        except (RuntimeError, EOFError, OSError) as error:
            if last.exists() and not _readable(last):
                raise InputError(f"{last} is damaged ({error}). Delete it to start this run from the beginning.") from error
            raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    return out


def _build(config: TrainConfig) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build(config.model, width=config.width, hole_channel=config.hole_channel)


# --- The step --------------------------------------------------------------------------------------------------------


class Inpainting(pl.LightningModule):
    """One training step, one validation step, and the optimiser."""

    def __init__(self, config: TrainConfig, network: torch.nn.Module) -> None:
        super().__init__()
        self.config = config
        self.network = network.to(memory_format=torch.channels_last)
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True) if config.ema else None
        # Compiled beside the network, not in its place: the names of its weights stay the same.
        self.step = torch.compile(network) if config.compile else network
        self.train_loss = 0.0
        self.scores: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        image, hole = (part.contiguous(memory_format=torch.channels_last) for part in batch)
        raw = self.step(mask_out(image, hole), hole)
        loss, terms = weighted(self.config.loss, raw.float(), image, hole)
        if not loss.isfinite():
            raise InputError(
                f"the loss is {loss.item()} at epoch {self.current_epoch}, batch {batch_index} (step {self.global_step}). "
                f"Try a smaller learning rate (now {self.config.lr:g}) or precision fp32 (now {self.config.precision}); "
                "the last epoch's checkpoint is kept."
            )
        for name, value in terms.items():
            self.log(f"loss/{name}", value, on_epoch=True, on_step=False, batch_size=len(image))
        self.log("loss", loss, on_epoch=True, on_step=False, batch_size=len(image))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.average is not None:
            self.average.update_parameters(self.network)

    @property
    def judged(self) -> torch.nn.Module:
        """The network that is validated and saved: the moving average where there is one."""
        return self.network if self.average is None else self.average.module

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        image, hole = batch
        raw = self.judged(mask_out(image, hole), hole).float()
        filled = composite(image, raw, hole)
        self.log("val_psnr", psnr(filled, image).mean(), batch_size=len(image), sync_dist=True)
        self.log("val_ssim", ssim(filled, image).mean(), batch_size=len(image), sync_dist=True)
        self.log("val_loss", weighted(self.config.loss, raw, image, hole)[0], batch_size=len(image), sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.config.lr)
        if self.config.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Data(pl.LightningDataModule):
    """Training and validation images with their holes, on the device they are used on."""

    def __init__(self, config: TrainConfig, training: tuple[Images, Tensor], validation: tuple[Images, Tensor]) -> None:
        super().__init__()
        self.config, self.training, self.validation = config, training, validation

    def setup(self, stage: str) -> None:
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        self.on_device = [
            (torch.from_numpy(np.ascontiguousarray(images.pixels)).to(device).permute(0, 3, 1, 2), holes.to(device))
            for images, holes in (self.training, self.validation)
        ]

    def train_dataloader(self) -> Iterable[tuple[Tensor, Tensor]]:
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        pixels, holes = self.on_device[0]
        rows = epoch_rows(len(pixels), self.config.seed, self.trainer.current_epoch, rank, world)
        return Batches(pixels, holes, rows, max(1, self.config.batch_size // world))

    def val_dataloader(self) -> Iterable[tuple[Tensor, Tensor]]:
        assert self.trainer is not None
        pixels, holes = self.on_device[1]
        return Batches(pixels, holes, np.arange(len(pixels))[self.trainer.global_rank :: self.trainer.world_size], 256)


# --- The run folder --------------------------------------------------------------------------------------------------


class RunFiles(pl.Callback):
    """After each epoch: a row of metrics.csv, a sample grid, and the model when it is the best so far."""

    def __init__(
        self, out: Path, config: TrainConfig, trained: dict[str, Any], on_epoch: Callable[[int, int], None] | None
    ) -> None:
        self.out, self.config, self.trained, self.on_epoch = out, config, trained, on_epoch
        self.rows: list[dict[str, float]] = []
        self.best = -float("inf")
        self.started = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.best = state_dict["rows"], state_dict["best"]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Inpainting)
        seconds = time.perf_counter() - self.started
        measured = {k: float(v) for k, v in trainer.callback_metrics.items() if "/" not in k}
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
            options = {"width": self.config.width, "hole_channel": self.config.hole_channel}
            save_model(self.out / "model", pl_module.judged, self.config.model, options, trained)
        if self.on_epoch is not None:
            self.on_epoch(epoch, self.config.epochs)

    @torch.no_grad()
    def _sample(self, trainer: pl.Trainer, module: Inpainting, epoch: int) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        pixels, holes = (part[:12] for part in data.on_device[1])
        image, hole = pixels.float() / 255, holes.float()
        training = module.judged.training
        filled = composite(image, module.judged.eval()(mask_out(image, hole), hole), hole)
        module.judged.train(training)
        rows = [to_pixels(part) for part in (image, hole.expand(-1, 3, -1, -1), mask_out(image, hole), filled)]
        write_image(self.out / "samples" / f"epoch-{epoch:03d}.png", grid(rows, scale=2))


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows of one kind as a CSV file, whole or not at all."""
    from mend.images import write_bytes

    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def device_name(device: torch.device) -> str:
    """The device's own name for results: the GPU's, or the CPU's with the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()}, {torch.get_num_threads()} threads"


def write_config(config: TrainConfig, out: Path) -> None:
    """Write the run's config.toml, or InputError when the folder holds a run of another configuration."""
    from mend.images import write_bytes

    file = out / "config.toml"
    values = {key: value for key, value in asdict(config).items() if value is not None}
    if file.exists():
        there = tomllib.loads(file.read_text())
        differs = [
            f"{key} is {there.get(key)!r} there and {values.get(key)!r} now"
            for key in sorted({*there, *values})
            if there.get(key) != values.get(key)
        ]
        if differs:
            raise InputError(f"{out} is a run of another configuration: {'; '.join(differs)}. Choose another --out.")
        return
    write_bytes(file, tomli_w.dumps(values).encode())


def read_recipe(name: str | Path) -> dict[str, Any]:
    """The keys of a recipe, by the name of a shipped one or by file. An unknown key raises InputError."""
    file = Path(name) if str(name).endswith(".toml") else Path(__file__).parent / "recipes" / f"{name}.toml"
    if not file.exists():
        known = sorted(p.stem for p in (Path(__file__).parent / "recipes").glob("*.toml"))
        raise InputError(f"unknown recipe {str(name)!r}.{nearest(str(name), known)} Known: {', '.join(known)}, or a .toml file.")
    try:
        values = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no TOML: {error}.") from None
    known = [f.name for f in fields(TrainConfig)]
    for key in values:
        if key not in known:
            raise InputError(f"unknown key {key!r} in {file.name}.{nearest(key, known)} Known: {', '.join(known)}.")
    return values


# --- Lightning -------------------------------------------------------------------------------------------------------


def _trainer(config: TrainConfig, out: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    checkpoint = ModelCheckpoint(
        dirpath=out / "checkpoints",
        filename="best",
        monitor="val_psnr",
        mode="max",
        save_last=True,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    world = int(os.environ.get("WORLD_SIZE", 1))  # set by torchrun
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    return pl.Trainer(
        max_epochs=config.epochs,
        accelerator="auto",
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        sync_batchnorm=world > 1,
        precision=_precision(config),
        callbacks=[*callbacks, checkpoint],
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        reload_dataloaders_every_n_epochs=1,  # the order of the images is drawn for each epoch
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=50,
    )


def _precision(config: TrainConfig) -> Any:
    if config.precision not in ("auto", "bf16", "fp32"):
        raise InputError(f"unknown precision {config.precision!r}. Known: auto, bf16, fp32.")
    bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16())
    return "bf16-mixed" if bf16 else "32-true"


def has_bf16() -> bool:
    """Whether the device that will be used multiplies bfloat16 natively."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe() for probe in probes if probe is not None)


@contextmanager
def _quiet() -> Any:
    """Lightning's banners and hints off: what matters here is reported by us."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def _readable(checkpoint: Path) -> bool:
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception:
        return False
    return True
