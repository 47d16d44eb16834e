"""A page that sorts the images of an evaluation: the worst and best of a method, and where two methods disagree most."""

import base64
import html
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mend.evaluate.metrics import METRICS
from mend.evaluate.pictures import SHARED
from mend.evaluate.result import Result
from mend.evaluate.statistics import round_finite
from mend.images import arrange_grid, encode_pil

PAGE = (Path(__file__).parent / "gallery.html").read_text(encoding="utf-8")
COLUMNS = ("psnr_hole", "lpips-cifar", "ssim_hole")  # what one may sort by, where it was scored
EXTREMES, APART, WIDE = 8, 4, 20  # pictures a list for one method, for two; pictures a row of a sprite


def render_gallery(result: Result, folder: Path, rows: dict[str, pd.DataFrame]) -> str:
    """The page as one HTML file, from the per-image rows of each method; "" where the pictures are not in `folder`, or nothing
    was scored that one may sort by."""
    methods = list(rows)
    files = {name: folder / "pictures" / f"{name}.npy" for name in (*SHARED, *methods)}
    columns = [c for c in COLUMNS if all(c in table for table in rows.values())]
    if not columns or not all(file.exists() for file in files.values()):
        return ""
    values = {c: np.stack([rows[m][c].to_numpy(np.float64) for m in methods]) for c in columns}  # (methods, images)
    shown = _find_extremes(values)
    first = rows[methods[0]].iloc[shown]
    places = first.index.to_numpy()  # rows may have been left out; the pictures have not
    side = int(np.load(files["original"], mmap_mode="r").shape[1])
    data = {
        "methods": methods,
        "columns": [_describe(c) for c in columns],
        "values": {c: [[round_finite(v, 4) for v in line] for line in values[c][:, shown]] for c in columns},
        "names": [f"{name} · {kind}" if kind else str(name) for name, kind in zip(first["name"], first["class"], strict=True)],
        "coverage": [round(100 * float(c), 1) for c in first["coverage"]],
        "extremes": EXTREMES,
        "apart": APART,
        "wide": WIDE,
        "side": side,
        "scale": 3 if side <= 64 else 1,
        "shared": SHARED,
    }
    images = [f"background-image:url(data:image/webp;base64,{_make_sprite(file, places)})" for file in files.values()]
    sprites = "".join(f".p{i}{{{image}}}" for i, image in enumerate(images))
    title = html.escape(f"{result.protocol.title}: image by image")
    picked = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return PAGE.replace("{title}", title).replace("{sprites}", sprites).replace("{data}", picked)


def _find_extremes(values: dict[str, np.ndarray]) -> np.ndarray:
    """The images that any list on the page needs, in order."""
    chosen: set[int] = set()
    for table in values.values():
        for line in table:
            order = [int(i) for i in np.argsort(line, kind="stable") if np.isfinite(line[i])]
            chosen.update(order[:EXTREMES] + order[-EXTREMES:])
        for a, b in combinations(range(len(table)), 2):
            apart = np.nan_to_num(np.abs(table[a] - table[b]))
            chosen.update(int(i) for i in np.argsort(-apart, kind="stable")[:APART])
    return np.array(sorted(chosen), dtype=np.int64)


def _describe(column: str) -> dict[str, str | int | bool]:
    name, _, view = column.partition("_")
    metric = METRICS[name]
    where = " inside the hole" if view else ""
    return {
        "key": column,
        "title": metric.title + where,
        "unit": metric.unit,
        "digits": metric.digits,
        "up": metric.higher_is_better,
    }


def _make_sprite(file: Path, rows: np.ndarray) -> str:
    pictures = np.load(file, mmap_mode="r")[rows]
    lines = [pictures[i : i + WIDE] for i in range(0, len(pictures), WIDE)]
    return base64.b64encode(encode_pil(Image.fromarray(arrange_grid(lines, gap=0)), "WEBP", quality=88)).decode()
