"""Reader of MSRA hand gestures (Sun et al. 2015) as released, without crop and augmentation."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import (
    Row,
    broken,
    choose,
    counted_rows,
    matching_camera,
    parse_joints,
    read_image_bytes,
    require_folder,
    sound_joints,
)
from crossnets.geometry.camera import CAMERAS, CameraPreset
from crossnets.geometry.skeleton import MSRA21, Skeleton
from crossnets.types import HandFrame

_HEADER = struct.Struct("<6i")
"""Width and height of the image, then left, top, right and bottom of the box."""
_FILE_TO_CAMERA = np.array([1, -1, -1])
"""In the file y points up and z towards the viewer. In our camera frame y points down and z forward."""


class MSRA:
    """Frames of the subjects in order, one gesture after the other."""

    def __init__(
        self, root: Path | str, subjects: Sequence[str] | None = None, *, camera: CameraPreset | None = None
    ) -> None:
        """Read the labels in `root/P*/*/joint.txt`.

        Args:
            root: Folder of the data set.
            subjects: Names such as ("P0", "P3"). None reads all subjects.
            camera: Calibration that replaces the preset `msra-senz3d`.

        Raises:
            OSError: the folder is missing, empty or cannot be read, or contains no subjects.
            ValueError: a requested subject is missing, or the camera does not fit the images.
        """
        root = Path(root)
        require_folder(root, "MSRA's P0 to P8")
        self.name = "msra"
        self.skeleton: Skeleton | None = MSRA21
        self._preset = matching_camera(CAMERAS["msra-senz3d"], camera, "MSRA")
        self.camera = self._preset.pinhole
        self.problems: list[Problem] = []
        self._rows: list[Row] = []
        available = sorted({path.parent.parent.name for path in root.glob("P*/*/joint.txt")})
        if not available:
            raise FileNotFoundError(
                f"Found no file such as P0/1/joint.txt in {root}. Expected MSRA's folders P0 to P8 with the gestures "
                "inside. See docs/datasets.md for the files and where they go."
            )
        for subject in choose(subjects, available, "the subjects", root):
            for gesture in sorted(path for path in (root / subject).iterdir() if path.is_dir()):
                self._read_gesture(gesture)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        row = self._rows[range(len(self))[index]]
        depth_mm = read_bin(row.image, self._preset.width_px, self._preset.height_px)
        return HandFrame(row.key, row.sequence, depth_mm, self.camera, row.joints_mm)

    def sequence_of(self, index: int) -> str:
        """The subject, `P0` to `P8`."""
        return self._rows[range(len(self))[index]].sequence

    def _read_gesture(self, folder: Path) -> None:
        """Read the labels of one gesture. Row i of joint.txt, counted from 0, belongs to the image with number i."""
        path = folder / "joint.txt"
        subject = folder.parent.name
        lines = counted_rows(path, "MSRA", self.problems)
        if lines is None:
            return
        images = sum(1 for _ in folder.glob("*_depth.bin"))
        if images != len(lines):
            what = f"found {len(lines)} rows, but {images} images. Row i is used for image i"
            self.problems.append(Problem(path, what))
        for index, (number, line) in enumerate(lines):
            try:
                joints = parse_joints(line.split(), len(MSRA21), path, number) * _FILE_TO_CAMERA
                joints_mm = sound_joints(joints, path, number).astype(np.float32)
            except FrameError as error:
                self.problems.append(error.problem)
                continue
            name = f"{index:06d}"
            key = f"msra/{subject}/{folder.name}/{name}"
            self._rows.append(Row(key, subject, folder / f"{name}_depth.bin", joints_mm))


def read_bin(path: Path, width_px: int, height_px: int) -> Float32[np.ndarray, "{height_px} {width_px}"]:
    """Read one `.bin` as a whole image of depth in mm.

    The file has a header of six int32, then the depth of the hand's box as float32. The image is 0 outside of the box.

    Raises:
        FrameError: the file is missing, truncated or too long, or its header or a depth is invalid.
    """
    data = read_image_bytes(path)
    if len(data) < _HEADER.size:
        raise broken(path, f"found {len(data)} bytes, expected a header of {_HEADER.size}")
    width, height, left, top, right, bottom = _HEADER.unpack_from(data)
    if (width, height) != (width_px, height_px):
        raise broken(path, f"the header says {width}x{height} pixels, expected {width_px}x{height_px}")
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise broken(path, f"the header's box ({left}, {top}) to ({right}, {bottom}) is empty or leaves the image")
    expected = _HEADER.size + 4 * (right - left) * (bottom - top)
    if len(data) != expected:
        raise broken(path, f"found {len(data)} bytes, expected {expected} for the box of {right - left}x{bottom - top}")
    box = np.frombuffer(data, "<f4", offset=_HEADER.size).reshape(bottom - top, right - left)
    if not (np.isfinite(box).all() and (box >= 0).all()):
        raise broken(path, "a depth is negative or not finite")
    depth_mm = np.zeros((height, width), np.float32)
    depth_mm[top:bottom, left:right] = box
    return depth_mm
