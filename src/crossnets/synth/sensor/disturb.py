"""Errors of a depth sensor in a frame, row by row. Compiled. `noise.py` names the models and their sources.

Every random number is a hash of (seed, stream, row, column of the camera's image), so a frame depends neither on the
order of frames nor on threads, and pixels of a crop that show the same pixel of the image carry the same noise.
Nothing here has annotations: `no_type_check` keeps the tests' import hook away from functions that numba compiles.

Each step goes along a row, without branches and over few arrays, so that the compiler makes vector instructions of it.
"""

import math
from typing import no_type_check

import numpy as np
from numba import prange

from crossnets.synth.compiled import compiled, compiled_parallel
from crossnets.synth.sensor.random_bits import (
    bump_places,
    bump_rows,
    column_key,
    normal,
    random_bits,
    row_key,
    stream_key,
    uniform,
)
from crossnets.synth.sensor.shadows import remove_specks, shade

_MOVE, _AXIAL, _BUMP, _CHANCE, _BLOCK = (np.uint64(k) for k in range(1, 6))
_BLOCK_BITS = 2
"""Edges of foreground fatten in blocks of 4 x 4 pixels of the image."""
_SQRT_6 = math.sqrt(6.0)


@compiled
@no_type_check
def _seen_in(sixteen):
    count = 0
    for k in range(16):
        count += sixteen[k] > 0
    return count > 0


@compiled
@no_type_check
def _extents(depth):
    """The first and the last column of each row where something is seen. The width and -1 where nothing is."""
    height, width = depth.shape
    first, last = np.full(height, width), np.full(height, -1)
    for v in range(height):
        row, u = depth[v], 0
        while u + 16 <= width and not _seen_in(row[u : u + 16]):
            u += 16
        while u < width and not row[u] > 0:
            u += 1
        if u < width:
            first[v], u = u, width - 1
            while not row[u] > 0:
                u -= 1
            last[v] = u
    return first, last


@compiled
@no_type_check
def _framed(depth, step):
    """The frame with a border of -1 around it, `step` pixels wide."""
    height, width = depth.shape
    out = np.empty((height + 2 * step, width + 2 * step), np.float32)
    out[:step], out[height + step :] = -1, -1
    for v in range(height):
        row = out[v + step]
        row[:step], row[width + step :] = -1, -1
        row[step : width + step] = depth[v]
    return out


@compiled
@no_type_check
def _seen_there(depth, v, u):
    return depth[min(max(v, 0), depth.shape[0] - 1), min(max(u, 0), depth.shape[1] - 1)]


@compiled
@no_type_check
def _jitter(depth, v, begin, key, columns, reach, found):
    """Each pixel of a row sees a place nearby."""
    for i in range(found.size):
        bits = random_bits(key, columns[i])
        du = math.floor((uniform(bits, 0) + uniform(bits, 1) - 1.0) * reach + 0.5)
        dv = math.floor((uniform(bits, 2) + uniform(bits, 3) - 1.0) * reach + 0.5)
        found[i] = _seen_there(depth, v + int(dv), begin + i + int(du))


@compiled
@no_type_check
def _block_moves(key, columns, reach, moves):
    """Offsets at which the blocks of a row look for foreground: (2, W) pixels along and across."""
    known = -1
    for u in range(columns.size):
        if u == 0 or columns[u] >> _BLOCK_BITS != known:
            known = columns[u] >> _BLOCK_BITS
            bits = random_bits(key, column_key(known))
            du = math.floor((2 * uniform(bits, 0) - 1.0) * reach + 0.5)
            dv = math.floor((2 * uniform(bits, 1) - 1.0) * reach + 0.5)
        moves[0, u], moves[1, u] = int(du), int(dv)


@compiled
@no_type_check
def _fatten(depth, v, begin, moves, edge_mm, found):
    """Foreground spreads over its edge."""
    for i in range(found.size):
        u = begin + i
        other = _seen_there(depth, v + moves[1, u], u + moves[0, u])
        if other > 0 and (found[i] == 0 or other < found[i] - edge_mm):
            found[i] = other


@compiled
@no_type_check
def _axial(key, columns, own, top, top_share, low, low_share, out):
    """Noise along the ray, of deviation 1: a pixel's own, and bumps."""
    for i in range(out.size):
        out[i] = own * normal(random_bits(key, columns[i])) + (top_share * top[i] + low_share * low[i])


@compiled
@no_type_check
def _measure(above, here, below, step, columns, key, scale, focal, model, noise, found):
    """Turn the clean depth of a row, `found`, into depth before disparity and rounding, in place. Lost pixels are
    -inf.

    Neighbours within `edge_mm` of a pixel are on its surface and give its slope and its smoothing; others make an edge.
    """
    edge_mm, grazing, smoothing, edge_loss = model.edge_mm, model.grazing_tan, model.smoothing, model.edge_loss
    flying, flying_mm = model.flying, model.flying_mm
    one, axial_mm, per_m2_mm, slope_mm = 1.0 / step, model.axial_mm, model.axial_per_m2_mm, model.slope_mm
    for i in range(found.size):
        d, z = found[i], float(here[i + step])
        dx, bend_x, far_x, edge_x = _across(float(here[i]), float(here[i + 2 * step]), z, one, edge_mm)
        dy, bend_y, far_y, edge_y = _across(float(above[i + step]), float(below[i + step]), z, one, edge_mm)
        tangent = math.sqrt(dx * dx + dy * dy) * scale * focal / z
        seen = z > 0
        tangent = tangent if seen else 0.0
        bend = (bend_x + bend_y) / 4 if seen else 0.0
        farthest = (far_x if far_x > far_y else far_y) if seen else math.inf
        edge = edge_x | edge_y | (not seen)
        z = z if seen else d
        bits = random_bits(key, columns[i])
        lost = (d == 0) | (tangent > grazing * (0.75 + 0.5 * uniform(bits, 0)))
        lost = lost | (edge & (uniform(bits, 1) < edge_loss))
        behind = farthest - z
        flies = edge & (uniform(bits, 2) < flying) & (behind > 0)
        behind = behind if behind < flying_mm else flying_mm
        d += smoothing * bend
        d += behind * uniform(bits, 3) * uniform(bits, 3) if flies else 0.0
        # theta / (pi/2 - theta) of the slope's angle theta, to 3 %, without an arc tangent
        square = tangent * tangent
        ratio = tangent * (0.637 + 0.792 * tangent + 1.571 * square) / (1 + tangent + square)
        ratio = ratio if ratio < 8.0 else 8.0
        deviation = axial_mm + per_m2_mm * (z * 1e-3) * (z * 1e-3) + slope_mm * ratio * ratio
        found[i] = -math.inf if lost else d + deviation * noise[i]


@compiled
@no_type_check
def _across(before, behind, z, per_step, edge_mm):
    """Towards both neighbours on one axis; -1 is a neighbour outside the image, which counts for nothing.

    Returns the change for each pixel of the image over the neighbours on the same surface, what they add to z together,
    the depth of the farthest neighbour beyond an edge (infinite where nothing was seen there), and whether there is an
    edge.
    """
    one, other = before - z, behind - z
    near, far = (before > 0) & (abs(one) <= edge_mm), (behind > 0) & (abs(other) <= edge_mm)
    change = ((other if far else 0.0) - (one if near else 0.0)) * (0.5 * per_step if near & far else per_step)
    bend = (before if near else z) - z
    bend = bend + behind - z if far else bend
    near_edge, far_edge = (not near) & (before >= 0), (not far) & (behind >= 0)
    first = (before if before > 0 else math.inf) if near_edge else 0.0
    second = (behind if behind > 0 else math.inf) if far_edge else 0.0
    return change, bend, first if first > second else second, near_edge | far_edge


@compiled
@no_type_check
def _disparity(focal, baseline_mm, deviation_px, step_px, noise, found):
    """Pass depth through a noisy, quantised disparity, in place: d' = f b / (f b / d - noise)."""
    across = focal * baseline_mm
    for i in range(found.size):
        d = found[i]
        # Minus, so that it adds to the axial noise.
        disparity = across / (d if d > 1.0 else 1.0) - deviation_px * noise[i]
        disparity = math.floor(disparity / step_px + 0.5) * step_px if step_px > 0 else disparity
        depth = across / disparity if disparity > 0 else 0.0
        found[i] = depth if d > -math.inf else d


@compiled
@no_type_check
def _report(min_mm, max_mm, unit_mm, found, out):
    """The sensor's output for a row: depth within its range, rounded to its unit."""
    for i in range(found.size):
        d = found[i]
        rounded = math.floor(d / unit_mm + 0.5) * unit_mm if unit_mm > 0 else d
        out[i] = rounded if (d >= min_mm) & (d <= max_mm) else 0.0


@compiled
@no_type_check
def _look(depth, columns, rows, scale, model, seed, first, last, found):
    """Write the depth of the clean frame that every pixel sees into `found`: at a place nearby, with foreground spread
    over its edge.

    Returns, for each row, the columns between which something is seen.
    """
    height, width = depth.shape
    jitter, fatten = model.lateral_px * scale * _SQRT_6, model.fattening_px * scale
    reach = max(math.ceil(jitter) if jitter > 0.5 else 0, math.ceil(fatten))  # less than half a pixel moves nothing
    keys, moves, known = np.empty(width, np.uint64), np.empty((2, width), np.int64), -1
    for u in range(width):
        keys[u] = column_key(columns[u])
    begins, ends = np.empty(height, np.int64), np.empty(height, np.int64)
    for v in range(height):
        around = slice(max(v - reach, 0), v + reach + 1)
        begin, end = max(first[around].min() - reach, 0), min(last[around].max() + reach + 1, width)
        begins[v], ends[v] = begin, end
        if begin >= end:
            continue
        here = found[v, begin:end]
        if jitter > 0.5:
            key = row_key(stream_key(seed, _MOVE), rows[v])
            _jitter(depth, v, begin, key, keys[begin:end], jitter, here)
        else:
            here[:] = depth[v, begin:end]
        if fatten > 0:
            if known < 0 or rows[v] >> _BLOCK_BITS != rows[known] >> _BLOCK_BITS:
                key, known = row_key(stream_key(seed, _BLOCK), rows[v] >> _BLOCK_BITS), v
                _block_moves(key, columns, fatten, moves)
            _fatten(depth, v, begin, moves, model.edge_mm, here)
    return begins, ends


@compiled
@no_type_check
def _noise(columns, rows, keys, begins, ends, model, seed, noise):
    """Into `noise`, where something is seen: how far along the ray each pixel errs, of deviation 1."""
    width, size, correlated = columns.size, model.correlation_px, model.correlated
    axial, bump = stream_key(seed, _AXIAL), stream_key(seed, _BUMP)
    low, high = begins.min(), ends.max()
    lattice, held = np.zeros((2, width)), np.full(2, 2**62)
    top, under, top_share, low_share = lattice[0], lattice[1], 0.0, 0.0
    firsts, shares = np.empty(high - low, np.int64), np.empty((2, high - low))
    values = np.empty(int((columns[high - 1] - columns[low]) / size) + 4)
    bump_places(columns[low:high], size, firsts, shares)
    own, common = math.sqrt(1 - correlated), math.sqrt(correlated)
    for v in range(rows.size):
        begin, end = begins[v], ends[v]
        if begin >= end:
            continue
        if correlated > 0:
            top, under, top_share, low_share = bump_rows(
                bump, rows[v], size, firsts, shares, values, lattice[:, : high - low], held
            )
        bumps = slice(begin - low, end - low)
        key, out = row_key(axial, rows[v]), noise[v, begin:end]
        _axial(key, keys[begin:end], own, top[bumps], common * top_share, under[bumps], common * low_share, out)


@compiled
@no_type_check
def _every_pixel(depth, columns, rows, scale, focal, model, seed, begins, ends, found, out):
    """Write the sensor's output for the depth in `found` into `out`. Rows see it from `begins` to `ends`."""
    step = max(1, math.ceil(scale))  # neighbours that show another pixel of the image
    framed, chance = _framed(depth, step), stream_key(seed, _CHANCE)
    keys, noise = np.empty(columns.size, np.uint64), np.empty(depth.shape)
    for u in range(columns.size):
        keys[u] = column_key(columns[u])
    _noise(columns, rows, keys, begins, ends, model, seed, noise)
    disparity = model.disparity_noise_px != 0 or model.disparity_step_px != 0
    for v in range(rows.size):
        begin, end = begins[v], ends[v]
        if begin >= end:
            continue
        here, errs, around = found[v, begin:end], noise[v, begin:end], slice(begin, end + 2 * step)
        above, beside, below = framed[v, around], framed[v + step, around], framed[v + 2 * step, around]
        key = row_key(chance, rows[v])
        _measure(above, beside, below, step, keys[begin:end], key, scale, focal, model, errs, here)
        if disparity:
            _disparity(focal, model.baseline_mm, model.disparity_noise_px, model.disparity_step_px, errs, here)
        _report(model.min_mm, model.max_mm, model.unit_mm, here, out[v, begin:end])


@compiled
@no_type_check
def _disturb_frame(depth, columns, rows, scale, focal, model, seed, out):
    out[:] = 0
    first, last = _extents(depth)
    found = np.empty(depth.shape)
    begins, ends = _look(depth, columns, rows, scale, model, seed, first, last, found)
    if begins.min() >= ends.max():
        return
    _every_pixel(depth, columns, rows, scale, focal, model, seed, begins, ends, found, out)
    if model.shadow_mm != 0:
        shade(depth, columns, focal, model.shadow_mm, first, last, out)
    if model.speckle_px > 0:
        remove_specks(out, model.speckle_px * scale * scale, model.speckle_mm, begins, ends)


@compiled
@no_type_check
def disturb_serial(depth, columns, rows, scale, focal, models, seeds, out):
    """Every frame of a batch, one after the other; arguments as of `noise.apply_crops`, models as records."""
    for b in range(len(depth)):
        _disturb_frame(depth[b], columns[b], rows[b], scale[b], focal[b], models[b], seeds[b], out[b])


@compiled_parallel
@no_type_check
def disturb_parallel(depth, columns, rows, scale, focal, models, seeds, out):
    """As `disturb_serial`, with the frames spread over numba's threads."""
    for b in prange(len(depth)):
        _disturb_frame(depth[b], columns[b], rows[b], scale[b], focal[b], models[b], seeds[b], out[b])
