"""The networks of the preset `crossnets`: a dense estimator, and the paper's networks around the latent space it fills.

The estimator gives joints; the pose VAE's encoder places them in the shared latent space; from there the paper's
generator, metric and decoder work as ever. Poses are in crop coordinates (`geometry.cube`), halves of the cube being
2.5 units, as in the paper's cube of 250 mm and units of 50.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossnets.geometry.pose import HALF_CUBE_UNITS
from crossnets.models.dense import DenseConfig, DenseNet, Votes
from crossnets.models.paper import CrossingNets, CrossingNetsConfig, LatentNetworks
from crossnets.models.pose_vae import PoseVAEConfig
from crossnets.tensors import PoseBatch


@dataclass(frozen=True, kw_only=True)
class CrossNetConfig:
    """Sizes of all parts."""

    dense: DenseConfig
    crossing: CrossingNetsConfig
    reference: int
    """The joint that poses are relative to."""

    def __post_init__(self) -> None:
        if self.dense.num_joints != self.pose_vae.num_joints or not self.crossing.shared_latent:
            raise ValueError(
                f"Found {self.dense.num_joints} joints of the estimator, {self.pose_vae.num_joints} of the pose VAE "
                f"and shared_latent={self.crossing.shared_latent}; expected the same joints, and a shared latent space."
            )

    @property
    def num_joints(self) -> int:
        """Joints of the estimator."""
        return self.dense.num_joints

    @property
    def pose_vae(self) -> PoseVAEConfig:
        """Joints of the pose VAE."""
        return self.crossing.pose_vae


@runtime_checkable
class DensePosteriorConfig(Protocol):
    """Configuration of networks with a dense estimator."""

    @property
    def dense(self) -> DenseConfig:
        """Sizes of the estimator."""
        ...

    @property
    def reference(self) -> int:
        """The joint that poses are relative to."""
        ...


class DensePosterior(nn.Module):
    """Networks whose joints come from a dense estimator, and whose poses are in crop coordinates."""

    def __init__(self, config: DensePosteriorConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.dense = DenseNet(config.dense, generator)

    def forward(self, image: Float[Tensor, "B 1 128 128"]) -> Votes:
        """Votes for each joint."""
        return self.dense(image)

    def pose(self, joints: Float[Tensor, "B J 3"]) -> PoseBatch:
        """Joints in crop coordinates, -1 to 1, as the pose VAE takes them: `geometry.pose.pose_in_crop`."""
        reference = joints[:, self.config.reference]
        return PoseBatch(HALF_CUBE_UNITS * (joints - reference[:, None]), HALF_CUBE_UNITS * reference)

    def joints(self, pose: PoseBatch) -> Float[Tensor, "B J 3"]:
        """The inverse of `pose`."""
        return (pose.y + pose.t[:, None]) / HALF_CUBE_UNITS

    @property
    def latent_space(self) -> LatentNetworks:
        """The networks around the latent space."""
        raise NotImplementedError

    def estimate_latent(self, image: Float[Tensor, "B 1 128 128"]) -> Float[Tensor, "B Z"]:
        """The latent of the pose that is estimated in an image."""
        return self.latent_space.encode_pose(self.pose(self.dense(image).joints))


class CrossNet(DensePosterior):
    """Depth crop to joints, and to a latent that decodes to a pose and to a depth map."""

    config: CrossNetConfig

    def __init__(self, config: CrossNetConfig, generator: torch.Generator) -> None:
        super().__init__(config, generator)
        self.crossing = CrossingNets(config.crossing, generator)

    @property
    def latent_space(self) -> CrossingNets:
        """The paper's networks."""
        return self.crossing
