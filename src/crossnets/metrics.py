"""Errors of predicted joints as the field reports them: distances, success rates, areas, palm directions.

F frames, J joints. Everything is in the camera frame (x right, y down, z forward), in mm and degrees.
"""

from math import erf, sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

THRESHOLDS_MM: Int[np.ndarray, "T"] = np.arange(81)
"""Grid of both success curves: 0, 1, ... 80 mm (spec 6.1)."""

NEAR_THRESHOLDS_MM: Float[np.ndarray, "N"] = np.linspace(0, 50, 100)
"""Grid of the area from 0 to 50 mm in the public evaluation code of FreiHAND and DexYCB."""

SIGMAS: Float[np.ndarray, "K"] = np.arange(31) / 10
"""Grid of the coverage: 0, 0.1, ... 3 standard deviations."""


class PalmAngles(NamedTuple):
    """Directions of the palm in degrees. Both are 0 for fingers that point straight up or down in the image."""

    yaw_deg: Float[np.ndarray, "F"]
    """-90 to 90. It is positive for fingers that point to the right of the image."""
    pitch_deg: Float[np.ndarray, "F"]
    """-90 to 90. It is positive for fingers that point at the camera."""


def joint_errors_mm(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"]
) -> Float[np.ndarray, "F J"]:
    """Euclidean distance between each predicted joint and its label in camera space. Nothing is aligned (spec 6.1)."""
    return np.linalg.norm(predicted_mm.astype(np.float64) - labels_mm, axis=-1)


def frame_success(errors_mm: Float[np.ndarray, "F J"]) -> Float[np.ndarray, "81"]:
    """FS(t): fraction of frames whose largest joint error is at most t = 0..80 mm. Needs at least one frame."""
    return _fraction_within(errors_mm.max(axis=-1))


def joint_success(errors_mm: Float[np.ndarray, "F J"]) -> Float[np.ndarray, "81"]:
    """JS(t): fraction of joints, over all frames, whose error is at most t = 0..80 mm. Needs at least one frame."""
    return _fraction_within(errors_mm.ravel())


def area_under_curve(curve: Float[np.ndarray, "81"]) -> float:
    """Area under a success curve by trapezoids over 0 to 80 mm, divided by 80. Perfect predictions score 1."""
    return float(np.trapezoid(curve, THRESHOLDS_MM) / THRESHOLDS_MM[-1])


def near_area(errors_mm: Float[np.ndarray, "F J"]) -> float:
    """Area under the fraction of joints within t = 0 to 50 mm, divided by 50, as FreiHAND and DexYCB report it."""
    within = np.searchsorted(np.sort(errors_mm.ravel()), NEAR_THRESHOLDS_MM, side="right") / errors_mm.size
    return float(np.trapezoid(within, NEAR_THRESHOLDS_MM) / NEAR_THRESHOLDS_MM[-1])


def align_roots(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"], reference: int
) -> Float[np.ndarray, "F J 3"]:
    """Translate the prediction of each frame so that joint `reference` lies on its label."""
    predicted = predicted_mm.astype(np.float64)
    return predicted + (labels_mm - predicted)[:, reference, None]


def align_roots_and_scale(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"], reference: int
) -> Float[np.ndarray, "F J 3"]:
    r"""Align the root joints, then scale each frame about its root by the least-squares factor of that frame.

    $s_f = \max(0, \langle p_f, l_f \rangle / \langle p_f, p_f \rangle)$ over the joints relative to the root.
    The factor is never negative, so a pose is never mirrored. Each frame has its own factor because one factor for a
    sequence would still penalise a predicted size that varies between frames.
    """
    root = labels_mm[:, reference, None].astype(np.float64)
    p = align_roots(predicted_mm, labels_mm, reference) - root
    label = labels_mm - root
    power = (p * p).sum((1, 2))
    s = np.maximum((p * label).sum((1, 2)), 0) / np.where(power > 0, power, 1)
    return p * s[:, None, None] + root


def align_procrustes(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"]
) -> Float[np.ndarray, "F J 3"]:
    r"""Move, turn and scale the prediction of each frame so that its squared error is least.

    With centred poses $p$ and $l$ of unit norm and $l^T p = U W V^T$, the turn is $U V^T$ and the scale is tr W. As in
    the public evaluation code of FreiHAND, DexYCB and HO-3D, the turn may be a mirror image.
    """
    label_center = labels_mm.mean(axis=1, keepdims=True, dtype=np.float64)
    label = labels_mm - label_center
    predicted = predicted_mm - predicted_mm.mean(axis=1, keepdims=True, dtype=np.float64)
    size = np.linalg.norm(label, axis=(1, 2), keepdims=True)
    predicted_size = np.linalg.norm(predicted, axis=(1, 2), keepdims=True)
    # A pose whose joints are all at one point has no size. It stays a point.
    predicted = predicted / np.where(predicted_size > 0, predicted_size, 1)
    u, w, vt = np.linalg.svd(np.swapaxes(label / np.where(size > 0, size, 1), 1, 2) @ predicted)
    scale = w.sum(axis=-1)[:, None, None] * size
    return predicted @ np.swapaxes(u @ vt, 1, 2) * scale + label_center


def palm_angles(joints_mm: Float[np.ndarray, "F J 3"], palm_frame: tuple[int, int, int]) -> PalmAngles:
    """Yaw and pitch of the palm (spec 6.1), in the convention of the field's MSRA angles.

    Let y be the unit vector from the wrist to the middle knuckle. Then pitch = -asin(y_z) and yaw = asin(y_x / cos
    pitch). The field computes these angles from pixels unprojected with z forward, which is our frame. Neither formula
    uses the image's y axis, so its sign does not matter. Neither uses the little knuckle, which only defines the z axis
    of the palm. This "yaw" is therefore the direction of the fingers in the image, not a rotation about them. Yaw is
    undefined for fingers that point straight at the camera and is then given as 0.
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
    """Number of frames and mean error of each bin [edge, next edge). The last bin is closed. An empty bin has NaN."""
    counts, _ = np.histogram(angle_deg, edges_deg)
    sums, _ = np.histogram(angle_deg, edges_deg, weights=errors_mm.mean(axis=-1))
    return counts, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _fraction_within(errors_mm: Float[np.ndarray, "N"]) -> Float[np.ndarray, "81"]:
    return np.searchsorted(np.sort(errors_mm), THRESHOLDS_MM, side="right") / errors_mm.size


def coverage(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"], std_mm: Float[np.ndarray, "F J"]
) -> Float[np.ndarray, "31"]:
    """Fraction of coordinates (x, y, z separately) whose error is at most 0, 0.1, ... 3 deviations of their joint."""
    error_in_deviations = np.abs(predicted_mm.astype(np.float64) - labels_mm) / std_mm[..., None]
    return np.array([(error_in_deviations <= sigmas).mean() for sigmas in SIGMAS])


def gaussian_coverage(sigmas: float) -> float:
    """Expected `coverage` where the errors are Gaussian with the stated deviations."""
    return erf(sigmas / sqrt(2))
