from dataclasses import replace

import numpy as np
import pytest

from crossnets.geometry.camera import CAMERAS
from crossnets.synth.casting.raster import cast, crop_grid, render_crops
from crossnets.synth.sensor.noise import SENSORS, NoiseModel, apply, apply_crops, render_noisy_crops, sensor_of
from crossnets.types import Pinhole

from .test_raster import hands

CAMERA = Pinhole(475.0, 475.0, 79.5, 59.5)
QUIET = NoiseModel(kind="time of flight")


def plane(depth_mm: float, slope: float = 0.0) -> np.ndarray:
    """An image of a plane that recedes to the right. `slope` is the tangent of its angle."""
    x = (np.arange(160) - CAMERA.cx_px) / CAMERA.fx_px
    return np.broadcast_to(depth_mm / (1 - slope * x), (120, 160)).astype(np.float32)


def step(near_mm: float = 500.0, far_mm: float = 700.0) -> np.ndarray:
    """A nearer square in front of a plane."""
    image = plane(far_mm).copy()
    image[40:80, 60:100] = near_mm
    return image


def error_mm(model: NoiseModel, ideal: np.ndarray, strength: float = 1.0) -> np.ndarray:
    noisy = apply(ideal, CAMERA, model, 3, strength)
    return (noisy - ideal)[8:-8, 8:-8][noisy[8:-8, 8:-8] > 0]


def test_every_sensor_has_a_camera() -> None:
    assert SENSORS.keys() <= CAMERAS.keys()
    for name in CAMERAS.keys() - SENSORS.keys():
        with pytest.raises(ValueError, match="noise model is missing"):
            sensor_of(name)


@pytest.mark.parametrize("name", SENSORS)
def test_noise_is_unbiased_and_grows_with_depth_and_slope(name: str) -> None:
    model = replace(SENSORS[name], unit_mm=0.0)  # rounding would hide small noise
    near, far, steep = (error_mm(model, image) for image in (plane(500), plane(1000), plane(500, 1.5)))
    assert 0.03 < near.std() < 5
    assert far.std() > 1.3 * near.std()
    assert steep.std() > 1.1 * near.std()
    assert abs(near.mean()) < 0.3 + 0.3 * near.std()


@pytest.mark.parametrize("name", SENSORS)
def test_strength_zero_gives_the_exact_image(name: str) -> None:
    np.testing.assert_array_equal(apply(step(), CAMERA, SENSORS[name], 1, strength=0.0), step())


def test_strength_scales_the_noise() -> None:
    model = SENSORS["cvar-senz3d"]
    half, whole, double = (error_mm(model, plane(700), s).std() for s in (0.5, 1.0, 2.0))
    assert half < 0.7 * whole < 0.49 * double


def test_strength_scales_every_effect() -> None:
    model = NoiseModel(kind="stereo", axial_mm=1.0, edge_loss=0.4, grazing_tan=3.0, min_mm=100.0, unit_mm=0.5)
    for strength, least_mm in ((0.5, 50.0), (2.0, 100.0)):
        expected = replace(
            model,
            axial_mm=strength,
            edge_loss=0.4 * strength,
            grazing_tan=3.0 / strength,
            min_mm=least_mm,
            unit_mm=0.5 * strength,
        )
        np.testing.assert_array_equal(apply(step(), CAMERA, model, 2, strength), apply(step(), CAMERA, expected, 2))


@pytest.mark.parametrize("name", SENSORS)
def test_pixels_are_lost_only_near_edges_and_on_steep_slopes(name: str) -> None:
    ideal = step()
    lost = apply(ideal, CAMERA, SENSORS[name], 5) == 0
    assert lost.any()
    near_edge = np.zeros_like(lost)
    reach = 28 if SENSORS[name].shadow_mm else 4  # the shadow of the square is f b (1/500 - 1/700) pixels wide
    near_edge[36:84, 56 - reach : 104] = True
    assert not lost[~near_edge].any()
    assert not lost[46:74, 66:94].any()
    assert not (apply(plane(600, 0.8), CAMERA, SENSORS[name], 5) == 0).any()
    assert (apply(plane(600, 8.0), CAMERA, SENSORS[name], 5)[:, 80:95] == 0).mean() > 0.9


def test_disparity_is_quantised() -> None:
    model = replace(QUIET, baseline_mm=75.0, disparity_step_px=0.125)
    ramp = np.broadcast_to(np.linspace(700, 720, 160), (120, 160)).astype(np.float32)
    values = np.unique(apply(ramp, CAMERA, model, 0))
    steps = np.diff(values)
    np.testing.assert_allclose(steps, 710**2 / (475 * 75) * 0.125, rtol=0.05)  # Khoshelham & Elberink, z^2 / (f b)
    np.testing.assert_allclose(values, ramp[0, [np.abs(ramp[0] - v).argmin() for v in values]], atol=1.0)


def test_depth_is_rounded_to_the_unit() -> None:
    noisy = apply(plane(500), CAMERA, SENSORS["realsense-sr305"], 0)
    np.testing.assert_array_equal(noisy * 8, np.round(noisy * 8))


def test_shadow_is_on_the_side_of_the_second_view() -> None:
    model = replace(QUIET, baseline_mm=60.0, shadow_mm=60.0)
    wide = 475 * 60 * (1 / 500 - 1 / 700)
    for sign, columns in ((1, slice(61 - int(wide), 60)), (-1, slice(100, 99 + int(wide)))):
        lost = apply(step(), CAMERA, replace(model, shadow_mm=sign * 60.0), 0) == 0
        assert lost[40:80, columns].all()
        assert abs(lost.sum() - 40 * wide) <= 60  # tolerance of half a pixel, and rounding


def test_flying_pixels_float_between_the_surfaces() -> None:
    noisy = apply(step(), CAMERA, replace(QUIET, flying=0.5, flying_mm=80.0), 0)
    floating = (noisy != 500) & (noisy != 700)
    assert 20 < floating.sum() < 4 * 40
    assert ((noisy[floating] > 500) & (noisy[floating] <= 580)).all()
    outline = np.zeros_like(floating)
    outline[40:80, 60:100] = True
    outline[41:79, 61:99] = False
    assert not floating[~outline].any()


def test_edges_of_foreground_fatten() -> None:
    noisy = apply(step(), CAMERA, replace(QUIET, fattening_px=3.0), 0)
    assert (noisy[40:80, 60:100] == 500).all()
    assert 100 < (noisy == 500).sum() - 1600 < 46 * 46 - 1600


def test_specks_are_removed() -> None:
    image = np.zeros((120, 160), np.float32)
    image[20:25, 20:25] = 400
    image[60:80, 60:80] = 500
    image[70:73, 70:73] = 450
    cleaned = apply(image, CAMERA, replace(QUIET, speckle_px=30.0), 0)
    assert not cleaned[:60].any()
    assert (cleaned > 0).sum() == 400 - 9


def test_specks_may_have_any_shape() -> None:
    image = np.zeros((120, 160), np.float32)
    # Two arms that meet in their last rows: one surface of 96 pixels.
    image[10:30, 10:12] = 400
    image[10:30, 20:22] = 400
    image[28:30, 10:22] = 400
    # Steps of 21 mm: 20 surfaces of 4 pixels.
    image[50:54, 20:40] = np.linspace(400, 800, 20)
    image[70, 0:160:2] = 500
    for smallest, left in ((97.0, 0), (90.0, 96), (4.0, 96 + 80), (1.0, 96 + 80 + 80)):
        cleaned = apply(image, CAMERA, replace(QUIET, speckle_px=smallest), 0)
        assert (cleaned > 0).sum() == left


def test_noise_depends_on_the_seed_alone() -> None:
    model = SENSORS["realsense-d435"]
    first = apply(step(), CAMERA, model, 11)
    np.testing.assert_array_equal(first, apply(step(), CAMERA, model, 11))
    assert (first != apply(step(), CAMERA, model, 12)).mean() > 0.3


def test_crops_depend_on_their_seed_alone() -> None:
    surfaces, centers, cubes = hands(4)
    camera = CAMERAS["icvl-senz3d"].pinhole
    models = [SENSORS[name] for name in ("nyu-kinect", "cvar-senz3d", "realsense-d435", "realsense-sr305")]
    seeds = np.array([5, 6, 7, 8])
    strength = np.array([0.5, 1.0, 1.5, 1.0])
    crops = render_noisy_crops(surfaces, camera, centers, cubes, models, seeds, strength)
    order = np.array([2, 0, 3, 1])
    shuffled = surfaces.take(order.tolist())
    again = render_noisy_crops(
        shuffled,
        camera,
        centers[order],
        cubes[order],
        [models[k] for k in order],
        seeds[order],
        strength[order],
    )
    np.testing.assert_array_equal(again, crops[order])
    ideal = render_crops(surfaces, camera, centers, cubes)
    both = (ideal > 0) & (crops > 0)
    assert np.median(np.abs(ideal - crops)[both]) < 3
    assert (both.sum((1, 2)) > 0.7 * (ideal > 0).sum((1, 2))).all()
    np.testing.assert_array_equal(render_noisy_crops(surfaces, camera, centers, cubes, models, seeds, 0.0), ideal)


def test_crop_pixels_of_one_image_pixel_have_equal_noise() -> None:
    surfaces, centers, cubes = hands(1)
    grid = crop_grid(Pinhole(120.0, 120.0, 80.0, 60.0), centers, cubes)
    ideal = cast(surfaces, grid.x, grid.y).depth_mm
    noisy = apply_crops(ideal, grid, replace(QUIET, axial_mm=2.0), np.array([0]))[0]
    same = (np.diff(grid.column_px[0]) == 0)[None] & (ideal[0, :, 1:] == ideal[0, :, :-1])
    assert same.mean() > 0.3
    np.testing.assert_array_equal(noisy[:, 1:][same], noisy[:, :-1][same])


def test_invalid_models_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"edge_loss=2.0 must be 0 to 1"):
        NoiseModel(kind="stereo", edge_loss=2.0)
    with pytest.raises(ValueError, match="need a positive baseline_mm"):
        NoiseModel(kind="stereo", disparity_step_px=0.1)
    with pytest.raises(ValueError, match="strength=-1"):
        apply(step(), CAMERA, QUIET, 0, strength=-1.0)
