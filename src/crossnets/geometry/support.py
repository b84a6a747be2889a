"""Pixels that no surface supports: wrong ones in front of the hand, and mixtures of two surfaces at their edges.

Cameras deliver such pixels at the edges of things. So do resizing and smoothing filters, which mix a surface with the
background or with pixels that are not seen. A pixel of a surface has neighbours at about its depth: at an edge five of
eight, those inside and those along the edge, and at a corner three.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8, UInt16

WITHIN_MM = 20
"""Neighbours whose depths differ by less are on one surface, which then is not steeper than 85 degrees."""
LEAST = 3
"""Least number of supporting neighbours."""
_NEAREST_MM = 120
"""Nothing nearer is seen: no depth camera measures there."""
_OFFSETS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


def unsupported(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], stride: int = 1, step_px: int = 1
) -> UInt8[np.ndarray, "h w"]:
    """Whether pixels have less than three of their eight neighbours within 20 mm of their depth, or are too near.

    Args:
        depth_mm: Depth image. Pixels that are not seen are 0.
        stride: Only every `stride`-th pixel is judged, beginning with number `stride // 2`.
        step_px: Distance of the neighbours in pixels, for images that repeat pixels.

    Returns:
        1 where a pixel is unsupported, else 0.
    """
    first = stride // 2
    around = cv2.copyMakeBorder(depth_mm, step_px, step_px, step_px, step_px, cv2.BORDER_CONSTANT, value=0)
    height, width = depth_mm.shape

    def shifted(down: int, right: int) -> np.ndarray:
        rows = slice(step_px * (1 + down) + first, step_px * (1 + down) + height, stride)
        columns = slice(step_px * (1 + right) + first, step_px * (1 + right) + width, stride)
        part = around[rows, columns]
        return part if stride == 1 else np.ascontiguousarray(part)  # OpenCV takes rows that lie apart, not pixels

    here = shifted(0, 0)
    far = np.zeros(here.shape, np.uint8)
    for down, right in _OFFSETS:
        far += (cv2.absdiff(here, shifted(down, right)) > WITHIN_MM).view(np.uint8)
    return np.asarray((far > len(_OFFSETS) - LEAST) | (here < _NEAREST_MM)).view(np.uint8)
