"""The person: sleeves, arms, torso and head, in proportion to the hands. All numbers are our choice.

The first hand is always a right one here. Pictures of left hands are mirrored afterwards.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.hand.sampler import ABOVE, EGOCENTRIC, FRONT, UNIFORM, unit
from crossnets.synth.hand.surface import Spheres
from crossnets.synth.surroundings.head import place_head
from crossnets.synth.surroundings.other_hand import ARM_ENDS
from crossnets.synth.surroundings.parts import Outline, between, distance_along, may_hide, put

_PITCH_RAD = {FRONT: (0.1, 0.25), ABOVE: (1.25, 0.2), EGOCENTRIC: (0.75, 0.25)}
"""Mean and deviation of the angle by which the camera looks down."""
_UPPER_ARM_MM = 290.0
_SHOULDERS_MM = 330.0
"""Distance between the shoulders."""
_STRETCH = 0.45
"""Largest relative change in length of the other upper arm. A body that needs more is left out."""
_YAWS_RAD = np.linspace(-0.9, 0.9, 7)
"""Turns of the body that are tried for a second hand."""
_LEVEL_SHARE = 0.5
"""Share of views from above and from the head with a level forearm, as on a desk."""


class Cloth(NamedTuple):
    """Sleeves on the arms of n people."""

    start_mm: Float[np.ndarray, "n"]
    """Distance from the wrist to the start of the sleeves. A negative distance covers the wrist."""
    thick_mm: Float[np.ndarray, "n"]


def draw_cloth(rng: np.random.Generator, size: Float[np.ndarray, "n"]) -> Cloth:
    """Draw sleeves for people of that size, 1 for the mean."""
    n = len(size)
    start_mm = np.where(rng.random(n) < 0.5, rng.uniform(-20, 30, n), rng.uniform(30, 180, n))
    return Cloth(start_mm, 3 + rng.uniform(0, 11, n) * size)


def sleeve(skin: Spheres, cloth: Cloth) -> Spheres:
    """Return the four spheres of a sleeve. It covers the forearm to its end."""
    wrist, elbow = (skin.centers_mm[:, end] for end in ARM_ENDS)
    wrist_radii, elbow_radii = (skin.radii_mm[:, end] for end in ARM_ENDS)
    length = np.linalg.norm((elbow - wrist).mean(axis=1), axis=-1)
    share = (cloth.start_mm + wrist_radii[:, 0] + cloth.thick_mm) / np.maximum(length, 1.0)
    share = np.clip(share, 0, 0.95)[:, None]
    cuff = wrist + share[..., None] * (elbow - wrist)
    radii = np.concatenate([wrist_radii + share * (elbow_radii - wrist_radii), elbow_radii], axis=1)
    return Spheres(np.concatenate([cuff, elbow], axis=1), radii + cloth.thick_mm[:, None])


class Directions(NamedTuple):
    """Directions of a person in the camera frame."""

    kind: Int[np.ndarray, "n"]
    """FRONT, ABOVE or EGOCENTRIC."""
    down: Float[np.ndarray, "n 3"]
    user: Float[np.ndarray, "n 3"]
    """Level direction from the hand towards the body."""


def draw_directions(
    rng: np.random.Generator, kind: Int[np.ndarray, "n"], to_elbow: Float[np.ndarray, "n 3"]
) -> Directions:
    """Draw directions for these kinds of view. A UNIFORM view becomes the kind that fits the direction of the arm."""
    n = len(kind)
    kind = np.where(kind == UNIFORM, np.where(to_elbow[:, 2] > 0.15, FRONT, EGOCENTRIC), kind)
    mean, spread = np.array([_PITCH_RAD[k] for k in range(3)])[kind].T
    pitch = mean + spread * rng.standard_normal(n)
    roll = 0.08 * rng.standard_normal(n)
    down = np.stack([np.sin(roll) * np.cos(pitch), np.cos(roll) * np.cos(pitch), np.sin(pitch)], axis=1)
    # The forearm is level if gravity is perpendicular to it. In some views gravity is changed accordingly, if the
    # change is not too large.
    level = unit(down - (down * to_elbow).sum(axis=1, keepdims=True) * to_elbow)
    may = (kind != FRONT) & (level[:, 2] > 0.2) & ((level * down).sum(axis=1) > 0.6)
    down = np.where((may & (rng.random(n) < _LEVEL_SHARE))[:, None], level, down)
    user = np.where(kind == FRONT, 1.0, -1.0)[:, None] * np.array([0.0, -0.2, 1.0])
    return Directions(kind, down, unit(user - (user * down).sum(axis=1, keepdims=True) * down))


class Bodies(NamedTuple):
    """Bodies in some of n pictures."""

    present: Bool[np.ndarray, "n"]
    hanging_mm: Float[np.ndarray, "n 2 3"]
    """Elbows of arms that hang down."""
    begins_mm: Float[np.ndarray, "n"]
    """Distance along `Directions.user` at which the body begins. Infinite without a body."""


def place_body(
    rng: np.random.Generator,
    mesh: SphereMesh,
    present: Bool[np.ndarray, "n"],
    directions: Directions,
    elbows_mm: Float[np.ndarray, "n 2 3"],
    size: Float[np.ndarray, "n"],
    outlines: Sequence[Outline],
    both: Bool[np.ndarray, "n"],
    cloth_mm: Float[np.ndarray, "n"],
) -> Bodies:
    """Attach bodies to the elbows, in place.

    Args:
        rng: Source of all random numbers.
        mesh: The pictures.
        present: Whether a picture should have a body. It is left out in egocentric views and if it would hide a hand.
        directions: Directions of the person.
        elbows_mm: Elbows of the first and the second arm.
        size: Size of each person, 1 for the mean.
        outlines: Outline of each hand. No hand may be hidden.
        both: Whether a picture has a second hand. Otherwise the second arm hangs down.
        cloth_mm: Thickness of the sleeves.
    """
    down = directions.down
    k = size[:, None]
    shoulder = _first_shoulder(rng, directions, elbows_mm[:, 0], size, np.max([of.back_mm for of in outlines], axis=0))
    # A body with a second hand turns so that the second upper arm fits best.
    yaw = 0.3 * rng.standard_normal(len(size))
    away = np.linalg.norm(
        shoulder[:, None] + _to_left(directions, _YAWS_RAD) * _SHOULDERS_MM * k[..., None] - elbows_mm[:, 1:], axis=-1
    )
    misfit = np.abs(away / (_UPPER_ARM_MM * k) - 1)
    yaw = np.where(both, _YAWS_RAD[misfit.argmin(axis=1)], yaw)
    left = _to_left(directions, yaw[:, None])[:, 0]
    shoulders = np.stack([shoulder, shoulder + _SHOULDERS_MM * k * left], axis=1)
    hanging = shoulders + (_UPPER_ARM_MM * k * down)[:, None] + 40 * k[..., None] * np.stack([-left, left], axis=1)
    elbows = np.stack([elbows_mm[:, 0], np.where(both[:, None], elbows_mm[:, 1], hanging[:, 1])], axis=1)
    radii = np.stack([np.full(len(size), 38.0), np.full(len(size), 56.0)], axis=1) * k + cloth_mm[:, None]
    arms = [np.stack([elbows[:, arm], shoulders[:, arm]], axis=1) for arm in (0, 1)]
    torso = _torso(shoulders, left, down, size)
    upright = np.stack([-down, np.cross(down, left), left], axis=1)
    # The head draws from a generator of its own, so that all other parts are the same as without a head.
    head, hair = place_head(rng.spawn(1)[0], shoulders.mean(axis=1), upright, size)
    parts = {"arm": (arms[0], radii), "second_arm": (arms[1], radii), "torso": torso, "head": head, "hair": hair}
    fits = ~both | (misfit.min(axis=1) <= _STRETCH)
    present = present & fits & (directions.kind != EGOCENTRIC) & ~_hides(parts, outlines)
    for name, (centers, sizes) in parts.items():
        put(mesh, name, present, centers, sizes)
    begins = (distance_along(torso[0], directions.user) - torso[1]).min(axis=1)
    return Bodies(present, hanging, np.where(present, begins, np.inf))


def _hides(parts: dict[str, tuple[np.ndarray, np.ndarray]], outlines: Sequence[Outline]) -> Bool[np.ndarray, "n"]:
    """Return whether a part of a body may hide a hand."""
    # The test sees spheres only, so arms and torso are filled with spheres between their ends.
    ends = [(parts["arm"], 1), (parts["second_arm"], 1), (parts["torso"], 3)]
    solid = [(between(c[:, 0], c[:, end], 5), between(r[:, 0], r[:, end], 5)) for (c, r), end in ends]
    return np.any([may_hide(c, r, of) for c, r in (*solid, *parts.values()) for of in outlines], axis=0)


def _first_shoulder(
    rng: np.random.Generator, directions: Directions, elbow: np.ndarray, size: np.ndarray, back_mm: np.ndarray
) -> Float[np.ndarray, "n 3"]:
    """Draw shoulders up and back from the elbows. In front views they are far enough back for a torso behind the
    hands."""
    n = len(size)
    way = unit(-0.7 * directions.down + 0.6 * directions.user + 0.25 * rng.standard_normal((n, 3)))
    need = (back_mm + 125 * size - elbow[:, 2]) / (_UPPER_ARM_MM * size)
    depth = np.where(directions.kind == FRONT, np.clip(np.maximum(way[:, 2], need), -0.97, 0.97), way[:, 2])
    flat = unit(way[:, :2]) * np.sqrt(1 - depth**2)[:, None]
    return elbow + (_UPPER_ARM_MM * size)[:, None] * np.concatenate([flat, depth[:, None]], axis=1)


def _to_left(directions: Directions, yaw: np.ndarray) -> Float[np.ndarray, "n Y 3"]:
    """Return the direction from the right to the left shoulder of a person turned by yaw (rad) from facing the hand."""
    ahead = -directions.user
    right = np.cross(ahead, -directions.down)
    yaw = np.broadcast_to(yaw, (len(right), yaw.shape[-1]))[..., None]
    return -np.cos(yaw) * right[:, None] + np.sin(yaw) * ahead[:, None]


def _torso(
    shoulders: np.ndarray, left: np.ndarray, down: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return centres and radii of the spheres of a torso: two at the shoulders, two far below, and one at the neck."""
    k = size[:, None]
    middle = shoulders.mean(axis=1)
    inner = np.stack([middle - 115 * k * left, middle + 115 * k * left], axis=1) + (15 * k * down)[:, None]
    hips = [middle + 850 * k * down + side * 65 * k * left for side in (-1, 1)]
    neck = middle - 60 * k * down
    return np.stack([inner[:, 0], inner[:, 1], *hips, neck], axis=1), np.array([70.0, 70, 112, 112, 50]) * k
