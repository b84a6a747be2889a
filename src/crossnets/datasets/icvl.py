"""ICVL (Tang et al. 2014), read as released: no crop, no augmentation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.files import (
    NOTHING_SEEN,
    Row,
    Rows,
    choose,
    matching_camera,
    numbered_rows,
    parse_joints,
    read_lines,
    relative_image,
    require_folder,
    sound_joints,
)
from crossnets.datasets.png import read_png16
from crossnets.geometry.camera import CAMERAS, CameraPreset, unproject
from crossnets.geometry.skeleton import ICVL16, Skeleton
from crossnets.types import HandFrame

PAPER_PARTS = ("-22-5", "2014", "45", "67-5")
"""Starts of the training lines that the paper uses: the originals and three rotations (spec 1.6)."""
ALL_PARTS = ("all",)
_TEST_PARTS = ("seq1", "seq2")
_TEST_BACKGROUND_MM = 500
"""Test depth from here on is not the hand (spec 1.4)."""


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
            parts: Training: how the lines to use start (None: `PAPER_PARTS`; `ALL_PARTS`: every line).
                Test: `seq1`, `seq2` (None: both).
            camera: Another calibration than the preset `icvl-senz3d`.

        Raises:
            OSError: the folder or a label file is missing, or may not be read.
            ValueError: a label file is empty, or there is no such part.
        """
        root = Path(root)
        require_folder(root, "ICVL's Training and Testing")
        self.name = "icvl"
        self.skeleton: Skeleton | None = ICVL16
        self._preset = matching_camera(CAMERAS["icvl-senz3d"], camera, "ICVL")
        self.camera = self._preset.pinhole
        self.problems: list[Problem] = []
        self._split = split
        self._found = Rows()
        if split == "train":
            self._read_training(root / "Training", tuple(parts or PAPER_PARTS))
        else:
            self._read_testing(root / "Testing", choose(parts, _TEST_PARTS, "the test sequences", root))
        self._rows = self._found.kept()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame; see `HandDataset`."""
        row = self._rows[range(len(self))[index]]
        raw = read_png16(row.image, [(self._preset.width_px, self._preset.height_px)])
        unseen = raw >= _TEST_BACKGROUND_MM if self._split == "test" else raw == NOTHING_SEEN
        depth_mm = np.where(unseen, 0, raw).astype(np.float32)
        return HandFrame(row.key, row.sequence, depth_mm, self.camera, row.joints_mm)

    def sequence_of(self, index: int) -> str:
        """`seq1` or `seq2`; in training the first folder of the image, such as `201403121135` or `45`."""
        return self._rows[range(len(self))[index]].sequence

    def _read_training(self, folder: Path, starts: tuple[str, ...]) -> None:
        path = folder / "labels.txt"
        lines = numbered_rows(read_lines(path, "ICVL"))
        wanted = [(n, line) for n, line in lines if starts == ALL_PARTS or line.lstrip().startswith(starts)]
        if not wanted:
            raise ValueError(
                f"No line of {path} starts with {', '.join(starts)}; its first is {lines[0][1][:60]!r}. "
                "Name how the lines to use start, or `all`."
            )
        self._add(path, wanted, folder / "Depth", sequence=None)

    def _read_testing(self, folder: Path, parts: tuple[str, ...]) -> None:
        files = {part: folder / f"test_{part[:3]}_{part[3:]}.txt" for part in parts}
        if not any(path.is_file() for path in files.values()) and (folder / "labels.txt").is_file():
            for part, path in files.items():
                labels = folder / "labels.txt"
                lines = numbered_rows(read_lines(labels, "ICVL"))
                own = [(n, line) for n, line in lines if line.split()[0].removeprefix("./").startswith(path.stem)]
                self._add(labels, own, folder / "Depth", part)
            return
        for part, path in files.items():
            self._add(path, numbered_rows(read_lines(path, "ICVL")), folder / "Depth", part)

    def _add(self, path: Path, lines: list[tuple[int, str]], images: Path, sequence: str | None) -> None:
        for number, line in lines:
            try:
                self._found.add(self._row(path, number, line.split(), images, sequence), path, number)
            except FrameError as error:
                self.problems.append(error.problem)

    def _row(self, path: Path, number: int, words: list[str], images: Path, sequence: str | None) -> Row:
        image = relative_image(words[0], path, number)
        uvd = sound_joints(parse_joints(words[1:], len(ICVL16), path, number), path, number)
        key = f"icvl/{self._split}/{image.with_suffix('')}"
        return Row(key, sequence or image.parts[0], images / image, unproject(uvd, self.camera).astype(np.float32))
