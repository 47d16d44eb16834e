"""What the refined U-Nets are measured against."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mend.models.network import Network
from mend.models.unet import DoubleConv


class Autoencoder(Network):
    """The U-Net's encoder and decoder without skips or refinement: every pixel passes the bottleneck."""

    def __init__(self, width: int = 64, hole_channel: bool = False) -> None:
        super().__init__()
        self.hole_channel = hole_channel
        self.memory = 20 * width
        self.encoder = nn.ModuleList(
            [DoubleConv(3 + hole_channel, width), DoubleConv(width, 2 * width), DoubleConv(2 * width, 4 * width)]
        )
        self.bottleneck = DoubleConv(4 * width, 8 * width)
        self.decoder = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(2 * c * width, c * width, 2, stride=2), DoubleConv(c * width, c * width))
            for c in (4, 2, 1)
        )
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, masked: Tensor, hole: Tensor) -> Tensor:
        features = torch.cat([masked, hole], dim=1) if self.hole_channel else masked
        for block in self.encoder:
            features = F.max_pool2d(block(features), 2)
        features = self.bottleneck(features)
        for block in self.decoder:
            features = block(features)
        return self.head(features).sigmoid()
