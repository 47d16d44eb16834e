"""How close a result is to the picture, where it is intact under the mask: PSNR and SSIM in the hole, without PyTorch.

The definitions, and to rounding the numbers, are those of `mend.evaluate.metrics`, which work on PyTorch's tensors: the studio
does without PyTorch, and a test holds the two together.
"""

import cv2
import numpy as np

from mend.images import Picture

CAP = 100.0  # decibels: what an exact match counts as
WINDOW, SIGMA = 11, 1.5  # pixels
C1, C2 = 0.01**2, 0.03**2


def measure(picture: Picture, filled: Picture, hole: np.ndarray) -> dict[str, float]:
    """PSNR in decibels and SSIM over the hole (1, 1, H, W); computed around it alone, which is the same and far less at 24
    megapixels."""
    x, y, width, height = cv2.boundingRect((hole[0, 0] > 0).astype(np.uint8))
    part = (slice(max(0, y - WINDOW), y + height + WINDOW), slice(max(0, x - WINDOW), x + width + WINDOW))
    image, result = (each.image()[0][:, *part].astype(np.float64) for each in (picture, filled))
    inside = hole[0, 0][part] > 0
    return {"psnr": psnr(result[:, inside], image[:, inside]), "ssim": float(map_ssim(result, image)[:, inside].mean())}


def psnr(filled: np.ndarray, image: np.ndarray) -> float:
    error = np.square(filled - image).mean()
    return min(CAP, float(-10 * np.log10(error))) if error else CAP


def map_ssim(filled: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Structural similarity of every value of two images (C, H, W) in [0, 1] (Wang et al., 2004)."""

    def blur(values: np.ndarray) -> np.ndarray:
        return np.stack(
            [cv2.GaussianBlur(plane, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT_101) for plane in values]
        )

    mean_f, mean_i = blur(filled), blur(image)
    variance_f, variance_i = blur(filled * filled) - mean_f**2, blur(image * image) - mean_i**2
    covariance = blur(filled * image) - mean_f * mean_i
    luminance = (2 * mean_f * mean_i + C1) / (mean_f**2 + mean_i**2 + C1)
    structure = (2 * covariance + C2) / (variance_f.clip(0) + variance_i.clip(0) + C2)
    return luminance * structure
