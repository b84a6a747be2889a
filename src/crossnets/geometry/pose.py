"""The paper's pose: joints about a reference joint in units of 50 mm, and that joint's offset from the crop centre."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from crossnets.types import POSE_UNIT_MM

HALF_CUBE_UNITS = 2.5
"""Half a cube in units of a pose in crop coordinates: as the paper's 125 mm in its units of 50."""


class NormalisedPose(NamedTuple):
    """Spec 1.2. One unit is 50 mm. The axes are the camera's."""

    y: Float[np.ndarray, "*N J 3"]
    """Joints relative to the reference joint, whose own entry is exactly zero."""
    t: Float[np.ndarray, "*N 3"]
    """Reference joint relative to the centre of the crop."""


def normalise_pose(
    joints_mm: Float[np.ndarray, "*N J 3"], center_mm: Float[np.ndarray, "*N 3"], reference: int
) -> NormalisedPose:
    """Joints in the camera frame to the paper's pose (spec 1.2, steps 1 to 3)."""
    joints = (joints_mm - center_mm[..., None, :]) / POSE_UNIT_MM
    t = joints[..., reference, :]
    return NormalisedPose(joints - t[..., None, :], t)


def denormalise_pose(pose: NormalisedPose, center_mm: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N J 3"]:
    """The inverse of `normalise_pose`: joints_mm = 50 (y + t) + c."""
    return POSE_UNIT_MM * (pose.y + pose.t[..., None, :]) + center_mm[..., None, :]


def pose_in_crop(joints: Float[np.ndarray, "*N J 3"], reference: int) -> NormalisedPose:
    """Joints in crop coordinates (`geometry.cube`, -1 to 1) as a pose: the preset `crossnets` has no other.

    Perspective is then the crop's business, and a hand's size that of its cube.
    """
    scaled = HALF_CUBE_UNITS * joints
    t = scaled[..., reference, :]
    return NormalisedPose(scaled - t[..., None, :], t)
