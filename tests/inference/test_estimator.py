"""What the estimator says of whether something is a hand."""

from typing import Any

import numpy as np
import pytest

from crossnets.inference.detector import Detection
from crossnets.inference.estimator import CropEstimator, CropModel, Estimates, Raw, hand_odds, unsure_share
from crossnets.inference.predict import predict_frames
from crossnets.types import HandFrame, Pinhole

CAMERA = Pinhole(240.0, 240.0, 160.0, 120.0)


def estimates(std_mm: float, size_mm: float = 180.0, joint: float = 1.0) -> Estimates:
    joints = np.full((1, 21, 3), joint, np.float32)
    return Estimates(joints, np.full((1, 21), std_mm, np.float32), None, np.array([size_mm], np.float32))


@pytest.mark.parametrize(
    ("score", "std_mm", "size_mm", "is_hand"),
    [
        (0.8, 7.0, 180.0, True),
        (0.3, 4.0, 180.0, True),  # the detector doubts, the estimator does not
        (0.3, 14.0, 180.0, False),
        (0.6, 18.0, 180.0, False),
        (0.6, 12.0, 280.0, True),  # as sure, for a hand of that size
        (0.6, 12.0, 120.0, False),
    ],
)
def test_a_hand_is_what_both_networks_agree_on(score: float, std_mm: float, size_mm: float, is_hand: bool) -> None:
    assert (hand_odds(estimates(std_mm, size_mm), [score])[0] > 0) == is_hand


def test_joints_that_are_no_numbers_are_no_hand() -> None:
    assert hand_odds(estimates(1.0, joint=np.nan), [0.99])[0] == -np.inf
    assert unsure_share(estimates(1.0, joint=np.nan))[0] == np.inf


def test_without_deviations_the_score_decides_alone() -> None:
    joints = np.zeros((2, 21, 3), np.float32)
    assert (hand_odds(Estimates(joints), [0.4, 0.5]) > 0).tolist() == [False, True]
    assert np.isfinite(hand_odds(Estimates(joints), [0.0, 1.0])).all()


class NearIsSure:
    """A network that is sure of what lies in the nearer half of its crop."""

    def __call__(self, images: np.ndarray) -> Raw:
        count = len(images)
        nearest = images.min(axis=(1, 2, 3))
        spread = np.where(nearest < -0.5, np.log(0.02), np.log(0.5))[:, None] * np.ones((1, 21))
        joints = np.zeros((count, 21, 3), np.float32)
        return Raw(joints, spread.astype(np.float32), np.zeros(count), np.full(count, np.log(0.75)))


@pytest.mark.parametrize("sure", [True, False])
def test_of_several_places_the_likeliest_is_predicted(sure: bool) -> None:
    depth = np.zeros((240, 320), np.float32)
    depth[60:120, 60:120], depth[60:120, 200:260] = 600, 500
    frame = HandFrame("one", "", depth, CAMERA, None)
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric")
    estimator = CropEstimator(model, NearIsSure())
    places = {600.0: 90, 500.0: 230}

    def finder(depth_mm: np.ndarray, camera: Pinhole) -> list[Detection]:
        """The far square first, by score; of the near one the centre lies behind, where the network is sure."""
        out = []
        for (z, u), score, behind in zip(places.items(), (0.7, 0.6), (0.0, 100.0), strict=True):
            at = np.array([(u - 160) / 240 * z, (90 - 120) / 240 * z, z + behind], np.float32)
            out.append(Detection(at, score, 0.5, 180.0))
        return out if not lonely else out[:1]

    options: dict[str, Any] = {"finder": finder, "sure_of_a_hand": sure}
    lonely = False
    (found,) = predict_frames(estimator, [frame], **options)
    assert found.center_mm is not None
    assert found.center_mm[2] == 600.0
    assert found.center_mm[0] > 0
    lonely = True
    (found,) = predict_frames(estimator, [frame], **options)
    assert (found.joints_mm is not None) == sure, "an unlikely hand is one only where every frame shows one"
