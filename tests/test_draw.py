import numpy as np

from crossnets.draw import depth_to_rgb, draw_skeleton
from crossnets.geometry.skeleton import ICVL16

POINTS = np.random.default_rng(1).uniform(10, 90, (16, 2))


def test_hand_contrasts_with_the_background() -> None:
    depth = np.zeros((40, 50), np.float32)
    depth[10:30, 10:30] = np.linspace(400, 460, 20, dtype=np.float32)
    white = depth_to_rgb(depth, "white")
    dark = depth_to_rgb(depth, "dark")
    assert (white[0, 0] == 255).all()
    assert dark[0, 0].max() < 40
    assert dark[20, 20].min() > 60
    assert dark[20, 12, 0] > dark[20, 28, 0]  # nearer is warmer


def test_empty_image_is_background() -> None:
    picture = depth_to_rgb(np.zeros((8, 8), np.float32))
    assert (picture == picture[0, 0]).all()


def test_skeleton_is_drawn_in_finger_colours_on_a_copy() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    drawn = draw_skeleton(image, POINTS, ICVL16)
    assert not image.any()
    u, v = np.round(POINTS[15]).astype(int)
    np.testing.assert_allclose(drawn[v, u], 255 * np.array(ICVL16.colours[15]), atol=2)
    one = draw_skeleton(image, POINTS, ICVL16, colour=(1.0, 1.0, 1.0), thickness_px=1, radius_px=0.0)
    assert (one[..., 0] == one[..., 2]).all()
    assert one.any()


def test_joints_that_are_outside_or_not_finite_are_accepted() -> None:
    points = POINTS.copy()
    points[2] = np.nan
    points[5] = [1e12, -1e12]
    assert draw_skeleton(np.zeros((100, 100, 3), np.uint8), points, ICVL16).any()
