"""Deviations that hold."""

import numpy as np
import pytest

from crossnets.inference.calibration import std_per_spread
from crossnets.inference.detector import Detection
from crossnets.inference.estimator import CropEstimator, CropModel, Raw
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


@pytest.mark.parametrize("stated", [0.2, 0.6])
def test_calibration_does_not_depend_on_the_present_scale(stated: float) -> None:
    rng = np.random.default_rng(0)
    truth = np.tile(CENTER_MM, (200, 21, 1)) + rng.normal(0, 6.0, (200, 21, 3))
    truth[150:] += 200  # hands that were not found do not count
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric", std_per_spread=stated)
    estimator = CropEstimator(model, network)
    estimated = estimate_hands(estimator, frames(1)[0], at_center(frames(1)[0]))
    offset = estimated.estimates.joints_mm[0, 0] - CENTER_MM  # whole pixels of the image
    factor = std_per_spread(estimator, frames(200), at_center, truth + offset)
    assert factor * 0.1 * estimated.crops[0].cube_mm / 2 == pytest.approx(6.0, rel=0.03)


def test_a_model_without_deviations_raises() -> None:
    model = CropModel(preset="paper", skeleton="msra21")
    estimator = CropEstimator(model, lambda images: Raw(np.zeros((len(images), 21, 3), np.float32)))
    with pytest.raises(ValueError, match="preset paper does not estimate deviations"):
        std_per_spread(estimator, frames(1), at_center, np.zeros((1, 21, 3)))


def test_calibration_without_a_detected_hand_raises() -> None:
    estimator = CropEstimator(CropModel(preset="crossnets", skeleton="msra21", normalisation="metric"), network)
    with pytest.raises(ValueError, match="The labelled hand was not detected in any of the 2 frames"):
        std_per_spread(estimator, frames(2), at_center, np.zeros((2, 21, 3)))
