"""A small CIFAR-10 classifier, trained by this project, that sees as Inception and VGG-16 do and needs no download.

Its features stand behind `fid-cifar`, `lpips-cifar` and their kin. `benchmarks/cifar_classifier.py` is its recipe; the
weights, fp16, lie in `assets/cifar-classifier.safetensors`, with its measured test accuracy in their header.
"""

from functools import lru_cache
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from mend.data.assets import ASSETS
from mend.models.sparse import Cells, convolve, dilate, find_cells, put

WEIGHTS = ASSETS / "cifar-classifier.safetensors"
WIDTHS = (64, 224, 192)  # 1.35 M weights: 2.7 MB in fp16
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10's training pixels, per channel


def _block(inputs: int, outputs: int, pool: int) -> nn.Sequential:
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
            nn.ModuleList([_block(inputs, outputs, pool=2), _block(outputs, outputs, pool=1)])
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


# --- Two batches that are alike in most places -----------------------------------------------------------------------


def changed_difference(network: Classifier, image: Tensor, other: Tensor) -> Tensor:
    """`difference` of what the network sees in two batches, without gradients, worked out where it may differ: of the first
    where the second is changed or reads it, of the second where it is changed. Elsewhere they look alike, and count as 0."""
    layers = [cast(nn.Sequential, block) for stage in network.stages for block in cast(nn.ModuleList, stage)]
    with torch.no_grad():
        changed = _changed_maps((image != other).any(1), layers)
        read = _read_maps(changed, layers)
        cells, places = find_cells(read[0]), find_cells(changed[0]).places
        one, two = (_first_rows(network, batch, where) for batch, where in ((image, cells.places), (other, places)))
        parts = [_apart(one, two, cells, changed[0])]
        for i, layer in enumerate(layers, 1):
            before, cells = cells, find_cells(read[i])
            both = put(one[:-1], Cells(before.rows[changed[i - 1]], before.rows), two)  # the second, as far as it is read
            both = F.pad(both, (0, 0, 0, 1))
            one = _rows_after(layer, one, before, cells)
            two = _rows_after(layer, both, before, find_cells(changed[i]))
            parts.append(_apart(one, two, cells, changed[i]))
    return torch.stack(parts).mean(0)


def _changed_maps(changed: Tensor, layers: list[nn.Sequential]) -> list[Tensor]:
    """Where each of the feature maps may differ, (B, h, w), for pictures that do where `changed` is true."""
    maps = [changed[:, 1:, 1:] | changed[:, :-1, 1:] | changed[:, 1:, :-1] | changed[:, :-1, :-1]]
    for layer in layers:
        reached = dilate(maps[-1], 1)
        maps.append(F.max_pool2d(reached.float(), 2) > 0 if _pools(layer) else reached)
    return maps


def _read_maps(changed: list[Tensor], layers: list[nn.Sequential]) -> list[Tensor]:
    """Where each of the feature maps is changed, or read by one that is."""
    maps = [changed[-1]]
    for layer, before in zip(reversed(layers), reversed(changed[:-1]), strict=True):
        read = maps[0]
        if _pools(layer):
            read = torch.zeros_like(before)
            height, width = 2 * maps[0].shape[1], 2 * maps[0].shape[2]
            read[:, :height, :width] = maps[0].repeat_interleave(2, 1).repeat_interleave(2, 2)
        maps.insert(0, dilate(read, 1) | before)
    return maps


def _pools(layer: nn.Sequential) -> bool:
    return isinstance(layer[1], nn.MaxPool2d)


def _first_rows(network: Classifier, image: Tensor, places: Tensor) -> Tensor:
    """The first of the maps at these places, (n + 1, 24), its last row zeros."""
    convolution = cast(nn.Conv2d, network.whiten[0])
    seen = F.unfold((image - network.mean) / network.deviation, 2).transpose(1, 2).flatten(0, 1)[places]
    rows = F.gelu(F.linear(seen, convolution.weight.flatten(1), convolution.bias))
    return F.pad(rows, (0, 0, 0, 1))


def _rows_after(layer: nn.Sequential, rows: Tensor, source: Cells, target: Cells) -> Tensor:
    """The rows (n + 1, D) that a layer makes at the cells of `target` of those of `source`."""
    convolution, _, norm, _ = layer
    if _pools(layer):
        height, width = target.rows.shape[1:]
        image, y, x = target.places // (height * width), target.places // width % height, target.places % width
        corner = (image * source.rows.shape[1] + 2 * y) * source.rows.shape[2] + 2 * x
        four = corner[:, None] + torch.tensor([0, 1, source.rows.shape[2], source.rows.shape[2] + 1], device=corner.device)
        made = convolve(cast(nn.Conv2d, convolution), rows, source, Cells(four.flatten(), source.rows))
        made = made[:-1].unflatten(0, (len(four), 4)).amax(1)
    else:
        made = convolve(cast(nn.Conv2d, convolution), rows, source, target)[:-1]
    assert isinstance(norm, nn.BatchNorm2d)
    made = F.batch_norm(made, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0, norm.eps)
    return F.pad(F.gelu(made), (0, 0, 0, 1))


def _apart(one: Tensor, two: Tensor, cells: Cells, changed: Tensor) -> Tensor:
    """The squared distance of the unit-length features of each picture, averaged over all positions of a map, (B,)."""
    places = changed.flatten().nonzero()[:, 0]
    apart = (F.normalize(one[cells.rows.flatten()[places]]) - F.normalize(two[:-1])).square().sum(1)
    size = changed[0].numel()
    return one.new_zeros(len(changed)).index_add(0, places // size, apart) / size
