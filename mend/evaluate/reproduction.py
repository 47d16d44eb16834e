"""A result done again: its old numbers beside the new ones, and how far apart they may be.

Fillers that are not trained must give the same numbers. A network trained again does not: another machine adds up in another
order, and training carries that on. How far it may be off follows from how far trainings of one recipe with other seeds lie
apart, where a result has several (this one, or RESULT-seeds.json beside it), and else is each metric's `tolerance`: two to four
times what two trainings of the four networks of cifar10-object-v1 differed by at most
(results/cifar10-object-v1/reproduced.txt). The differences of methods that follow each other are held to that too, or to how
far their own trainings lie apart; and so is their order: each number alone of two that changed places may be near enough. Two
methods may still be nearer to each other than two trainings of one are: those are named, as nothing here tells them apart.
"""

import math
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from mend.evaluate.metrics import METRICS
from mend.evaluate.result import MethodResult, Result
from mend.evaluate.trainings import measure_difference_spread, measure_spread

EXACT = 0.002  # relative: libraries of other versions round in other places
SIGNIFICANCE = 1 / 330  # share of the differences of two trainings that are off farther than allowed, with nothing wrong
DEVIATIONS = 3.5  # standard deviations that this is with 16 degrees of freedom, by Student's t
DEGREES = 4  # of freedom, below which a standard deviation says too little


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


def compare_results(old: Result, new: Result, seeds: Result | None = None) -> list[Line]:
    """Each old number beside the new one, then for each metric the differences of methods that follow each other."""
    lines: list[Line] = []
    pairs: list[Line] = []
    for metric in METRICS:
        scored = [name for name, method in old.methods.items() if metric in method.metrics_scored]
        before, after = ({name: result.methods[name].mean(metric) for name in scored} for result in (old, new))
        both = {name: (was, now) for name in scored if (was := before[name]) is not None and (now := after[name]) is not None}
        allowed = {name: _compute_tolerance(metric, both[name][0], old.methods[name], seeds) for name in both}
        lines += [Line(name, metric, *both[name], allowed[name]) for name in both]
        for one, two in pairwise(sorted(both, key=lambda name: -both[name][0])):
            was, now = (both[one][i] - both[two][i] for i in (0, 1))
            # Of two networks both are trained again; what is known without seeds is known for differences too.
            together = math.hypot if seeds is not None else max
            tolerance = _compute_pair_tolerance(metric, one, two, seeds) or together(allowed[one], allowed[two])
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


def _compute_pair_tolerance(metric: str, one: str, two: str, seeds: Result | None) -> float:
    """How far the difference of two networks may be off by how much their own trainings vary, which is less for some networks
    than for others; 0 where there are too few."""
    from scipy.special import stdtrit

    deviation, degrees = measure_difference_spread(seeds, one, two, metric) if seeds is not None else (0.0, 0.0)
    if degrees < DEGREES:
        return 0.0
    return max(float(stdtrit(degrees, 1 - SIGNIFICANCE / 2)) * 2**0.5 * deviation, 10.0 ** -METRICS[metric].digits)


def _compute_tolerance(name: str, old: float, method: MethodResult, seeds: Result | None) -> float:
    """How far a number may be off: by its rounding, or by what a network that was trained again may be."""
    metric = METRICS[name]
    deviation, degrees = measure_spread(seeds, name) if seeds is not None else (0.0, 0)
    if method.model.trained is None:
        allowed = EXACT * abs(old)
    elif degrees >= DEGREES:
        allowed = DEVIATIONS * 2**0.5 * deviation
    else:
        allowed = metric.tolerance * (abs(old) if metric.distance else 1)
    return max(allowed, 10.0**-metric.digits)
