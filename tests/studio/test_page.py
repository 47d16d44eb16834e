"""The studio's page in a real browser, with every address but its own cut off; $MEND_SHOTS is a folder for screenshots."""

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import smooth
from made_results import write_means
from PIL import Image
from running_studio import Studio, stuck

from mend.images import write_image

pytest.importorskip("fastapi", reason="the extra [studio] is not installed")
api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)")

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        cut = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", cut])
        yield opened
        opened.close()


@pytest.fixture(params=list(SIZES))
def page(request: pytest.FixtureRequest, browser: Any, studio: Studio) -> Iterator[Any]:
    """The page as it opens. Any request that would leave the machine, and any fault in its scripts, fails the test."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=request.param == "phone")
    opened = context.new_page()
    opened.set_default_timeout(120_000)
    asked: list[str] = []
    faults: list[str] = []
    # What the page looks for every five seconds it looks for every half.
    opened.add_init_script("window.setInterval = ((every) => (what, ms) => every(what, ms === 5000 ? 500 : ms))(setInterval)")
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("pageerror", lambda fault: faults.append(str(fault)))
    opened.goto(studio.address)
    opened.wait_for_selector("body[data-ready]")
    opened.kind = request.param
    yield opened
    opened.goto("about:blank")  # which closes the session, as whoever leaves does
    context.close()
    assert not [url for url in asked if not url.startswith((studio.address, "data:", "blob:"))]
    assert not faults


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.asarray(Image.fromarray(smooth(300, 400, 5))).copy()
    pixels[100:180, 150:250] = (30, 40, 200)
    write_image(tmp_path / "photo.png", pixels)
    return tmp_path / "photo.png"


desktop = pytest.mark.parametrize("page", ["desktop"], indirect=True)  # for what is the same at every size


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


def shot(page: Any, name: str) -> None:
    folder = os.environ.get("MEND_SHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{page.kind}-{name}.png", full_page=True)


def open_photo(page: Any, photo: Path) -> None:
    page.set_input_files("#choose" if page.is_visible("#choose") else "#another", photo)
    page.wait_for_selector("body[data-state=marking]")


def paint(page: Any, *points: tuple[float, float]) -> None:
    """A stroke through points, shares of the picture's width and height."""
    page.locator("#overlay").scroll_into_view_if_needed()
    box = page.locator("#overlay").bounding_box()
    page.mouse.move(box["x"] + points[0][0] * box["width"], box["y"] + points[0][1] * box["height"])
    page.mouse.down()
    for x, y in points:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
    page.mouse.up()


def until(page: Any, expression: str) -> None:
    """Wait for an expression to be true; Playwright's own waiting needs `eval`, which the page forbids."""
    deadline = time.monotonic() + 120
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.02)


def fill(page: Any) -> None:
    page.select_option("#model", "telea")
    page.click("#fill")
    page.wait_for_selector("body[data-state=result]:not([aria-busy])")


def marked(page: Any) -> int:
    """How many pixels the page shows as marked or grown."""
    return page.evaluate(
        "(() => { const c = document.querySelector('#overlay');"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v).length })()"
    )


def set_range(page: Any, name: str, value: int) -> None:
    page.locator(name).fill(str(value))


def accessible(page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"
    found = Axe().run(page)
    assert not found.violations_count, found.generate_report()


def test_a_person_removes_something(page: Any, photo: Path, tmp_path: Path):
    shot(page, "1-empty")
    accessible(page)
    open_photo(page, photo)
    assert page.is_disabled("#fill")
    set_range(page, "#size", 40)
    paint(page, (0.4, 0.4), (0.6, 0.5))
    stroke = marked(page)
    assert stroke > 1000
    set_range(page, "#grow", 8)
    assert marked(page) > stroke * 1.2
    shot(page, "2-marked")
    page.click("#undo")
    assert marked(page) == 0
    paint(page, (0.4, 0.4), (0.6, 0.5))
    before = marked(page)
    page.check("[value=eraser]", force=True)
    paint(page, (0.58, 0.3), (0.58, 0.7))
    assert 0 < marked(page) < before
    first = marked(page)
    accessible(page)
    fill(page)
    assert "filled by telea" in page.inner_text("#took")
    shot(page, "3-result")
    accessible(page)

    page.focus("#split")
    page.keyboard.press("Home")
    until(page, "getComputedStyle(document.querySelector('#handle')).left === '0px'")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "photo-filled.png"
    data = Path(download.value.path()).read_bytes()
    served = page.request.get(page.evaluate("document.querySelector('#download').href")).body()
    assert hashlib.sha256(data).digest() == hashlib.sha256(served).digest()
    with page.expect_download() as download:
        page.click("#mask-download")
    mask = np.asarray(Image.open(download.value.path())) > 0
    changed = (np.asarray(Image.open(io.BytesIO(data))) != np.asarray(Image.open(photo))).any(-1)
    assert changed.any()
    assert not changed[~mask].any()

    # again, on the result, with the mask that was saved
    Image.fromarray(mask).save(tmp_path / "again.png")
    page.click("#again")
    page.wait_for_selector("body[data-state=marking]")
    page.set_input_files("#load", tmp_path / "again.png")
    until(page, "!document.querySelector('#fill').disabled")
    assert marked(page) == mask.sum()
    fill(page)
    assert page.locator("#items button").count() == 3
    page.click("#items button:nth-child(2)")
    page.wait_for_selector("#items button:nth-child(2)[aria-current]")
    page.click("#back")  # to the marks of that result, not to those of the other
    page.wait_for_selector("body[data-state=marking]")
    assert marked(page) == first
    assert page.input_value("#grow") == "8"


def test_the_names_of_methods_are_not_cut_off(page: Any, photo: Path):
    open_photo(page, photo)
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
    page.check("[value=object]", force=True)
    page.locator("#overlay").scroll_into_view_if_needed()
    box = page.locator("#overlay").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.45 * box["height"])
    until(page, "!document.querySelector('#fill').disabled")
    found = marked(page)
    assert 0.8 * 8000 < found < 1.25 * 8000
    shot(page, "4-selected")
    page.click("#clear")
    page.focus("#overlay")
    page.keyboard.press("Space")  # the cursor stands where the click was
    until(page, "!document.querySelector('#fill').disabled")
    assert marked(page) == found
    page.check("[value=brush]", force=True)
    page.focus("#overlay")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert marked(page) > found


def test_a_look_at_the_history_loses_nothing(page: Any, photo: Path, tmp_path: Path):
    def bring(number: int, state: str) -> None:
        page.click(f"#items button:nth-child({number})")
        page.wait_for_selector(f"body[data-state={state}]:not([aria-busy])")
        assert page.get_attribute(f"#items button:nth-child({number})", "aria-current") == "true"

    open_photo(page, photo)
    paint(page, (0.4, 0.4), (0.6, 0.5))
    fill(page)
    page.click("#again")
    page.wait_for_selector("body[data-state=marking]:not([aria-busy])")
    paint(page, (0.2, 0.2), (0.4, 0.2))
    of_result = marked(page)
    bring(2, "result")
    page.click("#again")
    page.wait_for_selector("body[data-state=marking]:not([aria-busy])")
    assert marked(page) == of_result
    write_image(tmp_path / "other.png", smooth(200, 300, 8))
    open_photo(page, tmp_path / "other.png")
    page.wait_for_selector("#items button:nth-child(3)[aria-current]")
    set_range(page, "#grow", 4)
    paint(page, (0.2, 0.2), (0.3, 0.6))
    of_other = marked(page)
    bring(2, "result")
    assert page.inner_text("#name") == "photo.png"
    assert "400 × 300" in page.inner_text("#facts")
    shot(page, "3-history")
    bring(3, "marking")
    assert page.inner_text("#name") == "other.png"
    assert marked(page) == of_other
    assert page.input_value("#grow") == "4"
    bring(2, "result")
    page.click("#again")
    page.wait_for_selector("body[data-state=marking]:not([aria-busy])")
    assert marked(page) == of_result

    page.route("**/pictures/*", lambda route: route.abort())
    page.click("#items button:nth-child(2)")
    until(page, "document.querySelector('#error').textContent.startsWith('The studio does not answer')")
    page.unroute("**/pictures/*")
    bring(2, "result")
    gone = '{"error": "this picture is no longer open. Open it again."}'
    page.route("**/pictures/*", lambda route: route.fulfill(status=400, body=gone))
    page.click("#items button:nth-child(3)")
    until(page, "document.querySelectorAll('#items button').length === 2")
    assert "no longer open" in page.inner_text("#error")


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


def test_an_example_needs_one_click(page: Any):
    page.click("#examples button:first-child")
    page.wait_for_selector("body[data-state=marking]")
    assert not page.is_disabled("#fill")
    fill(page)


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
    until(page, "!document.querySelector('#fill').disabled")
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
    page.select_option("#model", "biharmonic")
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
    page.check("[value=object]", force=True)
    cancelled(lambda: page.click("#overlay"))
    fill(page)
    cancelled(lambda: page.click("#actual"))
    assert page.locator("#slider.actual").count() == 0
    page.click("#actual")
    page.wait_for_selector("#slider.actual")
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
    for element in ("#overlay", "#another", "[name=tool]:checked", "#size", "#grow", "#undo", "#clear", "#load", "#model"):
        go_to(element)
    page.keyboard.type("telea")
    go_to("#fill")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-state=result]:not([aria-busy])")
    assert "filled by telea" in page.inner_text("#took")
    for element in ("#again", "#back", "#mask-download", "#items button", "nav [data-view=compare]"):
        go_to(element)
    page.keyboard.press("Enter")
    for element in ("#methods input", "#cut", "#score", "#compare"):
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


def compare(page: Any) -> list[str]:
    page.click("#compare")
    page.wait_for_selector("#link:not([hidden])")
    page.wait_for_selector("body:not([aria-busy])")
    return page.locator("figcaption").all_inner_texts()


def test_methods_side_by_side_and_a_link(page: Any, photo: Path, studio: Studio, browser: Any):
    open_photo(page, photo)
    page.click("nav [data-view=compare]")
    assert not page.is_checked("#score")
    page.click("#cut")
    assert page.is_checked("#score")
    assert 0.12 < marked(page) / (400 * 300) < 0.18
    shot(page, "7-test-hole")
    for name in ("mend with texture", "biharmonic"):
        page.uncheck(f"#methods [value='{name}']")
    page.check("#methods [value=navier-stokes]")
    captions = compare(page)
    assert len(captions) == 4
    assert "PSNR" in captions[1]
    assert not page.is_visible("#marking")
    shot(page, "7-compared")
    accessible(page)
    page.click("figure button >> nth=1")  # is seen large, and the comparison stays
    page.wait_for_selector("body[data-view=fill][data-state=result]:not([aria-busy])")
    assert "filled by telea" in page.inner_text("#took")
    page.click("#back")
    page.wait_for_selector("body[data-state=marking]")
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
    page.click("nav [data-view=fill]")
    fill(page)
    page.click("nav [data-view=compare]")
    assert page.get_attribute("body", "data-state") == "marking"
    page.click("nav [data-view=fill]")
    assert page.get_attribute("body", "data-state") == "result"
    page.click("nav [data-view=compare]")
    assert page.is_checked("#score")
    open_photo(page, photo)
    until(page, "!location.hash")
    assert not page.is_checked("#score"), "it was true of the hole that was cut"
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
    page.uncheck("#methods [value='mend with texture']")
    compare(page)
    assert page.locator("figure").all_inner_texts()[2].split("\n")[:3:2] == ["The process died.", "telea"]
    assert page.locator("figure img").count() == 2


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
    page.wait_for_selector("body[data-state=result]:not([aria-busy])")
    assert page.inner_text("#error") == ""


def until_held(held: list[Any], page: Any) -> None:
    deadline = time.monotonic() + 60
    while not held:
        assert time.monotonic() < deadline, "the page asked for nothing"
        page.wait_for_timeout(50)


@desktop
def test_one_finger_paints_and_a_thin_mask_is_seen(page: Any, tmp_path: Path):
    write_image(tmp_path / "large.png", smooth(900, 1800, 7))
    open_photo(page, tmp_path / "large.png")
    paint(page, (0.2, 0.2), (0.3, 0.2))
    before = marked(page)
    page.evaluate(
        "() => { const overlay = document.querySelector('#overlay'), box = overlay.getBoundingClientRect();"
        "const words = {bubbles: true, pointerId: 7, pointerType: 'touch', isPrimary: false};"
        "const at = {clientX: box.left + 9, clientY: box.top + box.height / 2};"
        "for (const kind of ['pointerdown', 'pointerup']) overlay.dispatchEvent(new PointerEvent(kind, {...words, ...at})); }"
    )
    assert marked(page) == before
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.set_input_files("#load", tmp_path / "broken.png")
    until(page, "document.querySelector('#error').textContent.startsWith('The mask is not a picture')")
    assert marked(page) == before, "what was painted went with a file that was refused"
    thin = np.zeros((900, 1800, 1), np.uint8)
    thin[420, 60:1740] = 255
    write_image(tmp_path / "thin.png", thin)
    page.set_input_files("#load", tmp_path / "thin.png")
    until(page, "!document.body.hasAttribute('aria-busy')")
    assert marked(page) >= 1490
    fill(page)
    assert "0.1 % filled" in page.inner_text("#took")


def test_a_large_result_is_seen_at_its_actual_size(page: Any, tmp_path: Path):
    write_image(tmp_path / "large.png", smooth(1700, 2100, 7))
    open_photo(page, tmp_path / "large.png")
    paint(page, (0.7, 0.3), (0.8, 0.3))
    fill(page)
    page.click("#actual")
    page.wait_for_selector("#slider.actual")
    assert page.evaluate("document.querySelector('#after').naturalWidth") == 2100
    assert page.evaluate("document.querySelector('#after').getBoundingClientRect().width") == 2100

    def corner() -> tuple[float, float]:
        return tuple(page.evaluate("(() => { const b = document.querySelector('#after').getBoundingClientRect(),"
                                   "s = document.querySelector('#slider').getBoundingClientRect();"
                                   "return [s.left - b.left, s.top - b.top] })()"))  # fmt: skip

    start, box = corner(), page.locator("#slider").bounding_box()
    assert abs(start[0] + box["width"] / 2 - 0.75 * 2100) < 60, "what was filled is in the middle"
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 110, steps=4)
    page.mouse.up()
    assert corner() == (start[0] - 100, start[1] - 50)
    page.focus("#pan")
    page.keyboard.press("ArrowLeft")
    assert corner()[0] == start[0] - 180
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 0.2 * box["width"], middle[1], steps=4)
    page.mouse.up()
    assert page.input_value("#split") == "70"
    shot(page, "3-actual-size")
    accessible(page)
    page.click("#actual")
    page.wait_for_selector("#slider:not(.actual)")


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
