"""Compiled kernels that draw whole frames of a sphere-mesh, patch by patch. `raster.py` describes the arguments."""

from typing import no_type_check

import numpy as np

from crossnets.synth.casting import patches
from crossnets.synth.compiled import compiled


@compiled
@no_type_check
def clip(depth, column_seen, row_seen, front, back):
    """Clamp depth nearer than `front`, and set depth beyond `back` or in hidden rows and columns to 0, in place."""
    for b in range(depth.shape[0]):
        near = np.float32(front[b])
        far = np.float32(back[b])
        columns = column_seen[b]
        for v in range(depth.shape[1]):
            row = depth[b, v]
            for u in range(row.size):
                valid = row_seen[b, v] & columns[u] & (row[u] > 0) & (row[u] <= far)
                row[u] = max(row[u], near) if valid else np.float32(0)


@compiled
@no_type_check
def normalise(depth, middle, half):
    """Map the depth of each cube to -1 at its front and 1 at its back, in place.

    Depth outside the cube is clamped. Missing depth, 0, becomes 1. `half` is half the side of each cube.
    """
    one = np.float32(1)
    for b in range(depth.shape[0]):
        middle_mm = middle[b]
        half_mm = half[b]
        for v in range(depth.shape[1]):
            row = depth[b, v]
            for u in range(row.size):
                value = (row[u] - middle_mm) / half_mm
                value = min(max(value, -one), one)
                row[u] = value if row[u] > 0 else one


@compiled
@no_type_check
def cast_frames(centers, radii, pairs, capsule_pair, wedges, wedge_pairs, xs, ys, depth, patch):
    """Draw the frames of a batch one after the other. `patch` may be None."""
    for b in range(len(xs)):
        patch_b = None if patch is None else patch[b]
        _cast_frame(centers[b], radii[b], pairs, capsule_pair, wedges, wedge_pairs, xs[b], ys[b], depth[b], patch_b)


# Hulls that contain the camera are not drawn. Wedges are tested and drawn first. They mark the spheres and cones of
# the visible hulls, which are then drawn once each, however many hulls share them.
@compiled
@no_type_check
def _cast_frame(centers, radii, pairs, capsule_pair, wedges, wedge_pairs, xs, ys, depth, patch):
    """Draw one frame."""
    depth[:] = np.inf
    if patch is not None:
        patch[:] = -1
    num_spheres = len(radii)
    num_pairs = len(pairs)
    draw_sphere = np.zeros(num_spheres, np.bool_)
    draw_pair = np.zeros(num_pairs, np.bool_)
    for p in capsule_pair:
        a, b = pairs[p]
        if not patches.capsule_holds_camera(centers[a], radii[a], centers[b], radii[b]):
            draw_pair[p] = draw_sphere[a] = draw_sphere[b] = True
    first = num_spheres + num_pairs
    for w in range(len(wedges)):
        if _draw_triangles(centers, radii, pairs, wedges[w], wedge_pairs[w], xs, ys, first + 2 * w, depth, patch):
            for k in range(3):
                draw_sphere[wedges[w, k]] = draw_pair[wedge_pairs[w, k]] = True
    _draw_round(centers, radii, pairs, draw_sphere, draw_pair, xs, ys, depth, patch)
    for v in range(len(ys)):
        row = depth[v]
        for u in range(row.size):
            row[u] = row[u] if row[u] < np.inf else np.float32(0)


@compiled
@no_type_check
def _draw_triangles(centers, radii, pairs, wedge, wedge_pairs, xs, ys, index, depth, patch):
    """Draw the two triangles of a wedge. Return False, and draw nothing, if the wedge contains the camera."""
    for p in wedge_pairs:
        a, b = pairs[p]
        if patches.capsule_holds_camera(centers[a], radii[a], centers[b], radii[b]):
            return False
    i, j, k = wedge
    normals = np.empty((2, 3))
    if not patches.tangent_planes(centers[i], radii[i], centers[j], radii[j], centers[k], radii[k], normals):
        return True
    corners = np.empty((2, 3, 3))
    heights = np.empty(2)
    for side in range(2):
        for corner in range(3):
            corners[side, corner] = centers[wedge[corner]] + radii[wedge[corner]] * normals[side]
        heights[side] = (corners[side, 0] * normals[side]).sum()
    if patches.between_holds_camera(corners, normals, heights):
        return False
    box = np.empty(4)
    for side in range(2):
        if heights[side] < 0 and patches.triangle_box(corners[side], box):
            patches.draw_triangle(corners[side], normals[side], heights[side], box, xs, ys, index + side, depth, patch)
    return True


@compiled
@no_type_check
def _draw_round(centers, radii, pairs, draw_sphere, draw_pair, xs, ys, depth, patch):
    """Draw the marked spheres, and the cones of the marked pairs."""
    boxes = np.empty((len(radii), 4))
    for s in range(len(radii)):
        patches.sphere_box(centers[s], radii[s], boxes[s])
        if draw_sphere[s] and centers[s, 2] + radii[s] > patches.NEAR_MM:
            patches.draw_sphere(centers[s], radii[s], boxes[s], xs, ys, s, depth, patch)
    box = np.empty(4)
    for p in range(len(pairs)):
        a, b = pairs[p]
        if draw_pair[p] and max(centers[a, 2] + radii[a], centers[b, 2] + radii[b]) > patches.NEAR_MM:
            cone = patches.cone_of(centers[a], radii[a], centers[b], radii[b])
            if cone[3] > 0:
                patches.join_boxes(boxes[a], boxes[b], box)
                patches.draw_cone(centers[a], cone, box, xs, ys, len(radii) + p, depth, patch)
