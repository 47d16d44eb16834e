"""One small network that fills from coarse to fine: `mend.inpaint.scales` applies it at every scale of a picture."""

import torch.nn.functional as F
from torch import Tensor, nn

from mend.inpaint.scales import REACH, RELAX, STRIDE, fill_all_scales, fill_scales
from mend.models.network import Network, limit_threads
from mend.progress import Report, ignore

SMALL = 128 * 128  # pixels: over up to 24×136 oneDNN divides a convolution's sums themselves, where it was measured


class Residual(nn.Module):
    """Two 3×3 convolutions beside an identity. No norm: its statistics would tie a pixel to the whole picture and its scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(self.first(features).relu())


class Corrector(nn.Module):
    """The U-Net of one scale: (B, 7, H, W) to (B, 3, H, W), both multiples of 8; features are `width`@H/2, 2@H/4, 4@H/8.

    An output depends on what is up to 67 pixels away, but on nothing farther than 62 from its own cell of 8×8; and tiles end
    where cells end.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(7 * 4, width, 3, padding=1)
        self.encoder = nn.ModuleList([Residual(width), Residual(2 * width)])
        self.down = nn.ModuleList(nn.Conv2d(c * width, 2 * c * width, 2, stride=2) for c in (1, 2))
        self.middle = nn.Sequential(Residual(4 * width), Residual(4 * width))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c * width, c * width, 2, stride=2) for c in (2, 1))
        self.decoder = nn.ModuleList([Residual(2 * width), Residual(width)])
        self.tail = nn.Conv2d(width, 3 * 4, 3, padding=1)
        nn.init.zeros_(self.tail.weight)  # it begins as the filling of the scale below, enlarged
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.bias)

    def forward(self, seen: Tensor) -> Tensor:
        features = self.head(F.pixel_unshuffle(seen, 2))
        skips: list[Tensor] = []
        for block, down in zip(self.encoder, self.down, strict=True):
            features = block(features)
            skips.append(features)
            features = down(features)
        features = self.middle(features)
        for up, block, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            features = block(up(features) + skip)
        return F.pixel_shuffle(self.tail(features), 2)


class Pyramid(Network):
    """`(masked, hole) -> raw`, from coarse to fine, for any H and W."""

    stride, reach = STRIDE, REACH
    tiles = (512, 256, 128)  # a larger one would see less twice, and work on more that is not missing
    graph = "correct"  # what is exported: one scale
    relax = 0  # rounds at each scale; see `refine`

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.correct = Corrector(width)
        self.memory = 12 * width

    def forward(self, masked: Tensor, hole: Tensor) -> Tensor:
        return self.scales(masked, hole)[0] if self.training else self.fill(masked, hole)

    def scales(self, masked: Tensor, hole: Tensor) -> list[Tensor]:
        """`raw` at every scale, the finest first."""
        return fill_all_scales(masked, hole, self.correct, self.relax)

    def fill(self, masked: Tensor, hole: Tensor, tile: int | None = None, report: Report = ignore) -> Tensor:
        on_cpu = masked.device.type == "cpu"
        small = SMALL if on_cpu else 0
        return fill_scales(
            masked, hole, self.correct, tile or self.tiles[0], report, small=small, on_small=limit_threads, relax=self.relax
        )

    def graph_inputs(self, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        return {"seen": (batch, 7, height, width)}


class Structure(Pyramid):
    """`Pyramid` that begins nearer to a harmonic filling, and learns what there is beyond it."""

    relax = RELAX
