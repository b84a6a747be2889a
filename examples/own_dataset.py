"""Read a data set in a format of your own: a file for each person, such as train/anna.npz.

CROSSNETS_READERS=examples/own_dataset.py crossnets data info people:PATH
CROSSNETS_READERS=examples/own_dataset.py crossnets train --data people:PATH#anna --budget 10m --out runs/people
CROSSNETS_READERS=examples/own_dataset.py crossnets data convert people:PATH --to recording --out my-recording
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.own_readers import reader
from crossnets.geometry.skeleton import Skeleton, find_skeleton
from crossnets.types import HandFrame, Pinhole


@lru_cache(maxsize=1)  # frames are mostly read in order, so one file at a time stays in memory
def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """Read a file whole."""
    with np.load(path) as arrays:
        return dict(arrays)


@reader("people", "train and test with files such as anna.npz, which hold depth_mm, joints_mm and camera")
class People:
    """Frames of all people, in the order of their names."""

    def __init__(self, root: Path, split: str, parts: tuple[str, ...] | None) -> None:
        self.name = "people"
        self.skeleton: Skeleton | None = find_skeleton("msra21")  # or the path of a JSON file that declares yours
        self.problems: list[Problem] = []
        self._frames: list[tuple[Path, int, np.ndarray]] = []
        files = [path for path in sorted((root / split).glob("*.npz")) if parts is None or path.stem in parts]
        if not files:
            raise FileNotFoundError(f"Found no file such as anna.npz in {root / split}.")
        for path in files:
            arrays = arrays_of(path)
            joints_mm = arrays["joints_mm"]  # (frames, 21, 3): x right, y down, z forward
            self.camera = Pinhole(*map(float, arrays["camera"]))  # fx, fy, cx, cy in pixels
            self._frames += [(path, number, joints) for number, joints in enumerate(joints_mm)]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._frames)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame."""
        path, number, joints = self._frames[index]
        arrays = arrays_of(path)
        depth_mm = arrays["depth_mm"][number].astype(np.float32)  # 0 where nothing was seen
        camera = Pinhole(*map(float, arrays["camera"]))
        if not depth_mm.any():
            raise FrameError(Problem(path, f"frame {number} is empty"))
        key = f"people/{path.parent.name}/{path.stem}/{number:06d}"
        label = None if np.isnan(joints).any() else joints.astype(np.float32)
        return HandFrame(key, path.stem, depth_mm, camera, label)

    def sequence_of(self, index: int) -> str:
        """The person of a frame. Results are also given for each person."""
        return self._frames[index][0].stem
