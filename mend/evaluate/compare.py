"""Two methods on the same images: every metric's difference, with its interval, overall and by coverage and class.

Resampling is paired: a resample holds the same images for both, so what makes an image hard for both cancels out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mend.data.random import permutation
from mend.errors import InputError, nearest
from mend.evaluate.metrics import METRICS, FeatureSets, metric_of
from mend.evaluate.result import Result, read_result, result_folder, rows_file
from mend.evaluate.scores import features_file
from mend.evaluate.statistics import coverage_label, groups, scores

SUBSETS, MOST = 40, 999  # of a quarter of the images, at most so many: the intervals of distances of sets


@dataclass(frozen=True)
class Difference:
    """A minus B of one metric over n images, with its 95 % interval. `better` is "A", "B", or "" where none is shown."""

    metric: str
    group: str
    n: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    better: str


def compare(a: str, b: str, result: str | Path, on_step: Callable[[int, int], None] | None = None) -> list[Difference]:
    """The differences of methods `a` and `b` of one evaluation, in the order of its columns; groups follow the whole.

    The interval of a set metric's difference is by subsampling (Politis and Romano, 1994), where the features of both are still
    beside the result; otherwise, and for fewer than ten images, there is none (NaN). `on_step(done, of)` is called after each
    group and each subset. Raises InputError for a method that was not evaluated.
    """
    evaluated, folder = read_result(result), result_folder(result)
    names = [_find_method(method, evaluated) for method in (a, b)]
    tables = [pd.read_parquet(rows_file(result, name)) for name in names]
    if not tables[0]["image"].equals(tables[1]["image"]):
        raise InputError(f"{names[0]} and {names[1]} were not scored on the same images. Evaluate both again.")
    columns = [c for c in tables[0].columns if metric_of(c) in METRICS and c in tables[1]]
    apart = tables[0][columns].astype(np.float64) - tables[1][columns].astype(np.float64)
    apart["image"] = tables[0]["image"]
    kinds = {"": pd.Series("all", index=apart.index), "coverage ": coverage_label(tables[0]["coverage"])}
    kinds |= {"class ": tables[0]["class"]} if tables[0]["class"].any() else {}
    parts = [(prefix + label, part) for prefix, labels in kinds.items() for label, part in groups(apart, labels)]
    scored = [evaluated.methods[name] for name in names]
    sets = [m for m in scored[0].metrics if m not in columns and m in scored[1].metrics]
    by_features: dict[tuple[Path, ...], list[str]] = {}
    for metric in sets:
        by_features.setdefault(_features(metric, folder, names), []).append(metric)
    kept = {files: those for files, those in by_features.items() if all(file.exists() for file in files)}
    steps, of = count(1), len(parts) + SUBSETS * len(kept)

    def step() -> None:
        if on_step is not None:
            on_step(next(steps), of)

    found: list[Difference] = []
    for group, part in parts:
        means = [table.loc[part.index, columns].mean() for table in tables]
        for column, score in scores(part).items():
            low, high = (np.nan if bound is None else bound for bound in (score.low, score.high))
            a_mean, b_mean = (float(mean[column]) for mean in means)
            found.append(_judge(column, group, score.n, a_mean, b_mean, a_mean - b_mean, low, high))
        step()
    halves: dict[str, float] = {}
    for files, those in kept.items():
        halves |= _half_intervals(those, files, step)
    for metric in sets:
        one, two = (np.nan if (mean := method.mean(metric)) is None else mean for method in scored)
        half = halves.get(metric, np.nan)
        found.append(_judge(metric, "all", evaluated.n, one, two, one - two, one - two - half, one - two + half))
    return found


def _judge(metric: str, group: str, n: int, a: float, b: float, difference: float, low: float, high: float) -> Difference:
    better = "A" if low > 0 else "B" if high < 0 else ""
    if better and not METRICS[metric_of(metric)].higher_is_better:
        better = "B" if better == "A" else "A"
    return Difference(metric, group, n, a, b, difference, low, high, better)


def _features(metric: str, folder: Path, names: list[str]) -> tuple[Path, ...]:
    """The files that a distance of sets is computed from: the originals', and each method's."""
    kind, _, view = metric.partition("_")
    network = METRICS[kind].network
    return features_file(folder, "original", network), *(features_file(folder, name, network, view) for name in names)


def _half_intervals(metrics: list[str], files: tuple[Path, ...], step: Callable[[], None]) -> dict[str, float]:
    """Half the interval of the difference of two distances of sets, for the metrics that look at these features: the same
    subset of the images for both methods, drawn again and again. A metric that needs more images than a subset has is left out.
    """
    truth, one, two = (torch.from_numpy(np.load(file)).float() for file in files)
    n = len(truth)
    m = min(n // 4, MOST)
    kinds = {name: METRICS[metric_of(name)] for name in metrics}
    distances = {name: kind.distance for name, kind in kinds.items() if kind.distance and m >= kind.fewest}
    found = {name: np.empty(SUBSETS) for name in distances}
    for i in range(SUBSETS):
        rows = torch.from_numpy(permutation(n, i)[:m])
        sets = [FeatureSets(truth[rows], other[rows]) for other in (one, two)]
        a, b = ({name: distance(both) for name, distance in distances.items()} for both in sets)
        for name, values in found.items():
            values[i] = a[name] - b[name]
        step()
    # A subset of m of n images varies √((n − m)/m) times as much as all of them do.
    return {name: float(1.96 * values.std(ddof=1) * (m / (n - m)) ** 0.5) for name, values in found.items()}


def _find_method(method: str, result: Result) -> str:
    there, name = result.methods, Path(method).name
    if name not in there:
        raise InputError(f"no result for {name!r}.{nearest(name, list(there))} Evaluated: {', '.join(there)}.")
    return name
