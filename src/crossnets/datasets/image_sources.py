"""Sources of depth images that a command takes: files and folders of one camera, recordings, and data sets."""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from crossnets.datasets.dataset import FrameError, HandDataset, Problem
from crossnets.datasets.depth_checks import in_metres
from crossnets.datasets.file_checks import counts_to_mm, natural_order, size_fault
from crossnets.datasets.opening import detect_format, open_dataset
from crossnets.datasets.png import is_png, png_size, read_png16, sized
from crossnets.datasets.recording import CAMERA_FILE, images_in
from crossnets.geometry.camera import CAMERAS, CameraPreset, as_camera, unlikely
from crossnets.geometry.lens import ideal_image, lens_table
from crossnets.geometry.skeleton import Skeleton
from crossnets.paths import expanded
from crossnets.types import HandFrame, LensCamera, Pinhole

SHOWN = 5
"""Maximum number of names in a message."""


class ImageFiles:
    """A data set of 16-bit PNGs of one camera, without labels. The key of a frame is its path as the user gave it."""

    def __init__(self, paths: Sequence[Path], camera: CameraPreset) -> None:
        self.name = "image"
        self.skeleton: Skeleton | None = None
        taken = camera.camera
        # The size is unknown if none of the images can be read.
        sized_lens = isinstance(taken, LensCamera) and all((camera.width_px, camera.height_px))
        self.camera = lens_table(taken).ideal if sized_lens else camera.pinhole
        self.problems: list[Problem] = []
        self._camera = camera
        self._paths = tuple(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame, without the distortion of the lens. `HandDataset` describes the errors."""
        depth_mm, camera, _ = self.as_taken(index)
        return HandFrame(self.key_of(index), self.sequence_of(index), *ideal_image(depth_mm, camera), None)

    def as_taken(self, index: int) -> tuple[Float32[np.ndarray, "H W"], Pinhole | LensCamera, None]:
        """Depth of one frame as it was taken, its camera, and no joints. `HandDataset` describes the errors."""
        path = self._paths[range(len(self))[index]]
        size = (self._camera.width_px, self._camera.height_px)
        counts = read_png16(path, [size if all(size) else png_size(path)])
        return counts_to_mm(counts, self._camera.depth_unit_mm), self._camera.camera, None

    def key_of(self, index: int) -> str:
        """The path as the user gave it."""
        return self._paths[range(len(self))[index]].as_posix()

    def preset_of(self, index: int) -> CameraPreset:
        """The camera, the same for all images."""
        return self._camera

    def sequence_of(self, index: int) -> str:
        """Name of the folder."""
        return self._paths[range(len(self))[index]].absolute().parent.name

    def depth_unit_of(self, index: int) -> float:
        """Millimetres per count, the same for all images."""
        return self._camera.depth_unit_mm


_SUFFIXES = (".png", ".npy")
"""Ends of the names of files with depth."""


class ArrayFile:
    """Depth images in mm in a `.npy` file: (height, width) or (frames, height, width), without labels."""

    def __init__(self, path: Path, camera: CameraPreset) -> None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except OSError:
            raise
        # A damaged header makes numpy raise exceptions of many types.
        except Exception as error:
            raise ValueError(f"{path} cannot be read as a .npy file ({error}).") from None
        if (
            not isinstance(array, np.ndarray)
            or array.ndim not in (2, 3)
            or array.dtype.kind not in "uif"
            or array.itemsize == 1
            or 0 in array.shape[-2:]
        ):
            found = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ValueError(
                f"{path} holds {found}, expected uint16 or floating-point depth in mm of shape (height, width) or "
                "(frames, height, width), with at least one pixel in each image."
            )
        if fault := size_fault(array.shape[-1], array.shape[-2]):
            raise ValueError(f"{path}: {fault}.")
        size = (camera.width_px, camera.height_px)
        if all(size) and size != (array.shape[-1], array.shape[-2]):
            raise ValueError(
                f"{path} has images of {array.shape[-1]} x {array.shape[-2]} pixels, but the camera has {size[0]} x "
                f"{size[1]}. Give the intrinsics of these images as --camera fx,fy,cx,cy."
            )
        told = unlikely(camera.camera, array.shape[-1], array.shape[-2])
        if told is not None:
            warnings.warn(told, stacklevel=2)
        self.name = "array"
        self.skeleton: Skeleton | None = None
        self._taken = camera._replace(width_px=array.shape[-1], height_px=array.shape[-2]).camera
        self.camera = lens_table(self._taken).ideal if isinstance(self._taken, LensCamera) else self._taken
        self.problems: list[Problem] = []
        self._path = path
        self._depth = array if array.ndim == 3 else array[None]
        # Counts are scaled. Floating-point depth is in mm already, whatever the camera counts in.
        self._unit_mm = camera.depth_unit_mm if array.dtype.kind in "ui" else 1.0

    def __len__(self) -> int:
        return len(self._depth)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame, without the distortion of the lens. `HandDataset` describes the errors."""
        index = range(len(self))[index]
        depth_mm = np.array(self._depth[index], np.float32) * np.float32(self._unit_mm)
        valid = depth_mm[np.isfinite(depth_mm)]
        if (valid < 0).any() or in_metres(depth_mm):
            what = (
                f"its depths span {valid.min():g} to {valid.max():g}, expected mm, 0 where nothing was seen. Multiply "
                "metres by 1000."
            )
            raise FrameError(Problem(self._path, what, index + 1))
        depth_mm[~np.isfinite(depth_mm)] = 0
        depth_mm, camera = ideal_image(depth_mm, self._taken)
        return HandFrame(f"{self._path.as_posix()}/{index:06d}", self.sequence_of(index), depth_mm, camera, None)

    def sequence_of(self, index: int) -> str:
        """Name of the file."""
        return self._path.stem


def open_sources(texts: Sequence[str], camera: Any, split: Literal["train", "test"] = "test") -> list[HandDataset]:
    """Open image files, folders of images, recordings and data sets.

    Args:
        texts: Paths, or data sets such as cvar:PATH#P5.
        camera: Camera of image files and of folders without camera.json, in any form of `geometry.camera.as_camera`.
            The other sources have their own camera.
        split: Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D, H2O-3D and H2O.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no depth images.
        ValueError: images are given without a camera, a camera without images, an unknown camera, or a frame twice.
    """
    preset = None if camera is None else as_camera(camera)
    opened: list[HandDataset | tuple[Path, ...]] = []
    for text in texts:
        images = _bare_images(text)
        if images == ():
            raise FileNotFoundError(
                f"{text} holds no depth images. Expected 16-bit depth PNGs, a recording or a data set. Pictures in "
                "folders named overlays are those that `crossnets predict` drew."
            )
        opened.append(open_dataset(text, split) if images is None else images)
    bare = [path for source in opened if isinstance(source, tuple) for path in source]
    given = Counter([str(path) for path in bare] + [text for text in texts if not Path(text).is_file()])
    if twice := [name for name, times in given.items() if times > 1]:
        raise ValueError(f"Given twice: {some_of(twice)}. Name each frame once.")
    if bare and preset is None:
        raise ValueError(_no_camera(bare[0]))
    if preset is not None and not bare:
        raise ValueError(
            f"--camera {camera} applies to image files and to folders without {CAMERA_FILE}, but the given sources "
            f"({some_of(texts)}) have their own camera. Omit --camera."
        )
    # A camera that is given by its numbers has no image size yet.
    if preset is not None and not all((preset.width_px, preset.height_px)):
        preset = sized(preset, [path for path in bare if path.suffix != ".npy"]) or preset
    if preset is not None and preset.width_px and preset.height_px:
        told = unlikely(preset.camera, preset.width_px, preset.height_px)
        if told is not None:
            warnings.warn(told, stacklevel=2)
    sources: list[HandDataset] = []
    for source in opened:
        if isinstance(source, tuple):
            assert preset is not None
            sources.append(ArrayFile(source[0], preset) if _is_array(source) else ImageFiles(source, preset))
        else:
            sources.append(source)
    return sources


def _is_array(paths: tuple[Path, ...]) -> bool:
    return len(paths) == 1 and paths[0].suffix == ".npy"


def _no_camera(image: Path) -> str:
    """Message for an image whose camera is not known."""
    if (image.parent / CAMERA_FILE).is_file():
        return (
            f"{image} belongs to a recording, but a single image is read without {CAMERA_FILE}. "
            f"Give the whole recording {image.parent}, or add --camera."
        )
    return (
        f"{image} is an image without {CAMERA_FILE} beside it, so its pixels cannot be converted to mm. Give "
        f"--camera: one of {', '.join(CAMERAS)}, or fx,fy,cx,cy in pixels and optionally mm per depth count."
    )


def _bare_images(text: str) -> tuple[Path, ...] | None:
    """Find the images at a path that have no camera.json. None if the path is a recording or a data set."""
    path = expanded(text)
    if path.is_file():
        if path.suffix.lower() not in _SUFFIXES and not is_png(path):
            raise ValueError(
                f"{path} is not a depth image. Expected a 16-bit PNG, a .npy file of depth in mm, a folder of PNGs, a "
                "recording, a .db3 or .bag file, or a data set. Films and pictures in colour hold no depth."
            )
        return (path,)
    if not path.is_dir():
        return None
    if (path / CAMERA_FILE).is_file():
        return None
    if not images_in(path):
        if detect_format(path) != "recording":
            return _nested_images(path)
        if any((folder / CAMERA_FILE).is_file() for folder in _folders_in(path)):
            return None
    # Folders within it may be recordings, or hold the pictures of `crossnets predict`.
    below = [one for one in _all_folders(path) if not (one / CAMERA_FILE).is_file() and one.name != "overlays"]
    return tuple(image for folder in [path, *below] for image in images_in(folder).values())


def _nested_images(path: Path) -> tuple[Path, ...] | None:
    """Find the images of folders within folders. None for data sets, and where a folder has its own camera."""
    if detect_format(path) is not None or any(path.rglob(CAMERA_FILE)):
        return None
    return tuple(image for folder in _all_folders(path) for image in images_in(folder).values()) or None


def _all_folders(path: Path) -> list[Path]:
    """Folders at any depth below a folder, in natural order."""
    folders = [folder for folder in path.rglob("*") if folder.is_dir()]
    return sorted(folders, key=lambda folder: [natural_order(part) for part in folder.parts])


def _folders_in(path: Path) -> list[Path]:
    """Folders with images below a folder, in natural order."""
    return sorted((p for p in path.iterdir() if p.is_dir() and images_in(p)), key=lambda p: natural_order(p.name))


def counted(number: int, noun: str) -> str:
    """A number and what is counted, for a message: `1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some_of(names: Sequence[str]) -> str:
    """Join the first few names for a message."""
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
