"""Texture for a smooth filling, from elsewhere in the picture.

A network that was trained on averages fills a large hole with the right colours and no grain. Here the hole is filled anew
from patches of the known picture, from coarse to fine (Wexler, Shechtman and Irani, 2007): at every scale each patch that
touches the hole looks for the known patch nearest to it, and the patches found fill the hole anew, by turns. The network's
filling is where it starts from, and its low frequencies guide each patch to ones of the right colour, as the roughness of what
surrounds the hole guides it to ones of the right grain. At the coarsest scale all patches are compared; the nearest-neighbour
field found there is enlarged from scale to scale, and improved by propagation (Barnes et al., PatchMatch, 2009), which but for
the finest scale prefers what continues the neighbours' sources (Hertzmann et al., Image Analogies, 2001). In the end every
pixel of the hole is a copy of one known pixel, and the steps between copies are blended in the gradient domain. Where the
surroundings have no grain, as in a clear sky, and texture would differ in nothing else, the filling stays.
"""

import numpy as np

from mend.inpaint.arrays import double, halve
from mend.inpaint.holes import estimate_depth, surround
from mend.inpaint.patchmatch import (
    Field,
    Scale,
    blur,
    find_copies,
    find_sources,
    make_scale,
    match,
    measure_roughness,
)
from mend.inpaint.shiftmap import ShiftMap, blend_copies, enlarge_copies
from mend.progress import Report, ignore, split_report

DEPTH = 4.0  # pixels from a hole's middle to its rim at the coarsest scale: a patch there sees what is known on both sides
SEARCHED = 60_000  # pixels of the coarsest scale, where every patch is compared with every other
MATCHED = 1_500_000  # pixels of a scale at which patches are compared at all: above it, copies are only enlarged
SMOOTH = 1.5 / 255  # roughness of what has no grain to be seen; from twice that on all is texture, and half of it is nothing
ALIKE = 4 / 255  # how far texture, blurred, may be from a smooth filling that is to stay; from twice that on, all is texture
COHERENCE = 0.5  # at all scales but the picture's own: what is copied in larger pieces looks like what it is a copy of
FEWEST = 500  # known patches that a coarser scale must have to be gone to: a choice among fewer repeats itself


def has_patches(thick: np.ndarray) -> bool:
    """Whether images with these holes (B, 1, H, W) have known patches for them, at a scale small enough to look through."""
    return all(_can_match(_shrink(hole)) for hole in thick[:, 0] if hole.any())


def add_texture(filled: np.ndarray, thick: np.ndarray, report: Report = ignore) -> np.ndarray:
    """Filled images (B, 3, H, W), float32, with what is in their holes (B, 1, H, W) replaced by patches of what is not.

    The holes are what `find_thick` finds of them, bool: what is thin is filled well, and counts as known. Nothing outside
    changes. An image is left as it is where `has_patches` says that there are none. The same arguments give the same bits.
    `report` is told how far it is.
    """
    result = np.array(filled, np.float32, order="C")
    for image, hole, one in zip(result, thick[:, 0], split_report(report, [100] * len(result)), strict=True):
        if hole.any():
            _synthesize(image, hole, one)
    return result


def _synthesize(image: np.ndarray, hole: np.ndarray, report: Report) -> None:
    """Replaces what is in the hole (H, W) of an image (3, H, W)."""
    for channel in image:  # what is no number would spread over all that it is compared with
        np.nan_to_num(channel, copy=False, nan=0.5)
    holes, images = _shrink(hole), [image]
    if not _can_match(holes):
        return
    for _ in holes[1:]:
        images.append(halve(images[-1][None])[0])
    done, of = 0, sum(missing.size for missing in holes)
    guide = blur(images[-1].transpose(1, 2, 0), 1).transpose(2, 0, 1)
    found: tuple[Scale, Field] | None = None
    copies: ShiftMap | None = None
    while images:
        pixels, missing = images.pop(), holes.pop()
        if missing.size <= MATCHED:
            guide = double(guide[None], *missing.shape)[0] if found else guide
            scale = make_scale(pixels, missing, guide, COHERENCE if images else 0)
            found = scale, match(scale, found)
            source = find_copies(*found)
        else:
            assert copies is not None
            source = enlarge_copies(copies, missing)
        copies = blend_copies(pixels, missing, source, copies)
        done += missing.size
        report(done, of)
    assert copies is not None
    colours = copies.colours(image)
    weight = weigh_texture(image, hole, colours)
    for channel, values in zip(image, colours, strict=True):
        channel[hole] += weight * (values - channel[hole])


def weigh_texture(image: np.ndarray, hole: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """How much texture, of `colours` (3, N), each pixel of the hole takes in the place of the filling in the image: (N,).

    All, unless there is no grain about it and the two differ in nothing else: a copied sky has steps, one that was filled has
    none. Where they differ in more the filling is a guess, and the texture was seen elsewhere in the picture; but not where
    all is perfectly even about it, which a filling goes on with and no copy can.
    """
    rows, columns = surround(hole, 16)  # farther no blur reaches
    image, hole = image[:, rows, columns], hole[rows, columns]
    rough = measure_roughness(image, hole)[hole] / SMOOTH
    apart = np.zeros_like(rough)
    for channel, values in zip(image, colours, strict=True):
        change = np.zeros_like(channel)
        change[hole] = values - channel[hole]
        apart = np.maximum(apart, np.abs(blur(change, 4)[hole]))
    alike = np.maximum((2 - apart / ALIKE).clip(0, 1), (2 - 2 * rough).clip(0, 1))
    return 1 - alike * (2 - rough).clip(0, 1)


def _shrink(hole: np.ndarray) -> list[np.ndarray]:
    """The hole (H, W), bool, at every scale, the finest first, each half as large as the one before, until it is thin."""
    holes = [hole]
    while hole.size > SEARCHED or estimate_depth(hole).max() > DEPTH:
        even = np.pad(hole, [(0, side % 2) for side in hole.shape])
        hole = even[::2, ::2] | even[::2, 1::2] | even[1::2, ::2] | even[1::2, 1::2]
        if np.count_nonzero(find_sources(hole)) < FEWEST:
            break
        holes.append(hole)
    return holes


def _can_match(holes: list[np.ndarray]) -> bool:
    return holes[-1].size <= MATCHED and bool(find_sources(holes[-1]).any())
