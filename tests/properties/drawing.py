"""Strategies that several properties share."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.skeleton import SKELETONS, Skeleton
from crossnets.types import Lens, Pinhole

Answer = TypeVar("Answer")
skeletons = st.sampled_from(list(SKELETONS.values()))


def numbers(least: float, most: float) -> st.SearchStrategy[float]:
    """Finite floats without the ones so small that their squares vanish."""
    return st.floats(least, most).map(lambda value: 0.0 if abs(value) < 1e-9 else value)


pinholes = st.builds(Pinhole, numbers(100, 2000), numbers(100, 2000), numbers(-50, 900), numbers(-50, 900))
lenses = st.builds(
    Lens,
    *[numbers(-0.3, 0.3)] * 2,
    *[numbers(-0.01, 0.01)] * 2,
    *[numbers(-0.3, 0.3)] * 4,
    modified=st.booleans(),
)
"""Any distortion, with folds far from the axis or near."""


def cameras(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[CameraPreset]:
    """Cameras with and without a lens, of images of these sides and any depth unit."""
    return st.builds(
        CameraPreset,
        st.builds(Pinhole, numbers(20, 2000), numbers(20, 2000), numbers(-50, 900), numbers(-50, 900)),
        sizes,
        sizes,
        st.sampled_from([0.1, 0.125, 0.25, 1.0, 2.5]),
        st.just(""),
        st.one_of(st.none(), lenses.filter(lambda lens: any(lens[:8]))),
    )


def joints_of(skeleton: Skeleton, farthest_mm: float = 400.0) -> st.SearchStrategy[Any]:
    """Joints in mm, in front of the camera and less than 45 degrees beside its axis."""
    return points(len(skeleton), farthest_mm)


def points(count: int, farthest_mm: float = 5000.0) -> st.SearchStrategy[Any]:
    """Points in mm, in front of the camera and less than 45 degrees beside its axis, as (count, 3) float64."""
    slopes = arrays.arrays(np.float64, (count, 2), elements=numbers(-1, 1))
    depths = arrays.arrays(np.float64, (count, 1), elements=numbers(200, farthest_mm))
    return st.builds(lambda slope, depth: np.concatenate([slope * depth, depth], axis=1), slopes, depths)


depth_seeds = st.integers(0, 2**32 - 1)
"""Seeds of `counts`: drawing each pixel would take Hypothesis seconds."""


def counts(seed: int, height: int, width: int, most: int) -> np.ndarray:
    """Counts from 0 to `most` as int64: noise, holes, all of one value or nothing at all."""
    random = np.random.default_rng(seed)
    image = random.integers(0, most + 1, (height, width))
    image[random.random((height, width)) < random.choice([0.0, 0.5, 1.0])] = 0
    return image


def unless_refused(call: Callable[[], Answer], words: str) -> Answer | None:
    """The result of a call. None if it raises a ValueError whose message matches `words`."""
    try:
        return call()
    except ValueError as error:
        if not re.search(words, str(error)):
            raise
        return None
