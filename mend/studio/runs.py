"""Run folders as the page shows them: what each was asked to do, its rows so far, its samples. And evaluations."""

import contextlib
import csv
import json
import math
import tomllib
from pathlib import Path
from typing import Any

from mend.errors import InputError, name_missing_extra
from mend.evaluate.result import find_rows_file, read_result, read_scores


def find_runs(named: list[str], folder: Path = Path("runs")) -> dict[str, Path]:
    """Run folders by name: those named, and those in `folder`; looked for anew, since a training may just have begun."""
    there = [Path(one) for one in named]
    with contextlib.suppress(OSError):  # there is none, or it may not be read
        there += sorted(folder.iterdir())
    found: dict[str, Path] = {}
    for one in dict.fromkeys(place.resolve() for place in there):
        with contextlib.suppress(PermissionError):
            if (one / "config.toml").is_file():
                same = sum(other.name == one.name for other in found.values())
                found[f"{one.name} ({same + 1})" if same else one.name] = one
    return found


def read_run(folder: Path) -> dict[str, Any]:
    """The configuration, one row of numbers an epoch, and the names of the sample grids of a run, finished or not.

    What cannot be read is an `error`, a sentence, beside what can.
    """
    found: dict[str, Any] = {"config": {}, "rows": [], "samples": list(find_samples(folder))}
    part = "config.toml"
    try:
        config = tomllib.loads((folder / part).read_text(encoding="utf-8"))
        found["config"] = {name: config[name] for name in ("model", "width", "epochs") if name in config}
        part = "metrics.csv"
        if (folder / part).is_file() and _lies_in(folder, folder / part):
            with (folder / part).open(encoding="utf-8", newline="") as file:
                found["rows"] = [_parse_numbers(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error  # without the path
        found["error"] = f"{part} cannot be read: {why}."
    return found


def _parse_numbers(row: dict[str, str]) -> dict[str, float | None]:
    """What a row holds; None for what is no longer a number, as JSON has none for it."""
    values = {name: float(value) for name, value in row.items() if value}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def find_samples(folder: Path) -> dict[str, Path]:
    """The sample grids of a run by name, in the order of epochs; a link to a file elsewhere is none."""
    files = sorted((folder / "samples").glob("epoch-*.png"))
    return {file.stem: file for file in files if _lies_in(folder, file)}


def _lies_in(folder: Path, file: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


RESULTS = Path("results")


def find_results() -> dict[str, Path]:
    """What may be evaluations, by name."""
    return {file.stem: file for file in sorted(RESULTS.glob("*.json"))}


def read_evaluation(file: Path) -> dict[str, Any] | None:
    """The title of an evaluation, its number of images, and the means of each method; None for another kind of result."""
    try:
        result = read_result(file)
    except (OSError, InputError):
        return None
    methods = {
        name: {column: score.mean for column, score in method.metrics.items() if "_" not in column}
        for name, method in result.methods.items()
        if find_rows(file.stem, name).is_file()
    }
    return {"title": result.protocol.title, "n": result.n, "methods": methods}


def find_rows(result: str, method: str) -> Path:
    """Where the per-image rows of a method lie."""
    return find_rows_file(RESULTS / result, method)


@name_missing_extra()
def read_rows(file: str, by: str, up: bool, count: int) -> dict[str, Any]:
    """The first `count` images of a table of scores, a row each, sorted by a column, or by the first score; and how many there
    are."""
    table = read_scores(file).drop(columns=["row", "image"])
    by = by or next(column for column in table.columns if column not in ("name", "class", "coverage"))
    if by not in table:
        raise InputError(f"there is no column {by!r}; expected one of {', '.join(table.columns)}.")
    first = table.sort_values(by, ascending=up, kind="stable").head(count)
    return {"columns": list(first.columns), "rows": json.loads(first.to_json(orient="values")), "of": len(table), "by": by}
