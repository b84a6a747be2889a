"""Checks of depth images: whether depths can be in millimetres, by their bulk, and whether holes were filled."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt16

from crossnets.geometry.filled_holes import are_striped, differing, in_runs, runs_before_holes

_METRES = 20.0
"""Depths below this are metres if they are the bulk of an image."""
_MILLIMETRES = (100.0, 65000.0)
"""Range of depths in mm that depth cameras give, without codes for pixels without depth such as 65535."""
_METRES_PER_MILLIMETRE, _LEAST_SHARE = 20, 0.005
"""Least ratio of pixels below 20 to pixels in mm, and least share of the image that they cover."""
_NEAREST_MEDIAN_MM = 150.0
"""A median depth below this is nearer than depth cameras measure."""
_RAW_INVALID = (1023, 2047)
"""Values without depth among the raw values of a Kinect v1, in 10 and 11 bits."""
_LEAST_RAW_INVALID = 0.002
"""Least share of the pixels with that value."""
_STRIDE = 8
_RUN_PX = 32
"""Number of equal depths in a row that noise and the slope of surfaces hardly leave."""
# Medians over unfilled images are 0.00 (SR305, CVAR, rendered D435, Azure Kinect and SR300) to 0.05 (rendered Kinect
# v1, whose depths have steps), and after filling 0.09 to 0.7 where a tenth of the image or more was filled.
_MANY_REPEATED = 0.08
"""Share of the valid pixels in such runs that shows filled holes."""
# Medians over unfilled images are 0.00 (SR305, CVAR, rendered sensors) to 0.05 (rendered Kinect v1), and 0.4 to 0.7
# after librealsense's spatial filter has filled 8 pixels on the SR305's images and on CVAR's.
_EDGE_RUN_PX = 8
_MANY_REPEATED_EDGES = 0.15
"""Share of the edges of holes after so many equal depths that shows that the holes were filled in part."""
_FEWEST_EDGES = 20


class DepthBulk(NamedTuple):
    """The bulk of an image's depths, which tells their unit."""

    median_mm: float
    raw: bool
    """Whether they look like the raw values of a Kinect v1 (`is_raw`)."""
    repeated: float
    """Share of the pixels that repeat their neighbours (`repeated_share`)."""
    repeated_edges: float
    """Share of the edges of holes whose pixels repeat (`repeated_edge_share`)."""


def in_metres(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> bool:
    """Whether an image is in metres. A few wrong pixels and codes for missing depth, such as 65.535, change nothing."""
    coarse = depth[::_STRIDE, ::_STRIDE]
    below = int(np.count_nonzero((coarse > 0) & (coarse < _METRES)))
    usual = int(np.count_nonzero((coarse >= _MILLIMETRES[0]) & (coarse < _MILLIMETRES[1])))
    return below > _LEAST_SHARE * coarse.size and below > _METRES_PER_MILLIMETRE * usual


def is_raw(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> bool:
    """Whether an image holds the raw values of a Kinect v1, a disparity whose values look like millimetres.

    No pixel is 0 then, and pixels without depth have the largest value of 10 or 11 bits.
    """
    coarse = depth[::_STRIDE, ::_STRIDE]
    most = coarse.max()
    if most not in _RAW_INVALID or not coarse.all() or not depth.all():
        return False
    return int(np.count_nonzero(coarse == most)) > _LEAST_RAW_INVALID * coarse.size


def bulk_of(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> DepthBulk | None:
    """Summarise the depths of an image, on a grid of pixels. None if no pixel has depth."""
    coarse = depth[::_STRIDE, ::_STRIDE]
    valid = coarse[(coarse > 0) & (coarse < _MILLIMETRES[1])]
    if not valid.size:
        return None
    return DepthBulk(float(np.median(valid)), is_raw(depth), repeated_share(depth), repeated_edge_share(depth))


def repeated_share(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> float:
    """Share of the valid pixels in long runs of equal depth, over every eighth row. Filled holes have such runs.

    It is 0 if hardly any pixel of the runs differs from those above and below it, as on a rendered wall without noise.
    """
    rows = np.arange(_STRIDE // 2, depth.shape[0] - 1, _STRIDE)
    seen = depth[rows]
    runs = in_runs(seen, _RUN_PX)
    if not runs.any() or not are_striped(seen, runs, depth[rows - 1], depth[rows + 1]):
        return 0.0
    return float(np.count_nonzero(runs) / np.count_nonzero(seen))


def repeated_edge_share(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> float:
    """Share of the left edges of holes that eight equal depths lead to, over every eighth row.

    Filters that fill holes only some pixels wide, such as librealsense's spatial filter, leave such edges. Runs
    that equal the rows above and below do not count. The share is 0 if there are few edges.
    """
    rows = np.arange(_STRIDE // 2, depth.shape[0] - 1, _STRIDE)
    seen = depth[rows]
    edges = runs_before_holes(seen, _EDGE_RUN_PX)
    if len(edges.row) < _FEWEST_EDGES:
        return 0.0
    repeated = edges.length_px == _EDGE_RUN_PX
    row = edges.row[repeated]
    column = edges.column[repeated]
    striped = differing(seen[row, column], depth[rows[row] - 1, column], depth[rows[row] + 1, column])
    return float(np.count_nonzero(striped) / len(edges.row))


def filling_fault(repeated: float, repeated_edges: float) -> str | None:
    """Describe why images with this `repeated_share` and `repeated_edge_share` have filled holes. None if they have
    not."""
    if repeated >= _MANY_REPEATED:
        return (
            f"{repeated:.0%} of the pixels repeat the depth of their neighbours in rows of {_RUN_PX} pixels and more, "
            "as after hole filling, which continues the hand over the background or the background over the hand. Most "
            "of these pixels are removed, but joints may still be off. Switch hole filling off."
        )
    if repeated_edges >= _MANY_REPEATED_EDGES:
        return (
            f"{repeated_edges:.0%} of the holes begin after {_EDGE_RUN_PX} equal depths or more, as after the hole "
            "filling of a spatial filter, which widens the hand. Most of these pixels are removed, but joints may "
            "still be a centimetre off. Switch hole filling off."
        )
    return None


def unit_fault(median_mm: float, *, raw: bool = False) -> str | None:
    """Describe why depths with this median, or raw ones, are not in millimetres. None if they may be."""
    if raw:
        return (
            "No pixel is 0, and many have the largest value of 10 or 11 bits, 1023 or 2047, expected depth in mm with "
            "0 where nothing was seen. These look like the raw values of a Kinect v1, which are a disparity. Take "
            "libfreenect's FREENECT_DEPTH_MM or FREENECT_DEPTH_REGISTERED."
        )
    expected = f"expected {_NEAREST_MEDIAN_MM:.0f} mm or more, as no depth camera measures nearer."
    if median_mm < _METRES:
        return (
            f"The median depth is {median_mm:.3g} mm, {expected} It looks like metres. Multiply by 1000, or give the "
            "depth unit in mm per count: 1 if counts are millimetres, not 0.001."
        )
    if median_mm < _NEAREST_MEDIAN_MM:
        return (
            f"The median depth is {median_mm:.3g} mm, {expected} Likely causes: a disparity image, centimetres, or a "
            "wrong depth unit. Convert disparity by depth = focal length x baseline / disparity."
        )
    return None
