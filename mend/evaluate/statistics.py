"""From one row an image to numbers with intervals: means, differences on the same images and of groups of trainings."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from mend.data.random import uniform
from mend.evaluate.metrics import METRICS, name_metric
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
    by_coverage = group_rows(rows, label_coverage(rows["coverage"]))
    by_class = group_rows(rows, rows["class"]) if rows["class"].any() else ()
    parts = ({label: summarise_scores(part) for label, part in labelled} for labelled in (by_coverage, by_class))
    return Summary(summarise_scores(rows), *parts)


def summarise_scores(rows: pd.DataFrame) -> Scores:
    """Mean, 95 % bootstrap interval over images and n of every metric column; rows without a value are left out.

    Rows of one `image` are resampled together; fewer than ten images have no interval.
    """
    names = [c for c in rows.columns if name_metric(c) in METRICS]
    found: Scores = {}
    for columns in _group_by_valid(rows[names]):
        values = columns.to_numpy(np.float64)
        low, high = bootstrap(values, rows.loc[columns.index, "image"].to_numpy())
        for i, name in enumerate(columns.columns):
            mean = round_finite(values[:, i].mean()) if len(values) else None
            found[name] = Score(mean=mean, low=round_finite(low[i]), high=round_finite(high[i]), n=len(values))
    return {name: found[name] for name in names}


def _group_by_valid(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The columns grouped by which rows they have a value in: each group is resampled at once."""
    valid = table.notna()
    alike: dict[bytes, list[str]] = {}
    for column in table.columns:
        alike.setdefault(valid[column].to_numpy().tobytes(), []).append(column)
    for columns in alike.values():
        yield table.loc[valid[columns[0]], columns]


def bootstrap(values: np.ndarray, images: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5th and 97.5th percentile of the mean over 1,000 resamples of (n, m) values, each (m,).

    Several rows of one of the `images` (n,) are drawn together, because they are no independent evidence; without `images`
    each row is of another. NaN for fewer than ten images.
    """
    place, sizes = _find_images(np.arange(len(values)) if images is None else images)
    if len(sizes) < FEWEST:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    sums = _sum_by_image(values, place, len(sizes))
    means = [counts @ sums / (counts @ sizes) for counts in _draw_images(len(sizes))]
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def nested_bootstrap(
    a: np.ndarray, b: np.ndarray, images: np.ndarray, trained: tuple[bool, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of the difference of two groups of trainings, (m,) each end, from values (K, n, m): K trainings of
    each, n images.

    A resample draws images, the same for all, rows of one of the `images` (n,) together; and of each group that is `trained` as
    many trainings as it has, two at least. Of K values a draw varies √((K − 1)/K) times as much as new trainings do: it is
    widened by as much (Rao and Wu, 1988). The interval is the 2.5th to 97.5th percentile of the resamples, widened by Student's
    t, as the trainings are few: its degrees of freedom are those of Welch (1947), and of images there are so many that they
    have none to lose. What trainings differ by image by image is counted on both ways: where that is much, the interval is
    wider than it need be (Owen, "The pigeonhole bootstrap", 2007). NaN for fewer than ten images.
    """
    place, sizes = _find_images(images)
    n, m = len(sizes), a.shape[2]
    if n < FEWEST:
        return np.full(m, np.nan), np.full(m, np.nan)
    apart = a.mean((0, 1)) - b.mean((0, 1))
    sums = [np.stack([_sum_by_image(one, place, n) for one in group]) for group in (a, b)]  # (K, n, m)
    drawn = np.empty((RESAMPLES, m))
    for i, counts in enumerate(_draw_images(n)):
        means = []
        for side, group in enumerate(sums):
            each = np.tensordot(counts, group, (0, 1)) / (counts @ sizes)  # (K, m)
            k, mean = len(each), each.mean(0)
            if trained[side]:
                again = each[(uniform(k, 1 + side, i) * k).astype(np.int64)].mean(0)
                mean = mean + (again - mean) * (k / (k - 1)) ** 0.5
            means.append(mean)
        drawn[i] = means[0] - means[1]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    wider = _compute_student_factor(drawn.var(0), [group.mean(1) for group, used in zip((a, b), trained, strict=True) if used])
    return apart + wider * (low - apart), apart + wider * (high - apart)


def estimate_training_interval(a: list[float], b: list[float]) -> tuple[float, float]:
    """The 95 % interval of the difference of two means over trainings (Welch, 1947). One value is of what is not trained."""
    parts = [np.array(values)[:, None] for values in (a, b) if len(values) > 1]
    variance = sum((values.var(0, ddof=1) / len(values) for values in parts), np.zeros(1))
    half = float(1.959964 * variance[0] ** 0.5 * _compute_student_factor(variance, parts)[0]) if parts else math.nan
    apart = float(np.mean(a) - np.mean(b))
    return apart - half, apart + half


def _find_images(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which image each row is of, counted from 0, (n,), and how many rows each image has."""
    _, place = np.unique(images, return_inverse=True)
    return place, np.bincount(place).astype(np.float64)


def _draw_images(n: int) -> Iterator[np.ndarray]:
    """How often each of n images is in a resample, (n,), for each resample."""
    for i in range(RESAMPLES):
        yield np.bincount((uniform(n, 0, i) * n).astype(np.int64), minlength=n)


def _sum_by_image(values: np.ndarray, place: np.ndarray, n: int) -> np.ndarray:
    return np.stack([np.bincount(place, column, n) for column in values.T], axis=1)


def _compute_student_factor(variance: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """How many times as wide as a normal interval one is whose variance, (m,), is partly that of these means (K, m)."""
    from scipy.special import stdtrit

    parts = [(means.var(0, ddof=1) / len(means), len(means) - 1) for means in groups]
    least = sum(part**2 / degrees for part, degrees in parts)
    total = np.maximum(variance, sum(part for part, _ in parts))
    # Trainings that are all the same leave no doubt.
    degrees = np.where(least > 0, total**2 / np.maximum(least, 1e-300), np.inf)
    return stdtrit(np.minimum(degrees, 1e9), 0.975) / stdtrit(1e9, 0.975)


def label_coverage(coverage: "pd.Series[float]") -> "pd.Series[str]":
    """The coverage bin of each image, such as "10–20 %" or "up to 10 %"; a bin holds its upper edge."""
    labels = ["up to 10 %", *(f"{100 * low:.0f}–{100 * high:.0f} %" for low, high in pairwise(BINS[1:])), "over 60 %"]
    # Rounded, because a coverage is a multiple of 1/pixels in float32, and 0.1 is neither.
    return pd.cut(coverage.astype("float64").round(6), [-np.inf, *BINS[1:], np.inf], labels=labels)


def group_rows(rows: pd.DataFrame, key: "pd.Series[str]") -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each label, in the labels' order; labels without rows are left out."""
    for label, part in rows.groupby(key, sort=True, observed=True):
        yield str(label), part


def round_finite(value: float, digits: int = 6) -> float | None:
    """What JSON can hold of a number: none where it is NaN or infinite."""
    return round(float(value), digits) if math.isfinite(value) else None
