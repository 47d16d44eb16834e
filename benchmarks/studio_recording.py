"""A recording of a removal in the studio, of twenty seconds, for the documentation.

python benchmarks/studio_recording.py docs/images/removal.webp

The picture is the first of the studio's own examples, which scikit-image brings. Waiting is shown in brief; everything else is
what the page shows. Needs Playwright, a Chromium on the PATH and scikit-image.
"""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageDraw
from playwright.sync_api import sync_playwright

SIZE = (960, 600)
STEP = 70  # milliseconds of a frame in which something moves
WAITING = 1800  # milliseconds that waiting for the result is shown for
MOST = 3_000_000  # bytes
POINTER = [(0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (13, 12)]


class Recorder:
    """Does what a person does with a mouse, and keeps what is seen: frames, and how long each stays."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []
        self.place = (SIZE[0] * 0.5, SIZE[1] * 0.95)

    def stay(self, milliseconds: int) -> None:
        frame = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        over = self.page.evaluate("([x, y]) => document.elementFromPoint(x, y)?.id", list(self.place))
        if over != "overlay":  # where the page shows the brush itself
            ImageDraw.Draw(frame).polygon([(self.place[0] + x, self.place[1] + y) for x, y in POINTER], "white", "black")
        if self.frames and ImageChops.difference(frame, self.frames[-1]).getbbox() is None:
            self.durations[-1] += milliseconds
        else:
            self.frames.append(frame)
            self.durations.append(milliseconds)

    def move(self, x: float, y: float, steps: int = 8) -> None:
        start = self.place
        for i in range(1, steps + 1):
            part = i / steps
            part = part * part * (3 - 2 * part)  # as a hand does, slow at both ends
            self.place = (start[0] + (x - start[0]) * part, start[1] + (y - start[1]) * part)
            self.page.mouse.move(*self.place)
            self.stay(STEP)

    def move_to(self, element: str) -> None:
        box = self.page.locator(element).first.bounding_box()
        self.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def click(self, element: str) -> None:
        self.move_to(element)
        self.page.click(element)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point of the picture, in shares of its width and height, on the screen."""
        box = self.page.locator("#photo").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def drag(self, *points: tuple[float, float]) -> None:
        self.page.mouse.down()
        for point in points:
            self.move(*point, steps=9)
        self.page.mouse.up()

    def zoom(self, turns: int, by: int) -> None:
        for _ in range(turns):
            self.page.mouse.wheel(0, by)
            self.page.wait_for_timeout(50)
            self.stay(STEP)


def act(recorder: Recorder) -> None:
    page = recorder.page
    recorder.stay(1200)
    recorder.click("#examples button")
    page.wait_for_selector("body[data-state=marking]:not([aria-busy])")
    page.wait_for_selector("#clear:enabled")
    page.click("#clear")  # the example comes with its mark: here one paints it
    page.eval_on_selector("#size", "(one) => { one.value = 46; one.dispatchEvent(new Event('input')) }")
    recorder.stay(900)
    recorder.move(*recorder.at(0.5025, 0.31))
    recorder.drag(recorder.at(0.5025, 0.6), recorder.at(0.5025, 0.95))
    recorder.stay(300)
    recorder.zoom(3, -160)
    recorder.move(*recorder.at(0.485, 0.86))
    recorder.drag(recorder.at(0.485, 0.94), recorder.at(0.52, 0.94))
    recorder.stay(300)
    recorder.zoom(3, 160)
    recorder.stay(400)
    recorder.click("#fill")
    page.wait_for_selector("#progress:not([hidden])")
    seen = len(recorder.durations)
    while page.locator("body[aria-busy]").count():
        recorder.stay(100)
        page.wait_for_timeout(400)
    waited = range(seen, len(recorder.durations))
    for i in waited:
        recorder.durations[i] = max(40, WAITING // len(waited))
    recorder.stay(1500)
    recorder.click("#compare-original")
    recorder.move_to("#handle")
    middle = recorder.place[1]
    recorder.drag((recorder.at(0.2, 0)[0], middle), (recorder.at(0.8, 0)[0], middle), (recorder.at(0.5, 0)[0], middle))
    recorder.click("#compare-original")
    recorder.move_to("#download")
    recorder.stay(max(1000, 20_000 - sum(recorder.durations)))


@contextmanager
def open_studio() -> Iterator[str]:
    words = [sys.executable, "-m", "mend", "studio", "--port", "0", "--no-open-page"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as studio:
        assert studio.stdout is not None
        try:
            yield studio.stdout.readline().split()[2]
        finally:
            studio.terminate()


def main() -> None:
    target = Path(sys.argv[1])
    with open_studio() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_default_timeout(300_000)
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        recorder = Recorder(page)
        act(recorder)
        browser.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    first, *others = recorder.frames
    first.save(
        target,
        save_all=True,
        append_images=others,
        duration=recorder.durations,
        loop=0,
        quality=70,
        method=4,
        minimize_size=True,
    )
    size, seconds = target.stat().st_size, sum(recorder.durations) / 1000
    print(f"{target}: {len(recorder.frames)} frames, {seconds:.1f} s, {size / 1e6:.2f} MB")
    if size > MOST:
        sys.exit(f"It is larger than {MOST / 1e6:.0f} MB.")


if __name__ == "__main__":
    main()
