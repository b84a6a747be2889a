"""The person's other hand: of the same size, bent as it likes, near the first one or touching it; numbers our choice.

As everywhere around the hand, the first hand is a right one here; pictures of left hands are mirrored afterwards.
"""

from dataclasses import replace
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int

from crossnets.synth.compiled import compiled
from crossnets.synth.hand.anthropometry import HandShape
from crossnets.synth.hand.kinematics import FOREARM, HandFrames, HandPose, forward
from crossnets.synth.hand.sampler import FRONT, UNIFORM, draw_rotations, longest_forearm, mirror, take
from crossnets.synth.hand.surface import NAMES, Spheres, spheres
from crossnets.synth.surroundings.parts import HAND_SPHERES, between, hidden_share

_TOUCH_SHARE, _FAR_MM = 0.35, 250.0
"""Share of second hands that touch the first. The others are up to this far away from it."""
_BEHIND_SHARE = 0.2
"""Share of second hands that are more behind the first than beside it."""
_NEAREST_MM = 130.0
LONG_ARM_MM = 560.0
"""Forearm and upper arm, on the mean hand, where an arm leaves the picture instead of joining a body."""
ARM_ENDS = [[NAMES.index(f"{end}_{side}") for side in ("thumb", "little")] for end in ("wrist", "elbow")]
_HIDDEN_SHARE = 0.2
"""A second hand that hides more of the first one is left out."""


class SecondHands(NamedTuple):
    """Second hands of some pictures."""

    rows: Int[np.ndarray, "M"]
    """The pictures they are in."""
    frames: HandFrames
    skin: Spheres


def second_hands(
    rng: np.random.Generator,
    rows: Int[np.ndarray, "M"],
    first: HandShape,
    angles_rad: Float[np.ndarray, "n 26"],
    skin: Spheres,
    kind: Int[np.ndarray, "n"],
) -> SecondHands:
    """Second hands for these of n right hands. There is none where it would hide the first hand or meet the camera.

    Args:
        rng: Draws everything.
        rows: Which of the n get one, if it fits.
        first: The n hands. The second one is the same person's.
        angles_rad: Of the first hands. A second one is bent as a first hand of another picture.
        skin: Of the first hands, with their forearms.
        kind: Kind of view, which tells the direction of the arm and the side the second hand is on.
    """
    m = len(rows)
    shape, kind = take(first, rows), kind[rows]
    bent = angles_rad[rng.integers(len(angles_rad), size=m)]
    pose = HandPose(draw_rotations(rng, kind), np.zeros((m, 3)), bent)
    left = replace(shape, side=-np.ones(m), forearm_mm=250.0 * shape.flesh)
    frames = forward(left, mirror(pose, left.side))
    one, other = samples(Spheres(skin.centers_mm[rows], skin.radii_mm[rows])), samples(spheres(frames, left))
    way, gap = _ways(rng, kind)
    start = one.centers_mm[:, :HAND_SPHERES].mean(axis=1) - other.centers_mm[:, :HAND_SPHERES].mean(axis=1)
    start += 35.0 * rng.standard_normal((m, 3))
    moved = Spheres(other.centers_mm + start[:, None], other.radii_mm)
    move = start + (_contact(one, moved, way) + gap * shape.flesh)[:, None] * way
    frames = replace(frames, origins_mm=frames.origins_mm + move[:, None])
    reach = longest_forearm(move, frames.axes[:, FOREARM, :, 1])
    left = replace(left, forearm_mm=np.minimum(left.forearm_mm, reach))
    skins = spheres(_with_forearm(frames, left), left)
    long = samples(resize_forearm(skins, move, np.minimum(LONG_ARM_MM * left.flesh, reach)))
    hidden = hidden_share(one.centers_mm[:, :HAND_SPHERES], *long)
    keep = np.flatnonzero((hidden < _HIDDEN_SHARE) & (skins.centers_mm[:, :HAND_SPHERES, 2].min(axis=1) > _NEAREST_MM))
    chosen = HandFrames(*(part[keep] for part in vars(frames).values()))
    return SecondHands(rows[keep], chosen, Spheres(*(part[keep] for part in skins)))


def _with_forearm(frames: HandFrames, shape: HandShape) -> HandFrames:
    """The frames with the forearm of this shape."""
    lengths = np.concatenate([frames.lengths_mm[:, :FOREARM], shape.forearm_mm[:, None]], axis=1)
    return replace(frames, lengths_mm=lengths)


def resize_forearm(skin: Spheres, wrist_mm: Float[np.ndarray, "n 3"], length_mm: Float[np.ndarray, "n"]) -> Spheres:
    """Forearms of another length. Shorter ones are cut, and longer ones are no wider at their end."""
    centers, radii = skin.centers_mm.copy(), skin.radii_mm.copy()
    wrist, elbow = (centers[:, end] for end in ARM_ENDS)
    arm = elbow.mean(axis=1) - wrist_mm
    now_mm = np.linalg.norm(arm, axis=1)
    share = np.minimum(length_mm / now_mm, 1)[:, None]
    more = np.maximum(length_mm / now_mm - 1, 0)[:, None] * arm
    centers[:, HAND_SPHERES:] = wrist + share[..., None] * (elbow - wrist) + more[:, None]
    radii[:, HAND_SPHERES:] = radii[:, ARM_ENDS[0]] + share * (radii[:, ARM_ENDS[1]] - radii[:, ARM_ENDS[0]])
    return Spheres(centers, radii)


def _ways(
    rng: np.random.Generator, kind: Int[np.ndarray, "m"]
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m"]]:
    """Unit vectors from the first hand to the second, and the gap between them in mm."""
    m = len(kind)
    beside = np.where(kind == FRONT, 1.0, np.where(kind == UNIFORM, np.sign(rng.standard_normal(m)), -1.0))
    way = np.array([0.3, 0.45, 0.35]) * rng.standard_normal((m, 3)) + np.array([0.0, 0.0, 0.15])
    way[:, 0] += beside
    behind = rng.random(m) < _BEHIND_SHARE
    way[behind] = way[behind] * np.array([0.4, 1.0, 0.3]) + np.array([0.0, 0.0, 1.0])
    gap = np.where(rng.random(m) < _TOUCH_SHARE, -1.0, rng.uniform(0, _FAR_MM, m))
    return way / np.linalg.norm(way, axis=1, keepdims=True), gap


def samples(skin: Spheres) -> Spheres:
    """The spheres of a hand, and some that are as wide as its forearm along it."""
    parts = []
    for part, wider in zip(skin, (1.0, 1.5), strict=True):
        wrist, elbow = (part[:, end].mean(axis=1) for end in ARM_ENDS)
        parts.append(np.concatenate([part[:, :HAND_SPHERES], wider * between(wrist, elbow, 7)[:, 1:]], axis=1))
    return Spheres(*parts)


def _contact(one: Spheres, other: Spheres, way: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m"]:
    """Distance that the other hand must move along `way` to meet the first, in mm, as it comes from afar.

    Two spheres touch where |a - b - t w| = ra + rb. The largest t of all pairs is the first contact. Where the paths
    of all pairs pass each other, 0.
    """
    meets = np.empty(len(way))
    _first_contact(*one, *other, way, meets)
    return np.where(np.isfinite(meets), meets, 0.0)


@compiled
@no_type_check
def _first_contact(one_mm, one_radii, other_mm, other_radii, ways, out):
    """Compiled, because arrays of all pairs of spheres cost more than the sums in them."""
    for m in range(len(ways)):
        wx, wy, wz, most = ways[m, 0], ways[m, 1], ways[m, 2], -np.inf
        for i in range(one_mm.shape[1]):
            ax, ay, az, radius = one_mm[m, i, 0], one_mm[m, i, 1], one_mm[m, i, 2], one_radii[m, i]
            for j in range(other_mm.shape[1]):
                x, y, z = ax - other_mm[m, j, 0], ay - other_mm[m, j, 1], az - other_mm[m, j, 2]
                along, reach = x * wx + y * wy + z * wz, radius + other_radii[m, j]
                rest = reach * reach - (x * x + y * y + z * z) + along * along
                if rest > 0:
                    most = max(most, along + np.sqrt(rest))
        out[m] = most
