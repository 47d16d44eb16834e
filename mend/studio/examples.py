"""Pictures to begin with: photographs that scikit-image ships, each with something to remove."""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import skimage
from PIL import Image

PHOTOS = Path(skimage.__file__).parent / "data"  # as `mend.data.photos.folder`, which would import PyTorch into the server


@dataclass(frozen=True)
class Example:
    """A file, and the outline of what to remove: corners (x, y) in shares of the picture's width and height."""

    file: Path
    outline: list[tuple[float, float]]


EXAMPLES: dict[str, Example] = {
    "rocket": Example(
        PHOTOS / "rocket.jpg", [(0.49, 0.3), (0.515, 0.3), (0.53, 0.36), (0.53, 0.95), (0.475, 0.95), (0.475, 0.36)]
    ),
    "coffee": Example(
        PHOTOS / "coffee.png",
        [(0.54, 0.62), (0.6, 0.57), (0.65, 0.48), (0.685, 0.62), (0.685, 0.75), (0.62, 0.83), (0.56, 0.81), (0.535, 0.7)],
    ),
    "astronaut": Example(
        PHOTOS / "astronaut.png",
        [(0.33, 0.72), (0.39, 0.75), (0.42, 0.82), (0.39, 0.89), (0.33, 0.92), (0.27, 0.89), (0.24, 0.82), (0.27, 0.75)],
    ),
    "camera": Example(PHOTOS / "camera.png", [(0.79, 0.23), (0.855, 0.23), (0.865, 0.44), (0.785, 0.44)]),
}


@cache
def thumbnail(name: str) -> bytes:
    small = Image.open(EXAMPLES[name].file).convert("RGB")
    small.thumbnail((240, 240))
    data = io.BytesIO()
    small.save(data, format="JPEG", quality=85)
    return data.getvalue()
