"""Scores of all frames of an evaluation and of each sequence."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from crossnets import metrics
from crossnets.geometry.skeleton import Skeleton
from crossnets.metrics import PalmAngles

YAW_EDGES_DEG: Int[np.ndarray, "E"] = np.arange(-40, 41, 2)
PITCH_EDGES_DEG: Int[np.ndarray, "E"] = np.arange(-10, 91, 2)
"""Bins of MSRA's viewpoint analysis (spec 6.1). Palms outside them count in all other scores."""
_SIGMAS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
"""Multiples of the deviation. 38, 68, 87, 95, 99 and 100 % of a Gaussian lie within them."""


@dataclass(frozen=True)
class AngleBin:
    """Frames whose palm direction lies in one bin of two degrees."""

    from_deg: int
    to_deg: int
    frames: int
    mean_mm: float | None
    """None if the bin is empty."""


@dataclass(frozen=True)
class FoundScores:
    """Share and errors of the frames in which `Tracker.predict` finds a hand."""

    share: float
    """Share of all frames, 0 to 1."""
    mean_mm: float | None
    """None if no hand is found."""
    median_mm: float | None


@dataclass(frozen=True)
class Scores:
    """Errors of a set of frames. Means are None if no frame has a prediction."""

    frames: int
    """Number of all frames, including those without a prediction."""
    missed: int
    """Frames without a prediction. They count as outside every threshold and are left out of all means."""
    mean_mm: float | None
    """Mean over all joints of all predicted frames in camera space, without alignment."""
    median_mm: float | None
    """Median of the same joint errors."""
    root_aligned_mean_mm: float | None
    """Mean error after the reference joint is moved to its label."""
    scale_aligned_mean_mm: float | None
    """Mean error after root alignment and scaling by the best factor of each frame."""
    frames_within_mm: Float[np.ndarray, "81"]
    """FS(t), t = 0..80 mm."""
    joints_within_mm: Float[np.ndarray, "81"]
    """JS(t), t = 0..80 mm."""
    auc_frames: float
    auc_joints: float
    procrustes_mean_mm: float | None
    """Mean error after the best move, turn and scaling of each frame."""
    near_area: float
    """Area under the share of joints within 0 to 50 mm, divided by 50, without alignment."""
    root_aligned_near_area: float
    procrustes_near_area: float
    per_joint_mm: dict[str, float | None]
    by_yaw: tuple[AngleBin, ...] | None
    """None if the palm's direction is unknown because the joints of the palm are not labelled."""
    by_pitch: tuple[AngleBin, ...] | None
    coverage: Float[np.ndarray, "31"] | None = None
    """Shares of coordinates within 0, 0.1, ... 3 of their deviations. None if the predictions state no deviations."""
    found: FoundScores | None = None
    """None if the predictions do not mark frames with a forced answer."""
    sequences: dict[str, "Scores"] = field(default_factory=dict)

    @property
    def sequence_mean_mm(self) -> float | None:
        """Unweighted mean over sequences. In leave-one-subject-out evaluation it is the average of the folds."""
        means = [part.mean_mm for part in self.sequences.values() if part.mean_mm is not None]
        return float(np.mean(means)) if means else None

    def to_dict(self) -> dict[str, Any]:
        """Scores as strict JSON: no NaN, keys of text, Python numbers."""
        result: dict[str, Any] = {
            "frames": self.frames,
            "missed": self.missed,
            "mean_mm": self.mean_mm,
            "median_mm": self.median_mm,
            "root_aligned_mean_mm": self.root_aligned_mean_mm,
            "scale_aligned_mean_mm": self.scale_aligned_mean_mm,
            "auc_frames": self.auc_frames,
            "auc_joints": self.auc_joints,
            "procrustes_mean_mm": self.procrustes_mean_mm,
            "auc_50_mm": {
                "absolute": self.near_area,
                "root_aligned": self.root_aligned_near_area,
                "procrustes": self.procrustes_near_area,
            },
            "frames_within_mm": {str(t): float(value) for t, value in enumerate(self.frames_within_mm)},
            "joints_within_mm": {str(t): float(value) for t, value in enumerate(self.joints_within_mm)},
            "per_joint_mm": dict(self.per_joint_mm),
            "by_yaw": None if self.by_yaw is None else [vars(part).copy() for part in self.by_yaw],
            "by_pitch": None if self.by_pitch is None else [vars(part).copy() for part in self.by_pitch],
        }
        if self.coverage is not None:
            result["within_sigmas"] = {f"{k:g}": float(self.coverage[round(10 * k)]) for k in _SIGMAS}
        if self.found is not None:
            result["found"] = vars(self.found).copy()
        if self.sequences:
            result["sequence_mean_mm"] = self.sequence_mean_mm
            result["sequences"] = {name: part.to_dict() for name, part in self.sequences.items()}
        return result


def score(
    predicted_mm: Float[np.ndarray, "F J 3"],
    labels_mm: Float[np.ndarray, "F J 3"],
    sequences: Sequence[str],
    skeleton: Skeleton,
    angles: PalmAngles | None = None,
    std_mm: Float[np.ndarray, "F J"] | None = None,
    found: Bool[np.ndarray, "F"] | None = None,
) -> Scores:
    """Score all frames together and each sequence separately.

    Args:
        predicted_mm: Joints in the camera frame. A frame without a prediction is NaN throughout.
        labels_mm: Joints in the camera frame. All must be finite.
        sequences: Name of the sequence of each frame.
        skeleton: Defines the names of the joints and the reference joint.
        angles: Palm directions of the labels. Computed from `skeleton.palm_frame` if None.
        std_mm: Standard deviation of each predicted joint in each axis. NaN for predictions without one.
        found: Frames in which `Tracker.predict` finds a hand. In other frames the answer was forced or is missing.

    Raises:
        ValueError: there are no frames, numbers of joints or names do not agree, a label is not finite, or a
            prediction lacks some of its joints.
    """
    _check(predicted_mm, labels_mm, sequences, skeleton)
    if angles is None and skeleton.palm_frame is not None:
        angles = metrics.palm_angles(labels_mm, skeleton.palm_frame)
    whole = _score_set(predicted_mm, labels_mm, skeleton, angles, std_mm, found)
    names = list(dict.fromkeys(sequences))
    if len(names) < 2:
        return replace(whole, sequences={names[0]: whole})
    of_frame = np.asarray(sequences)
    parts: dict[str, Scores] = {}
    for name in names:
        rows = np.asarray(of_frame == name)
        part_angles = None if angles is None else PalmAngles(angles.yaw_deg[rows], angles.pitch_deg[rows])
        part_std = None if std_mm is None else std_mm[rows]
        part_found = None if found is None else found[rows]
        parts[name] = _score_set(predicted_mm[rows], labels_mm[rows], skeleton, part_angles, part_std, part_found)
    return replace(whole, sequences=parts)


def _score_set(
    predicted_mm: Float[np.ndarray, "F J 3"],
    labels_mm: Float[np.ndarray, "F J 3"],
    skeleton: Skeleton,
    angles: PalmAngles | None,
    std_mm: Float[np.ndarray, "F J"] | None,
    found: Bool[np.ndarray, "F"] | None,
) -> Scores:
    answered = np.asarray(np.isfinite(predicted_mm).all(axis=(1, 2)))
    predicted = predicted_mm[answered]
    labels = labels_mm[answered]
    errors = metrics.joint_errors_mm(predicted, labels)
    # A frame without a prediction has infinite errors in the curves, so that it lies outside every threshold.
    missing = np.full((int((~answered).sum()), len(skeleton)), np.inf)
    counted = np.concatenate([errors, missing])
    frame_curve = metrics.frame_success(counted)
    joint_curve = metrics.joint_success(counted)
    aligned = metrics.joint_errors_mm(metrics.align_roots(predicted, labels, skeleton.reference), labels)
    scaled = metrics.align_roots_and_scale(predicted, labels, skeleton.reference)
    turned = metrics.joint_errors_mm(metrics.align_procrustes(predicted, labels), labels)
    return Scores(
        frames=len(answered),
        missed=len(missing),
        mean_mm=_mean(errors),
        median_mm=_median(errors),
        root_aligned_mean_mm=_mean(aligned),
        scale_aligned_mean_mm=_mean(metrics.joint_errors_mm(scaled, labels)),
        frames_within_mm=frame_curve,
        joints_within_mm=joint_curve,
        auc_frames=metrics.area_under_curve(frame_curve),
        auc_joints=metrics.area_under_curve(joint_curve),
        procrustes_mean_mm=_mean(turned),
        near_area=metrics.near_area(counted),
        root_aligned_near_area=metrics.near_area(np.concatenate([aligned, missing])),
        procrustes_near_area=metrics.near_area(np.concatenate([turned, missing])),
        per_joint_mm={name: _mean(errors[:, joint]) for joint, name in enumerate(skeleton.joints)},
        by_yaw=None if angles is None else _bins(errors, angles.yaw_deg[answered], YAW_EDGES_DEG),
        by_pitch=None if angles is None else _bins(errors, angles.pitch_deg[answered], PITCH_EDGES_DEG),
        coverage=None if std_mm is None else _coverage(predicted, labels, std_mm[answered]),
        found=None if found is None else _found(errors, found[answered], len(answered)),
    )


def _found(errors_mm: Float[np.ndarray, "A J"], found: Bool[np.ndarray, "A"], frames: int) -> FoundScores:
    """Scores of the answered frames in which a hand is found. Their share refers to all `frames`."""
    errors_found = errors_mm[found]
    return FoundScores(len(errors_found) / frames, _mean(errors_found), _median(errors_found))


def _bins(
    errors_mm: Float[np.ndarray, "F J"], angle_deg: Float[np.ndarray, "F"], edges_deg: Int[np.ndarray, "E"]
) -> tuple[AngleBin, ...]:
    counts, means = metrics.mean_by_bin(errors_mm, angle_deg, edges_deg)
    pairs = zip(edges_deg[:-1], edges_deg[1:], counts, means, strict=True)
    return tuple(
        AngleBin(int(low), int(high), int(count), float(mean) if count else None) for low, high, count, mean in pairs
    )


def _coverage(
    predicted_mm: Float[np.ndarray, "F J 3"], labels_mm: Float[np.ndarray, "F J 3"], std_mm: Float[np.ndarray, "F J"]
) -> Float[np.ndarray, "31"] | None:
    stated = np.isfinite(std_mm).all(axis=1)
    return metrics.coverage(predicted_mm[stated], labels_mm[stated], std_mm[stated]) if stated.any() else None


def _mean(errors_mm: Float[np.ndarray, "..."]) -> float | None:
    return float(errors_mm.mean()) if errors_mm.size else None


def _median(errors_mm: Float[np.ndarray, "..."]) -> float | None:
    return float(np.median(errors_mm)) if errors_mm.size else None


def _check(predicted_mm: np.ndarray, labels_mm: np.ndarray, sequences: Sequence[str], skeleton: Skeleton) -> None:
    if not len(labels_mm):
        raise ValueError("There are no labelled frames to score.")
    if labels_mm.shape[1] != len(skeleton) or len(sequences) != len(labels_mm):
        raise ValueError(
            f"Found {len(labels_mm)} frames of {labels_mm.shape[1]} joints and {len(sequences)} sequence names. "
            f"Expected {len(skeleton)} joints ({skeleton.name}) and one name per frame."
        )
    if not np.isfinite(labels_mm).all():
        frame = int(np.flatnonzero(~np.isfinite(labels_mm).all(axis=(1, 2)))[0])
        raise ValueError(f"The label of frame {frame} is not finite. Leave out frames without a label.")
    joints = np.isfinite(predicted_mm).all(axis=2).sum(axis=1)
    incomplete = np.flatnonzero((joints > 0) & (joints < len(skeleton)))
    if incomplete.size:
        raise ValueError(f"Frame {incomplete[0]} (from 0) has only some of its joints. Predict all, or none (all NaN).")
