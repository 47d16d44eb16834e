"""The nearest-neighbour field of one scale of a picture, and the hole filled by it.

Patches are 7×7 pixels and go by their centre, a flat index into the picture. Those that miss something are targets, those that
are all known are sources; the field says for every target which source is nearest to it. Targets and sources are numbered,
and all arrays that speak of them go by these numbers.
"""

from typing import NamedTuple

import cv2
import numpy as np

from mend.inpaint.blend import approximate_laplace
from mend.inpaint.compiled import compile_loop, inline_loop, run
from mend.inpaint.holes import estimate_depth

PATCH = 7  # pixels, the side of a patch
RADIUS = PATCH // 2
COMPONENTS = 24  # principal components by which patches are compared: 147 numbers each would take six times as long
DESCRIPTOR = 32  # numbers of a patch: mean colour, guide, roughness, components, and a zero, so that vectors are full
AVERAGES = 7  # numbers at its beginning: mean colour, guide and roughness
BLOCK = 64  # sources that are compared at once
GUIDE = 1.0  # weight of the guide's colour beside the patch itself: with 4 the network's blur is followed where it is wrong
ROUGHNESS = 2.0**2  # weight of the roughness. Patches compared by their pixels alone come from where the picture is smooth:
# of all that might be there, a smooth one is nearest to the average
FADING = 1.3  # by how much the confidence in a target falls for each pixel that it is farther from the rim
FADED = 200.0  # pixels from the rim at which that ends: from 390 on it would be less than a float can hold
PAIRS = 200_000_000  # of a target and a source that a finer scale compares once, to mend what the coarsest got wrong
ROUNDS = (8, 4)  # of searching and filling: at the coarsest scale, at every other
COPIED = 2  # of these, the last, which go by copies: a mean of votes is smoother than what it is a mean of
AROUND = ((0, 1), (0, -1), (1, 0), (-1, 0))


class Scale(NamedTuple):
    """One scale of the picture.

    pixels          (3, H, W) float32, whose hole is filled by votes, and by copies in the last rounds
    guide           (3, H, W) float32, low frequencies that the filling shall have
    roughness       (H, W) float32, by how much its pixels shall differ from the mean about them
    missing         flat indices of the hole's pixels
    sources         centres of the patches that are all known
    targets         centres of those that miss something; together they are all patches that lie inside the picture
    number          (H, W) the number of the target that has its centre there, −1 where none has
    nearest_source  (H, W) the number of the source whose centre is nearest to there
    nearest_target  (H, W) the same of targets
    confidence      of each target: the less, the farther it is from what is known
    coherence       by what part of its distance a source seems nearer if all four neighbours of its target copy what lies
                    beside it; by a quarter of that for each
    """

    pixels: np.ndarray
    guide: np.ndarray
    roughness: np.ndarray
    missing: np.ndarray
    sources: np.ndarray
    targets: np.ndarray
    number: np.ndarray
    nearest_source: np.ndarray
    nearest_target: np.ndarray
    confidence: np.ndarray
    coherence: np.float32


class Field(NamedTuple):
    """For every target the number of its source, and the distance of the two."""

    source: np.ndarray
    distance: np.ndarray


class Descriptors(NamedTuple):
    """Rows (N, 32) whose squared distances are those of patches."""

    targets: np.ndarray
    sources: np.ndarray


def find_sources(hole: np.ndarray) -> np.ndarray:
    """Where a patch inside the picture has its centre that is all known: (H, W), bool, like the hole."""
    known = np.zeros(hole.shape, np.bool_)
    inside = tuple(slice(RADIUS, max(RADIUS, side - RADIUS)) for side in hole.shape)
    known[inside] = cv2.dilate(hole.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8))[inside] == 0
    return known


def make_scale(image: np.ndarray, hole: np.ndarray, guide: np.ndarray, coherence: float) -> Scale:
    """A scale of an image (3, H, W), its hole (H, W), which must leave a source, and a guide (3, H, W)."""
    known = find_sources(hole)
    unknown = find_sources(np.zeros_like(hole)) & ~known
    sources, targets = (np.flatnonzero(centres).astype(np.int32) for centres in (known, unknown))
    number = np.full(hole.shape, -1, np.int32)
    number.flat[targets] = np.arange(len(targets), dtype=np.int32)
    confidence = np.float32(FADING) ** -estimate_depth(hole).ravel()[targets].clip(max=FADED)
    missing = np.flatnonzero(hole).astype(np.int32)
    pixels, guide = image.copy(), np.ascontiguousarray(guide)
    rough = measure_roughness(image, hole)
    nearest, part = (_number_nearest(known), _number_nearest(unknown)), np.float32(coherence)
    return Scale(pixels, guide, rough, missing, sources, targets, number, *nearest, confidence, part)


def measure_roughness(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """By how much the pixels of an image (3, H, W) differ from the mean about them: the root mean square (H, W).

    In the hole (H, W) it is carried in from the rim, as heat is.
    """
    image = np.where(hole, np.float32(0), image)
    known = (~hole).astype(np.float32)

    share, wide = blur(known, 1.5) + np.float32(1e-6), blur(known, 2)
    squares = sum(np.square((channel - blur(channel * known, 1.5) / share) * known) for channel in image)
    rough = np.sqrt(blur(squares / 3, 2) / (wide + np.float32(1e-6)))
    surrounded = (wide > 0.6) & ~hole  # by pixels enough to tell
    if not surrounded.any():
        surrounded = ~hole
    return approximate_laplace(rough[None, None], surrounded[None, None].astype(np.float32))[0, 0]


def blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Values (H, W) or (H, W, C) under a Gaussian of so many pixels."""
    return cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _number_nearest(centres: np.ndarray) -> np.ndarray:
    """For each pixel (H, W) the number of the centre (H, W, True) that is nearest to it."""
    _, label = cv2.distanceTransformWithLabels((~centres).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    places = np.flatnonzero(centres)
    number = np.zeros(label.max() + 1, np.int32)
    number[label.ravel()[places]] = np.arange(len(places), dtype=np.int32)
    return number[label]


def match(scale: Scale, coarse: tuple[Scale, Field] | None) -> Field:
    """The field of a scale, by searching and filling in turn; the scale's pixels change by the way.

    It starts from the field of the scale half as large; at the coarsest, of which there is none, every target is compared with
    every source.
    """
    axes = find_axes(scale)
    sources = describe_patches(scale, scale.sources, axes)
    everywhere = coarse is None or len(scale.targets) * len(scale.sources) <= PAIRS
    if coarse is not None:
        field = enlarge_field(scale, *coarse)
        take_votes(scale, field.source, np.ones_like(field.distance))
    rounds = ROUNDS[0] if coarse is None else ROUNDS[1]
    for turn in range(rounds):
        described = Descriptors(describe_patches(scale, scale.targets, axes), sources)
        source = search(described) if turn == 0 and everywhere else field.source
        field = improve(scale, described, source)
        if turn == rounds - 1:
            break  # what it fills nobody would look at
        if turn >= rounds - COPIED:
            copy_sources(scale, find_copies(scale, field))
        else:
            tolerance = 2 * np.quantile(field.distance, 0.75) + 1e-3  # patches of a flat picture are no distance apart
            similarity = np.exp(-field.distance / tolerance).clip(min=1e-3)  # a pixel under none but poor ones needs a vote
            take_votes(scale, field.source, scale.confidence * similarity)
    return field


def enlarge_field(scale: Scale, coarse: Scale, found: Field) -> Field:
    """The field of a coarser scale at twice its size: each target is as far from its source as its parent is from its own."""
    width, wide = scale.pixels.shape[2], coarse.pixels.shape[2]
    y, x = np.divmod(scale.targets, width)
    parent = coarse.nearest_target[y // 2, x // 2]
    (row, column), (v, u) = np.divmod(coarse.targets[parent], wide), np.divmod(coarse.sources[found.source[parent]], wide)
    v, u = (y + 2 * (v - row)).clip(0, scale.pixels.shape[1] - 1), (x + 2 * (u - column)).clip(0, width - 1)
    source = scale.nearest_source[v, u]
    return Field(source, np.zeros(len(source), np.float32))


# --- Descriptors -----------------------------------------------------------------------------------------------------


def find_axes(scale: Scale) -> np.ndarray:
    """The directions (24, 147) in which the sources differ most, their mean colour apart; the first the most."""
    some = scale.sources[:: max(1, len(scale.sources) // 4096)]
    y, x = np.divmod(some, scale.pixels.shape[2])
    windows = np.lib.stride_tricks.sliding_window_view(scale.pixels, (PATCH, PATCH), (1, 2))
    patches = windows[:, y - RADIUS, x - RADIUS].astype(np.float64)  # (3, N, 7, 7)
    patches = (patches - patches.mean((2, 3), keepdims=True)).swapaxes(0, 1).reshape(len(some), -1)
    axes = np.linalg.eigh(patches.T @ patches).eigenvectors.T[: -COMPONENTS - 1 : -1]
    return axes.round(6).astype(np.float32)  # in the last digits one sees among how many threads LAPACK divided its sums


def describe_patches(scale: Scale, centres: np.ndarray, axes: np.ndarray) -> np.ndarray:
    described = np.zeros((len(centres), DESCRIPTOR), np.float32)
    run(describe, len(centres), scale, centres, axes, described)
    return described


@compile_loop
def describe(start: int, stop: int, scale: Scale, centres: np.ndarray, axes: np.ndarray, described: np.ndarray) -> None:
    """Mean colour, guide and roughness at the centre, and the patch along the `axes` (24, 147).

    Colours weigh as the 49 pixels of the patch do; roughness as if all of them were off by it, times `ROUGHNESS`.
    """
    pixels, guide, roughness, width = scale.pixels, scale.guide, scale.roughness, scale.pixels.shape[2]
    patch = np.empty((3, PATCH * PATCH), np.float32)
    for i in range(start, stop):
        y, x = centres[i] // width, centres[i] % width
        for c in range(3):
            total = np.float32(0)
            for dy in range(PATCH):
                for dx in range(PATCH):
                    value = pixels[c, y + dy - RADIUS, x + dx - RADIUS]
                    patch[c, dy * PATCH + dx] = value
                    total += value
            described[i, c] = total / np.float32(PATCH)
            described[i, 3 + c] = np.float32(PATCH * GUIDE**0.5) * guide[c, y, x]
        described[i, 6] = np.float32(PATCH * (3 * ROUGHNESS) ** 0.5) * roughness[y, x]
        flat = patch.ravel()
        for axis in range(COMPONENTS):
            total = np.float32(0)
            for k in range(3 * PATCH * PATCH):
                total += flat[k] * axes[axis, k]
            described[i, AVERAGES + axis] = total


# --- Search ----------------------------------------------------------------------------------------------------------


def search(described: Descriptors) -> np.ndarray:
    """Each target's nearest among all sources, the first of equally near ones.

    A source that is farther away than the nearest one found so far in brightness alone need not be looked at. So blocks of
    sources are made in the order of brightness, and each target goes through them from its own on, up and then down.
    """
    own, brightness = (rows[:, :AVERAGES].sum(1) / np.float32(AVERAGES**0.5) for rows in described)
    order = np.argsort(brightness, kind="stable").astype(np.int32)
    order = np.pad(order, (0, -len(order) % BLOCK), "edge").reshape(-1, BLOCK)
    blocks = np.ascontiguousarray(described.sources[order].swapaxes(1, 2))  # (B, 32, 64), so that vectors hold many sources
    darkest, brightest = brightness[order[:, 0]], brightness[order[:, -1]]
    nearest = np.zeros(len(own), np.int32)  # which it stays for a target that is not a number
    arguments = (described.targets, own, blocks, darkest, brightest, order, nearest)
    run(search_blocks, len(own), *arguments, grain=64)
    return nearest


@compile_loop
def search_blocks(
    start: int,
    stop: int,
    targets: np.ndarray,
    own: np.ndarray,
    blocks: np.ndarray,
    darkest: np.ndarray,
    brightest: np.ndarray,
    order: np.ndarray,
    nearest: np.ndarray,
) -> None:
    distance = np.empty(BLOCK, np.float32)
    for i in range(start, stop):
        target, least, first = targets[i], np.float32(np.inf), max(0, np.searchsorted(darkest, own[i]) - 1)
        for step in (1, -1):
            b = first if step > 0 else first - 1
            while 0 <= b < len(blocks):
                gap = max(darkest[b] - own[i], own[i] - brightest[b], np.float32(0))
                if gap * gap > least:
                    break
                sources = blocks[b]
                for k in range(BLOCK):
                    distance[k] = 0
                for j in range(0, DESCRIPTOR, 4):  # four at a time, so that sums stay in registers
                    t, u, v, w = target[j], target[j + 1], target[j + 2], target[j + 3]
                    for k in range(BLOCK):
                        distance[k] += (
                            (t - sources[j, k]) ** 2
                            + (u - sources[j + 1, k]) ** 2
                            + (v - sources[j + 2, k]) ** 2
                            + (w - sources[j + 3, k]) ** 2
                        )
                for k in range(BLOCK):
                    if distance[k] < least or (distance[k] == least and order[b, k] < nearest[i]):
                        least, nearest[i] = distance[k], order[b, k]
                b += step


def improve(scale: Scale, described: Descriptors, source: np.ndarray) -> Field:
    """A field from sources for all targets: they take what continues a neighbour's source, or lies beside their own."""
    count = len(source)
    field = Field(source.copy(), np.empty(count, np.float32))
    run(measure, count, described, field)
    for jump in (4, 2, 1):
        for dy, dx in AROUND:
            run(propagate, count, jump * dy, jump * dx, scale, described, scale.sources[field.source], field)
    run(search_around, count, scale, described, scale.sources[field.source], field)
    return field


@inline_loop
def _measure_distance(target: np.ndarray, source: np.ndarray) -> np.float32:
    total = np.float32(0)
    for j in range(DESCRIPTOR):
        total += (target[j] - source[j]) * (target[j] - source[j])
    return total


@inline_loop
def find_nearest(nearest: np.ndarray, y: int, x: int) -> int:
    """What is nearest to a place that may lie outside the picture."""
    return nearest[min(max(y, 0), nearest.shape[0] - 1), min(max(x, 0), nearest.shape[1] - 1)]


@inline_loop
def get_number(number: np.ndarray, y: int, x: int) -> int:
    """The number there, −1 outside the picture."""
    return number[y, x] if 0 <= y < number.shape[0] and 0 <= x < number.shape[1] else -1


@inline_loop
def _count_beside(place: int, own: int, target: int, number: np.ndarray, before: np.ndarray) -> tuple[int, int]:
    """How many of a target's four neighbours had `before` what lies beside a place as they lie beside the target, and how many
    what so lies beside its own source. All are flat indices: no source is at the picture's edge, so what lies beside it is in
    the same row."""
    width = number.shape[1]
    new = kept = 0
    for dy, dx in AROUND:
        neighbour = get_number(number, target // width + dy, target % width + dx)
        if neighbour >= 0:
            beside = before[neighbour] - dy * width - dx
            new += beside == place
            kept += beside == own
    return new, kept


@compile_loop
def measure(start: int, stop: int, described: Descriptors, field: Field) -> None:
    """The distance of every target from its source."""
    (targets, sources), (source, distance) = described, field
    for i in range(start, stop):
        distance[i] = _measure_distance(targets[i], sources[source[i]])


@compile_loop
def propagate(
    start: int, stop: int, dy: int, dx: int, scale: Scale, described: Descriptors, before: np.ndarray, field: Field
) -> None:
    """Each target takes what continues the source, a flat index, that its neighbour at (dy, dx) had `before`, where that costs
    less."""
    (target, source), (nearest, distance) = described, field
    number, nearest_source, targets, sources = scale.number, scale.nearest_source, scale.targets, scale.sources
    coherence, width = scale.coherence, number.shape[1]
    for i in range(start, stop):
        neighbour = get_number(number, targets[i] // width + dy, targets[i] % width + dx)
        if neighbour >= 0:
            candidate = find_nearest(nearest_source, before[neighbour] // width - dy, before[neighbour] % width - dx)
            if candidate != nearest[i]:
                apart = _measure_distance(target[i], source[candidate])
                if apart * (np.float32(1) - coherence) < distance[i]:
                    new, kept = _count_beside(sources[candidate], before[i], targets[i], number, before)
                    if apart * (np.float32(4) - coherence * new) < distance[i] * (np.float32(4) - coherence * kept):
                        nearest[i], distance[i] = candidate, apart


@compile_loop
def search_around(start: int, stop: int, scale: Scale, described: Descriptors, before: np.ndarray, field: Field) -> None:
    """Each target takes the source beside its own, on one side after the other, where that costs less."""
    (target, source), (nearest, distance) = described, field
    number, nearest_source, targets, sources = scale.number, scale.nearest_source, scale.targets, scale.sources
    coherence, width = scale.coherence, number.shape[1]
    for i in range(start, stop):
        for dy, dx in AROUND:
            own = sources[nearest[i]]
            candidate = find_nearest(nearest_source, own // width + dy, own % width + dx)
            apart = _measure_distance(target[i], source[candidate])
            if apart * (np.float32(1) - coherence) < distance[i]:
                new, kept = _count_beside(sources[candidate], own, targets[i], number, before)
                if apart * (np.float32(4) - coherence * new) < distance[i] * (np.float32(4) - coherence * kept):
                    nearest[i], distance[i] = candidate, apart


# --- Filling ---------------------------------------------------------------------------------------------------------


def take_votes(scale: Scale, source: np.ndarray, weight: np.ndarray) -> None:
    """Each missing pixel becomes the mean, by `weight`, of what the sources of the patches over it have in its place."""
    run(vote, len(scale.missing), scale, scale.sources[source], weight.astype(np.float32, copy=False))


@compile_loop
def vote(start: int, stop: int, scale: Scale, centres: np.ndarray, weight: np.ndarray) -> None:
    number, missing, width = scale.number, scale.missing, scale.number.shape[1]
    red, green, blue = scale.pixels[0].ravel(), scale.pixels[1].ravel(), scale.pixels[2].ravel()
    for i in range(start, stop):
        pixel = missing[i]
        y, x = pixel // width, pixel % width
        r = g = b = total = np.float32(0)
        for dy in range(-RADIUS, RADIUS + 1):
            for dx in range(-RADIUS, RADIUS + 1):
                target = get_number(number, y - dy, x - dx)
                if target >= 0:
                    voter, share = centres[target] + dy * width + dx, weight[target]
                    r += share * red[voter]
                    g += share * green[voter]
                    b += share * blue[voter]
                    total += share
        red[pixel], green[pixel], blue[pixel] = r / total, g / total, b / total


def copy_sources(scale: Scale, copied: np.ndarray) -> None:
    """Each missing pixel becomes the one that it copies."""
    pixels = scale.pixels.reshape(3, -1)
    pixels[:, scale.missing] = pixels[:, copied]


def find_copies(scale: Scale, field: Field) -> np.ndarray:
    """What the missing pixels of a scale copy, flat indices."""
    copied = np.zeros(len(scale.missing), np.int32)
    run(choose_copies, len(copied), scale, scale.sources[field.source], field.distance, copied)
    return copied


@compile_loop
def choose_copies(start: int, stop: int, scale: Scale, centres: np.ndarray, distances: np.ndarray, copied: np.ndarray) -> None:
    """A missing pixel copies the one in its place in a source of a patch over it: of the nearest, those about it preferred."""
    number, missing, width = scale.number, scale.missing, scale.number.shape[1]
    for i in range(start, stop):
        y, x = missing[i] // width, missing[i] % width
        least = np.float32(np.inf)
        for dy in range(-RADIUS, RADIUS + 1):
            for dx in range(-RADIUS, RADIUS + 1):
                target = get_number(number, y - dy, x - dx)
                if target >= 0:
                    distance = distances[target] * np.float32(1 + 0.05 * (dy * dy + dx * dx))
                    if distance < least:
                        least, copied[i] = distance, centres[target] + dy * width + dx
