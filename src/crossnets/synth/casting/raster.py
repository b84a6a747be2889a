"""An exact depth camera: ray-cast a sphere-mesh without noise, as whole frames or as crops of the hand.

Depth is z from the camera in mm, and 0 where a ray hits nothing. Integer coordinates are pixel centres. A hull that
contains the camera is invisible. The compiled kernels release the interpreter lock, so each thread may render a batch.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int16, Int32

from crossnets.geometry.crop import CROP_PX, TIE_PX, crop_boxes
from crossnets.geometry.lens import lens_table
from crossnets.synth.casting import frames as casting
from crossnets.synth.casting.spheremesh import SphereMesh, Topology
from crossnets.types import LensCamera, Pinhole


class Patches(NamedTuple):
    """Patches that bound the surfaces of a topology. Each patch occurs once, however many hulls share it.

    Patches are numbered: the spheres from 0 to S - 1, then the cones of `pairs`, then two triangles for each wedge.
    """

    num_spheres: int
    pairs: Int32[np.ndarray, "P 2"]
    capsule_pair: Int32[np.ndarray, "C"]
    """Index into `pairs` of each capsule."""
    wedges: Int32[np.ndarray, "W 3"]
    wedge_pairs: Int32[np.ndarray, "W 3"]
    """Indices into `pairs` of the sides of each wedge, which join its corners 0-1, 1-2 and 2-0."""


class Cast(NamedTuple):
    """Hits of the rays of a batch of frames."""

    depth_mm: Float32[np.ndarray, "B H W"]
    patch: Int16[np.ndarray, "B H W"]
    """Index of the patch, or -1 where nothing is hit. `primitive_of` maps it to a capsule or wedge."""


class CropGrid(NamedTuple):
    """The rays of a batch of crops, and the pixels of the camera's image that they pass through."""

    x: Float64[np.ndarray, "B S"]
    """Slope x/z of the rays of each column, ascending."""
    y: Float64[np.ndarray, "B S"]
    column_px: Int32[np.ndarray, "B S"]
    """Nearest column of the image."""
    row_px: Int32[np.ndarray, "B S"]
    column_seen: Bool[np.ndarray, "B S"]
    """False for columns outside the box or the image. The crop shows background there."""
    row_seen: Bool[np.ndarray, "B S"]
    scale: Float64[np.ndarray, "B"]
    """Pixels of the crop per pixel of the image."""
    focal_px: Float64[np.ndarray, "B"]
    """Horizontal focal length of the camera's image."""
    front_mm: Float64[np.ndarray, "B"]
    back_mm: Float64[np.ndarray, "B"]


def patches_of(topology: Topology, num_spheres: int) -> Patches:
    """List the patches of a topology. The result is cached and must not be changed in place.

    Raises:
        ValueError: an index does not refer to a sphere.
    """
    shapes = ((topology.capsules, 2), (topology.wedges, 3))
    capsules, wedges = (np.ascontiguousarray(np.reshape(rows, (-1, corners)), np.int64) for rows, corners in shapes)
    return _patches_of(capsules.tobytes(), wedges.tobytes(), num_spheres)


# Every batch needs the patches of the same topology, so they are cached. Bytes are hashable, and arrays are not.
@functools.lru_cache(maxsize=16)
def _patches_of(capsule_bytes: bytes, wedge_bytes: bytes, num_spheres: int) -> Patches:
    capsules = np.frombuffer(capsule_bytes, np.int64).reshape(-1, 2)
    wedges = np.frombuffer(wedge_bytes, np.int64).reshape(-1, 3)
    used = np.concatenate([capsules.ravel(), wedges.ravel()])
    if used.size and not (used.min() >= 0 and used.max() < num_spheres):
        raise ValueError(
            f"The topology uses spheres {used.min()} to {used.max()}, but the mesh has only {num_spheres} spheres."
        )
    sides = np.concatenate([wedges[:, [0, 1]], wedges[:, [1, 2]], wedges[:, [2, 0]]])
    pairs, index = np.unique(np.sort(np.concatenate([capsules, sides]), axis=1), axis=0, return_inverse=True)
    index = index.reshape(-1).astype(np.int32)
    wedge_pairs = np.ascontiguousarray(index[len(capsules) :].reshape(3, -1).T)
    return Patches(num_spheres, pairs.astype(np.int32), index[: len(capsules)], wedges.astype(np.int32), wedge_pairs)


def primitive_of(topology: Topology, num_spheres: int) -> Int32[np.ndarray, "K"]:
    """Return the capsule or wedge of each patch: capsules are 0 to C - 1, and wedges follow.

    A patch that several hulls share belongs to the first of them. `primitive_of(...)[cast.patch]` is a segmentation.
    The last entry is -1, for pixels that hit nothing.
    """
    patches = patches_of(topology, num_spheres)
    num_capsules = len(patches.capsule_pair)
    num_pairs = len(patches.pairs)
    owner = np.full(num_spheres + num_pairs + 2 * len(patches.wedges) + 1, -1, np.int32)
    # The loops run backwards, so that the first hull of a shared patch is written last.
    for w in reversed(range(len(patches.wedges))):
        owner[patches.wedges[w]] = num_capsules + w
        owner[num_spheres + patches.wedge_pairs[w]] = num_capsules + w
        owner[num_spheres + num_pairs + 2 * w + np.arange(2)] = num_capsules + w
    for c in reversed(range(num_capsules)):
        owner[patches.pairs[patches.capsule_pair[c]]] = c
        owner[num_spheres + patches.capsule_pair[c]] = c
    return owner


def cast(meshes: SphereMesh, x: Float[np.ndarray, "B W"], y: Float[np.ndarray, "B H"]) -> Cast:
    """Cast the rays (x, y, 1) of all columns and rows at each mesh of a batch.

    Args:
        meshes: Batch of B meshes.
        x: Slope x/z of each column, ascending.
        y: Slope y/z of each row, ascending.

    Raises:
        ValueError: the mesh is not finite, a radius is negative, or the sizes of the batches differ.
    """
    patch = np.empty((len(x), y.shape[1], x.shape[1]), np.int16)
    return Cast(_cast(meshes, x, y, patch), patch)


def cast_depth(
    meshes: SphereMesh, x: Float[np.ndarray, "B W"], y: Float[np.ndarray, "B H"]
) -> Float32[np.ndarray, "B H W"]:
    """Like `cast`, but return only the depth. This is a little faster."""
    return _cast(meshes, x, y, None)


def _cast(
    meshes: SphereMesh, x: np.ndarray, y: np.ndarray, patch: Int16[np.ndarray, "B H W"] | None
) -> Float32[np.ndarray, "B H W"]:
    centers = np.ascontiguousarray(meshes.centers_mm, np.float64)
    radii = np.ascontiguousarray(meshes.radii_mm, np.float64)
    if centers.ndim != 3 or radii.shape != centers.shape[:2] or len(centers) != len(x):
        raise ValueError(
            f"Cannot cast {len(x)} sets of rays at spheres {centers.shape} with radii {radii.shape}: "
            "expected (B, S, 3) and (B, S), one mesh for each set."
        )
    if not (np.isfinite(centers).all() and np.isfinite(radii).all() and (radii >= 0).all()):
        raise ValueError("The spheres must have finite centres and finite radii of at least 0 mm.")
    patches = patches_of(meshes.topology, centers.shape[1])
    depth = np.empty((len(x), y.shape[1], x.shape[1]), np.float32)
    casting.cast_frames(centers, radii, *patches[1:], np.ascontiguousarray(x), np.ascontiguousarray(y), depth, patch)
    return depth


def pixel_slopes(
    camera: Pinhole, width_px: int, height_px: int
) -> tuple[Float64[np.ndarray, "W"], Float64[np.ndarray, "H"]]:
    """Return the slopes x/z and y/z of the rays through the centres of an image's columns and rows."""
    x = (np.arange(width_px) - camera.cx_px) / camera.fx_px
    y = (np.arange(height_px) - camera.cy_px) / camera.fy_px
    return x, y


def render(mesh: SphereMesh, camera: Pinhole, width_px: int, height_px: int) -> Float32[np.ndarray, "H W"]:
    """Render the depth image of one mesh."""
    return render_patches(mesh, camera, width_px, height_px).depth_mm[0]


def render_patches(mesh: SphereMesh, camera: Pinhole, width_px: int, height_px: int) -> Cast:
    """Like `render`, but return a batch of one that also holds the patch that each pixel hits."""
    x, y = pixel_slopes(camera, width_px, height_px)
    return cast(mesh.as_batch(), x[None], y[None])


# The kernels take one slope for each column and row. The rays of a lens have another slope at each pixel, so they are
# rounded to a grid that is finer than the pixels.
def render_through_lens(mesh: SphereMesh, camera: LensCamera, finer: int = 4) -> Float32[np.ndarray, "H W"]:
    """Render the depth image of one mesh as a camera with a lens takes it.

    An image without distortion is rendered with `finer` times as many columns and rows, and each pixel takes its
    nearest ray. A ray is off by at most 0.5 / `finer` pixels. Pixels without a ray are 0.
    """
    rays = lens_table(camera).rays.astype(np.float64)
    step = 1 / (finer * np.array(camera.pinhole[:2]))
    least = np.nanmin(rays, axis=(0, 1))
    counts = np.ceil((np.nanmax(rays, axis=(0, 1)) - least) / step).astype(int) + 1
    x, y = (least[k] + step[k] * np.arange(counts[k]) for k in (0, 1))
    fine = cast_depth(mesh.as_batch(), x[None], y[None])[0]
    valid = np.isfinite(rays)
    places = np.rint((np.where(valid, rays, least) - least) / step).astype(int)
    return np.where(valid[..., 0], fine[places[..., 1], places[..., 0]], np.float32(0))


def crop_grid(
    cameras: Pinhole | Sequence[Pinhole],
    centers_mm: Float[np.ndarray, "B 3"],
    cube_mm: Float[np.ndarray, "B"],
    size_px: int = CROP_PX,
    *,
    image_px: tuple[int, int] | None = None,
) -> CropGrid:
    """Return the rays of the pixels that `geometry.crop.crop_hand` shows in each crop, with the same rounding.

    Each ray goes through the nearest pixel of the image, because a crop of a camera's image shows these pixels.

    Args:
        cameras: One camera for all crops, or one for each crop.
        centers_mm: Centres of the cubes.
        cube_mm: Sides of the cubes.
        size_px: Side of the crop.
        image_px: (width, height) of the camera's image. Pixels outside the image are background. The image has no
            border if this is None.

    Raises:
        ValueError: a centre is not in front of the camera, or a side is not positive.
    """
    centers = np.asarray(centers_mm, np.float64)
    cube = np.asarray(cube_mm, np.float64)
    if not (np.isfinite(centers).all() and (centers[:, 2] > 0).all() and np.isfinite(cube).all() and (cube > 0).all()):
        raise ValueError(
            "Cannot crop: every centre must be finite and in front of the camera, and every side must be positive."
        )
    listed = [cameras] if isinstance(cameras, Pinhole) else list(cameras)
    focal_px, middle_px = np.broadcast_to(np.array(listed).reshape(-1, 2, 2), (len(centers), 2, 2)).transpose(1, 0, 2)
    ends_px, scale, margin = crop_boxes(listed, centers, cube, size_px)
    at = np.arange(size_px)
    # This inverts the affine map of `crop_hand` for the pixels of the crop. The halves are needed because integers are
    # pixel centres.
    image = (at + 0.5 - margin[..., None]) / scale[:, None, None] + ends_px[:, 0, :, None] - 0.5
    nearest = np.floor(image + 0.5 - TIE_PX)
    seen = (at >= margin[..., None] - 0.5) & (at < size_px - margin[..., None] - 0.5)
    if image_px is not None:
        seen &= (nearest >= 0) & (nearest < np.array(image_px)[:, None])
    slopes = (nearest - middle_px[..., None]) / focal_px[..., None]
    pixels = nearest.astype(np.int32)
    return CropGrid(
        x=np.ascontiguousarray(slopes[:, 0]),
        y=np.ascontiguousarray(slopes[:, 1]),
        column_px=np.ascontiguousarray(pixels[:, 0]),
        row_px=np.ascontiguousarray(pixels[:, 1]),
        column_seen=np.ascontiguousarray(seen[:, 0]),
        row_seen=np.ascontiguousarray(seen[:, 1]),
        scale=scale,
        focal_px=np.ascontiguousarray(focal_px[:, 0]),
        front_mm=centers[:, 2] - cube / 2,
        back_mm=centers[:, 2] + cube / 2,
    )


def render_crops(
    meshes: SphereMesh,
    cameras: Pinhole | Sequence[Pinhole],
    centers_mm: Float[np.ndarray, "B 3"],
    cube_mm: Float[np.ndarray, "B"],
    size_px: int = CROP_PX,
    *,
    image_px: tuple[int, int] | None = None,
) -> Float32[np.ndarray, "B S S"]:
    """Render crops as `geometry.crop.crop_hand` cuts them out of the camera's image, without rendering the image.

    The arguments are those of `crop_grid`. The crops differ from those of `crop_hand` only where a pixel of
    the crop lies within a thousandth of a pixel of the border between two pixels of the image. OpenCV rounds there.
    """
    grid = crop_grid(cameras, centers_mm, cube_mm, size_px, image_px=image_px)
    depth = cast_depth(meshes, grid.x, grid.y)
    clip_to_cubes(depth, grid)
    return depth


def clip_to_cubes(depth_mm: Float32[np.ndarray, "B S S"], grid: CropGrid) -> None:
    """Clamp depth nearer than the cube, and set depth behind the cube or outside the image to 0, in place."""
    casting.clip(depth_mm, grid.column_seen, grid.row_seen, grid.front_mm, grid.back_mm)
