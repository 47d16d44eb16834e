"""How good a filling is. A per-image metric gives one number an image; a set metric compares two sets of images.

Each carries its unit, its direction and its definition as data: tables and arrows read them.
To add one: a function or class, one line in `METRICS`, one test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from mend.errors import InputError

PSNR_CAP = 100.0  # decibels: what an exact match counts as


class WeightsMissing(InputError):
    """A metric's pretrained weights are not on this machine and cannot be fetched."""


def psnr(filled: Tensor, image: Tensor, hole: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels; higher is better.

    Both are (B, 3, H, W) in [0, 1]; with `hole` (B, 1, H, W) the error is averaged over its pixels alone. Returns (B,):
    100 dB where they are equal, NaN where the hole is empty. A mean over images, not pooled over pixels (torchmetrics pools).
    """
    return decibels(mean_over(squared_error(filled, image), hole))


def mae(filled: Tensor, image: Tensor, hole: Tensor | None = None) -> Tensor:
    """Mean absolute error of each image in grey levels of 255, (B,); lower is better. Arguments as in `psnr`."""
    return mean_over(absolute_error(filled, image), hole)


def ssim(filled: Tensor, image: Tensor, hole: Tensor | None = None) -> Tensor:
    """Structural similarity of each image (Wang et al., 2004), (B,) in [-1, 1]; higher is better.

    Gaussian window 11×11, sigma 1.5, data range 1, by torchmetrics. With `hole` the similarity map is averaged over the
    pixels of the hole alone. Arguments as in `psnr`; images of at least 6×6 pixels.
    """
    return mean_over(similarity(filled, image), hole)


# The maps behind them, (B, 3, H, W): one map serves the whole image and the hole.


def squared_error(filled: Tensor, image: Tensor) -> Tensor:
    return (filled - image).square()


def absolute_error(filled: Tensor, image: Tensor) -> Tensor:
    return 255 * (filled - image).abs()


def similarity(filled: Tensor, image: Tensor) -> Tensor:
    # Never in bf16, to which a validation step would cast it: variances are small differences of large sums, and a mean SSIM
    # of 0.85 came out as 0.62.
    with torch.autocast(filled.device.type, enabled=False):
        return _ssim_map(filled.float(), image.float())


def _ssim_map(filled: Tensor, image: Tensor) -> Tensor:
    return structural_similarity_index_measure(filled, image, data_range=1.0, reduction="none", return_full_image=True)[1]


def mean_over(values: Tensor, hole: Tensor | None) -> Tensor:
    """The mean of (B, 3, H, W) over each image, or over its hole, (B,); NaN where the hole is empty."""
    if hole is None:
        return values.mean((1, 2, 3))
    return (values * hole).sum((1, 2, 3)) / (hole.sum((1, 2, 3)) * values.shape[1])


def decibels(error: Tensor) -> Tensor:
    return (-10 * error.log10()).clamp(max=PSNR_CAP)


# --- Metrics with pretrained networks --------------------------------------------------------------------------------


class LPIPS:
    """Learned perceptual image patch similarity (Zhang et al., 2018, arXiv:1801.03924) with VGG-16; lower is better.

    `LPIPS(device)(filled, image)` takes (B, 3, H, W) in [0, 1] to (B,). Raises WeightsMissing when VGG-16 cannot be had.
    """

    def __init__(self, device: torch.device) -> None:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        with _weights("LPIPS", "vgg16-397923af.pth"):
            metric = LearnedPerceptualImagePatchSimilarity(net_type="vgg", normalize=True)
        self.net: Any = metric.net.to(device)

    @torch.no_grad()
    def __call__(self, filled: Tensor, image: Tensor) -> Tensor:
        return self.net(filled, image, normalize=True).reshape(-1)


class FID:
    """Fréchet Inception distance (Heusel et al., 2017, arXiv:1706.08500), 2048 pooled features of the 2015 Inception;
    lower is better.

    `update(filled, image)` for every batch in [0, 1], then `compute()`. Scaled to 299×299 as torch-fidelity does it
    (bilinear, TensorFlow 1), which makes it equal to that package. Raises WeightsMissing when Inception cannot be had.
    """

    def __init__(self, device: torch.device) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        with _weights("FID", "weights-inception-2015-12-05-6726825d.pth"):
            self.metric = FrechetInceptionDistance(feature=2048, antialias=False).to(device)

    def update(self, filled: Tensor, image: Tensor) -> None:
        self.metric.update(_levels(image), real=True)
        self.metric.update(_levels(filled), real=False)

    def compute(self) -> float:
        return float(self.metric.compute())


def _levels(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] as rounded uint8; torchmetrics itself would truncate."""
    return (image.clamp(0, 1) * 255).round().byte()


class _weights:
    """Turns a failed download into WeightsMissing, which names the file and where it is looked for."""

    def __init__(self, metric: str, file: str) -> None:
        self.metric, self.file = metric, Path(torch.hub.get_dir()) / "checkpoints" / file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):  # URLError is one
            raise WeightsMissing(
                f"{self.metric} needs weights that could not be fetched ({error}). They are looked for in {self.file}; put "
                "them there, or leave the metric out (--metrics psnr,ssim,mae)."
            ) from error


# --- The table -------------------------------------------------------------------------------------------------------


class SetMetric(Protocol):
    def update(self, filled: Tensor, image: Tensor) -> None: ...
    def compute(self) -> float: ...


@dataclass(frozen=True)
class Metric:
    """What a table needs to know, and one of three ways to compute it.

    `pixels` makes a map (B, 3, H, W), whose mean over the image and over the hole `finish` turns into the metric;
    `per_image` makes, on a device, a function `(filled, image) -> (B,)`; `of_sets` makes, on a device, a `SetMetric`.
    """

    title: str
    unit: str
    higher_is_better: bool
    digits: int
    definition: str
    pixels: Callable[[Tensor, Tensor], Tensor] | None = None
    finish: Callable[[Tensor], Tensor] = torch.Tensor.clone
    per_image: Callable[[torch.device], Callable[[Tensor, Tensor], Tensor]] | None = None
    of_sets: Callable[[torch.device], SetMetric] | None = None

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"


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
        "structural similarity (Wang et al., 2004): Gaussian window 11×11, σ = 1.5, per channel, mean over images",
        pixels=similarity,
    ),
    "lpips": Metric(
        *("LPIPS", "", False, 4),
        "learned perceptual image patch similarity (Zhang et al., 2018): VGG-16, images at their own size",
        per_image=LPIPS,
    ),
    "fid": Metric(
        *("FID", "", False, 2),
        "Fréchet Inception distance to the originals (Heusel et al., 2017): 2015 Inception, 2048 features, 8-bit images "
        "scaled to 299×299 as torch-fidelity does",
        of_sets=FID,
    ),
    "mae": Metric(
        *("MAE", "/255", False, 2),
        "mean absolute error in grey levels of 255, mean over images",
        pixels=absolute_error,
    ),
}
