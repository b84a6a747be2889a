"""Reader of ICVL (Tang et al. 2014) as released, without crop and augmentation."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from crossnets.datasets.dataset import Problem
from crossnets.datasets.file_checks import (
    NOTHING_SEEN,
    Row,
    Rows,
    choose,
    matching_camera,
    numbered_rows,
    parse_joints,
    relative_image,
    require_folder,
    sound_joints,
)
from crossnets.datasets.png import read_png16
from crossnets.geometry.camera import CAMERAS, CameraPreset, unproject
from crossnets.geometry.skeleton import ICVL16, Skeleton
from crossnets.types import HandFrame

PAPER_PARTS = ("-22-5", "2014", "45", "67-5")
"""First characters of the training lines that the paper uses: the originals and three rotations (spec 1.6)."""
ALL_PARTS = ("all",)
"""Selects every training line."""
_TEST_PARTS = ("seq1", "seq2")
_RECORDING = re.compile(r"20\d{10}")
"""Name of a recording's folder, such as `201403121135`."""
_TEST_BACKGROUND_MM = 500
"""In test images this depth and everything farther is background (spec 1.4)."""


class ICVL:
    """Frames in the order of the label files."""

    def __init__(
        self,
        root: Path | str,
        split: Literal["train", "test"],
        parts: Sequence[str] | None = None,
        *,
        camera: CameraPreset | None = None,
    ) -> None:
        """Read the labels of `root/Training` or `root/Testing`.

        Args:
            root: Folder of the data set.
            split: Training frames, or the two test sequences.
            parts: For training, the first characters of the lines to use. None uses `PAPER_PARTS`, and `ALL_PARTS`
                uses every line. For test, `seq1` and `seq2`. None uses both.
            camera: Calibration that replaces the preset `icvl-senz3d`.

        Raises:
            OSError: the folder or a label file is missing or cannot be read.
            ValueError: a label file is empty, a requested part is missing, or the camera does not fit the images.
        """
        root = Path(root)
        require_folder(root, "ICVL's Training and Testing")
        self.name = "icvl"
        self.skeleton: Skeleton | None = ICVL16
        self._preset = matching_camera(CAMERAS["icvl-senz3d"], camera, "ICVL")
        self.camera = self._preset.pinhole
        self.problems: list[Problem] = []
        self._split = split
        rows = Rows(self.problems)
        if split == "train":
            self._read_training(root / "Training", tuple(parts or PAPER_PARTS), rows)
        else:
            self._read_testing(root / "Testing", choose(parts, _TEST_PARTS, "the test sequences", root), rows)
        self._rows = rows.kept()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        row = self._rows[range(len(self))[index]]
        raw = read_png16(row.image, [(self._preset.width_px, self._preset.height_px)])
        unseen = raw >= _TEST_BACKGROUND_MM if self._split == "test" else raw == NOTHING_SEEN
        depth_mm = np.where(unseen, 0, raw).astype(np.float32)
        return HandFrame(row.key, row.sequence, depth_mm, self.camera, row.joints_mm)

    def sequence_of(self, index: int) -> str:
        """`seq1` or `seq2`. For training, the first folder of the image, such as `201403121135` or `45`."""
        return self._rows[range(len(self))[index]].sequence

    def moment_of(self, index: int) -> tuple[str, str]:
        """Recording and image. A rotated copy has those of its original.

        Raises:
            ValueError: the folders of a rotated copy do not name its recording.
        """
        row = self._rows[range(len(self))[index]]
        recording = row.image.parent.name
        if self._split == "train" and not _RECORDING.fullmatch(recording):
            raise ValueError(
                f"{row.key} is a rotated copy, and its folders do not say of which recording. Give the originals "
                "alone, as in icvl:PATH#2014."
            )
        return recording, row.image.stem

    def _read_training(self, folder: Path, starts: tuple[str, ...], rows: Rows) -> None:
        path = folder / "labels.txt"
        lines = numbered_rows(path, "ICVL")
        wanted = [(n, line) for n, line in lines if starts == ALL_PARTS or line.lstrip().startswith(starts)]
        if not wanted:
            raise ValueError(
                f"No line of {path} starts with {', '.join(starts)}; its first is {lines[0][1][:60]!r}. "
                "Give the first characters of the lines to use, or `all`."
            )
        rows.read(path, wanted, partial(self._row, path, sequence=None))

    def _read_testing(self, folder: Path, parts: tuple[str, ...], rows: Rows) -> None:
        """Read test_seq_1.txt and test_seq_2.txt. If both are missing, the lines of labels.txt are used instead."""
        labels = folder / "labels.txt"
        files = {part: folder / f"test_{part[:3]}_{part[3:]}.txt" for part in parts}
        is_one_file = labels.is_file() and not any(path.is_file() for path in files.values())
        for part, file in files.items():
            path = labels if is_one_file else file
            lines = numbered_rows(path, "ICVL")
            if is_one_file:
                lines = [(n, line) for n, line in lines if line.split()[0].removeprefix("./").startswith(file.stem)]
            rows.read(path, lines, partial(self._row, path, sequence=part))

    def _row(self, path: Path, number: int, words: list[str], sequence: str | None) -> Row:
        images = path.parent / "Depth"
        image = relative_image(words[0], path, number)
        uvd = sound_joints(parse_joints(words[1:], len(ICVL16), path, number), path, number)
        key = f"icvl/{self._split}/{image.with_suffix('')}"
        joints_mm = sound_joints(unproject(uvd, self.camera), path, number)
        return Row(key, sequence or image.parts[0], images / image, joints_mm.astype(np.float32))
