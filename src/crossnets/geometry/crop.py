"""The hand cube: cut out of a depth image, normalised for a network, and joints into it and back."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt16

from crossnets.types import HandCrop, Pinhole

CUBE_MM = 250.0
"""Side of the cube of the paper, the same for every data set (spec 1.5)."""
CROP_PX = 128
_NEAR_MARGIN_MM = 10.0
"""The paper's step 3 adds 10 mm, so that the front of the cube differs from background (spec 1.5)."""

TIE_PX = 0.01
"""Half-way between two pixels of the image OpenCV takes either one; so much to the left and up decides."""

Normalisation: TypeAlias = Literal["per-frame", "metric"]
"""`per-frame` is the paper's, from the nearest to the farthest hand point; `metric` keeps distances (spec 1.5)."""


class CropBoxes(NamedTuple):
    """The parts of images that a batch of cubes covers, and how they fill their crops."""

    corners_px: Float64[np.ndarray, "B 2 2"]
    """(u, v) of the first pixel, and of the first one after the last."""
    scale: Float64[np.ndarray, "B"]
    """Pixels of the crop per pixel of the image."""
    margin_px: Float64[np.ndarray, "B 2"]
    """Background left and right, above and below, in pixels of the crop."""


def crop_boxes(
    cameras: Sequence[Pinhole], centers_mm: Float[np.ndarray, "B 3"], cube_mm: Float[np.ndarray, "B"], size_px: int
) -> CropBoxes:
    """Steps 1 and 4 of the paper's crop (spec 1.5): whole pixels of the image, the longer side fills the square.

    One camera stands for all of them.
    """
    focal_px, middle_px = np.array(cameras).reshape(-1, 2, 2).transpose(1, 0, 2)
    ends_mm = centers_mm[:, None, :2] + np.array([-0.5, 0.5])[:, None] * cube_mm[:, None, None]
    corners_px = np.floor(ends_mm * focal_px[:, None] / centers_mm[:, None, 2:] + middle_px[:, None])
    sides_px = np.maximum(corners_px[:, 1] - corners_px[:, 0], 1)
    scale = size_px / sides_px.max(axis=1)
    return CropBoxes(corners_px, scale, (size_px - sides_px * scale[:, None]) / 2)


def crop_hand(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    camera: Pinhole,
    center_mm: Float[np.ndarray, "3"],
    cube_mm: float = CUBE_MM,
    size_px: int = CROP_PX,
    turn: Float[np.ndarray, "2 2"] | None = None,
) -> HandCrop:
    """Cut the cube around `center_mm` out of a depth image: steps 1, 2 and 4 of the paper's crop (spec 1.5).

    What is nearer than the cube is clamped to its front, what is farther becomes background; pixels outside the
    image are background. Nearest-neighbour, aspect kept, the longer side fills the square.

    `turn`, a rotation or a mirror, acts on x and y of the scene before the cube is cut: then the centre, and the
    pixels that the crop's map is from, are those of the turned scene. It is exact, as the camera has one centre.

    Raises:
        ValueError: the centre is not in front of the camera, or `cube_mm` is not positive.
    """
    x, y, z = (float(v) for v in center_mm)
    if not (np.isfinite([x, y, z]).all() and z > 0 and cube_mm > 0):
        raise ValueError(
            f"Cannot crop a cube of {cube_mm} mm around ({x}, {y}, {z}) mm: "
            "the centre must be finite and in front of the camera, and the side positive."
        )
    half = cube_mm / 2
    box = crop_boxes([camera], np.array([[x, y, z]]), np.array([cube_mm]), size_px)
    (margin_u, margin_v), (left, top), scale = box.margin_px[0], box.corners_px[0, 0], box.scale[0]
    # Integer coordinates are pixel centres, in the image and in the crop: hence the halves.
    to_crop_px = np.array(
        [
            [scale, 0.0, margin_u - (left - 0.5) * scale - 0.5],
            [0.0, scale, margin_v - (top - 0.5) * scale - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
    from_px = to_crop_px if turn is None else to_crop_px @ turned_px(camera, turn)
    decided_px = from_px[:2] + np.array([0.0, 0.0, TIE_PX * scale])
    crop = cv2.warpAffine(
        depth_mm, decided_px, (size_px, size_px), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT
    )
    rows, columns = np.ogrid[:size_px, :size_px]
    inside = (columns >= margin_u - 0.5) & (columns < size_px - margin_u - 0.5)
    inside = inside & (rows >= margin_v - 0.5) & (rows < size_px - margin_v - 0.5)
    seen = (crop > 0) & (crop <= z + half) & inside
    crop = np.where(seen, np.maximum(crop, z - half), 0.0).astype(np.float32)
    return HandCrop(crop, np.asarray(center_mm, np.float32), float(cube_mm), to_crop_px, camera)


def turned_px(camera: Pinhole, turn: Float[np.ndarray, "2 2"]) -> Float64[np.ndarray, "3 3"]:
    """Affine map of an image's pixels (u, v, 1) to where they are when x and y of the scene are turned."""
    focal_px, middle_px = np.array(camera).reshape(2, 2)
    found = np.eye(3)
    found[:2, :2] = focal_px[:, None] * turn / focal_px
    found[:2, 2] = middle_px - found[:2, :2] @ middle_px
    return found


def normalise(crop: HandCrop, how: Normalisation) -> Float32[np.ndarray, "S S"]:
    """Depth of a crop for a network: -1 nearest, +1 farthest and background.

    `metric`: (depth - centre) / (cube / 2). `per-frame`: the paper's, spec 1.5: with v the depth inside the cube
    plus 10 mm as a fraction of it, v' = 2 (v - min v) / max v - 1 over the hand's pixels; the farthest become +1.
    """
    depth, z, half = crop.depth_mm, float(crop.center_mm[2]), crop.cube_mm / 2
    seen = depth > 0
    if how == "metric":
        return np.where(seen, np.clip((depth - z) / half, -1, 1), 1).astype(np.float32)
    if not seen.any():
        return np.ones_like(depth)
    v = (depth - (z - half) + _NEAR_MARGIN_MM) / crop.cube_mm
    nearest, farthest = v[seen].min(), v[seen].max()
    return np.where(seen & (v < farthest), 2 * (v - nearest) / farthest - 1, 1).astype(np.float32)


def crop_to_image_px(points_px: Float[np.ndarray, "*N 2"], crop: HandCrop) -> Float[np.ndarray, "*N 2"]:
    """Pixels of the crop to pixels of the full image."""
    return (points_px - crop.to_crop_px[:2, 2]) / np.diag(crop.to_crop_px)[:2]


def image_to_crop_px(points_px: Float[np.ndarray, "*N 2"], crop: HandCrop) -> Float[np.ndarray, "*N 2"]:
    """Pixels of the full image to pixels of the crop: the inverse of `crop_to_image_px`."""
    return points_px * np.diag(crop.to_crop_px)[:2] + crop.to_crop_px[:2, 2]
