"""A model folder: `config.json`, which rebuilds the network, and `model.safetensors`, its weights; found without PyTorch."""

import json
from pathlib import Path
from typing import Any, TypedDict

from mend.errors import InputError

VERSION = 1


class ModelConfig(TypedDict):
    """What `config.json` says: the network is `build(model, **options)`; `trained` is how its weights came about, and `version`
    counts the formats of the file."""

    version: int
    model: str
    options: dict[str, Any]
    trained: dict[str, Any]


def model_folder(path: str | Path) -> Path:
    """The folder that holds the model: `path` itself, or its `model` folder when `path` is a run. InputError where none is."""
    path = Path(path)
    if folder := find_model(path):
        return folder
    if not path.exists():
        raise InputError(f"there is no model in {path}: no such folder.")
    if path.is_file():
        raise InputError(f"{path} is no model: expected a run folder, a model folder, or a network's file, .onnx or .pt.")
    raise InputError(f"there is no model in {path}: expected config.json in it, or in its model folder (a run).")


def find_model(path: Path) -> Path | None:
    """As `model_folder`; None where there is no model."""
    return next((folder for folder in (path, path / "model") if (folder / "config.json").is_file()), None)


def read_config(path: str | Path) -> ModelConfig:
    """The `config.json` of a model or run folder, checked. InputError for what is none."""
    file = model_folder(path) / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        version = config["version"]
        if not {"model", "options", "trained"} <= set(config):
            raise KeyError("model, options or trained")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no model configuration ({type(error).__name__}: {error}).") from None
    if version != VERSION:
        raise InputError(f"{file} is of version {version}; this is mend for version {VERSION}.")
    return config
