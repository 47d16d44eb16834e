"""What a person does on the studio's page to remove something; $MEND_SHOTS is a folder for screenshots."""

import base64
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import (
    accessible,
    at,
    choose,
    desktop,
    every_size,
    fill,
    idle,
    marked,
    open_page,
    open_photo,
    paint,
    set_range,
    shot,
    show_more,
    shown,
    turn_to,
    until,
)
from conftest import smooth
from PIL import Image
from running_studio import Studio, stuck

from mend.images import write_image

pytest.importorskip("fastapi", reason="the extra [studio] is not installed")
READY = "document.querySelector('#fill').ariaDisabled === 'false'"
phone = pytest.mark.parametrize("page", ["phone"], indirect=True)


def drop(page: Any, way: str, photo: Path) -> None:
    """Drop the file onto the page, or paste it."""
    data = list(photo.read_bytes())
    event = {"drop": "new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: held})",
             "paste": "new ClipboardEvent('paste', {bubbles: true, clipboardData: held})"}[way]  # fmt: skip
    page.evaluate(
        "bytes => { const held = new DataTransfer();"
        "held.items.add(new File([new Uint8Array(bytes)], 'held.png', {type: 'image/png'}));"
        f"document.querySelector('#stage').dispatchEvent({event}); }}",
        data,
    )


def download(page: Any, button: str) -> tuple[str, bytes]:
    show_more(page)
    with page.expect_download() as found:
        page.click(button)
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@every_size
def test_a_person_removes_something(page: Any, photo: Path, tmp_path: Path):
    shot(page, "1-empty")
    accessible(page)
    open_photo(page, photo)
    assert page.inner_text("#why") == "First paint over what should go."
    page.click("#fill", force=True)  # which says so, and does nothing
    assert page.get_attribute("#fill", "aria-disabled") == "true"
    paint(page, (0.4, 0.4), (0.6, 0.5))
    stroke = marked(page)
    assert stroke > 1000
    seen = shown(page)
    set_range(page, "#grow", 8)
    assert shown(page) > seen * 1.2
    shot(page, "2-marked")
    page.click("#undo")
    idle(page)
    assert marked(page) == 0
    page.click("#redo")
    idle(page)
    assert marked(page) == stroke
    choose(page, "eraser")
    paint(page, (0.58, 0.3), (0.58, 0.7))
    assert 0 < marked(page) < stroke
    box = page.locator("#fill").bounding_box()
    height = page.evaluate("innerHeight")
    assert box["y"] > 0, "Fill is out of reach"
    assert box["y"] + box["height"] <= height, "Fill is out of reach"
    assert page.evaluate("scrollY") == 0
    accessible(page)
    fill(page)
    shot(page, "3-result")
    accessible(page)

    name, data = download(page, "#download")
    assert name == "photo-filled.png"
    mask = pixels(download(page, "#mask-download")[1]) > 0
    changed = (pixels(data) != np.asarray(Image.open(photo))).any(-1)
    assert changed.any()
    assert not changed[~mask].any()

    # again, on the result, with the mask that was saved
    Image.fromarray(mask).save(tmp_path / "again.png")
    page.set_input_files("#load", tmp_path / "again.png")
    until(page, READY)
    assert marked(page) == mask.sum()
    fill(page)
    assert download(page, "#download")[0] == "photo-filled-2.png"
    shot(page, "3-more")
    accessible(page)
    assert page.locator("#items button").count() == 3


@desktop
def test_marks_and_fillings_are_undone_and_the_original_is_seen(page: Any, photo: Path):
    def sources() -> list[str]:
        return page.evaluate("['photo', 'before'].map((id) => document.getElementById(id).src)")

    def press(keys: str) -> None:
        page.keyboard.press(keys)
        idle(page)

    open_photo(page, photo)
    original = sources()[0]
    paint(page, (0.2, 0.2), (0.3, 0.2))
    first = marked(page)
    fill(page)
    one = sources()[0]
    assert sources() == [one, original]
    paint(page, (0.6, 0.6), (0.7, 0.6))
    second = marked(page)
    fill(page)
    assert sources()[1] == original, "it is compared with the result before"
    press("Control+z")
    assert (marked(page), sources()[0]) == (second, one)
    press("Control+z")
    press("Control+z")
    assert (marked(page), sources()[0]) == (first, original)
    press("Control+z")
    assert marked(page) == 0
    for _ in range(3):
        press("Control+y")
    assert (marked(page), sources()[0]) == (second, one)
    press("Control+Shift+z")
    assert sources()[0] not in (original, one)

    page.keyboard.down("h")
    assert page.locator("#easel.holding").count() == 1
    page.keyboard.up("h")
    assert page.locator("#easel.holding").count() == 0
    page.click("#compare-original")
    accessible(page)
    shot(page, "4-before-after")
    box = page.locator("#handle").bounding_box()
    page.mouse.move(box["x"] + 22, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] - 78, box["y"] + 100)
    page.mouse.up()
    assert 20 < float(page.input_value("#split")) < 50
    assert marked(page) == 0
    page.focus("#split")
    page.keyboard.press("End")
    assert float(page.input_value("#split")) == 100


@desktop
def test_a_large_picture_is_marked_pixel_by_pixel(page: Any, tmp_path: Path):
    Image.fromarray(smooth(1700, 2600, 7)).save(tmp_path / "large.jpg")
    open_photo(page, tmp_path / "large.jpg")
    width = "document.querySelector('#photo').getBoundingClientRect().width"
    whole = page.evaluate(width)
    assert whole < 1100
    x, y = at(page, (0.25, 0.75))
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -240)
    assert page.evaluate(width) > 4 * whole
    assert at(page, (0.25, 0.75)) == pytest.approx((x, y), abs=4), "what is under the cursor stays there"
    page.click("#actual")
    assert page.evaluate(width) == pytest.approx(2600)
    assert page.evaluate("document.querySelector('#photo').naturalWidth") == 2600, "it is seen in small, enlarged"
    set_range(page, "#size", 10)
    page.mouse.click(*at(page, (0.25, 0.75)))
    assert marked(page) == pytest.approx(np.pi * 25, rel=0.2)

    def moved(act: Callable[[], None], *, down: str = "left") -> tuple[float, float]:
        start = page.locator("#photo").bounding_box()
        page.mouse.move(500, 500)
        act()
        page.mouse.down(button=down)
        page.mouse.move(560, 470, steps=3)
        page.mouse.up(button=down)
        end = page.locator("#photo").bounding_box()
        return end["x"] - start["x"], end["y"] - start["y"]

    assert moved(lambda: None, down="middle") == pytest.approx((60, -30))
    assert moved(lambda: page.keyboard.down(" ")) == pytest.approx((60, -30))
    page.keyboard.up(" ")
    assert marked(page) == pytest.approx(np.pi * 25, rel=0.2), "who moves the picture paints"
    shot(page, "5-actual-size")
    before = page.input_value("#size")
    page.mouse.move(500, 500)
    page.mouse.down(button="right")
    page.mouse.move(540, 500, steps=2)
    page.mouse.up(button="right")
    assert int(page.input_value("#size")) == int(before) + 40
    page.keyboard.press("0")
    assert page.evaluate(width) == pytest.approx(whole)
    page.keyboard.press("1")
    fill(page)
    assert page.evaluate(width) == pytest.approx(2600), "one goes on where one looked"


@pytest.mark.parametrize("page", ["phone", "small"], indirect=True)
def test_the_picture_stays_where_it_is_whatever_tool_is_chosen(page: Any, photo: Path):
    open_photo(page, photo)
    place = at(page, (0, 0)), at(page, (1, 1))
    for tool in ("object", "eraser", "brush", "object"):
        choose(page, tool)
        assert (at(page, (0, 0)), at(page, (1, 1))) == place, tool
    shot(page, "2-object")
    page.mouse.click(*at(page, (0.5, 0.46)))
    idle(page)
    assert marked(page) > 5000
    page.click("#selecting label:last-child")
    page.mouse.click(*at(page, (0.5, 0.46)))
    idle(page)
    assert (at(page, (0, 0)), at(page, (1, 1))) == place
    bottom = page.locator("#fill").bounding_box()
    assert bottom["y"] + bottom["height"] < page.viewport_size["height"], "one has to scroll to fill"
    accessible(page)


@phone
def test_two_fingers_move_and_never_paint(page: Any, photo: Path):
    def touch(kind: str, *points: tuple[float, float]) -> None:
        there = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": there})

    hand = page.context.new_cdp_session(page)
    open_photo(page, photo)
    width = page.locator("#photo").bounding_box()["width"]
    x, y = at(page, (0.5, 0.5))
    touch("touchStart", (x - 40, y))  # the first finger comes before the second, as it does, and has begun to paint
    touch("touchMove", (x - 50, y))
    touch("touchStart", (x - 50, y), (x + 50, y))
    touch("touchMove", (x - 100, y), (x + 100, y))
    touch("touchEnd", (x - 100, y))
    touch("touchMove", (x - 60, y + 30))
    touch("touchEnd")
    assert marked(page) == 0
    assert page.locator("#photo").bounding_box()["width"] == pytest.approx(2 * width, rel=0.02)
    assert page.is_disabled("#undo"), "a stroke that was none is a step"
    touch("touchStart", (x, y))
    touch("touchMove", (x + 50, y))
    touch("touchEnd")
    assert marked(page) > 0


@desktop
def test_a_brush_fills_as_soon_as_one_lets_go_and_keys_choose(page: Any, photo: Path):
    open_photo(page, photo)
    page.keyboard.press("?")
    assert page.is_visible("#help")
    accessible(page)
    page.keyboard.press("Escape")
    before = int(page.input_value("#size"))
    page.keyboard.press("]")
    assert int(page.input_value("#size")) > before
    page.keyboard.press("[")
    page.keyboard.press("[")
    assert int(page.input_value("#size")) < before
    for key, tool in (("o", "object"), ("e", "eraser"), ("b", "brush")):
        page.keyboard.press(key)
        assert page.is_checked(f"[value={tool}]")
    paint(page, (0.2, 0.2), (0.3, 0.2))
    page.select_option("#model", "telea")
    page.keyboard.press("Enter")  # the list has the focus, and keeps the key
    assert not page.is_visible("#download")
    page.focus("#overlay")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#why').textContent.startsWith('Done')")
    page.check("#at-once")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.is_checked("#at-once"), "it is forgotten"
    page.select_option("#model", "telea")
    paint(page, (0.6, 0.6), (0.7, 0.6))
    until(page, "document.querySelectorAll('#items button').length === 3")
    idle(page)
    assert page.inner_text("#why").startswith("Done")


def test_nothing_is_lost(browser: Any, photo: Path, tmp_path: Path):
    studio = Studio(tmp_path / "studio")
    pages = open_page(browser, studio, "desktop")
    page = next(pages)
    open_photo(page, photo)
    paint(page, (0.2, 0.2), (0.3, 0.2))
    fill(page)
    paint(page, (0.4, 0.4), (0.6, 0.5))
    kept = marked(page)
    set_range(page, "#grow", 5)
    page.wait_for_timeout(300)  # it is kept beside the work
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.inner_text("#notice") == "Your work is back, with your marks and 1 result."
    assert (marked(page), page.input_value("#grow")) == (kept, "5")
    shot(page, "6-reloaded")

    studio.process.kill()
    studio.process.wait()
    page.click("#fill")
    until(page, "document.querySelector('#error').textContent.includes('does not answer')")
    assert marked(page) == kept
    again = Studio(tmp_path / "studio", port=int(studio.address.rsplit(":")[-1]))
    fill(page)
    name, data = download(page, "#download")
    assert name == "photo-filled-2.png"
    assert (pixels(data) != np.asarray(Image.open(photo))).any()
    page.go_back()
    page.go_forward()
    page.wait_for_selector("body[data-ready]")
    assert page.locator("#items button").count() == 3

    # Another page finds it once this one is closed, and not before.
    other = page.context.new_page()
    other.goto(again.address)
    other.wait_for_selector("body[data-ready]")
    assert not other.is_visible("#left-off")
    page.close()
    other.reload()
    other.wait_for_selector("#left-off:not([hidden])")
    assert "photo.png" in other.inner_text("#left-off")
    accessible(other)
    other.click("#resume")
    other.wait_for_selector("body[data-state=marking]:not([aria-busy])")
    assert other.locator("#items button").count() == 3
    paint(other, (0.7, 0.7), (0.8, 0.7))
    fill(other)
    with other.expect_event("dialog") as asked:  # one leaves with a result that was not saved
        other.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.accept()
    browser.contexts[-1].close()
    again.end()


def test_dark_and_a_name_from_right_to_left(browser: Any, studio: Studio, photo: Path, tmp_path: Path):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark", reduced_motion="reduce")
    page = context.new_page()
    page.kind = "dark"
    page.goto(studio.address)
    page.wait_for_selector("body[data-ready]")
    named = tmp_path / "תמונה 1.png"
    named.write_bytes(photo.read_bytes())
    open_photo(page, named)
    assert page.inner_text("#name") == "תמונה 1.png"
    assert page.evaluate("getComputedStyle(document.querySelector('#name')).unicodeBidi") == "isolate"
    paint(page, (0.2, 0.2), (0.3, 0.2))
    accessible(page)
    fill(page)
    page.click("#compare-original")
    shot(page, "4-before-after")
    accessible(page)
    assert download(page, "#download")[0] == "תמונה 1-filled.png"
    context.close()


@pytest.mark.parametrize(("motion", "moving"), [("no-preference", 1), ("reduce", 0)])
def test_nothing_moves_where_a_person_asked_for_that(browser: Any, studio: Studio, photo: Path, motion: str, moving: int):
    context = browser.new_context(reduced_motion=motion)
    page = context.new_page()
    page.goto(studio.address)
    page.wait_for_selector("body[data-ready]")
    held: list[Any] = []  # no answer comes
    page.route("**/pictures?*", lambda route: held.append(route))
    page.set_input_files("#choose", photo)
    page.wait_for_selector("#progress:not([hidden])")
    assert page.evaluate("document.getAnimations().length") == moving
    held[0].abort()
    context.close()


@every_size
def test_no_view_has_an_empty_card_or_cuts_a_part_off(page: Any, photo: Path):
    empty = "[...document.querySelectorAll('.card')].filter(one => one.checkVisibility() && !one.innerText.trim()).length"
    for view in ("fill", "batch", "compare", "runs"):
        page.click(f"nav [data-view={view}]")
        assert page.evaluate(empty) == 0, view
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        shot(page, f"11-{view}")
    page.click("nav [data-view=fill]")
    open_photo(page, photo)
    choose(page, "object")
    show_more(page)
    assert page.locator("#more").bounding_box()["y"] >= page.locator("header").bounding_box()["height"] - 1
    shot(page, "11-object-more")


def test_a_look_at_the_history_loses_nothing(page: Any, photo: Path, tmp_path: Path):
    open_photo(page, photo)
    paint(page, (0.4, 0.4), (0.6, 0.5))
    fill(page)
    paint(page, (0.2, 0.2), (0.4, 0.2))
    of_result = marked(page)
    write_image(tmp_path / "other.png", smooth(200, 300, 8))
    open_photo(page, tmp_path / "other.png")
    paint(page, (0.2, 0.2), (0.3, 0.6))
    of_other = marked(page)
    turn_to(page, 2)
    assert (page.text_content("#name"), marked(page)) == ("photo.png", of_result)
    turn_to(page, 3)
    assert (page.text_content("#name"), marked(page)) == ("other.png", of_other)
    shot(page, "3-history")
    page.click("#undo")
    idle(page)
    assert (page.text_content("#name"), marked(page)) == ("photo.png", of_result)


@every_size
def test_the_names_of_methods_are_not_cut_off(page: Any, photo: Path):
    open_photo(page, photo)
    show_more(page)
    shot(page, "3-more")
    wide = page.evaluate(
        "(() => { const box = document.querySelector('#model'), pen = document.createElement('canvas').getContext('2d');"
        "pen.font = getComputedStyle(box).font;"
        "return [...box.options].map((one) => [one.text, pen.measureText(one.text).width - box.clientWidth]) })()"
    )
    arrow = 32  # pixels, with the padding
    assert not [text for text, over in wide if over > -arrow]


def test_programs_find_what_they_may_ask_for(page: Any, studio: Studio):
    page.goto(f"{studio.address}/docs")
    page.wait_for_selector("body[data-ready]")
    assert page.locator("h3").all_inner_texts()[:2] == ["POST /fill", "POST /fills"]
    assert f"{studio.address}/fill" in page.inner_text("#curl")
    assert "feather" in page.locator("section").first.inner_text()
    shot(page, "10-docs")
    accessible(page)


def test_a_click_and_the_keyboard_select_an_object(page: Any, photo: Path):
    open_photo(page, photo)
    choose(page, "object")
    page.mouse.click(*at(page, (0.5, 0.45)))
    until(page, READY)
    found = marked(page)
    assert 0.8 * 8000 < found < 1.35 * 8000
    shot(page, "4-selected")
    accessible(page)
    page.click("#clear")
    page.focus("#overlay")
    page.keyboard.press("Space")  # the cursor stands where the click was
    until(page, READY)
    assert marked(page) == found
    choose(page, "brush")
    page.focus("#overlay")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert marked(page) > found


@desktop
def test_a_box_and_further_clicks_are_one_object(page: Any, photo: Path):
    asked: list[Any] = []
    image = io.BytesIO()
    Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), ((100, 180), (150, 230)))).save(image, "PNG")
    answer = json.dumps({"done": {"image": f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}"}})
    page.route("**/select", lambda route: (asked.append(json.loads(route.request.post_data)), route.fulfill(body=answer)))
    open_photo(page, photo)
    paint(page, (0.1, 0.1), (0.2, 0.1))
    painted = marked(page)
    choose(page, "object")
    paint(page, (0.6, 0.7), (0.3, 0.2))
    until(page, READY)
    idle(page)
    assert asked[0]["points"] == []
    assert asked[0]["box"] == pytest.approx([0.3, 0.2, 0.6, 0.7], abs=0.01)
    assert marked(page) == painted + 400
    page.check("[name=click][value=take]")
    page.mouse.click(*at(page, (0.5, 0.5)))
    idle(page)
    page.keyboard.down("Shift")
    page.mouse.click(*at(page, (0.4, 0.4)))
    page.keyboard.up("Shift")
    until(page, "!document.body.hasAttribute('aria-busy')")
    assert [point["add"] for point in asked[-1]["points"]] == [False, True]
    assert asked[-1]["box"] == asked[0]["box"]
    page.check("[name=click][value=new]")
    page.mouse.click(*at(page, (0.4, 0.4)))
    until(page, "!document.body.hasAttribute('aria-busy')")
    assert (len(asked[-1]["points"]), asked[-1]["box"]) == (1, None)
    page.click("#undo")  # the clicks changed nothing, and are no steps
    idle(page)
    assert marked(page) == painted


@desktop
def test_a_page_for_which_there_is_no_room_says_so(page: Any, photo: Path, studio: Studio):
    page.goto("about:blank")
    busy = '{"error": "32 pages are open already."}'
    page.route("**/sessions", lambda route: route.fulfill(status=503, body=busy))
    page.goto(studio.address)
    until(page, "document.querySelector('#error').textContent === '32 pages are open already.'")
    page.set_input_files("#choose", photo)
    until(page, "document.querySelector('#error').textContent.includes('Reload the page')")
    page.unroute("**/sessions")
    page.goto(studio.address)
    page.wait_for_selector("body[data-ready]")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page: Any, photo: Path, way: str):
    drop(page, way, photo)
    page.wait_for_selector("body[data-state=marking]")
    assert page.inner_text("#name") == "held.png"
    assert "400 × 300" in page.inner_text("#facts")


def test_what_goes_wrong_is_one_sentence(page: Any, photo: Path, tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    page.set_input_files("#choose", tmp_path / "broken.jpg")
    until(page, "document.querySelector('#error').textContent")
    said = page.inner_text("#error")
    assert "broken.jpg" in said
    assert "Traceback" not in said
    shot(page, "5-error")
    accessible(page)
    open_photo(page, photo)
    assert page.inner_text("#error") == ""
    write_image(tmp_path / "all.png", np.full((300, 400, 1), 255, np.uint8))
    page.set_input_files("#load", tmp_path / "all.png")
    until(page, READY)
    page.click("#fill")
    until(page, "document.querySelector('#error').textContent.includes('covers the whole picture')")
    page.click("#clear")
    paint(page, (0.4, 0.4), (0.5, 0.5))
    fill(page)


def test_a_long_task_can_be_cancelled(page: Any, studio: Studio, tmp_path: Path):
    write_image(tmp_path / "large.png", smooth(900, 1200, 7))
    open_photo(page, tmp_path / "large.png")
    set_range(page, "#size", 200)
    paint(page, (0.2, 0.3), (0.8, 0.3), (0.8, 0.7), (0.2, 0.7))
    page.eval_on_selector("#model", "(one) => { one.value = 'biharmonic' }")
    page.click("#fill")
    until(page, "document.querySelector('#stage-said').textContent.startsWith('Filling')")
    page.wait_for_selector("#progress:not([hidden])")
    with stuck(studio):
        cancel(page)
    assert page.get_attribute("body", "data-state") == "marking"
    fill(page)


def cancel(page: Any) -> None:
    assert page.evaluate("document.querySelector('#cancel').getBoundingClientRect().bottom <= innerHeight"), (
        "it is out of sight"
    )
    shot(page, "6-progress")
    start = time.monotonic()
    page.click("#cancel")
    page.wait_for_selector("body:not([aria-busy])")
    assert time.monotonic() - start < 5


@desktop
def test_whatever_takes_long_shows_that_and_can_be_cancelled(page: Any, studio: Studio, tmp_path: Path):
    write_image(tmp_path / "large.png", smooth(800, 1600, 7))
    mask = np.zeros((800, 1600, 1), np.uint8)
    mask[370:420, 530:580] = 255
    write_image(tmp_path / "mask.png", mask)
    open_photo(page, tmp_path / "large.png")
    paint(page, (0.2, 0.2), (0.3, 0.2))

    session = studio.session()

    def cancelled(act: Callable[[], None]) -> None:
        studio.ask(f"/sessions/{session}/examples/camera")  # wakes the process that the last cancelling ended
        with stuck(studio):
            act()
            page.wait_for_selector("#progress:not([hidden])")
            page.click("#cancel")
            page.wait_for_selector("body:not([aria-busy])")
        assert page.inner_text("#error") == ""

    cancelled(lambda: page.set_input_files("#another", tmp_path / "large.png"))
    cancelled(lambda: page.set_input_files("#load", tmp_path / "mask.png"))
    choose(page, "object")
    cancelled(lambda: page.click("#overlay"))
    page.click("nav [data-view=compare]")
    cancelled(lambda: page.click("#compare"))


@desktop
def test_the_keyboard_is_enough(page: Any):
    def go_to(element: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement === document.querySelector('{element}')"):
                return
        raise AssertionError(f"{element} is not reached")

    for element in ("#choose", "#examples button"):
        go_to(element)
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-state=marking]:not([aria-busy])")
    order = ("#overlay", "#closer", "#fit", "#actual", "[name=tool]:checked", "#size", "#undo", "#clear", "#model")
    for element in order:
        go_to(element)
    page.keyboard.type("telea")
    go_to("#fill")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#why').textContent.startsWith('Done')")
    idle(page)
    assert page.evaluate("document.activeElement.id") == "fill", "the focus is lost"
    order = (
        "#download",
        "nav [data-view=compare]",
        "#hold",
        "#compare-original",
        "#grow",
        "#load",
        "#mask-download",
        "#another",
    )
    for element in (*order, "#items button", "#fill", "nav [data-view=compare]"):
        go_to(element)
    page.keyboard.press("Enter")
    for element in ("#methods input", "#cut"):
        go_to(element)
    page.keyboard.press("Enter")
    for element in ("#score", "#compare"):
        go_to(element)


@desktop
def test_a_file_that_is_too_large_is_not_sent(page: Any, photo: Path, tmp_path: Path):
    with (tmp_path / "huge.png").open("wb") as huge:
        huge.truncate(200_000_001)
    open_photo(page, photo)
    for chosen in ("#another", "#load"):
        page.set_input_files(chosen, tmp_path / "huge.png")
        until(page, "document.querySelector('#error').textContent.startsWith('huge.png is larger than 200 MB')")
        page.set_input_files("#load", photo)  # which is no mask, and is said
        until(page, "document.querySelector('#error').textContent.startsWith('Cannot tell which part')")


@desktop
def test_an_answer_that_is_none_and_a_picture_too_many(page: Any, photo: Path):
    page.route("**/pictures?name=*", lambda route: route.fulfill(status=502, body="<html>Bad gateway</html>"))
    page.set_input_files("#choose", photo)
    until(page, "document.querySelector('#error').textContent.includes('answer (502) cannot be read')")
    page.unroute("**/pictures?name=*")
    page.click("nav [data-view=runs]")
    drop(page, "drop", photo)  # opens it where pictures are
    page.wait_for_selector("body[data-view=fill][data-state=marking]")
    held: list[Any] = []
    page.route("**/fill", lambda route: held.append(route))
    paint(page, (0.2, 0.2), (0.3, 0.2))
    page.click("#fill")
    page.wait_for_selector("body[aria-busy]")
    drop(page, "drop", photo)
    until(page, "document.querySelector('#error').textContent.startsWith('One thing at a time')")
    until_held(held, page)
    held[0].continue_()
    idle(page)
    assert page.inner_text("#error") == ""
    assert page.inner_text("#why").startswith("Done")


def until_held(held: list[Any], page: Any) -> None:
    deadline = time.monotonic() + 60
    while not held:
        assert time.monotonic() < deadline, "the page asked for nothing"
        page.wait_for_timeout(50)


@desktop
def test_a_page_says_that_it_is_open_and_closes_its_session(page: Any, studio: Studio, photo: Path):
    context = page.context.browser.new_context()
    context.add_init_script(
        "window.setInterval = ((every) => (what, ms) => every(what, ms === 240000 ? 100 : ms))(setInterval)"
    )
    other = context.new_page()
    other.goto(studio.address)
    with other.expect_response("**/alive") as answer:
        pass
    assert answer.value.status == 200
    session = answer.value.url.split("/")[-2]
    other.close(run_before_unload=True)
    context.close()
    deadline = time.monotonic() + 20
    while studio.client.post(f"/sessions/{session}/alive").status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
