"""Compiled rasteriser that draws triangle meshes into depth images of the ray-caster.

Rays start at the camera and run along d = (x, y, 1), as in `patches.py`. For a triangle with the corners a, b, c the
three products d.(b x c), d.(c x a), d.(a x b) have equal signs where a ray d hits it, and the depth of the hit is
a.(b x c) divided by their sum. The depth is therefore exact in perspective, and neighbouring triangles share their edge
functions, so that no ray passes between them.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Float32, Int16, Int32

from crossnets.synth.casting.patches import NEAR_MM, first_at_least
from crossnets.synth.compiled import compiled


class TriangleMesh(NamedTuple):
    """A surface of triangles in the camera frame."""

    vertices_mm: Float[np.ndarray, "V 3"]
    faces: Int32[np.ndarray, "F 3"]
    """Indices of the corners of each triangle, counter-clockwise as seen from outside."""


def draw_triangles(
    mesh: TriangleMesh,
    x: Float[np.ndarray, "W"],
    y: Float[np.ndarray, "H"],
    depth_mm: Float32[np.ndarray, "H W"],
    patch: Int16[np.ndarray, "H W"] | None = None,
    index: int = 0,
) -> None:
    """Draw the faces of a mesh that face the camera where they are nearer than the surfaces in the image, in place.

    Triangles that reach nearer than 1 mm to the plane of the camera are left out.

    Args:
        mesh: The surface. Its open ends show nothing of its inside.
        x: Slope x/z of each column, ascending.
        y: Slope y/z of each row, ascending.
        depth_mm: Image to draw into, 0 where it is empty.
        patch: Index of the surface of each pixel, or None. It is updated too.
        index: Index to write into `patch`.

    Raises:
        ValueError: a vertex is not finite, or a face refers to a missing vertex.
    """
    vertices = np.ascontiguousarray(mesh.vertices_mm, np.float64)
    faces = mesh.faces
    if not np.isfinite(vertices).all():
        raise ValueError("Cannot draw the mesh: its vertices must be finite.")
    if faces.size and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise ValueError(
            f"The faces use vertices {faces.min()} to {faces.max()}, but the mesh has {len(vertices)} vertices."
        )
    rays = (np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64))
    _draw(vertices, np.ascontiguousarray(faces), *rays, depth_mm, patch, index)


@compiled
@no_type_check
def _draw(vertices, faces, xs, ys, depth, patch, index):
    # First the column and row of each vertex are found once, because six triangles share it on average. -1 marks
    # vertices that are too near.
    columns = np.empty(len(vertices), np.int32)
    rows = np.empty(len(vertices), np.int32)
    for i in range(len(vertices)):
        z = vertices[i, 2]
        columns[i] = first_at_least(xs, vertices[i, 0] / z) if z > NEAR_MM else -1
        rows[i] = first_at_least(ys, vertices[i, 1] / z) if z > NEAR_MM else -1
    for f in range(len(faces)):
        i, j, k = faces[f]
        left = min(columns[i], columns[j], columns[k])
        right = min(max(columns[i], columns[j], columns[k]) + 1, xs.size)
        top = min(rows[i], rows[j], rows[k])
        bottom = min(max(rows[i], rows[j], rows[k]) + 1, ys.size)
        if left < 0 or left >= right or top >= bottom:
            continue
        _draw_triangle(vertices[i], vertices[j], vertices[k], xs, ys, (left, right, top, bottom), depth, patch, index)


@compiled
@no_type_check
def _cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@compiled
@no_type_check
def _draw_triangle(a, b, c, xs, ys, box, depth, patch, index):
    # Each edge function is the plane through the camera and one side of the triangle.
    px, py, pz = _cross(c, b)
    qx, qy, qz = _cross(a, c)
    rx, ry, rz = _cross(b, a)
    volume = a[0] * px + a[1] * py + a[2] * pz
    # The volume is positive for triangles that face the camera, and so are the edge functions inside.
    if volume <= 0:
        return
    # The tolerance covers the rounding of an edge whose two triangles compute it in another order.
    least = -1e-12 * volume
    left, right, top, bottom = box
    x = xs[left:right]
    for v in range(top, bottom):
        y = ys[v]
        p_row = py * y + pz
        q_row = qy * y + qz
        r_row = ry * y + rz
        row = depth[v, left:right]
        ids = None if patch is None else patch[v, left:right]
        for u in range(x.size):
            p = px * x[u] + p_row
            q = qx * x[u] + q_row
            r = rx * x[u] + r_row
            t = volume / (p + q + r)
            hit = (p >= least) & (q >= least) & (r >= least) & ((t < row[u]) | (row[u] == 0))
            row[u] = t if hit else row[u]
            if ids is not None:
                ids[u] = index if hit else ids[u]
