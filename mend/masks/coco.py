"""COCO annotations, of one picture or of a whole data set, as what they mark in a picture.

https://cocodataset.org/#format-data: polygons, run lengths (RLE), compressed or not, annotations, and data sets of them.
"""

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from operator import eq
from pathlib import Path, PureWindowsPath
from threading import Lock
from typing import Any

import numpy as np

from mend.errors import InputError, nearest

KINDS = 'polygons [[x, y, x, y, …], …], an RLE {"size", "counts"}, annotations {"segmentation"}, or {"images", "annotations"}'


def read_coco(file: Path | bytes, size: tuple[int, int] | None, photo: str) -> tuple[np.ndarray, str, list[str]]:
    """All that a COCO file, or its bytes, marks in `photo` united, bool (H, W), in words what it was, and what to note."""
    path = Path("the mask") if isinstance(file, bytes) else file  # as messages call it
    photo, taken = str(Path(photo).resolve()) if photo else "", ""
    try:
        with _reading:
            data = _parse(path, file) if isinstance(file, bytes) else _read(file, file.stat().st_mtime_ns)
        if isinstance(data, _DataSet):
            image = _find_entry(path, data, photo)
            taken = image["file_name"] if photo else ""
            size = (int(image["height"]), int(image["width"]))
            data = data.annotations.get(image["id"], [])
        found = _list_segments(path, data)
        segments = [segment for segment in found if segment != []]
        parts = [_draw(path, segment, size) for segment in segments]
    except FileNotFoundError:
        raise InputError(f"there is no file {path}.") from None
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is not COCO ({type(error).__name__}: {error}). Expected {KINDS}.") from None
    if not parts:
        if size is None:
            raise InputError(f"{path} marks nothing, and does not say in how large a picture. Add `photo`.")
        parts = [np.zeros(size, np.bool_)]
    if len({part.shape for part in parts}) > 1:
        raise InputError(f"the annotations of {path} are for pictures of several sizes. Give those of one picture.")
    empty = len(found) - len(segments)
    notes = [] if not taken or _compare_ends(taken, photo)[0] else [f"taken for {taken} there, by its name"]
    notes += [f"segmentations that are empty and mark nothing: {empty} of {len(found)}"] if empty else []
    return np.logical_or.reduce(parts), f"COCO, {len(segments)} segmentation{'s' * (len(segments) != 1)}", notes


@dataclass(frozen=True)
class _DataSet:
    """What a file says of many pictures: their entries by their names without folders, their annotations by `image_id`."""

    images: dict[str, list[dict[str, Any]]]
    annotations: dict[Any, list[Any]]


_reading = Lock()  # the threads that read a folder wait for the first of them, and share what it read


@lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> Any:
    """What is in a JSON file, which `changed` then."""
    return _parse(path, path.read_bytes())


def _parse(path: Path, content: bytes) -> Any:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}. Expected COCO: {KINDS}.") from None
    if not (isinstance(data, dict) and "images" in data):
        return data
    images, annotations = defaultdict(list), defaultdict(list)
    for image in data["images"]:
        images[PureWindowsPath(image["file_name"]).name].append(image)
    for annotation in data["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
    return _DataSet(images, annotations)


def _split_path(path: str) -> tuple[str, ...]:
    """Of a path from any system."""
    return PureWindowsPath(path).parts


def _find_entry(path: Path, data: _DataSet, photo: str) -> dict[str, Any]:
    """The entry of `photo`, by its name and the folders before it; the only one where no photo is named."""
    if not photo:
        if len(data.images) == 1 and len(alone := next(iter(data.images.values()))) == 1:
            return alone[0]
        raise InputError(f"{path} annotates several pictures; say which one.")
    name = PureWindowsPath(photo).name
    named = data.images.get(name, [])
    alike = [_compare_ends(image["file_name"], photo) for image in named]
    if named and alike.count(max(alike)) == 1:
        entry = named[alike.index(max(alike))]
        if not max(alike)[0] and any((folder / entry["file_name"]).is_file() for folder in Path(photo).parents):
            raise InputError(f"{path} does not annotate {photo}: its {entry['file_name']} is another picture, which is there.")
        return entry
    if named:
        raise InputError(f"{path} has {len(named)} pictures called {name!r}, and their folders do not tell them apart.")
    known = [Path(file).name for file in data.images]
    has = f"only {known[0]!r}" if len(known) == 1 else f"{len(known)} others"
    raise InputError(f"{path} has no picture called {name!r}, {has}.{nearest(name, known)} Rename the picture, or correct it.")


def _compare_ends(entry: str, photo: str) -> tuple[bool, int]:
    """Whether a path is the end of another, and how many parts, from the last on, both have in common."""
    parts = _split_path(entry)
    common = sum(1 for _ in takewhile(bool, map(eq, reversed(parts), reversed(_split_path(photo)))))
    return common == len(parts), common


def _list_segments(path: Path, data: Any) -> list[Any]:
    """The segmentations of one picture, each a list of polygons or an RLE."""
    if isinstance(data, dict):
        return [data.get("segmentation", data)]
    if data and all(isinstance(item, dict) for item in data):
        if len({annotation.get("image_id") for annotation in data}) > 1:
            raise InputError(f'{path} annotates several pictures without "images" to name them. Give the annotations of one.')
        return [annotation.get("segmentation", annotation) for annotation in data]
    if not isinstance(data, list):
        raise TypeError(f"{type(data).__name__} is neither a list nor an object")
    return [data] if data else []


def _draw(path: Path, segment: Any, size: tuple[int, int] | None) -> np.ndarray:
    """A segmentation as bool (H, W). As in pycocotools, a pixel belongs to a polygon if its centre, at +0.5, lies inside."""
    if isinstance(segment, dict):
        height, width = (int(side) for side in segment["size"])
        counts = _decode_counts(segment["counts"]) if isinstance(segment["counts"], str) else segment["counts"]
        if sum(counts) != height * width:
            raise InputError(
                f"an RLE of {path} runs over {sum(counts)} pixels, its size {width}×{height} has {height * width}."
            )
        runs = np.arange(len(counts), dtype=np.uint8) % 2 == 1  # the first run is background, perhaps of length 0
        return np.repeat(runs, counts).reshape(width, height).T  # column after column
    if size is None:
        raise InputError(f"{path} has polygons, which do not say how large their picture is. Add `photo`.")
    inside = np.zeros(size, np.bool_)
    for points in [segment] if not isinstance(segment[0], list) else segment:
        x, y = np.array(points, np.float64).reshape(-1, 2).T
        if len(x) < 3 or not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise InputError(f"a polygon of {path} has {len(x)} points; expected three or more, none of them infinite.")
        inside |= draw_polygon(y - 0.5, x - 0.5, size)
    return inside


def draw_polygon(y: np.ndarray, x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels, bool (H, W), whose centres lie in a polygon with these corners, or on its outline; (0, 0) is such a centre.

    A centre lies inside when the outline crosses its row an odd number of times to the right of it. On the outline it lies,
    too, when the number to the left of it is odd and the other is not (Hormann and Agathos, 2001).
    """
    height, width = size
    right, left = (np.zeros((height, width + 1), np.int32) for _ in range(2))  # changes of the parity, from a column on
    for y0, x0, y1, x1 in zip(y, x, np.roll(y, -1), np.roll(x, -1), strict=True):
        rows = np.arange(math.ceil(max(0, min(y0, y1))), math.floor(min(height - 1, max(y0, y1))) + 1)
        if y0 == y1 or not len(rows):
            continue
        column = np.rint(x0 + (rows - y0) / (y1 - y0) * (x1 - x0)).clip(-1, width)  # the pixel nearest to the crossing
        off = ((x0 - column) * (y1 - rows) - (x1 - column) * (y0 - rows)) / (y1 - y0)  # how far to the right of it that is
        for parity, crosses, first in (
            (right, (y0 > rows) != (y1 > rows), column + (off > 0)),
            (left, (y0 < rows) != (y1 < rows), column + (off >= 0)),
        ):
            np.add.at(parity, (rows[crosses], first[crosses].clip(0, width).astype(np.int64)), 1)
    inside = ((right.cumsum(1) | left.cumsum(1)) & 1)[:, :width] > 0
    row, column = np.rint(y), np.rint(x)
    corner = (abs(y - row) < 1e-12) & (abs(x - column) < 1e-12)
    corner &= (row >= 0) & (row < height) & (column >= 0) & (column < width)
    inside[row[corner].astype(np.int64), column[corner].astype(np.int64)] = True
    return inside


def _decode_counts(text: str) -> list[int]:
    """The runs of COCO's compressed RLE: five bits a character from "0" on, the sixth says that more follow; a number is
    signed and, from the fourth on, the difference to the last but one."""
    counts: list[int] = []
    value = shift = 0
    for code in text.encode("ascii"):
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{chr(code)!r} in an RLE")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("an RLE that ends within a number")
    return counts
