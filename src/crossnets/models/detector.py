"""The network of the detector: a small encoder, two upsampling steps, and six maps."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from crossnets.geometry.thinned import CELL_PX, CHANNELS, Maps
from crossnets.models.blocks import channels_last
from crossnets.models.dense import Bottleneck, convolution, initialise

_RARE = -3.5
"""Initial logit of the score. It is low because few cells contain a hand (Lin et al. 2017, "Focal loss", section
4.1)."""


@dataclass(frozen=True, kw_only=True)
class DetectorNetConfig:
    """Sizes of the network. The defaults need 49 million multiply-adds for 160x128 pixels."""

    widths: tuple[int, int, int, int] = (16, 32, 48, 96)
    """Channels at 1/2, 1/4, 1/8 and 1/16 of the sides of the image."""
    depths: tuple[int, int, int] = (1, 2, 2)
    """Residual blocks at 1/4, 1/8 and 1/16."""


def _conv(channels_in: int, channels_out: int, stride: int) -> list[nn.Module]:
    return convolution(channels_in, channels_out, 3, stride)


class DetectorNet(nn.Module):
    """Network from a thinned frame to a tensor with one channel for each field of `geometry.thinned.Maps`."""

    def __init__(self, config: DetectorNetConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        c2, c4, c8, c16 = config.widths
        at4, at8, at16 = config.depths
        self.stem = nn.Sequential(*_conv(CHANNELS, c2, 2), *_conv(c2, c4, 2), *_blocks(c4, at4))
        self.middle = nn.Sequential(*_conv(c4, c8, 2), *_blocks(c8, at8))
        self.deep = nn.Sequential(*_conv(c8, c16, 2), *_blocks(c16, at16))
        self.to8 = nn.Conv2d(c16, c8, 1)
        self.to4 = nn.Conv2d(c8, c4, 1)
        self.fused8 = Bottleneck(c8, c8 // 2)
        self.fused4 = Bottleneck(c4, c4 // 2)
        self.last = nn.Sequential(*_conv(c4, c4, 1))
        self.maps = nn.Conv2d(c4, len(Maps._fields), 1)
        assert CELL_PX == 4, "maps are a quarter of the image"
        initialise(self, generator)
        nn.init.normal_(self.maps.weight, 0.0, 0.01, generator)
        assert self.maps.bias is not None
        with torch.no_grad():
            self.maps.bias[0] = _RARE
        channels_last(self)

    def forward(self, image: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B 6 H/4 W/4"]:
        """Compute the maps. The sides of the image are multiples of 16."""
        fine = self.stem(image.contiguous(memory_format=torch.channels_last))
        middle = self.middle(fine)
        middle = self.fused8(F.relu(middle + _twice(self.to8(self.deep(middle)))))
        fine = self.fused4(F.relu(fine + _twice(self.to4(middle))))
        return self.maps(self.last(fine)).float()


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [Bottleneck(channels, channels // 2) for _ in range(count)]


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
