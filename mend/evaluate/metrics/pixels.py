"""Metrics of pixels: maps of an error or a similarity, averaged over an image, its hole, or the hole's rim."""

import torch
import torch.nn.functional as F
from torch import Tensor

PSNR_CAP = 100.0  # decibels: what an exact match counts as


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
    from torchmetrics.functional.image import structural_similarity_index_measure

    return structural_similarity_index_measure(filled, image, data_range=1.0, reduction="none", return_full_image=True)[1]


def mean_over(values: Tensor, hole: Tensor | None) -> Tensor:
    """The mean of (B, 3, H, W) over each image, or over its hole, (B,); NaN where the hole is empty."""
    if hole is None:
        return values.mean((1, 2, 3))
    return (values * hole).sum((1, 2, 3)) / (hole.sum((1, 2, 3)) * values.shape[1])


def band(hole: Tensor) -> Tensor:
    """The rim of a hole, where a seam would show: its pixels within a 32nd of the shorter side, at least 2 pixels, of a known
    one, (B, 1, H, W)."""
    reach = max(2, min(hole.shape[-2:]) // 32)
    return hole * F.max_pool2d(1 - hole, 2 * reach + 1, stride=1, padding=reach)


def decibels(error: Tensor) -> Tensor:
    return (-10 * error.log10()).clamp(max=PSNR_CAP)
