"""What the studio does to pictures: files in, files out. A process (`mend.studio.process`) does one task after another.

A task is a function of `report`, which it tells how far it is as a `Stage`, and of arguments that are JSON; it returns facts.

A picture of the page is a folder: `source`, the file as it came; `preview.webp`; and a result has `pixels.npy`, `mask.png` and
`result`. No PyTorch is imported unless the model of a task needs it.
"""

import base64
import hashlib
import math
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mend.data.cache import find_cache
from mend.errors import InputError, is_out_of_memory
from mend.filling.folder import fill_folder
from mend.filling.inpainter import Inpainter
from mend.filling.job import Job, Result, fill_file, load_inpainter, select_filler_arguments
from mend.filling.load import wants_texture
from mend.filling.options import Options
from mend.filling.pairing import Pair, Plan
from mend.filling.summary import Outcome
from mend.images import Picture, choose_suffix, encode_pil, open_picture, peek, read_image, write_bytes
from mend.images.bit_depth import read_png_chunks
from mend.inpaint.filler import Filler, Wrapper
from mend.inpaint.texture import Textured
from mend.masks.reading import NearlyAll, Undecided, understand_mask
from mend.masks.stamp import Box, find_letters, place_region
from mend.progress import Report as Progress
from mend.progress import ignore
from mend.studio import runs
from mend.studio.estimate import TimeEstimate
from mend.studio.messages import BatchFacts, BatchFile, FillFacts, Json, PictureFacts
from mend.studio.previews import to_pil_8_bits, write_full, write_preview, write_smooth_preview
from mend.studio.scores import measure

MEGAPIXELS = 100
PNG = b"\x89PNG\r\n\x1a\n"
CHUNKS = 100_000  # of a PNG: one of 200 MB has so many where each holds 2 kB, less than any program writes
WRITING = 2.2  # times as long as preparing a picture, until a filling has told
SHOWN = {"WEBP": "WebP", "MPO": "JPEG", "JPEG2000": "JPEG 2000"}  # formats by the names that people know
COVERED = "the mask covers the whole picture, so nothing is left to fill it from."

Facts = PictureFacts | FillFacts | BatchFacts | Json
Size = tuple[int, int]  # height, width
Report = Callable[..., None]  # given the fields of a `Stage`
Show = Callable[[np.ndarray, np.ndarray], None]  # given a filling (B, 3, H, W) and its hole (B, 1, H, W)


def warm(report: Report, options: dict[str, Any] | None = None) -> Json:
    """Import, and load, what the next task will need."""
    if options is not None:
        _load_inpainter(Options(**options))
    return {}


# --- Pictures --------------------------------------------------------------------------------------------------------


def prepare_picture(report: Report, photo: str, name: str) -> PictureFacts:
    """Make the file `photo`, which was just uploaded as `name`, ready to be worked on."""
    report("reading the picture")
    _check_size(Path(photo))
    picture = read_image(photo, name)
    write_preview(Path(photo).parent, picture)
    height, width, channels = picture.pixels.shape
    kind = [SHOWN.get(picture.source["format"], picture.source["format"]), "grey" if channels < 3 else "colour"]
    kind += ["alpha"] * (channels in (2, 4)) + [f"{8 * picture.pixels.itemsize} bits"]
    return PictureFacts(width, height, ", ".join(kind), picture.notes)


def show_full(report: Report, photo: str) -> Json:
    """Write a picture for a browser at its full size, which a preview may not have."""
    report("reading the picture")
    write_full(Path(photo).parent, _read_picture(Path(photo)))
    return {}


def _check_size(file: Path, what: str = "the picture") -> None:
    """InputError for a picture that takes too much to decode, from its header, and from the number of chunks in a PNG."""
    with file.open("rb") as opened:
        if opened.read(8) == PNG and sum(1 for _ in islice(read_png_chunks(opened), CHUNKS + 1)) > CHUNKS:
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


# --- Masks -----------------------------------------------------------------------------------------------------------


def prepare_mask(report: Report, mask: str, photo: str, name: str, size: Size) -> Json:
    """Read the uploaded file `mask`, and make it an 8-bit PNG of the picture's size, which is its `image`, a data URL."""
    report("reading the mask")
    inside, _ = _read_mask(Path(mask), name, size, lambda: read_image(Path(photo)))
    if not inside.any():
        raise InputError("nothing in this mask is marked: it is black all over. Make what should go white.")
    png = _encode_mask(inside)
    write_bytes(Path(mask), png)
    return {"image": _make_data_url(png)}


def _read_mask(mask: Path, name: str, size: Size, read_photo: Callable[[], Picture]) -> tuple[np.ndarray, list[str]]:
    """What the file of a mask marks in a picture, bool (h, w), read as `mend fill` does, and notes on it."""
    _check_size(mask, "the mask")
    content, size = mask.read_bytes(), (size[0], size[1])  # which was a list in JSON
    try:
        try:
            reading = understand_mask(content, size, photo=name)
        except NearlyAll as error:  # who loads it sees what is marked, or reads the note
            reading = understand_mask(content, size, "white")
            reading.notes.insert(0, error.why)
        except Undecided:  # it may be the picture itself, painted over
            reading = understand_mask(content, size, picture=read_photo())
    except Undecided as error:
        raise InputError(f"cannot tell which part of the mask is the hole: {error.why}. Make it white on black.") from None
    return reading.hole[0, 0] > 0, [f"the mask: {note}" for note in reading.notes]


def select_object(report: Report, folder: str, points: list[Any], box: Any, lasso: list[Any] | None) -> Json:
    """The object meant by clicks, a box or a lasso, as a mask of the preview's size, a data URL; see `mend.segment.select`."""
    report("finding the object")
    from mend.segment.select import grow, select

    with Image.open(Path(folder) / "preview.webp") as preview:
        pixels = np.array(preview.convert("RGB"))
    segmenter = None if box or lasso else _load_segmenter()  # which knows what a click means, but not which part of it
    found = select(pixels, [tuple(point) for point in points], box, lasso, segmenter and segmenter.masks)
    return {"image": _make_data_url(_encode_mask(grow(found)))}


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


def _encode_mask(inside: np.ndarray) -> bytes:
    return encode_pil(Image.fromarray(inside.astype(np.uint8) * 255), "PNG")


def _make_data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


# --- Filling ---------------------------------------------------------------------------------------------------------


def fill_picture(report: Report, photo: str, name: str, mask: str, out: str, options: dict[str, Any], score: bool) -> FillFacts:
    """Fill a picture of the page where `mask` is white; the result is the picture in the folder `out`.

    A mask of another size is scaled: what was painted on a preview. With `score` the picture is intact under the mask, and
    the result is measured against it.
    """
    _check_marks(Path(mask))
    picture, target = _read_picture(Path(photo), name), Path(out)

    def show(raw: np.ndarray, hole: np.ndarray) -> None:
        write_smooth_preview(target, Path(photo).parent, raw, hole)
        report("adding texture", preview=True)

    result, facts = _fill(report, Job(picture, Path(mask), name=name, options=Options(**options)), Path(photo), target, show)
    shutil.copyfile(photo, target / Path(photo).name)
    np.save(target / "pixels.npy", result.filled.pixels)
    write_bytes(target / "mask.png", _encode_mask(result.hole[0, 0] > 0))
    write_preview(target, result.filled)
    notes = [note for note in facts.notes if note not in picture.notes]  # those were said when it was opened
    scores = measure(picture, result.filled, result.hole) if score else {}
    return replace(facts, notes=notes, centre=_find_centre(result.hole), psnr=scores.get("psnr"), ssim=scores.get("ssim"))


def fill_upload(report: Report, photo: str, name: str, mask: str, out: str, options: dict[str, Any]) -> FillFacts:
    """Fill the file `photo`, called `name` where it came from, as `mend fill` does, into the folder `out`."""
    _check_size(Path(photo))
    _check_size(Path(mask), "the mask")
    job = Job(Path(photo), Path(mask), name=name, options=Options(**options))
    return _fill(report, job, Path(photo), Path(out))[1]


def _fill(report: Report, job: Job, photo: Path, out: Path, show: Show | None = None) -> tuple[Result, FillFacts]:
    """Do a job for the file `photo`, and write `result` into the folder `out`; `show` is as for `_load_inpainter`."""
    report("loading the model")
    inpainter = _load_inpainter(job.options, show)
    report("reading the picture")
    estimate = _load_estimate(inpainter.name, int(math.log(max(peek(photo)[1], 1), 4)))

    def begin(_: str) -> None:
        estimate.begin()
        report("filling")

    result = fill_file(job, inpainter, lambda done, of: report("filling", done / of, estimate.left(done / of)), begin)
    estimate.end()
    assert result.data is not None  # no output was named
    suffix = Path(result.name).suffix
    write_bytes(out / f"result{suffix}", result.data)
    return result, FillFacts(suffix, result.seconds, result.coverage, result.notes)


def _check_marks(mask: Path) -> None:
    """InputError for a mask of the page that marks nothing, or everything."""
    _check_size(mask, "the mask")
    with open_picture(mask) as opened:
        marked = np.asarray(opened.convert("L")) >= 128
    if not marked.any():
        raise InputError("nothing is marked. Paint over what should go, click an object, or load a mask.")
    if marked.all():
        raise InputError(f"{COVERED} Erase some of it.")


def _find_centre(hole: np.ndarray) -> tuple[float, float]:
    """The middle of the box around a hole, (x, y) in shares of the width and the height."""
    x, y, width, height = cv2.boundingRect((hole[0, 0] > 0).astype(np.uint8))
    return (x + width / 2) / hole.shape[3], (y + height / 2) / hole.shape[2]


# --- Many pictures ---------------------------------------------------------------------------------------------------


def fill_batch(
    report: Report, folder: str, names: dict[str, str], region: dict[str, Any] | None, options: dict[str, Any]
) -> BatchFacts:
    """Fill the pictures of a batch (see `mend.studio.batches`) into its `filled.zip`. `names` are those to show, by the file;
    each is told when it is done."""
    place, filled = Path(folder), Path(folder) / "filled"
    pairs, notes = list[Pair](), dict[str, list[str]]()
    for i, (file, name) in enumerate(names.items()):
        report(f"reading picture {i + 1} of {len(names)}")  # without a share: the bar is that of the filling
        pair, notes[file] = _pair_photo(place, file, name, region)
        pairs.append(pair)
    report("loading the model")
    chosen = Options(**options)
    inpainter, estimate = _load_inpainter(chosen), TimeEstimate()
    outcomes: dict[str, BatchFile] = {}

    def settle(file: str, outcome: Outcome, done: int, of: int) -> None:
        error = outcome.error and _hide_folder(outcome.error, folder, names[file])
        said = [] if error else list(dict.fromkeys([*outcome.notes, *notes[file]]))
        outcomes[file] = BatchFile(int(Path(file).stem), names[file], error, said)
        report(f"filled {done} of {of}", done / of, estimate.left(done / of), file=asdict(outcomes[file]))

    shutil.rmtree(filled, ignore_errors=True)
    filled.mkdir()
    summary = fill_folder(Plan(filled, pairs, []), chosen, inpainter, settle)
    taken: set[str] = set()
    with zipfile.ZipFile(place / "filled.part", "w") as archive:  # pictures are compressed already
        for file, outcome in sorted(summary.files.items()):
            if outcome.output is not None:
                archive.write(outcome.output, _find_unused_name(names[file], Path(outcome.output).suffix, taken))
    (place / "filled.part").replace(place / "filled.zip")
    return BatchFacts([outcomes[file] for file in names], summary.count("filled"))


def _pair_photo(place: Path, file: str, name: str, region: dict[str, Any] | None) -> tuple[Pair, list[str]]:
    """A picture of a batch with a mask that is white on black: that of a region, its own, or the one for all; and notes on the
    mask. What is wrong with one of them is the pair's problem."""
    photo, own = place / "photos" / file, place / "masks" / f"{Path(file).stem}.png"
    given, mask = own if own.exists() else place / "mask", own.with_stem(f"{own.stem}-read")
    suffix, problem, notes = photo.suffix, "", list[str]()
    try:
        _check_size(photo)
        if region is None and not given.exists():
            raise InputError("it has no mask")
        picture = read_image(photo, name)
        suffix = choose_suffix(photo.suffix, picture.source["format"])
        if region is not None:
            inside = _mask_region(picture, **region)
        else:
            height, width = picture.pixels.shape[:2]
            inside, notes = _read_mask(given, name, (height, width), lambda: picture)
        if inside.all():
            raise InputError(COVERED)
        write_bytes(mask, _encode_mask(inside))
    except InputError as error:
        problem = str(error)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        problem = "there was not enough memory to read it. Try a smaller picture."
    return Pair(file, photo, mask, place / "filled" / f"{photo.stem}{suffix}", problem=problem, photo_name=name), notes


def _mask_region(picture: Picture, box: Box, drawn: Size, letters: bool) -> np.ndarray:
    """The mask of a `mend.studio.batches.Region`, bool (h, w)."""
    height, width = picture.pixels.shape[:2]
    mask = np.zeros((height, width), np.bool_)
    part = place_region(box, drawn, (height, width))
    mask[part] = find_letters(np.array(to_pil_8_bits(picture).convert("RGB"))[part]) if letters else True
    return mask


def _hide_folder(sentence: str, folder: str, name: str) -> str:
    """A sentence on a picture of a batch with names in place of what is in the batch's folder."""
    for part, said in (("masks", "its mask"), ("mask", "the mask")):
        sentence = hide_path(sentence, str(Path(folder) / part), said)
    return hide_path(sentence, folder, name)


def hide_path(sentence: str, path: str, name: str) -> str:
    """A sentence with a name in place of a path, or of what is below it."""
    return name.join(re.split(rf"{re.escape(path)}(?:[/\\][\w-]+(?:\.\w+)*)*", sentence))


def _find_unused_name(name: str, suffix: str, taken: set[str]) -> str:
    """What a filled picture is called among others: photo-filled.png, or photo-filled-2.png where that is taken."""
    stem = f"{Path(name).stem}-filled"
    tries = (f"{stem}{f'-{number}' if number > 1 else ''}{suffix}" for number in count(1))
    free = next(one for one in tries if one.casefold() not in taken)
    taken.add(free.casefold())
    return free


# --- What fills ------------------------------------------------------------------------------------------------------


def _load_inpainter(options: Options, show: Show | None = None) -> Inpainter:
    """What fills. `show` is given the smooth filling to which texture is still to come."""
    smooth = {"smooth": options.model is None, "texture": False}
    inpainter = _load_kept(Options(**{**select_filler_arguments(options), **smooth}))
    if not wants_texture(options.model, options.smooth, options.texture):
        return inpainter
    return Inpainter(Textured(inpainter.filler if show is None else Shown(inpainter.filler, show)))


@lru_cache(1)  # a process has one model
def _load_kept(options: Options) -> Inpainter:
    return load_inpainter(options)


class Shown(Wrapper):
    """A filler whose fillings are shown, before something else is made of them."""

    def __init__(self, filler: Filler, show: Show) -> None:
        super().__init__(filler)
        self.show = show

    def __call__(self, masked: np.ndarray, hole: np.ndarray, tile: int | None = None, report: Progress = ignore) -> np.ndarray:
        """As `Filler`."""
        raw = self.filler(masked, hole, tile, report)
        self.show(raw, hole)
        return raw


@lru_cache(8)
def _load_estimate(filler: str, size: int) -> TimeEstimate:
    """For pictures of 4 ** `size` pixels to four times as many: the parts of a filler's work grow differently."""
    name = hashlib.sha256(f"{filler} {size}".encode()).hexdigest()[:16]
    return TimeEstimate(find_cache() / "pace" / f"{name}.json", after=WRITING)


# --- Scores ----------------------------------------------------------------------------------------------------------


def read_rows(report: Report, **how: Any) -> Json:
    """See `mend.studio.runs.read_rows`."""
    report("reading the scores")
    return runs.read_rows(**how)


TASKS: dict[str, Callable[..., Facts]] = {
    task.__name__: task
    for task in (
        *(warm, prepare_picture, show_full, prepare_mask, select_object),
        *(fill_picture, fill_upload, fill_batch, read_rows),
    )
}
