"""Time and peak memory of `mend fill`, each in a process of its own, from the interpreter's start to the file written.

    python benchmarks/filling.py

Writes results/filling.json. Linux only: the peak is read from /proc.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from skimage.data import astronaut

from mend.chance import permutation
from mend.checkpoint import commit
from mend.device import device_name
from mend.images import write_bytes, write_image

OUT = Path(__file__).parent.parent / "results" / "filling.json"
RUNS = 3
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


def measure(folder: Path, pixels: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    write_image(folder / "p.png", pixels)
    write_image(folder / "m.png", mask)
    words = ["fill", str(folder / "p.png"), "--mask", str(folder / "m.png"), "-o", str(folder / "o.png"), "--device", "cpu"]
    seconds, peaks = [], []
    for _ in range(RUNS):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True)
        seconds.append(round(time.perf_counter() - start, 2))
        peaks.append(int(done.stdout.split()[-1]) * 1024)
    return {"share": round(float((mask > 0).mean()), 3), "seconds": seconds, "peak_bytes": max(peaks)}


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
    facts = {"commit": commit(), "device": device_name(torch.device("cpu")), "torch": torch.__version__, "cases": found}
    write_bytes(OUT, json.dumps(facts, indent=1, ensure_ascii=False).encode() + b"\n")
