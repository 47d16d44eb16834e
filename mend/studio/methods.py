"""What the page offers to fill with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mend.errors import InputError
from mend.inpaint.classical import CLASSICAL
from mend.inpaint.contracts import NETWORKS
from mend.inpaint.networks import is_network

WHAT = {  # classical fillers in so few words that the list is as wide, those that look best first
    "telea": "quick, for scratches",
    "biharmonic": "smooth, but slow",
    "harmonic": "smooth",
    "navier-stokes": "for scratches",
    "mean-colour": "one flat colour",
}


@dataclass(frozen=True)
class Method:
    """A model as `mend fill` has it, None for the network in the box, and in a few words `what` it is."""

    model: str | None
    what: str
    smooth: bool = False

    @property
    def process(self) -> str:
        """Of the worker that does it: a network has its own, the classical fillers, which load nothing, have one together."""
        return "classical" if self.model in CLASSICAL else str(self.model)

    def options(self, device: str) -> dict[str, Any]:
        """The options of `mend fill` that choose it."""
        return {"model": self.model, "smooth": self.smooth, "device": device}


def list_methods(models: list[str]) -> dict[str, Method]:
    """What the page calls each method: those named, the network in the box, the classical.

    A model is a run folder, a model folder, or a network of somebody else: its file, or its name where it was fetched before.
    Nothing is loaded: the page is there meanwhile. A run folder whose model is still to come is watched, and offers nothing.
    """
    found: dict[str, Method] = {}
    for model in models:
        path = Path(model)
        if model in NETWORKS:
            found[model] = Method(model, "a network of others")
        elif path.is_file() and is_network(path):
            found[path.stem if path.stem not in found else model] = Method(str(path.resolve()), "a network of others")
        elif any((path / part / "config.json").is_file() for part in ("", "model")):
            name = path.resolve().name
            found[name if name not in found else model] = Method(str(path.resolve()), "a network of yours")
        elif not (path / "config.toml").is_file():
            raise InputError(
                f"there is no model in {model}: expected a run folder, which holds config.toml, a model folder, which holds "
                f"config.json, a network's file, .onnx or .pt, or one of {', '.join(NETWORKS)}."
            )
    ours = {
        "mend": Method(None, "structure and texture"),
        "mend, smooth": Method(None, "structure alone", smooth=True),
        **{name: Method(name, WHAT.get(name, "without a network")) for name in {**WHAT, **CLASSICAL}},
    }
    return found | {name if name not in found else f"{name} (built in)": method for name, method in ours.items()}
