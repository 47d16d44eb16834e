"""Two methods on the same images: every metric's difference, with its interval, overall and by coverage and class.

Resampling is paired: a resample holds the same images for both, so what makes an image hard for both cancels out. Two trainings
of one network differ too: of one training each, a difference is that of these weights. Of several trainings each, the interval
is over trainings and images, and the difference is that of the recipes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mend.data.random import permutation
from mend.errors import InputError
from mend.evaluate.metrics import METRICS, FeatureSets, name_metric
from mend.evaluate.result import MethodResult, Result, find_result_folder, find_rows_file, read_result, read_scores
from mend.evaluate.scores import find_features_file
from mend.evaluate.statistics import bootstrap, estimate_training_interval, group_rows, label_coverage, nested_bootstrap
from mend.evaluate.trainings import describe_recipe, find_group
from mend.images import write_bytes
from mend.progress import Report, ignore

SUBSETS, MOST = 40, 999  # of a quarter of the images, at most so many: the intervals of distances of sets


@dataclass(frozen=True)
class Difference:
    """A minus B of one metric over n images, with its 95 % interval. `better` is "A", "B", or "" where none is shown.

    `trainings_a` and `trainings_b` count the trainings behind it, 0 for a method that mend did not train.
    """

    metric: str
    group: str
    n: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    better: str
    trainings_a: int = 0
    trainings_b: int = 0


def compare(a: str, b: str, result: str | Path, on_step: Report = ignore) -> list[Difference]:
    """The differences of `a` and `b` of one evaluation, in the order of its columns; groups follow the whole.

    Each is a method, or several trainings of one recipe (see `find_group`). Of several trainings the interval is by
    `nested_bootstrap`, and that of a set metric by `estimate_training_interval`. Of one each it is by `bootstrap`, that of a
    set metric by subsampling (Politis and Romano, 1994), where the features of both are still beside the result. Where there
    is none, and for fewer than ten images, it is NaN. `on_step(done, of)` is called after each group and each subset. Raises
    InputError for a method that was not evaluated, for several that are not of one recipe, and for one training against many.
    """
    evaluated = read_result(result)
    sides = [find_group(text, evaluated) for text in (a, b)]
    trainings = _count_trainings(sides, evaluated)
    methods = [[evaluated.methods[name] for name in names] for names in sides]
    tables = _read_tables(result, sides)
    first, every = tables[0][0], [table for side in tables for table in side]
    columns = [c for c in first.columns if name_metric(c) in METRICS and all(c in table for table in every)]
    sets = [m for m in methods[0][0].metrics if m not in columns and all(m in one.metrics for side in methods for one in side)]
    parts = _split_rows(first)
    several = max(trainings) > 1  # of whose distances there is an interval over trainings
    features = {} if several else _find_features(sets, find_result_folder(result), [names[0] for names in sides])
    steps, of = count(1), len(parts) + SUBSETS * len(features)

    def step() -> None:
        on_step(next(steps), of)

    images = compare_images(parts, columns, tables, trainings, step)
    return images + compare_sets(sets, methods, features, evaluated.n, trainings, step)


def _read_tables(result: str | Path, sides: list[list[str]]) -> list[list[pd.DataFrame]]:
    """The per-image tables of the methods on each side. InputError where they are not of the same images."""
    tables = [[read_scores(find_rows_file(result, name)) for name in names] for names in sides]
    first = tables[0][0]["image"]
    for names, side in zip(sides, tables, strict=True):
        for name, table in zip(names, side, strict=True):
            if not table["image"].equals(first):
                raise InputError(f"{sides[0][0]} and {name} were not scored on the same images. Evaluate both again.")
    return tables


def _count_trainings(sides: list[list[str]], result: Result) -> tuple[int, int]:
    """How many trainings each side has, 0 where it was not trained. InputError for one against many, and for a common one."""
    both = sorted(set(sides[0]) & set(sides[1]))
    if both and max(map(len, sides)) > 1:
        raise InputError(f"{', '.join(both)} stands on both sides. Compare different trainings.")
    one, two = (len(names) if describe_recipe(result.methods[names[0]]) else 0 for names in sides)
    if 1 in (one, two) and max(one, two) > 1:
        alone = sides[(one, two).index(1)][0]
        raise InputError(
            f"{alone} is one training, and on the other side are {max(one, two)}. An interval over trainings takes two of each "
            "at least: train it again with another `seed`, or compare one training with one."
        )
    return one, two


def _judge(
    metric: str, group: str, n: int, a: float, b: float, interval: tuple[float, float], trainings: tuple[int, int]
) -> Difference:
    low, high = (round(bound, 6) for bound in interval)
    above, below = ("A", "B") if METRICS[name_metric(metric)].higher_is_better else ("B", "A")
    better = above if low > 0 else below if high < 0 else ""
    return Difference(metric, group, n, a, b, a - b, low, high, better, *trainings)


def write_csv(file: str | Path, found: list[Difference]) -> None:
    """A row for each difference, whole or not at all."""
    write_bytes(Path(file), pd.DataFrame(found).to_csv(index=False).encode())


# --- Images: a table has a row for each ------------------------------------------------------------------------------


def compare_images(
    parts: Iterable[tuple[str, pd.DataFrame]],
    columns: list[str],
    tables: Sequence[list[pd.DataFrame]],
    trainings: tuple[int, int],
    step: Callable[[], None] = lambda: None,
) -> list[Difference]:
    """A minus B in these columns of two groups of per-image tables, for each of the parts: its label and its rows."""
    values = [np.stack([table[columns].to_numpy(np.float64) for table in side]) for side in tables]  # (K, n, m)
    found: list[Difference] = []
    for group, part in parts:
        found += _compare_rows(group, part, columns, values, trainings)
        step()
    return found


def compare_groups(
    labels: "pd.Series[str]", columns: list[str], a: list[pd.DataFrame], b: list[pd.DataFrame]
) -> list[Difference]:
    """A minus B of per-image tables, one a training, in these columns, for the images of each of the `labels`."""
    parts = group_rows(a[0].reset_index(drop=True), labels.reset_index(drop=True))
    return compare_images(parts, columns, (a, b), (len(a), len(b)))


def _split_rows(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """All rows of a table, those of each bin of coverage, and those of each class where there are classes."""
    kinds = {"": pd.Series("all", index=rows.index), "coverage ": label_coverage(rows["coverage"])}
    kinds |= {"class ": rows["class"]} if rows["class"].any() else {}
    return [(prefix + label, part) for prefix, labels in kinds.items() for label, part in group_rows(rows, labels)]


def _compare_rows(
    group: str, part: pd.DataFrame, columns: list[str], values: list[np.ndarray], trainings: tuple[int, int]
) -> list[Difference]:
    """A minus B in each column, of what both values (K, N, m) have in the rows of a part."""
    rows, images = part.index.to_numpy(), part["image"].to_numpy()
    a, b = (side[:, rows] for side in values)
    valid = np.isfinite(a).all(0) & np.isfinite(b).all(0)  # (n, m)
    found: dict[str, Difference] = {}
    for pattern in np.unique(valid, axis=1).T:  # columns that lack the same values are resampled at once
        alike = np.flatnonzero((valid == pattern[:, None]).all(0))
        one, two = (side[:, pattern][..., alike] for side in (a, b))
        if max(trainings) > 1:
            low, high = nested_bootstrap(one, two, images[pattern], (trainings[0] > 1, trainings[1] > 1))
        else:
            low, high = bootstrap(one[0] - two[0], images[pattern])
        for i, column in enumerate(columns[place] for place in alike):
            means = (float(one[..., i].mean()), float(two[..., i].mean())) if pattern.any() else (np.nan, np.nan)
            interval = (float(low[i]), float(high[i]))
            found[column] = _judge(column, group, int(pattern.sum()), *means, interval, trainings)
    return [found[column] for column in columns]


# --- Sets: a distance is of all images -------------------------------------------------------------------------------

Features = dict[tuple[Path, ...], list[str]]
"""By the files of features, the originals' and each method's, the metrics that compare them."""


def compare_sets(
    metrics: list[str],
    methods: list[list[MethodResult]],
    features: Features,
    n: int,
    trainings: tuple[int, int],
    step: Callable[[], None],
) -> list[Difference]:
    """A minus B in these distances of sets of two groups of methods, all over n images."""
    halves: dict[str, float] = {}
    for files, alike in features.items():
        halves |= _estimate_half_intervals(alike, files, step)
    found: list[Difference] = []
    for metric in metrics:
        each = [np.array([one.mean(metric) for one in side], np.float64).tolist() for side in methods]
        a, b = (float(np.mean(means)) for means in each)
        half = halves.get(metric, np.nan)
        interval = estimate_training_interval(*each) if max(trainings) > 1 else (a - b - half, a - b + half)
        found.append(_judge(metric, "all", n, a, b, interval, trainings))
    return found


def _find_features(metrics: list[str], folder: Path, names: list[str]) -> Features:
    """The files of features that these metrics of two methods are computed from, where they are still there."""
    found: Features = {}
    for metric in metrics:
        kind, _, view = metric.partition("_")
        network = METRICS[kind].network
        files = (
            find_features_file(folder, "original", network),
            *(find_features_file(folder, name, network, view) for name in names),
        )
        if all(file.exists() for file in files):
            found.setdefault(files, []).append(metric)
    return found


def _estimate_half_intervals(metrics: list[str], files: tuple[Path, ...], step: Callable[[], None]) -> dict[str, float]:
    """Half the interval of the difference of two distances of sets, for the metrics that look at these features: the same
    subset of the images for both methods, drawn again and again. A metric that needs more images than a subset has is left out.
    """
    truth, one, two = (torch.from_numpy(np.load(file)).float() for file in files)
    n = len(truth)
    m = min(n // 4, MOST)
    kinds = {name: METRICS[name_metric(name)] for name in metrics}
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
