import base64
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mend.errors import InputError
from mend.evaluate import Protocol, evaluate, read_summary
from mend.masks.store import ObjectPolicy
from mend.metrics import METRICS
from mend.report import as_text, headline, markdown_table, metric_table, picture_grid, readme_table, report, write_into


@pytest.fixture(scope="module")
def result(run: Path, folder: Path, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "tiny"
    published = [{"name": "elsewhere", "psnr": 31.78, "source": "a paper"}]
    protocol = Protocol("tiny-v1", "Tiny <pictures>", str(folder), str(masks), ("psnr", "mae"), ObjectPolicy(), published)
    evaluate([str(run), "mean-colour", "telea"], protocol, out, device="cpu")
    return out


def test_the_best_is_marked_by_each_metrics_own_direction(result: Path):
    summary = read_summary(result)
    methods = ["mean-colour", "telea", "tiny"]
    header, rows = metric_table(summary, methods)
    assert header == ["Method", "Parameters", "PSNR (dB) ↑", "MAE (/255) ↓"]
    for column, name, choose in ((2, "psnr", max), (3, "mae", min)):
        best = choose(methods, key=lambda m: summary["methods"][m]["metrics"][name]["mean"])
        assert [row[0].text for row in rows if row[column].best] == [best]
    assert rows[-1][0].text == "elsewhere *"
    assert rows[-1][2].text == "31.78"
    assert not rows[-1][2].best, "what is quoted is not compared"


def test_a_missing_metric_is_said_and_never_a_number(result: Path):
    summary = read_summary(result)
    summary = {**summary, "unavailable": ["fid"], "protocol": {**summary["protocol"], "metrics": ["psnr", "fid", "ssim"]}}
    assert "SSIM" not in as_text(summary), "nobody asked for it"
    text = as_text(summary)
    assert text.count("n/a") >= 4
    assert "n/a (weights not available): FID" in text
    assert METRICS["fid"].definition in text


def test_the_report_is_one_page_with_everything_in_it(result: Path, tmp_path: Path):
    page = report(result, tmp_path)
    text = page.read_text()
    assert "Tiny &lt;pictures&gt;" in text
    assert 'name="viewport"' in text
    assert not re.search(r'(src|href)="(?!data:)', text), "something is fetched"
    assert len(re.findall(r"data:image/png;base64,", text)) == 3
    for data in re.findall(r"base64,([^\"]+)", text):
        assert base64.b64decode(data)[:4] == b"\x89PNG"
    for word in ("Inside the hole only", "Raw output", "by coverage", METRICS["mae"].definition.split(",")[0], "elsewhere"):
        assert word in text
    for name in ("report.md", "grid.png", "curves.png", "coverage.png"):
        assert (tmp_path / name).stat().st_size > 500


def test_the_picture_grid_shows_the_very_pictures(result: Path):
    sheet = np.asarray(picture_grid(result, ["telea", "tiny"], scale=2))
    strip = np.asarray(Image.open(result / "telea.png").convert("RGB"))
    row = sheet[3 * (64 + 4) : 3 * (64 + 4) + 64 : 2]
    assert any(np.array_equal(row[:, x : x + 64 : 2], strip[:, :32]) for x in range(sheet.shape[1] - 64))
    assert sheet.shape[0] == 5 * 68 - 4


def test_runs_restrict_the_networks_and_unknown_ones_are_refused(result: Path, tmp_path: Path):
    report(result, tmp_path, ["runs/tiny"])
    assert "tiny" in (tmp_path / "report.md").read_text()
    with pytest.raises(InputError, match=r"no result for tinier\. Evaluated: tiny, mean-colour, telea"):
        report(result, tmp_path, ["tinier"])
    with pytest.raises(InputError, match="there is no result"):
        report(tmp_path / "nothing", tmp_path)
    (tmp_path / "words.json").write_text("words")
    with pytest.raises(InputError, match="is no result of 'mend evaluate'"):
        report(tmp_path / "words.json", tmp_path)


def test_the_headline_does_not_claim_more_than_the_intervals(result: Path):
    summary = read_summary(result)
    one = summary["methods"]["tiny"]
    other = {**one, "metrics": {"psnr": {**one["metrics"]["psnr"], "mean": one["metrics"]["psnr"]["mean"] - 0.01}}}
    far = {**one, "metrics": {"psnr": {"mean": 1.0, "low": 0.9, "high": 1.1, "n": 12}}}
    for second, said in ((other, "their intervals overlap"), (far, "their intervals do not overlap")):
        assert said in headline({**summary, "methods": {"tiny": one, "b": second}}, ["tiny", "b"])


def test_the_readme_table_is_put_between_its_marks(result: Path, tmp_path: Path):
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    write_into(file, result)
    write_into(file, result)
    text = file.read_text()
    assert text == f"before\n<!-- results -->\n{readme_table(read_summary(result))}<!-- /results -->\nafter\n"
    file.write_text("no marks")
    with pytest.raises(InputError, match="has no place for the table"):
        write_into(file, result)


def test_markdown_cells_line_up():
    from mend.report import Cell

    table = markdown_table((["A", "B"], [[Cell("x"), Cell("1", True, "0 – 2")]]), notes=True)
    assert table.splitlines() == ["| A | B |", "| :--- | ---: |", "| x | **1** <sub>0 – 2</sub> |"]
    assert replace(Cell("a"), best=True).best
