"""What the page offers to fill with."""

from dataclasses import dataclass
from pathlib import Path

from mend.errors import InputError
from mend.inpaint.onnx import DEFAULT

CLASSICAL = {  # of `mend.inpaint.classical`, those that look best first
    "telea": "quick, smooth, for scratches",
    "biharmonic": "smoothest, but slow",
    "navier-stokes": "quick, for scratches",
    "mean-colour": "one flat colour",
}


@dataclass(frozen=True)
class Method:
    """What `mend.load` is called with, and in a few words `what` it is."""

    model: str
    what: str
    texture: bool = False

    @property
    def process(self) -> str:
        """Of the worker that does it: a network has its own, the classical fillers, which load nothing, have one together."""
        return "classical" if self.model in CLASSICAL else self.model


def offered(folders: list[str]) -> dict[str, Method]:
    """What the page calls each method: those named, the default where it is, the classical.

    Without PyTorch, which the processes that fill import; the page is there meanwhile. A run folder whose model is still to
    come is watched, and offers nothing.
    """
    found: dict[str, Method] = {}
    for folder in folders:
        if any((Path(folder) / part / "config.json").is_file() for part in ("", "model")):
            name = Path(folder).resolve().name
            found[name if name not in found else folder] = Method(str(Path(folder).resolve()), "a network of yours")
        elif not (Path(folder) / "config.toml").is_file():
            raise InputError(
                f"there is no model in {folder}: expected a run folder, which holds config.toml, or a model folder, which "
                "holds config.json."
            )
    ours = {name: Method(name, what) for name, what in CLASSICAL.items()}
    if (DEFAULT / "config.json").exists():
        network = {
            "mend": Method(str(DEFAULT), "network, for large holes"),
            "mend with texture": Method(str(DEFAULT), "for grass, stone", texture=True),
        }
        ours = network | ours
    return found | {name if name not in found else f"{name} (built in)": method for name, method in ours.items()}
