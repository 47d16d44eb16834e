"""What an installation brings: megabytes and seconds, by uv and by pip, of an earlier commit and of now.

    python benchmarks/installing.py [--before COMMIT] [--runs N] [--tools uv]

Each into an environment of its own, with bytecode, as `make` and pip do it. Run it twice: the first time fills the caches of
the tools, the second counts. Writes the part "installing" of results/performance.json. Nothing else should run.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from performance import record
from starting import ENVIRONMENT

ROOT = Path(__file__).parent.parent
CASES = {  # what one wants to do: the extras for it, before and now
    "fill a photograph": ("", ""),
    "fill in the browser": ("[studio]", "[studio]"),
    "all of mend": ("[studio,export,onnx]", "[all]"),
}


def install(source: Path, extras: str, tool: str, folder: Path) -> tuple[float, float]:
    """Seconds of an installation into a new environment, and the megabytes (2^20 bytes) that it adds."""
    environment = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    command = {
        "uv": [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", python],
        "pip": [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"],
    }[tool]
    before, start = size(environment), time.perf_counter()
    subprocess.run([*command, "-c", "constraints.txt", f".{extras}"], cwd=source, env=ENVIRONMENT, check=True)
    return time.perf_counter() - start, size(environment) - before


def size(folder: Path) -> float:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir()) / 2**20


def measure(source: Path, extras: str, tools: list[str], runs: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with TemporaryDirectory() as name:
        for tool in tools:
            rounds = [install(source, extras, tool, Path(name)) for _ in range(runs)]
            found[tool] = median(seconds for seconds, _ in rounds)
            found["megabytes"] = rounds[0][1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="e7f26b3", help="the commit to compare with")
    parser.add_argument("--tools", nargs="+", default=["pip", "uv"], choices=["pip", "uv"])
    parser.add_argument("--runs", type=int, default=1)
    asked = parser.parse_args()
    with TemporaryDirectory() as name:
        subprocess.run(["git", "clone", "--quiet", ROOT, name], check=True)
        subprocess.run(["git", "checkout", "--quiet", asked.before], cwd=name, check=True)
        cases = {}
        for case, (extras, now) in CASES.items():
            before = measure(Path(name), extras, asked.tools, asked.runs)
            cases[case] = {"n": asked.runs, "extras": now, "before": before}
            cases[case]["now"] = measure(ROOT, now, asked.tools, asked.runs)
            print(case, cases[case], flush=True)
    record("installing", {"before": asked.before, "load": os.getloadavg()[2], "cases": cases})


if __name__ == "__main__":
    main()
