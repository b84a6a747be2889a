"""One hand in continuous motion: from pose to pose at human speeds, each held for a moment.

Everything moves a right hand. The pictures of left hands are mirrored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32

from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.skeleton import Skeleton
from crossnets.synth.casting.raster import render, render_through_lens
from crossnets.synth.hand.anthropometry import HandShape
from crossnets.synth.hand.gestures import Held, held_angles
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import HandPose, forward, natural, rotation_from_vector
from crossnets.synth.hand.sampler import Views, mirror, passes_through_itself, sample_views, take
from crossnets.synth.hand.surface import surface
from crossnets.types import LensCamera

FPS = 30.0
_CANDIDATES = 48
"""Poses drawn for each next one. The first that the hand can reach without passing through itself is taken."""
_CHECKED = np.linspace(0.15, 1.0, 6)
"""Parts of the way at which fingers must not be in each other."""
_LEAST_S = 0.5


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """How a hand moves, and where. The numbers are our choice."""

    distance_mm: tuple[float, float]
    """Nearest and farthest depth of the middle of the hand."""
    views: Views
    """Shares of the kinds of view that the hand moves between."""
    gesture: Held | None = None
    """The gesture that is held while the hand turns. None moves from gesture to gesture."""
    towards_middle: tuple[float, float, float] = (0.55, 0.55, 1.0)
    """Factors on the drawn places. People who show a hand to a camera keep it near the middle of the image."""
    most_turn_deg: float = 75.0
    """Largest turn of the palm between two poses."""
    turn_deg_per_s: float = 70.0
    """Mean speed of the palm's turns."""
    bend_deg_per_s: float = 110.0
    """Mean speed of the fastest finger joint."""
    mm_per_s: float = 220.0
    """Mean speed of the wrist."""
    hold_s: float = 0.35
    """Time for which a pose is held."""
    pace_spread: float = 0.0
    """Deviation of the logarithm of the pace. Each movement and each hold has a pace of its own. 0 moves evenly."""


@dataclass(frozen=True)
class MovingPose:
    """The pose of a right hand at one moment."""

    rotation: Float[np.ndarray, "3 3"]
    """Rotation of the hand into the camera frame."""
    translation_mm: Float[np.ndarray, "3"]
    """Place of the wrist in the camera frame."""
    angles_rad: Float[np.ndarray, "26"]


def poses(
    rng: np.random.Generator, shape: HandShape, camera: CameraPreset, config: MotionConfig
) -> Iterator[MovingPose]:
    """Poses of one right hand, 1/30 s apart, without end.

    Movements are eased at both ends. No pose that a movement starts from or ends at, and hardly any between them, has
    fingers that pass through each other.

    Args:
        rng: Source of all random numbers.
        shape: The hand, a batch of one.
        camera: Camera whose image the hand stays in.
        config: Places, gestures and speeds.
    """
    now = _start(rng, shape, camera, config)
    while True:
        there = _next(rng, shape, camera, config, now)
        pace = float(np.exp(config.pace_spread * rng.standard_normal())) if config.pace_spread else 1.0
        steps = max(2, round(FPS * _seconds(now, there, config) * pace))
        for step in range(steps):
            share = step / steps
            yield _between(now, there, share * share * (3 - 2 * share))
        for _ in range(round(FPS * config.hold_s * pace)):
            yield there
        now = there


def picture(
    shape: HandShape, pose: MovingPose, camera: CameraPreset, skeleton: Skeleton
) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "J 3"]]:
    """Exact depth in mm of the hand in a camera with an image size, and its joints in mm.

    Args:
        shape: The hand, a batch of one. The picture of a left hand is mirrored.
        pose: Pose of the right hand.
        camera: The camera, which may have a lens.
        skeleton: Joints of the label.
    """
    batch = mirror(HandPose(pose.rotation[None], pose.translation_mm[None], pose.angles_rad[None]), shape.side)
    frames = forward(shape, batch)
    one = surface(frames, shape).take(0)
    seen_by = camera.camera
    if isinstance(seen_by, LensCamera):
        depth_mm = render_through_lens(one, seen_by)
    else:
        depth_mm = render(one, seen_by, camera.width_px, camera.height_px)
    return depth_mm, np.asarray(joints(frames, skeleton))[0].astype(np.float32)


def _candidates(rng: np.random.Generator, camera: CameraPreset, config: MotionConfig) -> list[MovingPose]:
    _, pose, _ = sample_views(
        rng, _CANDIDATES, camera, distance_mm=config.distance_mm, left_share=0.0, views=config.views
    )
    angles = pose.angles_rad
    if config.gesture is not None:
        held = held_angles(rng, config.gesture, _CANDIDATES)
        angles = natural(replace(pose, angles_rad=held)).angles_rad
    places = pose.translation_mm * np.array(config.towards_middle)
    return [MovingPose(*row) for row in zip(pose.rotation, places, angles, strict=True)]


def _start(rng: np.random.Generator, shape: HandShape, camera: CameraPreset, config: MotionConfig) -> MovingPose:
    """The first drawn pose whose fingers are not in each other, or the first one if there is no such pose."""
    drawn = _candidates(rng, camera, config)
    crossed = _crossed(shape, np.stack([pose.angles_rad for pose in drawn]))
    return drawn[int(np.argmin(crossed))]


def _crossed(shape: HandShape, angles_rad: Float[np.ndarray, "n 26"]) -> Bool[np.ndarray, "n"]:
    """Whether the fingers of this hand pass through each other at these angles."""
    right = replace(take(shape, np.zeros(len(angles_rad), int)), side=np.ones(len(angles_rad)))
    return passes_through_itself(right, angles_rad)


def _next(
    rng: np.random.Generator, shape: HandShape, camera: CameraPreset, config: MotionConfig, now: MovingPose
) -> MovingPose:
    """The first drawn pose that is reached without fingers in fingers.

    If there is no such pose, the hand straightens, or stays where it is if it holds a gesture.
    """
    drawn = _candidates(rng, camera, config)
    near = [pose for pose in drawn if _turn(now.rotation, pose.rotation)[1] < np.deg2rad(config.most_turn_deg)]
    for pose in near:
        bends = np.stack([now.angles_rad + s * (pose.angles_rad - now.angles_rad) for s in _CHECKED])
        if not _crossed(shape, bends).any():
            return pose
    if config.gesture is not None:
        return now
    return replace(now, angles_rad=np.zeros(26))


def _seconds(start: MovingPose, end: MovingPose, config: MotionConfig) -> float:
    """Seconds that a movement takes at the mean speeds."""
    return max(
        _LEAST_S,
        _turn(start.rotation, end.rotation)[1] / np.deg2rad(config.turn_deg_per_s),
        float(np.abs(end.angles_rad - start.angles_rad).max()) / np.deg2rad(config.bend_deg_per_s),
        float(np.linalg.norm(end.translation_mm - start.translation_mm)) / config.mm_per_s,
    )


def _between(start: MovingPose, end: MovingPose, share: float) -> MovingPose:
    """A pose on the way: angles and place on a line, the rotation about one axis."""
    axis, angle = _turn(start.rotation, end.rotation)
    rotation = rotation_from_vector(share * angle * axis) @ start.rotation
    place = start.translation_mm + share * (end.translation_mm - start.translation_mm)
    return MovingPose(rotation, place, start.angles_rad + share * (end.angles_rad - start.angles_rad))


def _turn(start: Float[np.ndarray, "3 3"], end: Float[np.ndarray, "3 3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Unit axis and angle in rad, 0 to pi, of the rotation from one to the other."""
    turn = end @ start.T
    angle = float(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    length = float(np.linalg.norm(axis))
    return (axis / length, angle) if length > 1e-9 else (np.array([0.0, 0.0, 1.0]), angle)
