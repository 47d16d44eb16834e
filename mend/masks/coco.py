"""COCO annotations, of one picture or of a whole data set, and LabelMe's, as what they mark in a picture.

https://cocodataset.org/#format-data: polygons, run lengths (RLE), compressed or not, annotations, and data sets of them.
https://github.com/wkentaro/labelme: polygons, rectangles and circles of one picture.
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
from typing import Any, TypedDict

import numpy as np

from mend.errors import InputError, suggest_nearest

MOST = 200_000_000  # pixels of a picture that annotations are drawn for; the largest cameras have 150 million
OUTSIDE = "lies outside the picture"
CORNERS = {"polygon": 3, "rectangle": 2, "circle": 2}  # points that LabelMe's shapes have at least
KINDS = (
    'COCO: polygons [[x, y, x, y, …], …], an RLE {"size", "counts"}, annotations {"segmentation"}, {"images", "annotations"}; '
    'or LabelMe: {"shapes"}'
)


def read_coco(file: Path | bytes, size: tuple[int, int] | None, photo: str) -> tuple[np.ndarray, str, list[str]]:
    """All that a COCO or LabelMe file, or its bytes, marks in `photo` united, bool (H, W), in words what it was, and notes."""
    path = Path("the mask") if isinstance(file, bytes) else file  # as messages call it
    photo, taken = str(Path(photo).resolve()) if photo else "", ""
    try:
        with _reading:
            data = _parse(path, file) if isinstance(file, bytes) else _read(file, file.stat().st_mtime_ns)
        if isinstance(data, dict) and "shapes" in data:
            return _draw_labelme(path, data, size)
        if isinstance(data, _DataSet):
            image = _find_entry(path, data, photo)
            taken = image["file_name"] if photo else ""
            size = (int(image["height"]), int(image["width"]))
            data = data.annotations.get(image["id"], [])
        named = _list_segments(path, data)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}.") from None
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{path} is JSON, but no annotations. Expected {KINDS}.") from None
    notes = [] if not taken or _compare_ends(taken, photo)[0] else [f"taken for {taken} there, by its name"]
    segments = [(name, segment) for name, segment in named if segment != []]
    inside: np.ndarray | None = None
    for name, segment in segments:
        part = _draw(path, name, segment, size, notes)
        if inside is not None and part.shape != inside.shape:
            raise InputError(f"the annotations of {path} are for pictures of several sizes. Give those of one picture.")
        inside = part if inside is None else np.logical_or(inside, part, out=inside)
    if inside is None:
        if size is None:
            raise InputError(f"{path} marks nothing, and does not say in how large a picture. Add `photo`.")
        inside = _make_empty(path, *size)
    _check_marked(path, inside, notes)
    empty = len(named) - len(segments)
    notes += [f"segmentations that are empty and mark nothing: {empty} of {len(named)}"] if empty else []
    return inside, f"COCO, {len(segments)} segmentation{'s' * (len(segments) != 1)}", notes


class _Entry(TypedDict):
    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class _DataSet:
    """What a file says of many pictures: their entries by their names without folders, their annotations by `image_id`."""

    images: dict[str, list[_Entry]]
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
        raise InputError(f"{path} is not JSON: {error}. Expected {KINDS}.") from None
    if not (isinstance(data, dict) and "images" in data):
        return data
    images, annotations = defaultdict(list), defaultdict(list)
    for image in data["images"]:
        images[PureWindowsPath(image["file_name"]).name].append(image)
    for annotation in data["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
    return _DataSet(images, annotations)


def _find_entry(path: Path, data: _DataSet, photo: str) -> _Entry:
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
    raise InputError(
        f"{path} has no picture called {name!r}, {has}.{suggest_nearest(name, known)} Rename the picture, or correct it."
    )


def _compare_ends(entry: str, photo: str) -> tuple[bool, int]:
    """Whether a path is the end of another, and how many parts, from the last on, both have in common."""
    parts, others = PureWindowsPath(entry).parts, PureWindowsPath(photo).parts  # of a path from any system
    common = sum(1 for _ in takewhile(bool, map(eq, reversed(parts), reversed(others))))
    return common == len(parts), common


def _list_segments(path: Path, data: Any) -> list[tuple[str, Any]]:
    """The segmentations of one picture, each a list of polygons or an RLE, and what messages call it."""
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, list):
        raise TypeError(f"{type(data).__name__} is neither a list nor an object")
    if not all(isinstance(item, dict) for item in data):
        return [("its list", data)]
    if any(annotation.get("image_id") != data[0].get("image_id") for annotation in data):
        raise InputError(f'{path} annotates several pictures without "images" to name them. Give the annotations of one.')
    named = []
    for place, annotation in enumerate(data, 1):
        name = f"annotation {annotation['id']}" if "id" in annotation else f"segmentation {place}"
        named.append((name, annotation.get("segmentation", annotation)))
    return named


def _draw(path: Path, name: str, segment: Any, size: tuple[int, int] | None, notes: list[str]) -> np.ndarray:
    """A segmentation as bool (H, W). As in pycocotools, a pixel belongs to a polygon if its centre, at +0.5, lies inside."""
    if isinstance(segment, dict):
        if not {"size", "counts"} & set(segment):
            raise InputError(f"{name} of {path} has neither a size nor counts. Expected {KINDS}.")
        return _draw_runs(path, name, segment)
    if not isinstance(segment, list):
        raise InputError(f"{name} of {path} is {json.dumps(segment)[:40]}. Expected {KINDS}.")
    if size is None:
        raise InputError(f"{path} has polygons, which do not say how large their picture is. Add `photo`.")
    inside = _make_empty(path, *size)
    for points in segment if isinstance(segment[0], list) else [segment]:
        _mark(inside, path, f"a polygon of {name}", "polygon", points, notes)
    return inside


def _mark(inside: np.ndarray, path: Path, name: str, kind: str, points: Any, notes: list[str]) -> None:
    """Mark a shape, whose kind is one of `CORNERS`, in `inside` (H, W); or note that its points are too few, or lie outside."""
    x, y = _read_points(path, name, points)
    if len(x) < CORNERS[kind]:
        notes.append(f"{name} has {len(x)} points, marks nothing and is left out")
        return
    if kind == "rectangle":
        x, y = np.array([x.min(), x.max(), x.max(), x.min()]), np.array([y.min(), y.min(), y.max(), y.max()])
    elif kind == "circle":  # its centre, and a point of its rim
        radius, turn = math.hypot(x[1] - x[0], y[1] - y[0]), np.linspace(0, 2 * np.pi, 360, endpoint=False)
        x, y = x[0] + radius * np.cos(turn), y[0] + radius * np.sin(turn)
    x, y = x - 0.5, y - 0.5  # (0, 0) is the centre of a pixel from here on
    left, top = (max(0, math.floor(values.min())) for values in (x, y))
    bottom, right = (min(side, math.ceil(values.max()) + 1) for side, values in zip(inside.shape, (y, x), strict=True))
    if top < bottom and left < right:  # only the part that it spans is looked at
        inside[top:bottom, left:right] |= draw_polygon(y - top, x - left, (bottom - top, right - left))
    else:
        notes.append(f"{name} {OUTSIDE}")


def _read_points(path: Path, name: str, points: Any) -> np.ndarray:
    """Points as (2, N), x and y. InputError, in which they are called `name`, for what is none."""
    try:
        numbers = np.array(points, np.float64).ravel()
    except (TypeError, ValueError):
        raise InputError(f"{name} in {path} holds what is no number; expected x, y, x, y, …") from None
    if len(numbers) % 2:
        raise InputError(
            f'{name} in {path} has {len(numbers)} numbers; expected pairs, x and y. Run lengths are {{"size", "counts"}}.'
        )
    if not (abs(numbers) <= MOST).all():
        odd = numbers[~(abs(numbers) <= MOST)][0]
        raise InputError(f"{name} in {path} holds {'NaN' if np.isnan(odd) else f'{odd:g}'}; expected pixels.")
    return numbers.reshape(-1, 2).T


def _draw_runs(path: Path, name: str, segment: dict[str, Any]) -> np.ndarray:
    try:
        height, width = (int(side) for side in segment["size"])
        counts = segment["counts"]
        counts = np.array(_decode_counts(counts) if isinstance(counts, str) else counts, np.int64)
        if counts.ndim != 1 or (counts < 0).any():
            raise ValueError("a run of fewer than 0 pixels")
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(
            f'the RLE of {name} in {path} is damaged. Expected {{"size": [height, width], "counts": [0, 10, 90, …]}}, or its '
            "counts as COCO's text."
        ) from None
    _check_size(path, height, width)
    if (counts > height * width).any() or counts.sum() != height * width:  # a sum of greater ones could wrap round to it
        ends = f"runs over {sum(counts.tolist())} pixels, its size {width}×{height} has {height * width}"
        raise InputError(f"the RLE of {name} in {path} {ends}.")
    runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)  # the first run is background, perhaps of length 0
    return runs.reshape(width, height).T  # column after column


def _check_size(path: Path, height: int, width: int) -> None:
    if not (height > 0 and width > 0 and height * width <= MOST):
        raise InputError(
            f"{path} is for a picture of {width}×{height} pixels; expected what a picture has, at most {MOST:,} pixels."
        )


def _make_empty(path: Path, height: int, width: int) -> np.ndarray:
    _check_size(path, height, width)
    return np.zeros((height, width), np.bool_)


def _draw_labelme(path: Path, data: dict[str, Any], size: tuple[int, int] | None) -> tuple[np.ndarray, str, list[str]]:
    """What LabelMe's shapes mark, as `read_coco` has it; lines and points mark no area."""
    notes, others = list[str](), list[str]()
    try:
        if data.get("imageHeight") and data.get("imageWidth"):
            size = int(data["imageHeight"]), int(data["imageWidth"])
        shapes = [(str(shape.get("shape_type") or "polygon"), shape["points"]) for shape in data["shapes"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f'{path} has "shapes", but not as LabelMe: a list of {{"shape_type", "points"}}.') from None
    if size is None:
        raise InputError(f"{path} does not say how large its picture is. Add `photo`.")
    inside = _make_empty(path, *size)
    for i, (kind, points) in enumerate(shapes, 1):
        if kind in CORNERS:
            _mark(inside, path, f"shape {i}, a {kind},", kind, points, notes)
        else:
            others.append(kind)
    _check_marked(path, inside, notes)
    if others:
        notes.append(f"shapes that mark no area and are left out: {', '.join(sorted(set(others)))}")
    return inside, f"LabelMe, {len(shapes) - len(others)} shape{'s' * (len(shapes) - len(others) != 1)}", notes


def _check_marked(path: Path, inside: np.ndarray, notes: list[str]) -> None:
    """InputError where all that a file marks lies outside the picture."""
    if not inside.any() and (outside := [note for note in notes if note.endswith(OUTSIDE)]):
        height, width = inside.shape
        raise InputError(f"{outside[0]}, which is {width}×{height}, in {path}. Is it for another picture?")


def draw_polygon(y: np.ndarray, x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels, bool (H, W), whose centres lie in a polygon with these corners, or on its outline; (0, 0) is such a centre.

    A centre lies inside when the outline crosses its row an odd number of times to the right of it. On the outline it lies,
    too, when the number to the left of it is odd and the other is not (Hormann and Agathos, 2001).
    """
    height, width = size
    right, left = (np.zeros((height, width + 1), np.uint8) for _ in range(2))  # changes of the parity, from a column on
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
    for parity in (right, left):
        np.bitwise_xor.accumulate(parity, axis=1, out=parity)
    inside = ((right | left) & 1)[:, :width] > 0
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
