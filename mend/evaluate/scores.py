"""Metrics over scenes: the rows of a method, its distances of sets, and the features that these are computed from."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mend import distributed
from mend.data.cache import find_cache
from mend.errors import InputError
from mend.evaluate.methods import Method
from mend.evaluate.metrics import (
    FEATURES,
    INCEPTION_WEIGHTS,
    METRICS,
    Batch,
    FeatureSets,
    average_over,
    find_rim,
    frechet,
)
from mend.evaluate.pictures import choose_side, make_thumbnails, open_pictures
from mend.evaluate.result import Score, Scores
from mend.evaluate.scenes import Scenes
from mend.evaluate.weights import Unavailable, find_weights
from mend.images import composite, mask_out, write_bytes
from mend.models.classifier import WEIGHTS
from mend.progress import Report

K = TypeVar("K")
LARGE = 2**21  # pixels: of larger pictures a single one takes gigabytes, and keeps all cores busy
SIDES = (16, 1024)  # pixels: smaller pictures have no map left in the classifier, larger ones take gigabytes


def hash_metrics(names: Sequence[str]) -> dict[str, str]:
    """For each metric what changes when its value may: a hash of its definition, and of the weights it sees through."""
    weights = WEIGHTS.read_bytes()
    parts = {name: METRICS[name].definition.encode() + weights * (METRICS[name].network == "cifar") for name in names}
    return {name: hashlib.sha256(part).hexdigest()[:12] for name, part in parts.items()}


def find_missing(names: Sequence[str], scenes: Scenes, device: torch.device) -> dict[str, Unavailable]:
    """The metrics that cannot be had here for these images, and why."""
    missing: dict[str, Unavailable] = {}
    for name in names:
        try:
            _check_images(name, scenes)
            if make := METRICS[name].per_image or FEATURES.get(METRICS[name].network):
                make(device)
        except Unavailable as error:
            missing[name] = error
    return missing


def _check_images(name: str, scenes: Scenes) -> None:
    metric, sides = METRICS[name], [side for size in scenes.sizes for side in size]
    if len(scenes) < metric.fewest:
        few = "; KID is made for few" if metric.distance is frechet else ""
        raise Unavailable(f"{metric.title} needs {metric.fewest} images at least, and there are {len(scenes)}{few}")
    if metric.network == "cifar" and not (min(sides) >= SIDES[0] and max(sides) <= SIDES[1]):
        raise Unavailable(f"{metric.title} sees pictures of {SIDES[0]} to {SIDES[1]} pixels a side")


# --- A method --------------------------------------------------------------------------------------------------------


def score(
    method: Method,
    scenes: Scenes,
    names: list[str],
    originals: "Originals",
    out: Path,
    device: torch.device,
    on_batch: Report,
) -> tuple[pd.DataFrame, Scores] | None:
    """The per-image table of a method, and its set metrics on the composited and the raw output, computed on `device`.

    The processes of a job share the batches, which are those of one process, and so are the numbers; only the first has them,
    for the others there is None.
    """
    networks = _find_networks(names)
    unseen = distributed.broadcast(originals.find_unseen(networks) if distributed.FIRST else [])
    judge = partial(judge_batch, method, scenes, names, unseen, choose_side(scenes), device)
    judged = _judge_all(scenes, judge, method.reads and device.type == "cpu")
    if not distributed.FIRST:
        list(judged)
        return None
    gathered = Gathered(len(scenes))
    with open_pictures(out, method.name, scenes) as array:
        for part in judged:
            gathered.add(part)
            array[part.places] = part.pictures
            on_batch(int(part.places[-1]) + 1, len(scenes))
    for network in unseen:
        originals.keep(network, gathered.features.pop((network, "original")))
    for network in networks:
        _write_array(find_features_file(out, "original", network), originals.features[network].half())
    for (network, view), values in gathered.features.items():
        _write_array(find_features_file(out, method.name, network, view), values.half())
    return make_table(scenes, gathered.columns), measure_sets(names, originals.features, gathered.features)


def make_table(scenes: Scenes, columns: dict[str, Tensor]) -> pd.DataFrame:
    """The per-image table: what is known of each image, and these columns."""
    known = {"row": scenes.rows, "name": scenes.names, "image": scenes.images, "class": scenes.classes}
    return pd.DataFrame({**known, **{name: values.numpy() for name, values in columns.items()}})


def measure_sets(names: Sequence[str], originals: Mapping[str, Tensor], features: Mapping[tuple[str, str], Tensor]) -> Scores:
    """The distances of sets by column, from features of the originals by network, and of a method's pictures by network and
    view."""
    found: Scores = {}
    for (network, view), filled in features.items():
        sets = FeatureSets(originals[network], filled)
        for name in names:
            if (distance := METRICS[name].distance) and METRICS[name].network == network:
                found[f"{name}_{view}" if view else name] = Score(mean=distance(sets), n=len(filled))
    return found


def _find_networks(names: Sequence[str]) -> list[str]:
    """The networks whose features the distances of sets among these metrics compare."""
    return list(dict.fromkeys(METRICS[name].network for name in names if METRICS[name].distance))


# --- A batch ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What scoring a batch gives: values of each column, features by network and view, and the filled pictures, small."""

    places: np.ndarray
    columns: dict[str, Tensor]
    features: dict[tuple[str, str], Tensor]
    pictures: np.ndarray


def judge_batch(
    method: Method, scenes: Scenes, names: list[str], unseen: list[str], side: int, device: torch.device, places: np.ndarray
) -> Part:
    """Fill a batch and judge it. The `unseen` networks look at the originals too; pictures are kept at `side` pixels."""
    image, hole = scenes.batch(places)
    raw = torch.from_numpy(method.fill(places, mask_out(image, hole).numpy(), hole.numpy()))
    image, hole, raw = image.to(device), hole.to(device), raw.to(device)
    _check_values(raw, method.name, [scenes.names[i] for i in places])
    filled = Batch(composite(image, raw, hole))
    # A program that keeps the known pixels has filled the very picture: it is looked at once.
    views = {"original": Batch(image), "": filled, "raw": filled if torch.equal(raw, filled.pictures) else Batch(raw)}
    features = {
        (network, view): FEATURES[network](device)(batch).cpu()
        for network in _find_networks(names)
        for view, batch in views.items()
        if view != "original" or network in unseen
    }
    rim, empty = find_rim(hole), hole.sum((1, 2, 3)) == 0
    columns = {"coverage": hole.mean((1, 2, 3)).cpu()}
    for name in names:
        for column, value in _compute_metric(name, views, hole, rim).items():
            columns[column] = value.masked_fill(empty, torch.nan).cpu()  # where nothing was filled there is nothing to judge
    return Part(places, columns, features, make_thumbnails(filled.pictures, side))


class Gathered:
    """What the parts hold, of all images together: values of each column, and features by network and view."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.columns: dict[str, Tensor] = {}
        self.features: dict[tuple[str, str], Tensor] = {}

    def add(self, part: Part) -> None:
        self._put(self.columns, part.columns, part.places)
        self._put(self.features, part.features, part.places)

    def _put(self, into: dict[K, Tensor], found: dict[K, Tensor], places: np.ndarray) -> None:
        # Each in its place: tensors of a batch that stayed would keep what was freed around them from being used again.
        for key, values in found.items():
            if key not in into:
                into[key] = values.new_empty(self.count, *values.shape[1:])
            into[key][places] = values


def _judge_all(scenes: Scenes, judge: Callable[[np.ndarray], Part], at_once: bool) -> Iterator[Part]:
    """Every batch judged, in order: by the processes in turn, or `at_once` by threads of one, where there is memory for that. A
    thread for each core does more than all cores on one batch do, which read no files meanwhile."""
    threads, places = torch.get_num_threads(), scenes.places()
    largest = max(height * width for height, width in scenes.sizes)
    if distributed.WORLD > 1 or threads == 1 or not at_once or largest > LARGE:
        yield from distributed.distribute(places, judge)
        return
    pool = ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1))
    try:
        yield from pool.map(judge, places)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _compute_metric(name: str, views: dict[str, Batch], hole: Tensor, rim: Tensor) -> dict[str, Tensor]:
    """One metric of a batch on the composited image, on the raw output and, where it has a map, in the hole and at its rim."""
    metric, original, filled, raw = METRICS[name], views["original"], views[""], views["raw"]
    if metric.pixels is not None:
        inside = metric.pixels(filled.pictures, original.pictures)
        whole = inside if raw is filled else metric.pixels(raw.pictures, original.pictures)
        return {
            name: metric.finish(average_over(inside, None)),
            f"{name}_raw": metric.finish(average_over(whole, None)),
            f"{name}_hole": metric.finish(average_over(inside, hole)),
            f"{name}_band": metric.finish(average_over(inside, rim)),
        }
    if metric.per_image is not None:
        judge = metric.per_image(hole.device)
        value = judge(filled, original)
        return {name: value, f"{name}_raw": value if raw is filled else judge(raw, original)}
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


# --- Features --------------------------------------------------------------------------------------------------------


class Originals:
    """What networks see in the originals: by network their `features` (N, D), read from the cache, or gathered with the first
    method and kept there."""

    def __init__(self, scenes: Scenes) -> None:
        self.scenes = scenes
        self.features: dict[str, Tensor] = {}
        self.files: dict[str, Path] = {}

    def find_unseen(self, networks: Sequence[str]) -> list[str]:
        """Those of the networks that have not looked at the originals yet."""
        for network in networks:
            if network not in self.files:
                file = self.files[network] = _find_cached_features(network, self.scenes)
                if file.exists():
                    self.features[network] = torch.from_numpy(np.load(file))
        return [network for network in networks if network not in self.features]

    def keep(self, network: str, features: Tensor) -> None:
        self.features[network] = features
        _write_array(self.files[network], features)


def _find_cached_features(network: str, scenes: Scenes) -> Path:
    """Where a network's features of the originals lie in the cache, or will: by its weights and the images."""
    weights = WEIGHTS if network == "cifar" else find_weights(INCEPTION_WEIGHTS)
    digest = hashlib.sha256(weights.read_bytes() if weights.exists() else network.encode()).hexdigest()
    key = hashlib.sha256("".join([digest, *scenes.images]).encode()).hexdigest()[:24]
    return find_cache() / "features" / f"{network}-{key}.npy"


def find_features_file(out: Path, name: str, network: str, view: str = "") -> Path:
    """A network's features of a method's pictures, or of the "original" ones; `view` is "" or "raw"."""
    return out / "features" / f"{name}-{network}{'_' * bool(view)}{view}.npy"


def _write_array(file: Path, values: Tensor) -> None:
    data = io.BytesIO()
    np.save(data, values.numpy())
    write_bytes(file, data.getvalue())
