from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crossnets.geometry.camera import CAMERAS, as_camera, camera_named, parse_camera, project, unproject
from crossnets.types import Pinhole


@pytest.mark.parametrize("name", CAMERAS)
def test_unproject_inverts_project(name: str) -> None:
    camera = CAMERAS[name].pinhole
    points_mm = np.random.default_rng(0).uniform([-300, -300, 200], [300, 300, 1500], (5, 7, 3))
    np.testing.assert_allclose(unproject(project(points_mm, camera), camera), points_mm, rtol=1e-12, atol=1e-9)


def test_axes_and_scale() -> None:
    camera = Pinhole(500.0, 400.0, 320.0, 240.0)
    np.testing.assert_allclose(project(np.array([100.0, 50.0, 1000.0]), camera), [370.0, 260.0, 1000.0])
    np.testing.assert_allclose(project(np.array([0.0, 0.0, 1.0]), camera), [320.0, 240.0, 1.0])


@pytest.mark.parametrize("name", CAMERAS)
def test_presets_are_plausible(name: str) -> None:
    preset = camera_named(name)
    fx, fy, cx, cy = preset.pinhole
    assert 0.45 < cx / preset.width_px < 0.55
    assert 0.45 < cy / preset.height_px < 0.57  # the Azure Kinect's narrow mode is off centre
    assert 0.95 < fx / fy < 1.05
    assert 45 < np.rad2deg(2 * np.arctan(preset.width_px / 2 / fx)) < 125
    assert preset.depth_unit_mm in (1.0, 0.125, 0.25)
    assert preset.source


def test_parse_camera_by_name() -> None:
    assert parse_camera(" realsense-sr305 ") is CAMERAS["realsense-sr305"]


def test_parse_camera_by_numbers() -> None:
    preset = parse_camera("475.1, 475.2,315.9,245.3")
    assert preset.pinhole == Pinhole(475.1, 475.2, 315.9, 245.3)
    assert preset.depth_unit_mm == 1.0
    assert parse_camera("475.1,475.2,315.9,245.3,0.125").depth_unit_mm == 0.125


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kinect", r"No camera is named 'kinect'\..* Known: nyu-kinect, .*fx,fy,cx,cy"),
        ("", "No camera is named ''"),
        ("1,2,3", r"Cannot read the camera '1,2,3': expected fx,fy,cx,cy"),
        ("1,2,3,4,5,6", "Cannot read the camera"),
        ("a,b,c,d", "Cannot read the camera"),
        ("0,500,320,240", "must be finite, and the focal lengths"),
        ("500,-500,320,240", "must be finite, and the focal lengths"),
        ("500,500,nan,240", "must be finite, and the focal lengths"),
        ("500,500,320,240,0", "depth unit"),
    ],
)
def test_parse_camera_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_camera(text)


K = [[475.1, 0, 315.9], [0, 475.2, 245.3], [0, 0, 1]]


@pytest.mark.parametrize(
    "given",
    [
        "475.1",
        Pinhole(475.1, 475.2, 315.9, 245.3),
        [475.1, 475.2, 315.9, 245.3],
        np.array(K),
        K,
        SimpleNamespace(fx=475.1, fy=475.2, ppx=315.9, ppy=245.3, width=640, height=480, coeffs=[0.0] * 5),
    ],
)
def test_a_camera_is_taken_as_its_user_has_it(given: Any) -> None:
    if isinstance(given, str):
        with pytest.raises(ValueError, match=r"No camera is named '475\.1'"):
            as_camera(given)
        return
    found = as_camera(given)
    assert found.pinhole == Pinhole(475.1, 475.2, 315.9, 245.3)
    assert (found.width_px, found.height_px) == ((640, 480) if hasattr(given, "ppx") else (0, 0))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([[475, 1, 316], [0, 475, 245], [0, 0, 1]], "Found the intrinsic matrix"),
        ([[475, 0, 316], [0, 475, 245], [0, 1, 1]], r"expected \[\[fx, 0, cx\]"),
        ([475, 475, 316], "3 x 3 matrix"),
        (None, "Found None as the camera"),
        ({"fx": 3}, "as the camera"),
        ([475, float("nan"), 316, 245], "Invalid camera"),
        (np.diag([-475.0, 475, 1]), "focal lengths positive"),
    ],
)
def test_what_describes_no_camera_is_refused(given: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        as_camera(given)


def test_a_lens_that_would_be_left_out_is_warned_about() -> None:
    given = SimpleNamespace(fx=475.1, fy=475.2, ppx=315.9, ppy=245.3, width=640, height=480, coeffs=[0.1, 0, 0, 0, 0])
    with pytest.warns(UserWarning, match="lens distortion"):
        as_camera(given)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("d435", "realsense-d435"),
        ("D435i", "realsense-d435"),
        ("sr300", "realsense-sr300"),
        ("azure-kinect", "azure-kinect-nfov"),
    ],
)
def test_cameras_have_short_names(alias: str, name: str) -> None:
    assert camera_named(alias) == CAMERAS[name]


def test_a_mistyped_camera_is_guessed() -> None:
    with pytest.raises(ValueError, match=r"No camera is named 'realsense-d436'\. Did you mean realsense-d435"):
        camera_named("realsense-d436")
