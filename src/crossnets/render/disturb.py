"""What a depth sensor does to a frame, pixel by pixel; compiled. `noise.py` names the models and their sources.

Every random number is a hash of (seed, stream, row, column of the camera's image), so a frame depends neither on the
order of frames nor on threads, and pixels of a crop that show the same pixel of the image carry the same noise.
Nothing here has annotations: `no_type_check` keeps the tests' import hook away from functions that numba compiles.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

from crossnets.render.patches import OPTIONS

_GOLDEN, _MIX_A, _MIX_B = (np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_16, _27, _30, _31, _32 = (np.uint64(k) for k in (16, 27, 30, 31, 32))
_LOW = np.uint64(0xFFFF)
_MOVE, _AXIAL, _BUMP, _CHANCE, _BLOCK = (np.uint64(k) for k in range(1, 6))
_BLOCK_BITS = 2
"""Edges of foreground fatten in blocks of 4 x 4 pixels of the image."""


@njit(**OPTIONS)
@no_type_check
def _mix(x):
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> _30)) * _MIX_A
    x = (x ^ (x >> _27)) * _MIX_B
    return x ^ (x >> _31)


@njit(**OPTIONS)
@no_type_check
def _random(seed, stream, row, column):
    """64 random bits of one pixel."""
    place = (np.uint64(row) << _32) ^ np.uint64(column & 0xFFFFFFFF)
    return _mix(_mix(seed + stream * _GOLDEN) + place * _GOLDEN)


@njit(**OPTIONS)
@no_type_check
def _uniform(bits, part):
    """A number in [0, 1) from the 16 bits of that part, 0 to 3."""
    return float((bits >> (_16 * np.uint64(part))) & _LOW) / 65536.0


@njit(**OPTIONS)
@no_type_check
def _normal(bits):
    """Mean 0, deviation 1: the sum of four uniforms, a bell cut off at 3.46."""
    return (_uniform(bits, 0) + _uniform(bits, 1) + _uniform(bits, 2) + _uniform(bits, 3) - 2.0) * math.sqrt(3.0)


@njit(**OPTIONS)
@no_type_check
def _lattice(seed, rows, columns, size):
    """Random normals at points `size` pixels of the image apart, and the indices of the first, for `_bump`."""
    first_v, first_u = math.floor(rows.min() / size), math.floor(columns.min() / size)
    height, width = math.floor(rows.max() / size) - first_v + 2, math.floor(columns.max() / size) - first_u + 2
    values = np.empty((height, width))
    for v in range(height):
        for u in range(width):
            values[v, u] = _normal(_random(seed, _BUMP, first_v + v, first_u + u))
    return values, first_v, first_u


@njit(**OPTIONS)
@no_type_check
def _bump(lattice, row, column, size):
    """As `_normal`, but smooth: bilinear between the points of the lattice."""
    values, first_v, first_u = lattice
    y, x = row / size - first_v, column / size - first_u
    v, u = int(y), int(x)
    b, a = y - v, x - u
    top = (1 - a) * values[v, u] + a * values[v, u + 1]
    low = (1 - a) * values[v + 1, u] + a * values[v + 1, u + 1]
    weight = ((1 - a) * (1 - a) + a * a) * ((1 - b) * (1 - b) + b * b)
    return ((1 - b) * top + b * low) / math.sqrt(weight)


@njit(**OPTIONS)
@no_type_check
def _seen_there(depth, v, u):
    return depth[min(max(v, 0), depth.shape[0] - 1), min(max(u, 0), depth.shape[1] - 1)]


@njit(**OPTIONS)
@no_type_check
def _moved(depth, v, u, row, column, scale, model, seed):
    """What a pixel sees of the clean frame: a place nearby, and foreground that spreads over its edge."""
    found = depth[v, u]
    if model.lateral_px > 0:
        bits, reach = _random(seed, _MOVE, row, column), model.lateral_px * scale * math.sqrt(6.0)
        du = math.floor((_uniform(bits, 0) + _uniform(bits, 1) - 1.0) * reach + 0.5)
        dv = math.floor((_uniform(bits, 2) + _uniform(bits, 3) - 1.0) * reach + 0.5)
        found = _seen_there(depth, v + int(dv), u + int(du))
    if model.fattening_px > 0:
        bits, reach = _random(seed, _BLOCK, row >> _BLOCK_BITS, column >> _BLOCK_BITS), model.fattening_px * scale
        du = math.floor((2 * _uniform(bits, 0) - 1.0) * reach + 0.5)
        dv = math.floor((2 * _uniform(bits, 1) - 1.0) * reach + 0.5)
        other = _seen_there(depth, v + int(dv), u + int(du))
        if other > 0 and (found == 0 or other < found - model.edge_mm):
            found = other
    return found


@njit(**OPTIONS)
@no_type_check
def _across(depth, v, u, step, along, z, edge_mm):
    """Towards both neighbours on one axis: change of depth, pixels of the image it spans, sum, farthest, edge or not.

    Returns the change over the neighbours on the same surface, their distance, what they add to z together, the
    depth of the farthest neighbour beyond an edge (infinite where nothing was seen there), and whether there is one.
    """
    change, span, bend, farthest, edge = 0.0, 0, 0.0, 0.0, False
    for side in (-1, 1):
        at_v, at_u = v + side * step * (1 - along), u + side * step * along
        if at_v < 0 or at_u < 0 or at_v >= depth.shape[0] or at_u >= depth.shape[1]:
            continue
        other = float(depth[at_v, at_u])
        if other > 0 and abs(other - z) <= edge_mm:
            change, span, bend = change + side * (other - z), span + step, bend + other - z
        else:
            edge = True
            farthest = max(farthest, other if other > 0 else math.inf)
    return change, span, bend, farthest, edge


@njit(**OPTIONS)
@no_type_check
def _measure(d, z, tangent, bend, farthest, edge, row, column, focal, model, seed, lattice):
    """The depth that the sensor reports of one pixel, 0 where it reports none."""
    bits = _random(seed, _CHANCE, row, column)
    if tangent > model.grazing_tan * (0.75 + 0.5 * _uniform(bits, 0)):
        return 0.0
    d += model.smoothing * bend
    if edge:
        if _uniform(bits, 1) < model.edge_loss:
            return 0.0
        if _uniform(bits, 2) < model.flying and farthest > z:
            d += min(farthest - z, model.flying_mm) * _uniform(bits, 3) ** 2
    noise = math.sqrt(1 - model.correlated) * _normal(_random(seed, _AXIAL, row, column))
    if model.correlated > 0:
        noise += math.sqrt(model.correlated) * _bump(lattice, row, column, model.correlation_px)
    # theta / (pi/2 - theta) of the slope's angle theta, to 3 %, without an arc tangent
    ratio = tangent * (0.637 + 0.792 * tangent + 1.571 * tangent**2) / (1 + tangent + tangent**2)
    deviation = model.axial_mm + model.axial_per_m2_mm * (z * 1e-3) ** 2 + model.slope_mm * min(ratio, 8.0) ** 2
    d = _as_disparity(d + deviation * noise, noise, focal, model)
    if not (model.min_mm <= d <= model.max_mm):
        return 0.0
    return math.floor(d / model.unit_mm + 0.5) * model.unit_mm if model.unit_mm > 0 else d


@njit(**OPTIONS)
@no_type_check
def _as_disparity(d, noise, focal, model):
    """Depth through a noisy, quantised disparity: d' = f b / (f b / d - noise)."""
    if model.disparity_noise_px == 0 and model.disparity_step_px == 0:
        return d
    # Minus, so that it adds to the axial noise.
    disparity = focal * model.baseline_mm / max(d, 1.0) - model.disparity_noise_px * noise
    if model.disparity_step_px > 0:
        disparity = math.floor(disparity / model.disparity_step_px + 0.5) * model.disparity_step_px
    return focal * model.baseline_mm / disparity if disparity > 0 else 0.0


@njit(**OPTIONS)
@no_type_check
def _extents(depth):
    """The first and the last column of each row where something is seen; the width and -1 where nothing is."""
    height, width = depth.shape
    first, last = np.full(height, width), np.full(height, -1)
    for v in range(height):
        row = depth[v]
        for u in range(width):
            if row[u] > 0:
                first[v] = min(first[v], u)
                last[v] = u
    return first, last


@njit(**OPTIONS)
@no_type_check
def _every_pixel(depth, columns, rows, scale, focal, model, seed, out):
    step = max(1, math.ceil(scale))  # neighbours that show another pixel of the image
    reach = math.ceil(max(model.lateral_px * math.sqrt(6.0), model.fattening_px) * scale)
    lattice = _lattice(seed, rows, columns, model.correlation_px if model.correlated > 0 else math.inf)
    first, last = _extents(depth)
    for v in range(depth.shape[0]):
        around = slice(max(v - reach, 0), v + reach + 1)
        begin, end = max(first[around].min() - reach, 0), min(last[around].max() + reach + 1, depth.shape[1])
        out[v] = 0
        for u in range(begin, end):
            row, column, z = rows[v], columns[u], float(depth[v, u])
            d = float(_moved(depth, v, u, row, column, scale, model, seed))
            if d == 0:
                continue
            tangent, bend, farthest, edge = 0.0, 0.0, math.inf, True
            if z > 0:
                dx, nx, bend_x, far_x, edge_x = _across(depth, v, u, step, 1, z, model.edge_mm)
                dy, ny, bend_y, far_y, edge_y = _across(depth, v, u, step, 0, z, model.edge_mm)
                tangent = math.sqrt((dx / max(nx, 1)) ** 2 + (dy / max(ny, 1)) ** 2) * scale * focal / z
                bend, farthest, edge = (bend_x + bend_y) / 4, max(far_x, far_y), edge_x or edge_y
            out[v, u] = _measure(
                d, z if z > 0 else d, tangent, bend, farthest, edge, row, column, focal, model, seed, lattice
            )


@njit(**OPTIONS)
@no_type_check
def _shade(depth, columns, focal, shadow_mm, out):
    """Remove what the projector, or the second camera, at x = shadow_mm does not see.

    A point at column u and depth z is at u - f b / z there. Coming from that side, what has been passed in that view
    is hidden by what was nearer; half a pixel is forgiven.
    """
    side = 1 if shadow_mm > 0 else -1
    width = depth.shape[1]
    for v in range(depth.shape[0]):
        passed = math.inf
        for k in range(width):
            u = width - 1 - k if side > 0 else k
            if depth[v, u] > 0:
                there = side * (columns[u] - focal * shadow_mm / depth[v, u])
                if there > passed + 0.5:
                    out[v, u] = 0
                passed = min(passed, there)


@njit(**OPTIONS)
@no_type_check
def _remove_specks(depth, smallest, step_mm):
    """Remove connected surfaces of fewer pixels than `smallest`; neighbours connect if within `step_mm`."""
    height, width = depth.shape
    stack, visited = np.empty((depth.size, 2), np.int16), np.zeros((height, width), np.bool_)
    for start_v in range(height):
        for start_u in range(width):
            if visited[start_v, start_u] or depth[start_v, start_u] == 0:
                continue
            visited[start_v, start_u] = True
            stack[0, 0], stack[0, 1] = start_v, start_u
            count = _flood(depth, step_mm, stack, visited)
            if count < smallest:
                for k in range(count):
                    depth[stack[k, 0], stack[k, 1]] = 0


@njit(**OPTIONS)
@no_type_check
def _flood(depth, step_mm, stack, visited):
    """Visit the surface of the pixel on the stack; its pixels stay there, and their number is returned."""
    count, done = 1, 0
    while done < count:
        v, u = int(stack[done, 0]), int(stack[done, 1])
        here = depth[v, u]
        done += 1
        for dv, du in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            nv, nu = v + dv, u + du
            if 0 <= nv < depth.shape[0] and 0 <= nu < depth.shape[1] and not visited[nv, nu]:
                other = depth[nv, nu]
                if other > 0 and abs(other - here) <= step_mm:
                    visited[nv, nu] = True
                    stack[count, 0], stack[count, 1] = nv, nu
                    count += 1
    return count


@njit(**OPTIONS)
@no_type_check
def _disturb_frame(depth, columns, rows, scale, focal, model, seed, out):
    _every_pixel(depth, columns, rows, scale, focal, model, seed, out)
    if model.shadow_mm != 0:
        _shade(depth, columns, focal, model.shadow_mm, out)
    if model.speckle_px > 0:
        _remove_specks(out, model.speckle_px * scale * scale, model.speckle_mm)


@njit(**OPTIONS)
@no_type_check
def disturb_serial(depth, columns, rows, scale, focal, models, seeds, out):
    """Every frame of a batch, one after the other; arguments as of `noise.apply_crops`, models as records."""
    for b in range(len(depth)):
        _disturb_frame(depth[b], columns[b], rows[b], scale[b], focal[b], models[b], seeds[b], out[b])


@njit(parallel=True, **OPTIONS)
@no_type_check
def disturb_parallel(depth, columns, rows, scale, focal, models, seeds, out):
    """As `disturb_serial`, with the frames spread over numba's threads."""
    for b in prange(len(depth)):
        _disturb_frame(depth[b], columns[b], rows[b], scale[b], focal[b], models[b], seeds[b], out[b])
