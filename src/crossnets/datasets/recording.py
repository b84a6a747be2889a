"""Reader and writer of recordings: folders of 16-bit depth PNGs with camera.json and, if labelled, labels.jsonl.

docs/recording-format.md describes the format. If the sub-folders of a folder are recordings, each is one sequence.
"""

import json
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
from jaxtyping import Float32

from crossnets.atomic import FolderGoneError, write_text
from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import (
    Row,
    broken,
    choose,
    counts_to_mm,
    natural_order,
    read_lines,
    require_folder,
    second_label,
    sound_joints,
)
from crossnets.datasets.png import read_png16, save_png
from crossnets.datasets.recording_format import (
    CAMERA_FILE,
    DOCS,
    KEYS_FILE,
    LABELS_FILE,
    MAX_COUNT,
    UNFINISHED_FILE,
    camera_fields,
    label_joints,
    parse_camera,
    parse_label,
    read_camera,
    read_keys,
    skeleton_of,
)
from crossnets.geometry.camera import CameraPreset, unlikely
from crossnets.geometry.lens import ideal_image, lens_table
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import HandFrame, LensCamera, Pinhole


@dataclass(frozen=True)
class _Folder:
    """One recording on disk."""

    path: Path
    camera: CameraPreset
    images: dict[str, Path]
    skeleton: Skeleton | None
    joints_mm: dict[str, Float32[np.ndarray, "J 3"]]
    rejected: set[str]
    """Names of images with a broken label. They are left out."""
    keys: dict[str, tuple[str, str]]
    """Key and sequence of frames by the names of their images, from `KEYS_FILE`."""

    def place_of(self, name: str) -> tuple[str, str]:
        """Key and sequence of the frame of an image."""
        return self.keys.get(name) or (f"recording/{self.path.name}/{self.images[name].stem}", self.path.name)


class Recording:
    """Frames in the order of their numbers, one recording after the other. Unlabelled frames are included."""

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
            sequences: Names of the sub-folders to read. None reads all of them.
            camera: Replaces camera.json, which may then be missing.
            depth_unit_mm: Millimetres per depth count. It replaces the unit of the camera.

        Raises:
            OSError: the folder, camera.json or the images are missing, or a file cannot be read.
            ValueError: camera.json, the first line of labels.jsonl or `depth_unit_mm` is invalid, a requested
                sequence is missing, or the recordings have different skeletons.
        """
        root = Path(root)
        # Keys contain the name of the folder, which a path such as "." or ".." does not show.
        if root.name in ("", ".."):
            root = root.resolve()
        require_folder(root, f"16-bit depth PNGs and {CAMERA_FILE}, or folders of such")
        if depth_unit_mm is not None and not 0 < depth_unit_mm < 1000:
            raise ValueError(f"depth_unit_mm={depth_unit_mm}; expected millimetres per count, above 0 and below 1000.")
        self.name = "recording"
        self.problems: list[Problem] = []
        folders = [_open_folder(path, camera, depth_unit_mm, self.problems) for path in _recordings_in(root, sequences)]
        taken = folders[0].camera.camera
        self.camera = lens_table(taken).ideal if isinstance(taken, LensCamera) else taken
        self.skeleton = _common_skeleton(folders)
        self._cameras = {folder.path: folder.camera for folder in folders}
        self._rows = [
            Row(*folder.place_of(name), path, folder.joints_mm.get(name))
            for folder in folders
            for name, path in folder.images.items()
            if name not in folder.rejected
        ]
        keys = Counter(row.key for row in self._rows) if any(folder.keys for folder in folders) else Counter()
        if repeated := [key for key, count in keys.items() if count > 1]:
            raise ValueError(f"{root}: found the key {repeated[0][:80]!r} twice in {KEYS_FILE}. {DOCS}")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame with the camera of its recording. `HandDataset` describes the errors.

        If the camera has a lens, the frame is the ideal image of `geometry.lens`.
        """
        row = self._rows[range(len(self))[index]]
        depth_mm, camera, joints_mm = self.as_taken(index)
        return HandFrame(row.key, row.sequence, *ideal_image(depth_mm, camera), joints_mm)

    def as_taken(
        self, index: int
    ) -> tuple[Float32[np.ndarray, "H W"], Pinhole | LensCamera, Float32[np.ndarray, "J 3"] | None]:
        """Depth of one frame as it was taken, its camera, and its joints. `HandDataset` describes the errors."""
        row = self._rows[range(len(self))[index]]
        camera = self.preset_of(index)
        raw = read_png16(row.image, [(camera.width_px, camera.height_px)])
        return counts_to_mm(raw, camera.depth_unit_mm), camera.camera, row.joints_mm

    def sequence_of(self, index: int) -> str:
        """Name of the folder, or the sequence that `KEYS_FILE` gives."""
        return self._rows[range(len(self))[index]].sequence

    def key_of(self, index: int) -> str:
        """Key of a frame, without reading its image."""
        return self._rows[range(len(self))[index]].key

    def depth_unit_of(self, index: int) -> float:
        """Millimetres per count of a frame's image."""
        return self.preset_of(index).depth_unit_mm

    def preset_of(self, index: int) -> CameraPreset:
        """Camera of a frame's recording."""
        return self._cameras[self._rows[range(len(self))[index]].image.parent]


class RecordingWriter:
    """Writes a recording as a context manager. Each file gets its final name only when it is complete."""

    def __init__(
        self,
        root: Path | str,
        camera: CameraPreset,
        skeleton: Skeleton | None = None,
        name: str | None = None,
        *,
        resume: bool = False,
    ) -> None:
        """Make the folder and write camera.json.

        Args:
            root: A new or empty folder.
            camera: Camera of all frames.
            skeleton: Skeleton of the labels. None if the frames have no labels.
            name: Name of the camera for camera.json.
            resume: Continue a recording that was not closed. New frames follow its whole frames.

        Raises:
            FileExistsError: the folder exists and is not empty.
            ValueError: a number of the camera is invalid, or the unclosed recording has another camera or skeleton.
        """
        self._root = Path(root)
        fields = camera_fields(camera, name)
        parse_camera(fields, self._root / CAMERA_FILE)
        if not resume and self._root.exists() and any(self._root.iterdir()):
            raise FileExistsError(f"{self._root} is not empty. Give a new folder: recordings are not overwritten.")
        self._root.mkdir(parents=True, exist_ok=True)
        self._camera = camera
        self._skeleton = skeleton
        self.count = 0
        """Frames that are written, with those before a resume."""
        self._labels: TextIO | None = None
        if resume:
            self._resume()
        write_text(self._root / CAMERA_FILE, json.dumps(fields, indent=2) + "\n")

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "J 3"] | None = None) -> Path:
        """Write one frame and its label, and return the path of the PNG. Depth is rounded to the camera's unit.

        Raises:
            OSError: the file cannot be written, or the folder is gone.
            ValueError: the depth does not fit the camera, or the joints do not fit the skeleton or are invalid.
        """
        counts = self._counts(depth_mm)
        name = f"{self.count:06d}.png"
        line = None if joints_mm is None else self._label_line(name, joints_mm)
        path = self._root / name
        if not self._root.is_dir():
            raise FolderGoneError(self._root, f"{self.count} frames were written into it. ")
        save_png(path, counts)
        self.count += 1
        if line is not None:
            self._append(line)
        return path

    def close(self) -> None:
        """Finish labels.jsonl. Calling it again has no effect."""
        labels = self._labels
        if labels is None:
            return
        self._labels = None
        try:
            labels.flush()
            os.fsync(labels.fileno())
        except OSError:
            with suppress(OSError):  # closing tries to write again, and frees the file even if that fails
                labels.close()
            raise
        labels.close()
        (self._root / UNFINISHED_FILE).replace(self._root / LABELS_FILE)

    def __enter__(self) -> "RecordingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _resume(self) -> None:
        """Keep the whole frames of an unclosed recording, and the whole lines of its labels.

        A frame is written before its label. If the last frame of a labelled recording has no label, a kill came
        between the two, and the frame is written again.
        """
        if (self._root / CAMERA_FILE).is_file():
            found = read_camera(self._root, {})
            if found[:4] != self._camera[:4]:
                raise ValueError(f"{self._root} was recorded with the camera {found}, not {self._camera}.")
        for part in self._root.glob("*.part"):
            part.unlink()
        while (self._root / f"{self.count:06d}.png").is_file():
            self.count += 1
        unfinished = self._root / UNFINISHED_FILE
        # A kill may also have come after labels.jsonl got its name.
        path = unfinished if unfinished.is_file() else self._root / LABELS_FILE
        if self._skeleton is None:
            return
        if not path.is_file():
            self.count = 0
            return
        head, *labels = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] or [""]
        if head and json.loads(head) != {"skeleton": self._skeleton.saved()}:
            raise ValueError(f"{path} begins with {head[:80]!r}, expected the skeleton {self._skeleton.name}.")
        if self.count and not any(f'"{self.count - 1:06d}.png"' in label for label in labels[-1:]):
            self.count -= 1
        write_text(
            unfinished, "".join(f"{line}\n" for line in [json.dumps({"skeleton": self._skeleton.saved()}), *labels])
        )
        self._labels = unfinished.open("a", encoding="utf-8")

    def _counts(self, depth_mm: Float32[np.ndarray, "H W"]) -> np.ndarray:
        width, height = self._camera.width_px, self._camera.height_px
        if depth_mm.shape != (height, width):
            raise ValueError(f"Found depth of shape {depth_mm.shape}, expected {(height, width)} as in {CAMERA_FILE}.")
        with np.errstate(invalid="ignore"):  # a signalling NaN of a broken camera
            counts = np.rint(depth_mm.astype(np.float64) / self._camera.depth_unit_mm)
        if not (np.isfinite(counts).all() and counts.min() >= 0 and counts.max() <= MAX_COUNT):
            raise ValueError(
                f"Expected finite depth from 0 to {MAX_COUNT * self._camera.depth_unit_mm:g} mm, the range of 16 bits "
                f"at {self._camera.depth_unit_mm} mm per count. Found {np.min(depth_mm)} to {np.max(depth_mm)}. Set "
                "depth that is too far to 0, or use a larger unit."
            )
        return counts.astype(np.uint16)

    def _label_line(self, name: str, joints_mm: Float32[np.ndarray, "J 3"]) -> str:
        if self._skeleton is None:
            raise ValueError(f"Found {len(joints_mm)} joints, but the writer has no skeleton. Give it a skeleton.")
        if joints_mm.shape != (len(self._skeleton), 3):
            raise ValueError(f"Found {len(joints_mm)} joints, expected {len(self._skeleton)}.")
        try:
            sound_joints(joints_mm.astype(np.float64), self._root / name)
        except FrameError as error:
            raise ValueError(f"The joints are not a valid label: {error.problem.what}.") from error
        return json.dumps({"frame": name, "joints_mm": [[float(v) for v in joint] for joint in joints_mm]})

    def _append(self, line: str) -> None:
        if self._labels is None:
            assert self._skeleton is not None
            self._labels = (self._root / UNFINISHED_FILE).open("w", encoding="utf-8")
            self._labels.write(json.dumps({"skeleton": self._skeleton.saved()}) + "\n")
        self._labels.write(line + "\n")
        self._labels.flush()


def images_in(folder: Path) -> dict[str, Path]:
    """Find the PNGs of a folder, with suffixes of any case, in natural order (`natural_order`)."""
    paths = [path for path in folder.glob("*.*") if path.suffix.lower() == ".png" and not path.name.startswith(".")]
    paths.sort(key=lambda path: natural_order(path.name))
    return {path.name: path for path in paths}


def looks_like_recording(folder: Path) -> bool:
    """Whether a folder itself contains camera.json or PNGs."""
    return (folder / CAMERA_FILE).is_file() or bool(images_in(folder))


def _recordings_in(root: Path, sequences: Sequence[str] | None) -> list[Path]:
    if looks_like_recording(root):
        choose(sequences, [root.name], "the sequences", root)
        return [root]
    folders = sorted(root.iterdir(), key=lambda path: natural_order(path.name))
    names = [path.name for path in folders if path.is_dir() and looks_like_recording(path)]
    if not names:
        raise FileNotFoundError(
            f"Found no PNG in {root} or in a folder directly below it. Expected 16-bit depth PNGs and {CAMERA_FILE}. "
            + DOCS
        )
    return [root / name for name in choose(sequences, names, "the sequences", root)]


def _open_folder(
    path: Path, given: CameraPreset | None, depth_unit_mm: float | None, problems: list[Problem]
) -> _Folder:
    images = images_in(path)
    if not images:
        raise FileNotFoundError(f"Found {CAMERA_FILE} but no PNG in {path}. Expected 16-bit depth PNGs. {DOCS}")
    camera = given if given is not None else read_camera(path, images)
    if depth_unit_mm is not None:
        camera = camera._replace(depth_unit_mm=depth_unit_mm)
    if camera.width_px and camera.height_px:
        told = unlikely(camera.camera, camera.width_px, camera.height_px)
        if told is not None:
            warnings.warn(f"{path / CAMERA_FILE}: {told}", stacklevel=3)
    folder = _Folder(path, camera, images, skeleton_of(path), {}, set(), read_keys(path, images))
    if (path / UNFINISHED_FILE).is_file():
        what = f"the recording was not closed. Rename this file to {LABELS_FILE} to use its labels"
        problems.append(Problem(path / UNFINISHED_FILE, what))
    if folder.skeleton is not None:
        _read_labels(folder, folder.skeleton, problems)
    return folder


def _common_skeleton(folders: list[_Folder]) -> Skeleton | None:
    skeletons = list(dict.fromkeys(folder.skeleton for folder in folders if folder.skeleton is not None))
    if len(skeletons) > 1:
        raise ValueError(
            f"The recordings below {folders[0].path.parent} are labelled with different skeletons: "
            f"{', '.join(skeleton.name for skeleton in skeletons)}. Open only recordings of one skeleton, as in "
            "recording:PATH#NAME,NAME."
        )
    return next(iter(skeletons), None)


def _read_labels(folder: _Folder, skeleton: Skeleton, problems: list[Problem]) -> None:
    """Fill `joints_mm` and `rejected` of a recording from labels.jsonl. Broken labels are appended to `problems`."""
    path = folder.path / LABELS_FILE
    for number, line in enumerate(read_lines(path, "recording")[1:], 2):
        if not line.strip():
            continue
        try:
            name, joints = parse_label(line, path, number)
            if name not in folder.images:
                raise broken(path, f"the image {name!r} is missing", number)
            if name in folder.joints_mm or name in folder.rejected:
                folder.rejected.add(name)
                raise second_label(name, path, number)
            # `label_joints` raises if the joints are invalid. The frame then stays rejected.
            folder.rejected.add(name)
            folder.joints_mm[name] = label_joints(joints, skeleton, path, number)
            folder.rejected.discard(name)
        except FrameError as error:
            problems.append(error.problem)
