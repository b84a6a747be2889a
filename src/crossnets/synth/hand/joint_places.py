"""Places of each data set's joints on the procedural hand.

The places are from anatomy and from what is published about each skeleton, rounded. No test label was used. Only CVAR's
were then moved until the hand fitted to labels (`inverse.fit`) left no systematic residual: its sequences are for
development. `scripts/hand_coverage.py` says how well the others fit. No label is copied.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64

from crossnets.geometry.skeleton import CVAR21, ICVL16, MEDIAPIPE21, MSRA21, NYU14, NYU36, Skeleton
from crossnets.synth.hand.kinematics import PALM, HandFrames, attach, bone


@dataclass(frozen=True)
class Places:
    """A point on the bones for every joint of a skeleton."""

    bones: Int64[np.ndarray, "J"]
    """Frame of each joint, see `kinematics.bone`."""
    along: Float64[np.ndarray, "J"]
    """Fraction of the bone's length from its start."""
    offsets_mm: Float64[np.ndarray, "J 3"]
    """Across, along and through, in the bone's axes, on the mean hand."""


_DIGITS = {"thumb": 0, "index": 1, "middle": 2, "ring": 3, "little": 4}
_ANATOMY = {
    "mcp": (1, 0.0),
    "proximal": (1, 0.5),
    "pip": (2, 0.0),
    "middle": (2, 0.5),
    "dip": (3, 0.0),
    "tip": (3, 1.0),
}
_THUMB = {"cmc": "mcp", "mcp": "pip", "ip": "dip"}
"""The thumb's joints, and those of a finger at the same bone."""
_ICVL = {"base": (1, 0.5), "mid": (2, 0.5), "tip": (3, 0.5)}
_LENGTH = ("wrist", "middle_mcp", "middle_pip", "middle_dip", "middle_tip")
_TIP_INSIDE_MM = 5.0
"""Labelled tips lie inside the skin, about where the bone ends (Buryanov & Kotiuk 2010: 3.7 to 5.7 mm of flesh)."""


def _places(
    skeleton: Skeleton, parts: dict[str, tuple[int, float]], moved: dict[str, tuple[float | int, ...]]
) -> Places:
    """Places by joint name. A joint in `moved` is moved from its anatomical place, or from the wrist."""
    bones, along, offsets = [], [], []
    for name in skeleton.joints:
        digit, _, part = name.partition("_")
        if digit == "thumb":
            part = _THUMB.get(part, part)
        offset = np.zeros(3)
        if digit in _DIGITS and part in parts:
            index, fraction = parts[part]
            bones.append(bone(_DIGITS[digit], index))
            along.append(fraction)
            offset[1] = -_TIP_INSIDE_MM if fraction == 1 else 0.0
        else:
            bones.append(PALM)
            along.append(0.0)
        offsets.append(offset + np.array(moved.get(name, (0.0, 0.0, 0.0))))
    return Places(np.array(bones), np.array(along), np.array(offsets))


_MSRA = _places(MSRA21, _ANATOMY, {})
"""Anatomical: no labels were at hand."""
_CVAR = _places(
    CVAR21,
    _ANATOMY,
    {
        "palm": (-0.5, 39.5, 5),
        "index_mcp": (0, 6, -2),
        "index_pip": (1.5, -5, 2),
        "index_dip": (0, -5, 0),
        "index_tip": (0, -5, 0),
        "middle_mcp": (0, 5.5, 0.5),
        "middle_pip": (0, -2, 3),
        "middle_dip": (0, -4.5, -2),
        "middle_tip": (0, -2.5, -1),
        "ring_mcp": (0, 7, 0),
        "ring_pip": (0, 2.5, 1),
        "ring_dip": (0, -3, 1),
        "ring_tip": (0.5, -3, 0.5),
        "little_mcp": (-1, 3, -2),
        "little_pip": (0, -2, 0),
        "little_dip": (0, -4, 0),
        "little_tip": (0, -5, 0),
        "thumb_cmc": (-12, 19, -2.5),
        "thumb_mcp": (0.5, -2.5, 0),
        "thumb_ip": (0, -6.5, 1),
        "thumb_tip": (-0.5, -7.5, 0),
    },
)
"""Moved by what P1, P4 and P5, development data, show: first by the hand fitted to 120 labels, then by the median of
what labels and a network that reads the images differ by along each bone, rounded. Labelled knuckles are a few
millimetres towards the fingers, tips inside the finger's end. The root lies in the palm, the thumb's first joint on its
bone."""
_NYU = _places(
    NYU36,
    _ANATOMY,
    {
        "wrist_little_side": (-15, 5, 3),
        "wrist_thumb_side": (15, 5, 3),
        "palm": (0, 75, 0),
        "palm_little_side": (-20, 65, 10),
        "palm_thumb_side": (0, 50, 0),
    },
)
"""Tompson et al. 2014 labelled with a rigged hand. The joints are its spheres. Two sit on each bone, near its start and
about half-way, or at the tip; six on the palm, `PALM_1` to `PALM_6`. From the middle of the wrist they are 0.305 to
each side of it, and 1.467, 1.307 and 0.986 towards the fingers, the second also 0.41 to the little side and 0.2 through
the hand: out of the palm, as the arch of the metacarpals goes (`HandModelCoeff::sph_off_` of the published tracker).
That wrist, of spheres of 0.25, is 1.11 wide and ours 57 mm, so a unit is 51 mm; rounded to 5 mm, the sides' 0.064 to 3.
What is called `palm_thumb_side` is, on that hand, the middle of the palm."""
_ICVL16 = _places(ICVL16, _ICVL, {"palm": (0, 55, 0)})
"""Tang et al. 2014 label 16 parts, from memory: the palm and three bones of each digit. A joint is the middle of its
part. The palm ends at the webs, 94 mm and two fifths of a proximal bone from the wrist."""
_CHOSEN = np.array(NYU36.evaluation)
PLACES = {
    NYU36.name: _NYU,
    NYU14.name: Places(_NYU.bones[_CHOSEN], _NYU.along[_CHOSEN], _NYU.offsets_mm[_CHOSEN]),
    ICVL16.name: _ICVL16,
    MSRA21.name: _MSRA,
    CVAR21.name: _CVAR,
    MEDIAPIPE21.name: _places(MEDIAPIPE21, _ANATOMY, {}),
}


def joints(frames: HandFrames, skeleton: Skeleton) -> Any:
    """(*B, J, 3): the skeleton's joints on posed hands, camera frame, mm; differentiable in torch."""
    places = PLACES[skeleton.name]
    return attach(frames, places.bones, places.along, places.offsets_mm)


def joints_length(joints_mm: Float[np.ndarray, "B J 3"], skeleton: Skeleton) -> Float[np.ndarray, "B"]:
    """Length of hands in mm along the middle finger, from the wrist to the tip, by their joints: as if straightened."""
    chain = joints_mm[:, [skeleton.joints.index(name) for name in _LENGTH]]
    return np.linalg.norm(np.diff(chain, axis=1), axis=-1).sum(axis=1)
