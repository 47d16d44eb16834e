"""A U-Net whose decoder computes new features inside the hole, where the encoder saw nothing.

U-Net: Ronneberger et al., 2015, arXiv:1505.04597. At width 64 and 32×32 the feature maps are, as channels@side,
64@32 · 128@16 · 256@8 · 512@4 · 256@8 · 128@16 · 64@32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mend.models.network import Network
from mend.models.refine import REFINEMENTS, prefill
from mend.models.sparse import refine_sparsely


class DoubleConv(nn.Sequential):
    """(3×3 convolution, batch norm, ReLU) twice."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            # No bias: the batch norm behind it has one.
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class DecoderBlock(nn.Module):
    """Upsample, concatenate the skip, refine inside the hole, DoubleConv: 2C@h -> C@2h."""

    def __init__(self, channels: int, refine: str) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.refine = REFINEMENTS[refine](2 * channels)
        self.conv = DoubleConv(2 * channels, channels)

    def forward(self, features: Tensor, skip: Tensor, hole: Tensor) -> Tensor:
        features = upsample_beside(self.upsample, features, skip)  # (B, 2C, 2h, 2w)
        return self.conv(refine_sparsely(self.refine, features, shrink_hole(features, hole)))  # (B, C, 2h, 2w)


def upsample_beside(upsample: nn.ConvTranspose2d, features: Tensor, skip: Tensor) -> Tensor:
    """`cat([upsample(features), skip], 1)` as one product of matrices and one copy: each cell becomes four by itself.

    As a transposed convolution it takes an eighth of the whole step on a CPU, for a fortieth of its arithmetic.
    """
    images, _, height, width = features.shape
    assert upsample.bias is not None
    weight = upsample.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4C, 2C)
    fourfold = F.linear(features.permute(0, 2, 3, 1), weight, upsample.bias.repeat(4))  # (B, h, w, 4C)
    fourfold = fourfold.view(images, height, width, 2, 2, -1).transpose(2, 3)
    known = skip.permute(0, 2, 3, 1).reshape(images, height, 2, width, 2, -1)
    both = torch.cat([fourfold, known], dim=-1)  # (B, h, 2, w, 2, 2C)
    return both.view(images, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def shrink_hole(features: Tensor, hole: Tensor) -> Tensor:
    """The hole at the features' resolution, still 0 or 1: a cell is missing when at least half of its pixels are."""
    ratio = hole.shape[-1] // features.shape[-1]
    return (F.avg_pool2d(hole, ratio) >= 0.5).to(features.dtype)


class UNet(Network):
    """A `Network` for H and W that are multiples of 8.

    `width` is the channel count at full resolution; `refine` names the module in every decoder block
    (a key of `REFINEMENTS`); `hole_channel` shows the hole to the encoder as a fourth channel; with `prefilled` the hole is
    first filled smoothly, and what comes out is a correction of that.
    """

    def __init__(self, width: int = 64, refine: str = "none", hole_channel: bool = False, prefilled: bool = False) -> None:
        super().__init__()
        self.hole_channel, self.prefilled = hole_channel, prefilled
        self.memory = 100 * width
        self.encoder = nn.ModuleList(
            [DoubleConv(3 + hole_channel, width), DoubleConv(width, 2 * width), DoubleConv(2 * width, 4 * width)]
        )
        self.bottleneck = DoubleConv(4 * width, 8 * width)
        self.decoder = nn.ModuleList(DecoderBlock(c * width, refine) for c in (4, 2, 1))
        self.head = nn.Conv2d(width, 3, 1)
        if prefilled:
            nn.init.zeros_(self.head.weight)  # it begins as the smooth filling
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, masked: Tensor, hole: Tensor) -> Tensor:
        start = prefill(masked, hole) if self.prefilled else masked
        features = torch.cat([start, hole], dim=1) if self.hole_channel else start
        skips: list[Tensor] = []
        for block in self.encoder:
            features = block(features)
            skips.append(features)
            features = F.max_pool2d(features, 2)
        features = self.bottleneck(features)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            features = block(features, skip, hole)
        out = self.head(features)
        return (start + out).clamp(0, 1) if self.prefilled else out.sigmoid()
