"""The network in the box by ONNX Runtime, which starts at once where PyTorch takes a second to import.

Its graph is one scale of the recursion in `mend.inpaint.scales`; `mend export` wrote it, and it reads the weights from the
same file as PyTorch does.
"""

import hashlib
import json
import math
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mend.data.assets import ASSETS
from mend.inpaint.filler import Memory
from mend.inpaint.folder import Model, read_config, require_model
from mend.inpaint.scales import REACH, RELAX, fill_scales
from mend.progress import Report, ignore

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

DEFAULT = ASSETS / "structure"
GRAPH = DEFAULT / "model.onnx"
PROGRAM = 150 * 2**20  # bytes: Python with ONNX Runtime and OpenCV loaded; 110 MB where it was measured
THREADS = 4  # at most: up to 5 the results were the same bits where it was measured, with 6 the sums are divided otherwise


class PyramidOnnx:
    """A `Filler`: the network that comes with mend, or another of its kind that was exported beside its weights, on the CPU."""

    runtime = "ONNX Runtime on cpu"
    reach = REACH
    tiles = (512, 256, 128)  # a larger one would see less twice, and work on more that is not missing
    memory = Memory(PROGRAM, 65, 576)

    def __init__(self, folder: Path = DEFAULT) -> None:
        self.folder = folder
        self.session = open_session(folder / GRAPH.name)
        self.name = self.config.model  # "pyramid", or "structure", whose guess is relaxed
        self.relax = RELAX if self.name == "structure" else 0

    @cached_property
    def version(self) -> str:
        """The SHA-256 of the weights' file."""
        return hashlib.sha256((self.folder / "model.safetensors").read_bytes()).hexdigest()

    @cached_property
    def config(self) -> Model:
        return read_config(self.folder)

    @cached_property
    def parameters(self) -> int:
        """As the header of the weights' file counts them."""
        with (self.folder / "model.safetensors").open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")

    def __call__(
        self,
        masked: np.ndarray,
        hole: np.ndarray,
        tile: int | None = None,
        report: Report = ignore,
        start: np.ndarray | None = None,
    ) -> np.ndarray:
        """As `Filler`; `start` is the filling of a coarser scale, by another network (see `fill_scales`)."""
        tile = tile or self.tiles[0]
        if len(masked) == 1:
            return np.ascontiguousarray(fill_scales(masked, hole, self.correct, tile, report, start, relax=self.relax))
        one_by_one = zip(np.split(masked, len(masked)), np.split(hole, len(hole)), strict=True)
        return np.concatenate([fill_scales(*one, self.correct, tile, relax=self.relax) for one in one_by_one])

    def correct(self, seen: np.ndarray) -> np.ndarray:
        """One scale: (B, 7, H, W) to (B, 3, H, W)."""
        return self.session.run(None, {"seen": np.ascontiguousarray(seen)})[0]

    def notes(self, hole: np.ndarray) -> list[str]:
        """None: it fills any hole."""
        return []


def find_exported(model: Path) -> Path | None:
    """The model folder of a network of the pyramid's kind, by it or by its run folder, into which `mend export` wrote
    model.onnx; None where it did not. InputError where there is no model."""
    folder = require_model(model)
    is_ours = (folder / GRAPH.name).is_file() and read_config(folder).model in ("pyramid", "structure")
    return folder if is_ours else None


def open_session(graph: Path) -> "InferenceSession":
    """The graph in ONNX Runtime, on as many cores as give the same bits for any number of them."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = min(THREADS, count_cores())
    options.enable_cpu_mem_arena = False  # it would keep what the largest tile took
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a thread that waits leaves others the core
    options.log_severity_level = 3  # errors, which are raised as well; its warnings are for those who make graphs
    return InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def count_cores() -> int:
    """How many cores this process may use; no more than OMP_NUM_THREADS, which `torchrun` sets and ONNX Runtime ignores."""
    there = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(there, int(wanted)) if wanted.isdecimal() and int(wanted) else there
