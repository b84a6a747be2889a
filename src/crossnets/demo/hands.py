"""Rendered hands that no training sees, kept in memory as a data set."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from crossnets import metrics
from crossnets.datasets.dataset import Problem
from crossnets.geometry.skeleton import SKELETONS, Skeleton
from crossnets.inference.detector import load_detector
from crossnets.inference.loading import DETECTOR
from crossnets.synth.stream import SyntheticHands
from crossnets.training.config import CrossnetsConfig
from crossnets.types import HandFrame
from crossnets.weights import SHIPPED

_HELD_OUT = 10**12
"""The first seed of such hands: a training would reach it with --seed 250000000000."""
FOUND_MM = 60.0
"""A centre this close to the mean of the joints keeps most of the hand in the crop."""


class HeldOutHands:
    """Whole frames with labels, one camera after the other, in the cameras, noise and clutter of a training."""

    def __init__(
        self, config: CrossnetsConfig, count: int, on_progress: Callable[[int, int], None] = lambda done, total: None
    ) -> None:
        sources = config.rendered.sources
        streams = [
            SyntheticHands(replace(source, seed=_HELD_OUT + config.seed * len(sources) + number))
            for number, source in enumerate(sources)
        ]
        self.name = "rendered"
        self.skeleton: Skeleton | None = SKELETONS[config.skeleton]
        self.camera = streams[0].camera  # a frame knows its own
        self.problems: list[Problem] = []
        self.frames: list[HandFrame] = []
        for index in range(count):
            number, camera = divmod(index, len(streams))
            frame, name = streams[camera].frame(number), sources[camera].camera
            self.frames.append(replace(frame, key=f"{name}/{number:03d}", sequence=name))
            on_progress(index + 1, count)
        self.joints_mm = np.stack([frame.joints_mm for frame in self.frames if frame.joints_mm is not None])
        rng = np.random.default_rng([_HELD_OUT, config.seed])
        self.spread_mm = sources[0].center_spread_mm
        noise = self.spread_mm * rng.standard_normal((count, 3))
        self.centers_mm: Float32[np.ndarray, "N 3"] = (self.joints_mm.mean(axis=1) + noise).astype(np.float32)
        """Centres of the crops: the mean of the joints, moved at random, as in training."""

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> HandFrame:
        return self.frames[index]

    def sequence_of(self, index: int) -> str:
        """The camera's name."""
        return self.frames[index].sequence

    def share_found(self) -> float:
        """Share of the frames in which a hand that is found in the image alone is within 60 mm of the labelled one."""
        found, detector = 0, load_detector(SHIPPED / DETECTOR)
        for frame, mean in zip(self.frames, self.joints_mm.mean(axis=1), strict=True):
            seen = detector(frame.depth_mm, frame.camera)
            found += any(np.linalg.norm(detection.center_mm - mean) < FOUND_MM for detection in seen)
        return found / len(self.frames)

    def mean_pose_error_mm(self) -> float:
        """Mean error of the best constant answer: the mean of all poses, relative to the crops' centres."""
        relative = self.joints_mm - self.centers_mm[:, None]
        constant = np.broadcast_to(relative.mean(axis=0), relative.shape)
        return float(metrics.joint_errors_mm(constant, relative).mean())
