"""Compare, and many pictures at once, as a person uses them; $MEND_SHOTS is a folder for screenshots."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import accessible, desktop, fill, idle, marked, open_photo, paint, shot, until
from conftest import smooth
from PIL import Image
from running_studio import Studio

from mend.images import write_image

pytest.importorskip("fastapi", reason="the extra [studio] is not installed")


def compare(page: Any) -> list[str]:
    page.click("#compare")
    page.wait_for_selector("#link:not([hidden])")
    page.wait_for_selector("body:not([aria-busy])")
    return page.locator("figcaption").all_inner_texts()


def tick(page: Any, *methods: str) -> None:
    for box in page.locator("#methods input").all():
        box.set_checked(box.get_attribute("value") in methods)


def test_methods_side_by_side_and_a_link(page: Any, photo: Path, studio: Studio, browser: Any):
    open_photo(page, photo)
    page.click("nav [data-view=compare]")
    assert not page.is_checked("#score")
    page.click("#cut")
    assert page.is_checked("#score")
    assert 0.12 < marked(page) / (400 * 300) < 0.18
    shot(page, "7-test-hole")
    for name in ("mend-smooth", "biharmonic"):
        page.uncheck(f"#methods [value='{name}']")
    page.check("#methods [value=navier-stokes]")
    captions = compare(page)
    assert len(captions) == 4
    assert "PSNR" in captions[1]
    assert not page.is_visible("#marking")
    shot(page, "7-compared")
    accessible(page)
    page.click(".acts button >> nth=1")  # is seen large, and the comparison stays
    page.wait_for_selector("body[data-view=fill][data-state=marking]:not([aria-busy])")
    assert "filled by telea" in page.inner_text("#why")
    page.click("nav [data-view=compare]")
    assert page.locator("figcaption").all_inner_texts() == captions
    page.click("#link")
    until(page, "location.hash.startsWith('#compare=')")
    until(page, "document.querySelector('#linked').textContent.includes('until this studio is ended')")
    link = page.url

    # what was compared, whatever happens to the page that gave the link
    page.click("#change")
    page.wait_for_selector("body[data-state=marking]")
    assert not page.is_visible("#link")
    idle(page)
    assert 0.12 < marked(page) / (400 * 300) < 0.18
    assert page.is_checked("#score")
    page.click("nav [data-view=fill]")
    fill(page)
    page.click("nav [data-view=compare]")
    assert page.get_attribute("body", "data-state") == "marking"
    assert not page.is_checked("#score"), "it was true of the hole that was cut"
    open_photo(page, photo)
    until(page, "!location.hash")
    page.click("nav [data-view=fill]")
    page.goto("about:blank")
    other = browser.new_page()
    other.goto(link)
    other.wait_for_selector("#link:not([hidden])", timeout=120_000)
    other.wait_for_selector("body:not([aria-busy])")
    numbers = [[one.split("·")[1:] for one in texts] for texts in (captions, other.locator("figcaption").all_inner_texts())]
    assert numbers[0] == numbers[1]
    other.close()
    page.goto(studio.address)
    page.wait_for_selector("body[data-ready]")


@desktop
def test_a_link_that_no_longer_works_is_said(page: Any, studio: Studio, photo: Path):
    page.goto(f"{studio.address}/#compare=gone")
    until(page, "document.querySelector('#error').textContent.includes('link no longer works')")
    assert page.url == f"{studio.address}/"
    page.click("nav [data-view=fill]")
    open_photo(page, photo)
    paint(page, (0.4, 0.4), (0.5, 0.5))
    fill(page)


@desktop
def test_a_method_that_fails_leaves_the_others(page: Any, photo: Path):
    def refuse(route: Any) -> None:
        if json.loads(route.request.post_data)["model"] == "telea":
            route.fulfill(status=500, body='{"error": "the process died."}')
        else:
            route.continue_()

    page.route("**/fill", refuse)
    open_photo(page, photo)
    paint(page, (0.2, 0.2), (0.3, 0.2))
    page.click("nav [data-view=compare]")
    page.uncheck("#methods [value='mend-smooth']")
    compare(page)
    assert page.locator("figure").all_inner_texts()[2].split("\n")[:3:2] == ["The process died.", "telea"]
    assert page.locator("figure img").count() == 2


@desktop
def test_a_blind_choice_tells_the_names_and_is_kept(page: Any, photo: Path):
    open_photo(page, photo)
    page.click("nav [data-view=compare]")
    page.click("#cut")
    tick(page, "telea", "mean-colour")
    page.check("#blind")
    page.click("#compare")
    page.wait_for_selector("body[data-state=compared]:not([aria-busy])")
    seen = page.inner_text("#results")
    assert "Result A" in seen
    assert not any(word in seen for word in ("telea", "mean-colour", "PSNR"))
    page.click(".acts button >> nth=1")
    captions = page.locator("figcaption").all_inner_texts()
    assert sum("Chosen" in one for one in captions) == 1
    chosen = next(name for name in ("telea", "mean-colour") if any("Chosen" in one and name in one for one in captions))
    assert page.inner_text("#choices tbody tr >> nth=0").split() == [chosen, "1", "of", "1", "75", "%"]
    with page.expect_download() as found:
        page.click("#choices a")
    rows = Path(found.value.path()).read_text().splitlines()
    assert rows[0] == "time,picture,chosen,against"
    assert rows[1].split(",")[1:3] == ["photo.png", chosen]
    page.reload()
    page.wait_for_selector("body[data-ready]")
    page.evaluate("document.querySelector('[data-view=compare]').click()")
    assert chosen in page.text_content("#choices")
    accessible(page)


@desktop
def test_results_are_zoomed_together_at_their_full_size(page: Any, tmp_path: Path):
    write_image(tmp_path / "large.png", smooth(1200, 2400, 3))
    open_photo(page, tmp_path / "large.png")
    page.click("nav [data-view=compare]")
    page.click("#cut")
    tick(page, "telea", "navier-stokes")
    page.click("#compare")
    page.wait_for_selector("body[data-state=compared]:not([aria-busy])")
    whole = page.eval_on_selector(".lens >> nth=1", "one => one.clientWidth - one.firstChild.getBoundingClientRect().width")
    assert abs(whole) < 2, "the whole picture, without a margin"
    page.click("#lens-actual")
    page.hover(".lens >> nth=1")
    page.mouse.down()
    page.mouse.move(500, 300)
    page.mouse.move(450, 280)
    page.mouse.up()
    places = page.eval_on_selector_all(".lens img", "all => all.map(one => one.style.translate + one.style.width)")
    assert len(set(places)) == 1
    assert places[0].endswith("2400px")
    until(page, "[...document.querySelectorAll('.lens img')].slice(1).every(one => one.naturalWidth === 2400)")
    page.locator(".lens >> nth=0").focus()
    page.keyboard.press("0")
    assert page.get_attribute("#lens-fit", "aria-pressed") == "true"


def test_many_pictures_lose_the_same_stamp(page: Any, tmp_path: Path):
    for i, size in enumerate(((200, 300), (300, 200))):
        pixels = np.full((*size, 3), 60 + 40 * i, np.uint8)
        pixels[-24:-14:2, -60:-10] = (255, 160, 40)
        write_image(tmp_path / f"photo-{i}.png", pixels)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.click("nav [data-view=batch]")
    assert page.is_disabled("#batch-start")
    page.set_input_files("#batch-photos", [tmp_path / "photo-0.png", tmp_path / "photo-1.png", tmp_path / "broken.png"])
    until(page, "document.querySelector('#batch-first').naturalWidth === 300")
    page.locator("#batch-region").scroll_into_view_if_needed()
    box = page.locator("#batch-region").bounding_box()
    corners = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ((0.75, 0.85), (0.99, 0.99))]
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*corners[1], steps=3)
    page.mouse.up()
    page.select_option("#batch-model", "telea")
    accessible(page)
    page.click("#batch-start")
    page.wait_for_selector("#batch-zip:not([hidden])")
    assert page.inner_text("#batch-zip") == "Save 2 pictures as a ZIP"
    assert re.search("Filled[.] All .* are identical[.]", page.inner_text("#batch-list tr >> nth=0"))
    assert "broken.png" in page.inner_text("#batch-list tr >> nth=2")
    assert page.locator("#batch-list bdi >> nth=0").bounding_box()["height"] < 30, "a name has one line"
    assert "tmp" not in page.inner_text("#batch-list tr >> nth=2")
    with page.expect_download() as found:
        page.click("#batch-zip")
    with zipfile.ZipFile(found.value.path()) as archive:
        assert archive.namelist() == ["photo-0-filled.png", "photo-1-filled.png"]
        for i, name in enumerate(archive.namelist()):
            filled = np.asarray(Image.open(io.BytesIO(archive.read(name))))
            assert np.abs(filled.astype(int) - (60 + 40 * i)).max() < 20
    shot(page, "10-many")
