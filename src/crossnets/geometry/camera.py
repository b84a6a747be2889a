"""Pixels and millimetres, both ways, and named cameras."""

import math
from typing import NamedTuple

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
    """Where the numbers are from; a device's own calibration is always better."""


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


def camera_named(name: str) -> CameraPreset:
    """The preset of that name.

    Raises:
        ValueError: no such preset; the message lists those there are.
    """
    if name not in CAMERAS:
        raise ValueError(
            f"No camera is named {name!r}. Known: {', '.join(CAMERAS)}. "
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
