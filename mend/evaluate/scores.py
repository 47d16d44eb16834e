"""Metrics over scenes: the rows of a method, its distances of sets, and the features that these are computed from."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mend import distributed
from mend.data.cache import cache_folder
from mend.errors import InputError
from mend.evaluate.methods import Method
from mend.evaluate.metrics import METRICS, SPACES, Unavailable, band, mean_over
from mend.evaluate.metrics.certificate import certify
from mend.evaluate.metrics.distances import frechet
from mend.evaluate.metrics.networks import INCEPTION_WEIGHTS
from mend.evaluate.pictures import pictures, side_of, small
from mend.evaluate.protocol import Scenes
from mend.images import composite, write_bytes
from mend.models.classifier import WEIGHTS

SIDES = (16, 1024)  # pixels: smaller pictures have no map left in the classifier, larger ones take gigabytes


def metric_keys(names: Sequence[str]) -> dict[str, str]:
    """For each metric what changes when its value may: a hash of its definition, and of the weights it sees through."""
    weights = WEIGHTS.read_bytes()
    parts = {name: METRICS[name].definition.encode() + weights * name.endswith("-cifar") for name in names}
    return {name: hashlib.sha256(part).hexdigest()[:12] for name, part in parts.items()}


def available(
    names: list[str], scenes: Scenes, device: torch.device, missing: dict[str, Unavailable], summary: dict[str, Any]
) -> list[str]:
    """Those of the metrics that can be had here for these images, each certified; the others go to `missing`."""
    count, sides = len(scenes), [side for size in scenes.sizes for side in size]
    for name in [name for name in names if name not in missing]:
        metric = METRICS[name]
        try:
            if count < metric.fewest:
                few = "; KID is made for few" if metric.distance is frechet else ""
                raise Unavailable(f"{metric.title} needs {metric.fewest} images at least, and there are {count}{few}")
            if name.endswith("-cifar") and not (min(sides) >= SIDES[0] and max(sides) <= SIDES[1]):
                raise Unavailable(f"{metric.title} sees pictures of {SIDES[0]} to {SIDES[1]} pixels a side")
            if make := metric.per_image or SPACES.get(metric.space):
                make(device)
            summary["certified"][name] = certify(name, device)
        except Unavailable as error:
            missing[name] = error
    return [name for name in names if name not in missing]


@dataclass(frozen=True)
class Part:
    """What scoring a batch gives: values of each column, features of each space and view, and the filled pictures, small."""

    places: np.ndarray
    columns: dict[str, Tensor]
    features: dict[tuple[str, str], Tensor]
    coverage: Tensor
    pictures: np.ndarray


def score(
    method: Method,
    scenes: Scenes,
    names: list[str],
    truth_of: "Callable[[str], Truth]",
    out: Path,
    on_batch: Callable[[int, int], None],
) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """The per-image table of a method, and its set metrics on the composited and the raw output.

    `truth_of` gives, for a space, the features of the originals. The processes of a job share the batches, which are those of
    one process, and so are the numbers; only the first has them, for the others there is None.
    """
    device = method.device
    spaces = {space for n in names if (space := METRICS[n].space)}
    truths = {space: truth_of(space) for space in spaces} if distributed.FIRST else {}
    unseen = distributed.broadcast([space for space, truth in truths.items() if truth.there is None])
    side = side_of(scenes)

    def judge(places: np.ndarray) -> Part:
        image, hole = (part.to(device) for part in scenes.batch(places))
        raw = method.fill(places, image, hole)
        _check_values(raw, method.name, [scenes.names[i] for i in places])
        filled = composite(image, raw, hole)
        empty = hole.sum((1, 2, 3)) == 0
        columns: dict[str, Tensor] = {}
        for name in names:
            for column, value in _values(name, filled, raw, image, hole).items():
                # Where nothing was filled there is nothing to judge.
                columns[column] = value.masked_fill(empty, torch.nan).cpu()
        features: dict[tuple[str, str], Tensor] = {}
        for space in spaces:
            views = {"original": image} if space in unseen else {}
            for view, seen in {**views, "": filled, "raw": raw}.items():
                features[space, view] = SPACES[space](device)(seen).cpu()
        return Part(places, columns, features, hole.mean((1, 2, 3)).cpu(), small(filled, side))

    judged = distributed.distribute(scenes.places(), judge)
    if not distributed.FIRST:
        list(judged)
        return None
    features: dict[tuple[str, str], Tensor] = {}
    columns: dict[str, Tensor] = {}

    def keep(values: dict[Any, Tensor], key: object, part: Part, there: Tensor) -> None:
        # Each in its place: tensors of a batch that stayed would keep what was freed around them from being used again.
        if key not in values:
            values[key] = there.new_empty(len(scenes), *there.shape[1:])
        values[key][part.places] = there

    with pictures(out, method.name, scenes) as array:
        for part in judged:
            for column, value in {"coverage": part.coverage, **part.columns}.items():
                keep(columns, column, part, value)
            for key, there in part.features.items():
                keep(features, key, part, there)
            array[part.places] = part.pictures
            on_batch(int(part.places[-1]) + 1, len(scenes))
    known = {
        "row": scenes.rows,
        "name": scenes.names,
        "image": scenes.images,
        "class": scenes.classes,
    }
    table = pd.DataFrame({**known, **{name: values.numpy() for name, values in columns.items()}})
    for space in unseen:
        truths[space].keep(features.pop((space, "original")))
    for (space, view), values in features.items():
        _write_array(features_file(out, method.name, space, view), values.half())
    sets: dict[str, Any] = {}
    for space in spaces:
        truth = truths[space].there
        assert truth is not None
        _write_array(features_file(out, "original", space), truth.half())
        for view in ("", "raw"):  # outside, because both indiscernible scores of two sets are read from one machine
            for name in [name for name in names if METRICS[name].space == space]:
                distance = METRICS[name].distance
                assert distance is not None
                sets[f"{name}_{view}" if view else name] = {"mean": distance(truth, features[space, view]), "n": len(scenes)}
    return table, sets


def _write_array(file: Path, values: Tensor) -> None:
    data = io.BytesIO()
    np.save(data, values.numpy())
    write_bytes(file, data.getvalue())


def _values(name: str, filled: Tensor, raw: Tensor, image: Tensor, hole: Tensor) -> dict[str, Tensor]:
    """One metric of a batch on the composited image, on the raw output and, where it has a map, in the hole and at its rim."""
    metric = METRICS[name]
    if metric.pixels is not None:
        inside, whole = metric.pixels(filled, image), metric.pixels(raw, image)
        return {
            name: metric.finish(mean_over(inside, None)),
            f"{name}_raw": metric.finish(mean_over(whole, None)),
            f"{name}_hole": metric.finish(mean_over(inside, hole)),
            f"{name}_band": metric.finish(mean_over(inside, band(hole))),
        }
    if metric.per_image is not None:
        judge = metric.per_image(image.device)
        return {name: judge(filled, image), f"{name}_raw": judge(raw, image)}
    return {}


def _check_values(raw: Tensor, method: str, names: list[str]) -> None:
    low, high = raw.amin((1, 2, 3)), raw.amax((1, 2, 3))
    wrong = ~((low >= -1e-3) & (high <= 1 + 1e-3))  # NaN fails both
    if wrong.any():
        i = int(wrong.nonzero()[0])
        raise InputError(
            f"{method} gives values from {low[i]:g} to {high[i]:g} for {names[i]} ({int(wrong.sum())} such in this batch); "
            "expected numbers from 0 to 1."
        )


class Truth:
    """The features of the originals in one space: read from the cache, or gathered with the first method and kept there."""

    def __init__(self, space: str, scenes: Scenes) -> None:
        weights = WEIGHTS if space == "cifar" else Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_WEIGHTS
        digest = hashlib.sha256(weights.read_bytes() if weights.exists() else space.encode()).hexdigest()
        key = hashlib.sha256("".join([digest, *scenes.images]).encode()).hexdigest()[:24]
        self.file = cache_folder() / "features" / f"{space}-{key}.npy"
        self.there = torch.from_numpy(np.load(self.file)) if self.file.exists() else None

    def keep(self, features: Tensor) -> None:
        self.there = features
        _write_array(self.file, features)


def features_file(out: Path, name: str, space: str, view: str = "") -> Path:
    """Where the features of a method's pictures are, or of the "original" ones; `view` is "" or "raw"."""
    return out / "features" / f"{name}-{space}{'_' * bool(view)}{view}.npy"
