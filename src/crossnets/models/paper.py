"""All networks of the paper together, with the latent space they share."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossnets.models.alignment import Alignment
from crossnets.models.blocks import channels_last
from crossnets.models.depth_gan import FEATURES, Discriminator, Generator, Head, MetricKind
from crossnets.models.pose_vae import PoseSpace, PoseVAE, PoseVAEConfig
from crossnets.tensors import PoseBatch


@dataclass(frozen=True, kw_only=True)
class CrossingNetsConfig:
    """Sizes of spec 2."""

    pose_vae: PoseVAEConfig
    metric: MetricKind = "separate"
    shared_latent: bool = True
    """False: no latent space at all, the same encoder regresses the joints (the "from scratch" baseline)."""

    @property
    def num_joints(self) -> int:
        """Joints of the poses."""
        return self.pose_vae.num_joints

    @property
    def latent_dim(self) -> int:
        """Size of z = [z_y ; t]."""
        return self.pose_vae.latent_dim + 3


@runtime_checkable
class LatentNetworks(Protocol):
    """Networks around a shared latent space."""

    @property
    def latent_dim(self) -> int:
        """Size of z = [z_y ; t]."""
        ...

    def encode_pose(self, pose: PoseBatch) -> Float[Tensor, "B Z"]:
        """The latent of a pose, without noise."""
        ...

    def decode_pose(self, z: Float[Tensor, "B Z"]) -> PoseBatch:
        """The pose at a latent."""
        ...

    def render(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B 1 128 128"]:
        """The depth map at a latent."""
        ...


class CrossingNets(PoseSpace, nn.Module):
    """Pose VAE, alignment layer, generator and discriminator around one latent z = [z_y ; t]."""

    def __init__(self, config: CrossingNetsConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        dim = config.latent_dim
        self.vae = PoseVAE(config.pose_vae, generator)
        self.ali = Alignment(dim, generator)
        self.gen = Generator(dim, generator)
        self.disc = Discriminator(dim, config.metric, generator)
        channels_last(self)

    def render(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B 1 128 128"]:
        """The depth map at a latent: Gen(Ali(z))."""
        return self.gen(self.ali(z))

    def estimate_latent(self, image: Float[Tensor, "B 1 128 128"]) -> Float[Tensor, "B Z"]:
        """The latent of an image, by the posterior head."""
        return self.disc.pos(self.disc.trunk(image))

    def forward(self, image: Float[Tensor, "B 1 128 128"]) -> PoseBatch:
        """The pose in an image: trunk, Pos and Dec (spec 5)."""
        return self.decode_pose(self.estimate_latent(image))


class Regressor(nn.Module):
    """The same trunk and convolutions, then one linear layer to the joints: the baseline without a latent space."""

    def __init__(self, config: CrossingNetsConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        encoder = Discriminator(config.latent_dim, "separate", generator)
        self.trunk = encoder.trunk
        self.head = Head([nn.Linear(FEATURES, 3 * config.pose_vae.num_joints + 3)], generator)
        channels_last(self)

    def forward(self, image: Float[Tensor, "B 1 128 128"]) -> PoseBatch:
        """The pose in an image."""
        out = self.head(self.trunk(image))
        return PoseBatch(out[:, 3:].unflatten(-1, (self.config.pose_vae.num_joints, 3)), out[:, :3])
