"""A removal from a photograph, from the first page to the comparison, as the documentation shows it.

MEND_PICTURES=docs/images python -m pytest tests/studio/test_pictures.py

writes the six pictures of the documentation. The photograph is the studio's first example, which scikit-image brings.
"""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from browsing import SIZES, at, choose, fill, idle, paint, set_range, until
from PIL import Image
from running_studio import Studio

pytest.importorskip("fastapi", reason="the extra [studio] is not installed")
pytest.importorskip("skimage", reason="scikit-image, whose photograph it is, is not installed")
FOLDER = os.environ.get("MEND_PICTURES")
MODEL = "mend" if FOLDER else "mend-smooth"  # which looks best, which is quickest
READY = "document.querySelector('#fill').ariaDisabled === 'false'"


def keep(page: Any, name: str) -> None:
    seen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    assert len(seen.getcolors(1 << 24)) > 1000, "there is no photograph to be seen"
    if FOLDER:
        Path(FOLDER).mkdir(parents=True, exist_ok=True)
        seen.save(Path(FOLDER) / f"studio-{name}.webp", quality=85, method=6)


def open_example(browser: Any, studio: Studio, kind: str, scheme: str = "light") -> Any:
    width, height = SIZES[kind]
    density = 2 if kind == "phone" else 1
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=density)
    page = context.new_page()
    page.set_default_timeout(200_000)
    page.goto(studio.address)
    page.wait_for_selector("body[data-ready]")
    until(page, "[...document.querySelectorAll('#examples img')].every((image) => image.complete)")
    if kind == "desktop" and scheme == "light":
        keep(page, "start")
    page.click("#examples button")
    until(page, READY)
    idle(page)
    return page


@pytest.mark.slow
def test_a_photograph_without_its_rocket(browser: Any, studio: Studio):
    page = open_example(browser, studio, "desktop")
    page.click("#clear")
    set_range(page, "#size", 60)
    paint(page, (0.5025, 0.33), (0.5025, 0.6), (0.5025, 0.94))
    page.mouse.move(*at(page, (0.49, 0.75)))
    page.mouse.wheel(0, -240)
    page.mouse.wheel(0, -160)
    page.mouse.move(*at(page, (0.525, 0.8)))
    keep(page, "marking")
    page.keyboard.press("0")
    fill(page, MODEL)
    page.click("#compare-original")
    box = page.locator("#handle").bounding_box()
    page.mouse.move(box["x"] + 22, box["y"] + 300)
    keep(page, "before-after")
    page.context.close()

    page = open_example(browser, studio, "phone")
    keep(page, "phone")
    page.context.close()

    page = open_example(browser, studio, "desktop", "dark")
    page.click("#clear")
    choose(page, "object")
    paint(page, (0.46, 0.28), (0.55, 0.96))
    until(page, READY)
    idle(page)
    keep(page, "object")
    page.click("nav [data-view=compare]")
    page.context.close()

    page = open_example(browser, studio, "desktop")
    page.click("nav [data-view=compare]")
    page.click("#compare")
    page.wait_for_selector("body[data-state=compared]:not([aria-busy])")
    until(page, "[...document.querySelectorAll('#grid img')].every((image) => image.complete)")
    keep(page, "compare")
    page.context.close()
