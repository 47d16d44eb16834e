"""What is scored: a network, a classical filler, or a folder of pictures that any program filled."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mend.data.loaders import to_image
from mend.errors import InputError, nearest
from mend.evaluate.pictures import SHARED
from mend.evaluate.protocol import Protocol, Scenes, folder_fillings
from mend.filling.load import load_filler
from mend.images import mask_out, read_rgb
from mend.inpaint.classical import CLASSICAL
from mend.models.checkpoint import model_folder
from mend.models.device import find_device

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


def method_names(methods: Sequence[str]) -> dict[str, str]:
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
    taken = sorted({name for name in names.values() if name in SHARED})
    if taken:
        raise InputError(f"a run's folder names its method, and {', '.join(taken)} is taken; rename the folder.")
    doubles = {n for n in names.values() if list(names.values()).count(n) > 1}
    if doubles:
        raise InputError(f"two methods are called {', '.join(sorted(doubles))}; rename one of the run folders.")
    return names


def network_method(method: str, name: str, protocol: Protocol, scenes: Scenes, device: str) -> Method:
    """A run, a model folder or a classical filler. InputError for one that was trained on the pictures it is scored on."""
    filler = load_filler(method, device)
    if protocol.whole and scenes.source == "photos" and filler.config.get("trained", {}).get("data") == "photos":
        raise InputError(
            f"{name} was trained on the photographs of {protocol.name}. Train it on others, or evaluate on others."
        )

    def fill(_: np.ndarray, image: Tensor, hole: Tensor) -> Tensor:
        raw = filler(mask_out(image, hole).numpy(force=True), hole.numpy(force=True))
        return torch.from_numpy(raw).to(image.device)

    facts = {
        "parameters": filler.parameters,
        "model": filler.config,
        "training": _training(method),
    }
    return Method(name, filler.version, fill, facts, find_device(device))


def _training(method: str) -> list[dict[str, float]]:
    """The learning curve of a run, empty for a model without one."""
    file = Path(method) / "metrics.csv"
    return json.loads(pd.read_csv(file).to_json(orient="records")) if file.exists() else []


def folder_method(folder: str | Path, truth: str | Path, scenes: Scenes, device: torch.device) -> Method:
    """The pictures of a folder as fillings of those in `truth`. InputError where they cannot be that."""
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
