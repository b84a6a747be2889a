"""Things near a hand: boxes, books, bottles, balls, pens, the desk under them, and the room; numbers our choice."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.surroundings.parts import HAND_SPHERES, SPHERES, Outline, may_hide, put

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
"""Least and most half sides across, upwards and along: bricks, books, telephones, keyboards, screens, cartons."""
_CHAINS_MM = np.array(
    [
        [[28, 42], [28, 42], [12, 16], [90, 180], [35, 50], [15, 40]],
        [[30, 45], [30, 45], [30, 45], [30, 70], [5, 10], [5, 10]],
        [[25, 60], [0, 0], [0, 0], [1, 1.5], [1, 1.5], [1, 1.5]],
        [[4, 9], [4, 9], [3, 5], [60, 90], [30, 50], [5, 15]],
        [[15, 25], [12, 20], [12, 20], [40, 90], [20, 60], [20, 60]],
    ]
)
"""Least and most of a sphere's radius below, in the middle and above, and the lengths between: bottles, cups, balls,
pens, handles."""
_STANDING = np.array([0.8, 1.0, 1.0, 0.1, 0.3])
"""Share of each of them that stands."""
_NEAR_SHARE = 0.6
"""Share of things close by. Others lie up to half a metre further."""
_RESTING_SHARE = 0.35
"""Share of hands over a desk that touch it, or whose elbows do."""
_EDGE_MM = 2.5
_ROOM_MM = 4000.0
"""Half the side of walls and floors, more than cameras see."""


class Space(NamedTuple):
    """Directions around hands, in the camera frame, and how far hands reach in it."""

    down: Float[np.ndarray, "n 3"]
    """Unit vector of gravity."""
    user: Float[np.ndarray, "n 3"]
    """Level unit vector from the hand towards its owner's body."""
    hands_mm: Float[np.ndarray, "n S 3"]
    """Spheres of the hands, their forearms too."""
    radii_mm: Float[np.ndarray, "n S"]

    def reach(self, way: Float[np.ndarray, "n 3"], first: int | None = None) -> Float[np.ndarray, "n"]:
        """Distance that the (first) spheres reach along a direction."""
        return (np.matmul(self.hands_mm[:, :first], way[:, :, None])[..., 0] + self.radii_mm[:, :first]).max(axis=1)


def place_objects(
    rng: np.random.Generator,
    mesh: SphereMesh,
    present: Bool[np.ndarray, "n"],
    space: Space,
    outline: Outline,
    desk_mm: Float[np.ndarray, "n"],
) -> None:
    """Put up to four things beside or behind the hands, and on the desk if there is one, in place.

    Args:
        rng: Draws everything.
        mesh: The pictures.
        present: Where there is anything.
        space: Its first spheres, as many as a hand has without elbow, are the hand that must stay apart.
        outline: Of the hand, which stays in sight: what would hide it is left out.
        desk_mm: How far down the desk's top is, infinite where there is none.
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
        nearest = (np.matmul(centers, way[:, :, None])[..., 0] - radii).min(axis=1)
        centers = centers + ((space.reach(way, HAND_SPHERES) + gap - nearest)[:, None] * way)[:, None]
        lowest = (np.matmul(centers, space.down[:, :, None])[..., 0] + radii).max(axis=1)
        centers = centers + (np.where(on_desk, desk_mm - lowest, 0)[:, None] * space.down)[:, None]
        solid = np.concatenate([centers, centers.mean(axis=1, keepdims=True)], axis=1)
        inside = np.linalg.norm(centers - solid[:, -1:], axis=-1).min(axis=1)
        hides = may_hide(solid, np.concatenate([radii, np.maximum(inside * 0.6, 5)[:, None]], axis=1), outline)
        put(mesh, name, present & ~hides & (rng.random(n) < 0.55), centers, radii)


def place_desk(
    rng: np.random.Generator,
    mesh: SphereMesh,
    present: Bool[np.ndarray, "n"],
    space: Space,
    body_mm: Float[np.ndarray, "n"],
) -> Float[np.ndarray, "n"]:
    """Put a desk under the hands, in place. Returns the depth of its top, infinite without a desk.

    `body_mm` is how far towards the user the body begins, infinite where none is seen: the desk ends before it.
    """
    n = len(present)
    gap = np.where(rng.random(n) < _RESTING_SHARE, 1.0, rng.uniform(5, 250, n))
    down_mm = np.maximum(space.reach(space.down) + gap, 120.0)  # below the camera too
    middle = space.hands_mm[:, :HAND_SPHERES].mean(axis=1)
    yaw = np.where(np.isfinite(body_mm), 0.0, 0.35) * rng.standard_normal(n)
    along = np.cos(yaw)[:, None] * space.user + np.sin(yaw)[:, None] * np.cross(space.down, space.user)
    across, here = np.cross(space.down, along), (middle * along).sum(axis=1)
    near = np.minimum(rng.uniform(150, 700, n), np.maximum(body_mm - here - 20, 30))
    ends, sides = np.stack([-rng.uniform(150, 900, n), near], axis=1), rng.uniform(150, 900, (n, 2)) * [-1, 1]
    thick = rng.uniform(2, 14, n)
    foot = middle + (down_mm + thick - (middle * space.down).sum(axis=1))[:, None] * space.down
    centers = np.stack(
        [foot + ends[:, i, None] * along + sides[:, j, None] * across for i in (0, 1) for j in (0, 1)], 1
    )
    put(mesh, "desk", present, centers, np.repeat(thick[:, None], 4, axis=1))
    return np.where(present, down_mm, np.inf)


def place_room(
    rng: np.random.Generator, mesh: SphereMesh, present: Bool[np.ndarray, "n"], space: Space, desk_mm: np.ndarray
) -> None:
    """Put a wall behind and a floor below everything, in place."""
    n = len(present)
    seen = np.where(mesh.centers_mm[..., 2] > 0, 0.0, -np.inf)
    seen[:, SPHERES["desk"]] = -np.inf  # ends at the wall
    forward = unit(np.array([0.0, 0.0, 1.0]) - space.down[:, 2:] * space.down)
    yaw = 0.3 * rng.standard_normal(n)
    facing = np.cos(yaw)[:, None] * forward + np.sin(yaw)[:, None] * np.cross(space.down, forward)
    gaps = (np.exp(rng.uniform(np.log(60), np.log(2500), n)), rng.uniform(650, 780, n))
    for name, way, gap in zip(("wall", "floor"), (facing, space.down), gaps, strict=True):
        reach = (np.matmul(mesh.centers_mm, way[:, :, None])[..., 0] + mesh.radii_mm + seen).max(axis=1)
        if name == "wall":
            reach = np.maximum(reach, 100)  # before the camera
        else:
            reach = np.where(np.isfinite(desk_mm), desk_mm, np.maximum(reach, 300))
        middle, across = (
            (reach + gap + _EDGE_MM)[:, None] * way,
            np.cross(way, np.where(way == facing, space.down, forward)),
        )
        up = np.cross(way, across)
        corners = [middle + _ROOM_MM * (i * across + j * up) for i in (-1, 1) for j in (-1, 1)]
        put(mesh, name, present, np.stack(corners, axis=1), np.full((n, 4), _EDGE_MM))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _level(vectors: np.ndarray, down: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Unit vectors, level in those rows."""
    level = vectors - (vectors * down).sum(axis=1, keepdims=True) * down
    return unit(np.where(rows[:, None], level, vectors))


def _axes(rng: np.random.Generator, n: int, down: np.ndarray, upright: np.ndarray) -> Float[np.ndarray, "n 3 3"]:
    """Rows are the axes of a thing. The second one is down where it stands upright."""
    second = np.where(upright[:, None], down, unit(rng.standard_normal((n, 3))))
    first = unit(np.cross(second, rng.standard_normal((n, 3))))
    return np.stack([first, second, np.cross(first, second)], axis=1)


def _boxes(
    rng: np.random.Generator, n: int, down: np.ndarray, on_desk: np.ndarray
) -> tuple[Float[np.ndarray, "n 8 3"], Float[np.ndarray, "n 8"]]:
    """Boxes around the origin."""
    low, high = np.moveaxis(_BOXES_MM[rng.integers(len(_BOXES_MM), size=n)], -1, 0)
    half = rng.uniform(low, high)
    corner = np.array([[1 if k & bit else -1 for bit in (4, 2, 1)] for k in range(8)])
    centers = (corner * half[:, None]) @ _axes(rng, n, down, on_desk)
    return centers, np.full((n, 8), _EDGE_MM)


def _chains(
    rng: np.random.Generator, n: int, down: np.ndarray, on_desk: np.ndarray
) -> tuple[Float[np.ndarray, "n 4 3"], Float[np.ndarray, "n 4"]]:
    """Bottles and other round things around the origin, from their foot upwards."""
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
