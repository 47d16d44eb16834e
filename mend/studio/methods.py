"""What the page offers to fill with."""

from dataclasses import dataclass
from pathlib import Path

from mend.errors import InputError
from mend.inpaint.classical import CLASSICAL, is_installed
from mend.inpaint.contracts import NETWORKS, Contract
from mend.inpaint.download import find_fetched
from mend.inpaint.folder import find_model
from mend.inpaint.networks import is_network

WHAT = {  # of classical fillers, those that look best first; short, since the page shows them in a narrow list
    "telea": "quick, for scratches",
    "biharmonic": "smooth, but slow",
    "harmonic": "smooth",
    "navier-stokes": "for scratches",
    "mean-colour": "one flat colour",
}


@dataclass(frozen=True)
class Method:
    """A model as `mend fill` has it, None for the network that comes with mend, and in a few words `what` it is."""

    model: str | None
    what: str
    smooth: bool = False

    @property
    def process(self) -> str:
        """Of the worker that does it: a network has its own, the classical fillers, which load nothing, have one together."""
        return "classical" if self.model in CLASSICAL else str(self.model)

    def options(self, device: str) -> dict[str, str | bool | None]:
        """The options of `mend fill` that choose it."""
        return {"model": self.model, "smooth": self.smooth, "device": device}


def list_methods(models: list[str]) -> dict[str, Method]:
    """What the page calls each method: those named, the network that comes with mend, the classical.

    A model is a run folder, a model folder, or a network of somebody else: its file, or its name where it was fetched before.
    Nothing is loaded: the page is there meanwhile. A run folder whose model is still to come is watched, and offers nothing.
    Raises InputError for what is none of these, and for the name of a network that is not on this machine.
    """
    found: dict[str, Method] = {}
    for model in models:
        path = Path(model)
        if model in NETWORKS:
            _check_fetched(model, NETWORKS[model])
            found[model] = Method(model, "a network of others")
        elif path.is_file() and is_network(path):
            found[path.stem if path.stem not in found else model] = Method(str(path.resolve()), "a network of others")
        elif find_model(path):
            name = path.resolve().name
            found[name if name not in found else model] = Method(str(path.resolve()), "a network of yours")
        elif not (path / "config.toml").is_file():
            raise InputError(
                f"there is no model in {model}: expected a run folder, which holds config.toml, a model folder, which holds "
                f"config.json, a network's file, .onnx or .pt, or one of {', '.join(NETWORKS)}."
            )
    ours = {
        "mend": Method(None, "structure and texture"),
        "mend-smooth": Method(None, "structure alone", smooth=True),
        **{name: Method(name, WHAT.get(name, "without a network")) for name in {**WHAT, **CLASSICAL} if is_installed(name)},
    }
    return found | {name if name not in found else f"{name} (built in)": method for name, method in ours.items()}


def _check_fetched(name: str, contract: Contract) -> None:
    if find_fetched(contract) is None:
        raise InputError(
            f"{name} is not on this machine yet, and the studio fetches nothing. Fetch it once, by filling a picture with it: "
            f"'mend fill PHOTO --mask MASK --model {name}' ({contract.bytes or 0:,} bytes, licence {contract.licence}). "
            f"Then start the studio again. Or download {contract.file} by hand, and give its path instead of {name}."
        )
