"""Whether labelled hands have the size of hands: lengths of bones and fingers, against adults and each other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from crossnets.geometry.skeleton import Skeleton

# Buryanov & Kotiuk, Proportions of Hand Segments, Int. J. Morphol. 28(3), 2010, radiographs of 66 adults: means of
# the proximal, middle and distal phalanx and the soft tissue of the tip, added up. The thumb is left out: data sets
# do not agree on where its chain starts.
ADULT_FINGERS_MM = {
    "index": 39.78 + 22.38 + 15.82 + 3.84,
    "middle": 44.63 + 26.33 + 17.40 + 3.95,
    "ring": 41.37 + 25.65 + 17.30 + 3.95,
    "little": 32.74 + 18.11 + 15.96 + 3.73,
}
ADULT_RANGE = (0.8, 1.2)
"""Range of an adult's hand length over the mean. Hand length varies by about 7 % (one deviation, men and women
together) in surveys such as ANSUR II. The range is some 2.5 deviations and a margin for the places of labelled
knuckles: NYU's two subjects are at 0.93 and 1.13."""
_SAME_RATIO = 0.02
"""Bones that scale alike do so within this share ..."""
_SAME_BONES = 0.9
"""... and this share of them does; two real hands differ by more, bone by bone."""


@dataclass(frozen=True)
class HandSize:
    """Median lengths over the frames of one sequence."""

    bones_mm: dict[str, float]
    """Bone lengths by the name of the joint at the far end."""
    fingers_mm: dict[str, float]
    """Lengths of fingers from their first to their last joint."""
    of_adult_mean: float | None
    """Median over index to little of finger / adult's mean finger: one badly labelled finger does not move it.
    None when the labels do not run from knuckle to tip."""


def hand_size(joints_mm: Float32[np.ndarray, "F J 3"], skeleton: Skeleton) -> HandSize:
    """Sizes of the hand that F labelled frames show."""
    lengths = {
        child: np.linalg.norm(joints_mm[:, child] - joints_mm[:, parent], axis=-1) for parent, child in skeleton.bones
    }
    bones = {skeleton.joints[child]: float(np.median(mm)) for child, mm in lengths.items()}
    chains: dict[str, list[np.ndarray]] = {}
    for parent, child in skeleton.bones:
        finger = skeleton.joints[child].split("_")[0]
        if "_" in skeleton.joints[child] and skeleton.joints[parent].startswith(f"{finger}_") and finger != "palm":
            chains.setdefault(finger, []).append(lengths[child])
    fingers = {name: float(np.median(np.sum(chain, axis=0))) for name, chain in chains.items()}
    ratios = [
        fingers[name] / mean
        for name, mean in ADULT_FINGERS_MM.items()
        if {f"{name}_mcp", f"{name}_tip"} <= set(skeleton.joints) and name in fingers
    ]
    return HandSize(bones, fingers, float(np.median(ratios)) if ratios else None)


def size_notes(hands: dict[str, HandSize]) -> tuple[str, ...]:
    """Unusual sizes of the sequences' hands, one sentence each."""
    low, high = ADULT_RANGE
    notes = [
        _adult_note(name, hand, hand.of_adult_mean)
        for name, hand in hands.items()
        if hand.of_adult_mean is not None and not low <= hand.of_adult_mean <= high
    ]
    names = list(hands)
    first = names[0] if names else ""
    for name in names[1:]:
        factor = common_factor(hands[name], hands[first])
        if factor is not None and abs(factor - 1) > _SAME_RATIO:
            notes.append(
                f"{name}: the bones are {factor:.3f} of those of {first}, nearly all alike. Two people's bones differ "
                "one by one, so it is one hand in two depth units, or one label template at two scales. "
                f"Do not mix {name} and {first} before you know which is in mm."
            )
    return tuple(notes)


def _adult_note(name: str, hand: HandSize, share: float) -> str:
    low, high = ADULT_RANGE
    small = "A child's hand or, likelier, another depth unit or camera."
    large = "Likelier another depth unit, camera or label template than so large a hand."
    return (
        f"{name}: the fingers are {share:.2f} of an adult's mean, expected {low} to {high}; the middle finger is "
        f"{hand.fingers_mm['middle']:.1f} mm from knuckle to tip, an adult's {ADULT_FINGERS_MM['middle']:.0f} mm. "
        + (small if share < low else large)
    )


def common_factor(hand: HandSize, other: HandSize) -> float | None:
    """The factor between the bones of two sequences; None when the bones do not share one."""
    pairs = [(mm, other.bones_mm[name]) for name, mm in hand.bones_mm.items() if other.bones_mm.get(name, 0) > 0]
    if len(pairs) < 5:
        return None
    ratios = np.array([mm / base for mm, base in pairs])
    factor = float(np.median(ratios))
    alike = np.abs(ratios - factor) <= _SAME_RATIO * factor
    return factor if alike.mean() >= _SAME_BONES else None
