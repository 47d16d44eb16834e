"""Reproduce a result: its masks, its trainings and its evaluation done again, and old numbers beside new ones."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mend.data.sources import load_images
from mend.errors import InputError
from mend.evaluate.methods import OURS
from mend.evaluate.metrics import METRICS
from mend.evaluate.reproduction import Reproduction, compare_results, find_alike
from mend.evaluate.result import Result, find_differences, read_result
from mend.evaluate.run import evaluate
from mend.evaluate.trainings import group_trainings, keep_first_trainings
from mend.inpaint.classical import CLASSICAL
from mend.inpaint.contracts import NETWORKS
from mend.inpaint.folder import Trained
from mend.masks.draw import DRAWN
from mend.masks.store import MaskSet, from_npz
from mend.progress import Report, ignore, sum_reports
from mend.segment.make import make_masks
from mend.segment.networks import SEGMENTERS
from mend.train.config import TrainConfig
from mend.train.run import train

Progress = Callable[[str], Report]  # a stage's name to what is called with (done, of) within it


def reproduce(
    result: str | Path,
    out: str | Path,
    data: str | None = None,
    masks: str | None = None,
    device: str = "auto",
    progress: Progress = lambda stage: ignore,
) -> Reproduction:
    """Do a result again under `out`, which may be gone on with; a line for each method and metric of the composited view, and
    for the difference of each two methods that follow each other in a metric. Of several trainings of a recipe the first is
    done.

    `data` and `masks` say where the images and the mask sets are, when not where the result has them; a network trained on
    crops goes to what it names itself. Masks that are not there are made: from the archives `*-train.npz` and `*-test.npz`
    in that folder, or as the result says they were. Raises InputError when something cannot be had, or is not what was used.
    """
    evaluated, out = read_result(result), Path(out)
    old = keep_first_trainings(evaluated)
    protocol = replace(old.protocol, metrics=tuple(name for name in METRICS if name in old.scored))
    trainings = _find_trainings(old)
    judged: str | None = None
    if protocol.drawn is None:
        made = next((trained for trained in trainings.values() if trained and trained.mask_set), None)
        places = [masks] if masks else [protocol.masks, *([made.config["masks"]] if made else [])]
        made_by = made.masks if made else "another program"
        judged = str(_find_masks(places, "test", data or protocol.data, protocol.size, made_by, out, device, progress))
    methods = [
        name if trained is None else _train_again(name, trained, data, masks, out, device, progress)
        for name, trained in trainings.items()
    ]
    on_batch = sum_reports(progress("evaluate"), len(methods))
    new = read_result(evaluate(methods, protocol, out / "result", data, judged, device=device, on_batch=on_batch))
    for what in find_differences(old, new):
        raise InputError(
            f"this measured something else than {result}: {what} is {getattr(new, what)}, there it is {getattr(old, what)}."
        )
    seeds = _find_spread_result(Path(result), evaluated)
    return Reproduction(compare_results(old, new, seeds), find_alike(old, seeds))


def _find_trainings(result: Result) -> dict[str, Trained | None]:
    """By method how it was trained, None where it needs no training. InputError for one that cannot be made again."""
    trainings = {name: method.model.trained for name, method in result.methods.items()}
    for name, trained in trainings.items():
        if name not in (*OURS, *CLASSICAL, *NETWORKS) and not (trained and trained.config):
            raise InputError(f"{name} was not trained by mend: nothing says how to make it again.")
    return trainings


def _train_again(
    name: str, trained: Trained, data: str | None, masks: str | None, out: Path, device: str, progress: Progress
) -> str:
    """The run folder of a network that is trained as it was. InputError where its masks are not those of then."""
    try:
        config = TrainConfig(**trained.config)
    except TypeError as error:
        raise InputError(f"{name} was trained by another version of mend, which this one cannot repeat: {error}.") from None
    if config.crop is None:
        source = data or config.data
        where = _find_masks([masks or config.masks], "train", source, config.size, trained.masks, out, device, progress)
        sealed = MaskSet.open(where / "train").manifest.sha256
        if sealed != trained.mask_set:
            raise InputError(
                f"{where / 'train'} holds other masks ({sealed[:12]}) than {name} was trained with ({trained.mask_set[:12]})."
            )
        config = replace(config, data=source, masks=str(where))
    return str(train(config, out / "runs" / name, progress(f"train {name}")))


def _find_masks(
    places: list[str], split: str, source: str, size: int | None, segmenter: str, out: Path, device: str, progress: Progress
) -> Path:
    """The folder of mask sets that has `split`: one of those named, or made under `out`, from an archive in one of them or as
    those on record were."""
    for place in map(Path, places):
        if (place / split / "manifest.json").exists():
            return place
    archive = next((file for place in places for file in sorted(Path(place).glob(f"*-{split}.npz"))), None)
    drawn = re.fullmatch(r"(\w+) coverage (\S+) seed (\d+)", segmenter)
    kind = drawn[1] if drawn else segmenter
    coverage, seed = (float(drawn[2]), int(drawn[3])) if drawn else (0.0, 0)
    if archive is None and not (kind in SEGMENTERS or kind in DRAWN or kind.startswith("hf:")):
        raise InputError(
            f"the masks were made by {segmenter}, which mend cannot run. With `masks` give the folder of the mask sets, "
            "or of their archives *-train.npz and *-test.npz."
        )
    images = load_images(source, "all" if split == "train" else "test", size)
    if archive is not None:
        from_npz(archive, images, segmenter, out / "masks" / split)
    else:
        make_masks(images, kind, out / "masks" / split, device, coverage, seed, on_batch=progress(f"masks {split}"))
    return out / "masks"


def _find_spread_result(file: Path, result: Result) -> Result | None:
    """The result that says how far trainings lie apart: this one where it has several of a recipe, or RESULT-seeds.json beside
    it; None where there is neither."""
    if any(len(names) > 1 for names in group_trainings(result, result.methods)):
        return result
    beside = file.with_name(f"{file.stem}-seeds.json")
    return read_result(beside) if beside.exists() else None
