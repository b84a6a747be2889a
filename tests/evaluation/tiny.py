"""A small data set in memory."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.geometry.skeleton import CVAR21, Skeleton
from crossnets.types import HandFrame, Pinhole

CAMERA = Pinhole(224.5, 230.5, 160.0, 120.0)


class TinyDataset:
    """Eight frames of CVAR's skeleton in two sequences. The third has no label and the fifth has no image."""

    def __init__(self) -> None:
        self.name = "cvar"
        self.skeleton: Skeleton | None = CVAR21
        self.camera = CAMERA
        self.problems: list[Problem] = []
        rng = np.random.default_rng(2)
        self.joints_mm: Float32[np.ndarray, "F J 3"] = (rng.normal(size=(8, 21, 3)) * 30 + [0, 0, 450]).astype(
            np.float32
        )

    def __len__(self) -> int:
        return len(self.joints_mm)

    def __getitem__(self, index: int) -> HandFrame:
        index = range(len(self))[index]
        if index == 4:
            raise FrameError(Problem(Path("4.png"), "is missing"))
        depth_mm = np.zeros((240, 320), np.float32)
        depth_mm[80:160, 120:200] = 450
        joints_mm = None if index == 2 else self.joints_mm[index]
        return HandFrame(f"cvar/{index}", self.sequence_of(index), depth_mm, self.camera, joints_mm)

    def sequence_of(self, index: int) -> str:
        return "P1" if index < 5 else "P4"
