"""Objects near a hand: boxes, books, bottles, balls, pens, the desk under them, and the room.

All numbers are our choice.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.hand.sampler import unit
from crossnets.synth.surroundings.parts import HAND_SPHERES, SPHERES, Outline, distance_along, may_hide, put

_BOXES_MM = np.array(
    [
        [[20, 70], [20, 70], [20, 70]],
        [[60, 120], [4, 18], [80, 150]],
        [[30, 45], [3, 6], [60, 90]],
        [[120, 230], [5, 15], [50, 80]],
        [[100, 280], [80, 180], [5, 25]],
        [[40, 120], [30, 100], [40, 120]],
    ]
)
"""Least and greatest half sides across, upwards and along, for bricks, books, telephones, keyboards, screens,
cartons."""
_CHAINS_MM = np.array(
    [
        [[28, 42], [28, 42], [12, 16], [90, 180], [35, 50], [15, 40]],
        [[30, 45], [30, 45], [30, 45], [30, 70], [5, 10], [5, 10]],
        [[25, 60], [0, 0], [0, 0], [1, 1.5], [1, 1.5], [1, 1.5]],
        [[4, 9], [4, 9], [3, 5], [60, 90], [30, 50], [5, 15]],
        [[15, 25], [12, 20], [12, 20], [40, 90], [20, 60], [20, 60]],
    ]
)
"""Least and greatest radius of the spheres at the bottom, in the middle and at the top, and lengths between the four
spheres of a chain, for bottles, cups, balls, pens, handles."""
_STANDING = np.array([0.8, 1.0, 1.0, 0.1, 0.3])
"""Share of each kind that stands upright on a desk."""
_NEAR_SHARE = 0.6
"""Share of objects close by. Others lie up to half a metre further away."""
_RESTING_SHARE = 0.35
"""Share of hands over a desk that touch it, or whose elbows touch it."""
_EDGE_MM = 2.5
"""Radius of the spheres at the corners of boxes, walls and floors."""
_ROOM_MM = 4000.0
"""Half the side of walls and floors. Cameras do not see their edges."""


class Space(NamedTuple):
    """Directions around hands in the camera frame, and the extent of the hands."""

    down: Float[np.ndarray, "n 3"]
    """Unit vector of gravity."""
    user: Float[np.ndarray, "n 3"]
    """Level unit vector from the hand towards the person's body."""
    hands_mm: Float[np.ndarray, "n S 3"]
    """Spheres of the hands and forearms."""
    radii_mm: Float[np.ndarray, "n S"]

    def reach(self, way: Float[np.ndarray, "n 3"], first: int | None = None) -> Float[np.ndarray, "n"]:
        """Return how far the (first) spheres reach along a direction."""
        return (distance_along(self.hands_mm[:, :first], way) + self.radii_mm[:, :first]).max(axis=1)


def place_objects(
    rng: np.random.Generator,
    mesh: SphereMesh,
    present: Bool[np.ndarray, "n"],
    space: Space,
    outline: Outline,
    desk_mm: Float[np.ndarray, "n"],
) -> None:
    """Put up to four objects beside or behind the hands, in place. They stand on the desk of pictures that have one.

    Args:
        rng: Source of all random numbers.
        mesh: The pictures.
        present: Whether a picture has objects.
        space: Directions and hands. Its first spheres are the hand without elbow, which objects must not touch.
        outline: Outline of the hand. Objects that would hide it are left out.
        desk_mm: Distance down to the top of the desk, infinite without a desk.
    """
    n = len(present)
    for name in ("box", "second_box", "bottle", "second_bottle"):
        on_desk = np.isfinite(desk_mm)
        centers, radii = _boxes(rng, n, space.down, on_desk) if "box" in name else _chains(rng, n, space.down, on_desk)
        ahead = space.hands_mm[:, :HAND_SPHERES].mean(axis=1)
        way = _level(rng.standard_normal((n, 3)) + 0.5 * unit(ahead), space.down, on_desk)
        way *= np.where((way * ahead).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        gap = rng.uniform(0, 60, n) + np.where(rng.random(n) < _NEAR_SHARE, 0, rng.uniform(0, 500, n))
        aside = 80.0 * rng.standard_normal((n, 3))
        centers = centers + (ahead + aside)[:, None]
        nearest = (distance_along(centers, way) - radii).min(axis=1)
        centers = centers + ((space.reach(way, HAND_SPHERES) + gap - nearest)[:, None] * way)[:, None]
        lowest = (distance_along(centers, space.down) + radii).max(axis=1)
        centers = centers + (np.where(on_desk, desk_mm - lowest, 0)[:, None] * space.down)[:, None]
        # The test for hiding sees spheres only. A further sphere in the middle stands for the inside of the object.
        middle = centers.mean(axis=1, keepdims=True)
        inside = np.linalg.norm(centers - middle, axis=-1).min(axis=1)
        solid = np.concatenate([centers, middle], axis=1)
        hides = may_hide(solid, np.concatenate([radii, np.maximum(inside * 0.6, 5)[:, None]], axis=1), outline)
        put(mesh, name, present & ~hides & (rng.random(n) < 0.55), centers, radii)


def place_desk(
    rng: np.random.Generator,
    mesh: SphereMesh,
    present: Bool[np.ndarray, "n"],
    space: Space,
    body_mm: Float[np.ndarray, "n"],
) -> Float[np.ndarray, "n"]:
    """Put a desk under the hands, in place. Return the distance down to its top, infinite without a desk.

    The desk ends before the body. `body_mm` is the distance towards the user at which the body begins, infinite without
    a body.
    """
    n = len(present)
    gap = np.where(rng.random(n) < _RESTING_SHARE, 1.0, rng.uniform(5, 250, n))
    # The desk lies below the camera as well.
    down_mm = np.maximum(space.reach(space.down) + gap, 120.0)
    middle = space.hands_mm[:, :HAND_SPHERES].mean(axis=1)
    yaw = np.where(np.isfinite(body_mm), 0.0, 0.35) * rng.standard_normal(n)
    along = np.cos(yaw)[:, None] * space.user + np.sin(yaw)[:, None] * np.cross(space.down, space.user)
    across = np.cross(space.down, along)
    here = (middle * along).sum(axis=1)
    near = np.minimum(rng.uniform(150, 700, n), np.maximum(body_mm - here - 20, 30))
    ends = np.stack([-rng.uniform(150, 900, n), near], axis=1)
    sides = rng.uniform(150, 900, (n, 2)) * [-1, 1]
    thick = rng.uniform(2, 14, n)
    foot = middle + (down_mm + thick - (middle * space.down).sum(axis=1))[:, None] * space.down
    corners = [foot + ends[:, i, None] * along + sides[:, j, None] * across for i in (0, 1) for j in (0, 1)]
    put(mesh, "desk", present, np.stack(corners, axis=1), np.repeat(thick[:, None], 4, axis=1))
    return np.where(present, down_mm, np.inf)


def place_room(
    rng: np.random.Generator, mesh: SphereMesh, present: Bool[np.ndarray, "n"], space: Space, desk_mm: np.ndarray
) -> None:
    """Put a wall behind and a floor below everything, in place."""
    n = len(present)
    # Hidden spheres and spheres behind the camera are ignored. The desk is ignored too, because it ends at the wall.
    ignored = np.where(mesh.centers_mm[..., 2] > 0, 0.0, -np.inf)
    ignored[:, SPHERES["desk"]] = -np.inf
    forward = unit(np.array([0.0, 0.0, 1.0]) - space.down[:, 2:] * space.down)
    yaw = 0.3 * rng.standard_normal(n)
    facing = np.cos(yaw)[:, None] * forward + np.sin(yaw)[:, None] * np.cross(space.down, forward)
    gaps = (np.exp(rng.uniform(np.log(60), np.log(2500), n)), rng.uniform(650, 780, n))
    for name, way, gap in zip(("wall", "floor"), (facing, space.down), gaps, strict=True):
        reach = (distance_along(mesh.centers_mm, way) + mesh.radii_mm + ignored).max(axis=1)
        if name == "wall":
            reach = np.maximum(reach, 100)  # in front of the camera
        else:
            reach = np.where(np.isfinite(desk_mm), desk_mm, np.maximum(reach, 300))
        middle = (reach + gap + _EDGE_MM)[:, None] * way
        across = np.cross(way, np.where(way == facing, space.down, forward))
        up = np.cross(way, across)
        corners = [middle + _ROOM_MM * (i * across + j * up) for i in (-1, 1) for j in (-1, 1)]
        put(mesh, name, present, np.stack(corners, axis=1), np.full((n, 4), _EDGE_MM))


def _level(vectors: np.ndarray, down: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return unit vectors, which are level in the given rows."""
    level = vectors - (vectors * down).sum(axis=1, keepdims=True) * down
    return unit(np.where(rows[:, None], level, vectors))


def _axes(rng: np.random.Generator, n: int, down: np.ndarray, upright: np.ndarray) -> Float[np.ndarray, "n 3 3"]:
    """Draw the axes of objects, as rows. The second axis points down for upright objects."""
    second = np.where(upright[:, None], down, unit(rng.standard_normal((n, 3))))
    first = unit(np.cross(second, rng.standard_normal((n, 3))))
    return np.stack([first, second, np.cross(first, second)], axis=1)


def _boxes(
    rng: np.random.Generator, n: int, down: np.ndarray, on_desk: np.ndarray
) -> tuple[Float[np.ndarray, "n 8 3"], Float[np.ndarray, "n 8"]]:
    """Draw boxes around the origin."""
    low, high = np.moveaxis(_BOXES_MM[rng.integers(len(_BOXES_MM), size=n)], -1, 0)
    half = rng.uniform(low, high)
    corner = np.array([[1 if k & bit else -1 for bit in (4, 2, 1)] for k in range(8)])
    centers = (corner * half[:, None]) @ _axes(rng, n, down, on_desk)
    return centers, np.full((n, 8), _EDGE_MM)


def _chains(
    rng: np.random.Generator, n: int, down: np.ndarray, on_desk: np.ndarray
) -> tuple[Float[np.ndarray, "n 4 3"], Float[np.ndarray, "n 4"]]:
    """Draw bottles and other round objects around the origin, from bottom to top."""
    which = rng.integers(len(_CHAINS_MM), size=n)
    low, high = np.moveaxis(_CHAINS_MM[which], -1, 0)
    drawn = rng.uniform(low, high)
    ball = (which == 2)[:, None]
    drawn[:, 1:3] = np.where(ball, drawn[:, :1], drawn[:, 1:3])
    axes = _axes(rng, n, down, on_desk)
    standing = (rng.random(n) < _STANDING[which])[:, None]
    axis = np.where(standing | ~on_desk[:, None], -axes[:, 1], axes[:, 0])
    heights = np.cumsum(np.concatenate([np.zeros((n, 1)), drawn[:, 3:]], axis=1), axis=1)
    return (heights - heights[:, -1:] / 2)[..., None] * axis[:, None], drawn[:, [0, 1, 2, 2]]
