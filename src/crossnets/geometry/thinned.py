"""Input and output of the detector: thinned frames, whose pixels have about the same angle on every sensor, and maps.

The maps have one cell for 4 x 4 pixels. They follow CenterNet (Zhou et al. 2019): a peak of the score is a hand.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt16

from crossnets.geometry.wrong_pixels import unsupported
from crossnets.types import Pinhole

WORKING_FOCAL_PX = 118.0
"""A frame is thinned by the whole number that brings the ratio of its focal length to this one nearest to 1."""
CELL_PX = 4
"""Side of a cell."""
MULTIPLE_PX = 16
"""The sides of an image are multiples of this number."""
CHANNELS = 2
NEAREST_MM = 170.0
"""Smaller depths are clamped to this one."""
INVERSE_MM = 500.0
"""The first channel of an image is this length divided by the depth."""
WINDOW_PX = 9
"""The second channel of an image is the distance of a pixel in front of the mean of a window of this side."""
RELIEF_MM = 40.0
"""Distance that becomes 1 in the second channel."""
# Both were chosen on rendered frames of five sensors that were resized or blurred (docs/cameras.md).
_ALONE_MM = 40
_LEAST_LEFT = 2
"""A thinned pixel with fewer neighbours within this depth of its own is not part of a surface."""
_NONE = np.float32(1e-9)
"""Added to the number of valid pixels, so that the mean of an empty window is not NaN. It does not change 1 or more."""
DEPTH_UNIT_MM = 100.0
"""Unit of the map `depth`."""
FALLBACK_MM = 500.0
"""Reference depth of the map `depth` where no pixel is valid."""
AROUND_PX = 12
"""The map `depth` is relative to the nearest depth in a square of this side around the cell."""
LENGTH_MM = 180.0
"""The map `log_length` is relative to this length of a hand."""


class Maps(NamedTuple):
    """Outputs of the network for a batch, one value for each cell."""

    score: Float[np.ndarray, "B H W"]
    """Logit: above 0 this cell contains the centre of a hand, which is the mean of its joints."""
    column: Float[np.ndarray, "B H W"]
    """Column of the centre relative to the middle of the cell, in cells."""
    row: Float[np.ndarray, "B H W"]
    depth: Float[np.ndarray, "B H W"]
    """Depth of the centre behind the nearest surface around the cell, in units of 100 mm."""
    side: Float[np.ndarray, "B H W"]
    """Logit: above 0 a right hand."""
    log_length: Float[np.ndarray, "B H W"]
    """Log of the hand's length over 180 mm, from the wrist to the tip of the middle finger."""


def stride_of(camera: Pinhole) -> int:
    """Return the distance in pixels at which frames of this camera are sampled."""
    return max(1, round(float(np.sqrt(camera.fx_px * camera.fy_px)) / WORKING_FOCAL_PX))


def thinned_camera(camera: Pinhole, stride: int) -> Pinhole:
    """Return the camera of thinned frames, which keep every `stride`-th pixel, starting with number `stride // 2`."""
    first = stride // 2
    return Pinhole(
        camera.fx_px / stride,
        camera.fy_px / stride,
        (camera.cx_px - first) / stride,
        (camera.cy_px - first) / stride,
    )


def thin(depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], stride: int) -> Float32[np.ndarray, "h w"]:
    """Keep every `stride`-th pixel if its neighbours support it, and pad the frame to multiples of 16.

    Invalid and padded pixels are 0. A few wrong pixels before a hand are enough to hide it from the detector, so a
    pixel must also have neighbours at its depth among the pixels that are left.
    """
    part = depth_mm[stride // 2 :: stride, stride // 2 :: stride]
    height, width = (-(-side // MULTIPLE_PX) * MULTIPLE_PX for side in part.shape)
    out = np.zeros((height, width), np.float32)
    out[: part.shape[0], : part.shape[1]] = part
    if part.dtype.kind != "u":  # unsigned integers are always valid
        out[~((out > 0) & (out < np.inf))] = 0
    out[: part.shape[0], : part.shape[1]][unsupported(depth_mm, stride) > 0] = 0
    out[unsupported(out, within_mm=_ALONE_MM, least=_LEAST_LEFT) > 0] = 0
    return out


def as_image(thinned_mm: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "2 H W"]:
    """Compute the input of the network: 0.5 m divided by the depth, and the distance in front of the surroundings.

    Both channels are 0 at invalid pixels and beyond the edge of the image, as for a surface at infinity.
    """
    window = {"ksize": (WINDOW_PX, WINDOW_PX), "normalize": False, "borderType": cv2.BORDER_CONSTANT}
    seen = (thinned_mm > 0).view(np.uint8)
    mean = cv2.boxFilter(thinned_mm, -1, **window)
    mean /= cv2.boxFilter(seen, cv2.CV_32F, **window) + _NONE
    out = np.zeros((CHANNELS, *thinned_mm.shape), np.float32)
    cv2.copyTo(INVERSE_MM / np.maximum(thinned_mm, NEAREST_MM), seen, out[0])
    mean -= thinned_mm
    mean *= 1 / RELIEF_MM
    cv2.copyTo(np.clip(mean, -1, 1, out=mean), seen, out[1])
    return out


def cell_px(place: float) -> float:
    """Convert a place in cells, whose middles are whole numbers, to pixels of the thinned frame."""
    return CELL_PX * place + (CELL_PX - 1) / 2


def nearest_around(inverse: Float[np.ndarray, "H W"], row: int, column: int) -> float:
    """Return the nearest depth around a cell in mm, from the first channel of the image."""
    margin = (AROUND_PX - CELL_PX) // 2
    rows, columns = (slice(max(0, CELL_PX * k - margin), CELL_PX * (k + 1) + margin) for k in (row, column))
    most = float(inverse[rows, columns].max())
    return INVERSE_MM / most if most > 0 else FALLBACK_MM
