"""What a run depends on, and the recipes: named files that say what differs from the defaults, and why."""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mend.errors import InputError, nearest, unknown

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on. A field is a flag, a recipe key and an entry of the run's config.toml."""

    data: str
    """Source of images: cifar10, photos, hub:owner/name[:column], or a folder."""
    masks: str
    """A mask set, or a folder with a train and a test mask set; with --crop also strokes, boxes, borders, or several: a,b,c."""
    model: str = "unet-aspp"
    """autoencoder, unet, unet-simple, unet-aspp, pyramid or structure."""
    width: int = 64
    """Channels at full resolution."""
    start: str | None = None
    """A model or run folder whose weights are the first ones; fresh ones otherwise."""
    hole_channel: bool = False
    """Show the hole to the encoder as a fourth channel."""
    size: int | None = None
    """Cut every picture to its central square and scale it to this side, in pixels."""
    crop: int | None = None
    """Stream random crops of this side, in pixels, from a folder of large pictures."""
    zoom: float = 1.0
    """With --crop: shrink a part up to so many times as large to the crop, and as likely any factor between."""
    crops: int = 1
    """With --crop: crops of every picture in an epoch."""
    set_aside: int = 0
    """With --crop: so many pictures, those of the smallest SHA-256, are kept for a test; none is chosen by its name then."""
    ramp: int = 0
    """With --crop: epochs over which the largest drawn holes grow from 10 % of a crop to 50 %."""
    grow: float = 0.0
    """With --crop: grow borrowed masks by up to this share of a crop's side."""
    workers: int = 2
    """Processes that read pictures; with --crop only."""
    epochs: int = 15
    """Passes over the training images."""
    batch_size: int = 128
    """Images a step, over all processes."""
    lr: float = 1e-3
    """Adam's learning rate."""
    schedule: str = "constant"
    """Learning rate over time: constant or cosine (to zero)."""
    loss: dict[str, float] = field(default_factory=lambda: {"mse": 1.0})
    """Weight of each loss term."""
    feature_network: str | None = None
    """Folder of a transformers MobileNetV2; the loss term features compares what it sees."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is judged and saved; 0 for none."""
    precision: str = "auto"
    """auto, bf16 or fp32; auto is bf16 where the processor has it."""
    compile: bool = False
    """Compile the network first (torch.compile)."""
    seed: int = 0
    """Of the weights and of the order of the images."""

    def __post_init__(self) -> None:
        """Raise InputError for a value that no run can have."""
        positive = (
            "width",
            "epochs",
            "batch_size",
            "lr",
            "crops",
            *(n for n in ("size", "crop") if getattr(self, n) is not None),
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected a number above 0.")
        for name in ("seed", "workers", "set_aside", "ramp"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        if not self.zoom >= 1:
            raise InputError(f"zoom is {self.zoom:g}; expected 1 (crops as they are) or more.")
        if not 0 <= self.grow < 1:
            raise InputError(f"grow is {self.grow:g}; expected a share of a crop's side, from 0 (as they are) to below 1.")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema is {self.ema:g}; expected a decay from 0 (none) to below 1, such as 0.999.")
        if self.size and self.crop:
            raise InputError("size and crop exclude each other: size scales whole pictures, crop cuts them.")
        for name, known in (("precision", ("auto", "bf16", "fp32")), ("schedule", ("constant", "cosine"))):
            value = getattr(self, name)
            if value not in known:
                raise unknown(name, value, known)
        if not self.loss or not all(weight >= 0 for weight in self.loss.values()):
            raise InputError(f"the loss is {self.loss}; expected at least one term, with weights of 0 or more.")


def read_recipe(name: str | Path) -> dict[str, Any]:
    """The keys of a recipe, by the name of a shipped one or by file. An unknown name or key raises InputError."""
    return read_toml(name, FOLDER, "recipe", [f.name for f in fields(TrainConfig)])


def read_toml(name: str | Path, folder: Path, kind: str, keys: list[str]) -> dict[str, Any]:
    """The values of a TOML file: `name`.toml in `folder`, or a path that ends in .toml; only these keys may be in it."""
    file = Path(name) if str(name).endswith(".toml") else folder / f"{name}.toml"
    if not file.exists():
        known = sorted(p.stem for p in folder.glob("*.toml"))
        raise InputError(
            f"unknown {kind} {str(name)!r}.{nearest(str(name), known)} Known: {', '.join(known)}, or a .toml file."
        )
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no TOML: {error}.") from None
    for key in values:
        if key not in keys:
            raise InputError(f"unknown key {key!r} in {file.name}.{nearest(key, keys)} Known: {', '.join(keys)}.")
    return values
