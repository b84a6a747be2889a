"""Poses of the paper: joints about a reference joint in units of 50 mm, and the offset of that joint from the crop."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from crossnets.types import POSE_UNIT_MM

HALF_CUBE_UNITS = 2.5
"""Half a cube in units of a pose. The paper's half cube is 125 mm, and its unit is 50 mm."""


class NormalisedPose(NamedTuple):
    """Spec 1.2. One unit is 50 mm. The axes are the camera's."""

    y: Float[np.ndarray, "*N J 3"]
    """Joints relative to the reference joint. The entry of the reference joint is exactly zero."""
    t: Float[np.ndarray, "*N 3"]
    """Reference joint relative to the centre of the crop."""


def normalise_pose(
    joints_mm: Float[np.ndarray, "*N J 3"], center_mm: Float[np.ndarray, "*N 3"], reference: int
) -> NormalisedPose:
    """Convert joints in the camera frame to a pose (spec 1.2, steps 1 to 3)."""
    joints = (joints_mm - center_mm[..., None, :]) / POSE_UNIT_MM
    t = joints[..., reference, :]
    return NormalisedPose(joints - t[..., None, :], t)


def denormalise_pose(pose: NormalisedPose, center_mm: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N J 3"]:
    """Convert a pose to joints in the camera frame: joints_mm = 50 (y + t) + c."""
    return POSE_UNIT_MM * (pose.y + pose.t[..., None, :]) + center_mm[..., None, :]


def pose_in_crop(joints: Float[np.ndarray, "*N J 3"], reference: int) -> NormalisedPose:
    """Convert joints in crop coordinates (`geometry.cube`, -1 to 1) to a pose, as the preset `crossnets` needs it.

    Such a pose does not depend on perspective, and its size is relative to the cube.
    """
    scaled = HALF_CUBE_UNITS * joints
    t = scaled[..., reference, :]
    return NormalisedPose(scaled - t[..., None, :], t)
