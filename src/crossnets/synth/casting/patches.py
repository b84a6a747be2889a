"""Compiled intersections of rays with the patches that bound a sphere-mesh.

The hull of two spheres is bounded by parts of both spheres and by a cone that touches both. The hull of three spheres
is bounded by the patches of its three pairs and by two triangles in the planes that touch all three spheres (Tkach,
Pauly, Tagliasacchi 2016, section 3). Every patch lies inside its hull, so the nearest patch along a ray is where the
ray enters the hull. A patch need not be cut where another one takes over. Some hulls have no touching cone or plane,
for example when one sphere contains another or when the spheres lie in a line.

Rays start at the camera and run along d = (x, y, 1), so that the ray parameter t is the depth. Everything is computed
in float64, and the tests require an accuracy of 0.01 mm. The kernels have no annotations. `no_type_check` keeps the
tests' import hook away from functions that numba compiles.
"""

import math
from typing import no_type_check

from crossnets.synth.compiled import compiled

NEAR_MM = 1.0
"""Surfaces nearer than this are invisible."""


@compiled
@no_type_check
def first_at_least(values, x):
    """Return the index of the first of the ascending `values` that is not below x."""
    low = 0
    high = values.size
    while low < high:
        middle = (low + high) // 2
        if values[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


# The inner loops run over the columns of a box. The box is widened to a multiple of 8 columns, where the image is wide
# enough, so that the vectorised loops have no remainder. At the right border it grows to the left instead.
@compiled
@no_type_check
def _columns(xs, box):
    """Return the first column of a box and the column behind its last one."""
    begin = first_at_least(xs, box[0])
    end = first_at_least(xs, box[1])
    width = xs.size
    if begin >= end:
        return begin, begin
    end = begin + (end - begin + 7) // 8 * 8
    return (begin, end) if end <= width else (max(begin - (end - width), 0), width)


@compiled
@no_type_check
def _tangents(x, z, r):
    """Return the least and greatest slope x/z of the rays that meet a sphere, in the plane of one image axis."""
    if z - r <= NEAR_MM:
        return -math.inf, math.inf
    root = r * math.sqrt(x * x + z * z - r * r)
    scale = 1 / (z * z - r * r)
    return (x * z - root) * scale, (x * z + root) * scale


@compiled
@no_type_check
def sphere_box(c, r, box):
    """Write the slopes of the rays that may meet a sphere: least and greatest x, least and greatest y.

    The box is unbounded if the sphere reaches behind the near plane.
    """
    box[0], box[1] = _tangents(c[0], c[2], r)
    box[2], box[3] = _tangents(c[1], c[2], r)


@compiled
@no_type_check
def join_boxes(a, b, box):
    """Write the box around two others."""
    box[0] = min(a[0], b[0])
    box[1] = max(a[1], b[1])
    box[2] = min(a[2], b[2])
    box[3] = max(a[3], b[3])


@compiled
@no_type_check
def cone_of(ca, ra, cb, rb):
    """Return the cone that touches two spheres: its axis (x, y, z) and the numbers d2, e, k0 of `draw_cone`.

    d2 is negative if the cone does not exist because one sphere contains the other.
    """
    x, y, z = cb[0] - ca[0], cb[1] - ca[1], cb[2] - ca[2]
    rr = ra - rb
    m0 = x * x + y * y + z * z
    m1 = -(x * ca[0] + y * ca[1] + z * ca[2])
    m5 = ca[0] * ca[0] + ca[1] * ca[1] + ca[2] * ca[2]
    d2 = m0 - rr * rr
    if d2 <= 1e-12 * m0:
        d2 = -1.0
    e = rr * ra - m1
    k0 = d2 * m5 - m1 * m1 + 2 * m1 * rr * ra - m0 * ra * ra
    return x, y, z, d2, e, k0


@compiled
@no_type_check
def _holds_camera(c, r):
    return c[0] * c[0] + c[1] * c[1] + c[2] * c[2] <= r * r


@compiled
@no_type_check
def capsule_holds_camera(ca, ra, cb, rb):
    """Return whether the camera is inside the hull of two spheres."""
    if _holds_camera(ca, ra) or _holds_camera(cb, rb):
        return True
    _, _, _, d2, e, k0 = cone_of(ca, ra, cb, rb)
    return d2 > 0 and 0 < -e < d2 and k0 <= 0


# A ray meets a sphere where |t d - c| = r. With m = c.d, a = d.d and q = c.c - r^2 the near intersection is
# t = q / (m + sqrt(m^2 - a q)). The square root is NaN for a ray that misses, and comparisons with NaN are false, so
# the inner loop has no branch.
@compiled
@no_type_check
def draw_sphere(c, r, box, xs, ys, index, depth, patch):
    """Write depth and patch index of a sphere where it is nearer than the surface drawn so far."""
    cx, cy, cz = c[0], c[1], c[2]
    q = cx * cx + cy * cy + cz * cz - r * r
    u0, u1 = _columns(xs, box)
    x = xs[u0:u1]
    for v in range(first_at_least(ys, box[2]), first_at_least(ys, box[3])):
        y = ys[v]
        m_row = cy * y + cz
        a_row = y * y + 1
        row = depth[v, u0:u1]
        ids = None if patch is None else patch[v, u0:u1]
        for i in range(x.size):
            m = cx * x[i] + m_row
            h = m * m - (x[i] * x[i] + a_row) * q
            t = q / (m + math.sqrt(h))
            hit = (t > NEAR_MM) & (t < row[i])
            row[i] = t if hit else row[i]
            if ids is not None:
                ids[i] = index if hit else ids[i]


# After Inigo Quilez, "rounded cone - intersection" (iquilezles.org), with rays of any length from the camera. Along a
# ray the squared distance to the cone is k2 t^2 + 2 k1 t + k0. The ray enters at the root where that distance falls.
# With m2 = axis.d, the part of the cone between both spheres is 0 < t m2 - e < d2.
@compiled
@no_type_check
def draw_cone(ca, cone, box, xs, ys, index, depth, patch):
    """Like `draw_sphere`, for the cone between two spheres."""
    bx, by, bz, d2, e, k0 = cone
    px = e * bx - d2 * ca[0]
    py = e * by - d2 * ca[1]
    pz = e * bz - d2 * ca[2]
    u0, u1 = _columns(xs, box)
    x = xs[u0:u1]
    for v in range(first_at_least(ys, box[2]), first_at_least(ys, box[3])):
        y = ys[v]
        m2_row = by * y + bz
        k1_row = py * y + pz
        a_row = d2 * (y * y + 1)
        row = depth[v, u0:u1]
        ids = None if patch is None else patch[v, u0:u1]
        for i in range(x.size):
            m2 = bx * x[i] + m2_row
            k1 = px * x[i] + k1_row
            k2 = d2 * x[i] * x[i] + a_row - m2 * m2
            root = math.sqrt(k1 * k1 - k0 * k2)
            # The root has two equal forms. The sign of k1 selects the one without cancellation.
            approaches = k1 < 0
            t = (k0 if approaches else -k1 - root) / (root - k1 if approaches else k2)
            along = t * m2 - e
            hit = (along > 0) & (along < d2) & (t > NEAR_MM) & (t < row[i])
            row[i] = t if hit else row[i]
            if ids is not None:
                ids[i] = index if hit else ids[i]


@compiled
@no_type_check
def draw_triangle(corners, n, height, box, xs, ys, index, depth, patch):
    """Like `draw_sphere`, for a triangle in the plane n.x = height. The camera is outside of that plane.

    Args:
        corners: (3, 3) corners in either order.
        n: Unit normal that points out of the hull.
        height: Offset of the plane. It is negative.
        box: Slopes as in `sphere_box`.
        xs: Slopes of the columns, ascending.
        ys: Slopes of the rows, ascending.
        index: Index of the patch.
        depth: Image to draw into, infinite where it is empty.
        patch: Patch index of each pixel drawn, or None.
    """
    w0 = _edge(corners, 0, n)
    w1 = _edge(corners, 1, n)
    w2 = _edge(corners, 2, n)
    # The triangle is widened by a tiny amount so that no gap shows between triangle and cone.
    least = -1e-9 * (abs(w0[3]) + abs(w1[3]) + abs(w2[3]))
    u0, u1 = _columns(xs, box)
    x = xs[u0:u1]
    for v in range(first_at_least(ys, box[2]), first_at_least(ys, box[3])):
        y = ys[v]
        n_row = n[1] * y + n[2]
        row0 = w0[1] * y + w0[2]
        row1 = w1[1] * y + w1[2]
        row2 = w2[1] * y + w2[2]
        row = depth[v, u0:u1]
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
    """Return the plane through one side of a triangle along its normal as (x, y, z, offset), positive inside."""
    a = corners[k]
    b = corners[(k + 1) % 3]
    c = corners[(k + 2) % 3]
    ex, ey, ez = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    x = n[1] * ez - n[2] * ey
    y = n[2] * ex - n[0] * ez
    z = n[0] * ey - n[1] * ex
    inward = x * (c[0] - a[0]) + y * (c[1] - a[1]) + z * (c[2] - a[2])
    sign = 1.0 if inward > 0 else -1.0
    return sign * x, sign * y, sign * z, sign * (x * a[0] + y * a[1] + z * a[2])


# The conditions n.(c1 - c0) = r0 - r1 and n.(c2 - c0) = r0 - r2 fix the part of n within the plane of the centres. The
# condition |n| = 1 gives the length of the part across that plane. Its sign selects one of the two planes.
@compiled
@no_type_check
def tangent_planes(c0, r0, c1, r1, c2, r2, normals):
    """Write the normals (2, 3) of the two planes that touch three spheres from outside.

    Return False if these planes do not exist.
    """
    ax, ay, az = c1[0] - c0[0], c1[1] - c0[1], c1[2] - c0[2]
    bx, by, bz = c2[0] - c0[0], c2[1] - c0[1], c2[2] - c0[2]
    aa = ax * ax + ay * ay + az * az
    ab = ax * bx + ay * by + az * bz
    bb = bx * bx + by * by + bz * bz
    determinant = aa * bb - ab * ab
    if determinant <= 1e-12 * aa * bb:
        return False
    da = r0 - r1
    db = r0 - r2
    s = (da * bb - db * ab) / determinant
    t = (db * aa - da * ab) / determinant
    x, y, z = s * ax + t * bx, s * ay + t * by, s * az + t * bz
    across = 1 - (x * x + y * y + z * z)
    if across <= 0:
        return False
    rise = math.sqrt(across / determinant)
    nx = rise * (ay * bz - az * by)
    ny = rise * (az * bx - ax * bz)
    nz = rise * (ax * by - ay * bx)
    normals[0, 0], normals[0, 1], normals[0, 2] = x + nx, y + ny, z + nz
    normals[1, 0], normals[1, 1], normals[1, 2] = x - nx, y - ny, z - nz
    return True


@compiled
@no_type_check
def triangle_box(corners, box):
    """Like `sphere_box`, for a triangle. Return False if the triangle is behind the camera."""
    if max(corners[0, 2], corners[1, 2], corners[2, 2]) <= NEAR_MM:
        return False
    in_front = min(corners[0, 2], corners[1, 2], corners[2, 2]) > NEAR_MM
    for axis in range(2):
        if in_front:
            a = corners[0, axis] / corners[0, 2]
            b = corners[1, axis] / corners[1, 2]
            c = corners[2, axis] / corners[2, 2]
            box[2 * axis] = min(a, b, c)
            box[2 * axis + 1] = max(a, b, c)
        else:
            box[2 * axis] = -math.inf
            box[2 * axis + 1] = math.inf
    return True


@compiled
@no_type_check
def between_holds_camera(corners, normals, heights):
    """Return whether the camera is between the two triangles of a hull of three spheres.

    Args:
        corners: (2, 3, 3) corners of the two triangles.
        normals: (2, 3) normals that point out of the hull.
        heights: (2,) offsets of the triangles' planes.
    """
    if heights[0] < 0 or heights[1] < 0:
        return False
    up = normals[0] - normals[1]
    return max(_edge(corners[0], 0, up)[3], _edge(corners[0], 1, up)[3], _edge(corners[0], 2, up)[3]) <= 0
