"""Evaluation: a protocol and some methods to a table with one row an image, and a summary.

<out>.json      the summary: protocol, mask-set hash, and for each method every metric with its 95 % interval
<out>/          for each method its per-image rows (.parquet), and a strip of sample pictures (.png)
"""

import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mend.chance import uniform
from mend.checkpoint import commit, model_folder
from mend.classical import CLASSICAL
from mend.data import Images, load_images
from mend.device import device_name
from mend.errors import InputError, nearest, pick
from mend.fill import Inpainter, load
from mend.images import composite, grid, mask_out, to_image, to_pixels, write_bytes, write_image
from mend.masks.segment import weights_hash
from mend.masks.store import ObjectPolicy, find_set
from mend.metrics import METRICS, WeightsMissing, mean_over
from mend.recipes import FOLDER, read_toml

BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # edges of the coverage bins; a bin holds its upper edge
SAMPLES = 12  # pictures in a strip
BATCH = 250
RESAMPLES = 1000


@dataclass(frozen=True)
class Protocol:
    """What is measured on what. `published` rows are quoted beside the table, with their source."""

    name: str
    title: str
    data: str
    masks: str
    metrics: tuple[str, ...]
    policy: ObjectPolicy
    published: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    size: int | None = None


def read_protocol(name: str) -> Protocol:
    """A protocol by the name of a shipped one, or a TOML file. Raises InputError for an unknown name or key."""
    values = read_toml(name, FOLDER / "protocols", "protocol", [f.name for f in fields(Protocol)])
    try:
        return Protocol(**{**values, "policy": ObjectPolicy(**values.get("policy", {}))})
    except TypeError as error:
        raise InputError(f"{name} is no protocol: {error}.") from None


def evaluate(
    methods: Sequence[str],
    protocol: Protocol,
    out: str | Path,
    data: str | None = None,
    masks: str | None = None,
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    size: int | None = None,
    device: str = "auto",
    on_batch: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Score `methods` (runs, model folders, names of classical fillers) by a protocol; returns the summary's path.

    A method that `out` already holds with the same weights, masks and metrics is not scored again, so a run that was
    stopped goes on. A metric whose weights are missing is reported as unavailable; when `metrics` asked for it by name,
    WeightsMissing is raised after the others are scored. `size` scales the images (see `load_images`), `limit` takes the
    first so many. `on_batch(method, done, of)` is called after each batch. Raises InputError for anything that does not
    fit together.
    """
    out = Path(out)
    wanted = list(metrics or protocol.metrics)
    for name in wanted:
        pick(METRICS, name, "metric")
    images = load_images(data or protocol.data, "test", size or protocol.size, limit)
    mask_set = find_set(masks or protocol.masks, images)
    holes = mask_set.holes(images, protocol.policy)
    summary = _open_summary(out, protocol, images, mask_set.manifest.sha256)
    names = _method_names(methods)
    missing = _unavailable(wanted)
    summary["unavailable"] = [n for n in METRICS if n in missing or (n in summary.get("unavailable", []) and n not in wanted)]
    asked = [name for name in wanted if name not in missing]
    sample = _sample_rows(holes)
    for method, name in names.items():
        inpainter = load(method, device)
        weights = weights_hash(inpainter.network)
        there = summary["methods"].get(name)
        before = there["metrics_scored"] if there and there["weights"] == weights else []
        scored = [n for n in METRICS if n in asked or (n in before and n not in missing)]
        if before and set(scored) <= set(before):
            continue
        started = time.perf_counter()
        rows, sets = _score(inpainter, images, holes, scored, partial(on_batch or _unheard, name))
        seconds = time.perf_counter() - started
        write_parquet(out / f"{name}.parquet", rows)
        _write_strip(out / f"{name}.png", inpainter, images, holes, sample)
        summary["methods"][name] = {
            "weights": weights,
            "metrics_scored": scored,
            "metrics": {**summarise(rows), **sets},
            "by_coverage": {label: summarise(part) for label, part in _groups(rows, coverage_label(rows["coverage"]))},
            "by_class": {label: summarise(part) for label, part in _groups(rows, rows["class"])} if images.classes else {},
            "seconds": round(seconds, 1),
            "parameters": sum(p.numel() for p in inpainter.network.parameters()),
            "model": inpainter.config,
            "training": _training(method),
            **_environment(inpainter.device),
        }
        _write_summary(out, summary)
    _write_truth(out, images, holes, sample)
    _write_summary(out, summary)
    if metrics and missing:
        raise next(iter(missing.values()))
    return summary_file(out)


def _unheard(method: str, done: int, of: int) -> None:
    pass


# --- One method ------------------------------------------------------------------------------------------------------


def _score(
    inpainter: Inpainter, images: Images, holes: Tensor, names: list[str], on_batch: Callable[[int, int], None]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The per-image table of a method, and its set metrics on the composited and the raw output."""
    device = inpainter.device
    per_image = {n: make(device) for n in names if (make := METRICS[n].per_image)}
    of_sets = {n + suffix: new(device) for n in names if (new := METRICS[n].of_sets) for suffix in ("", "_raw")}
    columns: dict[str, list[Tensor]] = {}
    for start, image, hole in _batches(images, holes, device):
        raw = inpainter.raw(image, hole)
        filled = composite(image, raw, hole)
        empty = hole.sum((1, 2, 3)) == 0
        for name in names:
            for column, value in _values(name, per_image.get(name), filled, raw, image, hole).items():
                # Where nothing was filled there is nothing to judge.
                columns.setdefault(column, []).append(value.masked_fill(empty, torch.nan).cpu())
        for name, set_metric in of_sets.items():
            set_metric.update(raw if name.endswith("_raw") else filled, image)
        on_batch(min(start + BATCH, len(images)), len(images))
    known = {
        "row": images.rows,
        "name": images.names,
        "class": [images.classes[i] if i >= 0 and images.classes else "" for i in images.labels],
        "coverage": holes.float().mean((1, 2, 3)).numpy(),
    }
    table = pd.DataFrame({**known, **{name: torch.cat(parts).numpy() for name, parts in columns.items()}})
    return table, {name: {"mean": metric.compute(), "n": len(images)} for name, metric in of_sets.items()}


def _values(
    name: str, per_image: Callable[[Tensor, Tensor], Tensor] | None, filled: Tensor, raw: Tensor, image: Tensor, hole: Tensor
) -> dict[str, Tensor]:
    """One metric of a batch on the composited image, on the raw output and, where it has a map, inside the hole."""
    metric = METRICS[name]
    if metric.pixels is not None:
        inside, whole = metric.pixels(filled, image), metric.pixels(raw, image)
        return {
            name: metric.finish(mean_over(inside, None)),
            f"{name}_raw": metric.finish(mean_over(whole, None)),
            f"{name}_hole": metric.finish(mean_over(inside, hole)),
        }
    return {name: per_image(filled, image), f"{name}_raw": per_image(raw, image)} if per_image else {}


def _batches(images: Images, holes: Tensor, device: torch.device) -> Iterator[tuple[int, Tensor, Tensor]]:
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        yield start, to_image(np.array(images.pixels[part])).to(device), holes[part].float().to(device)


def _unavailable(names: list[str]) -> dict[str, WeightsMissing]:
    """The metrics whose weights are missing, each with the error that says where they are looked for."""
    missing: dict[str, WeightsMissing] = {}
    for name in names:
        try:
            if make := METRICS[name].of_sets or METRICS[name].per_image:
                make(torch.device("cpu"))
        except WeightsMissing as error:
            missing[name] = error
    return missing


# --- Numbers ---------------------------------------------------------------------------------------------------------


def summarise(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Mean, 95 % bootstrap interval over images and n of every metric column; rows without a value are left out."""
    names = [c for c in rows.columns if c.split("_")[0] in METRICS]
    summary: dict[str, dict[str, Any]] = {}
    for count, columns in _by_valid(rows[names]):
        values = columns.to_numpy(np.float64)
        low, high = bootstrap(values)
        for i, name in enumerate(columns.columns):
            summary[name] = {"mean": _finite(values[:, i].mean()), "low": _finite(low[i]), "high": _finite(high[i]), "n": count}
    return {name: summary[name] for name in names}


def _by_valid(table: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """The columns grouped by which rows they have a value in: each group is resampled at once."""
    valid = table.notna()
    for pattern in {tuple(valid[c]) for c in table.columns}:
        columns = [c for c in table.columns if tuple(valid[c]) == pattern]
        kept = table.loc[np.array(pattern, np.bool_), columns]
        if len(kept):
            yield len(kept), kept
        else:
            yield 0, pd.DataFrame({c: [math.nan] for c in columns})


def bootstrap(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5th and 97.5th percentile of the mean of resampled rows of (n, m) values, each (m,)."""
    n = len(values)
    means = np.empty((resamples, values.shape[1]))
    for i in range(resamples):
        counts = np.bincount((uniform(n, seed, i) * n).astype(np.int64), minlength=n)
        means[i] = counts @ values / n
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def coverage_label(coverage: "pd.Series[float]") -> "pd.Series[str]":
    """The coverage bin of each image, such as "10–20 %"; a bin holds its upper edge."""
    labels = [f"{low:.0%}–{high:.0%}".replace("%–", "–").replace("%", " %") for low, high in pairwise(BINS)]
    labels += ["over 60 %"]
    # Rounded, because a coverage is a multiple of 1/pixels in float32, and 0.1 is neither.
    place = np.searchsorted(BINS[1:], np.round(coverage.to_numpy(np.float64), 6), side="left")
    return pd.Series([labels[i] for i in place], index=coverage.index)


def _groups(rows: pd.DataFrame, key: "pd.Series[str]") -> Iterator[tuple[str, pd.DataFrame]]:
    for label, part in rows.groupby(key, sort=True):
        yield str(label), part


def _finite(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None


# --- Files -----------------------------------------------------------------------------------------------------------


def summary_file(out: str | Path) -> Path:
    """The summary of the evaluation in the folder `out`: beside it, with .json."""
    return Path(f"{out}.json")


def read_summary(out: str | Path) -> dict[str, Any]:
    """The summary of an evaluation, by its folder or its .json. Raises InputError when it is not one."""
    file = summary_file(str(out).removesuffix(".json"))
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        return {**summary, "protocol": dict(summary["protocol"]), "methods": dict(summary["methods"])}
    except FileNotFoundError:
        raise InputError(f"there is no result {file}. Make one with 'mend evaluate RUN… --out {out}'.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no result of 'mend evaluate': {error}.") from None


def _open_summary(out: Path, protocol: Protocol, images: Images, mask_hash: str) -> dict[str, Any]:
    what: dict[str, Any] = {
        "protocol": json.loads(json.dumps(asdict(protocol))),
        "n": len(images),
        "fingerprint": images.fingerprint,
        "mask_set": mask_hash,
        "definitions": {m.title: m.definition for m in METRICS.values()},
    }
    if not summary_file(out).exists():
        return {**what, "methods": {}}
    there = read_summary(out)
    differs = [key for key in ("n", "fingerprint", "mask_set") if there.get(key) != what[key]]
    differs += ["policy"] if there["protocol"]["policy"] != what["protocol"]["policy"] else []
    if there["protocol"]["name"] != protocol.name or differs:
        raise InputError(
            f"{summary_file(out)} holds another protocol, data or mask set ({', '.join(differs) or 'name'} differ). "
            "Choose another --out."
        )
    return {**what, "methods": there["methods"], "unavailable": there.get("unavailable", [])}


def _write_summary(out: Path, summary: dict[str, Any]) -> None:
    write_bytes(summary_file(out), json.dumps(summary, indent=1, ensure_ascii=False).encode() + b"\n")


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


def _sample_rows(holes: Tensor) -> np.ndarray:
    """Images for the strips: evenly spaced over the coverages, from the first 500, so that none is chosen by looking."""
    coverage = holes[:500].float().mean((1, 2, 3)).numpy()
    order = np.argsort(coverage, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(SAMPLES, len(order))).astype(np.int64)]


def _write_strip(file: Path, inpainter: Inpainter, images: Images, holes: Tensor, rows: np.ndarray) -> None:
    image = to_image(np.array(images.pixels[rows])).to(inpainter.device)
    hole = holes[rows].float().to(inpainter.device)
    filled = composite(image, inpainter.raw(image, hole), hole)
    write_image(file, grid([to_pixels(filled)], gap=0))


def _write_truth(out: Path, images: Images, holes: Tensor, rows: np.ndarray) -> None:
    image, hole = to_image(np.array(images.pixels[rows])), holes[rows].float()
    strips = {"original": image, "mask": hole.expand(-1, 3, -1, -1), "masked input": mask_out(image, hole)}
    for name, strip in strips.items():
        write_image(out / f"{name}.png", grid([to_pixels(strip)], gap=0))
