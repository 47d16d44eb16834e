"""A protocol: which images are measured, each with which hole. Same protocol, same pixels, on any machine.

Images are told by their content, never by their place in a file, and masks are drawn from (seed, image): so neither the order
of a data set nor the number of workers changes a pixel. A protocol carries the SHA-256 of its images and of its masks.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from mend.data.assets import read_toml
from mend.data.random import uniform
from mend.errors import InputError, pick
from mend.masks.draw import DRAWN
from mend.masks.store import ObjectPolicy


@dataclass(frozen=True)
class Drawn:
    """Drawn masks: for each image `per_image` of them, their kinds and bins of coverage in turn from where its draw begins."""

    kinds: tuple[str, ...]
    bins: tuple[tuple[float, float], ...]
    per_image: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise InputError for kinds, bins or a number of masks that cannot be drawn."""
        for kind in self.kinds:
            pick(DRAWN, kind, "mask kind")
        right = [len(b) == 2 and 0 <= b[0] < b[1] <= 1 for b in self.bins]
        if not (self.kinds and right and all(right) and self.per_image >= 1):
            raise InputError(
                f"the masks cannot be drawn: kinds {self.kinds}, bins {self.bins}, per_image {self.per_image}. Expected kinds "
                'such as ["strokes"], bins such as [[0.1, 0.2], [0.2, 0.3]] (shares of the image), and a mask an image or more.'
            )

    def mask(self, height: int, width: int, image: str, i: int) -> np.ndarray:
        """The i-th mask of the image with this id, (H, W) bool."""
        key = int(image, 16)
        kind, place, within = uniform(3, self.seed, key)
        low, high = self.bins[(int(place * len(self.bins)) + i) % len(self.bins)]
        draw = DRAWN[self.kinds[(int(kind * len(self.kinds)) + i // len(self.bins)) % len(self.kinds)]]
        return draw(height, width, low + within * (high - low), self.seed, key, i)


@dataclass(frozen=True)
class Published:
    """A row of somebody else's table: numbers by metric, quoted beside ours, and where they stand."""

    name: str
    source: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Protocol:
    """What is measured on what. Masks are those of a mask set under an object policy, or `drawn`.

    `images_sha256` and `masks_sha256` pin both ("" pins nothing). `whole` takes photographs at their own sizes; of a folder the
    `set_aside` of the smallest SHA-256, where said, which training leaves out. `first` takes the first so many.
    """

    name: str
    title: str
    data: str
    metrics: tuple[str, ...]
    masks: str = ""
    policy: ObjectPolicy = field(default_factory=ObjectPolicy)
    drawn: Drawn | None = None
    whole: bool = False
    set_aside: int | None = None
    size: int | None = None
    first: int | None = None
    images_sha256: str = ""
    masks_sha256: str = ""
    published: tuple[Published, ...] = ()


def read_protocol(name: str) -> Protocol:
    """A protocol by the name of a shipped one, or a TOML file. Raises InputError for an unknown name or key."""
    values = read_toml(name, "protocol", [f.name for f in fields(Protocol)])
    try:
        return parse_protocol(values)
    except KeyError as missing:
        raise InputError(f"{name} is no protocol: {missing} is missing.") from None
    except TypeError as error:
        raise InputError(f"{name} is no protocol: {error}.") from None


def parse_protocol(values: dict[str, Any]) -> Protocol:
    """A protocol from a TOML file's values, or from those that a result carries."""
    drawn = values.get("drawn")
    if drawn is not None:
        drawn = Drawn(**{**drawn, "kinds": tuple(drawn["kinds"]), "bins": tuple(map(tuple, drawn["bins"]))})
    rows = [dict(row) for row in values.get("published", ())]
    return Protocol(
        **{
            **values,
            "metrics": tuple(values["metrics"]),
            "policy": ObjectPolicy(**values.get("policy", {})),
            "drawn": drawn,
            "published": tuple(Published(row.pop("name"), row.pop("source"), row) for row in rows),
        }
    )


def dump_protocol(protocol: Protocol) -> dict[str, Any]:
    """What `parse_protocol` takes."""
    rows = [{"name": row.name, **row.scores, "source": row.source} for row in protocol.published]
    return {**asdict(protocol), "published": rows}
