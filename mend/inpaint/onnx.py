"""The network in the box without PyTorch, which takes a second to import: ONNX Runtime, and numpy around it.

What `mend.models.pyramid` does with an image in evaluation is done here with one picture, by the same weights: the graph in
the box, which `mend export` wrote, reads them from the same file. What each step is for is said there.
"""

import os
import sys
from typing import ClassVar

import numpy as np

from mend.data.assets import ASSETS
from mend.images import Picture, mask_out
from mend.inpaint.plan import LIGHT, REACH, STRIDE, Plan, make_plan
from mend.inpaint.tiles import tiles
from mend.progress import Report

DEFAULT = ASSETS / "pyramid"
GRAPH = DEFAULT / "model.onnx"
COARSEST, RIDGE = 8, 0.03  # as in `mend.models.pyramid`


def cores() -> int:
    """How many cores this process may use; no more than OMP_NUM_THREADS, which `torchrun` sets and ONNX Runtime ignores."""
    there = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(there, int(said)) if said.isdecimal() and int(said) else there


class Light:
    """Fills pictures as the `Inpainter` of the network in the box does on the CPU, up to the rounding of its sums."""

    TILE, memory = 512, 576  # as `Pyramid` of width 48 has them
    THREADS = 4  # at most: up to 5 the results were the same bits where it was measured, with 6 the sums are divided otherwise
    program = LIGHT
    picture = 65  # bytes for each pixel of the picture
    config: ClassVar = {"model": "pyramid"}
    runtime = "ONNX Runtime on cpu"

    def __init__(self) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = min(self.THREADS, cores())
        options.enable_cpu_mem_arena = False  # it would keep what the largest tile took
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a thread that waits leaves others the core
        self.session = InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"])

    def plan(self, hole: np.ndarray, most: int | None = None) -> Plan:
        """How a hole (1, 1, H, W) will be filled in at most so many bytes; see `make_plan`."""
        return make_plan(self, hole, most)

    def fill_picture(
        self,
        picture: Picture,
        hole: np.ndarray,
        weight: np.ndarray | None = None,
        plan: Plan | None = None,
        report: Report = lambda done, of: None,
    ) -> Picture:
        """As `Inpainter.fill_picture`."""
        side = (plan or self.plan(hole)).tile or self.TILE
        return picture.fill(self.raw(mask_out(picture.image(), hole), hole, side, report), hole, weight)

    def raw(self, masked: np.ndarray, hole: np.ndarray, side: int, report: Report = lambda done, of: None) -> np.ndarray:
        """(1, 3, H, W) from what is known (1, 3, H, W) and its hole (1, 1, H, W), in tiles of `side` pixels."""
        over = tuple(axis for axis in (2, 3) if _darker_half_first(masked, axis))
        masked, known = np.flip(masked, over), 1 - np.flip(hole, over)
        rows, columns = known_plane(masked, known)
        colour = (masked - rows - columns) * known
        deviation = np.square(colour).sum(dtype=np.float64) / max(3 * known.sum(dtype=np.float64), 1)
        contrast = np.float32(deviation**0.5)
        levels = [(colour, known)]
        while max(levels[-1][1].shape[-2:]) > COARSEST:
            levels.append((halved(levels[-1][0]), halved(levels[-1][1])))
        work = [list(tiles(known, side, REACH, STRIDE)) for _, known in levels]
        done, of = 0, sum(tile.pixels for scale in work for tile in scale)
        raw: np.ndarray | None = None
        while levels:
            colour, known = levels.pop()
            coarse, raw = raw, colour.copy()
            for tile in work.pop():
                seen = colour[(..., *tile.seen)]
                guess = np.zeros_like(seen) if coarse is None else doubled_part(coarse, *tile.seen)
                refined = self._refine(seen, known[(..., *tile.seen)], guess, contrast)
                raw[(..., *tile.place)] = refined[(..., *tile.inner)]
                done += tile.pixels
                report(done, of)
        assert raw is not None
        raw += rows
        raw += columns
        return np.flip(raw.clip(0, 1, out=raw), over)

    def _refine(self, colour: np.ndarray, known: np.ndarray, guess: np.ndarray, contrast: np.float32) -> np.ndarray:
        base = colour + (1 - known) * guess
        unit = np.maximum(contrast, np.float32(1e-3))
        seen = np.concatenate([base / unit, (base - guess) / unit, 1 - known], axis=1)
        height, width = seen.shape[-2:]
        seen = np.pad(seen, ((0, 0), (0, 0), (0, -height % STRIDE), (0, -width % STRIDE)), "edge")
        (correction,) = self.session.run(None, {"seen": seen})
        return base + (1 - known) * contrast * correction[..., :height, :width]


def _darker_half_first(masked: np.ndarray, axis: int) -> bool:
    lines = masked.sum((0, 1, 5 - axis), dtype=np.float64)
    middle = len(lines) // 2
    return bool(lines[:middle].sum() < lines[len(lines) - middle :].sum())


def known_plane(masked: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane nearest to the known colours, as rows (1, 3, H, 1) and columns (1, 3, 1, W) to be added."""
    inside, sums = known[0, 0], masked[0]
    height, width = inside.shape
    count = max(inside.sum(dtype=np.float64), 1)
    known_rows, known_columns = inside.sum(1, dtype=np.float64), inside.sum(0, dtype=np.float64)
    rows, columns = sums.sum(2, dtype=np.float64), sums.sum(1, dtype=np.float64)  # (3, H) and (3, W)
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in (height, width))
    y, x = y - known_rows @ y / count, x - known_columns @ x / count
    yy, xx, yx = known_rows @ y**2 / count, known_columns @ x**2 / count, y @ (inside @ x) / count
    average, down, across = rows.sum(1) / count, rows @ y / count, columns @ x / count  # (3,)
    squares = np.array([np.square(channel).sum(dtype=np.float64) for channel in sums])
    variance = (squares / count - average**2).sum()

    def slopes(ridge: float) -> tuple[np.ndarray, np.ndarray]:
        a, c = yy + ridge, xx + ridge
        scale = a * c - yx**2
        return (c * down - yx * across) / scale, (a * across - yx * down) / scale

    by_y, by_x = slopes(1e-9)
    explained = (by_y @ down + by_x @ across) / max(variance, 1e-12)
    by_y, by_x = slopes(1e-9 + RIDGE * (1 - np.clip(explained, 0, 1)))
    level = average if inside.any() else np.full(3, 0.5)
    plane_rows, plane_columns = level[:, None] + by_y[:, None] * y, by_x[:, None] * x
    return plane_rows[None, :, :, None].astype(np.float32), plane_columns[None, :, None].astype(np.float32)


def halved(image: np.ndarray) -> np.ndarray:
    """Means of 2×2 cells; at an odd side the last cell has what there is."""
    return _half_as_high(_half_as_high(image).swapaxes(2, 3)).swapaxes(2, 3)


def _half_as_high(image: np.ndarray) -> np.ndarray:
    half = image[:, :, ::2].copy()
    pairs = half[:, :, : image.shape[2] // 2]
    pairs += image[:, :, 1::2]
    pairs *= 0.5
    return half


def doubled_part(coarse: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """The rows and columns, from even ones on, of `coarse` at twice its size, bilinearly."""
    top, left = max(0, rows.start // 2 - 1), max(0, columns.start // 2 - 1)
    part = coarse[..., top : -(-rows.stop // 2) + 1, left : -(-columns.stop // 2) + 1]
    twice = _twice_as_high(_twice_as_high(part).swapaxes(2, 3)).swapaxes(2, 3)
    return twice[..., rows.start - 2 * top : rows.stop - 2 * top, columns.start - 2 * left : columns.stop - 2 * left]


def _twice_as_high(image: np.ndarray) -> np.ndarray:
    near = np.pad(image, ((0, 0), (0, 0), (1, 1), (0, 0)), "edge")
    twice = np.repeat(0.75 * image, 2, axis=2)
    twice[:, :, ::2] += 0.25 * near[:, :, :-2]
    twice[:, :, 1::2] += 0.25 * near[:, :, 2:]
    return twice
