"""Files of our own networks. They come with the package or are exported with random weights.

Random weights take as long as trained weights, but their outputs would change the work of later steps. A second pass
could crop an empty place, or tracking could lose the hand at once. The outputs are therefore computed and then replaced
by outputs that trained weights could give. The joints lie at the centre of the crop, and the hand is detected where it
was rendered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, UInt16

from crossnets.benchmark.engines import Engine, precision_of, runtime_of
from crossnets.benchmark.frames import RawFrame
from crossnets.export.networks import detector_to_onnx, to_onnx
from crossnets.geometry.camera import project
from crossnets.geometry.crop import HAND_IN_CUBE
from crossnets.geometry.lens import pinhole_of
from crossnets.geometry.skeleton import find_skeleton
from crossnets.geometry.thinned import (
    CELL_PX,
    DEPTH_UNIT_MM,
    Maps,
    as_image,
    nearest_around,
    stride_of,
    thin,
    thinned_camera,
)
from crossnets.inference.detector import Detection, HandDetector, decode, load_detector
from crossnets.inference.engines import load_exported
from crossnets.inference.estimator import CropEstimator, Raw
from crossnets.inference.loading import DETECTOR, NETWORK
from crossnets.inference.tracker import Tracker
from crossnets.models.crossnet import DensePosterior
from crossnets.models.detector import DetectorNet
from crossnets.models.networks import build
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.training.config import CrossnetsConfig, DetectorTraining, FramesConfig
from crossnets.types import LensCamera, Pinhole
from crossnets.weights import SHIPPED

Weights: TypeAlias = Literal["shipped", "random", "given"]
"""Source of a network's weights: the package, a generator, or the user's file."""
_SEED = 3
_SURE = 6.0
_NO = -12.0
"""Logits of the replaced outputs: `_SURE` for yes, `_NO` for no."""


@dataclass(frozen=True)
class NetworkFile:
    """An exported network."""

    name: str
    path: Path
    weights: Weights


def estimator_file(config: FramesConfig | CrossnetsConfig, folder: Path, *, may_be_shipped: bool) -> NetworkFile:
    """Network of a preset. It is exported to `folder` with random weights unless the package has it."""
    if may_be_shipped and (SHIPPED / NETWORK).is_file():
        return NetworkFile(config.preset, SHIPPED / NETWORK, "shipped")
    networks = build(config.networks, torch.Generator().manual_seed(_SEED))
    maps = skeleton_maps(find_skeleton(config.skeleton)) if isinstance(networks, DensePosterior) else None
    path = folder / f"{config.preset}.onnx"
    to_onnx(config.model(networks, maps or {}), path)
    return NetworkFile(config.preset, path, "random")


def detector_file(config: DetectorTraining, folder: Path) -> NetworkFile:
    """Network of the detector. It is exported to `folder` with random weights unless the package has it."""
    if (SHIPPED / DETECTOR).is_file():
        return NetworkFile(config.preset, SHIPPED / DETECTOR, "shipped")
    networks = DetectorNet(config.networks, torch.Generator().manual_seed(_SEED))
    path = folder / DETECTOR
    detector_to_onnx(config.model(networks), path)
    return NetworkFile(config.preset, path, "random")


def with_hand(frames: Sequence[RawFrame], detector: NetworkFile) -> RawFrame:
    """The first frame in which the detector finds a hand. With random weights it is the first frame.

    Raises:
        ValueError: the detector finds no hand.
    """
    if detector.weights == "random":
        return frames[0]
    find = load_detector(detector.path, "onnxruntime").find
    with_detection = next((frame for frame in frames if find(frame.depth_mm, frame.camera)), None)
    if with_detection is None:
        raise ValueError(f"The detector finds no hand in {len(frames)} rendered frames. Increase --frames.")
    return with_detection


class KnownHand:
    """Runs a detector with random weights, then returns the known place of the hand."""

    def __init__(self, detector: HandDetector) -> None:
        self._detector = detector
        self.center_mm = np.array([0, 0, 500], np.float32)
        """Centre of the hand in the next frame."""

    def __call__(
        self, depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], camera: Pinhole | LensCamera
    ) -> list[Detection]:
        """Run all steps of `HandDetector.find`, with maps that contain the known hand."""
        pinhole = pinhole_of(camera)
        image = as_image(thin(depth_mm, stride_of(pinhole)))[None]
        maps = self._detector.maps(image)
        maps[:] = 0
        known = Maps(*np.moveaxis(maps, 1, 0))
        known.score[:] = _NO
        u, v, z = project(self.center_mm[None], thinned_camera(pinhole, stride_of(pinhole)))[0]
        height, width = known.score.shape[1:]
        row = min(max(int(v / CELL_PX), 0), height - 1)
        column = min(max(int(u / CELL_PX), 0), width - 1)
        known.score[0, row, column] = _SURE
        known.column[0, row, column] = (u - (CELL_PX - 1) / 2) / CELL_PX - column
        known.row[0, row, column] = (v - (CELL_PX - 1) / 2) / CELL_PX - row
        known.depth[0, row, column] = (z - nearest_around(image[0, 0], row, column)) / DEPTH_UNIT_MM
        return decode(known, image, pinhole, self._detector.model.threshold)[0]


def _at_the_centre(raw: Raw) -> Raw:
    """Output that a trained network could give for a crop around a hand."""
    joints = np.zeros_like(raw.joints)
    if raw.log_spread is None or raw.side is None or raw.log_size is None:
        return Raw(joints)
    size = np.full_like(raw.log_size, np.log(HAND_IN_CUBE))
    return Raw(joints, np.full_like(raw.log_spread, -4), np.full_like(raw.side, _SURE), size)


def tracker_for(estimator: NetworkFile, detector: NetworkFile, engine: Engine) -> tuple[Tracker, KnownHand | None]:
    """Build the tracker that `crossnets.load` returns for these files.

    Returns:
        The tracker. Also its detector if that has random weights and needs the place of the hand, else None.
    """
    runtime = runtime_of(engine)
    loaded = load_exported(estimator.path, runtime, threads=1, precision=precision_of(engine))
    if estimator.weights == "random":
        network = loaded.run
        loaded = CropEstimator(loaded.model, lambda images: _at_the_centre(network(images)), loaded.maps)
    finder = load_detector(detector.path, runtime, threads=1, precision=precision_of(engine))
    if detector.weights == "shipped":
        return Tracker(loaded, finder), None
    known = KnownHand(finder)
    return Tracker(loaded, known), known
