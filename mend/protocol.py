"""A protocol: which images are measured, each with which hole. Same protocol, same pixels, on any machine.

Images are told by their content, never by their place in a file, and masks are drawn from (seed, image): so neither the order
of a data set nor the number of workers changes a pixel. A protocol carries the SHA-256 of its images and of its masks.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mend import photos
from mend.chance import uniform
from mend.data import Images, content_id, image_files, kept, load_images, set_aside
from mend.errors import InputError, pick
from mend.holes import read_mask
from mend.images import picture_files, read_rgb, to_image
from mend.masks.draw import DRAWN
from mend.masks.store import ObjectPolicy, find_set
from mend.recipes import FOLDER, read_toml

BATCH = 250 * 32 * 32  # pixels scored at once; one picture at least


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
class Protocol:
    """What is measured on what. Masks are those of a mask set under an object policy, or `drawn`.

    `images_sha256` and `masks_sha256` pin both ("" pins nothing). `whole` takes photographs at their own sizes; of a folder the
    `set_aside` of the smallest SHA-256, where said, which training leaves out. `first` takes the first so many. `published`
    rows are quoted beside the table, with their source.
    """

    name: str
    title: str
    data: str
    metrics: tuple[str, ...]
    masks: str = ""
    policy: ObjectPolicy = field(default_factory=ObjectPolicy)
    drawn: Drawn | None = None
    whole: bool = False
    set_aside: int = 0
    size: int | None = None
    first: int | None = None
    images_sha256: str = ""
    masks_sha256: str = ""
    published: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def read_protocol(name: str) -> Protocol:
    """A protocol by the name of a shipped one, or a TOML file. Raises InputError for an unknown name or key."""
    values = read_toml(name, FOLDER / "protocols", "protocol", [f.name for f in fields(Protocol)])
    try:
        return protocol_from(values)
    except TypeError as error:
        raise InputError(f"{name} is no protocol: {error}.") from None


def protocol_from(values: dict[str, Any]) -> Protocol:
    """A protocol from a TOML file's values, or from those that a result carries."""
    policy, drawn = ObjectPolicy(**values.get("policy", {})), values.get("drawn")
    return Protocol(**{**values, "policy": policy, "drawn": None if drawn is None else Drawn(**drawn)})


@dataclass(frozen=True)
class Scenes:
    """Images with their holes: the i-th is `pixels(i)`, (H, W, 3) uint8, and `mask(i)`, (H, W) bool."""

    names: list[str]
    classes: list[str]  # "" where there is none
    rows: np.ndarray
    images: list[str]  # the id of each image's content
    sizes: list[tuple[int, int]]
    pixels: Callable[[int], np.ndarray]
    mask: Callable[[int], np.ndarray]
    source: str

    def __len__(self) -> int:
        return len(self.names)

    def part(self, places: Sequence[int]) -> "Scenes":
        """Some of them, by their places."""
        rows = self.rows[list(places)]
        names, classes, images = ([values[p] for p in places] for values in (self.names, self.classes, self.images))
        sizes = [self.sizes[p] for p in places]
        pixels, mask = (lambda i: self.pixels(places[i])), (lambda i: self.mask(places[i]))
        return Scenes(names, classes, rows, images, sizes, pixels, mask, self.source)

    def batches(self) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """In order: places, image (B, 3, H, W) float32 in [0, 1] and hole (B, 1, H, W); a batch is of one size."""
        for places in self.places():
            yield places, *self.batch(places)

    def places(self) -> list[np.ndarray]:
        """The places of each batch."""
        found: list[np.ndarray] = []
        for (height, width), run in groupby(range(len(self)), lambda i: self.sizes[i]):
            places, step = np.array(list(run)), max(1, BATCH // (height * width))
            found += np.split(places, range(step, len(places), step))
        return found

    def batch(self, places: np.ndarray) -> tuple[Tensor, Tensor]:
        """Image and hole at places of one batch."""
        pixels, masks = (np.stack([read(int(i)) for i in places]) for read in (self.pixels, self.mask))
        return to_image(pixels), torch.from_numpy(masks).float()[:, None]

    def hashes(self) -> tuple[str, str]:
        """SHA-256 of the images, and of the images with their masks; the order does not matter."""
        holes = [bytes.fromhex(self.images[i]) + np.packbits(self.mask(i)).tobytes() for i in range(len(self))]
        images, masks = hashlib.sha256("".join(sorted(set(self.images))).encode()), hashlib.sha256(b"".join(sorted(holes)))
        return images.hexdigest(), masks.hexdigest()


def scenes_of(protocol: Protocol, data: str | None = None, masks: str | None = None, size: int | None = None) -> Scenes:
    """The protocol's images and holes; `data`, `masks` and `size` say where they are when not where it says.

    Raises InputError where its rules have no use for one of them.
    """
    source, size = data or protocol.data, size or protocol.size
    if protocol.drawn is not None and masks is not None:
        raise InputError(f"{protocol.name} draws its masks; leave out --masks {masks}, or choose a protocol of object masks.")
    if protocol.whole and size is not None:
        raise InputError(f"{protocol.name} takes whole photographs at their own sizes; leave out --size {size}.")
    if protocol.whole:
        return _whole(protocol, source)
    images = load_images(source, "test", size)
    ids = [content_id(pixels) for pixels in images.pixels]
    if protocol.drawn is None:
        made = find_set(masks or protocol.masks, images)
        rows = made.rows(images, protocol.policy)
        return _in_memory(images, ids, 1, lambda i: made.read(rows[i : i + 1])[0])
    drawn, per_image = protocol.drawn, protocol.drawn.per_image
    mask = kept(lambda i: drawn.mask(*images.size, ids[i // per_image], i % per_image))
    return _in_memory(images, ids, per_image, mask)


def _in_memory(images: Images, ids: list[str], per_image: int, mask: Callable[[int], np.ndarray]) -> Scenes:
    place = np.repeat(np.arange(len(images)), per_image)
    return Scenes(
        names=[images.names[p] for p in place],
        classes=[images.classes[images.labels[p]] if images.classes and images.labels[p] >= 0 else "" for p in place],
        rows=images.rows[place],
        images=[ids[p] for p in place],
        sizes=[images.size] * len(place),
        pixels=lambda i: images.pixels[place[i]],
        mask=mask,
        source=images.source,
    )


def _whole(protocol: Protocol, source: str) -> Scenes:
    if protocol.drawn is None:
        raise InputError(f"{protocol.name} takes whole photographs, whose masks are drawn; it has no [drawn] table.")
    drawn, per_image = protocol.drawn, protocol.drawn.per_image
    if source == "photos":
        files = [photos.folder() / name for name in photos.WHOLE]
    elif protocol.set_aside:
        files = set_aside(picture_files(Path(source).expanduser()), protocol.set_aside)
    else:
        files = image_files(Path(source), "test")
    read = kept(lambda p: read_rgb(files[p]))
    seen = [(content_id(pixels), pixels.shape[:2]) for pixels in map(read, range(len(files)))]
    place = np.repeat(np.arange(len(files)), per_image)

    def mask(i: int) -> np.ndarray:
        image, (height, width) = seen[place[i]]
        return drawn.mask(height, width, image, i % per_image)

    names = [f"{files[p].stem}-{i % per_image}" for i, p in enumerate(place)]
    ids, sizes = [seen[p][0] for p in place], [seen[p][1] for p in place]
    return Scenes(names, [""] * len(names), place, ids, sizes, lambda i: read(place[i]), kept(mask), source)


# --- Folders of pictures ---------------------------------------------------------------------------------------------


def folder_scenes(truth: str | Path, masks: str | Path) -> Scenes:
    """The pictures of a folder with the masks of the same names in another, sizes as they come.

    Names are paths within the folder without their suffix. Raises InputError with a list where one side lacks a file, and for a
    mask of another size.
    """
    pictures = _by_name(truth)
    paired = _paired(truth, pictures, masks)
    names, sizes, ids = list(pictures), [], []
    read = kept(lambda i: read_rgb(pictures[names[i]]))
    for i in range(len(names)):
        pixels = read(i)
        sizes.append(pixels.shape[:2])
        ids.append(content_id(pixels))

    def mask(i: int) -> np.ndarray:
        return read_mask(paired[names[i]], sizes[i])[0, 0] > 0

    return Scenes(names, [""] * len(names), np.arange(len(names)), ids, sizes, read, kept(mask), str(truth))


def folder_fillings(truth: str | Path, filled: str | Path) -> list[Path]:
    """The filled picture for each of the pictures in `truth`, in its order, as `folder_scenes` has it."""
    return list(_paired(truth, _by_name(truth), filled).values())


def _paired(truth: str | Path, pictures: dict[str, Path], folder: str | Path) -> dict[str, Path]:
    others = _by_name(folder)
    missing, extra = sorted(set(pictures) - set(others)), sorted(set(others) - set(pictures))
    if missing or extra:
        said = [f"{len(names)} {kind} ({_some(names)})" for kind, names in (("missing", missing), ("extra", extra)) if names]
        raise InputError(
            f"{folder} does not pair with {truth}: {' and '.join(said)}. Each picture needs one file of the same name, "
            "whatever its suffix."
        )
    return {name: others[name] for name in pictures}


def _by_name(folder: str | Path) -> dict[str, Path]:
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}.")
    named: dict[str, Path] = {}
    for file in picture_files(root):
        name = file.relative_to(root).with_suffix("").as_posix()
        if name in named:
            raise InputError(f"{root} holds two pictures called {name}: {named[name].name} and {file.name}. Remove one.")
        named[name] = file
    return named


def _some(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
