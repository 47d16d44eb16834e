"""How soon the studio is there, and a thousand fillings in a row by it: none may be lost, and its memory may not grow.

python benchmarks/studio_soak.py results/studio-soak.json

Starts a studio and writes: the seconds from the command until it serves, and from opening the page in a Chromium until
something is seen; the requests lost; and the growth of memory, of the server and its processes together, from after the warm-up
to the end.
"""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from mend.checkpoint import commit


def measure(requests: int = 1000, warm: int = 100) -> dict[str, Any]:
    start = time.monotonic()
    words = [sys.executable, "-m", "mend", "studio", "--port", "0", "--no-open-page"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as studio:
        try:
            assert studio.stdout is not None
            address = studio.stdout.readline().split()[2]
            httpx.get(address, timeout=60, trust_env=False).raise_for_status()
            opening = {"seconds_until_it_serves": time.monotonic() - start, "seconds_until_first_paint": first_paint(address)}
            facts = {"commit": commit(), "device": f"CPU, {torch.get_num_threads()} threads", "model": "telea"}
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


def soak(address: str, process: int, requests: int = 1000, warm: int = 100) -> dict[str, float]:
    """Send `requests` fillings, one after another; memory is measured after `warm` of them and at the end."""
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    mask[40:60, 50:90] = 255
    image, hole = _png(pixels), _png(mask)
    lost, before, start = 0, 0.0, time.monotonic()
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        for i in range(requests):
            if i == warm:
                before = memory(process)
            answer = client.post("/fill", files={"image": image, "mask": hole}, data={"model": "telea"})
            filled = np.asarray(Image.open(io.BytesIO(answer.content))) if answer.status_code == 200 else np.zeros_like(pixels)
            lost += not np.array_equal(filled[mask == 0], pixels[mask == 0])
    after = memory(process)
    seconds = (time.monotonic() - start) / requests
    return {"requests": requests, "lost": lost, "megabytes": after / 1e6, "growth": after / before - 1, "seconds_each": seconds}


def memory(process: int) -> float:
    """Bytes of main memory that a process and its children hold, from Linux's /proc; shared pages count in part."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if process in (int(folder.name), parent):
                total += next(int(line.split()[1]) for line in (folder / "smaps_rollup").open() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue  # it ended meanwhile
    return total * 1024


def _png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="PNG")
    return data.getvalue()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measure(), indent=2) + "\n", encoding="utf-8")
