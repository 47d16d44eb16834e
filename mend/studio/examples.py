"""Pictures to begin with, each with something to remove: photographs where scikit-image is installed, else a drawn one."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from mend.images import encode_pil


@dataclass(frozen=True)
class Example:
    """A file's name and its bytes, and the outline of what to remove: corners (x, y) in shares of its width and height."""

    name: str
    read: Callable[[], bytes]
    outline: list[tuple[float, float]]


def find_examples() -> dict[str, Example]:
    skimage = find_spec("skimage")  # which would take a second to import
    if skimage is None or skimage.origin is None:
        return {"balloon": Example("balloon.png", draw_balloon, BALLOON)}
    folder = Path(skimage.origin).parent / "data"
    outlines = {"rocket.jpg": ROCKET, "coffee.png": COFFEE, "astronaut.png": ASTRONAUT, "camera.png": CAMERA}
    return {Path(name).stem: Example(name, (folder / name).read_bytes, outline) for name, outline in outlines.items()}


ROCKET = [(0.49, 0.3), (0.515, 0.3), (0.53, 0.36), (0.53, 0.95), (0.475, 0.95), (0.475, 0.36)]
COFFEE = [(0.54, 0.62), (0.6, 0.57), (0.65, 0.48), (0.685, 0.62), (0.685, 0.75), (0.62, 0.83), (0.56, 0.81), (0.535, 0.7)]
ASTRONAUT = [(0.33, 0.72), (0.39, 0.75), (0.42, 0.82), (0.39, 0.89), (0.33, 0.92), (0.27, 0.89), (0.24, 0.82), (0.27, 0.75)]
CAMERA = [(0.79, 0.23), (0.855, 0.23), (0.865, 0.44), (0.785, 0.44)]
BALLOON = [
    (0.62, 0.18),
    (0.7, 0.15),
    (0.78, 0.18),
    (0.81, 0.3),
    (0.78, 0.42),
    (0.72, 0.57),
    (0.68, 0.57),
    (0.62, 0.42),
    (0.59, 0.3),
]


@cache
def draw_balloon() -> bytes:
    """A balloon over hills, as a PNG."""
    sky = Image.linear_gradient("L").resize((640, 480))
    picture = Image.merge("RGB", [sky.point(lambda level, top=top: top + level * (230 - top) // 255) for top in (90, 150, 215)])
    pen = ImageDraw.Draw(picture)
    pen.ellipse((-200, 330, 420, 800), (96, 128, 92))
    pen.ellipse((260, 360, 900, 900), (74, 104, 78))
    pen.ellipse((390, 80, 510, 210), (196, 62, 52))
    pen.polygon([(430, 205), (470, 205), (456, 266), (444, 266)], (110, 74, 48))
    return encode_pil(picture.filter(ImageFilter.GaussianBlur(1)), "PNG")


EXAMPLES = find_examples()


@cache
def draw_thumbnail(name: str) -> bytes:
    """An example in small, as a JPEG."""
    small = Image.open(io.BytesIO(EXAMPLES[name].read())).convert("RGB")
    small.thumbnail((240, 240))
    return encode_pil(small, "JPEG")
