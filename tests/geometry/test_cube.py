import numpy as np
import pytest

from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.crop import crop_hand, image_to_crop_px
from crossnets.geometry.cube import into_cubes, out_of_cubes, views_at, views_of
from crossnets.types import Pinhole

UNEVEN = Pinhole(241.42, 260.0, 160.0, 121.5)
CENTERS = np.array([[30.0, -20.0, 400.0], [-200.0, 90.0, 812.5]])
CUBES = np.array([250.0, 181.0])


@pytest.mark.parametrize("camera", [CAMERAS["nyu-kinect"].pinhole, UNEVEN])
def test_points_lie_where_the_crop_shows_them(camera: Pinhole) -> None:
    random = np.random.default_rng(1)
    points = CENTERS[:, None] + random.uniform(-0.5, 0.5, (2, 7, 3)) * CUBES[:, None, None]
    empty = np.zeros((480, 640), np.float32)
    crops = [crop_hand(empty, camera, center, cube) for center, cube in zip(CENTERS, CUBES, strict=True)]
    found = into_cubes(points, views_of(crops))
    expected = [image_to_crop_px(project(p, camera)[..., :2], crop) for p, crop in zip(points, crops, strict=True)]
    np.testing.assert_allclose((found[..., :2] + 1) * 64 - 0.5, expected, atol=1e-4)
    depth = (points[..., 2] - CENTERS[:, None, 2]) / (CUBES[:, None] / 2)
    np.testing.assert_allclose(found[..., 2], depth, atol=1e-5)
    np.testing.assert_allclose(out_of_cubes(found, views_of(crops)), points, atol=1e-3)


@pytest.mark.parametrize("camera", [CAMERAS["nyu-kinect"].pinhole, UNEVEN])
def test_views_without_cutting_are_those_of_the_crops(camera: Pinhole) -> None:
    empty = np.zeros((480, 640), np.float32)
    crops = [crop_hand(empty, camera, center, cube) for center, cube in zip(CENTERS, CUBES, strict=True)]
    for a, b in zip(views_at([camera], CENTERS, CUBES), views_of(crops), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
