"""Angles of the joints, the frame of the palm, pinch distances and gestures, from the joints of one hand."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float32

from crossnets.geometry.skeleton import FINGERS, Skeleton, joint_name

Gesture: TypeAlias = Literal["open", "fist", "point", "pinch", "thumb_up", "victory", "ok"]

_PARTS = ("mcp", "pip", "dip", "tip")
_NEXT = [1, 2, 0]
_LAST = [2, 0, 1]
_STRAIGHT_DEG = 100.0
_CURLED_DEG = 150.0
"""A finger is straight if its mcp, pip and dip bend by less in all, and curled if they bend by more. The sum of all
three is estimated better than that of pip and dip, since it is the angle between the palm and the fingertip. The limits
were set on rendered hands (docs/runtime.md)."""
_TOUCH_SHARE = 0.35
"""Thumb and index finger touch if their tips are nearer than this share of the palm's length."""
_OUT_SHARE = 0.75
"""The thumb is out if its tip is farther from the index finger's pip than this share of the palm's length."""
_SLACK_DEG = 20.0
_SLACK_SHARE = 0.1
"""A gesture of the frame before holds until a limit is exceeded by this much."""


@dataclass(frozen=True)
class Palm:
    """Position and axes of the palm in the camera frame."""

    position_mm: Float32[np.ndarray, "3"]
    """Mean of the wrist and the knuckles of the four fingers."""
    normal: Float32[np.ndarray, "3"]
    """Unit vector out of the palm, towards the side to which the fingers close. It is perpendicular to `direction`."""
    direction: Float32[np.ndarray, "3"]
    """Unit vector from the wrist to the middle finger's knuckle."""


@functools.cache
def _rows(skeleton: Skeleton) -> np.ndarray | None:
    """Rows of the joints, shape (5, 5): for each finger the wrist and its four joints. None if the skeleton lacks one.

    They are looked up once per skeleton, because a tracker asks for them in every frame.
    """
    index = {name: row for row, name in enumerate(skeleton.places)}
    chains = [["wrist", *(joint_name(finger, part) for part in _PARTS)] for finger in FINGERS]
    if not {name for chain in chains for name in chain} <= set(index):
        return None
    return np.array([[index[name] for name in chain] for chain in chains])


def has_articulation(skeleton: Skeleton) -> bool:
    """Whether a skeleton has the wrist and four joints of each finger."""
    return _rows(skeleton) is not None


class Articulated:
    """The joints of one hand by name."""

    def __init__(self, joints_mm: Float32[np.ndarray, "J 3"], skeleton: Skeleton) -> None:
        """Take joints of a skeleton with wrist and all finger joints.

        Raises:
            ValueError: the skeleton lacks some of them.
        """
        rows = _rows(skeleton)
        if rows is None:
            raise ValueError(
                f"Found the skeleton {skeleton.name}, expected one with the wrist and four joints of each finger, such "
                "as msra21. Angles, palm and gestures need them."
            )
        chain = joints_mm[rows].astype(np.float64)
        self.wrist_mm = chain[0, 0]
        self.fingers_mm = chain[:, 1:]
        """(5, 4, 3): thumb first, from the knuckle to the tip."""
        self._bones = chain[:, 1:] - chain[:, :-1]
        self.flexions_deg = _angle_deg(self._bones[:, :-1], self._bones[:, 1:])
        """(5, 3): bend of the first three joints of each finger."""

    def angles_deg(self) -> dict[str, float]:
        """Flexion of each joint by its name, and `spread_A_B` of neighbouring fingers, in degrees."""
        angles = {
            joint_name(finger, part): float(self.flexions_deg[row, column])
            for row, finger in enumerate(FINGERS)
            for column, part in enumerate(_PARTS[:3])
        }
        normal = _unit(_cross(self._across(), self._bones[2, 0]))
        # The fingers' first bones, in the plane of the palm. A thumb leaves that plane, so its angle is in space.
        first = self._bones[1:, 1]
        flat = first - (first @ normal)[:, None] * normal
        for row, (one, other) in enumerate(pairwise(FINGERS[1:])):
            angles[f"spread_{one}_{other}"] = float(_angle_deg(flat[row], flat[row + 1]))
        angles["spread_thumb_index"] = float(_angle_deg(self._bones[0, 1], self._bones[1, 0]))
        return angles

    def palm(self, right: bool) -> Palm:
        """The frame of the palm of a right or left hand."""
        knuckles = self.fingers_mm[1:, 0]
        position = (self.wrist_mm + knuckles.sum(axis=0)) / 5
        direction = _unit(self._bones[2, 0])
        normal = _unit(_cross(self._across(), direction)) * (1 if right else -1)
        return Palm(position.astype(np.float32), normal.astype(np.float32), direction.astype(np.float32))

    def pinch_mm(self) -> dict[str, float]:
        """Distance of the thumb's tip from the tip of each finger."""
        distances = _length(self.fingers_mm[1:, 3] - self.fingers_mm[0, 3])
        return dict(zip(FINGERS[1:], map(float, distances), strict=True))

    def gesture(self, before: Gesture | None = None) -> Gesture | None:
        """The gesture. That of the frame before is kept until it clearly ends."""
        bend = self.flexions_deg[1:].sum(axis=1)
        palm_mm = max(math.dist(self.wrist_mm, self.fingers_mm[2, 0]), 1e-6)
        touch = math.dist(self.fingers_mm[0, 3], self.fingers_mm[1, 3]) / palm_mm
        out = math.dist(self.fingers_mm[0, 3], self.fingers_mm[1, 1]) / palm_mm
        if before is not None and _RULES[before](_Measures(bend, touch, out, 1.0)):
            return before
        now = _Measures(bend, touch, out, 0.0)
        return next((gesture for gesture, rule in _RULES.items() if rule(now)), None)

    def _across(self) -> np.ndarray:
        """From the little finger's knuckle to the index finger's."""
        return self.fingers_mm[1, 0] - self.fingers_mm[4, 0]


@dataclass(frozen=True)
class _Measures:
    """Measures that the rules of gestures compare. `slack` is 1 for the gesture of the frame before, else 0."""

    bend_deg: np.ndarray
    """Bend of mcp, pip and dip of the four fingers in all."""
    touch: float
    """Distance of the tips of thumb and index finger over the palm's length."""
    out: float
    """Distance of the thumb's tip from the index finger's pip over the palm's length."""
    slack: float

    def straight(self, *fingers: int) -> bool:
        """Whether all of these fingers are straight, 0 for the index finger to 3 for the little finger."""
        return bool((self.bend_deg[list(fingers)] < _STRAIGHT_DEG + self.slack * _SLACK_DEG).all())

    def curled(self, *fingers: int) -> bool:
        """Whether all of these fingers are curled."""
        return bool((self.bend_deg[list(fingers)] > _CURLED_DEG - self.slack * _SLACK_DEG).all())

    def touching(self) -> bool:
        """Whether thumb and index finger touch outside a fist, where the index finger is near the thumb as well."""
        fist = (self.bend_deg > _CURLED_DEG + self.slack * _SLACK_DEG).all()
        return self.touch < _TOUCH_SHARE + self.slack * _SLACK_SHARE and not bool(fist)


_RULES: dict[Gesture, Callable[[_Measures], bool]] = {
    "ok": lambda m: m.touching() and m.straight(1, 2, 3),
    "pinch": lambda m: m.touching() and not m.straight(1, 2, 3),
    "open": lambda m: m.straight(0, 1, 2, 3),
    "victory": lambda m: m.straight(0, 1) and m.curled(2, 3),
    "point": lambda m: m.straight(0) and m.curled(1, 2, 3),
    "thumb_up": lambda m: m.curled(0, 1, 2, 3) and m.out > _OUT_SHARE - m.slack * _SLACK_SHARE,
    "fist": lambda m: m.curled(0, 1, 2, 3) and m.out <= _OUT_SHARE + m.slack * _SLACK_SHARE,
}
"""Rules in their order. The first that applies gives the gesture."""


def _angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between vectors, 0 to 180. The arc tangent is exact near 0, where the arc cosine is not."""
    return np.asarray(np.degrees(np.arctan2(_length(_cross(a, b)), (a * b).sum(axis=-1))))


# numpy's cross and norm take three times as long for so few numbers, and a tracker needs them in every frame.
def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., _NEXT] * b[..., _LAST] - a[..., _LAST] * b[..., _NEXT]


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1)))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(_length(vector)), 1e-9)
