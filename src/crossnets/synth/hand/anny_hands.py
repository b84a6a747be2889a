"""Hands of the body model Anny, as a second geometry beside the sphere-mesh of `surface.py`.

Anny (Bregier et al. 2025, arXiv 2511.03589) has Apache-2.0 code and MakeHuman's CC0 assets. Its right hand has 1,609
vertices, 3,196 triangles and 21 bones. Age, gender, weight, muscle and proportions of the body change it, and so do
length, thickness and distance of the fingers. `pip install '.[anny]'` installs it. No installed part of crossnets needs
it: it serves tests and trainings only.

An Anny hand has the kinematics of `kinematics.py`. `AnnyHands.shape` is a `HandShape` whose joints are Anny's, so that
poses, limits, collisions, views, surroundings and the places of all skeletons' joints are those of any other hand. Each
bone of Anny follows the frame of the same bone of `kinematics.forward`, and the skin follows the bones by linear
blending with Anny's weights.

Joints are moved to their anatomical places. The axes of Anny's knuckles lie a third of the proximal bone nearer to the
webs than those of radiographs (Buryanov & Kotiuk 2010), so they are moved back along the metacarpal bone. For the same
reason the first joint of the thumb is moved towards the wrist, and the second one towards the tip. Anny's bones lie
some 5 mm nearer to the back of the fingers than the middle of the skin, where our joints are, so they are moved there.
All numbers of this module are our choice. They were judged by comparing renderings with the hand of this package.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Float32, Int32

from crossnets.synth.compiled import compiled
from crossnets.synth.hand.anthropometry import (
    KNUCKLES_MM,
    MEAN_LENGTH_MM,
    RADII_MM,
    HandShape,
    hand_length,
    mean_shape,
)
from crossnets.synth.hand.kinematics import (
    ANGLES,
    FOREARM,
    FRAMES,
    PALM,
    HandFrames,
    HandPose,
    bone,
    forward,
)
from crossnets.synth.hand.surface import NAMES, Spheres

AGES = (0.45, 1.0)
"""Range of Anny's age: 0.33 is a child, 0.67 a young adult, 1 an old one."""
CHANGES = {
    "r-hand-fingers-length-incr": 0.3,
    "r-hand-fingers-diameter-incr": 0.6,
    "r-hand-fingers-distance-incr": 0.5,
    "measure-wrist-circ-incr": 0.5,
}
"""Largest strength of each local change of Anny, in both directions."""
KNUCKLE = 0.86
"""Place of a knuckle between the ends of Anny's metacarpal bone."""
THUMB_BASE = (0.5, 0.15)
"""Weights of Anny's first and second joint of the thumb in the place of the thumb's base, from the wrist."""
THUMB_MIDDLE = 0.14
"""Place of the thumb's second joint between Anny's second and third joint."""
_KNUCKLE_RADIUS = 1.18
"""Radius of a knuckle relative to that of the middle joint, as in RADII_MM."""
_SOFT = 0.85
"""Radii of `HandShape` relative to the skin. Anny's skin is thinner than that where joints are bent, and her thumb is
thicker than ours. With whole radii many of the fists would be refused."""
_INSIDE = 0.5
"""Radii of invisible spheres relative to those of the shape."""
_RING_MM = 4.0
"""Vertices within this distance along a digit belong to a joint, or to the digit's end."""

_BONES = {"root": FOREARM, "wrist.R": PALM}
_BONES |= {f"finger1-{k}.R": bone(0, k) for k in (1, 2, 3)}
_BONES |= {f"metacarpal{d}.R": bone(d, 0) for d in (1, 2, 3, 4)}
_BONES |= {f"finger{d + 1}-{k}.R": bone(d, k) for d in (1, 2, 3, 4) for k in (1, 2, 3)}
"""Bone of `kinematics` that each bone of Anny follows."""
_WRIST = [NAMES.index("wrist_thumb"), NAMES.index("wrist_little")]


class Skins(NamedTuple):
    """Skins of n Anny hands at rest, before they are posed."""

    vertices_mm: Float32[np.ndarray, "n V 3"]
    """Vertices of right hands in the axes of the hand."""
    origins_mm: Float[np.ndarray, "n 22 3"]
    """Start of each bone at rest, in the order of `kinematics.bone`."""
    axes: Float[np.ndarray, "n 22 3 3"]
    """Axes of each bone at rest, as in `HandFrames`."""
    wrist_mm: Float[np.ndarray, "n 3"]
    """Half the width and half the depth of the open end at the wrist, and its distance from the wrist through the
    palm."""

    def take(self, rows: np.ndarray) -> "Skins":
        """Select hands of a batch."""
        return Skins(*(part[rows] for part in self))


@dataclass(frozen=True)
class AnnyModel:
    """The constants of Anny's right hand."""

    model: Any
    """The torch module, which computes the vertices of shapes."""
    faces: Int32[np.ndarray, "F 3"]
    """Corners of each triangle, counter-clockwise from outside."""
    bones: Int32[np.ndarray, "V K"]
    """Bones of `kinematics` that each vertex follows."""
    weights: Float[np.ndarray, "V K"]
    """Weight of each of them. Each row sums to 1."""
    tips: tuple[np.ndarray, ...]
    """Vertices at the end of each digit."""
    rings: tuple[tuple[np.ndarray, ...], ...]
    """Vertices around the second joint, the third joint and near the end of each digit."""
    opening: np.ndarray
    """Vertices around the open end at the wrist."""


@functools.cache
def anny_model() -> AnnyModel:
    """Load Anny's right hand. The first call on a machine takes minutes, because Anny then reads its assets.

    Raises:
        ModuleNotFoundError: Anny is not installed.
    """
    try:
        import anny  # pyright: ignore[reportMissingImports] - an extra
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"Rendering Anny's hands needs {missing.name}, which is not installed. "
            "Install the extra: pip install '.[anny]'",
            name="anny",
        ) from missing
    return describe(
        anny.Anny(rig="anny-hand.R", topology="hand.R", local_changes=list(CHANGES), skinning_method="lbs").float()
    )


def describe(model: Any) -> AnnyModel:
    """Read the constants of an `anny.Anny` of a right hand."""
    import torch

    with torch.no_grad():
        rest = model()
    vertices = 1000 * rest["vertices"][0].numpy()
    heads = 1000 * rest["bone_poses"][0, :, :3, 3].numpy()
    follows = np.array([_BONES[label] for label in model.bone_labels], np.int32)
    weights = model.vertex_bone_weights.numpy().astype(np.float64)
    bones = follows[model.vertex_bone_indices.numpy()]
    share = np.zeros((len(vertices), FRAMES))
    np.add.at(share, (np.arange(len(vertices))[:, None], bones), weights)
    joint = {index: heads[k] for k, index in enumerate(follows.tolist())}
    tips = []
    rings = []
    for digit in range(5):
        last = joint[bone(digit, 3)]
        apart = np.where(share[:, bone(digit, 3)] > 0.5, np.linalg.norm(vertices - last, axis=1), 0.0)
        tips.append(np.flatnonzero(apart > apart.max() - _RING_MM))
        end = vertices[tips[-1]].mean(axis=0)
        on_digit = share[:, [bone(digit, k) for k in (1, 2, 3)]].sum(axis=1) > 0.6
        ring = []
        for at, to in ((joint[bone(digit, 2)], last), (last, end), (last + 0.6 * (end - last), end)):
            along = (vertices - at) @ (to - at) / np.linalg.norm(to - at)
            ring.append(np.flatnonzero(on_digit & (np.abs(along) < _RING_MM)))
        rings.append(tuple(ring))
    faces = model.faces.numpy().astype(np.int32)
    sides, uses = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1),
        axis=0,
        return_counts=True,
    )
    return AnnyModel(
        model=model,
        faces=faces,
        bones=bones,
        weights=weights / weights.sum(axis=1, keepdims=True),
        tips=tuple(tips),
        rings=tuple(rings),
        opening=np.unique(sides[uses == 1]),
    )


def draw_anny(rng: np.random.Generator, shape: HandShape) -> tuple[HandShape, Skins]:
    """Draw a hand of Anny for each hand of a batch.

    Each hand has the length, the side and the forearm of the given hand. Anny gives its proportions.

    Returns:
        Shapes with the joints of Anny's hands, whose skins are invisible, and the skins of Anny at rest.
    """
    import torch

    known = anny_model()
    n = len(shape.side)
    ranges = {"age": AGES}
    body = {name: rng.uniform(*ranges.get(name, (0.0, 1.0)), n) for name in known.model.phenotype_labels}
    changes = {name: most * rng.uniform(-1, 1, n) for name, most in CHANGES.items()}
    with torch.no_grad():
        given = [{name: torch.from_numpy(value).float() for name, value in part.items()} for part in (body, changes)]
        rest = known.model(phenotype_kwargs=given[0], local_changes_kwargs=given[1])
    vertices = 1000 * rest["vertices"].numpy().astype(np.float64)
    heads = 1000 * rest["bone_poses"][:, :, :3, 3].numpy().astype(np.float64)
    return _measured(known, vertices, heads, shape)


def _measured(
    known: AnnyModel, vertices: Float[np.ndarray, "n V 3"], heads: Float[np.ndarray, "n 21 3"], shape: HandShape
) -> tuple[HandShape, Skins]:
    """Find the joints of rest meshes, turn the meshes into the axes of the hand, and scale them."""
    n = len(vertices)
    joint = {_BONES[label]: heads[:, k] for k, label in enumerate(known.model.bone_labels)}
    wrist = joint[PALM]
    points = np.zeros((n, 5, 5, 3))
    for digit in range(5):
        points[:, digit, 1:4] = np.stack([joint[bone(digit, k)] for k in (1, 2, 3)], axis=1) - wrist[:, None]
        points[:, digit, 4] = _tip(vertices[:, known.tips[digit]], joint[bone(digit, 3)]) - wrist
        if digit:
            points[:, digit, 0] = joint[bone(digit, 0)] - wrist
            points[:, digit, 1] = points[:, digit, 0] + KNUCKLE * (points[:, digit, 1] - points[:, digit, 0])
    points[:, 0, 1] = THUMB_BASE[0] * points[:, 0, 1] + THUMB_BASE[1] * points[:, 0, 2]
    points[:, 0, 2] += THUMB_MIDDLE * (points[:, 0, 3] - points[:, 0, 2])
    flexion = _flexion_axes(points)
    _centre(known, vertices - wrist[:, None], points, flexion)
    turn = _into_hand(points[:, 1:, 1])
    points = points @ turn[:, None]
    vertices = (vertices - wrist[:, None]) @ turn
    bones = np.linalg.norm(np.diff(points, axis=2), axis=-1)
    radii = _radii(known, vertices, points)
    bases = points[:, :, 0]
    rays = (points[:, :, 1] - bases) / bones[:, :, :1]
    # The length of the hand fixes the scale, and the other factors follow from knuckles and fingers.
    whole = replace(shape, bones_mm=bones, bases_mm=bases, rays=rays)
    factor = hand_length(shape) / hand_length(whole)
    size = hand_length(shape) / MEAN_LENGTH_MM
    across = factor * (points[:, 1, 1, 0] - points[:, 4, 1, 0]) / (KNUCKLES_MM[1, 0] - KNUCKLES_MM[4, 0])
    flesh = factor * (radii / RADII_MM).mean(axis=(1, 2))
    scale = np.stack([across, size, flesh**2 / across], axis=-1)
    made = HandShape(
        bones_mm=bones * factor[:, None, None],
        bases_mm=bases * factor[:, None, None],
        rays=rays,
        radii_mm=_SOFT * radii * factor[:, None, None],
        scale=scale,
        flesh=flesh,
        side=shape.side,
        forearm_mm=shape.forearm_mm,
    )
    points = points * factor[:, None, None, None]
    vertices = (vertices * factor[:, None, None]).astype(np.float32)
    low, high = (edge(vertices[:, known.opening], axis=1) for edge in (np.min, np.max))
    wrist_mm = np.stack([*((high - low)[:, [0, 2]] / 2).T, (high + low)[:, 2] / 2], axis=-1).astype(np.float64)
    return made, Skins(vertices, *_rest(made, points, flexion @ turn), wrist_mm)


def _tip(vertices: Float[np.ndarray, "n T 3"], last: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Return the end of a digit: as far as its outermost vertex, in the direction of the middle of its end."""
    along = vertices.mean(axis=1) - last
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    reach = np.einsum("nvk,nk->nv", vertices - last[:, None], along).max(axis=1)
    return last + reach[:, None] * along


def _flexion_axes(points: Float[np.ndarray, "n 5 5 3"]) -> Float[np.ndarray, "n 5 3"]:
    """Return the axis of flexion of each digit. Anny's joints are bent at rest, and the axis is across their bones."""
    parts = np.diff(points[:, :, 1:], axis=2)
    along = parts / np.linalg.norm(parts, axis=-1, keepdims=True)
    return np.cross(along[:, :, 0], along[:, :, 2])


def _centre(
    known: AnnyModel,
    vertices: Float[np.ndarray, "n V 3"],
    points: Float[np.ndarray, "n 5 5 3"],
    across: Float[np.ndarray, "n 5 3"],
) -> None:
    """Move the joints of all digits to the middle of the skin around them, in place.

    Knuckles move through the palm as far as the joints next to them, because the skin around them is that of the palm.
    """
    for digit in range(5):
        parts = np.diff(points[:, digit, 1:], axis=1)
        along = parts / np.linalg.norm(parts, axis=-1, keepdims=True)
        moves = []
        through = []
        for k in range(2):
            x, z = _perpendicular(across[:, digit], along[:, k + 1])
            around = vertices[:, known.rings[digit][k]] - points[:, digit, None, k + 2]
            aside, deep = (_middle(np.einsum("nvk,nk->nv", around, axis))[:, None] for axis in (x, z))
            moves.append(aside * x + deep * z)
            through.append(deep)
        if digit:
            points[:, digit, 1] += through[0] * _perpendicular(across[:, digit], along[:, 0])[1]
        points[:, digit, 2:4] += np.stack(moves, axis=1)


def _middle(values: Float[np.ndarray, "n V"]) -> Float[np.ndarray, "n"]:
    return (values.min(axis=1) + values.max(axis=1)) / 2


def _perpendicular(
    across: Float[np.ndarray, "n 3"], along: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Return the axes x and z of bones from their axes y and from vectors near x."""
    x = across - np.einsum("nk,nk->n", across, along)[:, None] * along
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, np.cross(x, along)


def _into_hand(knuckles: Float[np.ndarray, "n 4 3"]) -> Float[np.ndarray, "n 3 3"]:
    """Return the rotations about the wrist that bring knuckles next to those of the mean hand (Kabsch)."""
    mean = mean_shape()
    wanted = (mean.bases_mm + mean.rays * mean.bones_mm[:, :1])[1:]
    left, _, right = np.linalg.svd(np.einsum("nki,kj->nij", knuckles, wanted))
    flip = np.stack([np.ones(len(knuckles))] * 2 + [np.linalg.det(left @ right)], axis=-1)
    return (left * flip[:, None]) @ right


def _radii(
    known: AnnyModel, vertices: Float[np.ndarray, "n V 3"], points: Float[np.ndarray, "n 5 5 3"]
) -> Float[np.ndarray, "n 5 4"]:
    """Return the mean distance of the skin from the bones at the joints and near the end of each digit."""
    radii = np.empty((len(vertices), 5, 4))
    for digit in range(5):
        for k in range(3):
            first, last = (2, 3) if k == 0 else (3, 4)
            start = points[:, digit, first]
            along = points[:, digit, last] - start
            along /= np.linalg.norm(along, axis=1, keepdims=True)
            apart = vertices[:, known.rings[digit][k]] - start[:, None]
            off = apart - np.einsum("nvk,nk->nv", apart, along)[..., None] * along[:, None]
            radii[:, digit, k + 1] = np.linalg.norm(off, axis=-1).mean(axis=1)
        radii[:, digit, 0] = _KNUCKLE_RADIUS * radii[:, digit, 1]
    return radii


def _rest(
    shape: HandShape, points: Float[np.ndarray, "n 5 5 3"], across: Float[np.ndarray, "n 5 3"]
) -> tuple[Float[np.ndarray, "n 22 3"], Float[np.ndarray, "n 22 3 3"]]:
    """Return starts and axes of all bones at rest."""
    n = len(points)
    straight = HandPose(np.broadcast_to(np.eye(3), (n, 3, 3)), np.zeros((n, 3)), np.zeros((n, len(ANGLES))))
    frames = forward(replace(shape, side=np.ones(n)), straight)
    origins = frames.origins_mm.copy()
    axes = frames.axes.copy()
    for digit in range(5):
        parts = np.diff(points[:, digit, 1:], axis=1)
        along = parts / np.linalg.norm(parts, axis=-1, keepdims=True)
        for k in range(3):
            y = along[:, k]
            x, z = _perpendicular(across[:, digit], y)
            axes[:, bone(digit, k + 1)] = np.stack([x, y, z], axis=-1)
            origins[:, bone(digit, k + 1)] = points[:, digit, k + 1]
    return origins, axes


def pose_skins(skins: Skins, frames: HandFrames) -> Float32[np.ndarray, "n V 3"]:
    """Return the vertices of posed hands in the camera frame, by linear blending of the bones' motions.

    Args:
        skins: Skins of right hands at rest.
        frames: The posed hands, which may be left ones. Their triangles are those of `faces_of`.
    """
    known = anny_model()
    # x = A_posed A_rest^T (v - o_rest) + o_posed for each bone.
    turns = frames.axes @ skins.axes.transpose(0, 1, 3, 2)
    shifts = frames.origins_mm - np.einsum("nbij,nbj->nbi", turns, skins.origins_mm)
    motions = np.ascontiguousarray(np.concatenate([turns, shifts[..., None]], axis=-1))
    posed = np.empty_like(skins.vertices_mm)
    _blend(skins.vertices_mm, motions, known.bones, known.weights, posed)
    return posed


@compiled
@no_type_check
def _blend(vertices, motions, bones, weights, posed):
    for n in range(len(vertices)):
        for v in range(vertices.shape[1]):
            x, y, z = vertices[n, v]
            total = np.zeros(3)
            for k in range(bones.shape[1]):
                w = weights[v, k]
                if w > 0:
                    m = motions[n, bones[v, k]]
                    for i in range(3):
                        total[i] += w * (m[i, 0] * x + m[i, 1] * y + m[i, 2] * z + m[i, 3])
            for i in range(3):
                posed[n, v, i] = total[i]


def hidden_spheres(skin: Spheres, skins: Skins, frames: HandFrames) -> Spheres:
    """Return spheres of hands that lie inside Anny's skins, with forearms that fit the open ends of these skins.

    Args:
        skin: Spheres of the hands from `surface.spheres`. Forearms may have another length.
        skins: Skins of the hands at rest.
        frames: The posed hands.
    """
    across, deep, through = skins.wrist_mm.T
    radii = _INSIDE * skin.radii_mm
    radii[:, _WRIST] = deep[:, None]
    radii[:, -2:] = np.maximum(skin.radii_mm[:, -2:], deep[:, None])
    axes = frames.axes[:, PALM]
    middle = frames.origins_mm[:, PALM] + axes[..., 2] * through[:, None]
    aside = axes[..., 0] * (across - deep)[:, None]
    centers = skin.centers_mm.copy()
    centers[:, _WRIST] = np.stack([middle + aside, middle - aside], axis=1)
    return Spheres(centers, radii)


def faces_of(side: float) -> Int32[np.ndarray, "F 3"]:
    """Return the triangles of a hand of this side, counter-clockwise from outside.

    A left hand is the mirror image of a right one, so its triangles run the other way round.
    """
    faces = anny_model().faces
    return faces if side > 0 else np.ascontiguousarray(faces[:, ::-1])
