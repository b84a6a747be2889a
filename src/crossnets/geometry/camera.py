"""Pixels and millimetres, both ways, and named cameras."""

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
}


def camera_named(name: str) -> CameraPreset:
    """The preset of that name.

    Raises:
        ValueError: no such preset; the message lists those there are.
    """
    if name not in CAMERAS:
        raise ValueError(
            f"No camera is named {name!r}. Known: {', '.join(CAMERAS)}. "
            "For another sensor give its intrinsics as fx,fy,cx,cy in pixels."
        )
    return CAMERAS[name]
