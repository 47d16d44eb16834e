"""What the studio does to pictures: files in, files out, one thing after another, in a process of its own.

`python -m mend.studio.tasks` reads one task a line from standard input, [name, arguments], and answers in lines of JSON:
{"stage": words} as it goes, with the "share" done and the seconds "left" where these are known, and "preview" where that of
what comes can be seen already; then {"done": facts} or {"error": sentence}. A process can be ended in the middle of anything,
which a thread cannot: so everything can be cancelled, and a picture that takes all memory takes no page with it. It imports no
PyTorch unless the model of a task needs it.

A picture of the page is a folder: `source`, the file as it came; `preview.webp`; and a result has `pixels.npy`, `mask.png` and
`result`.
"""

import hashlib
import io
import json
import math
import os
import re
import shutil
import sys
import threading
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mend.data.cache import cache_folder
from mend.errors import InputError
from mend.filling.folder import fill_folder
from mend.filling.inpainter import Inpainter
from mend.filling.job import Job, Result, fill_file, filler_arguments, load_inpainter
from mend.filling.options import Options
from mend.filling.pairing import Pair, Plan
from mend.filling.summary import Outcome
from mend.images import Picture, open_picture, output_suffix, peek, read_image, write_bytes
from mend.images.deep import png_chunks
from mend.inpaint.filler import Filler, Wrapper
from mend.inpaint.texture import Textured
from mend.masks.hole import NearlyAll, Undecided, understand_mask
from mend.masks.stamp import find_letters, place_region
from mend.progress import Report as Progress
from mend.progress import ignore
from mend.studio.pace import Pace
from mend.studio.scores import measure

MEGAPIXELS = 100
PNG = b"\x89PNG\r\n\x1a\n"
CHUNKS = 100_000  # of a PNG: one of 200 MB has so many where each holds 2 kB, less than any program writes
PREVIEW = 1600  # longest side of what the page shows, in pixels
WRITING = 2.2  # times as long as preparing a picture, until a filling has told
REFUSED = {"EPS", "WMF"}  # formats that Pillow hands to Ghostscript, or to Windows, which is for nothing that strangers send
SHOWN = {"WEBP": "WebP", "MPO": "JPEG", "JPEG2000": "JPEG 2000"}  # formats by the names that people know

Facts = dict[str, Any]
Size = tuple[int, int]  # height, width
Report = Callable[..., None]  # of a stage, and of the share done and the seconds left where these are known
Show = Callable[[np.ndarray, np.ndarray], None]  # given a filling (B, 3, H, W) and its hole (B, 1, H, W)


# --- Tasks -----------------------------------------------------------------------------------------------------------


def warm(report: Report, options: dict[str, Any] | None = None) -> Facts:
    """Import, and load, what the next task will need."""
    if options is not None:
        _load_inpainter(Options(**options))
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
    picture, folder = _read_picture(Path(photo)), Path(photo).parent
    shown = _in_eight_bits(picture)
    if shown.mode in ("LA", "RGBA"):
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown.convert("RGBA"))
    shown.convert("RGB").save(folder / "full.part", format="JPEG", quality=95, icc_profile=_profile(picture))
    (folder / "full.part").replace(folder / "full.jpg")
    return {}


def prepare_mask(report: Report, mask: str, photo: str, name: str, size: Size) -> Facts:
    """Read the uploaded file `mask` as `mend fill` does, and make it an 8-bit PNG of the picture's size."""
    report("reading the mask")
    _check_size(Path(mask), "the mask")
    content = Path(mask).read_bytes()
    try:
        try:
            hole = understand_mask(content, (size[0], size[1]), photo=name).hole
        except NearlyAll:  # who loads it sees what is marked
            hole = understand_mask(content, (size[0], size[1]), "white").hole
        except Undecided:  # it may be the picture itself, painted over
            hole = understand_mask(content, (size[0], size[1]), picture=read_image(Path(photo))).hole
    except Undecided as error:
        raise InputError(f"cannot tell which part of the mask is the hole: {error.why}. Make it white on black.") from None
    if not (inside := hole[0, 0] > 0).any():
        raise InputError("nothing in this mask is marked: it is black all over. Make what should go white.")
    write_bytes(Path(mask), _png(inside))
    return {}


def select_object(report: Report, folder: str, points: list[Any], box: Any, lasso: list[Any] | None, mask: str) -> Facts:
    """Write the object meant by clicks, a box or a lasso to `mask`, of the preview's size; see `mend.segment.select`."""
    report("finding the object")
    from mend.segment.select import grow, select

    with Image.open(Path(folder) / "preview.webp") as preview:
        pixels = np.array(preview.convert("RGB"))
    segmenter = None if box or lasso else _load_segmenter()  # which knows what a click means, but not which part of it
    found = select(pixels, [tuple(point) for point in points], box, lasso, segmenter and segmenter.masks)
    write_bytes(Path(mask), _png(grow(found)))
    return {}


def fill_picture(report: Report, photo: str, name: str, mask: str, out: str, options: dict[str, Any], score: bool) -> Facts:
    """Fill a picture of the page where `mask` is white; the result is the picture in the folder `out`.

    A mask of another size is scaled: what was painted on a preview. With `score` the picture is intact under the mask, and
    the result is measured against it.
    """
    _check_marks(Path(mask))
    picture, target = _read_picture(Path(photo), name), Path(out)
    job = Job(picture, Path(mask), name=name, options=Options(**options))
    result, facts = _fill(report, job, Path(photo), target, partial(_show_smooth, report, Path(photo).parent, target))
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
    job = Job(Path(photo), Path(mask), name=name, options=Options(**options))
    return _fill(report, job, Path(photo), Path(out))[1]


def _fill(report: Report, job: Job, photo: Path, out: Path, show: Show | None = None) -> tuple[Result, Facts]:
    """Do a job for the file `photo`, and write `result` into the folder `out`; `show` is as for `_load_inpainter`."""
    report("loading the model")
    inpainter = _load_inpainter(job.options, show)
    report("reading the picture")
    pace = _load_pace(inpainter.name, int(math.log(max(peek(photo)[1], 1), 4)))

    def begin(_: str) -> None:
        pace.begin()
        report("filling")

    result = fill_file(job, inpainter, lambda done, of: report("filling", done / of, pace.left(done / of)), begin)
    pace.end()
    assert result.data is not None  # no output was named
    suffix = Path(result.name).suffix
    write_bytes(out / f"result{suffix}", result.data)
    return result, {"suffix": suffix, "seconds": result.seconds, "coverage": result.coverage, "notes": result.notes}


def fill_batch(
    report: Report, folder: str, names: dict[str, str], region: dict[str, Any] | None, options: dict[str, Any]
) -> Facts:
    """Fill the pictures of a batch (see `mend.studio.batches`) into its `filled.zip`. `names` are those to show, by the file;
    each is told when it is done."""
    place = Path(folder)
    photos, masks, filled = place / "photos", place / "masks", place / "filled"
    shutil.rmtree(filled, ignore_errors=True)
    outcomes: dict[str, Facts] = {}

    def settle(file: str, outcome: Outcome, done: int, of: int) -> None:
        outcomes[file] = {
            "number": int(Path(file).stem),
            "name": names[file],
            "error": outcome.error and hide(outcome.error, file),
            "notes": outcome.notes,
        }
        report(f"filled {done} of {of}", done / of, pace.left(done / of), file=outcomes[file])

    def hide(error: str, file: str) -> str:
        said = _hide_path(error, str(photos / file), names[file])
        return _hide_path(_hide_path(said, str(masks), "its mask"), str(place / "mask"), "the mask")

    report("reading the pictures")
    pairs = _pair_batch(place, [photos / file for file in names], region)
    chosen = Options(**options)
    report("loading the model")
    inpainter = _load_inpainter(chosen)
    pace = Pace()
    filled.mkdir()
    summary = fill_folder(Plan(filled, pairs, []), chosen, inpainter, settle)
    taken: set[str] = set()
    with zipfile.ZipFile(place / "filled.part", "w") as archive:  # pictures are compressed already
        for file, outcome in sorted(summary.files.items()):
            if outcome.output is not None:
                archive.write(outcome.output, _unused_name(names[file], Path(outcome.output).suffix, taken))
    (place / "filled.part").replace(place / "filled.zip")
    return {"files": [outcomes[file] for file in names], "filled": summary.count("filled")}


def _pair_batch(place: Path, photos: list[Path], region: dict[str, Any] | None) -> list[Pair]:
    """Each picture of a batch with its mask: that of a region, its own, or the one for all; else with what is wrong."""
    pairs = []
    for photo in photos:
        own, common = place / "masks" / f"{photo.stem}.png", place / "mask"
        problem = ""
        try:
            _check_size(photo)
            kind = output_suffix(photo.suffix, peek(photo)[0])
            if region is not None:
                own = place / "masks" / f"{photo.stem}-region.png"
                write_bytes(own, _png(_mask_region(read_image(photo), region)))
            elif own.exists() or common.exists():
                _check_size(own if own.exists() else common, "the mask")
            else:
                problem = "it has no mask"
        except InputError as error:
            kind, problem = photo.suffix, str(error)
        mask = own if own.exists() else common
        pairs.append(Pair(photo.name, photo, mask, place / "filled" / f"{photo.stem}{kind}", problem=problem))
    return pairs


def _mask_region(picture: Picture, region: dict[str, Any]) -> np.ndarray:
    """The mask of a `mend.studio.batches.Region`, bool (h, w)."""
    height, width = picture.pixels.shape[:2]
    mask = np.zeros((height, width), np.bool_)
    part = place_region(region["box"], region["drawn"], (height, width))
    mask[part] = find_letters(np.array(_in_eight_bits(picture).convert("RGB"))[part]) if region["letters"] else True
    return mask


def _unused_name(name: str, suffix: str, taken: set[str]) -> str:
    """What a filled picture is called among others: photo-filled.png, or photo-filled-2.png where that is taken."""
    stem = f"{Path(name).stem}-filled"
    tries = (f"{stem}{suffix}", *(f"{stem}-{number}{suffix}" for number in range(2, len(taken) + 3)))
    free = next(one for one in tries if one.casefold() not in taken)
    taken.add(free.casefold())
    return free


def read_rows(report: Report, **how: Any) -> Facts:
    """See `mend.studio.rows.read_rows`."""
    from mend.studio import rows

    report("reading the scores")
    return rows.read_rows(**how)


TASKS: dict[str, Callable[..., Facts]] = {
    task.__name__: task
    for task in (
        *(warm, prepare_picture, show_full, prepare_mask, select_object),
        *(fill_picture, fill_upload, fill_batch, read_rows),
    )
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
    _save_preview(folder, shown.convert("RGBA" if shown.mode in ("LA", "RGBA") else "RGB"), _profile(picture))


def _save_preview(folder: Path, shown: Image.Image, profile: bytes | None) -> None:
    data = io.BytesIO()
    shown.save(data, format="WEBP", quality=90, icc_profile=profile)
    write_bytes(folder / "preview.webp", data.getvalue())  # whole, since it may be asked for meanwhile


def _show_smooth(report: Report, folder: Path, out: Path, raw: np.ndarray, hole: np.ndarray) -> None:
    """Write the preview of a filling to which texture is still to come: that of the picture in `folder`, filled at its size."""
    with Image.open(folder / "preview.webp") as opened:
        shown, profile = np.asarray(opened.convert("RGB"), np.float32), opened.info.get("icc_profile")
    scale = partial(cv2.resize, dsize=(shown.shape[1], shown.shape[0]), interpolation=cv2.INTER_AREA)
    inside = scale(hole[0, 0])
    filled = np.stack([scale(plane * hole[0, 0]) for plane in raw[0]], axis=-1)
    pixels = np.rint(shown * (1 - inside[..., None]) + 255 * filled).clip(0, 255).astype(np.uint8)
    _save_preview(out, Image.fromarray(pixels), profile)
    report("adding texture", preview=True)


def _profile(picture: Picture) -> bytes | None:
    """What the numbers of a picture mean as colours; of a grey one, which is shown in three channels, nothing."""
    return picture.metadata.get("icc_profile") if picture.pixels.shape[2] >= 3 else None


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


def _load_inpainter(options: Options, show: Show | None = None) -> Inpainter:
    """What fills. `show` is given the smooth filling to which texture is still to come."""
    smooth = {"smooth": options.model is None, "texture": False}
    inpainter = _load_kept(Options(**{**filler_arguments(options), **smooth}))
    if not (options.texture or (options.model is None and not options.smooth)):
        return inpainter
    return Inpainter(Textured(inpainter.filler if show is None else Shown(inpainter.filler, show)))


@lru_cache(1)  # a process has one model
def _load_kept(options: Options) -> Inpainter:
    return load_inpainter(options)


@lru_cache(8)
def _load_pace(filler: str, size: int) -> Pace:
    """The pace of a filler in pictures of 4 ** `size` pixels to four times as many: the parts of its work grow differently."""
    name = hashlib.sha256(f"{filler} {size}".encode()).hexdigest()[:16]
    return Pace(cache_folder() / "pace" / f"{name}.json", after=WRITING)


class Shown(Wrapper):
    """A filler whose fillings are shown, before something else is made of them."""

    def __init__(self, filler: Filler, show: Show) -> None:
        super().__init__(filler)
        self.version, self.show = filler.version, show

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Progress = ignore) -> np.ndarray:
        """As `Filler`."""
        raw = self.filler(masked, hole, tile, report)
        self.show(raw, hole)
        return raw


def _hide_paths(sentence: str, arguments: dict[str, Any]) -> str:
    """A sentence with names in place of the paths among a task's arguments."""
    for argument, name in (("mask", "the mask"), ("photo", arguments.get("name", "the picture")), ("out", "the result")):
        if argument in arguments:
            sentence = _hide_path(sentence, arguments[argument], name)
    model = arguments.get("options", {}).get("model")
    if model is not None:
        sentence = sentence.replace(model, Path(model).name)
    return sentence.replace("the mask the mask", "the mask")


def _hide_path(sentence: str, path: str, name: str) -> str:
    """A sentence with a name in place of a path, or of a file in that folder."""
    return name.join(re.split(rf"{re.escape(path)}(?:[/\\][\w-]+(?:\.\w+)*)?", sentence))


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

        def report(stage: str, share: float | None = None, left: float | None = None, **more: Any) -> None:
            known = {"share": share, "left": left}
            answer(stage=stage, **{name: value for name, value in known.items() if value is not None}, **more)

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
