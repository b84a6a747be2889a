"""A camera that is not there: one rendered hand that moves from gesture to gesture, with exact joints."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from crossnets.cameras.frames import Closing, DepthFrame
from crossnets.geometry.camera import parse_camera
from crossnets.geometry.skeleton import MSRA21, Skeleton
from crossnets.synth import motion
from crossnets.synth.hand.anthropometry import sample_shape
from crossnets.synth.hand.sampler import Views
from crossnets.synth.sensor import noise

FPS = motion.FPS
CAMERA = "realsense-d435"
_MOTION = motion.MotionConfig(
    distance_mm=(300.0, 440.0), views=Views(front=0.85, above=0.0, egocentric=0.15, uniform=0.0)
)
_FOREARM_MM = 220.0
_NOISE = 0.7
_MOST_SEED = 2**32 - 1
"""The seed of a frame's noise has 64 bits. Its lower half is the number of the frame."""


class VirtualCamera(Closing):
    """An endless film of one right or left hand. The same seed gives the same frames to the last bit."""

    live, endless = False, True

    def __init__(self, camera: str = CAMERA, seed: int = 0) -> None:
        """`camera` is a preset with an image size and a noise model, and may have a lens of its own after a colon.

        Raises:
            ValueError: the camera is unknown or cannot be rendered, or the seed is negative or too large.
        """
        self.preset = parse_camera(camera)
        if not 0 <= seed <= _MOST_SEED:
            raise ValueError(f"Found the seed {seed}, expected 0 to {_MOST_SEED}.")
        self.name = f"virtual:{camera}"
        self.skeleton: Skeleton | None = MSRA21
        self._sensor = noise.sensor_of(camera.partition(":")[0])
        self._seed = seed
        self._closed = False

    def __enter__(self) -> "VirtualCamera":
        self._closed = False
        return self

    def close(self) -> None:
        """See `DepthSource`."""
        self._closed = True

    def __iter__(self) -> Iterator[DepthFrame]:
        """Frames from the first on, 1/30 s apart."""
        rng = np.random.default_rng([self._seed, 0])
        shape = sample_shape(rng, 1, left_share=0.3)
        shape = replace(shape, forearm_mm=np.full(1, _FOREARM_MM))
        for number, pose in enumerate(motion.poses(rng, shape, self.preset, _MOTION)):
            if self._closed:
                return
            exact_mm, joints_mm = motion.picture(shape, pose, self.preset, MSRA21)
            seed = (self._seed << 32) + number
            depth_mm = noise.apply(exact_mm, self.preset.pinhole, self._sensor, seed, _NOISE)
            yield DepthFrame(depth_mm, self.preset.camera, number / FPS, number, joints_mm)
