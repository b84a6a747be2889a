"""Surroundings of a hand: their places, their shares, and that they do not hide the hand."""

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import CVAR21, MSRA21
from crossnets.synth.casting.raster import crop_grid, render_crops, render_patches
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import forward
from crossnets.synth.hand.sampler import EGOCENTRIC, Scene, sample_views
from crossnets.synth.hand.surface import TOPOLOGY, surface
from crossnets.synth.surroundings.clutter import Clutter, Surroundings, hand_pixels, surround, without_hands
from crossnets.synth.surroundings.parts import HAND_SPHERES, PARTS, SPHERES, hidden_share, hide, hide_outside, nothing
from tests.synth.hands import signed_distance

CAMERA = CAMERAS["icvl-senz3d"]
NONE = Clutter(**{field.name: 0.0 for field in fields(Clutter)})
FULL = Clutter(**{field.name: 1.0 for field in fields(Clutter)})


def scene(n: int, seed: int = 0, left_share: float = 0.5) -> Scene:
    return sample_views(np.random.default_rng(seed), n, CAMERA, left_share=left_share)


def surrounded(views: Scene, clutter: Clutter, seed: int = 1) -> Surroundings:
    return surround(np.random.default_rng(seed), views, clutter, MSRA21)


def shown(mesh: SphereMesh, name: str) -> np.ndarray:
    return mesh.centers_mm[:, SPHERES[name].start].any(axis=1)


def test_parts_have_the_configured_shares() -> None:
    views = scene(400)
    bare, full = surrounded(views, NONE).mesh, surrounded(views, FULL).mesh
    assert [name for name in PARTS if shown(bare, name).any()] == ["hand"]
    for name in ("hand", "desk", "wall", "floor"):
        assert shown(full, name).all()
    for name, least in (("sleeve", 0.8), ("second_hand", 0.7), ("box", 0.3), ("bottle", 0.3), ("torso", 0.15)):
        assert least < shown(full, name).mean() < 1, name
    assert not shown(full, "torso")[views.kind == EGOCENTRIC].any()
    half = surrounded(views, replace(NONE, desk=0.5)).mesh
    assert shown(half, "desk").mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("clutter", [NONE, FULL])
def test_equal_seeds_give_equal_surroundings(clutter: Clutter) -> None:
    first, second = (surrounded(scene(9), clutter) for _ in range(2))
    assert_array_equal(first.mesh.centers_mm, second.mesh.centers_mm)
    assert_array_equal(first.second_joints_mm, second.second_joints_mm)


def test_pictures_of_left_hands_are_mirrored() -> None:
    right, left = (surrounded(scene(20, left_share=share), FULL) for share in (0.0, 1.0))
    flip = np.array([-1, 1, 1])
    assert_allclose(left.mesh.centers_mm, right.mesh.centers_mm * flip, atol=1e-9)
    assert_allclose(left.second_joints_mm, right.second_joints_mm * flip, atol=1e-9)
    assert_allclose(left.hanging_mm, right.hanging_mm * flip, atol=1e-9)


def test_surroundings_do_not_change_the_hand() -> None:
    views = scene(30)
    expected = surface(forward(views.shape, views.pose), views.shape)
    mesh = surrounded(views, FULL).mesh
    assert_allclose(mesh.centers_mm[:, :HAND_SPHERES], expected.centers_mm[:, :HAND_SPHERES], atol=1e-9)
    assert_allclose(mesh.radii_mm[:, :HAND_SPHERES], expected.radii_mm[:, :HAND_SPHERES], atol=1e-9)


def test_second_hands_do_not_overlap_or_hide_the_first() -> None:
    made = surrounded(scene(300), replace(NONE, second_hand=1.0))
    rows = np.flatnonzero(made.second)
    first, second = (made.mesh.centers_mm[rows, SPHERES[name]][:, :HAND_SPHERES] for name in ("hand", "second_hand"))
    radii = [made.mesh.radii_mm[rows, SPHERES[name]][:, :HAND_SPHERES] for name in ("hand", "second_hand")]
    gaps = np.linalg.norm(first[:, :, None] - second[:, None], axis=-1) - radii[0][:, :, None] - radii[1][:, None]
    nearest = gaps.min(axis=(1, 2))
    assert nearest.min() > -2
    assert (nearest < 1).mean() > 0.15
    assert np.median(nearest) < 150
    assert hidden_share(first, second, radii[1]).max() <= 0.2
    for k in rows[:8]:
        mesh = made.mesh.take(int(k))
        hand = SphereMesh(mesh.centers_mm[SPHERES["second_hand"]], mesh.radii_mm[SPHERES["second_hand"]], TOPOLOGY)
        assert signed_distance(made.second_joints_mm[k], hand).max() <= 0
    assert not made.second_joints_mm[~made.second].any()


def test_arms_join_hands_and_body() -> None:
    made = surrounded(scene(300), replace(FULL, second_hand=0.5))
    rows = shown(made.mesh, "torso")
    assert rows.sum() > 30
    for arm, hand, both in (("arm", "hand", rows), ("second_arm", "second_hand", rows & made.second)):
        elbow = made.mesh.centers_mm[both, SPHERES[hand]][:, HAND_SPHERES:].mean(axis=1)
        upper = made.mesh.centers_mm[both, SPHERES[arm]]
        assert_allclose(upper[:, 0], elbow, atol=1e-6)
        shoulder = made.mesh.centers_mm[both, SPHERES["torso"]][:, :2]
        assert np.linalg.norm(upper[:, 1:] - shoulder, axis=-1).min(axis=1).max() < 70
        assert np.linalg.norm(upper[:, 1] - upper[:, 0], axis=-1).max() < 1.5 * 290 * 1.3


@pytest.mark.parametrize("views", [0, 1, 2, 3])
def test_surroundings_hide_little_of_the_hand(views: int) -> None:
    drawn = scene(400, seed=5)
    rows = np.flatnonzero(drawn.kind == views)[:25]
    full, bare = (surrounded(drawn, clutter).mesh for clutter in (FULL, NONE))
    shares = []
    for row in rows:
        pixels = [
            hand_pixels(render_patches(mesh, CAMERA.pinhole, CAMERA.width_px, CAMERA.height_px).patch[0], mesh)[0]
            for mesh in (full.take(int(row)), bare.take(int(row)))
        ]
        shares.append(pixels[0] / pixels[1])
    assert np.median(shares) > 0.97
    assert np.percentile(shares, 10) > 0.7


def test_hiding_parts_outside_a_crop_does_not_change_it() -> None:
    drawn = scene(60, seed=2)
    mesh = surrounded(drawn, FULL).mesh
    centers = np.asarray(joints(forward(drawn.shape, drawn.pose), CVAR21)).mean(axis=1)
    cube = np.full(60, 250.0)
    whole = render_crops(mesh, CAMERA.pinhole, centers, cube, 48)
    size = (CAMERA.width_px, CAMERA.height_px)
    hide_outside(mesh, crop_grid(CAMERA.pinhole, centers, cube, 48, image_px=size), 0.0)
    assert_array_equal(render_crops(mesh, CAMERA.pinhole, centers, cube, 48), whole)
    assert not shown(mesh, "floor").all()
    assert not shown(mesh, "torso").all()


def test_pictures_without_hands_have_no_arms_below_the_elbow() -> None:
    made = surrounded(scene(40), FULL)
    bare = without_hands(made.mesh, made.hanging_mm)
    for name in PARTS:
        gone = name in ("hand", "sleeve", "second_hand", "second_sleeve")
        assert_array_equal(shown(bare, name), shown(made.mesh, name) & (not gone), err_msg=name)
    hit = render_patches(bare.take(0), CAMERA.pinhole, CAMERA.width_px, CAMERA.height_px)
    assert hand_pixels(hit.patch[0], bare) == (0, 0)


def test_hidden_parts_are_invisible() -> None:
    mesh = surrounded(scene(2), FULL).mesh
    hide(mesh, list(PARTS))
    for pictures in (mesh, nothing(2)):
        assert not render_patches(pictures.take(0), CAMERA.pinhole, 32, 24).depth_mm.any()


def test_invalid_shares_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"Clutter's wall=1\.5: expected a share"):
        Clutter(wall=1.5)
