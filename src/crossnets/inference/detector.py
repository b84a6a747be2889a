"""Detect hands in whole frames with a network. The caller provides the runtime of the network."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt16

from crossnets.geometry.lens import pinhole_of, ray_at
from crossnets.geometry.thinned import (
    CELL_PX,
    DEPTH_UNIT_MM,
    LENGTH_MM,
    Maps,
    as_image,
    cell_px,
    nearest_around,
    stride_of,
    thin,
    thinned_camera,
)
from crossnets.inference.description import fields_of
from crossnets.inference.engines import Precision, Runtime, check_shapes, open_network
from crossnets.types import LensCamera, Pinhole

SAME_HAND_MM = 70.0
"""Peaks whose distance is smaller are the same hand."""
SAME_PLACE_MM = 45.0
"""Peaks whose distance across the line of sight is smaller are the same hand."""
MOST_HANDS = 2
_NEIGHBOURS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Detection:
    """A detected hand in a frame."""

    center_mm: Float32[np.ndarray, "3"]
    """Mean of the joints in the camera frame."""
    score: float
    """0 to 1."""
    side_right: float
    """Probability of a right hand."""
    length_mm: float
    """Length from the wrist to the tip of the middle finger."""

    @classmethod
    def at(cls, center_mm: Float32[np.ndarray, "3"]) -> "Detection":
        """Describe a place that was given or found without a network: the hand of an adult of unknown side and
        score."""
        return cls(center_mm, 0.5, 0.5, LENGTH_MM)


Finder: TypeAlias = Callable[[np.ndarray, Pinhole | LensCamera], Sequence[Detection]]
"""Finds the candidates in a depth image in mm, given with its camera. The highest score comes first."""


def decode(
    maps: Maps, image: Float[np.ndarray, "B 2 H W"], camera: Pinhole | LensCamera, threshold: float
) -> list[list[Detection]]:
    """Decode the hands in each frame of a batch, best first.

    Args:
        maps: Outputs of the network.
        image: Inputs of the network.
        camera: Camera of the whole frames. `image` is thinned by `stride_of(camera)`.
        threshold: Lowest score of a hand, 0 to 1.
    """
    return [
        _decode_one(Maps(*(part[b] for part in maps)), image[b, 0], camera, threshold) for b in range(len(maps.score))
    ]


def _decode_one(
    maps: Maps, inverse: Float[np.ndarray, "H W"], camera: Pinhole | LensCamera, threshold: float
) -> list[Detection]:
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
    maps: Maps, row: int, column: int, inverse: Float[np.ndarray, "H W"], camera: Pinhole | LensCamera
) -> Detection | None:
    """Decode the hand at a peak. None if its depth is invalid, or if it is outside the field of view of the lens."""
    score, aside, below, behind, side, log_length = (float(part[row, column]) for part in maps)
    depth = nearest_around(inverse, row, column) + DEPTH_UNIT_MM * behind
    if not (math.isfinite(depth) and depth > 0):
        return None
    pinhole = pinhole_of(camera)
    stride = stride_of(pinhole)
    thinned = thinned_camera(pinhole, stride)
    u = cell_px(column + aside)
    v = cell_px(row + below)
    if isinstance(camera, LensCamera):
        x, y = ray_at(stride * u + stride // 2, stride * v + stride // 2, camera)
        if not (math.isfinite(x) and math.isfinite(y)):
            return None
    else:
        x = (u - thinned.cx_px) / thinned.fx_px
        y = (v - thinned.cy_px) / thinned.fy_px
    length = LENGTH_MM * math.exp(min(max(log_length, -1), 1))
    center_mm = np.array([x * depth, y * depth, depth], np.float32)
    return Detection(center_mm, _probability(score), _probability(side), length)


def _probability(logit: float) -> float:
    """Convert a logit to a probability. Large logits do not overflow."""
    return (1 + math.tanh(logit / 2)) / 2


def _same(one: Detection, other: Detection) -> bool:
    apart = one.center_mm - other.center_mm
    aside = one.center_mm / one.center_mm[2] - other.center_mm / other.center_mm[2]
    aside_mm = np.linalg.norm(aside) * min(one.center_mm[2], other.center_mm[2])
    return bool(np.linalg.norm(apart) < SAME_HAND_MM or aside_mm < SAME_PLACE_MM)


Network: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Converts images of `as_image` (B, 2, H, W) to maps (B, 6, H/4, W/4) with one channel for each field of `Maps`."""


@dataclass(frozen=True, kw_only=True)
class DetectorModel:
    """Description that is stored with the weights of a detector."""

    preset: str
    threshold: float = 0.05
    """Lowest score of a candidate. The estimator then decides which candidates are hands
    (`inference.hands.hand_odds`)."""

    def __post_init__(self) -> None:
        if not isinstance(self.threshold, int | float) or not 0 < self.threshold < 1:
            raise ValueError(f"The threshold is {self.threshold!r}, expected a score between 0 and 1.")


class HandDetector:
    """A network with the lowest score of a hand."""

    def __init__(self, network: Network, model: DetectorModel) -> None:
        self._network = network
        self.model = model

    def find(
        self, depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], camera: Pinhole | LensCamera
    ) -> list[Detection]:
        """Detect at most two hands in a frame, best first.

        Args:
            depth_mm: Depth in mm. Pixels that are 0, negative or NaN are invalid.
            camera: Camera of the frame, with intrinsics for images of this size.
        """
        thinned = thin(depth_mm, stride_of(pinhole_of(camera)))
        if not thinned.size:
            return []
        image = as_image(thinned)[None]
        maps = Maps(*self.maps(image)[0])
        return _decode_one(maps, image[0, 0], camera, self.model.threshold)

    def maps(self, images: Float32[np.ndarray, "B 2 H W"]) -> Float32[np.ndarray, "B 6 h w"]:
        """Run the network on images of `as_image`. The maps have one channel for each field of `Maps`."""
        return self._network(images)

    __call__ = find


FORMAT = "crossnets-detector"
VERSION = 1
INPUT = "image"
OUTPUT = "maps"


def to_text(model: DetectorModel) -> str:
    """The description as JSON."""
    fields = {name: getattr(model, name) for name in DetectorModel.__dataclass_fields__}
    return json.dumps({"format": FORMAT, "version": VERSION, "model": fields})


def from_text(text: str | None, path: str) -> DetectorModel:
    """Read a description that `to_text` wrote.

    Raises:
        ValueError: the file at `path` is not a detector that this version of crossnets exported.
    """
    try:
        return DetectorModel(**fields_of(text, FORMAT, VERSION)["model"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a detector that `crossnets export` of this version wrote: {error}. Export the run again."
        ) from error


def load_detector(
    path: Path, runtime: Runtime = "auto", *, threads: int = 1, precision: Precision = "float32"
) -> HandDetector:
    """Load an exported detector.

    Args:
        path: File that `crossnets export` wrote for a run of the preset detector.
        runtime: Runtime, as for `engines.load_exported`.
        threads: Threads of the processor.
        precision: bfloat16 needs OpenVINO.

    Raises:
        FileNotFoundError: the file does not exist.
        ModuleNotFoundError: the requested runtime is not installed.
        ValueError: the file is not a detector of crossnets, or the runtime does not support the precision.
    """
    text, run = open_network(path, runtime, threads=threads, precision=precision, names=(OUTPUT,))
    model = from_text(text, str(path))

    def network(images: Float32[np.ndarray, "B 2 H W"]) -> Float32[np.ndarray, "B 6 h w"]:
        said = run(images)
        number, _, height, width = images.shape
        check_shapes(path, said, [(number, len(Maps._fields), height // CELL_PX, width // CELL_PX)])
        return said[0]

    return HandDetector(network, model)
