"""From one row an image to numbers with intervals: means, and differences of two methods on the same images."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from mend.data.random import uniform
from mend.evaluate.metrics import METRICS, metric_of
from mend.evaluate.result import Score, Scores

BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # edges of the coverage bins; a bin holds its upper edge
RESAMPLES = 1000
FEWEST = 10  # images below which an interval says nothing


class Summary(NamedTuple):
    """The scores of a per-image table as a whole, by coverage bin, and by class where there are classes."""

    metrics: Scores
    by_coverage: dict[str, Scores]
    by_class: dict[str, Scores]


def summarise(rows: pd.DataFrame) -> Summary:
    by_coverage = groups(rows, coverage_label(rows["coverage"]))
    by_class = groups(rows, rows["class"]) if rows["class"].any() else ()
    parts = ({label: scores(part) for label, part in labelled} for labelled in (by_coverage, by_class))
    return Summary(scores(rows), *parts)


def scores(rows: pd.DataFrame) -> Scores:
    """Mean, 95 % bootstrap interval over images and n of every metric column; rows without a value are left out.

    Rows of one `image` are resampled together; fewer than ten images have no interval.
    """
    names = [c for c in rows.columns if metric_of(c) in METRICS]
    found: Scores = {}
    for columns in _by_valid(rows[names]):
        values = columns.to_numpy(np.float64)
        low, high = bootstrap(values, rows.loc[columns.index, "image"].to_numpy() if "image" in rows else None)
        for i, name in enumerate(columns.columns):
            mean = _finite(values[:, i].mean()) if len(values) else None
            found[name] = Score(mean=mean, low=_finite(low[i]), high=_finite(high[i]), n=len(values))
    return {name: found[name] for name in names}


def _by_valid(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The columns grouped by which rows they have a value in: each group is resampled at once."""
    valid = table.notna()
    alike: dict[bytes, list[str]] = {}
    for column in table.columns:
        alike.setdefault(valid[column].to_numpy().tobytes(), []).append(column)
    for columns in alike.values():
        yield table.loc[valid[columns[0]], columns]


def bootstrap(values: np.ndarray, images: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5th and 97.5th percentile of the mean over 1,000 resamples of (n, m) values, each (m,).

    Several rows of one of the `images` (n,) are drawn together, because they are no independent evidence. NaN for fewer than
    ten images.
    """
    if images is None:
        sums, sizes = values, np.ones(len(values))
    else:
        _, place = np.unique(images, return_inverse=True)
        sizes = np.bincount(place).astype(np.float64)
        sums = np.stack([np.bincount(place, column, len(sizes)) for column in values.T], axis=1)
    n = len(sizes)
    if n < FEWEST:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    means = np.empty((RESAMPLES, values.shape[1]))
    for i in range(RESAMPLES):
        counts = np.bincount((uniform(n, 0, i) * n).astype(np.int64), minlength=n)
        means[i] = counts @ sums / (counts @ sizes)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def coverage_label(coverage: "pd.Series[float]") -> "pd.Series[str]":
    """The coverage bin of each image, such as "10–20 %" or "up to 10 %"; a bin holds its upper edge."""
    labels = [f"{low:.0%}–{high:.0%}".replace("%–", "–").replace("%", " %") for low, high in pairwise(BINS)]
    labels[0], labels[len(labels) :] = "up to 10 %", ["over 60 %"]
    # Rounded, because a coverage is a multiple of 1/pixels in float32, and 0.1 is neither.
    place = np.searchsorted(BINS[1:], np.round(coverage.to_numpy(np.float64), 6), side="left")
    return pd.Series(pd.Categorical.from_codes(place, labels, ordered=True), index=coverage.index)


def groups(rows: pd.DataFrame, key: "pd.Series[str]") -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each label, in the labels' order; labels without rows are left out."""
    for label, part in rows.groupby(key, sort=True, observed=True):
        yield str(label), part


def _finite(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
