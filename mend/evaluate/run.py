"""Evaluation: a protocol and some methods to a table with one row an image, and a `Result`."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mend import distributed
from mend.errors import InputError, pick
from mend.evaluate.certificate import certify
from mend.evaluate.methods import Method, filler_method, folder_method, method_names
from mend.evaluate.metrics import METRICS, metric_of
from mend.evaluate.pictures import SHARED, write_shared, write_strip
from mend.evaluate.protocol import Protocol
from mend.evaluate.result import (
    MethodResult,
    Result,
    add_methods,
    read_result,
    read_scores,
    result_file,
    result_folder,
    rows_file,
)
from mend.evaluate.scenes import Scenes, folder_scenes, scenes_of
from mend.evaluate.scores import Truth, find_missing, metric_keys, score
from mend.evaluate.statistics import summarise
from mend.images import write_bytes
from mend.inpaint.classical import CLASSICAL
from mend.models.checkpoint import commit
from mend.models.device import device_name, find_device

FOLDER_METRICS = ("psnr", "ssim", "lpips", "fid", "lpips-cifar", "mae")


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
        raise InputError(f"the limit is {limit}; expected a number of holes, 1 or more.")
    wanted, names = _known(metrics or protocol.metrics), method_names(methods)
    scenes = scenes_of(protocol, data, masks, size)
    protocol, hashes = _pinned(protocol, scenes, data, size)
    if limit is not None and limit < len(scenes):
        name, title = f"{protocol.name}-first-{limit}", f"{protocol.title}, the first {limit}"
        protocol = replace(protocol, name=name, title=title, first=limit, published=())
    if protocol.first is not None:
        if protocol.first > len(scenes):
            raise InputError(f"{protocol.name} takes the first {protocol.first} images, and {scenes.source} has {len(scenes)}.")
        scenes = scenes.part(range(protocol.first))
        hashes = scenes.hashes()
    openers = {name: partial(filler_method, method, name, protocol, scenes, device) for method, name in names.items()}
    target = result_folder(out or Path("results") / protocol.name)
    return _evaluate(openers, protocol, scenes, hashes, target, wanted, bool(metrics), device, on_batch)


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
    wanted = _known(metrics or FOLDER_METRICS)
    scenes = folder_scenes(truth, masks)
    name = Path(truth).resolve().name
    protocol = Protocol(f"folder {name}", f"Pictures of {name}", str(truth), FOLDER_METRICS)
    names = [Path(folder).resolve().name for folder in filled]
    taken = [
        name for name in names if name in (*CLASSICAL, *SHARED) or [n.casefold() for n in names].count(name.casefold()) > 1
    ]
    if taken:
        raise InputError(f"a folder's name names its method, and {', '.join(sorted(set(taken)))} is taken; rename the folder.")
    beside = method_names(methods)
    doubles = sorted(set(names) & set(beside))
    if doubles:
        raise InputError(f"a folder and a run are called {', '.join(doubles)}; rename one.")
    openers = {name: partial(folder_method, folder, truth, scenes) for name, folder in zip(names, filled, strict=True)}
    openers |= {name: partial(filler_method, method, name, protocol, scenes, device) for method, name in beside.items()}
    hashes, target = scenes.hashes(), result_folder(out)
    return _evaluate(openers, protocol, scenes, hashes, target, wanted, bool(metrics), device, on_batch)


def _known(metrics: Sequence[str]) -> list[str]:
    """The metrics, checked before any data is read."""
    for name in metrics:
        pick(METRICS, name, "metric")
    return list(metrics)


def _pinned(protocol: Protocol, scenes: Scenes, data: str | None, size: int | None) -> tuple[Protocol, tuple[str, str]]:
    """The protocol as measured, and the hashes of its images and masks. On other images than its own it has another name."""
    images, masks = scenes.hashes()
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
        return replace(protocol, images_sha256="", masks_sha256=""), (images, masks)
    if protocol.masks_sha256 and masks != protocol.masks_sha256:
        raise InputError(
            f"these are not the masks of {protocol.name}: their SHA-256 is {masks[:16]}, not {protocol.masks_sha256[:16]}. "
            "Numbers under other masks do not compare; for yours take the protocol cifar10-object, or write one (a .toml)."
        )
    return protocol, (images, masks)


def _evaluate(
    openers: Mapping[str, Callable[[], Method]],
    protocol: Protocol,
    scenes: Scenes,
    hashes: tuple[str, str],
    out: Path,
    wanted: list[str],
    by_name: bool,
    device: str,
    on_batch: Callable[[str, int, int], None] | None,
) -> Path:
    """Score the methods; the result's file. Unavailable, which has it, in the first process where a metric is missing that was
    asked for by name."""
    on_device = find_device(device)
    missing = find_missing(wanted, scenes, on_device)
    available = [name for name in wanted if name not in missing]
    result = _open_result(out, protocol, len(scenes), hashes)
    kept_reasons = {name: reason for name, reason in result.unavailable.items() if name not in wanted}
    reasons = {**kept_reasons, **{name: error.reason for name, error in missing.items()}}
    result = replace(
        result,
        certified={**result.certified, **certify(available, on_device)},
        unavailable={name: reasons[name] for name in METRICS if name in reasons},
    )
    keys = metric_keys(available)
    truth_of = cache(partial(Truth, scenes=scenes))
    samples: np.ndarray | None = None
    for name, open_method in openers.items():
        method = open_method()
        old = result.methods.get(name)
        if old and old.weights != method.weights:
            old = None
        lacking = [metric for metric, key in keys.items() if old is None or old.metrics_scored.get(metric) != key]
        new = distributed.broadcast(lacking if lacking or old is None else None)
        if new is None:
            continue
        started = time.perf_counter()
        scores = score(method, scenes, new, truth_of, out, on_device, partial(on_batch or (lambda *_: None), name))
        if scores is None:
            continue
        rows, distances = scores
        seconds = time.perf_counter() - started
        samples = write_shared(out, scenes) if samples is None else samples
        scored = {metric: keys[metric] for metric in new}
        kept = {metric: key for metric, key in old.metrics_scored.items() if metric not in new} if old else {}
        if old and kept:
            before = read_scores(rows_file(out, name))
            rows = pd.concat([rows, before[[c for c in before if metric_of(c) in kept]]], axis=1)
            seconds += old.seconds
            distances |= {c: v for c, v in old.metrics.items() if metric_of(c) in kept and c not in before}
        write_parquet(rows_file(out, name), rows)
        write_strip(out, name, samples)
        summary = summarise(rows)
        numbers, scored = {**summary.metrics, **distances}, {**kept, **scored}
        measured = MethodResult(
            weights=method.weights,
            metrics_scored={metric: scored[metric] for metric in METRICS if metric in scored},
            metrics={column: numbers[column] for metric in METRICS for column in numbers if metric_of(column) == metric},
            by_coverage=summary.by_coverage,
            by_class=summary.by_class,
            seconds=round(seconds, 1),
            parameters=method.parameters,
            model=method.model,
            training=list(method.training) or (old.training if old else []),  # a model folder alone has no learning curve
            commit=commit(),
            device=device_name(on_device),
            torch=torch.__version__,
            python=platform.python_version(),
        )
        result = add_methods(out, result, {name: measured})
    file = result_file(out)
    if distributed.FIRST:
        add_methods(out, result, {})
        for error in missing.values() if by_name else ():
            error.result = file
            raise error
    return file


def _open_result(out: Path, protocol: Protocol, count: int, hashes: tuple[str, str]) -> Result:
    """A result without methods, or the one that the file holds; InputError when that is of something else."""
    images, mask_set = hashes
    definitions = {metric.title: metric.definition for metric in METRICS.values()}
    new = Result(
        protocol=protocol,
        n=count,
        images=images,
        mask_set=mask_set,
        definitions=definitions,
        certified={},
        unavailable={},
        methods={},
    )
    if not result_file(out).exists():
        return new
    there = read_result(out)
    pairs = {"n": (there.n, count), "images": (there.images, images), "mask_set": (there.mask_set, mask_set)}
    differs = [what for what, (old, now) in pairs.items() if old != now]
    if there.protocol.name != protocol.name or differs:
        raise InputError(
            f"{result_file(out)} holds another protocol, data or mask set ({', '.join(differs) or 'name'} differ). "
            "Choose another `out`."
        )
    return replace(new, methods=there.methods, certified=there.certified, unavailable=there.unavailable)


def write_parquet(file: Path, rows: pd.DataFrame) -> None:
    """A per-image table as Parquet, floats in 32 bits, whole or not at all."""
    floats = rows.select_dtypes("float").columns
    write_bytes(file, rows.astype(dict.fromkeys(floats, np.float32)).to_parquet(None, compression="zstd", index=False))
