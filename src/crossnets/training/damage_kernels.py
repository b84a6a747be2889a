"""Compiled inner loops of `damage` for the processor.

torch's pooling compares one pixel after the other, and each of its elementwise operations passes over the whole batch.
These loops keep one image in the cache. Their results have the same bits as those of torch's operations.
"""

from typing import no_type_check

import numpy as np

from crossnets.synth.compiled import compiled

_GOLDEN, _MIX_A, _MIX_B = (np.uint32(k) for k in (0x9E3779B1, 0x7FEB352D, 0x846CA68B))
_8, _15, _16 = (np.uint32(k) for k in (8, 15, 16))
_UNIT = np.float32(2.0**-24)


# The masks of 32 bits let the compiler multiply eight or sixteen numbers at a time. The final multiplication is by a
# power of two and therefore exact.
@compiled
@no_type_check
def hash_fields(numbers, salt, out):
    """Write `damage.hashed` of number * pixels + pixel for each pixel of each image. `out` has shape (R, pixels)."""
    pixels = out.shape[1]
    for r in range(out.shape[0]):
        first = np.uint32(np.uint32(np.uint32(numbers[r] * pixels) * _GOLDEN) + salt)
        field = out[r]
        for i in range(pixels):
            x = np.uint32(np.uint32(np.uint32(i) * _GOLDEN) + first)
            x = np.uint32((x ^ (x >> _16)) * _MIX_A)
            x = np.uint32((x ^ (x >> _15)) * _MIX_B)
            x = x ^ (x >> _16)
            field[i] = np.float32(np.int32(x >> _8)) * _UNIT


# The maximum of a square is the maximum over rows of the maxima over columns. Windows end at the edge of the image.
@compiled
@no_type_check
def spread_maxima(images, radii, out):
    """Write the maximum of each pixel's window. `images` has shape (R, H, W), `radii` (R) is in pixels."""
    count, height, width = images.shape
    farthest = np.empty(width, np.float32)
    for r in range(count):
        radius = radii[r]
        for v in range(height):
            farthest[:] = images[r, v]
            for k in range(max(v - radius, 0), min(v + radius + 1, height)):
                row = images[r, k]
                for u in range(width):
                    farthest[u] = max(farthest[u], row[u])
            target = out[r, v]
            target[:] = farthest
            for shift in range(1, min(radius, width - 1) + 1):
                for u in range(width - shift):
                    target[u] = max(target[u], farthest[u + shift])
                for u in range(shift, width):
                    target[u] = max(target[u], farthest[u - shift])


# The pixels of a window are added in the order of torch's pooling. A sum per row would be faster, but it is rounded
# differently.
@compiled
@no_type_check
def window_means(padded, side, out):
    """Write the mean of each window of `side` x `side` pixels. `padded` has shape (R, H + side - 1, W + side - 1)."""
    count, height, width = out.shape
    total = np.empty(width, np.float32)
    area = np.float32(side * side)
    for r in range(count):
        for v in range(height):
            total[:] = 0
            for down in range(side):
                for across in range(side):
                    row = padded[r, v + down, across : across + width]
                    for u in range(width):
                        total[u] += row[u]
            for u in range(width):
                out[r, v, u] = total[u] / area
