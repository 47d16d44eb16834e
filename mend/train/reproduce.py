"""Reproduce a result: its masks, its trainings and its evaluation done again, and old numbers beside new ones.

Fillers that are not trained must give the same numbers. A network trained again does not: another machine adds up in another
order, and training carries that on. How far it may be off is each metric's `tolerance`, two to four times what two trainings of
the four networks of cifar10-object-v1 differed by at most (results/cifar10-object-v1/reproduced.txt).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mend.data.sources import load_images
from mend.errors import InputError
from mend.evaluate.metrics import METRICS, Metric
from mend.evaluate.result import Result, read_result
from mend.evaluate.run import evaluate
from mend.inpaint.classical import CLASSICAL
from mend.inpaint.contracts import NETWORKS
from mend.masks.draw import DRAWN
from mend.masks.store import MaskSet, from_npz
from mend.progress import sum_reports
from mend.segment.make import make_masks
from mend.segment.networks import SEGMENTERS
from mend.train.config import TrainConfig
from mend.train.run import train

EXACT = 0.002  # relative: libraries of other versions round in other places
Progress = Callable[[str], Callable[[int, int], None]]  # a stage's name to what is called with (done, of) within it


@dataclass(frozen=True)
class Line:
    method: str
    metric: str
    old: float
    new: float
    tolerance: float

    @property
    def within(self) -> bool:
        return abs(self.new - self.old) <= self.tolerance


def reproduce(
    result: str | Path,
    out: str | Path,
    data: str | None = None,
    masks: str | None = None,
    device: str = "auto",
    progress: Progress = lambda stage: lambda done, of: None,
) -> list[Line]:
    """Do a result again under `out`, which may be gone on with; a line for each method and metric of the composited view.

    `data` and `masks` say where the images and the mask sets are, when not where the result has them; a network trained on
    crops goes to what it names itself. Masks that are not there are made: from the archives `*-train.npz` and `*-test.npz`
    in that folder, or as the result says they were. Raises InputError when something cannot be had, or is not what was used.
    """
    old, out = read_result(result), Path(out)
    protocol = old.protocol
    trainings = {name: method.model.trained for name, method in old.methods.items()}
    for name, trained in trainings.items():
        if name not in (*CLASSICAL, *NETWORKS) and not (trained and trained.config):
            raise InputError(f"{name} was not trained by mend: nothing says how to make it again.")
    judged: str | None = None
    if protocol.drawn is None:
        made = next((trained for trained in trainings.values() if trained and trained.mask_set), None)
        places = [masks] if masks else [protocol.masks, *([made.config["masks"]] if made else [])]
        made_by = made.masks if made else "another program"
        judged = str(_masks(places, "test", data or protocol.data, protocol.size, made_by, out, device, progress))
    runs: list[str] = []
    for name, trained in trainings.items():
        if trained is None:
            runs.append(name)
            continue
        config = TrainConfig(**trained.config)
        if config.crop is None:
            source, places = data or config.data, [masks or config.masks]
            where = _masks(places, "train", source, config.size, trained.masks, out, device, progress)
            sealed = MaskSet.open(where / "train").manifest.sha256
            if sealed != trained.mask_set:
                raise InputError(
                    f"{where / 'train'} holds other masks ({sealed[:12]}) than {name} was trained with "
                    f"({trained.mask_set[:12]})."
                )
            config = replace(config, data=source, masks=str(where))
        runs.append(str(train(config, out / "runs" / name, progress(f"train {name}"))))
    on_batch = sum_reports(progress("evaluate"), len(runs))
    protocol = replace(protocol, metrics=tuple(name for name in METRICS if name in old.scored))
    new = read_result(evaluate(runs, protocol, out / "result", data, judged, device=device, on_batch=on_batch))
    for what, before, after in (
        ("n", old.n, new.n),
        ("images", old.images, new.images),
        ("mask_set", old.mask_set, new.mask_set),
    ):
        if before != after:
            raise InputError(f"this measured something else than {result}: {what} is {after}, there it is {before}.")
    return _lines(old, new)


def _masks(
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


def _lines(old: Result, new: Result) -> list[Line]:
    lines: list[Line] = []
    for name, method in old.methods.items():
        for metric in method.metrics_scored:
            before, after = method.mean(metric), new.methods[name].mean(metric)
            if before is not None and after is not None:
                lines.append(
                    Line(name, metric, before, after, _tolerance(METRICS[metric], before, method.model.trained is not None))
                )
    return lines


def _tolerance(metric: Metric, old: float, retrained: bool) -> float:
    """How far a number may be off: by its rounding, or by what the metric allows a network that was trained again."""
    allowed = metric.tolerance * (abs(old) if metric.distance else 1) if retrained else EXACT * abs(old)
    return max(allowed, 10.0**-metric.digits)
