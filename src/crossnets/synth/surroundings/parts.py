"""The parts of a picture with its surroundings: one topology for every frame, of which each shows some parts.

A part that a frame does not show is put around the camera: the ray-caster does not draw hulls that hold the camera, and
finds that out at once. Parts share no sphere, so each can be taken away by itself.
"""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Float32

from crossnets.synth.casting.raster import CropGrid, clip_to_cubes
from crossnets.synth.casting.spheremesh import SphereMesh, Topology
from crossnets.synth.compiled import compiled
from crossnets.synth.hand.surface import NAMES, TOPOLOGY
from crossnets.synth.surroundings.head import HAIR_CAPSULES, HAIR_SPHERES, HEAD_CAPSULES, HEAD_SPHERES, HEAD_WEDGES

HAND_SPHERES = len(NAMES) - 2
"""Spheres of a hand without its elbow, which come first."""
NOWHERE = (0.0, 0.0, 0.0)
"""Place of spheres that are out of sight. Their radius is 1 mm."""


class Part(NamedTuple):
    """Some spheres, and how they are joined."""

    num_spheres: int
    capsules: tuple[tuple[int, int], ...] = ()
    wedges: tuple[tuple[int, int, int], ...] = ()


_HAND = Part(len(NAMES), tuple(map(tuple, TOPOLOGY.capsules.tolist())), tuple(map(tuple, TOPOLOGY.wedges.tolist())))
_QUAD = Part(4, (), ((0, 1, 2), (1, 2, 3)))
_CHAIN = Part(4, ((0, 1), (1, 2), (2, 3)))
_ARM = Part(2, ((0, 1),))
_FACES = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))
_BOX = Part(8, (), tuple(wedge for a, b, c, d in _FACES for wedge in ((a, b, c), (a, c, d))))
"""Corner k is on the far side of axis a where bit 2 - a of k is set."""
PARTS: dict[str, Part] = {
    "hand": _HAND,
    "sleeve": _QUAD,
    "second_hand": _HAND,
    "second_sleeve": _QUAD,
    "box": _BOX,
    "second_box": _BOX,
    "bottle": _CHAIN,
    "second_bottle": _CHAIN,
    "arm": _ARM,
    "second_arm": _ARM,
    "torso": Part(5, (), ((0, 1, 2), (1, 2, 3), (0, 1, 4))),
    "head": Part(HEAD_SPHERES, HEAD_CAPSULES, HEAD_WEDGES),
    "hair": Part(HAIR_SPHERES, HAIR_CAPSULES),
    "desk": _QUAD,
    "wall": _QUAD,
    "floor": _QUAD,
}
"""Everything there may be in a picture, in the order of the spheres."""
_FLAT = ("desk", "wall", "floor")
_STARTS = np.cumsum([0, *(part.num_spheres for part in PARTS.values())])
SPHERES = {name: slice(a, b) for name, a, b in zip(PARTS, _STARTS[:-1].tolist(), _STARTS[1:].tolist(), strict=True)}
"""The spheres of each part."""
NUM_SPHERES = int(_STARTS[-1])
ALL = Topology(
    np.array([[start + k for k in row] for start, part in zip(_STARTS[:-1], PARTS.values(), strict=True)
              for row in part.capsules]),
    np.array([[start + k for k in row] for start, part in zip(_STARTS[:-1], PARTS.values(), strict=True)
              for row in part.wedges]),
)  # fmt: skip
"""The topology of the whole picture."""


def nothing(n: int) -> SphereMesh:
    """n pictures that show no part yet; float64."""
    return SphereMesh(np.zeros((n, NUM_SPHERES, 3)), np.ones((n, NUM_SPHERES)), ALL)


def put(
    mesh: SphereMesh,
    name: str,
    rows: Bool[np.ndarray, "n"],
    centers_mm: Float[np.ndarray, "n S 3"],
    radii_mm: Float[np.ndarray, "n S"],
) -> None:
    """Show a part in those pictures, in place."""
    mesh.centers_mm[rows, SPHERES[name]] = centers_mm[rows]
    mesh.radii_mm[rows, SPHERES[name]] = radii_mm[rows]


def hide(mesh: SphereMesh, names: Sequence[str], rows: Bool[np.ndarray, "n"] | slice = slice(None)) -> None:
    """Take parts out of those pictures, in place."""
    for name in names:
        mesh.centers_mm[rows, SPHERES[name]] = NOWHERE
        mesh.radii_mm[rows, SPHERES[name]] = 1.0


def hide_outside(mesh: SphereMesh, grid: CropGrid, margin_mm: float) -> None:
    """Take out the parts that no ray of these crops meets within this margin behind the cube, in place.

    The rays up to there fill a pyramid. A part is outside when one of the pyramid's planes, or the part's own where it
    is flat, lies between them.
    """
    n, back = len(mesh.radii_mm), grid.back_mm + margin_mm
    one, none = np.ones(n), np.zeros(n)
    left, right, top, bottom = grid.x[:, 0], grid.x[:, -1], grid.y[:, 0], grid.y[:, -1]
    planes = [(-one, none, left), (one, none, -right), (none, -one, top), (none, one, -bottom), (none, none, one)]
    normals = np.moveaxis(np.array(planes), -1, 0)  # (n, 5, 3), out of the pyramid
    offsets = np.stack([none, none, none, none, back], axis=1)
    long = np.linalg.norm(normals, axis=2)
    apart = mesh.centers_mm @ normals.transpose(0, 2, 1) - offsets[:, None] - mesh.radii_mm[..., None] * long[:, None]
    outside = np.any(np.minimum.reduceat(apart, _STARTS[:-1], axis=1) > 0, axis=2)
    corners = np.stack([none, none, none, *(v for x in (left, right) for y in (top, bottom) for v in (x, y, one))])
    corners = np.moveaxis(corners, -1, 0).reshape(n, 5, 3) * back[:, None, None]
    for name in _FLAT:
        first, second, third = (mesh.centers_mm[:, SPHERES[name].start + k] for k in range(3))
        normal = np.cross(second - first, third - first)
        beside = np.matmul(corners - first[:, None], normal[:, :, None])[..., 0]
        thick = mesh.radii_mm[:, SPHERES[name].start] * np.linalg.norm(normal, axis=1)
        outside[:, list(PARTS).index(name)] |= (beside.min(axis=1) > thick) | (beside.max(axis=1) < -thick)
    spheres = np.repeat(outside, np.diff(_STARTS), axis=1)
    mesh.centers_mm[spheres], mesh.radii_mm[spheres] = NOWHERE, 1.0


def forget_beyond(depth_mm: Float32[np.ndarray, "B S S"], grid: CropGrid, margin_mm: float) -> None:
    """Set depth beyond this margin behind the cubes to 0, in place, which saves the sensor's noise the work on it."""
    everywhere = np.ones_like(grid.column_seen)
    clip_to_cubes(
        depth_mm,
        grid._replace(
            column_seen=everywhere,
            row_seen=everywhere,
            front_mm=np.zeros_like(grid.front_mm),
            back_mm=grid.back_mm + margin_mm,
        ),
    )


def between(first: np.ndarray, last: np.ndarray, count: int) -> np.ndarray:
    """(n, count, ...): values evenly from the first (n, ...) to the last, both included."""
    share = np.linspace(0, 1, count).reshape(-1, *[1] * (first.ndim - 1))
    return first[:, None] + share * (last - first)[:, None]


class Outline(NamedTuple):
    """Rough outline of the hands in the picture: a box around them, and their depth."""

    low: Float[np.ndarray, "n 2"]
    """Least slopes x/z and y/z."""
    high: Float[np.ndarray, "n 2"]
    back_mm: Float[np.ndarray, "n"]


def outline(centers_mm: Float[np.ndarray, "n S 3"], radii_mm: Float[np.ndarray, "n S"]) -> Outline:
    """The outline of spheres in front of the camera."""
    z, r = centers_mm[..., 2:], radii_mm[..., None]
    slopes, wide = centers_mm[..., :2] / z, r / z
    back = (z + r)[..., 0].max(axis=1)
    return Outline((slopes - wide).min(axis=1), (slopes + wide).max(axis=1), back)


def may_hide(
    centers_mm: Float[np.ndarray, "n S 3"], radii_mm: Float[np.ndarray, "n S"], of: Outline
) -> Bool[np.ndarray, "n"]:
    """Whether one of the spheres is in front of the outline's back and overlaps its box; safe rather than exact."""
    z, r = centers_mm[..., 2:], radii_mm[..., None] * 1.15
    around = z <= r  # seen in every direction
    z = np.maximum(z, 1.0)
    slopes, wide = centers_mm[..., :2] / z, r / z
    overlap = (slopes + wide > of.low[:, None]) & (slopes - wide < of.high[:, None])
    overlap = overlap.all(axis=-1) | (around[..., 0] & (centers_mm[..., 2] + radii_mm > 0))
    return np.any(overlap & (centers_mm[..., 2] - radii_mm < of.back_mm[:, None]), axis=1)


def hidden_share(
    hand_mm: Float[np.ndarray, "n H 3"], centers_mm: Float[np.ndarray, "n S 3"], radii_mm: Float[np.ndarray, "n S"]
) -> Float[np.ndarray, "n"]:
    """Share of a hand's spheres whose middle other spheres hide from the camera."""
    hidden = np.empty(hand_mm.shape[:2], np.bool_)
    _hide(np.ascontiguousarray(hand_mm), np.ascontiguousarray(centers_mm), np.ascontiguousarray(radii_mm), hidden)
    return hidden.mean(axis=1)


@compiled
@no_type_check
def _hide(hand_mm, centers_mm, radii_mm, out):
    for n in range(len(hand_mm)):
        for h in range(hand_mm.shape[1]):
            x, y, z = hand_mm[n, h, 0], hand_mm[n, h, 1], hand_mm[n, h, 2]
            distance = np.sqrt(x * x + y * y + z * z)
            x, y, z, hidden = x / distance, y / distance, z / distance, False
            for s in range(centers_mm.shape[1]):
                cx, cy, cz, radius = centers_mm[n, s, 0], centers_mm[n, s, 1], centers_mm[n, s, 2], radii_mm[n, s]
                along = x * cx + y * cy + z * cz
                off = cx * cx + cy * cy + cz * cz - along * along
                hidden |= (off < radius * radius) & (along > 0) & (along < distance)
            out[n, h] = hidden
