"""A camera that is not there: one rendered hand that moves from gesture to gesture, with exact joints."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from crossnets.cameras.frames import Closing, DepthFrame
from crossnets.geometry.camera import parse_camera
from crossnets.geometry.skeleton import MSRA21, Skeleton
from crossnets.synth.casting.raster import render, render_through_lens
from crossnets.synth.hand.anthropometry import HandShape, sample_shape
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import HandPose, forward
from crossnets.synth.hand.sampler import Views, mirror, passes_through_itself, sample_views, take
from crossnets.synth.hand.surface import surface
from crossnets.synth.sensor import noise
from crossnets.types import LensCamera

FPS = 30.0
CAMERA = "realsense-d435"
_DISTANCE_MM = (300.0, 440.0)
_VIEWS = Views(front=0.85, above=0.0, egocentric=0.15, uniform=0.0)
_CANDIDATES = 48
"""Poses drawn for each next one. The first that the hand can reach without passing through itself is taken."""
_CHECKED = np.linspace(0.15, 1.0, 6)
"""Parts of the way at which fingers must not be in each other."""
_MOST_TURN_RAD = np.deg2rad(75.0)
_TURN_PER_S, _BEND_PER_S, _MM_PER_S = np.deg2rad(70.0), np.deg2rad(110.0), 220.0
"""Mean speeds of the palm, of the fastest finger joint, and of the wrist (our choice: unhurried)."""
_LEAST_S, _HOLD_S = 0.5, 0.35
_TOWARDS_MIDDLE = np.array([0.55, 0.55, 1.0])
"""People who show a hand to a camera keep it near the middle of the image."""
_FOREARM_MM = 220.0
_NOISE = 0.7


class _Pose(NamedTuple):
    rotation: Float[np.ndarray, "3 3"]
    translation_mm: Float[np.ndarray, "3"]
    angles_rad: Float[np.ndarray, "26"]


class VirtualCamera(Closing):
    """An endless film of one right or left hand. The same seed gives the same frames to the last bit."""

    live, endless = False, True

    def __init__(self, camera: str = CAMERA, seed: int = 0) -> None:
        """`camera` is a preset with an image size and a noise model, and may have a lens of its own after a colon.

        Raises:
            ValueError: the camera is unknown or cannot be rendered, or the seed is negative.
        """
        self.preset = parse_camera(camera)
        if seed < 0:
            raise ValueError(f"Found the seed {seed}, expected 0 or more.")
        self.name = f"virtual:{camera}"
        self.skeleton: Skeleton | None = MSRA21
        self._sensor, self._seed, self._closed = noise.sensor_of(camera.partition(":")[0]), seed, False

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
        for number, pose in enumerate(self._poses(rng, shape)):
            if self._closed:
                return
            depth_mm, joints_mm = self._image(shape, pose, number)
            yield DepthFrame(depth_mm, self.preset.camera, number / FPS, number, joints_mm)

    def _poses(self, rng: np.random.Generator, shape: HandShape) -> Iterator[_Pose]:
        """One a frame, of a right hand: eased from pose to pose, each held for a moment."""
        now = self._candidates(rng)[0]
        while True:
            there = self._next(rng, shape, now)
            steps = max(2, round(FPS * _seconds(now, there)))
            for step in range(steps):
                share = step / steps
                yield _between(now, there, share * share * (3 - 2 * share))
            for _ in range(round(FPS * _HOLD_S)):
                yield there
            now = there

    def _next(self, rng: np.random.Generator, shape: HandShape, now: _Pose) -> _Pose:
        """The first drawn pose that is reached without fingers in fingers. The straight hand where none is."""
        near = [pose for pose in self._candidates(rng) if _turn(now.rotation, pose.rotation)[1] < _MOST_TURN_RAD]
        for pose in near:
            bends = np.stack([now.angles_rad + s * (pose.angles_rad - now.angles_rad) for s in _CHECKED])
            right = replace(take(shape, np.zeros(len(bends), int)), side=np.ones(len(bends)))
            if not passes_through_itself(right, bends).any():
                return pose
        return now._replace(angles_rad=np.zeros(26))

    def _candidates(self, rng: np.random.Generator) -> list[_Pose]:
        """Poses of right hands."""
        _, pose, _ = sample_views(rng, _CANDIDATES, self.preset, distance_mm=_DISTANCE_MM, left_share=0.0, views=_VIEWS)
        places = pose.translation_mm * _TOWARDS_MIDDLE
        return [_Pose(*row) for row in zip(pose.rotation, places, pose.angles_rad, strict=True)]

    def _image(
        self, shape: HandShape, pose: _Pose, number: int
    ) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "J 3"]]:
        """The image of the sensor, and the joints."""
        batch = mirror(HandPose(*(part[None] for part in pose)), shape.side)
        frames = forward(shape, batch)
        mesh = surface(frames, shape)
        one = type(mesh)(mesh.centers_mm[0], mesh.radii_mm[0], mesh.topology)
        camera = self.preset.camera
        if isinstance(camera, LensCamera):
            exact_mm = render_through_lens(one, camera)
        else:
            exact_mm = render(one, camera, self.preset.width_px, self.preset.height_px)
        seed = (self._seed << 32) + number
        depth_mm = noise.apply(exact_mm, self.preset.pinhole, self._sensor, seed, _NOISE)
        return depth_mm, np.asarray(joints(frames, MSRA21))[0].astype(np.float32)


def _seconds(start: _Pose, end: _Pose) -> float:
    """Seconds that a movement takes at the mean speeds."""
    return max(
        _LEAST_S,
        _turn(start.rotation, end.rotation)[1] / _TURN_PER_S,
        float(np.abs(end.angles_rad - start.angles_rad).max()) / _BEND_PER_S,
        float(np.linalg.norm(end.translation_mm - start.translation_mm)) / _MM_PER_S,
    )


def _between(start: _Pose, end: _Pose, share: float) -> _Pose:
    """A pose on the way: angles and place on a line, the rotation about one axis."""
    axis, angle = _turn(start.rotation, end.rotation)
    rotation = _about(axis, share * angle) @ start.rotation
    place = start.translation_mm + share * (end.translation_mm - start.translation_mm)
    return _Pose(rotation, place, start.angles_rad + share * (end.angles_rad - start.angles_rad))


def _turn(start: Float[np.ndarray, "3 3"], end: Float[np.ndarray, "3 3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Unit axis and angle in rad, 0 to pi, of the rotation from one to the other."""
    turn = end @ start.T
    angle = float(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    length = float(np.linalg.norm(axis))
    return (axis / length, angle) if length > 1e-9 else (np.array([0.0, 0.0, 1.0]), angle)


def _about(axis: Float[np.ndarray, "3"], angle_rad: float) -> Float[np.ndarray, "3 3"]:
    """Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross
