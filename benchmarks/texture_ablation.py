"""An ablation of the texture: what `mend fill` makes, with one thing changed in each row.

    python benchmarks/texture_ablation.py ../shared/data/photos/val masks/cifar10/test

The arguments are those of large_holes.py, and so are the scenes: one hole a photograph, of each size in turn. All rows start
from the same filling by the network. Some ideas of the literature are in no released code of mend: they are written here,
as simply as they can be tried. Writes results/texture-ablation.csv (one row a filling), .json and .md.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from large_holes import FRECHET, Scene, features_inside, fill_image, intervals, scenes, scores
from torch import Tensor

from mend.data.loaders import to_image
from mend.data.random import uniform
from mend.evaluate.metrics import FeatureSets, frechet
from mend.filling.load import load_filler
from mend.images import composite, to_pixels, write_bytes
from mend.inpaint import patchmatch, synthesis
from mend.inpaint.holes import find_thick
from mend.inpaint.patchmatch import PATCH, RADIUS, Descriptors, Field, Scale
from mend.inpaint.shiftmap import ShiftMap
from mend.models.checkpoint import find_commit
from mend.models.device import device_name, find_device
from mend.progress import progress

PHOTOGRAPHS = 24
RESAMPLES = 200  # of the Fréchet distance
METRICS = ("lpips-cifar", "psnr", "seconds")
OFFSETS = 60  # dominant ones, as many as He and Sun took
OVERUSE = 0.1  # penalty for each patch that a source is used for already, in mean distances
OUT = Path(__file__).parent.parent / "results" / "texture-ablation"

add_texture, make_scale, match = synthesis.add_texture, patchmatch.make_scale, patchmatch.match
improve, search, take_votes = patchmatch.improve, patchmatch.search, patchmatch.take_votes
Change = AbstractContextManager[Any]


# --- What is changed -------------------------------------------------------------------------------------------------


def no_guide() -> Change:
    def dull(image: np.ndarray, hole: np.ndarray, guide: np.ndarray, coherence: float) -> Scale:
        return make_scale(image, hole, np.zeros_like(guide), coherence)

    return patch.object(synthesis, "make_scale", dull)


def no_roughness() -> Change:
    def smooth(image: np.ndarray, hole: np.ndarray, guide: np.ndarray, coherence: float) -> Scale:
        scale = make_scale(image, hole, guide, coherence)
        scale.roughness[:] = 0
        return scale

    return patch.object(synthesis, "make_scale", smooth)


def coherent_everywhere() -> Change:
    def coherent(image: np.ndarray, hole: np.ndarray, guide: np.ndarray, coherence: float) -> Scale:
        return make_scale(image, hole, guide, synthesis.COHERENCE)

    return patch.object(synthesis, "make_scale", coherent)


def gradients() -> Change:
    """The distance |p|² + |∇p|² of patches is pᵀ(1 + GᵀG)p: principal components of √(1 + GᵀG) p (Darabi et al., 2012)."""
    step = np.eye(PATCH - 1, PATCH, 1) - np.eye(PATCH - 1, PATCH)
    down, across = np.kron(step, np.eye(PATCH)), np.kron(np.eye(PATCH), step)
    values, vectors = np.linalg.eigh(np.eye(PATCH**2) + down.T @ down + across.T @ across)
    root = np.kron(np.eye(3), vectors * values**0.5 @ vectors.T)

    def find(scale: Scale) -> np.ndarray:
        some = scale.sources[:: max(1, len(scale.sources) // 4096)]
        y, x = np.divmod(some, scale.pixels.shape[2])
        windows = np.lib.stride_tricks.sliding_window_view(scale.pixels, (PATCH, PATCH), (1, 2))
        patches = windows[:, y - RADIUS, x - RADIUS].astype(np.float64)
        patches = (patches - patches.mean((2, 3), keepdims=True)).swapaxes(0, 1).reshape(len(some), -1) @ root
        axes = np.linalg.eigh(patches.T @ patches).eigenvectors.T[: -patchmatch.COMPONENTS - 1 : -1]
        return np.asarray((axes @ root).round(6), np.float32)

    return patch.object(patchmatch, "find_axes", find)


def equal_votes() -> Change:
    return patch.object(patchmatch, "take_votes", lambda scale, source, weight: take_votes(scale, source, np.ones_like(weight)))


def median_votes() -> Change:
    def vote(scale: Scale, source: np.ndarray, weight: np.ndarray) -> None:
        height, width = scale.number.shape
        y, x = np.divmod(scale.missing, width)
        votes = np.full((3, PATCH**2, len(scale.missing)), np.nan, np.float32)
        flat = scale.pixels.reshape(3, -1)
        for k, (dy, dx) in enumerate(np.ndindex(PATCH, PATCH)):
            v, u = y - dy + RADIUS, x - dx + RADIUS
            inside = (v >= 0) & (v < height) & (u >= 0) & (u < width)
            target = np.where(inside, scale.number[v.clip(0, height - 1), u.clip(0, width - 1)], -1)
            there = target >= 0
            centre = scale.sources[source[target[there]]]
            votes[:, k, there] = flat[:, centre + (dy - RADIUS) * width + dx - RADIUS]
        flat[:, scale.missing] = np.nanmedian(votes, axis=1)

    return patch.object(patchmatch, "take_votes", vote)


def penalty() -> Change:
    """Where every target is compared with every source, a source costs more for each target that has it (Kaspar et al., 2015).
    The last number of a descriptor, 0 elsewhere, adds that to its distances."""
    before: list[tuple[Scale, np.ndarray]] = []

    def spread(scale: Scale, described: Descriptors, source: np.ndarray) -> Field:
        if len(scale.targets) * len(scale.sources) <= patchmatch.PAIRS:
            apart = np.square(described.targets - described.sources[source])[:, :-1].sum(1).mean()
            used = np.bincount(source, minlength=len(scale.sources)).astype(np.float64)
            if before and before[0][0] is scale:
                used = (before[0][1] + used) / 2  # a mean over rounds, so that not all change at once
            before[:] = [(scale, used)]
            described.sources[:, -1] = np.sqrt(OVERUSE * apart * used)
            source = search(described)
        return improve(scale, described, source)

    return patch.object(patchmatch, "improve", spread)


def offsets() -> Change:
    """Sources only at the offsets at which the picture repeats itself most (He and Sun, 2012)."""
    scale_of: list[Scale] = []

    def remember(scale: Scale, coarse: tuple[Scale, Field] | None) -> Field:
        scale_of[:] = [scale]
        return match(scale, coarse)

    def choose(described: Descriptors) -> np.ndarray:
        scale = scale_of[0]
        height, width = scale.number.shape
        apart = max(height, width) / 15
        v, u = np.divmod(scale.sources, width)
        lengths = np.square(described.sources).sum(1)
        counts: dict[tuple[int, int], int] = {}
        for i in range(0, len(v), max(1, len(v) // 1000)):
            distance = lengths - 2 * described.sources @ described.sources[i]
            distance[np.maximum(abs(v - v[i]), abs(u - u[i])) < apart] = np.inf
            k = int(distance.argmin())
            offset = int(v[k] - v[i]), int(u[k] - u[i])
            counts[offset] = counts.get(offset, 0) + 1
        number = np.full(height * width, -1)
        number[scale.sources] = np.arange(len(v))
        y, x = np.divmod(scale.targets, width)
        least, nearest = np.full(len(y), np.inf), search(described)
        for dy, dx in sorted(counts, key=lambda one: -counts[one])[:OFFSETS]:
            inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
            source = np.where(inside, number[((y + dy) * width + x + dx).clip(0, height * width - 1)], -1)
            distance = np.where(source < 0, np.inf, np.square(described.targets - described.sources[source]).sum(1))
            better = distance < least
            least[better], nearest[better] = distance[better], source[better]
        return nearest

    return _both(patch.object(patchmatch, "search", choose), patch.object(synthesis, "match", remember))


def mirrored() -> Change:
    """The picture's mirror image beside it, to take patches from."""

    def twice(filled: np.ndarray, thick: np.ndarray) -> np.ndarray:
        image, hole = (np.concatenate([part, part[..., ::-1]], axis=3) for part in (filled, thick))
        return add_texture(image, hole)[..., : filled.shape[3]]

    return patch.object(synthesis, "add_texture", twice)


def votes_in_the_end() -> Change:
    """What the last votes say, in place of copies."""
    found: list[tuple[Scale, Field]] = []

    def remember(scale: Scale, coarse: tuple[Scale, Field] | None) -> Field:
        found[:] = [(scale, match(scale, coarse))]
        return found[0][1]

    def vote(image: np.ndarray, hole: np.ndarray, source: np.ndarray, coarse: ShiftMap | None) -> ShiftMap:
        (scale, field), flat = found[0], image.reshape(3, -1)
        tolerance = 2 * np.quantile(field.distance, 0.75) + 1e-3
        take_votes(scale, field.source, scale.confidence * np.exp(-field.distance / tolerance).clip(min=1e-3))
        voted = scale.pixels.reshape(3, -1)[:, scale.missing]
        return ShiftMap((hole.shape[0], hole.shape[1]), scale.missing, source, voted - flat[:, source])

    return _both(patch.object(synthesis, "match", remember), patch.object(synthesis, "blend_copies", vote))


def no_blend() -> Change:
    def copy(image: np.ndarray, hole: np.ndarray, source: np.ndarray, coarse: ShiftMap | None) -> ShiftMap:
        missing = np.flatnonzero(hole).astype(np.int32)
        return ShiftMap((hole.shape[0], hole.shape[1]), missing, source, np.zeros((3, len(missing)), np.float32))

    return patch.object(synthesis, "blend_copies", copy)


def everywhere() -> Change:
    return patch.object(synthesis, "weigh_texture", lambda image, hole, colours: np.float32(1))


@contextmanager
def _both(*changes: Change) -> Iterator[None]:
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(change)
        yield


VARIANTS: dict[str, Callable[[], Change]] = {
    "as it is": nullcontext,
    "not guided by the network's colours": no_guide,
    "not guided by roughness": no_roughness,
    "each patch chosen for itself": lambda: patch.object(synthesis, "COHERENCE", 0),
    "coherent at the finest scale, too": coherent_everywhere,
    "gradients beside colours in the distance": gradients,
    "votes of equal weight": equal_votes,
    "median of the votes": median_votes,
    "no rounds that go by copies": lambda: patch.object(patchmatch, "COPIED", 0),
    "votes in the end, not copies": votes_in_the_end,
    "copies not blended (Poisson)": no_blend,
    "texture in smooth surroundings, too": everywhere,
    "penalty for sources used before": penalty,
    "sources at 60 dominant offsets only": offsets,
    "mirrored sources, too": mirrored,
}


# --- Measuring -------------------------------------------------------------------------------------------------------


def choose_scenes(photos: Path, silhouettes: Path) -> list[Scene]:
    """Every fourth photograph with one hole: three in turn have the same size, and an object, a box and strokes."""
    one = [scene for i, scene in enumerate(scenes(photos, silhouettes, every=4)) if i % 3 == i // 9 % 3]
    return one[:PHOTOGRAPHS]


def measure(name: str, shown: list[Scene], smooth: list[np.ndarray]) -> tuple[pd.DataFrame, list[Tensor]]:
    """A row for each scene, and what is seen in its hole."""
    rows, seen = [], []
    with VARIANTS[name](), progress(name, "scenes") as report:
        for i, ((photo, b, kind, image, missing), start) in enumerate(zip(shown, smooth, strict=True)):
            began = time.process_time()
            raw = synthesis.add_texture(start, find_thick(missing.numpy()))
            seconds = time.process_time() - began
            filled = to_image(to_pixels(composite(image, torch.from_numpy(np.ascontiguousarray(raw)), missing)))
            facts = {"variant": name, "photo": photo, "bin": b, "kind": kind, "coverage": missing.mean().item()}
            rows.append({**facts, **scores(filled, image, missing), "seconds": seconds})
            seen.append(features_inside(filled, missing))
            report(i + 1, len(shown))
    return pd.DataFrame(rows), seen


def compare_frechet(truth: list[Tensor], base: list[Tensor], other: list[Tensor]) -> dict[str, float]:
    """By how much the Fréchet distance of `other` is above that of `base`, with its 95 % interval over photographs."""

    def above(which: np.ndarray) -> float:
        real, first, second = (torch.cat([seen[i] for i in which]) for seen in (truth, base, other))
        return frechet(FeatureSets(real, second)) - frechet(FeatureSets(real, first))

    n = len(truth)
    drawn = [above((uniform(n, 0, i) * n).astype(int)) for i in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"mean": above(np.arange(n)), "low": low, "high": high}


def table(found: dict[str, Any]) -> str:
    lines = ["| | LPIPS-CIFAR ↓ | Fréchet ↓ | hole PSNR ↑ | CPU s |", "| :--- | ---: | ---: | ---: | ---: |"]
    for name, row in found["variants"].items():
        cells = []
        for metric, digits in (("lpips-cifar", 4), (FRECHET, 2), ("psnr", 2)):
            text = f"{row['means'][metric]:.{digits}f}"
            if change := row["minus the first"].get(metric):
                text += (
                    f" <sub>{change['mean']:+.{digits}f} ({change['low']:+.{digits}f} to {change['high']:+.{digits}f})</sub>"
                )
            cells.append(text)
        lines.append(f"| {name} | {' | '.join(cells)} | {row['means']['seconds']:.2f} |")
    return "\n".join(lines)


def write(found: dict[str, Any], rows: pd.DataFrame) -> None:
    note = (
        f"LPIPS-CIFAR of the photograph; Fréchet distance of {found['patches']} patches of 32×32 pixels within the holes, by "
        "our CIFAR-10 classifier; PSNR of the hole's pixels; CPU seconds of the texture alone: means over n = "
        f"{found['photographs']} photographs (BSDS500, val, also looked at in development), one hole each, of 5–40 %. Small: "
        "minus the first row on the same holes, with the 95 % interval over photographs. "
        f"{found['device']}, commit {found['commit']}. Made by `benchmarks/texture_ablation.py`."
    )
    text = f"# Ablation of the texture\n\nOne thing is changed in each row.\n\n{table(found)}\n\n{note}\n"
    write_bytes(OUT.with_suffix(".csv"), rows.to_csv(index=False, float_format="%.5g").encode())
    write_bytes(OUT.with_suffix(".json"), json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n")
    write_bytes(OUT.with_suffix(".md"), text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("silhouettes", type=Path)
    shown, at = choose_scenes(**vars(parser.parse_args())), find_commit()
    network = load_filler(smooth=True)
    smooth = [composite(image, fill_image(network, image, missing), missing).numpy() for _, _, _, image, missing in shown]
    synthesis.add_texture(smooth[0], find_thick(shown[0][4].numpy()))  # compiles what it needs
    truth = [features_inside(image, missing) for _, _, _, image, missing in shown]
    tables: list[pd.DataFrame] = []
    found: dict[str, Any] = {}
    base: list[Tensor] = []
    for name in VARIANTS:
        rows, seen = measure(name, shown, smooth)
        base = base or seen
        tables.append(rows)
        found[name] = {
            "means": {metric: rows[metric].mean() for metric in METRICS}
            | {FRECHET: frechet(FeatureSets(torch.cat(truth), torch.cat(seen)))},
            "minus the first": intervals(rows[list(METRICS)] - tables[0][list(METRICS)])
            | {FRECHET: compare_frechet(truth, base, seen)}
            if len(tables) > 1
            else {},
        }
        facts = {
            "commit": at,
            "device": device_name(find_device("auto")),
            "photographs": len(shown),
            "patches": sum(map(len, truth)),
            "variants": found,
        }
        write(facts, pd.concat(tables))
    print(table(facts))


if __name__ == "__main__":
    main()
