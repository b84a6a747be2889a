"""Heads: skull, face, ears and hair, in proportion to the hands. All numbers are our choice.

A face whose hair is invisible to the sensor is as large as a palm. Brows, nose and chin make it look different from a
hand.
"""

import numpy as np
from jaxtyping import Float

_POINTS = {
    "neck": (60, 0, 0, 55),
    "throat": (130, 8, 0, 48),
    "skull": (208, -12, 0, 80),
    "forehead": (232, 38, 0, 54),
    "left_brow": (204, 74, 27, 14),
    "right_brow": (204, 74, -27, 14),
    "left_cheek": (165, 45, 33, 35),
    "right_cheek": (165, 45, -33, 35),
    "left_jaw": (128, 15, 44, 22),
    "right_jaw": (128, 15, -44, 22),
    "lips": (136, 78, 0, 15),
    "chin": (112, 66, 0, 22),
    "nose_root": (194, 85, 0, 7),
    "nose": (160, 102, 0, 11),
    "left_ear": (202, -10, 80, 8),
    "left_lobe": (166, 0, 74, 7),
    "right_ear": (202, -10, -80, 8),
    "right_lobe": (166, 0, -74, 7),
}
"""Place of each sphere (up from between the shoulders, ahead, left) and its radius, in mm, for the mean person."""
_CAPSULES = (
    ("neck", "throat"),
    ("throat", "skull"),
    ("skull", "forehead"),
    ("left_brow", "right_brow"),
    ("lips", "chin"),
    ("nose_root", "nose"),
    ("left_ear", "left_lobe"),
    ("right_ear", "right_lobe"),
)
_WEDGES = (
    ("forehead", "left_cheek", "right_cheek"),
    ("left_cheek", "right_cheek", "chin"),
    ("skull", "left_jaw", "left_cheek"),
    ("skull", "right_jaw", "right_cheek"),
    ("left_jaw", "chin", "left_cheek"),
    ("right_jaw", "chin", "right_cheek"),
    ("throat", "left_jaw", "right_jaw"),
)
_NAMES = list(_POINTS)
HEAD_SPHERES = len(_NAMES)
HEAD_CAPSULES = tuple((_NAMES.index(a), _NAMES.index(b)) for a, b in _CAPSULES)
HEAD_WEDGES = tuple((_NAMES.index(a), _NAMES.index(b), _NAMES.index(c)) for a, b, c in _WEDGES)
HAIR_SPHERES = 4
"""Crown, fringe, and the ends of the hair on both sides."""
HAIR_CAPSULES = ((0, 1), (0, 2), (0, 3))
_NECK = np.array([130.0, 0.0, 0.0])
"""Point about which heads turn: up, ahead, left."""
_TURNS_RAD = np.array([0.4, 0.25, 0.12])
"""Deviation of the angles of a head: turned to the side, nodding, and tilted to a shoulder."""
_LONG_SHARE = 0.4
"""Share of long hair."""


def place_head(
    rng: np.random.Generator,
    middle_mm: Float[np.ndarray, "n 3"],
    axes: Float[np.ndarray, "n 3 3"],
    size: Float[np.ndarray, "n"],
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return centres (n, S, 3) and radii (n, S) in mm of the spheres of heads and of their hair.

    Args:
        rng: Source of the turns of heads and of the differences between people.
        middle_mm: Point between the shoulders.
        axes: Directions up, ahead and left of each torso, as rows.
        size: Size of each person, 1 for the mean.
    """
    n = len(size)
    points = np.array([_POINTS[name] for name in _NAMES], np.float64)
    head = points[:, :3] + 2.5 * rng.standard_normal((n, HEAD_SPHERES, 1)) * np.array([1.0, 1.0, 0.0])
    radii = points[:, 3] * (1 + 0.05 * rng.standard_normal((n, HEAD_SPHERES)))
    hair, hair_radii = _hair(rng, n)
    turn = _turns(rng, n)
    turned = [np.matmul(part - _NECK, turn) + _NECK for part in (head, hair)]
    turned[0][:, 0] = head[:, 0]  # the base of the neck does not turn
    placed = [middle_mm[:, None] + size[:, None, None] * np.matmul(part, axes) for part in turned]
    return (placed[0], radii * size[:, None]), (placed[1], hair_radii * size[:, None])


def _hair(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the hair of heads that look straight ahead. The sides of short hair coincide with the crown."""
    thick = rng.uniform(2, 14, n)
    low = rng.uniform(-140, 90, n)
    fringe = rng.uniform(258, 285, n)
    crown = np.broadcast_to([226.0, -20.0, 0.0], (n, 3))
    long = (rng.random(n) < _LONG_SHARE)[:, None]
    front = np.stack([fringe, np.full(n, 26.0), np.zeros(n)], axis=1)
    sides = [np.stack([low, rng.uniform(-30, 25, n), side * rng.uniform(60, 85, n)], axis=1) for side in (1, -1)]
    points = [crown, front, *(np.where(long, side, crown) for side in sides)]
    ends = np.where(long[:, 0], rng.uniform(22, 40, n), 70.0)
    radii = [80 + thick, 44 + thick / 2, ends, ends]
    return np.stack(points, axis=1), np.stack(radii, axis=1)


def _turns(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n 3 3"]:
    """Draw rotations of rows (up, ahead, left): to the side, then down, then to a shoulder."""
    angles = _TURNS_RAD[:, None] * rng.standard_normal((3, n))
    whole = np.broadcast_to(np.eye(3), (n, 3, 3))
    for angle, (a, b) in zip(angles, ((1, 2), (0, 1), (0, 2)), strict=True):
        one = np.broadcast_to(np.eye(3), (n, 3, 3)).copy()
        one[:, a, a] = one[:, b, b] = np.cos(angle)
        one[:, a, b] = np.sin(angle)
        one[:, b, a] = -np.sin(angle)
        whole = whole @ one
    return whole
