"""The result of an evaluation, and the one place where its files are named, read and written.

<out>.json      a `Result`: protocol, hashes, and for each method every metric with its 95 % interval
<out>/          for each method its per-image rows (.parquet) and a strip of sample pictures (.png); images.parquet has what
                rows of many methods have in common, where they were made small for that
<out>/pictures/ every filled picture, no larger than 192 pixels, for the page that sorts and shows them
<out>/features/ what the distances of sets are computed from, for their intervals; both folders are large and may be deleted
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from mend.errors import InputError
from mend.evaluate.protocol import Protocol, dump_protocol, parse_protocol
from mend.images import write_bytes
from mend.inpaint.folder import Model, parse_model

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1  # files of before there was one are read as this


@dataclass(frozen=True, kw_only=True)
class Score:
    """The mean of a metric over `n` images and its 95 % interval. None: no image has a value; there are too few images for an
    interval; a distance of sets has none of its own."""

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int


Scores = dict[str, Score]
"""By column: psnr for the composited image, psnr_raw, psnr_hole, psnr_band."""


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """What was measured of one method, with what, and on what."""

    weights: str  # changes when the method's output may
    metrics_scored: dict[str, str]  # by metric: what changes when its value may
    metrics: Scores
    by_coverage: dict[str, Scores]
    by_class: dict[str, Scores]
    seconds: float
    parameters: int  # 0: none, or not known
    model: Model
    training: list[dict[str, float | None]]  # a row an epoch
    commit: str
    device: str
    torch: str
    python: str

    def mean(self, column: str) -> float | None:
        """The mean of a column; None where it was not measured."""
        return self.metrics[column].mean if column in self.metrics else None


@dataclass(frozen=True, kw_only=True)
class Result:
    """An evaluation: some methods on the same `n` images under the same masks."""

    version: int = VERSION
    protocol: Protocol
    n: int
    images: str  # SHA-256 of the images
    mask_set: str  # SHA-256 of the images with their masks
    definitions: dict[str, str]  # by title of a metric
    certified: dict[str, str] = field(default_factory=dict)  # by metric: what it was checked against
    unavailable: dict[str, str] = field(default_factory=dict)  # by metric: why it could not be had
    methods: dict[str, MethodResult] = field(default_factory=dict)

    @property
    def scored(self) -> set[str]:
        """The metrics that any method was scored by."""
        return {name for method in self.methods.values() for name in method.metrics_scored}


def find_differences(one: Result, other: Result) -> list[str]:
    """Which of `n`, `images` and `mask_set` differ: two results that differ in one are not of the same."""
    return [what for what in ("n", "images", "mask_set") if getattr(one, what) != getattr(other, what)]


def find_result_folder(out: str | Path) -> Path:
    """The folder of a result, by itself or by its .json."""
    return Path(str(out).removesuffix(".json"))


def find_result_file(out: str | Path) -> Path:
    """The .json of a result, by itself or by its folder."""
    return Path(f"{find_result_folder(out)}.json")


def find_rows_file(out: str | Path, method: str) -> Path:
    """The per-image rows of a method of a result."""
    return find_result_folder(out) / f"{method}.parquet"


def read_scores(file: str | Path) -> "pd.DataFrame":
    """The per-image rows in a `find_rows_file`: row, name, image, class, coverage, and the scores."""
    import pandas as pd

    rows = pd.read_parquet(file)
    if "image" in rows:
        return rows
    return pd.concat([pd.read_parquet(Path(file).with_name("images.parquet")), rows], axis=1)


def read_result(out: str | Path) -> Result:
    """The result in a .json, named by that or by its folder. Raises InputError for a file that is none."""
    file = find_result_file(out)
    try:
        values = json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda name: None)  # NaN is no number to show
        version = values.get("version", VERSION)
        if version == VERSION:
            methods = {name: _parse_method(said) for name, said in values["methods"].items()}
            return Result(**{**values, "protocol": parse_protocol(values["protocol"]), "methods": methods})
    except FileNotFoundError:
        raise InputError(f"there is no result {file}. 'mend evaluate' makes one.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is no result of 'mend evaluate': {error}.") from None
    raise InputError(f"{file} is a result of version {version}; this is mend for version {VERSION}. Install a newer mend.")


read_summary = read_result  # its name in version 0.1


def write_result(out: str | Path, result: Result) -> None:
    """Write a result, whole or not at all. A file that holds the very same is left as it is."""
    file = find_result_file(out)
    if file.exists() and read_result(file) == result:
        return
    values = {**asdict(result), "protocol": dump_protocol(result.protocol)}
    write_bytes(file, json.dumps(values, indent=1, ensure_ascii=False).encode() + b"\n")


def add_methods(out: str | Path, result: Result, methods: dict[str, MethodResult]) -> Result:
    """Write `result` with the methods that the file holds now, to which another process may have added its own, and these."""
    folder = find_result_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        there = read_result(out).methods if find_result_file(out).exists() else {}
        result = replace(result, methods={**there, **methods})
        write_result(out, result)
    return result


def _parse_method(values: dict[str, Any]) -> MethodResult:
    groups = {
        group: {label: _parse_scores(part) for label, part in values[group].items()} for group in ("by_coverage", "by_class")
    }
    return MethodResult(
        **{**values, **groups, "metrics": _parse_scores(values["metrics"]), "model": parse_model(values["model"])}
    )


def _parse_scores(values: dict[str, Any]) -> Scores:
    return {column: Score(**value) for column, value in values.items()}
