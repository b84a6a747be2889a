"""Compiled removal of pixels that a depth sensor loses: shadows of its second view, and specks."""

import math
from typing import no_type_check

import numpy as np

from crossnets.synth.compiled import compiled


# A point at column u and depth z appears at column u - f b / z of the second view. The pixels of a row are visited
# from the side of the second view. A pixel is hidden if an earlier pixel has already passed its column by more than
# half a pixel.
@compiled
@no_type_check
def shade(depth, columns, focal, shadow_mm, first, last, out):
    """Remove surfaces that the projector or second camera at x = `shadow_mm` does not see.

    A row has no depth before column `first` or after column `last`.
    """
    side = 1 if shadow_mm > 0 else -1
    shift = focal * shadow_mm
    buffer = np.empty(depth.shape[1])
    for v in range(depth.shape[0]):
        begin = first[v]
        end = last[v] + 1
        if begin >= end:
            continue
        z = depth[v, begin:end]
        column = columns[begin:end]
        row = out[v, begin:end]
        places = buffer[: end - begin]
        for i in range(places.size):
            places[i] = side * (column[i] - shift / z[i])
        passed = math.inf
        for k in range(places.size):
            i = places.size - 1 - k if side > 0 else k
            if z[i] > 0:
                if places[i] > passed + 0.5:
                    row[i] = 0
                passed = min(passed, places[i])


# A run is a stretch of a row whose neighbouring pixels all connect. Runs of consecutive rows are joined into surfaces
# with a union-find structure: `parents` leads from each run to the run that represents its surface, and `sizes` counts
# the pixels of that surface.
@compiled
@no_type_check
def remove_specks(depth, smallest, step_mm, first, behind):
    """Remove connected surfaces of fewer than `smallest` pixels. Neighbours within `step_mm` connect.

    A row has no depth before column `first` or from column `behind` on.
    """
    begins, ends, rows, parents, sizes = np.empty((5, depth.size), np.int32)
    above = 0
    count = 0
    for v in range(depth.shape[0]):
        start = count
        count = _runs(depth[v], first[v], behind[v], step_mm, begins, ends, count)
        for k in range(start, count):
            rows[k] = v
            parents[k] = k
            sizes[k] = ends[k] - begins[k]
        if v > 0:
            _join(depth[v - 1], depth[v], step_mm, begins, ends, parents, sizes, above, start, count)
        above = start
    for k in range(count):
        if sizes[_root(parents, k)] < smallest:
            depth[rows[k], begins[k] : ends[k]] = 0


@compiled
@no_type_check
def _runs(row, first, behind, step_mm, begins, ends, count):
    """Append the runs of a row to the first `count` runs. Return the new number of runs."""
    u = first
    while u < behind:
        if row[u] == 0:
            u += 1
            continue
        begins[count] = u
        u += 1
        while u < behind and row[u] > 0 and abs(row[u] - row[u - 1]) <= step_mm:
            u += 1
        ends[count] = u
        count += 1
    return count


@compiled
@no_type_check
def _join(upper, lower, step_mm, begins, ends, parents, sizes, above, start, count):
    """Join the runs of one row, `above` to `start` - 1, with those of the next, `start` to `count` - 1."""
    i = above
    for k in range(start, count):
        while i < start and ends[i] <= begins[k]:
            i += 1
        j = i
        while j < start and begins[j] < ends[k]:
            one = _root(parents, j)
            other = _root(parents, k)
            if one != other:
                for u in range(max(begins[j], begins[k]), min(ends[j], ends[k])):
                    if abs(upper[u] - lower[u]) <= step_mm:
                        parents[other] = one
                        sizes[one] += sizes[other]
                        break
            j += 1


@compiled
@no_type_check
def _root(parents, k):
    """Return the run that represents the surface of run k, and shorten the path to it."""
    while parents[k] != k:
        parents[k] = parents[parents[k]]
        k = parents[k]
    return k
