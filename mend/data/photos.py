"""The embedded source `photos`: photographs that scikit-image ships, cut to 32×32 at several scales.

Different photographs for training and for test, so that no test pixel was ever trained on. Five photographs have few colours,
and a network would learn just those; so every training cut stands there twice, with its channels in turn and darker in turn.
"""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
from PIL import Image

from mend.images import read_rgb

VERSION = 2  # part of the cache's key: raise it when `cut_photos` yields something else
SIDE = 32
STEPS = {32: 32, 64: 32, 128: 48, 256: 64}  # side of a cut in its photograph: distance to the next cut, in pixels
FILES = {
    "train": ("chelsea.png", "coffee.png", "motorcycle_left.png", "camera.png", "coins.png"),
    "test": ("astronaut.png", "rocket.jpg"),
}
CHANNELS = tuple(permutations(range(3)))
EXPOSURES = (1.0, 0.55, 0.3, 0.8)
# At full size: a protocol's photographs.
WHOLE = tuple(sorted((*FILES["train"], *FILES["test"], "brick.png", "grass.png", "gravel.png")))
LARGE = "rocket.jpg"  # the photograph that the demo fills at full size: one that was not trained on


def find_skimage_folder() -> Path:
    """Where scikit-image keeps the pictures that it ships."""
    import skimage

    return Path(skimage.__file__).parent / "data"


def cut_photos(split: str) -> Iterator[tuple[str, np.ndarray]]:
    """Every cut of the photographs of a file split ("train" or "test"): its name and its (32, 32, 3) uint8 pixels."""
    variant = 0
    for file in FILES[split]:
        photo = Image.fromarray(read_rgb(find_skimage_folder() / file))
        for side, step in STEPS.items():
            for top in range(0, photo.height - side + 1, step):
                for left in range(0, photo.width - side + 1, step):
                    box = (left, top, left + side, top + side)
                    cut = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box)
                    name, pixels = f"{Path(file).stem}-{side}-{top}-{left}", np.asarray(cut)
                    if split == "test":
                        yield name, pixels
                        continue
                    for _ in range(2):
                        channels, exposure = CHANNELS[variant % 6], EXPOSURES[variant // 6 % 4]
                        yield f"{name}-{variant}", np.rint(pixels[..., channels] * exposure).astype(np.uint8)
                        variant += 1
