"""A thousand fillings in a row, by one studio: none may be lost, and its memory may not grow.

mend studio --no-open-page &
python benchmarks/studio_soak.py http://127.0.0.1:7860 $!

Prints and returns the requests lost and the growth of memory, of the server and its processes together, from after the warm-up
to the end.
"""

import io
import json
import sys
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image


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
    print(json.dumps(soak(sys.argv[1], int(sys.argv[2])), indent=2))
