"""Held-out rendered hands: a data set in memory that no training uses."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from crossnets import metrics
from crossnets.datasets.dataset import Problem
from crossnets.geometry.lens import pinhole_of
from crossnets.geometry.skeleton import Skeleton, find_skeleton
from crossnets.inference.detector import load_detector
from crossnets.inference.loading import DETECTOR
from crossnets.synth.stream import SyntheticHands
from crossnets.training.config import CrossnetsConfig
from crossnets.types import HandFrame, Pinhole
from crossnets.weights import SHIPPED

_HELD_OUT = 10**12
"""First seed of held-out hands. A training would reach it with --seed 250000000000."""
FOUND_MM = 60.0
"""Largest distance of a detection from the mean of the joints. Within it most of the hand lies in the crop."""


class HeldOutHands:
    """Labelled whole frames from the cameras of a training in turn, with its noise and clutter."""

    def __init__(
        self, config: CrossnetsConfig, count: int, on_progress: Callable[[int, int], None] = lambda done, total: None
    ) -> None:
        sources = config.rendered.sources
        streams = [
            SyntheticHands(replace(source, seed=_HELD_OUT + config.seed * len(sources) + number))
            for number, source in enumerate(sources)
        ]
        self.name = "rendered"
        self.skeleton: Skeleton | None = find_skeleton(config.skeleton)
        # Each frame has a camera of its own. This one serves code that expects one camera for the data set.
        self.camera = streams[0].camera
        self.problems: list[Problem] = []
        self.frames: list[HandFrame] = []
        self.seen_mm2: list[float] = []
        """Area of each labelled hand that the camera sees, as if it faced the camera."""
        for index in range(count):
            number, camera = divmod(index, len(streams))
            scene = streams[camera].scene(number)
            frame = scene.frame
            assert frame.joints_mm is not None
            hand = scene.hands[0]
            self.seen_mm2.append(_seen_mm2(hand.joints_mm, hand.pixels, pinhole_of(frame.camera)))
            name = sources[camera].camera
            self.frames.append(replace(frame, key=f"{name}/{number:03d}", sequence=name))
            on_progress(index + 1, count)
        self.joints_mm = np.stack([frame.joints_mm for frame in self.frames if frame.joints_mm is not None])
        rng = np.random.default_rng([_HELD_OUT, config.seed])
        self.spread_mm = sources[0].center_spread_mm
        noise = self.spread_mm * rng.standard_normal((count, 3))
        self.centers_mm: Float32[np.ndarray, "N 3"] = (self.joints_mm.mean(axis=1) + noise).astype(np.float32)
        """Centres of the crops: the mean of the joints plus a random offset, as in training."""

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> HandFrame:
        return self.frames[index]

    def sequence_of(self, index: int) -> str:
        """Name of the camera of a frame."""
        return self.frames[index].sequence

    def share_found(self) -> float:
        """Share of the frames in which the detector finds a hand within 60 mm of the labelled one."""
        hits = 0
        detector = load_detector(SHIPPED / DETECTOR)
        for frame, mean in zip(self.frames, self.joints_mm.mean(axis=1), strict=True):
            detections = detector(frame.depth_mm, frame.camera)
            hits += any(np.linalg.norm(detection.center_mm - mean) < FOUND_MM for detection in detections)
        return hits / len(self.frames)

    def mean_pose_error_mm(self) -> float:
        """Mean error of a constant estimate: the mean of all poses relative to the centres of the crops."""
        relative = self.joints_mm - self.centers_mm[:, None]
        constant = np.broadcast_to(relative.mean(axis=0), relative.shape)
        return float(metrics.joint_errors_mm(constant, relative).mean())


def _seen_mm2(joints_mm: Float32[np.ndarray, "J 3"], pixels: int, camera: Pinhole) -> float:
    """Area of the pixels that show a hand, at the mean depth of its joints."""
    depth_mm = float(joints_mm[:, 2].mean())
    return pixels * depth_mm**2 / (camera.fx_px * camera.fy_px)
