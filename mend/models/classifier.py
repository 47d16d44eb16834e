"""A small CIFAR-10 classifier, trained by this project, that sees as Inception and VGG-16 do and needs no download.

Its features stand behind `fid-cifar`, `lpips-cifar` and their kin. `benchmarks/cifar_classifier.py` is its recipe; the
weights, fp16, lie in `assets/cifar-classifier.safetensors`, with its measured test accuracy in their header.
"""

from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from mend.data.assets import ASSETS

WEIGHTS = ASSETS / "cifar-classifier.safetensors"
WIDTHS = (64, 224, 192)  # 1.35 M weights: 2.7 MB in fp16
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10's training pixels, per channel


def _make_block(inputs: int, outputs: int, pool: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.MaxPool2d(pool) if pool > 1 else nn.Identity(),
        nn.BatchNorm2d(outputs),
        nn.GELU(),
    )


class Classifier(nn.Module):
    """Logits (B, 10) of images (B, 3, H, W) in [0, 1], native at 32×32. After K. Jordan's airbench, 2024, arXiv:2404.00498."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1))
        self.whiten = nn.Sequential(nn.Conv2d(3, 24, 2), nn.GELU())  # filters set from patches of the data, then kept
        self.stages = nn.ModuleList(
            nn.ModuleList([_make_block(inputs, outputs, pool=2), _make_block(outputs, outputs, pool=1)])
            for inputs, outputs in pairwise((24, *WIDTHS))
        )
        self.head = nn.Linear(WIDTHS[-1], 10, bias=False)

    def layers(self, image: Tensor) -> list[Tensor]:
        """The feature maps after every activation, finest first: at 32×32 of side 31, 15, 15, 7, 7, 3, 3."""
        features = self.whiten((image - self.mean) / self.deviation)
        maps = [features]
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                features = block(features)
                maps.append(features)
        return maps

    def pooled(self, image: Tensor) -> Tensor:
        """The 192 features that the last layer classifies by, each its map's maximum: (B, 192)."""
        return self.layers(image)[-1].amax((2, 3))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.pooled(image)) / 9  # keeps the first logits small


@lru_cache(maxsize=4)
def load_classifier(device: torch.device) -> Classifier:
    """The trained classifier, in evaluation mode, its weights fixed."""
    network = Classifier()
    network.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last).to(device)


def difference(maps: list[Tensor], others: list[Tensor]) -> Tensor:
    """How differently two batches look, (B,): the squared distance of their unit-length features, averaged over positions and
    maps. LPIPS (Zhang et al., 2018, arXiv:1801.03924) without its learned weights; 0 to 4."""
    each = [(F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1) for a, b in zip(maps, others, strict=True)]
    return torch.stack([one.mean((1, 2)) for one in each]).mean(0)
