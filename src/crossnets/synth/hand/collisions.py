"""Detect hands that pass through themselves, from the overlap of spheres along fingers and palm."""

from itertools import combinations, pairwise
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from crossnets.geometry.skeleton import FINGERS
from crossnets.synth.compiled import compiled
from crossnets.synth.hand.anthropometry import mean_shape
from crossnets.synth.hand.kinematics import ANGLES, HandPose, forward
from crossnets.synth.hand.surface import NAMES, surface

GIVES_MM = 3.5
"""Depth to which two parts of the mean hand may overlap (our choice, for soft tissue and for spheres that are rounder
than flesh). Neighbours that overlap in the straight hand may overlap by that amount plus `_MORE_MM`."""
_MORE_MM = 2.0
_PALM = ("index_head", "middle_head", "ring_head", "little_head", "palm_pad", "edge", "heel", "thenar")
_PALM_MIDDLES = (("palm_pad", "edge"), ("palm_pad", "heel"), ("palm_pad", "thenar"), ("palm_pad", "ring_head"))


class _Points(NamedTuple):
    """The compared points. Each lies half-way between the spheres `first` and `second`, which may be the same one."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    pairs: NDArray[np.int64]
    """(P, 2) pairs of points that must not overlap."""


def _points() -> _Points:
    """Two points on each bone of every digit, and the palm. The knuckles are left out because no pose moves them."""
    chain = ("half", "1", "pad", "2", "tip")
    ends, parts = [], []
    for digit in FINGERS:
        names = [f"{digit}_{part}" for part in chain]
        digit_ends = [(name, name) for name in names] + list(pairwise(names))
        parts.append(range(len(ends), len(ends) + len(digit_ends)))
        ends += digit_ends
    palm = [(name, name) for name in _PALM] + list(_PALM_MIDDLES)
    start = len(ends)
    ends += palm
    # Every digit is compared with every other one. The outer bones of a digit are compared with the palm as well. The
    # ball of the thumb is part of the palm, so the thumb is not compared with it.
    pairs = [(a, b) for one, other in combinations(parts, 2) for a in one for b in other]
    for digit, part in enumerate(parts):
        last = [p for p in part if not any(name.endswith(("_half", "_1")) for name in ends[p])]
        opposite = [k for k, names in enumerate(palm) if digit > 0 or "thenar" not in names]
        pairs += [(p, start + k) for p in last for k in opposite]
    first, second = np.array([[NAMES.index(name) for name in pair] for pair in ends]).T
    return _Points(first, second, np.array(pairs))


_POINTS = _points()


def _allowed() -> Float[np.ndarray, "P"]:
    """Return the largest allowed overlap of each pair on the mean hand, in mm."""
    shape = mean_shape(1)
    straight = HandPose(np.eye(3)[None], np.zeros((1, 3)), np.zeros((1, len(ANGLES))))
    mesh = surface(forward(shape, straight), shape)
    centers = mesh.centers_mm[0]
    radii = mesh.radii_mm[0]
    points = (centers[_POINTS.first] + centers[_POINTS.second]) / 2
    point_radii = (radii[_POINTS.first] + radii[_POINTS.second]) / 2
    a, b = _POINTS.pairs.T
    overlap = point_radii[a] + point_radii[b] - np.linalg.norm(points[a] - points[b], axis=-1)
    return np.maximum(overlap + _MORE_MM, GIVES_MM)


_ALLOWED_MM = _allowed()


def collides(
    centers_mm: Float[np.ndarray, "B S 3"], radii_mm: Float[np.ndarray, "B S"], flesh: Float[np.ndarray, "B"]
) -> Bool[np.ndarray, "B"]:
    """Return the hands that pass through themselves. This takes some microseconds a hand.

    Args:
        centers_mm: Centres from `surface.spheres`, in any one frame of reference.
        radii_mm: Radii from `surface.spheres`.
        flesh: `HandShape.flesh`. Larger hands may overlap more.
    """
    collided = np.zeros(len(centers_mm), np.bool_)
    centers = np.ascontiguousarray(centers_mm)
    radii = np.ascontiguousarray(radii_mm)
    _collide(centers, radii, *_POINTS, _ALLOWED_MM, np.ascontiguousarray(flesh), collided)
    return collided


@compiled
@no_type_check
def _collide(centers, radii, first, second, pairs, allowed, flesh, collided):
    points = np.empty((len(first), 3))
    sizes = np.empty(len(first))
    for b in range(len(centers)):
        for p in range(len(first)):
            sizes[p] = 0.5 * (radii[b, first[p]] + radii[b, second[p]])
            for k in range(3):
                points[p, k] = 0.5 * (centers[b, first[p], k] + centers[b, second[p], k])
        for n in range(len(pairs)):
            i, j = pairs[n]
            reach = max(sizes[i] + sizes[j] - allowed[n] * flesh[b], 0.0)
            x = points[i, 0] - points[j, 0]
            y = points[i, 1] - points[j, 1]
            z = points[i, 2] - points[j, 2]
            if x * x + y * y + z * z < reach * reach:
                collided[b] = True
                break
