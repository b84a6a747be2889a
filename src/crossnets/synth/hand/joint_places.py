"""Places of each data set's joints on the procedural hand.

The places follow anatomy and the published descriptions of each skeleton, rounded. No test label was used. Only CVAR's
places were then moved until the hand fitted to labels (`scripts/fit_hand.py`) had no systematic residual. CVAR's
sequences are development data. `scripts/hand_coverage.py` reports how well the other skeletons fit. No label is copied.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64

from crossnets.geometry.skeleton import (
    CVAR21,
    FINGERS,
    HANDS17_21,
    HO3D_21,
    ICVL16,
    MEDIAPIPE21,
    MSRA21,
    NYU14,
    NYU36,
    Skeleton,
    joint_name,
)
from crossnets.synth.hand.kinematics import PALM, HandFrames, attach, bone


@dataclass(frozen=True)
class Places:
    """A point on the bones for every joint of a skeleton."""

    bones: Int64[np.ndarray, "J"]
    """Index of the bone of each joint, as in `kinematics.bone`."""
    along: Float64[np.ndarray, "J"]
    """Fraction of the bone's length from its start."""
    offsets_mm: Float64[np.ndarray, "J 3"]
    """Across, along and through, in the bone's axes, on the mean hand."""


_ANATOMY = {
    "mcp": (1, 0.0),
    "proximal": (1, 0.5),
    "pip": (2, 0.0),
    "middle": (2, 0.5),
    "dip": (3, 0.0),
    "tip": (3, 1.0),
}
"""Bone, and fraction of its length, of each part of a finger. `joint_name` gives the names of the thumb's parts."""
_ICVL = {"base": (1, 0.5), "mid": (2, 0.5), "tip": (3, 0.5)}
_LENGTH = ("wrist", "middle_mcp", "middle_pip", "middle_dip", "middle_tip")
_TIP_INSIDE_MM = 5.0
"""Labelled tips lie inside the skin, near the end of the bone (Buryanov & Kotiuk 2010: 3.7 to 5.7 mm of flesh)."""


def _places(
    skeleton: Skeleton, parts: dict[str, tuple[int, float]], moved: dict[str, tuple[float | int, ...]]
) -> Places:
    """Return the places of a skeleton's joints.

    Args:
        skeleton: Names the joints. Joints that are not on a digit start at the wrist.
        parts: Bone and fraction of each part of a digit.
        moved: Offset in mm of single joints from their anatomical place or from the wrist.
    """
    on_digits = {
        joint_name(finger, part): (bone(digit, index), fraction)
        for digit, finger in enumerate(FINGERS)
        for part, (index, fraction) in parts.items()
    }
    bones, along = zip(*(on_digits.get(name, (PALM, 0.0)) for name in skeleton.joints), strict=True)
    offsets = np.array([moved.get(name, (0.0, 0.0, 0.0)) for name in skeleton.joints], np.float64)
    offsets[:, 1] -= np.where(np.array(along) == 1, _TIP_INSIDE_MM, 0.0)
    return Places(np.array(bones), np.array(along), offsets)


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
"""The offsets are from P1, P4 and P5, which are development data. They were found in two steps: from the hand fitted to
120 labels, and from the median difference along each bone between labels and a network that reads the images. They are
rounded. Labelled knuckles lie a few millimetres towards the fingers, and tips inside the finger's end. The root lies in
the palm, and the thumb's first joint on its bone."""
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
"""Tompson et al. 2014 labelled with a rigged hand, and the joints are its spheres. Two spheres sit on each bone: near
its start, and about half-way or at the tip. Six spheres sit on the palm, `PALM_1` to `PALM_6`. Relative to the middle
of the wrist, two are 0.305 to either side, and three are 1.467, 1.307 and 0.986 towards the fingers. The second of
these is also 0.41 to the little side and 0.2 through the hand, out of the palm, like the arch of the metacarpals
(`HandModelCoeff::sph_off_` of the published tracker). The wrist of that hand has spheres of 0.25 and is 1.11 wide.
Ours is 57 mm wide, so a unit is 51 mm. The offsets are rounded to 5 mm, and the sides' 0.064 to 3 mm. The joint
called `palm_thumb_side` is the middle of the palm on that hand."""
_ICVL16 = _places(ICVL16, _ICVL, {"palm": (0, 55, 0)})
"""Tang et al. 2014 label 16 parts: the palm and three bones of each digit (from memory). A joint is the middle of its
part. The palm ends at the webs, 94 mm and two fifths of a proximal bone from the wrist."""
_CHOSEN = np.array(NYU36.evaluation)
PLACES = {
    NYU36.name: _NYU,
    NYU14.name: Places(_NYU.bones[_CHOSEN], _NYU.along[_CHOSEN], _NYU.offsets_mm[_CHOSEN]),
    ICVL16.name: _ICVL16,
    MSRA21.name: _places(MSRA21, _ANATOMY, {}),
    CVAR21.name: _CVAR,
    MEDIAPIPE21.name: _places(MEDIAPIPE21, _ANATOMY, {}),
    HANDS17_21.name: _places(HANDS17_21, _ANATOMY, {}),
    HO3D_21.name: _places(HO3D_21, _ANATOMY, {}),
}
"""Places by name of the skeleton. MSRA's are anatomical, because no labels were available. The joints of MediaPipe,
HANDS17 and HO-3D are the same."""


@functools.cache
def places_of(skeleton: Skeleton) -> Places:
    """Return the places of a skeleton's joints. Those of a declared skeleton are the places of its standard joints.

    Raises:
        ValueError: a joint corresponds to no standard joint.
    """
    if not skeleton.standard:
        return PLACES[skeleton.name]
    unplaced = [joint for joint, place in zip(skeleton.joints, skeleton.standard, strict=True) if place is None]
    if unplaced:
        raise ValueError(
            f"The joints {', '.join(unplaced)} of {skeleton.name} correspond to no standard joint, so they have no "
            "place on the rendered hand. Declare their standard joints, or take --preset paper, which needs none."
        )
    rows = np.array([NYU36.joints.index(place) for place in skeleton.standard if place is not None])
    return Places(_NYU.bones[rows], _NYU.along[rows], _NYU.offsets_mm[rows])


def joints(frames: HandFrames, skeleton: Skeleton) -> Any:
    """(*B, J, 3): the skeleton's joints on posed hands, in mm in the camera frame. Differentiable in torch."""
    places = places_of(skeleton)
    return attach(frames, places.bones, places.along, places.offsets_mm)


def joints_length(joints_mm: Float[np.ndarray, "B J 3"], skeleton: Skeleton) -> Float[np.ndarray, "B"]:
    """Return the length of hands in mm, as the sum of the bones from the wrist to the tip of the middle finger."""
    chain = joints_mm[:, [skeleton.joints.index(name) for name in _LENGTH]]
    return np.linalg.norm(np.diff(chain, axis=1), axis=-1).sum(axis=1)
