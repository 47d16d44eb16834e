"""Metrics that look through a network: distances of two pictures (LPIPS), and the features that sets are compared by.

Each network is loaded once a device. Where its weights are not on this machine and cannot be fetched, WeightsMissing says
which file is looked for, and where.
"""

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mend.errors import InputError
from mend.models.classifier import difference, load_classifier

INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
PerImage = Callable[[Tensor, Tensor], Tensor]
Features = Callable[[Tensor], Tensor]


class Unavailable(InputError):
    """A metric that cannot be had here: its weights are missing, or there are too few images for it.

    `result` is the evaluation that was made without it.
    """

    result: Path | None = None

    @property
    def reason(self) -> str:
        """What a table says of it, with no path of this machine."""
        return str(self)


class WeightsMissing(Unavailable):
    """A metric's pretrained weights are not on this machine and cannot be fetched."""

    @property
    def reason(self) -> str:
        return "pretrained weights not available"


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
                "them there, or leave the metric out (--metrics psnr,ssim,mae,lpips-cifar,fid-cifar)."
            ) from error


# --- Two pictures ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def lpips_vgg(device: torch.device) -> PerImage:
    return _lpips("vgg", "vgg16-397923af.pth", device)


@lru_cache(maxsize=4)
def lpips_alex(device: torch.device) -> PerImage:
    return _lpips("alex", "alexnet-owt-7be5be79.pth", device)


def _lpips(kind: Any, file: str, device: torch.device) -> PerImage:
    """Learned perceptual image patch similarity (Zhang et al., 2018, arXiv:1801.03924), by torchmetrics."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    with _weights("LPIPS", file):
        net: Any = LearnedPerceptualImagePatchSimilarity(net_type=kind, normalize=True).net.to(device)

    @torch.no_grad()
    def distance(filled: Tensor, image: Tensor) -> Tensor:
        return net(filled, image, normalize=True).reshape(-1)

    return distance


@lru_cache(maxsize=4)
def lpips_cifar(device: torch.device) -> PerImage:
    @torch.no_grad()
    def distance(filled: Tensor, image: Tensor) -> Tensor:
        look = _cifar_maps(device)
        return difference(look(filled), look(image))

    return distance


# --- Two sets --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def inception(device: torch.device) -> Features:
    """2048 pooled features of the 2015 Inception, by torch-fidelity: 8-bit images, scaled to 299×299 as TensorFlow 1 did."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with _weights("FID", INCEPTION_WEIGHTS):
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).eval().to(device)

    @torch.no_grad()
    def features(image: Tensor) -> Tensor:
        return network((image.clamp(0, 1) * 255).round().byte())[0].float()

    return features


@lru_cache(maxsize=4)
def cifar(device: torch.device) -> Features:
    """192 features of this project's classifier: its last maps, each at its maximum."""

    @torch.no_grad()
    def features(image: Tensor) -> Tensor:
        return _cifar_maps(device)(image)[-1].amax((2, 3))

    return features


@lru_cache(maxsize=4)
def _cifar_maps(device: torch.device) -> Callable[[Tensor], list[Tensor]]:
    """The classifier's maps of a batch, kept for the last three: the truth, the filled and the raw one serve both metrics."""
    network = load_classifier(device)
    kept: deque[tuple[Tensor, list[Tensor]]] = deque(maxlen=3)

    def maps(image: Tensor) -> list[Tensor]:
        for seen, there in kept:
            if seen is image:
                return there
        kept.append((image, network.layers(image)))
        return kept[-1][1]

    return maps


SPACES: dict[str, Callable[[torch.device], Features]] = {"inception": inception, "cifar": cifar}
