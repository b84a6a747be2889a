"""Properties of the geometry: maps and their inverses, on cameras, lenses and cubes that Hypothesis draws."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crossnets.datasets import recording_format
from crossnets.geometry.camera import CameraPreset, as_camera, parse_camera, project, unproject
from crossnets.geometry.crop import crop_hand, image_to_crop_px, normalise, turned_px
from crossnets.geometry.cube import into_cubes, out_of_cubes, views_at, views_of
from crossnets.geometry.lens import distort, lens_of, lens_table, ray_at, undistort
from crossnets.geometry.pose import denormalise_pose, normalise_pose
from crossnets.geometry.skeleton import MSRA21, Skeleton
from crossnets.inference.loading import open_estimator
from crossnets.types import Lens, LensCamera, Pinhole
from tests.properties.drawing import (
    cameras,
    counts,
    depth_seeds,
    joints_of,
    lenses,
    numbers,
    pinholes,
    points,
    skeletons,
    unless_refused,
)


@given(points(7), pinholes)
def test_unproject_inverts_project(points_mm: np.ndarray, camera: Pinhole) -> None:
    uvd = project(points_mm, camera)
    np.testing.assert_allclose(unproject(uvd, camera), points_mm, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(project(unproject(uvd, camera), camera), uvd, rtol=1e-9, atol=1e-6)


@given(points(7), pinholes, numbers(0.1, 10))
def test_points_of_one_ray_share_a_pixel(points_mm: np.ndarray, camera: Pinhole, factor: float) -> None:
    nearer = project(points_mm, camera)
    farther = project(points_mm * factor, camera)
    np.testing.assert_allclose(farther[:, :2], nearer[:, :2], rtol=1e-9, atol=1e-6)


@given(arrays.arrays(np.float64, (9, 2), elements=numbers(-3, 3)), lenses)
def test_undistort_gives_the_ray_of_a_place_or_none(places: np.ndarray, lens: Lens) -> None:
    rays = undistort(places, lens)
    known = np.isfinite(rays).all(axis=1)
    np.testing.assert_allclose(distort(rays[known], lens), places[known], atol=1e-6)
    # The axis itself has a ray in every lens.
    np.testing.assert_allclose(undistort(np.zeros((1, 2)), lens), 0, atol=1e-9)


@given(arrays.arrays(np.float64, (9, 2), elements=numbers(-0.5, 0.5)), numbers(0.0, 0.3), numbers(0.0, 0.3))
def test_lenses_that_widen_are_inverted_everywhere(rays: np.ndarray, k1: float, k2: float) -> None:
    lens = Lens(k1, k2, 0.002, -0.001)
    np.testing.assert_allclose(undistort(distort(rays, lens), lens), rays, atol=1e-7)


@given(lenses, numbers(20, 80), numbers(10, 20), numbers(8, 15))
def test_a_lens_is_refused_or_its_table_is_exact(lens: Lens, focal_px: float, cx: float, cy: float) -> None:
    camera = LensCamera(Pinhole(focal_px, focal_px, cx, cy), lens, 32, 24)
    table = unless_refused(lambda: lens_table.__wrapped__(camera), "lens coefficients")
    if table is None:
        return
    rows, columns = np.nonzero(np.isfinite(table.rays[..., 0]))
    rays = np.concatenate([table.rays[rows, columns], np.ones((len(rows), 1), np.float32)], axis=1)
    np.testing.assert_allclose(
        project(rays.astype(np.float64), camera)[:, :2], np.stack([columns, rows], axis=1), atol=0.01
    )
    shown = table.pixel[table.pixel >= 0]
    assert shown.size == 0 or shown.max() < 32 * 24


@given(points(1), pinholes, numbers(50, 500), st.sampled_from([16, 31, 128]), depth_seeds)
def test_a_crop_and_its_maps(center: np.ndarray, camera: Pinhole, cube_mm: float, size_px: int, seed: int) -> None:
    depth_mm = counts(seed, 24, 32, 6000).astype(np.float32)
    crop = crop_hand(depth_mm, camera, center[0], cube_mm, size_px)
    z = float(center[0, 2])
    kept = crop.depth_mm[crop.depth_mm > 0]
    assert crop.depth_mm.shape == (size_px, size_px)
    assert kept.size == 0 or (kept.min() >= np.float32(z - cube_mm / 2) and kept.max() <= z + cube_mm / 2 + 1e-3)
    for how in ("metric", "per-frame"):
        image = normalise(crop, how)
        assert np.isfinite(image).all()
        # Per frame, the divisor is the farthest depth. Rounding to float32 exceeds the range by its last bits.
        assert np.abs(image).max() <= 1 + 1e-5
    pixels = project(points_about(center[0], cube_mm), camera)[:, :2]
    in_crop = np.column_stack([image_to_crop_px(pixels, crop), np.ones(len(pixels))])
    back = in_crop @ np.linalg.inv(crop.to_crop_px).T
    np.testing.assert_allclose(back[:, :2], pixels, rtol=1e-9, atol=1e-6)


def points_about(center: np.ndarray, cube_mm: float) -> np.ndarray:
    """Corners of a cube's front, in mm."""
    return center + cube_mm / 2 * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])


@given(st.data(), pinholes, points(3), numbers(50, 500))
def test_cubes_are_left_as_they_were_entered(
    data: st.DataObject, camera: Pinhole, centers: np.ndarray, cube_mm: float
) -> None:
    joints_mm = np.stack([data.draw(joints_of(MSRA21)) for _ in centers])
    views = views_at([camera], centers, np.full(3, cube_mm))
    np.testing.assert_allclose(out_of_cubes(into_cubes(joints_mm, views), views), joints_mm, rtol=1e-9, atol=1e-6)
    one = views_of([crop_hand(np.zeros((4, 4), np.float32), camera, center, cube_mm) for center in centers])
    for found, expected in zip(one, views, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)  # a crop has its centre in float32
    middle = into_cubes(centers[:, None], views)[:, 0, 2]
    np.testing.assert_allclose(middle, 0, atol=1e-9)


@given(pinholes, points(5), numbers(-3.2, 3.2), st.booleans())
def test_turned_pixels_are_those_of_turned_points(
    camera: Pinhole, points_mm: np.ndarray, angle: float, mirrored: bool
) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        turn[:, 0] *= -1
    turned_mm = np.concatenate([points_mm[:, :2] @ turn.T, points_mm[:, 2:]], axis=1)
    pixels = np.concatenate([project(points_mm, camera)[:, :2], np.ones((5, 1))], axis=1)
    expected = project(turned_mm, camera)[:, :2]
    np.testing.assert_allclose((pixels @ turned_px(camera, turn).T)[:, :2], expected, rtol=1e-9, atol=1e-5)


@given(st.data(), skeletons, points(1))
def test_poses_are_denormalised_as_they_were(data: st.DataObject, skeleton: Skeleton, center: np.ndarray) -> None:
    joints_mm = data.draw(joints_of(skeleton))
    pose = normalise_pose(joints_mm, center[0], skeleton.reference)
    assert not pose.y[skeleton.reference].any()
    np.testing.assert_allclose(denormalise_pose(pose, center[0]), joints_mm, rtol=1e-9, atol=1e-6)


# --- skeletons ---


@given(skeletons, skeletons)
def test_shared_joints_are_the_same_from_both_sides(one: Skeleton, other: Skeleton) -> None:
    shared = unless_refused(lambda: one.shared_with(other), "have no joint")
    assert (shared is None) == (not set(one.joints) & set(other.joints))
    if shared is None:
        return
    here, there = shared
    assert [one.joints[i] for i in here] == [other.joints[i] for i in there]
    assert set(zip(here, there, strict=True)) == {(a, b) for b, a in zip(*other.shared_with(one), strict=True)}
    order = one.order_of(other)
    assert (order is None) == (set(one.joints) != set(other.joints))
    if order is not None:
        back = other.order_of(one)
        assert back is not None
        assert tuple(back[i] for i in order) == tuple(range(len(other)))


@pytest.fixture(scope="module")
def maps() -> dict[str, np.ndarray]:
    return dict(open_estimator().maps)


@given(st.data(), points(1))
def test_maps_between_skeletons_move_with_the_hand(
    maps: dict[str, np.ndarray], data: st.DataObject, shift: np.ndarray
) -> None:
    joints_mm = data.draw(joints_of(MSRA21))
    weights = maps[data.draw(st.sampled_from(sorted(maps)))]
    moved = weights @ (joints_mm + shift)
    np.testing.assert_allclose(moved, weights @ joints_mm + shift, atol=1e-4 * np.abs(shift).max() + 1e-2)


# --- cameras as text, numbers and files ---


@given(cameras(st.integers(1, 4096)))
def test_cameras_are_read_as_they_were_written(camera: CameraPreset) -> None:
    numbers_of = ",".join(map(repr, camera.pinhole))
    lens = camera.lens._replace(modified=False) if camera.lens is not None else None
    text = f"{numbers_of},{camera.depth_unit_mm!r}"
    if lens is not None:
        text += ":" + ",".join(map(repr, lens[:8]))
    parsed = parse_camera(text)
    assert (parsed.pinhole, parsed.lens, parsed.depth_unit_mm) == (camera.pinhole, lens, camera.depth_unit_mm)
    given_numbers = [*camera.pinhole, *(lens[:8] if lens is not None else ())]
    assert as_camera(given_numbers)[:1] == (camera.pinhole,)
    assert as_camera(given_numbers).lens == lens
    assert as_camera(camera.camera).camera == camera.camera
    fields = json.loads(json.dumps(recording_format.camera_fields(camera, "name")))
    assert recording_format.parse_camera(fields, Path("camera.json"))[:4] == camera[:4]
    assert recording_format.parse_camera(fields, Path("camera.json")).lens == camera.lens


@given(cameras(st.integers(1, 4096)))
def test_intrinsics_of_realsense_are_taken_over(camera: CameraPreset) -> None:
    assume(camera.lens is None or not any(camera.lens[5:8]))
    lens = camera.lens
    model = "brown_conrady" if lens is None or not lens.modified else "modified_brown_conrady"
    fx, fy, ppx, ppy = camera.pinhole
    given_ones = SimpleNamespace(
        fx=fx,
        fy=fy,
        ppx=ppx,
        ppy=ppy,
        width=camera.width_px,
        height=camera.height_px,
        model=f"distortion.{model}",
        coeffs=[0.0] * 5 if lens is None else list(lens[:5]),
    )
    assert as_camera(given_ones).camera == camera.camera


@given(st.lists(st.floats() | st.none() | st.text(max_size=3), max_size=10))
def test_coefficients_are_finite_numbers_of_a_known_count_or_refused(coefficients: list[Any]) -> None:
    lens = unless_refused(lambda: lens_of(coefficients), "Expected 4, 5 or 8 finite numbers")
    assert lens is None or all(map(np.isfinite, lens))


@given(numbers(0, 31), numbers(0, 23))
def test_rays_between_pixels_lie_between_their_rays(u: float, v: float) -> None:
    camera = LensCamera(Pinhole(30.0, 30.0, 15.5, 11.5), Lens(0.1, 0.02, 0.0, 0.0), 32, 24)
    expected = unproject(np.array([u, v, 1.0]), camera)[:2]
    np.testing.assert_allclose(ray_at(u, v, camera), expected, atol=2e-3)
