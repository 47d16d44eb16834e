"""Whether `lpips-cifar` and `fid-cifar` order obviously better and worse pictures rightly, on real CIFAR-10 images.

    python benchmarks/perception_order.py ../shared/data/cifar10

Five kinds of damage at rising strength; a metric orders a kind rightly when every step is worse than the one before. In the
last, images trade places: in the end each is a wrong one, and all are real, so a distance of sets must rise and fall again.
Writes results/perception-order.json and .png; PSNR and SSIM stand beside them.
"""

import argparse
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from mend.data.loaders import to_image
from mend.data.random import uniform
from mend.data.sources import load_images
from mend.evaluate.metrics import FEATURES, METRICS, Batch, FeatureSets, average_over
from mend.models.checkpoint import find_commit
from mend.models.device import find_device

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", help="a source of CIFAR-10, such as cifar10 or a local copy")
parser.add_argument("--n", type=int, default=2000, help="the first so many test images")
arguments = parser.parse_args()

OUT = Path(__file__).parent.parent / "results" / "perception-order"
COLUMNS = ("lpips-cifar", "fid-cifar", "psnr", "ssim")
device = find_device("auto")


def blur(image: Tensor, sigma: float) -> Tensor:
    x = torch.arange(-8, 9, dtype=torch.float32)
    line = torch.exp(-0.5 * (x / sigma) ** 2)
    line = (line / line.sum()).expand(3, 1, 1, 17)
    padded = F.pad(image, (8, 8, 8, 8), mode="reflect")
    return F.conv2d(F.conv2d(padded, line, groups=3), line.transpose(2, 3), groups=3)


def noise(image: Tensor, levels: float) -> Tensor:
    """Gaussian, by Box and Muller from the counter-based generator, of this deviation in grey levels."""
    a, b = (torch.from_numpy(uniform(image.numel(), key)).float().reshape(image.shape) for key in (1, 2))
    return (image + levels / 255 * (-2 * (1 - a).log()).sqrt() * (2 * torch.pi * b).cos()).clamp(0, 1)


def wrong_colour(image: Tensor, share: float) -> Tensor:
    """Mixed with itself, its channels in another order."""
    return (1 - share) * image + share * image[:, [1, 2, 0]]


def wrong_image(image: Tensor, share: float) -> Tensor:
    """A central square of this share of the area from another image, one and the same for all."""
    return _patched(image, image[:1], share)


def exchanged_image(image: Tensor, share: float) -> Tensor:
    """A central square of this share of the area from the next image."""
    return _patched(image, image.roll(1, 0), share)


def _patched(image: Tensor, other: Tensor, share: float) -> Tensor:
    side = round(share**0.5 * image.shape[-1])
    start = (image.shape[-1] - side) // 2
    part, changed = slice(start, start + side), image.clone()
    changed[..., part, part] = other[..., part, part]
    return changed


DAMAGES: dict[str, tuple[Callable[[Tensor, float], Tensor], tuple[float, ...], str]] = {
    "blur": (blur, (0.4, 0.7, 1.0, 1.5, 2.0, 3.0), "σ, pixels"),
    "noise": (noise, (4, 8, 16, 32, 64, 96), "deviation, grey levels"),
    "wrong colour": (wrong_colour, (0.1, 0.2, 0.4, 0.6, 0.8, 1.0), "share of swapped channels"),
    "wrong image": (wrong_image, (0.05, 0.1, 0.25, 0.5, 0.75, 1.0), "share of the area"),
    "exchanged image": (exchanged_image, (0.05, 0.1, 0.25, 0.5, 0.75, 1.0), "share of the area"),
}


def score(name: str, filled: Tensor, image: Tensor) -> float:
    metric = METRICS[name]
    if metric.distance is not None:
        look = FEATURES[metric.network](device)
        sets = [torch.cat([look(Batch(part.to(device))).cpu() for part in images.split(250)]) for images in (image, filled)]
        return metric.distance(FeatureSets(*sets))
    parts = zip(filled.split(250), image.split(250), strict=True)
    if metric.per_image is not None:
        compare = metric.per_image(device)
        return float(torch.cat([compare(Batch(a.to(device)), Batch(b.to(device))).cpu() for a, b in parts]).mean())
    assert metric.pixels is not None
    return float(torch.cat([metric.finish(average_over(metric.pixels(a, b), None)) for a, b in parts]).mean())


images = load_images(arguments.data, "test")
truth = to_image(np.array(images.part(np.arange(min(arguments.n, len(images)))).pixels))
result: dict[str, dict[str, object]] = {}
figure = Figure(figsize=(18, 3.4), layout="constrained")
axes = figure.subplots(1, len(DAMAGES))
for axis, (kind, (damage, strengths, unit)) in zip(axes, DAMAGES.items(), strict=True):
    scores = {name: [score(name, damage(truth, strength), truth) for strength in strengths] for name in COLUMNS}
    right = {
        name: all((b < a) if METRICS[name].higher_is_better else (b > a) for a, b in pairwise(values))
        for name, values in scores.items()
    }
    result[kind] = {"unit": unit, "strengths": strengths, "scores": scores, "monotone": right}
    print(kind, json.dumps(right), flush=True)
    for name, colour in zip(COLUMNS[:2], ("#0072b2", "#d55e00"), strict=True):
        values = np.array(scores[name])
        axis.plot(range(len(strengths)), values / values.max(), marker="o", color=colour, label=METRICS[name].title)
    axis.set(title=kind, xlabel=unit, xticks=range(len(strengths)), xticklabels=[f"{s:g}" for s in strengths], ylim=(0, 1.05))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
axes[0].set_ylabel("share of the largest")
axes[0].legend(frameon=False)
figure.savefig(OUT.with_suffix(".png"), dpi=110)
record = {"n": len(truth), "commit": find_commit(), "damages": result}
OUT.with_suffix(".json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
