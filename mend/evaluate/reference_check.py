"""Metrics are checked before anything is scored: each has to give its known value for reference pictures.

The pictures are drawn, not stored; `assets/metric-references.json` holds what the reference packages made of them, with their
versions. `benchmarks/metric_references.py` makes that file, with the metrics whose weights it finds.
"""

import json
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mend.data.assets import ASSETS
from mend.data.random import uniform
from mend.errors import InputError
from mend.evaluate.metrics import FEATURES, METRICS, Batch, FeatureSets, Metric, average_over

FILE = ASSETS / "metric-references.json"
COUNT, SIDE = 1000, 32  # so many pictures that no plane separates the two sets
TOLERANCE = 2e-3  # relative; a wrong range, window or colour order changes far more
ABSOLUTE = {"%": 1.0}  # by unit: a share of pictures moves in whole pictures


@lru_cache(maxsize=1)
def draw_reference_pictures() -> tuple[Tensor, Tensor]:
    """Drawn pictures and a slightly blurred, noisy, tinted copy of each: two images (1000, 3, 32, 32), in whole 8-bit steps."""
    coarse = torch.from_numpy(uniform(COUNT * 3 * 25, 1)).reshape(COUNT, 3, 5, 5)
    fine = torch.from_numpy(uniform(COUNT * 3 * SIDE * SIDE, 2)).reshape(COUNT, 3, SIDE, SIDE)
    smooth = F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    truth = 0.8 * smooth + 0.2 * fine
    noise = torch.from_numpy(uniform(fine.numel(), 3)).reshape(fine.shape)
    filled = 0.9 * truth + 0.06 * F.avg_pool2d(truth, 3, 1, 1, count_include_pad=False) + 0.04 * noise
    filled[:, 0] += 0.01  # red alone, so that swapped channels show
    return tuple((255 * t).round().float() / 255 for t in (truth, filled))  # type: ignore[return-value]


def certify(names: Sequence[str], device: torch.device) -> dict[str, str]:
    """By metric what it was checked against, "" where no reference is stored; each is checked once a process.

    Raises InputError where a metric's value for the reference pictures is another.
    """
    references = json.loads(FILE.read_text(encoding="utf-8"))["metrics"]
    truth, filled = (Batch(pictures.to(device)) for pictures in draw_reference_pictures())
    for name in names:
        if name in references and (name, device) not in _checked:
            got, expected, by = measure(METRICS[name], truth, filled), references[name]["value"], references[name]["by"]
            if not abs(got - expected) <= max(TOLERANCE * abs(expected), ABSOLUTE.get(METRICS[name].unit, 0)):
                raise InputError(
                    f"{METRICS[name].title} gives {got:.6g} for the reference pictures, where {by} gave {expected:.6g}: this "
                    "installation computes something else. Install the versions of constraints.txt, or leave the metric out."
                )
            _checked.add((name, device))
    return {name: references[name]["by"] if name in references else "" for name in names}


_checked: set[tuple[str, torch.device]] = set()


def measure(metric: Metric, truth: Batch, filled: Batch) -> float:
    """The mean of a metric over pictures, or the distance of the two sets."""
    device = truth.pictures.device
    if metric.pixels is not None:
        return float(metric.finish(average_over(metric.pixels(filled.pictures, truth.pictures), None)).mean())
    if metric.per_image is not None:
        return float(metric.per_image(device)(filled, truth).mean())
    assert metric.distance is not None
    features = FEATURES[metric.network](device)
    return metric.distance(FeatureSets(features(truth).cpu(), features(filled).cpu()))
