"""How differently two batches look to the classifier that are alike in most places: worked out where they differ, faster."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mend.models.classifier import Classifier
from mend.models.sparse import Cells, convolve, dilate, find_cells, put


def compare_where_changed(network: Classifier, image: Tensor, other: Tensor) -> Tensor:
    """`difference` of what the network sees in two batches, without gradients, worked out where it may differ: of the first
    where the second is changed or reads it, of the second where it is changed. Elsewhere they look alike, and count as 0."""
    layers = [cast(nn.Sequential, block) for stage in network.stages for block in cast(nn.ModuleList, stage)]
    with torch.no_grad():
        changed = _find_changed((image != other).any(1), layers)
        read = _read_maps(changed, layers)
        cells, places = find_cells(read[0]), find_cells(changed[0]).places
        one, two = (_compute_first_rows(network, batch, where) for batch, where in ((image, cells.places), (other, places)))
        parts = [_measure_distance(one, two, cells, changed[0])]
        for i, layer in enumerate(layers, 1):
            before, cells = cells, find_cells(read[i])
            both = put(one[:-1], Cells(before.rows[changed[i - 1]], before.rows), two)  # the second, as far as it is read
            both = F.pad(both, (0, 0, 0, 1))
            one = _apply_layer(layer, one, before, cells)
            two = _apply_layer(layer, both, before, find_cells(changed[i]))
            parts.append(_measure_distance(one, two, cells, changed[i]))
    return torch.stack(parts).mean(0)


def _find_changed(changed: Tensor, layers: list[nn.Sequential]) -> list[Tensor]:
    """Where each of the feature maps may differ, (B, h, w), for pictures that do where `changed` is true."""
    maps = [changed[:, 1:, 1:] | changed[:, :-1, 1:] | changed[:, 1:, :-1] | changed[:, :-1, :-1]]
    for layer in layers:
        reached = dilate(maps[-1], 1)
        maps.append(F.max_pool2d(reached.float(), 2) > 0 if _has_pooling(layer) else reached)
    return maps


def _read_maps(changed: list[Tensor], layers: list[nn.Sequential]) -> list[Tensor]:
    """Where each of the feature maps is changed, or read by one that is."""
    maps = [changed[-1]]
    for layer, before in zip(reversed(layers), reversed(changed[:-1]), strict=True):
        read = maps[0]
        if _has_pooling(layer):
            read = torch.zeros_like(before)
            height, width = 2 * maps[0].shape[1], 2 * maps[0].shape[2]
            read[:, :height, :width] = maps[0].repeat_interleave(2, 1).repeat_interleave(2, 2)
        maps.insert(0, dilate(read, 1) | before)
    return maps


def _has_pooling(layer: nn.Sequential) -> bool:
    return isinstance(layer[1], nn.MaxPool2d)


def _compute_first_rows(network: Classifier, image: Tensor, places: Tensor) -> Tensor:
    """The first of the maps at these places, (n + 1, 24), its last row zeros."""
    convolution = cast(nn.Conv2d, network.whiten[0])
    seen = F.unfold((image - network.mean) / network.deviation, 2).transpose(1, 2).flatten(0, 1)[places]
    rows = F.gelu(F.linear(seen, convolution.weight.flatten(1), convolution.bias))
    return F.pad(rows, (0, 0, 0, 1))


def _apply_layer(layer: nn.Sequential, rows: Tensor, source: Cells, target: Cells) -> Tensor:
    """The rows (n + 1, D) that a layer makes at the cells of `target` of those of `source`."""
    convolution, _, norm, _ = layer
    if _has_pooling(layer):
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


def _measure_distance(one: Tensor, two: Tensor, cells: Cells, changed: Tensor) -> Tensor:
    """The squared distance of the unit-length features of each picture, averaged over all positions of a map, (B,)."""
    places = changed.flatten().nonzero()[:, 0]
    apart = (F.normalize(one[cells.rows.flatten()[places]]) - F.normalize(two[:-1])).square().sum(1)
    size = changed[0].numel()
    return one.new_zeros(len(changed)).index_add(0, places // size, apart) / size
