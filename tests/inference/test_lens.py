"""The whole path through a lens: rendered hands at the image's edge, tracker, joints in pixels."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

import crossnets
from crossnets import Lens, LensCamera, Pinhole
from crossnets.geometry.camera import CAMERAS, as_camera, project
from crossnets.geometry.lens import ideal_image, lens_table
from crossnets.geometry.skeleton import MSRA21
from crossnets.inference.loading import candidates_of
from crossnets.inference.tracker import Image
from crossnets.synth.casting.raster import render, render_through_lens
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import forward
from crossnets.synth.hand.sampler import Views, sample_views
from crossnets.synth.hand.surface import surface

CAMERA = LensCamera(
    Pinhole(377.9, 377.9, 239.5, 215.5), Lens(4.725, 3.209, 0.0, 0.0, 0.171, 5.056, 4.776, 0.886), 480, 432
)
"""Azure Kinect's narrow mode, with larger pixels."""
HANDS, DISTANCE_MM, ASIDE = 12, 480.0, 0.5


class Shown(NamedTuple):
    raw_mm: np.ndarray
    ideal_mm: np.ndarray
    joints_mm: np.ndarray


@pytest.fixture(scope="module")
def shown() -> list[Shown]:
    """Open hands around the axis, whose middles are half of their distance beside it."""
    table = lens_table(CAMERA)
    height, width = table.pixel.shape
    views = Views(front=1.0, above=0.0, egocentric=0.0, uniform=0.0)
    shape, pose, _ = sample_views(
        np.random.default_rng(5), HANDS, CAMERAS["realsense-d435"], distance_mm=(480.0, 480.0), views=views
    )
    angles = np.linspace(0, 2 * np.pi, HANDS, endpoint=False)
    middles = DISTANCE_MM * np.stack([ASIDE * np.cos(angles), 0.35 * np.sin(angles), np.ones(HANDS)], axis=1)
    frames = forward(shape, pose)
    move = middles - np.asarray(joints(frames, MSRA21)).mean(axis=1)
    frames = forward(shape, replace(pose, translation_mm=pose.translation_mm + move))
    meshes, truth = surface(frames, shape), np.asarray(joints(frames, MSRA21))
    found = []
    for row in range(HANDS):
        mesh = SphereMesh(meshes.centers_mm[row], meshes.radii_mm[row], meshes.topology)
        found.append(Shown(render_through_lens(mesh, CAMERA), render(mesh, table.ideal, width, height), truth[row]))
    return found


def errors_mm(images: list[np.ndarray], camera: object, truth: list[np.ndarray]) -> np.ndarray:
    tracker = crossnets.load(hands=1)
    found = []
    for depth_mm, joints_mm in zip(images, truth, strict=True):
        hands = tracker.predict(depth_mm, camera)
        found.append(np.linalg.norm(hands[0].joints_mm - joints_mm, axis=1).mean() if hands else np.nan)
    return np.array(found)


def test_joints_are_as_exact_as_without_a_lens(shown: list[Shown]) -> None:
    truth = [one.joints_mm for one in shown]
    raw = [one.raw_mm for one in shown]
    ideal = errors_mm([one.ideal_mm for one in shown], lens_table(CAMERA).ideal, truth)
    with_lens = errors_mm(raw, CAMERA, truth)
    left_out = errors_mm(raw, CAMERA.pinhole, truth)
    assert np.isfinite(ideal).sum() >= HANDS - 2
    assert np.isfinite(with_lens).sum() >= np.isfinite(ideal).sum() - 1
    assert abs(np.nanmedian(with_lens - ideal)) < 1.0
    assert np.nanmedian(left_out - with_lens) > 5.0


def test_all_ways_to_give_a_lens_give_the_same_joints(shown: list[Shown]) -> None:
    tracker = crossnets.load(hands=1)
    fx, fy, cx, cy = CAMERA.pinhole
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    frame = crossnets.DepthFrame(shown[0].raw_mm, CAMERA, 0.0, 0)
    expected = tracker.predict(frame)[0]
    for camera in (CAMERA, (matrix, CAMERA.lens[:8]), [*CAMERA.pinhole, *CAMERA.lens[:8]]):
        (hand,) = tracker.predict(shown[0].raw_mm, camera)
        np.testing.assert_array_equal(hand.joints_mm, expected.joints_mm)
    tracker.reset()
    (followed,) = tracker.track(frame)
    np.testing.assert_array_equal(followed.joints_mm, expected.joints_mm)


def test_pixels_of_joints_belong_to_the_distorted_image(shown: list[Shown]) -> None:
    for one in shown[:4]:
        (hand,) = crossnets.load(hands=1).predict(one.raw_mm, CAMERA)
        np.testing.assert_allclose(hand.joints_px, project(hand.joints_mm, CAMERA)[:, :2], atol=1e-3)
        right = replace(hand, joints_mm=one.joints_mm.astype(np.float32))
        u, v = np.rint(right.joints_px).astype(int).T
        behind_mm = one.joints_mm[:, 2] - one.raw_mm[v, u]
        assert np.mean((behind_mm > -10) & (behind_mm < 40)) > 0.6
        assert hand.box[0] < hand.joints_px[:, 0].min()
        assert hand.draw(one.raw_mm).shape == (*one.raw_mm.shape, 3)


@pytest.mark.parametrize("how", ["detector", "image"])
def test_candidates_lie_on_the_hand(shown: list[Shown], how: str) -> None:
    candidates = candidates_of(how, crossnets.load().estimator)  # pyright: ignore[reportArgumentType]
    apart = []
    for one in shown:
        found = candidates.find(Image(one.raw_mm, CAMERA))
        ideal = candidates.find(Image(ideal_image(one.raw_mm, CAMERA)[0], lens_table(CAMERA).ideal))
        if found and ideal:
            apart.append(np.linalg.norm(found[0].center_mm - ideal[0].center_mm))
    assert len(apart) >= HANDS - 2
    assert np.median(apart) < 15  # left out, the lens moves them by 18 mm and more


def test_the_ideal_image_agrees_with_an_ideal_camera(shown: list[Shown]) -> None:
    for one in shown[:3]:
        found, camera = ideal_image(one.raw_mm, CAMERA)
        assert camera == lens_table(CAMERA).ideal
        seen = lens_table(CAMERA).pixel >= 0
        both = (found > 0) & (one.ideal_mm > 0) & seen
        assert both.sum() > 0.97 * ((one.ideal_mm > 0) & seen).sum()
        assert np.median(np.abs(found[both] - one.ideal_mm[both])) < 0.5


def test_predict_raises_for_a_lens_that_folds_the_image() -> None:
    with pytest.raises(ValueError, match="fold the image over"):
        crossnets.load().predict(np.full((240, 320), 500, np.uint16), [300, 300, 160, 120, -2.0, 0, 0, 0])


def test_as_camera_keeps_a_lens_camera() -> None:
    assert as_camera(CAMERA).camera == CAMERA
