"""What a network of somebody else expects and returns: its contract, read from a TOML file.

Nothing in an ONNX file says whether white is 1 or 255, whether red or blue comes first, or whether the mask's 1 is the hole,
and networks that are used every day differ in that. One that is called the wrong way still returns a picture, a bad one. So a
contract says all of it, and `mend.inpaint.probe` compares it with what the network does.
"""

import json
import math
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mend.data.assets import ASSETS, read_toml
from mend.errors import InputError
from mend.images import write_bytes

DTYPES = ("float32", "float16", "uint8")
COLOURS = ("RGB", "BGR", "probe")
LARGEST = 1024
FLOAT32 = float(np.finfo(np.float32).max)
MOST = 8192  # pixels, of any side: the probe of a network that fixes it takes gigabytes already


@dataclass(frozen=True)
class Contract:
    """The contract of one network. The fields are the keys of its TOML file; those with a default may be left out.

    file          the file that it describes
    licence       of the weights, as those who made them give it
    image, mask   the inputs, by name, or by place from 0
    output        the output, by name or place
    dtype         of both inputs: float32, float16 or uint8
    colours       RGB or BGR, in and out; "probe" where nobody says: RGB, unless BGR fills clearly better
    image_range   the values of black and white in the image
    output_range  the values of black and white in the output
    mask_hole     the mask's value where the image is missing
    mask_known    the mask's value elsewhere
    fixed         the only side that images have, N×N; or
    multiple      images have sides that are multiples of this, 1 for any
    largest       with `multiple`: the longest side that it is given at once, which bounds its memory
    memory        bytes that it takes for each pixel that it is given at once; without it none can be promised
    grow          pixels by which the mask's hole is made larger, for a network that blends what lies under its rim into it
    keeps_known   whether known pixels come back, or nearly; false for one whose output counts in the hole only
    hub, source   its repository on the Hugging Face Hub, which is fetched from; another address, for people
    bytes, sha256 what the file is, checked before it is loaded. The hub's newest revision is fetched: the SHA-256 says which
                  file that must be, so a revision need not be named
    """

    file: str
    licence: str
    image: str | int
    mask: str | int
    output: str | int
    dtype: str
    colours: str
    image_range: tuple[float, float]
    output_range: tuple[float, float]
    mask_hole: float
    mask_known: float
    fixed: int | None = None
    multiple: int | None = None
    largest: int = LARGEST
    memory: int | None = None
    grow: int = 0
    keeps_known: bool = True
    hub: str | None = None
    source: str | None = None
    bytes: int | None = None
    sha256: str | None = None

    @property
    def side(self) -> int:
        """The longest side that the network is given."""
        return self.fixed or self.largest // self.step * self.step

    @property
    def step(self) -> int:
        """Sides are multiples of it."""
        return self.fixed or self.multiple or 1

    def encode(self, image: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inputs for an image (B, 3, H, W) in [0, 1] and its hole (B, 1, H, W). Zeros lie under the hole, whatever their
        meaning: it is what networks are trained with that are given the masked image."""
        low, high = self.image_range
        values = self._order(low + image * (high - low)) * (1 - hole)
        inside = grow_hole(hole, self.grow) > 0
        mask = np.where(inside, self.mask_hole, self.mask_known)
        if self.dtype == "uint8":
            values = np.rint(values)
        return np.ascontiguousarray(values, self.dtype), mask.astype(self.dtype)

    def decode(self, output: np.ndarray) -> np.ndarray:
        """The output (B, 3, H, W) as RGB, float32, black 0 and white 1, not cut to them."""
        low, high = self.output_range
        return np.ascontiguousarray(self._order((output.astype(np.float32) - low) / (high - low)))

    def _order(self, image: np.ndarray) -> np.ndarray:
        return image[:, ::-1] if self.colours == "BGR" else image


def write_contract(contract: Contract, toml: Path) -> None:
    """Write a contract to a TOML file, without the keys that have their default."""
    defaults = {field.name: field.default for field in fields(Contract)}
    keys = {key: value for key, value in asdict(contract).items() if value != defaults[key]}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in keys.items()]  # which TOML reads, too
    write_bytes(toml, "".join(lines).encode())


def grow_hole(hole: np.ndarray, pixels: int) -> np.ndarray:
    """The hole (B, 1, H, W), larger by so many pixels on every side, corners included."""
    square = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return np.stack([cv2.dilate(one[0], square)[None] for one in hole])


def read_contract(toml: str | Path) -> Contract:
    """The contract in a TOML file, or a shipped one by name. InputError for an unknown or a missing key, and for a value that
    is none."""
    values = read_toml(toml, "network", [field.name for field in fields(Contract)])
    name = Path(toml).name
    if not values.get("licence"):
        raise InputError(
            f'{name} has no licence. Write licence = "…", as those who made the weights give it: what you may do with them.'
        )
    needed = [field.name for field in fields(Contract) if field.default is MISSING]
    if missing := [key for key in needed if key not in values]:
        raise InputError(f"{name} has no {', no '.join(missing)}. A contract needs {', '.join(needed)}.")
    for key, value in values.items():
        fits, expected = _EXPECTED[key]
        if not fits(value):
            raise InputError(f"{key} in {name} is {value!r}; expected {expected}.")
    if ("fixed" in values) == ("multiple" in values):
        raise InputError(
            f"{name} must say either fixed, the only side that images have, or multiple, which all sides are of (1 for any)."
        )
    if "largest" in values and "fixed" in values:
        raise InputError(f"largest in {name} goes with multiple, not with fixed. Leave one out.")
    if (largest := values.get("largest", LARGEST)) < values.get("multiple", 1):
        raise InputError(f"multiple in {name} is {values['multiple']}, and largest {largest}; largest must not be below it.")
    if values["mask_hole"] == values["mask_known"]:
        raise InputError(f"mask_hole and mask_known in {name} are both {values['mask_hole']}; a mask has two values.")
    for key in ("image_range", "output_range"):
        values[key] = tuple(values[key])
    return Contract(**values)


def _make_whole_check(least: int, most: float = math.inf) -> Any:
    return lambda value: type(value) is int and least <= value <= most


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= FLOAT32  # infinity is none


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_place(value: Any) -> bool:
    return _is_text(value) or _make_whole_check(0)(value)


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


_SIDE = (_make_whole_check(16, MOST), f"a whole number of pixels, from 16 to {MOST}")
_EXPECTED: dict[str, tuple[Any, str]] = {
    "file": (_is_text, "a file's name"),
    "licence": (_is_text, "its name, such as Apache-2.0"),
    **dict.fromkeys(("image", "mask", "output"), (_is_place, "a name, or a place from 0")),
    "dtype": (DTYPES.__contains__, " or ".join(DTYPES)),
    "colours": (COLOURS.__contains__, " or ".join(COLOURS)),
    **dict.fromkeys(("image_range", "output_range"), (_is_range, "the values of black and white, such as [0, 255]")),
    **dict.fromkeys(("mask_hole", "mask_known"), (_is_number, "a number")),
    "fixed": _SIDE,
    "multiple": (_make_whole_check(1, MOST), f"a whole number of pixels, from 1 to {MOST}"),
    "largest": _SIDE,
    "memory": (_make_whole_check(1), "a whole number of bytes"),
    "grow": (_make_whole_check(0), "a whole number of pixels"),
    "keeps_known": (lambda value: isinstance(value, bool), "true or false"),
    "hub": (lambda value: _is_text(value) and value.count("/") == 1, "owner/name"),
    "source": (_is_text, "an address"),
    "bytes": (_make_whole_check(1), "a whole number"),
    "sha256": (_is_sha256, "64 hexadecimal digits in lower case"),
}

SHIPPED: dict[str, Contract] = {path.stem: read_contract(path) for path in sorted((ASSETS / "networks").glob("*.toml"))}
"""The contracts that come with mend, by name. The networks do not."""
NETWORKS: dict[str, Contract] = {name: contract for name, contract in SHIPPED.items() if contract.hub}
"""Those whose network is fetched when it is named."""
