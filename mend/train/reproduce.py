"""Reproduce a result: its masks, its trainings and its evaluation done again, and old numbers beside new ones.

Fillers that are not trained must give the same numbers. A network trained again does not: another machine adds up in another
order, and training carries that on. How far it may be off follows from how far trainings of one recipe with other seeds lie
apart, where a result has several (this one, or RESULT-seeds.json beside it), and else is each metric's `tolerance`: two to four
times what two trainings of the four networks of cifar10-object-v1 differed by at most
(results/cifar10-object-v1/reproduced.txt). The differences of methods that follow each other are held to that too, or to how
far their own trainings lie apart; and so is their order: each number alone of two that changed places may be near enough. Two
methods may still be nearer to each other than two trainings of one are: those are named, as nothing here tells them apart.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path

from mend.data.sources import load_images
from mend.errors import InputError
from mend.evaluate.methods import OURS
from mend.evaluate.metrics import METRICS
from mend.evaluate.result import MethodResult, Result, read_result
from mend.evaluate.run import evaluate
from mend.evaluate.trainings import difference_spread, first_trainings, group_trainings, spread
from mend.inpaint.classical import CLASSICAL
from mend.inpaint.contracts import NETWORKS
from mend.masks.draw import DRAWN
from mend.masks.store import MaskSet, from_npz
from mend.progress import Report, ignore, sum_reports
from mend.segment.make import make_masks
from mend.segment.networks import SEGMENTERS
from mend.train.config import TrainConfig
from mend.train.run import train

EXACT = 0.002  # relative: libraries of other versions round in other places
CHANCE = 1 / 330  # of a difference of two trainings that is off farther than allowed
DEVIATIONS = 3.5  # standard deviations that this is with 16 degrees of freedom, by Student's t
DEGREES = 4  # of freedom, below which a standard deviation says too little
Progress = Callable[[str], Report]  # a stage's name to what is called with (done, of) within it


@dataclass(frozen=True)
class Line:
    """An old number and the new one: of a method, or the difference "a − b" of two that follow each other in a metric.

    `ordered` says of a difference that the order may not change.
    """

    method: str
    metric: str
    old: float
    new: float
    tolerance: float
    ordered: bool = False

    @property
    def within(self) -> bool:
        return abs(self.new - self.old) <= self.tolerance and not self.turned

    @property
    def turned(self) -> bool:
        """Whether two methods changed places that may not."""
        return self.ordered and self.old * self.new <= 0


@dataclass(frozen=True)
class Reproduction:
    """What came of doing a result again: its lines, and the pairs of methods that they cannot tell apart."""

    lines: list[Line]
    alike: list[tuple[str, str]]

    @property
    def within(self) -> bool:
        return all(line.within for line in self.lines)


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
    old = first_trainings(evaluated)
    protocol = old.protocol
    trainings = {name: method.model.trained for name, method in old.methods.items()}
    for name, trained in trainings.items():
        if name not in (*OURS, *CLASSICAL, *NETWORKS) and not (trained and trained.config):
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
        try:
            config = TrainConfig(**trained.config)
        except TypeError as error:
            raise InputError(f"{name} was trained by another version of mend, which this one cannot repeat: {error}.") from None
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
    seeds = _seeds(Path(result), evaluated)
    return Reproduction(compare_results(old, new, seeds), find_alike(old, seeds))


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


def _seeds(file: Path, result: Result) -> Result | None:
    """The result that says how far trainings lie apart: this one where it has several of a recipe, or RESULT-seeds.json beside
    it; None where there is neither."""
    if any(len(names) > 1 for names in group_trainings(result, result.methods)):
        return result
    beside = file.with_name(f"{file.stem}-seeds.json")
    return read_result(beside) if beside.exists() else None


def compare_results(old: Result, new: Result, seeds: Result | None = None) -> list[Line]:
    """The lines of `reproduce`: each number, then for each metric the differences of methods that follow each other."""
    lines: list[Line] = []
    pairs: list[Line] = []
    for metric in METRICS:
        scored = [name for name, method in old.methods.items() if metric in method.metrics_scored]
        before, after = ({name: result.methods[name].mean(metric) for name in scored} for result in (old, new))
        both = {name: (was, now) for name in scored if (was := before[name]) is not None and (now := after[name]) is not None}
        allowed = {name: _tolerance(metric, both[name][0], old.methods[name], seeds) for name in both}
        lines += [Line(name, metric, *both[name], allowed[name]) for name in both]
        for one, two in pairwise(sorted(both, key=lambda name: -both[name][0])):
            was, now = (both[one][i] - both[two][i] for i in (0, 1))
            # Of two networks both are trained again; what is known without seeds is known for differences too.
            together = math.hypot if seeds is not None else max
            tolerance = _pair_tolerance(metric, one, two, seeds) or together(allowed[one], allowed[two])
            pairs.append(Line(f"{one} − {two}", metric, was, now, tolerance, ordered=was > tolerance / 2))
    places = list(old.methods)
    return [*sorted(lines, key=lambda line: places.index(line.method)), *pairs]


def find_alike(old: Result, seeds: Result | None = None) -> list[tuple[str, str]]:
    """The pairs of methods that lie so near each other that `compare_results` would let their numbers be exchanged."""
    found: list[tuple[str, str]] = []
    for one, two in combinations(old.methods, 2):
        exchanged = {a: replace(old.methods[a], metrics=old.methods[b].metrics) for a, b in ((one, two), (two, one))}
        lines = compare_results(old, replace(old, methods={**old.methods, **exchanged}), seeds)
        if all(line.within for line in lines):
            found.append((one, two))
    return found


def _pair_tolerance(metric: str, one: str, two: str, seeds: Result | None) -> float:
    """How far the difference of two networks may be off by how much their own trainings vary, which is less for some networks
    than for others; 0 where there are too few."""
    from scipy.special import stdtrit

    deviation, degrees = difference_spread(seeds, one, two, metric) if seeds is not None else (0.0, 0.0)
    if degrees < DEGREES:
        return 0.0
    return max(float(stdtrit(degrees, 1 - CHANCE / 2)) * 2**0.5 * deviation, 10.0 ** -METRICS[metric].digits)


def _tolerance(name: str, old: float, method: MethodResult, seeds: Result | None) -> float:
    """How far a number may be off: by its rounding, or by what a network that was trained again may be."""
    metric = METRICS[name]
    deviation, degrees = spread(seeds, name) if seeds is not None else (0.0, 0)
    if method.model.trained is None:
        allowed = EXACT * abs(old)
    elif degrees >= DEGREES:
        allowed = DEVIATIONS * 2**0.5 * deviation
    else:
        allowed = metric.tolerance * (abs(old) if metric.distance else 1)
    return max(allowed, 10.0**-metric.digits)
