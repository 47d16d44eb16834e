"""The verbs of those who want something gone from a picture: fill, mask check, verify, studio."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from mend import distributed
from mend.cli.app import SEGMENTER, Device, Flag, Whole, app
from mend.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from mend.filling.folder import Filler, Result
    from mend.filling.folder import Plan as FolderPlan

mask_app = App(name="mask", help="Look at one mask.")
app.command(mask_app)

Output = Annotated[Path | None, Parameter(alias="-o")]
Marked = Annotated[
    Literal["auto", "white", "black", "opaque", "transparent", "painted"],
    Parameter(name="--hole", help="What marks the hole in the mask; painted is what is strongly coloured."),
]


@app.command
def fill(
    photo: Path,
    *,
    mask: Path | None = None,
    masks: Path | None = None,
    of_object: Annotated[str | None, Parameter(name="--object")] = None,
    output: Output = None,
    model: str | None = None,
    marked: Marked = "auto",
    grow: Whole | None = None,
    feather: Whole = 0,
    texture: Flag = False,
    seam: Flag = False,
    preview: Path | None = None,
    keep_mask: Path | None = None,
    quality: Whole | None = None,
    max_memory: str | None = None,
    segmenter: str = SEGMENTER,
    pattern: str = "{stem}",
    suffix: Annotated[str | None, Parameter(name="--format")] = None,
    skip_existing: Flag = False,
    dry_run: Flag = False,
    device: Device = "auto",
) -> None:
    """Fill a part of a photograph of any size, or of a folder of them. In lossless formats every other pixel stays as it is.

    A folder is searched through, and its tree mirrored. A picture that cannot be filled is named and the others are filled; the
    exit code is then 1. OUTPUT/mend-fill.json says what became of each.

    Args:
        photo: the picture; 8 or 16 bits, grey or colour, with or without alpha. Or a folder of pictures.
        mask: white where the picture is to be filled, or COCO annotations (.json); what cannot be decided is asked. One
            for all pictures of a folder, or annotations of them all.
        masks: folder of masks, for a folder of pictures: that of a/b.jpg is a/b.png, or has another suffix, .json for COCO.
        of_object: fill an object instead of a mask: its name, such as dog or person, or largest.
        output: file to write; its suffix names the format. PHOTO-filled beside the photo unless given: PNG, JPEG, WebP and
            TIFF in their own format, all others as PNG. For a folder: another.
        model: run folder, model folder, or mean-colour, telea, navier-stokes, biharmonic; the network in the box unless given.
        grow: pixels by which the hole is made larger on every side; 2 % of the longer side for an object, else 0, unless given.
        feather: pixels of the grown part, from its rim, over which the filling fades into the picture.
        texture: make the filling anew of patches of the picture around it: sharper, and farther from the truth on average.
        seam: even out what a network of yours (--model) misses the picture by around the hole; the one in the box does not.
        preview: write the picture with the hole shown on it to this file, and fill nothing.
        keep_mask: PNG to write: the hole that was filled, an object's too, as a mask, which 'mend verify' asks for. For a
            folder of pictures: a folder to write them to.
        quality: 1 to 100, of a JPEG, WebP or AVIF; else a JPEG keeps its own tables, a WebP stays lossless, others are 95.
        max_memory: memory that the command may take, such as 2GB; large pictures are then worked through in smaller tiles, and
            those of a folder one after another. Not with --object, since what finds it is not counted.
        segmenter: what finds --object: deeplabv3_resnet50, deeplabv3_resnet101, deeplabv3_mobilenet_v3_large, hf:owner/name,
            hf:FOLDER; or felzenszwalb, which finds the largest only, and not reliably in photographs.
        pattern: what the masks in --masks are called, such as {stem}_mask.
        suffix: format of all outputs of a folder, such as png; for each as for one photo unless given.
        skip_existing: leave out pictures of a folder whose output is there, to go on with a run that was stopped.
        dry_run: print what would be done with a folder, and do nothing.
    """
    from mend.filling.folder import AS_PNG, Filler, mask_hole, object_hole, plan_folder
    from mend.filling.inpainter import load
    from mend.filling.verify import COPIED, copied, write_filled
    from mend.images import check_fits, output_beside, read_image
    from mend.inpaint.plan import memory_size
    from mend.masks.hole import write_mask
    from mend.progress import progress, shared

    if [mask, masks, of_object].count(None) != 2:
        raise InputError("what is to be filled? Give one of --mask FILE, --object NAME and, for a folder, --masks FOLDER.")
    if of_object and marked != "auto":
        raise InputError(
            "--hole says what marks the hole in a mask, and does not fit --object, which needs none. Leave it out."
        )
    if pattern != "{stem}" and not (masks and photo.is_dir()):
        raise InputError("--pattern says what masks in a folder are called; it fits a folder of pictures with --masks FOLDER.")
    most = memory_size(max_memory) if max_memory else None
    if of_object and most is not None:
        raise InputError("--max-memory does not count what finds an object. Leave it out, or give a --mask.")
    if of_object:  # called when it is needed: it loads a network
        find = partial(object_hole, of_object, segmenter, device, grow, feather)
    else:
        find = partial(mask_hole, marked, grow or 0, feather, most)
    if photo.is_dir():
        if output is None or preview is not None:
            raise InputError(f"{photo} is a folder; give --output, a folder to write to, and no --preview.")
        folder = plan_folder(photo, output, mask or masks, pattern, suffix, skip_existing, keep_mask)
        if dry_run:
            _print_plan(folder)
        else:
            _fill_folder(folder, Filler(load(model, device, texture, seam), find(), quality, most))
        return
    if masks or suffix or skip_existing or dry_run:
        raise InputError(f"{photo} is no folder; --masks, --format, --skip-existing and --dry-run are for folders.")
    if not distributed.FIRST:  # of one picture there are no parts to share
        return
    picture = read_image(photo)
    target = preview or output or output_beside(photo, picture)
    _spare(target, photo, *([mask] if mask else []))
    if keep_mask is not None:
        _spare(keep_mask, photo, *([mask] if mask else []))
        same = str(keep_mask.resolve()).casefold() == str(target.resolve()).casefold()
        if keep_mask.suffix.lower() != ".png" or same:
            raise InputError(f"--keep-mask is {keep_mask}; a mask is kept as .png, in a file of its own.")
    if output is None and preview is None and target.exists():
        raise InputError(f"{target} is there already. Remove it, or name the file with --output, which overwrites.")
    hole, weight, notes = find()(picture, str(photo), mask)
    if preview is not None:
        _show_hole(preview, picture.image(), hole)
        done = "to be filled"
    else:
        check_fits(target, picture, quality)
        inpainter = load(model, device, texture, seam)
        plan = inpainter.plan(hole, most)
        print(f"plan: {plan}; {inpainter.runtime}", file=sys.stderr)
        with progress("fill", "%") as report:
            (in_percent,) = shared(report, 1)
            filled = inpainter.fill_picture(picture, hole, weight, plan, in_percent)
        done = "filled"
        if copied(target, photo, picture, hole, quality):
            notes = [COPIED]
        else:
            notes = write_filled(target, picture, hole, filled, quality) + filled.notes + notes
        if output is None and target.suffix != photo.suffix:
            notes.append(AS_PNG)
    if keep_mask is not None:
        write_mask(keep_mask, hole)
        notes.append(f"its mask: {keep_mask}")
    print(f"{target}: {hole.mean():.1%} of {photo.name} {done}" + "".join(f"\n  {note}" for note in notes))


def _print_plan(plan: "FolderPlan") -> None:
    if not distributed.FIRST:
        return
    for job in plan.jobs:
        if job.problem:
            print(f"{job.name}: {job.problem}")
        else:
            place = "is there already, skipped" if job.skip else "is overwritten" if job.output.exists() else "is new"
            kept = f", its mask → {job.kept}" if job.kept else ""
            print(f"{job.name} + {job.mask or 'its object'} → {job.output} ({place}){kept}")
    failing, skipped = (sum(map(bool, column)) for column in zip(*((job.problem, job.skip) for job in plan.jobs), strict=True))
    print(f"{len(plan.to_fill)} to fill, {skipped} skipped, {failing} that cannot be filled; nothing was done")
    print("".join(f"  {note}\n" for note in plan.notes), end="")
    if failing:
        sys.exit(1)


def _fill_folder(plan: "FolderPlan", filler: "Filler") -> None:
    from mend.filling.folder import AHEAD, SUMMARY, fill_folder
    from mend.filling.verify import COPIED
    from mend.images import format_of
    from mend.progress import progress

    if distributed.FIRST:
        how = f"up to {AHEAD} read ahead"
        if filler.most is not None:
            how = f"one at a time, each in at most {filler.most / 2**30:.1f} GB of memory"
        print(f"plan: {len(plan.to_fill)} of {len(plan.jobs)} pictures, {how}; {filler.inpainter.runtime}", file=sys.stderr)
    with progress("fill", "pictures") as report:

        def on_file(name: str, result: "Result", done: int, of: int) -> None:
            if result.error:
                print(f"{name}: {result.error}", file=sys.stderr)
            if result.seconds is not None and distributed.FIRST:  # what took no time does not count into the rate
                report(done, of)

        summary = fill_folder(plan, filler, on_file)
    if not distributed.FIRST:
        return
    counts = ", ".join(f"{summary.count(status)} {status}" for status in ("filled", "skipped", "failed"))
    print(f"{plan.out}: {counts} of {len(plan.jobs)} pictures; {plan.out / SUMMARY} has them all")
    filled = [result for result in summary.files.values() if result.status == "filled" and result.notes != [COPIED]]
    names = [Path(result.output or "") for result in filled]
    if encoded := sum(format_of(name.suffix) == "JPEG" for name in names):
        print(f"  {encoded} of them are JPEGs, which change a little everywhere; --format png keeps every value")
    if plan.keep:
        print(f"  their masks: {plan.keep}")
    print("".join(f"  {note}\n" for note in plan.notes), end="")
    if summary.count("failed"):
        sys.exit(1)


@mask_app.command
def check(
    mask: Path,
    *,
    photo: Path | None = None,
    marked: Marked = "auto",
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
) -> None:
    """Say what is seen in a mask and what would be filled. Exits with 1 where that cannot be decided.

    Args:
        mask: a picture, or COCO annotations (.json).
        photo: the picture that the mask is for; whether it fits is checked too.
        output: picture to write: the hole shown on the photo, or on plain grey.
    """
    import numpy as np

    from mend.images import read_image
    from mend.masks.hole import parts, understand_mask

    if output is not None:
        _spare(output, mask, *([photo] if photo else []))
    image = read_image(photo).image() if photo else None
    size = (image.shape[-2], image.shape[-1]) if image is not None else None
    reading = understand_mask(mask, size, marked, str(photo or ""))
    found = parts(reading.hole)
    print("\n  ".join([reading.seen, *reading.notes]))
    print(f"hole: {reading.marked}, {reading.hole.mean():.1%} of the picture, {len(found)} part{'s' * (len(found) != 1)}")
    if len(found):
        x, y, width, height, pixels = found[0]
        print(f"largest part: {width}×{height} at x {x}, y {y}, {pixels} pixels")
    if output is not None:
        _show_hole(output, np.full((1, 3, *reading.hole.shape[-2:]), 0.6) if image is None else image, reading.hole)
        print(output)


def _spare(output: Path, *inputs: Path) -> None:
    if output.is_dir():
        raise InputError(f"{output} is a folder; name a file to write.")
    if output.exists() and any(output.samefile(path) for path in inputs if path.exists()):  # whatever the case of its name
        raise InputError(f"{output} is an input; it would be overwritten. Choose another name.")


def _show_hole(output: Path, image: "np.ndarray", hole: "np.ndarray") -> None:
    from mend.images import to_pixels, write_image
    from mend.masks.hole import preview

    write_image(output, preview(to_pixels(image)[0], hole))


@app.command
def verify(photo: Path, mask: Path, filled: Path, *, marked: Marked = "auto", grow: Whole = 0) -> None:
    """Prove that a filled picture is the one of before outside the mask. Exits with 1 where a single pixel differs.

    Args:
        photo: the picture before.
        mask: white where it was filled.
        filled: the picture after, by any program.
        grow: pixels by which the hole was made larger, if it was.
    """
    from mend.filling.verify import verify as run

    verdict, lines = run(photo, mask, filled, marked, grow)
    print(f"{filled}: {verdict}" + "".join(f"\n  {line}" for line in lines))
    if not verdict.untouched:
        sys.exit(1)


@app.command
def studio(
    models: list[str] | None = None,
    *,
    port: int = 7860,
    host: str = "127.0.0.1",
    auth: str | None = None,
    open_page: bool = True,
    device: Device = "auto",
) -> None:
    """Open a page on which one removes something from a picture. Nothing leaves the machine.

    Args:
        models: run or model folders to offer besides the default and the classical fillers.
        port: where the page is served; 0 finds a free one.
        host: address to serve at; others than 127.0.0.1 let other machines in, and need --auth.
        auth: NAME:PASSWORD that the page asks for.
        open_page: show the page in the browser, where there is one.
    """
    from mend.studio import studio as run

    run(models or [], host, port, auth, device, open_page)
