"""Metrics certify themselves: before anything is scored, each gives its value for stored reference pictures.

The pictures are drawn, not stored; `assets/metric-references.json` holds what the reference packages made of them, with their
versions. `benchmarks/metric_references.py` makes that file, with the metrics whose weights it finds.
"""

import json
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mend.data.assets import ASSETS
from mend.data.random import uniform
from mend.errors import InputError
from mend.evaluate.metrics import FEATURES, METRICS, Batch, FeatureSets, mean_over

FILE = ASSETS / "metric-references.json"
COUNT, SIDE = 1000, 32  # so many pictures that no plane separates the two sets
TOLERANCE = 2e-3  # relative; a wrong range, window or colour order changes far more
ABSOLUTE = {"%": 1.0}  # by unit: a share of pictures moves in whole pictures


def reference_pictures() -> tuple[Tensor, Tensor]:
    """Drawn pictures and a slightly blurred, noisy, tinted copy of each: two images (1000, 3, 32, 32), in whole 8-bit steps."""
    coarse = torch.from_numpy(uniform(COUNT * 3 * 25, 1)).reshape(COUNT, 3, 5, 5)
    fine = torch.from_numpy(uniform(COUNT * 3 * SIDE * SIDE, 2)).reshape(COUNT, 3, SIDE, SIDE)
    smooth = F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    truth = 0.8 * smooth + 0.2 * fine
    noise = torch.from_numpy(uniform(fine.numel(), 3)).reshape(fine.shape)
    filled = 0.9 * truth + 0.06 * F.avg_pool2d(truth, 3, 1, 1, count_include_pad=False) + 0.04 * noise
    filled[:, 0] += 0.01  # red alone, so that swapped channels show
    return tuple((255 * t).round().float() / 255 for t in (truth, filled))  # type: ignore[return-value]


def value(name: str, device: torch.device) -> float:
    """What a metric gives for the reference pictures: the mean over them, or the distance of the two sets."""
    metric, (truth, filled) = METRICS[name], (t.to(device) for t in reference_pictures())
    if metric.pixels is not None:
        return float(metric.finish(mean_over(metric.pixels(filled, truth), None)).mean())
    if metric.per_image is not None:
        return float(metric.per_image(device)(Batch(filled), Batch(truth)).mean())
    assert metric.distance is not None
    features = FEATURES[metric.network](device)
    return metric.distance(FeatureSets(features(Batch(truth)).cpu(), features(Batch(filled)).cpu()))


@lru_cache
def certify(name: str, device: torch.device) -> str:
    """What a metric was checked against, "" where no reference is stored. Raises InputError when its value is another."""
    reference: dict[str, Any] | None = json.loads(FILE.read_text(encoding="utf-8"))["metrics"].get(name)
    if reference is None:
        return ""
    got, expected = value(name, device), reference["value"]
    if not abs(got - expected) <= max(TOLERANCE * abs(expected), ABSOLUTE.get(METRICS[name].unit, 0)):
        raise InputError(
            f"{METRICS[name].title} gives {got:.6g} for the reference pictures, where {reference['by']} gave {expected:.6g}: "
            "this installation computes something else. Install the versions of constraints.txt, or leave the metric out."
        )
    return reference["by"]
