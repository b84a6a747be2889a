"""Pictures of depth images and skeletons, for reports and the viewer."""

from typing import Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from crossnets.geometry.skeleton import Skeleton

Background: TypeAlias = Literal["dark", "white"]

_BACKGROUNDS = {"dark": (0.075, 0.085, 0.105), "white": (1.0, 1.0, 1.0)}
# Near surfaces are warm and far surfaces are cool. Depth is then visible at a glance. Both colours are dull, so the
# colours of the fingers remain distinct on them.
_NEAR_RGB = np.array([0.76, 0.73, 0.69])
_FAR_RGB = np.array([0.25, 0.32, 0.42])
_SUBPIXEL_BITS = 4
"""Fractional bits of OpenCV's fixed-point coordinates."""
_MILLIMETRES_PER_SLOPE = 3.0
"""Depth change in mm between neighbouring pixels that is shaded as a slope of 45 degrees."""


def depth_to_rgb(depth_mm: Float32[np.ndarray, "H W"], background: Background = "dark") -> UInt8[np.ndarray, "H W 3"]:
    """Shade a depth image or crop as a surface lit from the lower right.

    Pixels of depth zero show the background. The colours span the 1st to the 99th percentile of the valid depths.
    """
    valid = depth_mm > 0
    picture = np.empty((*depth_mm.shape, 3))
    picture[:] = _BACKGROUNDS[background]
    if valid.any():
        near, far = np.percentile(depth_mm[valid], (1, 99))
        depth = np.where(valid, depth_mm, far).astype(np.float32)
        behind = np.clip((depth - near) / max(far - near, 1.0), 0, 1)[..., None]
        colour = _NEAR_RGB + behind * (_FAR_RGB - _NEAR_RGB)
        picture = np.where(valid[..., None], colour * _shade(depth)[..., None], picture)
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def draw_skeleton(
    image_rgb: UInt8[np.ndarray, "H W 3"],
    points_px: Float[np.ndarray, "J 2"],
    skeleton: Skeleton,
    colour: tuple[float, float, float] | None = None,
    thickness_px: int = 2,
    radius_px: float = 3.0,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw bones as lines and joints as discs on a copy of the image, antialiased.

    Args:
        image_rgb: The picture to draw on.
        points_px: Joints in pixels of the image, (u, v). They may lie outside. Joints that are not finite are skipped.
        skeleton: Defines the bones and, if `colour` is None, the colour of each finger.
        colour: One RGB colour, 0 to 1, for all bones and joints. Reports draw labels in white and leave predictions at
            None.
        thickness_px: Width of a bone.
        radius_px: Radius of a joint. No joints are drawn if it is 0.
    """
    image = np.ascontiguousarray(image_rgb).copy()
    # OpenCV's fixed-point coordinates overflow far outside the image, so distant points are clipped first.
    limit = 4.0 * max(image.shape)
    finite = np.asarray(np.isfinite(points_px).all(axis=1))
    clipped = np.clip(np.where(finite[:, None], points_px, 0), -limit, limit)
    points = [(int(u), int(v)) for u, v in np.round(clipped * 2**_SUBPIXEL_BITS)]
    colours = [tuple(255 * c for c in (colour or finger)) for finger in skeleton.colours]
    for parent, child in skeleton.bones:
        if finite[parent] and finite[child]:
            cv2.line(image, points[parent], points[child], colours[child], thickness_px, cv2.LINE_AA, _SUBPIXEL_BITS)
    for joint in np.flatnonzero(finite) if radius_px > 0 else ():
        radius = round(radius_px * 2**_SUBPIXEL_BITS)
        cv2.circle(image, points[joint], radius, colours[joint], cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    return image


def _shade(depth_mm: Float32[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Brightness of each pixel, 0.55 to 1, from the slope of the smoothed surface."""
    smooth = cv2.GaussianBlur(depth_mm, (0, 0), 1.2)
    slope_v, slope_u = (gradient / _MILLIMETRES_PER_SLOPE for gradient in np.gradient(smooth))
    # Lambertian shading: the cosine between the surface normal (slope_u, slope_v, 1) and a light from (0.5, 0.5, 1).
    # The quotient is 1 for a surface that faces the viewer.
    facing = (1.0 + 0.5 * slope_u + 0.5 * slope_v) / np.sqrt(1.5 * (1 + slope_u**2 + slope_v**2))
    return 0.55 + 0.45 * np.clip(facing / np.sqrt(1 / 1.5), 0, 1)
