"""The alignment ("crossing") layer: pose latent to depth latent (spec 2.2)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossnets.models.blocks import init_normal, linear_bn


class Alignment(nn.Module):
    """Ali: one linear layer with normalisation and without a nonlinearity."""

    def __init__(self, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(*linear_bn(dim, dim))
        init_normal(self, 0.02, generator)

    def forward(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
        """Map the latent of a pose with its offset to the latent of a depth map."""
        return self.layers(z)
