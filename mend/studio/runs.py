"""Run folders as the page shows them: what each was asked to do, its rows so far, its samples."""

import csv
import tomllib
from pathlib import Path
from typing import Any


def find_runs(named: list[str], folder: Path = Path("runs")) -> dict[str, Path]:
    """Run folders by name: those named, and those in `folder`; looked for anew, since a training may just have begun."""
    there = [Path(one) for one in named] + (sorted(folder.iterdir()) if folder.is_dir() else [])
    return {one.resolve().name: one for one in there if (one / "config.toml").is_file()}


def read_run(folder: Path) -> dict[str, Any]:
    """The configuration, one row of numbers an epoch, and the names of the sample grids of a run, finished or not."""
    config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    rows: list[dict[str, float]] = []
    if (folder / "metrics.csv").is_file():
        with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    asked = {name: config[name] for name in ("model", "width", "epochs") if name in config}
    return {"config": asked, "rows": rows, "samples": list(samples(folder))}


def samples(folder: Path) -> dict[str, Path]:
    """The sample grids of a run by name, in the order of epochs."""
    return {file.stem: file for file in sorted((folder / "samples").glob("epoch-*.png"))}
