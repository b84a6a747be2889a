"""What a network that finds hands takes and gives, whatever runs it: numpy and OpenCV alone.

A frame is thinned to pixels of the same angle on every sensor. The network's maps have one cell for every 4 x 4 of
these pixels (after CenterNet, Zhou et al. 2019): a peak of the score is a hand.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt16

from crossnets.types import Pinhole

WORKING_FOCAL_PX = 118.0
"""A frame is thinned by the whole number that brings its focal length nearest to this, by ratio."""
CELL_PX, MULTIPLE_PX = 4, 16
"""Side of a cell, and what the sides of an image must be multiples of."""
CHANNELS = 2
_NEAREST_MM = 170.0
INVERSE_MM = 500.0
"""The first channel of an image is this over the depth."""
_WINDOW_PX, _RELIEF_MM = 9, 40.0
_NONE = np.float32(1e-9)
"""Pixels seen where there is none, so that a mean over them is a number; added to 1 or more it is lost."""
DEPTH_UNIT_MM, FALLBACK_MM = 100.0, 500.0
"""Of the map `depth`; and the depth it starts from where nothing is seen."""
AROUND_PX = 12
"""The map `depth` starts from the nearest depth in a square of this side around the cell."""
SAME_HAND_MM, SAME_PLACE_MM = 70.0, 45.0
"""Peaks nearer than this, or than that seen from the camera, are one hand."""
MOST_HANDS = 2
_NEIGHBOURS = np.ones((3, 3), np.uint8)


class Maps(NamedTuple):
    """What the network says of a batch, one value a cell."""

    score: Float[np.ndarray, "B H W"]
    """Logit of the centre of a hand, the mean of its joints, being in this cell."""
    column: Float[np.ndarray, "B H W"]
    """Of the centre, from the cell's middle, in cells."""
    row: Float[np.ndarray, "B H W"]
    depth: Float[np.ndarray, "B H W"]
    """Of the centre behind the nearest thing seen around, in units of 100 mm."""
    side: Float[np.ndarray, "B H W"]
    """Logit: above 0 a right hand."""
    log_length: Float[np.ndarray, "B H W"]
    """Log of the hand's length over 180 mm, wrist to tip of the middle finger."""


LENGTH_MM = 180.0


@dataclass(frozen=True)
class Detection:
    """A hand in a frame."""

    center_mm: Float32[np.ndarray, "3"]
    """Mean of the joints, camera frame."""
    score: float
    """0 to 1."""
    side_right: float
    """Probability of a right hand."""
    length_mm: float
    """Wrist to tip of the middle finger."""


Finder: TypeAlias = Callable[[np.ndarray, Pinhole], Sequence[Detection]]
"""Depth image in mm and its camera to the hands in it, the surest first."""


def stride_of(camera: Pinhole) -> int:
    """How many pixels of this camera's frames become one."""
    return max(1, round(float(np.sqrt(camera.fx_px * camera.fy_px)) / WORKING_FOCAL_PX))


def thinned_camera(camera: Pinhole, stride: int) -> Pinhole:
    """The camera of frames of which every `stride`-th pixel is kept, beginning with number `stride // 2`."""
    first = stride // 2
    return Pinhole(
        camera.fx_px / stride,
        camera.fy_px / stride,
        (camera.cx_px - first) / stride,
        (camera.cy_px - first) / stride,
    )


def thin(depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], stride: int) -> Float32[np.ndarray, "h w"]:
    """Every `stride`-th pixel, in zeros up to whole multiples of 16: they are what nothing seen is."""
    part = depth_mm[stride // 2 :: stride, stride // 2 :: stride]
    height, width = (-(-side // MULTIPLE_PX) * MULTIPLE_PX for side in part.shape)
    out = np.zeros((height, width), np.float32)
    out[: part.shape[0], : part.shape[1]] = part
    if part.dtype.kind != "u":  # whole numbers from 0 on are all depths
        out[~((out > 0) & (out < np.inf))] = 0
    return out


def as_image(thinned_mm: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "2 H W"]:
    """The network's image of a thinned frame: 0.5 m divided by the depth, and how far before its surroundings.

    Both are 0 where nothing is seen, as beyond the image's edge: nothing is infinitely far.
    """
    window = {"ksize": (_WINDOW_PX, _WINDOW_PX), "normalize": False, "borderType": cv2.BORDER_CONSTANT}
    seen = (thinned_mm > 0).view(np.uint8)
    mean = cv2.boxFilter(thinned_mm, -1, **window)
    mean /= cv2.boxFilter(seen, cv2.CV_32F, **window) + _NONE
    out = np.zeros((CHANNELS, *thinned_mm.shape), np.float32)
    cv2.copyTo(INVERSE_MM / np.maximum(thinned_mm, _NEAREST_MM), seen, out[0])
    mean -= thinned_mm
    mean *= 1 / _RELIEF_MM
    cv2.copyTo(np.clip(mean, -1, 1, out=mean), seen, out[1])
    return out


def decode(maps: Maps, image: Float[np.ndarray, "B 2 H W"], camera: Pinhole, threshold: float) -> list[list[Detection]]:
    """The hands in each of a batch, best first.

    Args:
        maps: Of the network.
        image: What it was given.
        camera: Of the whole frame, of which `image` is thinned by `stride_of(camera)`.
        threshold: Least score, 0 to 1.
    """
    return [
        _decode_one(Maps(*(part[b] for part in maps)), image[b, 0], camera, threshold) for b in range(len(maps.score))
    ]


def _decode_one(maps: Maps, inverse: Float[np.ndarray, "H W"], camera: Pinhole, threshold: float) -> list[Detection]:
    least = math.log(threshold / (1 - threshold)) if threshold < 1 else math.inf
    score = np.asarray(maps.score, np.float32)
    if not score.max() > least:
        return []
    peaks = (score >= cv2.dilate(score, _NEIGHBOURS)) & (score > least)
    rows, columns = np.nonzero(peaks)
    found: list[Detection] = []
    for k in np.argsort(-score[rows, columns], kind="stable"):
        one = _detection(maps, int(rows[k]), int(columns[k]), inverse, camera)
        if one is not None and not any(_same(one, other) for other in found):
            found.append(one)
            if len(found) == MOST_HANDS:
                break
    return found


def _detection(
    maps: Maps, row: int, column: int, inverse: Float[np.ndarray, "H W"], camera: Pinhole
) -> Detection | None:
    """The hand of a peak; None where its depth is no depth."""
    score, aside, below, behind, side, log_length = (float(part[row, column]) for part in maps)
    depth = nearest_around(inverse, row, column) + DEPTH_UNIT_MM * behind
    if not (math.isfinite(depth) and depth > 0):
        return None
    thinned = thinned_camera(camera, stride_of(camera))
    x = (cell_px(column + aside) - thinned.cx_px) / thinned.fx_px
    y = (cell_px(row + below) - thinned.cy_px) / thinned.fy_px
    length = LENGTH_MM * math.exp(min(max(log_length, -1), 1))
    center_mm = np.array([x * depth, y * depth, depth], np.float32)
    return Detection(center_mm, _probability(score), _probability(side), length)


def _probability(logit: float) -> float:
    """Of a logit of any size."""
    return (1 + math.tanh(logit / 2)) / 2


def cell_px(place: float) -> float:
    """Pixel of a thinned frame at a place in cells, whose middles are whole numbers."""
    return CELL_PX * place + (CELL_PX - 1) / 2


def nearest_around(inverse: Float[np.ndarray, "H W"], row: int, column: int) -> float:
    """Nearest depth around a cell in mm, from the first channel of the image."""
    margin = (AROUND_PX - CELL_PX) // 2
    rows, columns = (slice(max(0, CELL_PX * k - margin), CELL_PX * (k + 1) + margin) for k in (row, column))
    most = float(inverse[rows, columns].max())
    return INVERSE_MM / most if most > 0 else FALLBACK_MM


def _same(one: Detection, other: Detection) -> bool:
    apart = one.center_mm - other.center_mm
    aside = one.center_mm / one.center_mm[2] - other.center_mm / other.center_mm[2]
    aside_mm = np.linalg.norm(aside) * min(one.center_mm[2], other.center_mm[2])
    return bool(np.linalg.norm(apart) < SAME_HAND_MM or aside_mm < SAME_PLACE_MM)


Network: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""(B, 2, H, W) images of `as_image` to (B, 6, H/4, W/4), a value for each field of `Maps`."""


@dataclass(frozen=True, kw_only=True)
class DetectorModel:
    """What travels with the weights of a detector."""

    preset: str
    threshold: float = 0.25
    """Least score of what may be a hand; the estimator's word on it follows (`estimation.hand_odds`)."""

    def __post_init__(self) -> None:
        if not isinstance(self.threshold, int | float) or not 0 < self.threshold < 1:
            raise ValueError(f"The threshold is {self.threshold!r}, expected a score between 0 and 1.")


class HandDetector:
    """A network, and the least score of a hand."""

    def __init__(self, network: Network, model: DetectorModel) -> None:
        self._network, self.model = network, model

    def find(
        self, depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], camera: Pinhole
    ) -> list[Detection]:
        """The hands in a frame, at most two, best first; empty where there is none.

        Args:
            depth_mm: In mm; what is 0, negative, or no number counts as not seen.
            camera: Whose frame it is; its intrinsics belong to this size.
        """
        image = as_image(thin(depth_mm, stride_of(camera)))[None]
        maps = Maps(*self.maps(image)[0])
        return _decode_one(maps, image[0, 0], camera, self.model.threshold)

    def maps(self, images: Float32[np.ndarray, "B 2 H W"]) -> Float32[np.ndarray, "B 6 h w"]:
        """What the network says of images of `as_image`, a value a cell for each field of `Maps`."""
        return self._network(images)

    def __call__(
        self, depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], camera: Pinhole
    ) -> list[Detection]:
        """As `find`."""
        return self.find(depth_mm, camera)
