"""Data sets of continuous motion: the people, sequences and sizes of the real ones, with our hands.

The frames of a data set are clips. Each clip shows one person in one continuous motion, at 30 frames/s.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from crossnets.datasets.writers import spread_evenly
from crossnets.geometry.camera import camera_named
from crossnets.geometry.skeleton import Skeleton
from crossnets.synth import motion
from crossnets.synth.hand.anthropometry import People, sample_shape
from crossnets.synth.hand.gestures import MSRA_GESTURES, Held
from crossnets.synth.hand.sampler import Views
from crossnets.synth.sensor import noise
from crossnets.types import HandFrame

_FOREARM_MM = 220.0
_PACE_SPREAD = 0.35
_VIEWS = Views(front=0.9, above=0.0, egocentric=0.0, uniform=0.1)
"""People sit before the camera and turn their wrists. A few views are from anywhere."""
_MSRA_VIEWS = Views(front=0.6, above=0.0, egocentric=0.0, uniform=0.4)
"""MSRA's people turn each gesture as far as they can."""


@dataclass(frozen=True)
class Clip:
    """One person in one continuous motion."""

    person: int
    """Number of the person, who has the same hand in all clips."""
    frames: int
    gesture: Held | None = None
    """The gesture that is held. None moves from gesture to gesture."""


_NYU_TRAIN = 72_757
NYU_TEST = (Clip(0, 2440), Clip(1, 5812))
"""Test 1 shows the person of the training, test 2 another one (spec 1.8)."""
_TWO_SPLITS = {
    "hands17": (range(5), 957_032, range(10), 295_510),
    "ho3d": (range(8), 83_325, range(8, 10), 20_137),
    "h2o": (range(3), 55_742, range(3, 4), 23_391),
}
"""People and frames of the training, then of the test. The test of HANDS17 shows the people of the training and as many
others. HO-3D's version 3 shows ten people, and how many of them are in each split is our choice."""
_ICVL_TRAIN = 22_059
"""Frames that are not rotated copies."""
_ICVL_PEOPLE = 10
_ICVL_TEST = (702, 894)
_MSRA_PEOPLE = 9
_MSRA_FRAMES = 500
"""Frames of a person's gesture."""
_PEOPLE_OF_SPLITS = {
    "fpha": ((0, 0, 1, 1, 2, 2), (3, 3, 4, 4, 5, 5)),
    "h2o3d": ((0,), (1,)),
    "dexycb": (tuple(number // 2 for number in range(20)), tuple(2 + number // 2 for number in range(16))),
}
"""Person of each sequence that the format's writer makes, in the training and in the test split."""
_CVAR_PEOPLE = 5
_CVAR_FRAMES = 360


def clips_of(
    as_format: str, scale: float = 1.0, frames: int | None = None, test_frames: int | None = None
) -> dict[str, tuple[Clip, ...]]:
    """The clips of each split of a data set, in the order of their frames.

    Args:
        as_format: Format of the data set.
        scale: Share of the real data set's training frames. Test splits stay whole.
        frames: Number of training frames, or of all frames if there is no test split, instead of the scaled one.
        test_frames: Number of test frames. By default all, or with `frames` a tenth of them and at least two. 0 leaves
            the split out.

    Raises:
        ValueError: the scale or a number of frames is out of range, both a scale and frames are given, a recording has
            no number of frames, or the format has no test split.
    """
    if not 0 < scale <= 1:
        raise ValueError(f"Found the scale {scale:g}, expected more than 0 and at most 1.")
    if frames is not None and scale != 1:
        raise ValueError(f"Found both {frames} frames and the scale {scale:g}. Give one of them.")
    if as_format == "msra" and frames is not None and frames % 153:
        raise ValueError(f"Found {frames} frames, expected a multiple of 153, as each of MSRA's folders is a clip.")
    if (frames is not None and frames < 1) or (test_frames is not None and test_frames < 0):
        raise ValueError(f"Found {frames} frames and {test_frames} for testing, expected at least one frame.")
    train, test = _whole(as_format, scale, frames, test_frames)
    if not test:
        if test_frames is not None:
            raise ValueError(f"Found {test_frames} test frames, but {as_format} has no test split.")
        return {"frames": tuple(train)}
    if test_frames is None and frames is not None:
        test_frames = max(frames // 10, 2)
    if test_frames is not None:
        test = _resized(test, test_frames)
    splits = {"train": tuple(train), "test": tuple(test)}
    return {name: clips for name, clips in splits.items() if clips}


def _whole(as_format: str, scale: float, frames: int | None, test_frames: int | None) -> tuple[list[Clip], list[Clip]]:
    """Clips of the training, or of all frames, and those of the whole test split."""
    if as_format == "nyu":
        return [Clip(0, _scaled(_NYU_TRAIN, scale, frames))], list(NYU_TEST)
    if as_format == "icvl":
        test = [Clip(_ICVL_PEOPLE + number, count) for number, count in enumerate(_ICVL_TEST)]
        return _spread(range(_ICVL_PEOPLE), _scaled(_ICVL_TRAIN, scale, frames)), test
    if as_format in _TWO_SPLITS:
        trained, train, tested, test = _TWO_SPLITS[as_format]
        return _spread(trained, _scaled(train, scale, frames)), _spread(tested, test)
    if as_format == "msra":
        pairs = [(person, held) for person in range(_MSRA_PEOPLE) for held in MSRA_GESTURES.values()]
        each = -(-_scaled(_MSRA_FRAMES * len(pairs), scale, frames) // len(pairs))
        return [Clip(person, each, held) for person, held in pairs], []
    if as_format == "cvar":
        return _spread(range(_CVAR_PEOPLE), _scaled(_CVAR_PEOPLE * _CVAR_FRAMES, scale, frames)), []
    if frames is None:
        what = (
            "A recording has no size of its own"
            if as_format == "recording"
            else f"The size of {as_format} is not known"
        )
        raise ValueError(f"{what}. Give --frames.")
    tests = max(frames // 10, 2) if test_frames is None else max(test_frames, 1)
    train_people, test_people = _PEOPLE_OF_SPLITS.get(as_format, ((0,), ()))
    return _spread(train_people, frames), _spread(test_people, tests)


def _scaled(whole: int, scale: float, frames: int | None) -> int:
    return max(1, round(whole * scale)) if frames is None else frames


def _spread(people: Sequence[int], frames: int) -> list[Clip]:
    """One clip for each person, as long as each other but for one frame."""
    lengths = spread_evenly(frames, len(people))
    spread = [Clip(person, length) for person, length in zip(people, lengths, strict=True)]
    return [clip for clip in spread if clip.frames]


def _resized(clips: Sequence[Clip], frames: int) -> list[Clip]:
    """The same clips with another number of frames in all, in proportion."""
    ends = np.cumsum([clip.frames for clip in clips])
    ends = np.rint(ends * (frames / ends[-1])).astype(int)
    counts = np.diff(ends, prepend=0).tolist()
    return [replace(clip, frames=count) for clip, count in zip(clips, counts, strict=True) if count]


@dataclass(frozen=True, kw_only=True)
class MotionSetConfig:
    """Settings of a data set of continuous motion."""

    camera: str
    """Camera preset. It also selects the noise model."""
    skeleton: Skeleton
    clips: tuple[Clip, ...]
    """All clips, those of the test after those of the training."""
    seed: int = 0
    noise: float = 1.0
    """Strength of the sensor's noise. 0 renders exact depth."""
    left_share: float = 0.0
    """Share of left-handed people."""
    distance_mm: tuple[float, float] = (250.0, 1000.0)


class MotionSet:
    """The frames of all clips, numbered from 0. They are fastest in order.

    A frame depends on the seed, its clip and its number in the clip alone. A frame that does not follow the one before
    is reached by moving the hand through the frames of its clip, without rendering them.
    """

    def __init__(self, config: MotionSetConfig) -> None:
        self.config = config
        self.preset = camera_named(config.camera)
        self.skeleton = config.skeleton
        self._sensor = noise.sensor_of(config.camera)
        self._ends = np.cumsum([clip.frames for clip in config.clips])
        self._poses: Iterator[motion.MovingPose] = iter(())
        self._next: tuple[int, int] | None = None
        """Clip and number of the frame that `_poses` gives next."""

    def __len__(self) -> int:
        return int(self._ends[-1])

    def frame(self, index: int) -> HandFrame:
        """Render a frame with its label.

        Raises:
            IndexError: the frame does not exist.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Invalid frame {index}: the clips have {len(self)} frames.")
        config = self.config
        number = int(np.searchsorted(self._ends, index, side="right"))
        clip = config.clips[number]
        place = index - int(self._ends[number]) + clip.frames
        shape = sample_shape(
            np.random.default_rng([config.seed, clip.person, 0]), 1, config.left_share, People(cut_share=0.0)
        )
        shape = replace(shape, forearm_mm=np.full(1, _FOREARM_MM))
        if self._next != (number, place):
            moving = motion.MotionConfig(
                distance_mm=config.distance_mm,
                views=_VIEWS if clip.gesture is None else _MSRA_VIEWS,
                gesture=clip.gesture,
                pace_spread=_PACE_SPREAD,
            )
            rng = np.random.default_rng([config.seed, number, 1])
            self._poses = islice(motion.poses(rng, shape, self.preset, moving), place, None)
        depth_mm, joints_mm = motion.picture(shape, next(self._poses), self.preset, self.skeleton)
        self._next = (number, place + 1)
        if config.noise > 0:
            noise_seed = int(np.random.default_rng([config.seed, number, 2, place]).integers(2**62))
            depth_mm = noise.apply(depth_mm, self.preset.pinhole, self._sensor, noise_seed, config.noise)
        side = "right" if shape.side[0] > 0 else "left"
        key = f"motion/{config.camera}/{config.seed}/{index:09d}"
        return HandFrame(key, side, depth_mm, self.preset.pinhole, joints_mm)
