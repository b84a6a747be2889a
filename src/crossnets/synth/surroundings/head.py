"""Heads: skull, face, ears and hair, in proportion to the hands. All numbers are our choice.

A face that a sensor sees without its hair is as large as a palm, so it needs brows, a nose and a chin to be no hand.
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
"""Up from between the shoulders, ahead, to the left, radius; mm, of the mean person."""
_CAPSULES = (
    ("neck", "throat"), ("throat", "skull"), ("skull", "forehead"), ("left_brow", "right_brow"), ("lips", "chin"),
    ("nose_root", "nose"), ("left_ear", "left_lobe"), ("right_ear", "right_lobe"),
)  # fmt: skip
_WEDGES = (
    ("forehead", "left_cheek", "right_cheek"), ("left_cheek", "right_cheek", "chin"),
    ("skull", "left_jaw", "left_cheek"), ("skull", "right_jaw", "right_cheek"),
    ("left_jaw", "chin", "left_cheek"), ("right_jaw", "chin", "right_cheek"), ("throat", "left_jaw", "right_jaw"),
)  # fmt: skip
_NAMES = list(_POINTS)
HEAD_SPHERES = len(_NAMES)
HEAD_CAPSULES = tuple((_NAMES.index(a), _NAMES.index(b)) for a, b in _CAPSULES)
HEAD_WEDGES = tuple((_NAMES.index(a), _NAMES.index(b), _NAMES.index(c)) for a, b, c in _WEDGES)
HAIR_SPHERES = 4
"""Crown, fringe, and where the hair ends on both sides."""
HAIR_CAPSULES = ((0, 1), (0, 2), (0, 3))
_NECK = np.array([130.0, 0.0, 0.0])
"""Heads turn about it; up, ahead, left."""
_TURN_RAD, _NOD_RAD, _TILT_RAD = 0.4, 0.25, 0.12
_LONG_SHARE = 0.4


def place_head(
    rng: np.random.Generator,
    middle_mm: Float[np.ndarray, "n 3"],
    axes: Float[np.ndarray, "n 3 3"],
    size: Float[np.ndarray, "n"],
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Spheres (n, S, 3) and radii (n, S), mm, of heads and of their hair.

    Args:
        rng: Draws how heads turn, and all that people differ in.
        middle_mm: Between the shoulders.
        axes: Rows are up, ahead and left of each torso.
        size: Of the person, 1 the mean.
    """
    n = len(size)
    points = np.array([_POINTS[name] for name in _NAMES], np.float64)
    head = points[:, :3] + 2.5 * rng.standard_normal((n, HEAD_SPHERES, 1)) * np.array([1.0, 1.0, 0.0])
    radii = points[:, 3] * (1 + 0.05 * rng.standard_normal((n, HEAD_SPHERES)))
    hair, hair_radii = _hair(rng, n)
    turn = _turns(rng, n)
    turned = [np.matmul(part - _NECK, turn) + _NECK for part in (head, hair)]
    turned[0][:, 0] = head[:, 0]  # the neck's foot stays
    placed = [middle_mm[:, None] + size[:, None, None] * np.matmul(part, axes) for part in turned]
    return (placed[0], radii * size[:, None]), (placed[1], hair_radii * size[:, None])


def _hair(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Before the head turns; short hair has no sides."""
    thick, low = rng.uniform(2, 14, n), rng.uniform(-140, 90, n)
    fringe = rng.uniform(258, 285, n)
    crown = np.broadcast_to([226.0, -20.0, 0.0], (n, 3))
    long = (rng.random(n) < _LONG_SHARE)[:, None]
    none = np.zeros(n)
    front = np.stack([fringe, np.full(n, 26.0), none], axis=1)
    sides = [np.stack([low, rng.uniform(-30, 25, n), side * rng.uniform(60, 85, n)], axis=1) for side in (1, -1)]
    points = [crown, front, *(np.where(long, side, crown) for side in sides)]
    ends = np.where(long[:, 0], rng.uniform(22, 40, n), 70.0)
    radii = [80 + thick, 44 + thick / 2, ends, ends]
    return np.stack(points, axis=1), np.stack(radii, axis=1)


def _turns(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n 3 3"]:
    """Rotations of rows (up, ahead, left): to the side, then down, then onto a shoulder."""
    angles = np.array([_TURN_RAD, _NOD_RAD, _TILT_RAD])[:, None] * rng.standard_normal((3, n))
    whole = np.broadcast_to(np.eye(3), (n, 3, 3))
    for angle, (a, b) in zip(angles, ((1, 2), (0, 1), (0, 2)), strict=True):
        one = np.broadcast_to(np.eye(3), (n, 3, 3)).copy()
        one[:, a, a] = one[:, b, b] = np.cos(angle)
        one[:, a, b], one[:, b, a] = np.sin(angle), -np.sin(angle)
        whole = whole @ one
    return whole
