"""The verbs of those who study inpainting: masks, training, evaluation, reports."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from mend import distributed
from mend.cli.app import SEGMENTER, Device, app
from mend.errors import InputError
from mend.train.config import TrainConfig

masks_app = App(name="masks", help="Make a mask for every picture of a source, resumably; or look at the masks.")
app.command(masks_app)


@app.command
def demo(*, out: Path = Path("runs/demo"), open_report: bool = True) -> None:
    """The whole experiment in four minutes, on photographs that come with the installation.

    Args:
        out: folder for everything it makes.
        open_report: show the report in the browser, where there is one.
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
    """Make a mask for every picture of a source. The same command goes on where it was stopped.

    Args:
        data: cifar10, photos, hub:owner/name[:column], or a folder.
        out: folder for the mask sets; each split is a folder in it.
        segmenter: {segmenters}, hf:owner/name, hf:FOLDER; or drawn: {drawn}.
        size: cut every picture to its central square and scale it to this side, in pixels.
        rows: START:STOP, for one of several processes that fill one set.
        coverage: share of the image that a drawn mask covers.
        seed: of drawn masks.
    """
    from mend.data.sources import load_images
    from mend.progress import progress
    from mend.segment.make import make_masks

    start, stop = _range(rows)
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
    """Draw a contact sheet of a mask set with a histogram of coverage.

    Args:
        folder: a mask set.
        output: picture to write; FOLDER/contact-sheet.png unless given.
    """
    from mend.masks.show import contact_sheet

    print(contact_sheet(folder, output or folder / "contact-sheet.png"))


@masks_app.command
def convert(file: Path, data: str, *, out: Path, split: Literal["train", "test"], segmenter: str) -> None:
    """Turn an .npz of packed masks into a mask set.

    Args:
        file: archive whose 'mask' key holds one row of packed bits an image, in the order of the source.
        data: the source that the masks were made for.
        out: folder for the mask sets; the split is a folder in it.
        split: which file split of the source the archive covers.
        segmenter: what made the masks, for the record.
    """
    from mend.data.sources import load_images
    from mend.masks.store import from_npz

    made = from_npz(file, load_images(data, "all" if split == "train" else split), segmenter, out / split)
    print(f"{out / split}: {len(made)} masks, mean coverage {made.coverage().mean():.1%}")


@app.command
def duplicates(data: str, *, out: Path, size: int | None = None, threshold: float | None = None) -> None:
    """List the test images of a source that have a near-duplicate among its training images.

    Args:
        data: cifar10, photos, hub:owner/name[:column], or a folder.
        out: the list, FILE.csv; pairs to look at go into FILE.png beside it.
        size: cut every picture to its central square and scale it to this side, in pixels.
        threshold: least correlation of detail, to 1 for a copy; 0.75 unless given.
    """
    from mend.data.duplicates import THRESHOLD, near_duplicates, write_list
    from mend.data.sources import load_images
    from mend.progress import progress

    if out.suffix != ".csv":
        raise InputError(f"the list is to be {out}; expected a name that ends in .csv.")
    test, train = load_images(data, "test", size), load_images(data, "all", size)
    with progress("duplicates", "images") as on_batch:
        table = near_duplicates(test, train, THRESHOLD if threshold is None else threshold, on_batch)
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
    """Train a network. The same command goes on where it was stopped.

    Args:
        recipe: a shipped recipe, or a .toml file; flags stand above it.
        out: run folder; runs/MODEL-wWIDTH unless given.
    """
    from mend.progress import progress
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
    runs: list[str] | None = None,
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
    """Score networks by a protocol, with the classical fillers beside them; or folders of pictures that any program filled.

    Args:
        runs: run or model folders, or names of fillers: {classical}; {fetched}; FILE.onnx or FILE.pt.
        protocol: a shipped protocol, or a .toml file.
        data: where the protocol's images are, when not where it says.
        truth: folder of originals, to score --filled against, paired by name.
        filled: folders of filled pictures, one a method.
        masks: where the protocol's mask set is, when not where it says; with --truth, the folder of masks, white where filled.
        metrics: comma-separated, of {metrics}; the protocol's unless given.
        limit: the first so many images only.
        size: cut every picture to its central square and scale it to this side, in pixels.
        classical: score {classical} too.
        out: the result, OUT.json and OUT/; results/PROTOCOL unless given.
    """
    from mend.evaluate import run as module
    from mend.evaluate.protocol import read_protocol
    from mend.evaluate.weights import Unavailable
    from mend.inpaint.classical import CLASSICAL
    from mend.progress import progress, sum_reports

    names = metrics.replace(" ", "").split(",") if metrics else None
    methods = [*(runs or []), *(name for name in CLASSICAL if classical and name not in (runs or []))]
    if truth or filled:
        if data or limit or size or protocol != "cifar10-object-v1" or not (truth and filled and masks):
            raise InputError(
                "to score folders give --truth, --filled and --masks; --data, --protocol, --limit, --size do not fit."
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
    from mend.report.tables import as_text

    print(as_text(read_result(file)))
    print(f"\n{file}: per-image rows beside it; 'mend report --results {file}' makes the report")


@app.command
def report(
    runs: list[str] | None = None,
    *,
    results: Path = Path("results/cifar10-object-v1.json"),
    out: Path | None = None,
    without: Path | None = None,
    into: Path | None = None,
) -> None:
    """Make the report of an evaluation: HTML pages, Markdown, LaTeX, pictures.

    Args:
        runs: networks to show; all of the result unless given.
        results: what 'mend evaluate' wrote.
        out: folder for the report; beside the rows unless given.
        without: a list of images to leave out, as 'mend duplicates' writes it.
        into: a Markdown file whose table, between <!-- results --> and <!-- /results -->, is made anew.
    """
    from mend import report as module
    from mend.evaluate.result import read_result, result_folder
    from mend.report.tables import readme_table

    folder = out or result_folder(results) / (f"without-{without.stem}" if without else "")
    print(module.report(results, folder, runs, without))
    if into is not None:
        module.write_into(into, readme_table(read_result(results)))


@app.command
def compare(a: str, b: str, *, results: Path = Path("results/cifar10-object-v1.json"), csv: Path | None = None) -> None:
    """Compare two methods of an evaluation image by image: every metric's difference with its 95 % interval.

    Of one training each it says whether these weights differ. Of several trainings each, the interval is over trainings too.

    Args:
        a: a method of the result, by its name or run folder; or several trainings of one recipe: a,b,c, or "unet-w16*".
        b: another, or several.
        results: what 'mend evaluate' wrote.
        csv: a file for the same table.
    """
    from mend.evaluate.compare import compare as run
    from mend.evaluate.compare import write_csv
    from mend.progress import progress
    from mend.report.tables import comparison_text

    with progress("compare", "steps") as on_step:
        found = run(a, b, results, on_step)
    print(comparison_text(found, Path(a).name, Path(b).name))
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
    """Do a result again (masks, trainings, evaluation) and print old numbers beside new ones. Exits with 1 outside tolerance.

    Args:
        result: what 'mend evaluate' wrote, OUT.json.
        tier: full does RESULT itself; smoke does smoke.json beside it, small networks on embedded photographs, in two minutes.
        data: where its images are, when not where it says.
        masks: where its mask sets are, or the archives *-train.npz and *-test.npz to make them from, when not where it says.
        out: folder for everything it makes; runs/reproduce-NAME unless given. The same command goes on.
    """
    from mend.progress import progress
    from mend.report.tables import reproduction_text
    from mend.train.reproduce import reproduce as run

    record = result.with_name("smoke.json") if tier == "smoke" else result
    with ExitStack() as bar:

        def stage(name: str) -> Callable[[int, int], None]:
            bar.close()
            return bar.enter_context(progress(name, "steps"))

        lines = run(record, out or Path("runs") / f"reproduce-{record.stem}", data, masks, device, stage)
    print(reproduction_text(lines))
    if not all(line.within for line in lines):
        sys.exit(1)


@app.command
def export(model: Path, *, output: Annotated[Path, Parameter(alias="-o")]) -> None:
    """Write a network as an ONNX graph, which needs no PyTorch, and say by how much it differs from it at most.

    It takes pictures of any size in multiples of 8. Its contract is written beside it, as NAME.toml, for 'mend fill --model
    NAME.onnx'. Of a network of the pyramid's kind the graph is one scale, for other programs.

    Args:
        model: run folder or model folder.
        output: file to write, .onnx; in the model folder it has no weights of its own, but reads model.safetensors beside it.
    """
    from mend.models.export import export as run

    off, toml = run(model, output)
    print(f"{output}: differs from PyTorch by at most {off:.1g}, where white is 1")
    if toml is not None:
        print(f"{toml}: its contract; now 'mend fill PHOTO --mask MASK --model {output}'")


def _range(text: str) -> tuple[int, int | None]:
    start, colon, stop = text.partition(":")
    try:
        if colon:
            return int(start or 0), int(stop) if stop else None
    except ValueError:
        pass
    raise InputError(f"the range is {text!r}; expected START:STOP, such as 0:25000.")
