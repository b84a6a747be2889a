"""Bones and side of labelled hands: proportions that no hand has, frames unlike the others, left or right hands."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Float32

from crossnets.datasets.hand_size import ADULT_BONES_MM
from crossnets.geometry.skeleton import FINGERS, Skeleton

Side: TypeAlias = Literal["left", "right"]

_PROPORTIONS = 0.3
"""Largest difference between the bones of a hand and those of an adult: the mean of the logarithms, apart from the size
of the hand. Rendered hands are at 0.10, CVAR's labels at 0.11."""
_SIZES = (0.5, 1.7)
"""Sizes of hands over an adult's mean. Three years old children are at 0.6, and CVAR's P1 is labelled at 1.34."""
_LEAST_FRAMES = 5
"""Frames of a sequence whose medians a single frame is compared with."""
_SIZE = 0.7
_OTHER_PROPORTIONS = 0.3
_LONGER = 1.0
_LONGER_MM = 40.0
"""The bones of a frame differ from those of its sequence if one of three logarithms is larger: `_SIZE` for the size of
the hand, `_OTHER_PROPORTIONS` for the mean over the bones apart from the size, `_LONGER` for a single bone, which must
also be `_LONGER_MM` longer. Published labels of NYU and ICVL reach 0.23, 0.17 and 0.5. Rendered hands of different
people reach 0.48, 0.13 and 0.4."""
_CLEAR_BEND = 0.2
_LEAST_VOTES = 10
_MAJORITY = 0.9
"""A frame tells its side if its fingers bend by more than this sine. A data set shows one side if so many frames tell,
and this share of them agrees."""


_PARTS = {"mcp": 0.0, "proximal": 0.5, "pip": 1.0, "middle": 1.5, "dip": 2.0, "tip": 3.0, "base": 0.0, "mid": 1.0}
_THUMB = {**_PARTS, "cmc": 0.0, "mcp": 1.0, "ip": 2.0}
"""Place of each part along its finger, or along the thumb. A finger bends at the whole numbers."""
_NEARLY_RIGID = {"mid", "tip"}
"""Ends of a bone of ICVL with a joint between them, whose length hardly varies in its labels."""


def rigid_bones(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """Bones of a skeleton, as parent and child, between whose ends nothing bends."""
    return tuple(bone for bone in skeleton.bones if _is_rigid(*(skeleton.places[joint] for joint in bone)))


def _is_rigid(one: str, other: str) -> bool:
    """Whether two places of the hand keep their distance."""
    ends: list[tuple[float, str, str]] = []
    for place in (one, other):
        finger, _, part = place.partition("_")
        parts = _THUMB if finger == "thumb" else _PARTS
        if finger in FINGERS and part in parts:
            ends.append((parts[part], finger, part))
        elif finger in ("wrist", "palm"):
            ends.append((0.0, "palm", part))
        else:
            return False
    (near, finger, part), (far, other_finger, other_part) = sorted(ends)
    if "palm" in (finger, other_finger):
        return far == 0
    return finger == other_finger and (far <= math.floor(near) + 1 or {part, other_part} == _NEARLY_RIGID)


def bone_lengths(joints_mm: Float[np.ndarray, "J 3"], skeleton: Skeleton) -> Float32[np.ndarray, "N"]:
    """Lengths in mm of the rigid bones of a skeleton."""
    parents, children = np.array(rigid_bones(skeleton), np.int64).reshape(-1, 2).T
    return np.linalg.norm(joints_mm[children] - joints_mm[parents], axis=-1).astype(np.float32)


def unlike_others(
    bones_mm: Float32[np.ndarray, "F N"], sequences: Sequence[str], skeleton: Skeleton
) -> list[str | None]:
    """Describe how the bones of each frame differ from the medians of its sequence. None for frames that are alike."""
    found: list[str | None] = [None] * len(bones_mm)
    if not bones_mm.shape[1]:
        return found
    rows_of: dict[str, list[int]] = {}
    for row, sequence in enumerate(sequences):
        rows_of.setdefault(sequence, []).append(row)
    for rows in rows_of.values():
        if len(rows) < _LEAST_FRAMES:
            continue
        lengths = np.maximum(bones_mm[rows].astype(np.float64), 1e-3)
        usual = np.median(lengths, axis=0)
        for row, told in zip(rows, _described(lengths, usual, skeleton), strict=True):
            found[row] = told
    return found


def _described(
    lengths: Float[np.ndarray, "F N"], usual: Float[np.ndarray, "N"], skeleton: Skeleton
) -> list[str | None]:
    """Description of each frame of a sequence with these medians."""
    ratios = np.log(lengths / usual)
    sizes = np.median(ratios, axis=1)
    apart = ratios - sizes[:, None]
    found: list[str | None] = []
    for mm, size, others in zip(lengths, sizes, apart, strict=True):
        longest = int(np.argmax(np.where(mm - usual > _LONGER_MM, others, -np.inf)))
        if abs(size) > _SIZE:
            found.append(f"its bones are {np.exp(size):.2g} times as long as in the other frames")
        elif mm[longest] - usual[longest] > _LONGER_MM and others[longest] > _LONGER:
            joint = skeleton.joints[rigid_bones(skeleton)[longest][1]]
            found.append(
                f"the bone to {joint} is {mm[longest]:.0f} mm long, {usual[longest]:.0f} mm in the other frames"
            )
        elif np.abs(others).mean() > _OTHER_PROPORTIONS:
            found.append("its bones have other proportions than in the other frames")
        else:
            found.append(None)
    return found


def no_hand(joints_mm: Float32[np.ndarray, "F J 3"], skeleton: Skeleton) -> str | None:
    """Name bones whose lengths no hand has. None for skeletons whose fingers do not run from knuckle to tip."""
    places = {name: place for place, name in enumerate(skeleton.places)}
    bones = {(f"{finger}_{a}", f"{finger}_{b}"): mm for (finger, a, b), mm in ADULT_BONES_MM.items()}
    if not {joint for bone in bones for joint in bone} <= set(places):
        return None
    ends = np.array([[places[a], places[b]] for a, b in bones])
    found = np.median(np.linalg.norm(joints_mm[:, ends[:, 0]] - joints_mm[:, ends[:, 1]], axis=-1), axis=0)
    ratios = np.log(np.maximum(found, 1e-6) / np.array(list(bones.values())))
    size = float(np.exp(np.median(ratios)))
    apart = np.abs(ratios - np.median(ratios))
    if apart.mean() > _PROPORTIONS:
        worst = int(np.argmax(apart))
        (a, b), usual = list(bones.items())[worst]
        return (
            f"The bones do not have the proportions of a hand: {a} to {b} is {found[worst]:.0f} mm long, expected "
            f"about {usual * size:.0f}. Likely cause: the joints are in another order than {skeleton.name}'s, or are "
            "not the joints that it names."
        )
    if not _SIZES[0] <= size <= _SIZES[1]:
        return (
            f"The fingers are {size:.2f} of an adult's mean, expected {_SIZES[0]} to {_SIZES[1]}. Likely cause: the "
            "joints are scaled about one of them, or another depth unit."
        )
    return None


def bend_of(joints_mm: Float[np.ndarray, "J 3"], skeleton: Skeleton) -> float | None:
    """How the four fingers bend, as the mean sine between their bones: positive for a right hand, negative for a left.

    Fingers close towards the palm. Seen along the knuckles, from the little finger's to the index finger's, that is one
    sense of rotation for right hands and the other for left hands. None if the skeleton has fewer than three joints of
    a finger.
    """
    chains = _chains(skeleton)
    if chains is None:
        return None
    index, little = (joints_mm[chains[place][0]] for place in (0, -1))
    across = (index - little) / max(float(np.linalg.norm(index - little)), 1e-6)
    sines = []
    for chain in chains:
        bones = np.diff(joints_mm[list(chain)].astype(np.float64), axis=0)
        lengths = np.maximum(np.linalg.norm(bones, axis=1), 1e-6)
        turns = np.cross(bones[:-1], bones[1:]).sum(axis=0)
        sines.append(float(turns @ across / (lengths[:-1] * lengths[1:]).sum()))
    return float(np.mean(sines))


def _chains(skeleton: Skeleton) -> list[tuple[int, ...]] | None:
    """Joints of the four fingers, index finger first, from the knuckle to the tip. None if a finger has too few."""
    depths = [0] * len(skeleton)
    for joint in range(len(skeleton)):
        above = skeleton.parents[joint]
        while above >= 0:
            depths[joint] += 1
            above = skeleton.parents[above]
    chains: list[tuple[int, ...]] = []
    for finger in FINGERS[1:]:
        joints = [joint for joint, place in enumerate(skeleton.places) if place.startswith(f"{finger}_")]
        if len(joints) < 3:
            return None
        chains.append(tuple(sorted(joints, key=depths.__getitem__)))
    return chains


def side_shown(bends: Sequence[float | None]) -> Side | Literal["both"] | None:
    """Side of the hands of a data set, by how their fingers bend. None if too few frames tell."""
    votes = Counter[Side]("right" if bend > 0 else "left" for bend in bends if bend and abs(bend) > _CLEAR_BEND)
    if votes.total() < _LEAST_VOTES:
        return None
    side, count = votes.most_common(1)[0]
    return side if count >= _MAJORITY * votes.total() else "both"


def wrong_side(bends: Sequence[float | None], declared: Sequence[Side | None]) -> str | None:
    """Say if most labels are those of the other hand than the data set says. None if it does not say, or few tell."""
    own = [
        bend if side == "right" else -bend
        for bend, side in zip(bends, declared, strict=True)
        if side is not None and bend is not None
    ]
    if side_shown(own) != "left":
        return None
    return (
        "The fingers of the labels bend as those of the other hand than the data set says. Likely cause: left and "
        "right are swapped, images and labels are both mirrored, or the joints' depths relative to the root point the "
        "other way."
    )
