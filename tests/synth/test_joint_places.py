import numpy as np
import pytest

from crossnets.geometry.skeleton import FINGERS, ICVL16, MSRA21, NYU14, NYU36, Skeleton, joint_name
from crossnets.synth.hand.anthropometry import mean_shape
from crossnets.synth.hand.joint_places import PLACES, joints
from crossnets.synth.hand.kinematics import ANGLES, HandPose, forward


def flat_hand(skeleton: Skeleton) -> dict[str, np.ndarray]:
    """Joints of the mean right hand with straight fingers: x to the thumb, y to the fingers, z out of the palm."""
    pose = HandPose(np.eye(3), np.zeros(3), np.zeros(len(ANGLES)))
    return dict(zip(skeleton.joints, joints(forward(mean_shape(), pose), skeleton), strict=True))


def test_palm_of_nyu_has_the_proportions_of_the_labelling_hand() -> None:
    # PALM_1 to PALM_6 of the published tracker in its units: to the little side, to the fingers, out of the palm.
    published = {
        "wrist_little_side": (0.305, 0.1, 0.064),
        "wrist_thumb_side": (-0.305, 0.1, 0.064),
        "palm": (0, 1.467, 0),
        "palm_little_side": (0.4095, 1.307, 0.2),
        "palm_thumb_side": (0, 0.986, 0),
        "wrist": (0, 0, 0),
    }
    ours = flat_hand(NYU36)
    unit_mm = 57 / (2 * (0.305 + 0.25))  # the ratio of the widths of both wrists
    for name, place in published.items():
        np.testing.assert_allclose(ours[name], np.array(place) * unit_mm * (-1, 1, 1), atol=2.5, err_msg=name)


@pytest.mark.parametrize("finger", FINGERS)
def test_joints_of_icvl_lie_in_the_middle_of_bones(finger: str) -> None:
    bones, places = flat_hand(NYU36), flat_hand(ICVL16)
    for part, start, end in (("base", "mcp", "pip"), ("mid", "pip", "dip")):
        middle = (bones[joint_name(finger, start)] + bones[joint_name(finger, end)]) / 2
        np.testing.assert_allclose(places[f"{finger}_{part}"], middle, atol=1e-9)


@pytest.mark.parametrize("finger", FINGERS)
def test_finger_joints_of_nyu_and_msra_are_equal(finger: str) -> None:
    nyu, msra = flat_hand(NYU36), flat_hand(MSRA21)
    for part in ("mcp", "pip", "dip", "tip"):
        name = joint_name(finger, part)
        np.testing.assert_allclose(nyu[name], msra[name])


def test_evaluated_joints_are_a_subset_of_all_joints() -> None:
    every, evaluated = flat_hand(NYU36), flat_hand(NYU14)
    for name, place in evaluated.items():
        np.testing.assert_array_equal(place, every[name])


def test_finger_joints_of_test_skeletons_are_anatomical() -> None:
    for skeleton in (NYU36, ICVL16):
        fingers = [k for k, name in enumerate(skeleton.joints) if name.split("_")[0] in FINGERS]
        across_and_through = PLACES[skeleton.name].offsets_mm[fingers][:, [0, 2]]
        np.testing.assert_array_equal(across_and_through, 0.0)
