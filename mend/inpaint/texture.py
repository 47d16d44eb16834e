"""Texture for a smooth filling, from elsewhere in the picture.

A network that was trained on averages fills a large hole with the right colours and no grain. Here the hole is made anew of
patches of the known picture, from coarse to fine: at every scale each patch that touches the hole looks for the known patch
most like it, and the patches found vote on the hole's pixels (Wexler, Shechtman and Irani, 2007). The network's filling is
where it starts from, and its low frequencies draw each patch to sources of the right colour. Matches are searched among all
patches at the coarsest scale, then enlarged, and improved by those of their neighbours (Barnes et al., PatchMatch, 2009).
In the end every pixel is a copy of one known pixel, and what steps remain between neighbouring copies are evened out in the
gradient domain (Pérez, Gangnet and Blake, 2003).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mend.images import composite
from mend.inpaint.filler import Filler, Memory
from mend.inpaint.scales import double as doubled
from mend.inpaint.scales import halve as halved
from mend.progress import Report, ignore, split_report

PATCH = 7  # pixels, the side of a patch
REACH = PATCH // 2
DEPTH = 4.0  # pixels from a hole's middle to its rim at the coarsest scale: a patch there sees what is known on both sides
SEARCHED = 60_000  # pixels of a scale at which every patch is compared with every other
MATCHED = 1_500_000  # pixels of a scale at which patches are compared at all: above it, matches are only enlarged
FEWEST = 500  # known patches that a coarser scale must have to be gone to: a choice among fewer repeats itself
COMPONENTS = 24  # principal components by which patches are compared: 147 numbers each would take six times as long
GUIDE = 0.6  # weight of the network's low frequencies beside the patch itself
CROWDING = 0.3  # what a patch costs that is used once more often than its share, in mean distances
FADING = 1.3  # by how much a patch counts less for each pixel that it is farther from the rim
FADED = 200.0  # pixels from the rim at which that ends: from 390 on its weight would be less than a float can hold
PAIRS = 200_000_000  # of a target and a source that a finer scale compares once, to mend what the coarsest got wrong
ROUNDS = (8, 3)  # of searching and voting: at the coarsest scale, at every other
HOLD = 0.05**2  # holds pixels to the colour copied: a step between copies is evened out over about 1/0.05 pixels
EDGE = 0.1  # a step between copies that is much higher stays: it is an edge, and evened out would be a glow
STEPS = 40  # of conjugate gradients at a scale; the scale below has dealt with what is wider
AROUND = ((0, 1), (0, -1), (1, 0), (-1, 0))
INSIDE = [(y, x) for y in range(-REACH, REACH + 1) for x in range(-REACH, REACH + 1)]  # of a patch, from its centre


@torch.inference_mode()
def textured(filled: Tensor, hole: Tensor, report: Report = lambda done, of: None) -> Tensor:
    """A filled image (B, 3, H, W) with what is in its hole (B, 1, H, W) replaced by patches of what is not.

    Nothing outside the hole changes. An image comes back as it is where it has no patch of 7×7 pixels that is all known. The
    same arguments give the same result. It works on the CPU, and returns to the device of `filled`. `report` is told how far
    it is.
    """
    parts = zip(filled.float().cpu().split(1), hole.cpu().split(1), split_report(report, len(filled)), strict=True)
    return torch.cat([_textured(image, missing > 0, one) for image, missing, one in parts]).to(filled)


def has_patches(hole: Tensor) -> bool:
    """Whether an image with this hole (1, 1, H, W) has known patches, at a scale small enough to look through them."""
    return _searchable(_scales(hole.cpu() > 0))


def _searchable(holes: list[Tensor]) -> bool:
    return bool(_known_patches(holes[-1]).any()) and holes[-1].numel() <= MATCHED


def _textured(filled: Tensor, hole: Tensor, report: Report) -> Tensor:
    holes = _scales(hole)
    if not (hole.any() and _searchable(holes)):
        return filled
    images = [filled]
    for _ in holes[1:]:
        images.append(halved(images[-1]))
    done, of = 0, sum(scale.numel() for scale in holes)
    guide, match, copies = _smoothed(images[-1]), None, None
    while images:
        image, missing = images.pop(), holes.pop()
        height, width = missing.shape[-2:]
        if missing.numel() <= MATCHED:
            guide = doubled(guide, height, width) if match else guide
            scale = _Scale(_pixels(image), missing[0, 0], _pixels(guide))
            match = _matched(scale, match)
            source = _copied(scale, match)
        else:
            assert copies is not None
            source = _enlarged(copies, missing[0, 0])
        copies = _evened(_pixels(image), missing[0, 0], source, copies)
        done += missing.numel()
        report(done, of)
    assert copies is not None
    result = filled.clone()
    result[0].flatten(1)[:, copies.pixels] = (copies.colour + copies.change).T.clamp(0, 1)
    return result


def _scales(hole: Tensor) -> list[Tensor]:
    """The hole (bool) at every scale, the finest first, each half as large as the one before, until it is thin."""
    holes = [hole]
    while hole.numel() > SEARCHED or _depth(hole[0, 0]).max() > DEPTH:
        hole = F.max_pool2d(hole.float(), 2, ceil_mode=True) > 0
        if int(_known_patches(hole).sum()) < FEWEST:
            break
        holes.append(hole)
    return holes


def _pixels(image: Tensor) -> Tensor:
    """(1, C, H, W) as rows (H·W, C), which are read one by one."""
    return image[0].flatten(1).T.contiguous()


def _smoothed(image: Tensor) -> Tensor:
    picture = image[0].permute(1, 2, 0).contiguous().numpy()
    smooth = cv2.GaussianBlur(picture, (0, 0), 1, borderType=cv2.BORDER_REFLECT)
    return torch.from_numpy(smooth).permute(2, 0, 1)[None]


def _depth(hole: Tensor) -> Tensor:
    """How many pixels each pixel (H, W) is from what is known."""
    return torch.from_numpy(cv2.distanceTransform(hole.numpy().astype(np.uint8), cv2.DIST_L2, 5))


def _known_patches(hole: Tensor) -> Tensor:
    """Where patches of a hole (1, 1, H, W) that lie inside the picture are all known: (1, 1, H − 6, W − 6), bool."""
    if min(hole.shape[-2:]) < PATCH:
        return hole[..., :0, :0]
    return F.max_pool2d(hole.float(), PATCH, stride=1) == 0


def _nearest(inside: Tensor) -> Tensor:
    """For each pixel (H·W,) the flat index of the one nearest to it that is `inside` (H, W)."""
    outside = (~inside).numpy().astype(np.uint8)
    _, label = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    there = np.flatnonzero(outside == 0)
    index = np.zeros(label.max() + 1, np.int64)
    index[label.ravel()[there]] = there
    return torch.from_numpy(index[label.ravel()])


# --- Matches ---------------------------------------------------------------------------------------------------------


class _Scale:
    """One scale of the picture, whose hole is filled while matches are found. Patches go by the flat index of their centre.

    sources  the patches that are all known, targets those that miss something: together all that lie inside the picture
    number   (H·W,) the place of a patch among the targets, −1 for all others
    """

    def __init__(self, pixels: Tensor, hole: Tensor, guide: Tensor) -> None:
        self.height, self.width = hole.shape
        self.pixels, self.guide = pixels.clone(), guide
        known = F.pad(_known_patches(hole[None, None])[0, 0], (REACH,) * 4)
        within = F.pad(torch.ones(self.height - 2 * REACH, self.width - 2 * REACH, dtype=torch.bool), (REACH,) * 4)
        self.sources, self.targets = (torch.nonzero(part.flatten())[:, 0] for part in (known, within & ~known))
        self.number = torch.full((hole.numel(),), -1)
        self.number[self.targets] = torch.arange(len(self.targets))
        self.nearest_source, self.nearest_target = _nearest(known), _nearest(within & ~known)
        self.missing = torch.nonzero(hole.flatten())[:, 0]
        self.faith = FADING ** -_depth(hole).flatten()[self.targets].clamp(max=FADED)

    def source_at(self, row: Tensor, column: Tensor) -> Tensor:
        """The source there, or the one nearest to there."""
        return self.nearest_source[row.clamp(0, self.height - 1) * self.width + column.clamp(0, self.width - 1)]

    def target_at(self, index: Tensor, row: int, column: int) -> Tensor:
        """The number of the target so many rows and columns from each pixel; −1 where there is none."""
        y, x = index // self.width + row, index % self.width + column
        there = (y >= 0) & (y < self.height) & (x >= 0) & (x < self.width)
        return torch.where(there, self.number[torch.where(there, y * self.width + x, 0)], -1)


@dataclass
class _Match:
    """For every target of a scale its source, and how far their descriptions are apart."""

    scale: _Scale
    source: Tensor
    distance: Tensor


def _matched(scale: _Scale, coarse: _Match | None) -> _Match:
    """The matches of a scale, by turns of searching and voting; the scale's hole is filled by the way."""
    axes = _principal(scale)
    if coarse is None:
        match = None
    else:
        match = _enlarged_match(coarse, scale)
        _vote(scale, match.source, torch.ones(len(scale.targets)))
    few = len(scale.targets) * len(scale.sources) <= PAIRS
    for turn in range(ROUNDS[0 if coarse is None else 1]):
        about = _described(scale, axes)
        cost = torch.zeros(len(about))
        if coarse is None or (few and turn == 0):
            if match is not None and coarse is None:
                cost = CROWDING * match.distance.mean() * _use(scale, match.source)
            match = _searched(scale, about, cost)
        assert match is not None
        match = _improved(scale, match.source, about, cost)
        tolerance = 2 * torch.quantile(match.distance, 0.75) + 1e-3  # patches of a flat picture are no distance apart
        likeness = torch.exp(-match.distance / tolerance).clamp(min=1e-3)  # a pixel under none but poor matches needs a vote
        _vote(scale, match.source, scale.faith * likeness)
    assert match is not None
    return match


def _principal(scale: _Scale) -> Tensor:
    """Filters (24, 3, 7, 7): the directions in which the known patches differ most, their mean colour apart."""
    some = scale.sources[:: max(1, len(scale.sources) // 4096)]
    inside = torch.tensor([y * scale.width + x for y, x in INSIDE])
    patches = scale.pixels[some[:, None] + inside]
    patches = (patches - patches.mean(1, keepdim=True)).flatten(1).double()
    axes = torch.linalg.eigh(patches.T @ patches).eigenvectors[:, -COMPONENTS:]
    return axes.T.float().reshape(-1, PATCH, PATCH, 3).permute(0, 3, 1, 2)


def _described(scale: _Scale, axes: Tensor) -> Tensor:
    """Rows (H·W, 30) whose squared distances are those of patches: components, mean colour, guide."""
    image = scale.pixels.T.reshape(1, 3, scale.height, scale.width)
    shape = F.conv2d(image, axes, padding=REACH)
    mean = PATCH * F.avg_pool2d(image, PATCH, stride=1, padding=REACH)
    return torch.cat([_pixels(shape), _pixels(mean), PATCH * GUIDE**0.5 * scale.guide], 1)


def _use(scale: _Scale, source: Tensor) -> Tensor:
    """How often patches about each pixel are a source, 1 where all were used alike: without it one patch fills a hole."""
    count = torch.bincount(source, minlength=len(scale.pixels)).float().reshape(1, 1, scale.height, scale.width)
    around = F.avg_pool2d(count, PATCH, stride=1, padding=REACH).flatten()
    return around * len(scale.sources) / len(scale.targets)


def _searched(scale: _Scale, about: Tensor, cost: Tensor) -> _Match:
    """Each target's best among all sources, by products of matrices in pieces of 32 MB."""
    sources, targets = about[scale.sources], about[scale.targets]
    half = (sources.square().sum(1) + cost[scale.sources]) / 2
    pieces = targets.split(max(1, 8_000_000 // len(sources)))
    best = scale.sources[torch.cat([(half - piece @ sources.T).argmin(1) for piece in pieces])]
    return _Match(scale, best, (targets - about[best]).square().sum(1) + cost[best])


def _improved(scale: _Scale, source: Tensor, about: Tensor, cost: Tensor) -> _Match:
    """Matches replaced by what continues a neighbour's, or lies beside their own, where that is more alike."""
    targets, source = about[scale.targets], source.clone()
    distance = (targets - about[source]).square().sum(1) + cost[source]

    def consider(candidate: Tensor) -> None:
        other = torch.nonzero(candidate != source)[:, 0]
        candidate = candidate[other]
        apart = (targets[other] - about[candidate]).square().sum(1) + cost[candidate]
        closer = apart < distance[other]
        source[other[closer]], distance[other[closer]] = candidate[closer], apart[closer]

    for step in (4, 2, 1):
        for y, x in AROUND:
            neighbour = scale.target_at(scale.targets, y * step, x * step)
            theirs = source[neighbour.clamp(min=0)]
            candidate = scale.source_at(theirs // scale.width - y * step, theirs % scale.width - x * step)
            consider(torch.where(neighbour >= 0, candidate, source))
    for y, x in AROUND:
        consider(scale.source_at(source // scale.width + y, source % scale.width + x))
    return _Match(scale, source, distance)


def _enlarged_match(coarse: _Match, scale: _Scale) -> _Match:
    """The matches of the scale below at twice its size: each target is as far from its source as its parent from its own."""
    below = coarse.scale
    y, x = scale.targets // scale.width, scale.targets % scale.width
    parent = below.nearest_target[(y // 2) * below.width + x // 2]
    theirs = coarse.source[below.number[parent]]
    row, column = theirs // below.width - parent // below.width, theirs % below.width - parent % below.width
    return _Match(scale, scale.source_at(y + 2 * row, x + 2 * column), torch.zeros(len(y)))


def _vote(scale: _Scale, source: Tensor, weight: Tensor) -> None:
    """Fills the scale's hole: each pixel is the mean of what the patches over it have there."""
    total = torch.zeros(len(scale.missing), 3)
    weights = torch.zeros(len(scale.missing))
    for y, x in INSIDE:
        target = scale.target_at(scale.missing, -y, -x)
        share = torch.where(target >= 0, weight[target], 0)
        total += share[:, None] * scale.pixels[source[target] + y * scale.width + x]
        weights += share
    scale.pixels[scale.missing] = total / weights[:, None]


# --- Copies ----------------------------------------------------------------------------------------------------------


@dataclass
class _Copies:
    """For every pixel of a hole the known pixel that it copies, its `colour` (N, 3), and the `change` that evens out steps."""

    shape: torch.Size
    pixels: Tensor
    source: Tensor
    colour: Tensor
    change: Tensor


def _copied(scale: _Scale, match: _Match) -> Tensor:
    """What each missing pixel copies: its place in the best match over it, those in the middle of a patch preferred."""
    least = torch.full((len(scale.missing),), torch.inf)
    copied = torch.zeros_like(scale.missing)
    for y, x in INSIDE:
        target = scale.target_at(scale.missing, -y, -x)
        apart = torch.where(target >= 0, match.distance[target] * (1 + 0.05 * (y * y + x * x)), torch.inf)
        copied = torch.where(apart < least, match.source[target] + y * scale.width + x, copied)
        least = torch.minimum(apart, least)
    return copied


def _enlarged(copies: _Copies, hole: Tensor) -> Tensor:
    """What each missing pixel of a hole twice as large copies: it lies in its source's cell as it lies in its own.

    At an odd side the last cell has but one row or column, which is copied then.
    """
    wide, (height, width) = copies.shape[1], hole.shape
    below = torch.zeros(copies.shape.numel(), dtype=torch.long)
    below[copies.pixels] = copies.source
    missing = torch.nonzero(hole.flatten())[:, 0]
    y, x = missing // width, missing % width
    source = below[(y // 2) * wide + x // 2]
    row, column = source // wide * 2 + y % 2, source % wide * 2 + x % 2
    return row.clamp(max=height - 1) * width + column.clamp(max=width - 1)


def _evened(pixels: Tensor, hole: Tensor, source: Tensor, coarse: _Copies | None) -> _Copies:
    """The copies of a hole (H, W), changed so that two neighbours differ as they do where they are copied from.

    Conjugate gradients for (−∆ + HOLD) change = what is left of the steps; no change where the picture is known.
    """
    height, width = hole.shape
    flat = hole.flatten()
    missing = torch.nonzero(flat)[:, 0]
    number = torch.full((len(flat),), len(missing))  # a known pixel has the number of a row of zeros
    number[missing] = torch.arange(len(missing))
    origin = torch.arange(len(flat))
    origin[missing] = source
    colour = pixels[source]

    def beside(index: Tensor, dy: int, dx: int) -> tuple[Tensor, Tensor]:
        """The pixel next to each, and whether it is in the picture."""
        there = (index // width + dy).clamp(0, height - 1) * width + (index % width + dx).clamp(0, width - 1)
        return there, there != index

    left, degree, neighbours = torch.zeros_like(colour), torch.zeros(len(missing), 1), []
    for dy, dx in AROUND:
        there, exists = beside(missing, dy, dx)
        theirs = origin[there]
        ours_beside, ours_exists = beside(source, dy, dx)
        theirs_beside, theirs_exists = beside(theirs, -dy, -dx)
        # The difference is wanted that there is at the one source, or at the other: the mean, where both are known.
        one = (ours_exists & ~flat[ours_beside]).float()[:, None]
        other = (theirs_exists & ~flat[theirs_beside]).float()[:, None]
        step = colour - pixels[theirs]
        wanted = one * (colour - pixels[ours_beside]) + other * (pixels[theirs_beside] - pixels[theirs])
        both = one + other
        wanted = torch.where(both > 0, wanted / both.clamp(min=1), step)
        excess = wanted - step
        left += exists[:, None] * excess * torch.exp(-excess.square().sum(1, keepdim=True) / (2 * EDGE**2))
        degree += exists[:, None]
        neighbours.append(torch.where(exists, number[there], len(missing)))
    change = torch.zeros_like(colour)
    if coarse is not None:
        below = torch.zeros(coarse.shape.numel(), 3)
        below[coarse.pixels] = coarse.change
        change = _pixels(doubled(below.T.reshape(1, 3, *coarse.shape), height, width))[missing]

    def applied(field: Tensor) -> Tensor:
        padded = torch.cat([field, torch.zeros(1, 3)])
        result = (degree + HOLD) * field
        for neighbour in neighbours:
            result -= padded[neighbour]
        return result

    rest = left - applied(change)
    direction, square = rest, rest.square().sum(0)
    for _ in range(STEPS):
        ahead = applied(direction)
        length = square / (direction * ahead).sum(0).clamp(min=1e-12)
        change, rest = change + length * direction, rest - length * ahead
        before, square = square, rest.square().sum(0)
        direction = rest + square / before.clamp(min=1e-12) * direction
    return _Copies(hole.shape, missing, source, colour, change)


class Textured:
    """A `Filler` whose filling is made anew of patches of the known picture."""

    PICTURE = 110  # bytes for each pixel of the picture, more: 1.2 GB for 12 megapixels where it was measured

    def __init__(self, filler: Filler) -> None:
        self.filler = filler
        self.name, self.runtime, self.config = f"{filler.name}, texture", filler.runtime, filler.config
        self.stride, self.reach, self.tiles = filler.stride, filler.reach, filler.tiles
        self.version, self.parameters = f"{filler.version} texture", filler.parameters
        inner = filler.memory
        self.memory = inner and Memory(inner.program, inner.picture + self.PICTURE, inner.seen)

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Report = ignore) -> np.ndarray:
        """As `Filler`."""
        first, second = split_report(report, 2)
        raw = composite(masked, self.filler(masked, hole, tile, first), hole)
        return textured(torch.from_numpy(raw), torch.from_numpy(hole), second).numpy()

    def notes(self, hole: np.ndarray) -> list[str]:
        """Those of the filler, and that nothing could be done."""
        if not hole.any() or has_patches(torch.from_numpy(hole)):
            return self.filler.notes(hole)
        return [
            *self.filler.notes(hole),
            "no texture was made: too little of the picture is known to take patches from",
        ]
