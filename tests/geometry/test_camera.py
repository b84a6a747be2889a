import json
import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crossnets.geometry import camera as camera_module
from crossnets.geometry.camera import CAMERAS, as_camera, camera_named, parse_camera, project, unlikely, unproject
from crossnets.types import Lens, LensCamera, Pinhole


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
    assert preset.depth_unit_mm in (1.0, 0.125, 0.25, 0.12498664727900177)  # the last is HO-3D's
    assert preset.source


@pytest.mark.parametrize("name", CAMERAS)
def test_presets_are_likely_cameras_of_their_images(name: str) -> None:
    preset = CAMERAS[name]
    if preset.width_px:
        assert unlikely(preset.pinhole, preset.width_px, preset.height_px) is None


@pytest.mark.parametrize(
    ("camera", "says"),
    [
        (Pinhole(384, 384, 0.5, 0.5), r"principal point \(0.5, 0.5\) lies far from the middle"),
        (Pinhole(384, 384, 5000, 240), "principal point"),
        (Pinhole(0.6, 0.6, 320, 240), "shows 180 degrees"),
        (Pinhole(38400, 38400, 320, 240), "shows 1 degrees"),
        (Pinhole(475, 475, 242, 313), r"\(313, 242\) would lie near it. cx and cy seem to be swapped"),
        (Pinhole(475, 320, 475, 240), "seem to be fx, cx, fy, cy"),
        (Pinhole(475, 712, 320, 240), "focal lengths are 475 and 712 pixels, but the pixels .* are square"),
    ],
)
def test_unlikely_cameras_are_described(camera: Pinhole, says: str) -> None:
    told = unlikely(camera, 640, 480)
    assert told is not None
    assert re.search(says, told)


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
        ("500,500,320,1e7", r"expected focal lengths and a centre of at most 1e\+06 px"),
        ("500,500,-1e49,240:0.1,0,0,0", "expected focal lengths and a centre"),
        ("500,500,320,240,0", "depth unit"),
        ("500,500,320,240,0.001", r"depth unit of 0.001 mm per count.*states the unit in metres. Multiply it by 1000"),
        ("500,500,320,240:", "Cannot read the lens"),
    ],
)
def test_parse_camera_reports_the_error(text: str, message: str) -> None:
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
def test_cameras_are_accepted_in_all_usual_forms(given: Any) -> None:
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
        ([[[475, 0, 316], [0, 475], [0, 0, 1]], [0.1] * 5], "3 x 3 matrix"),
        ([*K[:2], [1]], "3 x 3 matrix"),
        *(
            (CAMERAS["realsense-sr305"]._replace(depth_unit_mm=unit), f"Invalid depth unit of {unit} mm per count")
            for unit in (float("nan"), float("inf"), -1.0, 0.0)
        ),
    ],
)
def test_invalid_descriptions_of_a_camera_raise(given: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        as_camera(given)


COEFFICIENTS = [0.1, -0.02, 0.001, -0.002, 0.03, 0.2, 0.01, 0.004]


@pytest.mark.parametrize("count", [4, 5, 8])
def test_lenses_are_accepted_in_all_usual_forms(count: int) -> None:
    numbers = [475.1, 475.2, 315.9, 245.3]
    lens = Lens(*COEFFICIENTS[:count])
    text = f"475.1,475.2,315.9,245.3:{','.join(map(str, COEFFICIENTS[:count]))}"
    for given in (
        [*numbers, *COEFFICIENTS[:count]],
        (np.array(K), np.array(COEFFICIENTS[:count])),
        (K, [COEFFICIENTS[:count]]),  # OpenCV gives coefficients as a matrix of one row
        text,
        LensCamera(Pinhole(*numbers), lens, 640, 480),
    ):
        found = as_camera(given)
        assert (found.pinhole, found.lens) == (Pinhole(*numbers), lens)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((K, [0.1, 0.2, 0.3]), "Expected 4, 5 or 8 finite numbers"),
        ((K, [0.1, 0.2, 0.3, float("inf")]), "Expected 4, 5 or 8 finite numbers"),
        ("475,475,316,245:0.1,0.2", "Expected 4, 5 or 8 finite numbers"),
        ("475,475,316,245:a,b", "Cannot read the lens 'a,b'"),
        ("d436:0.1,0.2,0,0", "Did you mean d43"),
        ("realsense-d435:there.json", r"Only the Azure\s+Kinect's files"),
        ([1.0] * 10, "4, 5 or 8 coefficients"),
    ],
)
def test_an_invalid_lens_raises(given: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        as_camera(given)


def test_a_lens_of_zeros_does_not_distort() -> None:
    assert as_camera((K, np.zeros(5))) == as_camera(K)


def realsense(model: str) -> SimpleNamespace:
    numbers = {"fx": 475.1, "fy": 475.2, "ppx": 315.9, "ppy": 245.3, "width": 640, "height": 480}
    return SimpleNamespace(**numbers, model=f"distortion.{model}", coeffs=COEFFICIENTS[:5])


@pytest.mark.parametrize(
    ("model", "modified"),
    [("brown_conrady", False), ("modified_brown_conrady", True), ("inverse_brown_conrady", True)],
)
def test_lenses_of_realsense(model: str, modified: bool) -> None:
    found = as_camera(realsense(model))
    assert found.lens == Lens(*COEFFICIENTS[:5], modified=modified)
    assert (found.width_px, found.height_px) == (640, 480)


@pytest.mark.parametrize("model", ["ftheta", "kannala_brandt4"])
def test_fish_eye_lenses_raise(model: str) -> None:
    with pytest.raises(ValueError, match=f"Found the lens model {model}"):
        as_camera(realsense(model))


@pytest.mark.parametrize("model", ["brown_conrady", "modified_brown_conrady", "inverse_brown_conrady"])
def test_pixels_are_those_of_librealsense(model: str) -> None:
    rs = pytest.importorskip("pyrealsense2")
    given = rs.intrinsics()
    given.width, given.height, given.fx, given.fy, given.ppx, given.ppy = 640, 480, 475.1, 475.2, 315.9, 245.3
    given.model, given.coeffs = getattr(rs.distortion, model), COEFFICIENTS[:5]
    point = [150.0, -120.0, 500.0]
    expected = rs.rs2_project_point_to_pixel(given, point)
    np.testing.assert_allclose(project(np.array(point), as_camera(given).camera)[:2], expected, atol=1e-3)


@pytest.mark.parametrize("mode", ["nfov", "wfov"])
def test_the_calibration_file_of_an_azure_kinect(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(azure_fields()))
    found = as_camera(f"azure-kinect-{mode}:{path}")
    assert found.lens == Lens(6.1, 4.4, -6e-5, 7e-5, 0.24, 6.4, 6.5, 1.2)
    whole = (504.0, 505.0, 512.0, 514.0)
    scale, left, top = (1.0, 192, 180) if mode == "nfov" else (0.5, 0, 0)
    fx, fy, cx, cy = (number * scale for number in whole)
    np.testing.assert_allclose(found.pinhole, [fx, fy, cx - 0.5 - left, cy - 0.5 - top])
    assert (found.width_px, found.height_px) == ((640, 576) if mode == "nfov" else (512, 512))


def azure_fields(**changes: Any) -> dict[str, Any]:
    numbers = [512 / 1024, 514 / 1024, 504 / 1024, 505 / 1024, 6.1, 4.4, 0.24, 6.4, 6.5, 1.2, 0, 0, 7e-5, -6e-5]
    intrinsics = {"ModelType": "CALIBRATION_LensDistortionModelBrownConrady", "ModelParameters": numbers, **changes}
    colour = {"Purpose": "CALIBRATION_CameraPurposePhotoVideo", "Intrinsics": {}}
    depth = {"Purpose": "CALIBRATION_CameraPurposeDepth", "Intrinsics": intrinsics}
    return {"CalibrationInformation": {"Cameras": [colour, depth]}}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "is not the calibration of an Azure Kinect"),
        ([1], "is not the calibration of an Azure Kinect"),
        (azure_fields(ModelType="CALIBRATION_LensDistortionModelTheta"), "found the lens model Theta"),
        (azure_fields(ModelParameters=[0.5] * 10), "with 10 numbers"),
        (azure_fields(ModelParameters=[0.5] * 14), "centre of distortion"),
        (azure_fields(ModelParameters=["a"] * 14), "is not the calibration of an Azure Kinect"),
        (azure_fields(ModelParameters=[float("nan")] * 14), "finite"),
        (azure_fields(ModelParameters=[10**400] * 14), "a whole number of 401 digits"),
    ],
)
def test_an_invalid_calibration_file_raises(tmp_path: Path, fields: Any, says: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=says):
        as_camera(f"azure-kinect:{path}")


def test_presets_whose_lens_is_unknown_warn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "_warned", set())
    with pytest.warns(UserWarning, match="The lens of realsense-l515 distorts"):
        as_camera("l515")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_camera("realsense-l515")
        assert as_camera("iphone-truedepth:none").lens is None
        assert as_camera("orbbec-femto-bolt:0.1,0.2,0,0").lens == Lens(0.1, 0.2, 0.0, 0.0)
        assert as_camera("azure-kinect").lens is not None
        assert as_camera("azure-kinect:none").lens is None


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
