"""Rays against the patches that bound a sphere-mesh; compiled.

The hull of two spheres is bounded by parts of the spheres and by a cone that touches both; the hull of three by those
of its three pairs and by two triangles in the planes that touch all three (Tkach, Pauly, Tagliasacchi 2016, section 3).
Every patch lies inside its hull, so the nearest patch along a ray is where the ray enters. No patch needs to be cut
where another takes over. Where no cone or plane touches (a sphere inside another, spheres in a line) there is none.

Rays start at the camera and run along d = (x, y, 1), so that the ray parameter t is the depth. Everything is computed
in float64; the tests hold it to 0.01 mm. The kernels have no annotations: `no_type_check` keeps the tests' import
hook away from functions that numba compiles.
"""

import math
from typing import no_type_check

from crossnets.synth.compiled import compiled

NEAR_MM = 1.0
"""Surfaces nearer than this are not seen."""


@compiled
@no_type_check
def first_at_least(values, x):
    """Index of the first of the ascending `values` that is not below x."""
    low, high = 0, values.size
    while low < high:
        middle = (low + high) // 2
        if values[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
@no_type_check
def _columns(xs, box):
    """The first column of a box and the one behind its last. Some more than it has, so that eights leave no rest."""
    begin, end, width = first_at_least(xs, box[0]), first_at_least(xs, box[1]), xs.size
    if begin >= end:
        return begin, begin
    end = begin + (end - begin + 7) // 8 * 8
    return (begin, end) if end <= width else (max(begin - (end - width), 0), width)


@compiled
@no_type_check
def _tangents(x, z, r):
    """Least and greatest slope x/z of rays that meet a sphere, in the plane of one image axis."""
    if z - r <= NEAR_MM:
        return -math.inf, math.inf
    root = r * math.sqrt(x * x + z * z - r * r)
    scale = 1 / (z * z - r * r)
    return (x * z - root) * scale, (x * z + root) * scale


@compiled
@no_type_check
def sphere_box(c, r, box):
    """Slopes (x least, x greatest, y least, y greatest) of the rays that may meet a sphere; none if it is behind."""
    box[0], box[1] = _tangents(c[0], c[2], r)
    box[2], box[3] = _tangents(c[1], c[2], r)


@compiled
@no_type_check
def join_boxes(a, b, box):
    """The box around two others."""
    box[0], box[1] = min(a[0], b[0]), max(a[1], b[1])
    box[2], box[3] = min(a[2], b[2]), max(a[3], b[3])


@compiled
@no_type_check
def cone_of(ca, ra, cb, rb):
    """The cone that touches two spheres: its axis (x, y, z) and the numbers d2, e, k0 of `draw_cone`.

    d2 is negative where there is none, because one sphere contains the other.
    """
    x, y, z = cb[0] - ca[0], cb[1] - ca[1], cb[2] - ca[2]
    rr = ra - rb
    m0 = x * x + y * y + z * z
    m1 = -(x * ca[0] + y * ca[1] + z * ca[2])
    m5 = ca[0] * ca[0] + ca[1] * ca[1] + ca[2] * ca[2]
    d2 = m0 - rr * rr
    if d2 <= 1e-12 * m0:
        d2 = -1.0
    return x, y, z, d2, rr * ra - m1, d2 * m5 - m1 * m1 + 2 * m1 * rr * ra - m0 * ra * ra


@compiled
@no_type_check
def _holds_camera(c, r):
    return c[0] * c[0] + c[1] * c[1] + c[2] * c[2] <= r * r


@compiled
@no_type_check
def capsule_holds_camera(ca, ra, cb, rb):
    """Whether the camera is inside the hull of two spheres."""
    if _holds_camera(ca, ra) or _holds_camera(cb, rb):
        return True
    _, _, _, d2, e, k0 = cone_of(ca, ra, cb, rb)
    return d2 > 0 and 0 < -e < d2 and k0 <= 0


@compiled
@no_type_check
def draw_sphere(c, r, box, xs, ys, index, depth, patch):
    """Write depth and patch index of a sphere where it is nearer than what is there.

    |t d - c| = r with m = c.d, a = d.d, q = c.c - r^2: t = q / (m + sqrt(m^2 - a q)).
    """
    cx, cy, cz = c[0], c[1], c[2]
    q = cx * cx + cy * cy + cz * cz - r * r
    u0, u1 = _columns(xs, box)
    for v in range(first_at_least(ys, box[2]), first_at_least(ys, box[3])):
        y = ys[v]
        m_row, a_row = cy * y + cz, y * y + 1
        x, row = xs[u0:u1], depth[v, u0:u1]
        ids = None if patch is None else patch[v, u0:u1]
        for i in range(x.size):
            m = cx * x[i] + m_row
            h = m * m - (x[i] * x[i] + a_row) * q
            t = q / (m + math.sqrt(h))
            hit = (t > NEAR_MM) & (t < row[i])
            row[i] = t if hit else row[i]
            if ids is not None:
                ids[i] = index if hit else ids[i]


@compiled
@no_type_check
def draw_cone(ca, cone, box, xs, ys, index, depth, patch):
    """As `draw_sphere`, for the cone between two spheres.

    After Inigo Quilez, "rounded cone - intersection" (iquilezles.org), with rays of any length from the camera. Along a
    ray the squared distance to the cone is k2 t^2 + 2 k1 t + k0; the ray enters at the root where that falls. With
    m2 = axis.d, the part that touches neither sphere is 0 < t m2 - e < d2.
    """
    bx, by, bz, d2, e, k0 = cone
    px, py, pz = e * bx - d2 * ca[0], e * by - d2 * ca[1], e * bz - d2 * ca[2]
    u0, u1 = _columns(xs, box)
    for v in range(first_at_least(ys, box[2]), first_at_least(ys, box[3])):
        y = ys[v]
        m2_row, k1_row, a_row = by * y + bz, py * y + pz, d2 * (y * y + 1)
        x, row = xs[u0:u1], depth[v, u0:u1]
        ids = None if patch is None else patch[v, u0:u1]
        for i in range(x.size):
            m2 = bx * x[i] + m2_row
            k1 = px * x[i] + k1_row
            k2 = d2 * x[i] * x[i] + a_row - m2 * m2
            root = math.sqrt(k1 * k1 - k0 * k2)
            approaches = k1 < 0  # the form of the root without cancellation
            t = (k0 if approaches else -k1 - root) / (root - k1 if approaches else k2)
            along = t * m2 - e
            hit = (along > 0) & (along < d2) & (t > NEAR_MM) & (t < row[i])
            row[i] = t if hit else row[i]
            if ids is not None:
                ids[i] = index if hit else ids[i]


@compiled
@no_type_check
def draw_triangle(corners, n, height, box, xs, ys, index, depth, patch):
    """As `draw_sphere`, for a triangle in the plane n.x = height whose outside the camera is on.

    Args:
        corners: (3, 3), in either order.
        n: Unit normal that points out of the hull.
        height: Negative.
        box: As of `sphere_box`.
        xs: Slopes of the columns, ascending.
        ys: Slopes of the rows, ascending.
        index: Of the patch.
        depth: Image to draw into, infinite where empty.
        patch: Indices of what was drawn.
    """
    w0, w1, w2 = _edge(corners, 0, n), _edge(corners, 1, n), _edge(corners, 2, n)
    least = -1e-9 * (abs(w0[3]) + abs(w1[3]) + abs(w2[3]))  # so that nothing shows between triangle and cone
    u0, u1 = _columns(xs, box)
    for v in range(first_at_least(ys, box[2]), first_at_least(ys, box[3])):
        y = ys[v]
        n_row, row0, row1, row2 = n[1] * y + n[2], w0[1] * y + w0[2], w1[1] * y + w1[2], w2[1] * y + w2[2]
        x, row = xs[u0:u1], depth[v, u0:u1]
        ids = None if patch is None else patch[v, u0:u1]
        for i in range(x.size):
            t = height / (n[0] * x[i] + n_row)
            inside = (t * (w0[0] * x[i] + row0) - w0[3] > least) & (t * (w1[0] * x[i] + row1) - w1[3] > least)
            inside = inside & (t * (w2[0] * x[i] + row2) - w2[3] > least)
            hit = inside & (t > NEAR_MM) & (t < row[i])
            row[i] = t if hit else row[i]
            if ids is not None:
                ids[i] = index if hit else ids[i]


@compiled
@no_type_check
def _edge(corners, k, n):
    """The plane through one side of a triangle and along its normal, (x, y, z, offset), positive inside."""
    a, b, c = corners[k], corners[(k + 1) % 3], corners[(k + 2) % 3]
    ex, ey, ez = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    x, y, z = n[1] * ez - n[2] * ey, n[2] * ex - n[0] * ez, n[0] * ey - n[1] * ex
    inward = x * (c[0] - a[0]) + y * (c[1] - a[1]) + z * (c[2] - a[2])
    sign = 1.0 if inward > 0 else -1.0
    return sign * x, sign * y, sign * z, sign * (x * a[0] + y * a[1] + z * a[2])


@compiled
@no_type_check
def tangent_planes(c0, r0, c1, r1, c2, r2, normals):
    """Normals (2, 3) of the two planes that touch three spheres from outside; False where there are none.

    n.(c1 - c0) = r0 - r1 and n.(c2 - c0) = r0 - r2 fix n within the plane of the centres; |n| = 1 gives the rest.
    """
    ax, ay, az = c1[0] - c0[0], c1[1] - c0[1], c1[2] - c0[2]
    bx, by, bz = c2[0] - c0[0], c2[1] - c0[1], c2[2] - c0[2]
    aa, ab, bb = ax * ax + ay * ay + az * az, ax * bx + ay * by + az * bz, bx * bx + by * by + bz * bz
    determinant = aa * bb - ab * ab
    if determinant <= 1e-12 * aa * bb:
        return False
    da, db = r0 - r1, r0 - r2
    s, t = (da * bb - db * ab) / determinant, (db * aa - da * ab) / determinant
    x, y, z = s * ax + t * bx, s * ay + t * by, s * az + t * bz
    rest = 1 - (x * x + y * y + z * z)
    if rest <= 0:
        return False
    rise = math.sqrt(rest / determinant)
    nx, ny, nz = rise * (ay * bz - az * by), rise * (az * bx - ax * bz), rise * (ax * by - ay * bx)
    normals[0, 0], normals[0, 1], normals[0, 2] = x + nx, y + ny, z + nz
    normals[1, 0], normals[1, 1], normals[1, 2] = x - nx, y - ny, z - nz
    return True


@compiled
@no_type_check
def triangle_box(corners, box):
    """As `sphere_box`, for a triangle; False where it is behind the camera."""
    nearest = min(corners[0, 2], corners[1, 2], corners[2, 2])
    if max(corners[0, 2], corners[1, 2], corners[2, 2]) <= NEAR_MM:
        return False
    box[0], box[1], box[2], box[3] = -math.inf, math.inf, -math.inf, math.inf
    if nearest > NEAR_MM:
        for axis in range(2):
            a, b, c = corners[0, axis], corners[1, axis], corners[2, axis]
            a, b, c = a / corners[0, 2], b / corners[1, 2], c / corners[2, 2]
            box[2 * axis], box[2 * axis + 1] = min(a, b, c), max(a, b, c)
    return True


@compiled
@no_type_check
def between_holds_camera(corners, normals, heights):
    """Whether the camera is between the two triangles of a hull of three spheres.

    Args:
        corners: (2, 3, 3) of the two triangles.
        normals: (2, 3) out of the hull.
        heights: (2,) of their planes over the camera.
    """
    if heights[0] < 0 or heights[1] < 0:
        return False
    up = normals[0] - normals[1]
    return max(_edge(corners[0], 0, up)[3], _edge(corners[0], 1, up)[3], _edge(corners[0], 2, up)[3]) <= 0
