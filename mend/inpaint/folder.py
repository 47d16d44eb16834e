"""A model folder: `config.json`, which rebuilds the network, and `model.safetensors`, its weights; found without PyTorch."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mend.errors import InputError

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a network's weights came about, as far as that was recorded."""

    data: str = ""
    fingerprint: str = ""
    masks: str = ""
    mask_set: str = ""  # SHA-256 of the mask set it was trained with; "" for drawn masks
    images: int = 0
    commit: str = ""
    torch: str = ""
    config: dict[str, Any] = field(default_factory=dict[str, Any])  # of its `TrainConfig`; an older one lacks some keys
    epoch: int = 0
    seconds: float = 0.0
    device: str = ""
    validation: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class Model:
    """What fills: the network `build(model, **options)` of `mend.models`, a classical filler, a folder, or a network of others.

    `version` counts the formats of config.json.
    """

    version: int | None = None
    model: str
    options: dict[str, int] = field(default_factory=dict[str, int])
    trained: Trained | None = None
    contract: dict[str, Any] | None = None  # of a network of others: licence, source, SHA-256 and what it expects

    @property
    def width(self) -> int:
        return self.options.get("width", 0)


def require_model(path: str | Path) -> Path:
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
    """As `require_model`; None where there is no model."""
    return next((folder for folder in (path, path / "model") if (folder / "config.json").is_file()), None)


def read_config(path: str | Path) -> Model:
    """What the `config.json` of a model or run folder says. InputError for what is none."""
    file = require_model(path) / "config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["version"] == VERSION:
            model = parse_model({key: values[key] for key in ("version", "model", "options", "trained")})
            if not all(isinstance(value, int) for value in model.options.values()):
                raise TypeError(f"its options are {model.options}; expected whole numbers")
            return model
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is no model configuration ({type(error).__name__}: {error}).") from None
    raise InputError(f"{file} is of version {values['version']}; this is mend for version {VERSION}.")


def parse_model(config: dict[str, Any]) -> Model:
    """A model as JSON has it; keys that mend does not know are left out."""
    trained = config.get("trained")
    known = {**_keep_known(Model, config), "trained": Trained(**_keep_known(Trained, trained)) if trained else None}
    return Model(**known)


def _keep_known(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    names = [one.name for one in fields(kind)]
    return {name: value for name, value in values.items() if name in names}
