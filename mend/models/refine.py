"""Feature Refinement Modules: new features behind the hole, computed from the known ones only.

A module sees `features` (B, C, h, w) and the `hole` resized to (B, 1, h, w). Its `net` reads the known features
and its output lands in the hole; outside the hole the features come back unchanged, exactly.
To add one: a subclass with a `net` method, one line in `REFINEMENTS`, one test.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mend.models.sparse import Cells, around, cells, convolve, flat, put, take

MOST = 0.6  # share of the cells that are missing or beside one: with more of them a dense convolution is faster


class Refinement(nn.Module):
    """`features·(1 − hole) + net(features·(1 − hole), hole)·hole`."""

    def forward(self, features: Tensor, hole: Tensor) -> Tensor:
        missing = hole[:, 0] > 0
        if self._gathers(features, missing):
            rows, wanted = flat(features), cells(missing)
            rows = put(rows, wanted, self.net_behind(rows, missing, wanted))
            return rows.view(len(features), *features.shape[2:], -1).permute(0, 3, 1, 2)
        known = features * (1 - hole)
        return torch.where(hole > 0, self.net(known, hole), features)

    def _gathers(self, features: Tensor, missing: Tensor) -> bool:
        """Whether to work out the missing cells only."""
        # A compiled or exported graph has one shape, whatever the hole; on a GPU gathering was not measured, and is left alone.
        if features.device.type != "cpu" or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
            return False
        definition = next(kind for kind in type(self).__mro__ if {"net", "net_behind"} & set(vars(kind)))
        return (
            "net_behind" in vars(definition) and definition is not Refinement and bool(around(missing, 1).float().mean() < MOST)
        )

    def net(self, known: Tensor, hole: Tensor) -> Tensor:
        raise NotImplementedError

    def net_behind(self, features: Tensor, missing: Tensor, wanted: Cells) -> Tensor:
        """What `net` gives, worked out at the missing cells only, as rows: optional, see `mend.models.sparse`.

        `features` are (B·h·w, C), `missing` is (B, h, w), and `wanted` are its cells.
        """
        raise NotImplementedError


class NoRefinement(nn.Module):
    """The plain U-Net: features pass untouched."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, features: Tensor, hole: Tensor) -> Tensor:
        return features


class SimpleRefinement(Refinement):
    """Two 3×3 convolutions: context from a 5×5 neighbourhood."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def net(self, known: Tensor, hole: Tensor) -> Tensor:
        return self.layers(known)

    def net_behind(self, features: Tensor, missing: Tensor, wanted: Cells) -> Tensor:
        first, second = cast(list[nn.Conv2d], [self.layers[0], self.layers[2]])
        hidden = around(missing, 1)
        read, worked_out = cells(around(hidden, 1) & ~missing), cells(hidden)
        return convolve(second, convolve(first, take(features, read), read, worked_out).relu(), worked_out, wanted)


class ASPPRefinement(Refinement):
    """Atrous spatial pyramid pooling (Chen et al., 2017, arXiv:1706.05587): context at several scales at once.

    A 1×1, three dilated 3×3 and one pooled branch stand side by side; a 1×1 convolution projects them back.
    A branch has half the channels, which gives the module about as many weights as `SimpleRefinement`
    (17 C² against 18 C²), so that a comparison of the two compares context and not capacity. Since the hole holds zeros,
    the 1×1 branch and the middle tap of the others only ever add a bias there; they are kept as the module is known.
    """

    RATES = (1, 3, 6)  # at an 8×8 map, the coarsest that is refined at 32×32, rate 6 just spans it

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 2
        self.point = nn.Conv2d(channels, width, 1)
        self.atrous = nn.ModuleList(nn.Conv2d(channels, width, 3, padding=r, dilation=r) for r in self.RATES)
        self.pooled = nn.Conv2d(channels, width, 1)
        self.project = nn.Conv2d(width * (len(self.RATES) + 2), channels, 1)

    def net(self, known: Tensor, hole: Tensor) -> Tensor:
        # The mean is over known positions: zeros from the hole would pull it down by the hole's share.
        count = (1 - hole).sum((2, 3), keepdim=True).clamp(min=1)
        mean = known.sum((2, 3), keepdim=True) / count  # (B, C, 1, 1)
        pooled = self.pooled(mean.to(known.dtype)).expand(-1, -1, *known.shape[2:])
        branches = [self.point(known), *(conv(known) for conv in self.atrous), pooled]
        return self.project(torch.cat(branches, dim=1).relu())  # (B, 5·C/2, h, w) -> (B, C, h, w)

    def net_behind(self, features: Tensor, missing: Tensor, wanted: Cells) -> Tensor:
        images, size = len(missing), missing[0].numel()
        known = ~missing.view(images, 1, size)
        count = known.sum(2).clamp(min=1)  # (B, 1)
        mean = torch.bmm(known.to(features.dtype), features.view(images, size, -1))[:, 0] / count.to(features.dtype)
        pooled = self.pooled(mean[..., None, None])[wanted.places // size, :, 0, 0]  # (n, C/2)
        point = self.point(features.new_zeros(1, features.shape[1], 1, 1))[..., 0, 0]  # of nothing but zeros
        read = cells(torch.stack([around(missing, rate) for rate in self.RATES]).any(0) & ~missing)
        rows = take(features, read)
        atrous = [convolve(layer, rows, read, wanted) for layer in cast(list[nn.Conv2d], self.atrous)]
        branches = [point.expand(len(wanted) + 1, -1), *atrous, F.pad(pooled, (0, 0, 0, 1))]
        return F.linear(torch.cat(branches, dim=1).relu(), self.project.weight[..., 0, 0], self.project.bias)


REFINEMENTS: dict[str, type[nn.Module]] = {
    "none": NoRefinement,
    "simple": SimpleRefinement,
    "aspp": ASPPRefinement,
}
