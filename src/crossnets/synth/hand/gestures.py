"""Families of gestures as joint angles in degrees, for right hands. The numbers are our choice.

The angles of the thumb in pinches and fists were found by a search on the mean hand, so that its tip touches the right
part of the hand.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from crossnets.synth.hand.kinematics import ANGLES, DEVIATION, DIP, DIP_PER_PIP, FLEXION, PIP

_THUMB = np.array([0, 1, 2, 3, 20, 21])
_ARCH = np.array([22, 23])
_WRIST = np.array([24, 25])
_THUMBS = {
    "out": (-22.0, -5.0, -8.0, -10.0, 0.0, 0.0),
    "relaxed": (8.0, 0.0, 12.0, 14.0, 0.0, 0.0),
    "beside": (9.0, -14.0, 16.0, 22.0, -1.0, -3.0),
    "over": (9.0, -6.0, 23.0, 46.0, -14.0, -4.0),
    "across": (25.0, 7.0, 29.0, 58.0, -29.0, -14.0),
    "folded": (9.0, -34.0, 58.0, 66.0, -29.0, 3.0),
    "flat": (16.0, -34.0, 38.0, 12.0, -29.0, -14.0),
    "opposed": (25.0, 4.0, 12.0, 15.0, 0.0, 0.0),
}
"""Angles of typical thumbs, in the order of `_THUMB`."""
_PINCHES = np.array(
    [
        [17.0, -8, 15, 19, 0, -3, 50, 0, 48],
        [25.0, -8, 18, 20, -2, -4, 56, 0, 51],
        [31.0, -6, 21, 21, -2, -3, 51, 0, 48],
        [38.0, -8, 26, 24, -2, -5, 48, 1, 45],
    ]
)
"""The six angles of the thumb, then flexion, deviation and pip of the finger that it meets."""
_STRAIGHT = np.array([3.0, 6.0])
_CURLED = np.array([80.0, 98.0])
"""Flexion and pip of a straight finger and of one in a fist."""
_RELAXED = np.array([[18.0, 24], [24, 30], [28, 33], [28, 31]])
_SPREAD = np.array([10.0, 2.0, -6.0, -14.0])
"""Deviation of spread fingers."""

_Angles = Float[np.ndarray, "n 26"]
_Fingers = Float[np.ndarray, "n 4"]


def _assemble(curl: Float[np.ndarray, "n 4 2"], deviation: _Fingers, thumb: Float[np.ndarray, "n 6"]) -> _Angles:
    """Return all angles of hands from those of fingers (flexion and pip) and thumb.

    The last joints and the arch of the palm follow the fingers.
    """
    angles = np.zeros((len(curl), len(ANGLES)))
    angles[:, FLEXION] = curl[..., 0]
    angles[:, PIP] = curl[..., 1]
    angles[:, DIP] = DIP_PER_PIP * curl[..., 1]
    angles[:, DEVIATION] = deviation
    angles[:, _ARCH] = np.array([0.09, 0.18]) * np.clip(curl[:, 2:, 0], 0, None)
    angles[:, _THUMB] = thumb
    return angles


def _thumbs(rng: np.random.Generator, n: int, *names: str) -> Float[np.ndarray, "n 6"]:
    """Draw one of the named thumbs for each hand."""
    return np.array([_THUMBS[name] for name in names])[rng.integers(len(names), size=n)]


def _between(share: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n 2"]:
    """Return flexion and pip of fingers between straight (0) and curled (1). The middle joint bends first."""
    return _STRAIGHT + (_CURLED - _STRAIGHT) * np.stack([share**1.2, share**0.85], axis=-1)


def _open(rng: np.random.Generator, n: int) -> _Angles:
    spread = rng.uniform(-0.35, 1.3, (n, 1)) * _SPREAD
    return _assemble(_between(rng.uniform(0, 0.08, (n, 4))), spread, _thumbs(rng, n, "out", "relaxed", "beside"))


def _relaxed(rng: np.random.Generator, n: int) -> _Angles:
    curl = _RELAXED * rng.uniform(0.3, 1.7, (n, 1, 1))
    return _assemble(curl, rng.uniform(-0.2, 0.5, (n, 1)) * _SPREAD, _thumbs(rng, n, "relaxed", "opposed", "beside"))


def _closed(rng: np.random.Generator, n: int, *thumbs: str) -> _Angles:
    """Draw four curled fingers with one of these thumbs."""
    share = rng.uniform(0.85, 1.0, (n, 1)) + rng.uniform(-0.06, 0.04, (n, 4))
    return _assemble(_between(share), np.zeros((n, 4)), _thumbs(rng, n, *thumbs))


def _fist(rng: np.random.Generator, n: int) -> _Angles:
    return _closed(rng, n, "over", "across", "beside")


def _counting(rng: np.random.Generator, n: int) -> _Angles:
    """Draw hands that hold up any one to five digits."""
    return _holding_up(rng, (rng.integers(1, 32, n)[:, None] >> np.arange(5)) & 1)


def _holding_up(rng: np.random.Generator, up: Int[np.ndarray, "n 5"]) -> _Angles:
    """Draw hands that hold up the digits that are 1, thumb first, and curl the others."""
    n = len(up)
    curl = _between(np.where(up[:, 1:], rng.uniform(0, 0.1, (n, 4)), rng.uniform(0.82, 1.0, (n, 4))))
    spread = np.where(up[:, 1:], rng.uniform(-0.2, 1.2, (n, 1)) * _SPREAD, 0.0)
    tucked = np.where(
        (up[:, 1:3] == 0).all(axis=1)[:, None], _thumbs(rng, n, "over", "across"), _thumbs(rng, n, "folded", "flat")
    )
    return _assemble(curl, spread, np.where(up[:, :1], _thumbs(rng, n, "out"), tucked))


def _pinch(rng: np.random.Generator, n: int) -> _Angles:
    """Draw hands whose thumb meets or nearly meets one finger. The other fingers are straight to curled."""
    digit = rng.choice(4, size=n, p=(0.4, 0.22, 0.2, 0.18))
    share = np.clip(rng.uniform(0, 0.9, (n, 1)) + rng.normal(0, 0.1, (n, 4)), 0, 1)
    return _pinching(rng, digit, share)


def _pinching(rng: np.random.Generator, digit: Int[np.ndarray, "n"], share: _Fingers) -> _Angles:
    """Draw hands whose thumb meets or nearly meets one finger, 0 to 3. The others are straight (0) to curled (1)."""
    n = len(digit)
    rows = np.arange(n)
    curl = _between(share)
    deviation = rng.uniform(-0.1, 0.8, (n, 1)) * _SPREAD
    pinch = _PINCHES[digit]
    curl[rows, digit] = pinch[:, [6, 8]]
    deviation[rows, digit] = pinch[:, 7]
    apart = np.where(rng.random((n, 1)) < 0.5, 0.0, rng.uniform(0, 0.4, (n, 1)))
    curl[rows, digit] *= 1 - apart
    return _assemble(curl, deviation, pinch[:, :6] * (1 - apart))


def _pointing(rng: np.random.Generator, n: int) -> _Angles:
    share = np.concatenate([rng.uniform(0, 0.25, (n, 1)), rng.uniform(0.75, 1.0, (n, 3))], axis=1)
    return _assemble(_between(share), np.zeros((n, 4)), _thumbs(rng, n, "beside", "out", "over", "relaxed"))


def _thumbs_up(rng: np.random.Generator, n: int) -> _Angles:
    return _closed(rng, n, "out")


def _grasp(rng: np.random.Generator, n: int) -> _Angles:
    """Draw hands around an object. Knuckles and middle joints bend independently, and the thumb is opposite."""
    curl = np.stack([rng.uniform(5, 70, n), rng.uniform(10, 75, n)], axis=-1)[:, None]
    curl = curl + rng.normal(0, 6, (n, 4, 2)) + rng.uniform(-3, 4, (n, 1, 1)) * np.arange(4)[:, None]
    return _assemble(curl, rng.uniform(-0.1, 1.1, (n, 1)) * _SPREAD, _thumbs(rng, n, "opposed", "relaxed"))


def _any(rng: np.random.Generator, n: int) -> _Angles:
    """Draw every finger and every joint of the thumb independently."""
    curl = np.stack([rng.uniform(-15, 90, (n, 4)), 105 * rng.beta(0.9, 1.2, (n, 4))], axis=-1)
    low, high = np.array([(-28.0, 45), (-30, 35), (-12, 50), (-18, 75), (-25, 30), (-12, 12)]).T
    return _assemble(curl, rng.normal(0, 7, (n, 4)), rng.uniform(low, high, (n, 6)))


FAMILIES: dict[str, tuple[float, Callable[[np.random.Generator, int], _Angles]]] = {
    "open": (0.1, _open),
    "relaxed": (0.1, _relaxed),
    "fist": (0.09, _fist),
    "counting": (0.18, _counting),
    "pinch": (0.14, _pinch),
    "pointing": (0.08, _pointing),
    "thumbs up": (0.07, _thumbs_up),
    "grasp": (0.12, _grasp),
    "any": (0.12, _any),
}
"""Share of each family, and the function that draws n hands of it."""


class Held(NamedTuple):
    """A gesture that is held: digits that are up, or a finger that the thumb's tip meets."""

    up: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    """1 for each digit that is straight, thumb first."""
    pinch: int | None = None
    """The finger that the thumb meets, 0 the index finger, 3 the little one. The other fingers are straight."""


MSRA_GESTURES: dict[str, Held] = {
    "1": Held((0, 1, 0, 0, 0)),
    "2": Held((0, 1, 1, 0, 0)),
    "3": Held((1, 1, 1, 0, 0)),
    "4": Held((0, 1, 1, 1, 1)),
    "5": Held((1, 1, 1, 1, 1)),
    "6": Held(pinch=3),
    "7": Held(pinch=2),
    "8": Held(pinch=1),
    "9": Held(pinch=0),
    "I": Held((0, 0, 0, 0, 1)),
    "IP": Held((0, 1, 0, 0, 1)),
    "L": Held((1, 1, 0, 0, 0)),
    "MP": Held((0, 0, 1, 0, 1)),
    "RP": Held((0, 0, 0, 1, 1)),
    "T": Held((1, 0, 0, 0, 0)),
    "TIP": Held((1, 1, 0, 0, 1)),
    "Y": Held((1, 0, 0, 0, 1)),
}
"""MSRA's gestures as we read their names: digits and letters of the American finger alphabet, and the first letters of
the fingers that are up (thumb, index, middle, ring, pinky)."""
_JITTER_DEG = 3.5
_MIXED_SHARE = 0.4
"""Share of the poses that lie between two gestures."""


def draw_families(rng: np.random.Generator, n: int, without: Sequence[str] = ()) -> Int[np.ndarray, "n"]:
    """Draw indices into FAMILIES by their shares, without the excluded families.

    Raises:
        ValueError: an excluded family is unknown, or all are excluded.
    """
    if set(without) - set(FAMILIES) or set(without) == set(FAMILIES):
        raise ValueError(f"Cannot exclude {', '.join(without)}: expected some, but not all, of {', '.join(FAMILIES)}.")
    shares = np.array([0.0 if name in without else share for name, (share, _) in FAMILIES.items()])
    return rng.choice(len(FAMILIES), size=n, p=shares / shares.sum())


def draw_angles(rng: np.random.Generator, families: Int[np.ndarray, "n"], without: Sequence[str] = ()) -> _Angles:
    """Draw angles in rad of one gesture of each family. They may exceed the limits of the joints.

    Some of them lie on the way to a second gesture.
    """
    n = len(families)
    start = _gestures(rng, families)
    end = _gestures(rng, draw_families(rng, n, without))
    way = np.where(rng.random((n, 1)) < _MIXED_SHARE, rng.uniform(0, 0.6, (n, 1)), 0.0)
    angles = start + way * (end - start) + rng.uniform(0.2, 1.5, (n, 1)) * rng.normal(0, _JITTER_DEG, (n, len(ANGLES)))
    angles[:, _WRIST] = _wrists(rng, n)
    return np.deg2rad(angles)


def held_angles(rng: np.random.Generator, gesture: Held, n: int) -> _Angles:
    """Draw angles in rad of hands that hold one gesture. They may exceed the limits of the joints."""
    if gesture.pinch is None:
        angles = _holding_up(rng, np.tile(np.array(gesture.up, int), (n, 1)))
    else:
        angles = _pinching(rng, np.full(n, gesture.pinch), rng.uniform(0, 0.1, (n, 4)))
    angles = angles + rng.uniform(0.2, 1.0, (n, 1)) * rng.normal(0, _JITTER_DEG, (n, len(ANGLES)))
    angles[:, _WRIST] = _wrists(rng, n)
    return np.deg2rad(angles)


def _wrists(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n 2"]:
    return rng.normal(0, 1, (n, 2)) * np.array([22.0, 9.0]) + np.array([-5.0, -3.0])


def _gestures(rng: np.random.Generator, families: Int[np.ndarray, "n"]) -> _Angles:
    angles = np.empty((len(families), len(ANGLES)))
    for index, (_, draw) in enumerate(FAMILIES.values()):
        chosen = np.flatnonzero(families == index)
        angles[chosen] = draw(rng, len(chosen))
    return angles


def relaxed_angles(n: int) -> _Angles:
    """Return the angles in rad of a relaxed hand, which never passes through itself."""
    curl = np.broadcast_to(_RELAXED, (n, 4, 2))
    return np.deg2rad(_assemble(curl, np.zeros((n, 4)), np.tile(_THUMBS["relaxed"], (n, 1))))
