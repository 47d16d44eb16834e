"""A folder of pictures, each with its mask, filled into another folder.

`plan_folder` pairs and checks, and looks at no more than the beginning of a file; `fill_folder` does what the plan says.
Reading and writing run in threads while the network works, and few pictures are in memory at a time, however many there are:
one, where memory is limited.
"""

import errno
import json
import os
import sys
import time
import unicodedata
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from mend import __version__, distributed
from mend.errors import InputError
from mend.filling.verify import COPIED, copied, write_filled
from mend.images import (
    Picture,
    check_fits,
    check_quality,
    format_of,
    has_quality,
    make_folder,
    output_suffix,
    peek,
    picture_files,
    read_image,
    to_pixels,
    write_bytes,
)
from mend.inpaint.plan import check_mask
from mend.masks.hole import share, understand_mask, widen, write_mask

if TYPE_CHECKING:
    from mend.filling.inpainter import Inpainter

AHEAD = 4  # pictures read ahead, and as many being written behind; also the number of threads
SUMMARY = "mend-fill.json"
AS_PNG = "written as PNG, which keeps every value"  # where the picture's own format is another, and nobody asked

Read = tuple[Picture, np.ndarray, np.ndarray | None, list[str]]
"""A picture, its hole (1, 1, H, W), the hole's weight (see `widen`), and what to say about it."""
HoleOf = Callable[[Picture, str, Path | None], tuple[np.ndarray, np.ndarray | None, list[str]]]
"""The hole of a picture, given its path and its mask; its weight (see `widen`), and what to say about it."""


@dataclass(frozen=True)
class Filler:
    """By what a picture is filled and where, at which `quality` it is written where its format has one, and how many bytes that
    may take at `most`."""

    inpainter: "Inpainter"
    hole_of: HoleOf
    quality: int | None = None
    most: int | None = None


@dataclass(frozen=True)
class Job:
    """One picture to fill. `name` is its path within the folder; `kept` is where its hole is written as a mask, if anywhere;
    `problem` says why it cannot be filled."""

    name: str
    photo: Path
    mask: Path | None
    output: Path
    kept: Path | None = None
    problem: str = ""
    skip: bool = False  # what would be written is there already


@dataclass(frozen=True)
class Plan:
    """What is to be done with a folder. `notes` are for the person: shared masks, masks without a picture, other files. To the
    folder `keep`, if any, the holes will be written as masks."""

    out: Path
    jobs: list[Job]
    notes: list[str]
    keep: Path | None = None

    @property
    def to_fill(self) -> list[Job]:
        return [job for job in self.jobs if not (job.problem or job.skip)]


@dataclass(frozen=True)
class Result:
    """What became of one picture. `kept` is where its hole was written as a mask; `coverage` is the share filled; `seconds` is
    the time in the network alone, by `plan`."""

    status: Literal["filled", "skipped", "failed"]
    output: str | None = None
    mask: str | None = None
    kept: str | None = None
    coverage: float | None = None
    seconds: float | None = None
    plan: str | None = None
    notes: list[str] = field(default_factory=list[str])
    error: str | None = None


@dataclass
class Summary:
    """What became of every picture, by its name. `write` leaves it as JSON in the output folder."""

    model: str
    runtime: str
    files: dict[str, Result] = field(default_factory=dict[str, Result])

    def count(self, status: str) -> int:
        return sum(result.status == status for result in self.files.values())

    def write(self, plan: Plan) -> None:
        record = {
            "mend": __version__,
            "model": self.model,
            "runtime": self.runtime,
            "pictures": len(plan.jobs),
            **{status: self.count(status) for status in ("filled", "skipped", "failed")},
            "notes": plan.notes,
            **({"masks_kept": os.path.relpath(plan.keep, plan.out)} if plan.keep else {}),
            "files": {
                name: {key: value for key, value in asdict(result).items() if value not in (None, [])}
                for name, result in sorted(self.files.items())
            },
        }
        write_bytes(plan.out / SUMMARY, json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n")


# --- Who belongs to whom ---------------------------------------------------------------------------------------------


def plan_folder(
    photos: str | Path,
    out: str | Path,
    masks: str | Path | None = None,
    pattern: str = "{stem}",
    suffix: str | None = None,
    skip_existing: bool = False,
    keep: Path | None = None,
) -> Plan:
    """What to fill, with which mask, to where. Nothing is written.

    `masks` is one mask for all; or a folder, in which the mask of a/b.jpg is called a/b, or what `pattern` makes of b, whatever
    its suffix (.json, COCO annotations, where there is no picture); or None where holes come from elsewhere. Outputs mirror the
    tree of `photos`, in formats by `output_suffix` or in that of `suffix`. Pictures below `out` or a mask folder, and the
    masks themselves, are not filled. To the folder `keep`, if any, the holes will be written as masks.

    A picture whose mask is missing or undecided has a `problem`: it counts as failed, since a mask that was misnamed would
    otherwise be noticed by nobody. So have pictures that would become one file, all of them. Raises InputError where no picture
    has a mask, and where an output would overwrite an input.
    """
    photos, out, masks = Path(photos), Path(out), None if masks is None else Path(masks)
    if "{stem}" not in pattern:
        raise InputError(f"the pattern is {pattern!r}; expected a name with {{stem}} in it, such as {{stem}}_mask.")
    if not photos.is_dir():
        raise InputError(f"there is no folder {photos}.")
    if masks is not None and not masks.exists():
        raise InputError(f"there is no mask or folder of masks {masks}.")
    if _identity(out) == _identity(photos):
        raise InputError(f"{out} is the folder of the pictures; filling would overwrite them. Choose another --output.")
    if keep is not None and _identity(keep) == _identity(photos):
        raise InputError(f"{keep} is the folder of the pictures; a mask there would be one. Choose another --keep-mask.")
    if keep is not None and _identity(keep) == _identity(out):
        raise InputError(f"{keep} is the --output, where a picture has the name of its mask. Choose another --keep-mask.")
    if suffix is not None and not format_of(f".{suffix.lstrip('.')}"):
        raise InputError(f"{suffix!r} is no format that can be written. Use png, jpg, webp or tif.")
    aside = {_identity(folder) for folder in (out, masks, keep) if folder and _below(folder, {_identity(photos)})}
    earlier = [folder for folder in _earlier(photos) if _below(folder, {_identity(photos)}) and not _within(folder, aside)]
    aside |= {_identity(folder) for folder in earlier}
    mask_files = [] if masks is None else [masks]
    if masks is not None and masks.is_dir():
        ours = {_identity(folder) for folder in (out, keep, *earlier) if folder and _below(folder, {_identity(masks)})}
        mask_files = [file for file in picture_files(masks, ".json") if file.name != SUMMARY and not _below(file, ours)]
        if not mask_files:
            raise InputError(f"no masks in {masks}: it holds no pictures or COCO annotations but what was filled before.")
    pictures = [file for file in picture_files(photos) if not _below(file, aside)]
    if masks is None or not masks.is_dir():
        masks_of = {picture: list(mask_files) for picture in pictures}
    else:
        masks_of = _masks_by_name(pictures, photos, mask_files, masks, pattern)
    used = {_identity(mask) for picture, found in masks_of.items() for mask in found if mask != picture}
    pictures = [picture for picture in pictures if _identity(picture) not in used]
    if not pictures:
        raise InputError(f"no pictures to fill in {photos}: what is there belongs to the masks or to the output.")
    if masks is not None and not any(masks_of[picture] for picture in pictures):
        wanted = _wanted(pictures[0].relative_to(photos), pattern).with_suffix(".png").as_posix()
        raise InputError(
            f"none of the {len(pictures)} pictures of {photos} has a mask in {masks}: {pictures[0].name} needs {wanted} or the "
            f"like, and there is {_some(mask_files, masks)}. Names that differ need a --pattern, such as '{{stem}}_mask'."
        )
    jobs = []
    for picture in pictures:
        place, found = picture.relative_to(photos), masks_of[picture]
        written = output_suffix(place.suffix, peek(picture)[0]) if suffix is None else f".{suffix.lstrip('.')}"
        output = out / place.with_suffix(written)
        problem = ""
        if masks is not None and not found:
            problem = f"it has no mask: expected {(masks / _wanted(place, pattern)).with_suffix('.png')} or the like"
        elif len(found) > 1:
            problem = f"it has {len(found)} masks: {_some(found, masks)}. Keep one."
        mask = found[0] if len(found) == 1 else None
        kept = None if keep is None else keep / place.with_suffix(".png")
        skip = skip_existing and not problem and all(file is None or _is_there(file) for file in (output, kept))
        jobs.append(Job(place.as_posix(), picture, mask, output, kept, problem, skip))
    jobs = _told_apart(jobs, _ignores_case(out))
    _check_outputs(jobs, mask_files)
    notes = _notes(jobs, photos, mask_files, aside)
    if earlier:
        notes.append(f"left alone, since it was filled by an earlier run: {_some(earlier, photos)}")
    if suffix is None and (changed := [job.photo for job in jobs if job.output.suffix != job.photo.suffix]):
        notes.append(f"{AS_PNG}: {_some(changed, photos)}")
    return Plan(out, jobs, notes, keep)


def _identity(path: Path) -> object:
    """Equal for all names of one file or folder, also those that differ in case where the disk ignores that."""
    try:
        found = path.stat()
        return found.st_dev, found.st_ino
    except OSError:  # it is not there
        return os.path.realpath(path)


def _earlier(photos: Path) -> list[Path]:
    """The outputs and the kept masks of earlier runs, by what they left in their summaries."""
    found = []
    for summary in sorted(photos.rglob(SUMMARY)):
        found.append(summary.parent)
        with suppress(ValueError, AttributeError, TypeError):  # another program's, or what was left of one
            kept = json.loads(summary.read_text(encoding="utf-8")).get("masks_kept")
            found.append(Path(os.path.normpath(summary.parent / kept)))
    return found


def _is_there(file: Path) -> bool:
    """An empty file is what another program left of one."""
    return file.is_file() and file.stat().st_size > 0


def _below(path: Path, folders: set[object]) -> bool:
    """Whether one of the `folders`, each an `_identity`, holds the path."""
    return bool(folders) and any(_identity(parent) in folders for parent in Path(os.path.realpath(path)).parents)


def _within(path: Path, folders: set[object]) -> bool:
    return _identity(path) in folders or _below(path, folders)


def _ignores_case(folder: Path) -> bool:
    """Whether its disk takes A and a for one name, seen at the nearest folder around it that is there and has letters."""
    for there in (found := Path(os.path.realpath(folder)), *found.parents):
        if there.exists() and there.name.swapcase() != there.name:
            return _identity(there.with_name(there.name.swapcase())) == _identity(there)
    return False


def _masks_by_name(
    pictures: list[Path], photos: Path, mask_files: list[Path], masks: Path, pattern: str
) -> dict[Path, list[Path]]:
    """For each picture the masks that its name asks for: best one, else none or several."""
    named = defaultdict(list)
    for mask in mask_files:
        named[_folded(mask.relative_to(masks))].append(mask)
    masks_of = {}
    for picture in pictures:
        place = _wanted(picture.relative_to(photos), pattern)
        found = named.get(_folded(place), [])
        # A.jpg takes a.png where there is no A.png; a.png takes a.png before a.tif.
        found = [mask for mask in found if mask.stem == place.stem] or found
        annotated = [mask for mask in found if mask.suffix.lower() == ".json"]
        if picture in found:  # the masks lie beside the pictures
            found = annotated or found
        elif len(annotated) < len(found):
            found = [mask for mask in found if mask not in annotated]
        masks_of[picture] = [mask for mask in found if mask == masks / place] or found
    if masks_of and all(found == [picture] for picture, found in masks_of.items()):
        raise InputError(f"{masks} holds pictures and masks; say how masks are called: --pattern '{{stem}}_mask'.")
    return masks_of


def _wanted(place: PurePath, pattern: str) -> PurePath:
    """Where a picture's mask should be in the mask folder; another suffix will do, too."""
    name = pattern.replace("{stem}", place.stem)
    has_suffix = PurePath(pattern).suffix.lower() in Image.registered_extensions()  # "{stem}_mask.png" is what people write
    return place.parent / (name if has_suffix else name + place.suffix)


def _folded(place: PurePath) -> str:
    """A name without its suffix, for systems that ignore case or store é as two characters."""
    return _normal(place.with_suffix("").as_posix())


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _told_apart(jobs: list[Job], ignoring_case: bool) -> list[Job]:
    """The jobs, with a problem for each of those that would become one file: which of them it shows would be chance."""

    def name(file: Path) -> str:
        return _normal(file.as_posix()) if ignoring_case else file.as_posix()

    becoming: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        if not job.problem:
            for file in _written(job):
                becoming[name(file)].append(job.name)
    told = []
    for job in jobs:
        shared = [file for file in _written(job) if len(becoming[name(file)]) > 1]
        if not job.problem and shared:
            names = " and ".join(becoming[name(shared[0])])
            problem = f"{names} would all become {shared[0]}. Rename them, or move them apart."
            job = replace(job, problem=problem, skip=False)
        told.append(job)
    return told


def _written(job: Job) -> list[Path]:
    return [job.output] if job.kept is None else [job.output, job.kept]


def _check_outputs(jobs: list[Job], mask_files: list[Path]) -> None:
    """Nothing is done where something would be lost."""
    inputs = {_identity(file) for file in [*(job.photo for job in jobs), *mask_files]}
    for job in jobs:
        for file, flag in ((job.output, "--output"), (job.kept, "--keep-mask")):
            if file is not None and _identity(file) in inputs:
                raise InputError(f"{file} is an input; filling {job.name} would overwrite it. Choose another {flag}.")


def _notes(jobs: list[Job], photos: Path, mask_files: list[Path], aside: set[object]) -> list[str]:
    """What the person may not expect."""
    notes = []
    sharing: dict[Path, list[str]] = defaultdict(list)
    for job in jobs:
        if job.mask is not None:
            sharing[job.mask].append(job.name)
    filled = {job.photo for job in jobs}
    if len(mask_files) > 1:
        notes += [f"{' and '.join(names)} share the mask {mask.name}" for mask, names in sharing.items() if len(names) > 1]
        idle = [mask for mask in mask_files if mask not in sharing and mask not in filled]
        if idle:
            notes.append(f"masks not used: {_some(idle)}")
    aside = aside | {_identity(hidden) for hidden in photos.rglob(".*")}
    known = {_identity(file) for file in [*filled, *mask_files]} | aside
    files = (file for file in sorted(photos.rglob("*")) if file.is_file())
    others = [file for file in files if not _within(file, known)]
    if others:
        notes.append(f"no pictures, left alone: {_some(others, photos)}")
    return notes


def _some(files: list[Path], root: Path | None = None, most: int = 5) -> str:
    names = [file.relative_to(root).as_posix() if root else file.name for file in files[:most]]
    return ", ".join(names) + (f" and {len(files) - most} more" if len(files) > most else "")


# --- Doing it --------------------------------------------------------------------------------------------------------


def mask_hole(marked: str = "auto", grow: int = 0, feather: int = 0, most: int | None = None) -> HoleOf:
    """Holes read from masks; see `understand_mask` and `widen`. InputError for a picture of a mask that takes more than `most`
    bytes to read."""

    def hole_of(picture: Picture, name: str, mask: Path | None) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
        if mask is None:
            raise InputError("this picture has no mask.")
        if most is not None:
            check_mask(mask.name, peek(mask)[1], picture.pixels[..., 0].size, most)
        reading = understand_mask(mask, picture.pixels.shape[:2], marked, name)
        return *widen(reading.hole, grow, feather), reading.notes

    return hole_of


def object_hole(name: str, segmenter: str, device: str = "auto", grow: int | None = None, feather: int = 0) -> HoleOf:
    """Holes where an object is found; see `object_finder`. Grown by 2 % of the longer side unless `grow` is given."""
    from mend.segment.networks import load_segmenter
    from mend.segment.objects import GROW, object_finder

    find = object_finder(name, load_segmenter(segmenter, device))

    def hole_of(picture: Picture, name: str, mask: Path | None) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
        found, what = find(to_pixels(picture.image())[0])
        radius = round(GROW * max(found.shape)) if grow is None else grow
        return *widen(found, radius, feather), [f"object: {what}, {share(found > 0)} of the picture, grown by {radius} pixels"]

    return hole_of


def fill_folder(
    plan: Plan,
    filler: Filler,
    on_file: Callable[[str, Result, int, int], None] | None = None,
) -> Summary:
    """Fill the pictures of a plan. What goes wrong with one is its result; the others are filled all the same.

    `filler.hole_of` is called in several threads. `on_file(name, result, done, of)` is called after each picture. The summary
    is written as well, to mend-fill.json in the output folder. The processes of a job (see `mend.distributed`) share the
    pictures; the first has the whole summary, each other one that of its share.

    Files are written whole or not at all: after Ctrl-C, which goes on as a KeyboardInterrupt that says how far it got, those
    that are there are right. A full disk raises OSError at once.
    """
    begun = time.time()
    alone = filler.most is not None  # then one picture at a time is in memory: a plan counts no more
    ahead = 1 if alone else AHEAD
    summary = Summary(filler.inpainter.name, filler.inpainter.runtime)
    mine = plan.jobs[distributed.RANK :: distributed.WORLD]
    if filler.quality is not None:
        check_quality(next((job.output for job in plan.jobs if has_quality(job.output)), plan.jobs[0].output), filler.quality)
    if plan.keep is not None:
        make_folder(plan.keep)
    distributed.run_first(
        lambda: summary.write(plan)
    )  # a folder that cannot be written is an error before the work, not after it

    def read(job: Job) -> Read:
        picture = read_image(job.photo)
        check_fits(job.output, picture)
        hole, weight, notes = filler.hole_of(picture, str(job.photo), job.mask)
        return picture, hole, weight, notes

    def write(job: Job, picture: Picture, hole: np.ndarray, filled: Picture, result: Result) -> None:
        if job.kept is not None:  # first: what was filled can be verified, also after a stop between the two
            write_mask(job.kept, hole)
        quality = filler.quality if has_quality(job.output) else None
        if copied(job.output, job.photo, picture, hole, quality):
            result.notes[:] = [COPIED]
        else:
            result.notes.extend(write_filled(job.output, picture, hole, filled, quality))
        summary.files[job.name] = result  # here, in the thread, so that Ctrl-C cannot come between

    def settle(job: Job, result: Result | BaseException | None = None) -> None:
        if isinstance(result, OSError) and result.errno == errno.ENOSPC:
            raise result
        if isinstance(result, BaseException):
            said = str(result) if isinstance(result, (InputError, OSError)) else f"{type(result).__name__}: {result}"
            result = Result("failed", mask=_text(job.mask), error=said)
        if result is not None:
            summary.files[job.name] = result
        if on_file is not None:
            on_file(job.name, summary.files[job.name], len(summary.files), len(mine))

    def fill(job: Job, future: Future[Read], pool: ThreadPoolExecutor) -> Future[None]:
        picture, hole, weight, notes = future.result()
        start, how = time.perf_counter(), filler.inpainter.plan(hole, filler.most)
        filled = filler.inpainter.fill_picture(picture, hole, weight, how)
        seconds = round(time.perf_counter() - start, 3)
        notes = [*filled.notes, *notes]
        coverage = round(float(hole.mean()), 4)
        result = Result("filled", str(job.output), _text(job.mask), _text(job.kept), coverage, seconds, str(how), notes)
        return pool.submit(write, job, picture, hole, filled, result)

    def fill_all(jobs: deque[Job], pool: ThreadPoolExecutor) -> None:
        reading: deque[tuple[Job, Future[Read]]] = deque()
        writing: deque[tuple[Job, Future[None]]] = deque()
        while jobs or reading or writing:
            while jobs and len(reading) < ahead and not (alone and writing):
                reading.append((jobs[0], pool.submit(read, jobs.popleft())))
            if len(writing) == ahead or not reading:
                job, written = writing.popleft()
                settle(job, written.exception())
                continue
            job = reading[0][0]
            try:
                writing.append((job, fill(*reading.popleft(), pool)))
            except Exception as error:
                settle(job, error)

    # Where PyTorch is, a thread that starts while a small scale is filled would keep to one core (see `pyramid.same_sums`).
    torch = sys.modules.get("torch")
    keep = partial(torch.set_num_threads, torch.get_num_threads()) if torch else None
    todo = deque[Job]()
    for job in mine:
        if job.problem:
            settle(job, InputError(job.problem))
        elif job.skip:
            settle(job, Result("skipped", str(job.output), _text(job.mask)))
        else:
            todo.append(job)
    try:
        with ThreadPoolExecutor(ahead, initializer=keep) as pool:  # leaving it, by Ctrl-C too, waits for what is being written
            fill_all(todo, pool)
        for files in distributed.gather(summary.files):
            summary.files.update(files)
    except KeyboardInterrupt:
        # Of all processes; what an older run left is not counted.
        there = [job for job in plan.jobs if job.output.exists()]
        done = sum(job.skip or job.output.stat().st_mtime >= begun - 1 for job in there)
        raise KeyboardInterrupt(
            f"The same command goes on with --skip-existing: {done} of {len(plan.jobs)} pictures are in {plan.out}."
        ) from None
    finally:
        if distributed.FIRST:
            summary.write(plan)
    return summary


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
