"""What the same filling costs in an earlier commit and now: seconds, peak memory, and whether the pixels are the same.

    python benchmarks/before.py [--before COMMIT] [--runs N]

`mend fill` of the earlier commit against `mend fill --smooth` of now with the earlier commit's network, so that only the code
differs, and with the network that comes with mend now. Each is a process of its own, from the interpreter's start to the file
written, in turn. Writes the part "before" of results/performance.json. Linux only; nothing else should run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from filling import CODE, box, photograph
from performance import record
from starting import ENVIRONMENT

from mend.images import read_rgb, write_image

ROOT = Path(__file__).parent.parent
CASES = {"256×256, 20 %": (256, 256, 0.2), "4000×3000, 5 %": (3000, 4000, 0.05)}
SMOOTH = ["--smooth"]


def check_out(commit: str, folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    subprocess.run(["git", "checkout", "--quiet", commit], cwd=folder, check=True)
    return folder


def fill(code: Path, words: list[str], folder: Path, output: Path) -> tuple[float, int]:
    """Seconds and the peak of memory, in bytes, of one command by this code."""
    output.unlink(missing_ok=True)
    paths = [str(folder / "p.png"), "--mask", str(folder / "m.png"), "-o", str(output), "--device", "cpu"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, "fill", *paths, *words],
        env=ENVIRONMENT | {"PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, int(done.stdout.split()[-1]) * 1024


def measure(ways: dict[str, tuple[Path, list[str]]], folder: Path, runs: int) -> dict[str, Any]:
    taken: dict[str, list[tuple[float, int]]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, (code, words) in ways.items():
            one = fill(code, words, folder, folder / f"{name}.png")
            if turn:  # the first run writes bytecode and reads from the disk
                taken[name].append(one)
    found: dict[str, Any] = {"n": runs}
    for name, rounds in taken.items():
        found[name] = {"seconds": median(seconds for seconds, _ in rounds), "peak_bytes": max(peak for _, peak in rounds)}
    found["ratio"] = median(now / before for (now, _), (before, _) in zip(taken["now"], taken["before"], strict=True))
    found["same_pixels"] = bool(np.array_equal(read_rgb(folder / "before.png"), read_rgb(folder / "now.png")))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="e7f26b3", help="the commit to compare with")
    parser.add_argument("--runs", type=int, default=9)
    asked = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        before, same = check_out(asked.before, folder / "before"), check_out("HEAD", folder / "same")
        shutil.copytree(before / "mend/assets/pyramid", same / "mend/assets/structure", dirs_exist_ok=True)
        ways = {"before": (before, []), "now": (same, SMOOTH), "todays_network": (ROOT, SMOOTH)}
        cases = {}
        for case, (height, width, share) in CASES.items():
            write_image(folder / "p.png", photograph(height, width))
            write_image(folder / "m.png", box(height, width, share))
            cases[case] = measure(ways, folder, asked.runs)
            print(case, cases[case], flush=True)
    record("before", {"before": asked.before, "load": os.getloadavg()[2], "cases": cases})


if __name__ == "__main__":
    main()
