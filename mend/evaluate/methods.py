"""What is scored: a network, a classical filler, or a folder of pictures that any program filled."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mend.data.loaders import to_image
from mend.errors import InputError, suggest_nearest
from mend.evaluate.pictures import SHARED
from mend.evaluate.protocol import Protocol
from mend.evaluate.reading import make_scored_reader
from mend.evaluate.scenes import Scenes, index_pictures, pair_files
from mend.filling.load import load_filler
from mend.images import mask_out
from mend.inpaint.classical import CLASSICAL
from mend.inpaint.contracts import NETWORKS
from mend.inpaint.folder import Model, require_model
from mend.inpaint.networks import is_network

OURS = {"mend": False, "mend-smooth": True}  # what `mend fill` does, and what it does with --smooth

Fill = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Places (B,), masked (B, 3, H, W) and hole (B, 1, H, W), float32, to raw (B, 3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class Method:
    """What is scored, and what the result says of it. `weights` changes when its output may; `reads`: it reads what was filled,
    which several threads may do at once."""

    name: str
    weights: str
    fill: Fill
    model: Model
    parameters: int = 0
    training: Sequence[dict[str, float | None]] = ()
    reads: bool = False


def name_methods(methods: Sequence[str]) -> dict[str, str]:
    """What to load, and what it is called in the table: a run by its folder's name. Checks that each exists."""
    names = {method: _name(method) for method in methods}
    taken = sorted({name for method, name in names.items() if name in SHARED or (name in OURS and method != name)})
    if taken:
        raise InputError(f"a run's folder names its method, and {', '.join(taken)} is taken; rename the folder.")
    for name in names.values():
        if len(alike := [method for method, called in names.items() if called == name]) > 1:
            raise InputError(
                f"{' and '.join(alike)} would both be called {name} in the table: a run has the name of its folder, whatever "
                "link leads to it. Rename the folder, or leave one out."
            )
    return names


def _name(method: str) -> str:
    if method in (*OURS, *CLASSICAL, *NETWORKS):
        return method
    if is_network(method):
        if not Path(method).is_file():
            raise InputError(f"{method} does not exist. Give an ONNX or a TorchScript file, or one of {', '.join(NETWORKS)}.")
        return Path(method).stem
    if not Path(method).exists() and "/" not in method:
        known = [*OURS, *CLASSICAL, *NETWORKS]
        raise InputError(
            f"unknown method {method!r}: no such run.{suggest_nearest(method, known)} mend itself: {', '.join(OURS)}. "
            f"Classical: {', '.join(CLASSICAL)}. Networks of others: {', '.join(NETWORKS)}."
        )
    folder = require_model(method).resolve()
    return folder.parent.name if folder.name == "model" else folder.name


def load_filler_method(method: str, name: str, protocol: Protocol, scenes: Scenes, device: str) -> Method:
    """mend itself (`mend`, `mend-smooth`), a run, a model folder, a classical filler, or a network of others.

    Raises InputError for one that was trained on the pictures it is scored on.
    """
    filler = load_filler(None, device, smooth=OURS[method]) if method in OURS else load_filler(method, device)
    model = Model(model=method) if method in OURS else filler.config  # the two have the same network, and are not its trainings
    if protocol.whole and scenes.source == "photos" and model.trained and model.trained.data == "photos":
        raise InputError(
            f"{name} was trained on the photographs of {protocol.name}. Train it on others, or evaluate on others."
        )
    return Method(
        name, filler.version, lambda _, masked, hole: filler(masked, hole), model, filler.parameters, _read_curve(method)
    )


def _read_curve(method: str) -> list[dict[str, float | None]]:
    """The learning curve of a run, empty for a model without one."""
    file = Path(method) / "metrics.csv"
    return json.loads(pd.read_csv(file).to_json(orient="records")) if file.exists() else []


def load_folder_method(folder: str | Path, truth: str | Path, scenes: Scenes) -> Method:
    """The pictures of a folder as fillings of those in `truth`. InputError where they cannot be that."""
    pictures = index_pictures(truth)
    originals, files, read = list(pictures.values()), list(pair_files(truth, pictures, folder).values()), make_scored_reader()

    def fill(places: np.ndarray, masked: np.ndarray, hole: np.ndarray) -> np.ndarray:
        pictures = [read(files[i], originals[i]) for i in places]
        for i, picture in zip(places, pictures, strict=True):
            if picture.shape[:2] != scenes.sizes[i]:
                (height, width), (h, w) = picture.shape[:2], scenes.sizes[i]
                raise InputError(
                    f"{files[i]} is {width}×{height}, its original {w}×{h} (width×height). Scale neither; crop neither."
                )
        return to_image(np.stack(pictures)).numpy()

    _check_known(Path(folder), fill, scenes)
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return Method(Path(folder).resolve().name, digest.hexdigest(), fill, Model(model="folder"), reads=True)


def _check_known(folder: Path, fill: Fill, scenes: Scenes) -> None:
    """What surrounds the holes tells whether masks are inverted, channels swapped, values scaled, or files not those of the
    originals. InputError when they are."""
    straight, swapped, inside, brightest, count = 0.0, 0.0, 0.0, 0.0, 1
    some = [int(i) for i in np.linspace(0, len(scenes) - 1, min(50, len(scenes)))]
    for part, image, hole in scenes.part(some).batches():
        filled = torch.from_numpy(fill(np.array(some)[part], mask_out(image, hole).numpy(), hole.numpy()))
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
