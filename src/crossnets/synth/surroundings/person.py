"""The person: sleeves, arms, torso and head, in proportion to the hands. All numbers are our choice.

The first hand is a right one here; pictures of left hands are mirrored afterwards.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.hand.sampler import ABOVE, EGOCENTRIC, FRONT, UNIFORM
from crossnets.synth.hand.surface import Spheres
from crossnets.synth.surroundings.head import place_head
from crossnets.synth.surroundings.objects import unit
from crossnets.synth.surroundings.other_hand import ARM_ENDS
from crossnets.synth.surroundings.parts import Outline, between, may_hide, put

_PITCH_RAD = {FRONT: (0.1, 0.25), ABOVE: (1.25, 0.2), EGOCENTRIC: (0.75, 0.25)}
"""Mean and spread of how far the camera looks down."""
_UPPER_ARM_MM, _SHOULDERS_MM = 290.0, 330.0
_STRETCH = 0.45
"""The other upper arm may be this much longer or shorter. A body that needs more is left out."""
_YAWS_RAD = np.linspace(-0.9, 0.9, 7)
_LEVEL_SHARE = 0.5
"""Share of views from above and from the head in which the forearm is level, as on a desk."""


class Cloth(NamedTuple):
    """Sleeves on the arms of n people."""

    start_mm: Float[np.ndarray, "n"]
    """Start of the sleeves behind the wrist. Less than 0 covers the wrist."""
    thick_mm: Float[np.ndarray, "n"]


def draw_cloth(rng: np.random.Generator, size: Float[np.ndarray, "n"]) -> Cloth:
    """Sleeves for people of that size, 1 the mean."""
    n = len(size)
    return Cloth(
        np.where(rng.random(n) < 0.5, rng.uniform(-20, 30, n), rng.uniform(30, 180, n)),
        3 + rng.uniform(0, 11, n) * size,
    )


def sleeve(skin: Spheres, cloth: Cloth) -> Spheres:
    """The four spheres of a sleeve over a forearm, which it follows to its end."""
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
    """Level, from the hand towards the body."""


def draw_directions(
    rng: np.random.Generator, kind: Int[np.ndarray, "n"], to_elbow: Float[np.ndarray, "n 3"]
) -> Directions:
    """Directions for these kinds of view. A UNIFORM one becomes that which the arm's direction allows."""
    n = len(kind)
    kind = np.where(kind == UNIFORM, np.where(to_elbow[:, 2] > 0.15, FRONT, EGOCENTRIC), kind)
    mean, spread = np.array([_PITCH_RAD[k] for k in range(3)])[kind].T
    pitch, roll = mean + spread * rng.standard_normal(n), 0.08 * rng.standard_normal(n)
    down = np.stack([np.sin(roll) * np.cos(pitch), np.cos(roll) * np.cos(pitch), np.sin(pitch)], axis=1)
    level = unit(down - (down * to_elbow).sum(axis=1, keepdims=True) * to_elbow)
    may = (kind != FRONT) & (level[:, 2] > 0.2) & ((level * down).sum(axis=1) > 0.6)
    down = np.where((may & (rng.random(n) < _LEVEL_SHARE))[:, None], level, down)
    user = np.where(kind == FRONT, 1.0, -1.0)[:, None] * np.array([0.0, -0.2, 1.0])
    return Directions(kind, down, unit(user - (user * down).sum(axis=1, keepdims=True) * down))


class Bodies(NamedTuple):
    """Bodies in some of n pictures."""

    present: Bool[np.ndarray, "n"]
    hanging_mm: Float[np.ndarray, "n 2 3"]
    """Elbows when the arms hang down."""
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
    """Put bodies on the elbows' other end, in place.

    Args:
        rng: Draws everything.
        mesh: The pictures.
        present: Where a body is wanted. It is left out where it would hide the hand, and in egocentric views.
        directions: Of the camera and the person.
        elbows_mm: Of the first and the second arm.
        size: Of the person, 1 the mean.
        outlines: Of each hand; all of them stay in sight.
        both: Where there is a second hand; elsewhere that arm hangs down.
        cloth_mm: Thickness of the sleeves.
    """
    down, k = directions.down, size[:, None]
    shoulder = _first_shoulder(rng, directions, elbows_mm[:, 0], size, np.max([of.back_mm for of in outlines], axis=0))
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
    torso, upright = _torso(shoulders, left, down, size), np.stack([-down, np.cross(down, left), left], axis=1)
    # Numbers of its own, so that everything else is where it would be without a head.
    head, hair = place_head(rng.spawn(1)[0], shoulders.mean(axis=1), upright, size)
    parts = {"arm": (arms[0], radii), "second_arm": (arms[1], radii), "torso": torso, "head": head, "hair": hair}
    fits = ~both | (misfit.min(axis=1) <= _STRETCH)
    present = present & fits & (directions.kind != EGOCENTRIC) & ~_hides(parts, outlines)
    for name, (centers, sizes) in parts.items():
        put(mesh, name, present, centers, sizes)
    begins = (np.matmul(torso[0], directions.user[:, :, None])[..., 0] - torso[1]).min(axis=1)
    return Bodies(present, hanging, np.where(present, begins, np.inf))


def _hides(parts: dict[str, tuple[np.ndarray, np.ndarray]], outlines: Sequence[Outline]) -> Bool[np.ndarray, "n"]:
    """Whether one of a body's parts may hide a hand."""
    ends = [(parts["arm"], 1), (parts["second_arm"], 1), (parts["torso"], 3)]
    solid = [(between(c[:, 0], c[:, end], 5), between(r[:, 0], r[:, end], 5)) for (c, r), end in ends]
    return np.any([may_hide(c, r, of) for c, r in (*solid, *parts.values()) for of in outlines], axis=0)


def _first_shoulder(
    rng: np.random.Generator, directions: Directions, elbow: np.ndarray, size: np.ndarray, back_mm: np.ndarray
) -> Float[np.ndarray, "n 3"]:
    """The upper arm goes up and back from the elbow, far enough back for a torso behind what the front view shows."""
    n = len(size)
    way = -0.7 * directions.down + 0.6 * directions.user + 0.25 * rng.standard_normal((n, 3))
    way = unit(way)
    need = (back_mm + 125 * size - elbow[:, 2]) / (_UPPER_ARM_MM * size)
    depth = np.where(directions.kind == FRONT, np.clip(np.maximum(way[:, 2], need), -0.97, 0.97), way[:, 2])
    flat = unit(way[:, :2]) * np.sqrt(1 - depth**2)[:, None]
    return elbow + (_UPPER_ARM_MM * size)[:, None] * np.concatenate([flat, depth[:, None]], axis=1)


def _to_left(directions: Directions, yaw: np.ndarray) -> Float[np.ndarray, "n Y 3"]:
    """Direction from the right shoulder to the left one of somebody who turns by yaw (rad) from facing the hand."""
    ahead = -directions.user
    right = np.cross(ahead, -directions.down)
    yaw = np.broadcast_to(yaw, (len(right), yaw.shape[-1]))[..., None]
    return -np.cos(yaw) * right[:, None] + np.sin(yaw) * ahead[:, None]


def _torso(
    shoulders: np.ndarray, left: np.ndarray, down: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shoulders, where the legs end in the dark, and where the neck begins."""
    k = size[:, None]
    middle = shoulders.mean(axis=1)
    inner = np.stack([middle - 115 * k * left, middle + 115 * k * left], axis=1) + (15 * k * down)[:, None]
    hips = [middle + 850 * k * down + side * 65 * k * left for side in (-1, 1)]
    neck = middle - 60 * k * down
    return np.stack([inner[:, 0], inner[:, 1], *hips, neck], axis=1), np.array([70.0, 70, 112, 112, 50]) * k
