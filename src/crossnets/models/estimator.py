"""From hand crops to joints in the camera frame: what prediction, evaluation and generation use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float32

from crossnets.geometry.crop import CROP_PX, CUBE_MM, Normalisation, normalise
from crossnets.geometry.localise import Centers
from crossnets.geometry.pose import NormalisedPose, denormalise_pose
from crossnets.geometry.skeleton import SKELETONS, Skeleton
from crossnets.models.crossing import CrossingNets, CrossingNetsConfig, Regressor
from crossnets.models.refine import Refinement, refine
from crossnets.tensors import PoseBatch
from crossnets.types import HandCrop

assert CROP_PX == 128, "the generator makes maps of 128 x 128"


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig:
    """What has to travel with the weights."""

    preset: str
    skeleton: str
    networks: CrossingNetsConfig
    cube_mm: float = CUBE_MM
    normalisation: Normalisation = "per-frame"
    centers: Centers = "image"
    """How the cubes of the training frames were centred."""

    def __post_init__(self) -> None:
        if self.normalisation not in get_args(Normalisation) or self.centers not in get_args(Centers):
            raise ValueError(f"No crop is normalised {self.normalisation!r} or centred {self.centers!r}.")
        if not isinstance(self.cube_mm, int | float) or not self.cube_mm > 0:
            raise ValueError(f"The cube's side is {self.cube_mm!r}, expected millimetres above 0.")
        if self.skeleton not in SKELETONS:
            raise ValueError(f"No skeleton is named {self.skeleton!r}. Known: {', '.join(SKELETONS)}.")
        found, expected = self.networks.pose_vae.num_joints, len(SKELETONS[self.skeleton])
        if found != expected:
            raise ValueError(f"The networks have {found} joints, but the skeleton {self.skeleton} has {expected}.")


class Estimator:
    """Networks with the crop and skeleton they were trained for."""

    def __init__(self, config: EstimatorConfig, networks: CrossingNets | Regressor) -> None:
        self.config = config
        self.networks = networks.eval()

    @property
    def skeleton(self) -> Skeleton:
        """The joints it predicts."""
        return SKELETONS[self.config.skeleton]

    def images(self, crops: Sequence[HandCrop]) -> torch.Tensor:
        """Crops as the networks take them: (B, 1, 128, 128), -1 to 1."""
        images = np.stack([normalise(crop, self.config.normalisation) for crop in crops])
        return torch.from_numpy(images)[:, None]

    def joints_mm(self, crops: Sequence[HandCrop], refinement: Refinement = "none") -> Float32[np.ndarray, "B J 3"]:
        """Joints of each crop, in the camera frame.

        Raises:
            ValueError: a refinement is asked of networks without a latent space.
        """
        images = self.images(crops)
        if refinement == "none":
            with torch.inference_mode():
                return self.pose_to_mm(self.networks(images), crops)
        nets = self.latent_networks()
        with torch.no_grad():
            z = nets.estimate_latent(images)
        refined = refine(nets, images, z, refinement)
        return self.pose_to_mm(nets.decode_pose(refined), crops)

    def pose_to_mm(self, pose: PoseBatch, crops: Sequence[HandCrop]) -> Float32[np.ndarray, "B J 3"]:
        """Normalised poses to joints in the camera frame (spec 5, step 4)."""
        centers_mm = np.stack([crop.center_mm for crop in crops])
        found = NormalisedPose(pose.y.detach().float().numpy(), pose.t.detach().float().numpy())
        return denormalise_pose(found, centers_mm).astype(np.float32)

    def latent_networks(self) -> CrossingNets:
        """The networks with the shared latent space.

        Raises:
            ValueError: this estimator is the plain regression, which has none.
        """
        if isinstance(self.networks, CrossingNets):
            return self.networks
        raise ValueError(
            "This model was trained without the shared latent space (--no-shared-latent), so it predicts poses but "
            "cannot generate or refine. Train one without that flag."
        )
