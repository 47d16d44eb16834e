import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mend.data import load_images
from mend.errors import InputError
from mend.evaluate import BATCH, Protocol, bootstrap, coverage_label, evaluate, read_protocol, read_summary, summarise
from mend.fill import load
from mend.images import to_image
from mend.masks import make_masks
from mend.masks.store import MaskSet, ObjectPolicy
from mend.metrics import WeightsMissing, psnr


@pytest.fixture(scope="module")
def protocol(folder: Path, masks: Path) -> Protocol:
    return Protocol("tiny-v1", "Tiny", str(folder), str(masks), ("psnr", "ssim", "mae"), ObjectPolicy())


@pytest.fixture(scope="module")
def result(run: Path, protocol: Protocol, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "tiny"
    evaluate([str(run), "mean-colour", "telea"], protocol, out, device="cpu")
    return out


def test_every_image_has_a_row_and_the_means_are_theirs(result: Path, run: Path, folder: Path, masks: Path):
    rows = pd.read_parquet(result / "tiny.parquet")
    summary = read_summary(result)
    method = summary["methods"]["tiny"]
    assert len(rows) == summary["n"] == 12
    for name in ("psnr", "psnr_raw", "psnr_hole", "ssim", "ssim_raw", "ssim_hole", "mae", "mae_raw", "mae_hole"):
        value = method["metrics"][name]
        assert value["mean"] == pytest.approx(rows[name].mean(), abs=1e-4)
        assert value["low"] <= value["mean"] <= value["high"]
        assert value["n"] == 12
    images = load_images(str(folder), "test")
    hole = MaskSet.open(masks / "test").holes(images, ObjectPolicy())[3:4].float()
    image = to_image(np.array(images.pixels[3:4]))
    assert rows["psnr"][3] == pytest.approx(psnr(load(run, "cpu").fill(image, hole), image).item(), abs=1e-3)
    assert rows["coverage"][3] == pytest.approx(hole.mean().item())
    assert method["training"][0]["epoch"] == 1
    assert {"commit", "torch", "device", "weights", "parameters"} <= set(method)


def test_known_pixels_count_for_nothing_when_composited(result: Path):
    rows = pd.read_parquet(result / "tiny.parquet")
    # The composited error is the hole's error diluted by the coverage.
    assert np.allclose(rows["mae"], rows["mae_hole"] * rows["coverage"], rtol=1e-4)
    assert np.allclose(rows["psnr"], rows["psnr_hole"] - 10 * np.log10(rows["coverage"]), atol=1e-3)


def test_what_is_scored_is_not_scored_again_and_other_weights_are(
    result: Path, run: Path, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
):
    scored: list[str] = []
    evaluate([str(run), "mean-colour"], protocol, result, device="cpu", on_batch=lambda name, *_: scored.append(name))
    assert scored == []
    monkeypatch.setattr("mend.evaluate.weights_hash", lambda network: "another")
    evaluate(["mean-colour"], protocol, result, device="cpu", on_batch=lambda name, *_: scored.append(name))
    assert scored == ["mean-colour"]


def test_an_empty_hole_never_enters_a_mean(folder: Path, run: Path, tmp_path: Path):
    images = load_images(str(folder), "test")
    masks = make_masks(images, "boxes", tmp_path / "set")
    packed = np.load(tmp_path / "set" / "masks.npy", mmap_mode="r+")
    packed[4] = 0
    protocol = Protocol("empty", "Empty", str(folder), str(masks.folder), ("psnr",), ObjectPolicy(low=0.0))
    evaluate([str(run)], protocol, tmp_path / "r", device="cpu")
    rows = pd.read_parquet(tmp_path / "r" / "tiny.parquet")
    assert rows["psnr"].isna().tolist() == [i == 4 for i in range(12)]
    value = read_summary(tmp_path / "r")["methods"]["tiny"]["metrics"]["psnr"]
    assert value["n"] == 11
    assert value["mean"] == pytest.approx(rows["psnr"].dropna().mean(), abs=1e-4)
    json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))


def test_the_bootstrap_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.normal(3, 2, (60, 300))  # 300 columns of 60 values with mean 3
    low, high = bootstrap(samples)
    assert 0.9 < ((low <= 3) & (high >= 3)).mean() < 0.98
    width = (high - low).mean()
    assert width == pytest.approx(2 * 1.96 * 2 / 60**0.5, rel=0.1)


def test_a_bin_holds_its_upper_edge():
    labels = coverage_label(pd.Series([0.01, 0.1, np.float32(0.1), 0.1001, 0.6, 0.61]))
    assert labels.tolist() == ["0–10 %", "0–10 %", "0–10 %", "10–20 %", "50–60 %", "over 60 %"]


def test_columns_without_values_are_reported_as_none():
    summary = summarise(pd.DataFrame({"psnr": [1.0, 3.0], "ssim": [np.nan, np.nan], "name": ["a", "b"]}))
    assert summary["psnr"]["mean"] == 2
    assert (summary["ssim"]["mean"], summary["ssim"]["n"]) == (None, 0)


def test_batching_does_not_change_a_score(run: Path, protocol: Protocol, result: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("mend.evaluate.BATCH", 5)
    evaluate([str(run)], protocol, tmp_path / "r", device="cpu")
    a, b = (pd.read_parquet(folder / "tiny.parquet") for folder in (result, tmp_path / "r"))
    assert np.allclose(a["psnr"], b["psnr"], atol=1e-3)
    assert BATCH > 12


def test_missing_weights_are_reported_or_raised_when_asked_for(
    run: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with_fid = replace(protocol, metrics=("psnr", "lpips", "fid"))
    evaluate([str(run)], with_fid, tmp_path / "r", device="cpu")
    assert read_summary(tmp_path / "r")["unavailable"] == ["lpips", "fid"]
    with pytest.raises(WeightsMissing, match="LPIPS needs weights"):
        evaluate([str(run)], with_fid, tmp_path / "r", metrics=["mae", "lpips"], device="cpu")
    after = read_summary(tmp_path / "r")
    assert set(after["methods"]["tiny"]["metrics_scored"]) == {"psnr", "mae"}, "the others are scored, nothing is lost"
    assert after["unavailable"] == ["lpips", "fid"]


def test_bad_arguments_are_refused(run: Path, protocol: Protocol, masks: Path, result: Path, tmp_path: Path):
    for arguments, said in (
        (([str(run)], protocol, tmp_path / "r", None, None, ["psrn"]), "unknown metric 'psrn'. Did you mean 'psnr'"),
        ((["teela"], protocol, tmp_path / "r"), "unknown method 'teela'.*Did you mean 'telea'"),
        (([str(run), str(run / "model")], protocol, tmp_path / "r"), "two methods are called tiny"),
        (([str(run)], protocol, tmp_path / "r", None, str(masks / "train")), "is for .*not for"),
        (([str(run)], replace(protocol, name="other"), result), "holds another protocol"),
        (([str(run)], replace(protocol, policy=ObjectPolicy(seed=1)), result), r"\(policy differ\)"),
    ):
        with pytest.raises(InputError, match=said):
            evaluate(*arguments)


def test_a_network_metric_is_scored_an_image_at_a_time(
    run: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from mend import metrics

    @torch.inference_mode()
    def difference(filled: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return (filled - image).abs().mean((1, 2, 3))

    stand_in = replace(metrics.METRICS["lpips"], per_image=lambda device: difference)
    monkeypatch.setitem(metrics.METRICS, "lpips", stand_in)
    evaluate([str(run)], replace(protocol, metrics=("lpips", "mae")), tmp_path / "r", device="cpu")
    rows = pd.read_parquet(tmp_path / "r" / "tiny.parquet")
    assert np.allclose(rows["lpips"] * 255, rows["mae"], rtol=1e-4)


def test_set_metrics_are_taken_on_both_outputs(run: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mend import metrics

    class Difference:
        """Stands in for FID: the mean difference of the two sets."""

        def __init__(self, device: torch.device) -> None:
            self.total = 0.0

        def update(self, filled: torch.Tensor, image: torch.Tensor) -> None:
            self.total += (filled - image).abs().sum().item()

        def compute(self) -> float:
            return self.total

    monkeypatch.setitem(metrics.METRICS, "fid", replace(metrics.METRICS["fid"], of_sets=Difference))
    evaluate([str(run)], replace(protocol, metrics=("fid",)), tmp_path / "r", device="cpu")
    scored = read_summary(tmp_path / "r")["methods"]["tiny"]["metrics"]
    assert 0 < scored["fid"]["mean"] < scored["fid_raw"]["mean"]


def test_the_shipped_protocols_can_be_read():
    assert read_protocol("cifar10-object-v1").metrics == ["psnr", "ssim", "lpips", "fid", "mae"]
    assert len(read_protocol("cifar10-object-v1").published) == 2
    assert read_protocol("photos-object-v1").data == "photos"
