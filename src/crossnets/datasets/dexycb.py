"""Reader of DexYCB (Chao et al. 2021), as released. Colour images, objects and the parameters of the hand are not read.

Layout, splits, units and the mark of missing labels follow the authors' toolkit. They were tested on files that we
wrote, not on a copy of the data set.
"""

import re
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import (
    MAX_IMAGE_BYTES,
    broken,
    counts_to_mm,
    read_file,
    require_folder,
    sound_joints,
)
from crossnets.datasets.png import read_png16
from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.skeleton import MEDIAPIPE21, Skeleton
from crossnets.types import HandFrame, Pinhole

SUBJECTS = (
    *("20200709-subject-01", "20200813-subject-02", "20200820-subject-03", "20200903-subject-04"),
    *("20200908-subject-05", "20200918-subject-06", "20200928-subject-07", "20201002-subject-08"),
    *("20201015-subject-09", "20201022-subject-10"),
)
SERIALS = (
    *("836212060125", "839512060362", "840412060917", "841412060263"),
    *("932122060857", "932122060861", "932122061900", "932122062010"),
)
"""Serial numbers of the cameras."""
SEQUENCES = 100
"""Sequences of a subject. The splits go by their order."""
INTRINSICS = "calibration/intrinsics"
_WIDTH_PX = 640
_HEIGHT_PX = 480
_MOST_FRAMES = 10**5
"""A sequence with more frames is a typing error."""
_MOST_BYTES = 1 << 14
"""The array of the joints has 380 bytes."""


class Part(NamedTuple):
    """Frames of a split, by the places of subjects, cameras and sequences in their orders."""

    subjects: tuple[int, ...]
    serials: tuple[int, ...]
    sequences: tuple[int, ...]


_PEOPLE = tuple(range(10))
_VIEWS = tuple(range(8))
_TAKES = tuple(range(SEQUENCES))
_FIFTH = tuple(take for take in _TAKES if take % 5 == 4)
_REST = tuple(take for take in _TAKES if take % 5 != 4)


def _objects(*numbers: int) -> tuple[int, ...]:
    """Sequences with the given objects. Five sequences of a subject after another have the same object."""
    return tuple(take for take in _TAKES if take // 5 in numbers)


SETUPS: dict[str, dict[str, Part]] = {
    "s0": {
        "train": Part(_PEOPLE, _VIEWS, _REST),
        "val": Part((0, 1), _VIEWS, _FIFTH),
        "test": Part(_PEOPLE[2:], _VIEWS, _FIFTH),
    },
    "s1": {
        "train": Part((0, 1, 2, 3, 4, 5, 9), _VIEWS, _TAKES),
        "val": Part((6,), _VIEWS, _TAKES),
        "test": Part((7, 8), _VIEWS, _TAKES),
    },
    "s2": {
        "train": Part(_PEOPLE, _VIEWS[:6], _TAKES),
        "val": Part(_PEOPLE, (6,), _TAKES),
        "test": Part(_PEOPLE, (7,), _TAKES),
    },
    "s3": {
        "train": Part(_PEOPLE, _VIEWS, _objects(*(n for n in range(20) if n % 4 != 3))),
        "val": Part(_PEOPLE, _VIEWS, _objects(3, 19)),
        "test": Part(_PEOPLE, _VIEWS, _objects(7, 11, 15)),
    },
}
"""Splits of the authors' toolkit: seen subjects, cameras and objects, then unseen subjects, cameras and objects."""
CHOICES = (*SETUPS, *(f"{setup}-val" for setup in SETUPS))


class _Take(NamedTuple):
    """A sequence of one camera."""

    subject: str
    sequence: str
    serial: str
    side: Literal["left", "right"]


class DexYCB:
    """Frames in the order of the toolkit: subject, sequence, camera, number. Labels are read with their frames."""

    def __init__(
        self,
        root: Path | str,
        split: Literal["train", "test"],
        parts: Sequence[str] | None = None,
        *,
        camera: CameraPreset | None = None,
    ) -> None:
        """Read `meta.yml` of the sequences of a split and the intrinsics of their cameras.

        Args:
            root: Folder of the data set.
            split: Training or test frames.
            parts: One of s0 to s3 (s0 if there is none), or s0-val to s3-val, whose frames are those of the validation
                whatever the split. Serial numbers restrict the cameras.
            camera: None. The intrinsics are in the files.

        Raises:
            OSError: the folder is missing or cannot be read, or it has none of the sequences.
            ValueError: a part is unknown, or a camera is given.
        """
        root = Path(root)
        require_folder(root, f"DexYCB's {SUBJECTS[0]} and so on, and {INTRINSICS}")
        if camera is not None:
            raise ValueError(f"DexYCB's cameras are in {root / INTRINSICS}. Omit --camera.")
        self._setup, serials = _chosen(parts)
        setup, _, val = self._setup.partition("-")
        part = SETUPS[setup][val or split]
        self.name = "dexycb"
        self.skeleton: Skeleton | None = MEDIAPIPE21
        self.problems: list[Problem] = []
        self._root = root
        self._cameras = self._intrinsics([SERIALS[place] for place in part.serials if SERIALS[place] in serials])
        self._takes: list[_Take] = []
        # Frames are counted by sequence and camera, so that an index of half a million frames stays small.
        lengths: list[int] = []
        for subject in (SUBJECTS[place] for place in part.subjects):
            for folder in self._sequences(subject, part.sequences):
                takes, frames = self._read_meta(folder)
                self._takes += takes
                lengths += [frames] * len(takes)
        if not self._takes:
            reason = f" The first problem: {self.problems[0]}" if self.problems else ""
            raise FileNotFoundError(
                f"Found no sequence of DexYCB's {self._setup} ({split}) in {root}. Expected folders such as "
                f"{SUBJECTS[part.subjects[0]]}/20200709_141754 with meta.yml, and {INTRINSICS} with "
                f"{SERIALS[0]}_640x480.yml.{reason} See docs/datasets.md for the files and where they go."
            )
        self._ends: Int64[np.ndarray, " T"] = np.cumsum(lengths, dtype=np.int64)
        self.camera = self._cameras[self._takes[0].serial]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors. A hand without a label has no joints."""
        take, number = self._place(index)
        folder = self._root / take.subject / take.sequence / take.serial
        counts = read_png16(folder / f"aligned_depth_to_color_{number:06d}.png", [(_WIDTH_PX, _HEIGHT_PX)])
        joints_mm = read_joints(folder / f"labels_{number:06d}.npz")
        key = f"dexycb/{take.subject}/{take.sequence}/{take.serial}/{number:06d}"
        return HandFrame(key, take.subject, counts_to_mm(counts, 1.0), self._cameras[take.serial], joints_mm)

    def sequence_of(self, index: int) -> str:
        """The subject, such as `20200709-subject-01`."""
        return self._place(index)[0].subject

    def side_of(self, index: int) -> Literal["left", "right"]:
        """Which hand a frame shows."""
        return self._place(index)[0].side

    def moment_of(self, index: int) -> tuple[str, str]:
        """Sequence and number of a frame, which all cameras share. The split s2 goes by cameras, so there it is the
        camera and the frame."""
        take, number = self._place(index)
        sequence = f"{take.subject}/{take.sequence}"
        if self._setup.startswith("s2"):
            return take.serial, f"{sequence}/{number}"
        return sequence, str(number)

    def _place(self, index: int) -> tuple[_Take, int]:
        """Sequence and number of a frame."""
        index = range(len(self))[index]
        take = int(np.searchsorted(self._ends, index, side="right"))
        return self._takes[take], index - (int(self._ends[take - 1]) if take else 0)

    def _intrinsics(self, serials: Sequence[str]) -> dict[str, Pinhole]:
        """Intrinsics of each camera. Broken files are appended to `problems`, and their cameras are left out."""
        cameras: dict[str, Pinhole] = {}
        for serial in serials:
            try:
                cameras[serial] = read_intrinsics(self._root / INTRINSICS / f"{serial}_{_WIDTH_PX}x{_HEIGHT_PX}.yml")
            except FrameError as error:
                self.problems.append(error.problem)
        return cameras

    def _sequences(self, subject: str, places: Sequence[int]) -> list[Path]:
        """Folders of the given places among the sequences of a subject."""
        folder = self._root / subject
        listed = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        if len(listed) != SEQUENCES:
            what = (
                f"found {len(listed)} sequences, expected {SEQUENCES}. The splits go by the order of all sequences of "
                "a subject, so that frames may be in a wrong split. Get the subject's archive again"
            )
            self.problems.append(Problem(folder, what))
        return [listed[place] for place in places if place < len(listed)]

    def _read_meta(self, folder: Path) -> tuple[list[_Take], int]:
        """Cameras of a sequence with its side, and number of frames. A broken file is appended to `problems`."""
        try:
            meta = read_meta(folder / "meta.yml")
        except FrameError as error:
            self.problems.append(error.problem)
            return [], 0
        takes: list[_Take] = []
        for serial in (serial for serial in SERIALS if serial in meta.serials and serial in self._cameras):
            if meta.frames and not (folder / serial).is_dir():
                self.problems.append(Problem(folder / serial, "the folder of a camera that meta.yml names is missing"))
            elif meta.frames:
                takes.append(_Take(folder.parent.name, folder.name, serial, meta.side))
        return takes, meta.frames


class Meta(NamedTuple):
    """Contents of a `meta.yml` that are used."""

    serials: tuple[str, ...]
    frames: int
    side: Literal["left", "right"]


def _chosen(parts: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    """Split and serial numbers that the parts name.

    Raises:
        ValueError: a part is unknown, or there are two splits.
    """
    given = tuple(parts or ())
    setups = [part for part in given if part in CHOICES]
    serials = [part for part in given if part in SERIALS]
    if len(setups) > 1 or len(setups) + len(serials) != len(given):
        raise ValueError(
            f"Found the parts {','.join(given)} of DexYCB. Expected at most one of {', '.join(CHOICES)}, and serial "
            f"numbers of cameras ({', '.join(SERIALS)}), as in dexycb:PATH#s1,{SERIALS[0]}."
        )
    return setups[0] if setups else "s0", tuple(serials) or SERIALS


def read_joints(path: Path) -> Float32[np.ndarray, "21 3"] | None:
    """Read the joints in mm of a `labels_*.npz`. None if the hand has no label, which is -1 throughout.

    Raises:
        FrameError: the file is missing or damaged, or a coordinate is invalid.
    """
    data = read_file(path, "the label", MAX_IMAGE_BYTES)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            member = archive.getinfo("joint_3d.npy")
            if member.file_size > _MOST_BYTES:
                raise ValueError(f"joint_3d has {member.file_size} bytes")
            stream = BytesIO(archive.read(member))
        np.lib.format.read_magic(stream)
        shape, by_columns, kind = np.lib.format.read_array_header_1_0(stream)
    # A damaged archive or header makes zipfile and numpy raise exceptions of many types.
    except Exception as error:
        raise broken(
            path, f"found no joint_3d in the .npz file ({error}); expected numbers of shape (1, 21, 3)"
        ) from None
    numbers = stream.read()
    if shape != (1, 21, 3) or kind.kind != "f" or by_columns or len(numbers) != 63 * kind.itemsize:
        what = f"found joint_3d of {kind} and shape {shape} with {len(numbers)} bytes; expected (1, 21, 3)"
        raise broken(path, what)
    joints_m = np.frombuffer(numbers, kind)[:63].reshape(21, 3).astype(np.float64)
    if (joints_m == -1).all():
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return sound_joints(joints_m * 1000, path).astype(np.float32)


def read_meta(path: Path) -> Meta:
    """Read cameras, number of frames and side of a sequence. Other keys are not looked at.

    Raises:
        FrameError: the file is missing, or a key is missing or has another value.
    """
    text = _text(path)
    frames = _section(text, "num_frames", path).strip()
    if not re.fullmatch(r"[0-9]{1,9}", frames) or int(frames) > _MOST_FRAMES:
        raise broken(path, f"found num_frames {frames[:40]!r}, expected a number up to {_MOST_FRAMES}")
    serials = tuple(re.findall(r"\w+", _section(text, "serials", path)))
    if not serials or not set(serials) <= set(SERIALS):
        raise broken(path, f"found the serials {', '.join(serials)[:80]!r}, expected some of {', '.join(SERIALS)}")
    sides = re.findall(r"\w+", _section(text, "mano_sides", path))
    if sides == ["left"]:
        return Meta(serials, int(frames), "left")
    if sides == ["right"]:
        return Meta(serials, int(frames), "right")
    raise broken(path, f"found mano_sides {', '.join(sides)[:40]!r}, expected left or right")


def read_intrinsics(path: Path) -> Pinhole:
    """Read the intrinsics in pixels of a colour camera, to which depth is aligned.

    Raises:
        FrameError: the file is missing, or a number is missing or is none of a camera.
    """
    section = _section(_text(path), "color", path)
    numbers: list[float] = []
    for name in ("fx", "fy", "ppx", "ppy"):
        found = re.search(rf"\b{name}['\"]?:\s*([-+.\w]+)", section)
        try:
            numbers.append(float(found[1]) if found else np.nan)
        except ValueError:
            numbers.append(np.nan)
    fx, fy, cx, cy = numbers
    if not (0 < fx < np.inf and 0 < fy < np.inf and 0 < cx < _WIDTH_PX and 0 < cy < _HEIGHT_PX):
        what = f"found the colour camera fx {fx:g}, fy {fy:g}, ppx {cx:g}, ppy {cy:g}"
        raise broken(path, f"{what}; expected four numbers in pixels of a {_WIDTH_PX}x{_HEIGHT_PX} image")
    return Pinhole(fx, fy, cx, cy)


def _text(path: Path) -> str:
    data = read_file(path, "the description", MAX_IMAGE_BYTES)
    return re.sub("#.*", "", data.decode("utf-8-sig", errors="replace"))


def _section(text: str, key: str, path: Path) -> str:
    """Value of a key at the start of a line: all text up to the next one. Lists may be in brackets or on lines.

    The few keys are found without a reader of YAML, so that none has to be installed and no tag can run code.

    Raises:
        FrameError: the key is missing.
    """
    found = re.search(rf"^{key}:(.*?)(?=^[^\s-]|\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise broken(path, f"found no key {key!r}, expected `{key}:` at the start of a line")
    return found[1]
