"""Uses of the latent space: poses to depth maps, depth maps to poses, and walks between two latents.

A latent z = [z_y ; t] contains the pose about the reference joint, and the offset of that joint from the centre of the
crop in units of 50 mm. It gives a depth map, Gen(Ali(z)), and a pose, Dec(z_y) with t. The functions need networks in
evaluation mode, as `bundle.load(run).latent_networks()` returns them.
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
from crossnets.models.paper import LatentNetworks
from crossnets.tensors import PoseBatch
from crossnets.types import HandCrop, Pinhole

_MOST_SEED = 2**64 - 1
"""Largest seed of torch's generators."""


class Generated(NamedTuple):
    """Images and poses that were generated from latents."""

    z: Float[Tensor, "N Z"]
    depth: Float[Tensor, "N S S"]
    """Depth maps, normalised like the crops of the training: -1 is nearest and +1 is background. S is 128."""
    pose: PoseBatch
    """y (N, J, 3) and t (N, 3), in units of 50 mm."""


@torch.no_grad()
def latent_of_pose(
    estimator: Estimator, joints_mm: Float32[np.ndarray, "N J 3"], crops: Sequence[HandCrop]
) -> Float[Tensor, "N Z"]:
    """Encode poses in the camera frame, given their crops, without the noise of the VAE.

    Raises:
        ValueError: the estimator has no latent space.
    """
    return estimator.latent_networks().encode_pose(estimator.pose_of(joints_mm, crops))


@torch.no_grad()
def generate(nets: LatentNetworks, z: Float[Tensor, "N Z"]) -> Generated:
    """Generate a depth map and a pose from each latent."""
    return Generated(z, nets.render(z)[:, 0], nets.decode_pose(z))


@torch.no_grad()
def sample(nets: LatentNetworks, count: int, seed: int) -> Generated:
    """Generate random hands: z_y from the prior N(0, I), and t so that the mean of the joints is the crop's centre.

    Raises:
        ValueError: `count` is below 1, or the seed is negative or too large.
    """
    if count < 1:
        raise ValueError(f"Found a sample of {count} hands, expected 1 or more.")
    if not 0 <= seed <= _MOST_SEED:
        raise ValueError(f"Found the seed {seed}, expected 0 to {_MOST_SEED}.")
    z_y = torch.randn(count, nets.latent_dim - 3, generator=torch.Generator().manual_seed(seed))
    y = nets.decode_pose(torch.cat([z_y, torch.zeros(count, 3)], dim=1)).y
    return generate(nets, torch.cat([z_y, -y.mean(1)], dim=1))


def walk(nets: LatentNetworks, z_a: Float[Tensor, "Z"], z_b: Float[Tensor, "Z"], steps: int) -> Generated:
    """Generate images and poses at `steps` points of the line between two latents, from z_a to z_b.

    Raises:
        ValueError: there are fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"Found a walk of {steps} steps, expected at least 2 (both ends).")
    return generate(nets, torch.lerp(z_a, z_b, torch.linspace(0, 1, steps)[:, None]))


def joints_in_crop_px(
    estimator: Estimator, pose: PoseBatch, center_mm: Float32[np.ndarray, "N 3"], camera: Pinhole
) -> Float[np.ndarray, "N J 2"]:
    """Project joints, 50 (y + t) + c, to (u, v) in the 128x128 pixels of the crops around `center_mm`.

    A pose is relative to the centre of its crop. Another centre moves joints and crop together, so only the perspective
    changes, and the joints lie on the hand that was generated from the same latent.
    """
    nothing = np.zeros((1, 1), np.float32)
    crops = [crop_hand(nothing, camera, center, estimator.config.cube_mm) for center in center_mm]
    uv = project(estimator.pose_to_mm(pose, crops), camera)[..., :2]
    return np.stack([image_to_crop_px(points, crop) for points, crop in zip(uv, crops, strict=True)])
