"""Random numbers of pixels: hashes of (seed, stream, row, column of the camera's image), and smooth bumps; compiled."""

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
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> _30)) * _MIX_A
    x = (x ^ (x >> _27)) * _MIX_B
    return x ^ (x >> _31)


@compiled
@no_type_check
def stream_key(seed, stream):
    """Key of all numbers of one stream."""
    return _mix(seed + stream * _GOLDEN)


@compiled
@no_type_check
def row_key(key, row):
    """Key of all numbers of one row of a stream."""
    return key + (np.uint64(row) << _32) * _GOLDEN


@compiled
@no_type_check
def column_key(column):
    """Part of the key for a column, in any row and stream."""
    return np.uint64(column & 0xFFFFFFFF) * _GOLDEN


@compiled
@no_type_check
def random_bits(of_row, of_column):
    """64 random bits of one pixel, given its keys."""
    return _mix(of_row + of_column)


@compiled
@no_type_check
def uniform(bits, part):
    """A number in [0, 1) from the 16 bits of that part, 0 to 3."""
    return float((bits >> (_16 * np.uint64(part))) & _LOW) / 65536.0


@compiled
@no_type_check
def normal(bits):
    """Mean 0, deviation 1: the sum of four uniforms, a bell cut off at 3.46."""
    pairs = (bits & _LOW_PAIR) + ((bits >> _16) & _LOW_PAIR)  # as integers, which one conversion makes a float
    return (float((pairs & _LOW_HALF) + (pairs >> _32)) / 65536.0 - 2.0) * _SQRT_3


@compiled
@no_type_check
def bump_places(columns, size, firsts, shares):
    """The lattice point before each column, and shares of that point and the next, whose squares sum to 1."""
    for i in range(columns.size):
        x = columns[i] / size
        first = math.floor(x)
        firsts[i], shares[0, i], shares[1, i] = int(first), 1 - (x - first), x - first
    for i in range(columns.size):
        length = math.sqrt(shares[0, i] * shares[0, i] + shares[1, i] * shares[1, i])
        shares[0, i], shares[1, i] = shares[0, i] / length, shares[1, i] / length


@compiled
@no_type_check
def _lattice_row(key, row, firsts, shares, values, out):
    """Random normals at the points of one row of the lattice, and between them."""
    start, of_row = firsts[0], row_key(key, row)
    points = values[: firsts[-1] + 2 - start]
    for k in range(points.size):
        points[k] = normal(random_bits(of_row, column_key(start + k)))
    for i in range(out.size):
        k = np.uint64(firsts[i] - start)
        out[i] = shares[0, i] * points[k] + shares[1, i] * points[k + np.uint64(1)]


@compiled
@no_type_check
def bump_rows(key, row, size, firsts, shares, values, lattice, held):
    """Rows of the lattice before and behind a row of the image, and the share of each, of square sum 1.

    Between points `size` pixels of the image apart, bumps are bilinear: as `normal`, but smooth from pixel to pixel.
    Two rows of the lattice are kept in `lattice`, their numbers in `held`.
    """
    y = row / size
    v = math.floor(y)
    b = y - v
    for k in (v, v + 1):
        if held[k & 1] != k:
            _lattice_row(key, k, firsts, shares, values, lattice[k & 1])
            held[k & 1] = k
    length = math.sqrt((1 - b) * (1 - b) + b * b)
    return lattice[v & 1], lattice[(v + 1) & 1], (1 - b) / length, b / length
