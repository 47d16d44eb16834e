"""How good a filling is. A per-image metric gives one number an image; a set metric compares two sets of images.

Each carries its unit, its direction, its definition and its tolerance as data: tables, help texts and `mend reproduce` read
them. To add one: a function here, an entry of `METRICS` below it, a value in `benchmarks/metric_references.py`, a test.
Nothing here imports PyTorch before something is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mend.evaluate.weights import provide_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PSNR_CAP = 100.0  # decibels: what an exact match counts as
SUBSETS, SUBSET = 100, 1000  # of the kernel distance, as published
MOST = 0.5  # share of the pixels that differ: with more of them it is no slower to look at all
STRIP = 2**18  # pixels of all pictures of a batch for which SSIM is worked out at once
INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"


class Batch:
    """Pictures (B, 3, H, W) in [0, 1] on one device. What mend's classifier sees in them is computed once for all metrics."""

    def __init__(self, pictures: Tensor) -> None:
        self.pictures = pictures

    @property
    def looked_at(self) -> bool:
        """Whether the classifier has seen them: then its maps cost nothing more."""
        return "maps" in vars(self)

    @cached_property
    def maps(self) -> list[Tensor]:
        """The classifier's feature maps, finest first."""
        import torch

        from mend.models.classifier import load_classifier

        with torch.no_grad():
            return load_classifier(self.pictures.device).layers(self.pictures)


class FeatureSets:
    """The features of two sets of images, `truth` and `filled`, both (N, D) on the CPU, row by row the same image."""

    def __init__(self, truth: Tensor, filled: Tensor) -> None:
        self.truth, self.filled = truth, filled

    @cached_property
    def classifier(self) -> Any:
        """A linear support vector machine that tells the two sets apart, fitted once for all metrics."""
        from sklearn.svm import LinearSVC

        return LinearSVC(dual=False).fit(*self.labelled)

    @property
    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """All features, (2N, D), and whether each is of an original, (2N,)."""
        return np.concatenate([self.truth, self.filled]), np.repeat([1, 0], len(self.truth))


@dataclass(frozen=True)
class Metric:
    """What a table needs to know, and one of three ways to compute it.

    `pixels` makes a map (B, 3, H, W), whose mean over the image, the hole or its rim `finish` turns into the metric;
    `per_image` makes, on a device, a function `(filled, image) -> (B,)`; `distance` compares two sets by their features and
    needs `fewest` images. `network` is what the metric looks through, for a distance a key of `FEATURES`. `tolerance` is how
    far a network that was trained again may be off: in the metric's unit, for a distance as a share of the old value.
    """

    title: str
    unit: str
    higher_is_better: bool
    digits: int
    tolerance: float
    definition: str
    pixels: Callable[[Tensor, Tensor], Tensor] | None = None
    finish: Callable[[Tensor], Tensor] = lambda mean: mean
    per_image: Callable[[torch.device], Callable[[Batch, Batch], Tensor]] | None = None
    distance: Callable[[FeatureSets], float] | None = None
    network: str = ""
    fewest: int = 1

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"


def name_metric(column: str) -> str:
    """The metric of a column: "psnr" of "psnr_hole". What stands after it is the view: raw, hole or band."""
    return column.partition("_")[0]


# --- Pixels: a map, averaged over an image, its hole, or the hole's rim ----------------------------------------------


def psnr(filled: Tensor, image: Tensor, hole: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels; higher is better.

    Both are (B, 3, H, W) in [0, 1]; with `hole` (B, 1, H, W) the error is averaged over its pixels alone. Returns (B,):
    100 dB where they are equal, NaN where the hole is empty. A mean over images, not pooled over pixels (torchmetrics pools).
    """
    return to_decibels(average_over(measure_squared_error(filled, image), hole))


def ssim(filled: Tensor, image: Tensor, hole: Tensor | None = None) -> Tensor:
    """Structural similarity of each image (Wang et al., 2004), (B,) in [-1, 1]; higher is better.

    Gaussian window 11×11, sigma 1.5, data range 1, by torchmetrics. With `hole` the similarity map is averaged over the
    pixels of the hole alone. Arguments as in `psnr`; images of at least 6×6 pixels.
    """
    return average_over(map_similarity(filled, image), hole)


def measure_squared_error(filled: Tensor, image: Tensor) -> Tensor:
    return (filled - image).square()


def measure_absolute_error(filled: Tensor, image: Tensor) -> Tensor:
    return 255 * (filled - image).abs()


def map_similarity(filled: Tensor, image: Tensor) -> Tensor:
    """The map (B, 3, H, W) of structural similarity. As torchmetrics computes it, to a few units in the last place of float32,
    but along rows and columns in turn, as its window of 11×11 at once takes five times as long; and on a CPU strip by strip: a
    strip stays in the cache, and where both are equal it has a similarity of 1."""
    import torch
    import torch.nn.functional as F

    a, b = (F.pad(pictures.float(), (5, 5, 5, 5), mode="reflect") for pictures in (filled, image))
    if filled.device.type != "cpu" or filled.requires_grad:
        return _map_strip(a, b)
    rows = max(64, STRIP // (len(filled) * filled.shape[3]))
    strips = [(a[:, :, y : y + rows + 10], b[:, :, y : y + rows + 10]) for y in range(0, filled.shape[2], rows)]
    same = torch.ones_like(a[:, :, :rows, 5:-5])
    return torch.cat([same[:, :, : len(x[0, 0]) - 10] if torch.equal(x, y) else _map_strip(x, y) for x, y in strips], 2)


def _map_strip(a: Tensor, b: Tensor) -> Tensor:
    """The map of pictures that are wider by 5 pixels on each side."""
    import torch

    mean_a, mean_b, aa, bb, ab = _blur(_blur(torch.cat([a, b, a * a, b * b, a * b]), 2), 3).chunk(5)
    variances = (aa - mean_a**2).clamp(min=0) + (bb - mean_b**2).clamp(min=0)
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * (ab - mean_a * mean_b) + c2)
    return top / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))


def _blur(maps: Tensor, axis: int) -> Tensor:
    """The Gaussian window of SSIM along an axis, which becomes shorter by 10: sums of shifted maps.

    No convolution of PyTorch is as fast for a single channel; and a validation step would cast one to bf16. Variances are small
    differences of large sums: a mean SSIM of 0.85 came out as 0.62.
    """
    weights = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights, length = (weights / weights.sum()).tolist(), maps.shape[axis] - 10
    total = weights[0] * maps.narrow(axis, 0, length)
    for i in range(1, 11):
        total.add_(maps.narrow(axis, i, length), alpha=weights[i])
    return total


def average_over(values: Tensor, hole: Tensor | None) -> Tensor:
    """The mean of (B, 3, H, W) over each image, or over its hole, (B,); NaN where the hole is empty."""
    if hole is None:
        return values.mean((1, 2, 3))
    return (values * hole).sum((1, 2, 3)) / (hole.sum((1, 2, 3)) * values.shape[1])


def find_rim(hole: Tensor) -> Tensor:
    """The rim of a hole, where a seam would show: its pixels within a 32nd of the shorter side, at least 2 pixels, of a known
    one, (B, 1, H, W)."""
    reach = max(2, min(hole.shape[-2:]) // 32)
    return hole * _find_near(_find_near(hole < 1, reach, 2), reach, 3)


def _find_near(known: Tensor, reach: int, axis: int) -> Tensor:
    """Where something is known within `reach` pixels along an axis, by running counts: the time does not grow with `reach`."""
    import torch

    places = torch.arange(known.shape[axis], device=known.device)
    counts = known.int().cumsum(axis)
    upto = counts.index_select(axis, (places + reach).clamp(max=len(places) - 1))
    before = counts.index_select(axis, (places - reach - 1).clamp(min=0))
    before = before.where((places > reach).view(-1, *[1] * (3 - axis)), torch.zeros_like(before))
    return upto > before


def to_decibels(error: Tensor) -> Tensor:
    return (-10 * error.log10()).clamp(max=PSNR_CAP)


# --- Two pictures, seen through a network, which is loaded once a device ---------------------------------------------


@lru_cache(maxsize=4)
def _load_lpips(kind: Any, weights: str, device: torch.device) -> Callable[[Batch, Batch], Tensor]:
    """Learned perceptual image patch similarity (Zhang et al., 2018, arXiv:1801.03924), by torchmetrics."""
    import torch
    import torchvision.models
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    with provide_weights("LPIPS", getattr(torchvision.models, weights).DEFAULT.url, list_bundled_metrics()):
        net: Any = LearnedPerceptualImagePatchSimilarity(net_type=kind).net.to(device)

    @torch.no_grad()
    def distance(filled: Batch, image: Batch) -> Tensor:
        return net(filled.pictures, image.pictures, normalize=True).reshape(-1)

    return distance


lpips_vgg = partial(_load_lpips, "vgg", "VGG16_Weights")
lpips_alex = partial(_load_lpips, "alex", "AlexNet_Weights")


def lpips_cifar(device: torch.device) -> Callable[[Batch, Batch], Tensor]:
    from mend.models.classifier import difference, load_classifier
    from mend.models.classifier_changes import compare_where_changed

    def distance(filled: Batch, image: Batch) -> Tensor:
        seen = filled.looked_at and image.looked_at
        if seen or device.type != "cpu" or (filled.pictures != image.pictures).any(1).float().mean() > MOST:
            return difference(filled.maps, image.maps)
        return compare_where_changed(load_classifier(device), image.pictures, filled.pictures)

    return distance


def list_bundled_metrics() -> list[str]:
    """The metrics that need no weights, or those that come with mend."""
    return [name for name, one in METRICS.items() if one.network in ("", "cifar")]


# --- Two sets, compared by what a network sees in their images -------------------------------------------------------


@lru_cache(maxsize=4)
def inception(device: torch.device) -> Callable[[Batch], Tensor]:
    """2048 pooled features of the 2015 Inception, by torch-fidelity: 8-bit images, scaled to 299×299 as TensorFlow 1 did."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    with provide_weights("FID", URL_INCEPTION_V3, list_bundled_metrics()):
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).eval().to(device)

    @torch.no_grad()
    def features(batch: Batch) -> Tensor:
        return network((batch.pictures.clamp(0, 1) * 255).round().byte())[0].float()

    return features


def cifar(device: torch.device) -> Callable[[Batch], Tensor]:
    """192 features of mend's classifier: its last maps, each at its maximum."""
    return lambda batch: batch.maps[-1].amax((2, 3))


FEATURES: dict[str, Callable[[torch.device], Callable[[Batch], Tensor]]] = {"inception": inception, "cifar": cifar}
"""By the name of a network: what makes, on a device, the function from pictures to their features (B, D)."""


def frechet(sets: FeatureSets) -> float:
    """Fréchet distance of two Gaussians (Heusel et al., 2017, arXiv:1706.08500); it takes more images than features.

    torch-fidelity computes this one and the next, so that the numbers are those of the package that the field cites.
    """
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = (fid_features_to_statistics(features.double()) for features in (sets.truth, sets.filled))
    return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])


def kernel(sets: FeatureSets) -> float:
    """Squared maximum mean discrepancy, cubic kernel, unbiased (Bińkowski et al., 2018, arXiv:1801.01401): the mean over 100
    drawn subsets of 1,000 images, or of all where there are fewer."""
    from torch_fidelity.metric_kid import kid_features_to_metric

    size = min(SUBSET, len(sets.truth))
    options = {"kid_subsets": SUBSETS if size == SUBSET else 1, "kid_subset_size": size, "verbose": False}
    distance = kid_features_to_metric(sets.truth.double(), sets.filled.double(), **options)
    return float(distance["kernel_inception_distance_mean"])


def paired_indiscernible(sets: FeatureSets) -> float:
    """P-IDS (Zhao et al., 2021, arXiv:2103.10428): how often, in %, a filled image looks more real to a linear support vector
    machine than its own original does. Of those that look as real half count, so that identical sets have 50."""
    filled, truth = (sets.classifier.decision_function(features.numpy()) for features in (sets.filled, sets.truth))
    return float(100 * ((filled > truth).mean() + (filled == truth).mean() / 2))


def unpaired_indiscernible(sets: FeatureSets) -> float:
    """U-IDS (Zhao et al., 2021, arXiv:2103.10428): the share, in %, of both sets that a linear support vector machine gets
    wrong; 50 where they cannot be told apart."""
    return float(100 * (1 - sets.classifier.score(*sets.labelled)))


# --- All of them -----------------------------------------------------------------------------------------------------

INCEPTION = "the 2015 Inception's 2048 features of 8-bit images, scaled to 299×299 as torch-fidelity does"
CIFAR = "192 features of mend's CIFAR-10 classifier (results/cifar-classifier.json), images at their own size"

METRICS: dict[str, Metric] = {
    "psnr": Metric(
        *("PSNR", "dB", True, 2, 0.25),
        "peak signal-to-noise ratio: mean over images of −10·log₁₀(mean squared error), values in [0, 1]; an exact match "
        f"counts as {PSNR_CAP:.0f} dB, an image with an empty hole is left out",
        pixels=measure_squared_error,
        finish=to_decibels,
    ),
    "ssim": Metric(
        *("SSIM", "", True, 4, 0.006),
        "structural similarity (Wang et al., 2004): Gaussian window 11×11, σ = 1.5, per channel, borders mirrored as "
        "torchmetrics does (scikit-image leaves 5 pixels at the border out), mean over images",
        pixels=map_similarity,
    ),
    "lpips": Metric(
        *("LPIPS", "", False, 4, 0.006),
        "learned perceptual image patch similarity (Zhang et al., 2018): VGG-16, images at their own size",
        per_image=lpips_vgg,
        network="vgg",
    ),
    "lpips-alex": Metric(
        *("LPIPS-Alex", "", False, 4, 0.006),
        "learned perceptual image patch similarity (Zhang et al., 2018): AlexNet, images at their own size",
        per_image=lpips_alex,
        network="alex",
    ),
    "lpips-cifar": Metric(
        *("LPIPS-CIFAR", "", False, 4, 0.006),
        "squared distance of unit-length features, averaged over positions and over the seven maps of mend's CIFAR-10 "
        "classifier (results/cifar-classifier.json); no learned weights, not comparable with LPIPS",
        per_image=lpips_cifar,
        network="cifar",
    ),
    "fid": Metric(
        *("FID", "", False, 2, 0.2),
        f"Fréchet Inception distance to the originals (Heusel et al., 2017): {INCEPTION}",
        distance=frechet,
        network="inception",
        fewest=2049,  # a covariance of 2048 features has full rank from there
    ),
    "fid-cifar": Metric(
        *("FID-CIFAR", "", False, 3, 0.2),
        f"Fréchet distance to the originals, as FID, in {CIFAR}; not comparable with FID",
        distance=frechet,
        network="cifar",
        fewest=193,
    ),
    "kid": Metric(
        *("KID", "", False, 5, 0.2),
        f"kernel Inception distance to the originals (Bińkowski et al., 2018): 100 subsets of 1,000 images "
        f"or one of all; the sets are paired, so it may fall below zero: compare at equal n; {INCEPTION}",
        distance=kernel,
        network="inception",
        fewest=2,
    ),
    "kid-cifar": Metric(
        *("KID-CIFAR", "", False, 5, 0.2),
        f"kernel distance to the originals, as KID, in {CIFAR}; not comparable with KID",
        distance=kernel,
        network="cifar",
        fewest=2,
    ),
    "p-ids": Metric(
        *("P-IDS", "%", True, 2, 0.2),
        "paired inception discriminative score (Zhao et al., 2021): how often a linear support vector machine finds a filled "
        f"image more real than its original, ties counted as half; {INCEPTION}",
        distance=paired_indiscernible,
        network="inception",
        fewest=2049,  # a plane separates any two sets of fewer
    ),
    "p-ids-cifar": Metric(
        *("P-IDS-CIFAR", "%", True, 2, 0.2),
        f"as P-IDS, ties counted as half, in {CIFAR}",
        distance=paired_indiscernible,
        network="cifar",
        fewest=193,
    ),
    "u-ids": Metric(
        *("U-IDS", "%", True, 2, 0.2),
        "unpaired inception discriminative score (Zhao et al., 2021): the share of both sets that a linear support vector "
        f"machine gets wrong; {INCEPTION}",
        distance=unpaired_indiscernible,
        network="inception",
        fewest=2049,
    ),
    "u-ids-cifar": Metric(
        *("U-IDS-CIFAR", "%", True, 2, 0.2),
        f"as U-IDS, in {CIFAR}",
        distance=unpaired_indiscernible,
        network="cifar",
        fewest=193,
    ),
    "mae": Metric(
        *("MAE", "/255", False, 2, 0.2),
        "mean absolute error in grey levels of 255, mean over images",
        pixels=measure_absolute_error,
    ),
}
