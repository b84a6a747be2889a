"""Hands as people hold them before a camera: shapes, gestures that do not pass through themselves, and views.

Everything is drawn for right hands; left ones are their mirror images, with views mirrored too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from crossnets.geometry.camera import CameraPreset
from crossnets.synth.hand.anthropometry import HandShape, People, sample_shape
from crossnets.synth.hand.collisions import collides
from crossnets.synth.hand.gestures import draw_angles, draw_families, relaxed_angles
from crossnets.synth.hand.kinematics import FOREARM, HandPose, forward, natural
from crossnets.synth.hand.surface import spheres

DISTANCE_MM = (250.0, 1000.0)
_TRIES = 8
_ELBOW_CLEAR_MM = 160.0
"""A forearm that comes from the camera's side is cut this far before it."""
_SAFE_MM = 120.0
"""No part of a hand is nearer to the camera."""
_OPEN_SLOPE = 0.35
"""Half the view, as a slope, of a camera whose image size is unknown."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """Views of hands: directions of straight fingers in the camera frame, and turns about them (our choice)."""

    front: float = 0.3
    """Share of views from opposite the user: fingers up or at the camera, palm towards it more often than not."""
    above: float = 0.15
    """Share from above a desk: fingers away from the user, along the image or over it, back of the hand up."""
    egocentric: float = 0.3
    """Share from the user's head: the arm enters from below and from its own side."""
    uniform: float = 0.25
    """Share of any rotation at all."""


FRONT, ABOVE, EGOCENTRIC, UNIFORM = range(4)
"""Kinds of view, in the order of the shares of `Views`."""


class Scene(NamedTuple):
    """Hands before a camera, and how the camera looks at them."""

    shape: HandShape
    pose: HandPose
    kind: Int[np.ndarray, "n"]
    """Kind of view of each: FRONT, ABOVE, EGOCENTRIC or UNIFORM."""


_DIRECTIONS = np.array([[0.0, -1.0, -0.35], [0.0, -1.0, 0.1], [-0.35, -0.8, 0.55]])
"""Mean direction of the fingers of a right hand in the first three kinds of view."""
_SPREADS = np.array([[0.45, 0.45, 0.45], [0.6, 0.4, 0.3], [0.4, 0.4, 0.35]])
_ROLLS_DEG = np.array([[0.0, 75.0], [180.0, 70.0], [150.0, 80.0]])
"""Mean and spread of the turn about the fingers: 0 shows the palm, 180 the back."""


def sample_scene(
    rng: np.random.Generator,
    n: int,
    camera: CameraPreset,
    *,
    distance_mm: tuple[float, float] = DISTANCE_MM,
    left_share: float = 0.5,
    views: Views | None = None,
) -> tuple[HandShape, HandPose]:
    """As `sample_views`, without the kinds of view."""
    return sample_views(rng, n, camera, distance_mm=distance_mm, left_share=left_share, views=views)[:2]


def sample_views(
    rng: np.random.Generator,
    n: int,
    camera: CameraPreset,
    *,
    distance_mm: tuple[float, float] = DISTANCE_MM,
    left_share: float = 0.5,
    views: Views | None = None,
    people: People | None = None,
    without: Sequence[str] = (),
) -> Scene:
    """n hands in front of a camera, each whole in its image where the distance allows.

    Args:
        rng: Draws everything; the same state with another `left_share` mirrors hands and changes nothing else.
        n: Number of hands.
        camera: Its intrinsics and image size bound where the hand is.
        distance_mm: Nearest and farthest depth of the middle of the hand; drawn evenly in its logarithm.
        left_share: Share of left hands.
        views: Shares of the kinds of view.
        people: Whose hands.
        without: Families of gestures (`gestures.FAMILIES`) that nobody makes.

    Raises:
        ValueError: the distances are not positive and in order, or there is no such family.
    """
    if not 200 <= distance_mm[0] <= distance_mm[1]:
        raise ValueError(f"distance_mm={distance_mm}: expected nearest and farthest, at least 200 mm, in order.")
    shape = sample_shape(rng, n, left_share, people)
    right = replace(shape, side=np.ones(n))
    angles = sample_angles(rng, right, without)
    kind = draw_kinds(rng, n, views or Views())
    pose = HandPose(draw_rotations(rng, kind), np.zeros((n, 3)), angles)
    pose, forearm_mm = _place(rng, right, pose, camera, distance_mm)
    return Scene(replace(shape, forearm_mm=forearm_mm), mirror(pose, shape.side), kind)


def sample_angles(rng: np.random.Generator, shape: HandShape, without: Sequence[str] = ()) -> Float[np.ndarray, "n 26"]:
    """Angles in rad, within limits, of gestures that these hands can make without passing through themselves.

    A gesture that does is drawn again, of the same family; after 8 times the hand rests.
    """
    n = len(shape.side)
    families, angles = draw_families(rng, n, without), np.empty((n, 26))
    todo = np.arange(n)
    for _ in range(_TRIES):
        drawn = _natural(draw_angles(rng, families[todo], without))
        angles[todo] = drawn
        todo = todo[passes_through_itself(take(shape, todo), drawn)]
        if not len(todo):
            return angles
    angles[todo] = _natural(relaxed_angles(len(todo)))
    return angles


def passes_through_itself(shape: HandShape, angles_rad: Float[np.ndarray, "n 26"]) -> np.ndarray:
    """(n,): whether fingers sink into each other or into the palm by more than flesh gives way."""
    n = len(angles_rad)
    pose = HandPose(np.broadcast_to(np.eye(3), (n, 3, 3)), np.zeros((n, 3)), angles_rad)
    found = spheres(forward(shape, pose), shape)
    return collides(found.centers_mm, found.radii_mm, shape.flesh)


def draw_kinds(rng: np.random.Generator, n: int, views: Views) -> Int[np.ndarray, "n"]:
    """Kinds of view in these shares."""
    shares = np.array([views.front, views.above, views.egocentric, views.uniform])
    return rng.choice(4, size=n, p=shares / shares.sum())


def draw_rotations(rng: np.random.Generator, kind: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n 3 3"]:
    """Rotations of right hands into the camera frame in these kinds of view."""
    n = len(kind)
    known = np.minimum(kind, 2)
    along = _DIRECTIONS[known] + _SPREADS[known] * rng.standard_normal((n, 3))
    roll = np.deg2rad(_ROLLS_DEG[known, 0] + _ROLLS_DEG[known, 1] * rng.standard_normal(n))
    anywhere = (kind == UNIFORM)[:, None]
    along = np.where(anywhere, rng.standard_normal((n, 3)), along)
    roll = np.where(anywhere[:, 0], rng.uniform(-np.pi, np.pi, n), roll)
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    palm = np.array([0.0, 0.0, -1.0]) + along * along[:, 2:]
    palm = palm / np.maximum(np.linalg.norm(palm, axis=-1, keepdims=True), 1e-9)
    beside = np.cross(along, palm)
    closing = np.cos(roll)[:, None] * palm + np.sin(roll)[:, None] * beside
    return np.stack([np.cross(along, closing), along, closing], axis=-1)


def mirror(pose: HandPose, side: Float[np.ndarray, "n"]) -> HandPose:
    """Poses of right hands as those of hands of these sides: left ones mirrored in the camera's x."""
    flip = np.stack([side, np.ones_like(side), np.ones_like(side)], axis=-1)
    rotation = flip[:, :, None] * pose.rotation * flip[:, None, :]
    return HandPose(rotation, pose.translation_mm * flip, pose.angles_rad)


def take(shape: HandShape, rows: np.ndarray) -> HandShape:
    """Some hands of a batch."""
    return replace(shape, **{name: part[rows] for name, part in vars(shape).items()})


def _natural(angles: Float[np.ndarray, "n 26"]) -> Float[np.ndarray, "n 26"]:
    return natural(HandPose(None, None, angles)).angles_rad


def _place(
    rng: np.random.Generator, shape: HandShape, pose: HandPose, camera: CameraPreset, distance_mm: tuple[float, float]
) -> tuple[HandPose, Float[np.ndarray, "n"]]:
    """Move the poses into the camera's view, and cut the forearms."""
    frames = forward(shape, pose)
    skin = spheres(frames, shape)
    hand_mm = skin.centers_mm[:, :-2]  # without the elbow
    middle = (hand_mm.min(axis=1) + hand_mm.max(axis=1)) / 2
    hand_mm, radii_mm = hand_mm - middle[:, None], skin.radii_mm[:, :-2, None]
    low, high = np.log(distance_mm)
    z = np.exp(rng.uniform(low, high, len(middle)))
    z = np.maximum(z, (radii_mm[..., 0] - hand_mm[..., 2]).max(axis=1) + _SAFE_MM)
    # Each sphere between the planes through the camera and the sides of the image.
    half = _half_view(camera)
    room = half * (z[:, None, None] + hand_mm[..., 2:]) - radii_mm * np.sqrt(1 + half**2)
    most, least = (room - hand_mm[..., :2]).min(axis=1), (-room - hand_mm[..., :2]).max(axis=1)
    side = rng.random((len(z), 2))
    where = np.where(least < most, least + side * (most - least), (least + most) / 2)
    where = np.concatenate([where, z[:, None]], axis=1)
    moved = where - middle
    longest = longest_forearm(moved, frames.axes[:, FOREARM, :, 1])
    return replace(pose, translation_mm=moved), np.minimum(shape.forearm_mm, longest)


def longest_forearm(wrist_mm: Float[np.ndarray, "n 3"], to_elbow: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """Length in mm at which forearms from these wrists, in these directions, are cut before they reach the camera."""
    towards = np.maximum(-to_elbow[:, 2], 1e-6)
    return np.maximum((wrist_mm[:, 2] - _ELBOW_CLEAR_MM) / towards, 2.0)


def _half_view(camera: CameraPreset) -> Float[np.ndarray, "2"]:
    """Slopes x/z and y/z that the image holds on both sides of the optical axis."""
    if not camera.width_px:
        return np.full(2, _OPEN_SLOPE)
    fx, fy, cx, cy = camera.pinhole
    return np.array([min(cx, camera.width_px - 1 - cx) / fx, min(cy, camera.height_px - 1 - cy) / fy])
