"""What is committed under results/ is whole, and the docs say what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mend.data.duplicates import THRESHOLD
from mend.evaluate.metrics import METRICS, name_metric
from mend.evaluate.result import Result, find_rows_file, read_result, read_scores
from mend.evaluate.trainings import find_group
from mend.inpaint.classical import CLASSICAL
from mend.models.checkpoint import load_model
from mend.models.network import hash_weights
from mend.report.tables import order_methods, readme_table

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "results" / "cifar10-object-v1"


def said(page: str) -> str:
    """A page of the docs on one line."""
    return " ".join((ROOT / "docs" / page).read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def result() -> Result:
    return read_result(RESULT)


def test_every_score_follows_from_the_rows_of_its_images(result: Result):
    for name, method in result.methods.items():
        rows = read_scores(find_rows_file(RESULT, name))
        assert len(rows) == result.n
        for column, score in method.metrics.items():
            if METRICS[name_metric(column)].distance is not None:  # one number for all images
                assert score.n == result.n
                continue
            assert score.mean == pytest.approx(rows[column].astype(np.float64).mean(), abs=1e-3), (name, column)
            assert score.low < score.mean < score.high
        assert method.commit
        assert "dirty" not in method.commit


@pytest.mark.parametrize("ending", ["", "-w64"])
def test_the_paired_comparison_follows_from_the_rows(result: Result, ending: str):
    paired = pd.read_csv(RESULT / f"aspp-against-simple{ending}.csv").query("group == 'all'").set_index("metric")
    means = []
    for kind in ("aspp", "simple"):
        trainings = find_group(f"unet-{kind}{ending or '-w16'}*", result)
        rows = [read_scores(find_rows_file(RESULT, name)) for name in trainings]
        columns = [column for column in paired.index if column in rows[0]]
        means.append(np.mean([table[columns].to_numpy(np.float64).mean(0) for table in rows], axis=0))
    assert columns
    assert paired.loc[columns, "difference"].to_numpy() == pytest.approx(means[0] - means[1], abs=1e-4)


def test_the_weights_beside_it_are_those_that_were_measured(result: Result):
    for folder in (RESULT / "models").iterdir():
        assert hash_weights(load_model(folder)[0]) == result.methods[folder.name].weights


def test_the_table_of_the_docs_is_the_generated_one(result: Result):
    assert readme_table(result) in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_the_result_was_reproduced_as_the_docs_say():
    lines = (RESULT / "reproduced.txt").read_text().splitlines()
    assert re.fullmatch(r"(\d+) of \1 numbers within tolerance", lines[-1])
    apart = {tuple(line.split()[:2]): abs(float(line.split()[4])) for line in lines[1:] if line[:1].isalpha()}
    most = max(value for (method, metric), value in apart.items() if method == "unet-w16" and metric == "PSNR")
    assert f"by {most:.2f} dB ([reproduced.txt]" in said("results.md")
    assert not any(value for (method, metric), value in apart.items() if method in CLASSICAL and metric == "PSNR")


def test_the_table_without_near_duplicates_is_as_near_as_the_docs_say():
    def means(folder: Path) -> dict[str, float]:
        table = (folder / "report.md").read_text(encoding="utf-8").split("## ")[1]
        rows = (line.split(" | ") for line in table.splitlines() if line.startswith("| ") and "*" not in line.split(" | ")[0])
        return {row[0]: float(row[2].split()[0].strip("*")) for row in rows if re.match(r"\**\d", row[2])}

    all_of, fewer = means(RESULT), means(RESULT / "without-cifar10-near-duplicates")
    assert set(all_of) == set(fewer)
    assert f"changes by at most {max(abs(all_of[name] - fewer[name]) for name in fewer):.2f} dB" in said("score.md")


def test_no_path_of_a_machine_is_committed():
    for file in (*RESULT.glob("models/*/config.json"), RESULT.with_suffix(".json"), ROOT / "results" / "mask-agreement.json"):
        text = file.read_text()
        assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/work/", "C:\\")), file


def test_the_report_shows_every_method(result: Result):
    text = (RESULT / "report.md").read_text()
    assert all(f"| {name} |" in text for name in order_methods(result, None))


def test_the_mask_agreement_of_the_docs_is_the_measured_one():
    result = json.loads((ROOT / "results" / "mask-agreement.json").read_text())
    agree = f"{result['pixels_equal']:.1%}".replace("%", " %")
    assert f"They agree in {agree} of the pixels" in said("protocols.md")
    assert f"the median IoU is {result['iou_median_both']:.2f}" in said("protocols.md")


@pytest.mark.alone
def test_the_smoke_record_is_done_again(tmp_path: Path):
    command = [sys.executable, "-m", "mend", "reproduce", str(RESULT.with_suffix(".json")), "--tier", "smoke"]
    # A cache of its own: the demo's test shortens the embedded photographs in the one that tests share.
    environment = {**os.environ, "MEND_CACHE": str(tmp_path / "cache")}
    options = {"capture_output": True, "encoding": "utf-8", "cwd": ROOT, "env": environment}
    run = subprocess.run([*command, "--out", str(tmp_path / "out")], **options)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"(\d+) of \1 numbers within tolerance", run.stdout)


@pytest.fixture(scope="module")
def large_holes() -> dict:
    return json.loads((ROOT / "results" / "large-holes.json").read_text(encoding="utf-8"))


def test_the_large_holes_of_the_summary_and_the_docs_are_those_of_the_rows(large_holes: dict):
    rows = pd.read_csv(ROOT / "results" / "large-holes.csv")
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").split("<!-- large-holes -->")[1].split("<!--")[0]
    tables = dict(zip(large_holes["by coverage"], page.split("Holes of ")[1:], strict=True))
    for column, (label, methods) in enumerate(large_holes["by coverage"].items()):
        assert tables[label].startswith(f"{label} of the photograph:")
        lines = [line.strip("| ").replace("*", "").split(" | ") for line in tables[label].splitlines() if line[:1] == "|"]
        cells = {line[0]: line[1:] for line in lines[2:]}
        assert set(cells) == set(methods) == set(rows["method"])
        for name, scores in methods.items():
            part = rows[(rows["method"] == name) & (rows["bin"] == column)]
            assert len(part) == scores["n"] == large_holes["photographs"]
            for metric in ("psnr", "ssim", "lpips-cifar"):
                assert scores[metric]["mean"] == pytest.approx(part[metric].mean(), rel=1e-4), (label, name, metric)
            means = [scores[metric]["mean"] for metric in ("psnr", "ssim", "lpips-cifar")]
            assert cells[name][:3] == [f"{means[0]:.2f}", f"{means[1]:.3f}", f"{means[2]:.3f}"], (label, name)


def test_the_gain_by_seams_of_the_docs_is_the_measured_one():
    record = json.loads((ROOT / "results" / "seam.json").read_text())
    gains = [network["psnr_hole"] for network in record["networks"].values()]
    least, most = (choose(gain["difference"] for gain in gains) for choose in (min, max))
    assert f"raises the PSNR in the hole by {least:.2f} to {most:.2f} dB" in said("train.md")


def test_the_ablation_follows_from_its_rows():
    folder = ROOT / "results" / "pyramid"
    rows, record = pd.read_csv(folder / "ablation.csv"), json.loads((folder / "ablation.json").read_text(encoding="utf-8"))
    assert "dirty" not in record["commit"]
    means = rows.groupby(["method", "bin"])["psnr"].mean()
    assert len(means) == len(record["means"]) == 3 * len(record["variants"])
    for one in record["means"]:
        assert one["psnr"] == pytest.approx(means[one["method"], one["bin"]], abs=1e-3)
    for name in record["variants"]:
        cells = [f"| {means[name, b]:.2f} · " for b in range(3)]
        line = next(line for line in (folder / "ablation.md").read_text(encoding="utf-8").splitlines() if f"| {name} |" in line)
        assert all(cell in line for cell in cells)


def test_the_near_duplicates_are_listed():
    rows = pd.read_csv(ROOT / "results" / "cifar10-near-duplicates.csv")
    assert rows["image"].is_unique
    assert rows["similarity"].is_monotonic_decreasing
    assert rows["similarity"].min() >= THRESHOLD


@pytest.fixture(scope="module")
def performance() -> dict:
    return json.loads((ROOT / "results" / "performance.json").read_text(encoding="utf-8"))


def test_the_table_of_performance_is_the_generated_one(performance: dict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from performance import PARTS, table

    assert set(PARTS) == set(performance)
    assert table(performance) in (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name, part in performance.items():
        assert part["commit"], name
        assert "dirty" not in part["commit"], name
