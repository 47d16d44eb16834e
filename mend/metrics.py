"""How good a filling is: metrics that give one number an image, each with unit, direction and definition."""

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure


def psnr(filled: Tensor, image: Tensor, hole: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels; higher is better.

    Both are (B, 3, H, W) in [0, 1]; with `hole` (B, 1, H, W) the error is averaged over its pixels alone. Returns (B,):
    +inf where they are equal, NaN where the hole is empty.
    """
    return -10 * _mean((filled - image).square(), hole).log10()


def mae(filled: Tensor, image: Tensor, hole: Tensor | None = None) -> Tensor:
    """Mean absolute error of each image in grey levels of 255, (B,); lower is better. Arguments as in `psnr`."""
    return 255 * _mean((filled - image).abs(), hole)


def ssim(filled: Tensor, image: Tensor, hole: Tensor | None = None) -> Tensor:
    """Structural similarity of each image (Wang et al., 2004), (B,) in [-1, 1]; higher is better.

    Gaussian window 11×11, sigma 1.5, data range 1, by torchmetrics. With `hole` the similarity map is averaged over the
    pixels of the hole alone. Arguments as in `psnr`.
    """
    if hole is None:
        value = structural_similarity_index_measure(filled, image, data_range=1.0, reduction="none")
        assert isinstance(value, Tensor)
        return value.reshape(len(filled))  # torchmetrics drops the batch dimension of a single image
    both = structural_similarity_index_measure(
        filled, image, data_range=1.0, reduction="none", return_full_image=True
    )
    return _mean(both[1], hole)


def _mean(values: Tensor, hole: Tensor | None) -> Tensor:
    """The mean of (B, 3, H, W) over all but the first dimension, or over the hole, (B,); NaN where the hole is empty."""
    if hole is None:
        return values.mean((1, 2, 3))
    return (values * hole).sum((1, 2, 3)) / (hole.sum((1, 2, 3)) * values.shape[1])
