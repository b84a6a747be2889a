"""Sampled hands are possible, visible and reproducible."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crossnets.geometry.camera import CAMERAS, parse_camera, project
from crossnets.geometry.skeleton import MSRA21
from crossnets.synth.hand.anthropometry import mean_shape, sample_shape
from crossnets.synth.hand.gestures import FAMILIES, draw_angles, relaxed_angles
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import ANGLES, FOREARM, LIMITS_RAD, forward
from crossnets.synth.hand.sampler import (
    Views,
    draw_kinds,
    draw_rotations,
    passes_through_itself,
    sample_angles,
    sample_views,
    take,
)
from crossnets.synth.hand.surface import surface

CAMERA = CAMERAS["realsense-sr300"]


def test_hands_respect_limits_and_do_not_pass_through_themselves() -> None:
    rng = np.random.default_rng(0)
    shape = replace(sample_shape(rng, 1000), side=np.ones(1000))
    angles = sample_angles(rng, shape)
    assert (angles >= LIMITS_RAD[:, 0] - 1e-9).all()
    assert (angles <= LIMITS_RAD[:, 1] + 1e-9).all()
    assert passes_through_itself(shape, angles).mean() < 0.01


def test_poses_are_diverse() -> None:
    rng = np.random.default_rng(1)
    angles = np.rad2deg(sample_angles(rng, replace(sample_shape(rng, 1000), side=np.ones(1000))))
    for finger in ("index", "middle", "ring", "little"):
        flexion = angles[:, ANGLES.index(f"{finger}_flexion")]
        pip = angles[:, ANGLES.index(f"{finger}_pip")]
        assert np.percentile(flexion, 5) < 5
        assert np.percentile(flexion, 95) > 65
        assert np.percentile(pip, 95) > 80
    assert len(np.unique(angles.round(3), axis=0)) > 950


@pytest.mark.parametrize("family", FAMILIES)
def test_families_contain_possible_hands(family: str) -> None:
    index = list(FAMILIES).index(family)
    drawn = draw_angles(np.random.default_rng(2), np.full(300, index))
    assert drawn.shape == (300, len(ANGLES))
    assert np.isfinite(drawn).all()
    shape = take(mean_shape(1), np.zeros(300, int))
    assert passes_through_itself(shape, np.clip(drawn, *LIMITS_RAD.T)).mean() < 0.8


def test_crossed_fingers_are_detected() -> None:
    shape = mean_shape(2)
    angles = relaxed_angles(2)
    angles[1, ANGLES.index("index_deviation")] = np.deg2rad(-25)
    angles[1, ANGLES.index("middle_deviation")] = np.deg2rad(25)
    assert_array_equal(passes_through_itself(shape, angles), [False, True])


def test_equal_seeds_give_equal_scenes() -> None:
    first, second = (sample_views(np.random.default_rng(5), 20, CAMERA)[:2] for _ in range(2))
    for one, two in zip(first, second, strict=True):
        for name, part in vars(one).items():
            assert_array_equal(part, getattr(two, name))


def test_left_hands_mirror_right_hands() -> None:
    right, left = (
        joints(forward(*sample_views(np.random.default_rng(6), 20, CAMERA, left_share=share)[:2]), MSRA21)
        for share in (0.0, 1.0)
    )
    assert_allclose(left, right * np.array([-1, 1, 1]), atol=1e-9)


@pytest.mark.parametrize("distance_mm", [(250.0, 1000.0), (400.0, 400.0)])
def test_hands_are_in_the_image_and_at_the_given_distance(distance_mm: tuple[float, float]) -> None:
    shape, pose, _ = sample_views(np.random.default_rng(7), 200, CAMERA, distance_mm=distance_mm)
    frames = forward(shape, pose)
    mesh = surface(frames, shape)
    centers, radii = mesh.centers_mm[:, :-2], mesh.radii_mm[:, :-2]
    middle = (centers.min(axis=1) + centers.max(axis=1)) / 2
    assert middle[:, 2].min() >= distance_mm[0] - 1
    assert middle[:, 2].max() <= distance_mm[1] + 1
    assert (centers[..., 2] - radii).min() > 100
    far = middle[:, 2] > 350
    u, v, _ = np.moveaxis(project(centers, CAMERA.pinhole), -1, 0)
    inside = (u > 0) & (u < CAMERA.width_px - 1) & (v > 0) & (v < CAMERA.height_px - 1)
    assert inside[far].all()
    assert inside.mean() > 0.99
    elbow = frames.origins_mm[:, FOREARM] + frames.axes[:, FOREARM, :, 1] * frames.lengths_mm[:, FOREARM, None]
    assert elbow[:, 2].min() > 100


def test_rotations_are_proper_and_views_differ() -> None:
    for views in (Views(), Views(front=1.0, above=0.0, egocentric=0.0, uniform=0.0)):
        rng = np.random.default_rng(9)
        rotations = draw_rotations(rng, draw_kinds(rng, 500, views))
        assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (500, 3, 3)), atol=1e-9)
        assert_allclose(np.linalg.det(rotations), 1)
    assert (rotations[:, 1, 1] < 0).mean() > 0.9  # fingers up
    assert (rotations[:, 2, 2] < 0).mean() > 0.6  # palm towards the camera


def test_invalid_distances_and_unknown_image_sizes() -> None:
    rng = np.random.default_rng(10)
    with pytest.raises(ValueError, match="at least 200 mm, in order"):
        sample_views(rng, 2, CAMERA, distance_mm=(900.0, 300.0))
    shape, pose, _ = sample_views(rng, 50, parse_camera("475,475,320,240"))
    hand_mm = joints(forward(shape, pose), MSRA21)
    assert np.abs(hand_mm[..., :2] / hand_mm[..., 2:]).max() < 0.36  # the assumed view of a camera without image size
