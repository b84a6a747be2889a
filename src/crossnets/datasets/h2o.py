"""Reader of H2O (Kwon et al. 2021), as released: two hands and objects, seen by a head-mounted Azure Kinect.

The layout, the label files and the order of the joints follow the authors' page (github.com/taeinkwon/h2odataset). They
were tested on files that we wrote, not on a copy of the data set.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from jaxtyping import Float32

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import (
    Row,
    SharedImage,
    broken,
    choose,
    counts_to_mm,
    numbered_rows,
    parse_joints,
    read_file,
    relative_image,
    require_folder,
    second_label,
    size_fault,
    sound_joints,
)
from crossnets.datasets.png import read_png16
from crossnets.geometry.camera import CAMERAS, CameraPreset, as_camera
from crossnets.geometry.skeleton import MEDIAPIPE21, Skeleton
from crossnets.types import HandFrame, Pinhole

SIDES = ("left", "right")
"""Hands of a label file, in its order."""
LISTS = {"train": "pose_train.txt", "val": "pose_val.txt", "test": "pose_test.txt"}
LIST_FOLDERS = ("label_split", "pose_lists", ".")
"""Folders that may hold the lists: of the download, of the authors' page, and the data set's own."""
INTRINSICS = "cam_intrinsics.txt"
_NUMBERS = 64
"""Numbers of a hand: whether it is labelled, and 21 points."""
_MOST_BYTES = 1 << 16


def list_of(root: Path, name: str) -> Path | None:
    """Find the list of a split. None if it is missing."""
    return next((path for path in (root / folder / LISTS[name] for folder in LIST_FOLDERS) if path.is_file()), None)


class H2O:
    """A frame for each labelled hand, so most images give two, the left hand's first. The frames are in list order."""

    def __init__(
        self,
        root: Path | str,
        split: Literal["train", "test"],
        parts: Sequence[str] | None = None,
        *,
        camera: CameraPreset | None = None,
    ) -> None:
        """Read the list of the split and the label of each of its images.

        Args:
            root: Folder of the data set.
            split: Frames of `pose_train.txt` or `pose_test.txt`.
            parts: Subjects and scenes to read, such as `subject3_k1`. `val` alone reads `pose_val.txt` instead. All
                frames of the split by default.
            camera: Not supported, as each recording has its own.

        Raises:
            OSError: the folder or the list is missing or cannot be read.
            ValueError: the list is empty, there is no such part, or a camera is given.
        """
        root = Path(root)
        require_folder(root, "H2O's subject1 to subject4 and label_split with pose_train.txt and pose_test.txt")
        if camera is not None:
            raise ValueError(f"H2O states the camera of each recording, but another is given for {root}. Omit it.")
        self.name = "h2o"
        self.skeleton: Skeleton | None = MEDIAPIPE21
        self.problems: list[Problem] = []
        self._root = root
        self._split = split
        self._cameras: dict[Path, CameraPreset] = {}
        self._decoded = SharedImage()
        part = "val" if parts is not None and tuple(parts) == ("val",) else None
        found = self._read_list(part or split)
        names = list(dict.fromkeys(row.sequence for row in found))
        chosen = set(choose(None if part else parts, names, "subjects and scenes", root))
        self._rows = [row for row in found if row.sequence in chosen]
        self.camera = self._first_camera()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        index = range(len(self))[index]
        row = self._rows[index]
        camera = self._camera(row.image.parent.parent)
        is_again = any(other.image == row.image for other in self._rows[index + 1 : index + 2])
        depth_mm = self._decoded.depth_mm(row.image, partial(_read_depth, row.image, camera), is_again=is_again)
        return HandFrame(row.key, row.sequence, depth_mm, camera.pinhole, row.joints_mm)

    def sequence_of(self, index: int) -> str:
        """Subject and scene, such as `subject4_h1`."""
        return self._rows[range(len(self))[index]].sequence

    def moment_of(self, index: int) -> tuple[str, str]:
        """Recording and number of the image, which are the same for both hands and for all cameras."""
        image = self._rows[range(len(self))[index]].image
        recording = image.relative_to(self._root).parts[:3]
        return "/".join(recording), image.stem

    def _read_list(self, name: str) -> list[Row]:
        """Read the labels of the listed images. If an image is listed twice, neither is used."""
        path = list_of(self._root, name)
        if path is None:
            places = ", ".join(str(self._root / folder / LISTS[name]) for folder in LIST_FOLDERS)
            raise FileNotFoundError(f"There is no list of H2O's frames at any of {places}. See docs/datasets.md.")
        rows: dict[PurePosixPath, list[Row]] = {}
        for number, line in numbered_rows(path, "H2O"):
            try:
                image = relative_image(line.split()[0], path, number)
                if image in rows:
                    rows[image] = []
                    raise second_label(str(image), path, number)
                rows[image] = self._hands_in(image, path, number)
            except FrameError as error:
                self.problems.append(error.problem)
        return [row for hands in rows.values() for row in hands]

    def _hands_in(self, image: PurePosixPath, path: Path, number: int) -> list[Row]:
        """A row for each labelled hand of an image, whose line names the colour image."""
        if len(image.parts) != 6:
            what = f"found the image {str(image)!r}, expected a path such as subject1/h1/0/cam4/rgb/000000.png"
            raise broken(path, what, number)
        subject, scene, take, camera, _, _ = image.parts
        folder = self._root / subject
        # The images of the head-mounted camera alone come in folders of another name.
        if not folder.is_dir() and folder.with_name(f"{subject}_ego").is_dir():
            folder = folder.with_name(f"{subject}_ego")
        folder = folder / scene / take / camera
        key = f"{self.name}/{self._split}/{subject}/{scene}/{take}/{camera}/{image.stem}"
        depth = folder / "depth" / f"{image.stem}.png"
        joints = read_hands(folder / "hand_pose" / f"{image.stem}.txt")
        sequence = f"{subject}_{scene}"
        return [Row(f"{key}/{side}", sequence, depth, joints_mm) for side, joints_mm in joints.items()]

    def _camera(self, folder: Path) -> CameraPreset:
        """The camera of a folder. Raises FrameError if its file is damaged."""
        if folder not in self._cameras:
            self._cameras[folder] = read_intrinsics(folder / INTRINSICS)
        return self._cameras[folder]

    def _first_camera(self) -> Pinhole:
        """The camera of the first frame. The preset's if its file cannot be read."""
        try:
            return self._camera(self._rows[0].image.parent.parent).pinhole
        except (FrameError, IndexError):
            return CAMERAS["h2o-azure-kinect"].pinhole


def _read_depth(image: Path, camera: CameraPreset) -> Float32[np.ndarray, "H W"]:
    """Depth of an image in mm. Raises FrameError if it is damaged."""
    return counts_to_mm(read_png16(image, [(camera.width_px, camera.height_px)]), 1.0)


def read_hands(path: Path) -> dict[str, Float32[np.ndarray, "21 3"]]:
    """Read the joints of the labelled hands of an image in mm, by side. The file has metres.

    Raises:
        FrameError: the file is missing or damaged.
    """
    words = read_file(path, "the label", _MOST_BYTES).decode(errors="replace").split()
    if len(words) != _NUMBERS * len(SIDES):
        raise broken(path, f"found {len(words)} numbers, expected {_NUMBERS} for each of two hands")
    hands: dict[str, Float32[np.ndarray, "21 3"]] = {}
    for number, side in enumerate(SIDES):
        flag, *numbers = words[_NUMBERS * number : _NUMBERS * (number + 1)]
        joints_m = parse_joints(numbers, len(MEDIAPIPE21), path, 1)
        labelled = _flag(flag)
        if labelled is None:
            raise broken(path, f"found {flag!r} for the {side} hand, expected 1 or 0, whether it is labelled", 1)
        if labelled:
            hands[side] = sound_joints(joints_m * 1000, path, 1).astype(np.float32)
    return hands


def _flag(word: str) -> bool | None:
    """The number 1 or 0 as a truth value. None if it is neither."""
    try:
        return {0.0: False, 1.0: True}.get(float(word))
    except ValueError:
        return None


def read_intrinsics(path: Path) -> CameraPreset:
    """Read the camera of a recording: focal lengths, centre and size of its images in px.

    Raises:
        FrameError: the file is missing or damaged.
    """
    words = read_file(path, "the file of intrinsics", _MOST_BYTES).decode(errors="replace").split()
    try:
        fx, fy, cx, cy, width, height = map(float, words)
        pinhole = as_camera((fx, fy, cx, cy)).pinhole
    except ValueError as error:
        what = f"found {' '.join(words)[:80]!r}, expected six numbers: fx fy cx cy width height"
        raise broken(path, f"{what} ({error})") from None
    if not (width.is_integer() and height.is_integer()) or size_fault(int(width), int(height)):
        raise broken(path, f"found images of {width:g} x {height:g} pixels, expected 1280 x 720")
    return CameraPreset(pinhole, int(width), int(height), 1.0, "H2O's cam_intrinsics.txt")
