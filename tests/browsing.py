"""The studio's page in a real browser, as a person uses it, with every address but its own cut off."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running_studio import Studio

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
SIZES = {"desktop": (1440, 900), "phone": (390, 844), "small": (320, 568), "zoomed": (720, 450)}  # 1440×900 at 200 %
desktop = pytest.mark.parametrize("page", ["desktop"], indirect=True)  # for what is the same at every size
every_size = pytest.mark.parametrize("page", list(SIZES), indirect=True)


def open_browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        cut = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", cut])
        yield opened
        opened.close()


def open_page(browser: Any, studio: Studio, kind: str) -> Iterator[Any]:
    """The page as it opens. Any request that would leave the machine, and any fault in its scripts, fails the test."""
    width, height = SIZES[kind]
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=kind in ("phone", "small"))
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    asked: list[str] = []
    faults: list[str] = []
    # What the page looks for every five seconds it looks for every half.
    opened.add_init_script("window.setInterval = ((every) => (what, ms) => every(what, ms === 5000 ? 500 : ms))(setInterval)")
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("pageerror", lambda fault: faults.append(str(fault)))
    opened.goto(studio.address)
    opened.wait_for_selector("body[data-ready]")
    opened.kind = kind
    yield opened
    opened.goto("about:blank")  # which closes the session, as whoever leaves does
    context.close()
    assert not [url for url in asked if not url.startswith((studio.address, "data:", "blob:"))]
    assert not faults


def shot(page: Any, name: str) -> None:
    """A screenshot into the folder $MEND_SHOTS, where there is one."""
    folder = os.environ.get("MEND_SHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{page.kind}-{name}.png")


def until(page: Any, expression: str) -> None:
    """Wait for an expression to be true; Playwright's own waiting needs `eval`, which the page forbids."""
    deadline = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.02)


def idle(page: Any) -> None:
    page.wait_for_selector("body:not([aria-busy])")


def open_photo(page: Any, photo: Path) -> None:
    page.set_input_files("#choose" if page.is_visible("#choose") else "#another", photo)
    page.wait_for_selector("body[data-state=marking]")
    idle(page)


def at(page: Any, point: tuple[float, float]) -> tuple[float, float]:
    """Where on the screen a point of the picture is, in shares of its width and height, once it lies still."""
    box, before = page.locator("#photo").bounding_box(), None
    while box != before:
        page.evaluate("new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))")
        box, before = page.locator("#photo").bounding_box(), box
    return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]


def paint(page: Any, *points: tuple[float, float]) -> None:
    """A stroke through points, shares of the picture's width and height."""
    page.locator("#overlay").scroll_into_view_if_needed()
    page.mouse.move(*at(page, points[0]))
    page.mouse.down()
    for point in points:
        page.mouse.move(*at(page, point), steps=4)
    page.mouse.up()


def marked(page: Any) -> int:
    """How many pixels of the mask are marked."""
    return page.evaluate("import('/page/studio.js').then((page) => page.marks.count)")


def shown(page: Any) -> int:
    """How many pixels of the screen show marks, or what growing adds to them."""
    return page.evaluate(
        "(() => { const c = document.querySelector('#overlay');"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v).length })()"
    )


def set_range(page: Any, name: str, value: int) -> None:
    page.eval_on_selector(name, "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')) }", value)


def choose(page: Any, tool: str) -> None:
    page.check(f"[name=tool][value={tool}]", force=True)


def fill(page: Any, model: str = "telea") -> None:
    page.eval_on_selector("#model", "(one, model) => { one.value = model }", model)
    page.click("#fill")
    idle(page)
    assert re.match(rf"Done: [\d.]+ % filled by {model} in ", page.inner_text("#why")), page.inner_text("#error")


def show_more(page: Any) -> None:
    """What a phone keeps folded away."""
    if page.is_visible("#more-shown") and page.get_attribute("#more-shown", "aria-expanded") == "false":
        page.click("#more-shown")


def turn_to(page: Any, number: int) -> None:
    """The picture or result of this number in the history."""
    show_more(page)
    page.click(f"#items button:nth-child({number})")
    page.wait_for_selector(f"#items button:nth-child({number})[aria-current]", state="attached")
    idle(page)


def accessible(page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"
    found = Axe().run(page)
    assert not found.violations_count, found.generate_report()
