"""The verbs of those who want something gone from a picture: fill, mask check, verify, studio."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import App, Parameter

from mend import distributed
from mend.cli.app import QUIET, Device, Flag, app
from mend.cli.files import STANDARD, STANDARD_OUTPUT, File, check_writable, is_stream, read_once, send
from mend.errors import InputError, show_flags
from mend.filling.options import Options
from mend.progress import progress, split_report

if TYPE_CHECKING:
    import numpy as np

    from mend.filling.job import Job
    from mend.filling.pairing import Plan
    from mend.filling.summary import Outcome

mask_app = App(name="mask", help="Check a mask before you fill.")
app.command(mask_app)

Output = Annotated[File | None, Parameter(alias="-o")]
Marked = Annotated[str, Parameter(name="--hole", help="what marks the hole in the mask: auto, {holes}.")]
Chosen = Annotated[Options, QUIET, Parameter(name="*")]


@app.command
def fill(
    photo: File,
    *,
    mask: File | None = None,
    masks: File | None = None,
    output: Output = None,
    options: Chosen = Options(),  # noqa: B008 (it is frozen)
    preview: File | None = None,
    keep_mask: File | None = None,
    pattern: str = "{stem}",
    suffix: Annotated[str | None, Parameter(name="--format")] = None,
    skip_existing: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Fill a part of a photograph, or of every photograph in a folder. In lossless formats all other pixels keep their values.

    A folder is read with its subfolders.
    If a picture cannot be filled, mend names it, fills the others, and exits with 1.
    OUTPUT/mend-fill.json lists what happened to each picture.

    Args:
        photo: the picture, of 8 or 16 bits, grey or colour, with or without transparency; - for standard input. Or a folder.
        mask: a picture that is white where you want to fill; the photograph itself, painted over there; or annotations of COCO
            or LabelMe (.json). If it can be read in more than one way, mend stops and names the ways. For a folder: one mask
            for all pictures, or annotations of them. - for standard input.
        masks: folder of masks, for a folder of pictures: the mask of a/b.jpg is a/b.png, or has another suffix, such as .json.
        output: file to write, in the format of its suffix; - for standard output. Default: PHOTO-filled, beside the photo, in
            its format if that is PNG, JPEG, WebP or TIFF, else as PNG. For a folder: another folder, which you have to name.
        preview: write the picture with the hole marked on it to this file, and fill nothing.
        keep_mask: write the filled area as a mask to this PNG, for 'mend verify'. For a folder: another folder.
        pattern: how the files in --masks are named, such as {stem}_mask.
        suffix: format of all outputs of a folder, such as png. Default: as for a single photo.
        skip_existing: skip the pictures of a folder whose output exists, to continue a run that was stopped.
        dry_run: list what would be done with a folder, and write nothing.
    """
    options.check()
    _check_one_hole({"--mask": mask, "--masks": masks, "--object": options.object})
    if pattern != "{stem}" and not (masks and photo.is_dir()):
        raise InputError("--pattern says what masks in a folder are called; it fits a folder of pictures with --masks FOLDER.")
    if not photo.is_dir():
        flags = {"--masks": masks, "--format": suffix, "--skip-existing": skip_existing, "--dry-run": dry_run}
        if given := [flag for flag, value in flags.items() if value]:
            todo = "Name its mask by --mask." if masks else f"Leave {'it' if len(given) == 1 else 'them'} out."
            are = "is" if len(given) == 1 else "are"
            raise InputError(f"{photo} is no folder; {', '.join(given)} {are} for a folder of pictures. {todo}")
        if distributed.FIRST:  # of one picture there are no parts to share
            _fill_file(photo, mask, output, options, preview, keep_mask)
        return
    if preview is not None:
        raise InputError(
            f"{photo} is a folder, and --preview shows one picture. Name one, or see what would be done: --dry-run."
        )
    if output is None or is_stream(output):
        raise InputError(f"{photo} is a folder. Name another one for the results: --output FOLDER.")
    from mend.filling.pairing import plan_folder

    plan = plan_folder(photo, output, mask or masks, pattern, suffix, skip_existing, keep_mask)
    if dry_run:
        _print_plan(plan)
    else:
        _fill_folder(plan, options)


def _check_one_hole(given: dict[str, object]) -> None:
    """InputError unless one flag says what is to be filled."""
    flags = [flag for flag, value in given.items() if value is not None]
    if not flags:
        raise InputError(
            "what is to be filled? Add --mask FILE, a picture that is white there, or --object NAME. For a folder of pictures "
            "there is --masks FOLDER, too."
        )
    if len(flags) > 1:
        raise InputError(f"{' and '.join(flags)} both say what is to be filled; give one of them.")


# --- One picture -----------------------------------------------------------------------------------------------------


def _fill_file(
    photo: Path, mask: Path | None, output: Path | None, options: Options, preview: Path | None, keep_mask: Path | None
) -> None:
    from mend.filling.job import AS_PNG, Job, fill_file
    from mend.images import name_output, peek

    if photo == mask == STANDARD:
        raise InputError("photo and mask are both to come from standard input, which holds one file. Name the other.")
    name, target = "the picture" if is_stream(photo) else photo.name, output
    if output is None and preview is None:
        if is_stream(photo):
            raise InputError(
                "the picture has no name from which to make another. Name a file with --output, or give --output -."
            )
        target = name_output(photo, peek(photo)[0])
        if target.exists():
            raise InputError(
                f"{target} is there already, from this picture or from another of that name. Choose a name with --output; mend "
                "overwrites a file that you name."
            )
    stream = output if output is not None and is_stream(output) else None
    if output is not None and stream is None and (output.is_dir() or not output.suffix):
        example = output / ("filled.png" if is_stream(photo) else name_output(photo, peek(photo)[0]).name)
        raise InputError(f"{output} does not name a picture file. Name one, such as {example}.")
    if stream is not None:
        check_writable(stream)
        target = None
    job = Job(read_once(photo), mask and read_once(mask), preview or target, keep_mask, options=options)
    if preview is not None:
        _write_preview(job, preview, name)
        return
    with progress("fill", "%") as report:
        (in_percent,) = split_report(report, [100])
        result = fill_file(job, None, in_percent, lambda plan: print(f"plan: {plan}", file=sys.stderr))
    notes = list(result.notes)
    if output is None and target is not None and target.suffix != photo.suffix:
        notes.append(AS_PNG)
    if stream is not None and result.data is not None:
        send(result.data, stream)
    written = target or ("standard output" if stream in STANDARD_OUTPUT else stream)
    _say(
        f"{written}: {result.coverage:.1%} of {name} filled",
        notes,
        keep_mask,
        sys.stderr if stream else sys.stdout,
    )


def _write_preview(job: "Job", output: Path, name: str) -> None:
    """Write the picture with its hole shown on it, and the mask, and fill nothing."""
    from mend.filling.job import read_job
    from mend.masks.hole import write_mask

    work = read_job(job)
    _show_hole(output, work.picture.image(), work.hole)
    if job.keep_mask is not None:
        write_mask(job.keep_mask, work.hole)
    _say(f"{output}: {work.hole.mean():.1%} of {name} to be filled", work.notes, job.keep_mask)


def _say(what: str, notes: list[str], keep_mask: Path | None, stream: TextIO | None = None) -> None:
    kept = [f"its mask: {keep_mask}"] if keep_mask else []
    print(show_flags("\n  ".join([what, *notes, *kept])), file=stream)


def _show_hole(output: Path, image: "np.ndarray", hole: "np.ndarray") -> None:
    from mend.images import to_pixels, write_image
    from mend.masks.hole import draw_preview

    write_image(output, draw_preview(to_pixels(image)[0], hole))


# --- A folder --------------------------------------------------------------------------------------------------------


def _print_plan(plan: "Plan") -> None:
    if not distributed.FIRST:
        return
    for pair in plan.pairs:
        if pair.problem:
            print(f"{pair.name}: {pair.problem}")
        else:
            place = "is there already, skipped" if pair.skip else "is overwritten" if pair.output.exists() else "is new"
            kept = f", its mask → {pair.kept}" if pair.kept else ""
            print(f"{pair.name} + {pair.mask or 'its object'} → {pair.output} ({place}){kept}")
    failing, skipped = (sum(map(bool, column)) for column in zip(*((p.problem, p.skip) for p in plan.pairs), strict=True))
    print(f"{len(plan.to_fill)} to fill, {skipped} skipped, {failing} that cannot be filled; nothing was done")
    print("".join(f"  {note}\n" for note in plan.notes), end="")
    if failing:
        sys.exit(1)


def _fill_folder(plan: "Plan", options: Options) -> None:
    from mend.filling.folder import AHEAD, fill_folder
    from mend.filling.job import load_inpainter
    from mend.filling.summary import STATUSES, SUMMARY
    from mend.filling.verify import COPIED
    from mend.images import name_format
    from mend.inpaint.plan import format_memory

    inpainter = load_inpainter(options)
    if distributed.FIRST:
        how = f"up to {AHEAD} read ahead"
        if options.most_memory is not None:
            how = f"one at a time, each in at most {format_memory(options.most_memory)} of memory"
        print(f"plan: {len(plan.to_fill)} of {len(plan.pairs)} pictures, {how}; {inpainter.runtime}", file=sys.stderr)
    with progress("fill", "pictures") as report:

        def on_file(name: str, outcome: "Outcome", done: int, of: int) -> None:
            if outcome.error:
                print(show_flags(f"{name}: {outcome.error}"), file=sys.stderr)
            if outcome.status == "filled" and distributed.FIRST:  # what took no time does not count into the rate
                report(done, of)

        summary = fill_folder(plan, options, inpainter, on_file)
    if not distributed.FIRST:
        return
    counts = ", ".join(f"{summary.count(status)} {status}" for status in STATUSES)
    print(f"{plan.output}: {counts} of {len(plan.pairs)} pictures; {plan.output / SUMMARY} has them all")
    filled = [outcome for outcome in summary.files.values() if outcome.status == "filled" and outcome.notes != [COPIED]]
    names = [Path(outcome.output or "") for outcome in filled]
    if encoded := sum(name_format(name.suffix) == "JPEG" for name in names):
        are = "of them is a JPEG, which changes" if encoded == 1 else "of them are JPEGs, which change"
        print(f"  {encoded} {are} a little around the hole; --format png keeps every value")
    if plan.keep_mask:
        print(f"  their masks: {plan.keep_mask}")
    print("".join(f"  {note}\n" for note in plan.notes), end="")
    if summary.count("failed"):
        sys.exit(1)


# --- Masks, proof, page ----------------------------------------------------------------------------------------------


@mask_app.command
def check(mask: File, *, photo: File | None = None, marked: Marked = "auto", output: Output = None) -> None:
    """Say how a mask is read and what would be filled. Exits with 1 if it can be read in more than one way.

    Args:
        mask: a picture, or annotations of COCO or LabelMe (.json).
        photo: the picture that the mask belongs to, to check that they fit.
        output: picture to write: the photo with the hole marked on it; plain grey without --photo.
    """
    import numpy as np

    from mend.filling.job import refuse_overwriting
    from mend.images import read_image
    from mend.masks.hole import find_parts
    from mend.masks.reading import understand_mask

    if output is not None:
        refuse_overwriting(output, mask, *([photo] if photo else []))
    picture = read_image(photo) if photo else None
    size = picture.pixels.shape[:2] if picture else None
    reading = understand_mask(mask, size, marked, str(photo or ""), picture)
    found = find_parts(reading.hole)
    print(show_flags("\n  ".join([reading.seen, *reading.notes])))
    print(f"hole: {reading.marked}, {reading.hole.mean():.1%} of the picture, {len(found)} part{'s' * (len(found) != 1)}")
    if len(found):
        x, y, width, height, pixels = found[0]
        print(f"largest part: {width}×{height} at x {x}, y {y}, {pixels} pixels")
    if output is not None:
        image = picture.image() if picture else np.full((1, 3, *reading.hole.shape[-2:]), 0.6)
        _show_hole(output, image, reading.hole)
        print(output)


@app.command
def verify(photo: File, mask: File, filled: File, *, marked: Marked = "auto", grow: int = 0) -> None:
    """Prove that nothing changed outside the mask. Exits with 1 if a single pixel differs.

    Args:
        photo: the picture before.
        mask: white where it was filled.
        filled: the picture after, from any program.
        grow: pixels by which the hole was enlarged when it was filled.
    """
    from mend.filling.verify import verify as run

    verdict, lines = run(photo, mask, filled, marked, grow)
    print(f"{filled}: {verdict}" + "".join(f"\n  {line}" for line in lines))
    if not verdict.untouched:
        sys.exit(1)


@app.command
def studio(
    models: Annotated[list[str] | None, Parameter(negative=())] = None,
    *,
    port: int = 7860,
    host: str = "127.0.0.1",
    auth: str | None = None,
    open_page: bool = True,
    device: Device = "auto",
) -> None:
    """Open a page in your browser on which you remove things from pictures. Nothing leaves this computer.

    Args:
        models: more networks to offer: folders that 'mend train' made, and names or files as for 'mend fill --model'.
        port: port of the page; 0 takes a free one.
        host: address to listen on. Any other than 127.0.0.1 lets other computers in, and needs --auth.
        auth: NAME:PASSWORD that visitors have to enter.
        open_page: open the page in the browser, if there is one.
    """
    from mend.studio import studio as run

    run(models or [], host, port, auth, device, open_page)
