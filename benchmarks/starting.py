"""From the shell's command to its result: `mend --help`, `import mend`, and `mend fill` on 256×256 pixels, with texture, which
is the default, and without.

    python benchmarks/starting.py

Writes the part "starting" of results/performance.json. Nothing else should run.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from filling import box, photograph
from performance import record

from mend.images import write_image
from mend.inpaint.onnx import DEFAULT

RUNS = 9
# The interpreter's own bytecode files are wanted: without them every import compiles.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(command: list[str]) -> dict[str, float]:
    taken = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True, env=ENVIRONMENT)
        taken.append(time.perf_counter() - start)
    taken = taken[1:]  # the first reads from the disk
    return {"n": RUNS, "median": float(np.median(taken)), "least": min(taken), "most": max(taken)}


def main() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_image(folder / "photo.png", photograph(256, 256))
        write_image(folder / "mask.png", box(256, 256, 0.2))
        photo, mask, out = (str(folder / f"{name}.png") for name in ("photo", "mask", "out"))
        fill = ["-m", "mend", "fill", photo, "--mask", mask, "-o", out, "--device", "cpu"]
        commands = {
            "mend --help": ["-m", "mend", "--help"],
            "import mend": ["-c", "import mend"],
            "mend fill, 256×256": fill,
            "mend fill --smooth, 256×256": [*fill, "--smooth"],
            "mend fill --smooth, 256×256, PyTorch": [*fill, "--model", str(DEFAULT)],  # a model that is named is PyTorch's
        }
        cases = {case: seconds(command) for case, command in commands.items()}
    for case, found in cases.items():
        print(case, found)
    record("starting", {"cases": cases})


if __name__ == "__main__":
    main()
