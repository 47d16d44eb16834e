import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from mend.evaluate import statistics
from mend.evaluate.statistics import (
    bootstrap,
    estimate_training_interval,
    group_rows,
    label_coverage,
    nested_bootstrap,
    summarise,
    summarise_scores,
)


def test_the_bootstrap_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.normal(3, 2, (60, 300))  # 300 columns of 60 values with mean 3
    low, high = bootstrap(samples)
    assert 0.9 < ((low <= 3) & (high >= 3)).mean() < 0.98
    width = (high - low).mean()
    assert width == pytest.approx(2 * 1.96 * 2 / 60**0.5, rel=0.1)


def test_a_bin_holds_its_upper_edge():
    labels = label_coverage(pd.Series([0.01, 0.1, np.float32(0.1), 0.1001, 0.6, 0.61]))
    assert labels.tolist() == ["up to 10 %", "up to 10 %", "up to 10 %", "10–20 %", "50–60 %", "over 60 %"]


def test_columns_without_values_are_reported_as_none():
    found = summarise_scores(pd.DataFrame({"psnr": [1.0, 3.0], "ssim": [np.nan, np.nan], "image": ["a", "b"]}))
    assert found["psnr"].mean == 2
    assert (found["ssim"].mean, found["ssim"].n) == (None, 0)


def test_the_bootstrap_is_the_same_on_every_machine():
    low, high = bootstrap(np.arange(20.0)[:, None])
    assert (round(float(low[0]), 4), round(float(high[0]), 4)) == (6.9, 12.15)
    a, b = np.arange(60.0).reshape(3, 20, 1) ** 1.5, np.arange(40.0).reshape(2, 20, 1)
    low, high = nested_bootstrap(a, b, np.arange(20), (True, True))
    assert (round(float(low[0]), 4), round(float(high[0]), 4)) == (-186.9242, 578.2757)


def test_groups_hold_every_row_once():
    rows = pd.DataFrame({"psnr": [1.0, 2.0, 3.0]})
    parts = dict(group_rows(rows, pd.Series(["b", "a", "b"])))
    assert list(parts) == ["a", "b"]
    assert parts["b"]["psnr"].tolist() == [1.0, 3.0]
    key = pd.Series(pd.Categorical(["late", "early", "late"], ["early", "never", "late"]))
    assert [label for label, _ in group_rows(rows, key)] == ["early", "late"]


def test_a_summary_has_all_rows_those_of_a_bin_and_those_of_a_class():
    rows = pd.DataFrame(
        {"psnr": [0.0, 0.0, 1.0], "image": ["a", "b", "c"], "coverage": [0.05, 0.2, 0.15], "class": ["cat", "dog", "dog"]}
    )
    found = summarise(rows)
    assert (found.metrics["psnr"].mean, found.metrics["psnr"].n) == (0.333333, 3), "six digits are kept"
    assert {label: part["psnr"].mean for label, part in found.by_coverage.items()} == {"up to 10 %": 0, "10–20 %": 0.5}
    assert {label: part["psnr"].n for label, part in found.by_class.items()} == {"cat": 1, "dog": 2}
    assert summarise(rows.assign(**{"class": ""})).by_class == {}


def test_holes_of_one_image_are_no_independent_evidence():
    rng = np.random.default_rng(0)
    covered, naive = 0, 0
    images = np.repeat(np.arange(20), 6)
    for _ in range(60):
        values = (np.repeat(rng.normal(0, 4, 20), 6) + rng.normal(0, 2, 120))[:, None]
        low, high = bootstrap(values, images)
        covered += bool(low[0] <= 0 <= high[0])
        low, high = bootstrap(values)
        naive += bool(low[0] <= 0 <= high[0])
    assert covered >= 50 > naive


def test_few_images_have_no_interval():
    found = summarise_scores(pd.DataFrame({"psnr": np.arange(9.0), "image": [f"{i}" for i in range(9)]}))
    assert (found["psnr"].mean, found["psnr"].low) == (4.0, None)
    assert np.isfinite(bootstrap(np.arange(10.0)[:, None])).all(), "ten have one"


@pytest.mark.parametrize(("trainings", "between", "noise"), [(5, 0.05, 0.1), (5, 0.05, 1.0), (2, 0.05, 0.3)])
def test_an_interval_over_trainings_covers_as_often_as_it_says(
    trainings: int, between: float, noise: float, monkeypatch: pytest.MonkeyPatch
):
    """300 experiments: columns in which two recipes are equally good, trainings differ, and images are hard or easy."""
    monkeypatch.setattr(statistics, "RESAMPLES", 300)
    rng, images, experiments = np.random.default_rng(0), 100, 300
    hard = rng.normal(0, 5, (1, images, experiments))

    def train() -> np.ndarray:
        own = rng.normal(0, between, (trainings, 1, experiments))
        return hard + own + rng.normal(0, noise, (trainings, images, experiments))

    a, b = train(), train()
    low, high = nested_bootstrap(a, b, np.arange(images), (True, True))
    # Where trainings differ image by image rather than as a whole, the interval is wider than it need be.
    assert 0.92 < ((low <= 0) & (high >= 0)).mean() < (0.99 if noise < 0.5 else 1.01)
    if noise < 0.5:
        low, high = bootstrap(a[0] - b[0], np.arange(images))
        assert ((low <= 0) & (high >= 0)).mean() < 0.8, "one training each, resampled over images, covers far less"
    ends = [estimate_training_interval(*(group[:, :, i].mean(1).tolist() for group in (a, b))) for i in range(experiments)]
    assert 0.92 < np.mean([low <= 0 <= high for low, high in ends]) < 0.99


def test_what_is_not_trained_adds_nothing_to_the_spread_over_trainings():
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (1, 50, 1))
    group, filler = image + rng.normal(0, 0.1, (4, 1, 1)), image + 0.0
    (low,), (high,) = nested_bootstrap(group, filler, np.arange(50), (True, False))
    means = group.mean((1, 2)) - filler.mean()
    half = 3.182 * means.std(ddof=1) / 2  # Student's t of three degrees of freedom
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)
    assert estimate_training_interval(group.mean((1, 2)).tolist(), [float(filler.mean())]) == pytest.approx(
        (means.mean() - half, means.mean() + half), rel=1e-3
    )


def test_few_images_have_no_interval_over_trainings_either():
    values = np.zeros((2, 9, 1))
    for low, high in (bootstrap(values[0]), nested_bootstrap(values, values, np.arange(9), (True, True))):
        assert low.shape == high.shape == (1,)
        assert np.isnan([low, high]).all()


def test_trainings_that_are_all_the_same_have_an_interval_of_no_width():
    values = np.zeros((2, 10, 1))
    assert np.array_equal(nested_bootstrap(values + 3, values, np.arange(10), (True, True)), [[3], [3]])
    assert estimate_training_interval([3.0, 3.0], [1.0, 1.0]) == (2, 2)


@pytest.mark.parametrize(("a", "b"), [([1.0, 2.5], [3.0, 5.0]), ([1.0, 2.0, 4.0], [3.0, 3.1, 2.9, 3.3, 2.5])])
def test_the_interval_over_trainings_is_that_of_welch(a: list[float], b: list[float]):
    welch = ttest_ind(a, b, equal_var=False).confidence_interval()
    assert estimate_training_interval(a, b) == pytest.approx((welch.low, welch.high), rel=1e-6)
