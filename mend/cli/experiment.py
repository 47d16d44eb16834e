"""The verbs of those who study inpainting: masks, training, evaluation, reports."""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from mend import distributed
from mend.cli.app import SEGMENTER, Device, app
from mend.errors import InputError
from mend.progress import Report, progress, sum_reports
from mend.train.config import TrainConfig

masks_app = App(name="masks", help="Make a mask for every picture of a data set. Run it again to continue after a stop.")
app.command(masks_app)


@app.command
def demo(*, out: Path = Path("runs/demo"), open_report: bool = True) -> None:
    """Run a small experiment: masks, training, evaluation and report. Takes four minutes and no download.

    Args:
        out: folder for everything it makes.
        open_report: open the report in the browser, if there is one.
    """
    from mend.cli.demo import run

    run(out, open_report)


@masks_app.default
def masks(
    data: str,
    *,
    out: Path,
    segmenter: str = SEGMENTER,
    split: Literal["train", "test", "both"] = "both",
    size: int | None = None,
    rows: Annotated[str, Parameter(name="--range")] = ":",
    coverage: float = 0.25,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Make a mask for every picture of a data set. Run it again to continue after a stop.

    Args:
        data: cifar10; photos, which come with mend; hub:owner/name[:column], of the Hugging Face Hub; or a folder.
        out: folder for the masks; each split gets a folder in it.
        segmenter: what finds the objects: {segmenters}, hf:owner/name or hf:FOLDER; or shapes drawn at random: {drawn}.
        split: which part of the data set.
        size: crop every picture to its central square and scale it to this many pixels a side.
        rows: START:STOP, the pictures to do in this process, if several share the work.
        coverage: share of the picture that a drawn mask covers.
        seed: random seed of drawn masks.
    """
    from mend.data.sources import load_images
    from mend.segment.make import make_masks

    start, stop = _parse_range(rows)
    if rows != ":" and split == "both":
        raise InputError("--range counts the images of one split; add --split train or --split test.")
    for name in ("train", "test") if split == "both" else (split,):
        images = load_images(data, "all" if name == "train" else name, size)
        with progress(f"masks {name}", "images") as on_batch:
            made = make_masks(images, segmenter, out / name, device, coverage, seed, start, stop, on_batch)
        if distributed.FIRST:
            covers = made.coverage()[made.done]
            print(f"{out / name}: {made.manifest.done} of {len(made)} masks, mean coverage {covers.mean():.1%}")


@masks_app.command
def show(folder: Path, *, output: Annotated[Path | None, Parameter(alias="-o")] = None) -> None:
    """Draw an overview of a mask set: some of its masks, and a histogram of how much they cover.

    Args:
        folder: a folder that 'mend masks' made.
        output: picture to write. Default: FOLDER/contact-sheet.png.
    """
    from mend.masks.show import contact_sheet

    print(contact_sheet(folder, output or folder / "contact-sheet.png"))


@masks_app.command
def convert(file: Path, data: str, *, out: Path, split: Literal["train", "test"], segmenter: str) -> None:
    """Turn an .npz archive of masks into a mask set.

    Args:
        file: archive whose key 'mask' holds one row of packed bits for each picture, in the order of the data set.
        data: the data set that the masks were made for, as for 'mend masks'.
        out: folder for the masks; the split gets a folder in it.
        split: which part of the data set the archive covers.
        segmenter: what made the masks, for the record.
    """
    from mend.data.sources import load_images
    from mend.masks.store import from_npz

    made = from_npz(file, load_images(data, "all" if split == "train" else split), segmenter, out / split)
    print(f"{out / split}: {len(made)} masks, mean coverage {made.coverage().mean():.1%}")


@app.command
def duplicates(data: str, *, out: Path, size: int | None = None, threshold: float | None = None) -> None:
    """List the test pictures of a data set that have a near-duplicate among its training pictures.

    Args:
        data: cifar10; photos, which come with mend; hub:owner/name[:column], of the Hugging Face Hub; or a folder.
        out: list to write, FILE.csv. FILE.png shows the pairs.
        size: crop every picture to its central square and scale it to this many pixels a side.
        threshold: correlation of fine detail from which two pictures count as near-duplicates; 1 is a copy. Default: 0.75.
    """
    from mend.data.duplicates import THRESHOLD, find_near_duplicates, write_list
    from mend.data.sources import load_images

    if out.suffix != ".csv":
        raise InputError(f"the list is to be {out}; expected a name that ends in .csv.")
    test, train = load_images(data, "test", size), load_images(data, "all", size)
    with progress("duplicates", "images") as on_batch:
        table = find_near_duplicates(test, train, THRESHOLD if threshold is None else threshold, on_batch)
    picture = write_list(table, test, train, out)
    share = f"{len(table)} of {len(test)} test images ({len(table) / len(test):.1%})"
    print(f"{share} have a near-duplicate among {len(train)} training images\n{out}\n{picture}")


@app.command
def train(
    *,
    config: Annotated[TrainConfig, Parameter(name="*")],
    recipe: str = "reference",
    out: Path | None = None,
) -> None:
    """Train a network. Run the same command again to continue after a stop.

    Args:
        recipe: settings to start from: {recipes}, or a .toml file. Flags override them.
        out: folder for the run. Default: runs/MODEL-wWIDTH.
    """
    from mend.train.config import check_run

    folder = out or Path("runs") / f"{config.model}-w{config.width}"
    check_run(config, folder)  # before PyTorch is imported, which takes seconds
    from mend.train.run import train as run

    with progress(f"train {folder.name}", "steps") as on_step:
        run(config, folder, on_step)
    if distributed.FIRST:
        print(f"{folder}: trained; now 'mend evaluate {folder}', or 'mend fill PHOTO --mask MASK --model {folder}'")


@app.command
def evaluate(
    runs: Annotated[list[str] | None, Parameter(negative=())] = None,
    *,
    protocol: str = "cifar10-object-v1",
    data: str | None = None,
    truth: Path | None = None,
    filled: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative=())] = None,
    masks: Path | None = None,
    metrics: str | None = None,
    limit: int | None = None,
    size: int | None = None,
    classical: bool = True,
    out: Path | None = None,
    device: Device = "auto",
) -> None:
    """Score networks by a protocol, and classical methods beside them; or score folders of pictures from any program.

    Args:
        runs: what to score: mend (what 'mend fill' does), mend-smooth (the same with --smooth); folders that 'mend train' made;
            {classical}; {fetched}; FILE.onnx or FILE.pt.
        protocol: which pictures, masks and metrics: {protocols}, or a .toml file.
        data: where the pictures of the protocol are, if not where it says.
        truth: folder of original pictures, to score --filled against. Files are paired by name.
        filled: folders of filled pictures, one for each method.
        masks: where the masks of the protocol are, if not where it says. With --truth: folder of masks, white where filled.
        metrics: separated by commas, of {metrics}. Default: those of the protocol.
            With --truth: {folder_metrics}.
        limit: score this many holes only, the first ones.
        size: crop every picture to its central square and scale it to this many pixels a side.
        classical: score {classical} too.
        out: where the result goes: OUT.json, and a folder OUT. Default: results/PROTOCOL; with --truth results/ and its name.
    """
    from mend.evaluate import run as module
    from mend.evaluate.protocol import read_protocol
    from mend.evaluate.weights import Unavailable
    from mend.inpaint.classical import CLASSICAL

    names = metrics.replace(" ", "").split(",") if metrics else None
    methods = [*(runs or []), *(name for name in CLASSICAL if classical and name not in (runs or []))]
    if truth or filled:
        if data or limit or size or protocol != "cifar10-object-v1" or not (truth and filled and masks):
            raise InputError(
                "to score folders of pictures give all of --truth, --filled and --masks, and leave out --data, --protocol, "
                "--limit and --size, which are for protocols."
            )
        target = out or Path("results") / truth.resolve().name
        score = partial(module.evaluate_folders, truth, filled, masks, target, names, device, methods=methods)
    else:
        given = str(masks) if masks else None
        score = partial(module.evaluate, methods, read_protocol(protocol), out, data, given, names, limit, size, device)
    try:
        with progress("evaluate", "images") as on_batch:
            file = score(on_batch=sum_reports(on_batch, len(methods) + len(filled or [])))
    except Unavailable as error:  # of what was asked for by name; all else is scored
        if error.result:
            _print_table(error.result)
        raise
    if distributed.FIRST:
        _print_table(file)


def _print_table(file: Path) -> None:
    from mend.evaluate.result import read_result
    from mend.report.tables import render_text

    print(render_text(read_result(file)))
    print(f"\n{file}: per-image rows beside it; 'mend report --results {file}' makes the report")


@app.command
def report(
    runs: Annotated[list[str] | None, Parameter(negative=())] = None,
    *,
    results: Path = Path("results/cifar10-object-v1.json"),
    out: Path | None = None,
    without: Path | None = None,
    into: Path | None = None,
) -> None:
    """Write the report of an evaluation: HTML pages, tables in Markdown and LaTeX, pictures.

    Args:
        runs: which methods to show. Default: all.
        results: file that 'mend evaluate' wrote.
        out: folder for the report. Default: the folder of the result.
        without: list of pictures to leave out, as 'mend duplicates' writes it.
        into: Markdown file in which to replace the table between <!-- results --> and <!-- /results -->.
    """
    from mend import report as module
    from mend.evaluate.result import find_result_folder, read_result
    from mend.report.tables import readme_table

    folder = out or find_result_folder(results) / (f"without-{without.stem}" if without else "")
    print(module.report(results, folder, runs, without))
    if into is not None:
        module.write_into(into, readme_table(read_result(results)))


@app.command
def compare(a: str, b: str, *, results: Path = Path("results/cifar10-object-v1.json"), csv: Path | None = None) -> None:
    """Compare two methods of an evaluation picture by picture: the difference in each metric, with its 95 % interval.

    With one training each, the answer holds for these two networks.
    With several trainings each, it holds for further trainings too.

    Args:
        a: a method of the result, by its name or folder; or several trainings of one recipe, such as a,b,c or "unet-w16*".
        b: another one, or several.
        results: file that 'mend evaluate' wrote.
        csv: file to write the table to.
    """
    from mend.evaluate.compare import compare as run
    from mend.evaluate.compare import write_csv
    from mend.report.tables import render_comparison

    with progress("compare", "steps") as on_step:
        found = run(a, b, results, on_step)
    print(render_comparison(found, Path(a).name, Path(b).name))
    if csv is not None:
        write_csv(csv, found)


@app.command
def reproduce(
    result: Path,
    *,
    tier: Literal["full", "smoke"] = "full",
    data: str | None = None,
    masks: str | None = None,
    out: Path | None = None,
    device: Device = "auto",
) -> None:
    """Repeat an experiment (masks, trainings, evaluation) and print new numbers beside old ones.

    A line such as 'a − b' is the difference of two methods that follow each other in a metric.
    Exits with 1 if a number is OUTSIDE its tolerance, or two methods changed places (ANOTHER ORDER).
    Run the same command again to continue after a stop.

    Args:
        result: file that 'mend evaluate' wrote.
        tier: full repeats RESULT; smoke repeats smoke.json beside it, with small networks on a few photographs, in two minutes.
        data: where the pictures are, if not where RESULT says.
        masks: where the masks are, if not where RESULT says; or a folder of the archives *-train.npz and *-test.npz.
        out: folder for everything it makes. Default: runs/reproduce-NAME.
    """
    from mend.report.tables import render_reproduction
    from mend.train.reproduce import reproduce as run

    record = result.with_name("smoke.json") if tier == "smoke" else result
    with ExitStack() as bar:

        def stage(name: str) -> Report:
            bar.close()
            return bar.enter_context(progress(name, "steps"))

        found = run(record, out or Path("runs") / f"reproduce-{record.stem}", data, masks, device, stage)
    print(render_reproduction(found))
    if not found.within:
        sys.exit(1)


@app.command
def export(model: Path, *, output: Annotated[Path, Parameter(alias="-o")]) -> None:
    """Write a network as an ONNX file, which needs no PyTorch, and print how far its values are from PyTorch's.

    The file takes pictures whose sides are multiples of 8.
    A description, NAME.toml, is written beside it, for 'mend fill --model NAME.onnx'.
    Of a pyramid or structure network the file holds one scale only, for use in other programs.

    Args:
        model: folder that 'mend train' made.
        output: file to write, NAME.onnx. Inside the model's folder it shares the weights in model.safetensors.
    """
    from mend.models.export import export as run

    off, toml = run(model, output)
    print(f"{output}: differs from PyTorch by at most {off:.1g}, where white is 1")
    if toml is not None:
        print(f"{toml}: its description; now 'mend fill PHOTO --mask MASK --model {output}'")


def _parse_range(text: str) -> tuple[int, int | None]:
    start, colon, stop = text.partition(":")
    try:
        if colon:
            return int(start or 0), int(stop) if stop else None
    except ValueError:
        pass
    raise InputError(f"the range is {text!r}; expected START:STOP, such as 0:25000.")
