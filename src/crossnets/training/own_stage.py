"""The stage that trains a network of the user, with its own loss."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Adam, AdamW

from crossnets.models.own import OwnNetworks
from crossnets.training.batches import Draw
from crossnets.training.config import StageConfig
from crossnets.training.stage import Losses, descend
from crossnets.types import POSE_UNIT_MM

OWN_WEIGHT_DECAY = 0.01


class OwnStage:
    """A registered network, on labelled frames. Its own loss is taken if it has one."""

    trains_pose: ClassVar[bool] = True

    def __init__(self, nets: OwnNetworks, config: StageConfig) -> None:
        self.nets = nets
        optimiser = AdamW(nets.parameters(), config.lr, weight_decay=OWN_WEIGHT_DECAY, fused=True)
        self.optimisers: dict[str, Adam] = {"own": optimiser}
        self.direct = (nets,)

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One update."""
        batch = draw.labelled()
        joints_mm = POSE_UNIT_MM * (batch.pose.y + batch.pose.t[:, None])
        terms = self.nets.loss(self.nets(batch.image), joints_mm)
        descend(self.optimisers["own"], terms)
        return terms

    def images(self, draw: Draw) -> Float[Tensor, "B 1 S S"]:
        """Images of labelled frames."""
        return draw.labelled().image
