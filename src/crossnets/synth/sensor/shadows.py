"""Pixels that a depth sensor loses in a frame: those that its second view does not see, and specks. Compiled."""

import math
from typing import no_type_check

import numpy as np

from crossnets.synth.compiled import compiled


@compiled
@no_type_check
def shade(depth, columns, focal, shadow_mm, first, last, out):
    """Remove what the projector, or the second camera, at x = shadow_mm does not see.

    A point at column u and depth z is at u - f b / z there. Coming from that side, what has been passed in that view
    is hidden by what was nearer; half a pixel is forgiven. Nothing is seen before column `first` or after `last`.
    """
    side, shift = 1 if shadow_mm > 0 else -1, focal * shadow_mm
    there = np.empty(depth.shape[1])
    for v in range(depth.shape[0]):
        begin, end = first[v], last[v] + 1
        if begin >= end:
            continue
        z, at, row, places = depth[v, begin:end], columns[begin:end], out[v, begin:end], there[: end - begin]
        for i in range(places.size):
            places[i] = side * (at[i] - shift / z[i])
        passed = math.inf
        for k in range(places.size):
            i = places.size - 1 - k if side > 0 else k
            if z[i] > 0:
                if places[i] > passed + 0.5:
                    row[i] = 0
                passed = min(passed, places[i])


@compiled
@no_type_check
def remove_specks(depth, smallest, step_mm, first, behind):
    """Remove connected surfaces of fewer pixels than `smallest`; neighbours connect if within `step_mm`.

    Surfaces are joined from runs: stretches of a row whose neighbours all connect. Nothing is seen in a row before
    column `first` or from `behind` on.
    """
    begins, ends, rows, parents, sizes = np.empty((5, depth.size), np.int32)
    above, count = 0, 0
    for v in range(depth.shape[0]):
        start = count
        count = _runs(depth[v], first[v], behind[v], step_mm, begins, ends, count)
        for k in range(start, count):
            rows[k], parents[k], sizes[k] = v, k, ends[k] - begins[k]
        if v > 0:
            _join(depth[v - 1], depth[v], step_mm, begins, ends, parents, sizes, above, start, count)
        above = start
    for k in range(count):
        if sizes[_root(parents, k)] < smallest:
            depth[rows[k], begins[k] : ends[k]] = 0


@compiled
@no_type_check
def _runs(row, first, behind, step_mm, begins, ends, count):
    """List the runs of a row behind the first `count`; returns how many there are then."""
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
            one, other = _root(parents, j), _root(parents, k)
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
    """The run that stands for the surface of run k; shortens the way there."""
    while parents[k] != k:
        parents[k] = parents[parents[k]]
        k = parents[k]
    return k
