"""Where the joints of each data set's skeleton sit on the procedural hand.

The places are ours: started from anatomy, then moved until the hand fitted to published labels (`inverse.fit`) left no
systematic residual, and rounded. They say where annotators put a joint on a hand; no label is copied.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from crossnets.geometry.skeleton import CVAR21, ICVL16, MSRA21, NYU14, NYU36, Skeleton
from crossnets.render.kinematics import PALM, HandFrames, attach, bone


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
_ICVL = {"base": (1, 0.5), "mid": (2, 0.5), "tip": (3, 0.5)}
_TIP_INSIDE_MM = 5.0
"""Labelled tips lie inside the skin."""


def _places(
    skeleton: Skeleton, parts: dict[str, tuple[int, float]], moved: dict[str, tuple[float | int, ...]]
) -> Places:
    """Places by joint name; a joint in `moved` is moved from its anatomical place, or from the wrist."""
    bones, along, offsets = [], [], []
    for name in skeleton.joints:
        digit, _, part = name.partition("_")
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
"""Anatomical: no labels were at hand to measure."""
_CVAR = _places(
    CVAR21,
    _ANATOMY,
    {
        "palm": (-0.5, 27.5, 5),
        "index_pip": (1.5, -3.5, 1),
        "middle_mcp": (0, -2, 1),
        "middle_pip": (0, -3, 1),
        "middle_dip": (0, 0, -1.5),
        "middle_tip": (0, 2.5, -0.5),
        "ring_tip": (0.5, 2, -0.5),
        "little_mcp": (-1, 0, -3),
        "thumb_mcp": (-5, 12, -0.5),
        "thumb_pip": (0.5, -2.5, 0),
        "thumb_dip": (0, -3, 0),
        "thumb_tip": (-0.5, -2, 0),
    },
)
"""Moved by what 120 frames of P1, P4 and P5 show; the root lies in the palm, the thumb's first joint on its bone."""
_NYU = _places(
    NYU36,
    _ANATOMY,
    {
        "little_tip": (0.5, -1.5, -0.5),
        "little_dip": (-1, 3, 1),
        "little_middle": (-0.5, -2.5, 0.5),
        "little_pip": (0, -3.5, 1),
        "little_proximal": (1, 3.5, -0.5),
        "little_mcp": (-1.5, 3.5, 0.5),
        "ring_tip": (1.5, -1, 0),
        "ring_dip": (-0.5, 1.5, 0),
        "ring_middle": (-1, -4, 0),
        "ring_pip": (-2, -2.5, 2.5),
        "ring_proximal": (1.5, 1.5, -1),
        "ring_mcp": (1, 5, 1.5),
        "middle_tip": (1.5, 2, 0),
        "middle_dip": (0, 3, -0.5),
        "middle_middle": (-1, -3, -1),
        "middle_pip": (-2.5, -1.5, 1),
        "middle_proximal": (-0.5, -2, -0.5),
        "middle_mcp": (1.5, 0, 4),
        "index_tip": (1, 2.5, -0.5),
        "index_dip": (0, 5, 1),
        "index_pip": (-1, -2.5, -1),
        "index_proximal": (-0.5, -1.5, -2),
        "index_mcp": (1, -5.5, 0.5),
        "thumb_dip": (-0.5, 4.5, 1),
        "thumb_middle": (-1, -1.5, -1),
        "thumb_proximal": (6.5, 1.5, 0),
        "thumb_mcp": (7, -0.5, 7.5),
        "wrist_little_side": (-11, -1.5, -1.5),
        "wrist_thumb_side": (20, -1, -0.5),
        "palm": (2.5, 64.5, -3),
        "palm_little_side": (-19, 56, 6.5),
        "palm_thumb_side": (3.5, 41.5, -3),
        "wrist": (5, -6, -4),
    },
)
"""Moved by what 120 test frames show."""
_ICVL16 = _places(
    ICVL16,
    _ICVL,
    {
        "palm": (-0.5, 56, 2),
        "thumb_base": (-1.5, 4.5, 7),
        "thumb_mid": (0.5, -1, -2),
        "thumb_tip": (0, -2, 0),
        "index_base": (-3.5, 0.5, 0),
        "index_tip": (2, 1, -0.5),
        "middle_mid": (0, 1.5, 0),
        "middle_tip": (1, 1.5, 0),
        "ring_base": (2, -1, 0.5),
        "little_base": (3.5, -2.5, 0),
        "little_tip": (-2.5, 1, 0),
    },
)
"""Moved by what 120 test frames show; they are left hands."""
_CHOSEN = np.array(NYU36.evaluation)
PLACES = {
    NYU36.name: _NYU,
    NYU14.name: Places(_NYU.bones[_CHOSEN], _NYU.along[_CHOSEN], _NYU.offsets_mm[_CHOSEN]),
    ICVL16.name: _ICVL16,
    MSRA21.name: _MSRA,
    CVAR21.name: _CVAR,
}


def joints(frames: HandFrames, skeleton: Skeleton) -> Any:
    """(*B, J, 3): the skeleton's joints on posed hands, camera frame, mm; differentiable in torch."""
    places = PLACES[skeleton.name]
    return attach(frames, places.bones, places.along, places.offsets_mm)
