"""The estimator of the preset `crossnets`: every place of a 16x16 map votes for each joint, in crop coordinates.

The network follows A2J (Xiong et al. 2019): a softmax over places weights votes of (place + offset). The depth of a
vote is relative to the depth of the crop at its place. Unlike A2J, the places form one map of a small encoder, and each
joint has a spread.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from crossnets.geometry.crop import CROP_PX
from crossnets.models.blocks import BN_EPS, BN_STEP, BatchNorm2d, ImageConv2d, channels_last

PLACES = 16
"""Side of the map of votes."""


@dataclass(frozen=True, kw_only=True)
class DenseConfig:
    """Sizes of the network. The defaults need 67 million multiply-adds."""

    num_joints: int
    widths: tuple[int, int, int, int] = (16, 48, 96, 128)
    """Channels at 64x64, 32x32, 16x16 and 8x8."""
    depths: tuple[int, int, int, int] = (1, 2, 3, 1)
    """Residual blocks at 32x32, 16x16, 8x8, and at 16x16 again."""
    hand: bool = False
    """Whether the network also says if a crop shows a hand. `training.hand_output` trains this output."""


class Votes(NamedTuple):
    """Outputs of the network for a batch. Crop coordinates are those of `geometry.cube`, -1 to 1."""

    weights: Float[Tensor, "B J P"]
    """Weight of each place. The weights sum to 1."""
    places: Float[Tensor, "B J P 3"]
    """Vote of each place for each joint."""
    log_spread: Float[Tensor, "B J"]
    """Log of the expected error of a joint, in halves of the cube."""
    side: Float[Tensor, "B"]
    """Logit: above 0 a right hand."""
    log_size: Float[Tensor, "B"]
    """Log of the hand's length over the cube's side."""
    hand: Float[Tensor, "B"] | None = None
    """Logit: above 0 the crop shows a hand. None if the network does not say it."""

    @property
    def joints(self) -> Float[Tensor, "B J 3"]:
        """The weighted mean of the votes."""
        # A matrix product would be computed in bfloat16 during training.
        return (self.weights[..., None] * self.places).sum(2)

    def rows(self, rows: slice) -> "Votes":
        """Select images of the batch."""
        return Votes(*(part[rows] for part in self if part is not None))

    def outputs(self) -> tuple[Tensor, ...]:
        """Return what a runtime needs, in the order of `inference.estimator.Raw`, without what is None."""
        found = (self.joints, self.log_spread, self.side, self.log_size, self.hand)
        return tuple(part for part in found if part is not None)


def convolution(channels_in: int, channels_out: int, side: int, stride: int = 1) -> list[nn.Module]:
    """Return a convolution whose padding keeps the size at stride 1, batch normalisation, and ReLU."""
    kind = ImageConv2d if channels_in == 1 else nn.Conv2d
    return [
        kind(channels_in, channels_out, side, stride, side // 2, bias=False),
        BatchNorm2d(channels_out, BN_EPS, BN_STEP),
        nn.ReLU(),
    ]


class Bottleneck(nn.Module):
    """Residual block: 1x1 convolution to fewer channels, 3x3 convolution, 1x1 convolution back."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        *last, _ = convolution(inner, channels, 1)
        self.body = nn.Sequential(*convolution(channels, inner, 1), *convolution(inner, inner, 3), *last)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Add the output of the block to its input."""
        return F.relu(x + self.body(x))


class DenseNet(nn.Module):
    """Network from a depth crop to votes for each joint, and to side and size of the hand."""

    anchors: Tensor

    def __init__(self, config: DenseConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        c64, c32, c16, c8 = config.widths
        at32, at16, at8, again = config.depths
        self.stem = nn.Sequential(
            *convolution(1, c64, 5, 2),
            *convolution(c64, c32, 3, 2),
            *(Bottleneck(c32, c32 // 3) for _ in range(at32)),
            *convolution(c32, c16, 3, 2),
            *(Bottleneck(c16, c16 // 2) for _ in range(at16)),
        )
        self.deep = nn.Sequential(*convolution(c16, c8, 3, 2), *(Bottleneck(c8, c8 // 2) for _ in range(at8)))
        self.lateral = nn.Conv2d(c8, c16, 1)
        self.fused = nn.Sequential(*(Bottleneck(c16, c16 // 2) for _ in range(again)))
        self.votes = nn.Conv2d(c16, 5 * config.num_joints, 1)
        self.whole = nn.Sequential(*convolution(c8, 32, 3, 2), nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU())
        self.side_size = nn.Linear(64, 2)
        self.hand = hand_output(c8) if config.hand else None
        at = (torch.arange(PLACES) + 0.5) * (2 / PLACES) - 1
        grid = torch.stack([at.repeat(PLACES), at.repeat_interleave(PLACES)], dim=-1)
        self.register_buffer("anchors", grid, persistent=False)
        initialise(self, generator)
        for layer in (self.votes, self.side_size):  # votes start at their places
            nn.init.normal_(layer.weight, 0.0, 0.01, generator)
        channels_last(self)

    def forward(self, image: Float[Tensor, "B 1 128 128"]) -> Votes:
        """Compute the votes for each joint."""
        fine = self.stem(image.contiguous(memory_format=torch.channels_last))
        deep = self.deep(fine)
        fused = self.fused(F.relu(fine + F.interpolate(self.lateral(deep), scale_factor=2.0, mode="nearest")))
        raw = self.votes(fused).float().flatten(2).unflatten(1, (self.config.num_joints, 5))
        # One split costs one pass of the gradients. Each slice would cost a pass over all of `raw`.
        scores, across, along, spreads = raw.split((1, 2, 1, 1), dim=2)
        weights = scores.squeeze(2).softmax(-1)
        places = torch.cat([self.anchors.mT + across, self._surface(image) + along], dim=2).mT
        side, log_size = self.side_size(self.whole(deep)).float().unbind(-1)
        hand = None if self.hand is None else self.hand(deep).float()[:, 0]
        return Votes(weights, places, (weights * spreads.squeeze(2)).sum(-1), side, log_size, hand)

    def coarse(self, image: Float[Tensor, "B 1 128 128"]) -> Float[Tensor, "B C 8 8"]:
        """Compute the maps from which the network judges the whole crop: side, size, and whether it shows a hand."""
        return self.deep(self.stem(image.contiguous(memory_format=torch.channels_last)))

    def _surface(self, image: Float[Tensor, "B 1 128 128"]) -> Float[Tensor, "B 1 1 P"]:
        """Return the nearest depth of the crop at each place, or the middle of the cube if no pixel is valid."""
        nearest = -F.max_pool2d(-image.float(), CROP_PX // PLACES)
        return torch.where(nearest < 1, nearest, torch.zeros_like(nearest)).flatten(1)[:, None, None]


def hand_output(channels: int) -> nn.Sequential:
    """Layers from the 8x8 maps to the logit of a hand."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.4),
        nn.Linear(32 * 16, 32), nn.ReLU(), nn.Linear(32, 1),
    )  # fmt: skip


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Set weights by He's method and biases to 0. Residual blocks start as the identity."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, Bottleneck):
            norm = layer.body[-1]
            assert isinstance(norm, BatchNorm2d)
            nn.init.zeros_(norm.weight)
