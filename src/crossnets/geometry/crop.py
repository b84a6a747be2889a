"""Cut the cube around a hand out of a depth image, and normalise the crop for a network."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt16

from crossnets.geometry.lens import ideal_part, ideal_slice, lens_table
from crossnets.geometry.wrong_pixels import remove_wrong, unsupported
from crossnets.types import HandCrop, LensCamera, Pinhole

CUBE_MM = 250.0
"""Side of the paper's cube. It is the same for every data set (spec 1.5)."""
CROP_PX = 128
_NEAR_MARGIN_MM = 10.0
"""The paper's step 3 adds 10 mm, so that the front of the cube differs from background (spec 1.5)."""

TIE_PX = 0.01
"""Shift to the left and up. Without it OpenCV may take either pixel half-way between two pixels of the image."""

_MARGIN_PX = 2
"""Margin around the part of an image that a crop shows, so that pixels at its border keep their neighbours."""

Normalisation: TypeAlias = Literal["per-frame", "metric"]
"""`per-frame` is that of the paper, from the nearest to the farthest hand point. `metric` keeps distances (spec
1.5)."""
HAND_IN_CUBE = 0.75
"""Length of a hand, from the wrist to the tip of the middle finger, over the side of its cube in a second pass. A hand
of 187 mm gets a cube of 250 mm."""


class CropBoxes(NamedTuple):
    """Parts of images that a batch of cubes covers, and their places in the crops."""

    corners_px: Float64[np.ndarray, "B 2 2"]
    """(u, v) of the first pixel, and of the pixel after the last one."""
    scale: Float64[np.ndarray, "B"]
    """Pixels of the crop per pixel of the image."""
    margin_px: Float64[np.ndarray, "B 2"]
    """Width of the background left and right, and above and below, in pixels of the crop."""


def crop_boxes(
    cameras: Sequence[Pinhole], centers_mm: Float[np.ndarray, "B 3"], cube_mm: Float[np.ndarray, "B"], size_px: int
) -> CropBoxes:
    """Compute steps 1 and 4 of the paper's crop (spec 1.5).

    A box consists of whole pixels of the image, and its longer side fills the square. One camera serves all cubes.
    """
    focal_px, middle_px = np.array(cameras).reshape(-1, 2, 2).transpose(1, 0, 2)
    ends_mm = centers_mm[:, None, :2] + np.array([-0.5, 0.5])[:, None] * cube_mm[:, None, None]
    corners_px = np.floor(ends_mm * focal_px[:, None] / centers_mm[:, None, 2:] + middle_px[:, None])
    sides_px = np.maximum(corners_px[:, 1] - corners_px[:, 0], 1)
    scale = size_px / sides_px.max(axis=1)
    return CropBoxes(corners_px, scale, (size_px - sides_px * scale[:, None]) / 2)


def crop_hand(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    camera: Pinhole | LensCamera,
    center_mm: Float[np.ndarray, "3"],
    cube_mm: float = CUBE_MM,
    size_px: int = CROP_PX,
    turn: Float[np.ndarray, "2 2"] | None = None,
    *,
    supported: bool = False,
) -> HandCrop:
    """Cut the cube around `center_mm` out of a depth image: steps 1, 2 and 4 of the paper's crop (spec 1.5).

    Depth nearer than the cube is clamped to its front. Depth farther than the cube, and pixels outside the image,
    become background. Pixels are sampled by nearest neighbour and keep their aspect. The longer side fills the square.

    Args:
        depth_mm: Depth image. Missing depth is 0.
        camera: Camera of the image. With a lens, the crop is cut out of the ideal image (`geometry.lens`), and its map
            starts from the pixels of that image.
        center_mm: Centre of the cube in the camera frame.
        cube_mm: Side of the cube.
        size_px: Side of the crop.
        turn: Rotation or mirror of x and y of the scene before the cube is cut. Centre and map then belong to the
            turned scene. The result is exact, because all rays pass through the same point.
        supported: Whether pixels that no surface supports and mixed rims are removed (`geometry.wrong_pixels`), as
            images of cameras need.

    Raises:
        ValueError: the centre is not in front of the camera, or `cube_mm` is not positive.
    """
    x, y, z = map(float, center_mm)
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z) and z > 0 and cube_mm > 0):
        raise ValueError(
            f"Cannot crop a cube of {cube_mm} mm around ({x}, {y}, {z}) mm: "
            "the centre must be finite and in front of the camera, and the side positive."
        )
    pinhole = lens_table(camera).ideal if isinstance(camera, LensCamera) else camera
    scale, (margin_u, margin_v), (left, top) = _crop_box(pinhole, (x, y, z), float(cube_mm), size_px)
    # Integer coordinates are pixel centres in the image and in the crop. The map therefore contains halves.
    to_crop_px = np.array(
        [
            [scale, 0.0, margin_u - (left - 0.5) * scale - 0.5],
            [0.0, scale, margin_v - (top - 0.5) * scale - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
    from_px = (to_crop_px if turn is None else to_crop_px @ turned_px(pinhole, turn))[:2].copy()
    from_px[:, 2] += TIE_PX * scale
    # A crop with more pixels than its part of the image repeats some of them, and repeated pixels would support each
    # other. Support is then computed in the image.
    enlarged = supported and scale >= 1
    if enlarged:
        cut = _supported_cut(depth_mm, camera, from_px, size_px)
    elif isinstance(camera, LensCamera):
        cut = ideal_part(depth_mm, camera, from_px, size_px)
    else:
        cut = _warped(depth_mm, from_px, size_px)
    for side, margin in ((cut.T, margin_u), (cut, margin_v)):
        side[: math.ceil(margin - 0.5)] = 0
        side[math.ceil(size_px - margin - 0.5) :] = 0
    if supported and not enlarged:
        remove_wrong(cut)
    crop = _inside(cut, z - cube_mm / 2, z + cube_mm / 2)
    return HandCrop(crop, np.asarray(center_mm, np.float32), float(cube_mm), to_crop_px, pinhole)


def _warped(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], from_px: Float64[np.ndarray, "2 3"], size_px: int
) -> Float32[np.ndarray, "S S"] | UInt16[np.ndarray, "S S"]:
    warped = cv2.warpAffine(
        depth_mm, from_px, (size_px, size_px), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(warped)


def _supported_cut(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    camera: Pinhole | LensCamera,
    from_px: Float64[np.ndarray, "2 3"],
    size_px: int,
) -> Float32[np.ndarray, "S S"] | UInt16[np.ndarray, "S S"]:
    """Cut a crop out of an image, after unsupported pixels were removed from the part of the image that it shows."""
    ends = np.array([[0, size_px, 0, size_px], [0, 0, size_px, size_px], [1, 1, 1, 1]])
    places_px = np.asarray(cv2.invertAffineTransform(from_px)) @ ends
    left, top = (max(0, math.floor(least) - _MARGIN_PX) for least in places_px.min(axis=1))
    right, bottom = (max(0, math.ceil(most) + _MARGIN_PX) for most in places_px.max(axis=1))
    rows = slice(top, bottom)
    columns = slice(left, right)
    if isinstance(camera, LensCamera):
        part = ideal_slice(depth_mm, camera, rows, columns)
    else:
        part = depth_mm[rows, columns].copy()
    if not part.size:
        return np.zeros((size_px, size_px), depth_mm.dtype)
    part[unsupported(part) > 0] = 0
    from_part_px = from_px.copy()
    from_part_px[:, 2] += from_px[:, :2] @ (left, top)
    return _warped(part, from_part_px, size_px)


def _crop_box(
    camera: Pinhole, center_mm: tuple[float, float, float], cube_mm: float, size_px: int
) -> tuple[float, tuple[float, float], tuple[int, int]]:
    """Return scale, margins and first pixel of one cube, like `crop_boxes`.

    numpy takes ten times as long for so few numbers.
    """
    x, y, z = center_mm
    half = 0.5 * cube_mm
    left, right = (math.floor((end * camera.fx_px) / z + camera.cx_px) for end in (x - half, x + half))
    top, bottom = (math.floor((end * camera.fy_px) / z + camera.cy_px) for end in (y - half, y + half))
    width = max(right - left, 1)
    height = max(bottom - top, 1)
    scale = size_px / max(width, height)
    return scale, ((size_px - width * scale) / 2, (size_px - height * scale) / 2), (left, top)


def _inside(
    cut: Float32[np.ndarray, "S S"] | UInt16[np.ndarray, "S S"], nearest_mm: float, farthest_mm: float
) -> Float32[np.ndarray, "S S"]:
    """Clamp pixels that are nearer than the cube, and set farther or invalid ones to 0."""
    if cut.dtype.kind != "f":
        farthest_mm = math.floor(farthest_mm)  # float32 represents whole numbers exactly
    crop = cut.astype(np.float32, copy=False)
    seen = crop > 0
    seen &= crop <= farthest_mm  # both comparisons are false for NaN
    return cv2.copyTo(np.maximum(crop, nearest_mm, out=crop), seen.view(np.uint8))


def turned_px(camera: Pinhole, turn: Float[np.ndarray, "2 2"]) -> Float64[np.ndarray, "3 3"]:
    """Affine map from pixels (u, v, 1) of an image to their places after x and y of the scene are turned."""
    focal_px, middle_px = np.array(camera).reshape(2, 2)
    found = np.eye(3)
    found[:2, :2] = focal_px[:, None] * turn / focal_px
    found[:2, 2] = middle_px - found[:2, :2] @ middle_px
    return found


def normalise(crop: HandCrop, how: Normalisation) -> Float32[np.ndarray, "S S"]:
    """Normalise the depth of a crop for a network: -1 is nearest, and +1 is farthest and background.

    `metric` is (depth - centre) / (cube / 2). `per-frame` is that of the paper (spec 1.5). With v the depth inside the
    cube plus 10 mm as a fraction of the cube, it is v' = 2 (v - min v) / max v - 1 over the pixels of the hand. The
    farthest pixels become +1.
    """
    depth = crop.depth_mm
    z = float(crop.center_mm[2])
    half = crop.cube_mm / 2
    if how == "metric":
        # Invalid pixels are set far behind the cube, so that clipping makes them the farthest.
        out = cv2.threshold(depth, 0, z + 2 * crop.cube_mm, cv2.THRESH_BINARY_INV)[1]
        out += depth
        out -= z
        out /= half
        return np.clip(out, -1, 1, out=out)
    seen = depth > 0
    if not seen.any():
        return np.ones_like(depth)
    out = depth - (z - half)
    out += _NEAR_MARGIN_MM
    out /= crop.cube_mm
    nearest, farthest, *_ = cv2.minMaxLoc(out, seen.view(np.uint8))
    seen &= out < farthest
    out -= nearest
    out *= 2 / farthest
    out -= 1
    out[~seen] = 1
    return out


def image_to_crop_px(points_px: Float[np.ndarray, "*N 2"], crop: HandCrop) -> Float[np.ndarray, "*N 2"]:
    """Convert pixels of the full image to pixels of the crop."""
    return points_px * np.diag(crop.to_crop_px)[:2] + crop.to_crop_px[:2, 2]
