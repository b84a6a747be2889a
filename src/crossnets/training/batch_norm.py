"""Running averages of batch normalisation, computed anew for weights that were trained in bfloat16."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from crossnets.models.blocks import BN_STEP, BatchNorm1d, BatchNorm2d

BATCHES = round(1 / BN_STEP)
"""Batches that the averages are computed over. Running averages are plain means over as many (`models.blocks`)."""


class Averages:
    """The running averages of networks in training, and images to compute them again in float32.

    A training in bfloat16 computes with rounded weights and outputs, so its running averages belong to slightly
    different networks than those that predict in float32. In a training for CVAR that added 3 mm to the error.
    """

    def __init__(self, networks: Sequence[nn.Module], images: Callable[[], list[Tensor]]) -> None:
        """Take networks in their state for training, and a function that returns batches of images for all of them."""
        self._networks = networks
        self._read = images
        self._images: list[Tensor] | None = None

    @torch.no_grad()
    def compute(self) -> None:
        """Compute the averages again. Frozen parts, which are in their state for predictions, keep theirs."""
        if self._images is None:
            self._images = self._read()
        for network in self._networks:
            for layer in network.modules():
                if isinstance(layer, BatchNorm1d | BatchNorm2d) and layer.training:
                    layer.reset_running_stats()
            for batch in self._images:
                network(batch)
