"""One photograph filled: read, its hole found, filled, written, and read back.

`fill_file` does the whole, for the command and the studio; `read_job`, `fill_job` and `write_job` are its three steps, which a
folder runs side by side. Each shows the `Result` in its way, and they cannot differ.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import signature
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from mend.errors import InputError, name_missing_extra
from mend.filling import load
from mend.filling.inpainter import Inpainter
from mend.filling.options import Options
from mend.filling.verify import COPIED, encode_filled
from mend.images import Picture, check_fits, check_may_write, name_format, name_output, peek, read_image, to_pixels, write_bytes
from mend.inpaint.plan import check_mask
from mend.masks.hole import format_share, widen, write_mask
from mend.masks.reading import understand_mask
from mend.progress import Report, ignore

AS_PNG = "written as PNG, which keeps every value"  # where the picture's own format is another, and nobody asked
OnPlan = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One photograph to fill. A string stands for the path of a file.

    photo      a file, its bytes, or a picture in memory
    mask       a file or its bytes: white is filled, or as `options.hole` says; the photograph painted over; COCO or LabelMe
               annotations (.json). None for an object
    output     the file to write, whose suffix names the format; None: the bytes come back in the `Result`, as PNG, JPEG, WebP
               or TIFF where the photograph is one, else as PNG
    keep_mask  a PNG to write: the hole that was filled, as a mask
    name       of the photograph, where it has no path or another: it names the output, and the entry in COCO annotations
    """

    photo: Path | bytes | Picture
    mask: Path | bytes | None = None
    output: Path | None = None
    keep_mask: Path | None = None
    name: str = ""
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        """Raise InputError for a job without a hole, or with two, and for options that exclude each other."""
        for name in ("photo", "mask", "output", "keep_mask"):
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, Path(value))
        self.options.check()
        if (self.mask is None) == (self.options.object is None):
            raise InputError("what is to be filled? Give either a `mask` or an `object`.")

    def check_outputs(self) -> None:
        """Raise InputError where something would be overwritten that is read, or was just written."""
        inputs = [file for file in (self.photo, self.mask) if isinstance(file, Path)]
        for file in filter(None, (self.output, self.keep_mask)):
            refuse_overwriting(file, *inputs)
            check_may_write(file)
        if self.keep_mask is not None:
            # Also on a disk that ignores case.
            same = self.output and str(self.keep_mask.resolve()).casefold() == str(self.output.resolve()).casefold()
            if same or self.keep_mask.suffix.lower() != ".png":
                raise InputError(f"`keep_mask` is {self.keep_mask}; a mask is kept as .png, in a file of its own.")


@dataclass(frozen=True)
class Result:
    """What became of a job.

    name        a file name for it: that of the output, or PHOTO-filled
    data        the file's bytes; None where it was written to an output
    filled      the picture, every value outside the hole as it was, before a lossy format
    hole        (1, 1, H, W) float32: what was filled
    coverage    the share of the picture that is hole
    seconds     in the inpainter alone, which did it by `plan`
    notes       what the person should know, in sentences
    """

    name: str
    data: bytes | None
    filled: Picture
    hole: np.ndarray
    coverage: float
    seconds: float
    plan: str
    notes: list[str]


def load_inpainter(options: Options) -> Inpainter:
    """What fills; for many jobs it is loaded once and given to each. InputError for a model that is not there."""
    return Inpainter(load.load_filler(**select_filler_arguments(options)))


def select_filler_arguments(options: Options) -> dict[str, Any]:
    """Those of the options that say what fills."""
    return {name: getattr(options, name) for name in signature(load.load_filler).parameters}


def fill_file(
    job: Job, inpainter: Inpainter | None = None, report: Report = ignore, on_plan: OnPlan = lambda plan: None
) -> Result:
    """Do a job, with an `inpainter` that was loaded before, if any.

    `on_plan` is told in words how it will be filled, before it is; `report` how far it is. The files are written whole or not
    at all. Raises InputError for bad input, and then nothing was written.
    """
    work = read_job(job)
    return write_job(fill_job(work, inpainter or load_inpainter(job.options), report, on_plan))


# --- The three steps -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """A job whose files were read. `target` names the output; `weight` is the hole's, see `widen`; `notes` are on the hole."""

    job: Job
    picture: Picture
    target: Path
    hole: np.ndarray
    weight: np.ndarray | None
    notes: list[str]


@dataclass(frozen=True)
class FilledWork:
    """Work whose hole was filled: the picture, and how it was done."""

    work: Work
    picture: Picture
    seconds: float
    plan: str


def read_job(job: Job) -> Work:
    """Read the photograph and find its hole. InputError also for an output that would overwrite an input, or cannot hold it."""
    job.check_outputs()
    picture = job.photo if isinstance(job.photo, Picture) else read_image(job.photo, job.name)
    if (frames := picture.source.get("frames", 1)) > 1 and not (job.options.first_frame or picture is job.photo):
        raise InputError(
            f"{_name(job, picture)} has {frames} frames or pages, and one can be filled. Add `first_frame=True` to fill the "
            "first alone; the others are left out."
        )
    target = job.output or Path(name_output(_name(job, picture), picture.source.get("format")).name)
    check_fits(target, picture, job.options.quality)
    hole, weight, notes = find_hole(job, picture)
    if picture.count_clear(hole) and not job.options.opaque:
        notes = [*notes, "`opaque=True` makes what is filled opaque"]
    return Work(job, picture, target, hole, weight, notes)


@name_missing_extra()
def fill_job(work: Work, inpainter: Inpainter, report: Report = ignore, on_plan: OnPlan = lambda plan: None) -> FilledWork:
    """Fill the hole, in tiles where the picture is large or memory limited."""
    start = time.perf_counter()
    plan = inpainter.plan(work.hole, work.job.options.most_memory)
    on_plan(f"{plan}; {inpainter.runtime}")
    picture = work.picture.make_opaque(work.hole) if work.job.options.opaque else work.picture
    filled = inpainter.fill_picture(picture, work.hole, work.weight, plan, report)
    return FilledWork(work, filled, time.perf_counter() - start, str(plan))


def write_job(done: FilledWork) -> Result:
    """Write the picture, read back first, and the mask; where nothing was to be filled the file itself, byte for byte."""
    work, job = done.work, done.work.job
    data, notes = _copy_unfilled(work), [COPIED]
    if data is None:
        data, notes = encode_filled(work.target, work.picture, work.hole, done.picture, job.options.quality)
        notes += [note for note in done.picture.notes if note not in notes[0]] + work.notes
    if job.keep_mask is not None:  # first: what was filled can be verified, also after a stop between the two
        write_mask(job.keep_mask, work.hole)
    if job.output is not None:
        write_bytes(job.output, data)
    elif work.target.suffix != _name(job, work.picture).suffix:
        notes.append(AS_PNG)
    return Result(
        name=work.target.name,
        data=data if job.output is None else None,
        filled=done.picture,
        hole=work.hole,
        coverage=float(work.hole.mean()),
        seconds=done.seconds,
        plan=done.plan,
        notes=notes,
    )


def _copy_unfilled(work: Work) -> bytes | None:
    """The photograph's own file where nothing is to be filled, and no other format or quality is asked for."""
    photo = work.job.photo
    if work.hole.any() or work.job.options.quality is not None or isinstance(photo, Picture):
        return None
    if name_format(work.target.suffix) != work.picture.source["format"]:
        return None
    return photo if isinstance(photo, bytes) else photo.read_bytes()


def _name(job: Job, picture: Picture) -> Path:
    """What the photograph is called; one that came without a name is called by its content."""
    name = job.photo.name if isinstance(job.photo, Path) else f"photo.{picture.source.get('format', 'PNG').lower()}"
    return Path(job.name or name)


def refuse_overwriting(output: Path, *inputs: Path) -> None:
    """Raise InputError where a file to write is a folder, or one of the inputs, by whatever name."""
    if output.is_dir():
        raise InputError(f"{output} is a folder; name a file to write.")
    if output.exists() and any(output.samefile(path) for path in inputs if path.exists()):  # whatever the case of its name
        raise InputError(f"{output} is an input; it would be overwritten. Choose another name.")


# --- The hole --------------------------------------------------------------------------------------------------------


@name_missing_extra()
def find_hole(job: Job, picture: Picture) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """The hole (1, 1, H, W) of a picture, by a mask or where an object is; its weight (see `widen`), and what to say of it.

    InputError for a mask that takes more memory to read than the options allow.
    """
    options = job.options
    if options.object:
        from mend.segment.objects import GROW

        found, what = load_finder(options.object, options.segmenter, options.device)(to_pixels(picture.image())[0])
        radius = round(GROW * max(found.shape)) if options.grow is None else options.grow
        said = f"object: {what}, {format_share(found > 0)} of the picture, grown by {radius} pixels"
        return *widen(found, radius, options.feather), [said]
    assert job.mask is not None
    if options.most_memory is not None:
        name = f"the mask {job.mask.name}" if isinstance(job.mask, Path) else "the mask"
        check_mask(name, peek(job.mask)[1], picture.pixels[..., 0].size, options.most_memory)
    photo = str(job.photo) if isinstance(job.photo, Path) and not job.name else job.name
    reading = understand_mask(job.mask, picture.pixels.shape[:2], options.hole, photo, picture)
    return *widen(reading.hole, options.grow or 0, options.feather), [f"the mask: {note}" for note in reading.notes]


_loading = Lock()  # the threads that read a folder wait for the first of them


@name_missing_extra()
def load_finder(name: str, segmenter: str, device: str) -> Callable[[np.ndarray], tuple[np.ndarray, str]]:
    """What finds an object by its name (see `make_object_finder`), loaded once."""
    with _loading:
        return _load_finder(name, segmenter, device)


@lru_cache(1)
def _load_finder(name: str, segmenter: str, device: str) -> Callable[[np.ndarray], tuple[np.ndarray, str]]:
    from mend.segment.networks import load_segmenter
    from mend.segment.objects import make_object_finder

    return make_object_finder(name, load_segmenter(segmenter, device))
