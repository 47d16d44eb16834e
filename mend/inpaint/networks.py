"""Networks of somebody else, by their contracts: an ONNX or a TorchScript file becomes a `Filler`.

A network of 512×512 pixels fills a large picture so: around each hole it gets a window with what lies about it, shrunk by a
power of two if the hole is wide; and its filling becomes the scale from which the network that comes with mend goes on to full
resolution (see `mend.inpaint.scales`). So it says what is in a hole, and no pixel of the result was enlarged.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mend.errors import InputError, make_unknown_error, name_missing_extra
from mend.images import composite
from mend.inpaint.arrays import halve
from mend.inpaint.contracts import NETWORKS, SHIPPED, Contract, read_contract
from mend.inpaint.download import describe_difference, fetch, hash_file
from mend.inpaint.filler import Memory
from mend.inpaint.folder import Model
from mend.inpaint.graphs import OnnxGraph
from mend.inpaint.holes import estimate_depth
from mend.inpaint.onnx import PyramidOnnx
from mend.inpaint.probe import probe
from mend.inpaint.tiles import Tile, cut_tiles, see_around
from mend.progress import Report, ignore

if TYPE_CHECKING:
    from mend.inpaint.torchscript import TorchScript

SUFFIXES = (".onnx", ".pt")
PICTURE = 40  # bytes for each pixel of the picture: it and its hole, copied, and a window of them, padded and filled
STEP = 8  # pixels, in steps of which windows are placed


def is_network(model: str | Path) -> bool:
    """Whether `load_network` is meant: the name of a network that is fetched, or an ONNX or TorchScript file."""
    return str(model) in NETWORKS or Path(model).suffix.lower() in SUFFIXES


@name_missing_extra()
def load_network(model: str | Path) -> "Network":
    """A filler from the name of a network (see `NETWORKS`), which is fetched on first use, or from its file.

    FILE.onnx or FILE.pt has its contract in FILE.toml beside it; one that a shipped contract describes needs none. The file is
    compared with the size and the SHA-256 of its contract, and the network is probed (see `mend.inpaint.probe`). Raises
    InputError for a file that cannot be had or run, and for a network that contradicts its contract.
    """
    if str(model) in NETWORKS:
        name, contract = str(model), NETWORKS[str(model)]
        file, toml = fetch(name, contract), f"{name}.toml"
    else:
        file = Path(model)
        if file.suffix.lower() not in SUFFIXES:
            raise make_unknown_error("network", str(model), [*NETWORKS, "FILE.onnx", "FILE.pt"])
        if not file.is_file():
            raise InputError(f"{file} does not exist. Give an ONNX or a TorchScript file, or one of {', '.join(NETWORKS)}.")
        name, (contract, toml) = file.stem, _find_contract(file)
        if wrong := describe_difference(file, contract):
            raise InputError(f"{file.name} is not what {toml} describes: it {wrong}. Fetch it again, or correct {toml}.")
    run = _open(file, contract)
    return Network(name, run, probe(run, contract, file.name, toml))


def _open(file: Path, contract: Contract) -> "OnnxGraph | TorchScript":
    if file.suffix.lower() == ".onnx":
        return OnnxGraph(file, contract)
    from mend.inpaint.torchscript import TorchScript

    return TorchScript(file, contract)


def _find_contract(file: Path) -> tuple[Contract, str]:
    """The contract of a file, and what it is called."""
    beside = file.with_suffix(".toml")
    if beside.is_file():
        contract = read_contract(beside)
        if contract.file != file.name:
            raise InputError(
                f"{beside} describes {contract.file}, not {file.name}. Correct file in it, if it is the same network."
            )
        return contract, beside.name
    for name, contract in SHIPPED.items():
        if contract.file == file.name:
            return contract, f"{name}.toml"
    raise InputError(
        f"{file} has no {beside.name} beside it. Write there what the network expects and returns, as docs/networks.md shows."
    )


class Network:
    """A `Filler`: a network of somebody else, whose contract the probe found kept."""

    reach, tiles = None, (None,)

    def __init__(self, name: str, run: "OnnxGraph | TorchScript", contract: Contract) -> None:
        self.name, self.run, self.contract = name, run, contract
        self.runtime = run.runtime
        self.finer = PyramidOnnx()
        self.config = Model(model=name, contract=json.loads(json.dumps(asdict(contract))))  # as it will be read again

    @property
    def parameters(self) -> int:
        """Those of the network itself."""
        return self.run.parameters

    @property
    def memory(self) -> Memory | None:
        """What it takes with the network that comes with mend, which goes on from it; None where the contract does not say."""
        if self.contract.memory is None:
            return None
        finer, seen = self.finer.memory, self.finer.tiles[0] + 2 * self.finer.reach
        at_once = max(self.contract.memory * self.contract.side**2, finer.seen * seen**2)
        return Memory(self.run.program + 2 * self.run.file.stat().st_size + at_once, PICTURE + finer.picture, 0)

    @property
    def version(self) -> str:
        """A hash of the network's file, its contract, and the network that comes with mend."""
        weights = self.contract.sha256 or hash_file(self.run.file)
        return hashlib.sha256(f"{weights} {self.contract} {self.finer.version}".encode()).hexdigest()

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Report = ignore) -> np.ndarray:
        """As `Filler`, one picture after another."""
        raw = [self._fill(masked[i : i + 1].copy(), hole[i : i + 1].copy(), report) for i in range(len(masked))]
        return np.concatenate(raw)

    def notes(self, hole: np.ndarray) -> list[str]:
        """By how much the holes are shrunk that are too wide for the network."""
        shrunk = {window.shrunk for one in hole for window in plan_windows(one[None], self.contract.side) if window.shrunk > 1}
        if not shrunk:
            return []
        scales = " and ".join(f"1/{by}" for by in sorted(shrunk))
        return [
            f"{self.name} sees {self.contract.side} pixels a side: wider holes are filled at {scales} of the size, "
            "and the network that comes with mend goes on from there to the full one"
        ]

    def _fill(self, image: np.ndarray, hole: np.ndarray, report: Report) -> np.ndarray:
        """`raw` for one picture. Both arrays are written to: what is filled in one window is known in the next."""
        work = list(plan_windows(hole, self.contract.side))
        for done, window in enumerate(work, 1):
            seen, place = (..., *window.tile.seen), (..., *window.tile.place)
            filled = self._fill_window(image[seen], hole[seen], window)
            image[place], hole[place] = filled[(..., *window.tile.inner)], 0
            report(done, len(work))
        return image

    def _fill_window(self, image: np.ndarray, hole: np.ndarray, window: "Window") -> np.ndarray:
        """What is seen of a window, filled."""
        side, (height, width) = self.contract.side, hole.shape[-2:]
        # In whole cells of the scale that is begun with, so that they are the same for a mirrored picture.
        more = ((0, 0), (0, 0), (0, -height % window.shrunk), (0, -width % window.shrunk))
        image, hole = np.pad(image, more, "symmetric"), np.pad(hole, more, "symmetric")
        small, known = image * (1 - hole), 1 - hole
        for _ in range(window.shrunk.bit_length() - 1):
            small, known = halve(small), halve(known)
        missing = (known < 1).astype(np.float32)  # what is known of a cell in part, the finer scales have
        rows, columns = (slice(part.start // window.shrunk, -(-part.stop // window.shrunk)) for part in window.tile.inner)
        own = np.zeros_like(missing)
        own[..., rows, columns] = missing[..., rows, columns]
        for tile in cut_tiles(1 - own, _limit_inner(side), side // 8, STEP):
            rows, columns = (_centre_window(part, side, n) for part, n in zip(tile.place, own.shape[-2:], strict=True))
            seen = (..., rows, columns)
            raw = self._see(small[seen], missing[seen])
            small[seen] = composite(small[seen], raw, missing[seen])
            missing[(..., *tile.place)] = 0
        if window.shrunk == 1:
            return small
        return self.finer(image * (1 - hole), hole, start=small)[..., :height, :width]

    def _see(self, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """`raw` of what the network is given at once, mirrored at its right and lower border to a size that it takes."""
        height, width = hole.shape[-2:]
        more = ((0, 0), (0, 0), (0, -height % self.contract.step), (0, -width % self.contract.step))
        inputs = self.contract.encode(np.pad(image, more, "symmetric"), np.pad(hole, more, "symmetric"))
        raw = self.contract.decode(self.run(*inputs))
        return raw[..., :height, :width].clip(0, 1)


# --- Windows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """A part of a picture to fill, with what is seen around it, and by how much it is shrunk for that: a power of two."""

    tile: Tile
    shrunk: int


def plan_windows(hole: np.ndarray, side: int) -> Iterator[Window]:
    """The windows in which a network of `side` pixels fills a hole (1, 1, H, W).

    Holes that lie near each other share one. It is shrunk until no missing pixel is farther than a third of the side from a
    known one, so that a hole takes two thirds of what the network sees across it, at most. Width decides, not length: a scratch
    across a picture is filled at full size, piece by piece.
    """
    size = (hole.shape[-2], hole.shape[-1])
    longest = -(-max(size) // STEP) * STEP
    for cluster in cut_tiles(1 - hole, longest, side // 8, STEP):
        deepest = float(estimate_depth(hole[0, 0][cluster.seen] > 0).max())
        shrunk = 1
        while deepest > shrunk * side / 3 and longest > shrunk * side:
            shrunk *= 2
        yield Window(see_around(cluster.place, shrunk * side // 2, size), shrunk)


def _limit_inner(side: int) -> int:
    """How long a part of a hole may be to be filled at once: three quarters of the side, in whole steps."""
    return max(STEP, side * 3 // 4 // STEP * STEP)


def _centre_window(place: slice, side: int, length: int) -> slice:
    """`side` pixels with `place` in their middle, moved into a picture of this `length`; all of it where it is shorter."""
    start = max(0, min((place.start + place.stop - side) // 2, length - side))
    return slice(start, min(start + side, length))
