"""Our own recordings: a folder of 16-bit depth PNGs with camera.json and, if labelled, labels.jsonl.

docs/recording-format.md describes the format. A folder whose sub-folders are recordings is read as their sequences.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
from jaxtyping import Float32
from PIL import Image

from crossnets.atomic import replacing, write_text
from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.files import Row, broken, choose, counts_to_mm, read_lines, require_folder, sound_joints
from crossnets.datasets.png import read_png16
from crossnets.datasets.recording_format import (
    CAMERA_FILE,
    DOCS,
    LABELS_FILE,
    MAX_COUNT,
    UNFINISHED_FILE,
    camera_fields,
    label_joints,
    parse_camera,
    parse_label,
    read_camera,
    skeleton_of,
)
from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import HandFrame


@dataclass(frozen=True)
class _Folder:
    """One recording on disk."""

    path: Path
    camera: CameraPreset
    images: dict[str, Path]
    skeleton: Skeleton | None
    joints_mm: dict[str, Float32[np.ndarray, "J 3"]]
    rejected: set[str]
    """Images whose label is broken. They are left out."""


class Recording:
    """Frames in the order of their numbers, one recording after the other."""

    def __init__(
        self,
        root: Path | str,
        sequences: Sequence[str] | None = None,
        *,
        camera: CameraPreset | None = None,
        depth_unit_mm: float | None = None,
    ) -> None:
        """Read one recording, or all recordings directly below `root`.

        Args:
            root: A folder with PNGs and camera.json, or a folder of such folders.
            sequences: Names of the sub-folders to read; None for all.
            camera: Used instead of camera.json, which may then be missing.
            depth_unit_mm: Millimetres per depth count, instead of the camera's.

        Raises:
            OSError: the folder or camera.json is missing or may not be read.
            ValueError: camera.json or the head of labels.jsonl is wrong, or there are no images.
        """
        root = Path(root)
        root = root.resolve() if root.name in ("", "..") else root  # these are no names
        require_folder(root, f"16-bit depth PNGs and {CAMERA_FILE}, or folders of such")
        if depth_unit_mm is not None and not 0 < depth_unit_mm < 1000:
            raise ValueError(f"depth_unit_mm={depth_unit_mm}; expected millimetres per count, above 0 and below 1000.")
        self.name = "recording"
        self.problems: list[Problem] = []
        folders = [_open_folder(path, camera, depth_unit_mm, self.problems) for path in _recordings_in(root, sequences)]
        self.camera = folders[0].camera.pinhole
        self.skeleton = _common_skeleton(folders)
        self._cameras = {folder.path: folder.camera for folder in folders}
        self._rows = [
            Row(f"recording/{folder.path.name}/{path.stem}", folder.path.name, path, folder.joints_mm.get(name))
            for folder in folders
            for name, path in folder.images.items()
            if name not in folder.rejected
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame; see `HandDataset`. Its camera is the one of its own recording."""
        row = self._rows[range(len(self))[index]]
        camera = self._cameras[row.image.parent]
        raw = read_png16(row.image, [(camera.width_px, camera.height_px)])
        depth_mm = counts_to_mm(raw, camera.depth_unit_mm)
        return HandFrame(row.key, row.sequence, depth_mm, camera.pinhole, row.joints_mm)

    def sequence_of(self, index: int) -> str:
        """Name of the folder."""
        return self._rows[range(len(self))[index]].sequence


class RecordingWriter:
    """Writes a recording; a context manager. Every file appears whole: it is written under another name first."""

    def __init__(
        self, root: Path | str, camera: CameraPreset, skeleton: Skeleton | None = None, name: str | None = None
    ) -> None:
        """Make the folder and its camera.json. `skeleton` is that of the labels, None to write none.

        Raises:
            FileExistsError: the folder exists and is not empty.
            ValueError: the camera's numbers are impossible.
        """
        self._root = Path(root)
        fields = camera_fields(camera, name)
        parse_camera(fields, self._root / CAMERA_FILE)
        if self._root.exists() and any(self._root.iterdir()):
            raise FileExistsError(f"{self._root} is not empty. Give a new folder: recordings are not overwritten.")
        self._root.mkdir(parents=True, exist_ok=True)
        self._camera, self._skeleton, self._count = camera, skeleton, 0
        write_text(self._root / CAMERA_FILE, json.dumps(fields, indent=2) + "\n")
        self._labels: TextIO | None = None

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "J 3"] | None = None) -> Path:
        """Write one frame, depth rounded to the camera's unit, and its label; returns the path of the PNG.

        Raises:
            ValueError: the depth or the joints do not fit the camera or the skeleton.
        """
        counts = self._counts(depth_mm)
        name = f"{self._count:06d}.png"
        line = None if joints_mm is None else self._label_line(name, joints_mm)
        path = self._root / name
        with replacing(path) as part:
            Image.fromarray(counts).save(part, format="PNG")
        self._count += 1
        if line is not None:
            self._append(line)
        return path

    def close(self) -> None:
        """Give the labels their final name."""
        if self._labels is None:
            return
        self._labels.flush()
        os.fsync(self._labels.fileno())
        self._labels.close()
        self._labels = None
        (self._root / UNFINISHED_FILE).replace(self._root / LABELS_FILE)

    def __enter__(self) -> "RecordingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _counts(self, depth_mm: Float32[np.ndarray, "H W"]) -> np.ndarray:
        width, height = self._camera.width_px, self._camera.height_px
        if depth_mm.shape != (height, width):
            raise ValueError(f"Found depth of shape {depth_mm.shape}, expected {(height, width)} as in {CAMERA_FILE}.")
        counts = np.rint(depth_mm.astype(np.float64) / self._camera.depth_unit_mm)
        if not (np.isfinite(counts).all() and counts.min() >= 0 and counts.max() <= MAX_COUNT):
            raise ValueError(
                f"Depth must be finite and from 0 to {MAX_COUNT * self._camera.depth_unit_mm:g} mm, which is what "
                f"16 bits hold at {self._camera.depth_unit_mm} mm a count; found {np.min(depth_mm)} to "
                f"{np.max(depth_mm)}. Set what is too far to 0, or take a larger unit."
            )
        return counts.astype(np.uint16)

    def _label_line(self, name: str, joints_mm: Float32[np.ndarray, "J 3"]) -> str:
        if self._skeleton is None or joints_mm.shape != (len(self._skeleton), 3):
            expected = "no joints: give the writer a skeleton" if self._skeleton is None else f"{len(self._skeleton)}"
            raise ValueError(f"Found {len(joints_mm)} joints, expected {expected}.")
        try:
            sound_joints(joints_mm.astype(np.float64), self._root / name)
        except FrameError as error:
            raise ValueError(f"These joints are no label: {error.problem.what}.") from error
        return json.dumps({"frame": name, "joints_mm": [[float(v) for v in joint] for joint in joints_mm]})

    def _append(self, line: str) -> None:
        if self._labels is None:
            assert self._skeleton is not None
            self._labels = (self._root / UNFINISHED_FILE).open("w", encoding="utf-8")
            self._labels.write(json.dumps({"skeleton": self._skeleton.name}) + "\n")
        self._labels.write(line + "\n")
        self._labels.flush()


def images_in(folder: Path) -> dict[str, Path]:
    """The PNGs of a folder by name, in the order of their numbers."""
    paths = [path for path in folder.glob("*.png") if not path.name.startswith(".")]
    paths.sort(key=lambda p: (0, int(p.stem), p.name) if p.stem.isdecimal() else (1, 0, p.name))
    return {path.name: path for path in paths}


def _recordings_in(root: Path, sequences: Sequence[str] | None) -> list[Path]:
    if (root / CAMERA_FILE).is_file() or images_in(root):
        choose(sequences, [root.name], "the sequences", root)
        return [root]
    folders = [p for p in sorted(root.iterdir()) if p.is_dir() and ((p / CAMERA_FILE).is_file() or images_in(p))]
    if not folders:
        raise FileNotFoundError(
            f"Found no PNG in {root} or in a folder directly below it. Expected 16-bit depth PNGs and {CAMERA_FILE}. "
            + DOCS
        )
    return [root / name for name in choose(sequences, [p.name for p in folders], "the sequences", root)]


def _open_folder(
    path: Path, given: CameraPreset | None, depth_unit_mm: float | None, problems: list[Problem]
) -> _Folder:
    images = images_in(path)
    if not images:
        raise FileNotFoundError(f"Found {CAMERA_FILE} but no PNG in {path}. Expected 16-bit depth PNGs. {DOCS}")
    camera = given if given is not None else read_camera(path, images)
    if depth_unit_mm is not None:
        camera = camera._replace(depth_unit_mm=depth_unit_mm)
    folder = _Folder(path, camera, images, skeleton_of(path), {}, set())
    if (path / UNFINISHED_FILE).is_file():
        what = f"the recording was not closed; rename it to {LABELS_FILE} to use these labels"
        problems.append(Problem(path / UNFINISHED_FILE, what))
    if folder.skeleton is not None:
        _read_labels(folder, folder.skeleton, problems)
    return folder


def _common_skeleton(folders: list[_Folder]) -> Skeleton | None:
    skeletons = {f.skeleton.name: f.skeleton for f in folders if f.skeleton is not None}
    if len(skeletons) > 1:
        raise ValueError(
            f"The recordings below {folders[0].path.parent} are labelled with different skeletons: "
            f"{', '.join(skeletons)}. Expected one; open those of one skeleton, as recording:PATH#NAME,NAME."
        )
    return next(iter(skeletons.values()), None)


def _read_labels(folder: _Folder, skeleton: Skeleton, problems: list[Problem]) -> None:
    """Fill the joints of a recording. A frame whose label is broken is rejected."""
    path = folder.path / LABELS_FILE
    for number, line in enumerate(read_lines(path, "recording")[1:], 2):
        if not line.strip():
            continue
        try:
            name, joints = parse_label(line, path, number)
            if name not in folder.images:
                raise broken(path, f"there is no image {name!r}", number)
            if name in folder.joints_mm or name in folder.rejected:
                folder.rejected.add(name)
                raise broken(path, f"a second label of {name!r}; the frame is left out", number)
            folder.rejected.add(name)  # until the label has passed
            folder.joints_mm[name] = label_joints(joints, skeleton, path, number)
            folder.rejected.discard(name)
        except FrameError as error:
            problems.append(error.problem)
