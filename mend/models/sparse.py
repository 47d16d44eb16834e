"""Sparse convolution: refinements worked out at the missing cells only, since what they would find elsewhere is thrown away.

A feature map is taken as rows, (n + 1, C): one for each cell of some `Cells`, and at the end a row of zeros, which is read
where there is no other. A 3×3 convolution gathers the nine rows around each cell that is wanted, a block of cells at a time,
and is then a product of matrices. It gives what the dense convolution gives there, and no gradient is taken anywhere else.
A refinement without an entry in `SPARSE` is worked out everywhere.
"""

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from mend.models.refine import ASPPRefinement, SimpleRefinement

BLOCK = 2**22  # bytes that are gathered at once: they stay in the cache until they are multiplied
MOST = 0.6  # share of the cells that are missing or beside one: with more of them a dense convolution is faster


def refine_sparsely(refinement: nn.Module, features: Tensor, hole: Tensor) -> Tensor:
    """What `refinement(features, hole)` gives, worked out at the missing cells only where that is possible, and faster."""
    refine_cells = SPARSE.get(type(refinement))
    missing = hole[:, 0] > 0
    if refine_cells is None or not _is_faster(features, missing):
        return refinement(features, hole)
    rows, wanted = to_rows(features), find_cells(missing)
    rows = put(rows, wanted, refine_cells(refinement, rows, missing, wanted))
    return rows.view(len(features), *features.shape[2:], -1).permute(0, 3, 1, 2)


def _is_faster(features: Tensor, missing: Tensor) -> bool:
    # A compiled or exported graph has one shape, whatever the hole; on a GPU gathering was not measured, and is left alone.
    if features.device.type != "cpu" or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
        return False
    return bool(dilate(missing, 1).float().mean() < MOST)


# --- The refinements -------------------------------------------------------------------------------------------------
# Features are (B·h·w, C), `missing` is (B, h, w), and `wanted` are its cells; what comes back are their rows.


def _refine_simple(module: SimpleRefinement, features: Tensor, missing: Tensor, wanted: "Cells") -> Tensor:
    first, second = cast(list[nn.Conv2d], [module.layers[0], module.layers[2]])
    hidden = dilate(missing, 1)
    read, worked_out = find_cells(dilate(hidden, 1) & ~missing), find_cells(hidden)
    return convolve(second, convolve(first, take(features, read), read, worked_out).relu(), worked_out, wanted)


def _refine_aspp(module: ASPPRefinement, features: Tensor, missing: Tensor, wanted: "Cells") -> Tensor:
    images, size = len(missing), missing[0].numel()
    known = ~missing.view(images, 1, size)
    count = known.sum(2).clamp(min=1)  # (B, 1)
    mean = torch.bmm(known.to(features.dtype), features.view(images, size, -1))[:, 0] / count.to(features.dtype)
    pooled = module.pooled(mean[..., None, None])[wanted.places // size, :, 0, 0]  # (n, C/2)
    point = module.point(features.new_zeros(1, features.shape[1], 1, 1))[..., 0, 0]  # of nothing but zeros
    read = find_cells(torch.stack([dilate(missing, rate) for rate in module.RATES]).any(0) & ~missing)
    rows = take(features, read)
    atrous = [convolve(layer, rows, read, wanted) for layer in cast(list[nn.Conv2d], module.atrous)]
    branches = [point.expand(len(wanted) + 1, -1), *atrous, F.pad(pooled, (0, 0, 0, 1))]
    return F.linear(torch.cat(branches, dim=1).relu(), module.project.weight[..., 0, 0], module.project.bias)


SPARSE: dict[type[nn.Module], Callable[..., Tensor]] = {
    SimpleRefinement: _refine_simple,
    ASPPRefinement: _refine_aspp,
}


# --- Cells and rows --------------------------------------------------------------------------------------------------


class Cells(NamedTuple):
    """Some cells of a batch of feature maps. `places` (n,) are their flat positions in (B, h, w), in order; `rows` (B, h, w)
    says which row is whose: n, the row of zeros, for all others."""

    places: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.places)


def find_cells(where: Tensor) -> Cells:
    """The cells where `where` (B, h, w) is true."""
    places = where.flatten().nonzero()[:, 0]
    rows = torch.full((where.numel(),), len(places))
    rows[places] = torch.arange(len(places))
    return Cells(places, rows.view_as(where))


def dilate(where: Tensor, dilation: int) -> Tensor:
    """The cells that a 3×3 convolution reads to be worked out where `where` (B, h, w) is true, or whose outputs read those."""
    height, width = where.shape[1:]
    grown = F.pad(where, (dilation,) * 4)
    starts = (0, dilation, 2 * dilation)
    return reduce(torch.logical_or, [grown[:, y : y + height, x : x + width] for y in starts for x in starts])


def to_rows(features: Tensor) -> Tensor:
    """(B, C, h, w) as (B·h·w, C): the same memory where the channels are last."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def take(features: Tensor, chosen: Cells) -> Tensor:
    """The rows (n + 1, C) of these cells of (B·h·w, C)."""
    return _Take.apply(features, chosen.places)


def put(features: Tensor, chosen: Cells, rows: Tensor) -> Tensor:
    """(B·h·w, C) with `rows` (n + 1, C) in place of these cells."""
    return features.index_copy(0, chosen.places, rows[:-1])


def convolve(layer: nn.Conv2d, rows: Tensor, source: Cells, target: Cells) -> Tensor:
    """A 3×3 convolution from the rows of `source` to those of `target`, (n + 1, D); cells without a row count as zeros."""
    dilation = layer.dilation[0]
    there = _find_neighbours(target, source, dilation)
    back = _find_neighbours(source, target, dilation) if torch.is_grad_enabled() else there  # of which only gradients know
    bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
    return _Convolve.apply(rows, layer.weight, bias, there, back)


def _find_neighbours(of: Cells, among: Cells, dilation: int) -> Tensor:
    """The rows in `among` of the nine cells around each cell in `of`: (n, 9)."""
    height, width = of.rows.shape[1:]
    grown = F.pad(among.rows, (dilation,) * 4, value=len(among))
    image, place = of.places // (height * width), of.places % (height * width)
    corner = (image * grown.shape[1] + place // width) * grown.shape[2] + place % width
    steps = torch.tensor([y * grown.shape[2] + x for y in range(3) for x in range(3)]) * dilation
    return grown.flatten()[corner[:, None] + steps]


class _Take(Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.shape = features.shape
        rows = features.new_empty(len(places) + 1, features.shape[1])
        torch.index_select(features, 0, places, out=rows[:-1])
        rows[-1] = 0
        return rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (places,) = ctx.saved_tensors
        return grad.new_zeros(ctx.shape).index_copy_(0, places, grad[:-1]), None


class _Convolve(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight, there, back)
        products = _multiply(rows, there, weight.permute(2, 3, 1, 0).to(rows.dtype).flatten(0, 2))
        products[:-1] += bias.to(rows.dtype)
        return products

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        rows, weight, there, back = ctx.saved_tensors
        # Seen from a cell that is read, those that read it lie the other way round.
        turned = weight.flip(2, 3).permute(2, 3, 0, 1).to(grad.dtype).flatten(0, 2)
        to_weight = weight.new_zeros(9 * weight.shape[1], weight.shape[0])
        for gathered, towards in zip(_gather(rows, there), grad[:-1].split(_choose_block(rows)), strict=True):
            to_weight += gathered.T @ towards
        to_weight = to_weight.view(3, 3, weight.shape[1], weight.shape[0]).permute(3, 2, 0, 1)
        return _multiply(grad, back, turned), to_weight, grad[:-1].sum(0, dtype=weight.dtype), None, None


def _multiply(rows: Tensor, gather: Tensor, matrix: Tensor) -> Tensor:
    """The gathered rows, (n, 9·C), times `matrix` (9·C, D): (n + 1, D)."""
    products = rows.new_empty(len(gather) + 1, matrix.shape[1])
    products[-1] = 0
    # Float32 is multiplied by MKL, which on AMD's processors is half as fast as oneDNN, copies included.
    one_dnn = rows.dtype == torch.float32 and rows.device.type == "cpu" and torch.backends.mkldnn.is_available()
    packed = matrix.T.contiguous().to_mkldnn() if one_dnn else matrix
    for gathered, out in zip(_gather(rows, gather), products[:-1].split(_choose_block(rows)), strict=True):
        if one_dnn:
            out.copy_(F.linear(gathered.to_mkldnn(), packed).to_dense())
        else:
            torch.mm(gathered, matrix, out=out)
    return products


def _gather(rows: Tensor, gather: Tensor) -> Iterator[Tensor]:
    """The gathered rows, (n, 9·C), a block at a time."""
    for block in gather.split(_choose_block(rows)):
        yield rows.index_select(0, block.flatten()).view(len(block), 9 * rows.shape[1])


def _choose_block(rows: Tensor) -> int:
    """How many cells are gathered for at once."""
    return max(1, BLOCK // (9 * rows.shape[1] * rows.element_size()))
