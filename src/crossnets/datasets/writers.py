"""Writers of data sets in the file formats of the benchmarks. The readers, such as `nyu.py`, describe the formats.

Frames are written one at a time, and each image appears whole or not at all. Label files are written last, so a data
set without them is not finished.
"""

import itertools
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from crossnets.atomic import replacing, write_text
from crossnets.datasets import dexycb, fpha, h2o, ho3d
from crossnets.datasets.file_checks import NOTHING_SEEN
from crossnets.datasets.hands17 import FOLDERS, LABELS
from crossnets.datasets.png import save_png
from crossnets.datasets.recording import RecordingWriter
from crossnets.geometry.camera import CAMERAS, CameraPreset, project
from crossnets.geometry.skeleton import CVAR21, HANDS17_21, HO3D_21, ICVL16, MEDIAPIPE21, MSRA21, NYU36, Skeleton
from crossnets.types import Pinhole

ICVL_FARTHEST_MM = 499
"""In ICVL's test images every farther pixel is background."""


FIXED: dict[str, tuple[str, Skeleton]] = {
    "nyu": ("nyu-kinect", NYU36),
    "icvl": ("icvl-senz3d", ICVL16),
    "msra": ("msra-senz3d", MSRA21),
    "cvar": ("cvar-senz3d", CVAR21),
    "hands17": ("realsense-sr300", HANDS17_21),
    "fpha": ("realsense-sr300", HANDS17_21),
    "dexycb": ("dexycb-d415", MEDIAPIPE21),
    "ho3d": ("ho3d-sr300", HO3D_21),
    "h2o": ("h2o-azure-kinect", MEDIAPIPE21),
}
"""Camera and skeleton of the formats that have fixed ones."""
OWN_CAMERA = ("ho3d", "h2o")
"""Formats of these whose files state their camera. It may be another one with images of that size."""
WITH_SPLIT = ("nyu", "icvl", "hands17", "fpha", "dexycb", "ho3d", "h2o3d", "h2o")
"""Formats with a training and a test split."""


@runtime_checkable
class SetWriter(Protocol):
    """Writer of one split of a data set."""

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "J 3"]) -> object:
        """Write the next frame. Depth is rounded to the resolution of the format. A depth of 0 is invalid."""
        ...

    def close(self) -> None:
        """Write the labels. Call it once, after the last frame."""
        ...


class NYUWriter:
    """Writes `dataset/{split}`: images of camera 1, and labels that are NaN for the two other cameras."""

    def __init__(self, root: Path, split: str) -> None:
        self._folder = root / "dataset" / split
        self._joints: list[Float32[np.ndarray, "36 3"]] = []

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "36 3"]) -> None:
        """Write the next frame. Green is the high byte of the depth, and blue is the low byte."""
        counts = to_counts(depth_mm, 65535)
        rgb = np.stack([counts * 0, counts >> 8, counts & 255], axis=-1).astype(np.uint8)
        save_png(self._folder / f"depth_1_{len(self._joints) + 1:07d}.png", rgb)
        self._joints.append(joints_mm)

    def close(self) -> None:
        """Write joint_data.mat with joint_xyz, joint_uvd and joint_names. In joint_xyz y points up."""
        from scipy.io import savemat  # of the extra `nyu`

        xyz = np.full((3, len(self._joints), 36, 3), np.nan)
        uvd = xyz.copy()
        if self._joints:
            stacked = np.stack(self._joints).astype(np.float64)
            xyz[0] = stacked * np.array([1, -1, 1])
            uvd[0] = project(stacked, CAMERAS["nyu-kinect"].pinhole)
        names = np.array(NYU36.joints, dtype=object)
        with replacing(self._folder / "joint_data.mat") as part, part.open("wb") as file:
            savemat(file, {"joint_xyz": xyz, "joint_uvd": uvd, "joint_names": names}, do_compression=True)


class ICVLWriter:
    """Writes `Training` with labels.txt, or `Testing` with two sequences. Depth of 500 mm and more is left out."""

    def __init__(self, root: Path, split: str, frames: int) -> None:
        self._folder = root / ("Training" if split == "train" else "Testing")
        self._train = split == "train"
        self._frames = frames
        self._lines: dict[str, list[str]] = {} if self._train else {"test_seq_1": [], "test_seq_2": []}
        self._count = 0

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "16 3"]) -> None:
        """Write the next frame. The first half of the test frames goes to the first sequence."""
        second = 2 * self._count >= self._frames
        group = "201400000000" if self._train else f"test_seq_{1 + second}"
        lines = self._lines.setdefault("labels" if self._train else group, [])
        name = f"{group}/image_{len(lines):06d}.png"
        _save_senz3d(self._folder / "Depth" / name, depth_mm, ICVL_FARTHEST_MM)
        lines.append(f"{name} {_numbers(project(joints_mm, CAMERAS['icvl-senz3d'].pinhole))}")
        self._count += 1

    def close(self) -> None:
        """Write the label files. A line has the image, then u and v in pixels and depth in mm of each joint."""
        for name, lines in self._lines.items():
            if lines:
                write_text(self._folder / f"{name}.txt", "\n".join(lines) + "\n")


class Hands17Writer:
    """Writes `training` or `frame` with images and a label file."""

    def __init__(self, root: Path, split: str) -> None:
        self._folder = root / FOLDERS[split]
        self._labels = self._folder / LABELS[split]
        self._lines: list[str] = []

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "21 3"]) -> None:
        """Write the next frame. Depth is in whole mm, and 0 is invalid."""
        name = f"image_D{len(self._lines) + 1:08d}.png"
        save_png(self._folder / "images" / name, to_counts(depth_mm, 65535).astype(np.uint16))
        self._lines.append("\t".join([name, *_numbers(joints_mm).split()]))

    def close(self) -> None:
        """Write the labels. A line has the image, then x, y and z of each joint in mm, with tabs between them."""
        write_text(self._labels, "\n".join(self._lines) + "\n")


class FPHAWriter:
    """Writes the subjects of a split. Each has an action of both parts of the cross-object split."""

    ACTIONS = ("open_milk", "put_salt")

    def __init__(self, root: Path, split: str, frames: int) -> None:
        self._root = root
        names = [f"{subject}/{action}/1" for subject in fpha.SUBJECTS[split] for action in self.ACTIONS]
        self._lengths = dict(zip(names, spread_evenly(frames, len(names)), strict=True))
        self._lines: dict[str, list[str]] = {name: [] for name in names}

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "21 3"]) -> None:
        """Write the next frame. Depth is in whole mm, and 0 is invalid."""
        name = next(name for name, length in self._lengths.items() if len(self._lines[name]) < length)
        number = len(self._lines[name])
        image = self._root / fpha.IMAGES / name / "depth" / f"depth_{number:04d}.png"
        save_png(image, to_counts(depth_mm, 65535).astype(np.uint16))
        self._lines[name].append(f"{number} {_numbers(joints_mm)}")

    def close(self) -> None:
        """Write the labels. A line has the number of the image, then x, y and z of each joint in mm."""
        for name, lines in self._lines.items():
            if lines:
                write_text(self._root / fpha.LABELS[0] / name / "skeleton.txt", "\n".join(lines) + "\n")


class DexYCBWriter:
    """Writes right hands, each sequence with one camera. The splits s0 to s3 all have training and test frames.

    Sequences without frames get a `meta.yml` too, because the splits go by the order of all sequences of a subject.
    """

    def __init__(self, root: Path, split: str, frames: int) -> None:
        self._root = root
        names = [
            f"{_dexycb_sequence(place, sequence)}/{dexycb.SERIALS[place % len(dexycb.SERIALS)]}"
            for place in dexycb.SETUPS["s0"][split].subjects
            for sequence in ((0, 35) if split == "train" else (4, 39))  # in s3 the second is for testing
        ]
        self._lengths = dict(zip(names, spread_evenly(frames, len(names)), strict=True))
        self._counts = dict.fromkeys(names, 0)

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "21 3"]) -> None:
        """Write the next frame and its label. Depth is in whole mm, and 0 is invalid. Joints are in metres."""
        name = next(name for name, length in self._lengths.items() if self._counts[name] < length)
        number = self._counts[name]
        folder = self._root / name
        image = folder / f"aligned_depth_to_color_{number:06d}.png"
        save_png(image, to_counts(depth_mm, 65535).astype(np.uint16))
        pixels = project(joints_mm, CAMERAS["dexycb-d415"].pinhole)[None, :, :2].astype(np.float32)
        with replacing(folder / f"labels_{number:06d}.npz") as part, part.open("wb") as file:
            np.savez_compressed(file, joint_3d=(joints_mm[None] / 1000).astype(np.float32), joint_2d=pixels)
        self._counts[name] += 1

    def close(self) -> None:
        """Write the intrinsics and `meta.yml` of all sequences."""
        fx, fy, cx, cy = CAMERAS["dexycb-d415"].pinhole
        for serial in dexycb.SERIALS:
            text = f"color:\n  fx: {fx}\n  fy: {fy}\n  ppx: {cx}\n  ppy: {cy}\n"
            write_text(self._root / dexycb.INTRINSICS / f"{serial}_640x480.yml", text)
        frames = {name.rpartition("/")[0]: (count, name.rpartition("/")[2]) for name, count in self._counts.items()}
        for place in {dexycb.SUBJECTS.index(name.split("/")[0]) for name in frames}:
            for sequence in range(dexycb.SEQUENCES):
                name = _dexycb_sequence(place, sequence)
                meta = self._root / name / "meta.yml"
                count, serial = frames.get(name, (0, dexycb.SERIALS[0]))
                if count or not meta.exists():
                    lines = ["serials:", f"- '{serial}'", f"num_frames: {count}", "mano_sides:", "- right"]
                    write_text(meta, "\n".join(lines) + "\n")


class HO3DWriter:
    """Writes `train` or `evaluation` with depth, labels and a list. It leaves out colour, objects and MANO."""

    _PIECE = 10_000
    """Frames of a sequence, whose names have four digits."""
    _TESTED = True
    """Whether the joints of the evaluation are public."""

    def __init__(self, root: Path, split: str, camera: Pinhole) -> None:
        self._root = root
        self._train = split == "train"
        self._name = ho3d.FOLDERS[split]
        self._camera = np.array([[camera.fx_px, 0, camera.cx_px], [0, camera.fy_px, camera.cy_px], [0, 0, 1]])
        self._pinhole = camera
        self._lines: list[str] = []
        self._joints_m: list[Float[np.ndarray, "21 3"]] = []

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "21 3"]) -> None:
        """Write the next frame. Red is the low byte of the depth's count, and green is the high byte."""
        sequence = f"SYN{1 + len(self._lines) // self._PIECE}"
        name = f"{len(self._lines) % self._PIECE:04d}"
        folder = self._root / self._name / sequence
        counts = to_counts(depth_mm / np.float32(CAMERAS["ho3d-sr300"].depth_unit_mm), 65535)
        rgb = np.stack([counts & 255, counts >> 8, counts * 0], axis=-1).astype(np.uint8)
        save_png(folder / "depth" / f"{name}.png", rgb)
        joints_m = joints_mm.astype(np.float64) / 1000 * ho3d.OPENGL
        with replacing(folder / "meta" / f"{name}.pkl") as part:
            part.write_bytes(old_pickle({"camMat": self._camera, **self._label(joints_mm, joints_m)}))
        self._lines.append(f"{sequence}/{name}")
        self._joints_m.append(joints_m)

    def _label(self, joints_mm: Float32[np.ndarray, "21 3"], joints_m: Float[np.ndarray, "21 3"]) -> dict[str, Any]:
        """Joints in OpenGL's frame. Evaluation frames have the wrist alone and the box of the hand in pixels."""
        if self._train:
            return {"handJoints3D": joints_m}
        uv = project(joints_mm, self._pinhole)[:, :2]
        box = np.concatenate([np.floor(uv.min(axis=0)), np.ceil(uv.max(axis=0))])
        return {"handJoints3D": joints_m[0], "handBoundingBox": box.astype(int).tolist()}

    def close(self) -> None:
        """Write the list of the frames and, for the evaluation, their joints in one file."""
        if not self._train and self._TESTED:
            joints = [joints_m.tolist() for joints_m in self._joints_m]
            write_text(self._root / ho3d.TEST_LABELS, json.dumps(joints) + "\n")
        write_text(self._root / f"{self._name}.txt", "\n".join(self._lines) + "\n")


class H2O3DWriter(HO3DWriter):
    """Writes H2O-3D in the same layout. All hands are right hands, and left hands are marked as not labelled."""

    _TESTED = False

    def _label(self, joints_mm: Float32[np.ndarray, "21 3"], joints_m: Float[np.ndarray, "21 3"]) -> dict[str, Any]:
        """Joints of both hands in OpenGL's frame, and which are labelled. Evaluation frames have the wrists alone."""
        none = np.zeros_like(joints_m)
        if not self._train:
            return {"leftHandJoints3D": none[0], "rightHandJoints3D": joints_m[0]}
        flags = {"jointValidLeft": np.zeros(len(joints_m)), "jointValidRight": np.ones(len(joints_m))}
        return {"leftHandJoints3D": none, "rightHandJoints3D": joints_m, **flags}


class H2OWriter:
    """Writes frames of `subject1` or `subject4` as right hands, and their list. It leaves out colour and objects."""

    _PIECE = 1000
    """Frames of a recording."""

    def __init__(self, root: Path, split: str, camera: Pinhole) -> None:
        self._root = root
        self._scene = PurePosixPath("subject1" if split == "train" else "subject4", "h1")
        self._list = h2o.LISTS[split]
        preset = CAMERAS["h2o-azure-kinect"]
        self._intrinsics = [*camera, preset.width_px, preset.height_px]
        self._lines: list[str] = []

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "21 3"]) -> None:
        """Write the next frame. Depth is in whole mm, and 0 is invalid."""
        take, number = divmod(len(self._lines), self._PIECE)
        folder = self._scene / str(take) / "cam4"
        name = f"{number:06d}"
        if number == 0:
            write_text(self._root / folder / h2o.INTRINSICS, " ".join(str(one) for one in self._intrinsics) + "\n")
        save_png(self._root / folder / "depth" / f"{name}.png", to_counts(depth_mm, 65535).astype(np.uint16))
        joints_m = (joints_mm.astype(np.float64) / 1000).ravel()
        words = ["0", *["0.0"] * joints_m.size, "1", *(repr(float(value)) for value in joints_m)]
        write_text(self._root / folder / "hand_pose" / f"{name}.txt", " ".join(words) + " ")
        self._lines.append(str(folder / "rgb" / f"{name}.png"))

    def close(self) -> None:
        """Write the list of the colour images, which stand for the frames."""
        write_text(self._root / h2o.LIST_FOLDERS[0] / self._list, "\n".join(self._lines) + "\n")


def old_pickle(label: dict[str, Any]) -> bytes:
    """Pickle a label of arrays as Python 2 and numpy 1 can read it, for which the data set's tools are written."""
    return pickle.dumps(label, protocol=2).replace(b"cnumpy._core.", b"cnumpy.core.")


class MSRAWriter:
    """Writes subjects P0 to P8 with a folder for each gesture. The frames are spread evenly over the folders."""

    GESTURES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "I", "IP", "L", "MP", "RP", "T", "TIP", "Y")
    _PIECE = 500
    """Frames of a folder. Folders get more than this only if all 153 folders are in use."""

    def __init__(self, root: Path, frames: int, *, every_folder: bool = False) -> None:
        """`every_folder` uses all 153 folders, however few frames they get."""
        # All subjects get their first gesture before any subject gets a second one. A small data set then has all nine
        # subjects, if it has at least nine frames.
        folders = [root / f"P{subject}" / gesture for gesture in self.GESTURES for subject in range(9)]
        pieces = min(len(folders), max(min(frames, 9), -(-frames // self._PIECE)))
        if every_folder:
            pieces = len(folders)
        self._piece = -(-frames // pieces)
        # The reader gives the gestures of a subject one after the other. In the same order of writing, frames keep
        # their order.
        self._folders = sorted(folders[:pieces])
        self._rows: dict[Path, list[str]] = {}
        self._count = 0

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "21 3"]) -> None:
        """Write the next frame as the box of its valid pixels, in mm as float32."""
        folder = self._folders[self._count // self._piece]
        rows = self._rows.setdefault(folder, [])
        with replacing(folder / f"{len(rows):06d}_depth.bin") as part:
            part.write_bytes(msra_bytes(depth_mm))
        rows.append(_numbers(joints_mm.astype(np.float64) * np.array([1, -1, -1])))
        self._count += 1

    def close(self) -> None:
        """Write joint.txt of each gesture: the number of rows, then x, y up and z towards the viewer, in mm."""
        for folder, rows in self._rows.items():
            _write_counted(folder / "joint.txt", rows)


class CVARWriter:
    """Writes sequences P1 to P5 with images, joint.txt and detections.txt."""

    _SEQUENCES = 5

    def __init__(self, root: Path, frames: int) -> None:
        self._root = root
        self._piece = max(-(-frames // self._SEQUENCES), 1)
        self._rows: dict[str, list[tuple[str, np.ndarray]]] = {}
        self._count = 0

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "21 3"]) -> None:
        """Write the next frame."""
        sequence = f"P{1 + self._count // self._piece}"
        rows = self._rows.setdefault(sequence, [])
        name = f"{len(rows):06d}_depth.png"
        _save_senz3d(self._root / sequence / name, depth_mm, NOTHING_SEEN - 1)
        rows.append((f"./CVAR/{sequence}/{name}", project(joints_mm, CAMERAS["cvar-senz3d"].pinhole)))
        self._count += 1

    def close(self) -> None:
        """Write the labels as u and v in pixels and depth in mm. A detection is the mean of the joints."""
        for sequence, rows in self._rows.items():
            detections = [f"{name} {_numbers(uvd.mean(axis=0))}" for name, uvd in rows]
            labels = [f"{name} {_numbers(uvd)}" for name, uvd in rows]
            _write_counted(self._root / sequence / "detections.txt", detections)
            _write_counted(self._root / sequence / "joint.txt", labels)


def set_writer(
    name: str,
    root: Path,
    split: str,
    frames: int,
    camera: CameraPreset,
    skeleton: Skeleton,
    *,
    resume: bool = False,
    every_folder: bool = False,
) -> SetWriter:
    """Make the writer of a format.

    Args:
        name: Format.
        root: Folder of the data set.
        split: Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D, H2O-3D and H2O. The other formats have none.
        frames: Number of frames that will be written.
        camera: Camera of a recording, of HO-3D, H2O-3D or H2O. The other formats have a fixed camera.
        skeleton: Skeleton of a recording. The other formats have a fixed skeleton.
        resume: Continue a recording that was not closed. The other formats replace what is there.
        every_folder: Use all folders of MSRA. Otherwise a small data set has fewer.

    Raises:
        ValueError: the format is unknown.
    """
    rendered = camera._replace(lens=None)  # rendered without a lens
    writers: dict[str, Callable[[], SetWriter]] = {
        "nyu": lambda: NYUWriter(root, split),
        "icvl": lambda: ICVLWriter(root, split, frames),
        "hands17": lambda: Hands17Writer(root, split),
        "fpha": lambda: FPHAWriter(root, split, frames),
        "dexycb": lambda: DexYCBWriter(root, split, frames),
        "ho3d": lambda: HO3DWriter(root, split, camera.pinhole),
        "h2o3d": lambda: H2O3DWriter(root, split, camera.pinhole),
        "h2o": lambda: H2OWriter(root, split, camera.pinhole),
        "msra": lambda: MSRAWriter(root, frames, every_folder=every_folder),
        "cvar": lambda: CVARWriter(root, frames),
        "recording": lambda: RecordingWriter(root, rendered, skeleton, "synthetic", resume=resume),
    }
    if name not in writers:
        raise ValueError(f"Cannot write {name!r}; known: {', '.join(writers)}.")
    return writers[name]()


def _dexycb_sequence(subject: int, sequence: int) -> str:
    """Folder of a sequence, whose name has the date of the subject and a time of day, as in the release."""
    name = dexycb.SUBJECTS[subject]
    return f"{name}/{name.partition('-')[0]}_{sequence:06d}"


def spread_evenly(frames: int, parts: int) -> list[int]:
    """Divide frames into parts of equal length but for one frame. Return the length of each part."""
    ends = [round(frames * (number + 1) / parts) for number in range(parts)]
    return [end - start for start, end in itertools.pairwise([0, *ends])]


def require_new_folder(root: Path) -> None:
    """Check that `root` is missing or empty.

    Raises:
        FileExistsError: the folder is not empty, or `root` is a file.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} is not an empty folder. Give a new folder: data sets are not overwritten.")


def to_counts(depth_mm: Float32[np.ndarray, "H W"], farthest_mm: int) -> np.ndarray:
    """Round depth to whole mm as int64. Depth beyond `farthest_mm` becomes 0, which is invalid."""
    counts = np.rint(depth_mm).astype(np.int64)
    return np.where(counts <= farthest_mm, counts, 0)


def msra_bytes(depth_mm: Float32[np.ndarray, "H W"]) -> bytes:
    """Make the bytes of a `.bin`: image size and box of the valid pixels as six int32, then depth in the box.

    The format cannot hold an empty box. If no pixel is valid, the box is the first pixel of the image.
    """
    height, width = depth_mm.shape
    rows, columns = np.nonzero(depth_mm)
    if not rows.size:
        rows = columns = np.zeros(1, np.int64)
    left, top = columns.min(), rows.min()
    right, bottom = columns.max() + 1, rows.max() + 1
    header = struct.pack("<6i", width, height, left, top, right, bottom)
    return header + depth_mm[top:bottom, left:right].astype("<f4").tobytes()


def _numbers(values: Float[np.ndarray, "*N"]) -> str:
    return " ".join(f"{value:.4f}" for value in np.ravel(values))


def _write_counted(path: Path, lines: list[str]) -> None:
    """Write a label file whose first line is the number of the other lines."""
    write_text(path, "\n".join([str(len(lines)), *lines]) + "\n")


def _save_senz3d(path: Path, depth_mm: Float32[np.ndarray, "H W"], farthest_mm: int) -> None:
    """Write a 16-bit PNG in which pixels without valid depth have the value of a Senz3D."""
    counts = to_counts(depth_mm, farthest_mm)
    save_png(path, np.where(counts > 0, counts, NOTHING_SEEN).astype(np.uint16))
