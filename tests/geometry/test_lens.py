import cv2
import numpy as np
import pytest

from crossnets.geometry.camera import CAMERAS, project, unproject
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.lens import distort, ideal_image, lens_table, ray_at, undistort
from crossnets.types import Lens, LensCamera, Pinhole

AZURE = Lens(4.725, 3.209, 0.0, 0.0, 0.171, 5.056, 4.776, 0.886)
KINECT = Lens(0.084, -0.272, 0.0, 0.0, 0.102)
TANGENTIAL = Lens(0.05, -0.03, 0.004, -0.003)
LENSES = {"rational": AZURE, "brown": KINECT, "tangential": TANGENTIAL}
CAMERA = LensCamera(Pinhole(251.9, 251.9, 159.5, 143.5), AZURE, 320, 288)


def slopes(count: int = 500) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.85, 0.85, (count, 2))


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_the_model_is_opencvs(lens: Lens) -> None:
    rays = slopes()
    points = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.eye(3), np.array(lens[:8]))
    np.testing.assert_allclose(distort(rays, lens), expected[:, 0], atol=1e-12)


@pytest.mark.parametrize("lens", [*LENSES.values(), TANGENTIAL._replace(modified=True)], ids=[*LENSES, "modified"])
def test_undistort_inverts_distort(lens: Lens) -> None:
    rays = slopes()
    np.testing.assert_allclose(undistort(distort(rays, lens), lens), rays, atol=1e-9)


def test_the_modified_model_is_that_of_realsense() -> None:
    (x, y), lens = (0.3, -0.4), TANGENTIAL._replace(k3=0.02, modified=True)
    squared = x * x + y * y
    radial = 1 + lens.k1 * squared + lens.k2 * squared**2 + lens.k3 * squared**3
    x, y = radial * x, radial * y
    u = x + 2 * lens.p1 * x * y + lens.p2 * (squared + 2 * x * x)
    v = y + 2 * lens.p2 * x * y + lens.p1 * (squared + 2 * y * y)
    np.testing.assert_allclose(distort(np.array([0.3, -0.4]), lens), [u, v], atol=1e-15)


def test_pixels_and_points() -> None:
    points_mm = np.random.default_rng(1).uniform([-250, -200, 300], [250, 200, 900], (3, 50, 3))
    np.testing.assert_allclose(unproject(project(points_mm, CAMERA), CAMERA), points_mm, atol=1e-6)
    straight = project(points_mm, CAMERA.pinhole)
    assert np.abs(project(points_mm, CAMERA) - straight)[..., :2].max() > 10
    np.testing.assert_array_equal(project(points_mm, CAMERA)[..., 2], points_mm[..., 2])


def test_rays_of_the_table_are_those_of_the_pixels() -> None:
    for u, v in ((0.0, 0.0), (319.0, 287.0), (100.3, 200.8)):
        expected = unproject(np.array([u, v, 1.0]), CAMERA)
        np.testing.assert_allclose(ray_at(u, v, CAMERA), expected[:2], atol=2e-5)


@pytest.mark.parametrize("name", ["azure-kinect-nfov", "azure-kinect-wfov", "kinect-v2"])
def test_the_ideal_image_shows_every_pixel_at_its_place(name: str) -> None:
    camera = CAMERAS[name].camera
    assert isinstance(camera, LensCamera)
    table = lens_table(camera)
    rows, columns = np.nonzero(table.pixel >= 0)
    pixel = table.pixel[rows, columns]
    rays = unproject(np.stack([columns, rows, np.ones(len(rows))], axis=-1).astype(np.float64), table.ideal)
    places = project(rays, camera)[:, :2]
    found = np.stack([pixel % camera.width_px, pixel // camera.width_px], axis=-1)
    assert np.abs(places - found).max() <= 0.5 + 1e-9
    rays_seen = np.isfinite(table.rays[..., 0])
    corners = project(np.append(table.rays[rays_seen], np.ones((rays_seen.sum(), 1)), axis=1), table.ideal)[:, :2]
    height, width = table.pixel.shape
    assert corners.min() >= -1e-3
    assert (corners.max(axis=0) <= (width - 1 + 1e-3, height - 1 + 1e-3)).all()


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
@pytest.mark.parametrize("center_mm", [(0, 0, 500), (280, -200, 450), (-420, 300, 500)])
def test_a_crop_through_a_lens_is_one_of_the_ideal_image(kind: type, center_mm: tuple[float, float, float]) -> None:
    depth_mm = np.random.default_rng(2).uniform(380, 620, (288, 320)).astype(kind)
    center = np.array(center_mm, np.float32)
    found = crop_hand(depth_mm, CAMERA, center, supported=True)
    expected = crop_hand(*ideal_image(depth_mm, CAMERA), center, supported=True)
    np.testing.assert_array_equal(found.depth_mm, expected.depth_mm)
    np.testing.assert_array_equal(found.to_crop_px, expected.to_crop_px)
    assert found.camera == expected.camera == lens_table(CAMERA).ideal


def test_without_a_lens_the_image_stays_the_same_array() -> None:
    depth_mm = np.ones((4, 5), np.float32)
    found, camera = ideal_image(depth_mm, CAMERA.pinhole)
    assert found is depth_mm
    assert camera is CAMERA.pinhole


@pytest.mark.parametrize(
    "lens", [Lens(-0.4, -0.2, 0.0, 0.0), Lens(0.0, 0.0, 0.0, 0.0, 0.0, 2.0), Lens(-1e9, 0.0, 0.0, 0.0)]
)
def test_coefficients_that_fold_the_image_raise(lens: Lens) -> None:
    with pytest.raises(ValueError, match=r"fold the image over .* inside the field of view.*Check the order"):
        lens_table(LensCamera(Pinhole(368.0, 368.0, 255.5, 211.5), lens, 512, 424))


def test_coefficients_without_an_inverse_raise() -> None:
    with pytest.raises(ValueError, match=r"cannot be inverted|fold the image"):
        lens_table(LensCamera(Pinhole(368.0, 368.0, 255.5, 211.5), Lens(0.1, 0.0, 5.0, 5.0), 512, 424))


def test_points_beyond_the_fold_stay_outside() -> None:
    lens = Lens(-0.2, 0.0, 0.0, 0.0)  # it folds at a slope of 1.29, where it shows 0.86
    camera = LensCamera(Pinhole(300.0, 300.0, 159.5, 119.5), lens, 320, 240)
    lens_table(camera)
    far = project(np.array([[2000.0, 0.0, 500.0], [5000.0, 0.0, 500.0]]), camera)
    assert far[0, 0] > 400
    assert far[1, 0] > far[0, 0]


@pytest.mark.parametrize("shape", [(288, 319), (576, 640)])
def test_images_of_another_size_raise(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"the camera's lens is for 320 x 288"):
        crop_hand(np.ones(shape, np.float32), CAMERA, np.array([0.0, 0.0, 500.0]))


def test_a_lens_needs_a_size() -> None:
    with pytest.raises(ValueError, match="expected the size of its images"):
        lens_table(LensCamera(CAMERA.pinhole, CAMERA.lens, 0, 0))
