"""The estimator and the detector in torch. The estimator also gives access to the latent space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from crossnets.geometry.crop import CROP_PX
from crossnets.geometry.cube import into_cubes, out_of_cubes, views_of
from crossnets.geometry.pose import NormalisedPose, denormalise_pose, normalise_pose
from crossnets.geometry.skeleton import find_skeleton
from crossnets.inference.detector import DetectorModel, HandDetector
from crossnets.inference.estimator import CropEstimator, CropModel, Raw
from crossnets.models.crossnet import DensePosterior
from crossnets.models.detector import DetectorNet, DetectorNetConfig
from crossnets.models.networks import Networks, NetworksConfig
from crossnets.models.own import Found
from crossnets.models.paper import CrossingNets, LatentNetworks
from crossnets.models.refine import refine
from crossnets.tensors import PoseBatch
from crossnets.types import POSE_UNIT_MM, HandCrop, Refinement

assert CROP_PX == 128, "the generator makes maps of 128 x 128"


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig(CropModel):
    """Description that is stored with the weights of an estimator."""

    networks: NetworksConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        found = self.networks.num_joints
        skeleton = find_skeleton(self.skeleton)
        if found != len(skeleton):
            raise ValueError(f"The networks have {found} joints, but the skeleton {skeleton.name} has {len(skeleton)}.")


class Estimator(CropEstimator):
    """Networks with the crop and skeleton of their training."""

    def __init__(
        self,
        config: EstimatorConfig,
        networks: Networks,
        maps: Mapping[str, Float32[np.ndarray, "K J"]] | None = None,
    ) -> None:
        super().__init__(config, self._run, maps)
        self.config = config
        self.networks = networks.eval()

    def images(self, crops: Sequence[HandCrop]) -> Float[Tensor, "B 1 S S"]:
        """Convert crops to the input of the networks, -1 to 1."""
        return torch.from_numpy(self.arrays(crops))

    def joints_mm(self, crops: Sequence[HandCrop], refinement: Refinement = "none") -> Float32[np.ndarray, "B J 3"]:
        """Estimate the joints of each crop in the camera frame.

        Raises:
            ValueError: a refinement is requested, and the networks have no latent space.
        """
        if refinement == "none":
            return super().joints_mm(crops)
        nets = self.refining_networks()
        refined = refine(nets, self.images(crops), self.latents(crops), refinement)
        return self.pose_to_mm(nets.decode_pose(refined), crops)

    def latents(self, crops: Sequence[HandCrop]) -> Float[Tensor, "B Z"]:
        """Estimate the latents of the crops in the shared space.

        Raises:
            ValueError: the model has no latent space.
        """
        nets = self.networks if isinstance(self.networks, DensePosterior) else self.refining_networks()
        with torch.no_grad():
            return nets.estimate_latent(self.images(crops))

    def pose_of(self, joints_mm: Float[np.ndarray, "B J 3"], crops: Sequence[HandCrop]) -> PoseBatch:
        """Convert joints of the networks' skeleton to the input of the pose VAE."""
        if isinstance(self.networks, DensePosterior):
            return self.networks.pose(torch.from_numpy(into_cubes(joints_mm, views_of(crops))).float())
        centers_mm = np.stack([crop.center_mm for crop in crops])
        y, t = normalise_pose(joints_mm, centers_mm, self.own_skeleton.reference)
        return PoseBatch(torch.from_numpy(y).float(), torch.from_numpy(t).float())

    def pose_to_mm(self, pose: PoseBatch, crops: Sequence[HandCrop]) -> Float32[np.ndarray, "B J 3"]:
        """Convert poses of the networks to joints in the camera frame (spec 5, step 4)."""
        pose = PoseBatch(pose.y.detach().float(), pose.t.detach().float())
        if isinstance(self.networks, DensePosterior):
            return self.spoken(out_of_cubes(self.networks.joints(pose).numpy(), views_of(crops)))
        centers_mm = np.stack([crop.center_mm for crop in crops])
        found = NormalisedPose(pose.y.numpy(), pose.t.numpy())
        return self.spoken(denormalise_pose(found, centers_mm))

    def refining_networks(self) -> CrossingNets:
        """Return the networks with the metric head of the paper, by which refinements compare images.

        Raises:
            ValueError: the model has no latent space, or no metric head.
        """
        nets = self.latent_networks()
        if isinstance(nets, CrossingNets):
            return nets
        raise ValueError(
            f"A model of the preset {self.config.preset} has no metric head, so it cannot refine. Predict without "
            "refining, or train the preset paper."
        )

    def latent_networks(self) -> LatentNetworks:
        """Return the networks with the shared latent space.

        Raises:
            ValueError: the estimator is a plain regression without a latent space.
        """
        if isinstance(self.networks, DensePosterior):
            return self.networks.latent_space
        if isinstance(self.networks, CrossingNets):
            return self.networks
        raise ValueError(
            "This model was trained without the shared latent space, so it predicts poses but cannot generate or "
            "refine. Train the preset paper without --no-shared-latent, or the preset crossnets."
        )

    @torch.inference_mode()
    def _run(self, images: Float32[np.ndarray, "B 1 S S"]) -> Raw:
        device = next(self.networks.parameters()).device
        found = self.networks(torch.from_numpy(images).to(device))
        if isinstance(found, Found):
            return Raw(*(part.float().cpu().numpy() for part in found if part is not None))
        if isinstance(found, PoseBatch):
            return Raw(POSE_UNIT_MM * (found.y + found.t[:, None]).cpu().numpy())
        return Raw(*(part.cpu().numpy() for part in found.outputs()))


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(DetectorModel):
    """Description that is stored with the weights of a detector."""

    networks: DetectorNetConfig


class Detector(HandDetector):
    """The detector in torch."""

    def __init__(self, config: DetectorConfig, networks: DetectorNet) -> None:
        super().__init__(self._run, config)
        self.config = config
        self.networks = networks.eval()

    @torch.inference_mode()
    def _run(self, images: Float32[np.ndarray, "B 2 H W"]) -> Float32[np.ndarray, "B 6 h w"]:
        return self.networks(torch.from_numpy(images)).numpy()
