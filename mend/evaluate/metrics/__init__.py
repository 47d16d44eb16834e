"""How good a filling is. A per-image metric gives one number an image; a set metric compares two sets of images.

Each carries its unit, its direction and its definition as data: tables and arrows read them.
To add one: a function, one line in `METRICS`, one test.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mend.evaluate.metrics import networks
from mend.evaluate.metrics.distances import frechet, kernel, paired_indiscernible, unpaired_indiscernible
from mend.evaluate.metrics.networks import SPACES, Features, PerImage, Unavailable, WeightsMissing
from mend.evaluate.metrics.pixels import (
    PSNR_CAP,
    absolute_error,
    band,
    decibels,
    mae,
    mean_over,
    psnr,
    similarity,
    squared_error,
    ssim,
)

__all__ = [
    "METRICS",
    "PSNR_CAP",
    "SPACES",
    "Features",
    "Metric",
    "PerImage",
    "Unavailable",
    "WeightsMissing",
    "band",
    "mae",
    "mean_over",
    "metric_of",
    "psnr",
    "ssim",
]


@dataclass(frozen=True)
class Metric:
    """What a table needs to know, and one of three ways to compute it.

    `pixels` makes a map (B, 3, H, W), whose mean over the image, the hole or its rim `finish` turns into the metric;
    `per_image` makes, on a device, a function `(filled, image) -> (B,)`; `distance` compares two sets by their features in
    the `space` of a network, both (N, D), and needs `fewest` images.
    """

    title: str
    unit: str
    higher_is_better: bool
    digits: int
    definition: str
    pixels: Callable[[Tensor, Tensor], Tensor] | None = None
    finish: Callable[[Tensor], Tensor] = torch.Tensor.clone
    per_image: Callable[[torch.device], PerImage] | None = None
    distance: Callable[[Tensor, Tensor], float] | None = None
    space: str = ""
    fewest: int = 1

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"


def metric_of(column: str) -> str:
    """The metric of a column: "psnr" of "psnr_hole". What stands behind is the view: raw, hole or band."""
    return column.partition("_")[0]


INCEPTION = "the 2015 Inception's 2048 features of 8-bit images, scaled to 299×299 as torch-fidelity does"
CIFAR = "192 features of mend's CIFAR-10 classifier (results/cifar-classifier.json), images at their own size"

METRICS: dict[str, Metric] = {
    "psnr": Metric(
        *("PSNR", "dB", True, 2),
        "peak signal-to-noise ratio: mean over images of −10·log₁₀(mean squared error), values in [0, 1]; an exact match "
        f"counts as {PSNR_CAP:.0f} dB, an image with an empty hole is left out",
        pixels=squared_error,
        finish=decibels,
    ),
    "ssim": Metric(
        *("SSIM", "", True, 4),
        "structural similarity (Wang et al., 2004): Gaussian window 11×11, σ = 1.5, per channel, borders mirrored as "
        "torchmetrics does (scikit-image leaves 5 pixels at the border out), mean over images",
        pixels=similarity,
    ),
    "lpips": Metric(
        *("LPIPS", "", False, 4),
        "learned perceptual image patch similarity (Zhang et al., 2018): VGG-16, images at their own size",
        per_image=networks.lpips_vgg,
    ),
    "lpips-alex": Metric(
        *("LPIPS-Alex", "", False, 4),
        "learned perceptual image patch similarity (Zhang et al., 2018): AlexNet, images at their own size",
        per_image=networks.lpips_alex,
    ),
    "lpips-cifar": Metric(
        *("LPIPS-CIFAR", "", False, 4),
        "squared distance of unit-length features, averaged over positions and over the seven maps of mend's CIFAR-10 "
        "classifier (results/cifar-classifier.json); no learned weights, not comparable with LPIPS",
        per_image=networks.lpips_cifar,
    ),
    "fid": Metric(
        *("FID", "", False, 2),
        f"Fréchet Inception distance to the originals (Heusel et al., 2017): {INCEPTION}",
        distance=frechet,
        space="inception",
        fewest=2049,  # a covariance of 2048 features has full rank from there
    ),
    "fid-cifar": Metric(
        *("FID-CIFAR", "", False, 3),
        f"Fréchet distance to the originals, as FID, in {CIFAR}; not comparable with FID",
        distance=frechet,
        space="cifar",
        fewest=193,
    ),
    "kid": Metric(
        *("KID", "", False, 5),
        f"kernel Inception distance to the originals (Bińkowski et al., 2018): 100 subsets of 1,000 images "
        f"or one of all; the sets are paired, so it may fall below zero: compare at equal n; {INCEPTION}",
        distance=kernel,
        space="inception",
        fewest=2,
    ),
    "kid-cifar": Metric(
        *("KID-CIFAR", "", False, 5),
        f"kernel distance to the originals, as KID, in {CIFAR}; not comparable with KID",
        distance=kernel,
        space="cifar",
        fewest=2,
    ),
    "p-ids": Metric(
        *("P-IDS", "%", True, 2),
        "paired inception discriminative score (Zhao et al., 2021): how often a linear support vector machine finds a filled "
        f"image more real than its original; {INCEPTION}",
        distance=paired_indiscernible,
        space="inception",
        fewest=2049,  # a plane separates any two sets of fewer
    ),
    "p-ids-cifar": Metric(
        *("P-IDS-CIFAR", "%", True, 2),
        f"as P-IDS, in {CIFAR}",
        distance=paired_indiscernible,
        space="cifar",
        fewest=193,
    ),
    "u-ids": Metric(
        *("U-IDS", "%", True, 2),
        "unpaired inception discriminative score (Zhao et al., 2021): the share of both sets that a linear support vector "
        f"machine gets wrong; {INCEPTION}",
        distance=unpaired_indiscernible,
        space="inception",
        fewest=2049,
    ),
    "u-ids-cifar": Metric(
        *("U-IDS-CIFAR", "%", True, 2),
        f"as U-IDS, in {CIFAR}",
        distance=unpaired_indiscernible,
        space="cifar",
        fewest=193,
    ),
    "mae": Metric(
        *("MAE", "/255", False, 2),
        "mean absolute error in grey levels of 255, mean over images",
        pixels=absolute_error,
    ),
}
