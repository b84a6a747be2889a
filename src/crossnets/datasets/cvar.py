"""Reader of CVAR (Oberweger et al. 2016) as released, without crop and augmentation."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from crossnets.datasets.dataset import Problem
from crossnets.datasets.file_checks import (
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
"""Values of pixels without depth."""


class CVAR:
    """Frames of the sequences in order. Rows without a released image are left out and reported as problems."""

    def __init__(
        self, root: Path | str, sequences: Sequence[str] | None = None, *, camera: CameraPreset | None = None
    ) -> None:
        """Read the labels in `root/P*/joint.txt`.

        Args:
            root: Folder of the data set.
            sequences: Names such as ("P1", "P4"). None reads all sequences.
            camera: Calibration that replaces the preset `cvar-senz3d`.

        Raises:
            OSError: the folder is missing, empty or cannot be read, or contains no sequences.
            ValueError: a requested sequence is missing, or the camera does not fit the images.
        """
        root = Path(root)
        require_folder(root, "CVAR's P1, P4, P5 and so on")
        self.name = "cvar"
        self.skeleton: Skeleton | None = CVAR21
        self._preset = matching_camera(CAMERAS["cvar-senz3d"], camera, "CVAR")
        self.camera = self._preset.pinhole
        self.problems: list[Problem] = []
        rows = Rows(self.problems)
        available = sorted(path.parent.name for path in root.glob("*/joint.txt"))
        if not available:
            hint = ""
            if (root / "joint.txt").is_file():
                hint = f" {root} is itself one sequence: give cvar:{root.parent}#{root.name}."
            raise FileNotFoundError(
                f"Found no file such as P1/joint.txt in {root}. Expected CVAR's folders P1, P4 and so on.{hint} "
                "See docs/datasets.md for the files and where they go."
            )
        for sequence in choose(sequences, available, "the sequences", root):
            self._read_sequence(root / sequence, rows)
        self._rows = rows.kept()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        row = self._rows[range(len(self))[index]]
        width, height = self._preset.width_px, self._preset.height_px
        # Some released images have an additional last column. It must be empty and is cut off.
        raw = read_png16(row.image, [(width, height), (width + 1, height)])
        if not np.isin(raw[:, width:], _EMPTY).all():
            raise broken(row.image, f"column {width} holds depth; expected {width} columns, or an empty last one")
        depth_mm = counts_to_mm(raw[:, :width], 1.0)
        return HandFrame(row.key, row.sequence, depth_mm, self.camera, row.joints_mm)

    def sequence_of(self, index: int) -> str:
        """Name of the sequence's folder, such as `P1`."""
        return self._rows[range(len(self))[index]].sequence

    def _read_sequence(self, folder: Path, rows: Rows) -> None:
        path = folder / "joint.txt"
        lines = counted_rows(path, "CVAR", self.problems)
        if lines is None:
            return
        self._check_detections(folder / "detections.txt", len(lines))
        rows.read(path, lines, partial(self._row, path))

    def _row(self, path: Path, number: int, words: list[str]) -> Row:
        folder = path.parent
        # The release writes ./CVAR/P1/000000_depth.png. The image lies beside the label file, so only its name is used.
        image = folder / relative_image(words[0], path, number).name
        uvd = sound_joints(parse_joints(words[1:], len(CVAR21), path, number), path, number)
        if not image.is_file():
            raise broken(path, f"the image {image.name} of this row is missing", number)
        key = f"cvar/{folder.name}/{image.stem.removesuffix('_depth')}"
        joints_mm = sound_joints(unproject(uvd, self.camera), path, number)
        return Row(key, folder.name, image, joints_mm.astype(np.float32))

    def _check_detections(self, path: Path, expected: int) -> None:
        """Compare the number of detections with that of the labels. A difference shows an incomplete release.

        The detections themselves are not used.
        """
        if not path.is_file():
            return
        lines = counted_rows(path, "CVAR", self.problems)
        if lines is not None and len(lines) != expected:
            self.problems.append(Problem(path, f"found {len(lines)} detections, but joint.txt has {expected} rows"))
