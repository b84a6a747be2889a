"""Sizes of hands: bone lengths, widths and thicknesses of men, women and children, one shape or a batch.

Axes of a right hand: x towards the thumb, y towards the fingers, z out of the palm. The origin is the middle of the
wrist. Digits are ordered thumb, index, middle, ring, little. A left hand is the mirror image (`HandShape.side`).
Arrays belong to numpy or torch (`Any`), with the batch axes first.

Two sets of numbers are published and were checked against a second source: the bone lengths (Buryanov & Kotiuk 2010,
Proportions of Hand Segments, Int. J. Morphol. 28:755-758, radiographs of 66 adults), and the hand lengths and breadths
of Colombian workers (Estrada et al. 1998, ACOPLA95). Two more are quoted from memory, rounded and not checked, because
only the reports were available and not their tables: US soldiers (Gordon et al. 1989, ANSUR; Greiner 1991, Hand
Anthropometry of U.S. Army Personnel), and children (Snyder et al. 1977, Anthropometry of Infants, Children, and Youths
to Age 18 for Product Safety Design, UM-HSRI-77-17). All other numbers are marked "our choice".
"""

from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np

BONES_MM = np.array(
    [
        [29.0, 46.22, 31.57, 21.67 + 5.67],
        [68.12, 39.78, 22.38, 15.82 + 3.84],
        [64.60, 44.63, 26.33, 17.40 + 3.95],
        [58.00, 41.37, 25.65, 17.30 + 3.95],
        [53.69, 32.74, 18.11, 15.96 + 3.73],
    ]
)
"""Mean length of metacarpal, proximal, middle and distal bone (Buryanov & Kotiuk 2010). The distal length includes the
soft tissue. The thumb's row is: wrist to the base of the metacarpal (our choice), metacarpal, proximal, distal."""

HAND_LENGTH_MM = {
    "men": ((194.0 + 183.0) / 2, 11.0),
    "women": ((180.5 + 166.0) / 2, 11.0),
}
"""Mean and deviation of the length from the wrist to the tip of the middle finger. The mean is half-way between ANSUR
and ACOPLA95 (193.8 +- 9.8 and 183 +- 10 for men, 180.5 +- 9.7 and 166 +- 8 for women). The deviation is slightly larger
than in each survey, because the surveys differ (our choice)."""
CHILD_AGE_YEARS = np.array([4.0, 6.0, 8.0, 10.0, 12.0, 14.0])
CHILD_LENGTH_MM = np.array([115.0, 127.0, 139.0, 150.0, 163.0, 176.0])
"""Mean hand length by age for girls and boys together (Snyder et al. 1977, rounded, from memory)."""
CHILD_SPREAD = 0.055
"""Deviation at one age as a fraction of the length (Snyder et al. 1977, rounded, from memory)."""
BREADTH_RATIO = {"men": (0.462, 0.02), "women": (0.446, 0.02), "children": (0.45, 0.02)}
"""Mean and deviation of hand breadth over length (ANSUR 90.4/193.8, 79.4/180.5; ACOPLA95 84/183, 75/166; children and
deviations: our choice). Only the ratios between the groups are used. The mean hand of this module has a ratio of 0.434,
so sampled hands are 6 % narrower than those of the surveys. The model of the package was trained on them."""
THICKNESS_SPREAD = 0.09
FINGER_SPREAD = 0.02
BONE_SPREAD = 0.035
RADIUS_SPREAD = 0.05
"""Relative deviations of the thickness, of the bones of a finger together, of a single bone, and of radii (our choice).
In the tables a bone deviates by 8 % and a whole hand by 6 %, which leaves 4 to 5 % to the single bone."""
GROUPS = ("men", "women", "children")
GROUP_SHARE = (0.45, 0.4, 0.15)
"""Share of each group (our choice)."""

BASES_MM = np.array([[0.0, 0, 0], [11.0, 26, -2], [1.0, 30, -3], [-9.0, 28, -2], [-17.0, 25, 1]])
"""Start of the first bone of each digit on the mean hand (our choice). The chain of the thumb starts at the wrist."""
KNUCKLES_MM = np.array([[20.0, 0, 11], [25.0, 0, 0], [3.5, 0, -3], [-16.0, 0, -1.5], [-33.0, 0, 3]])
"""x and z of the end of the first bone on the mean hand (our choice, from the hand breadth and the transverse arch).
y follows from the length of the bone."""
RADII_MM = np.array(
    [
        [13.5, 12.2, 10.8, 8.9],
        [12.3, 10.4, 9.0, 7.6],
        [12.6, 10.6, 9.2, 7.8],
        [11.8, 10.0, 8.6, 7.4],
        [10.9, 8.9, 7.8, 6.7],
    ]
)
"""Radius of each digit at its three joints and its tip on the mean hand (our choice). The radii are half of joint
breadths of about 21 mm at an adult index finger's middle joint and 18 mm at its last joint."""


@dataclass(frozen=True, kw_only=True)
class People:
    """The people whose hands `sample_shape` draws."""

    sizes: float = 1.0
    """Spread of hand lengths about the length of the mean hand: 1 for real people, 0 for equal lengths."""
    shapes: float = 1.0
    """Spread of breadth, thickness, fingers and bones in proportion to the length: 1 for real people, 0 for equal
    proportions."""
    cut_share: float = 0.3
    """Share of hands that end at the wrist. The others have a forearm."""

    def __post_init__(self) -> None:
        if not (0 <= self.sizes <= 2 and 0 <= self.shapes <= 3 and 0 <= self.cut_share <= 1):
            raise ValueError(f"{self}: expected sizes from 0 to 2, shapes from 0 to 3, and a share from 0 to 1.")


@dataclass(frozen=True)
class HandShape:
    """The properties of one hand or a batch that do not change when it moves.

    `mean_shape`, `sample_shape` and `build_shape` make shapes.
    """

    bones_mm: Any
    """(*B, 5, 4): lengths as in BONES_MM."""
    bases_mm: Any
    """(*B, 5, 3): points as in BASES_MM."""
    rays: Any
    """(*B, 5, 3): unit vectors along each digit's first bone."""
    radii_mm: Any
    """(*B, 5, 4): radii as in RADII_MM."""
    scale: Any
    """(*B, 3): size across, along and through the hand relative to the mean hand. Offsets are multiplied by it."""
    flesh: Any
    """(*B,): radii relative to the mean hand."""
    side: Any
    """(*B,): 1 for a right hand, -1 for a left one."""
    forearm_mm: Any
    """(*B,): visible length behind the wrist. About 10 mm looks like a hand cut at the wrist."""


def build_shape(
    size: Any, bone_factors: Any, breadth: Any, thickness: Any, side: Any, forearm_mm: Any, radius_factors: Any = None
) -> HandShape:
    """Build a shape from factors relative to the mean hand. The result is differentiable if they are torch tensors.

    Args:
        size: (*B,) overall scale. 1 is a hand of 187 mm.
        bone_factors: (*B, 5, 4) additional factor of the length of each bone.
        breadth: (*B,) factor of all sizes across the hand.
        thickness: (*B,) factor of radii and of all sizes through the hand.
        side: (*B,) 1 for a right hand, -1 for a left one.
        forearm_mm: (*B,) visible length of the forearm.
        radius_factors: (*B, 5, 4) additional factor of each finger radius, or None.
    """
    xp = array_api_compat.array_namespace(size)
    scale = xp.stack([size * breadth, size, size * thickness], axis=-1)
    bones_mm = like(BONES_MM, size) * bone_factors * size[..., None, None]
    bases_mm = like(BASES_MM, size) * scale[..., None, :]
    knuckles = like(KNUCKLES_MM, size) * scale[..., None, :]
    across = knuckles[..., 0] - bases_mm[..., 0]
    through = knuckles[..., 2] - bases_mm[..., 2]
    length = bones_mm[..., 0]
    # The length of the bone fixes the third coordinate of its end. A short bone keeps at least a fifth of its length
    # along the hand.
    along = xp.sqrt(xp.clip(length**2 - across**2 - through**2, min=(length**2) * 0.04))
    rays = xp.stack([across, along, through], axis=-1)
    rays = rays / xp.sqrt(xp.sum(rays**2, axis=-1, keepdims=True))
    flesh = size * xp.sqrt(breadth * thickness)
    radii_mm = like(RADII_MM, size) * flesh[..., None, None]
    if radius_factors is not None:
        radii_mm = radii_mm * radius_factors
    return HandShape(bones_mm, bases_mm, rays, radii_mm, scale, flesh, side, forearm_mm)


def mean_shape(*batch: int, side: float = 1.0, forearm_mm: float = 15.0) -> HandShape:
    """Return the mean hand in numpy, repeated over the batch axes. By default it is cut just behind the wrist."""
    one = np.ones(batch)
    return build_shape(one, np.ones((*batch, 5, 4)), one, one, side * one, forearm_mm * one)


def sample_shape(rng: np.random.Generator, n: int, left_share: float = 0.5, people: People | None = None) -> HandShape:
    """Draw the hands of n people in numpy: men, women and children, right and left, with and without a forearm.

    The length of a hand is drawn for its group. Breadth and thickness are drawn in proportion to the length. Every
    finger and every bone has a deviation. The length of the whole hand is exactly the drawn one. Forearms are 30 to
    260 mm long (our choice).
    """
    people = people or People()
    group = rng.choice(len(GROUPS), size=n, p=GROUP_SHARE)
    length = MEAN_LENGTH_MM + people.sizes * (_sample_length(rng, group) - MEAN_LENGTH_MM)
    factor = people.shapes
    bones = np.exp(
        factor * (FINGER_SPREAD * rng.standard_normal((n, 5, 1)) + BONE_SPREAD * rng.standard_normal((n, 5, 4)))
    )
    radii = np.exp(factor * RADIUS_SPREAD * (rng.standard_normal((n, 5, 1)) + 0.5 * rng.standard_normal((n, 5, 4))))
    mean, spread = np.array([BREADTH_RATIO[name] for name in GROUPS])[group].T
    breadth = (mean + factor * spread * np.clip(rng.standard_normal(n), -2.5, 2.5)) / BREADTH_RATIO["men"][0]
    thickness = breadth**0.5 * np.exp(factor * THICKNESS_SPREAD * np.clip(rng.standard_normal(n), -2.5, 2.5))
    side = np.where(rng.random(n) < left_share, -1.0, 1.0)
    forearm = np.where(rng.random(n) < people.cut_share, rng.uniform(2, 20, n), rng.uniform(30, 260, n))
    size = length / MEAN_LENGTH_MM
    # The length of the hand depends on the width of the palm too, so it is not proportional to the scale. A few fixed
    # point iterations find the scale.
    for _ in range(3):
        size = size * length / hand_length(build_shape(size, bones, breadth, thickness, side, forearm))
    return build_shape(size, bones, breadth, thickness, side, forearm * size, radii)


def hand_length(shape: HandShape) -> Any:
    """(*B,): length from the wrist to the tip of the straight middle finger, in mm."""
    return shape.bases_mm[..., 2, 1] + (
        shape.rays[..., 2, 1] * shape.bones_mm[..., 2, 0]
        + shape.bones_mm[..., 2, 1]
        + shape.bones_mm[..., 2, 2]
        + shape.bones_mm[..., 2, 3]
    )


def like(constant: np.ndarray, other: Any) -> Any:
    """Convert a numpy constant to the library, type and device of another array."""
    if isinstance(other, np.ndarray):
        return constant.astype(other.dtype, copy=False)
    xp = array_api_compat.array_namespace(other)
    return xp.asarray(constant, dtype=other.dtype, device=array_api_compat.device(other))


def _sample_length(rng: np.random.Generator, group: np.ndarray) -> np.ndarray:
    """(n,): hand lengths in mm of people of these groups, clipped at 2.5 deviations from their mean."""
    deviation = np.clip(rng.standard_normal(len(group)), -2.5, 2.5)
    age = rng.uniform(CHILD_AGE_YEARS[0], CHILD_AGE_YEARS[-1], len(group))
    child = np.interp(age, CHILD_AGE_YEARS, CHILD_LENGTH_MM) * (1 + CHILD_SPREAD * deviation)
    men, women = (mean + spread * deviation for mean, spread in HAND_LENGTH_MM.values())
    return np.choose(group, [men, women, child])


MEAN_LENGTH_MM = float(hand_length(mean_shape()))
"""187 mm, from Buryanov & Kotiuk's bones and a carpus of 30 mm."""
