"""What trainings on a GPU share: a step that is recorded once and replayed, and files for a machine that has nothing else."""

import copy
import csv
import os
import zipfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mend.images import mask_out
from mend.models.checkpoint import find_commit
from mend.models.device import device_name, find_device
from mend.models.network import Network
from mend.train.config import TrainConfig
from mend.train.losses import weigh_scales

PART = 30_000_000  # bytes of a zip


class Step:
    """A step of training in bf16: the loss, Adam, and the moving average of the weights, if the configuration has one.

    `take(*inputs)` gives a batch, image and hole. On a GPU `record` makes a CUDA graph of the step, which is replayed: a step
    of a small network takes longer to launch than to work out. Make the inputs on its stream: `with step.here()`.
    """

    def __init__(
        self, network: nn.Module, config: TrainConfig, device: torch.device, take: Callable[..., tuple[Tensor, Tensor]]
    ) -> None:
        self.config, self.device, self.take = config, device, take
        self.network: Network = network.to(device, memory_format=torch.channels_last).requires_grad_(True).train()
        self.judged = copy.deepcopy(self.network).eval().requires_grad_(False) if config.ema else self.network
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None
        self.lr, self.loss = torch.tensor(config.lr, device=device), torch.zeros((), device=device)
        how: dict[str, Any] = {"lr": self.lr, "capturable": True} if self.stream else {"lr": config.lr}
        self.optimizer = torch.optim.Adam(self.network.parameters(), fused=True, **how)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()

    def here(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self.stream) if self.stream else nullcontext()

    def __call__(self, lr: float, *inputs: Tensor) -> None:
        """One step with this learning rate; its loss is added to `loss`."""
        with self.here():
            if self.stream:
                self.lr.fill_(lr)
            else:
                self.optimizer.param_groups[0]["lr"] = lr
            if self.graph and all(new.shape == old.shape for new, old in zip(inputs, self.inputs, strict=True)):
                for new, old in zip(inputs, self.inputs, strict=True):
                    old.copy_(new)
                self.graph.replay()
            else:
                self.optimizer.zero_grad(set_to_none=False)
                self._step(*inputs)

    def _step(self, *inputs: Tensor) -> None:
        image, hole = self.take(*inputs)
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            raws = self.network.scales(mask_out(image, hole), hole)
            loss, _ = weigh_scales(self.config.loss, raws, image, hole)
        loss.backward()
        self.optimizer.step()
        self.loss += loss.detach()
        if self.judged is not self.network:
            for of in ("parameters", "buffers"):
                mine, now = (
                    [value.detach() for value in getattr(network, of)() if value.is_floating_point()]
                    for network in (self.judged, self.network)
                )
                if mine:
                    torch._foreach_lerp_(mine, now, 1 - self.config.ema)

    def record(self, *inputs: Tensor) -> None:
        """On a GPU, record a step with inputs of these shapes; where that fails every step is launched. The weights are
        afterwards what they were."""
        if not self.stream:
            return
        before = copy.deepcopy(self.network.state_dict())
        torch.cuda.synchronize()
        try:
            with self.here():
                for _ in range(3):
                    self.optimizer.zero_grad(set_to_none=True)
                    self._step(*inputs)
            torch.cuda.synchronize()
            self.optimizer.zero_grad(set_to_none=True)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                self._step(*inputs)
            self.graph, self.inputs = graph, inputs
        except RuntimeError as error:
            print(f"not recorded: {error}", flush=True)
            self.optimizer.zero_grad(set_to_none=True)  # the gradients may lie in the memory of the graph
        torch.cuda.synchronize()
        self.network.load_state_dict(before)
        self.judged.load_state_dict(before)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        self.loss.zero_()
        torch.cuda.synchronize()


def prepare() -> torch.device:
    """The device, told to be fast."""
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    return find_device("auto")


def describe(device: torch.device) -> dict[str, str]:
    """For the record of a model. A copy without its history has the commit in the variable COMMIT."""
    code = find_commit() or os.environ.get("COMMIT", "")
    return {"commit": code, "torch": torch.__version__, "device": device_name(device)}


def write_table(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def pack(folder: Path, name: str, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files, names and contents, to NAME-0.zip, NAME-1.zip, … of at most PART bytes, in place of any that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}-*.zip"):
        old.unlink()
    part, size = 0, PART
    for file, content in files:
        if size + len(content) > PART:
            part, size = part + 1, 0
        how = zipfile.ZIP_STORED if file.endswith("webp") else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(folder / f"{name}-{part}.zip", "a" if size else "w", how) as archive:
            archive.writestr(file, content)
        size += len(content)
    print({file.name: file.stat().st_size for file in folder.iterdir()})


def unpack(folder: Path, name: str, place: Path) -> None:
    for part in sorted(folder.glob(f"{name}*.zip")):
        with zipfile.ZipFile(part) as archive:
            archive.extractall(place)
