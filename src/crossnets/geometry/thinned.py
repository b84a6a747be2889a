"""Frames as the detector sees them: thinned to pixels of one angle on every sensor, with one cell for 4 x 4 of them.

The maps follow CenterNet (Zhou et al. 2019): a peak of the score is a hand. numpy and OpenCV alone.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt16

from crossnets.geometry.support import unsupported
from crossnets.types import Pinhole

WORKING_FOCAL_PX = 118.0
"""A frame is thinned by the whole number that brings its focal length nearest to this, by ratio."""
CELL_PX, MULTIPLE_PX = 4, 16
"""Side of a cell, and what the sides of an image must be multiples of."""
CHANNELS = 2
NEAREST_MM = 170.0
"""Nearer depths look like this one."""
INVERSE_MM = 500.0
"""The first channel of an image is this over the depth."""
WINDOW_PX, RELIEF_MM = 9, 40.0
"""Side of the window whose mean a pixel is compared with, and the difference that becomes 1 in the second channel."""
_NONE = np.float32(1e-9)
"""Added to the number of seen pixels, so that a mean over none is a number. It is lost when added to 1 or more."""
DEPTH_UNIT_MM, FALLBACK_MM = 100.0, 500.0
"""Unit of the map `depth`, and the depth that it starts from where nothing is seen."""
AROUND_PX = 12
"""The map `depth` starts from the nearest depth in a square of this side around the cell."""
LENGTH_MM = 180.0
"""The map `log_length` is relative to this length of a hand."""


class Maps(NamedTuple):
    """Outputs of the network for a batch, one value for each cell."""

    score: Float[np.ndarray, "B H W"]
    """Logit of the centre of a hand, the mean of its joints, being in this cell."""
    column: Float[np.ndarray, "B H W"]
    """Column of the centre from the cell's middle, in cells."""
    row: Float[np.ndarray, "B H W"]
    depth: Float[np.ndarray, "B H W"]
    """Depth of the centre behind the nearest surface around, in units of 100 mm."""
    side: Float[np.ndarray, "B H W"]
    """Logit: above 0 a right hand."""
    log_length: Float[np.ndarray, "B H W"]
    """Log of the hand's length over 180 mm, wrist to tip of the middle finger."""


def stride_of(camera: Pinhole) -> int:
    """Pixels of this camera's frames that become one."""
    return max(1, round(float(np.sqrt(camera.fx_px * camera.fy_px)) / WORKING_FOCAL_PX))


def thinned_camera(camera: Pinhole, stride: int) -> Pinhole:
    """The camera of frames of which every `stride`-th pixel is kept, beginning with number `stride // 2`."""
    first = stride // 2
    return Pinhole(
        camera.fx_px / stride,
        camera.fy_px / stride,
        (camera.cx_px - first) / stride,
        (camera.cy_px - first) / stride,
    )


def thin(depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], stride: int) -> Float32[np.ndarray, "h w"]:
    """Every `stride`-th pixel that its neighbours support, in zeros up to whole multiples of 16.

    A zero means that nothing is seen.
    """
    part = depth_mm[stride // 2 :: stride, stride // 2 :: stride]
    height, width = (-(-side // MULTIPLE_PX) * MULTIPLE_PX for side in part.shape)
    out = np.zeros((height, width), np.float32)
    out[: part.shape[0], : part.shape[1]] = part
    if part.dtype.kind != "u":  # whole numbers from 0 on are all depths
        out[~((out > 0) & (out < np.inf))] = 0
    out[: part.shape[0], : part.shape[1]][unsupported(depth_mm, stride) > 0] = 0
    return out


def as_image(thinned_mm: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "2 H W"]:
    """The network's image of a thinned frame: 0.5 m divided by the depth, and how far before its surroundings.

    Both are 0 where nothing is seen, as beyond the image's edge: nothing is infinitely far.
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
    """Pixel of a thinned frame at a place in cells, whose middles are whole numbers."""
    return CELL_PX * place + (CELL_PX - 1) / 2


def nearest_around(inverse: Float[np.ndarray, "H W"], row: int, column: int) -> float:
    """Nearest depth around a cell in mm, from the first channel of the image."""
    margin = (AROUND_PX - CELL_PX) // 2
    rows, columns = (slice(max(0, CELL_PX * k - margin), CELL_PX * (k + 1) + margin) for k in (row, column))
    most = float(inverse[rows, columns].max())
    return INVERSE_MM / most if most > 0 else FALLBACK_MM
