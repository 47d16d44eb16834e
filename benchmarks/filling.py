"""Time and peak memory of `mend fill`, with texture, which is the default, and of `mend fill --smooth` by both runtimes, each
in a process of its own, from the interpreter's start to the file written; and how much the two smooth fillings differ.

    python benchmarks/filling.py

Writes results/filling.json. Linux only: the peak is read from /proc.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
from skimage.data import astronaut

from mend.data.random import permutation
from mend.images import read_rgb, write_bytes, write_image
from mend.inpaint.onnx import DEFAULT
from mend.models.checkpoint import find_commit
from mend.models.device import device_name

OUT = Path(__file__).parent.parent / "results" / "filling.json"
RUNS = 5
WAYS = {"PyTorch": ["--model", str(DEFAULT)], "ONNX Runtime": ["--smooth"], "with texture": []}
CODE = """
import sys
import mend.cli
try:
    mend.cli.main(sys.argv[1:])
finally:
    print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


def photograph(height: int, width: int) -> np.ndarray:
    """A photograph tiled and mirrored to this size."""
    tile = np.block([[[astronaut()], [astronaut()[:, ::-1]]], [[astronaut()[::-1]], [astronaut()[::-1, ::-1]]]])
    return np.tile(tile, (-(-height // 1024), -(-width // 1024), 1))[:height, :width]


def box(height: int, width: int, share: float) -> np.ndarray:
    mask = np.zeros((height, width, 1), np.uint8)
    tall, wide = (round(side * share**0.5) for side in (height, width))
    top, left = (height - tall) // 2, (width - wide) // 3
    mask[top : top + tall, left : left + wide] = 255
    return mask


def specks(height: int, width: int, share: float, count: int) -> np.ndarray:
    """So many squares of one size, on a grid that is shuffled; together about this share of the picture."""
    side = max(1, round((share * height * width / count) ** 0.5))
    rows, columns = height // (2 * side), width // (2 * side)
    mask = np.zeros((height, width, 1), np.uint8)
    for cell in permutation(rows * columns, 0)[:count]:
        top, left = 2 * side * (cell // columns), 2 * side * (cell % columns)
        mask[top : top + side, left : left + side] = 255
    return mask


def measure(folder: Path, pixels: np.ndarray, mask: np.ndarray) -> dict[str, object]:
    """Seconds of wall clock and of the processor, and the peak, of each way, in turn; how many values differ by runtime."""
    write_image(folder / "p.png", pixels)
    write_image(folder / "m.png", mask)
    found = {name: {"seconds": [], "cpu_seconds": [], "peak_bytes": 0} for name in WAYS}
    filled = {}
    for _ in range(RUNS):
        for name, words in WAYS.items():
            out = str(folder / "o.png")
            words = ["fill", str(folder / "p.png"), "--mask", str(folder / "m.png"), "-o", out, "--device", "cpu", *words]
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True)
            seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            assert ("PyTorch" if name == "PyTorch" else "ONNX Runtime") in done.stderr.splitlines()[0], done.stderr
            one, filled[name] = found[name], read_rgb(out).astype(np.int16)
            one["seconds"].append(round(seconds, 2))
            one["cpu_seconds"].append(round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2))
            one["peak_bytes"] = max(one["peak_bytes"], int(done.stdout.split()[-1]) * 1024)
    off = np.abs(filled["PyTorch"] - filled["ONNX Runtime"])[mask[..., 0] > 0]
    share = round(float((mask > 0).mean()), 3)
    return {"share": share, **found, "values": off.size, "differ": int((off > 0).sum()), "by_levels": int(off.max())}


CASES = {
    "256×256, 20 %": lambda: (photograph(256, 256), box(256, 256, 0.2)),
    "1024×1024, 20 %": lambda: (photograph(1024, 1024), box(1024, 1024, 0.2)),
    "1024×1024, one hole": lambda: (photograph(1024, 1024), box(1024, 1024, 0.086)),
    "1024×1024, 10,000 specks": lambda: (photograph(1024, 1024), specks(1024, 1024, 0.086, 10_000)),
    "4000×3000, 20 %": lambda: (photograph(3000, 4000), box(3000, 4000, 0.2)),
}

if __name__ == "__main__":
    found = {}
    with TemporaryDirectory() as folder:
        for name, make in CASES.items():
            found[name] = measure(Path(folder), *make())
            print(f"{name:26} {found[name]}", flush=True)
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    facts = {"commit": find_commit(), "device": device_name(torch.device("cpu")), **versions, "cases": found}
    write_bytes(OUT, json.dumps(facts, indent=1, ensure_ascii=False).encode() + b"\n")
