"""COCO annotations, of one picture or of a whole data set, as what they mark in a picture.

https://cocodataset.org/#format-data: polygons, run lengths (RLE), compressed or not, annotations, and data sets of them.
"""

import json
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


def read_coco(path: Path, size: tuple[int, int] | None, photo: str) -> tuple[np.ndarray, str, list[str]]:
    """All that a COCO file marks in `photo` united, bool (H, W), in words what it was, and what there is to note."""
    photo, taken = str(Path(photo).resolve()) if photo else "", ""
    try:
        with _reading:
            data = _parsed(path, path.stat().st_mtime_ns)
        if isinstance(data, _DataSet):
            image = _entry(path, data, photo)
            taken = image["file_name"] if photo else ""
            size = (int(image["height"]), int(image["width"]))
            data = data.annotations.get(image["id"], [])
        found = _segments(path, data)
        segments = [segment for segment in found if segment != []]
        parts = [_drawn(path, segment, size) for segment in segments]
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
    notes = [] if not taken or _alike(taken, photo)[0] else [f"taken for {taken} there, by its name"]
    notes += [f"segmentations that are empty and mark nothing: {empty} of {len(found)}"] if empty else []
    return np.logical_or.reduce(parts), f"COCO, {len(segments)} segmentation{'s' * (len(segments) != 1)}", notes


@dataclass(frozen=True)
class _DataSet:
    """What a file says of many pictures: their entries by their names without folders, their annotations by `image_id`."""

    images: dict[str, list[dict[str, Any]]]
    annotations: dict[Any, list[Any]]


_reading = Lock()  # the threads that read a folder wait for the first of them, and share what it read


@lru_cache(maxsize=1)
def _parsed(path: Path, changed: int) -> Any:
    """What is in a JSON file, which `changed` then."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
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


def _parts(path: str) -> tuple[str, ...]:
    """Of a path from any system."""
    return PureWindowsPath(path).parts


def _entry(path: Path, data: _DataSet, photo: str) -> dict[str, Any]:
    """The entry of `photo`, by its name and the folders before it; the only one where no photo is named."""
    if not photo:
        if len(data.images) == 1 and len(alone := next(iter(data.images.values()))) == 1:
            return alone[0]
        raise InputError(f"{path} annotates several pictures; say which one.")
    name = PureWindowsPath(photo).name
    named = data.images.get(name, [])
    alike = [_alike(image["file_name"], photo) for image in named]
    if named and alike.count(max(alike)) == 1:
        entry = named[alike.index(max(alike))]
        if not max(alike)[0] and any((folder / entry["file_name"]).is_file() for folder in Path(photo).parents):
            raise InputError(f"{path} does not annotate {photo}: its {entry['file_name']} is another picture, which is there.")
        return entry
    count = sum(map(len, data.images.values()))
    raise InputError(
        f"{path} has {len(named)} pictures {name!r}; expected one of its {count}."
        + (" Their folders do not tell them apart." if named else nearest(name, list(data.images)))
    )


def _alike(entry: str, photo: str) -> tuple[bool, int]:
    """Whether a path is the end of another, and how many parts, from the last on, both have in common."""
    parts = _parts(entry)
    common = sum(1 for _ in takewhile(bool, map(eq, reversed(parts), reversed(_parts(photo)))))
    return common == len(parts), common


def _segments(path: Path, data: Any) -> list[Any]:
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


def _drawn(path: Path, segment: Any, size: tuple[int, int] | None) -> np.ndarray:
    """A segmentation as bool (H, W). As in pycocotools, a pixel belongs to a polygon if its centre, at +0.5, lies inside."""
    from skimage.draw import polygon

    if isinstance(segment, dict):
        height, width = (int(side) for side in segment["size"])
        counts = _counts(segment["counts"]) if isinstance(segment["counts"], str) else segment["counts"]
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
        inside[polygon(y - 0.5, x - 0.5, size)] = True
    return inside


def _counts(text: str) -> list[int]:
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
