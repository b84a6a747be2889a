import numpy as np
import pytest

from crossnets.geometry.camera import project
from crossnets.geometry.crop import crop_hand, image_to_crop_px, normalise
from crossnets.types import HandCrop, Pinhole

CAMERA = Pinhole(240.0, 240.0, 160.0, 120.0)
ODD_CAMERA = Pinhole(224.5, 230.5, 160.0, 120.0)
CENTER = np.array([20.0, -10.0, 500.0])


def plane(depth_mm: float, height: int = 240, width: int = 320) -> np.ndarray:
    return np.full((height, width), depth_mm, np.float32)


def relief(seed: int = 0) -> HandCrop:
    """A crop with many depths and holes."""
    random = np.random.default_rng(seed)
    depth = random.uniform(350, 700, (240, 320)).astype(np.float32)
    depth[random.random(depth.shape) < 0.3] = 0
    return crop_hand(depth, CAMERA, CENTER)


def test_pixels_follow_the_map_of_the_crop() -> None:
    points = np.random.default_rng(0).uniform(-50, 400, (9, 2))
    crop = crop_hand(plane(500), ODD_CAMERA, CENTER)
    expected = np.column_stack([points, np.ones(9)]) @ crop.to_crop_px.T
    np.testing.assert_allclose(image_to_crop_px(points, crop), expected[:, :2], atol=1e-9)


@pytest.mark.parametrize("camera", [CAMERA, ODD_CAMERA, Pinhole(588.03, 587.07, 320.0, 240.0)])
@pytest.mark.parametrize("distance_mm", [300.0, 500.0, 1111.0])
def test_one_pixel_follows_the_map(camera: Pinhole, distance_mm: float) -> None:
    center = np.array([20.0, -10.0, distance_mm])
    u0, v0, _ = project(center, camera)
    for du, dv in [(0, 0), (13, -21), (-22, 8), (-5, -5)]:
        u, v = int(u0) + du, int(v0) + dv
        probe = crop_hand(plane(0, 480, 640), camera, center)
        expected, scale = image_to_crop_px(np.array([u, v], float), probe), probe.to_crop_px[0, 0]
        # A crop that shrinks the image skips pixels. A block that is wide enough is always sampled and has the same
        # middle.
        side = 0 if scale >= 1 else 2
        depth = plane(0, 480, 640)
        depth[v - side : v + side + 1, u - side : u + side + 1] = distance_mm
        rows, columns = np.nonzero(crop_hand(depth, camera, center).depth_mm)
        # The enlarged block's middle must be at the place, within half a crop pixel.
        assert abs((columns.min() + columns.max()) / 2 - expected[0]) <= 0.51
        assert abs((rows.min() + rows.max()) / 2 - expected[1]) <= 0.51
        assert np.ptp(columns) + 1 <= np.ceil(scale * (2 * side + 1))
        assert np.ptp(rows) + 1 <= np.ceil(scale * (2 * side + 1))


def test_cube_fills_the_crop() -> None:
    crop = crop_hand(plane(500), CAMERA, CENTER)
    corners_mm = CENTER + np.array([[-125.0, -125.0, 0.0], [125.0, 125.0, 0.0]])
    corners_px = image_to_crop_px(project(corners_mm, CAMERA)[:, :2], crop)
    np.testing.assert_allclose(corners_px, [[-0.5, -0.5], [127.5, 127.5]], atol=1.1 * crop.to_crop_px[0, 0])
    assert (crop.depth_mm == 500).all()
    assert crop.depth_mm.shape == (128, 128)


def test_longer_side_fills_and_shorter_is_centred() -> None:
    camera = Pinhole(240.0, 120.0, 160.0, 120.0)
    crop = crop_hand(plane(500), camera, np.array([0.0, 0.0, 500.0]))
    seen = crop.depth_mm > 0
    assert seen.any(axis=0).all()
    np.testing.assert_array_equal(np.flatnonzero(seen.any(axis=1)), np.arange(32, 96))


def test_near_is_clamped_and_far_is_removed() -> None:
    assert (crop_hand(plane(300), CAMERA, CENTER).depth_mm == 375).all()
    assert (crop_hand(plane(625), CAMERA, CENTER).depth_mm == 625).all()
    assert (crop_hand(plane(626), CAMERA, CENTER).depth_mm == 0).all()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, -3.0])
def test_invalid_depth_becomes_background(broken: float) -> None:
    depth = plane(500)
    depth[:, ::2] = broken
    expected = crop_hand(np.where(depth == 500, depth, 0), CAMERA, CENTER).depth_mm
    np.testing.assert_array_equal(crop_hand(depth, CAMERA, CENTER).depth_mm, expected)
    assert set(np.unique(expected)) == {0, 500}


def test_whole_millimetres_are_cut_like_others() -> None:
    depth = np.random.default_rng(0).integers(0, 800, (240, 320)).astype(np.uint16)
    for z in (500.0, 500.7):
        center = np.array([20.0, -10.0, z])
        whole, floats = (crop_hand(depth.astype(kind), CAMERA, center) for kind in (np.uint16, np.float32))
        np.testing.assert_array_equal(whole.depth_mm, floats.depth_mm)


def test_outside_the_image_is_background() -> None:
    center = np.array([-160.0 / 240 * 500, 0.0, 500.0])  # on the image's left border
    crop = crop_hand(plane(500), CAMERA, center)
    inside = image_to_crop_px(np.array([0.0, 0.0]), crop)[0]
    columns = np.flatnonzero(crop.depth_mm.any(axis=0))
    assert abs(columns[0] - (inside - crop.to_crop_px[0, 0] / 2)) <= 1
    assert columns[-1] == 127
    assert not crop_hand(plane(500), CAMERA, np.array([5000.0, 0.0, 500.0])).depth_mm.any()


@pytest.mark.parametrize("seed", range(5))
def test_per_frame_normalisation(seed: int) -> None:
    crop = relief(seed)
    values, seen = normalise(crop, "per-frame"), crop.depth_mm > 0
    assert values.min() == -1
    assert (values[~seen] == 1).all()
    assert (values[crop.depth_mm == crop.depth_mm.max()] == 1).all()
    assert (values[seen & (crop.depth_mm < crop.depth_mm.max())] < 1).all()
    # Spec 1.5 by hand, for one pixel between nearest and farthest.
    v = (crop.depth_mm.astype(float) - 375 + 10) / 250
    expected = 2 * (v - v[seen].min()) / v[seen].max() - 1
    middle = seen & (crop.depth_mm < crop.depth_mm.max())
    np.testing.assert_allclose(values[middle], expected[middle], atol=1e-6)


def test_metric_normalisation_keeps_distances() -> None:
    crop = relief()
    values, seen = normalise(crop, "metric"), crop.depth_mm > 0
    assert (values[~seen] == 1).all()
    np.testing.assert_allclose(values[seen] * 125 + 500, crop.depth_mm[seen], atol=1e-3)
    assert values.min() == -1
    assert values.dtype == np.float32


@pytest.mark.parametrize("how", ["per-frame", "metric"])
def test_empty_crop_is_all_background(how: str) -> None:
    assert (normalise(crop_hand(plane(0), CAMERA, CENTER), how) == 1).all()


def test_flat_per_frame_crop_is_all_farthest() -> None:
    """The only depth of a crop is both the nearest and the farthest. The paper's order of steps makes it +1."""
    assert (normalise(crop_hand(plane(500), CAMERA, CENTER), "per-frame") == 1).all()


@pytest.mark.parametrize("center", [[0.0, 0.0, 0.0], [0.0, 0.0, -500.0], [np.nan, 0.0, 500.0], [0.0, np.inf, 500.0]])
def test_impossible_centre(center: list[float]) -> None:
    with pytest.raises(ValueError, match="must be finite and in front of the camera"):
        crop_hand(plane(500), CAMERA, np.array(center))


def test_impossible_cube() -> None:
    with pytest.raises(ValueError, match=r"cube of 0\.0 mm .* the side positive"):
        crop_hand(plane(500), CAMERA, CENTER, cube_mm=0.0)
