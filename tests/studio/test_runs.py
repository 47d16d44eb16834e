"""Trainings and evaluations on the page; $MEND_SHOTS is a folder for screenshots."""

from typing import Any

import numpy as np
import pytest
from browsing import accessible, desktop, shot, until
from conftest import smooth
from made_results import write_means
from running_studio import Studio, stuck

from mend.images import write_image

pytest.importorskip("fastapi", reason="the extra [studio] is not installed")


def test_a_training_is_watched(page: Any, studio: Studio):
    page.click("nav [data-view=runs]")
    page.locator("#runs p:visible, #runs table:visible").first.wait_for()
    folder = studio.folder / "runs" / f"fresh-{page.kind}"
    (folder / "samples").mkdir(parents=True)
    rows = "epoch,step,loss,val_psnr,val_ssim,val_loss,seconds\n1,10,0.5,20,0.7,0.4,60\n2,20,0.4,21.25,0.75,0.35,60\n"
    (folder / "metrics.csv").write_text(rows)
    for epoch in (1, 2):
        write_image(folder / "samples" / f"epoch-{epoch:03d}.png", smooth(64, 128, epoch))
    (folder / "config.toml").write_text('model = "unet"\nwidth = 8\nepochs = 3\n')
    page.wait_for_selector(f"text={folder.name}")  # by itself
    line = page.locator("tr", has_text=folder.name).inner_text()
    assert "2 of 3" in line
    assert "21.25" in line
    (folder / "metrics.csv").write_text(rows + "3,30,0.3,22.5,0.8,0.3,60\n")
    page.locator("tr", has_text=folder.name).filter(has_text="3 of 3").wait_for()
    page.locator("tr", has_text=folder.name).locator("button").click()
    page.locator("#runs input[type=range]").fill("0")
    assert "epoch 001" in page.inner_text("#runs output")
    page.locator("tr", has_text=folder.name).locator("button").focus()
    (folder / "metrics.csv").write_text(rows + "3,30,0.3,22.75,0.8,0.3,60\n")
    write_image(folder / "samples" / "epoch-003.png", smooth(64, 128, 3))
    page.locator("tr", has_text=folder.name).filter(has_text="22.75").wait_for()
    assert "epoch 001" in page.inner_text("#runs output"), "what was chosen is left"
    assert page.evaluate("document.activeElement.textContent") == folder.name, "the focus is left"
    for i in range(7):  # more than there are colours, and one that is broken
        other = studio.folder / "runs" / f"other-{i}"
        other.mkdir(exist_ok=True)
        (other / "metrics.csv").write_text(f"epoch,step,loss,val_psnr\n1,10,0.5,{i}\n2,20,0.4,{i + 1}\n")
        (other / "config.toml").write_text('model = "unet"\nwidth = 8\nepochs = 3\n')
    (studio.folder / "runs" / "other-6" / "config.toml").write_text("model = ")
    page.wait_for_selector("text=config.toml cannot be read")
    for box in page.locator("#trainings input[type=checkbox]").all():
        box.check()
    assert (
        page.locator("#trainings figure:first-child polyline").count()
        == page.locator("#trainings tbody tr, #trainings tr:has(td)").count()
    )
    until(page, "document.querySelector('#runs .card > img').naturalWidth === 128")
    shot(page, "8-runs")
    accessible(page)


@desktop
def test_runs_that_cannot_be_read_are_said(page: Any):
    page.route("**/runs", lambda route: route.fulfill(status=500, body='{"error": "the disk is gone."}'))
    page.click("nav [data-view=runs]")
    until(page, "document.querySelector('#trouble').textContent === 'The disk is gone.'")
    page.unroute("**/runs")
    page.route("**/runs", lambda route: route.abort())
    until(page, "document.querySelector('#trouble').textContent.startsWith('The studio does not answer')")
    assert page.locator("[role=alert]:visible").count() == 1
    page.unroute("**/runs")
    until(page, "!document.querySelector('#trouble').textContent")


def test_the_images_of_an_evaluation_are_sorted(page: Any, studio: Studio):
    import pandas as pd

    folder = studio.folder / "results"
    (folder / "mine").mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    scores = {"coverage": generator.random(40), "psnr": 20 + generator.random(40), "psnr_hole": generator.random(40)}
    table = pd.DataFrame({"row": range(40), "name": [f"image {i}" for i in range(40)], "image": "", "class": "cat", **scores})
    table.to_parquet(folder / "mine" / "net.parquet")
    write_means(folder / "mine", "Holes of mine", 40, {"net": {"psnr": 20.5}})
    page.click("nav [data-view=runs]")
    with stuck(studio):
        page.click("#scores td button")
        page.wait_for_selector("text=Reading the scores… 1 s")
        shot(page, "9-reading")
        page.click("#scores .reading button")
        page.wait_for_selector("#scores .reading", state="detached")
        assert page.locator("#scores [aria-current]").count() == 0
    page.click("#scores td button")
    page.wait_for_selector("#scores .tall td")
    first = "#scores .tall tbody tr:first-child td:first-child"
    assert page.inner_text(first) == f"image {table.psnr.argmin()}"
    head = page.locator("#scores .tall th", has_text="PSNR (dB), in the hole").locator("button")
    head.click()
    until(page, f"document.querySelector('{first}').textContent === 'image {table.psnr_hole.argmin()}'")
    page.keyboard.press("Enter")  # what was chosen has the focus, and turns round
    until(page, f"document.querySelector('{first}').textContent === 'image {table.psnr_hole.argmax()}'")
    assert page.locator("#scores th[aria-sort]").count() == 1
    shot(page, "9-scores")
    accessible(page)


@desktop
def test_a_curve_tells_its_values_and_where_it_is_no_number(page: Any, studio: Studio):
    folder = studio.folder / "runs" / "lost"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,step,loss,val_psnr\n1,10,0.5,20\n2,20,0.25,21.5\n3,30,nan,nan\n")
    (folder / "config.toml").write_text('model = "unet"\nwidth = 8\nepochs = 3\n')
    page.click("nav [data-view=runs]")
    page.wait_for_selector("#trainings tr:has-text('lost')")
    for box in page.locator("#trainings input[type=checkbox]").all():
        box.set_checked("of lost" in box.get_attribute("aria-label"))
    chart = page.locator("#trainings figure", has_text="Training loss")
    assert chart.locator(".lost title").text_content() == "lost: no longer a number from epoch 3 on"
    assert "21.50" in page.locator("#trainings tr", has_text="lost").inner_text()
    box = chart.locator("svg").bounding_box()
    page.mouse.move(box["x"] + 0.58 * box["width"], box["y"] + 0.5 * box["height"])
    assert chart.locator(".told").inner_text() == "Epoch 2: lost 0.25000"
    chart.locator("svg").focus()
    page.keyboard.press("ArrowRight")
    assert chart.locator(".told").inner_text() == "Epoch 3: lost not a number"
