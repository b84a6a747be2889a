"""Reader of HANDS17, the frames of the Hands in the Million Challenge of 2017 (Yuan et al. 2017), as released.

Most of its training frames are from BigHand2.2M, whose label files have the same lines. The layout and the order of the
joints follow the challenge's description. They were tested on files that we wrote, not on a copy of the data set.
"""

from array import array
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import (
    counts_to_mm,
    iterate_rows,
    matching_camera,
    natural_order,
    parse_joints,
    relative_image,
    report_unlabelled,
    require_folder,
    second_label,
    sound_joints,
)
from crossnets.datasets.png import read_png16
from crossnets.geometry.camera import CAMERAS, CameraPreset
from crossnets.geometry.skeleton import HANDS17_21, Skeleton
from crossnets.types import HandFrame

FOLDERS = {"train": "training", "test": "frame"}
LABELS = {"train": "Training_Annotation.txt", "test": "Test_Annotation.txt"}
"""Label file of each split. The challenge kept that of the test frames, so without it they are read unlabelled."""


class Hands17:
    """Frames in the order of the label file. Test frames without labels are in the order of their names."""

    def __init__(
        self, root: Path | str, split: Literal["train", "test"], *, camera: CameraPreset | None = None
    ) -> None:
        """Read the labels of `root/training` or `root/frame`.

        Args:
            root: Folder of the data set.
            split: Training frames, or those of the single-frame test.
            camera: Calibration that replaces the preset `realsense-sr300`.

        Raises:
            OSError: the folder or the training labels are missing or cannot be read, or there are no test images.
            ValueError: the label file is empty, or the camera does not fit the images.
        """
        root = Path(root)
        require_folder(root, "HANDS17's training/Training_Annotation.txt and training/images")
        self.name = "hands17"
        self.skeleton: Skeleton | None = HANDS17_21
        self._preset = matching_camera(CAMERAS["realsense-sr300"], camera, "HANDS17")
        self.camera = self._preset.pinhole
        self.problems: list[Problem] = []
        self._split = split
        self._images = root / FOLDERS[split] / "images"
        path = root / FOLDERS[split] / LABELS[split]
        self._joints_mm: Float32[np.ndarray, "F 21 3"] | None = None
        if split == "train" or path.is_file():
            self._names, self._joints_mm = self._read(path)
        else:
            self.skeleton = None
            self._names = self._listed()

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        index = range(len(self))[index]
        name = self._names[index]
        counts = read_png16(self._images / name, [(self._preset.width_px, self._preset.height_px)])
        joints_mm = None if self._joints_mm is None else self._joints_mm[index]
        key = f"hands17/{self._split}/{_stem(name)}"
        return HandFrame(key, FOLDERS[self._split], counts_to_mm(counts, 1.0), self.camera, joints_mm)

    def sequence_of(self, index: int) -> str:
        """`training` or `frame`. The label files do not name subjects."""
        return FOLDERS[self._split]

    def _read(self, path: Path) -> tuple[list[str], Float32[np.ndarray, "F 21 3"]]:
        """Names of the images and joints in mm of the lines of a label file. Broken lines are appended to `problems`.

        The file has 957,032 lines. The joints are kept as numbers: an object for each line took 1.5 GB instead of 0.43.
        """
        places: dict[str, int] = {}
        names: list[str] = []
        numbers = array("f")
        labelled: set[str] = set()
        twice: set[int] = set()
        for line, text in iterate_rows(path, "HANDS17"):
            words = text.split()
            labelled.add(words[0])
            try:
                name, joints = _parse(words, path, line)
                if _stem(name) in places:
                    twice.add(places[_stem(name)])
                    raise second_label(PurePosixPath(name).name, path, line)
            except FrameError as error:
                self.problems.append(error.problem)
                continue
            places[_stem(name)] = len(names)
            names.append(name)
            numbers.frombytes(joints.astype(np.float32).tobytes())
        report_unlabelled(self._images, labelled, path, self.problems)
        joints_mm = np.frombuffer(numbers, np.float32).reshape(-1, len(HANDS17_21), 3)
        if twice:
            joints_mm = np.delete(joints_mm, sorted(twice), axis=0)
        return [name for place, name in enumerate(names) if place not in twice], joints_mm

    def _listed(self) -> list[str]:
        require_folder(self._images, "the depth images of HANDS17's test frames")
        return sorted((image.name for image in self._images.glob("*.png")), key=natural_order)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _parse(words: list[str], path: Path, line: int) -> tuple[str, Float64[np.ndarray, "21 3"]]:
    """Name of the image and joints in mm of a line.

    Raises:
        FrameError: the name or a coordinate is invalid.
    """
    image = relative_image(words[0], path, line)
    return str(image), sound_joints(parse_joints(words[1:], len(HANDS17_21), path, line), path, line)
