"""Filled holes: invalid pixels that a filter of a camera's kit gave the depth of a neighbour.

Such pixels continue the hand over the background, or the background over the hand. They repeat the depth of their
neighbours exactly, which noise and the slope of surfaces hardly do. Some filters fill every hole that they reach, so
that no valid pixel has an invalid one beside it in the direction of the filter. Others fill some pixels at both ends of
each hole, so that what remains of the holes lies between runs of equal depths. Both identify a filled image, also after
it was mirrored or turned.
"""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int, UInt16

# Runs of 8, 12 and 16 pixels were compared on rendered frames of six sensors, CVAR's P1, P4 and P5 and the SR305's,
# filled in librealsense's three ways. Runs of 8 remove parts of hands where depths have steps, and runs of 16 leave
# stripes.
_RUN_PX = 12
# Unfilled images of the SR305 and of CVAR have less than 0.002 in such runs, and filled ones 0.11 to 0.7.
_LEAST_SHARE = 0.05
"""Share of the valid pixels in runs that shows filled holes."""
_LEAST_STRIPED = 0.01
"""Share of the pixels in runs that differ from a valid pixel beside the run. It is 0 on a surface of one depth, and
0.02 to 1 in filled holes."""
_SHORT_RUN_PX = 3
# It is at most 0.35 in filled images of the SR305 and of CVAR.
_MOST_SMOOTH = 0.5
"""Share of the other pixels in runs of three or more above which an image has no noise, as rendered ones. Runs are
surfaces then."""
_SPARSE = 24
"""Step between the rows that are examined first. Nearly all images have a hole there, which decides the question."""
# The numbers for holes that were filled in part were chosen on 72 frames of CVAR's P1, P4 and P5 and 96 rendered ones,
# which passed librealsense's spatial filter, and on 720 rendered ones that did not.
_EDGE_RUN_PX = 4
_LEAST_EDGES = 20
_LEAST_EDGE_SHARE = 0.35
"""Share of the holes' ends beside such runs that shows that holes were filled in part. It is 0.4 to 0.9 in images that
were filled by 8 pixels. In unfilled ones it is at most 0.3, except where depth has steps, as that of a Kinect v1."""
_LEAST_EDGE_RATIO = 1.3
"""Least ratio of that share to the one inside surfaces, where steps of depth leave such runs as well."""
_INSIDE_PX = 40
"""Distance from a hole that counts as inside. Librealsense's spatial filter fills at most 32 pixels."""
_LEAST_INSIDE = 20
"""Least number of places inside surfaces. Small hands have less."""
_ALL_SMOOTH = 0.9
"""Share of the pixels that remain in runs of three or more above which an image has no noise. It is lower after the
spatial filter, which smooths, except in some rendered images."""
_MOST_FILLED_PX = 33
_FILLED_PERCENTILE = 90
_EDGE_STEP = 8


def in_runs(
    depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    least_px: int,
    along: Literal["row", "column"] = "row",
) -> Bool[np.ndarray, "H W"]:
    """Find the valid pixels in runs of at least `least_px` equal depths."""
    if along == "column":
        return in_runs(np.ascontiguousarray(depth.T), least_px).T
    runs = np.zeros(depth.shape, np.bool_)
    if depth.shape[1] < least_px or not depth.size:
        return runs
    # A run of n pixels has n - 1 pairs of equal neighbours. Each round doubles the number of pairs that are known to
    # follow each other.
    first = (depth[:, 1:] == depth[:, :-1]) & (depth[:, 1:] > 0)
    known = 1
    while known < least_px - 1:
        step = min(known, least_px - 1 - known)
        first = first[:, :-step] & first[:, step:]
        known += step
    if not first.any():
        return runs
    # The first pixel of each such run is marked now. The others are marked in the same way.
    runs[:, : first.shape[1]] = first
    marked = 1
    while marked < least_px:
        step = min(marked, least_px - marked)
        runs[:, step:] |= runs[:, :-step]
        marked += step
    return runs


class Runs(NamedTuple):
    """Runs of equal depths along rows, each of which ends at one of these pixels."""

    row: Int[np.ndarray, "N"]
    column: Int[np.ndarray, "N"]
    length_px: Int[np.ndarray, "N"]


def runs_before_holes(rows: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], most_px: int) -> Runs:
    """Find the valid pixels before an invalid one on their right, and the runs of equal depths that end there.

    Args:
        rows: Rows of a depth image.
        most_px: Runs are measured up to this length.
    """
    valid = _valid(rows)
    places = np.flatnonzero(valid[:, :-1] & ~valid[:, 1:])
    row, column = np.divmod(places, max(rows.shape[1] - 1, 1))
    return Runs(row, column, _lengths(rows, row, column, most_px))


def without_filling(
    depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
) -> Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]:
    """Make pixels invalid that hole filling gave the depth of a neighbour.

    Where all holes were filled, they are all pixels in runs of 12 or more equal depths along rows or columns, so a
    little of the surfaces is lost as well. Where holes were filled in part, each hole is widened by as many pixels as
    the runs beside holes have.

    Args:
        depth: Depth image. Invalid pixels are 0, NaN or infinite.

    Returns:
        A changed copy if the image shows filled holes, else the image itself.
    """
    if _is_unfilled(depth):
        return depth
    valid = _valid(depth)
    if not _has_pairs(depth, _SPARSE) or _has_holes(np.stack((valid[:-2], valid[1:-1], valid[2:]), axis=1)):
        return _without_partial_filling(depth)
    # Filters leave the first column or the first and last row as they are. An image without any invalid pixel is
    # rather a rendered one, whose surfaces may have steps of depth.
    if valid.all():
        return depth
    along_rows = in_runs(depth, _RUN_PX) & valid
    along_columns = in_runs(depth, _RUN_PX, "column") & valid
    if not (_shows_filling(depth, along_rows, valid) or _shows_filling(depth.T, along_columns.T, valid.T)):
        return depth
    filled = along_rows | along_columns
    if _are_smooth(depth, valid & ~filled, _MOST_SMOOTH):
        return depth
    changed = depth.copy()
    changed[filled] = 0
    return changed


def _are_smooth(
    depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], pixels: Bool[np.ndarray, "H W"], least_share: float
) -> bool:
    """Whether this share of some pixels lies in runs of three or more equal depths, as in images without noise."""
    smooth = np.count_nonzero(pixels & in_runs(depth, _SHORT_RUN_PX))
    return bool(smooth >= least_share * np.count_nonzero(pixels))


def _shows_filling(
    depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    runs: Bool[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"],
) -> bool:
    """Whether there are enough runs along rows, and they are striped."""
    if np.count_nonzero(runs) < _LEAST_SHARE * np.count_nonzero(valid):
        return False
    return are_striped(depth[1:-1], runs[1:-1], depth[:-2], depth[2:])


def are_striped(
    depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    runs: Bool[np.ndarray, "H W"],
    above: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    below: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
) -> bool:
    """Whether runs along rows differ from the rows above and below. They do not on a surface of one depth.

    Args:
        depth: Some rows of a depth image.
        runs: Pixels in runs of equal depth.
        above: The row above each row.
        below: The row below each row.
    """
    striped = runs & differing(depth, above, below)
    return bool(np.count_nonzero(striped) > _LEAST_STRIPED * np.count_nonzero(runs))


def differing(
    depth: Float32[np.ndarray, "*pixels"] | UInt16[np.ndarray, "*pixels"],
    above: Float32[np.ndarray, "*pixels"] | UInt16[np.ndarray, "*pixels"],
    below: Float32[np.ndarray, "*pixels"] | UInt16[np.ndarray, "*pixels"],
) -> Bool[np.ndarray, "*pixels"]:
    """Find the pixels whose depth differs from a valid pixel above or below. The arguments are those of
    `are_striped`, or some of their pixels."""
    return ((above > 0) & (above != depth)) | ((below > 0) & (below != depth))


def _without_partial_filling(
    depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
) -> Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]:
    """Widen the holes of an image that a filter made narrower. Other images are returned themselves."""
    width_px = _filled_px(depth)
    if not width_px:
        return depth
    invalid = (~_valid(depth)).view(np.uint8)
    shape = np.ones((1, 2 * width_px + 1), np.uint8)
    widened = cv2.dilate(invalid, shape, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    remaining = np.asarray(widened) == 0
    if _are_smooth(depth, remaining, _ALL_SMOOTH):
        return depth
    changed = depth.copy()
    changed[~remaining] = 0
    return changed


def _filled_px(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> int:
    """Number of pixels by which a filter along rows filled each hole at both ends. 0 if it did not."""
    ends = _ends_of_holes(depth)
    share = ends.share()
    few = len(ends.lengths_px) < _LEAST_EDGES or len(ends.inside_px) < _LEAST_INSIDE
    if few or share < max(_LEAST_EDGE_SHARE, _LEAST_EDGE_RATIO * ends.inside()):
        return 0
    return int(np.percentile(ends.lengths_px, _FILLED_PERCENTILE))


class _Ends(NamedTuple):
    """The runs of equal depths that end at holes, in some rows."""

    lengths_px: Int[np.ndarray, "N"]
    """Number of the equal depths, at most 33."""
    inside_px: Int[np.ndarray, "M"]
    """Number of those that end 40 pixels before a hole, at most 4."""

    def share(self) -> float:
        """Share of the holes' ends that runs of four or more lead to."""
        return float(np.mean(self.lengths_px >= _EDGE_RUN_PX)) if len(self.lengths_px) else 0.0

    def inside(self) -> float:
        """The same share of the places inside surfaces."""
        return float(np.mean(self.inside_px >= _EDGE_RUN_PX)) if len(self.inside_px) else 0.0


def _ends_of_holes(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> _Ends:
    """Measure the runs on both sides of the holes in every eighth row."""
    rows = depth[_EDGE_STEP // 2 :: _EDGE_STEP]
    lengths_px = []
    inside_px = []
    for seen in (rows, rows[:, ::-1]):
        ends = runs_before_holes(seen, _MOST_FILLED_PX)
        lengths_px.append(ends.length_px)
        # A place is inside if the pixels between it and the hole are valid, of which some are examined.
        far = ends.column >= _INSIDE_PX
        row = ends.row[far]
        column = ends.column[far] - _INSIDE_PX
        between = np.all([_valid(seen[row, column + _INSIDE_PX * part // 4]) for part in range(4)], axis=0)
        inside_px.append(_lengths(seen, row[between], column[between], _EDGE_RUN_PX))
    return _Ends(np.concatenate(lengths_px), np.concatenate(inside_px))


def _lengths(
    seen: Float32[np.ndarray, "N W"] | UInt16[np.ndarray, "N W"],
    row: Int[np.ndarray, "K"],
    column: Int[np.ndarray, "K"],
    most: int,
) -> Int[np.ndarray, "K"]:
    """Number of equal depths in a row that end at each of these pixels, at most `most`."""
    last = seen[row, column]
    lengths = np.ones(len(row), np.int64)
    longer = np.arange(len(row))  # places whose runs go on
    for before in range(1, most):
        longer = longer[column[longer] >= before]
        longer = longer[seen[row[longer], column[longer] - before] == last[longer]]
        if not len(longer):
            break
        lengths[longer] += 1
    return lengths


def _valid(depth: np.ndarray) -> np.ndarray:
    return depth > 0 if depth.dtype.kind == "u" else (depth > 0) & (depth < np.inf)


def _is_unfilled(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> bool:
    """Whether a few rows have holes in all directions, and hardly runs of equal depths before them.

    Nearly all images are recognised here, in a quarter of the time that the other functions need. These decide if the
    share of runs is more than half of the one that shows filling.
    """
    triples = depth[np.arange(0, len(depth) - 2, _SPARSE)[:, None] + np.arange(3)]
    all_valid = _valid(triples)
    if not _has_holes(all_valid):
        return False
    rows = triples[:, 1]
    valid = all_valid[:, 1]
    ends = valid[:, :-1] > valid[:, 1:]
    runs = ends & in_runs(rows, _EDGE_RUN_PX)[:, :-1]
    return bool(np.count_nonzero(runs) <= 0.5 * _LEAST_EDGE_SHARE * np.count_nonzero(ends))


def _has_holes(valid: Bool[np.ndarray, "N 3 W"]) -> bool:
    """Whether valid pixels have invalid ones beside them in each of the four directions.

    A filter in one direction leaves none in that direction, and filters with all neighbours leave none below.

    Args:
        valid: Valid pixels of some rows, each between the one above it and the one below it.
    """
    above = valid[:, 0, 1:-1]
    here = valid[:, 1]
    below = valid[:, 2, 1:-1]
    inner = here[:, 1:-1]
    return all(bool(np.any(beside > inner)) for beside in (here[:, :-2], here[:, 2:], above, below))


def _has_pairs(depth: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], step: int) -> bool:
    """Whether enough pixels of every `step`-th row equal a neighbour that the share in runs may be large enough."""
    here = depth[1:-1:step]
    valid = _valid(here)
    beside = np.count_nonzero((here[:, 1:] == here[:, :-1]) & valid[:, 1:])
    above = np.count_nonzero((here == depth[:-2:step][: len(here)]) & valid)
    return bool(max(beside, above) > 0.5 * _LEAST_SHARE * np.count_nonzero(valid))
