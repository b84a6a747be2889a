"""Angles, palm, pinch distances and gestures of hands whose joints are known."""

from dataclasses import replace

import numpy as np
import pytest

import crossnets
from crossnets.geometry.skeleton import CVAR21, MEDIAPIPE21, MSRA21
from crossnets.inference.articulation import Articulated
from crossnets.inference.hand import Hand
from crossnets.synth.hand.anthropometry import mean_shape
from crossnets.synth.hand.gestures import FAMILIES
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import HandPose, forward

CAMERA = crossnets.Pinhole(400.0, 400.0, 320.0, 240.0)


def joints_of(family: str, count: int = 50) -> np.ndarray:
    """Joints of right hands of one family, whose palms face +z and whose fingers point to +y."""
    angles = np.deg2rad(FAMILIES[family][1](np.random.default_rng(5), count))
    pose = HandPose(np.broadcast_to(np.eye(3), (count, 3, 3)), np.tile([0.0, 0.0, 500.0], (count, 1)), angles)
    return np.asarray(joints(forward(mean_shape(count), pose), MSRA21), np.float32)


@pytest.mark.parametrize(
    ("family", "gesture"), [("open", "open"), ("fist", "fist"), ("pointing", "point"), ("thumbs up", "thumb_up")]
)
def test_families_have_their_gestures(family: str, gesture: str) -> None:
    assert {Hand(one, MSRA21, CAMERA).gesture for one in joints_of(family)} == {gesture}


def test_a_right_angle_is_ninety_degrees_and_a_straight_finger_zero() -> None:
    joints_mm = joints_of("open", 1)[0].copy()
    knuckle = MSRA21.joints.index("index_mcp")
    steps = np.array([[0, 40, 0], [0, 0, 25], [0, 0, 20]], np.float32)
    joints_mm[knuckle + 1 : knuckle + 4] = joints_mm[knuckle] + np.cumsum(steps, axis=0)
    angles = Hand(joints_mm, MSRA21, CAMERA).angles_deg
    assert angles["index_pip"] == pytest.approx(90, abs=1e-3)
    assert angles["index_dip"] == pytest.approx(0, abs=1e-3)
    assert len(angles) == 15 + 4


def test_the_palm_faces_the_side_that_fingers_close_to() -> None:
    right = Hand(joints_of("open", 1)[0], MSRA21, CAMERA, side="right")
    left = replace(right, joints_mm=right.joints_mm * np.float32([-1, 1, 1]), side="left")
    for hand in (right, left):
        assert hand.palm is not None
        assert hand.palm.normal[2] > 0.95
        assert hand.palm.direction[1] > 0.95
        assert abs(float(hand.palm.normal @ hand.palm.direction)) < 1e-6
    assert replace(right, side=None).palm is None


def test_the_order_of_joints_does_not_matter() -> None:
    hand = Hand(joints_of("pinch", 1)[0], MSRA21, CAMERA)
    other = Hand(hand.joints("mediapipe"), MEDIAPIPE21, CAMERA)
    assert hand.pinch_mm == other.pinch_mm
    assert hand.angles_deg == other.angles_deg
    assert hand.pinch_mm["index"] == pytest.approx(float(np.linalg.norm(hand["thumb_tip"] - hand["index_tip"])))


def test_a_skeleton_without_a_wrist_has_no_gesture() -> None:
    hand = Hand(joints_of("open", 1)[0], CVAR21, CAMERA)
    assert hand.gesture is None
    with pytest.raises(ValueError, match="expected one with the wrist and four joints of each finger"):
        _ = hand.angles_deg


def test_a_gesture_is_kept_until_it_clearly_ends() -> None:
    start, end = joints_of("fist", 1)[0], joints_of("open", 1)[0]
    way = [
        Articulated((start + (end - start) * np.float32(share)).astype(np.float32), MSRA21)
        for share in np.linspace(0, 1, 101)
    ]
    left = next(number for number, one in enumerate(way) if one.gesture() != "fist")
    kept = next(number for number, one in enumerate(way) if one.gesture("fist") != "fist")
    assert 0 < left < kept < 100
