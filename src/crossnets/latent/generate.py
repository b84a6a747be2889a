"""Uses of the latent space: poses to depth maps, depth maps to poses, and walks between two latents.

A latent z = [z_y ; t] holds the pose about the reference joint and that joint's offset from the centre of the crop
(units of 50 mm), so both a depth map, Gen(Ali(z)), and a pose, Dec(z_y) with t, come from it. The functions are for
networks in evaluation mode, as `bundle.load(run).latent_networks()` gives them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from crossnets.geometry.camera import project
from crossnets.geometry.crop import crop_hand, image_to_crop_px
from crossnets.inference.torch_models import Estimator
from crossnets.models.crossing import LatentNetworks
from crossnets.tensors import PoseBatch
from crossnets.types import HandCrop, Pinhole


class Generated(NamedTuple):
    """Images and poses of some latents."""

    z: Float[Tensor, "N Z"]
    depth: Float[Tensor, "N S S"]
    """Depth maps, normalised as the crops the networks were trained on: -1 nearest, +1 background. S is 128."""
    pose: PoseBatch
    """y (N, J, 3) and t (N, 3), in units of 50 mm."""


@torch.no_grad()
def latent_of_pose(
    estimator: Estimator, joints_mm: Float32[np.ndarray, "N J 3"], crops: Sequence[HandCrop]
) -> Float[Tensor, "N Z"]:
    """The latents of poses in the camera frame, given their crops. Without the VAE's noise.

    Raises:
        ValueError: the estimator has no latent space.
    """
    return estimator.latent_networks().encode_pose(estimator.pose_of(joints_mm, crops))


@torch.no_grad()
def generate(nets: LatentNetworks, z: Float[Tensor, "N Z"]) -> Generated:
    """Depth map and pose at each latent."""
    return Generated(z, nets.render(z)[:, 0], nets.decode_pose(z))


def walk(nets: LatentNetworks, z_a: Float[Tensor, "Z"], z_b: Float[Tensor, "Z"], steps: int) -> Generated:
    """Images and poses on the straight line between two latents: `steps` points, the first z_a, the last z_b.

    Raises:
        ValueError: fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"Asked for a walk of {steps} steps; expected at least 2, both ends.")
    return generate(nets, torch.lerp(z_a, z_b, torch.linspace(0, 1, steps)[:, None]))


def joints_in_crop_px(
    estimator: Estimator, pose: PoseBatch, center_mm: Float32[np.ndarray, "N 3"], camera: Pinhole
) -> Float[np.ndarray, "N J 2"]:
    """Joints as (u, v) in the 128x128 pixels of the crops around `center_mm`: 50 (y + t) + c, projected.

    A pose is relative to its crop's centre, so the centre moves the joints and the crop alike: only perspective
    changes, and the joints lie on the hand that was generated from the same latent.
    """
    nothing = np.zeros((1, 1), np.float32)
    crops = [crop_hand(nothing, camera, center, estimator.config.cube_mm) for center in center_mm]
    uv = project(estimator.pose_to_mm(pose, crops), camera)[..., :2]
    return np.stack([image_to_crop_px(points, crop) for points, crop in zip(uv, crops, strict=True)])
