"""Compiled random numbers of pixels.

Every number is a hash of (seed, stream, row, column of the camera's image). The module also makes smooth bumps of such
numbers.
"""

import math
from typing import no_type_check

import numpy as np

from crossnets.synth.compiled import compiled

_GOLDEN, _MIX_A, _MIX_B = (np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_16, _27, _30, _31, _32 = (np.uint64(k) for k in (16, 27, 30, 31, 32))
_LOW, _LOW_PAIR, _LOW_HALF = (np.uint64(k) for k in (0xFFFF, 0x0000FFFF0000FFFF, 0xFFFFFFFF))
_SQRT_3 = math.sqrt(3.0)


@compiled
@no_type_check
def _mix(x):
    """Scramble 64 bits with the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> _30)) * _MIX_A
    x = (x ^ (x >> _27)) * _MIX_B
    return x ^ (x >> _31)


@compiled
@no_type_check
def stream_key(seed, stream):
    """Return the key of all numbers of one stream."""
    return _mix(seed + stream * _GOLDEN)


@compiled
@no_type_check
def row_key(key, row):
    """Return the key of all numbers of one row of a stream."""
    return key + (np.uint64(row) << _32) * _GOLDEN


@compiled
@no_type_check
def column_key(column):
    """Return the part of the key for a column, which is the same in all rows and streams."""
    return np.uint64(column & 0xFFFFFFFF) * _GOLDEN


@compiled
@no_type_check
def column_keys(columns):
    """Return the keys of several columns."""
    keys = np.empty(columns.size, np.uint64)
    for u in range(columns.size):
        keys[u] = column_key(columns[u])
    return keys


@compiled
@no_type_check
def random_bits(of_row, of_column):
    """Return 64 random bits of one pixel, given the keys of its row and column."""
    return _mix(of_row + of_column)


@compiled
@no_type_check
def uniform(bits, part):
    """Return a number in [0, 1) from one of the four parts of 16 bits."""
    return float((bits >> (_16 * np.uint64(part))) & _LOW) / 65536.0


# The sum of four uniform numbers is nearly normal. The sum is computed with integers, two parts at a time, so that only
# one conversion to a float is needed.
@compiled
@no_type_check
def normal(bits):
    """Return a number of mean 0 and deviation 1 with a bell-shaped distribution that ends at 3.46."""
    pairs = (bits & _LOW_PAIR) + ((bits >> _16) & _LOW_PAIR)
    return (float((pairs & _LOW_HALF) + (pairs >> _32)) / 65536.0 - 2.0) * _SQRT_3


@compiled
@no_type_check
def bump_places(columns, size, firsts, shares):
    """Write the lattice point before each column, and the shares of that point and the next.

    The squares of both shares sum to 1, so that the interpolated number keeps a deviation of 1.
    """
    for i in range(columns.size):
        x = columns[i] / size
        first = math.floor(x)
        firsts[i] = int(first)
        shares[0, i] = 1 - (x - first)
        shares[1, i] = x - first
    for i in range(columns.size):
        length = math.sqrt(shares[0, i] * shares[0, i] + shares[1, i] * shares[1, i])
        shares[0, i] = shares[0, i] / length
        shares[1, i] = shares[1, i] / length


@compiled
@no_type_check
def _lattice_row(key, row, firsts, shares, values, out):
    """Write one row of the lattice: random normals at its points, interpolated between them."""
    start = firsts[0]
    of_row = row_key(key, row)
    points = values[: firsts[-1] + 2 - start]
    for k in range(points.size):
        points[k] = normal(random_bits(of_row, column_key(start + k)))
    for i in range(out.size):
        k = np.uint64(firsts[i] - start)
        out[i] = shares[0, i] * points[k] + shares[1, i] * points[k + np.uint64(1)]


# Bumps are bilinear between lattice points that are `size` pixels of the image apart. Consecutive rows of the image
# mostly need the same two rows of the lattice. These are cached in `lattice`, one for even and one for odd numbers, and
# `cached` holds their numbers.
@compiled
@no_type_check
def bump_rows(key, row, size, firsts, shares, values, lattice, cached):
    """Return the lattice rows before and behind a row of the image, and the share of each.

    The squares of both shares sum to 1. The sum of the weighted rows is distributed like `normal`, but smooth from
    pixel to pixel.
    """
    y = row / size
    v = math.floor(y)
    b = y - v
    for k in (v, v + 1):
        if cached[k & 1] != k:
            _lattice_row(key, k, firsts, shares, values, lattice[k & 1])
            cached[k & 1] = k
    length = math.sqrt((1 - b) * (1 - b) + b * b)
    return lattice[v & 1], lattice[(v + 1) & 1], (1 - b) / length, b / length
