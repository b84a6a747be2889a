"""The parts of a picture with its surroundings. All frames have the same topology, and each frame shows some parts.

A hidden part is moved to the camera. The ray-caster does not draw hulls that contain the camera, and that test is
cheap. Parts share no spheres, so each part can be hidden independently.
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
"""Number of spheres of a hand without its elbow. They come first."""
NOWHERE = (0.0, 0.0, 0.0)
"""Place of the spheres of hidden parts. Their radius is 1 mm."""


class Part(NamedTuple):
    """Some spheres and their hulls."""

    num_spheres: int
    capsules: tuple[tuple[int, int], ...] = ()
    wedges: tuple[tuple[int, int, int], ...] = ()


_HAND = Part(len(NAMES), tuple(map(tuple, TOPOLOGY.capsules.tolist())), tuple(map(tuple, TOPOLOGY.wedges.tolist())))
_QUAD = Part(4, (), ((0, 1, 2), (1, 2, 3)))
_CHAIN = Part(4, ((0, 1), (1, 2), (2, 3)))
_ARM = Part(2, ((0, 1),))
_FACES = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))
_BOX = Part(8, (), tuple(wedge for a, b, c, d in _FACES for wedge in ((a, b, c), (a, c, d))))
"""Corner k is on the positive side of axis a if bit 2 - a of k is set."""
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
"""All parts of a picture in the order of their spheres."""
_FLAT = ("desk", "wall", "floor")
_STARTS = np.cumsum([0, *(part.num_spheres for part in PARTS.values())])
SPHERES = {name: slice(a, b) for name, a, b in zip(PARTS, _STARTS[:-1].tolist(), _STARTS[1:].tolist(), strict=True)}
"""The spheres of each part."""
NUM_SPHERES = int(_STARTS[-1])
ALL = Topology(
    np.array([SPHERES[name].start + np.array(row) for name, part in PARTS.items() for row in part.capsules]),
    np.array([SPHERES[name].start + np.array(row) for name, part in PARTS.items() for row in part.wedges]),
)
"""Topology of the whole picture."""


def nothing(n: int) -> SphereMesh:
    """Return n pictures in float64 whose parts are all hidden."""
    return SphereMesh(np.zeros((n, NUM_SPHERES, 3)), np.ones((n, NUM_SPHERES)), ALL)


def put(
    mesh: SphereMesh,
    name: str,
    rows: Bool[np.ndarray, "n"],
    centers_mm: Float[np.ndarray, "n S 3"],
    radii_mm: Float[np.ndarray, "n S"],
) -> None:
    """Show a part in the given pictures, in place."""
    mesh.centers_mm[rows, SPHERES[name]] = centers_mm[rows]
    mesh.radii_mm[rows, SPHERES[name]] = radii_mm[rows]


def hide(mesh: SphereMesh, names: Sequence[str]) -> None:
    """Hide parts of all pictures, in place."""
    for name in names:
        mesh.centers_mm[:, SPHERES[name]] = NOWHERE
        mesh.radii_mm[:, SPHERES[name]] = 1.0


def hide_outside(mesh: SphereMesh, grid: CropGrid, margin_mm: float) -> None:
    """Hide the parts that no ray of these crops meets within this margin behind the cube, in place.

    The rays up to that depth fill a pyramid. A part is outside if all its spheres are outside of one plane of the
    pyramid. A flat part is also outside if the whole pyramid is on one side of the part's plane.
    """
    n = len(mesh.radii_mm)
    back = grid.back_mm + margin_mm
    one = np.ones(n)
    zero = np.zeros(n)
    left, right = grid.x[:, 0], grid.x[:, -1]
    top = grid.y[:, 0]
    bottom = grid.y[:, -1]
    # The normals of the five planes point out of the pyramid: (n, 5, 3).
    planes = [(-one, zero, left), (one, zero, -right), (zero, -one, top), (zero, one, -bottom), (zero, zero, one)]
    normals = np.moveaxis(np.array(planes), -1, 0)
    offsets = np.stack([zero, zero, zero, zero, back], axis=1)
    lengths = np.linalg.norm(normals, axis=2)
    apart = (
        mesh.centers_mm @ normals.transpose(0, 2, 1) - offsets[:, None] - mesh.radii_mm[..., None] * lengths[:, None]
    )
    outside = np.any(np.minimum.reduceat(apart, _STARTS[:-1], axis=1) > 0, axis=2)
    # The corners of the pyramid are the camera and the four ends of its edges: (n, 5, 3).
    corners = np.stack([zero, zero, zero, *(v for x in (left, right) for y in (top, bottom) for v in (x, y, one))])
    corners = np.moveaxis(corners, -1, 0).reshape(n, 5, 3) * back[:, None, None]
    for name in _FLAT:
        first, second, third = (mesh.centers_mm[:, SPHERES[name].start + k] for k in range(3))
        normal = np.cross(second - first, third - first)
        beside = distance_along(corners - first[:, None], normal)
        thick = mesh.radii_mm[:, SPHERES[name].start] * np.linalg.norm(normal, axis=1)
        outside[:, list(PARTS).index(name)] |= (beside.min(axis=1) > thick) | (beside.max(axis=1) < -thick)
    spheres = np.repeat(outside, np.diff(_STARTS), axis=1)
    mesh.centers_mm[spheres] = NOWHERE
    mesh.radii_mm[spheres] = 1.0


def forget_beyond(depth_mm: Float32[np.ndarray, "B S S"], grid: CropGrid, margin_mm: float) -> None:
    """Set depth beyond this margin behind the cubes to 0, in place. The sensor's noise then skips these pixels."""
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
    """(n, count, ...): evenly spaced values from the first (n, ...) to the last, both included."""
    share = np.linspace(0, 1, count).reshape(-1, *[1] * (first.ndim - 1))
    return first[:, None] + share * (last - first)[:, None]


def distance_along(points_mm: Float[np.ndarray, "n S 3"], way: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n S"]:
    """Return the coordinate of points along one direction for each picture."""
    return np.matmul(points_mm, way[:, :, None])[..., 0]


class Outline(NamedTuple):
    """Rough outline of a hand in the picture: the box around it, and its greatest depth."""

    low: Float[np.ndarray, "n 2"]
    """Least slopes x/z and y/z."""
    high: Float[np.ndarray, "n 2"]
    back_mm: Float[np.ndarray, "n"]


def outline(centers_mm: Float[np.ndarray, "n S 3"], radii_mm: Float[np.ndarray, "n S"]) -> Outline:
    """Return the outline of spheres in front of the camera."""
    z = centers_mm[..., 2:]
    r = radii_mm[..., None]
    slopes = centers_mm[..., :2] / z
    wide = r / z
    back = (z + r)[..., 0].max(axis=1)
    return Outline((slopes - wide).min(axis=1), (slopes + wide).max(axis=1), back)


def may_hide(
    centers_mm: Float[np.ndarray, "n S 3"], radii_mm: Float[np.ndarray, "n S"], of: Outline
) -> Bool[np.ndarray, "n"]:
    """Return whether a sphere is in front of the outline's back and overlaps its box.

    The test is conservative: it may report spheres that hide nothing.
    """
    z = centers_mm[..., 2:]
    r = radii_mm[..., None] * 1.15
    # Spheres around the camera may cover every direction.
    around = z <= r
    z = np.maximum(z, 1.0)
    slopes = centers_mm[..., :2] / z
    wide = r / z
    overlap = (slopes + wide > of.low[:, None]) & (slopes - wide < of.high[:, None])
    overlap = overlap.all(axis=-1) | (around[..., 0] & (centers_mm[..., 2] + radii_mm > 0))
    return np.any(overlap & (centers_mm[..., 2] - radii_mm < of.back_mm[:, None]), axis=1)


def hidden_share(
    hand_mm: Float[np.ndarray, "n H 3"], centers_mm: Float[np.ndarray, "n S 3"], radii_mm: Float[np.ndarray, "n S"]
) -> Float[np.ndarray, "n"]:
    """Return the share of a hand's spheres whose centres are hidden from the camera by other spheres."""
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
            x, y, z = x / distance, y / distance, z / distance
            hidden = False
            for s in range(centers_mm.shape[1]):
                cx, cy, cz = centers_mm[n, s, 0], centers_mm[n, s, 1], centers_mm[n, s, 2]
                radius = radii_mm[n, s]
                along = x * cx + y * cy + z * cz
                off = cx * cx + cy * cy + cz * cz - along * along
                hidden |= (off < radius * radius) & (along > 0) & (along < distance)
            out[n, h] = hidden
