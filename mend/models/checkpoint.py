"""The model folder: `config.json`, which rebuilds the network, and `model.safetensors`, its weights.

No pickle is ever loaded from a path that a person names.
"""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from mend.data.assets import ASSETS
from mend.errors import InputError
from mend.images import write_bytes
from mend.models import build
from mend.models.network import Network

VERSION = 1


def save_model(folder: str | Path, network: nn.Module, model: str, options: dict[str, Any], trained: dict[str, Any]) -> None:
    """Write the network `build(model, **options)` to `folder`; `trained` says how its weights came about."""
    folder = Path(folder)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    config = {"version": VERSION, "model": model, "options": options, "trained": trained}
    write_bytes(folder / "model.safetensors", save(weights))
    write_bytes(folder / "config.json", json.dumps(config, indent=2).encode() + b"\n")


def load_model(path: str | Path) -> tuple[Network, dict[str, Any]]:
    """The network in a model folder or a run folder, in evaluation mode on the CPU, and its config.

    Raises InputError for a missing folder, a damaged or foreign file, or weights that do not fit the config.
    """
    folder = model_folder(path)
    config = read_config(folder)
    network = build(config["model"], **config["options"])
    file = folder / "model.safetensors"
    try:
        network.load_state_dict(load_file(file))
    except FileNotFoundError:
        raise InputError(f"{file} is missing. A model folder holds config.json and model.safetensors.") from None
    except SafetensorError as error:
        raise InputError(
            f"{file} is no safetensors file, or is truncated: {error}. Other formats (pickles above all) are never loaded; "
            "copy the file again, or export the run again by repeating its 'mend train' command."
        ) from None
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise InputError(f"the weights in {file} do not fit its config.json ({config['model']}): {first}") from None
    if not all(value.isfinite().all() for value in network.state_dict().values()):
        raise InputError(f"the weights in {file} hold values that are not finite. Train the network again.")
    return network.eval().to(memory_format=torch.channels_last), config


def hash_weights(network: nn.Module) -> str:
    """SHA-256 over the names and bytes of a network's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_config(path: str | Path) -> dict[str, Any]:
    """The `config.json` of a model or run folder, checked."""
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


def model_folder(path: str | Path) -> Path:
    """The folder that holds the model: `path` itself, or its `model` folder when `path` is a run."""
    path = Path(path)
    for folder in (path, path / "model"):
        if (folder / "config.json").exists():
            return folder
    if not path.exists():
        raise InputError(f"there is no model in {path}: no such folder.")
    raise InputError(f"there is no model in {path}: expected config.json in it, or in its model folder (a run).")


def commit() -> str:
    """The commit of the checkout this package runs from, with `-dirty` where it was changed; "" outside a checkout."""
    root = ASSETS.parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        run = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return run.stdout.strip()
