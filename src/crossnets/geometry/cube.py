"""Crop coordinates: column and row of a crop and depth in its cube, all from -1 to 1.

Unlike millimetres about the centre of the cube, they are the place where the crop shows a point, so perspective does
not matter.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from crossnets.geometry.crop import CROP_PX, crop_boxes
from crossnets.types import HandCrop, Pinhole


class CropViews(NamedTuple):
    """Maps between the camera frame and the crop coordinates of a batch of crops."""

    focal_px: Float64[np.ndarray, "B 2"]
    """Focal length of each crop in units of half its side."""
    middle_px: Float64[np.ndarray, "B 2"]
    """Column and row of the optical axis, -1 to 1 inside the crop."""
    center_mm: Float64[np.ndarray, "B"]
    """Depth of the cube's centre."""
    half_mm: Float64[np.ndarray, "B"]
    """Half the cube's side."""


def views_of(crops: Sequence[HandCrop]) -> CropViews:
    """Return the views of given crops."""
    numbers = np.array([_numbers(crop) for crop in crops])
    cameras = numbers[:, :4].reshape(-1, 2, 2)
    return _views(cameras, numbers[:, 4:6], numbers[:, 6:8], numbers[:, 8], numbers[:, 9], numbers[:, 10])


def _numbers(crop: HandCrop) -> tuple[float, ...]:
    """Return camera, scale, shift, depth and side of the cube, and side of the crop."""
    (scale_u, _, shift_u), (_, scale_v, shift_v), _ = crop.to_crop_px.tolist()
    depth_mm = float(crop.center_mm[2])
    side_px = float(len(crop.depth_mm))
    return (*crop.camera, scale_u, scale_v, shift_u, shift_v, depth_mm, crop.cube_mm, side_px)


def views_at(
    cameras: Sequence[Pinhole],
    centers_mm: Float[np.ndarray, "B 3"],
    cube_mm: Float[np.ndarray, "B"],
    size_px: int = CROP_PX,
) -> CropViews:
    """Return the views of the crops that `crop_hand` would cut. One camera serves all crops."""
    centers = np.asarray(centers_mm, np.float64)
    cubes = np.asarray(cube_mm, np.float64)
    box = crop_boxes(cameras, centers, cubes, size_px)
    shift = box.margin_px - (box.corners_px[:, 0] - 0.5) * box.scale[:, None] - 0.5
    intrinsics = np.array(cameras).reshape(-1, 2, 2)
    sides = np.full(len(cubes), float(size_px))
    return _views(intrinsics, box.scale[:, None], shift, centers[:, 2], cubes, sides)


def _views(
    cameras: Float[np.ndarray, "_ 2 2"],
    scale: Float[np.ndarray, "B _"],
    shift: Float[np.ndarray, "B 2"],
    depths_mm: Float[np.ndarray, "B"],
    cube_mm: Float[np.ndarray, "B"],
    sides_px: Float[np.ndarray, "B"],
) -> CropViews:
    per_px = 2 / sides_px[:, None]
    focal = cameras[:, 0] * scale * per_px
    middle = (cameras[:, 1] * scale + shift + 0.5) * per_px - 1
    return CropViews(focal, middle, depths_mm, cube_mm / 2)


def into_cubes(points_mm: Float[np.ndarray, "B J 3"], views: CropViews) -> Float[np.ndarray, "B J 3"]:
    """Convert points in the camera frame to crop coordinates."""
    uv = points_mm[..., :2] / points_mm[..., 2:] * views.focal_px[:, None] + views.middle_px[:, None]
    depth = (points_mm[..., 2:] - views.center_mm[:, None, None]) / views.half_mm[:, None, None]
    return np.concatenate([uv, depth], axis=-1)


def out_of_cubes(points: Float[np.ndarray, "B J 3"], views: CropViews) -> Float[np.ndarray, "B J 3"]:
    """Convert crop coordinates to points in the camera frame. This is the inverse of `into_cubes`."""
    z = points[..., 2:] * views.half_mm[:, None, None] + views.center_mm[:, None, None]
    xy = (points[..., :2] - views.middle_px[:, None]) / views.focal_px[:, None] * z
    return np.concatenate([xy, z], axis=-1)
