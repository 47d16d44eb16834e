"""Evaluation: a protocol and some methods to a table with one row an image, and a summary.

<out>.json      the summary: protocol, hashes, and for each method every metric with its 95 % interval
<out>/          for each method its per-image rows (.parquet) and a strip of sample pictures (.png)
<out>/pictures/ every filled picture, no larger than 192 pixels, for the page that sorts and shows them
<out>/features/ what the distances of sets are computed from, for their intervals; both folders are large and may be deleted
"""

import hashlib
import io
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from mend.checkpoint import commit, model_folder
from mend.classical import CLASSICAL
from mend.classifier import WEIGHTS
from mend.data import cache_folder, new_array
from mend.device import device_name, find_device
from mend.errors import InputError, nearest, pick
from mend.images import composite, grid, mask_out, read_rgb, to_image, to_pixels, write_bytes, write_image
from mend.inpaint import load
from mend.masks.segment import weights_hash
from mend.metrics import METRICS, SPACES, Unavailable, band, mean_over, metric_of
from mend.metrics.certificate import certify
from mend.metrics.distances import frechet
from mend.metrics.networks import INCEPTION_WEIGHTS
from mend.protocol import Protocol, Scenes, folder_fillings, folder_scenes, scenes_of
from mend.statistics import summaries

SAMPLES = 12  # pictures in a strip
SHARED = ("original", "mask", "masked input")  # pictures that every method shares
FOLDER_METRICS = ("psnr", "ssim", "lpips", "fid", "lpips-cifar", "mae")
SIDES = (16, 1024)  # pixels: smaller pictures have no map left in the classifier, larger ones take gigabytes
SIDE = 192  # pixels, of the largest picture kept for looking

Fill = Callable[[np.ndarray, Tensor, Tensor], Tensor]
"""Places (B,), image and hole to the raw output (B, 3, H, W) of a method."""


@dataclass(frozen=True)
class Method:
    """What is scored: a name, a hash that changes when its output may, how it fills, and what the table says of it."""

    name: str
    key: str
    fill: Fill
    facts: dict[str, Any]
    device: torch.device


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
    `on_batch(method, done, of)` is called after each batch. Raises InputError for anything that does not fit together.
    """
    names = _method_names(methods)
    scenes = scenes_of(protocol, data, masks, size)
    protocol, hashes = _pinned(protocol, scenes, data, size)
    if limit is not None and limit < len(scenes):
        scenes = scenes.part(range(limit))
        name, title = f"{protocol.name}-first-{limit}", f"{protocol.title}, the first {limit}"
        protocol, hashes = replace(protocol, name=name, title=title, published=[]), scenes.hashes()
    openers = [partial(_network, method, name, protocol, scenes, device) for method, name in names.items()]
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
) -> Path:
    """Score folders of filled pictures, made by any program, against the originals; returns the summary's path.

    `masks` are white where pictures were filled. Files are paired by name. Raises InputError for files without a partner, sizes
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
    openers = [partial(_folder, folder, truth, scenes, find_device(device)) for folder in filled]
    return _evaluate(names, openers, protocol, scenes, scenes.hashes(), result_folder(out), metrics, on_batch)


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
        name = f"{protocol.name}-on-{Path(scenes.source).name}" + (f"-{size}" if size else "")
        title = f"{Path(scenes.source).name}{f' at {size}×{size}' if size else ''}, by the rules of {protocol.name}"
        return replace(protocol, name=name, title=title, images_sha256="", masks_sha256="", published=[]), (images, masks)
    if protocol.masks_sha256 and masks != protocol.masks_sha256:
        raise InputError(
            f"these are not the masks of {protocol.name}: their SHA-256 is {masks[:16]}, not {protocol.masks_sha256[:16]}. "
            "Numbers under other masks do not compare; for yours write a protocol of your own (a .toml like the shipped ones)."
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
    summary = _open_summary(out, protocol, len(scenes), hashes)
    missing: dict[str, Unavailable] = {}
    samples: np.ndarray | None = None
    for name, open_method in zip(names, openers, strict=True):
        method = open_method()
        old = summary["methods"].get(name)
        known = old["metrics_scored"] if old and old["weights"] == method.key else {}
        keys = {metric: _key(metric) for metric in _available(wanted, scenes, method.device, missing, summary)}
        new = [metric for metric, key in keys.items() if known.get(metric) != key]
        if known and not new:
            continue
        samples = _write_truth(out, scenes) if samples is None else samples
        started = time.perf_counter()
        rows, sets = _score(method, scenes, new, out, partial(on_batch or _unheard, name))
        seconds = time.perf_counter() - started
        kept = {metric: key for metric, key in known.items() if metric not in new}
        if kept:
            before = pd.read_parquet(out / f"{name}.parquet")
            rows = pd.concat([rows, before[[c for c in before if metric_of(c) in kept]]], axis=1)
            seconds += old["seconds"]
            sets |= {k: v for k, v in old["metrics"].items() if metric_of(k) in kept and k not in before}
        write_parquet(out / f"{name}.parquet", rows)
        _write_strip(out, name, samples)
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
    _write_summary(out, summary, {}, missing, wanted)
    if metrics and missing:
        raise next(iter(missing.values()))
    return summary_file(out)


def _key(metric: str) -> str:
    """What changes when a metric's value may: its definition, and the weights it sees through."""
    weights = WEIGHTS.read_bytes() if metric.endswith("-cifar") else b""
    return hashlib.sha256(METRICS[metric].definition.encode() + weights).hexdigest()[:12]


def _available(
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


def _unheard(method: str, done: int, of: int) -> None:
    pass


# --- Methods ---------------------------------------------------------------------------------------------------------


def _network(method: str, name: str, protocol: Protocol, scenes: Scenes, device: str) -> Method:
    inpainter = load(method, device)
    if protocol.whole and scenes.source == "photos" and inpainter.config.get("trained", {}).get("data") == "photos":
        raise InputError(
            f"{name} was trained on the photographs of {protocol.name}. Train it on others, or evaluate on others."
        )
    versions = f"{name} opencv {version('opencv-python-headless')} scikit-image {version('scikit-image')}"
    key = hashlib.sha256(versions.encode()).hexdigest() if method in CLASSICAL else weights_hash(inpainter.network)
    facts = {
        "parameters": sum(p.numel() for p in inpainter.network.parameters()),
        "model": inpainter.config,
        "training": _training(method),
    }
    return Method(name, key, lambda _, image, hole: inpainter.raw(image, hole), facts, find_device(device))


def _folder(folder: str | Path, truth: str | Path, scenes: Scenes, device: torch.device) -> Method:
    files = folder_fillings(truth, folder)

    def fill(places: np.ndarray, image: Tensor, hole: Tensor) -> Tensor:
        pictures = [read_rgb(files[i]) for i in places]
        for i, picture in zip(places, pictures, strict=True):
            if picture.shape[:2] != scenes.sizes[i]:
                (height, width), (h, w) = picture.shape[:2], scenes.sizes[i]
                raise InputError(
                    f"{files[i]} is {width}×{height}, its original {w}×{h} (width×height). Scale neither; crop neither."
                )
        return to_image(np.stack(pictures)).to(image.device)

    _check_known(Path(folder), fill, scenes)
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    facts = {"parameters": 0, "model": {"model": "folder", "options": {}}, "training": []}
    return Method(Path(folder).resolve().name, digest.hexdigest(), fill, facts, device)


def _check_known(folder: Path, fill: Fill, scenes: Scenes) -> None:
    """What surrounds the holes tells whether masks are inverted, channels swapped, values scaled, or files not those of the
    originals. InputError when they are."""
    straight, swapped, inside, brightest, count = 0.0, 0.0, 0.0, 0.0, 1
    some = [int(i) for i in np.linspace(0, len(scenes) - 1, min(50, len(scenes)))]
    for part, image, hole in scenes.part(some).batches():
        filled = fill(np.array(some)[part], image, hole)
        error = (filled - image).abs()
        straight, inside = straight + (error * (1 - hole)).sum().item(), inside + (error * hole).sum().item()
        swapped += ((filled.flip(1) - image).abs() * (1 - hole)).sum().item()
        brightest, count = max(brightest, filled.max().item()), count + int(3 * (1 - hole).sum())
    if inside == 0 and straight > 0:
        raise InputError(
            f"the pictures of {folder} equal the originals inside the holes and differ outside: the masks are inverted. A mask "
            "is white where a picture was filled."
        )
    if brightest < 1.5 / 255 and straight > 0.02 * count:
        raise InputError(f"the pictures of {folder} hold 0 and 1 only: they were saved from values in [0, 1]. Save them × 255.")
    if straight > 0.02 * count and swapped < 0.5 * straight:
        raise InputError(
            f"the known pixels of {folder} fit the originals when red and blue are swapped: they were saved as BGR. Swap them."
        )
    if straight > 0.12 * count:
        raise InputError(
            f"the known pixels of {folder} are {255 * straight / count:.0f} grey levels of 255 off the originals on average: "
            "these are not fillings of the same pictures, or they were moved or scaled."
        )


# --- Scores ----------------------------------------------------------------------------------------------------------


def _score(
    method: Method,
    scenes: Scenes,
    names: list[str],
    out: Path,
    on_batch: Callable[[int, int], None],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The per-image table of a method, and its set metrics on the composited and the raw output."""
    device = method.device
    spaces = {space for n in names if (space := METRICS[n].space)}
    truths = {space: _Truth(space, scenes) for space in spaces}
    features: dict[tuple[str, str], list[Tensor]] = {(space, view): [] for space in spaces for view in ("", "raw")}
    columns: dict[str, list[Tensor]] = {}
    coverage: list[Tensor] = []
    pictures = _Pictures(out, method.name, scenes)
    for places, image, hole in scenes.batches():
        image, hole = image.to(device), hole.to(device)
        raw = method.fill(places, image, hole)
        _check_values(raw, method.name, [scenes.names[i] for i in places])
        filled = composite(image, raw, hole)
        empty = hole.sum((1, 2, 3)) == 0
        for name in names:
            for column, value in _values(name, filled, raw, image, hole).items():
                # Where nothing was filled there is nothing to judge.
                columns.setdefault(column, []).append(value.masked_fill(empty, torch.nan).cpu())
        for space in spaces:
            look = SPACES[space](device)
            truths[space].add(look, image)
            features[space, ""].append(look(filled).cpu())
            features[space, "raw"].append(look(raw).cpu())
        coverage.append(hole.mean((1, 2, 3)).cpu())
        pictures.add(places, filled)
        on_batch(int(places[-1]) + 1, len(scenes))
    pictures.finish()
    known = {
        "row": scenes.rows,
        "name": scenes.names,
        "image": scenes.images,
        "class": scenes.classes,
        "coverage": torch.cat(coverage).numpy(),
    }
    table = pd.DataFrame({**known, **{name: torch.cat(parts).numpy() for name, parts in columns.items()}})
    seen = {key: torch.cat(parts) for key, parts in features.items()}
    for (space, view), values in seen.items():
        _write_array(features_file(out, method.name, space, view), values.half())
    sets: dict[str, Any] = {}
    for space, there in truths.items():
        truth = there.finish()
        _write_array(features_file(out, "original", space), truth.half())
        for name in [name for name in names if METRICS[name].space == space]:
            distance = METRICS[name].distance
            assert distance is not None
            for view in ("", "raw"):
                sets[f"{name}_{view}" if view else name] = {"mean": distance(truth, seen[space, view]), "n": len(scenes)}
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
        score = metric.per_image(image.device)
        return {name: score(filled, image), f"{name}_raw": score(raw, image)}
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


class _Truth:
    """The features of the originals in one space: read from the cache, or gathered and kept there for the next method."""

    def __init__(self, space: str, scenes: Scenes) -> None:
        weights = WEIGHTS if space == "cifar" else Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_WEIGHTS
        digest = hashlib.sha256(weights.read_bytes() if weights.exists() else space.encode()).hexdigest()
        key = hashlib.sha256("".join([digest, *scenes.images]).encode()).hexdigest()[:24]
        self.file = cache_folder() / "features" / f"{space}-{key}.npy"
        self.there = torch.from_numpy(np.load(self.file)) if self.file.exists() else None
        self.parts: list[Tensor] = []

    def add(self, look: Callable[[Tensor], Tensor], image: Tensor) -> None:
        if self.there is None:
            self.parts.append(look(image).cpu())

    def finish(self) -> Tensor:
        if self.there is None:
            self.there = torch.cat(self.parts)
            _write_array(self.file, self.there)
        return self.there


# --- Files -----------------------------------------------------------------------------------------------------------


def result_folder(out: str | Path) -> Path:
    """The folder of an evaluation, by itself or by its .json."""
    return Path(str(out).removesuffix(".json"))


def features_file(out: Path, name: str, space: str, view: str = "") -> Path:
    """Where the features of a method's pictures are, or of the "original" ones; `view` is "" or "raw"."""
    return out / "features" / f"{name}-{space}{'_' * bool(view)}{view}.npy"


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


def _method_names(methods: Sequence[str]) -> dict[str, str]:
    """What to load, and what it is called in the table: a run by its folder's name. Checks that each exists."""
    names: dict[str, str] = {}
    for method in methods:
        if method in CLASSICAL:
            names[method] = method
            continue
        if not Path(method).exists() and "/" not in method:
            raise InputError(
                f"unknown method {method!r}: no such run.{nearest(method, list(CLASSICAL))} Classical: {', '.join(CLASSICAL)}."
            )
        folder = model_folder(method).resolve()
        names[method] = folder.parent.name if folder.name == "model" else folder.name
    doubles = {n for n in names.values() if list(names.values()).count(n) > 1}
    if doubles:
        raise InputError(f"two methods are called {', '.join(sorted(doubles))}; rename one of the run folders.")
    return names


def _training(method: str) -> list[dict[str, float]]:
    """The learning curve of a run, empty for a model without one."""
    file = Path(method) / "metrics.csv"
    return json.loads(pd.read_csv(file).to_json(orient="records")) if file.exists() else []


def _environment(device: torch.device) -> dict[str, str]:
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    return {"commit": commit(), "device": device_name(device), **versions}


# --- Pictures --------------------------------------------------------------------------------------------------------


class _Pictures:
    """Every picture of a method, scaled down to at most 192 pixels: `pictures/<name>.npy`, (N, S, S, 3) uint8 on white."""

    def __init__(self, out: Path, name: str, scenes: Scenes) -> None:
        self.side = min(SIDE, max(max(size) for size in scenes.sizes))
        self.file = out / "pictures" / f"{name}.npy"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.part = self.file.with_suffix(".part")
        self.array = new_array(self.part, np.uint8, (len(scenes), self.side, self.side, 3))

    def add(self, places: np.ndarray, image: Tensor) -> None:
        for place, pixels in zip(places, to_pixels(image), strict=True):
            height, width = pixels.shape[:2]
            if max(height, width) > self.side:
                picture = Image.fromarray(pixels)
                picture.thumbnail((self.side, self.side))
                pixels = np.asarray(picture)
            self.array[place] = 255
            self.array[place, : pixels.shape[0], : pixels.shape[1]] = pixels

    def finish(self) -> None:
        self.array.flush()
        del self.array  # a mapped file cannot be renamed on Windows
        self.part.replace(self.file)


def _write_truth(out: Path, scenes: Scenes) -> np.ndarray:
    """The pictures that every method shares, and the places of the sample pictures: evenly spaced over the coverages, from the
    first 500, so that none is chosen by looking."""
    writers = {name: _Pictures(out, name, scenes) for name in SHARED}
    coverage: list[Tensor] = []
    for places, image, hole in scenes.batches():
        coverage.append(hole.mean((1, 2, 3)))
        views = {"original": image, "mask": hole.expand(-1, 3, -1, -1), "masked input": mask_out(image, hole)}
        for name, view in views.items():
            writers[name].add(places, view)
    for writer in writers.values():
        writer.finish()
    order = np.argsort(torch.cat(coverage)[:500].numpy(), kind="stable")
    samples = order[np.linspace(0, len(order) - 1, min(SAMPLES, len(order))).astype(np.int64)]
    for name in writers:
        _write_strip(out, name, samples)
    return samples


def _write_strip(out: Path, name: str, samples: np.ndarray) -> None:
    pictures = np.load(out / "pictures" / f"{name}.npy", mmap_mode="r")
    write_image(out / f"{name}.png", grid([pictures[samples]], gap=0))
