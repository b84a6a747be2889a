"""Convert between pixels and millimetres, and describe cameras by name or by their numbers."""

import math
import warnings
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from crossnets.geometry.lens import distort, lens_of, pinhole_of, undistort
from crossnets.json_text import parse_json
from crossnets.paths import expanded
from crossnets.types import Lens, LensCamera, Pinhole


def project(points_mm: Float[np.ndarray, "*N 3"], camera: Pinhole | LensCamera) -> Float[np.ndarray, "*N 3"]:
    """Convert points in the camera frame to (u px, v px, d mm). v points down. The depth must not be zero."""
    x, y, z = np.moveaxis(points_mm, -1, 0)
    if isinstance(camera, LensCamera):
        pinhole = camera.pinhole
        x, y = np.moveaxis(distort(np.stack([x / z, y / z], axis=-1), camera.lens), -1, 0)
        return np.stack([pinhole.fx_px * x + pinhole.cx_px, pinhole.fy_px * y + pinhole.cy_px, z], axis=-1)
    return np.stack([camera.fx_px * x / z + camera.cx_px, camera.fy_px * y / z + camera.cy_px, z], axis=-1)


def unproject(uvd: Float[np.ndarray, "*N 3"], camera: Pinhole | LensCamera) -> Float[np.ndarray, "*N 3"]:
    """Convert (u px, v px, d mm) to points in the camera frame in mm. This is the inverse of `project`."""
    u, v, d = np.moveaxis(uvd, -1, 0)
    if isinstance(camera, LensCamera):
        focal_px, middle_px = np.array(camera.pinhole).reshape(2, 2)
        slopes = undistort((uvd[..., :2] - middle_px) / focal_px, camera.lens)
        return np.concatenate([slopes * d[..., None], d[..., None]], axis=-1)
    return np.stack([(u - camera.cx_px) * d / camera.fx_px, (v - camera.cy_px) * d / camera.fy_px, d], axis=-1)


class CameraPreset(NamedTuple):
    """A camera with published numbers."""

    pinhole: Pinhole
    width_px: int
    """Width of the images that the intrinsics belong to. 0 if it is unknown."""
    height_px: int
    depth_unit_mm: float
    """Millimetres per raw depth count."""
    source: str
    """Source of the numbers. The calibration of the device itself is always better."""
    lens: Lens | None = None
    """None if the camera has no distortion, or if its distortion is unknown."""

    @property
    def camera(self) -> Pinhole | LensCamera:
        """The intrinsics, with the lens if the camera has one."""
        if self.lens is None:
            return self.pinhole
        return LensCamera(self.pinhole, self.lens, self.width_px, self.height_px)


_AZURE_LENS = Lens(4.725, 3.209, 0.0, 0.0, 0.171, 5.056, 4.776, 0.886)
"""Published for one Azure Kinect with fx 503.8 px in the narrow mode. Its two modes share the lens."""

CAMERAS: dict[str, CameraPreset] = {
    "nyu-kinect": CameraPreset(
        Pinhole(588.03, 587.07, 320.0, 240.0),
        640,
        480,
        1.0,
        "the field's scoring script; DenseReg has 588.235, 587.084",
    ),
    "icvl-senz3d": CameraPreset(Pinhole(240.99, 240.96, 160.0, 120.0), 320, 240, 1.0, "the field's scoring script"),
    "msra-senz3d": CameraPreset(Pinhole(241.42, 241.42, 160.0, 120.0), 320, 240, 1.0, "MSRA's readme"),
    "cvar-senz3d": CameraPreset(Pinhole(224.5, 230.5, 160.0, 120.0), 320, 240, 1.0, "CVAR's readme"),
    "realsense-sr300": CameraPreset(
        Pinhole(475.065948, 475.065857, 315.944855, 245.287079), 640, 480, 1.0, "BigHand2.2M and Hands 2017, in mm"
    ),
    "ho3d-sr300": CameraPreset(
        Pinhole(614.627, 614.101, 320.262, 238.469),
        640,
        480,
        0.12498664727900177,
        "camMat of HO-3D's sequences AP10 and MPM10, whose depth is aligned to the colour camera",
    ),
    "h2o-azure-kinect": CameraPreset(
        Pinhole(636.6593017578125, 636.251953125, 635.283881879317, 366.8740353496978),
        1280,
        720,
        1.0,
        "cam_intrinsics.txt of H2O's head-mounted camera, whose depth is aligned to the colour camera",
    ),
    "realsense-sr305": CameraPreset(
        Pinhole(476.007, 476.007, 313.683, 242.755), 640, 480, 0.125, "one device, as its recordings state"
    ),
    "realsense-d415": CameraPreset(
        Pinhole(645.138, 645.138, 420.789, 239.13), 848, 480, 1.0, "one device, called typical in Drake's examples"
    ),
    "realsense-d435": CameraPreset(
        Pinhole(384.09, 384.09, 322.466, 240.641),
        640,
        480,
        1.0,
        "camera_info of one device (dash-robotics/perception), not named there; fits a D435's 638.045 at 1280x720",
    ),
    "realsense-d455": CameraPreset(
        Pinhole(446.8, 446.8, 423.5, 239.5), 848, 480, 1.0, "nominal: from the data sheet's 87 degrees across"
    ),
    "azure-kinect-nfov": CameraPreset(
        Pinhole(503.928, 503.979, 332.064, 325.881),
        640,
        576,
        1.0,
        "one device, NFOV unbinned, panispani/3DReconstruct; lens of another device",
        _AZURE_LENS,
    ),
    "azure-kinect-wfov": CameraPreset(
        Pinhole(251.964, 251.989, 261.782, 252.69),
        512,
        512,
        1.0,
        "WFOV 2x2 binned, from the NFOV device's calibration of the whole sensor; lens of another device",
        _AZURE_LENS,
    ),
}


def _nominal(
    width_px: int, height_px: int, across_deg: float, down_deg: float, unit_mm: float, of: str
) -> CameraPreset:
    """Describe a camera of this field of view whose axis is in the middle of the image."""
    fx_px = width_px / 2 / math.tan(math.radians(across_deg / 2))
    fy_px = height_px / 2 / math.tan(math.radians(down_deg / 2))
    pinhole = Pinhole(round(fx_px, 1), round(fy_px, 1), (width_px - 1) / 2, (height_px - 1) / 2)
    source = f"nominal: {across_deg:g} x {down_deg:g} degrees, {of}"
    return CameraPreset(pinhole, width_px, height_px, unit_mm, source)


CAMERAS |= {
    "kinect-v1": _nominal(640, 480, 58.59, 45.64, 1.0, "the field of view that OpenNI states"),
    "kinect-v2": CameraPreset(
        Pinhole(368.0, 368.0, 255.5, 211.5),
        512,
        424,
        1.0,
        "published focal length and lens of one device; its principal point is the middle of the image",
        Lens(0.084, -0.272, 0.0, 0.0, 0.102),
    ),
    "realsense-l515": _nominal(1024, 768, 70.0, 55.0, 0.25, "the data sheet"),
    "oak-d": _nominal(640, 400, 72.0, 50.0, 1.0, "the data sheet's mono cameras"),
    "iphone-truedepth": _nominal(640, 480, 59.0, 46.0, 1.0, "measured by users; AVCameraCalibrationData is exact"),
    "orbbec-femto-bolt": CameraPreset(
        Pinhole(504.0, 504.0, 319.5, 287.5),
        640,
        576,
        1.0,
        "nominal: the depth module of the Azure Kinect, NFOV unbinned",
    ),
    "dexycb-d415": _nominal(640, 480, 54.9, 42.5, 1.0, "the data sheet's colour camera of a D415, as DexYCB crops it"),
    "zed": _nominal(1280, 720, 90.0, 60.0, 1.0, "the data sheet"),
}


ALIASES = {
    **{name.removeprefix("realsense-"): name for name in CAMERAS if name.startswith("realsense-")},
    **{f"{name}{more}": f"realsense-{name}" for name in ("d435", "d455") for more in ("i", "f")},
    "realsense-d435i": "realsense-d435",
    "azure-kinect": "azure-kinect-nfov",
    "femto-bolt": "orbbec-femto-bolt",
}
"""Other names of presets."""

_OWN_LENS = {
    "realsense-l515": "pyrealsense2's intrinsics of the depth stream contain them",
    "iphone-truedepth": "fit them to the lookup table of AVCameraCalibrationData, or rectify the depth with it",
    "orbbec-femto-bolt": "the Orbbec SDK's camera parameters contain them",
}
"""Presets whose lens distorts noticeably and differs from device to device, with the source of its coefficients."""
_MIDDLE = (0.35, 0.65)
"""Shares of width and height within which principal points of whole images lie. Those of the cameras below and of the
data sets are at 0.49 to 0.57."""
_NEAR_MIDDLE = 0.1
"""Sum of the distances from the middle, in shares of width and height, of a principal point that is surely right."""
_SQUARE = 1.1
"""Largest usual ratio of the two focal lengths. It is 1.03 for CVAR's camera, and nearer to 1 for all others."""
_FOCAL_LENGTHS = (0.2, 6.0)
"""Focal lengths of depth cameras, in widths of the image, are within these: 136 to 10 degrees from left to right."""
_LEAST_UNIT_MM = 0.01
"""Depth cameras count in 0.1 mm or more. A smaller unit is one in metres."""
_MOST_PX = 1e6
"""Focal lengths and centres are smaller."""
_warned: set[str] = set()


def as_camera(camera: Any) -> CameraPreset:
    """Convert the caller's description of a camera.

    Args:
        camera: One of these: any text of `parse_camera`, such as the name of a preset; a `CameraPreset`, a `Pinhole`
            or a `LensCamera`; four numbers (fx, fy, cx, cy in pixels), which 4, 5 or 8 coefficients of a lens in
            OpenCV's order may follow; a 3 x 3 intrinsic matrix, or a pair of it and coefficients, as OpenCV and pyk4a
            return them; pyrealsense2's intrinsics.

    Returns:
        The camera. Its size is 0 x 0 if the description contains no size.

    Raises:
        OSError: the file that a text names cannot be read.
        ValueError: the description has another form, or its numbers are not those of a camera.
    """
    if isinstance(camera, str):
        return parse_camera(camera)
    if isinstance(camera, CameraPreset):
        return _checked(camera)
    if isinstance(camera, LensCamera):
        pinhole, lens, width, height = camera
        return _checked(CameraPreset(pinhole, width, height, 1.0, "a camera with a lens", lens))
    if all(hasattr(camera, name) for name in ("fx", "fy", "ppx", "ppy", "width", "height")):
        pinhole = Pinhole(float(camera.fx), float(camera.fy), float(camera.ppx), float(camera.ppy))
        width = int(camera.width)
        height = int(camera.height)
        return _checked(CameraPreset(pinhole, width, height, 1.0, "pyrealsense2", realsense_lens(camera)))
    lens, camera_alone = _separated(camera)
    try:
        numbers = np.asarray(camera_alone, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape == (3, 3):
        if numbers[0, 1] or numbers[1, 0] or numbers[2].tolist() != [0, 0, 1]:
            raise ValueError(
                f"Found the intrinsic matrix {numbers.tolist()}, expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in "
                "pixels."
            )
        pinhole = Pinhole(*(float(numbers[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))))
        return _checked(CameraPreset(pinhole, 0, 0, 1.0, "an intrinsic matrix", lens))
    if numbers.shape in ((4,), (8,), (9,), (12,)) and lens is None:
        lens = lens_of(numbers[4:]) if numbers.size > 4 else None
        return _checked(CameraPreset(Pinhole(*numbers[:4].tolist()), 0, 0, 1.0, "numbers", lens))
    raise ValueError(
        f"Found {camera!r} as the camera. Expected Pinhole(fx_px, fy_px, cx_px, cy_px), four numbers, a 3 x 3 matrix, "
        "one of these with the lens's 4, 5 or 8 coefficients (k1, k2, p1, p2[, k3[, k4, k5, k6]]), "
        f"pyrealsense2 intrinsics, or one of {', '.join(CAMERAS)}."
    )


def _separated(camera: Any) -> tuple[Lens | None, Any]:
    """Separate a pair of matrix and coefficients into lens and matrix. Other descriptions have no separate lens."""
    if not isinstance(camera, list | tuple) or len(camera) != 2:
        return None, camera
    try:
        shape = np.shape(camera[0])
    # The rows differ in length.
    except ValueError:
        shape = ()
    return (lens_of(camera[1]), camera[0]) if shape == (3, 3) else (None, camera)


def realsense_lens(intrinsics: Any) -> Lens | None:
    """Read the lens of pyrealsense2's intrinsics. None if it does not distort.

    `brown_conrady` is OpenCV's model, and `modified_brown_conrady` has other tangential terms. Contrary to its name,
    `inverse_brown_conrady` is computed as the modified model. This was checked with librealsense 2.59.

    Raises:
        ValueError: the model is a different one, such as that of a fish-eye lens.
    """
    coefficients = [float(number) for number in getattr(intrinsics, "coeffs", ())]
    model = str(getattr(intrinsics, "model", "brown_conrady")).rpartition(".")[2]
    if not any(coefficients) or model == "none":
        return None
    if model not in ("brown_conrady", "modified_brown_conrady", "inverse_brown_conrady"):
        raise ValueError(
            f"Found the lens model {model} with the coefficients {coefficients}. Expected none, brown_conrady, "
            "modified_brown_conrady or inverse_brown_conrady. Undistort the images, and give their intrinsics."
        )
    return lens_of(coefficients, modified=model != "brown_conrady")


def _checked(camera: CameraPreset) -> CameraPreset:
    pinhole = camera.pinhole
    if not (all(map(math.isfinite, pinhole)) and pinhole.fx_px > 0 and pinhole.fy_px > 0):
        raise ValueError(f"Invalid camera {pinhole}: all numbers must be finite, and the focal lengths positive.")
    if max(map(abs, pinhole)) > _MOST_PX:
        raise ValueError(f"Invalid camera {pinhole}: expected focal lengths and a centre of at most {_MOST_PX:g} px.")
    if camera.lens is not None and not all(map(math.isfinite, camera.lens)):
        raise ValueError(f"Invalid lens {camera.lens}: all coefficients must be finite.")
    if not 0 < camera.depth_unit_mm < math.inf:
        raise ValueError(
            f"Invalid depth unit of {camera.depth_unit_mm} mm per count: expected a finite number above 0."
        )
    return camera


def unlikely(camera: Pinhole | LensCamera, width_px: int, height_px: int) -> str | None:
    """Describe why a camera is hardly that of an image of this size. None if it may be."""
    fx, fy, cx, cy = map(float, pinhole_of(camera))
    size = f"{width_px} x {height_px} pixels"
    low, high = _MIDDLE
    inside = low <= cx / width_px <= high and low <= cy / height_px <= high
    if not inside and _off_middle(cy, cx, width_px, height_px) < _NEAR_MIDDLE:
        return (
            f"The principal point ({cx:g}, {cy:g}) lies far from the middle of an image of {size}, and the point "
            f"({cy:g}, {cx:g}) would lie near it. cx and cy seem to be swapped, so all positions are wrong. Give fx, "
            "fy, cx, cy."
        )
    if not inside and _off_middle(fy, cy, width_px, height_px) < _NEAR_MIDDLE:
        return (
            f"The principal point ({cx:g}, {cy:g}) lies far from the middle of an image of {size}. The numbers seem to "
            "be fx, cx, fy, cy, so all positions are wrong. Give fx, fy, cx, cy."
        )
    if not inside:
        return (
            f"The principal point ({cx:g}, {cy:g}) lies far from the middle of an image of {size}, so all positions "
            "may be wrong. Give it in pixels of this image. It is right for a part that was cut out of a larger image."
        )
    if not _FOCAL_LENGTHS[0] <= fx / width_px <= _FOCAL_LENGTHS[1]:
        angle = math.degrees(2 * math.atan(width_px / (2 * fx)))
        return (
            f"A focal length of {fx:g} pixels means that the image of {width_px} pixels shows {angle:.0f} "
            "degrees from left to right, so all positions may be wrong. Give the focal length in pixels of this image."
        )
    if not 1 / _SQUARE <= fx / fy <= _SQUARE:
        return (
            f"The focal lengths are {fx:g} and {fy:g} pixels, but the pixels of depth cameras are square, so all "
            "positions may be wrong. Give fx, fy, cx, cy. Different focal lengths are right for images that were "
            "stretched in one direction."
        )
    return None


def _off_middle(cx_px: float, cy_px: float, width_px: int, height_px: int) -> float:
    """Distance of a point from the middle of an image, as the sum of its shares of width and height."""
    return abs(cx_px / width_px - 0.5) + abs(cy_px / height_px - 0.5)


def without_lens(camera: CameraPreset, use: str) -> CameraPreset:
    """Return the camera if it has no lens. `use` names the purpose in the message.

    Raises:
        ValueError: the camera has a lens.
    """
    if camera.lens is not None:
        raise ValueError(f"Found a camera with a lens, but {use} has none. Give fx,fy,cx,cy alone.")
    return camera


def camera_named(name: str) -> CameraPreset:
    """Find a preset by its name.

    Raises:
        ValueError: no preset has this name. The message lists the presets.
    """
    name = ALIASES.get(name.lower(), name)
    if name not in CAMERAS:
        near = get_close_matches(name, [*CAMERAS, *ALIASES], 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"No camera is named {name!r}.{meant} Known: {', '.join(CAMERAS)}. "
            "For another sensor give its intrinsics in pixels: crossnets.Pinhole(fx_px, fy_px, cx_px, cy_px) in "
            "Python, fx,fy,cx,cy on the command line."
        )
    return CAMERAS[name]


def parse_camera(text: str) -> CameraPreset:
    """Read a camera in the form of the command line: `CAMERA` or `CAMERA:LENS`.

    CAMERA is a preset, or `fx,fy,cx,cy[,unit_mm]`. Focal lengths and centre are in pixels of the given images.
    `unit_mm` is 1 by default. These numbers do not contain the size of the image, so the size becomes 0 x 0.

    LENS is `k1,k2,p1,p2[,k3[,k4,k5,k6]]` in OpenCV's order, or `none` for undistorted images. After a preset of the
    Azure Kinect it may also be a JSON file with the calibration of the device.

    Raises:
        OSError: the file cannot be read.
        ValueError: the text is neither a preset nor four or five numbers, or the numbers are not those of a camera.
    """
    name, colon, lens = text.partition(":")
    if not colon:
        return _camera_alone(name)
    if lens.strip() == "none":
        return _camera_alone(name, warn=False)._replace(lens=None)
    preset = _camera_alone(name, warn=False)
    if lens.endswith(".json"):
        return azure_kinect(expanded(lens), preset)
    try:
        coefficients = [float(part) for part in lens.split(",")]
    except ValueError:
        raise ValueError(
            f"Cannot read the lens {lens!r} of the camera {text!r}: expected k1,k2,p1,p2[,k3[,k4,k5,k6]], none, or a "
            ".json file with an Azure Kinect's calibration."
        ) from None
    return _checked(preset._replace(lens=lens_of(coefficients)))


def _camera_alone(text: str, *, warn: bool = True) -> CameraPreset:
    """Read CAMERA. `warn` warns once about each preset whose lens is unknown."""
    if "," not in text:
        preset = camera_named(text.strip())
        if warn:
            _warn_of_lens(text.strip())
        return preset
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (4, 5):
        raise ValueError(
            f"Cannot read the camera {text!r}: expected fx,fy,cx,cy in pixels and optionally mm per depth count, "
            "such as 475.1,475.1,315.9,245.3,0.125."
        )
    fx, fy, cx, cy, unit_mm = (*numbers, 1.0)[:5]
    if not (all(map(math.isfinite, numbers)) and fx > 0 and fy > 0 and unit_mm > 0):
        raise ValueError(
            f"Invalid camera {text!r}: all numbers must be finite, and the focal lengths (first two) and the depth "
            "unit (fifth) must be positive."
        )
    if unit_mm < _LEAST_UNIT_MM:
        raise ValueError(
            f"Invalid camera {text!r}: a depth unit of {unit_mm:g} mm per count, expected {_LEAST_UNIT_MM:g} or more. "
            "pyrealsense2 states the unit in metres. Multiply it by 1000: 0.001 m is 1 mm."
        )
    return _checked(CameraPreset(Pinhole(fx, fy, cx, cy), 0, 0, unit_mm, "the command line"))


def _warn_of_lens(name: str) -> None:
    name = ALIASES.get(name.lower(), name)
    if name in _OWN_LENS and name not in _warned:
        _warned.add(name)
        warnings.warn(
            f"The lens of {name} distorts, and this preset has no coefficients, so joints far from the image's centre "
            f"are off by millimetres to centimetres. Give the device's own: {_OWN_LENS[name]}. camera= takes them "
            f"after fx, fy, cx, cy, and --camera after a colon. For undistorted images give {name}:none.",
            stacklevel=4,
        )


_AZURE_MODES = {"azure-kinect-nfov": (1.0, 192.0, 180.0), "azure-kinect-wfov": (0.5, 0.0, 0.0)}
"""Scale from the sensor's 1024 x 1024 pixels to the image of a mode, and the first column and row of that image."""
_AZURE_SENSOR_PX = 1024
_AZURE_MODELS = ("BrownConrady", "Rational6KT")


def azure_kinect(path: Path, preset: CameraPreset) -> CameraPreset:
    """Read the depth camera of an Azure Kinect from the JSON file of its SDK (`k4a_device_get_raw_calibration`).

    Args:
        path: The file. pyk4a returns its text as `calibration_raw`.
        preset: azure-kinect-nfov or azure-kinect-wfov, which sets the mode.

    Raises:
        OSError: the file is missing, is a pipe or a device, or cannot be read.
        ValueError: the preset is a different one, or the file has no depth camera with a known lens model.
    """
    mode = next((name for name in _AZURE_MODES if CAMERAS[name].pinhole == preset.pinhole), None)
    if mode is None:
        raise ValueError(
            f"Found the calibration file {path} after another camera than {' or '.join(_AZURE_MODES)}. Only the Azure "
            "Kinect's files are known. Give the coefficients as numbers."
        )
    # Reading a pipe or a device might never end.
    if not path.is_file():
        raise FileNotFoundError(f"There is no plain file {path}. Expected the calibration of an Azure Kinect in JSON.")
    try:
        cameras = parse_json(path.read_bytes())["CalibrationInformation"]["Cameras"]
        depth = next(one for one in cameras if one["Purpose"] == "CALIBRATION_CameraPurposeDepth")
        model = str(depth["Intrinsics"]["ModelType"]).removeprefix("CALIBRATION_LensDistortionModel")
        numbers = [float(number) for number in depth["Intrinsics"]["ModelParameters"]]
    except (ValueError, TypeError, KeyError, StopIteration) as error:
        raise ValueError(
            f"{path} is not the calibration of an Azure Kinect ({type(error).__name__}: {error}). Expected JSON with "
            "CalibrationInformation.Cameras, one of them for depth."
        ) from None
    if model not in _AZURE_MODELS or len(numbers) < 14 or not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"{path}: found the lens model {model} with {len(numbers)} numbers, expected {' or '.join(_AZURE_MODELS)} "
            "with 14 or 15 finite ones."
        )
    # Centre and focal lengths are fractions of the size of the whole sensor. The centre of the first pixel is at a
    # half.
    center_x, center_y, focal_x, focal_y, k1, k2, k3, k4, k5, k6, off_x, off_y, p2, p1 = numbers[:14]
    if off_x or off_y:
        raise ValueError(f"{path}: found a centre of distortion of {off_x}, {off_y}, expected 0, 0.")
    # The 6KT model has half of OpenCV's mixed tangential term. OpenCV's model cannot represent it unless p1 and p2 are
    # 0.
    if model == "Rational6KT" and (p1 or p2):
        raise ValueError(f"{path}: found the lens model {model} with p1 {p1} and p2 {p2}, expected zeros there.")
    scale, left, top = _AZURE_MODES[mode]
    pixels = _AZURE_SENSOR_PX * scale
    pinhole = Pinhole(focal_x * pixels, focal_y * pixels, center_x * pixels - 0.5 - left, center_y * pixels - 0.5 - top)
    lens = lens_of([k1, k2, p1, p2, k3, k4, k5, k6])
    return _checked(preset._replace(pinhole=pinhole, source=str(path), lens=lens))
