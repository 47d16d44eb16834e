"""Training: a recipe and a source of images to a run folder. The same command resumes it. What is trained is in `module`.

runs/<name>/config.toml · checkpoints/last.ckpt · model/ · metrics.csv · samples/ · tensorboard/
"""

import csv
import io
import logging
import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from mend import distributed
from mend.errors import InputError, pick
from mend.images import arrange_grid, composite, mask_out, to_pixels, write_bytes, write_image
from mend.inpaint.folder import Trained
from mend.models import build
from mend.models.checkpoint import find_commit, load_model, save_model
from mend.models.device import best_precision, device_name, find_device
from mend.models.network import Network
from mend.progress import Report, ignore
from mend.train.config import TrainConfig, check_run, write_config
from mend.train.losses import LOSSES, load_features
from mend.train.module import ArrayData, CropData, Inpainting, advise

SAMPLES = 12  # validation pictures in the grid of each epoch


def train(config: TrainConfig, out: str | Path, on_step: Report = ignore) -> Path:
    """Train, or go on training, in the run folder `out`; returns it.

    `on_step(done, of)` is called after each step. The processes of a job (see `mend.distributed`) share every batch. Raises
    InputError when `out` holds a run of another configuration, for data and masks that do not fit each other, and when the loss
    is no longer finite.
    """
    out = Path(out)
    check_run(config, out)  # before any data is read
    _choose_precision(config)
    for name in config.loss:
        pick(LOSSES, name, "loss")
    if config.loss.get("features"):
        load_features(config.feature_network, torch.device("cpu"))
    if config.batch_size < distributed.WORLD:
        raise InputError(
            f"batch_size is {config.batch_size}; expected one image at least for each of {distributed.WORLD} processes."
        )
    network = _build(config)
    data = CropData(config) if config.crop else ArrayData(config)
    write_config(config, out)
    trained = replace(data.facts, commit=find_commit(), torch=torch.__version__, config=asdict(config))
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    with _silence_lightning():
        trainer = _make_trainer(config, out, [RunFiles(out, config, trained, on_step)])
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


def _build(config: TrainConfig) -> Network:
    if config.start is not None:
        network, found = load_model(config.start)
        if (found.model, found.options) != (config.model, _make_options(config)):
            raise InputError(
                f"`start` is {config.start}, which holds {found.model} with {found.options}; {config.model} with "
                f"{_make_options(config)} is to be trained. Name a run of the same network, or leave out `start`."
            )
        return network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build(config.model, **_make_options(config))


def _make_options(config: TrainConfig) -> dict[str, int]:
    return {"width": config.width} | ({"hole_channel": True} if config.hole_channel else {})


# --- The run folder --------------------------------------------------------------------------------------------------


class RunFiles(pl.Callback):
    """After each epoch: a row of metrics.csv, a sample grid, and the model when it is the best so far."""

    def __init__(self, out: Path, config: TrainConfig, trained: Trained, on_step: Report) -> None:
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
                f"{self.out} was begun with other {' and '.join(others)} than are there now. Choose another `out`, or put "
                "them back."
            )
        self.rows, self.best = state_dict["rows"], state_dict["best"]

    def _of(self) -> dict[str, str | None]:
        """What tells the pictures and the masks apart."""
        return {"pictures": self.trained.fingerprint, "masks": self.trained.mask_set or None}

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.is_global_zero:
            self.on_step(trainer.global_step, int(trainer.estimated_stepping_batches))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        distributed.handle_signals()  # Lightning would first tell the others, of whom one may be gone

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Inpainting)
        measured = {k: float(v) for k, v in trainer.callback_metrics.items() if "/" not in k}  # waits for a GPU's queue
        if not all(math.isfinite(measured[k]) for k in ("val_psnr", "val_loss")):
            raise InputError(
                f"the loss on the validation pictures is {measured['val_loss']:g}, their PSNR {measured['val_psnr']:g}, after "
                f"epoch {trainer.current_epoch + 1}. {advise(self.config)}"
            )
        seconds = time.perf_counter() - self.started
        epoch = trainer.current_epoch + 1
        self.rows.append({"epoch": epoch, "step": trainer.global_step, **measured, "seconds": seconds})
        if not trainer.is_global_zero:
            return
        _write_rows(self.out / "metrics.csv", self.rows)
        self._sample(trainer, pl_module, epoch)
        if measured["val_psnr"] > self.best:
            self.best = measured["val_psnr"]
            trained = replace(
                self.trained,
                epoch=epoch,
                seconds=sum(row["seconds"] for row in self.rows),
                device=device_name(pl_module.device),
                validation={k: measured[k] for k in ("val_psnr", "val_ssim")},
            )
            save_model(self.out / "model", pl_module.judged, self.config.model, _make_options(self.config), asdict(trained))

    @torch.no_grad()
    def _sample(self, trainer: pl.Trainer, module: Inpainting, epoch: int) -> None:
        data: ArrayData | CropData = trainer.datamodule  # type: ignore[attr-defined]
        image, hole = (part[:SAMPLES].to(module.device) for part in next(iter(data.val_dataloader())))
        training = module.judged.training
        filled = composite(image, module.judged.eval().fill(mask_out(image, hole), hole), hole)
        module.judged.train(training)
        rows = [to_pixels(part) for part in (image, hole.expand(-1, 3, -1, -1), mask_out(image, hole), filled)]
        write_image(self.out / "samples" / f"epoch-{epoch:03d}.png", arrange_grid(rows, scale=max(1, 64 // image.shape[-1])))


def _write_rows(path: Path, rows: list[dict[str, float]]) -> None:
    """Write rows to a CSV file, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


# --- Lightning -------------------------------------------------------------------------------------------------------


def _make_trainer(config: TrainConfig, out: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    last = ModelCheckpoint(out / "checkpoints", "last", enable_version_counter=False, save_on_train_epoch_end=True)
    find_device("auto")  # InputError where a GPU is missing
    return pl.Trainer(
        max_epochs=config.epochs,
        # Lightning has no DDP on Apple's GPUs.
        accelerator="cpu" if distributed.WORLD > 1 and not torch.cuda.is_available() else "auto",
        devices=distributed.LOCAL_WORLD,
        num_nodes=distributed.WORLD // distributed.LOCAL_WORLD,
        strategy="ddp" if distributed.WORLD > 1 else "auto",
        sync_batchnorm=distributed.WORLD > 1 and torch.cuda.is_available(),  # PyTorch has it on GPUs only
        precision=_choose_precision(config),
        callbacks=[*callbacks, last],
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


def _choose_precision(config: TrainConfig) -> Any:
    precision = best_precision() if config.precision == "auto" else config.precision
    if precision == "fp16" and not torch.cuda.is_available():
        raise InputError("precision fp16 is for GPUs, and there is none here. Leave it out, or take bf16 or fp32.")
    return {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}[precision]  # with fp16 Lightning scales the loss


@contextmanager
def _silence_lightning() -> Iterator[None]:
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
