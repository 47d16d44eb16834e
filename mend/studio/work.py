"""What the studio does to pictures: files in, files out, one thing after another, in a process of its own.

`python -m mend.studio.work` reads one task a line from standard input, [name, arguments], and answers in lines of JSON:
{"says": stage} as it goes, with the "share" done where that is known, then {"done": facts} or {"error": sentence}. A process
can be ended in the middle of anything, which a thread cannot: so everything can be cancelled, and a picture that takes all
memory takes no page with it.

A picture is a folder: `source`, the file as it came; `preview.webp`; and a result has `pixels.npy`, `mask.png` and `result`.
"""

import json
import os
import re
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mend.errors import InputError
from mend.filling.inpainter import Inpainter, load
from mend.inpaint.onnx import DEFAULT

if TYPE_CHECKING:
    from mend.images import Picture

MEGAPIXELS = 100
PREVIEW = 1600  # longest side of what the page shows, in pixels
SEGMENTED = 384  # longest side of what is segmented for a click: a second at most
# The formats that are read, by Pillow's names, and what a result is saved as. Pillow knows forty more; one runs Ghostscript.
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "TIFF": ".tiff", "BMP": ".bmp", "GIF": ".gif",
            "AVIF": ".avif", "JPEG2000": ".png"}  # fmt: skip
SHOWN = {"WEBP": "WebP", "MPO": "JPEG", "JPEG2000": "JPEG 2000"}  # formats by the names that people know

Facts = dict[str, Any]
Size = tuple[int, int]  # height, width
Says = Callable[..., None]  # of a stage, and of the share done where that is known


# --- Tasks -----------------------------------------------------------------------------------------------------------


def warm(says: Says, model: str | None = None, device: str = "auto") -> Facts:
    """Import, and load, what the next task will need."""
    import mend.images  # noqa: F401

    if model is not None:
        _inpainter(model, device)
    return {}


def open_picture(says: Says, folder: str, name: str) -> Facts:
    """Make the picture in `folder`, whose `source` was just uploaded as `name`, ready to be worked on."""
    from mend.images import read_image

    says("reading the picture")
    suffix = _checked(Path(folder) / "source")
    picture = read_image(Path(folder) / "source")
    if picture.pixels.dtype.kind == "f":
        raise InputError("the picture holds float values. Save it as PNG, JPEG or TIFF with 8 or 16 bits.")
    _show(Path(folder), picture)
    height, width, channels = picture.pixels.shape
    name_of_format = picture.source["format"]
    kind = [SHOWN.get(name_of_format, name_of_format), "grey" if channels < 3 else "colour"]
    kind += ["alpha"] * (channels in (2, 4)) + [f"{8 * picture.pixels.itemsize} bits"]
    return {"width": width, "height": height, "suffix": suffix, "kind": ", ".join(kind), "notes": picture.notes}


def show_full(says: Says, folder: str) -> Facts:
    """Write the picture in `folder` for a browser at its full size, which a preview may not have; alpha on white."""
    says("reading the picture")
    shown = _in_eight_bits(_picture(Path(folder)))
    if shown.mode in ("LA", "RGBA"):
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown.convert("RGBA"))
    part = Path(folder) / "full.part"
    shown.convert("RGB").save(part, format="JPEG", quality=95)
    part.replace(Path(folder) / "full.jpg")
    return {}


def open_mask(says: Says, mask: str, size: Size, marked: str = "auto") -> Facts:
    """Read the uploaded file `mask` as `mend fill` does, and make it an 8-bit PNG; a preview lies beside."""
    from mend.masks.hole import Undecided, resize_hole, understand_mask

    says("reading the mask")
    _checked(Path(mask), "the mask")
    try:
        inside = understand_mask(mask, (size[0], size[1]), marked).hole[0, 0] > 0
    except Undecided as error:
        raise InputError(f"cannot tell which part of the mask is the hole: {error.why}. Make it white on black.") from None
    Path(mask).write_bytes(_png(inside))
    Path(f"{mask}.preview").write_bytes(_png(resize_hole(inside, _preview_size(size))))
    return {}


def select(says: Says, folder: str, x: float, y: float, mask: str) -> Facts:
    """Write the object at (x, y), shares of the width and the height, to the file `mask`, of the preview's size."""
    from scipy.ndimage import binary_dilation, binary_fill_holes

    from mend.masks.hole import resize_hole

    says("finding the object")
    regions = _regions(Path(folder))
    height, width = regions.shape
    label = regions[min(int(y * height), height - 1), min(int(x * width), width - 1)]
    # Its soft edge, which belongs to no region, goes with it.
    chosen = binary_dilation(binary_fill_holes(regions == label), iterations=2)
    with Image.open(Path(folder) / "preview.webp") as preview:
        size = preview.height, preview.width
    Path(mask).write_bytes(_png(resize_hole(chosen, size)))
    return {}


def fill(
    says: Says,
    folder: str,
    size: Size,
    mask: str,
    grow: int,
    model: str,
    texture: bool,
    device: str,
    out: str,
    score: bool,
) -> Facts:
    """Fill the picture in `folder` where `mask` is white, grown by `grow` pixels; the result is the picture in `out`.

    A mask of another size is scaled: what was painted on a preview. With `score` the picture is intact under the mask, and
    the result is measured against it.
    """
    from mend.images import encode, write_bytes

    says("reading the mask")
    hole, target = _hole(mask, (size[0], size[1]), grow), Path(out)
    says("loading the model")
    inpainter = _inpainter(model, device, texture)
    picture = _picture(Path(folder))
    says("filling")
    start = time.perf_counter()
    filled = inpainter.fill_picture(picture, hole, report=lambda done, of: says("filling", done / of))
    seconds = time.perf_counter() - start
    says("writing the result")
    (target / "mask.png").write_bytes(_png(hole[0, 0] > 0))
    shutil.copyfile(Path(folder) / "source", target / "source")
    np.save(target / "pixels.npy", filled.pixels)
    result = target / f"result{_checked(target / 'source')}"
    data, loss = encode(filled, result)
    write_bytes(result, data)
    _show(target, filled)
    notes = filled.notes[len(picture.notes) :]  # those of the picture were said when it was opened
    facts: Facts = {
        "seconds": seconds,
        "share": float(hole.mean()),
        "lossy": bool(loss),
        "notes": notes,
        "centre": _centre(hole),
    }
    return {**facts, **_scores(picture, filled, hole)} if score else facts


def rows(says: Says, file: str, by: str, up: bool, count: int) -> Facts:
    """The first `count` images of a table of scores, a row each, sorted by a column, or by the first score; and how many there
    are."""
    import pandas as pd

    says("reading the scores")
    table = pd.read_parquet(file).drop(columns=["row", "image"])
    by = by or next(column for column in table.columns if column not in ("name", "class", "coverage"))
    if by not in table:
        raise InputError(f"there is no column {by!r}; expected one of {', '.join(table.columns)}.")
    first = table.sort_values(by, ascending=up, kind="stable").head(count)
    return {"columns": list(first.columns), "rows": json.loads(first.to_json(orient="values")), "of": len(table), "by": by}


TASKS: dict[str, Callable[..., Facts]] = {
    "warm": warm,
    "open_picture": open_picture,
    "show_full": show_full,
    "open_mask": open_mask,
    "select": select,
    "fill": fill,
    "rows": rows,
}


# --- Pictures --------------------------------------------------------------------------------------------------------


def _checked(file: Path, what: str = "the picture") -> str:
    """The suffix for what becomes of the picture `file`, of a size that is safe to decode; only its header is read."""
    try:
        with Image.open(file) as opened:
            pixels, suffix = opened.width * opened.height, SUFFIXES.get(opened.format or "", ".png")
    except Image.DecompressionBombError:
        pixels, suffix = sys.maxsize, ""
    except Exception:  # Pillow's readers raise what they like; `read_image` says what is wrong
        return ".png"
    if pixels > MEGAPIXELS * 1_000_000:
        size = f"{pixels / 1e6:.0f}" if suffix else "far more than that many"
        raise InputError(f"{what} has {size} megapixels; the studio takes up to {MEGAPIXELS}. Use 'mend fill', or scale it.")
    return suffix


def _picture(folder: Path) -> "Picture":
    from mend.images import read_image

    picture = read_image(folder / "source")
    if (folder / "pixels.npy").exists():
        picture.pixels = np.load(folder / "pixels.npy")
    return picture


def _show(folder: Path, picture: "Picture") -> None:
    """Write what the page shows of a picture: scaled down, 8 bits."""
    shown = _in_eight_bits(picture)
    height, width = _preview_size(picture.pixels.shape[:2])
    shown = shown.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0) if width < shown.width else shown
    shown.convert("RGBA" if shown.mode in ("LA", "RGBA") else "RGB").save(folder / "preview.webp", quality=90)


def _in_eight_bits(picture: "Picture") -> Image.Image:
    pixels = picture.pixels
    levels = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def _preview_size(size: Size) -> Size:
    factor = min(1.0, PREVIEW / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


# --- Masks -----------------------------------------------------------------------------------------------------------


def _hole(file: str, size: Size, grow: int) -> np.ndarray:
    from mend.images import open_picture as decoded
    from mend.masks.hole import as_hole, dilate, resize_hole

    _checked(Path(file), "the mask")
    with decoded(file) as opened:
        hole, _ = as_hole(resize_hole(np.asarray(opened.convert("L")) >= 128, size), size)
    if not hole.any():
        raise InputError("nothing is marked. Paint over what should go, click an object, or load a mask.")
    hole = dilate(hole, grow) if grow else hole
    if hole.all():
        raise InputError("the mask covers the whole picture, so nothing is left to fill it from. Erase some of it.")
    return hole


def _png(mask: np.ndarray) -> bytes:
    import io

    data = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(data, format="PNG")
    return data.getvalue()


def _regions(folder: Path) -> np.ndarray:
    """The picture cut into objects, (h, w) int: those of a segmenter whose weights are here, and graph regions elsewhere."""
    kept = folder / "regions.npy"
    if not kept.exists():
        from skimage.segmentation import felzenszwalb

        with Image.open(folder / "preview.webp") as preview:
            small = preview.convert("RGB")
        small.thumbnail((SEGMENTED, SEGMENTED))
        pixels = np.asarray(small)
        # Coarser than for mask sets: a click wants the whole cup, not its handle.
        regions = felzenszwalb(pixels, scale=400, sigma=0.8, min_size=pixels.shape[0] * pixels.shape[1] // 600)
        segmenter = _segmenter()
        if segmenter is not None:
            from scipy.ndimage import label

            objects, _ = label(segmenter.masks(pixels[None])[0])
            regions = np.where(objects > 0, regions.max() + objects, regions)
        np.save(kept, regions)
    return np.load(kept)


@lru_cache(1)
def _segmenter() -> Any:
    """A DeepLabV3 whose weights lie in PyTorch's cache, or None: the studio downloads nothing."""
    import torch.hub

    from mend.segment.networks import load_segmenter

    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for name in ("deeplabv3_resnet101", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large"):
        if any(cache.glob(f"{name}*.pth")):  # torchvision adds a digest, and to some the data set
            return load_segmenter(name)
    return None


# --- Models ----------------------------------------------------------------------------------------------------------


@lru_cache(2)  # a process has one model, with texture and without
def _inpainter(model: str, device: str, texture: bool = False) -> Inpainter:
    return load(None if model == str(DEFAULT) else model, device, texture)


def _scores(picture: "Picture", filled: "Picture", hole: np.ndarray) -> Facts:
    """PSNR and SSIM over the hole; computed around it alone, which is the same and far less at 24 megapixels."""
    import torch

    from mend.evaluate.metrics import psnr, ssim

    rows, columns = _where(hole)
    margin = 16  # more than half of SSIM's window
    box = (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )
    image, result, around = (torch.from_numpy(part[..., box[0], box[1]]) for part in (picture.image(), filled.image(), hole))
    return {"psnr": float(psnr(result, image, around)), "ssim": float(ssim(result, image, around))}


def _where(hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows and the columns in which a hole is."""
    inside = hole[0, 0]
    return np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))


def _centre(hole: np.ndarray) -> tuple[float, float]:
    """The middle of the box around a hole, (x, y) in shares of the width and the height."""
    rows, columns = _where(hole)
    return float(columns[0] + columns[-1] + 1) / 2 / hole.shape[3], float(rows[0] + rows[-1] + 1) / 2 / hole.shape[2]


# --- The process -----------------------------------------------------------------------------------------------------


def _named(sentence: str, arguments: dict[str, Any]) -> str:
    """A sentence with names in place of the paths among a task's arguments."""
    for argument, name in (("mask", "the mask"), ("folder", arguments.get("name", "the picture")), ("out", "the result")):
        if argument in arguments:  # a mask lies in a folder, so it comes first
            sentence = name.join(re.split(rf"{re.escape(arguments[argument])}(?:[/\\][\w-]+(?:\.\w+)*)?", sentence))
    if "model" in arguments:
        sentence = sentence.replace(arguments["model"], Path(arguments["model"]).name)
    return sentence.replace("the mask the mask", "the mask")


def tasks() -> Iterator[str]:
    """The lines of standard input. When it ends, the server has: the process goes at once, in the middle of a task."""
    asked: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            asked.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield asked.get()


def main() -> None:
    """Do tasks until the server ends. What libraries print goes to standard error, not among the answers."""
    import torch

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    Image.MAX_IMAGE_PIXELS = MEGAPIXELS * 1_000_000
    Image.init()
    Image.ID[:] = [name for name in Image.ID if name in SUFFIXES]
    for line in tasks():
        name, arguments = json.loads(line)

        def answer(**said: Any) -> None:
            print(json.dumps(said), file=answers, flush=True)

        def says(stage: str, share: float | None = None) -> None:
            answer(says=stage) if share is None else answer(says=stage, share=share)

        try:
            answer(done=TASKS[name](says, **arguments))
        except InputError as error:
            answer(error=_named(str(error), arguments))
        except (MemoryError, torch.OutOfMemoryError):
            answer(error="there was not enough memory for that. Try a smaller picture or another model.", fault=True)
        except Exception as error:
            traceback.print_exc()
            answer(error=f"a fault of mend itself ({type(error).__name__}); the terminal has the details.", fault=True)


if __name__ == "__main__":
    main()
