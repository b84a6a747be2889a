"""Whole frames of a sphere-mesh, patch by patch; compiled. `raster.py` describes the arguments."""

from typing import no_type_check

import numpy as np
from numba import prange

from crossnets.synth.casting import patches
from crossnets.synth.compiled import compiled, compiled_parallel


@compiled
@no_type_check
def clip(depth, column_seen, row_seen, front, back):
    """Clamp depth nearer than `front`, and set depth that is farther than `back` or unseen to 0, in place."""
    for b in range(depth.shape[0]):
        near, far = np.float32(front[b]), np.float32(back[b])
        for v in range(depth.shape[1]):
            row, columns = depth[b, v], column_seen[b]
            for u in range(row.size):
                seen = row_seen[b, v] & columns[u] & (row[u] > 0) & (row[u] <= far)
                row[u] = max(row[u], near) if seen else np.float32(0)


@compiled
@no_type_check
def normalise(depth, middle, half):
    """Normalise depth in place: -1 at the front of each cube, whose half side is `half`, to 1 at its back and where it
    is 0."""
    for b in range(depth.shape[0]):
        middle_mm, half_mm, one = middle[b], half[b], np.float32(1)
        for v in range(depth.shape[1]):
            row = depth[b, v]
            for u in range(row.size):
                value = (row[u] - middle_mm) / half_mm
                value = min(max(value, -one), one)
                row[u] = value if row[u] > 0 else one


@compiled
@no_type_check
def cast_serial(centers, radii, pairs, capsule_pair, wedges, wedge_pairs, xs, ys, depth, patch):
    """Every frame of a batch, one after the other; `patch` may be None."""
    for b in range(len(xs)):
        _cast_one(b, centers, radii, pairs, capsule_pair, wedges, wedge_pairs, xs, ys, depth, patch)


@compiled_parallel
@no_type_check
def cast_parallel(centers, radii, pairs, capsule_pair, wedges, wedge_pairs, xs, ys, depth, patch):
    """As `cast_serial`, with the frames spread over numba's threads."""
    for b in prange(len(xs)):
        _cast_one(b, centers, radii, pairs, capsule_pair, wedges, wedge_pairs, xs, ys, depth, patch)


@compiled
@no_type_check
def _cast_one(b, centers, radii, pairs, capsule_pair, wedges, wedge_pairs, xs, ys, depth, patch):
    """Frame b; numba's parallel loops take no choice between an array and None themselves."""
    found = None if patch is None else patch[b]
    _cast_frame(centers[b], radii[b], pairs, capsule_pair, wedges, wedge_pairs, xs[b], ys[b], depth[b], found)


@compiled
@no_type_check
def _cast_frame(centers, radii, pairs, capsule_pair, wedges, wedge_pairs, xs, ys, depth, patch):
    """One frame: each patch of the hulls that do not hold the camera."""
    depth[:] = np.inf
    if patch is not None:
        patch[:] = -1
    num_spheres, num_pairs = len(radii), len(pairs)
    sphere_seen, pair_seen = np.zeros(num_spheres, np.bool_), np.zeros(num_pairs, np.bool_)
    for p in capsule_pair:
        a, b = pairs[p]
        if not patches.capsule_holds_camera(centers[a], radii[a], centers[b], radii[b]):
            pair_seen[p] = sphere_seen[a] = sphere_seen[b] = True
    first = num_spheres + num_pairs
    for w in range(len(wedges)):
        if _draw_between(centers, radii, pairs, wedges[w], wedge_pairs[w], xs, ys, first + 2 * w, depth, patch):
            for k in range(3):
                sphere_seen[wedges[w, k]] = pair_seen[wedge_pairs[w, k]] = True
    _draw_rest(centers, radii, pairs, sphere_seen, pair_seen, xs, ys, depth, patch)
    for v in range(len(ys)):
        row = depth[v]
        for u in range(row.size):
            row[u] = row[u] if row[u] < np.inf else np.float32(0)


@compiled
@no_type_check
def _draw_between(centers, radii, pairs, wedge, wedge_pairs, xs, ys, index, depth, patch):
    """The two triangles of a wedge; False, and nothing drawn, where the wedge holds the camera."""
    for p in wedge_pairs:
        a, b = pairs[p]
        if patches.capsule_holds_camera(centers[a], radii[a], centers[b], radii[b]):
            return False
    i, j, k = wedge
    normals, heights = np.empty((2, 3)), np.empty(2)
    if not patches.tangent_planes(centers[i], radii[i], centers[j], radii[j], centers[k], radii[k], normals):
        return True
    corners, box = np.empty((2, 3, 3)), np.empty(4)
    for side in range(2):
        for corner in range(3):
            corners[side, corner] = centers[wedge[corner]] + radii[wedge[corner]] * normals[side]
        heights[side] = (corners[side, 0] * normals[side]).sum()
    if patches.between_holds_camera(corners, normals, heights):
        return False
    for side in range(2):
        if heights[side] < 0 and patches.triangle_box(corners[side], box):
            patches.draw_triangle(corners[side], normals[side], heights[side], box, xs, ys, index + side, depth, patch)
    return True


@compiled
@no_type_check
def _draw_rest(centers, radii, pairs, sphere_seen, pair_seen, xs, ys, depth, patch):
    """The spheres and cones."""
    boxes, box = np.empty((len(radii), 4)), np.empty(4)
    for s in range(len(radii)):
        patches.sphere_box(centers[s], radii[s], boxes[s])
        if sphere_seen[s] and centers[s, 2] + radii[s] > patches.NEAR_MM:
            patches.draw_sphere(centers[s], radii[s], boxes[s], xs, ys, s, depth, patch)
    for p in range(len(pairs)):
        a, b = pairs[p]
        if pair_seen[p] and max(centers[a, 2] + radii[a], centers[b, 2] + radii[b]) > patches.NEAR_MM:
            cone = patches.cone_of(centers[a], radii[a], centers[b], radii[b])
            if cone[3] > 0:
                patches.join_boxes(boxes[a], boxes[b], box)
                patches.draw_cone(centers[a], cone, box, xs, ys, len(radii) + p, depth, patch)
