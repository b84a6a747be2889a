"""Reader of FPHA, the First-Person Hand Action benchmark (Garcia-Hernando et al. 2018), as released.

Folders, lines, order of the joints, camera and splits follow the description and the example of its authors. The
example draws row n of a label file on the image numbered n - 1, which is the number at the start of that row. They were
tested on files that we wrote, not on a copy of the data set.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int32

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import (
    broken,
    counts_to_mm,
    matching_camera,
    natural_order,
    numbered_rows,
    parse_joints,
    report_unlabelled,
    require_folder,
    second_label,
    sound_joints,
)
from crossnets.datasets.png import read_png16
from crossnets.geometry.camera import CAMERAS, CameraPreset
from crossnets.geometry.skeleton import HANDS17_21, Skeleton
from crossnets.types import HandFrame

IMAGES = "Video_files"
LABELS = ("Hand_pose_annotation_v1_1", "Hand_pose_annotation_v1")
"""Folders of the labels in the second and the first release. The second is read if both are there."""
PROTOCOLS = ("subjects", "objects")
"""Names of the cross-subject and the cross-object split."""
SUBJECTS = {"train": ("Subject_1", "Subject_3", "Subject_4"), "test": ("Subject_2", "Subject_5", "Subject_6")}
"""Cross-subject split."""
ACTIONS = {
    "train": (
        *("clean_glasses", "close_juice_bottle", "drink_mug", "flip_pages", "flip_sponge", "handshake", "high_five"),
        *("light_candle", "open_juice_bottle", "open_letter", "open_soda_can", "open_wallet", "pour_juice_bottle"),
        *("put_salt", "put_sugar", "scoop_spoon", "scratch_sponge", "sprinkle", "squeeze_sponge", "stir"),
        *("take_letter_from_enveloppe", "toast_wine", "unfold_glasses", "wash_sponge", "write"),
    ),
    "test": (
        *("close_peanut_butter", "open_peanut_butter", "prick", "close_milk", "open_milk", "pour_milk", "put_tea_bag"),
        *("close_liquid_soap", "open_liquid_soap", "pour_liquid_soap", "use_flash", "read_letter", "squeeze_paper"),
        *("tear_paper", "use_calculator", "charge_cell_phone", "give_coin", "receive_coin", "give_card", "pour_wine"),
    ),
}
"""Cross-object split: the actions with the objects that the authors list for testing, which are peanut butter, fork,
milk, tea, liquid soap, spray or flash, paper with reading a letter, calculator, phone, coin, card and wine bottle. The
others are for training."""
_MOST_FRAMES = 10**6


class FPHA:
    """Frames of the sequences in the order of their names. The frames of a sequence are in the order of its labels."""

    def __init__(
        self,
        root: Path | str,
        split: Literal["train", "test"],
        protocol: Sequence[str] | None = None,
        *,
        camera: CameraPreset | None = None,
    ) -> None:
        """Read the labels in `root/Hand_pose_annotation_v1_1/Subject_*/ACTION/REPETITION/skeleton.txt`.

        Args:
            root: Folder of the data set.
            split: Training or test frames.
            protocol: ("subjects",) for the cross-subject split or ("objects",) for the cross-object split. None means
                the first.
            camera: Calibration that replaces the preset `realsense-sr300`.

        Raises:
            OSError: the folder or all labels of the split are missing or cannot be read.
            ValueError: the protocol is unknown, or the camera does not fit the images.
        """
        root = Path(root)
        require_folder(root, f"FPHA's {IMAGES} and {LABELS[0]}")
        chosen = ("subjects",) if protocol is None else tuple(protocol)
        if len(chosen) != 1 or chosen[0] not in PROTOCOLS:
            raise ValueError(
                f"Found the split {','.join(chosen)} of FPHA, expected one of {', '.join(PROTOCOLS)}, as in "
                "fpha:PATH#objects."
            )
        self.name = "fpha"
        self.skeleton: Skeleton | None = HANDS17_21
        self._preset = matching_camera(CAMERAS["realsense-sr300"], camera, "FPHA")
        self.camera = self._preset.pinhole
        self.problems: list[Problem] = []
        self._images = root / IMAGES
        self._labels = next((root / name for name in LABELS if (root / name).is_dir()), root / LABELS[0])
        self._sequences = self._listed(split, chosen[0])
        if not self._sequences:
            raise FileNotFoundError(
                f"Found no sequence of FPHA's {split} split ({chosen[0]}) in {self._labels}. Expected files such as "
                f"{LABELS[0]}/{SUBJECTS[split][0]}/put_salt/1/skeleton.txt. See docs/datasets.md for the files and "
                "where they go."
            )
        # All labels of the data set are 26 MB as numbers. As objects of Python they would be ten times as large.
        parts = [self._read(sequence) for sequence in self._sequences]
        self._numbers: Int32[np.ndarray, " F"] = np.concatenate([numbers for numbers, _ in parts])
        self._joints_mm: Float32[np.ndarray, "F 21 3"] = np.concatenate([joints for _, joints in parts])
        lengths = [len(numbers) for numbers, _ in parts]
        self._sequence: Int32[np.ndarray, " F"] = np.repeat(np.arange(len(parts), dtype=np.int32), lengths)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        index = range(len(self))[index]
        sequence = self._sequences[self._sequence[index]]
        number = f"{self._numbers[index]:04d}"
        size = (self._preset.width_px, self._preset.height_px)
        counts = read_png16(self._images / sequence / "depth" / f"depth_{number}.png", [size])
        key = f"fpha/{sequence}/{number}"
        depth_mm = counts_to_mm(counts, 1.0)
        return HandFrame(key, self.sequence_of(index), depth_mm, self.camera, self._joints_mm[index])

    def sequence_of(self, index: int) -> str:
        """The subject, `Subject_1` to `Subject_6`."""
        return self._sequences[self._sequence[range(len(self))[index]]].partition("/")[0]

    def _listed(self, split: Literal["train", "test"], protocol: str) -> list[str]:
        """Names of the sequences of a split, such as `Subject_1/put_salt/1`, that have labels or images."""
        names = {
            folder.relative_to(base).as_posix()
            for base in (self._labels, self._images)
            for folder in base.glob("Subject_*/*/*")
            if folder.is_dir()
        }
        listed = sorted(names, key=natural_order)
        if protocol == "subjects":
            return [name for name in listed if name.split("/")[0] in SUBJECTS[split]]
        known = (*ACTIONS["train"], *ACTIONS["test"])
        for name in listed:
            if name.split("/")[1] not in known:
                what = f"found the action {name.split('/')[1]!r}, whose object is unknown, so its frames are left out"
                self.problems.append(Problem(self._labels / name, what))
        return [name for name in listed if name.split("/")[1] in ACTIONS[split]]

    def _read(self, sequence: str) -> tuple[Int32[np.ndarray, " F"], Float32[np.ndarray, "F 21 3"]]:
        """Number and joints in mm of each labelled frame of a sequence. Broken lines are appended to `problems`."""
        path = self._labels / sequence / "skeleton.txt"
        labels: dict[int, Float64[np.ndarray, "21 3"] | None] = {}
        try:
            lines = numbered_rows(path, "FPHA")
        except (OSError, ValueError) as error:
            self.problems.append(Problem(path, str(error)))
            lines = []
        for line, text in lines:
            try:
                number, joints = _parse(text.split(), path, line)
                if number in labels:
                    labels[number] = None
                    raise second_label(f"depth_{number:04d}.png", path, line)
                labels[number] = joints
            except FrameError as error:
                self.problems.append(error.problem)
        if lines:
            images = {f"depth_{number:04d}.png" for number in labels}
            report_unlabelled(self._images / sequence / "depth", images, path, self.problems)
        kept = {number: joints for number, joints in labels.items() if joints is not None}
        joints_mm = np.array(list(kept.values()), np.float32).reshape(-1, len(HANDS17_21), 3)
        return np.array(list(kept), np.int32), joints_mm


def _parse(words: list[str], path: Path, line: int) -> tuple[int, Float64[np.ndarray, "21 3"]]:
    """Number of the image and joints in mm of a line.

    Raises:
        FrameError: the number or a coordinate is invalid.
    """
    joints = sound_joints(parse_joints(words[1:], len(HANDS17_21), path, line), path, line)
    try:
        number = float(words[0])
    except ValueError:
        number = -1.0
    if not (0 <= number < _MOST_FRAMES and number == int(number)):
        raise broken(path, f"found {words[0][:40]!r}, expected the number of the frame, such as {line - 1}", line)
    return int(number), joints
