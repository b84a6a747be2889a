"""Reader of HANDS17, the frames of the Hands in the Million Challenge of 2017 (Yuan et al. 2017), as released.

Most of its training frames are from BigHand2.2M, whose label files have the same lines. The layout and the order of the
joints follow the challenge's description. They were tested on files that we wrote, not on a copy of the data set.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from crossnets.datasets.dataset import Problem
from crossnets.datasets.files import (
    Row,
    Rows,
    counts_to_mm,
    matching_camera,
    natural_order,
    numbered_rows,
    parse_joints,
    relative_image,
    report_unlabelled,
    require_folder,
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
        if split == "train" or path.is_file():
            rows = Rows(self.problems)
            lines = numbered_rows(path, "HANDS17")
            rows.read(path, lines, lambda number, words: self._row(path, number, words))
            self._rows = rows.kept()
            report_unlabelled(self._images, {line.split()[0] for _, line in lines}, path, self.problems)
        else:
            self.skeleton = None
            self._rows = [self._unlabelled(image) for image in self._listed()]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        row = self._rows[range(len(self))[index]]
        counts = read_png16(row.image, [(self._preset.width_px, self._preset.height_px)])
        return HandFrame(row.key, row.sequence, counts_to_mm(counts, 1.0), self.camera, row.joints_mm)

    def sequence_of(self, index: int) -> str:
        """`training` or `frame`. The label files do not name subjects."""
        return self._rows[range(len(self))[index]].sequence

    def _row(self, path: Path, number: int, words: list[str]) -> Row:
        image = relative_image(words[0], path, number)
        joints = sound_joints(parse_joints(words[1:], len(HANDS17_21), path, number), path, number)
        key = f"hands17/{self._split}/{image.with_suffix('')}"
        return Row(key, FOLDERS[self._split], self._images / image, joints.astype(np.float32))

    def _listed(self) -> list[Path]:
        require_folder(self._images, "the depth images of HANDS17's test frames")
        return sorted(self._images.glob("*.png"), key=lambda image: natural_order(image.name))

    def _unlabelled(self, image: Path) -> Row:
        return Row(f"hands17/{self._split}/{image.stem}", FOLDERS[self._split], image, None)
