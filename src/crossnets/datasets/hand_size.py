"""Plausibility of labelled hands: compares lengths of bones and fingers with adults and between sequences."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from crossnets.geometry.skeleton import FINGERS, Skeleton

# Source: Buryanov & Kotiuk, Proportions of Hand Segments, Int. J. Morphol. 28(3), 2010, radiographs of 66 adults.
# The last bone of a finger includes the mean of the soft tissue of the tip. The thumb is left out because data sets do
# not agree on where its chain starts.
ADULT_BONES_MM = {
    ("index", "mcp", "pip"): 39.78,
    ("index", "pip", "dip"): 22.38,
    ("index", "dip", "tip"): 15.82 + 3.84,
    ("middle", "mcp", "pip"): 44.63,
    ("middle", "pip", "dip"): 26.33,
    ("middle", "dip", "tip"): 17.40 + 3.95,
    ("ring", "mcp", "pip"): 41.37,
    ("ring", "pip", "dip"): 25.65,
    ("ring", "dip", "tip"): 17.30 + 3.95,
    ("little", "mcp", "pip"): 32.74,
    ("little", "pip", "dip"): 18.11,
    ("little", "dip", "tip"): 15.96 + 3.73,
}
"""Mean lengths of an adult's phalanges, by finger and both joints."""
ADULT_FINGERS_MM = {
    name: sum(mm for (finger, _, _), mm in ADULT_BONES_MM.items() if finger == name)
    for name in ("index", "middle", "ring", "little")
}
ADULT_RANGE = (0.8, 1.2)
"""Accepted range of an adult's hand length relative to the mean. Surveys such as ANSUR II report a standard deviation
of about 7 % for men and women together. The range covers about 2.5 deviations and a margin for where data sets place
the knuckles. NYU's two subjects are at 0.93 and 1.13."""
_SAME_RATIO = 0.02
"""Two bones scale by the same factor if their ratios differ by at most this share."""
_SAME_BONES = 0.9
"""Two sequences share a factor if at least this share of their bones does. The bones of two people differ by more."""


@dataclass(frozen=True)
class HandSize:
    """Median lengths over the frames of one sequence."""

    bones_mm: dict[str, float]
    """Bone lengths by the name of the joint at the far end."""
    fingers_mm: dict[str, float]
    """Lengths of fingers from their first to their last joint."""
    of_adult_mean: float | None
    """Finger length over an adult's mean finger length, as the median over index to little finger. The median ignores
    one badly labelled finger. None when the labels do not run from knuckle to tip."""


def hand_size(joints_mm: Float32[np.ndarray, "F J 3"], skeleton: Skeleton) -> HandSize:
    """Measure the hand in F labelled frames."""
    lengths = {
        child: np.linalg.norm(joints_mm[:, child] - joints_mm[:, parent], axis=-1) for parent, child in skeleton.bones
    }
    bones = {skeleton.joints[child]: float(np.median(mm)) for child, mm in lengths.items()}
    chains: dict[str, list[np.ndarray]] = {}
    for parent, child in skeleton.bones:
        finger = skeleton.places[child].split("_")[0]
        if "_" in skeleton.places[child] and skeleton.places[parent].startswith(f"{finger}_") and finger in FINGERS:
            chains.setdefault(finger, []).append(lengths[child])
    fingers = {name: float(np.median(np.sum(chain, axis=0))) for name, chain in chains.items()}
    ratios = [
        fingers[name] / mean
        for name, mean in ADULT_FINGERS_MM.items()
        if {f"{name}_mcp", f"{name}_tip"} <= set(skeleton.places) and name in fingers
    ]
    return HandSize(bones, fingers, float(np.median(ratios)) if ratios else None)


def size_notes(hands: dict[str, HandSize]) -> tuple[str, ...]:
    """Describe unusual hand sizes of the sequences, one note each."""
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
                f"{name}: the bones are {factor:.3f} of those of {first}, nearly all by the same factor. The bones of "
                "two people differ by many factors. This is therefore one hand in two depth units, or one label "
                f"template at two scales. Do not mix {name} and {first} before you know which is in mm."
            )
    return tuple(notes)


def _adult_note(name: str, hand: HandSize, share: float) -> str:
    low, high = ADULT_RANGE
    if share < low:
        cause = "This may be a child's hand, but another depth unit or camera is more likely."
    else:
        cause = "Another depth unit, camera or label template is more likely than so large a hand."
    return (
        f"{name}: the fingers are {share:.2f} of an adult's mean, expected {low} to {high}. The middle finger is "
        f"{hand.fingers_mm['middle']:.1f} mm long from knuckle to tip. An adult's is "
        f"{ADULT_FINGERS_MM['middle']:.0f} mm. {cause}"
    )


def common_factor(hand: HandSize, other: HandSize) -> float | None:
    """Find the factor between the bones of two sequences. None when the bones do not share one factor."""
    pairs = [(mm, other.bones_mm[name]) for name, mm in hand.bones_mm.items() if other.bones_mm.get(name, 0) > 0]
    if len(pairs) < 5:
        return None
    ratios = np.array([mm / base for mm, base in pairs])
    factor = float(np.median(ratios))
    alike = np.abs(ratios - factor) <= _SAME_RATIO * factor
    return factor if alike.mean() >= _SAME_BONES else None
