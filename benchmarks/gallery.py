"""Photographs from which something is taken away: by G'MIC, by mend's first network, and by mend as it is.

    python benchmarks/gallery.py ../shared/data/photos-free

The argument is the folder of free photographs; those of scikit-image come with it. Writes results/gallery: a picture for each
scene, and README.md with what is to be seen in it. Needs `pip install gmic`. What a scene's `seen` says was written by somebody
who looked at the picture: look again when the filling changes.
"""

import argparse
import io
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import skimage.data
from other_fillers import gmic
from PIL import Image, ImageDraw

import mend
from mend.images import write_bytes
from mend.models.checkpoint import find_commit
from mend.progress import progress

ROOT = Path(__file__).parent.parent
OUT = ROOT / "results" / "gallery"
BEFORE = "e7f26b3"  # the commit whose network, without texture, was what a person saw
SIDE = 640  # pixels: the longer side of a picture that is filled
LICENCES = {
    "clothing": "CC0 1.0, Alexey Grigorev's clothing dataset",
    "coelho": "MIT, Luis Pedro Coelho's SimpleImageDataset",
    "wallpapers": "public domain, as Pop!_OS and elementary OS say of their wallpapers",
    "scikit-image": "public domain or CC0, as scikit-image says",
}


@dataclass(frozen=True)
class Scene:
    """What is taken away: shapes ("box" or "ellipse", left, top, right, bottom), in shares of the width and the height."""

    name: str
    kind: str
    photo: str
    shapes: list[list[str | float]]
    seen: str

    @property
    def licence(self) -> str:
        return LICENCES[self.photo.partition("/")[0]]


def read_scenes() -> list[Scene]:
    return [
        Scene(**scene) for scene in tomllib.loads((Path(__file__).parent / "gallery.toml").read_text(encoding="utf-8"))["scene"]
    ]


def read_photo(folder: Path, photo: str) -> Image.Image:
    place, _, name = photo.partition("/")
    if place == "scikit-image":
        image = Image.fromarray(getattr(skimage.data, name)())
    else:
        image = Image.open(next((folder / place).glob(f"{name}*")))
    image = image.convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


def draw_hole(size: tuple[int, int], shapes: list[list[str | float]]) -> Image.Image:
    hole = Image.new("L", size)
    draw = ImageDraw.Draw(hole)
    for shape, *edges in shapes:
        place = [share * side for share, side in zip(edges, 2 * size, strict=True)]  # type: ignore[operator]
        (draw.ellipse if shape == "ellipse" else draw.rectangle)(place, fill=255)
    return hole


def load_before(folder: Path) -> mend.Inpainter:
    """The network that was in the box at `BEFORE`."""
    for name in ("config.json", "model.safetensors"):
        data = subprocess.run(
            ["git", "show", f"{BEFORE}:mend/assets/pyramid/{name}"], cwd=ROOT, capture_output=True, check=True
        )
        write_bytes(folder / name, data.stdout)
    return mend.load(folder, device="cpu")


def fill_by_gmic(image: Image.Image, hole: Image.Image) -> Image.Image:
    pixels, missing = np.asarray(image), np.asarray(hole) > 0
    masked = np.where(missing[..., None], 0, pixels).astype(np.float32) / 255
    filled = (255 * gmic(masked, missing)).round().astype(np.uint8)
    return Image.fromarray(np.where(missing[..., None], filled, pixels))


def beside(images: list[Image.Image], gap: int = 4) -> Image.Image:
    """Two above, two below."""
    width, height = images[0].size
    sheet = Image.new("RGB", (2 * width + gap, 2 * height + gap), "white")
    for i, image in enumerate(images):
        sheet.paste(image, (i % 2 * (width + gap), i // 2 * (height + gap)))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--only", nargs="*", help="names of scenes; all unless given")
    asked = parser.parse_args()
    scenes, at = read_scenes(), find_commit()
    with TemporaryDirectory() as folder, progress("gallery", "scenes") as report:
        before, now = load_before(Path(folder)), mend.load()
        for done, scene in enumerate(scenes):
            if not asked.only or scene.name in asked.only:
                image = read_photo(asked.photos, scene.photo)
                hole = draw_hole(image.size, scene.shapes)
                marked = Image.composite(Image.new("RGB", image.size, "#e6005c"), image, hole)
                sheet = beside([marked, fill_by_gmic(image, hole), before(image, hole), now(image, hole)])
                data = io.BytesIO()
                sheet.save(data, "WebP", quality=82, method=6)
                write_bytes(OUT / f"{scene.name}.webp", data.getvalue())
            report(done + 1, len(scenes))
    if not asked.only:
        write_bytes(OUT / "README.md", page(scenes, at).encode())


def page(scenes: list[Scene], at: str) -> str:
    """The README of the gallery, whose pictures were made at a commit."""
    parts = [
        f"# {len(scenes)} photographs, something taken away",
        "What is marked (upper left), filled by G'MIC's `inpaint_matchpatch` (upper right), by the network of commit\n"
        f"{BEFORE} without texture (lower left), and by `mend fill` as it is (lower right). None was left out because\n"
        "of how it came out.\n"
        f"Made by `benchmarks/gallery.py` at commit {at}.",
    ]
    for scene in scenes:
        parts += [f"## {scene.name}", f"![{scene.kind}]({scene.name}.webp)", scene.seen]
        parts.append(f"<sub>{scene.kind}; {scene.photo}: {scene.licence}.</sub>")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
