"""CVAR (Oberweger et al. 2016), read as released: no crop, no augmentation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.files import (
    NOTHING_SEEN,
    Row,
    Rows,
    broken,
    choose,
    counted_rows,
    counts_to_mm,
    matching_camera,
    parse_joints,
    relative_image,
    require_folder,
    sound_joints,
)
from crossnets.datasets.png import read_png16
from crossnets.geometry.camera import CAMERAS, CameraPreset, unproject
from crossnets.geometry.skeleton import CVAR21, Skeleton
from crossnets.types import HandFrame

_EMPTY = (0, NOTHING_SEEN)


class CVAR:
    """Frames of the sequences in their order. Rows whose image was not released are left out as problems."""

    def __init__(
        self, root: Path | str, sequences: Sequence[str] | None = None, *, camera: CameraPreset | None = None
    ) -> None:
        """Read `root/P*/joint.txt`; `sequences` such as ("P1", "P4"), None for all.

        Raises:
            OSError: the folder is missing or empty, or may not be read.
            ValueError: there are no sequences, or not those asked for.
        """
        root = Path(root)
        require_folder(root, "CVAR's P1, P4, P5 and so on")
        self.name = "cvar"
        self.skeleton: Skeleton | None = CVAR21
        self._preset = matching_camera(CAMERAS["cvar-senz3d"], camera, "CVAR")
        self.camera = self._preset.pinhole
        self.problems: list[Problem] = []
        rows = Rows()
        available = sorted(path.parent.name for path in root.glob("*/joint.txt"))
        if not available:
            one = (
                f" {root} is itself one sequence: give cvar:{root.parent}#{root.name}."
                if (root / "joint.txt").is_file()
                else ""
            )
            raise FileNotFoundError(
                f"Found no P1/joint.txt or the like in {root}. Expected CVAR's folders P1, P4 and so on.{one} "
                "See docs/datasets.md for the files and where they go."
            )
        for sequence in choose(sequences, available, "the sequences", root):
            self._read_sequence(root / sequence, rows)
        self._rows = rows.kept()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame; see `HandDataset`."""
        row = self._rows[range(len(self))[index]]
        width, height = self._preset.width_px, self._preset.height_px
        raw = read_png16(row.image, [(width, height), (width + 1, height)])
        if not np.isin(raw[:, width:], _EMPTY).all():
            raise broken(row.image, f"column {width} holds depth; expected {width} columns, or an empty last one")
        raw = raw[:, :width]
        depth_mm = counts_to_mm(raw, 1.0)
        return HandFrame(row.key, row.sequence, depth_mm, self.camera, row.joints_mm)

    def sequence_of(self, index: int) -> str:
        """The folder, such as `P1`."""
        return self._rows[range(len(self))[index]].sequence

    def _read_sequence(self, folder: Path, rows: Rows) -> None:
        path = folder / "joint.txt"
        try:
            lines = counted_rows(path, "CVAR", self.problems)
        except (OSError, ValueError) as error:  # the other sequences are still there
            self.problems.append(Problem(path, str(error)))
            return
        self._check_detections(folder / "detections.txt", len(lines))
        for number, line in lines:
            if not line.strip():
                continue
            try:
                rows.add(self._row(path, number, line.split()), path, number)
            except FrameError as error:
                self.problems.append(error.problem)

    def _row(self, path: Path, number: int, words: list[str]) -> Row:
        folder = path.parent
        image = folder / relative_image(words[0], path, number).name  # the release writes ./CVAR/P1/000000_depth.png
        uvd = sound_joints(parse_joints(words[1:], len(CVAR21), path, number), path, number)
        if not image.is_file():
            raise broken(path, f"the image {image.name} of this row is missing", number)
        key = f"cvar/{folder.name}/{image.stem.removesuffix('_depth')}"
        return Row(key, folder.name, image, unproject(uvd, self.camera).astype(np.float32))

    def _check_detections(self, path: Path, expected: int) -> None:
        """The detections are not used. A wrong number of them says that the release is incomplete."""
        if not path.is_file():
            return
        try:
            found = len(counted_rows(path, "CVAR", self.problems))
        except (OSError, ValueError) as error:
            self.problems.append(Problem(path, str(error)))
            return
        if found != expected:
            self.problems.append(Problem(path, f"found {found} detections, but joint.txt has {expected} rows"))
