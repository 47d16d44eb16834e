"""What a run depends on, and the recipes: named files that say what differs from the defaults, and why."""

import json
import math
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from mend.data.assets import read_toml
from mend.errors import InputError, make_unknown_error

Precision = Literal["auto", "bf16", "fp16", "fp32"]
Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on. A field is a flag of `mend train`, a recipe key and an entry of the run's config.toml."""

    data: str
    """The pictures: cifar10; photos, which come with mend; hub:owner/name[:column], of the Hugging Face Hub; or a folder."""
    masks: str
    """A folder that 'mend masks' made; with crop also {drawn}, or several of them: a,b,c."""
    model: str = "unet-aspp"
    """The network: {networks}."""
    width: int = 64
    """Channels of the network at full resolution."""
    start: str | None = None
    """A folder that 'mend train' made, with whose weights to start. Default: random ones."""
    hole_channel: bool = False
    """Show the hole to the encoder as a fourth channel."""
    size: int | None = None
    """Crop every picture to its central square and scale it to this many pixels a side."""
    crop: int | None = None
    """Train on random crops of this many pixels a side, from a folder of large pictures."""
    zoom: float = 1.0
    """With crop: scale pictures down by a random factor, up to this one, before they are cropped."""
    crops: int = 1
    """With crop: how many crops of each picture an epoch takes."""
    set_aside: int = 0
    """With crop: keep this many pictures for a test, those with the smallest SHA-256, whatever their names."""
    ramp: int = 0
    """With crop: the largest drawn holes grow from 10 % of a crop to 50 % over this many epochs."""
    grow: float = 0.0
    """With crop: enlarge masks that come from a mask set by up to this share of a crop's side."""
    workers: int = 2
    """With crop: processes that read pictures; 0 reads them in the training process itself."""
    epochs: int = 15
    """Passes over the training pictures. With a constant schedule, a higher number continues a finished run."""
    batch_size: int = 128
    """Pictures in a step, of all processes together."""
    lr: float = 1e-3
    """Adam's learning rate."""
    schedule: Schedule = "constant"
    """How the learning rate changes over time; cosine ends at zero."""
    loss: dict[str, float] = field(default_factory=lambda: {"mse": 1.0})
    """Weight of each loss term, such as --loss.mse 1: {losses}."""
    feature_network: str | None = None
    """For the loss term features: folder of a DeepLabV3 on MobileNetV2, in the format of the library transformers."""
    ema: float = 0.0
    """Decay of a moving average of the weights, which is then what is validated and saved; 0 for none."""
    precision: Precision = "auto"
    """Number format of the computation; auto takes bf16 if the device has it, else fp16 on a GPU and fp32 on a CPU."""
    compile: bool = False
    """Compile the network before training (torch.compile)."""
    seed: int = 0
    """Random seed of the first weights and of the order of the pictures."""

    def __post_init__(self) -> None:
        """Raise InputError for a value that no run can have."""
        for name, value in asdict(self).items():
            if name in ("width", "epochs", "batch_size", "lr", "crops", "size", "crop") and value is not None and not value > 0:
                raise InputError(f"`{name}` is {value}; expected a number above 0.")
            if name in ("seed", "workers", "set_aside", "ramp") and value < 0:
                raise InputError(f"`{name}` is {value}; expected 0 or more.")
        if not self.zoom >= 1:
            raise InputError(f"`zoom` is {self.zoom:g}; expected 1 (crops as they are) or more.")
        if not 0 <= self.grow < 1:
            raise InputError(f"`grow` is {self.grow:g}; expected a share of a crop's side, from 0 (as they are) to below 1.")
        if not 0 <= self.ema < 1:
            raise InputError(f"`ema` is {self.ema:g}; expected a decay from 0 (none) to below 1, such as 0.999.")
        if self.size and self.crop:
            raise InputError("`size` and `crop` exclude each other: `size` scales whole pictures, `crop` cuts them.")
        for name, value, known in (("precision", self.precision, Precision), ("schedule", self.schedule, Schedule)):
            if value not in get_args(known):
                raise make_unknown_error(name, value, get_args(known))
        if not any(self.loss.values()) or not all(0 <= weight < math.inf for weight in self.loss.values()):
            raise InputError(f"the loss is {self.loss}; expected weights of 0 or more, one of them above 0.")


def check_run(config: TrainConfig, out: str | Path) -> None:
    """Raise InputError where the folder `out` holds a run of another configuration. With more epochs it is the same run, which
    goes on, where the learning rate is constant."""
    file = Path(out) / "config.toml"
    if not file.exists():
        return
    defaults = asdict(TrainConfig("", ""))  # for what a run of an earlier version did not know yet
    there = {**defaults, **_read(file)}
    now = asdict(config)
    differs = [
        f"{key} is {there.get(key)!r} there and {now.get(key)!r} now"
        for key in sorted({*there, *now})
        if there.get(key) != now.get(key)
    ]
    if not differs or (len(differs) == 1 and config.schedule == "constant" and config.epochs > there["epochs"]):
        return
    if len(differs) == 1 and config.epochs > there["epochs"]:
        raise InputError(
            f"{out} is a run of {there['epochs']} epochs by the schedule {config.schedule}, which ends at a learning rate of "
            f"zero: {config.epochs} epochs are another training from the first step on. Choose another `out`."
        )
    raise InputError(f"{out} is a run of another configuration: {'; '.join(differs)}. Choose another `out`.")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is damaged: {error}. Restore it, or choose another `out`.") from None


def write_config(config: TrainConfig, out: Path) -> None:
    """Write the run's config.toml, and more epochs into its model's record too. InputError as `check_run`."""
    import tomli_w

    from mend.images import write_bytes  # which imports numpy, and a list of flags needs none

    check_run(config, out)
    values = {key: value for key, value in asdict(config).items() if value is not None}
    file, model = out / "config.toml", out / "model" / "config.json"
    if not file.exists():
        write_bytes(file, tomli_w.dumps(values).encode())
        return
    there = _read(file)
    if there.get("epochs") == config.epochs:
        return
    write_bytes(file, tomli_w.dumps({**there, "epochs": config.epochs}).encode())
    if model.exists():
        from mend.models.checkpoint import write_record  # which imports PyTorch

        record = json.loads(model.read_text(encoding="utf-8"))
        record["trained"]["config"]["epochs"] = config.epochs
        write_record(model.parent, record)


def read_recipe(name: str | Path) -> dict[str, Any]:
    """The keys of a recipe, by the name of a shipped one or by file. An unknown name or key raises InputError."""
    if name == "seed":
        name = "reference"  # whose name it was in version 0.1
    return read_toml(name, "recipe", [f.name for f in fields(TrainConfig)])
