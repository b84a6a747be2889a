from dataclasses import replace

import numpy as np
import pytest
import torch

from crossnets.geometry.skeleton import MSRA21
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import (
    ANGLES,
    DIP,
    DIP_PER_PIP,
    DIP_SPREAD_RAD,
    LIMITS_RAD,
    PIP,
    HandPose,
    bone,
    clamp,
    forward,
    natural,
    rotation_from_vector,
)
from tests.synth.hands import random_hands, to_torch


def test_numpy_and_torch_agree() -> None:
    shape, pose = random_hands(20)
    in_numpy = forward(shape, pose)
    in_torch = forward(to_torch(shape), to_torch(pose))
    for name, value in vars(in_numpy).items():
        np.testing.assert_allclose(value, getattr(in_torch, name).numpy(), rtol=0, atol=1e-5, err_msg=name)


def test_batches_agree_with_single_hands() -> None:
    shape, pose = random_hands(3)
    together = forward(shape, pose)
    alone = forward(*(replace(part, **{n: v[1] for n, v in vars(part).items()}) for part in (shape, pose)))
    np.testing.assert_allclose(together.origins_mm[1], alone.origins_mm, atol=1e-9)
    np.testing.assert_allclose(together.axes[1], alone.axes, atol=1e-12)


def test_bones_keep_their_lengths_and_axes_are_orthonormal() -> None:
    shape, pose = random_hands(50)
    frames = forward(shape, pose)
    for digit in range(5):
        origins = frames.origins_mm[:, bone(digit, 0) : bone(digit, 0) + 4]
        np.testing.assert_allclose(
            np.linalg.norm(np.diff(origins, axis=1), axis=-1), shape.bones_mm[:, digit, :3], atol=1e-9
        )
        step = origins[:, 1:] - origins[:, :-1]
        along = frames.axes[:, bone(digit, 0) : bone(digit, 3), :, 1] * shape.bones_mm[:, digit, :3, None]
        np.testing.assert_allclose(step, along, atol=1e-9)
    np.testing.assert_allclose(
        frames.axes @ frames.axes.swapaxes(-1, -2), np.broadcast_to(np.eye(3), frames.axes.shape), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(frames.axes), np.broadcast_to(shape.side[:, None], (50, 22)), atol=1e-9)


def test_left_hands_mirror_right_hands() -> None:
    shape, pose = random_hands(10)
    straight = HandPose(np.broadcast_to(np.eye(3), (10, 3, 3)), np.zeros((10, 3)), pose.angles_rad)
    right, left = (forward(replace(shape, side=np.full(10, side)), straight) for side in (1.0, -1.0))
    np.testing.assert_array_equal(right.origins_mm * [-1, 1, 1], left.origins_mm)
    np.testing.assert_array_equal(right.axes * np.array([[-1], [1], [1]]), left.axes)


@pytest.mark.parametrize("name", ["index_flexion", "index_pip", "little_dip", "thumb_ip_flexion"])
def test_flexion_closes_the_hand(name: str) -> None:
    shape, _ = random_hands(1)
    angles = np.zeros((1, len(ANGLES)))
    bent = angles.copy()
    bent[0, ANGLES.index(name)] = 0.5
    open_, closed = (
        forward(replace(shape, side=np.ones(1)), HandPose(np.eye(3)[None], np.zeros((1, 3)), a)) for a in (angles, bent)
    )
    moved = joints(closed, MSRA21)[0] - joints(open_, MSRA21)[0]
    tip = moved[MSRA21.joints.index(f"{name.partition('_')[0]}_tip")]
    assert tip[2] > 1  # towards the palm's side


def test_gradients_match_finite_differences() -> None:
    shape, pose = random_hands(2)
    shape, pose = to_torch(shape), to_torch(pose)

    def tips(angles: torch.Tensor, vector: torch.Tensor, bones_mm: torch.Tensor) -> torch.Tensor:
        moved = HandPose(rotation_from_vector(vector), pose.translation_mm, angles)
        return joints(forward(replace(shape, bones_mm=bones_mm), moved), MSRA21)

    inputs = (pose.angles_rad, torch.zeros(2, 3, dtype=torch.float64), shape.bones_mm)
    assert torch.autograd.gradcheck(tips, tuple(value.clone().requires_grad_() for value in inputs), atol=1e-4)


def test_natural_poses_respect_limits_and_coupling() -> None:
    rng = np.random.default_rng(0)
    wild = HandPose(np.eye(3), np.zeros(3), rng.uniform(-4, 4, (200, len(ANGLES))))
    for angles in (clamp(wild).angles_rad, natural(wild).angles_rad):
        assert np.all(angles >= LIMITS_RAD[:, 0] - 1e-12)
        assert np.all(angles <= LIMITS_RAD[:, 1] + 1e-12)
    angles = natural(wild).angles_rad
    assert np.all(np.abs(angles[:, DIP] - DIP_PER_PIP * angles[:, PIP]) < DIP_SPREAD_RAD + 1e-9)
    assert not np.isclose(angles, wild.angles_rad).all()
    still = HandPose(np.eye(3), np.zeros(3), np.zeros(len(ANGLES)))
    np.testing.assert_array_equal(natural(still).angles_rad, still.angles_rad)
