"""Feature refinement modules: they compute new features inside the hole from the known ones around it.

A module sees `features` (B, C, h, w) and the `hole` resized to (B, 1, h, w). Its `net` reads the known features
and its output lands in the hole; outside the hole the features come back unchanged, exactly.
To add one: a subclass with a `net` method, one line in `REFINEMENTS`, one test.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Refinement(nn.Module):
    """`features·(1 − hole) + net(features·(1 − hole), hole)·hole`."""

    def forward(self, features: Tensor, hole: Tensor) -> Tensor:
        known = features * (1 - hole)
        return torch.where(hole > 0, self.net(known, hole), features)

    def net(self, known: Tensor, hole: Tensor) -> Tensor:
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


class ContextRefinement(Refinement):
    """The known features carried into the hole (`prefill`), and corrected by five 3×3 convolutions that see 10 cells far.

    The other two begin with zeros in the hole. This one begins with what lies around, at any size, and is shown the hole.
    About as many weights as theirs (15.75 C²).
    """

    RATES = (1, 2, 4, 2, 1)  # smaller again at the end: dilation alone leaves a grid

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (channels + 1, *[channels // 2] * 4, channels)
        convs = [nn.Conv2d(a, b, 3, padding=r, dilation=r) for a, b, r in zip(widths[:-1], widths[1:], self.RATES, strict=True)]
        nn.init.zeros_(convs[-1].weight)  # it begins as what was carried in
        self.layers = nn.Sequential(*[layer for conv in convs for layer in (conv, nn.ReLU(inplace=True))][:-1])

    def net(self, known: Tensor, hole: Tensor) -> Tensor:
        carried = prefill(known, hole)
        return carried + self.layers(torch.cat([carried, hole.to(carried.dtype)], dim=1))


def prefill(known: Tensor, hole: Tensor) -> Tensor:
    """`known` (B, C, H, W), zeros in the hole (B, 1, H, W), with smooth values there: means of ever larger cells, blended.

    Pull and push: Gortler et al., 1996, "The Lumigraph". Above cells of 32×32 the mean of all that is known is taken.
    """
    levels = [(known, 1 - hole)]
    for _ in range(5):
        values, share = (F.avg_pool2d(part, 2, ceil_mode=True, count_include_pad=False) for part in levels[-1])
        levels.append((values, share))
    values, share = levels.pop()
    filled = values + (1 - share) * values.mean((2, 3), keepdim=True) / share.mean((2, 3), keepdim=True).clamp(min=1e-6)
    for values, share in reversed(levels):
        height, width = values.shape[-2:]
        twice = F.interpolate(filled.float(), scale_factor=2.0, mode="bilinear").to(values.dtype)
        filled = values + (1 - share) * twice[..., :height, :width]
    return filled


REFINEMENTS: dict[str, type[nn.Module]] = {
    "none": NoRefinement,
    "simple": SimpleRefinement,
    "aspp": ASPPRefinement,
    "context": ContextRefinement,
}
