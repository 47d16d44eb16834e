"""What the page offers to fill with."""

from dataclasses import dataclass
from pathlib import Path

from mend.errors import InputError

DEFAULT = Path(__file__).parents[1] / "assets" / "pyramid"  # `mend.inpaint.DEFAULT`, without PyTorch
CLASSICAL = ("telea", "biharmonic", "navier-stokes", "mean-colour")  # of `mend.classical`, those that look best first


@dataclass(frozen=True)
class Method:
    """What `mend.load` is called with."""

    model: str
    texture: bool = False


def offered(folders: list[str]) -> dict[str, Method]:
    """What the page calls each method: those named, the default where it is, the classical.

    Without PyTorch, which the processes that fill import; the page is there meanwhile.
    """
    found: dict[str, Method] = {}
    for folder in folders:
        if not any((Path(folder) / part / "config.json").is_file() for part in ("", "model")):
            raise InputError(
                f"there is no model in {folder}: expected a run folder or a model folder, which holds config.json."
            )
        name = Path(folder).resolve().name
        found[name if name not in found else folder] = Method(folder)
    if (DEFAULT / "config.json").exists():
        found |= {"mend": Method(str(DEFAULT)), "mend with texture": Method(str(DEFAULT), texture=True)}
    return found | {name: Method(name) for name in CLASSICAL}
