"""Deviations that hold."""

import numpy as np
import pytest

from crossnets.inference.calibration import Errors, deviations, fitted
from crossnets.inference.detector import Detection
from crossnets.inference.estimator import CropEstimator, CropModel, Deviations, Raw, side_doubt
from crossnets.inference.hands import estimate_hands
from crossnets.types import DepthImage, HandFrame, Pinhole

CAMERA = Pinhole(400.0, 400.0, 160.0, 120.0)
CENTER_MM = np.array([0, 0, 500], np.float32)


def frames(count: int) -> list[HandFrame]:
    return [HandFrame(f"{k}", "a", np.full((240, 320), 500, np.float32), CAMERA, None) for k in range(count)]


def at_center(image: DepthImage) -> list[Detection]:
    return [Detection.at(CENTER_MM)]


def network(images: np.ndarray) -> Raw:
    count = len(images)
    spread = np.full((count, 21), np.log(0.1), np.float32)
    return Raw(np.zeros((count, 21, 3), np.float32), spread, np.zeros(count, np.float32), np.zeros(count))


@pytest.mark.parametrize("stated", [{"std_per_spread": 0.2}, {"std_per_spread": 0.6, "std_floor_mm": 2.0}])
def test_calibration_does_not_depend_on_the_present_deviations(stated: dict[str, float]) -> None:
    rng = np.random.default_rng(0)
    truth = np.tile(CENTER_MM, (200, 21, 1)) + rng.normal(0, 6.0, (200, 21, 3))
    truth[150:] += 200  # hands that were not found do not count
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric", **stated)
    estimator = CropEstimator(model, network)
    estimated = estimate_hands(estimator, frames(1)[0], at_center(frames(1)[0]))
    offset = estimated.estimates.joints_mm[0, 0] - CENTER_MM  # whole pixels of the image
    found = deviations(estimator, frames(200), at_center, truth + offset)
    expected_mm = np.full((1, 1), 0.1 * estimated.crops[0].cube_mm / 2)
    assert found.std_mm(expected_mm, np.zeros(1)) == pytest.approx(6.0, rel=0.03)


def test_a_floor_and_a_doubt_are_found() -> None:
    rng = np.random.default_rng(1)
    truth = Deviations(std_per_spread=0.5, std_floor_mm=3.0, std_of_doubt=1.0)
    count = 2000
    log_spread = rng.uniform(np.log(0.01), np.log(0.3), (count, 21)).astype(np.float32)
    side = np.where(rng.random(count) < 0.5, 8.0, rng.normal(0, 0.5, count)).astype(np.float32)
    half_mm = 100.0
    doubt = side_doubt(1 / (1 + np.exp(-side.astype(np.float64))))
    expected_mm = half_mm * np.exp(log_spread)
    std_mm = truth.std_mm(expected_mm, doubt)
    off_mm = np.abs(rng.normal(0, std_mm[..., None], (count, 21, 3)))
    found = fitted(Errors(expected_mm, off_mm, doubt))
    assert found.std_per_spread == pytest.approx(0.5, rel=0.05)
    assert found.std_floor_mm == pytest.approx(3.0, abs=0.5)
    assert found.std_of_doubt == pytest.approx(1.0, abs=0.2)


def test_a_model_without_deviations_raises() -> None:
    model = CropModel(preset="paper", skeleton="msra21")
    estimator = CropEstimator(model, lambda images: Raw(np.zeros((len(images), 21, 3), np.float32)))
    with pytest.raises(ValueError, match="preset paper does not estimate deviations"):
        deviations(estimator, frames(1), at_center, np.zeros((1, 21, 3)))


def test_calibration_without_a_detected_hand_raises() -> None:
    estimator = CropEstimator(CropModel(preset="crossnets", skeleton="msra21", normalisation="metric"), network)
    with pytest.raises(ValueError, match="The labelled hand was not detected in any of the 2 frames"):
        deviations(estimator, frames(2), at_center, np.zeros((2, 21, 3)))
