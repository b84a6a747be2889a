"""Surroundings of a hand in a depth image: sleeves, the other hand, objects, a desk, the person and the room.

The surroundings and the hand are one sphere-mesh, so the ray-caster and the sensor's noise see one surface. Everything
is drawn around right hands, and pictures of left hands are mirrored. All numbers and shares are our choice, judged by
comparing renderings with real depth images.
"""

import functools
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int8, Int16

from crossnets.geometry.skeleton import Skeleton
from crossnets.synth.casting.raster import primitive_of
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.hand.anthropometry import HandShape
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import FOREARM, forward
from crossnets.synth.hand.sampler import FRONT, Scene, longest_forearm, mirror
from crossnets.synth.hand.surface import NAMES, TOPOLOGY, Spheres, spheres
from crossnets.synth.surroundings.objects import Space, place_desk, place_objects, place_room
from crossnets.synth.surroundings.other_hand import LONG_ARM_MM, SecondHands, resize_forearm, samples, second_hands
from crossnets.synth.surroundings.parts import (
    ALL,
    HAND_SPHERES,
    NOWHERE,
    NUM_SPHERES,
    SPHERES,
    hidden_share,
    hide,
    nothing,
    outline,
    put,
)
from crossnets.synth.surroundings.person import Directions, draw_cloth, draw_directions, place_body, sleeve

_FOREARM_MM = 250.0
"""Length of a whole forearm on the mean hand."""
_HIDDEN_SHARE = 0.25
"""An arm that hides more than this share of its own hand, in the thickest sleeve, is cut short and has no sleeve."""
_THICKEST_MM = 14.0


@dataclass(frozen=True, kw_only=True)
class Clutter:
    """Share of frames, 0 to 1, that contain each kind of surroundings.

    An object that would hide the hand is left out.
    """

    sleeve: float = 0.6
    second_hand: float = 0.3
    object: float = 0.6
    """Up to four boxes, bottles, balls and the like."""
    desk: float = 0.3
    body: float = 0.7
    """Torso, head and arms. Egocentric views never show a body."""
    wall: float = 0.5
    """A wall behind everything, and a floor."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise ValueError(f"Clutter's {field.name}={getattr(self, field.name)}: expected a share from 0 to 1.")


HAIR = 3
"""Value of `owners` for hair, which is invisible to many sensors."""


class Surroundings(NamedTuple):
    """n hands with their surroundings."""

    mesh: SphereMesh
    """All parts, in the order of `parts.PARTS`."""
    second: Bool[np.ndarray, "n"]
    """Whether the picture has a second hand, of the other side."""
    second_joints_mm: Float[np.ndarray, "n J 3"]
    """Joints of the second hand, or zero without a second hand."""
    hanging_mm: Float[np.ndarray, "n 2 3"]
    """Elbows of arms that hang down, for a picture without hands. They are hidden in a picture without a body."""


def surround(rng: np.random.Generator, scene: Scene, clutter: Clutter, skeleton: Skeleton) -> Surroundings:
    """Place the surroundings of the hands of a scene. Forearms reach to a body or out of the picture."""
    n = len(scene.kind)
    wanted = {field.name: rng.random(n) < getattr(clutter, field.name) for field in fields(clutter)}
    arms = _arms(rng, scene, wanted["second_hand"])
    mesh = nothing(n)
    size = arms.shape.scale[:, 1]
    directions = arms.directions
    cloth = draw_cloth(rng, size)
    sleeved = wanted["sleeve"] & arms.clear
    elbows = np.stack([skin.centers_mm[:, HAND_SPHERES:].mean(axis=1) for skin in arms.skins], axis=1)
    outlines = [outline(skin.centers_mm[:, :HAND_SPHERES], skin.radii_mm[:, :HAND_SPHERES]) for skin in arms.skins]
    thick = np.where(sleeved, cloth.thick_mm, 0)
    asked = wanted["body"] & arms.clear
    bodies = place_body(rng, mesh, asked, directions, elbows, size, outlines, arms.second, thick)
    one, other = _end(arms, bodies.present, scene.shape.forearm_mm)
    put(mesh, "hand", np.ones(n, np.bool_), *one)
    put(mesh, "second_hand", arms.second, *other)
    put(mesh, "sleeve", sleeved, *sleeve(one, cloth))
    put(mesh, "second_sleeve", wanted["sleeve"] & arms.second, *sleeve(other, cloth))
    # Desk and room stay clear of the arms. In front views the arms are those of the picture, which may be longer. In
    # other views they end at the elbow.
    front = (directions.kind == FRONT)[:, None, None]
    centers = np.concatenate(
        [
            np.where(front, long.centers_mm, skin.centers_mm)
            for long, skin in zip((one, other), arms.skins, strict=True)
        ],
        axis=1,
    )
    radii = np.concatenate([skin.radii_mm for skin in arms.skins], axis=1)
    space = Space(directions.down, directions.user, centers, radii)
    desk_mm = place_desk(rng, mesh, wanted["desk"], space, bodies.begins_mm)
    place_objects(rng, mesh, wanted["object"], space, outlines[0], desk_mm)
    place_room(rng, mesh, wanted["wall"], space, desk_mm)
    second_joints = np.zeros((n, len(skeleton.joints), 3))
    second_joints[arms.others.rows] = np.asarray(joints(arms.others.frames, skeleton))
    hanging = np.where(bodies.present[:, None, None], bodies.hanging_mm, NOWHERE)
    # So far every first hand is a right one. The pictures of left hands are mirrored.
    for points in (mesh.centers_mm, second_joints, hanging):
        points[..., 0] *= scene.shape.side.reshape(-1, 1)
    return Surroundings(mesh, arms.second, second_joints, hanging)


class _Arms(NamedTuple):
    """Both hands of n people with whole forearms, as far as the camera's place allows. The first hand is a right
    one."""

    shape: HandShape
    directions: Directions
    skins: tuple[Spheres, Spheres]
    """Skins of both hands. Without a second hand the first skin occurs twice."""
    wrists_mm: tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]
    clear: Bool[np.ndarray, "n"]
    """Whether the first arm may be long without hiding its hand."""
    others: SecondHands
    second: Bool[np.ndarray, "n"]


def _arms(rng: np.random.Generator, scene: Scene, wanted: Bool[np.ndarray, "n"]) -> _Arms:
    """Return the hands of a scene as right ones, and second hands where they are wanted and possible."""
    n = len(scene.kind)
    shape = replace(scene.shape, side=np.ones(n))
    pose = mirror(scene.pose, scene.shape.side)
    wrist = pose.translation_mm
    to_elbow = forward(shape, pose).axes[:, FOREARM, :, 1]
    longest = longest_forearm(wrist, to_elbow)
    shape = replace(shape, forearm_mm=np.minimum(_FOREARM_MM * shape.flesh, longest))
    skin = spheres(forward(shape, pose), shape)
    long = samples(resize_forearm(skin, wrist, np.minimum(LONG_ARM_MM * shape.flesh, longest)))
    arm = (long.centers_mm[:, HAND_SPHERES:], long.radii_mm[:, HAND_SPHERES:] + _THICKEST_MM)
    clear = hidden_share(skin.centers_mm[:, :HAND_SPHERES], *arm) < _HIDDEN_SHARE
    others = second_hands(rng, np.flatnonzero(wanted), shape, pose.angles_rad, skin, scene.kind)
    second = np.zeros(n, np.bool_)
    second[others.rows] = True
    other_wrist = wrist.copy()
    other_wrist[others.rows] = others.frames.origins_mm[:, FOREARM]
    other_skin = Spheres(skin.centers_mm.copy(), skin.radii_mm.copy())
    other_skin.centers_mm[others.rows], other_skin.radii_mm[others.rows] = others.skin
    directions = draw_directions(rng, scene.kind, to_elbow)
    return _Arms(shape, directions, (skin, other_skin), (wrist, other_wrist), clear, others, second)


def without_hands(mesh: SphereMesh, hanging_mm: Float[np.ndarray, "n 2 3"]) -> SphereMesh:
    """Return the same pictures without hands and forearms. The upper arms hang down."""
    bare = SphereMesh(mesh.centers_mm.copy(), mesh.radii_mm.copy(), mesh.topology)
    hide(bare, ("hand", "sleeve", "second_hand", "second_sleeve"))
    for arm, name in enumerate(("arm", "second_arm")):
        bare.centers_mm[:, SPHERES[name].start] = hanging_mm[:, arm]
    return bare


def hand_pixels(patch: Int16[np.ndarray, "H W"], mesh: SphereMesh) -> tuple[int, int]:
    """Count the pixels of an image of `raster.cast` that show the first and the second hand without forearm.

    The second count is 0 for the mesh of a hand without surroundings.
    """
    owner = owners(bare=mesh.radii_mm.shape[-1] == len(NAMES))
    counts = np.bincount(owner[patch.ravel()], minlength=3)
    return int(counts[1]), int(counts[2])


@functools.cache
def owners(*, bare: bool = False) -> Int8[np.ndarray, "K"]:
    """Return the owner of each patch: 1 the first hand, 2 the second hand, 3 hair, 0 anything else.

    The last entry is for pixels that hit nothing. `bare` selects the mesh of a hand without surroundings.
    """
    topology, num_spheres = (TOPOLOGY, len(NAMES)) if bare else (ALL, NUM_SPHERES)
    of_sphere = np.zeros(num_spheres, np.int8)
    for hand, name in enumerate(("hand",) if bare else ("hand", "second_hand"), 1):
        start = 0 if bare else SPHERES[name].start
        of_sphere[start : start + HAND_SPHERES] = hand
    if not bare:
        of_sphere[SPHERES["hair"]] = HAIR
    hulls = [of_sphere[rows].min(axis=1) for rows in (topology.capsules, topology.wedges)]
    return np.append(np.concatenate(hulls), np.int8(0))[primitive_of(topology, num_spheres)]


def _end(arms: _Arms, joined: Bool[np.ndarray, "n"], cut_mm: Float[np.ndarray, "n"]) -> tuple[Spheres, Spheres]:
    """Return both hands with forearms that end at the elbow of a body, or that are long enough to leave the picture.

    A first arm that would hide its own hand keeps its sampled length, `cut_mm`.
    """
    ended = []
    for skin, wrist in zip(arms.skins, arms.wrists_mm, strict=True):
        arm = skin.centers_mm[:, HAND_SPHERES:].mean(axis=1) - wrist
        now = np.linalg.norm(arm, axis=1)
        long = np.minimum(LONG_ARM_MM * arms.shape.flesh, longest_forearm(wrist, arm / now[:, None]))
        length = np.where(joined, now, np.maximum(now, long))
        if skin is arms.skins[0]:
            length = np.where(arms.clear, length, np.minimum(cut_mm, now))
        ended.append(resize_forearm(skin, wrist, length))
    return ended[0], ended[1]
