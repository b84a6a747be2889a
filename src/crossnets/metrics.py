"""Errors of predicted joints as the field reports them: distances, success rates, areas, palm directions.

F frames, J joints. Everything is in the camera frame (x right, y down, z forward), in mm and degrees.
"""

from math import erf, sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

THRESHOLDS_MM: Int[np.ndarray, "T"] = np.arange(81)
"""0, 1, ... 80 mm: the grid of both success curves (spec 6.1)."""


SIGMAS: Float[np.ndarray, "K"] = np.arange(31) / 10
"""0, 0.1, ... 3 standard deviations: the grid of the coverage."""


class PalmAngles(NamedTuple):
    """Directions of the palm in degrees. Both are 0 for fingers that point straight up or down in the image."""

    yaw_deg: Float[np.ndarray, "F"]
    """-90 to 90; positive where the fingers point to the right of the image."""
    pitch_deg: Float[np.ndarray, "F"]
    """-90 to 90; positive where the fingers point at the camera."""


def joint_errors_mm(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"]
) -> Float[np.ndarray, "F J"]:
    """Euclidean distance of every joint, absolute in camera space (spec 6.1)."""
    return np.linalg.norm(predicted_mm.astype(np.float64) - labels_mm, axis=-1)


def frame_success(errors_mm: Float[np.ndarray, "F J"]) -> Float[np.ndarray, "81"]:
    """FS(t): fraction of frames whose largest joint error is at most t = 0..80 mm. At least one frame."""
    return _fraction_within(errors_mm.max(axis=-1))


def joint_success(errors_mm: Float[np.ndarray, "F J"]) -> Float[np.ndarray, "81"]:
    """JS(t): fraction of joints, over all frames, whose error is at most t = 0..80 mm. At least one frame."""
    return _fraction_within(errors_mm.ravel())


def area_under_curve(curve: Float[np.ndarray, "81"]) -> float:
    """Area under a success curve by trapezoids over 0 to 80 mm, divided by 80: 1 where nothing is wrong."""
    return float(np.trapezoid(curve, THRESHOLDS_MM) / THRESHOLDS_MM[-1])


def align_roots(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"], reference: int
) -> Float[np.ndarray, "F J 3"]:
    """Predictions moved, frame by frame, so that joint `reference` lies on its label."""
    predicted = predicted_mm.astype(np.float64)
    return predicted + (labels_mm - predicted)[:, reference, None]


def align_roots_and_scale(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"], reference: int
) -> Float[np.ndarray, "F J 3"]:
    r"""Predictions with roots aligned, then scaled about that root by the best factor of each frame alone.

    $s_f = \max(0, \langle p_f, l_f \rangle / \langle p_f, p_f \rangle)$ over the joints relative to the root: least
    squares, never mirrored, one factor a frame (a factor a sequence would still punish a size that changes).
    """
    root = labels_mm[:, reference, None].astype(np.float64)
    p, label = align_roots(predicted_mm, labels_mm, reference) - root, labels_mm - root
    power = (p * p).sum((1, 2))
    s = np.maximum((p * label).sum((1, 2)), 0) / np.where(power > 0, power, 1)
    return p * s[:, None, None] + root


def palm_angles(joints_mm: Float[np.ndarray, "F J 3"], palm_frame: tuple[int, int, int]) -> PalmAngles:
    """Yaw and pitch of the palm (spec 6.1), in the convention of the field's MSRA angles.

    With y the unit vector from the wrist to the middle knuckle: pitch = -asin(y_z), yaw = asin(y_x / cos pitch). Those
    angles are computed from pixels unprojected with z forward, which is our frame; whether y points up or down plays
    no part, nor does the little knuckle, whose z axis of the palm neither formula uses. So this "yaw" is the direction
    of the fingers seen in the image, not a turn about them. Straight at the camera, yaw is undefined and given as 0.
    """
    wrist, middle, _ = palm_frame
    y = joints_mm[:, middle].astype(np.float64) - joints_mm[:, wrist]
    in_image = np.hypot(y[:, 0], y[:, 1])  # the length times cos(pitch)
    pitch = -np.arctan2(y[:, 2], in_image)
    yaw = np.arcsin(np.clip(y[:, 0] / np.where(in_image > 0, in_image, 1), -1, 1))
    return PalmAngles(np.degrees(yaw), np.degrees(pitch))


def mean_by_bin(
    errors_mm: Float[np.ndarray, "F J"], angle_deg: Float[np.ndarray, "F"], edges_deg: Int[np.ndarray, "E"]
) -> tuple[Int[np.ndarray, "bins"], Float[np.ndarray, "bins"]]:
    """Frames and mean error of each bin [edge, next edge), the last closed; NaN where a bin has no frame."""
    counts, _ = np.histogram(angle_deg, edges_deg)
    sums, _ = np.histogram(angle_deg, edges_deg, weights=errors_mm.mean(axis=-1))
    return counts, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _fraction_within(errors_mm: Float[np.ndarray, "N"]) -> Float[np.ndarray, "81"]:
    return np.searchsorted(np.sort(errors_mm), THRESHOLDS_MM, side="right") / errors_mm.size


def coverage(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"], std_mm: Float[np.ndarray, "F J"]
) -> Float[np.ndarray, "31"]:
    """Fraction of coordinates (x, y and z apart) whose error is at most 0, 0.1, ... 3 of their joint's deviations."""
    apart = np.abs(predicted_mm.astype(np.float64) - labels_mm) / std_mm[..., None]
    return np.array([(apart <= sigmas).mean() for sigmas in SIGMAS])


def gaussian_coverage(sigmas: float) -> float:
    """The `coverage` of a Gaussian."""
    return erf(sigmas / sqrt(2))
