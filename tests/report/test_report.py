import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mend.errors import InputError
from mend.evaluate.metrics import METRICS
from mend.evaluate.protocol import Drawn, Protocol, Published
from mend.evaluate.result import Score, read_result
from mend.evaluate.run import evaluate
from mend.report import draw_grid, render_markdown, report, tabulate_metrics, write_headline, write_into
from mend.report.gallery import APART, EXTREMES
from mend.report.tables import readme_table, render_latex, render_text, tabulate_differences, tabulate_trainings


@pytest.fixture(scope="module")
def result(run: Path, folder: Path, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "tiny"
    published = (Published("elsewhere", "a paper", {"psnr": 31.78}),)
    protocol = Protocol("tiny-v1", "Tiny <pictures>", str(folder), ("psnr", "mae"), str(masks), published=published)
    evaluate([str(run), "mean-colour", "telea"], protocol, out, device="cpu")
    return out


def test_the_best_is_marked_by_each_metrics_own_direction(result: Path):
    evaluated = read_result(result)
    methods = ["mean-colour", "telea", "tiny"]
    header, rows = tabulate_metrics(evaluated, methods)
    assert header == ["Method", "Parameters", "PSNR (dB) ↑", "MAE (/255) ↓"]
    for column, name, choose in ((2, "psnr", max), (3, "mae", min)):
        best = choose(methods, key=lambda m: evaluated.methods[m].mean(name))
        assert [row[0].text for row in rows if row[column].best] == [best]
    assert rows[-1][0].text == "elsewhere *"
    assert rows[-1][2].text == "31.78"
    assert not rows[-1][2].best, "what is quoted is not compared"


def test_a_missing_metric_is_said_and_never_a_number(result: Path):
    evaluated = read_result(result)
    protocol = replace(evaluated.protocol, metrics=("psnr", "fid", "ssim"))
    text = render_text(replace(evaluated, protocol=protocol, unavailable={"fid": "pretrained weights not available"}))
    assert "SSIM" not in text, "nobody asked for it"
    assert text.count("n/a") >= 4
    assert "n/a (pretrained weights not available): FID." in text
    assert METRICS["fid"].definition in text


def test_the_report_is_one_page_with_everything_in_it(result: Path, tmp_path: Path):
    page = report(result, tmp_path)
    text = page.read_text()
    assert "Tiny &lt;pictures&gt;" in text
    assert 'name="viewport"' in text
    assert re.findall(r'(?:src|href)="(?!data:)([^"]*)', text) == ["images.html"], "something is fetched"
    assert len(re.findall(r"data:image/png;base64,", text)) == 3
    for data in re.findall(r"base64,([^\"]+)", text):
        assert base64.b64decode(data)[:4] == b"\x89PNG"
    for word in ("Inside the hole only", "Raw output", "by coverage", METRICS["mae"].definition.split(",")[0], "elsewhere"):
        assert word in text
    for name in ("report.md", "report.tex", "images.html", "grid.png", "curves.png", "coverage.png"):
        assert (tmp_path / name).stat().st_size > 500


def test_the_picture_grid_shows_the_very_pictures(result: Path):
    sheet = np.asarray(draw_grid(result, ["telea", "tiny"]))
    strip = np.asarray(Image.open(result / "telea.png").convert("RGB"))
    row = sheet[3 * (96 + 4) : 3 * (96 + 4) + 96 : 3]
    assert any(np.array_equal(row[:, x : x + 96 : 3], strip[:, :32]) for x in range(sheet.shape[1] - 96))
    assert sheet.shape[0] == 5 * 100 - 4


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


def test_the_headline_does_not_claim_more_than_the_paired_interval(result: Path):
    evaluated = read_result(result)
    one, rows = evaluated.methods["tiny"], pd.read_parquet(result / "tiny.parquet")
    varied = np.random.default_rng(0).standard_normal(len(rows))
    for change, said in (
        (varied, "the interval of the difference contains zero"),
        (0.1 + 0.01 * varied, r"0\.\d+ dB less on the same images \(0\.\d+ to .* of these weights"),
    ):
        other = rows.assign(psnr=rows["psnr"] - change)
        scores = {"psnr": replace(one.metrics["psnr"], mean=one.mean("psnr") - 0.01)}
        second = replace(one, metrics=scores, model=replace(one.model, model="unet"))
        text = write_headline(replace(evaluated, methods={"tiny": one, "b": second}), {"tiny": rows, "b": other})
        assert re.search(said, text), text
    few = {"tiny": rows[:9], "b": rows[:9]}
    text = write_headline(replace(evaluated, methods={"tiny": one, "b": second}), few)
    assert text.endswith("on fewer than 10 images, too few to tell them apart."), text


def test_the_readme_table_is_put_between_its_marks(result: Path, tmp_path: Path):
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    table = readme_table(read_result(result))
    write_into(file, table)
    write_into(file, table)
    text = file.read_text()
    assert text == f"before\n<!-- results -->\n{table}<!-- /results -->\nafter\n"
    file.write_text("no marks")
    with pytest.raises(InputError, match="has no place for the table"):
        write_into(file, table)


def test_markdown_cells_line_up():
    from mend.report import Cell

    table = render_markdown((["A", "B"], [[Cell("x"), Cell("1", True, "0 – 2")]]), notes=True)
    assert table.splitlines() == ["| A | B |", "| :--- | ---: |", "| x | **1** <sub>0 – 2</sub> |"]
    assert replace(Cell("a"), best=True).best


def test_the_latex_table_escapes_and_marks_the_best(result: Path):
    from mend.report.tables import Cell

    table = render_latex(
        (["Method", "PSNR (dB) ↑"], [[Cell("a_b"), Cell("1.0", True)], [Cell("c & 50 %"), Cell("n/a")]]), "n = 3 − 1"
    )
    assert r"Method & PSNR (dB) $\uparrow$ \\" in table
    assert r"a\_b & \textbf{1.0} \\" in table
    assert r"c \& 50 \% & n/a \\" in table
    assert r"\caption{n = 3 $-$ 1}" in table
    assert table.count("{") == table.count("}")


def test_the_gallery_holds_the_extremes_and_the_disagreements(result: Path, tmp_path: Path):
    report(result, tmp_path)
    text = (tmp_path / "images.html").read_text()
    data = json.loads(re.search(r"const data = (\{.*\});\n", text)[1])
    assert data["methods"] == ["mean-colour", "telea", "tiny"]
    assert [c["key"] for c in data["columns"]] == ["psnr_hole"]
    tables = {m: pd.read_parquet(result / f"{m}.parquet")["psnr_hole"] for m in data["methods"]}
    for i, method in enumerate(data["methods"]):
        shown = sorted(v for v in data["values"]["psnr_hole"][i])
        wanted = np.sort(tables[method].to_numpy())
        assert np.allclose(shown[:EXTREMES], wanted[:EXTREMES], atol=1e-4)
    apart = (tables["telea"] - tables["tiny"]).abs().sort_values(ascending=False)[:APART]
    values = np.array(data["values"]["psnr_hole"])
    assert np.allclose(sorted(np.abs(values[1] - values[2]))[::-1][:APART], apart, atol=1e-3)
    assert "http" not in text
    assert text.count("data:image/webp;base64,") == 6


def test_images_can_be_left_out_of_the_table(result: Path, tmp_path: Path):
    rows = pd.read_parquet(result / "telea.parquet")
    (tmp_path / "others.csv").write_text("image\n0123456789abcdef\n")
    with pytest.raises(InputError, match="none, or all, of the images of tiny-v1 are in others"):
        report(result, tmp_path / "r", without=tmp_path / "others.csv")
    (tmp_path / "doubles.csv").write_text("image\n" + "\n".join(rows["image"][:5]) + "\n")
    report(result, tmp_path / "r", without=tmp_path / "doubles.csv")
    text = (tmp_path / "r" / "report.md").read_text()
    assert "without doubles (5 images)" in text
    assert "n = 7 images" in text
    assert f"{rows['psnr'][5:].mean():.2f}" in text


def test_the_report_says_that_holes_are_borrowed(result: Path):
    evaluated = read_result(result)
    assert "less than 1 % or more than 60 % of it has the hole of another image" in render_text(evaluated)
    drawn = replace(evaluated.protocol, drawn=Drawn(("boxes",), ((0.1, 0.3),)))
    assert "another image" not in render_text(replace(evaluated, protocol=drawn))


def test_without_its_pictures_the_report_has_no_gallery(result: Path, tmp_path: Path):
    shutil.copytree(result, tmp_path / "tiny", ignore=shutil.ignore_patterns("pictures"))
    shutil.copy(result.with_suffix(".json"), tmp_path / "tiny.json")
    page = report(tmp_path / "tiny", tmp_path / "report")
    assert not (tmp_path / "report" / "images.html").exists()
    assert "images.html" not in page.read_text()


def test_several_seeds_of_a_recipe_are_one_row(result: Path, tmp_path: Path):
    evaluated = read_result(result)
    assert tabulate_trainings(evaluated, ["tiny", "telea"]) is None
    tiny, methods = evaluated.methods["tiny"], {"telea": evaluated.methods["telea"]}
    rows = {name: pd.read_parquet(result / f"{name}.parquet") for name in ("tiny", "telea")}
    tables = {"telea": rows["telea"]}
    for i, value in enumerate((20.0, 21.0, 22.0)):
        # Its data lay elsewhere, and its record knows a key more: it is the same recipe.
        config = {**tiny.model.trained.config, "seed": i, "data": f"place {i}"} | ({"start": None} if i else {})
        trained = replace(tiny.model.trained, config=config)
        scores = {"psnr": Score(mean=value, n=1), "mae": Score(mean=1.0, n=1)}
        methods[f"run{i}"] = replace(tiny, weights=f"w{i}", model=replace(tiny.model, trained=trained), metrics=scores)
        tables[f"run{i}"] = rows["tiny"]
    several = replace(evaluated, methods=methods)
    header, lines = tabulate_metrics(several, list(methods))
    assert [line[0].text for line in lines] == ["telea", "unet-aspp-w4 (3 trainings)", "elsewhere *"]
    assert (lines[1][header.index("PSNR (dB) ↑")].text, lines[1][2].note) == ("21.00", "± 1.000")
    header, each = tabulate_trainings(several, list(methods))
    assert header[:2] == ["Training", "Seed"]
    assert [(line[0].text, line[1].text, line[2].text) for line in each] == [
        ("run0", "0", "20.00"),
        ("run1", "1", "21.00"),
        ("run2", "2", "22.00"),
    ]
    assert "±: standard deviation over trainings that differ in the seed" in readme_table(several)
    assert write_headline(several, tables).startswith(
        "unet-aspp-w4 reaches the highest PSNR of the networks, 21.00 dB, mean of 3"
    )


def test_a_column_that_nobody_has_is_not_shown_to_readers(result: Path):
    evaluated = read_result(result)
    with_fid = replace(evaluated, protocol=replace(evaluated.protocol, metrics=("psnr", "fid")))
    text = readme_table(replace(with_fid, unavailable={"fid": "pretrained weights not available"}))
    assert "FID ↓" not in text
    assert "n/a" not in text
    assert "Not measured (pretrained weights not available): FID." in text
    assert METRICS["fid"].definition not in text


def test_differences_from_the_plain_network_are_shown_bin_by_bin(result: Path):
    evaluated, rows = read_result(result), pd.read_parquet(result / "tiny.parquet")
    tiny = evaluated.methods["tiny"]
    assert tabulate_differences(evaluated, {"tiny": rows}) == [], "there is nothing beside it"
    plain = replace(tiny, weights="plain", model=replace(tiny.model, model="unet"))
    rows["coverage"] = np.where(np.arange(len(rows)) % 2, 0.05, 0.25).astype(np.float32)
    better = rows.assign(psnr_hole=rows["psnr_hole"] + np.where(rows["coverage"] < 0.1, 1.0, -2.0))
    both = replace(evaluated, methods={"plain": plain, "tiny": tiny})
    ((title, (header, lines)),) = tabulate_differences(both, {"plain": rows, "tiny": better})
    assert "over images alone: of one training each they speak of these weights" in title
    assert header == ["Difference from plain", "up to 10 % (n = 6)", "20–30 % (n = 6)"]
    line = next(line for line in lines if line[0].text == "tiny: PSNR (dB) ↑ in the hole")
    assert [cell.text for cell in line[1:]] == ["+1.00", "-2.00"], "another sign in another bin is not averaged away"
