"""Run folders as the page shows them: what each was asked to do, its rows so far, its samples. And evaluations."""

import csv
import json
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


def find_results(folder: Path = Path("results")) -> dict[str, dict[str, Any]]:
    """Evaluations by name, as `mend evaluate` writes them: title, number of images, and the means of each method."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            summary = json.loads(file.read_text(encoding="utf-8"))
            methods = {
                method: {name: value["mean"] for name, value in scored["metrics"].items() if "_" not in name}
                for method, scored in summary["methods"].items()
                if rows_file(file.stem, method, folder).is_file()
            }
            found[file.stem] = {"title": summary["protocol"]["title"], "n": summary["n"], "methods": methods}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # another kind of result
    return found


def rows_file(result: str, method: str, folder: Path = Path("results")) -> Path:
    """Where the per-image rows of a method lie."""
    return folder / result / f"{method}.parquet"
