"""Sample hands before a camera: shapes, gestures that do not pass through themselves, and views.

Everything is drawn for right hands. Left hands are their mirror images, and their views are mirrored too.
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
from crossnets.synth.hand.kinematics import ANGLES, FOREARM, HandPose, forward, natural
from crossnets.synth.hand.surface import spheres

DISTANCE_MM = (250.0, 1000.0)
_TRIES = 8
_ELBOW_CLEAR_MM = 160.0
"""A forearm that points to the camera is cut this far before it."""
_SAFE_MM = 120.0
"""Least distance of any part of a hand from the camera."""
_OPEN_SLOPE = 0.35
"""Half the field of view, as a slope, of a camera whose image size is unknown."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """Shares of the kinds of view.

    A view is a direction of straight fingers in the camera frame and a turn about it (our choice).
    """

    front: float = 0.3
    """Share of views from opposite the user. Fingers point up or at the camera, and the palm mostly faces it."""
    above: float = 0.15
    """Share of views from above a desk. Fingers point away from the user, along the image or across it, and the back
    of the hand is up."""
    egocentric: float = 0.3
    """Share of views from the user's head. The arm enters the image from below and from its own side."""
    uniform: float = 0.25
    """Share of uniformly drawn rotations."""


FRONT, ABOVE, EGOCENTRIC, UNIFORM = range(4)
"""Kinds of view, in the order of the shares of `Views`."""


class Scene(NamedTuple):
    """Hands before a camera."""

    shape: HandShape
    pose: HandPose
    kind: Int[np.ndarray, "n"]
    """Kind of view of each hand: FRONT, ABOVE, EGOCENTRIC or UNIFORM."""


_DIRECTIONS = np.array([[0.0, -1.0, -0.35], [0.0, -1.0, 0.1], [-0.35, -0.8, 0.55]])
"""Mean direction of the fingers of a right hand in the first three kinds of view."""
_SPREADS = np.array([[0.45, 0.45, 0.45], [0.6, 0.4, 0.3], [0.4, 0.4, 0.35]])
"""Deviation of that direction."""
_ROLLS_DEG = np.array([[0.0, 75.0], [180.0, 70.0], [150.0, 80.0]])
"""Mean and deviation of the turn about the fingers. A turn of 0 shows the palm, and 180 shows the back."""


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
    shape: HandShape | None = None,
) -> Scene:
    """Sample n hands in front of a camera. Each hand is whole in the image where the distance allows it.

    Args:
        rng: Source of all random numbers. For the same state another `left_share` only mirrors hands.
        n: Number of hands.
        camera: Camera whose intrinsics and image size bound the place of the hand.
        distance_mm: Nearest and farthest depth of the middle of the hand. The logarithm of the depth is uniform.
        left_share: Share of left hands.
        views: Shares of the kinds of view.
        people: Distribution of shapes.
        without: Excluded families of gestures (`gestures.FAMILIES`).
        shape: Shapes of the hands. None draws them from `people`, with this `left_share`.

    Raises:
        ValueError: the distances are below 200 mm or out of order, or an excluded family is unknown.
    """
    if not 200 <= distance_mm[0] <= distance_mm[1]:
        raise ValueError(f"distance_mm={distance_mm}: expected nearest and farthest, at least 200 mm, in order.")
    shape = sample_shape(rng, n, left_share, people) if shape is None else shape
    right = replace(shape, side=np.ones(n))
    angles = sample_angles(rng, right, without)
    kind = draw_kinds(rng, n, views or Views())
    pose = HandPose(draw_rotations(rng, kind), np.zeros((n, 3)), angles)
    pose, forearm_mm = _place(rng, right, pose, camera, distance_mm)
    return Scene(replace(shape, forearm_mm=forearm_mm), mirror(pose, shape.side), kind)


def sample_angles(rng: np.random.Generator, shape: HandShape, without: Sequence[str] = ()) -> Float[np.ndarray, "n 26"]:
    """Draw angles in rad of gestures that these hands can make without passing through themselves.

    The angles are within their limits. A gesture that passes through the hand is drawn again from the same family.
    After 8 attempts the hand is relaxed.
    """
    n = len(shape.side)
    families = draw_families(rng, n, without)
    angles = np.empty((n, len(ANGLES)))
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
    """(n,): whether fingers overlap each other or the palm by more than soft tissue allows."""
    n = len(angles_rad)
    pose = HandPose(np.broadcast_to(np.eye(3), (n, 3, 3)), np.zeros((n, 3)), angles_rad)
    skin = spheres(forward(shape, pose), shape)
    return collides(skin.centers_mm, skin.radii_mm, shape.flesh)


def draw_kinds(rng: np.random.Generator, n: int, views: Views) -> Int[np.ndarray, "n"]:
    """Draw kinds of view by their shares."""
    shares = np.array([views.front, views.above, views.egocentric, views.uniform])
    return rng.choice(4, size=n, p=shares / shares.sum())


def draw_rotations(rng: np.random.Generator, kind: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n 3 3"]:
    """Draw rotations of right hands into the camera frame for these kinds of view."""
    n = len(kind)
    # UNIFORM has no row in the tables. It borrows the last row, and its values are replaced below.
    row = np.minimum(kind, len(_DIRECTIONS) - 1)
    along = _DIRECTIONS[row] + _SPREADS[row] * rng.standard_normal((n, 3))
    roll = np.deg2rad(_ROLLS_DEG[row, 0] + _ROLLS_DEG[row, 1] * rng.standard_normal(n))
    uniform = kind == UNIFORM
    along = unit(np.where(uniform[:, None], rng.standard_normal((n, 3)), along))
    roll = np.where(uniform, rng.uniform(-np.pi, np.pi, n), roll)
    # At a roll of 0 the palm faces the camera as far as the direction of the fingers allows.
    palm = unit(np.array([0.0, 0.0, -1.0]) + along * along[:, 2:])
    beside = np.cross(along, palm)
    closing = np.cos(roll)[:, None] * palm + np.sin(roll)[:, None] * beside
    return np.stack([np.cross(along, closing), along, closing], axis=-1)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def mirror(pose: HandPose, side: Float[np.ndarray, "n"]) -> HandPose:
    """Convert poses between right hands and hands of these sides. Left hands are mirrored in the camera's x."""
    flip = np.stack([side, np.ones_like(side), np.ones_like(side)], axis=-1)
    rotation = flip[:, :, None] * pose.rotation * flip[:, None, :]
    return HandPose(rotation, pose.translation_mm * flip, pose.angles_rad)


def take(shape: HandShape, rows: np.ndarray) -> HandShape:
    """Select hands of a batch."""
    return replace(shape, **{name: part[rows] for name, part in vars(shape).items()})


def put(shape: HandShape, rows: np.ndarray, others: HandShape) -> HandShape:
    """Replace hands of a batch."""
    changed = {name: part.copy() for name, part in vars(shape).items()}
    for name, part in changed.items():
        part[rows] = getattr(others, name)
    return replace(shape, **changed)


def _natural(angles: Float[np.ndarray, "n 26"]) -> Float[np.ndarray, "n 26"]:
    return natural(HandPose(None, None, angles)).angles_rad


def _place(
    rng: np.random.Generator, shape: HandShape, pose: HandPose, camera: CameraPreset, distance_mm: tuple[float, float]
) -> tuple[HandPose, Float[np.ndarray, "n"]]:
    """Move hands into the camera's view. Return their poses and the lengths of their cut forearms."""
    frames = forward(shape, pose)
    skin = spheres(frames, shape)
    # The last two spheres are the elbow, which may lie outside the image.
    hand_mm = skin.centers_mm[:, :-2]
    radii_mm = skin.radii_mm[:, :-2, None]
    middle = (hand_mm.min(axis=1) + hand_mm.max(axis=1)) / 2
    hand_mm = hand_mm - middle[:, None]
    low, high = np.log(distance_mm)
    z = np.exp(rng.uniform(low, high, len(middle)))
    z = np.maximum(z, (radii_mm[..., 0] - hand_mm[..., 2]).max(axis=1) + _SAFE_MM)
    # Every sphere must lie between the planes through the camera and the borders of the image. A hand that is too large
    # for that is centred.
    half = _half_view(camera)
    room = half * (z[:, None, None] + hand_mm[..., 2:]) - radii_mm * np.sqrt(1 + half**2)
    most = (room - hand_mm[..., :2]).min(axis=1)
    least = (-room - hand_mm[..., :2]).max(axis=1)
    share = rng.random((len(z), 2))
    place = np.where(least < most, least + share * (most - least), (least + most) / 2)
    translation = np.concatenate([place, z[:, None]], axis=1) - middle
    longest = longest_forearm(translation, frames.axes[:, FOREARM, :, 1])
    return replace(pose, translation_mm=translation), np.minimum(shape.forearm_mm, longest)


def longest_forearm(wrist_mm: Float[np.ndarray, "n 3"], to_elbow: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """Return the length in mm at which forearms are cut before they reach the camera.

    Args:
        wrist_mm: Start of each forearm.
        to_elbow: Unit vector along each forearm.
    """
    towards = np.maximum(-to_elbow[:, 2], 1e-6)
    return np.maximum((wrist_mm[:, 2] - _ELBOW_CLEAR_MM) / towards, 2.0)


def _half_view(camera: CameraPreset) -> Float[np.ndarray, "2"]:
    """Return the largest slopes x/z and y/z inside the image on both sides of the optical axis."""
    if not camera.width_px:
        return np.full(2, _OPEN_SLOPE)
    fx, fy, cx, cy = camera.pinhole
    return np.array([min(cx, camera.width_px - 1 - cx) / fx, min(cy, camera.height_px - 1 - cy) / fy])
