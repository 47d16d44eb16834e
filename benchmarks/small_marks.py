"""Scratches, specks and lettering, 1 to 6 pixels wide: the network that comes with mend against classical fillers.

    python benchmarks/small_marks.py ../shared/data/photos/val

Up to twenty photographs of the folder, each with scratches over 3 % of it, with specks of one pixel over 1 %, and with a date
and a line of text. Writes results/small-marks.json: PSNR of the hole's pixels, with intervals over photographs, the differences
on the same holes, and the seconds that a picture of two megapixels takes.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from large_holes import fill, fill_image, intervals
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mend.data.loaders import to_image
from mend.data.random import uniform
from mend.evaluate.metrics import psnr, ssim
from mend.filling.load import load_filler
from mend.images import find_pictures, read_rgb, write_bytes
from mend.inpaint.filler import Filler
from mend.masks.draw import DRAWN
from mend.models.checkpoint import find_commit
from mend.models.device import device_name, find_device
from mend.progress import progress

PHOTOGRAPHS = 20
METHODS = ("telea", "navier-stokes", "harmonic", "biharmonic")
OUT = Path(__file__).parent.parent / "results" / "small-marks.json"


def scratches(height: int, width: int, i: int) -> np.ndarray:
    return DRAWN["marks"](height, width, 0.03, 5, i)


def specks(height: int, width: int, i: int) -> np.ndarray:
    return uniform(height * width, 6, i).reshape(height, width) < 0.01


def text(height: int, width: int, i: int) -> np.ndarray:
    """A date at the lower right and a line across, in Pillow's own typeface."""
    image = Image.new("1", (width, height))
    draw = ImageDraw.Draw(image)
    size = height // 12
    date, line = f"2026-11-{i + 1:02d} 12:{i:02d}", "sample picture, not for sale"
    draw.text((width - 7 * size, height - 2 * size), date, fill=1, font=ImageFont.load_default(size))
    draw.text((size, height // 3), line, fill=1, font=ImageFont.load_default(size))
    return np.array(image)


MARKS = {"scratches": scratches, "specks": specks, "text": text}


def rows_of(image: Tensor, made: dict[str, Filler], photo: str, i: int) -> list[dict[str, Any]]:
    rows = []
    for kind, draw in MARKS.items():
        hole = torch.from_numpy(draw(*image.shape[-2:], i)).float()[None, None]
        for method, filler in made.items():
            filled, _ = fill(filler, image, hole)
            scores = {"psnr": psnr(filled, image, hole).item(), "ssim": ssim(filled, image, hole).item()}
            rows.append({"photo": photo, "kind": kind, "method": method, "coverage": hole.mean().item(), **scores})
    return rows


def seconds_at_two_megapixels(made: dict[str, Filler], photo: Path) -> dict[str, float]:
    """CPU seconds: the median of three fillings of a photograph enlarged to 1732×1155, with scratches."""
    image = to_image(np.asarray(Image.fromarray(read_rgb(photo)).resize((1732, 1155), Image.Resampling.LANCZOS))[None])
    hole = torch.from_numpy(DRAWN["marks"](1155, 1732, 0.01, 7)).float()[None, None]

    def once(filler: Filler) -> float:
        start = time.process_time()
        fill_image(filler, image, hole)
        return time.process_time() - start

    return {name: float(np.median([once(filler) for _ in range(3)])) for name, filler in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    files = find_pictures(parser.parse_args().photos)
    files = files[:: max(1, len(files) // PHOTOGRAPHS)][:PHOTOGRAPHS]
    made = {"mend": load_filler(), **{name: load_filler(name) for name in METHODS}}
    rows: list[dict[str, Any]] = []
    with progress("small marks", "photographs") as report:
        for i, file in enumerate(files):
            rows += rows_of(to_image(read_rgb(file)[None]), made, file.stem, i)
            report(i + 1, len(files))
    table = pd.DataFrame(rows).set_index("photo")
    found: dict[str, Any] = {}
    for kind, part in table.groupby("kind", sort=False):
        scores = {method: one[["psnr", "ssim"]] for method, one in part.groupby("method", sort=False)}
        found[str(kind)] = {
            "coverage": part["coverage"].mean(),
            "means": {method: intervals(one) for method, one in scores.items()},
            "mend minus": {method: intervals(scores["mend"] - scores[method]) for method in METHODS},
        }
    facts = {
        "commit": find_commit(),
        "device": device_name(find_device("auto")),
        "photographs": len(files),
        "seconds at 2 megapixels": seconds_at_two_megapixels(made, files[0]),
    }
    write_bytes(OUT, json.dumps(facts | {"by kind": found}, indent=1, ensure_ascii=False).encode() + b"\n")
    print(table.groupby(["kind", "method"], sort=False)[["psnr", "ssim"]].mean().round(3).to_string())
    print(facts["seconds at 2 megapixels"])


if __name__ == "__main__":
    main()
