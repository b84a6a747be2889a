"""Pixels and millimetres, both ways, and named cameras."""

import math
import warnings
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from crossnets.types import Pinhole


def project(points_mm: Float[np.ndarray, "*N 3"], camera: Pinhole) -> Float[np.ndarray, "*N 3"]:
    """Camera-frame points to (u px, v px, d mm); v points down. The depth must not be zero."""
    x, y, z = np.moveaxis(points_mm, -1, 0)
    return np.stack([camera.fx_px * x / z + camera.cx_px, camera.fy_px * y / z + camera.cy_px, z], axis=-1)


def unproject(uvd: Float[np.ndarray, "*N 3"], camera: Pinhole) -> Float[np.ndarray, "*N 3"]:
    """(u px, v px, d mm) to camera-frame points in mm: the inverse of `project`."""
    u, v, d = np.moveaxis(uvd, -1, 0)
    return np.stack([(u - camera.cx_px) * d / camera.fx_px, (v - camera.cy_px) * d / camera.fy_px, d], axis=-1)


class CameraPreset(NamedTuple):
    """A camera as its maker or its users describe it."""

    pinhole: Pinhole
    width_px: int
    """Size of the images that the intrinsics belong to; 0 where unknown."""
    height_px: int
    depth_unit_mm: float
    """Millimetres per raw depth count."""
    source: str
    """Source of the numbers. A device's own calibration is always better."""


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
        "one device, NFOV unbinned, panispani/3DReconstruct; its lens distortion is left out",
    ),
    "azure-kinect-wfov": CameraPreset(
        Pinhole(251.964, 251.989, 261.782, 252.69),
        512,
        512,
        1.0,
        "WFOV 2x2 binned, from the NFOV device's calibration of the whole sensor; its lens distortion is left out",
    ),
}


def _nominal(
    width_px: int, height_px: int, across_deg: float, down_deg: float, unit_mm: float, of: str
) -> CameraPreset:
    """A camera of this field of view whose axis is in the middle of the image."""
    fx_px = width_px / 2 / math.tan(math.radians(across_deg / 2))
    fy_px = height_px / 2 / math.tan(math.radians(down_deg / 2))
    pinhole = Pinhole(round(fx_px, 1), round(fy_px, 1), (width_px - 1) / 2, (height_px - 1) / 2)
    source = f"nominal: {across_deg:g} x {down_deg:g} degrees, {of}"
    return CameraPreset(pinhole, width_px, height_px, unit_mm, source)


CAMERAS |= {
    "kinect-v1": _nominal(640, 480, 58.59, 45.64, 1.0, "the field of view that OpenNI states"),
    "kinect-v2": _nominal(512, 424, 70.6, 60.0, 1.0, "Microsoft; its lens distortion is left out"),
    "realsense-l515": _nominal(1024, 768, 70.0, 55.0, 0.25, "the data sheet; its lens distortion is left out"),
    "oak-d": _nominal(640, 400, 72.0, 50.0, 1.0, "the data sheet's mono cameras"),
    "iphone-truedepth": _nominal(640, 480, 59.0, 46.0, 1.0, "measured by users; AVCameraCalibrationData is exact"),
    "orbbec-femto-bolt": CameraPreset(
        Pinhole(504.0, 504.0, 319.5, 287.5),
        640,
        576,
        1.0,
        "nominal: the depth module of the Azure Kinect, NFOV unbinned",
    ),
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


def as_camera(camera: Any) -> CameraPreset:
    """The camera that a caller names or describes.

    Args:
        camera: Name of a preset, a `CameraPreset`, a `Pinhole` or four numbers (fx, fy, cx, cy in pixels), a 3 x 3
            intrinsic matrix, or pyrealsense2's intrinsics. A size of 0 x 0 in the answer means unknown.

    Raises:
        ValueError: none of these, or numbers that no camera has.
    """
    if isinstance(camera, str):
        return camera_named(camera)
    if isinstance(camera, CameraPreset):
        return _checked(camera)
    if all(hasattr(camera, name) for name in ("fx", "fy", "ppx", "ppy", "width", "height")):
        pinhole = Pinhole(float(camera.fx), float(camera.fy), float(camera.ppx), float(camera.ppy))
        if any(getattr(camera, "coeffs", ())):
            warnings.warn(
                f"The camera's lens distortion {list(camera.coeffs)} is left out, which moves joints far from the "
                "image's centre. Undistort the images first.",
                stacklevel=3,
            )
        return _checked(CameraPreset(pinhole, int(camera.width), int(camera.height), 1.0, "pyrealsense2"))
    try:
        numbers = np.asarray(camera, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape == (3, 3):
        if numbers[0, 1] or numbers[1, 0] or numbers[2].tolist() != [0, 0, 1]:
            raise ValueError(
                f"Found the intrinsic matrix {numbers.tolist()}, expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in "
                "pixels."
            )
        pinhole = Pinhole(*(float(numbers[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))))
        return _checked(CameraPreset(pinhole, 0, 0, 1.0, "an intrinsic matrix"))
    if numbers.shape == (4,):
        return _checked(CameraPreset(Pinhole(*numbers.tolist()), 0, 0, 1.0, "four numbers"))
    raise ValueError(
        f"Found {camera!r} as the camera. Expected Pinhole(fx_px, fy_px, cx_px, cy_px), four numbers, a 3 x 3 matrix, "
        f"pyrealsense2 intrinsics, or one of {', '.join(CAMERAS)}."
    )


def _checked(camera: CameraPreset) -> CameraPreset:
    pinhole = camera.pinhole
    if not (all(map(math.isfinite, pinhole)) and pinhole.fx_px > 0 and pinhole.fy_px > 0):
        raise ValueError(f"Invalid camera {pinhole}: all numbers must be finite, and the focal lengths positive.")
    return camera


def camera_named(name: str) -> CameraPreset:
    """The preset of that name.

    Raises:
        ValueError: no such preset. The message lists those there are.
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
    """A camera as a command line names it: a preset, or `fx,fy,cx,cy[,unit_mm]`.

    Focal lengths and centre are in pixels of the image as used; `unit_mm` is 1 unless given. The size of the image
    is not part of the text: then it is 0 x 0, unknown.

    Raises:
        ValueError: neither a preset nor four or five numbers, or numbers that no camera has.
    """
    if "," not in text:
        return camera_named(text.strip())
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
            f"No camera has the numbers {text!r}: all must be finite, and the focal lengths (first two) and the "
            "depth unit (fifth) positive."
        )
    return CameraPreset(Pinhole(fx, fy, cx, cy), 0, 0, unit_mm, "the command line")
