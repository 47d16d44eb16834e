import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from sklearn.svm import LinearSVC

from mend.cli import main
from mend.errors import InputError
from mend.evaluate.compare import SUBSETS, compare
from mend.evaluate.protocol import Protocol
from mend.evaluate.result import Score, find_result_file, read_result, write_result
from mend.evaluate.run import evaluate
from mend.progress import Report
from mend.report.tables import render_comparison


@pytest.fixture(scope="module")
def fresh(run: Path, folder: Path, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "tiny"
    protocol = Protocol("tiny-v1", "Tiny", str(folder), ("psnr", "mae"), str(masks))
    return evaluate([str(run), "mean-colour", "telea"], protocol, out, device="cpu")


@pytest.fixture
def result(fresh: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(fresh.with_suffix(""), tmp_path / "tiny")
    return Path(shutil.copy(fresh, tmp_path / "tiny.json"))


def rewrite(result: Path, method: str, change: float, spread: float) -> None:
    """A method whose PSNR is another's plus a change that varies from image to image."""
    folder = result.with_suffix("")
    rows = pd.read_parquet(folder / "telea.parquet")
    varied = change + spread * np.random.default_rng(0).standard_normal(len(rows))
    rows["psnr"] += varied.astype(np.float32)
    rows.to_parquet(folder / f"{method}.parquet")


def test_a_difference_is_that_of_the_same_images(result: Path):
    found = compare("telea", "mean-colour", result)
    a, b = (pd.read_parquet(result.with_suffix("") / f"{m}.parquet") for m in ("telea", "mean-colour"))
    whole = {d.metric: d for d in found if d.group == "all"}
    assert set(whole) == {f"{m}{v}" for m in ("psnr", "mae") for v in ("", "_raw", "_hole", "_band")}
    assert whole["psnr"].difference == pytest.approx((a["psnr"] - b["psnr"]).mean(), abs=1e-4)
    assert whole["psnr"].low < whole["psnr"].difference < whole["psnr"].high
    assert whole["mae"].better == ("A" if whole["mae"].high < 0 else "B" if whole["mae"].low > 0 else ""), "lower is better"
    assert {d.group for d in found} == {"all", "coverage 20–30 %"}


def test_pairing_shows_what_separate_intervals_hide(result: Path):
    rewrite(result, "mean-colour", 0.2, 0.1)  # far less than what images differ by
    (shown,) = [d for d in compare("mean-colour", "telea", result) if (d.metric, d.group) == ("psnr", "all")]
    assert shown.better == "A"
    assert shown.difference == pytest.approx(0.2, abs=0.1)
    spread = pd.read_parquet(result.with_suffix("") / "telea.parquet")["psnr"].std()
    assert shown.high - shown.low < 0.2 * spread


@pytest.fixture
def seeds(result: Path) -> Path:
    """Four trainings of `tiny`, and three of another network, 0.5 dB better, each 0.1 dB off their mean."""
    there, rows = read_result(result), pd.read_parquet(result.with_suffix("") / "tiny.parquet")
    tiny, methods = there.methods["tiny"], {name: m for name, m in there.methods.items() if name != "tiny"}
    trained = tiny.model.trained
    assert trained is not None
    rng = np.random.default_rng(0)
    for name, model, shift, seed in [("one", "unet", 0.0, i) for i in range(4)] + [("two", "wide", 0.5, i) for i in range(3)]:
        off = shift + 0.1 * (-1) ** seed
        table = rows.assign(psnr=(rows["psnr"] + off + 0.05 * rng.standard_normal(len(rows))).astype(np.float32))
        table.to_parquet(result.with_suffix("") / f"{name}-s{seed}.parquet")
        config = {**trained.config, "model": model, "seed": seed}
        methods[f"{name}-s{seed}"] = replace(
            tiny,
            weights=f"{name}{seed}",
            model=replace(tiny.model, model=model, trained=replace(trained, config=config)),
            metrics={**tiny.metrics, "kid-cifar": Score(mean=1 + off, n=12)},
        )
    write_result(result, replace(there, methods=methods))
    return result


def test_groups_of_trainings_are_compared_at_their_own_level(seeds: Path):
    found = {d.metric: d for d in compare("two-s*", "one-s0,one-s1,one-s2,one-s3", seeds) if d.group == "all"}
    psnr, rows = found["psnr"], {f: pd.read_parquet(f)["psnr"].mean() for f in seeds.with_suffix("").glob("*-s?.parquet")}
    means = [np.mean([value for file, value in rows.items() if file.name.startswith(name)]) for name in ("two", "one")]
    assert psnr.difference == pytest.approx(means[0] - means[1], abs=1e-4)
    assert (psnr.trainings_a, psnr.trainings_b, psnr.better) == (3, 4, "A")
    assert psnr.low < psnr.difference < psnr.high
    (alone,) = [d for d in compare("two-s0", "one-s0", seeds) if (d.metric, d.group) == ("psnr", "all")]
    assert psnr.high - psnr.low > 3 * (alone.high - alone.low), "trainings differ by more than images leave open"
    assert found["mae"].better == "", "their other columns are the same"
    kid = found["kid-cifar"]
    assert kid.low < kid.difference < kid.high, "a set metric has an interval over trainings"
    text = render_comparison(list(found.values()), "two", "one")
    assert "two is better" in text
    assert "Trainings: 3 of two and 4 of one. The intervals are over trainings and images" in text


def test_one_training_each_says_no_more_than_that_weights_differ(seeds: Path):
    text = render_comparison(compare("two-s0", "one-s1", seeds), "two-s0", "one-s1")
    assert "these weights differ: two-s0 is ahead" in text
    assert "is better" not in text
    assert "One training each: the intervals are over images" in text
    text = render_comparison(compare("two-s*", "telea", seeds), "two", "telea")
    assert "Trainings: 3 of two." in text, "what is not trained is compared with any number"


@pytest.mark.parametrize(
    ("a", "b", "change", "said"),
    [
        ("two-s*", "one-s0", {}, r"one-s0 is one training, and on the other side are 3\. .*two of each at least.*`seed`"),
        ("two-s*", "one-s0,one-s7", {}, r"no result for 'one-s7'\. Did you mean 'one-s\d'"),
        ("two-s*", "three*", {}, r"no result for 'three\*'"),
        ("two-s*", "one-s*", {"epochs": 20}, r"one-s0 and one-s1 are no trainings of one recipe: epochs 2 and 20\."),
        ("two-s*", "one-s*", {"width": 8}, r"no trainings of one recipe: width 4 and 8"),
        ("two-s*", "one-s*", {"mask_set": "b"}, r"no trainings of one recipe: mask set \w+ and b"),
        ("two-s*", "one-s*", {"seed": None}, r"the record of one-s1 has no seed"),
        ("two-s*", "one-s*", {"weights": "one0"}, r"one-s0 and one-s1 are the same training"),
        ("two-s0,two-s1", "two-s1,two-s2", {}, r"two-s1 stands on both sides"),
        ("telea,mean-colour", "one-s*", {}, r"telea was not trained by mend"),
    ],
)
def test_what_is_no_group_is_said_in_a_sentence(seeds: Path, a: str, b: str, change: dict[str, Any], said: str):
    there = read_result(seeds)
    one = there.methods["one-s1"]
    trained, weights = one.model.trained, change.get("weights", one.weights)
    assert trained is not None
    config = {**trained.config, **{key: value for key, value in change.items() if key in ("epochs", "seed", "width")}}
    trained = replace(trained, config=config, mask_set=change.get("mask_set", trained.mask_set))
    options = {**one.model.options, "width": change.get("width", one.model.width)}
    one = replace(one, weights=weights, model=replace(one.model, trained=trained, options=options))
    write_result(seeds, replace(there, methods={**there.methods, "one-s1": one}))
    with pytest.raises(InputError, match=said):
        compare(a, b, seeds)


def test_no_difference_shown_is_an_answer(result: Path):
    rewrite(result, "mean-colour", 0.0, 1.0)
    found = compare("mean-colour", "telea", result)
    (none,) = [d for d in found if (d.metric, d.group) == ("psnr", "all")]
    assert none.better == ""
    text = render_comparison(found, "mean-colour", "telea")
    assert any(line.startswith("PSNR ") and line.endswith("no difference shown") for line in text.splitlines())


def test_what_cannot_be_compared_is_refused(result: Path):
    with pytest.raises(InputError, match=r"no result for 'teela'\. Did you mean 'telea'"):
        compare("teela", "mean-colour", result)
    file = result.with_suffix("") / "mean-colour.parquet"
    pd.read_parquet(file)[:-1].to_parquet(file)
    with pytest.raises(InputError, match="not scored on the same images"):
        compare("mean-colour", "telea", result)


def with_distances(result: Path, out: Path, metrics: tuple[str, ...], features: dict[str, np.ndarray]) -> Path:
    """A copy of a result whose methods have these distances of sets too, and the features that they are computed from."""
    shutil.copytree(result.with_suffix(""), out)
    there, scored = read_result(result), {name: Score(mean=50.0, n=800) for name in metrics}
    methods = {name: replace(method, metrics={**method.metrics, **scored}) for name, method in there.methods.items()}
    write_result(out, replace(there, methods=methods))
    (out / "features").mkdir(exist_ok=True)
    for name, values in features.items():
        np.save(out / "features" / f"{name}.npy", values.astype(np.float16))
    return find_result_file(out)


def test_a_distance_of_sets_has_an_interval_where_the_features_are(fresh: Path, tmp_path: Path):
    truth = np.random.default_rng(0).standard_normal((400, 8))
    features = {"original-cifar": truth}
    for name, distance in (("telea", 0.3), ("mean-colour", 0.6), ("tiny", 0.3)):
        features |= {f"{name}-cifar{view}": truth + distance for view in ("", "_raw")}
    result = with_distances(fresh, tmp_path / "r", ("kid-cifar",), features)
    (apart,) = [d for d in compare("telea", "mean-colour", result) if d.metric == "kid-cifar"]
    assert apart.high - apart.low > 0
    assert apart.high - apart.difference == pytest.approx(apart.difference - apart.low)
    (same,) = [d for d in compare("telea", "tiny", result) if d.metric == "kid-cifar"]
    assert same.high - same.low < 1e-6, "equal features: the same quarter for both leaves no difference to vary"
    (tmp_path / "r" / "features" / "telea-cifar.npy").unlink()
    found = compare("telea", "mean-colour", result)
    (none,) = [d for d in found if d.metric == "kid-cifar"]
    assert np.isnan(none.low)
    assert "no interval: its features are not kept beside the result" in render_comparison(found, "telea", "mean-colour")


def test_what_distances_of_a_subset_share_is_made_once(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    metrics, rng = ("p-ids-cifar", "u-ids-cifar"), np.random.default_rng(0)
    features = {f"{name}-cifar": rng.standard_normal((800, 4)) for name in ("original", "tiny", "telea")}
    result = with_distances(fresh, tmp_path / "r", metrics, features)
    fitted: list[int] = []
    fit = LinearSVC.fit
    monkeypatch.setattr(LinearSVC, "fit", lambda self, x, y: fitted.append(len(x)) or fit(self, x, y))
    steps: list[tuple[int, int]] = []
    found = [d for d in compare("tiny", "telea", result, lambda *step: steps.append(step)) if d.metric in metrics]
    assert all(d.low < d.difference < d.high for d in found)
    assert fitted == [2 * 200] * (2 * SUBSETS), "one machine a method and subset serves both scores"
    assert steps == [(i + 1, SUBSETS + 2) for i in range(SUBSETS + 2)], "the whole, one bin of coverage, and every subset"


def test_the_command_shows_how_far_it_is(result: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    steps: list[tuple[int, int]] = []

    @contextmanager
    def shown(label: str, unit: str) -> Iterator[Report]:
        yield lambda done, of: steps.append((done, of))

    monkeypatch.setattr("mend.cli.experiment.progress", shown)
    with pytest.raises(SystemExit, match="0"):
        main(["compare", "telea", "tiny", "--results", str(result), "--csv", str(result.with_suffix(".csv"))])
    assert steps == [(1, 2), (2, 2)]
    assert "telea" in capsys.readouterr().out
    rows, found = pd.read_csv(result.with_suffix(".csv")), compare("telea", "tiny", result)
    assert rows["difference"].tolist() == pytest.approx([d.difference for d in found])


def test_a_comparison_waits_for_no_import_that_it_does_not_use():
    code = (
        "import sys, mend.evaluate.compare; print([m for m in ('torchmetrics', 'torchvision', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
