"""The networks of the presets `crossing` and `crossnets`: the roles of the paper's networks around one latent space.

The posterior is a dense estimator, whose joints the pose VAE's encoder takes into the latent space. The generator draws
the bones of the pose at a latent. The discriminator judges parts of maps. Distances in the latent space are those of
the posterior's latents, so there is no head for them.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossnets.models.bone_generator import BoneGenerator, PatchDiscriminator
from crossnets.models.crossnet import DensePosterior
from crossnets.models.dense import DenseConfig
from crossnets.models.pose_vae import PoseSpace, PoseVAE, PoseVAEConfig


@dataclass(frozen=True, kw_only=True)
class DenseCrossingConfig:
    """Sizes of all parts."""

    dense: DenseConfig
    pose_vae: PoseVAEConfig
    bones: tuple[tuple[int, int], ...]
    """Pairs of joints between which the generator draws."""
    reference: int
    """The joint that poses are relative to."""
    teacher: bool = False
    """Whether an average of the past estimators is kept, which the preset `crossing` learns from."""

    def __post_init__(self) -> None:
        joints = self.dense.num_joints
        if joints != self.pose_vae.num_joints:
            raise ValueError(
                f"Found {joints} joints of the estimator and {self.pose_vae.num_joints} of the pose VAE; expected the "
                "same joints."
            )
        if not self.bones or not all(0 <= joint < joints for bone in self.bones for joint in bone):
            raise ValueError(f"Found the bones {self.bones}, expected at least one, between joints below {joints}.")

    @property
    def num_joints(self) -> int:
        """Joints of the estimator."""
        return self.dense.num_joints

    @property
    def latent_dim(self) -> int:
        """Size of z = [z_y ; t]."""
        return self.pose_vae.latent_dim + 3


class DenseCrossing(PoseSpace, DensePosterior):
    """Depth crop to joints and to a latent, which decodes to a pose and to a depth map."""

    config: DenseCrossingConfig

    def __init__(self, config: DenseCrossingConfig, generator: torch.Generator) -> None:
        super().__init__(config, generator)
        self.vae = PoseVAE(config.pose_vae, generator)
        self.gen = BoneGenerator(config.bones, generator)
        self.dis = PatchDiscriminator(generator)
        self.teacher = copy.deepcopy(self.dense).requires_grad_(False) if config.teacher else None
        """Average of the estimators of past steps."""

    @property
    def latent_space(self) -> "DenseCrossing":
        """These networks."""
        return self

    def render(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B 1 128 128"]:
        """The depth map at a latent."""
        return self.gen(self.joints(self.decode_pose(z)))
