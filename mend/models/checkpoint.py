"""A model folder written, and its network loaded (see `mend.inpaint.folder`).

No pickle is ever loaded from a path that a person names.
"""

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
from mend.inpaint.folder import VERSION, Model, read_config, require_model
from mend.models import build
from mend.models.network import Network


def save_model(folder: str | Path, network: nn.Module, model: str, options: dict[str, int], trained: dict[str, Any]) -> None:
    """Write the network `build(model, **options)` to `folder`; `trained` says how its weights came about."""
    folder = Path(folder)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    config = {"version": VERSION, "model": model, "options": options, "trained": trained}
    write_bytes(folder / "model.safetensors", save(weights))
    write_record(folder, config)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the config.json of a model folder."""
    write_bytes(folder / "config.json", json.dumps(record, indent=2).encode() + b"\n")


def load_model(path: str | Path) -> tuple[Network, Model]:
    """The network in a model folder or a run folder, in evaluation mode on the CPU, and what is on record of it.

    Raises InputError for a missing folder, a damaged or foreign file, or weights that do not fit the config.
    """
    folder = require_model(path)
    found = read_config(folder)
    network = build(found.model, **found.options)
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
        raise InputError(f"the weights in {file} do not fit its config.json ({found.model}): {first}") from None
    if not all(value.isfinite().all() for value in network.state_dict().values()):
        raise InputError(f"the weights in {file} hold values that are not finite. Train the network again.")
    return network.eval().to(memory_format=torch.channels_last), found


def find_commit() -> str:
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
