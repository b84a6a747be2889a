"""The hand cube: cut out of a depth image, normalised for a network, and joints into it and back."""

from typing import Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32

from crossnets.types import HandCrop, Pinhole

CUBE_MM = 250.0
"""Side of the cube of the paper, the same for every data set (spec 1.5)."""
CROP_PX = 128
_NEAR_MARGIN_MM = 10.0
"""The paper's step 3 adds 10 mm, so that the front of the cube differs from background (spec 1.5)."""

Normalisation: TypeAlias = Literal["per-frame", "metric"]
"""`per-frame` is the paper's, from the nearest to the farthest hand point; `metric` keeps distances (spec 1.5)."""


def crop_hand(
    depth_mm: Float32[np.ndarray, "H W"],
    camera: Pinhole,
    center_mm: Float[np.ndarray, "3"],
    cube_mm: float = CUBE_MM,
    size_px: int = CROP_PX,
) -> HandCrop:
    """Cut the cube around `center_mm` out of a depth image: steps 1, 2 and 4 of the paper's crop (spec 1.5).

    What is nearer than the cube is clamped to its front, what is farther becomes background; pixels outside the
    image are background. Nearest-neighbour, aspect kept, the longer side fills the square.

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
    left, right = (int(np.floor((x + side) * camera.fx_px / z + camera.cx_px)) for side in (-half, half))
    top, bottom = (int(np.floor((y + side) * camera.fy_px / z + camera.cy_px)) for side in (-half, half))
    width, height = max(right - left, 1), max(bottom - top, 1)
    scale = size_px / max(width, height)
    margin_u, margin_v = (size_px - width * scale) / 2, (size_px - height * scale) / 2
    # Integer coordinates are pixel centres, in the image and in the crop: hence the halves.
    to_crop_px = np.array(
        [
            [scale, 0.0, margin_u - (left - 0.5) * scale - 0.5],
            [0.0, scale, margin_v - (top - 0.5) * scale - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
    crop = cv2.warpAffine(
        depth_mm, to_crop_px[:2], (size_px, size_px), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT
    )
    rows, columns = np.ogrid[:size_px, :size_px]
    inside = (columns >= margin_u - 0.5) & (columns < size_px - margin_u - 0.5)
    inside = inside & (rows >= margin_v - 0.5) & (rows < size_px - margin_v - 0.5)
    seen = (crop > 0) & (crop <= z + half) & inside
    crop = np.where(seen, np.maximum(crop, z - half), 0.0).astype(np.float32)
    return HandCrop(crop, np.asarray(center_mm, np.float32), float(cube_mm), to_crop_px)


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
