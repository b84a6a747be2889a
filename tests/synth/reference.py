"""Slow reference for the compiled caster: depth of hulls of spheres from their definition alone.

The hull of balls (c_i, r_i) is the union of the balls (sum l_i c_i, sum l_i r_i) over all weights l that sum to one.
The distance of a point is therefore the least of |p - c(l)| - r(l). It is convex in l, and along a ray in t as well.
Golden section search finds the minima, and bisection finds the point where the ray enters. No cone or tangent plane
is used.
"""

from collections.abc import Callable

import numpy as np

from crossnets.synth.casting.patches import NEAR_MM
from crossnets.synth.casting.spheremesh import SphereMesh

Array = np.ndarray
_GOLDEN = (np.sqrt(5) - 1) / 2


def reference(mesh: SphereMesh, x: Array, y: Array) -> Array:
    """Depth (H, W) in mm of the rays (x, y, 1), and 0 where a ray hits nothing."""
    rays = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))], axis=-1).reshape(-1, 3)
    depth = np.full(len(rays), np.inf)
    for spheres in [*mesh.topology.capsules, *mesh.topology.wedges]:
        depth = np.minimum(depth, _entry(mesh.centers_mm[spheres], mesh.radii_mm[spheres], rays))
    return np.where(np.isfinite(depth), depth, 0).reshape(len(y), len(x))


def distance(points: Array, centers: Array, radii: Array, steps: int = 24) -> Array:
    """Signed distance (N,) of points (N, 3) to the hull of two or three spheres, in mm."""
    if len(centers) == 2:
        return _to_segment(points, centers[:1], radii[:1], centers[1:], radii[1:])

    def at(weight: Array) -> Array:
        w = weight[:, None]
        a = centers[0] * (1 - w) + centers[1] * w
        b = centers[0] * (1 - w) + centers[2] * w
        ra = radii[0] * (1 - weight) + radii[1] * weight
        rb = radii[0] * (1 - weight) + radii[2] * weight
        return _to_segment(points, a, ra, b, rb)

    return at(_argmin(at, np.zeros(len(points)), np.ones(len(points)), steps))


def _to_segment(points: Array, a: Array, ra: Array, b: Array, rb: Array) -> Array:
    """The least of |p - a - s (b - a)| - (ra + s (rb - ra)) for s in [0, 1].

    The minimum lies at a zero of the derivative or at an end.
    """
    along = b - a
    growth = rb - ra
    length = np.linalg.norm(along, axis=-1)
    safe = np.maximum(length, 1e-12)
    foot = ((points - a) * along).sum(-1) / safe**2
    away = np.linalg.norm(points - a - foot[:, None] * along, axis=-1)
    slack = np.sqrt(np.maximum(length**2 - growth**2, 0))
    s = np.where(slack > 1e-9, foot + growth * away / (safe * np.maximum(slack, 1e-9)), growth > 0).clip(0, 1)
    return np.linalg.norm(points - a - s[:, None] * along, axis=-1) - ra - s * growth


def _argmin(f: Callable[[Array], Array], low: Array, high: Array, steps: int) -> Array:
    """Minimise a convex function of each entry between `low` and `high`, ends included."""
    ends = (low, high)
    for _ in range(steps):
        a = high - _GOLDEN * (high - low)
        b = low + _GOLDEN * (high - low)
        left = f(a) < f(b)
        low = np.where(left, low, a)
        high = np.where(left, b, high)
    candidates = np.stack([(low + high) / 2, *ends])
    return np.take_along_axis(candidates, np.argmin([f(t) for t in candidates], axis=0)[None], axis=0)[0]


def _entry(centers: Array, radii: Array, rays: Array) -> Array:
    """Depth (N,) at which rays enter a hull. It is infinite if they miss the hull or start inside."""
    depth = np.full(len(rays), np.inf)
    # Only rays that pass through the bounding sphere of the hull are searched.
    middle = centers.mean(axis=0)
    reach = (np.linalg.norm(centers - middle, axis=-1) + radii).max()
    directions = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    near = np.linalg.norm(middle - (directions @ middle)[:, None] * directions, axis=-1) <= reach
    rays = rays[near]

    def at(t: Array) -> Array:
        return distance(t[:, None] * rays, centers, radii)

    low = np.full(len(rays), (centers[:, 2] - radii).min() - 1)
    deepest = _argmin(at, low, np.full(len(rays), (centers[:, 2] + radii).max() + 1), 28)
    hit = at(deepest) < 0
    high = deepest
    for _ in range(32):
        t = (low + high) / 2
        inside = at(t) < 0
        low = np.where(inside, low, t)
        high = np.where(inside, t, high)
    depth[near] = np.where(hit & (high > NEAR_MM), high, np.inf)
    return depth
