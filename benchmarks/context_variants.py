"""Three ideas of others, for the ablation of `unet-context`: gpu_experiment.py trains a row of each.

Mask-normalised (partial) convolutions: Liu et al., 2018, arXiv:1804.07723. Attention over what is known: Yu et al., 2018,
arXiv:1801.07892. Fourier units: Chi et al., 2020, and Suvorov et al., 2021, arXiv:2109.07161.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mend.models.refine import ContextRefinement
from mend.models.unet import UNet, shrink_hole


class Holes:
    """What is missing from the images of this step, for layers deep in a network, and what is `known` at each size so far."""

    hole: Tensor
    known: dict[int, Tensor]

    def see(self, hole: Tensor) -> None:
        self.hole, self.known = hole, {hole.shape[-1]: 1 - hole}


class PartialConv(nn.Module):
    """A 3×3 convolution of what is known, divided by the share of its window that is; known is then what a window reached."""

    def __init__(self, conv: nn.Conv2d, holes: Holes) -> None:
        super().__init__()
        self.conv, self.holes = conv, holes

    def forward(self, features: Tensor) -> Tensor:
        size = features.shape[-1]
        known = self.holes.known.get(size)
        if known is None:
            known = F.max_pool2d(self.holes.known[2 * size], 2)
        share = F.avg_pool2d(known, 3, stride=1, padding=1, count_include_pad=False)
        self.holes.known[size] = (share > 0).to(known.dtype)
        return self.conv(features * known) / share.clamp(min=1 / 9)


class MaskNormalised(UNet):
    """ASPP refinement behind an encoder of `PartialConv`."""

    def __init__(self, width: int) -> None:
        super().__init__(width, "aspp")
        self.holes = Holes()
        for block in (*self.encoder, self.bottleneck):
            for i, layer in enumerate(block):
                if isinstance(layer, nn.Conv2d):
                    block[i] = PartialConv(layer, self.holes)

    def forward(self, masked: Tensor, hole: Tensor) -> Tensor:
        self.holes.see(hole)
        return super().forward(masked, hole)


class Attention(nn.Module):
    """Every position looks at the known ones, with four heads; it begins as adding nothing."""

    HEADS = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ask = nn.Conv2d(channels, channels // 2, 1)
        self.offer = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels // 2, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, features: Tensor, hole: Tensor) -> Tensor:
        images, _, height, width = features.shape

        def heads(maps: Tensor) -> Tensor:
            return maps.view(images, self.HEADS, -1, height * width).transpose(2, 3)

        keys, values = self.offer(features).chunk(2, dim=1)
        away = -1e4 * hole.view(images, 1, 1, -1).to(keys.dtype)  # not infinity: an image may have no known position
        found = F.scaled_dot_product_attention(heads(self.ask(features)), heads(keys), heads(values), away)
        return self.out(found.transpose(2, 3).reshape(images, -1, height, width))


class AttentiveRefinement(ContextRefinement):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.attention = Attention(channels)

    def net(self, known: Tensor, hole: Tensor) -> Tensor:
        filled = super().net(known, hole)
        return filled + self.attention(filled, hole)


class AttentiveBottleneck(nn.Module):
    def __init__(self, block: nn.Module, channels: int, holes: Holes) -> None:
        super().__init__()
        self.block, self.attention, self.holes = block, Attention(channels), holes

    def forward(self, features: Tensor) -> Tensor:
        features = self.block(features)
        return features + self.attention(features, shrink_hole(features, self.holes.hole))


class Attentive(UNet):
    """`unet-context` that attends to known positions at the two coarsest maps, of a fourth and an eighth of the size."""

    def __init__(self, width: int) -> None:
        super().__init__(width, "context", hole_channel=True, prefilled=True)
        self.holes = Holes()
        self.bottleneck = AttentiveBottleneck(self.bottleneck, 8 * width, self.holes)  # type: ignore[assignment]
        self.decoder[0].refine = AttentiveRefinement(8 * width)

    def forward(self, masked: Tensor, hole: Tensor) -> Tensor:
        self.holes.see(hole)
        return super().forward(masked, hole)


class FourierRefinement(ContextRefinement):
    """Beside the five convolutions one in the frequency domain, where every cell sees the whole map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        half = channels // 2
        self.inwards = nn.Conv2d(channels + 1, half, 1)
        self.frequencies = nn.Conv2d(2 * half, 2 * half, 1)
        self.outwards = nn.Conv2d(half, channels, 1)
        nn.init.zeros_(self.outwards.weight)

    def net(self, known: Tensor, hole: Tensor) -> Tensor:
        filled = super().net(known, hole)
        seen = self.inwards(torch.cat([filled, hole.to(filled.dtype)], dim=1)).relu()
        with torch.autocast(seen.device.type, enabled=False):  # a transform has no half precision on a CPU
            waves = torch.fft.rfft2(seen.float(), norm="ortho")
            real, imaginary = self.frequencies(torch.cat([waves.real, waves.imag], dim=1)).relu().chunk(2, dim=1)
            back = torch.fft.irfft2(torch.complex(real, imaginary), s=seen.shape[-2:], norm="ortho")
        return filled + self.outwards(back.to(filled.dtype))


class Fourier(UNet):
    """`unet-context` with `FourierRefinement` in every decoder block."""

    def __init__(self, width: int) -> None:
        super().__init__(width, "context", hole_channel=True, prefilled=True)
        for block, c in zip(self.decoder, (4, 2, 1), strict=True):
            block.refine = FourierRefinement(2 * c * width)
