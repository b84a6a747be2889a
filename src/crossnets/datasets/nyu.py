"""Reader of NYU Hand Pose (Tompson et al. 2014) as released, without crop and augmentation."""

import mmap
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32

from crossnets.datasets.dataset import Problem
from crossnets.datasets.file_checks import FARTHEST_MM, broken, joint_fault, matching_camera, require_folder
from crossnets.datasets.png import read_png_rgb
from crossnets.geometry.camera import CAMERAS, CameraPreset
from crossnets.geometry.skeleton import NYU36, Skeleton
from crossnets.types import HandFrame

_FIRST_SUBJECT_FRAMES = 2440
"""Test frames 1 to 2440 show the training subject. The later frames show another subject (spec 1.8)."""
_NUM_VIEWS = 3
_LABELS = "joint_xyz"
_NUMBERS = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
"""MATLAB's types of numbers."""
_MOST_FRAMES = 200_000
"""The release has 72,757 training frames. The labels of this many take 0.5 GB."""


class NYU:
    """Frames in file order, one camera after the other. Camera 1 is the frontal camera, which papers use."""

    def __init__(
        self,
        root: Path | str,
        split: Literal["train", "test"],
        cameras: tuple[int, ...] = (1,),
        *,
        camera: CameraPreset | None = None,
    ) -> None:
        """Read the labels of `root/dataset/{split}` or `root/{split}`.

        Args:
            root: Folder of the data set.
            split: Training or test frames.
            cameras: Numbers of the cameras to read, from 1 to 3.
            camera: Calibration that replaces the preset `nyu-kinect`.

        Raises:
            OSError: the folder or `joint_data.mat` is missing or cannot be read.
            ValueError: `joint_data.mat` does not contain NYU labels, a camera number is invalid or named twice, or
                the calibration does not fit the images.
        """
        root = Path(root)
        require_folder(root, f"NYU's dataset/{split}/joint_data.mat")
        if not cameras or len(set(cameras)) < len(cameras) or not set(cameras) <= set(range(1, _NUM_VIEWS + 1)):
            raise ValueError(f"Found NYU's cameras {cameras}; expected one or more of 1, 2 and 3, each once.")
        self.name = "nyu"
        self.skeleton: Skeleton | None = NYU36
        self._preset = matching_camera(CAMERAS["nyu-kinect"], camera, "NYU")
        self.camera = self._preset.pinhole
        self.problems: list[Problem] = []
        self._split: Literal["train", "test"] = split
        self._folder = root / "dataset" / split if (root / "dataset").is_dir() else root / split
        labels = self._folder / "joint_data.mat"
        self._joints_mm = _load_joints(labels)
        self._frames = [
            (view, int(frame))
            for view in cameras
            for frame in np.flatnonzero(_sound(self._joints_mm[view - 1], view, labels, self.problems))
        ]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        view, frame = self._frames[range(len(self))[index]]
        number = f"{frame + 1:07d}"
        size = (self._preset.width_px, self._preset.height_px)
        path = self._folder / f"depth_{view}_{number}.png"
        rgb = read_png_rgb(path, [size])
        # Green is the high byte of the depth and blue the low byte. Red is 0. OpenCV swaps red and blue when it
        # converts an image, and the depth would then be wrong by up to 255 mm.
        pixels = np.ascontiguousarray(rgb).view([("red", "u1"), ("depth", ">u2")])[..., 0]
        if pixels["red"].any():
            what = (
                "the red channel is not 0, expected depth in green (high byte) and blue (low byte). Red and blue may "
                "have been swapped. Get the image from the release again, or swap them back"
            )
            raise broken(path, what)
        depth_mm = pixels["depth"].astype(np.float32)
        key = f"nyu/{self._split}/{view}/{number}"
        return HandFrame(key, self._sequence(frame), depth_mm, self.camera, self._joints_mm[view - 1, frame])

    def sequence_of(self, index: int) -> str:
        """`s1` for the subject of the training set, `s2` for the second test subject."""
        return self._sequence(self._frames[range(len(self))[index]][1])

    def moment_of(self, index: int) -> tuple[str, str]:
        """Subject and number of the frame, which are the same for all cameras."""
        frame = self._frames[range(len(self))[index]][1]
        return self._sequence(frame), str(frame)

    def _sequence(self, frame: int) -> str:
        return "s2" if self._split == "test" and frame >= _FIRST_SUBJECT_FRAMES else "s1"


def _load_joints(path: Path) -> Float32[np.ndarray, "3 F 36 3"]:
    """Read `joint_xyz` of all views in mm and flip y so that it points down. The values are not checked.

    Raises:
        OSError, ValueError: see `NYU`.
    """
    again = "Get joint_data.mat from the NYU release again."
    if not path.is_file():
        raise FileNotFoundError(
            f"There are no NYU labels at {path}. The data folder must hold dataset/train and dataset/test, "
            "or train and test. See docs/datasets.md for the files and where they go."
        )
    try:
        joints = _load_numbers(path)
    except (PermissionError, ModuleNotFoundError):
        raise
    # A damaged file makes scipy raise exceptions of many types.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a MATLAB file ({error}). {again}") from error
    if isinstance(joints, str):
        raise ValueError(f"{path}: {joints}. {again}")
    # Values that overflow float32 become infinite. `_sound` reports them.
    with np.errstate(over="ignore"):
        return joints.astype(np.float32) * np.array([1, -1, 1], np.float32)


def _load_numbers(path: Path) -> np.ndarray | str:
    """Read `joint_xyz`, if its header says that it has the expected type and shape. Otherwise describe the fault.

    A small file can claim an array of any size, or contain one in compressed form.
    """
    from scipy.io import loadmat, whosmat  # of the extra `nyu`
    from scipy.io.matlab import matfile_version

    # Reading a file takes as much memory as a damaged length asks for, and a memory map only as much as the file has.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        if matfile_version(mapped)[0] != 1:
            return "it has the format of MATLAB 4 or 7.3, expected that of MATLAB 5 to 7"
        found = {name: (shape, kind) for name, shape, kind in whosmat(mapped)}
        if _LABELS not in found:
            return f"it does not contain {_LABELS}"
        shape, kind = found[_LABELS]
        if len(shape) != 4 or shape[0] != _NUM_VIEWS or shape[2:] != (36, 3) or kind not in _NUMBERS:
            return f"{_LABELS} is {kind} {shape}; expected numbers of shape (3 views, frames, 36, 3)"
        if shape[1] > _MOST_FRAMES:
            return f"{_LABELS} has {shape[1]} frames, expected at most {_MOST_FRAMES}"
        return loadmat(mapped, variable_names=[_LABELS])[_LABELS]


def _sound(
    joints_mm: Float[np.ndarray, "F 36 3"], view: int, path: Path, problems: list[Problem]
) -> Bool[np.ndarray, " F"]:
    """Mark the frames of a view that have a valid label. The other frames are appended to `problems`."""
    # A test file has thousands of frames, so all joints are tested at once. `joint_fault` then describes only the
    # invalid frames. A coordinate that is not a number fails both comparisons.
    with np.errstate(invalid="ignore"):
        valid = (np.abs(joints_mm) < FARTHEST_MM).all(2) & (joints_mm[..., 2] > 0)
        sound = np.asarray(valid.all(axis=1))
    for frame in np.flatnonzero(~sound):
        fault = joint_fault(joints_mm[frame].astype(np.float64)) or "a coordinate is too large"
        problems.append(Problem(path, f"frame {frame + 1} of camera {view}: {fault}", int(frame) + 1))
    return sound
