"""Evaluation: a protocol and some methods to a table with one row an image, and a `Result`."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mend import distributed
from mend.errors import InputError, pick
from mend.evaluate.methods import Method, load_filler_method, load_folder_method, name_methods
from mend.evaluate.metrics import METRICS, name_metric
from mend.evaluate.pictures import SHARED, write_shared, write_strip
from mend.evaluate.protocol import Protocol
from mend.evaluate.reference_check import certify
from mend.evaluate.result import (
    MethodResult,
    Result,
    Scores,
    add_methods,
    find_differences,
    find_result_file,
    find_result_folder,
    find_rows_file,
    read_result,
    read_scores,
)
from mend.evaluate.result import read_summary as read_summary  # notebooks of version 0.1 import it from here
from mend.evaluate.scenes import Scenes, load_folder_scenes, load_scenes
from mend.evaluate.scores import Originals, find_missing, hash_metrics, score
from mend.evaluate.statistics import summarise
from mend.evaluate.weights import Unavailable
from mend.images import write_bytes
from mend.inpaint.classical import CLASSICAL
from mend.models.checkpoint import find_commit
from mend.models.device import device_name, find_device

FOLDER_METRICS: tuple[str, ...] = ("psnr", "ssim", "lpips", "fid", "lpips-cifar", "mae")


def evaluate(
    methods: Sequence[str],
    protocol: Protocol,
    out: str | Path | None = None,
    data: str | None = None,
    masks: str | None = None,
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    size: int | None = None,
    device: str = "auto",
    on_batch: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Score `methods` (runs, model folders, names of classical fillers) by a protocol; returns the path of the result's .json.

    A method that `out` (results/PROTOCOL unless given) already holds with the same weights, masks and metrics is not scored
    again, so a run that was stopped goes on. A metric that cannot be had is reported with the reason; when `metrics` asked for
    it by name, Unavailable is raised after the others are scored. `data` and `masks` say where the protocol's images and mask
    set are; for other images the result takes another name. `size` scales the images, `limit` takes the first so many holes.
    `on_batch(method, done, of)` is called after each batch. The processes of a job (see `mend.distributed`) share the
    batches, and the first writes. Raises InputError for anything that does not fit together.
    """
    if limit is not None and limit < 1:
        raise InputError(f"`limit` is {limit}; expected a number of holes, 1 or more.")
    _check_metrics(metrics or protocol.metrics)
    names = name_methods(methods)
    scenes = load_scenes(protocol, data, masks, size)
    protocol = _pin_protocol(protocol, scenes, data, size)
    if limit is not None and limit < len(scenes):
        name, title = f"{protocol.name}-first-{limit}", f"{protocol.title}, the first {limit}"
        protocol = replace(protocol, name=name, title=title, first=limit, published=())
    if protocol.first is not None:
        if protocol.first > len(scenes):
            raise InputError(f"{protocol.name} takes the first {protocol.first} images, and {scenes.source} has {len(scenes)}.")
        scenes = scenes.part(range(protocol.first))
    openers = {name: partial(load_filler_method, method, name, protocol, scenes, device) for method, name in names.items()}
    target = find_result_folder(out or Path("results") / protocol.name)
    return _evaluate(openers, protocol, scenes, target, metrics, device, on_batch)


def evaluate_folders(
    truth: str | Path,
    filled: Sequence[str | Path],
    masks: str | Path,
    out: str | Path,
    metrics: Sequence[str] | None = None,
    device: str = "auto",
    on_batch: Callable[[str, int, int], None] | None = None,
    methods: Sequence[str] = (),
) -> Path:
    """Score folders of filled pictures, made by any program, against the originals; returns the path of the
    result's .json.

    `masks` are white where pictures were filled. Files are paired by name. `methods` (runs, model folders, names of classical
    fillers) fill the same holes and are scored beside them. Raises InputError for files without a partner, sizes
    that differ, or pictures whose known pixels show swapped channels or another range.
    """
    _check_metrics(metrics or FOLDER_METRICS)
    scenes = load_folder_scenes(truth, masks)
    name = Path(truth).resolve().name
    protocol = Protocol(f"folder {name}", f"Pictures of {name}", str(truth), FOLDER_METRICS)
    names = [Path(folder).resolve().name for folder in filled]
    taken = [
        name for name in names if name in (*CLASSICAL, *SHARED) or [n.casefold() for n in names].count(name.casefold()) > 1
    ]
    if taken:
        raise InputError(f"a folder's name names its method, and {', '.join(sorted(set(taken)))} is taken; rename the folder.")
    beside = name_methods(methods)
    doubles = sorted(set(names) & set(beside))
    if doubles:
        raise InputError(f"a folder and a run are called {', '.join(doubles)}; rename one.")
    openers = {name: partial(load_folder_method, folder, truth, scenes) for name, folder in zip(names, filled, strict=True)}
    openers |= {name: partial(load_filler_method, method, name, protocol, scenes, device) for method, name in beside.items()}
    return _evaluate(openers, protocol, scenes, find_result_folder(out), metrics, device, on_batch)


def _check_metrics(names: Sequence[str]) -> None:
    """InputError for a name that no metric has: before any data is read."""
    for name in names:
        pick(METRICS, name, "metric")


def _pin_protocol(protocol: Protocol, scenes: Scenes, data: str | None, size: int | None) -> Protocol:
    """The protocol as measured: on other images than its own it has another name."""
    images, masks = scenes.hashes
    others = images != protocol.images_sha256 if protocol.images_sha256 else scenes.source != protocol.data or size is not None
    if others and data is None and size is None:
        raise InputError(
            f"{protocol.data} does not hold the images of {protocol.name}: their SHA-256 is {images[:16]}, not "
            f"{protocol.images_sha256[:16]}. With `data` these images are measured under a name of their own."
        )
    if others:
        size = size or protocol.size
        name = f"{protocol.name}-on-{Path(scenes.source).name}" + (f"-{size}" if size else "")
        title = f"{Path(scenes.source).name}{f' at {size}×{size}' if size else ''}, by the rules of {protocol.name}"
        protocol = replace(protocol, name=name, title=title, data=scenes.source, size=size, published=())
        return replace(protocol, images_sha256="", masks_sha256="")
    if protocol.masks_sha256 and masks != protocol.masks_sha256:
        raise InputError(
            f"these are not the masks of {protocol.name}: their SHA-256 is {masks[:16]}, not {protocol.masks_sha256[:16]}. "
            "Numbers under other masks do not compare; for yours take the protocol cifar10-object, or write one (a .toml)."
        )
    return protocol


def _evaluate(
    openers: Mapping[str, Callable[[], Method]],
    protocol: Protocol,
    scenes: Scenes,
    out: Path,
    metrics: Sequence[str] | None,
    device: str,
    on_batch: Callable[[str, int, int], None] | None,
) -> Path:
    """Score each method by what it lacks of the `metrics`, or of the protocol's, and add it to the result; the result's file.

    Unavailable, which has it, in the first process where one of the `metrics` cannot be had.
    """
    on_device, wanted = find_device(device), metrics or protocol.metrics
    missing = find_missing(wanted, scenes, on_device)
    available = [name for name in wanted if name not in missing]
    result = _open_result(out, protocol, scenes)
    result = _record_metrics(result, wanted, missing, certify(available, on_device))
    keys, originals, choose_samples = hash_metrics(available), Originals(scenes), cache(partial(write_shared, out, scenes))
    for name, open_method in openers.items():
        method = open_method()
        old = result.methods.get(name)
        if old and old.weights != method.weights:
            old = None
        lacking = distributed.broadcast(_find_lacking(old, keys))
        if lacking is None:
            continue
        started = time.perf_counter()
        scores = score(method, scenes, lacking, originals, out, on_device, partial(on_batch or (lambda *_: None), name))
        if scores is None:  # the first process has them
            continue
        scored = _Scored(*scores, {metric: keys[metric] for metric in lacking}, time.perf_counter() - started)
        if old:
            scored = _merge(scored, old, find_rows_file(out, name))
        write_parquet(find_rows_file(out, name), scored.rows)
        write_strip(out, name, choose_samples())
        result = add_methods(out, result, {name: _make_result(method, scored, old, on_device)})
    file = find_result_file(out)
    if distributed.FIRST:
        add_methods(out, result, {})
        for error in missing.values() if metrics else ():
            error.result = file
            raise error
    return file


def _open_result(out: Path, protocol: Protocol, scenes: Scenes) -> Result:
    """A result without methods, or the one that the file holds; InputError when that is of something else."""
    images, mask_set = scenes.hashes
    definitions = {metric.title: metric.definition for metric in METRICS.values()}
    new = Result(protocol=protocol, n=len(scenes), images=images, mask_set=mask_set, definitions=definitions)
    if not find_result_file(out).exists():
        return new
    there = read_result(out)
    differs = find_differences(there, new)
    if there.protocol.name != protocol.name or differs:
        raise InputError(
            f"{find_result_file(out)} holds another protocol, data or mask set ({', '.join(differs) or 'name'} differ). "
            "Choose another `out`."
        )
    return replace(new, methods=there.methods, certified=there.certified, unavailable=there.unavailable)


def _record_metrics(
    result: Result, wanted: Sequence[str], missing: Mapping[str, Unavailable], certified: Mapping[str, str]
) -> Result:
    """The result with why some of the wanted metrics cannot be had, and what the others were checked against."""
    reasons = {name: reason for name, reason in result.unavailable.items() if name not in wanted}
    reasons |= {name: error.reason for name, error in missing.items()}
    unavailable = {name: reasons[name] for name in METRICS if name in reasons}
    return replace(result, certified={**result.certified, **certified}, unavailable=unavailable)


# --- A method --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scored:
    """What scoring a method gave: its rows, its distances of sets, the key of each metric, and the seconds that it took."""

    rows: pd.DataFrame
    distances: Scores
    keys: dict[str, str]
    seconds: float


def _find_lacking(old: MethodResult | None, keys: Mapping[str, str]) -> list[str] | None:
    """The metrics, of those with `keys`, that a method is yet to be scored by; None where it need not be scored at all."""
    lacking = [metric for metric, key in keys.items() if old is None or old.metrics_scored.get(metric) != key]
    return lacking if lacking or old is None else None


def _merge(new: _Scored, old: MethodResult, file: Path) -> _Scored:
    """The new scores, and those by other metrics that the old result and its file of rows hold."""
    keys = {metric: key for metric, key in old.metrics_scored.items() if metric not in new.keys}
    if not keys:
        return new
    before = read_scores(file)
    rows = pd.concat([new.rows, before[[c for c in before if name_metric(c) in keys]]], axis=1)
    distances = {c: value for c, value in old.metrics.items() if name_metric(c) in keys and c not in before}
    return _Scored(rows, {**new.distances, **distances}, {**keys, **new.keys}, new.seconds + old.seconds)


def _make_result(method: Method, scored: _Scored, old: MethodResult | None, device: torch.device) -> MethodResult:
    summary = summarise(scored.rows)
    numbers = {**summary.metrics, **scored.distances}
    return MethodResult(
        weights=method.weights,
        metrics_scored={metric: scored.keys[metric] for metric in METRICS if metric in scored.keys},
        metrics={column: numbers[column] for metric in METRICS for column in numbers if name_metric(column) == metric},
        by_coverage=summary.by_coverage,
        by_class=summary.by_class,
        seconds=round(scored.seconds, 1),
        parameters=method.parameters,
        model=method.model,
        training=list(method.training) or (old.training if old else []),  # a model folder alone has no learning curve
        commit=find_commit(),
        device=device_name(device),
        torch=torch.__version__,
        python=platform.python_version(),
    )


def write_parquet(file: Path, rows: pd.DataFrame) -> None:
    """A per-image table as Parquet, floats in 32 bits, whole or not at all."""
    floats = rows.select_dtypes("float").columns
    write_bytes(file, rows.astype(dict.fromkeys(floats, np.float32)).to_parquet(None, compression="zstd", index=False))
