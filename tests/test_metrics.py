"""Metrics on cases with known results."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from crossnets import metrics

RNG = np.random.default_rng(0)
LABELS = RNG.normal(size=(5, 6, 3)) * 40 + [10, -20, 600]


def test_error_of_a_known_translation() -> None:
    errors = metrics.joint_errors_mm(LABELS + np.array([3.0, 4.0, 12.0]), LABELS)
    np.testing.assert_allclose(errors, 13.0)


def test_root_alignment_removes_translation_but_not_scale() -> None:
    shifted = LABELS + RNG.normal(size=(5, 1, 3)) * 30
    np.testing.assert_allclose(metrics.align_roots(shifted, LABELS, 2), LABELS)
    larger = (LABELS - LABELS[:, 2:3]) * 1.2
    assert metrics.joint_errors_mm(metrics.align_roots(larger, LABELS, 2), LABELS).max() > 5


def test_each_frame_has_its_own_scale() -> None:
    factors = np.array([0.5, 0.8, 1.0, 1.3, 2.0])[:, None, None]
    scaled = (LABELS - LABELS[:, 2:3]) * factors + [100, 0, 400]
    np.testing.assert_allclose(metrics.align_roots_and_scale(scaled, LABELS, 2), LABELS, atol=1e-9)


def test_scale_minimises_the_squared_error() -> None:
    noisy = LABELS + RNG.normal(size=LABELS.shape) * 10
    fitted = metrics.align_roots_and_scale(noisy, LABELS, 0)
    root = LABELS[:, :1]
    best = ((fitted - LABELS) ** 2).sum((1, 2))
    for factor in (0.98, 1.02):
        assert (((root + (fitted - root) * factor - LABELS) ** 2).sum((1, 2)) > best).all()


def test_scale_is_finite_and_not_negative() -> None:
    mirrored = 2 * LABELS[:, :1] - LABELS
    np.testing.assert_allclose(
        metrics.align_roots_and_scale(mirrored, LABELS, 0), np.broadcast_to(LABELS[:, :1], LABELS.shape)
    )
    point = np.broadcast_to(LABELS[:, :1], LABELS.shape)
    assert np.isfinite(metrics.align_roots_and_scale(point, LABELS, 0)).all()


def _toolkit_error_mm(label: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Errors of one frame by the steps of FreiHAND's evaluation, which DexYCB's toolkit uses."""
    one, other = label - label.mean(0), predicted - predicted.mean(0)
    size = np.linalg.norm(one)
    turn, scale = orthogonal_procrustes(one / size, other / np.linalg.norm(other))
    fitted = other / np.linalg.norm(other) @ turn.T * scale * size + label.mean(0)
    return np.linalg.norm(fitted - label, axis=1)


def test_procrustes_removes_place_turn_and_size() -> None:
    turn, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    np.testing.assert_allclose(metrics.align_procrustes(LABELS @ turn * 1.3 + [5, 6, 900], LABELS), LABELS, atol=1e-9)
    noisy = LABELS + RNG.normal(size=LABELS.shape) * 15
    errors = metrics.joint_errors_mm(metrics.align_procrustes(noisy, LABELS), LABELS)
    expected = [_toolkit_error_mm(label, one) for label, one in zip(LABELS, noisy, strict=True)]
    np.testing.assert_allclose(errors, expected, atol=1e-9)
    assert errors.mean() < metrics.joint_errors_mm(metrics.align_roots(noisy, LABELS, 0), LABELS).mean()


def test_procrustes_of_a_point_is_a_point() -> None:
    point = np.broadcast_to(LABELS[:, :1], LABELS.shape)
    center = np.broadcast_to(LABELS.mean(1, keepdims=True), LABELS.shape)
    np.testing.assert_allclose(metrics.align_procrustes(point, LABELS), center, atol=1e-9)
    assert np.isfinite(metrics.align_procrustes(LABELS, point)).all()


def test_area_to_50_mm() -> None:
    assert metrics.near_area(np.zeros((2, 3))) == pytest.approx(1)
    assert metrics.near_area(np.full((2, 3), 50.1)) == 0
    assert metrics.near_area(np.array([[25.0, np.inf]])) == pytest.approx(0.25, abs=0.01)


def test_success_includes_errors_at_the_threshold() -> None:
    errors = np.array([[1.0, 20.0], [2.0, 20.5], [0.0, 90.0], [0.0, 0.0]])
    frames, joints = metrics.frame_success(errors), metrics.joint_success(errors)
    assert (frames[0], frames[19], frames[20], frames[21], frames[80]) == (0.25, 0.25, 0.5, 0.75, 0.75)
    assert (joints[0], joints[1], joints[2], joints[20], joints[80]) == (0.375, 0.5, 0.625, 0.75, 0.875)


def test_area_under_known_curves() -> None:
    assert metrics.area_under_curve(metrics.frame_success(np.zeros((3, 2)))) == 1.0
    assert metrics.area_under_curve(metrics.frame_success(np.full((3, 2), np.inf))) == 0.0
    assert metrics.area_under_curve(np.arange(81) / 80) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("fingers", "yaw", "pitch"),
    [
        ((0, -1, 0), 0, 0),  # up in the image
        ((1, -1, 0), 45, 0),  # up to the right
        ((-1, -1, 0), -45, 0),
        ((0, -1, -1), 0, 45),  # up and towards the camera
        ((0, -1, 1), 0, -45),
        ((0, 0, -1), 0, 90),  # straight at the camera
        ((np.sin(0.5) * np.cos(0.3), -np.cos(0.5) * np.cos(0.3), -np.sin(0.3)), np.degrees(0.5), np.degrees(0.3)),
    ],
)
def test_palm_angles_of_known_directions(fingers: tuple[float, float, float], yaw: float, pitch: float) -> None:
    wrist = np.array([30.0, 20.0, 500.0])
    joints = np.stack([wrist, wrist + 80 * np.array(fingers), wrist + np.array([40.0, -60.0, 3.0])])[None]
    angles = metrics.palm_angles(joints, (0, 1, 2))
    np.testing.assert_allclose((angles.yaw_deg[0], angles.pitch_deg[0]), (yaw, pitch), atol=1e-9)


def test_palm_angles_agree_with_the_published_formula() -> None:
    """The formula of spec 6.1: pitch = -asin(y_z), yaw = asin(y_x / cos pitch)."""
    angles = metrics.palm_angles(LABELS, (0, 1, 2))
    y = LABELS[:, 1] - LABELS[:, 0]
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    pitch = -np.arcsin(y[:, 2])
    np.testing.assert_allclose(angles.pitch_deg, np.degrees(pitch))
    np.testing.assert_allclose(angles.yaw_deg, np.degrees(np.arcsin(y[:, 0] / np.cos(pitch))))


def test_bins_average_frames_within_the_edges() -> None:
    errors = np.array([[1.0, 3.0], [5.0, 5.0], [7.0, 9.0], [100.0, 100.0]])
    counts, means = metrics.mean_by_bin(errors, np.array([0.0, 1.9, 6.0, -3.0]), np.arange(0, 7, 2))
    assert counts.tolist() == [2, 0, 1]
    np.testing.assert_allclose(means, [3.5, np.nan, 8.0])
