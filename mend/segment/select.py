"""The object that a person means by clicks, a box or a line around it.

A small network says how likely each pixel belongs to it: it sees the picture, a box or a line as what is enclosed, and the
clicks. Then the picture's own colours are asked: what has colours and grain that are seldom outside belongs to it, borders
keep to edges (He et al., *Guided image filtering*, 2010), and GrabCut has the last word (Rother et al., 2004). All of it at a
reduced size; the border is then found again at the full one. `benchmarks/object_network.py` trains the network.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mend.data.assets import ASSETS
from mend.inpaint.onnx import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Point = tuple[float, float, bool]  # x and y in shares of the width and the height; whether what is there belongs to it
Box = tuple[float, float, float, float]  # left, top, right, bottom, in the same shares

NETWORK = ASSETS / "select" / "model.onnx"
WINDOW = 128  # pixels of the sides of what the network sees
# Side of the window around a box or a line: times its longer side, at most times the picture's.
CONTEXT, MOST_CONTEXT = 1.7, 1.3
RADIUS = 3  # pixels, of a click in a window
CLOSER = 2  # looks after the first at a click, each at what the one before found
NEAR, NEAREST = 1.9, 0.12  # side of their windows: times the longer side of what was found, at least times the picture's
SIDE = 320  # pixels of the longer side at which colours are compared
AROUND = 0.35  # of the marked part's longer side: what is seen of its surroundings
ROUNDS = 5
GRABCUT_ROUNDS = 2
LOST = 0.15  # of what was likely: what GrabCut leaves less of, it has lost
BINS = 12  # of each of three colours
BLUR, LEVEL = 5, 1e-3  # of the guided filter: its radius in pixels, and how weak an edge may be
FINE_LEVEL = 1e-4  # the same of an edge to which the border goes at the full size
SURE = 20.0  # log odds beyond which nothing is asked
COLOUR, MEAN, GRAIN = 0.5, 0.4, 0.15  # what a pixel's colour, that of its neighbourhood, and the grain there count
CLICK = 0.02  # of the marked part's longer side: how far around a click it is settled
ALIKE = 6, 20  # of 255, of L, a and b: two tolerances; with both, the same is connected with a click on a plain thing
STRIPE = 0.02  # of the longer side: what is thinner is a part of something
SCENE = 0.5  # of the picture: what is larger lies behind everything
GROW = 0.01  # of the longer side; see `grow`

FindObjects = Callable[[np.ndarray], np.ndarray]  # masks (n, H, W) of pictures uint8 (n, H, W, 3): all objects in each


def select(
    pixels: np.ndarray,
    points: Sequence[Point] = (),
    box: Box | None = None,
    lasso: Sequence[tuple[float, float]] | None = None,
    find_objects: FindObjects | None = None,
) -> np.ndarray:
    """The object in uint8 (H, W, 3) pixels, bool (H, W): within a box or a lasso, or at the clicks; holes in it are filled.

    Clicks after the first, or with a box or a lasso, take away or add what is there. Where there are only clicks, the object
    may come from `find_objects`. The same arguments give the same.
    """
    shape = _draw_shape(pixels.shape[:2], box, lasso)
    if shape is None and find_objects is not None:
        shape = _find_shape(pixels, points, find_objects)
    shape = _find_plain(pixels, points) if shape is None else shape
    if shape is None:
        likely, shape = _ask_closer(pixels, points)
    else:
        likely = _ask(pixels, _bound(shape), shape, points)
    found = _tidy(_tell_apart(pixels, likely, shape, points), points)
    for point in points:  # however small a picture is
        found[_locate_click(point, found.shape)] = point[2]
    return found


def grow(found: np.ndarray) -> np.ndarray:
    """An object with its rim, bool (H, W): `GROW` of the longer side more. A rim that stays is filled back in.

    In `results/object-selection.json` most of the objects that were found need no more to be covered by 99 %.
    """
    reach = max(1, round(GROW * max(found.shape)))
    return _dilate(found.astype(np.uint8), reach) > 0


def _dilate(shape: np.ndarray, reach: int) -> np.ndarray:
    """A shape, uint8 (H, W), larger by a disc of this radius in pixels."""
    return cv2.dilate(shape, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))


# --- Where it is, roughly --------------------------------------------------------------------------------------------


def _draw_shape(size: tuple[int, int], box: Box | None, lasso: Sequence[tuple[float, float]] | None) -> np.ndarray | None:
    """What a box or a lasso encloses, uint8 (H, W); None without one."""
    if box is None and lasso is None:
        return None
    left, top, right, bottom = box or (0, 0, 0, 0)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)] if lasso is None else lasso
    scaled = np.array(corners, np.float64) * size[::-1]
    return cv2.fillPoly(np.zeros(size, np.uint8), [np.rint(scaled).astype(np.int32).clip(0, np.array(size[::-1]) - 1)], 1)


def _find_shape(pixels: np.ndarray, points: Sequence[Point], find_objects: FindObjects) -> np.ndarray | None:
    """The objects found by a network that are at clicks, uint8 (H, W), a little larger; None where there is none."""
    objects = find_objects(pixels[None])[0].astype(np.uint8)
    _, parts = cv2.connectedComponents(objects, connectivity=4)
    labels = {_look_up(parts, point) for point in points if point[2]} - {0}
    return cv2.dilate(np.isin(parts, [*labels]).astype(np.uint8), np.ones((15, 15), np.uint8)) if labels else None


def _find_plain(pixels: np.ndarray, points: Sequence[Point]) -> np.ndarray | None:
    """The things of one colour at the clicks, uint8 (H, W), a little larger; None where there are none.

    Such a thing is a stable region (Matas et al., *Robust wide baseline stereo from maximally stable extremal regions*, 2002):
    however exactly its colour has to be met, what is connected with the click is the same. Of 120 clicks on the objects of
    `benchmarks/object_selection.py` none found one.
    """
    scale = min(1.0, SIDE / max(pixels.shape))
    small = cv2.resize(pixels, [max(1, round(scale * side)) for side in pixels.shape[1::-1]], interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1), cv2.COLOR_RGB2LAB)
    size = lab.shape[:2]

    def flood(tolerance: int) -> np.ndarray:
        found = np.pad(np.zeros(size, np.uint8), 1)
        how = cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
        for point in points:
            if point[2]:
                cv2.floodFill(lab, found, _locate_click(point, size)[::-1], 0, (tolerance,) * 3, (tolerance,) * 3, how)
        return found[1:-1, 1:-1]

    least, most = (flood(tolerance) for tolerance in ALIKE)
    depth = cv2.distanceTransform(np.pad(least, 1), cv2.DIST_L2, 5).max()
    if most.sum() > 1.2 * least.sum() or depth < STRIPE * max(least.shape) or most.mean() > SCENE:
        return None
    reach = max(2, round(0.06 * max(cv2.boundingRect(most)[2:])))
    return cv2.resize(_dilate(most, reach), pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)


# --- What the network says -------------------------------------------------------------------------------------------

Window = tuple[float, float, float]  # the x and the y of its middle, and its side, in pixels of the picture


def _bound(shape: np.ndarray) -> Window:
    """The window about a shape, uint8 (H, W)."""
    x, y, width, height = cv2.boundingRect(shape)
    return x + width / 2, y + height / 2, min(CONTEXT * max(width, height), MOST_CONTEXT * max(shape.shape))


def _ask_closer(pixels: np.ndarray, points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    """The log odds (H, W) that a pixel belongs to the object at the clicks, and the part of the picture, uint8 (H, W), that the
    network saw of it in the end: first it sees all of it, then what it found."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    window: Window = (width / 2, height / 2, longest)
    likely = _ask(pixels, window, None, points)
    for _ in range(CLOSER):
        found = _tidy(likely > 0, points).astype(np.uint8)
        if not found.any():
            break
        x, y, w, h = cv2.boundingRect(found)
        window = x + w / 2, y + h / 2, float(np.clip(NEAR * max(w, h), NEAREST * longest, longest))
        likely = _ask(pixels, window, None, points)
    seen, (cx, cy, side) = np.zeros((height, width), np.uint8), window
    left, top = (max(0, int(middle - side / 2)) for middle in (cx, cy))
    seen[top : int(cy + side / 2) + 1, left : int(cx + side / 2) + 1] = 1
    return likely, seen


def _ask(pixels: np.ndarray, window: Window, shape: np.ndarray | None, points: Sequence[Point]) -> np.ndarray:
    """The log odds (H, W) that a pixel belongs to the object, by the network: the mean of what it says of a window and of its
    mirror image. Outside of the window it is -SURE / 2."""
    cx, cy, side = window
    height, width = pixels.shape[:2]
    scale, size = WINDOW / side, (WINDOW, WINDOW)
    move = np.array([[scale, 0, WINDOW / 2 - scale * cx], [0, scale, WINDOW / 2 - scale * cy]])
    colours = warp_image(pixels, move, scale).astype(np.float32) / 255
    colours[cv2.warpAffine(np.ones((height, width), np.uint8), move, size, flags=cv2.INTER_NEAREST) == 0] = 0.5
    marked = np.zeros((height, width), np.uint8) if shape is None else shape
    seen = encode(colours, cv2.warpAffine(marked * 255, move, size, flags=cv2.INTER_LINEAR) > 127)
    for x, y, add in points:
        column, row = move @ (x * width, y * height, 1)
        click(seen, int(row), int(column), add)
    says = _load_network().run(None, {"seen": np.stack([seen, seen[:, :, ::-1]])})[0][:, 0]
    back = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine((says[0] + says[1][:, ::-1]) / 2, move, (width, height), flags=back, borderValue=-SURE / 2)


def encode(colours: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """What the network sees, float32 (6, S, S): the colours, (S, S, 3) from 0 to 1; what a box or a line encloses, bool (S, S);
    and two planes for clicks."""
    seen = np.zeros((6, *marked.shape), np.float32)
    seen[:3], seen[3] = (colours - 0.5).transpose(2, 0, 1) * 4, marked
    return seen


def click(seen: np.ndarray, row: int, column: int, add: bool) -> None:
    """Draw a click, which may lie outside, into what the network sees."""
    cv2.circle(seen[4 if add else 5], (column, row), RADIUS, 1, cv2.FILLED)


@lru_cache(1)
def _load_network() -> "InferenceSession":
    return open_session(NETWORK)


def warp_image(image: np.ndarray, move: np.ndarray, scale: float) -> np.ndarray:
    """The window of an image, uint8 (H, W, 3), to which `move` (2, 3) takes its pixels; if it shrinks much, of area means."""
    if scale < 0.6:
        height, width = image.shape[:2]
        factor = max(1.5 * scale, 1 / min(height, width))  # a pixel must stay
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        move = move @ np.diag((width / image.shape[1], height / image.shape[0], 1))
    window, grey = (WINDOW, WINDOW), (127, 127, 127)
    return cv2.warpAffine(image, move, window, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=grey)


# --- What its colours say --------------------------------------------------------------------------------------------


def _tell_apart(pixels: np.ndarray, likely: np.ndarray, shape: np.ndarray, points: Sequence[Point]) -> np.ndarray:
    """Which pixels (H, W) belong to the object that lies within a `shape`, uint8 (H, W), by how likely (H, W) they are."""
    rows, columns, scale = _look_at(shape)
    part = pixels[rows, columns]
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    within = cv2.resize(shape[rows, columns], size, interpolation=cv2.INTER_NEAREST)
    expected = cv2.resize(likely[rows, columns], size, interpolation=cv2.INTER_LINEAR).clip(-SURE + 1, SURE - 1)
    expected[within == 0] = -SURE
    origin, longest = np.array([columns.start, rows.start]), max(cv2.boundingRect(within)[2:])
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32) + 0.5
    for px, py, add in points:
        at_x, at_y = (np.array([px, py]) * pixels.shape[1::-1] - origin) * size / part.shape[1::-1]
        away = ((x - at_x) ** 2 + (y - at_y) ** 2) / longest**2
        expected[away <= max(CLICK, 1 / longest) ** 2] = SURE if add else -SURE  # a pixel at least
    result = np.zeros(shape.shape, np.bool_)
    result[rows, columns] = _enlarge(_cut(small, _weigh(small, expected), expected), part)
    return result


def _look_at(shape: np.ndarray) -> tuple[slice, slice, float]:
    """The rows and the columns around a shape, and by what they are scaled."""
    x, y, width, height = cv2.boundingRect(shape)
    margin = int(AROUND * max(width, height)) + 2
    rows = slice(max(0, y - margin), min(shape.shape[0], y + height + margin))
    columns = slice(max(0, x - margin), min(shape.shape[1], x + width + margin))
    return rows, columns, min(1.0, SIDE / max(rows.stop - rows.start, columns.stop - columns.start))


def _weigh(pixels: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How likely it is that a pixel belongs to the object, (h, w): by the log odds expected, and by its colours, which are
    learned from what is likely."""
    features = _describe(pixels)
    smooth = _make_smoother(pixels.astype(np.float32) / 255)
    likely = (1 / (1 + np.exp(-expected))).astype(np.float32)
    for _ in range(ROUNDS):
        odds = sum(weight * _compare(bins, likely) for bins, weight in features)
        likely = 1 / (1 + np.exp(-(np.clip(odds, -6, 6) + expected)))
        likely = smooth(likely.astype(np.float32)).clip(0, 1)
        likely[expected >= SURE], likely[expected <= -SURE] = 1, 0
    return likely


def _describe(pixels: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """The bins (h, w) in which a pixel's colour falls, that of its neighbourhood, and the grain there; each with its weight."""
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / (100, 75, 75) + (0, 0.5, 0.5)
    lab = lab.astype(np.float32)
    reach = max(2.0, 0.012 * max(pixels.shape))
    mean = cv2.GaussianBlur(lab, (0, 0), reach)
    spread = cv2.GaussianBlur(lab[..., 0] ** 2, (0, 0), reach) - mean[..., 0] ** 2
    grain = np.stack([mean[..., 0], 4 * np.sqrt(spread.clip(0)), np.full_like(spread, 0.5)], axis=-1)

    def bins(values: np.ndarray) -> np.ndarray:
        return (values * BINS).clip(0, BINS - 1).astype(np.int64) @ (BINS**2, BINS, 1)

    return [(bins(lab), COLOUR), (bins(mean), MEAN), (bins(grain), GRAIN)]


def _compare(bins: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """For each pixel, the logarithm of how much more often what falls in its bin belongs to the object than to the rest."""
    log = []
    for weight in (likely, 1 - likely):
        counts: np.ndarray = np.bincount(bins.ravel(), weight.ravel(), BINS**3).reshape(BINS, BINS, BINS)
        for axis in range(3):  # neighbouring bins lend each other
            padded = np.pad(counts, [(1, 1) if one == axis else (0, 0) for one in range(3)])
            before, after = (np.delete(padded, [0, 1] if first else [-1, -2], axis) for first in (False, True))
            counts = (before + 2 * counts + after) / 4
        log.append(np.log(counts / max(counts.sum(), 1e-9) + 2e-5).ravel())
    return (log[0] - log[1])[bins]


def _make_smoother(guide: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What makes values (h, w) smooth, but for edges of the guide, float32 (h, w, 3) in [0, 1]: the guided filter."""
    means = _blur(guide, BLUR)
    products = (guide[..., :, None] * guide[..., None, :]).reshape(*guide.shape[:2], 9)
    spread = _blur(products, BLUR).reshape(*guide.shape[:2], 3, 3) - means[..., :, None] * means[..., None, :]
    inverse = np.linalg.inv(spread + LEVEL * np.eye(3, dtype=np.float32))

    def smooth(values: np.ndarray) -> np.ndarray:
        mean = _blur(values, BLUR)
        against = _blur(guide * values[..., None], BLUR) - means * mean[..., None]
        slope = np.einsum("hwij,hwj->hwi", inverse, against)
        offset = mean - (slope * means).sum(axis=-1)
        return (_blur(slope, BLUR) * guide).sum(axis=-1) + _blur(offset, BLUR)

    return smooth


def _blur(plane: np.ndarray, reach: int) -> np.ndarray:
    """The means over squares that reach so many pixels in all directions."""
    return cv2.blur(plane, (2 * reach + 1,) * 2, borderType=cv2.BORDER_REFLECT)


def _cut(pixels: np.ndarray, likely: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The object, float32 (h, w), 0 or 1: what is likely, cut out by GrabCut."""
    found = likely > 0.5
    mask = np.where(found, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    mask[(likely < 0.06) | (expected <= -SURE)] = cv2.GC_BGD
    mask[(likely > 0.94) | (expected >= SURE)] = cv2.GC_FGD
    if 0 < np.count_nonzero(mask & 1) < mask.size:
        cv2.setRNGSeed(0)  # the same clicks find the same
        cv2.grabCut(pixels, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
        cut = (mask & 1) > 0
        if np.count_nonzero(cut) >= LOST * np.count_nonzero(found):  # else it took the object for its surroundings
            found = cut
    return found.astype(np.float32)


def _enlarge(found: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """What was found at a reduced size, at that of the pixels, bool (H, W): its border goes to the nearest edge there."""
    height, width = pixels.shape[:2]
    large = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)
    if found.shape != (height, width):
        reach = max(2, round(width / found.shape[1]))
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        large = _smooth_grey(grey, large, reach)
    return large >= 0.5


def _smooth_grey(guide: np.ndarray, values: np.ndarray, reach: int) -> np.ndarray:
    """As `_make_smoother`, by a guide (h, w), in far less time."""
    means, mean = _blur(guide, reach), _blur(values, reach)
    slope = (_blur(guide * values, reach) - means * mean) / (_blur(guide * guide, reach) - means * means + FINE_LEVEL)
    return _blur(slope, reach) * guide + _blur(mean - slope * means, reach)


# --- Afterwards ------------------------------------------------------------------------------------------------------


def _tidy(found: np.ndarray, points: Sequence[Point]) -> np.ndarray:
    """The object's large parts, and those that were clicked, with what they enclose, unless that was taken away."""
    _, parts, facts, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    areas = facts[1:, cv2.CC_STAT_AREA]
    if not len(areas):
        return found
    kept = {*np.flatnonzero(areas >= 0.1 * areas.max()) + 1, *(_look_up(parts, point) for point in points if point[2])} - {0}
    found = np.isin(parts, [*kept])
    _, gaps, facts, _ = cv2.connectedComponentsWithStats((~found).astype(np.uint8), connectivity=4)
    open_ones = {0, *np.concatenate([gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]])}
    open_ones |= {_look_up(gaps, point) for point in points if not point[2]}
    open_ones |= {*np.flatnonzero(facts[:, cv2.CC_STAT_AREA] > 0.05 * found.sum())}
    return found | ~np.isin(gaps, [*open_ones])


def _look_up(labels: np.ndarray, point: Point) -> int:
    return int(labels[_locate_click(point, labels.shape)])


def _locate_click(point: Point, size: tuple[int, ...]) -> tuple[int, int]:
    """The row and the column of a click in a picture of this size (H, W)."""
    return min(int(point[1] * size[0]), size[0] - 1), min(int(point[0] * size[1]), size[1] - 1)
