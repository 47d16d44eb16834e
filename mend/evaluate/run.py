"""Evaluation: a protocol and some methods to a table with one row an image, and a summary.

<out>.json      the summary: protocol, hashes, and for each method every metric with its 95 % interval
<out>/          for each method its per-image rows (.parquet) and a strip of sample pictures (.png)
<out>/pictures/ every filled picture, no larger than 192 pixels, for the page that sorts and shows them
<out>/features/ what the distances of sets are computed from, for their intervals; both folders are large and may be deleted
"""

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from mend import distributed
from mend.errors import InputError, pick
from mend.evaluate.methods import Method, folder_method, method_names, network_method
from mend.evaluate.metrics import METRICS, Unavailable, metric_of
from mend.evaluate.pictures import SHARED, write_shared, write_strip
from mend.evaluate.protocol import Protocol, Scenes, folder_scenes, scenes_of
from mend.evaluate.scores import Truth, available, metric_keys, score
from mend.evaluate.statistics import summaries
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
    """Score `methods` (runs, model folders, names of classical fillers) by a protocol; returns the summary's path.

    A method that `out` (results/PROTOCOL unless given) already holds with the same weights, masks and metrics is not scored
    again, so a run that was stopped goes on. A metric that cannot be had is reported with the reason; when `metrics` asked for
    it by name, Unavailable is raised after the others are scored. `data` and `masks` say where the protocol's images and mask
    set are; for other images the result takes another name. `size` scales the images, `limit` takes the first so many.
    `on_batch(method, done, of)` is called after each batch. The processes of a job (see `mend.distributed`) share the
    batches, and the first writes. Raises InputError for anything that does not fit together.
    """
    if limit is not None and limit < 1:
        raise InputError(f"the limit is {limit}; expected a number of images, 1 or more.")
    names = method_names(methods)
    scenes = scenes_of(protocol, data, masks, size)
    protocol, hashes = _pinned(protocol, scenes, data, size)
    if limit is not None and limit < len(scenes):
        name, title = f"{protocol.name}-first-{limit}", f"{protocol.title}, the first {limit}"
        protocol = replace(protocol, name=name, title=title, first=limit, published=[])
    if protocol.first is not None:
        if protocol.first > len(scenes):
            raise InputError(f"{protocol.name} takes the first {protocol.first} images, and {scenes.source} has {len(scenes)}.")
        scenes = scenes.part(range(protocol.first))
        hashes = scenes.hashes()
    openers = [partial(network_method, method, name, protocol, scenes, device) for method, name in names.items()]
    target = result_folder(out or Path("results") / protocol.name)
    return _evaluate(list(names.values()), openers, protocol, scenes, hashes, target, metrics, on_batch)


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
    """Score folders of filled pictures, made by any program, against the originals; returns the summary's path.

    `masks` are white where pictures were filled. Files are paired by name. `methods` (runs, model folders, names of classical
    fillers) fill the same holes and are scored beside them. Raises InputError for files without a partner, sizes
    that differ, or pictures whose known pixels show swapped channels or another range.
    """
    scenes = folder_scenes(truth, masks)
    name = Path(truth).resolve().name
    protocol = Protocol(f"folder {name}", f"Pictures of {name}", str(truth), FOLDER_METRICS)
    names = [Path(folder).resolve().name for folder in filled]
    taken = [
        name for name in names if name in (*CLASSICAL, *SHARED) or [n.casefold() for n in names].count(name.casefold()) > 1
    ]
    if taken:
        raise InputError(f"a folder's name names its method, and {', '.join(sorted(set(taken)))} is taken; rename the folder.")
    openers = [partial(folder_method, folder, truth, scenes, find_device(device)) for folder in filled]
    beside = method_names(methods)
    doubles = sorted(set(names) & set(beside))
    if doubles:
        raise InputError(f"a folder and a run are called {', '.join(doubles)}; rename one.")
    openers += [partial(network_method, method, name, protocol, scenes, device) for method, name in beside.items()]
    return _evaluate([*names, *beside], openers, protocol, scenes, scenes.hashes(), result_folder(out), metrics, on_batch)


def _pinned(protocol: Protocol, scenes: Scenes, data: str | None, size: int | None) -> tuple[Protocol, tuple[str, str]]:
    """The protocol as measured, and the hashes of its images and masks. On other images than its own it has another name."""
    images, masks = scenes.hashes()
    others = images != protocol.images_sha256 if protocol.images_sha256 else scenes.source != protocol.data or size is not None
    if others and data is None and size is None:
        raise InputError(
            f"{protocol.data} does not hold the images of {protocol.name}: their SHA-256 is {images[:16]}, not "
            f"{protocol.images_sha256[:16]}. With --data these images are measured under a name of their own."
        )
    if others:
        size = size or protocol.size
        name = f"{protocol.name}-on-{Path(scenes.source).name}" + (f"-{size}" if size else "")
        title = f"{Path(scenes.source).name}{f' at {size}×{size}' if size else ''}, by the rules of {protocol.name}"
        protocol = replace(protocol, name=name, title=title, data=scenes.source, size=size, published=[])
        return replace(protocol, images_sha256="", masks_sha256=""), (images, masks)
    if protocol.masks_sha256 and masks != protocol.masks_sha256:
        raise InputError(
            f"these are not the masks of {protocol.name}: their SHA-256 is {masks[:16]}, not {protocol.masks_sha256[:16]}. "
            "Numbers under other masks do not compare; for yours take --protocol cifar10-object, or write one (a .toml)."
        )
    return protocol, (images, masks)


def _evaluate(
    names: list[str],
    openers: Sequence[Callable[[], Method]],
    protocol: Protocol,
    scenes: Scenes,
    hashes: tuple[str, str],
    out: Path,
    metrics: Sequence[str] | None,
    on_batch: Callable[[str, int, int], None] | None,
) -> Path:
    wanted = list(metrics or protocol.metrics)
    for name in wanted:
        pick(METRICS, name, "metric")
    summary, keys = _open_summary(out, protocol, len(scenes), hashes), metric_keys(wanted)
    truth_of = cache(partial(Truth, scenes=scenes))
    missing: dict[str, Unavailable] = {}
    samples: np.ndarray | None = None
    for name, open_method in zip(names, openers, strict=True):
        method = open_method()
        old = summary["methods"].get(name)
        known = old["metrics_scored"] if old and old["weights"] == method.key else {}
        had = available(wanted, scenes, method.device, missing, summary)
        lacking = [metric for metric in had if known.get(metric) != keys[metric]]
        new = distributed.broadcast(lacking if lacking or not known else None)
        if new is None:
            continue
        started = time.perf_counter()
        scores = score(method, scenes, new, truth_of, out, partial(on_batch or _unheard, name))
        if scores is None:
            continue
        rows, sets = scores
        seconds = time.perf_counter() - started
        samples = write_shared(out, scenes) if samples is None else samples
        kept = {metric: key for metric, key in known.items() if metric not in new}
        if kept:
            before = pd.read_parquet(out / f"{name}.parquet")
            rows = pd.concat([rows, before[[c for c in before if metric_of(c) in kept]]], axis=1)
            seconds += old["seconds"]
            sets |= {k: v for k, v in old["metrics"].items() if metric_of(k) in kept and k not in before}
        write_parquet(out / f"{name}.parquet", rows)
        write_strip(out, name, samples)
        scored = {**kept, **{metric: keys[metric] for metric in new}}
        measured = summaries(rows)
        numbers = {**measured["metrics"], **sets}
        done = {
            "weights": method.key,
            "metrics_scored": {n: scored[n] for n in METRICS if n in scored},
            **measured,
            "metrics": {c: numbers[c] for n in METRICS for c in numbers if metric_of(c) == n},
            "seconds": round(seconds, 1),
            **method.facts,
            **_environment(method.device),
        }
        summary = _write_summary(out, summary, {name: done}, missing, wanted)
    if not distributed.FIRST:
        return summary_file(out)
    _write_summary(out, summary, {}, missing, wanted)
    if metrics and missing:
        error = next(iter(missing.values()))
        error.result = summary_file(out)
        raise error
    return summary_file(out)


def _unheard(method: str, done: int, of: int) -> None:
    pass


def _environment(device: torch.device) -> dict[str, str]:
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    return {"commit": commit(), "device": device_name(device), **versions}


# --- Files -----------------------------------------------------------------------------------------------------------


def result_folder(out: str | Path) -> Path:
    """The folder of an evaluation, by itself or by its .json."""
    return Path(str(out).removesuffix(".json"))


def summary_file(out: str | Path) -> Path:
    """The summary of the evaluation in the folder `out`: beside it, with .json."""
    return Path(f"{out}.json")


def read_summary(out: str | Path) -> dict[str, Any]:
    """The summary of an evaluation, by its folder or its .json. Raises InputError when it is not one."""
    file = summary_file(result_folder(out))
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        return {**summary, "protocol": dict(summary["protocol"]), "methods": dict(summary["methods"])}
    except FileNotFoundError:
        raise InputError(f"there is no result {file}. Make one with 'mend evaluate RUN… --out {out}'.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no result of 'mend evaluate': {error}.") from None


def _open_summary(out: Path, protocol: Protocol, count: int, hashes: tuple[str, str]) -> dict[str, Any]:
    what: dict[str, Any] = {
        "protocol": json.loads(json.dumps(asdict(protocol))),
        "n": count,
        "images": hashes[0],
        "mask_set": hashes[1],
        "definitions": {m.title: m.definition for m in METRICS.values()},
        "certified": {},
        "unavailable": {},
    }
    if not summary_file(out).exists():
        return {**what, "methods": {}}
    there = read_summary(out)
    differs = [key for key in ("n", "images", "mask_set") if there.get(key) != what[key]]
    if there["protocol"]["name"] != protocol.name or differs:
        raise InputError(
            f"{summary_file(out)} holds another protocol, data or mask set ({', '.join(differs) or 'name'} differ). "
            "Choose another --out."
        )
    return {**what, **{key: there[key] for key in ("methods", "certified", "unavailable")}}


def _write_summary(
    out: Path, summary: dict[str, Any], methods: dict[str, Any], missing: dict[str, Unavailable], wanted: list[str]
) -> dict[str, Any]:
    """Add `methods` to what the file holds now: another process may have added its own."""
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock"):
        there = read_summary(out)["methods"] if summary_file(out).exists() else {}
        kept = {name: said for name, said in summary["unavailable"].items() if name not in wanted}
        unavailable = {n: kept.get(n) or missing[n].reason for n in METRICS if n in kept or n in missing}
        written = {**summary, "methods": {**there, **methods}, "unavailable": unavailable}
        write_bytes(summary_file(out), json.dumps(written, indent=1, ensure_ascii=False).encode() + b"\n")
    return written


def write_parquet(file: Path, rows: pd.DataFrame) -> None:
    """A per-image table as Parquet, floats in 32 bits, whole or not at all."""
    floats = rows.select_dtypes("float").columns
    write_bytes(file, rows.astype(dict.fromkeys(floats, np.float32)).to_parquet(None, compression="zstd", index=False))
