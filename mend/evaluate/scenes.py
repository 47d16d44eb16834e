"""Images with their holes, as a protocol or folders of pictures have them, in batches of one size."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mend.data import photos
from mend.data.cache import remember
from mend.data.loaders import to_image
from mend.data.sources import Images, find_image_files, hash_content, load_images, set_aside
from mend.errors import InputError, list_some
from mend.evaluate.protocol import Protocol
from mend.evaluate.reading import make_scored_reader
from mend.images import find_pictures, read_rgb
from mend.masks.hole import check_hole
from mend.masks.reading import Undecided, understand_mask
from mend.masks.store import find_set

BATCH = 250 * 32 * 32  # pixels scored at once; one picture at least


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

    @cached_property
    def hashes(self) -> tuple[str, str]:
        """SHA-256 of the images, and of the images with their masks; the order does not matter."""
        holes = [bytes.fromhex(self.images[i]) + np.packbits(self.mask(i)).tobytes() for i in range(len(self))]
        images, masks = hashlib.sha256("".join(sorted(set(self.images))).encode()), hashlib.sha256(b"".join(sorted(holes)))
        return images.hexdigest(), masks.hexdigest()


def load_scenes(protocol: Protocol, data: str | None = None, masks: str | None = None, size: int | None = None) -> Scenes:
    """The protocol's images and holes; `data`, `masks` and `size` say where they are when not where it says.

    Raises InputError where its rules have no use for one of them.
    """
    source, size = data or protocol.data, size or protocol.size
    if protocol.drawn is not None and masks is not None:
        raise InputError(f"{protocol.name} draws its masks; leave out `masks`, or choose a protocol of object masks.")
    if protocol.whole and size is not None:
        raise InputError(f"{protocol.name} takes whole photographs at their own sizes; leave out `size`.")
    if protocol.whole:
        return _load_whole(protocol, source)
    images = load_images(source, "test", size)
    ids = [hash_content(pixels) for pixels in images.pixels]
    if protocol.drawn is None:
        made = find_set(masks or protocol.masks, images)
        rows = made.rows(images, protocol.policy)
        return _wrap_images(images, ids, 1, lambda i: made.read(rows[i : i + 1])[0])
    drawn, per_image = protocol.drawn, protocol.drawn.per_image
    mask = remember(lambda i: drawn.mask(*images.size, ids[i // per_image], i % per_image))
    return _wrap_images(images, ids, per_image, mask)


def _wrap_images(images: Images, ids: list[str], per_image: int, mask: Callable[[int], np.ndarray]) -> Scenes:
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


def _load_whole(protocol: Protocol, source: str) -> Scenes:
    if protocol.drawn is None:
        raise InputError(f"{protocol.name} takes whole photographs, whose masks are drawn; it has no [drawn] table.")
    drawn, per_image = protocol.drawn, protocol.drawn.per_image
    if source == "photos":
        files = [photos.find_skimage_folder() / name for name in photos.WHOLE]
    elif protocol.set_aside:
        files = set_aside(find_pictures(Path(source)), protocol.set_aside)
    else:
        files = find_image_files(Path(source), "test")
    read = remember(lambda p: read_rgb(files[p]))
    seen = [(hash_content(pixels), pixels.shape[:2]) for pixels in map(read, range(len(files)))]
    place = np.repeat(np.arange(len(files)), per_image)

    def mask(i: int) -> np.ndarray:
        image, (height, width) = seen[place[i]]
        return drawn.mask(height, width, image, i % per_image)

    names = [f"{files[p].stem}-{i % per_image}" for i, p in enumerate(place)]
    ids, sizes = [seen[p][0] for p in place], [seen[p][1] for p in place]
    return Scenes(names, [""] * len(names), place, ids, sizes, lambda i: read(place[i]), remember(mask), source)


# --- Folders of pictures ---------------------------------------------------------------------------------------------


def load_folder_scenes(truth: str | Path, masks: str | Path) -> Scenes:
    """The pictures of a folder with the masks of the same names in another, sizes as they come.

    Names are paths within the folder without their suffix. Raises InputError with a list where one side lacks a file, and for a
    mask of another size.
    """
    pictures = index_pictures(truth)
    paired = pair_files(truth, pictures, masks)
    names, sizes, ids = list(pictures), [], []
    read_scored = make_scored_reader()
    read = remember(lambda i: read_scored(pictures[names[i]], None))
    for i in range(len(names)):
        pixels = read(i)
        sizes.append(pixels.shape[:2])
        ids.append(hash_content(pixels))

    said = set[str]()

    def mask(i: int) -> np.ndarray:
        file, photo = paired[names[i]], pictures[names[i]]
        try:  # as `mend fill` reads it, which may ask; here nobody is asked
            hole = understand_mask(file, photo=str(photo)).hole
        except Undecided as error:
            hole = understand_mask(file, marked="white").hole
            if error.why not in said:
                said.add(error.why)
                warnings.warn(
                    f"{file}, and perhaps others: {error.why}. What is lighter than half is taken for the hole", stacklevel=2
                )
        return check_hole(hole, sizes[i], f"the mask {file}")[0, 0] > 0

    return Scenes(names, [""] * len(names), np.arange(len(names)), ids, sizes, read, remember(mask), str(truth))


def pair_files(truth: str | Path, pictures: dict[str, Path], folder: str | Path) -> dict[str, Path]:
    """The files of a folder by the names of the `pictures` of `truth`, in their order. InputError with a list where one side
    lacks a file."""
    others = index_pictures(folder)
    missing, extra = sorted(set(pictures) - set(others)), sorted(set(others) - set(pictures))
    if missing or extra:
        said = [
            f"{len(names)} {kind} ({list_some(names, 10)})" for kind, names in (("missing", missing), ("extra", extra)) if names
        ]
        raise InputError(
            f"{folder} does not pair with {truth}: {' and '.join(said)}. Each picture needs one file of the same name, "
            "whatever its suffix."
        )
    return {name: others[name] for name in pictures}


def index_pictures(folder: str | Path) -> dict[str, Path]:
    """The pictures of a folder by their paths in it, without suffix. InputError where two have one name."""
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}.")
    named: dict[str, Path] = {}
    for file in find_pictures(root):
        name = file.relative_to(root).with_suffix("").as_posix()
        if name in named:
            raise InputError(f"{root} holds two pictures called {name}: {named[name].name} and {file.name}. Remove one.")
        named[name] = file
    return named
