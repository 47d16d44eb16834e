"""How soon the studio is there, and a thousand requests in a row: none may be lost, and its memory may not grow.

python benchmarks/studio_soak.py results/studio-soak.json

Starts a studio and writes: the seconds from the command until it serves, and from opening the page in a Chromium until
something is seen; the requests lost; and the growth of memory, of the server and its processes together, from after the warm-up
to the end. Requests are in turn a filling, one that is followed and fetched, and a visit that clicks an object.
"""

import base64
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from mend.models.checkpoint import find_commit

MODEL = "mend"  # the default: structure, then texture
READINGS = 20


def measure(requests: int = 1000, warm: int = 100) -> dict[str, Any]:
    start = time.monotonic()
    words = [sys.executable, "-m", "mend", "studio", "--port", "0", "--no-open-page"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as studio:
        try:
            assert studio.stdout is not None
            address = studio.stdout.readline().split()[2]
            httpx.get(address, timeout=60, trust_env=False).raise_for_status()
            opening = {"seconds_until_it_serves": time.monotonic() - start, "seconds_until_first_paint": first_paint(address)}
            facts = {"commit": find_commit(), "device": f"CPU, {torch.get_num_threads()} threads", "model": MODEL}
            return {**facts, **opening, **soak(address, studio.pid, requests, warm)}
        finally:
            studio.send_signal(signal.SIGINT)


def first_paint(address: str) -> float:
    """Seconds from opening the page until its first content is painted, as the browser tells it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        painted: list[float] = []
        while not painted:
            painted = page.evaluate("performance.getEntriesByName('first-contentful-paint').map((one) => one.startTime)")
        browser.close()
    return painted[0] / 1000


def soak(address: str, process: int, requests: int = 1000, warm: int = 100) -> dict[str, Any]:
    """Send `requests`, one after another, of each kind in turn.

    `growth` of memory is that from the `READINGS` requests after the first `warm` to the last: of their medians, since it comes
    and goes by a few megabytes.
    """
    pixels = np.random.default_rng(0).integers(190, 210, (300, 400, 3), dtype=np.uint8)
    pixels[100:150, 125:225] = (200, 30, 30)
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[90:160, 115:235] = 255
    lost, readings, start = 0, [], time.monotonic()
    with httpx.Client(base_url=address, timeout=600, trust_env=False) as client:
        kinds = {
            "fill": by_filling(client, pixels, mask),
            "fill, followed": by_following(client, pixels, mask),
            "click": by_click(client, pixels, mask),
        }
        each = list(kinds.values())
        for i in range(requests):
            lost += not each[i % len(each)]()
            if warm <= i < warm + READINGS or i >= requests - READINGS:
                readings.append(memory(process))
    before, after = float(np.median(readings[:READINGS])), float(np.median(readings[-READINGS:]))
    seconds = (time.monotonic() - start) / requests
    said = {"requests": requests, "kinds": list(kinds), "lost": lost}
    return {**said, "megabytes": after / 1e6, "growth": after / before - 1, "seconds_each": seconds}


def by_filling(client: httpx.Client, pixels: np.ndarray, mask: np.ndarray) -> Callable[[], bool]:
    """A filling: whether it came, and left the pixels outside the mask."""
    files = {"image": _png(pixels), "mask": _png(mask)}

    def ask() -> bool:
        answer = client.post("/fill", files=files, data={"model": MODEL})
        return answer.status_code == 200 and _filled(answer.content, pixels, mask)

    return ask


def by_following(client: httpx.Client, pixels: np.ndarray, mask: np.ndarray) -> Callable[[], bool]:
    """The same, followed until it is over, then fetched and removed."""
    files = {"image": _png(pixels), "mask": _png(mask)}

    def ask() -> bool:
        begun = client.post("/fills", files=files, data={"model": MODEL})
        if begun.status_code != 202:
            return False
        at = begun.headers["location"]
        over = "done" in json.loads(client.get(at).text.splitlines()[-1])
        result = client.get(f"{at}/result")
        return over and _filled(result.content, pixels, mask) and client.delete(at).status_code == 204

    return ask


def by_click(client: httpx.Client, pixels: np.ndarray, mask: np.ndarray) -> Callable[[], bool]:
    """A visit that opens the picture and clicks the object: whether it was found, all of it within the mask."""
    data = _png(pixels)

    def last(answer: httpx.Response) -> dict[str, Any]:
        return json.loads(answer.text.splitlines()[-1]).get("done", {})

    def ask() -> bool:
        session = f"/sessions/{client.post('/sessions').json()['session']}"
        picture = last(client.post(f"{session}/pictures", content=data)).get("picture")
        click = {"points": [{"x": 0.4, "y": 0.4}]}
        found = last(client.post(f"{session}/pictures/{picture}/select", json=click)).get("image", ",")
        client.post(f"{session}/close")
        data_of_mask = base64.b64decode(found.partition(",")[2])
        if not data_of_mask:
            return False
        chosen = np.asarray(Image.open(io.BytesIO(data_of_mask))) > 0
        return bool(chosen.sum() > 0.5 * (mask > 0).sum() and (mask[chosen] > 0).all())

    return ask


def _filled(data: bytes, pixels: np.ndarray, mask: np.ndarray) -> bool:
    return np.array_equal(np.asarray(Image.open(io.BytesIO(data)))[mask == 0], pixels[mask == 0])


def memory(process: int) -> float:
    """Bytes that a process and its children allocated, from Linux's /proc; pages of files come and go with other processes."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if process in (int(folder.name), parent):
                total += next(
                    int(line.split()[1]) for line in (folder / "smaps_rollup").open() if line.startswith("Anonymous:")
                )
        except (OSError, StopIteration):
            continue  # it ended meanwhile
    return total * 1024


def _png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="PNG")
    return data.getvalue()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measure(), indent=2) + "\n", encoding="utf-8")
