import json

import numpy as np
import pytest

from crossnets.evaluation.scores import score
from crossnets.geometry.skeleton import CVAR21, NYU14
from crossnets.metrics import PalmAngles

RNG = np.random.default_rng(3)
LABELS = RNG.normal(size=(6, 21, 3)) * 40 + [0, 0, 500]
NAMES = ["a", "a", "b", "b", "b", "b"]


def _strict(scores: object) -> dict:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in JSON")

    return json.loads(json.dumps(scores, allow_nan=False), parse_constant=refuse)


def test_perfect_predictions_have_zero_error() -> None:
    scores = score(LABELS, LABELS, NAMES, CVAR21)
    assert (scores.frames, scores.missed, scores.mean_mm, scores.median_mm) == (6, 0, 0, 0)
    assert (scores.auc_frames, scores.auc_joints) == (1, 1)
    assert {name: part.frames for name, part in scores.sequences.items()} == {"a": 2, "b": 4}


def test_translation_changes_only_the_absolute_error() -> None:
    scores = score(LABELS + np.array([0, 6.0, 8.0]), LABELS, NAMES, CVAR21)
    assert scores.mean_mm == pytest.approx(10)
    assert scores.median_mm == pytest.approx(10)
    assert scores.root_aligned_mean_mm == pytest.approx(0, abs=1e-9)
    assert scores.per_joint_mm["thumb_tip"] == pytest.approx(10)
    assert (scores.frames_within_mm[9], scores.frames_within_mm[11]) == (0, 1)


def test_missed_frames_exceed_every_threshold_and_are_left_out_of_means() -> None:
    predicted = LABELS.copy()
    predicted[0] = np.nan
    scores = score(predicted, LABELS, NAMES, CVAR21)
    assert (scores.missed, scores.mean_mm) == (1, 0)
    assert scores.frames_within_mm[80] == pytest.approx(5 / 6)
    assert scores.auc_joints == pytest.approx(5 / 6)
    assert scores.sequences["a"].missed == 1
    assert scores.sequences["b"].missed == 0


def test_missing_predictions_give_null_in_strict_json() -> None:
    result = _strict(score(np.full_like(LABELS, np.nan), LABELS, NAMES, CVAR21).to_dict())
    assert result["mean_mm"] is None
    assert result["per_joint_mm"]["thumb_tip"] is None
    assert result["auc_frames"] == 0
    assert result["sequence_mean_mm"] is None


def test_json_keys() -> None:
    result = _strict(score(LABELS + 1, LABELS, NAMES, CVAR21).to_dict())
    keys = {
        "frames", "missed", "mean_mm", "median_mm", "root_aligned_mean_mm", "scale_aligned_mean_mm", "frames_within_mm",
        "joints_within_mm", "auc_frames", "auc_joints", "per_joint_mm", "by_yaw", "by_pitch",
        "procrustes_mean_mm", "auc_50_mm",
    }  # fmt: skip
    assert set(result) == keys | {"sequences", "sequence_mean_mm"}
    assert set(result["sequences"]["a"]) == keys
    assert list(result["frames_within_mm"]) == [str(t) for t in range(81)]
    assert (len(result["by_yaw"]), len(result["by_pitch"])) == (40, 50)
    assert result["by_yaw"][0].keys() == {"from_deg", "to_deg", "frames", "mean_mm"}
    assert {part["mean_mm"] for part in result["by_yaw"] if not part["frames"]} <= {None}


def test_alignments_leave_less_and_less_error() -> None:
    rng = np.random.default_rng(3)
    predicted = (LABELS + rng.normal(size=LABELS.shape) * 4) * 1.1 + np.array([0.0, 30.0, 0.0])
    predicted[0] = np.nan
    scores = score(predicted, LABELS, NAMES, CVAR21)
    assert scores.mean_mm is not None
    assert scores.root_aligned_mean_mm is not None
    assert scores.procrustes_mean_mm is not None
    assert scores.mean_mm > scores.root_aligned_mean_mm > scores.procrustes_mean_mm
    areas = _strict(scores.to_dict())["auc_50_mm"]
    assert areas["absolute"] < areas["root_aligned"] < areas["procrustes"] < 1 - 1 / len(LABELS)


def test_coverage_of_gaussian_errors() -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat(LABELS, 50, axis=0)
    std = rng.uniform(2, 20, labels.shape[:2])
    predicted = labels + std[..., None] * rng.standard_normal(labels.shape)
    predicted[7] = np.nan
    std[8] = np.nan
    scores = score(predicted, labels, ["a"] * 150 + ["b"] * 150, CVAR21, std_mm=std)
    within = _strict(scores.to_dict())["within_sigmas"]
    assert within["1"] == pytest.approx(0.6827, abs=0.01)
    assert within["2"] == pytest.approx(0.9545, abs=0.01)
    halved = score(predicted, labels, ["a"] * 300, CVAR21, std_mm=std / 2).coverage
    assert halved is not None
    assert halved[20] == pytest.approx(within["1"])
    assert scores.sequences["b"].coverage is not None
    assert score(LABELS, LABELS, NAMES, CVAR21).coverage is None


def test_sequences_have_equal_weight_in_their_mean() -> None:
    predicted = LABELS.copy()
    predicted[:2] += [9.0, 0, 0]
    scores = score(predicted, LABELS, NAMES, CVAR21)
    assert scores.mean_mm == pytest.approx(3)
    assert scores.sequence_mean_mm == pytest.approx(4.5)


def test_palm_angles_from_skeleton_or_argument() -> None:
    labels = LABELS[:, :14]
    assert score(labels, labels, NAMES, NYU14).by_yaw is None
    angles = PalmAngles(np.full(6, 11.0), np.full(6, 90.0))
    scores = score(labels + np.array([0, 0, 2.0]), labels, NAMES, NYU14, angles=angles)
    assert scores.by_yaw is not None
    assert scores.by_pitch is not None
    assert [(b.from_deg, b.frames, b.mean_mm) for b in scores.by_yaw if b.frames] == [(10, 6, pytest.approx(2))]
    assert [b.from_deg for b in scores.by_pitch if b.frames] == [88]
    assert sum(b.frames for b in scores.sequences["a"].by_yaw or ()) == 2


def test_invalid_input_raises() -> None:
    with pytest.raises(ValueError, match="no labelled frames"):
        score(LABELS[:0], LABELS[:0], [], CVAR21)
    with pytest.raises(ValueError, match=r"6 frames of 21 joints and 6 sequence names. Expected 14 joints \(nyu14\)"):
        score(LABELS, LABELS, NAMES, NYU14)
    with pytest.raises(ValueError, match="label of frame 0 is not finite"):
        score(LABELS, LABELS * np.nan, NAMES, CVAR21)
    half = LABELS.copy()
    half[4, 3, 0] = np.nan
    with pytest.raises(ValueError, match=r"Frame 4 .* only some of its joints"):
        score(half, LABELS, NAMES, CVAR21)
