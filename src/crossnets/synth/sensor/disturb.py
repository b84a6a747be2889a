"""Compiled errors of a depth sensor in a frame, row by row. `noise.py` describes the models and their sources.

Every random number is a hash of (seed, stream, row, column of the camera's image). A frame therefore depends neither on
the order of frames nor on threads, and pixels of a crop that show the same pixel of the image have the same noise. The
functions have no annotations. `no_type_check` keeps the tests' import hook away from functions that numba compiles.

Each step runs along a row, without branches and over few arrays, so that the compiler vectorises it.
"""

import math
from typing import no_type_check

import numpy as np

from crossnets.synth.compiled import compiled
from crossnets.synth.sensor.random_bits import (
    bump_places,
    bump_rows,
    column_key,
    column_keys,
    normal,
    random_bits,
    row_key,
    stream_key,
    uniform,
)
from crossnets.synth.sensor.shadows import remove_specks, shade

_MOVE, _AXIAL, _BUMP, _CHANCE, _BLOCK = (np.uint64(k) for k in range(1, 6))
"""Streams of random numbers, one for each effect."""
_BLOCK_BITS = 2
"""Foreground spreads in blocks of 4 x 4 pixels of the image. Column and row of a block drop this many bits."""
_SQRT_6 = math.sqrt(6.0)


@compiled
@no_type_check
def _any_valid(sixteen):
    count = 0
    for k in range(16):
        count += sixteen[k] > 0
    return count > 0


# The scan tests 16 pixels at once where possible, because a loop of fixed length without an early exit vectorises.
@compiled
@no_type_check
def _extents(depth):
    """Return the first and the last valid column of each row. They are the width and -1 in an empty row."""
    height, width = depth.shape
    first = np.full(height, width)
    last = np.full(height, -1)
    for v in range(height):
        row = depth[v]
        u = 0
        while u + 16 <= width and not _any_valid(row[u : u + 16]):
            u += 16
        while u < width and not row[u] > 0:
            u += 1
        if u < width:
            first[v] = u
            u = width - 1
            while not row[u] > 0:
                u -= 1
            last[v] = u
    return first, last


@compiled
@no_type_check
def _framed(depth, step):
    """Return the frame with a border of -1 around it, `step` pixels wide."""
    height, width = depth.shape
    out = np.empty((height + 2 * step, width + 2 * step), np.float32)
    out[:step] = -1
    out[height + step :] = -1
    for v in range(height):
        row = out[v + step]
        row[:step] = -1
        row[width + step :] = -1
        row[step : width + step] = depth[v]
    return out


@compiled
@no_type_check
def _clamped(depth, v, u):
    """Return the depth of a pixel, or of the nearest one at the border."""
    return depth[min(max(v, 0), depth.shape[0] - 1), min(max(u, 0), depth.shape[1] - 1)]


@compiled
@no_type_check
def _jitter(depth, v, begin, key, columns, reach, row):
    """Write the depth of a row whose pixels each read a random pixel nearby."""
    for i in range(row.size):
        bits = random_bits(key, columns[i])
        du = math.floor((uniform(bits, 0) + uniform(bits, 1) - 1.0) * reach + 0.5)
        dv = math.floor((uniform(bits, 2) + uniform(bits, 3) - 1.0) * reach + 0.5)
        row[i] = _clamped(depth, v + int(dv), begin + i + int(du))


@compiled
@no_type_check
def _block_moves(key, columns, reach, moves):
    """Write the offsets at which the pixels of a row look for foreground: (2, W) pixels along and across.

    All pixels of a block have the same offset.
    """
    block = -1
    for u in range(columns.size):
        if u == 0 or columns[u] >> _BLOCK_BITS != block:
            block = columns[u] >> _BLOCK_BITS
            bits = random_bits(key, column_key(block))
            du = math.floor((2 * uniform(bits, 0) - 1.0) * reach + 0.5)
            dv = math.floor((2 * uniform(bits, 1) - 1.0) * reach + 0.5)
        moves[0, u] = int(du)
        moves[1, u] = int(dv)


@compiled
@no_type_check
def _fatten(depth, v, begin, moves, edge_mm, row):
    """Spread foreground over its edge, in place."""
    for i in range(row.size):
        u = begin + i
        other = _clamped(depth, v + moves[1, u], u + moves[0, u])
        if other > 0 and (row[i] == 0 or other < row[i] - edge_mm):
            row[i] = other


@compiled
@no_type_check
def _axial(key, columns, independent, top, top_share, low, low_share, out):
    """Write noise of deviation 1 along the rays: an independent part of each pixel, and bumps."""
    for i in range(out.size):
        out[i] = independent * normal(random_bits(key, columns[i])) + (top_share * top[i] + low_share * low[i])


# Neighbours within `edge_mm` of a pixel lie on its surface. They give the slope of the surface and the mean for
# smoothing. Farther neighbours make an edge, where pixels may be lost or fly. All choices are arithmetic, so the loop
# vectorises.
@compiled
@no_type_check
def _measure(above, here, below, step, columns, key, scale, focal, model, noise, row):
    """Turn the clean depth of a row into depth before disparity and rounding, in place. Lost pixels are -inf."""
    edge_mm = model.edge_mm
    grazing = model.grazing_tan
    smoothing = model.smoothing
    edge_loss = model.edge_loss
    flying = model.flying
    flying_mm = model.flying_mm
    axial_mm = model.axial_mm
    per_m2_mm = model.axial_per_m2_mm
    slope_mm = model.slope_mm
    per_step = 1.0 / step
    for i in range(row.size):
        d = row[i]
        z = float(here[i + step])
        dx, bend_x, far_x, edge_x = _across(float(here[i]), float(here[i + 2 * step]), z, per_step, edge_mm)
        dy, bend_y, far_y, edge_y = _across(float(above[i + step]), float(below[i + step]), z, per_step, edge_mm)
        tangent = math.sqrt(dx * dx + dy * dy) * scale * focal / z
        valid = z > 0
        tangent = tangent if valid else 0.0
        bend = (bend_x + bend_y) / 4 if valid else 0.0
        farthest = (far_x if far_x > far_y else far_y) if valid else math.inf
        edge = edge_x | edge_y | (not valid)
        z = z if valid else d
        bits = random_bits(key, columns[i])
        lost = (d == 0) | (tangent > grazing * (0.75 + 0.5 * uniform(bits, 0)))
        lost = lost | (edge & (uniform(bits, 1) < edge_loss))
        behind = farthest - z
        flies = edge & (uniform(bits, 2) < flying) & (behind > 0)
        behind = behind if behind < flying_mm else flying_mm
        d += smoothing * bend
        d += behind * uniform(bits, 3) * uniform(bits, 3) if flies else 0.0
        # The ratio is theta / (pi/2 - theta) of the slope's angle theta, to 3 %, without an arc tangent.
        square = tangent * tangent
        ratio = tangent * (0.637 + 0.792 * tangent + 1.571 * square) / (1 + tangent + square)
        ratio = ratio if ratio < 8.0 else 8.0
        deviation = axial_mm + per_m2_mm * (z * 1e-3) * (z * 1e-3) + slope_mm * ratio * ratio
        row[i] = -math.inf if lost else d + deviation * noise[i]


@compiled
@no_type_check
def _across(before, behind, z, per_step, edge_mm):
    """Compare a pixel with both neighbours on one axis. A neighbour of -1 is outside the image and is ignored.

    Returns the change of depth per pixel of the image over the neighbours on the same surface, the sum of their
    differences to z, the depth of the farthest neighbour beyond an edge (infinite where it is missing), and whether
    there is an edge.
    """
    one = before - z
    other = behind - z
    near = (before > 0) & (abs(one) <= edge_mm)
    far = (behind > 0) & (abs(other) <= edge_mm)
    change = ((other if far else 0.0) - (one if near else 0.0)) * (0.5 * per_step if near & far else per_step)
    bend = (before if near else z) - z
    bend = bend + behind - z if far else bend
    near_edge = (not near) & (before >= 0)
    far_edge = (not far) & (behind >= 0)
    first = (before if before > 0 else math.inf) if near_edge else 0.0
    second = (behind if behind > 0 else math.inf) if far_edge else 0.0
    return change, bend, first if first > second else second, near_edge | far_edge


@compiled
@no_type_check
def _disparity(focal, baseline_mm, deviation_px, step_px, noise, row):
    """Pass depth through a noisy, quantised disparity, in place: d' = f b / (f b / d - noise)."""
    across = focal * baseline_mm
    for i in range(row.size):
        d = row[i]
        # The noise is subtracted, so that it acts in the same direction as the axial noise.
        disparity = across / (d if d > 1.0 else 1.0) - deviation_px * noise[i]
        disparity = math.floor(disparity / step_px + 0.5) * step_px if step_px > 0 else disparity
        depth = across / disparity if disparity > 0 else 0.0
        row[i] = depth if d > -math.inf else d


@compiled
@no_type_check
def _report(min_mm, max_mm, unit_mm, row, out):
    """Write the sensor's output for a row: depth within its range, rounded to its unit."""
    for i in range(row.size):
        d = row[i]
        rounded = math.floor(d / unit_mm + 0.5) * unit_mm if unit_mm > 0 else d
        out[i] = rounded if (d >= min_mm) & (d <= max_mm) else 0.0


@compiled
@no_type_check
def _look(depth, columns, rows, keys, scale, model, seed, first, last, work):
    """Write the clean depth that every pixel reads into `work`: that of a pixel nearby, with foreground spread over its
    edge.

    Returns the range of columns of each row that may contain depth.
    """
    height, width = depth.shape
    jitter = model.lateral_px * scale * _SQRT_6
    fatten = model.fattening_px * scale
    # Jitter of less than half a pixel moves nothing.
    reach = max(math.ceil(jitter) if jitter > 0.5 else 0, math.ceil(fatten))
    moves = np.empty((2, width), np.int64)
    moves_row = -1
    begins = np.empty(height, np.int64)
    ends = np.empty(height, np.int64)
    for v in range(height):
        around = slice(max(v - reach, 0), v + reach + 1)
        begin = max(first[around].min() - reach, 0)
        end = min(last[around].max() + reach + 1, width)
        begins[v] = begin
        ends[v] = end
        if begin >= end:
            continue
        row = work[v, begin:end]
        if jitter > 0.5:
            key = row_key(stream_key(seed, _MOVE), rows[v])
            _jitter(depth, v, begin, key, keys[begin:end], jitter, row)
        else:
            row[:] = depth[v, begin:end]
        if fatten > 0:
            # Rows of the same block share their offsets.
            if moves_row < 0 or rows[v] >> _BLOCK_BITS != rows[moves_row] >> _BLOCK_BITS:
                key = row_key(stream_key(seed, _BLOCK), rows[v] >> _BLOCK_BITS)
                _block_moves(key, columns, fatten, moves)
                moves_row = v
            _fatten(depth, v, begin, moves, model.edge_mm, row)
    return begins, ends


@compiled
@no_type_check
def _noise(columns, rows, keys, begins, ends, model, seed, noise):
    """Write the error of each pixel along its ray, of deviation 1, for all columns that may contain depth."""
    width = columns.size
    size = model.correlation_px
    axial = stream_key(seed, _AXIAL)
    independent = math.sqrt(1 - model.correlated)
    common = math.sqrt(model.correlated)
    # The lattice of the bumps, over the columns that any row needs.
    bump = stream_key(seed, _BUMP)
    low = begins.min()
    high = ends.max()
    firsts = np.empty(high - low, np.int64)
    shares = np.empty((2, high - low))
    bump_places(columns[low:high], size, firsts, shares)
    values = np.empty(int((columns[high - 1] - columns[low]) / size) + 4)
    lattice = np.zeros((2, width))
    cached = np.full(2, 2**62)
    # Without bumps these rows stay zero.
    top = lattice[0]
    under = lattice[1]
    top_share = 0.0
    low_share = 0.0
    for v in range(rows.size):
        begin = begins[v]
        end = ends[v]
        if begin >= end:
            continue
        if model.correlated > 0:
            top, under, top_share, low_share = bump_rows(
                bump, rows[v], size, firsts, shares, values, lattice[:, : high - low], cached
            )
        bumps = slice(begin - low, end - low)
        key = row_key(axial, rows[v])
        out = noise[v, begin:end]
        _axial(key, keys[begin:end], independent, top[bumps], common * top_share, under[bumps], common * low_share, out)


@compiled
@no_type_check
def _every_pixel(depth, columns, rows, keys, scale, focal, model, seed, begins, ends, work, out):
    """Write the sensor's output for the depth in `work` into `out`, in the columns from `begins` to `ends`."""
    # In an enlarged crop the next pixel of the image is several pixels of the crop away.
    step = max(1, math.ceil(scale))
    framed = _framed(depth, step)
    noise = np.empty(depth.shape)
    _noise(columns, rows, keys, begins, ends, model, seed, noise)
    chance = stream_key(seed, _CHANCE)
    disparity = model.disparity_noise_px != 0 or model.disparity_step_px != 0
    for v in range(rows.size):
        begin = begins[v]
        end = ends[v]
        if begin >= end:
            continue
        row = work[v, begin:end]
        errors = noise[v, begin:end]
        around = slice(begin, end + 2 * step)
        above = framed[v, around]
        here = framed[v + step, around]
        below = framed[v + 2 * step, around]
        key = row_key(chance, rows[v])
        _measure(above, here, below, step, keys[begin:end], key, scale, focal, model, errors, row)
        if disparity:
            _disparity(focal, model.baseline_mm, model.disparity_noise_px, model.disparity_step_px, errors, row)
        _report(model.min_mm, model.max_mm, model.unit_mm, row, out[v, begin:end])


@compiled
@no_type_check
def _disturb_frame(depth, columns, rows, scale, focal, model, seed, out):
    """Write the sensor's output for one frame."""
    out[:] = 0
    first, last = _extents(depth)
    keys = column_keys(columns)
    work = np.empty(depth.shape)
    begins, ends = _look(depth, columns, rows, keys, scale, model, seed, first, last, work)
    if begins.min() >= ends.max():
        return
    _every_pixel(depth, columns, rows, keys, scale, focal, model, seed, begins, ends, work, out)
    if model.shadow_mm != 0:
        shade(depth, columns, focal, model.shadow_mm, first, last, out)
    if model.speckle_px > 0:
        remove_specks(out, model.speckle_px * scale * scale, model.speckle_mm, begins, ends)


@compiled
@no_type_check
def disturb_frames(depth, columns, rows, scale, focal, models, seeds, out):
    """Disturb the frames of a batch one after the other.

    The arguments are those of `noise.apply_crops`, with the models as records.
    """
    for b in range(len(depth)):
        _disturb_frame(depth[b], columns[b], rows[b], scale[b], focal[b], models[b], seeds[b], out[b])
