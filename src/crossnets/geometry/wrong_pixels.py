"""Pixels that no surface supports: wrong pixels in front of the hand, and mixtures of two surfaces at their edges.

Cameras deliver such pixels at the edges of objects. Resizing and smoothing filters also produce them, because they mix
a surface with the background or with invalid pixels. A pixel of a surface has neighbours of about its depth. At an edge
these are five of eight neighbours, and at a corner they are three. Mixed pixels have two along a straight edge, and
three or four where the distance of the edge from the pixels changes slowly.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8, UInt16

WITHIN_MM = 20
"""Neighbours whose depths differ by less are on one surface. Such a surface has a slope of at most 85 degrees."""
# 3, 4 and 5 were tried on resized and blurred rendered frames of five sensors (docs/cameras.md). 4 was best.
LEAST = 4
"""Least number of supporting neighbours. The corners of surfaces are lost with it."""
_NEAREST_MM = 120
"""Nearer depth is wrong, because no depth camera measures there."""
# A blur mixes the rim of a hand with invalid pixels. The outer pixels of the rim lose their support, and the inner ones
# are only a little too near. 5, 7 and 10 mm were tried on rendered frames and CVAR's (docs/cameras.md).
_RIM_MM = 7
"""Least distance in front of a neighbour at which a pixel beside a removed one is mixed as well."""
_SURFACE_MM = 30
"""Farther neighbours are on another surface."""
_NOT_REMOVED_MM = 1e6
"""Stands for pixels that were not removed in a search for the nearest removed pixel."""
_OFFSETS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


def unsupported(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    stride: int = 1,
    *,
    within_mm: int = WITHIN_MM,
    least: int = LEAST,
) -> UInt8[np.ndarray, "h w"]:
    """Find pixels that are too near, or have fewer than four of their eight neighbours within 20 mm of their depth.

    Args:
        depth_mm: Depth image. Invalid pixels are 0 or NaN.
        stride: Only every `stride`-th pixel is examined, starting with number `stride // 2`.
        within_mm: Largest difference from the depth of a neighbour that supports a pixel.
        least: Least number of neighbours that support a pixel.

    Returns:
        1 where a pixel is unsupported, else 0.
    """
    first = stride // 2
    around = cv2.copyMakeBorder(depth_mm, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    height, width = depth_mm.shape

    def shifted(down: int, right: int) -> np.ndarray:
        rows = slice(1 + down + first, 1 + down + height, stride)
        columns = slice(1 + right + first, 1 + right + width, stride)
        part = around[rows, columns]
        return part if stride == 1 else np.ascontiguousarray(part)  # OpenCV accepts a stride of rows, but not of pixels

    here = shifted(0, 0)
    # OpenCV takes no empty images, which the thinned images of one or two rows are.
    if not here.size:
        return np.zeros(here.shape, np.uint8)
    near = np.zeros(here.shape, np.uint8)
    for down, right in _OFFSETS:
        near += (cv2.absdiff(here, shifted(down, right)) <= within_mm).view(np.uint8)  # false beside NaN
    return np.asarray((near < least) | (here < _NEAREST_MM)).view(np.uint8)


def remove_wrong(cut_mm: Float32[np.ndarray, "S S"] | UInt16[np.ndarray, "S S"]) -> None:
    """Make the unsupported pixels of a crop invalid, and pixels beside them that a blur has mixed as well.

    A pixel is mixed if it touches a removed pixel that is more than 20 mm nearer, and is itself 7 to 30 mm in front of
    another neighbour.

    Args:
        cut_mm: Crop that is changed.
    """
    lost = unsupported(cut_mm) > 0
    removed = np.where(lost & (cut_mm > 0), cut_mm, _NOT_REMOVED_MM).astype(np.float32)
    cut_mm[lost] = 0
    nearest = cv2.erode(removed, np.ones((3, 3), np.uint8))
    places = np.flatnonzero(nearest < cut_mm - np.float32(WITHIN_MM))
    # Neighbours beyond the border are 0, which is behind nothing.
    kept = cv2.copyMakeBorder(cut_mm, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0).ravel()
    width = cut_mm.shape[1]
    here = (places // width + 1) * (width + 2) + places % width + 1
    offsets = np.array([down * (width + 2) + right for down, right in _OFFSETS])
    behind = kept[here[:, None] + offsets] - kept[here, None].astype(np.float32)
    mixed = ((behind > _RIM_MM) & (behind <= _SURFACE_MM)).any(axis=1)
    cut_mm[np.divmod(places[mixed], width)] = 0
