"""The skin: a sphere-mesh on the bones of a posed hand.

All numbers are our choice. They were judged by comparing renderings with real depth images.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from crossnets.geometry.skeleton import FINGERS
from crossnets.synth.casting.spheremesh import SphereMesh, Topology
from crossnets.synth.hand.anthropometry import HandShape, like
from crossnets.synth.hand.kinematics import FOREARM, PALM, HandFrames, attach, bone

WRIST_RADII_MM = (17.5, 17.0)
WRIST_ACROSS_MM = (11.5, -11.0)
"""Radii and places of two spheres of the mean hand, on the thumb's and the little finger's side. They make a wrist 57
mm wide and 35 mm deep."""
FOREARM_END = (10.0, 15.0, 250.0)
"""Growth of the forearm in mm: each of its last two spheres is further out and larger than that of the wrist by the
first two numbers, after a length of the third."""


class Ball(NamedTuple):
    """One sphere: its place on a bone and its size on the mean hand."""

    name: str
    frame: int
    along: float
    offset_mm: tuple[float, float, float]
    """Offset across, along and through, in the bone's axes, on the mean hand."""
    radius_mm: float
    """Radius on the mean hand, or the factor of the mean radius of `joints`."""
    joints: tuple[tuple[int, int], ...] = ()
    """(digit, joint) pairs whose radii are averaged. If empty, `radius_mm` is the radius."""
    inside_end: bool = False
    """Whether the sphere is moved back by its radius, so that the surface ends where the bone with its flesh does."""


def _digit(name: str, digit: int) -> list[Ball]:
    """Return the spheres of one digit from its first joint to its tip."""
    two = bone(digit, 2)
    three = bone(digit, 3)
    return [
        Ball(f"{name}_0", bone(digit, 1), 0.0, (0, 0, 0), 1.0, ((digit, 0),)),
        Ball(f"{name}_half", bone(digit, 1), 0.52, (0, 0, 1.2), 0.98, ((digit, 1),)),
        Ball(f"{name}_1", two, 0.0, (0, 0, 0), 1.0, ((digit, 1),)),
        Ball(f"{name}_pad", two, 0.5, (0, 0, 0.9), 0.97, ((digit, 1), (digit, 2))),
        Ball(f"{name}_2", three, 0.0, (0, 0, 0), 1.0, ((digit, 2),)),
        Ball(f"{name}_tip", three, 1.0, (0, 0, 0.6), 1.0, ((digit, 3),), inside_end=True),
    ]


def _balls() -> list[Ball]:
    """Return all spheres that sit on one bone."""
    balls = [ball for digit, name in enumerate(FINGERS) for ball in _digit(name, digit)]
    thumb = bone(0, 1)
    index = bone(1, 0)
    little = bone(4, 0)
    fingers = list(enumerate(FINGERS))[1:]
    heads = [Ball(f"{name}_head", bone(d, 0), 0.84, (0, 0, 1.4), 0.9, ((d, 0),)) for d, name in fingers]
    return [
        *balls,
        *heads,
        Ball("carpus_thumb", PALM, 0.0, (11, 24, -1), 15.0),
        Ball("carpus_little", PALM, 0.0, (-13, 23, -0.5), 14.5),
        Ball("wrist_thumb", PALM, 0.0, (WRIST_ACROSS_MM[0], 0, 0), WRIST_RADII_MM[0]),
        Ball("wrist_little", PALM, 0.0, (WRIST_ACROSS_MM[1], 0, 0), WRIST_RADII_MM[1]),
        Ball("heel", PALM, 0.0, (-21, 20, 5), 13.0),
        Ball("edge", little, 0.60, (-4, 0, 5.0), 11.5),
        Ball("thenar_base", PALM, 0.0, (16, 19, 8), 14.0),
        Ball("thenar", thumb, 0.48, (-2, 0, 6), 14.0),
        Ball("web_thumb", thumb, 0.93, (-2, 0, 3), 7.5),
        Ball("web_index", index, 0.80, (2, 0, 4), 8.0),
        Ball("palm_pad", bone(2, 0), 0.74, (0, 0, 3), 11.0),
    ]


class Web(NamedTuple):
    """A sphere half-way between two bones. It stretches the skin when the bones move apart."""

    name: str
    ends: tuple[tuple[int, float], tuple[int, float]]
    """Bone and fraction of its length at both ends."""
    radius_mm: float


_WEBS = (
    Web("web_index_middle", ((bone(1, 1), 0.40), (bone(2, 1), 0.44)), 7.4),
    Web("web_middle_ring", ((bone(2, 1), 0.40), (bone(3, 1), 0.44)), 7.4),
    Web("web_ring_little", ((bone(3, 1), 0.40), (bone(4, 1), 0.56)), 6.6),
)
_THUMB_WEB = Web("web_middle", ((bone(0, 1), 0.70), (bone(1, 0), 0.60)), 6.5)
_BALLS = _balls()
_BETWEEN = (*_WEBS, _THUMB_WEB)
NAMES = (*(ball.name for ball in _BALLS), *(web.name for web in _BETWEEN), "elbow_thumb", "elbow_little")
"""Name of each sphere in the order of the mesh."""

# Places of all spheres in the form that `attach` takes. A web needs two points, one for each end. The last two rows are
# the end of the forearm.
_FRAMES = np.array(
    [ball.frame for ball in _BALLS] + [web.ends[k][0] for k in (0, 1) for web in _BETWEEN] + [FOREARM] * 2
)
_ALONG = np.array([ball.along for ball in _BALLS] + [web.ends[k][1] for k in (0, 1) for web in _BETWEEN] + [1.0] * 2)
_OFFSETS = np.array(
    [ball.offset_mm for ball in _BALLS] + [(0.0, 0.0, 3.0)] * 2 * len(_BETWEEN) + [(-x, 0, 0) for x in WRIST_ACROSS_MM]
)
_TIPS = np.array([float(ball.inside_end) for ball in _BALLS] + [0.0] * (2 * len(_BETWEEN) + 2))


def _radius_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (20, S) of the joints' radii in the spheres' radii, and the constant part (S,) in mm."""
    weights = np.zeros((20, len(NAMES)))
    constant = np.zeros(len(NAMES))
    for s, ball in enumerate(_BALLS):
        for digit, joint in ball.joints:
            weights[4 * digit + joint, s] = ball.radius_mm / len(ball.joints)
        constant[s] = 0.0 if ball.joints else ball.radius_mm
    constant[len(_BALLS) :] = [*(web.radius_mm for web in _BETWEEN), *WRIST_RADII_MM]
    return weights, constant


_WEIGHTS, _CONSTANT = _radius_table()


def _topology() -> Topology:
    """Join the spheres by name."""
    chain = ("0", "half", "1", "pad", "2", "tip")
    capsules = [(f"{f}_{a}", f"{f}_{b}") for f in FINGERS for a, b in pairwise(chain)]
    capsules += [(f"{f}_head", f"{f}_0") for f in FINGERS[1:]]
    knuckles = [f"{f}_head" for f in FINGERS[1:]]
    wedges = [
        ("carpus_thumb", knuckles[0], knuckles[1]),
        ("carpus_thumb", "carpus_little", knuckles[1]),
        ("carpus_little", knuckles[1], knuckles[2]),
        ("carpus_little", knuckles[2], knuckles[3]),
        ("wrist_thumb", "wrist_little", "carpus_thumb"),
        ("wrist_little", "carpus_thumb", "carpus_little"),
        ("heel", "edge", "carpus_little"),
        ("edge", "little_head", "ring_head"),
        ("heel", "wrist_little", "carpus_little"),
        ("heel", "edge", "palm_pad"),
        ("edge", "ring_head", "palm_pad"),
        ("middle_head", "ring_head", "palm_pad"),
        ("index_head", "middle_head", "palm_pad"),
        ("thenar", "thenar_base", "thumb_0"),
        ("thumb_0", "thumb_1", "thenar"),
        ("thenar_base", "carpus_thumb", "wrist_thumb"),
        ("thumb_0", "thenar_base", "wrist_thumb"),
        ("thenar", "thenar_base", "palm_pad"),
        ("web_thumb", "web_middle", "thenar"),
        ("web_middle", "web_index", "carpus_thumb"),
        ("web_middle", "thumb_0", "carpus_thumb"),
        ("web_middle", "thenar", "palm_pad"),
        ("web_middle", "web_index", "palm_pad"),
        ("web_index", "index_head", "palm_pad"),
        *((web.name, *pair) for web, pair in zip(_WEBS, pairwise(knuckles), strict=True)),
        ("wrist_thumb", "wrist_little", "elbow_thumb"),
        ("wrist_little", "elbow_thumb", "elbow_little"),
    ]
    number = {name: s for s, name in enumerate(NAMES)}
    return Topology(*(np.array([[number[name] for name in row] for row in rows]) for rows in (capsules, wedges)))


TOPOLOGY = _topology()


class Spheres(NamedTuple):
    """The spheres of one hand or a batch, in numpy or torch. TOPOLOGY joins them."""

    centers_mm: Any
    """(*B, S, 3) in the camera frame."""
    radii_mm: Any
    """(*B, S)."""


def spheres(frames: HandFrames, shape: HandShape) -> Spheres:
    """Return the spheres of the skin. The result is differentiable in torch."""
    xp = array_api_compat.array_namespace(frames.origins_mm)
    joint_radii = xp.reshape(shape.radii_mm, (*shape.flesh.shape, 20))
    constant = like(_CONSTANT, shape.flesh) * shape.flesh[..., None]
    radii = xp.matmul(joint_radii[..., None, :], like(_WEIGHTS, joint_radii))[..., 0, :] + constant
    growth = _forearm_growth(xp, shape)
    wider = like(np.eye(len(NAMES))[-2:].sum(axis=0), radii) * (FOREARM_END[1] * growth)[..., None]
    # The anchors hold the two ends of each web, and the radii hold each web once. The radii of the webs are therefore
    # repeated.
    num_webs = len(_BETWEEN)
    back = xp.concat([radii[..., :-2], radii[..., -2 - num_webs :]], axis=-1) * like(_TIPS, radii)
    anchors = attach(frames, _FRAMES, _ALONG, _OFFSETS, back)
    single = anchors[..., : len(_BALLS), :]
    webs = 0.5 * (anchors[..., len(_BALLS) : -2 - num_webs, :] + anchors[..., -2 - num_webs : -2, :])
    apart = frames.axes[..., FOREARM, :, 0] * (FOREARM_END[0] * growth)[..., None]
    ends = anchors[..., -2:, :] + xp.stack([-apart, apart], axis=-2)
    return Spheres(xp.concat([single, webs, ends], axis=-2), radii + wider)


def surface(frames: HandFrames, shape: HandShape) -> SphereMesh:
    """Return the skin of a posed hand or a batch in numpy."""
    skin = spheres(frames, shape)
    return SphereMesh(np.asarray(skin.centers_mm), np.asarray(skin.radii_mm), TOPOLOGY)


def _forearm_growth(xp: Any, shape: HandShape) -> Any:
    """(*B,): factor of FOREARM_END's growth at the visible end of the forearm."""
    length = FOREARM_END[2] * shape.flesh
    return shape.flesh * xp.minimum(shape.forearm_mm, length) / length
