import numpy as np
from numpy.testing import assert_array_equal

from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import MSRA21
from crossnets.synth.casting.raster import render_patches
from crossnets.synth.hand.sampler import FRONT, sample_views
from crossnets.synth.surroundings.clutter import HAIR, Clutter, owners, surround
from crossnets.synth.surroundings.head import HAIR_SPHERES, HEAD_SPHERES, place_head
from crossnets.synth.surroundings.parts import SPHERES, nothing, put
from crossnets.types import Pinhole

FACING = np.array([[0.0, -1, 0], [0, 0, -1], [-1, 0, 0]])
"""Directions up, ahead and left of an upright person who looks into the camera. They are mirrored, which does not
matter for a head."""
NOSE = 13
SKULL = 2


def heads(n: int, seed: int = 0) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    middle = np.tile([0.0, 200.0, 700.0], (n, 1))
    return place_head(np.random.default_rng(seed), middle, np.tile(FACING, (n, 1, 1)), np.ones(n))


def test_heads_have_realistic_sizes() -> None:
    (centers, radii), (hair, hair_radii) = heads(50)
    assert centers.shape == (50, HEAD_SPHERES, 3)
    assert hair.shape == (50, HAIR_SPHERES, 3)
    assert min(radii.min(), hair_radii.min()) > 0
    low = (centers[:, 2:] - radii[:, 2:, None]).min(axis=1)
    high = (centers[:, 2:] + radii[:, 2:, None]).max(axis=1)
    across, up, deep = np.median(high - low, axis=0)
    assert 140 < across < 220
    assert 190 < up < 280
    assert 170 < deep < 250
    again = heads(50)
    assert_array_equal(again[0][0], centers)


def test_nose_is_in_front_of_a_face_towards_the_camera() -> None:
    centers = heads(50)[0][0]
    assert np.mean(centers[:, NOSE, 2] < centers[:, SKULL, 2] - 60) > 0.9


def test_people_in_front_views_look_towards_the_camera() -> None:
    views = sample_views(np.random.default_rng(3), 300, CAMERAS["realsense-sr300"])
    made = surround(np.random.default_rng(4), views, Clutter(body=1.0), MSRA21)
    rows = made.mesh.centers_mm[:, SPHERES["torso"].start].any(axis=1) & (views.kind == FRONT)
    head = made.mesh.centers_mm[rows, SPHERES["head"]]
    assert rows.sum() > 20
    assert np.mean(head[:, NOSE, 2] < head[:, SKULL, 2]) > 0.85


def test_hair_pixels_are_labelled() -> None:
    mesh = nothing(1)
    for name, part in zip(("head", "hair"), heads(1), strict=True):
        put(mesh, name, np.ones(1, np.bool_), *part)
    hit = render_patches(mesh.take(0), Pinhole(300.0, 300.0, 80.0, 80.0), 160, 160)
    owner = owners()[hit.patch[0]]
    assert 100 < np.count_nonzero(owner == HAIR) < 0.8 * np.count_nonzero(hit.depth_mm)
    assert set(np.unique(owner)) == {0, HAIR}
