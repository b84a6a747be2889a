"""The person's other hand: of the same size, in any gesture, near the first hand or touching it.

All numbers are our choice. The first hand is always a right one here. Pictures of left hands are mirrored afterwards.
"""

from dataclasses import replace
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int

from crossnets.synth.compiled import compiled
from crossnets.synth.hand.anthropometry import HandShape
from crossnets.synth.hand.kinematics import FOREARM, HandFrames, HandPose, forward
from crossnets.synth.hand.sampler import FRONT, UNIFORM, draw_rotations, longest_forearm, mirror, take, unit
from crossnets.synth.hand.surface import NAMES, Spheres, spheres
from crossnets.synth.surroundings.parts import HAND_SPHERES, between, hidden_share

_TOUCH_SHARE = 0.35
"""Share of second hands that touch the first one."""
_FAR_MM = 250.0
"""Largest distance of the other second hands from the first one."""
_BEHIND_SHARE = 0.2
"""Share of second hands that are behind the first hand rather than beside it."""
_NEAREST_MM = 130.0
"""Least depth of a second hand."""
LONG_ARM_MM = 560.0
"""Length of forearm and upper arm on the mean hand. Arms that do not join a body are so long that they leave the
picture."""
ARM_ENDS = [[NAMES.index(f"{end}_{side}") for side in ("thumb", "little")] for end in ("wrist", "elbow")]
"""The two spheres of the wrist and those of the elbow."""
_HIDDEN_SHARE = 0.2
"""A second hand that hides more than this share of the first one is left out."""


class SecondHands(NamedTuple):
    """Second hands of some pictures."""

    rows: Int[np.ndarray, "M"]
    """The pictures that contain them."""
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
    """Draw second hands for some of n right hands. Hands that would hide the first one or meet the camera are left out.

    Args:
        rng: Source of all random numbers.
        rows: Indices of the first hands that get a second one, if it fits.
        first: Shapes of the n first hands. The second hand has the same shape.
        angles_rad: Angles of the first hands. A second hand takes the angles of the first hand of another picture.
        skin: Skins of the first hands with their forearms.
        kind: Kind of view. It determines the direction of the arm and the side of the second hand.
    """
    m = len(rows)
    shape = take(first, rows)
    kind = kind[rows]
    bent = angles_rad[rng.integers(len(angles_rad), size=m)]
    pose = HandPose(draw_rotations(rng, kind), np.zeros((m, 3)), bent)
    left = replace(shape, side=-np.ones(m), forearm_mm=250.0 * shape.flesh)
    frames = forward(left, mirror(pose, left.side))
    one = samples(Spheres(skin.centers_mm[rows], skin.radii_mm[rows]))
    other = samples(spheres(frames, left))
    # The second hand starts near the middle of the first one. It moves out along `way` until both touch, and then by
    # the gap.
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
    """Return the frames with the forearm of this shape."""
    lengths = np.concatenate([frames.lengths_mm[:, :FOREARM], shape.forearm_mm[:, None]], axis=1)
    return replace(frames, lengths_mm=lengths)


def resize_forearm(skin: Spheres, wrist_mm: Float[np.ndarray, "n 3"], length_mm: Float[np.ndarray, "n"]) -> Spheres:
    """Change the length of forearms. Shorter ones are cut. Longer ones keep the width of their end."""
    centers = skin.centers_mm.copy()
    radii = skin.radii_mm.copy()
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
    """Draw unit vectors from the first hand to the second one, and the gap between both hands in mm."""
    m = len(kind)
    beside = np.where(kind == FRONT, 1.0, np.where(kind == UNIFORM, np.sign(rng.standard_normal(m)), -1.0))
    way = np.array([0.3, 0.45, 0.35]) * rng.standard_normal((m, 3)) + np.array([0.0, 0.0, 0.15])
    way[:, 0] += beside
    behind = rng.random(m) < _BEHIND_SHARE
    way[behind] = way[behind] * np.array([0.4, 1.0, 0.3]) + np.array([0.0, 0.0, 1.0])
    gap = np.where(rng.random(m) < _TOUCH_SHARE, -1.0, rng.uniform(0, _FAR_MM, m))
    return unit(way), gap


def samples(skin: Spheres) -> Spheres:
    """Return the spheres of a hand, and spheres along its forearm that are as wide as the forearm."""
    parts = []
    for part, wider in zip(skin, (1.0, 1.5), strict=True):
        wrist, elbow = (part[:, end].mean(axis=1) for end in ARM_ENDS)
        parts.append(np.concatenate([part[:, :HAND_SPHERES], wider * between(wrist, elbow, 7)[:, 1:]], axis=1))
    return Spheres(*parts)


def _contact(one: Spheres, other: Spheres, way: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m"]:
    """Return the distance in mm along `way` at which the other hand, coming from afar, first touches the first hand.

    Two spheres touch where |a - b - t w| = ra + rb. The largest t of all pairs is the first contact. The distance is 0
    if no pair touches.
    """
    meets = np.empty(len(way))
    _first_contact(*one, *other, way, meets)
    return np.where(np.isfinite(meets), meets, 0.0)


# This is compiled because numpy would need arrays of all pairs of spheres, which cost more than the arithmetic.
@compiled
@no_type_check
def _first_contact(one_mm, one_radii, other_mm, other_radii, ways, out):
    for m in range(len(ways)):
        wx, wy, wz = ways[m, 0], ways[m, 1], ways[m, 2]
        most = -np.inf
        for i in range(one_mm.shape[1]):
            ax, ay, az = one_mm[m, i, 0], one_mm[m, i, 1], one_mm[m, i, 2]
            for j in range(other_mm.shape[1]):
                x = ax - other_mm[m, j, 0]
                y = ay - other_mm[m, j, 1]
                z = az - other_mm[m, j, 2]
                along = x * wx + y * wy + z * wz
                reach = one_radii[m, i] + other_radii[m, j]
                square = reach * reach - (x * x + y * y + z * z) + along * along
                if square > 0:
                    most = max(most, along + np.sqrt(square))
        out[m] = most
