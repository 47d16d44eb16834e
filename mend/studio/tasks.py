"""What the studio does to pictures: files in, files out, one thing after another, in a process of its own.

`python -m mend.studio.tasks` reads one task a line from standard input, [name, arguments], and answers in lines of JSON:
{"stage": words} as it goes, with the "share" done where that is known, then {"done": facts} or {"error": sentence}. A process
can be ended in the middle of anything, which a thread cannot: so everything can be cancelled, and a picture that takes all
memory takes no page with it. It imports no PyTorch unless the model of a task needs it.

A picture of the page is a folder: `source`, the file as it came; `preview.webp`; and a result has `pixels.npy`, `mask.png` and
`result`.
"""

import io
import json
import os
import re
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mend.errors import InputError
from mend.filling.inpainter import Inpainter
from mend.filling.job import Job, Result, fill_file, filler_arguments, load_filler
from mend.filling.options import Options
from mend.images import Picture, open_picture, read_image, write_bytes
from mend.images.deep import png_chunks
from mend.masks.hole import Undecided, resize_hole, understand_mask
from mend.studio.scores import measure

MEGAPIXELS = 100
PNG = b"\x89PNG\r\n\x1a\n"
CHUNKS = 100_000  # of a PNG: one of 200 MB has so many where each holds 2 kB, less than any program writes
PREVIEW = 1600  # longest side of what the page shows, in pixels
SEGMENTED = 384  # longest side of what is segmented for a click
REACH = 0.25  # of its longest side: how far from a click an object may reach
ALIKE = 8  # levels by which what is of one colour may differ
REFUSED = {"EPS", "WMF"}  # formats that Pillow hands to Ghostscript, or to Windows, which is for nothing that strangers send
SHOWN = {"WEBP": "WebP", "MPO": "JPEG", "JPEG2000": "JPEG 2000"}  # formats by the names that people know

Facts = dict[str, Any]
Size = tuple[int, int]  # height, width
Report = Callable[..., None]  # of a stage, and of the share done where that is known


# --- Tasks -----------------------------------------------------------------------------------------------------------


def warm(report: Report, options: dict[str, Any] | None = None) -> Facts:
    """Import, and load, what the next task will need."""
    if options is not None:
        _load_filler(Options(**options))
    return {}


def prepare_picture(report: Report, photo: str, name: str) -> Facts:
    """Make the file `photo`, which was just uploaded as `name`, ready to be worked on."""
    report("reading the picture")
    _check_size(Path(photo))
    picture = read_image(photo, name)
    _write_preview(Path(photo).parent, picture)
    height, width, channels = picture.pixels.shape
    kind = [SHOWN.get(picture.source["format"], picture.source["format"]), "grey" if channels < 3 else "colour"]
    kind += ["alpha"] * (channels in (2, 4)) + [f"{8 * picture.pixels.itemsize} bits"]
    return {"width": width, "height": height, "kind": ", ".join(kind), "notes": picture.notes}


def show_full(report: Report, photo: str) -> Facts:
    """Write a picture for a browser at its full size, which a preview may not have; alpha on white."""
    report("reading the picture")
    shown, folder = _in_eight_bits(_read_picture(Path(photo))), Path(photo).parent
    if shown.mode in ("LA", "RGBA"):
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown.convert("RGBA"))
    shown.convert("RGB").save(folder / "full.part", format="JPEG", quality=95)
    (folder / "full.part").replace(folder / "full.jpg")
    return {}


def prepare_mask(report: Report, mask: str, size: Size) -> Facts:
    """Read the uploaded file `mask` as `mend fill` does, and make it an 8-bit PNG; a preview lies beside."""
    report("reading the mask")
    _check_size(Path(mask), "the mask")
    try:
        inside = understand_mask(mask, (size[0], size[1])).hole[0, 0] > 0
    except Undecided as error:
        raise InputError(f"cannot tell which part of the mask is the hole: {error.why}. Make it white on black.") from None
    write_bytes(Path(mask), _png(inside))
    write_bytes(Path(f"{mask}.preview"), _png(resize_hole(inside, _preview_size(size))))
    return {}


def select_object(report: Report, folder: str, x: float, y: float, mask: str) -> Facts:
    """Write the object at (x, y), shares of the width and the height, to the file `mask`, of the preview's size."""
    report("finding the object")
    found = _find_object(Path(folder), x, y)
    outlines, _ = cv2.findContours(found, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = cv2.drawContours(np.zeros_like(found), outlines, -1, 1, cv2.FILLED)  # what it encloses goes with it
    found = cv2.dilate(found, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), iterations=2)  # and its soft edge
    with Image.open(Path(folder) / "preview.webp") as preview:
        size = preview.height, preview.width
    write_bytes(Path(mask), _png(resize_hole(found > 0, size)))
    return {}


def fill_picture(report: Report, photo: str, name: str, mask: str, out: str, options: dict[str, Any], score: bool) -> Facts:
    """Fill a picture of the page where `mask` is white; the result is the picture in the folder `out`.

    A mask of another size is scaled: what was painted on a preview. With `score` the picture is intact under the mask, and
    the result is measured against it.
    """
    _check_marks(Path(mask))
    picture, target = _read_picture(Path(photo), name), Path(out)
    result, facts = _fill(report, Job(picture, Path(mask), name=name, options=Options(**options)), target)
    shutil.copyfile(photo, target / Path(photo).name)
    np.save(target / "pixels.npy", result.filled.pixels)
    write_bytes(target / "mask.png", _png(result.hole[0, 0] > 0))
    _write_preview(target, result.filled)
    facts["notes"] = [note for note in facts["notes"] if note not in picture.notes]  # those were said when it was opened
    facts["centre"] = _find_centre(result.hole)
    return facts | (measure(picture, result.filled, result.hole) if score else {})


def fill_upload(report: Report, photo: str, name: str, mask: str, out: str, options: dict[str, Any]) -> Facts:
    """Fill the file `photo`, called `name` where it came from, as `mend fill` does, into the folder `out`."""
    _check_size(Path(photo))
    _check_size(Path(mask), "the mask")
    return _fill(report, Job(Path(photo), Path(mask), name=name, options=Options(**options)), Path(out))[1]


def _fill(report: Report, job: Job, out: Path) -> tuple[Result, Facts]:
    """Do a job, and write `result` into the folder `out`."""
    report("loading the model")
    filler = _load_filler(job.options)
    report("reading the picture")
    result = fill_file(job, filler, lambda done, of: report("filling", done / of), lambda _: report("filling"))
    assert result.data is not None  # no output was named
    suffix = Path(result.name).suffix
    write_bytes(out / f"result{suffix}", result.data)
    return result, {"suffix": suffix, "seconds": result.seconds, "coverage": result.coverage, "notes": result.notes}


def read_rows(report: Report, **how: Any) -> Facts:
    """See `mend.studio.rows.read_rows`."""
    from mend.studio import rows

    report("reading the scores")
    return rows.read_rows(**how)


TASKS: dict[str, Callable[..., Facts]] = {
    task.__name__: task
    for task in (warm, prepare_picture, show_full, prepare_mask, select_object, fill_picture, fill_upload, read_rows)
}


# --- Pictures --------------------------------------------------------------------------------------------------------


def _check_size(file: Path, what: str = "the picture") -> None:
    """InputError for a picture that takes too much to decode, from its header, and from the number of chunks in a PNG."""
    with file.open("rb") as opened:
        if opened.read(8) == PNG and sum(1 for _ in islice(png_chunks(opened), CHUNKS + 1)) > CHUNKS:
            raise InputError(f"{what} is a PNG of more than {CHUNKS:,} chunks, as no program writes it. Save it again.")
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # else Pillow refuses it, and says no size
    try:
        with Image.open(file) as picture:
            pixels = picture.width * picture.height
    except Exception:  # Pillow's readers raise what they like; `read_image` says what is wrong
        return
    finally:
        Image.MAX_IMAGE_PIXELS = most
    if pixels > MEGAPIXELS * 1_000_000:
        raise InputError(
            f"{what} has {pixels / 1e6:.0f} megapixels; the studio takes up to {MEGAPIXELS}. Use 'mend fill', or scale it."
        )


def _read_picture(photo: Path, name: str = "") -> Picture:
    """The picture in a file; of a result, which lies beside its pixels, with those."""
    picture = read_image(photo, name)
    pixels = photo.parent / "pixels.npy"
    return replace(picture, pixels=np.load(pixels)) if pixels.exists() else picture


def _write_preview(folder: Path, picture: Picture) -> None:
    """Write what the page shows of a picture: scaled down, 8 bits."""
    shown = _in_eight_bits(picture)
    height, width = _preview_size(picture.pixels.shape[:2])
    shown = shown.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0) if width < shown.width else shown
    shown.convert("RGBA" if shown.mode in ("LA", "RGBA") else "RGB").save(folder / "preview.webp", quality=90)


def _in_eight_bits(picture: Picture) -> Image.Image:
    pixels = picture.pixels
    levels = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def _preview_size(size: Size) -> Size:
    factor = min(1.0, PREVIEW / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


# --- Masks -----------------------------------------------------------------------------------------------------------


def _check_marks(mask: Path) -> None:
    """InputError for a mask of the page that marks nothing, or everything."""
    _check_size(mask, "the mask")
    with open_picture(mask) as opened:
        marked = np.asarray(opened.convert("L")) >= 128
    if not marked.any():
        raise InputError("nothing is marked. Paint over what should go, click an object, or load a mask.")
    if marked.all():
        raise InputError("the mask covers the whole picture, so nothing is left to fill it from. Erase some of it.")


def _find_centre(hole: np.ndarray) -> tuple[float, float]:
    """The middle of the box around a hole, (x, y) in shares of the width and the height."""
    x, y, width, height = cv2.boundingRect((hole[0, 0] > 0).astype(np.uint8))
    return (x + width / 2) / hole.shape[3], (y + height / 2) / hole.shape[2]


def _png(mask: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(data, format="PNG")
    return data.getvalue()


def _find_object(folder: Path, x: float, y: float) -> np.ndarray:
    """What is at (x, y) as uint8 (h, w), 1 = it: an object where a segmenter's weights are here and it finds one; else what
    GrabCut tells from its surroundings."""
    with Image.open(folder / "preview.webp") as preview:
        small = preview.convert("RGB")
    small.thumbnail((SEGMENTED, SEGMENTED))
    pixels = np.array(small)
    height, width = pixels.shape[:2]
    at = min(int(x * width), width - 1), min(int(y * height), height - 1)
    segmenter = _load_segmenter()
    found = np.zeros((height, width), bool) if segmenter is None else segmenter.masks(pixels[None])[0] > 0
    if not found[at[::-1]]:
        found = _cut_out(pixels, at)
    _, parts = cv2.connectedComponents(found.astype(np.uint8), connectivity=4)
    return (parts == parts[at[::-1]]).astype(np.uint8)


def _cut_out(pixels: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """What is at (x, y), by GrabCut (Rother et al., 2004): it may reach as far as `REACH`, close by it is likely, and what has
    its colour all the way belongs to it."""
    height, width = pixels.shape[:2]
    radius = round(REACH * max(height, width))
    mask = np.full((height, width), cv2.GC_BGD, np.uint8)
    cv2.circle(mask, at, radius, cv2.GC_PR_BGD, cv2.FILLED)
    cv2.circle(mask, at, radius // 3, cv2.GC_PR_FGD, cv2.FILLED)
    same = np.zeros((height + 2, width + 2), np.uint8)  # as OpenCV has it, with a margin
    how = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | 1 << 8
    cv2.floodFill(pixels, same, at, 0, (ALIKE,) * 3, (ALIKE,) * 3, how)
    mask[(same[1:-1, 1:-1] > 0) & (mask != cv2.GC_BGD)] = cv2.GC_FGD
    cv2.circle(mask, at, 2, cv2.GC_FGD, cv2.FILLED)
    if (mask & 1).all():  # the object is all there is
        return mask > 0
    cv2.setRNGSeed(0)  # the same click finds the same
    cv2.grabCut(pixels, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    return (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)


@lru_cache(1)
def _load_segmenter() -> Any:
    """A DeepLabV3 whose weights lie in PyTorch's cache, or None: the studio downloads nothing."""
    if find_spec("torchvision") is None:
        return None
    user = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    cache = Path(os.environ.get("TORCH_HOME", user / "torch")).expanduser() / "hub" / "checkpoints"  # as torch.hub has it
    for name in ("deeplabv3_resnet101", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large"):
        if any(cache.glob(f"{name}*.pth")):  # torchvision adds a digest, and to some the data set
            from mend.segment.networks import load_segmenter

            return load_segmenter(name)
    return None


# --- The process -----------------------------------------------------------------------------------------------------


def _load_filler(options: Options) -> Inpainter:
    return _load_kept_filler(Options(**filler_arguments(options)))


@lru_cache(2)  # a process has one model, with texture and without
def _load_kept_filler(options: Options) -> Inpainter:
    return load_filler(options)


def _hide_paths(sentence: str, arguments: dict[str, Any]) -> str:
    """A sentence with names in place of the paths among a task's arguments."""
    for argument, name in (("mask", "the mask"), ("photo", arguments.get("name", "the picture")), ("out", "the result")):
        if argument in arguments:
            sentence = name.join(re.split(rf"{re.escape(arguments[argument])}(?:[/\\][\w-]+(?:\.\w+)*)?", sentence))
    model = arguments.get("options", {}).get("model")
    if model is not None:
        sentence = sentence.replace(model, Path(model).name)
    return sentence.replace("the mask the mask", "the mask")


def read_tasks() -> Iterator[str]:
    """The lines of standard input. When it ends, the server has: the process goes at once, in the middle of a task."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    """Do tasks until the server ends. What libraries print goes to standard error, not among the answers."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    Image.MAX_IMAGE_PIXELS = MEGAPIXELS * 1_000_000
    Image.init()
    Image.ID[:] = [name for name in Image.ID if name not in REFUSED]
    for line in read_tasks():
        name, arguments = json.loads(line)

        def answer(**message: Any) -> None:
            print(json.dumps(message), file=answers, flush=True)

        def report(stage: str, share: float | None = None) -> None:
            answer(stage=stage) if share is None else answer(stage=stage, share=share)

        try:
            answer(done=TASKS[name](report, **arguments))
        except InputError as error:
            answer(error=_hide_paths(str(error), arguments))
        except Exception as error:
            if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # PyTorch's, which may not be here
                answer(error="there was not enough memory for that. Try a smaller picture or another model.", fault=True)
                continue
            traceback.print_exc()
            answer(error=f"a fault of mend itself ({type(error).__name__}); the terminal has the details.", fault=True)


if __name__ == "__main__":
    main()
