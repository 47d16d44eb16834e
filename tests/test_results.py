"""What is committed under results/ is whole, and the README says what it says."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mend.checkpoint import load_model
from mend.evaluate import read_summary
from mend.masks.segment import weights_hash
from mend.metrics import METRICS
from mend.report.tables import ordered, readme_table

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "results" / "cifar10-object-v1"


@pytest.fixture(scope="module")
def summary() -> dict:
    return read_summary(RESULT)


def test_every_row_of_the_summary_follows_from_its_images(summary: dict):
    assert summary["n"] == 10_000
    for name, method in summary["methods"].items():
        rows = pd.read_parquet(RESULT / f"{name}.parquet")
        assert len(rows) == 10_000
        for metric, value in method["metrics"].items():
            if METRICS[metric.split("_")[0]].distance is not None:  # one number for all images
                assert value["n"] == 10_000
                continue
            assert value["mean"] == pytest.approx(rows[metric].astype(np.float64).mean(), abs=1e-3), (name, metric)
            assert value["low"] < value["mean"] < value["high"]
        assert {"commit", "device", "torch", "weights", "seconds"} <= set(method)
        assert method["commit"]
        assert "dirty" not in method["commit"]


def test_the_four_networks_and_the_four_classical_fillers_are_there(summary: dict):
    networks = {m["model"]["model"] for m in summary["methods"].values()}
    assert networks == {
        *("autoencoder", "unet", "unet-simple", "unet-aspp"),
        *("mean-colour", "telea", "navier-stokes", "biharmonic"),
    }
    for method in summary["methods"].values():
        trained = method["model"].get("trained")
        if trained:
            assert trained["config"]["width"] == 16
            assert len(method["training"]) == trained["config"]["epochs"] == 15
            assert trained["images"] == 49_000


def test_the_weights_beside_it_are_those_that_were_measured(summary: dict):
    for folder in (RESULT / "models").iterdir():
        assert weights_hash(load_model(folder)[0]) == summary["methods"][folder.name]["weights"]


def test_the_readme_table_is_the_generated_one(summary: dict):
    assert readme_table(summary) in (ROOT / "README.md").read_text()


def test_the_readmes_prose_is_borne_out(summary: dict):
    psnr = {name: method["metrics"]["psnr"] for name, method in summary["methods"].items()}
    means = [psnr[name]["mean"] for name in ("unet-aspp-w16", "unet-simple-w16", "unet-w16", "biharmonic", "autoencoder-w16")]
    assert means == sorted(means, reverse=True)
    assert means[0] < 26.5 < summary["protocol"]["published"][0]["psnr"] - 5
    fid = {name: method["metrics"]["fid-cifar"]["mean"] for name, method in summary["methods"].items()}
    assert sorted(fid, key=fid.get) == [
        *("unet-simple-w16", "unet-aspp-w16", "unet-w16", "autoencoder-w16"),
        *("biharmonic", "navier-stokes", "telea", "mean-colour"),
    ]
    ssim = {name: method["metrics"]["ssim"]["mean"] for name, method in summary["methods"].items()}
    assert ssim["unet-w16"] > ssim["biharmonic"] > ssim["autoencoder-w16"]
    paired = pd.read_csv(RESULT / "aspp-against-simple.csv").query("group == 'all'").set_index("metric")
    assert dict(paired["better"].fillna("").items()) | {
        **dict.fromkeys(("psnr", "ssim", "mae"), "A"),
        **dict.fromkeys(("lpips-cifar", "fid-cifar", "kid-cifar"), "B"),
        "psnr_band": "",
    } == dict(paired["better"].fillna("").items())
    aspp, simple = (pd.read_parquet(RESULT / f"unet-{kind}-w16.parquet") for kind in ("aspp", "simple"))
    for metric in ("psnr", "psnr_band", "lpips-cifar"):
        apart = (aspp[metric] - simple[metric]).astype(np.float64)
        assert paired.loc[metric, "difference"] == pytest.approx(apart.mean(), abs=1e-4), "the file is of these rows"
    coverage = pd.read_parquet(RESULT / "telea.parquet")["coverage"]
    assert round(coverage.mean(), 2) == 0.23


def test_the_second_time_is_as_the_readme_says():
    lines = (RESULT / "reproduced.txt").read_text().splitlines()
    assert re.fullmatch(r"(\d+) of \1 numbers within tolerance", lines[-1])
    apart = {tuple(line.split()[:2]): abs(float(line.split()[4])) for line in lines[1:] if line[:1].isalpha()}
    networks = [value for (method, metric), value in apart.items() if method.endswith("-w16") and metric == "PSNR"]
    assert len(networks) == 4
    assert round(max(networks), 2) == 0.13
    assert not any(value for (method, metric), value in apart.items() if not method.endswith("-w16") and metric == "PSNR")


def test_no_path_of_a_machine_is_committed():
    for file in (*RESULT.glob("models/*/config.json"), RESULT.with_suffix(".json"), ROOT / "results" / "mask-agreement.json"):
        text = file.read_text()
        assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/work/", "C:\\")), file


def test_the_report_shows_every_method(summary: dict):
    text = (RESULT / "report.md").read_text()
    assert all(f"| {name} |" in text for name in ordered(summary, None))


def test_the_mask_agreement_is_what_the_network_allows():
    result = json.loads((ROOT / "results" / "mask-agreement.json").read_text())
    assert result["n"] >= 400
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"agrees with them in {result['pixels_equal']:.1%} of the pixels".replace("%", " %") in readme
    assert f"a median IoU of {result['iou_median_both']:.2f}" in readme
    assert result["commit"]


@pytest.mark.slow
def test_the_smoke_record_is_done_again_in_two_minutes(tmp_path: Path):
    started = time.monotonic()
    command = [sys.executable, "-m", "mend", "reproduce", str(RESULT.with_suffix(".json")), "--tier", "smoke"]
    # A cache of its own: the demo's test shortens the embedded photographs in the one that tests share.
    environment = {**os.environ, "MEND_CACHE": str(tmp_path / "cache")}
    options = {"capture_output": True, "encoding": "utf-8", "cwd": ROOT, "env": environment}
    run = subprocess.run([*command, "--out", str(tmp_path / "out")], **options)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"(\d+) of \1 numbers within tolerance", run.stdout)
    assert time.monotonic() - started < 240, "two minutes alone; the tests run side by side"


def test_the_classifiers_metrics_order_damage_rightly():
    record = json.loads((ROOT / "results" / "perception-order.json").read_text(encoding="utf-8"))
    assert record["n"] >= 2000
    assert set(record["damages"]) == {"blur", "noise", "wrong colour", "wrong image", "exchanged image"}
    for kind, damage in record["damages"].items():
        for metric in ("lpips-cifar", "fid-cifar"):
            scores = damage["scores"][metric]
            assert len(scores) >= 5
            if (kind, metric) != ("exchanged image", "fid-cifar"):  # the same set again, in another order
                assert scores == sorted(scores), (kind, metric)
                assert damage["monotone"][metric]
    assert record["damages"]["exchanged image"]["scores"]["fid-cifar"][-1] < 1e-3


def test_the_full_protocol_takes_ninety_seconds_at_most():
    record = json.loads((ROOT / "results" / "evaluation-speed.json").read_text())
    assert record["n"] == 10_000
    assert set(record["metrics"]) == {"psnr", "ssim", "mae", "lpips-cifar", "fid-cifar"}
    assert record["slowest"] <= 90
    assert "2 threads" in record["device"]


@pytest.fixture(scope="module")
def large_holes() -> dict:
    return json.loads((ROOT / "results" / "large-holes.json").read_text(encoding="utf-8"))


def test_the_large_holes_of_the_summary_and_the_readme_are_those_of_the_rows(large_holes: dict):
    rows = pd.read_csv(ROOT / "results" / "large-holes.csv")
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- large-holes -->")[1]
    table = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[1:]
        for line in readme.splitlines()
        if line[:1] == "|" and " · " in line
    }
    assert set(table) == set(rows["method"])
    for column, (label, methods) in enumerate(large_holes["by coverage"].items()):
        assert f"| {label} of the photograph " in readme
        assert set(methods) == set(table)
        for name, scores in methods.items():
            part = rows[(rows["method"] == name) & (rows["bin"] == column)]
            assert len(part) == scores["n"] == large_holes["photographs"]
            for metric in ("psnr", "ssim", "lpips-cifar"):
                assert scores[metric]["mean"] == pytest.approx(part[metric].mean(), rel=1e-4), (label, name, metric)
            cell = table[name][column].replace("*", "")
            means = [scores[metric]["mean"] for metric in ("psnr", "ssim", "lpips-cifar")]
            assert cell.startswith(f"{means[0]:.2f} · {means[1]:.3f} · {means[2]:.3f}"), (label, name)


def test_large_holes_are_filled_better_than_by_any_other_and_by_a_decibel_above_ten_percent(large_holes: dict):
    for label, methods in large_holes["by coverage"].items():
        mean = {metric: {name: scores[metric]["mean"] for name, scores in methods.items()} for metric in ("psnr", "ssim")}
        for scores in mean.values():
            assert max(scores, key=scores.get) == "pyramid", label
        lead = mean["psnr"]["pyramid"] - max(mean["psnr"][name] for name in ("telea", "navier-stokes", "biharmonic"))
        assert lead >= (0 if label.startswith("5–") else 1), label


def test_evening_out_the_seam_brings_what_the_readme_says():
    record = json.loads((ROOT / "results" / "seam.json").read_text())
    gains = [network["psnr_hole"] for network in record["networks"].values()]
    assert len(gains) == 4
    assert all(gain["n"] == 10_000 and gain["low"] > 0 for gain in gains)
    least, most = (choose(gain["difference"] for gain in gains) for choose in (min, max))
    assert f"{least:.2f} to {most:.2f} dB more in the hole" in (ROOT / "README.md").read_text()


def test_the_ablation_follows_from_its_rows():
    folder = ROOT / "results" / "pyramid"
    rows, record = pd.read_csv(folder / "ablation.csv"), json.loads((folder / "ablation.json").read_text(encoding="utf-8"))
    assert "dirty" not in record["commit"]
    means = rows.groupby(["method", "bin"])["psnr"].mean()
    assert len(means) == len(record["means"]) == 3 * len(record["variants"])
    for one in record["means"]:
        assert one["psnr"] == pytest.approx(means[one["method"], one["bin"]], abs=1e-3)
    assert means["one scale"].lt(means["as the recipe has it"]).all(), "many scales are what it is about"
    for name in record["variants"]:
        cells = [f"| {means[name, b]:.2f} · " for b in range(3)]
        line = next(line for line in (folder / "ablation.md").read_text(encoding="utf-8").splitlines() if f"| {name} |" in line)
        assert all(cell in line for cell in cells)


def test_the_near_duplicates_are_listed():
    rows = pd.read_csv(ROOT / "results" / "cifar10-near-duplicates.csv")
    assert len(rows) == rows["image"].nunique() == 333
    assert rows["similarity"].is_monotonic_decreasing
    assert rows["similarity"].min() >= 0.75


@pytest.fixture(scope="module")
def performance() -> dict:
    return json.loads((ROOT / "results" / "performance.json").read_text(encoding="utf-8"))


def test_the_readmes_table_of_performance_is_the_generated_one(performance: dict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from performance import PARTS, table

    assert set(PARTS) <= set(performance)
    assert table(performance) in (ROOT / "README.md").read_text(encoding="utf-8")
    for name, part in performance.items():
        assert part["commit"], name
        assert "dirty" not in part["commit"], name


def test_performance_is_what_is_claimed(performance: dict):
    cases = performance["training"]["cases"]
    assert all(case["loading_times"] >= 20 for case in cases.values()), "data never waits"
    assert all(case["of_the_matrix_rate"] >= 0.45 for name, case in cases.items() if name.endswith("64"))
    start = {name: case["median"] for name, case in performance["starting"]["cases"].items()}
    assert start["mend --help"] <= 0.4
    assert start["import mend"] <= 0.1
    assert start["mend fill, 256×256, PyTorch"] <= 3
    for name, case in performance["growth"]["cases"].items():
        assert case["exponent"] <= 1.1, f"{name} grows faster than its input"
