"""Motion of a hand: joint angles to the frame of every bone. One implementation serves numpy and torch.

The limits were checked against tables that quote the source. AAOS 1965 (Joint Motion: Method of Measuring and
Recording) is quoted with, in degrees: fingers 90 and 45 back, 100, 90; the thumb's last joints 50, and 80 and 20
back; wrist 80 and 70, 20 and 30. The Electronic Textbook of Hand Surgery gives: thumb 55 and 10 back, 80 and 15 back;
ulnar side of the wrist 35. Where our limits are 5 or 10 degrees wider, the sources differ among each other by as
much. Middle joints reach 110 as in Lin, Wu, Huang 2000 (Modeling the Constraints of Human Hand Motion, as its users
quote it: 90, 110, 90).

The arch of the palm moves the metacarpals of ring and little finger by 20 and 27 degrees in all (Three-dimensional
kinematic analysis of the second through fifth carpometacarpal joints, its abstract). Ours move by 15 and 30. Two facts
are from memory: abduction (Kapandji 2007, The Physiology of the Joints I), and the coupling of the last two joints
(Rijpkema & Girard 1991, Computer Animation of Knowledge-Based Human Grasping). Textbooks of examination state that
deviation ends when a knuckle is flexed by 90 degrees, because the ligaments are taut then.

The base of the thumb turns about a middle position that is our choice. Its limits of 80 degrees in each direction are
our choice too. Cooney et al. 1981 (J. Bone Joint Surg. Am. 63:1371-81, abstract) measured 53 degrees from extension to
flexion and 42 from adduction to abduction in the mean of 19 people, for the joint alone. Our angles include the motion
of the carpus.
"""

from dataclasses import dataclass, replace
from typing import Any

import array_api_compat
import numpy as np

from crossnets.geometry.skeleton import FINGERS
from crossnets.synth.hand.anthropometry import HandShape, like

ANGLES = (
    *("thumb_base_flexion", "thumb_base_abduction", "thumb_mcp_flexion", "thumb_ip_flexion"),
    *(f"{f}_{a}" for f in FINGERS[1:] for a in ("flexion", "deviation", "pip", "dip")),
    *("thumb_base_twist", "thumb_mcp_abduction", "ring_arch", "little_arch", "wrist_flexion", "wrist_deviation"),
)
"""Names of the joint angles. Flexion closes the hand. Deviation moves a finger towards the thumb's side. Abduction
moves the thumb away from the palm."""
LIMITS_RAD = np.deg2rad(
    [
        *((-30, 50), (-35, 45), (-15, 60), (-20, 85)),
        *((-30, 90), (-18, 25), (-5, 110), (-10, 85)),
        *((-30, 90), (-18, 18), (-5, 110), (-10, 85)),
        *((-30, 92), (-18, 18), (-5, 110), (-10, 85)),
        *((-30, 95), (-26, 22), (-5, 108), (-10, 85)),
        *((-30, 45), (-15, 15), (-2, 13), (-3, 27), (-70, 80), (-35, 22)),
    ]
)
"""(26, 2): lowest and highest value of each of ANGLES."""
DIP_PER_PIP = 2 / 3
"""The last joint flexes two thirds as far as the joint before it."""
DIP_SPREAD_RAD = np.deg2rad(22.0)
"""Largest departure of the last joint from that coupling (our choice)."""
DEVIATION_LEFT = 0.25
"""Share of the deviation that remains when a finger is flexed by 90 degrees (our choice; close to 0 in the
literature)."""

FLEXION, DEVIATION, PIP, DIP = (np.arange(4, 20, 4) + k for k in range(4))
_COUPLED = np.arange(len(ANGLES))
_COUPLED[DEVIATION] = len(ANGLES) + np.arange(4)
_COUPLED[DIP] = len(ANGLES) + 4 + np.arange(4)
"""Index of each angle in the array of `natural`, which appends the changed angles to the unchanged ones."""
PALM = 0
FOREARM = 21
FRAMES = 22
"""Bones are numbered: the palm is 0, then four bones for each digit, and the forearm is 21."""


def bone(digit: int, index: int) -> int:
    """Return the number of a bone. Digits count from the thumb (0), and the bones of a digit from the wrist (0)."""
    return 1 + 4 * digit + index


def _rest() -> np.ndarray:
    """(5, 3, 3): the frame of each digit at zero angles. Its columns are x, y along the digit, and z in the closing
    direction."""
    along = np.array([0.60, 0.69, 0.40])
    closing = np.array([-0.74, 0.22, 0.64])
    along = along / np.linalg.norm(along)
    across = np.cross(along, closing)
    across /= np.linalg.norm(across)
    rest = [np.stack([across, along, np.cross(across, along)], axis=-1)]
    for fan, roll in np.deg2rad([(3.0, -4.0), (-2.0, 2.0), (-7.0, 9.0), (-14.0, 16.0)]):
        turn = np.array([[np.cos(fan), np.sin(fan), 0], [-np.sin(fan), np.cos(fan), 0], [0, 0, 1]])
        twist = np.array([[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]])
        rest.append(turn @ twist)
    return np.stack(rest)


REST = _rest()
"""Straight fingers fan out as in a resting hand. Bent fingers converge towards the base of the thumb (our choice)."""


@dataclass(frozen=True)
class HandPose:
    """Position and joint angles of one hand or a batch, in numpy or torch."""

    rotation: Any
    """(*B, 3, 3): the hand's axes in the camera frame."""
    translation_mm: Any
    """(*B, 3): the middle of the wrist in the camera frame."""
    angles_rad: Any
    """(*B, 26): angles in the order of ANGLES."""


@dataclass(frozen=True)
class HandFrames:
    """Every bone of a posed hand in the camera frame, in the order of `bone`."""

    origins_mm: Any
    """(*B, 22, 3): start of each bone."""
    axes: Any
    """(*B, 22, 3, 3): columns x (across), y (along the bone), z (closing direction). The axes of a left hand are
    left-handed, so that everything attached to them is mirrored too."""
    lengths_mm: Any
    """(*B, 22): length of each bone. The palm reaches from the wrist to the middle knuckle."""
    scale: Any
    """(*B, 3): scale as in HandShape."""


def forward(shape: HandShape, pose: HandPose) -> HandFrames:
    """Compute the frame of every bone (forward kinematics)."""
    angles = pose.angles_rad
    xp = array_api_compat.array_namespace(angles)
    turns = _turns(xp, angles)
    arch = _arch(xp, angles)
    first = xp.matmul(arch, _ray_frames(xp, shape.rays))
    base = xp.matmul(xp.matmul(arch, like(REST, angles)), turns[..., 0, :, :])
    middle = xp.matmul(base, turns[..., 1, :, :])
    last = xp.matmul(middle, turns[..., 2, :, :])
    axes = xp.stack([first, base, middle, last], axis=-3)
    steps = axes[..., 1] * shape.bones_mm[..., None]
    ends = xp.cumulative_sum(steps, axis=-2)
    origins = shape.bases_mm[..., None, :] + ends - steps
    batch = angles.shape[:-1]
    forearm = _forearm_axes(xp, angles)[..., None, :, :]
    palm = xp.broadcast_to(like(np.eye(3), angles), (*batch, 1, 3, 3))
    axes = xp.concat([palm, xp.reshape(axes, (*batch, 20, 3, 3)), forearm], axis=-3)
    zero = xp.zeros_like(pose.translation_mm)[..., None, :]
    origins = xp.concat([zero, xp.reshape(origins, (*batch, 20, 3)), zero], axis=-2)
    palm_mm = shape.bases_mm[..., 2, 1] + shape.rays[..., 2, 1] * shape.bones_mm[..., 2, 0]
    bones_mm = xp.reshape(shape.bones_mm, (*batch, 20))
    lengths = xp.concat([palm_mm[..., None], bones_mm, shape.forearm_mm[..., None]], axis=-1)
    return _place(xp, shape, pose, origins, axes, lengths)


def attach(frames: HandFrames, bones: np.ndarray, along: Any, offsets_mm: np.ndarray, back_mm: Any = None) -> Any:
    """Return points that move with bones: (*B, N, 3) in mm in the camera frame.

    Args:
        frames: The posed hand.
        bones: (N,) bone of each point.
        along: (N,) fraction of the bone's length from its start.
        offsets_mm: (N, 3) offset in the bone's axes on the mean hand. It scales with the hand.
        back_mm: (*B, N) distance back along the bone, which does not scale with the hand, or None.
    """
    xp = array_api_compat.array_namespace(frames.origins_mm)
    index = xp.asarray(bones)
    local = like(np.asarray(offsets_mm), frames.scale) * frames.scale[..., None, :]
    reach = like(np.asarray(along), frames.scale) * frames.lengths_mm[..., index] + local[..., 1]
    reach = reach if back_mm is None else reach - back_mm
    axes = frames.axes[..., index, :, :]
    across = local[..., 0]
    through = local[..., 2]
    return frames.origins_mm[..., index, :] + (
        axes[..., 0] * across[..., None] + axes[..., 1] * reach[..., None] + axes[..., 2] * through[..., None]
    )


def clamp(pose: HandPose) -> HandPose:
    """Clamp every angle of a pose to its limits."""
    xp = array_api_compat.array_namespace(pose.angles_rad)
    low, high = (like(LIMITS_RAD[:, k], pose.angles_rad) for k in range(2))
    return replace(pose, angles_rad=xp.minimum(xp.maximum(pose.angles_rad, low), high))


def natural(pose: HandPose) -> HandPose:
    """Return the nearest pose that a hand takes without external force.

    Angles are within their limits, last joints follow the joints before them, and flexed fingers deviate less.
    """
    angles = clamp(pose).angles_rad
    xp = array_api_compat.array_namespace(angles)
    flexed = xp.clip(angles[..., FLEXION] / (np.pi / 2), min=0.0, max=1.0)
    deviation = angles[..., DEVIATION] * (1 - (1 - DEVIATION_LEFT) * flexed)
    coupled = DIP_PER_PIP * angles[..., PIP]
    dip = xp.clip(angles[..., DIP] - coupled, min=-DIP_SPREAD_RAD, max=DIP_SPREAD_RAD) + coupled
    changed = xp.concat([angles, deviation, dip], axis=-1)[..., _COUPLED]
    return clamp(replace(pose, angles_rad=changed))


def rotation_from_vector(vector: Any) -> Any:
    """Convert (*B, 3), axis times angle in radians, to rotation matrices (*B, 3, 3) by Rodrigues' formula.

    The result is differentiable at zero.
    """
    xp = array_api_compat.array_namespace(vector)
    square = xp.sum(vector**2, axis=-1) + 1e-12
    angle = xp.sqrt(square)
    a = xp.sin(angle) / angle
    b = (1 - xp.cos(angle)) / square
    x, y, z = (vector[..., k] for k in range(3))
    o = xp.zeros_like(x)
    k = _matrix(xp, [[o, -z, y], [z, o, -x], [-y, x, o]])
    return like(np.eye(3), vector) + a[..., None, None] * k + b[..., None, None] * xp.matmul(k, k)


def _matrix(xp: Any, rows: list[list[Any]]) -> Any:
    """Stack nine arrays of shape (*B) into (*B, 3, 3)."""
    flat = xp.stack([entry for row in rows for entry in row], axis=-1)
    return xp.reshape(flat, (*flat.shape[:-1], 3, 3))


def _turns(xp: Any, angles: Any) -> Any:
    """(*B, 5, 3, 3, 3): rotation in the three joints of each digit, by deviation, then flexion, then twist."""
    batch = angles.shape[:-1]
    digits = xp.reshape(angles[..., :20], (*batch, 5, 4))
    flexion = xp.stack([digits[..., 0], digits[..., 2], digits[..., 3]], axis=-1)
    # Only the thumb twists at its base and abducts at its second joint. These angles are zero for the fingers.
    zero = xp.zeros_like(digits[..., 0])
    fingers = zero[..., 1:]
    base_twist = xp.concat([angles[..., 20:21], fingers], axis=-1)
    twist = xp.stack([base_twist, zero, zero], axis=-1)
    second_abduction = xp.concat([angles[..., 21:22], fingers], axis=-1)
    deviation = xp.stack([digits[..., 1], second_abduction, zero], axis=-1)
    cd, sd = xp.cos(deviation), xp.sin(deviation)
    cf, sf = xp.cos(flexion), xp.sin(flexion)
    ct, st = xp.cos(twist), xp.sin(twist)
    return _matrix(
        xp,
        [
            [cd * ct + sd * sf * st, sd * cf, cd * st - sd * sf * ct],
            [cd * sf * st - sd * ct, cd * cf, -sd * st - cd * sf * ct],
            [-cf * st, sf, cf * ct],
        ],
    )


def _arch(xp: Any, angles: Any) -> Any:
    """(*B, 5, 3, 3): rotation of each whole digit by the arch of the palm. Only ring and little finger rotate."""
    angle = xp.concat([xp.zeros_like(angles[..., :3]), angles[..., 22:24]], axis=-1)
    c, s = xp.cos(angle), xp.sin(angle)
    o = xp.zeros_like(angle)
    return _matrix(xp, [[o + 1, o, o], [o, c, -s], [o, s, c]])


def _ray_frames(xp: Any, rays: Any) -> Any:
    """(*B, 5, 3, 3): frames with y along the first bones and x in the plane of the palm."""
    x, y, z = (rays[..., k] for k in range(3))
    flat = xp.sqrt(x**2 + y**2)
    o = xp.zeros_like(x)
    return _matrix(xp, [[y / flat, x, -x * z / flat], [-x / flat, y, -y * z / flat], [o, z, flat]])


def _forearm_axes(xp: Any, angles: Any) -> Any:
    """(*B, 3, 3): axes of the forearm in the axes of the hand. y points to the elbow."""
    flexion = angles[..., 24]
    deviation = angles[..., 25]
    cf, sf = xp.cos(flexion), xp.sin(flexion)
    cd, sd = xp.cos(deviation), xp.sin(deviation)
    o = xp.zeros_like(cf)
    # The wrist rotates the hand by deviation and then flexion. The transpose undoes that rotation, and a half turn
    # about z reverses x and y.
    return _matrix(xp, [[-cd, sd, o], [-sd * cf, -cd * cf, sf], [sd * sf, cd * sf, cf]])


def _place(xp: Any, shape: HandShape, pose: HandPose, origins: Any, axes: Any, lengths: Any) -> HandFrames:
    """Mirror left hands, then apply rotation and translation of the pose."""
    one = xp.ones_like(shape.side)
    world = pose.rotation * xp.stack([shape.side, one, one], axis=-1)[..., None, :]
    batch = lengths.shape[:-1]
    vectors = xp.concat([origins[..., None], axes], axis=-1)  # (*B, 22, 3, 4)
    turned = xp.matmul(world[..., None, :, :], vectors)
    origins = turned[..., 0] + pose.translation_mm[..., None, :]
    return HandFrames(origins, xp.reshape(turned[..., 1:], (*batch, FRAMES, 3, 3)), lengths, shape.scale)
