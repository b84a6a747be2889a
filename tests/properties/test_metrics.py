"""Properties of the metrics, on errors that Hypothesis draws."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crossnets import metrics
from tests.properties.drawing import numbers

poses = arrays.arrays(np.float64, (4, 5, 3), elements=numbers(-300, 300))
errors = arrays.arrays(np.float64, (4, 5), elements=numbers(0, 120))


@given(poses, poses, numbers(-3, 3), arrays.arrays(np.float64, 3, elements=numbers(-900, 900)))
def test_errors_are_those_of_distances(
    predicted: np.ndarray, labels: np.ndarray, angle: float, shift: np.ndarray
) -> None:
    found = metrics.joint_errors_mm(predicted, labels)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(metrics.joint_errors_mm(labels, predicted), found)
    np.testing.assert_allclose(
        metrics.joint_errors_mm(predicted @ turn + shift, labels @ turn + shift), found, atol=1e-6
    )
    assert (metrics.joint_errors_mm(labels, labels) == 0).all()


@given(errors)
def test_success_grows_with_the_threshold(errors_mm: np.ndarray) -> None:
    frames, joints = metrics.frame_success(errors_mm), metrics.joint_success(errors_mm)
    for curve in (frames, joints):
        assert (np.diff(curve) >= 0).all()
        assert 0 <= curve[0] <= curve[-1] <= 1
        assert curve[0] - 1e-12 <= metrics.area_under_curve(curve) <= curve[-1] + 1e-12
    assert (frames <= joints + 1e-12).all()
    better = metrics.joint_success(errors_mm / 2)
    assert (better >= joints).all()


@given(poses, poses, st.integers(0, 4), arrays.arrays(np.float64, (4, 1, 3), elements=numbers(-900, 900)))
def test_aligned_roots_do_not_depend_on_the_place(
    predicted: np.ndarray, labels: np.ndarray, reference: int, shift: np.ndarray
) -> None:
    aligned = metrics.align_roots(predicted, labels, reference)
    np.testing.assert_allclose(aligned[:, reference], labels[:, reference], atol=1e-9)
    np.testing.assert_allclose(metrics.align_roots(predicted + shift, labels, reference), aligned, atol=1e-9)


@given(poses, poses, st.integers(0, 4), numbers(0.2, 5))
def test_aligned_scales_are_the_best_ones(
    predicted: np.ndarray, labels: np.ndarray, reference: int, factor: float
) -> None:
    def power(joints: np.ndarray) -> np.ndarray:
        return ((joints - labels) ** 2).sum((1, 2))

    scaled = metrics.align_roots_and_scale(predicted, labels, reference)
    assert (power(scaled) <= power(metrics.align_roots(predicted, labels, reference)) + 1e-6).all()
    again = metrics.align_roots_and_scale(predicted * factor, labels, reference)
    np.testing.assert_allclose(again, scaled, atol=1e-6)


@given(poses)
def test_palms_point_somewhere(joints_mm: np.ndarray) -> None:
    angles = metrics.palm_angles(joints_mm, (0, 1, 2))
    for angle in angles:
        assert np.isfinite(angle).all()
        assert (np.abs(angle) <= 90).all()
    mirrored = metrics.palm_angles(joints_mm * np.array([-1, 1, 1]), (0, 1, 2))
    np.testing.assert_allclose(mirrored.yaw_deg, -angles.yaw_deg, atol=1e-9)
    np.testing.assert_allclose(mirrored.pitch_deg, angles.pitch_deg, atol=1e-9)


@given(errors, arrays.arrays(np.float64, 4, elements=numbers(-90, 90)))
def test_bins_hold_every_frame_once(errors_mm: np.ndarray, angle_deg: np.ndarray) -> None:
    number, mean = metrics.mean_by_bin(errors_mm, angle_deg, np.arange(-90, 91, 30))
    assert number.sum() == 4
    assert (np.isnan(mean) == (number == 0)).all()
    np.testing.assert_allclose((number * np.nan_to_num(mean)).sum() / 4, errors_mm.mean(), atol=1e-9)


@given(poses, poses, arrays.arrays(np.float64, (4, 5), elements=numbers(0.5, 40)), numbers(1, 9))
def test_coverage_grows_with_the_deviation(
    predicted: np.ndarray, labels: np.ndarray, std_mm: np.ndarray, factor: float
) -> None:
    found = metrics.coverage(predicted, labels, std_mm)
    assert (np.diff(found) >= 0).all()
    assert (metrics.coverage(predicted, labels, std_mm * factor) >= found).all()
    assert metrics.gaussian_coverage(1.0) < metrics.gaussian_coverage(factor + 1.0) <= 1
