"""Compiled hole filling, which gives invalid pixels the depth of a neighbour.

The three ways are those of librealsense's `hole_filling_filter`, and other camera kits have filters like it. Pixels are
visited row by row from the left, and filled pixels fill those after them. A hand before an empty background therefore
grows stripes to its right, or a shape that reaches the end of the image.
"""

from typing import no_type_check

from crossnets.synth.compiled import compiled

LEFT, FARTHEST, NEAREST = 0, 1, 2
"""An invalid pixel takes the depth of its left neighbour, or the largest or smallest depth of five neighbours: the one
above it, the one below it, and the three to its left."""
WAYS = (LEFT, FARTHEST, NEAREST)


# As in librealsense, the neighbours below are not filled yet when they are read, and NEAREST leaves a pixel invalid if
# the one above it is. The first column is not filled. The ways with five neighbours do not fill the first and the last
# row either.
@compiled
@no_type_check
def fill_holes(depth, way):
    """Fill the invalid pixels (0) of a frame (H, W) in place."""
    height, width = depth.shape
    border = 0 if way == LEFT else 1
    for v in range(border, height - border):
        for u in range(1, width):
            if depth[v, u] > 0:
                continue
            left = depth[v, u - 1]
            if way == LEFT:
                depth[v, u] = left
                continue
            best = depth[v - 1, u]
            for other in (depth[v - 1, u - 1], left, depth[v + 1, u - 1], depth[v + 1, u]):
                if other > best if way == FARTHEST else 0 < other < best:
                    best = other
            depth[v, u] = best
