"""Find the centre of the hand's cube in a depth image without a network."""

from typing import Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64

from crossnets.geometry.camera import unproject
from crossnets.geometry.crop import CUBE_MM
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import HandFrame, Pinhole

Centers: TypeAlias = Literal["image", "image-paper", "label"]
"""`image` is `find_center`, `image-paper` is `find_center_slices`, and `label` is a joint of the label (an oracle)."""

NEAR_MM = 10.0
FAR_MM = 1500.0
"""Range of depths in which the paper searches for a hand (spec 1.5). Both finders use it."""

_SLICES = 20
_SLICE_MM = (FAR_MM - NEAR_MM) / _SLICES
_PAPER_FOCAL_PX = 241.0
"""The pixel counts of the paper are those of ICVL's and MSRA's 320x240 sensor. For other cameras they are scaled with
the focal length, so that they stand for the same angle."""
_PAPER_AREA_PX = 200.0
_PAPER_WINDOW_PX = 100.0
_PAPER_ROUNDS = 5

_WORKING_FOCAL_PX = 100.0
"""`find_center` skips pixels until the focal length is just above this value. A hand at 750 mm is then 25 pixels long.
On CVAR the centres are as good as those from every pixel, in a quarter of the time."""
_STEP_MM = 40.0
"""Neighbouring pixels whose depths differ by more belong to different surfaces."""
_MIN_AREA_MM2 = 1500.0
"""Smallest area of a surface. It is below that of a hand seen edge-on and above that of specks of noise."""
_THICKNESS_MM = (200.0, 300.0, 400.0)
"""Depth range of a hand behind its nearest part. The larger values are for hands that point at the camera and for hands
behind their forearm."""
_TIP_MM = 25.0
_TIP_CUT = 0.2
"""A tip is cut off if a fifth of its last 25 mm continues towards the back."""
_HAND_LENGTH_MM = 190.0
_PALM_RADIUS_MM = (8.0, 70.0)
"""Least and greatest radius of the largest circle inside the silhouette of a hand. A hand seen edge-on has the least
radius. Larger circles belong to surfaces such as walls."""
_FIST_MM = 110.0
_ARM_PENALTY = 0.15
"""The radius of a circle is reduced by 0.15 mm for each mm beyond 110 mm behind the tip of the hand."""
_WRIST = 0.5
"""Points up to this many palm radii behind the centre of the palm are averaged. A larger value moves the centre up to
20 mm further from the mean of the joints."""
_REACH_MM = 150.0
"""Points further than this from the palm's centre are not averaged."""
_MOST_SURFACES = 16


def center_of(frame: HandFrame, skeleton: Skeleton | None, how: Centers) -> Float32[np.ndarray, "3"] | None:
    """Find the centre of the hand's cube in mm in the camera frame. None if no hand is found.

    Raises:
        ValueError: `how` is "label", and the frame has no label or no skeleton is given.
    """
    if how == "image":
        return find_center(frame.depth_mm, frame.camera)
    if how == "image-paper":
        return find_center_slices(frame.depth_mm, frame.camera)
    if frame.joints_mm is None or skeleton is None:
        missing = "it has no label" if frame.joints_mm is None else "no skeleton was given"
        raise ValueError(
            f'Cannot centre frame {frame.key} on its label: {missing}. Use centers="image" for unlabelled frames.'
        )
    return frame.joints_mm[skeleton.center].astype(np.float32)


def find_center_slices(depth_mm: Float32[np.ndarray, "H W"], camera: Pinhole) -> Float32[np.ndarray, "3"] | None:
    """Find a hand with the paper's detector (spec 1.5, "Centre").

    The result is the centre of mass of the nearest slice of depth with a large contour. If a slice has several large
    contours, the largest one counts. The paper falls back to the image's centre at 500 mm. This function returns None
    instead, because an invented centre would go unnoticed.
    """
    scale_u = camera.fx_px / _PAPER_FOCAL_PX
    scale_v = camera.fy_px / _PAPER_FOCAL_PX
    kept = np.where((depth_mm >= NEAR_MM) & (depth_mm <= FAR_MM), depth_mm, np.float32(0))
    # A pixel at exactly 1500 mm belongs to the last slice.
    index = np.where(kept > 0, np.minimum((kept - NEAR_MM) / _SLICE_MM, _SLICES - 1), 255).astype(np.uint8)
    for k in np.unique(index[index < _SLICES]):
        in_slice = index == k
        blob = _largest_contour(in_slice, _PAPER_AREA_PX * scale_u * scale_v)
        if blob is None:
            continue
        rows = _window(blob[1], _PAPER_WINDOW_PX * scale_v, depth_mm.shape[0])
        columns = _window(blob[0], _PAPER_WINDOW_PX * scale_u, depth_mm.shape[1])
        center = _center_of_mass(np.where(in_slice, kept, 0)[rows, columns], rows.start, columns.start)
        if center is None:  # the contour surrounds a hole
            continue
        for _ in range(_PAPER_ROUNDS):
            center = _refine(kept, camera, center)
        return unproject(center, camera).astype(np.float32)
    return None


def _largest_contour(mask: Bool[np.ndarray, "H W"], min_area_px: float) -> tuple[float, float] | None:
    """Return the centroid (u, v) of the largest outer or inner contour if its area is above the least one."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(contours, key=cv2.contourArea, default=None)
    if largest is None or cv2.contourArea(largest) <= min_area_px:
        return None
    moments = cv2.moments(largest)
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]


def _window(middle: float, half: float, size: int) -> slice:
    """Return the pixels within `half` of the middle that are inside the image."""
    start, stop = (int(np.clip(np.floor(middle + side), 0, size)) for side in (-half, half))
    return slice(start, stop)


def _center_of_mass(depth_mm: Float32[np.ndarray, "H W"], top: int, left: int) -> Float64[np.ndarray, "3"] | None:
    """Return the means (u, v, d) of the non-zero pixels of a part of the image whose corner is (left, top)."""
    v, u = np.nonzero(depth_mm)
    if not len(v):
        return None
    return np.array([u.mean() + left, v.mean() + top, depth_mm[v, u].mean(dtype=np.float64)])


def _refine(
    depth_mm: Float32[np.ndarray, "H W"], camera: Pinhole, center: Float64[np.ndarray, "3"]
) -> Float64[np.ndarray, "3"]:
    """Return the centre of mass (u, v, d) of the paper's cube around a centre. Nearer depth is clamped to its front."""
    u, v, d = center
    half = CUBE_MM / 2
    rows = _window(v, half * camera.fy_px / d, depth_mm.shape[0])
    columns = _window(u, half * camera.fx_px / d, depth_mm.shape[1])
    part = depth_mm[rows, columns]
    cube = np.where((part > 0) & (part <= d + half), np.maximum(part, np.float32(d - half)), np.float32(0))
    found = _center_of_mass(cube, rows.start, columns.start)
    return center if found is None else found


def find_center(depth_mm: Float32[np.ndarray, "H W"], camera: Pinhole) -> Float32[np.ndarray, "3"] | None:
    """Find the centre of the nearest hand's visible surface in mm in the camera frame. None if no surface fits a hand.

    Unlike the paper's detector (`find_center_slices`) it does not slide down the forearm. Jumps of depth separate
    surfaces, which are examined from near to far. An arm enters a surface at the border of the image or from behind.
    The hand is the opposite end. The largest circle inside it is the palm. The centre is the mean of the points from
    the middle of the palm to the fingertips. Sizes are in mm, so no constant depends on the camera.

    The constants were chosen on CVAR, which shows hand and forearm in front of a desk or of an empty background. On the
    19 frames of an SR305 that show the whole upper body, the hand is found in 10 frames, and 9 have a wrong centre.
    """
    step = max(1, int(min(camera.fx_px, camera.fy_px) // _WORKING_FOCAL_PX))
    small = Pinhole(*(value / step for value in camera))
    depth = depth_mm[::step, ::step]
    depth = np.where((depth >= NEAR_MM) & (depth <= FAR_MM), depth, np.float32(0))
    for surface in _surfaces_near_to_far(depth, small):
        center = _hand_center(depth, surface, small)
        if center is not None:
            return center.astype(np.float32)
    return None


def _surfaces_near_to_far(depth_mm: Float32[np.ndarray, "H W"], camera: Pinhole) -> list[Bool[np.ndarray, "H W"]]:
    """Return masks of the connected surfaces that are large enough for a hand, sorted by the depth of their nearest
    part."""
    seen = depth_mm > 0
    joined = seen.copy()
    joined[:, :-1] &= ~seen[:, 1:] | (np.abs(depth_mm[:, 1:] - depth_mm[:, :-1]) < _STEP_MM)
    joined[:-1] &= ~seen[1:] | (np.abs(depth_mm[1:] - depth_mm[:-1]) < _STEP_MM)
    count, labels = cv2.connectedComponents(joined.astype(np.uint8), connectivity=4)
    areas_mm2 = np.bincount(labels.ravel(), depth_mm.ravel() ** 2, count) / (camera.fx_px * camera.fy_px)
    areas_mm2[0] = 0
    largest = np.argsort(-areas_mm2)[:_MOST_SURFACES]
    surfaces = [labels == k for k in largest if areas_mm2[k] > _MIN_AREA_MM2]
    return sorted(surfaces, key=lambda surface: _nearest(depth_mm[surface]))


def _nearest(depths_mm: Float32[np.ndarray, "N"]) -> float:
    """Depth of the nearest part. Single wrong pixels do not change it."""
    rank = len(depths_mm) // 50
    return float(np.partition(depths_mm, rank)[rank])


def _hand_center(
    depth_mm: Float32[np.ndarray, "H W"], surface: Bool[np.ndarray, "H W"], camera: Pinhole
) -> Float64[np.ndarray, "3"] | None:
    """Find the centre of the hand at the end of a surface. None if the surface is too thin or too wide for a hand."""
    front, points, behind_tip = _arm(depth_mm, surface, camera)
    d = points[:, 2]
    radius = cv2.distanceTransform(front.astype(np.uint8), cv2.DIST_L2, 5)[front] * d
    radius /= np.sqrt(camera.fx_px * camera.fy_px)
    radius -= _ARM_PENALTY * np.maximum(behind_tip - _FIST_MM, 0)
    radius[behind_tip > _HAND_LENGTH_MM] = 0
    largest = radius.max()
    if not _PALM_RADIUS_MM[0] < largest < _PALM_RADIUS_MM[1]:
        return None
    weights = np.maximum(radius / largest, 0) ** 8  # a soft maximum moves smoothly from frame to frame
    weights /= weights.sum()
    palm = weights @ points
    wrist = weights @ behind_tip + _WRIST * largest
    hand = (np.linalg.norm(points - palm, axis=-1) < _REACH_MM) & (behind_tip < wrist)
    return np.average(points[hand], axis=0, weights=d[hand] ** 2) if hand.any() else palm


def _arm(
    depth_mm: Float32[np.ndarray, "H W"], surface: Bool[np.ndarray, "H W"], camera: Pinhole
) -> tuple[Bool[np.ndarray, "H W"], Float64[np.ndarray, "N 3"], Float64[np.ndarray, "N"]]:
    """Return the front of a surface, as deep as hand and forearm are, its points in mm, and `_behind_tip` of each
    point.

    If the tip of a front continues towards the back, the front is a forearm nearer than its hand. A deeper front is
    then taken.
    """
    border = np.zeros_like(surface)
    border[[0, -1]] = border[:, [0, -1]] = True
    nearest = _nearest(depth_mm[surface])
    for thickness_mm in _THICKNESS_MM:
        front = surface & (depth_mm < nearest + thickness_mm)
        rows, columns = np.nonzero(front)
        points = unproject(np.stack([columns, rows, depth_mm[front]], axis=-1).astype(np.float64), camera)
        at_border = border[front]
        cut = cv2.dilate((surface & ~front).astype(np.uint8), np.ones((3, 3), np.uint8))[front] > 0
        behind_tip = _behind_tip(points, at_border if at_border.any() else cut)
        whole = not at_border.any() or cut[behind_tip < _TIP_MM].mean() < _TIP_CUT
        if whole or thickness_mm == _THICKNESS_MM[-1]:
            return front, points, behind_tip
    raise AssertionError("the last thickness returns")


def _behind_tip(points_mm: Float64[np.ndarray, "N 3"], entry: Bool[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
    """Return how much nearer than the tip of the hand each point is to the entry of the arm, in mm.

    An arm that does not leave the image enters at its deepest points. A surface that is no longer than a hand has no
    arm, and all its points are at the tip.
    """
    if entry.any():
        origin = points_mm[entry].mean(axis=0)
    elif np.ptp(points_mm, axis=0).max() < _HAND_LENGTH_MM:
        return np.zeros(len(points_mm))
    else:
        depths = points_mm[:, 2]
        origin = points_mm[depths >= np.quantile(depths, 0.9)].mean(axis=0)
    away = np.linalg.norm(points_mm - origin, axis=-1)
    return np.quantile(away, 0.99) - away
