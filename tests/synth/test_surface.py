import numpy as np
import pytest

from crossnets.geometry.skeleton import SKELETONS
from crossnets.synth.hand.anthropometry import mean_shape
from crossnets.synth.hand.joint_places import PLACES, joints
from crossnets.synth.hand.kinematics import ANGLES, HandPose, forward
from crossnets.synth.hand.surface import NAMES, TOPOLOGY, spheres, surface
from tests.synth.hands import random_hands, signed_distance, to_torch


def test_every_sphere_is_part_of_a_hull() -> None:
    used = set(TOPOLOGY.capsules.ravel()) | set(TOPOLOGY.wedges.ravel())
    assert used == set(range(len(NAMES)))
    assert len(NAMES) == len(set(NAMES))


def test_surfaces_of_numpy_and_torch_agree() -> None:
    shape, pose = random_hands(10)
    shape_torch = to_torch(shape)
    mesh = surface(forward(shape, pose), shape)
    in_torch = spheres(forward(shape_torch, to_torch(pose)), shape_torch)
    np.testing.assert_allclose(mesh.centers_mm, in_torch.centers_mm.numpy(), atol=1e-5)
    np.testing.assert_allclose(mesh.radii_mm, in_torch.radii_mm.numpy(), atol=1e-5)
    assert mesh.radii_mm.min() > 2


@pytest.mark.parametrize("name", SKELETONS)
def test_joints_lie_inside_the_surface(name: str) -> None:
    shape, pose = random_hands(12)
    frames = forward(shape, pose)
    mesh = surface(frames, shape)
    points = joints(frames, SKELETONS[name])
    assert points.shape == (12, len(SKELETONS[name]), 3)
    for k in range(12):
        outside = signed_distance(points[k], mesh.take(k))
        assert outside.max() <= 0, SKELETONS[name].joints[int(outside.argmax())]


def test_fingertips_end_at_the_end_of_the_bones() -> None:
    shape = mean_shape()
    straight = np.zeros(len(ANGLES))
    frames = forward(shape, HandPose(np.eye(3), np.zeros(3), straight))
    mesh = surface(frames, shape)
    tip = NAMES.index("middle_tip")
    end = frames.origins_mm[12] + frames.axes[12, :, 1] * frames.lengths_mm[12]
    reach = (mesh.centers_mm[tip] - end) @ frames.axes[12, :, 1] + mesh.radii_mm[tip]
    assert float(reach) == pytest.approx(0, abs=1e-9)


def test_forearms_have_the_given_length() -> None:
    straight = np.zeros((1, len(ANGLES)))
    for length in (5.0, 200.0):
        shape = mean_shape(1, forearm_mm=length)
        frames = forward(shape, HandPose(np.eye(3)[None], np.zeros((1, 3)), straight))
        elbow = surface(frames, shape).centers_mm[0, -2:]
        np.testing.assert_allclose(elbow[:, 1], -length)


def test_every_skeleton_has_places() -> None:
    assert set(PLACES) == set(SKELETONS)
