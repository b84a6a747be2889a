"""Readers of HO-3D v2 and v3 (Hampali et al. 2020) and of H2O-3D (2022), as released: hands that hold objects.

HO-3D has right hands, and H2O-3D has both. The layout, the coding of depth and the order of the joints follow the
authors' tools (github.com/shreyashampali/ho3d). They were tested on files that we wrote, not on copies of either set.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import (
    Row,
    Rows,
    SharedImage,
    broken,
    choose,
    counts_to_mm,
    numbered_rows,
    read_file,
    relative_image,
    require_folder,
    sound_joints,
)
from crossnets.datasets.pickled import MAX_BYTES, numbers_of, read_pickle
from crossnets.datasets.png import read_png_rgb
from crossnets.geometry.camera import CAMERAS, CameraPreset, as_camera
from crossnets.geometry.skeleton import HO3D_21, Skeleton
from crossnets.json_text import parse_json
from crossnets.types import HandFrame, Pinhole

FOLDERS = {"train": "train", "test": "evaluation"}
"""Folder of each split. The list of its frames has the same name and ends in `.txt`."""
TEST_LABELS = "evaluation_xyz.json"
"""Labels of the evaluation frames, which the challenge kept. Without them these frames are unlabelled."""
OPENGL = np.array([1.0, -1.0, -1.0])
"""Labels are in OpenGL's frame, where y points up and z points to the viewer. The same factors lead back."""
_PRESET = CAMERAS["ho3d-sr300"]


_OF_A_CAMERA = re.compile(r"(\D+\d)\d")
"""Name of a sequence that several cameras recorded, such as ABF1, with the number of the camera."""


class _Hand(NamedTuple):
    """A hand of each image, and the names of its values in the labels."""

    suffix: str
    """End of the key of its frames."""
    joints: str
    valid: str | None
    """Name of the flags that say which joints are labelled. Without it all are."""


class _Listed:
    """Frames in the order of the list of the split, and the hands of an image one after the other."""

    name: str
    _title: str
    _hands: tuple[_Hand, ...]

    def __init__(
        self,
        root: Path | str,
        split: Literal["train", "test"],
        sequences: Sequence[str] | None = None,
        *,
        camera: CameraPreset | None = None,
    ) -> None:
        """Read `root/train.txt` or `root/evaluation.txt`. The labels of a frame are read with its image.

        Args:
            root: Folder of the data set.
            split: Training frames, or those of the evaluation.
            sequences: Sequences to read, such as `SM1`. All by default.
            camera: Not supported, as the label of each frame states its own.

        Raises:
            OSError: the folder or the list is missing or cannot be read.
            ValueError: the list is empty, the labels of the evaluation do not belong to it, there is no such sequence,
                or a camera is given.
        """
        root = Path(root)
        require_folder(root, f"{self._title}'s train, train.txt, evaluation and evaluation.txt")
        if camera is not None:
            raise ValueError(
                f"{self._title} states the camera of each frame, but another camera is given for {root}. Omit it."
            )
        self.skeleton: Skeleton | None = HO3D_21
        self.problems: list[Problem] = []
        self._split = split
        self._decoded = SharedImage()
        self._folder = root / FOLDERS[split]
        path = root / f"{FOLDERS[split]}.txt"
        lines = numbered_rows(path, self._title)
        self.listed = tuple(f"{self.name}/{split}/{line.split()[0]}" for _, line in lines)
        """Key of each line of the list. Frames that are left out have one too."""
        labels = self._test_labels(root, len(lines)) if split == "test" else None
        self.labelled = split == "train" or labels is not None
        """Whether the frames have labels. Single training frames may still lack them."""
        of_line = {} if labels is None else {number: label for (number, _), label in zip(lines, labels, strict=True)}
        rows = Rows(self.problems)
        rows.read(path, lines, lambda number, words: self._row(path, number, words, of_line.get(number)))
        found = rows.kept()
        names = list(dict.fromkeys(row.sequence for row in found))
        chosen = set(choose(sequences, names, "sequences", root))
        self._rows = [row for row in found if row.sequence in chosen]
        self.camera = self._first_camera()

    def __len__(self) -> int:
        return len(self._rows) * len(self._hands)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        row, hand = self._place(index)
        path = _label_path(row.image)
        fields = read_pickle(path)
        joints_mm = row.joints_mm if self._split == "test" else _joints_mm(fields, hand, path)
        is_again = hand is not self._hands[-1]
        depth_mm = self._decoded.depth_mm(row.image, partial(_read_depth, row.image), is_again=is_again)
        return HandFrame(row.key + hand.suffix, row.sequence, depth_mm, _camera(fields, path), joints_mm)

    def sequence_of(self, index: int) -> str:
        """Name of the sequence, such as `SM1`."""
        return self._place(index)[0].sequence

    def moment_of(self, index: int) -> tuple[str, str]:
        """Recording and number of the image, which are the same for all cameras and both hands."""
        row = self._place(index)[0]
        several = _OF_A_CAMERA.fullmatch(row.sequence)
        return several[1] if several else row.sequence, row.image.stem

    def depth_unit_of(self, index: int) -> float:
        """Millimetres per count, the same for all images."""
        return _PRESET.depth_unit_mm

    def _test_labels(self, root: Path, frames: int) -> Float64[np.ndarray, "F 21 3"] | None:
        """Joints of all test frames in mm, if they are known. HO-3D's reader overrides it."""
        return None

    def _place(self, index: int) -> tuple[Row, _Hand]:
        """Image and hand of a frame."""
        line, hand = divmod(range(len(self))[index], len(self._hands))
        return self._rows[line], self._hands[hand]

    def _row(self, path: Path, number: int, words: list[str], label: Float64[np.ndarray, "21 3"] | None) -> Row:
        frame = relative_image(words[0], path, number)
        if len(frame.parts) != 2:
            raise broken(path, f"found the frame {words[0]!r}, expected a path such as SM1/0000", number)
        sequence = frame.parts[0]
        image = self._folder / sequence / "depth" / f"{frame.name}.png"
        joints = None if label is None else sound_joints(label, path.with_name(TEST_LABELS)).astype(np.float32)
        return Row(f"{self.name}/{self._split}/{frame}", sequence, image, joints)

    def _first_camera(self) -> Pinhole:
        """The camera of the first frame whose label is readable, of the first few. Otherwise the preset's."""
        for row in self._rows[:3]:
            path = _label_path(row.image)
            try:
                return _camera(read_pickle(path), path)
            except FrameError:
                continue
        return _PRESET.pinhole


class HO3D(_Listed):
    """Frames of HO-3D, each with a right hand."""

    name = "ho3d"
    _title = "HO-3D"
    _hands = (_Hand("", "handJoints3D", None),)

    def side_of(self, index: int) -> Literal["left", "right"]:
        """All hands are right hands."""
        return "right"

    def _test_labels(self, root: Path, frames: int) -> Float64[np.ndarray, "F 21 3"] | None:
        return _read_test_labels(root / TEST_LABELS, frames)


class H2O3D(_Listed):
    """Frames of H2O-3D: two of each image, about its left and its right hand. Test frames are unlabelled.

    A hand of which a joint is not labelled is an unlabelled frame.
    """

    name = "h2o3d"
    _title = "H2O-3D"
    _hands = (
        _Hand("/left", "leftHandJoints3D", "jointValidLeft"),
        _Hand("/right", "rightHandJoints3D", "jointValidRight"),
    )


def shows_both_hands(root: Path) -> bool:
    """Whether a folder in HO-3D's layout is H2O-3D, by the first label that is there."""
    label = next((path for folder in FOLDERS.values() for path in root.glob(f"{folder}/*/meta/*.pkl")), None)
    if label is None:
        return False
    try:
        return H2O3D._hands[0].joints.encode() in read_file(label, "the label", MAX_BYTES)
    except FrameError:
        return False


def _read_depth(image: Path) -> Float32[np.ndarray, "H W"]:
    """Depth of an image in mm. Raises FrameError if it is damaged, or if its red and blue are swapped."""
    rgb = read_png_rgb(image, [(_PRESET.width_px, _PRESET.height_px)])
    # OpenCV swaps red and blue when it converts an image. Depth would then lose its low byte, which is up to 32 mm.
    blue = rgb[..., 2]
    if blue.any() and not rgb[..., 0][blue > 0].any():
        what = (
            "the red channel is 0 wherever the blue channel is not, expected depth in green (high byte) and red (low "
            "byte). Red and blue have been swapped. Get the image from the release again, or swap them back"
        )
        raise broken(image, what)
    return decoded_depth(rgb)


def decoded_depth(rgb: UInt8[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W"]:
    """Depth in mm: red is the low byte of the count, green the high byte."""
    pixels = np.ascontiguousarray(rgb).view([("count", "<u2"), ("blue", "u1")])
    return counts_to_mm(pixels["count"][..., 0], _PRESET.depth_unit_mm)


def _label_path(image: Path) -> Path:
    return image.parent.with_name("meta") / f"{image.stem}.pkl"


def _camera(fields: dict[str, Any], path: Path) -> Pinhole:
    matrix = numbers_of(fields, "camMat", [(3, 3)], path)
    if matrix is None:
        raise broken(path, "'camMat' is None, expected the 3 x 3 intrinsic matrix of the camera")
    try:
        return as_camera(matrix).pinhole
    except ValueError as error:
        raise broken(path, f"'camMat' is no camera: {error}") from None


def _joints_mm(fields: dict[str, Any], hand: _Hand, path: Path) -> Float32[np.ndarray, "21 3"] | None:
    """Joints of a training frame. None if the frame was not labelled."""
    if hand.valid is not None and hand.valid in fields:
        valid = numbers_of(fields, hand.valid, [(21,)], path)
        if valid is not None and not valid.all():
            return None
    joints = numbers_of(fields, hand.joints, [(21, 3)], path)
    return None if joints is None else sound_joints(joints * 1000 * OPENGL, path).astype(np.float32)


def _read_test_labels(path: Path, frames: int) -> Float64[np.ndarray, "F 21 3"] | None:
    """Read the joints of all evaluation frames in mm in the camera frame. None if the file is missing.

    Raises:
        ValueError: the file is damaged, or its length is not that of the list.
    """
    if not path.is_file():
        return None
    try:
        found = np.asarray(parse_json(path.read_text(encoding="utf-8")), np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}). Expected JSON of {frames} x 21 x 3 numbers.") from None
    if found.shape != (frames, 21, 3):
        shape = " x ".join(map(str, found.shape))
        raise ValueError(
            f"{path} has {shape} numbers, expected {frames} x 21 x 3, for the {frames} lines of evaluation.txt. "
            "Take both from the same version of HO-3D."
        )
    return found * 1000 * OPENGL
