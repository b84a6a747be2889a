"""Checks of whether depths can be in millimetres, by their bulk rather than by their extremes."""

import numpy as np
from jaxtyping import Float32, UInt16

_METRES = 20.0
"""Depths below this are metres if they are the bulk of an image."""
_MILLIMETRES = (100.0, 65000.0)
"""Range of depths in mm that depth cameras give, without codes for pixels without depth such as 65535."""
_METRES_PER_MILLIMETRE, _LEAST_SHARE = 20, 0.005
"""Least ratio of pixels below 20 to pixels in mm, and least share of the image that they cover."""
_NEAREST_MEDIAN_MM = 150.0
"""A median depth below this is nearer than depth cameras measure."""
_STRIDE = 8


def in_metres(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> bool:
    """Whether an image is in metres. A few wrong pixels and codes for missing depth, such as 65.535, change nothing."""
    coarse = depth[::_STRIDE, ::_STRIDE]
    below = int(np.count_nonzero((coarse > 0) & (coarse < _METRES)))
    usual = int(np.count_nonzero((coarse >= _MILLIMETRES[0]) & (coarse < _MILLIMETRES[1])))
    return below > _LEAST_SHARE * coarse.size and below > _METRES_PER_MILLIMETRE * usual


def median_mm(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> float | None:
    """Median of the depths of an image, on a grid of pixels. None if no pixel has depth."""
    coarse = depth[::_STRIDE, ::_STRIDE]
    valid = coarse[(coarse > 0) & (coarse < _MILLIMETRES[1])]
    return float(np.median(valid)) if valid.size else None


def unit_fault(median: float) -> str | None:
    """Describe why depths with this median are not in millimetres. None if they may be."""
    expected = f"expected {_NEAREST_MEDIAN_MM:.0f} mm or more, as no depth camera measures nearer."
    if median < _METRES:
        return (
            f"The median depth is {median:.3g} mm, {expected} It looks like metres. Multiply by 1000, or give the "
            "depth unit in mm per count: 1 if counts are millimetres, not 0.001."
        )
    if median < _NEAREST_MEDIAN_MM:
        return (
            f"The median depth is {median:.3g} mm, {expected} Likely causes: a disparity image, centimetres, or a "
            "wrong depth unit. Convert disparity by depth = focal length x baseline / disparity."
        )
    return None
