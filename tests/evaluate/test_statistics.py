import numpy as np
import pandas as pd
import pytest

from mend.evaluate.statistics import bootstrap, coverage_label, groups, scores


def test_the_bootstrap_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.normal(3, 2, (60, 300))  # 300 columns of 60 values with mean 3
    low, high = bootstrap(samples)
    assert 0.9 < ((low <= 3) & (high >= 3)).mean() < 0.98
    width = (high - low).mean()
    assert width == pytest.approx(2 * 1.96 * 2 / 60**0.5, rel=0.1)


def test_a_bin_holds_its_upper_edge():
    labels = coverage_label(pd.Series([0.01, 0.1, np.float32(0.1), 0.1001, 0.6, 0.61]))
    assert labels.tolist() == ["up to 10 %", "up to 10 %", "up to 10 %", "10–20 %", "50–60 %", "over 60 %"]


def test_columns_without_values_are_reported_as_none():
    found = scores(pd.DataFrame({"psnr": [1.0, 3.0], "ssim": [np.nan, np.nan], "name": ["a", "b"]}))
    assert found["psnr"].mean == 2
    assert (found["ssim"].mean, found["ssim"].n) == (None, 0)


def test_the_bootstrap_is_the_same_on_every_machine():
    low, high = bootstrap(np.arange(20.0)[:, None])
    assert (round(float(low[0]), 4), round(float(high[0]), 4)) == (6.9, 12.15)


def test_groups_hold_every_row_once():
    rows = pd.DataFrame({"psnr": [1.0, 2.0, 3.0]})
    parts = dict(groups(rows, pd.Series(["b", "a", "b"])))
    assert list(parts) == ["a", "b"]
    assert parts["b"]["psnr"].tolist() == [1.0, 3.0]


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
    found = scores(pd.DataFrame({"psnr": np.arange(9.0), "image": [f"{i}" for i in range(9)]}))
    assert (found["psnr"].mean, found["psnr"].low) == (4.0, None)
