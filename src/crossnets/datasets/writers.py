"""Write a data set in a benchmark's own files, frame by frame; `nyu.py` and the other readers say what they hold.

Images appear whole, one after the other; label files last. A set without labels was not finished.
"""

import struct
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image
from scipy.io import savemat

from crossnets.atomic import replacing, write_text
from crossnets.datasets.files import NOTHING_SEEN
from crossnets.datasets.recording import RecordingWriter
from crossnets.geometry.camera import CAMERAS, CameraPreset, project
from crossnets.geometry.skeleton import NYU36, Skeleton

ICVL_FARTHEST_MM = 499
"""In ICVL's test images, what is farther is not the hand."""


@runtime_checkable
class SetWriter(Protocol):
    """One split of a data set."""

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "J 3"]) -> object:
        """Write the next frame; depth is rounded to what the format holds, 0 is nothing seen."""
        ...

    def close(self) -> None:
        """Write the labels: call once, after the last frame."""
        ...


class NYUWriter:
    """`dataset/{split}`: the front camera's images, and labels whose two other cameras are not a number."""

    def __init__(self, root: Path, split: str) -> None:
        self._folder = root / "dataset" / split
        self._joints: list[Float32[np.ndarray, "36 3"]] = []

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "36 3"]) -> None:
        """Write the next frame: green is the high byte of the depth, blue the low one."""
        counts = to_counts(depth_mm, 65535)
        rgb = np.stack([counts * 0, counts >> 8, counts & 255], axis=-1).astype(np.uint8)
        _save_png(self._folder / f"depth_1_{len(self._joints) + 1:07d}.png", rgb)
        self._joints.append(joints_mm)

    def close(self) -> None:
        """Write joint_data.mat with joint_xyz, joint_uvd and joint_names; y points up in joint_xyz."""
        xyz = np.full((3, len(self._joints), 36, 3), np.nan)
        uvd = xyz.copy()
        if self._joints:
            stacked = np.stack(self._joints).astype(np.float64)
            xyz[0], uvd[0] = stacked * np.array([1, -1, 1]), project(stacked, CAMERAS["nyu-kinect"].pinhole)
        names = np.array(NYU36.joints, dtype=object)
        with replacing(self._folder / "joint_data.mat") as part, part.open("wb") as file:
            savemat(file, {"joint_xyz": xyz, "joint_uvd": uvd, "joint_names": names}, do_compression=True)


class ICVLWriter:
    """`Training` with labels.txt, or `Testing` with two sequences; depth from 500 mm on is left out."""

    def __init__(self, root: Path, split: str, frames: int) -> None:
        self._folder = root / ("Training" if split == "train" else "Testing")
        self._train, self._frames = split == "train", frames
        self._lines: dict[str, list[str]] = {} if self._train else {"test_seq_1": [], "test_seq_2": []}
        self._count = 0

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "16 3"]) -> None:
        """Write the next frame; test frames go to the first sequence, then to the second."""
        second = 2 * self._count >= self._frames
        group = "201400000000" if self._train else f"test_seq_{1 + second}"
        lines = self._lines.setdefault("labels" if self._train else group, [])
        name = f"{group}/image_{len(lines):06d}.png"
        counts = to_counts(depth_mm, ICVL_FARTHEST_MM)
        _save_png(self._folder / "Depth" / name, np.where(counts > 0, counts, NOTHING_SEEN).astype(np.uint16))
        lines.append(f"{name} {_numbers(project(joints_mm, CAMERAS['icvl-senz3d'].pinhole))}")
        self._count += 1

    def close(self) -> None:
        """Write the label files: image, then u, v in pixels and depth in mm of each joint."""
        for name, lines in self._lines.items():
            if lines:
                write_text(self._folder / f"{name}.txt", "\n".join(lines) + "\n")


class MSRAWriter:
    """Subjects P0 to P8, each with gestures; frames are spread over them in pieces of at most 500."""

    _GESTURES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "I", "IP", "L", "MP", "RP", "T", "TIP", "Y")
    _PIECE = 500

    def __init__(self, root: Path, frames: int) -> None:
        folders = [root / f"P{subject}" / gesture for gesture in self._GESTURES for subject in range(9)]
        pieces = min(len(folders), max(min(frames, 9), -(-frames // self._PIECE)))
        self._piece = -(-frames // pieces)
        self._folders = folders[:pieces]
        self._rows: dict[Path, list[str]] = {}
        self._count = 0

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "21 3"]) -> None:
        """Write the next frame: the box of what is seen, as float32 in mm."""
        folder = self._folders[self._count // self._piece]
        rows = self._rows.setdefault(folder, [])
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / f"{len(rows):06d}_depth.bin") as part:
            part.write_bytes(msra_bytes(depth_mm))
        rows.append(_numbers(joints_mm.astype(np.float64) * np.array([1, -1, -1])))
        self._count += 1

    def close(self) -> None:
        """Write each joint.txt: the number of rows, then x, y up, z towards the viewer, in mm."""
        for folder, rows in self._rows.items():
            write_text(folder / "joint.txt", "\n".join([str(len(rows)), *rows]) + "\n")


class CVARWriter:
    """Sequences P1 to P5 with images, joint.txt and detections.txt."""

    _SEQUENCES = 5

    def __init__(self, root: Path, frames: int) -> None:
        self._root, self._piece = root, max(-(-frames // self._SEQUENCES), 1)
        self._rows: dict[str, list[tuple[str, np.ndarray]]] = {}
        self._count = 0

    def add(self, depth_mm: Float32[np.ndarray, "H W"], joints_mm: Float32[np.ndarray, "21 3"]) -> None:
        """Write the next frame."""
        sequence = f"P{1 + self._count // self._piece}"
        rows = self._rows.setdefault(sequence, [])
        name = f"{len(rows):06d}_depth.png"
        counts = to_counts(depth_mm, NOTHING_SEEN - 1)
        _save_png(self._root / sequence / name, np.where(counts > 0, counts, NOTHING_SEEN).astype(np.uint16))
        rows.append((f"./CVAR/{sequence}/{name}", project(joints_mm, CAMERAS["cvar-senz3d"].pinhole)))
        self._count += 1

    def close(self) -> None:
        """Write the labels as u, v in pixels and depth in mm. The detections are the mean of the joints."""
        for sequence, rows in self._rows.items():
            labels = [f"{name} {_numbers(uvd)}" for name, uvd in rows]
            found = [f"{name} {_numbers(uvd.mean(axis=0))}" for name, uvd in rows]
            for file, lines in (("detections.txt", found), ("joint.txt", labels)):
                write_text(self._root / sequence / file, "\n".join([str(len(lines)), *lines]) + "\n")


def set_writer(name: str, root: Path, split: str, frames: int, camera: CameraPreset, skeleton: Skeleton) -> SetWriter:
    """The writer of a format. Only NYU and ICVL have splits, only recordings a choice of camera and skeleton.

    Raises:
        ValueError: there is no such format.
    """
    if name == "nyu":
        return NYUWriter(root, split)
    if name == "icvl":
        return ICVLWriter(root, split, frames)
    if name == "msra":
        return MSRAWriter(root, frames)
    if name == "cvar":
        return CVARWriter(root, frames)
    if name == "recording":
        return RecordingWriter(root, camera, skeleton, "synthetic")
    raise ValueError(f"Cannot write {name!r}; known: nyu, icvl, msra, cvar, recording.")


def require_new_folder(root: Path) -> None:
    """Check that `root` is missing or empty.

    Raises:
        FileExistsError: it holds something, or is a file.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} is not an empty folder. Give a new folder: data sets are not overwritten.")


def to_counts(depth_mm: Float32[np.ndarray, "H W"], farthest_mm: int) -> np.ndarray:
    """Whole mm as int64; 0 where nothing was seen, and beyond what the format holds."""
    counts = np.rint(depth_mm).astype(np.int64)
    return np.where(counts <= farthest_mm, counts, 0)


def msra_bytes(depth_mm: Float32[np.ndarray, "H W"]) -> bytes:
    """A `.bin`: image size and box of what is seen as six int32, then the box. A single pixel if nothing is."""
    rows, columns = np.nonzero(depth_mm)
    if not rows.size:
        rows = columns = np.zeros(1, np.int64)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    header = struct.pack("<6i", depth_mm.shape[1], depth_mm.shape[0], left, top, right, bottom)
    return header + depth_mm[top:bottom, left:right].astype("<f4").tobytes()


def _numbers(values: Float[np.ndarray, "*N"]) -> str:
    return " ".join(f"{value:.4f}" for value in np.ravel(values))


def _save_png(path: Path, image: np.ndarray) -> None:
    with replacing(path) as part:
        Image.fromarray(image).save(part, format="PNG")
