"""Depth of hulls of spheres, slowly, from their definition alone: what the compiled caster is compared with.

The hull of balls (c_i, r_i) is the union of the balls (sum l_i c_i, sum l_i r_i) over all weights l that sum to one. So
the distance of a point is the least of |p - c(l)| - r(l), convex in l, and along a ray convex in t as well: golden
section finds the minima, and bisection finds where the ray enters. No cone or tangent plane appears.
"""

from collections.abc import Callable

import numpy as np

from crossnets.synth.casting.patches import NEAR_MM
from crossnets.synth.casting.spheremesh import SphereMesh

Array = np.ndarray
_GOLDEN = (np.sqrt(5) - 1) / 2


def reference(mesh: SphereMesh, x: Array, y: Array) -> Array:
    """Depth (H, W) in mm of the rays (x, y, 1); 0 where nothing is hit."""
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
        a, b = centers[0] * (1 - w) + centers[1] * w, centers[0] * (1 - w) + centers[2] * w
        ra, rb = radii[0] * (1 - weight) + radii[1] * weight, radii[0] * (1 - weight) + radii[2] * weight
        return _to_segment(points, a, ra, b, rb)

    return at(_argmin(at, np.zeros(len(points)), np.ones(len(points)), steps))


def _to_segment(points: Array, a: Array, ra: Array, b: Array, rb: Array) -> Array:
    """The least of |p - a - s (b - a)| - (ra + s (rb - ra)) for s in [0, 1]: where its derivative is 0, or an end."""
    along, grows = b - a, rb - ra
    length = np.linalg.norm(along, axis=-1)
    safe = np.maximum(length, 1e-12)
    foot = ((points - a) * along).sum(-1) / safe**2
    away = np.linalg.norm(points - a - foot[:, None] * along, axis=-1)
    slack = np.sqrt(np.maximum(length**2 - grows**2, 0))
    s = np.where(slack > 1e-9, foot + grows * away / (safe * np.maximum(slack, 1e-9)), grows > 0).clip(0, 1)
    return np.linalg.norm(points - a - s[:, None] * along, axis=-1) - ra - s * grows


def _argmin(f: Callable[[Array], Array], low: Array, high: Array, steps: int) -> Array:
    """Where convex functions are least between `low` and `high`, ends included; one for each entry."""
    ends = low, high
    for _ in range(steps):
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        left = f(a) < f(b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    found = np.stack([(low + high) / 2, *ends])
    return np.take_along_axis(found, np.argmin([f(t) for t in found], axis=0)[None], axis=0)[0]


def _entry(centers: Array, radii: Array, rays: Array) -> Array:
    """Depth (N,) at which rays enter a hull; infinite where they miss it or start inside."""
    depth = np.full(len(rays), np.inf)
    # Rays through the sphere around the hull only.
    middle = centers.mean(axis=0)
    reach = (np.linalg.norm(centers - middle, axis=-1) + radii).max()
    directions = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    near = np.linalg.norm(middle - (directions @ middle)[:, None] * directions, axis=-1) <= reach
    rays = rays[near]

    def at(t: Array) -> Array:
        return distance(t[:, None] * rays, centers, radii)

    low = np.full(len(rays), (centers[:, 2] - radii).min() - 1)
    deepest = _argmin(at, low, np.full(len(rays), (centers[:, 2] + radii).max() + 1), 28)
    hit, high = at(deepest) < 0, deepest
    for _ in range(32):
        t = (low + high) / 2
        inside = at(t) < 0
        low, high = np.where(inside, low, t), np.where(inside, t, high)
    depth[near] = np.where(hit & (high > NEAR_MM), high, np.inf)
    return depth
