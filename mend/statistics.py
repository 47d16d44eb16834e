"""From one row an image to numbers with intervals: means, and differences of two methods on the same images."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from mend.chance import uniform
from mend.metrics import METRICS

BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # edges of the coverage bins; a bin holds its upper edge
RESAMPLES = 1000


def summarise(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Mean, 95 % bootstrap interval over images and n of every metric column; rows without a value are left out."""
    names = [c for c in rows.columns if c.split("_")[0] in METRICS]
    summary: dict[str, dict[str, Any]] = {}
    for count, columns in _by_valid(rows[names]):
        values = columns.to_numpy(np.float64)
        low, high = bootstrap(values)
        for i, name in enumerate(columns.columns):
            summary[name] = {"mean": _finite(values[:, i].mean()), "low": _finite(low[i]), "high": _finite(high[i]), "n": count}
    return {name: summary[name] for name in names}


def _by_valid(table: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """The columns grouped by which rows they have a value in: each group is resampled at once."""
    valid = table.notna()
    for pattern in {tuple(valid[c]) for c in table.columns}:
        columns = [c for c in table.columns if tuple(valid[c]) == pattern]
        kept = table.loc[np.array(pattern, np.bool_), columns]
        if len(kept):
            yield len(kept), kept
        else:
            yield 0, pd.DataFrame({c: [math.nan] for c in columns})


def bootstrap(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5th and 97.5th percentile of the mean of resampled rows of (n, m) values, each (m,)."""
    n = len(values)
    means = np.empty((resamples, values.shape[1]))
    for i in range(resamples):
        counts = np.bincount((uniform(n, seed, i) * n).astype(np.int64), minlength=n)
        means[i] = counts @ values / n
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def coverage_label(coverage: "pd.Series[float]") -> "pd.Series[str]":
    """The coverage bin of each image, such as "10–20 %" or "up to 10 %"; a bin holds its upper edge."""
    labels = [f"{low:.0%}–{high:.0%}".replace("%–", "–").replace("%", " %") for low, high in pairwise(BINS)]
    labels[0], labels[len(labels) :] = "up to 10 %", ["over 60 %"]
    # Rounded, because a coverage is a multiple of 1/pixels in float32, and 0.1 is neither.
    place = np.searchsorted(BINS[1:], np.round(coverage.to_numpy(np.float64), 6), side="left")
    return pd.Series([labels[i] for i in place], index=coverage.index)


def groups(rows: pd.DataFrame, key: "pd.Series[str]") -> Iterator[tuple[str, pd.DataFrame]]:
    for label, part in rows.groupby(key, sort=True):
        yield str(label), part


def _finite(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
