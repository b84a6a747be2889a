"""Generator of depth maps, and the discriminator with its three heads (spec 2.3, 2.4)."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossnets.models.blocks import LEAK, conv, deconv, init_normal, linear_bn

WEIGHT_STD = 0.05
FEATURES = 32 * 4 * 4
"""Size of the last feature map, flattened."""

MetricKind: TypeAlias = Literal["separate", "combined"]
"""`separate`: a place in the latent space per image, differences subtracted. `combined`: spec 2.4's variant."""


class Generator(nn.Module):
    """Gen: latent to a 128x128 depth map."""

    def __init__(self, dim: int, generator: torch.Generator, channels: int = 32) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Tanh(), *linear_bn(dim, FEATURES), nn.ReLU())
        self.body = nn.Sequential(*(layer for _ in range(4) for layer in deconv(channels, channels)))
        self.last = nn.ConvTranspose2d(channels, 1, 6, stride=2, padding=2)
        init_normal(self, WEIGHT_STD, generator)
        assert self.last.bias is not None
        nn.init.constant_(self.last.bias, 0.8)  # near background

    def forward(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B 1 128 128"]:
        """A depth map, -1 to 1, for every latent."""
        maps = self.first(z).unflatten(1, (-1, 4, 4))
        before = self.last(self.body(maps.contiguous(memory_format=torch.channels_last)))
        # In bfloat16 the slope of tanh is 0 from 3.5 on: pixels that far on the wrong side would never come back.
        return torch.tanh(before.float())


class Head(nn.Module):
    """conv3 to conv5 and what follows. Each head has its own."""

    def __init__(self, top: list[nn.Module], generator: torch.Generator, channels: int = 32) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(layer for _ in range(3) for layer in conv(channels, channels)))
        self.top = nn.Sequential(*top)
        init_normal(self, WEIGHT_STD, generator)

    def features(self, maps: Float[Tensor, "B C 32 32"]) -> Float[Tensor, "B F"]:
        """Output of conv5, flattened."""
        return self.convs(maps).flatten(1)

    def forward(self, maps: Float[Tensor, "B C 32 32"]) -> Float[Tensor, "B K"]:
        """Output of the head for the trunk's maps."""
        return self.top(self.features(maps))


class Discriminator(nn.Module):
    """A trunk that all heads share; Dis judges real or generated, Met places in the latent space, Pos estimates it."""

    def __init__(self, dim: int, metric: MetricKind, generator: torch.Generator, channels: int = 32) -> None:
        super().__init__()
        self.metric_kind: MetricKind = metric
        self.trunk = nn.Sequential(*conv(1, channels), *conv(channels, channels))
        init_normal(self.trunk, WEIGHT_STD, generator)
        self.dis = Head([nn.Linear(FEATURES, 1)], generator)
        self.pos = Head([*linear_bn(FEATURES, dim), nn.LeakyReLU(LEAK), nn.Linear(dim, dim)], generator)
        if metric == "separate":
            hidden = [*linear_bn(FEATURES, FEATURES), nn.LeakyReLU(LEAK)]
            self.met = Head([*hidden, nn.Linear(FEATURES, dim)], generator)
        else:
            self.met = Head([nn.Linear(FEATURES, FEATURES), nn.LeakyReLU(LEAK)], generator)
            self.met_pair = nn.Linear(2 * FEATURES, dim)
            init_normal(self.met_pair, WEIGHT_STD, generator)

    def metric(self, image: Float[Tensor, "B 1 128 128"]) -> Float[Tensor, "B K"]:
        """Met's output for an image; only differences of it mean something, see `difference`."""
        return self.met(self.trunk(image))

    def difference(self, a: Float[Tensor, "B K"], b: Float[Tensor, "B K"]) -> Float[Tensor, "B Z"]:
        """Estimated latent of image a less that of image b, from Met's outputs for both."""
        return a - b if self.metric_kind == "separate" else self.met_pair(torch.cat([a, b], dim=1))

    def metric_learned(self) -> bool:
        """Whether Met has had an update. Without L_smo it stays as it was drawn."""
        counts = (m.num_batches_tracked for m in self.met.modules() if isinstance(m, nn.BatchNorm2d))
        return any(count is not None and int(count) > 0 for count in counts)

    def metric_parameters(self) -> list[nn.Parameter]:
        """Parameters of Met alone, without the trunk."""
        pair = list(self.met_pair.parameters()) if self.metric_kind == "combined" else []
        return list(self.met.parameters()) + pair
