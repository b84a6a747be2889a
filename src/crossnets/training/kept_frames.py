"""Parts of real frames around labelled hands, kept in one file. Crops are cut from them during training."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt16

from crossnets.atomic import replacing, write_text
from crossnets.datasets.dataset import Problem
from crossnets.types import HandFrame, Pinhole

UNIT_MM = 0.125
"""Unit of the depths in the file. It is exact for sensors that count whole millimetres or eighths. Depths beyond its
range of 8 m are never in a hand's cube."""


@dataclass(frozen=True)
class Patches:
    """Rectangles of depth images at their original resolution, each with the label of one hand."""

    pixels: UInt16[np.ndarray, "P"]
    """Pixels of all patches, row by row, in units of `UNIT_MM`. This is a read-only memory map."""
    boxes: Int64[np.ndarray, "N 4"]
    """Left, top, width and height in the whole image, in pixels."""
    cameras: Float64[np.ndarray, "N 4"]
    """fx, fy, cx and cy of the whole images, in pixels."""
    joints_mm: Float32[np.ndarray, "N K 3"]
    sizes: Float64[np.ndarray, "N"]
    """Size of each hand, relative to the mean of the rendered hands."""
    starts: Int64[np.ndarray, "N"]
    """Start of each patch in `pixels`."""

    def __len__(self) -> int:
        return len(self.boxes)

    def image(self, row: int) -> tuple[Float32[np.ndarray, "H W"], Pinhole]:
        """Depth in mm, and the camera of this part of the image. Depth is 0 if it is invalid or beyond all cubes."""
        (left, top, width, height), start = (int(v) for v in self.boxes[row]), int(self.starts[row])
        counts = self.pixels[start : start + width * height].reshape(height, width)
        return patch_mm(counts), patch_camera(Pinhole(*(float(v) for v in self.cameras[row])), left, top)


def patch_mm(counts: UInt16[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Pixels of a patch in mm."""
    return counts.astype(np.float32) * np.float32(UNIT_MM)


def patch_camera(camera: Pinhole, left: int, top: int) -> Pinhole:
    """Camera of a patch with this corner, in pixels of the whole image."""
    return Pinhole(camera.fx_px, camera.fy_px, camera.cx_px - left, camera.cy_px - top)


class Reach(NamedTuple):
    """Bounds of the crops about a hand."""

    center_mm: Float64[np.ndarray, "3"]
    """Mean of the joints."""
    moved_mm: float
    """Largest distance of a cube's centre from there, in each axis."""
    cube_mm: float
    """Largest side of a cube."""


def cut_patch(
    depth_mm: Float32[np.ndarray, "H W"], camera: Pinhole, reach: Reach
) -> tuple[UInt16[np.ndarray, "h w"], tuple[int, int, int, int]]:
    """Cut out the pixels that any crop within reach can show, at any turn.

    Returns them in units of `UNIT_MM`, and their box: left, top, width and height in pixels.

    Raises:
        ValueError: a cube's centre could be behind the camera.
    """
    height, width = depth_mm.shape
    (x, y, z), half_mm = reach.center_mm, reach.cube_mm / 2 + reach.moved_mm
    if not z > reach.moved_mm:
        raise ValueError(f"the joints are {z:.0f} mm from the camera, expected more than {reach.moved_mm:.0f}")
    focal_px, middle_px = np.array(camera).reshape(2, 2)
    # A cube covers most pixels at its nearest centre. A cube that is turned reaches as far as its corners.
    half_px = focal_px * np.sqrt(2) * half_mm / (z - reach.moved_mm)
    ends_px = np.array([x, y]) * focal_px / np.array([[z - reach.moved_mm], [z + reach.moved_mm]]) + middle_px
    first = np.clip(np.floor(ends_px.min(axis=0) - half_px) - 1, 0, [width - 1, height - 1])
    last = np.clip(np.ceil(ends_px.max(axis=0) + half_px) + 2, first + 1, [width, height])
    (left, top), (right, bottom) = first.astype(int), last.astype(int)
    part = depth_mm[top:bottom, left:right]
    part = np.where(part <= min(z + half_mm, 65535 * UNIT_MM), part, 0)
    rows, columns = np.nonzero(part)
    if not len(rows):  # no pixel is valid, so the patch is one invalid pixel
        return np.zeros((1, 1), np.uint16), (int(left), int(top), 1, 1)
    part = part[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    counts = np.maximum(np.rint(part / UNIT_MM), part > 0).astype(np.uint16)
    return counts, (int(left + columns.min()), int(top + rows.min()), part.shape[1], part.shape[0])


def keep_patches(
    frames: Iterable[tuple[HandFrame, Reach, float]],
    total: int,
    cache: Path,
    request: dict[str, Any],
    problems: list[Problem],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    name: str = "patches",
) -> Patches:
    """Cut the patches of labelled frames into `cache` (patches.bin, patches.json), or reuse those files.

    Args:
        frames: Frames with the reach of their crops and the relative size of the hand. There are at most `total`.
        total: Largest number of frames.
        cache: Folder for the files.
        request: Description of the frames. Files are reused only if they were written for the same description.
        problems: Frames from which no patch can be cut are appended.
        on_progress: Called with the number of finished frames and of all frames.
        name: Name of the two files.

    Raises:
        ValueError: no frame is left.
    """
    index_path, pixels_path = cache / f"{name}.json", cache / f"{name}.bin"
    request = json.loads(json.dumps(request))
    if not (index_path.is_file() and json.loads(index_path.read_text("utf-8"))["request"] == request):
        with replacing(pixels_path) as part:
            kept, left_out = _write(frames, total, part, on_progress)
        listed = [[str(problem.path), problem.what, problem.line] for problem in left_out]
        write_text(index_path, json.dumps({"request": request, "patches": kept, "problems": listed}))
        on_progress(total, total)
    return _read(index_path, pixels_path, problems)


def _write(
    frames: Iterable[tuple[HandFrame, Reach, float]], total: int, path: Path, on_progress: Callable[[int, int], None]
) -> tuple[list[list[Any]], list[Problem]]:
    """Write pixels into a file. Returns box, camera, joints and size of each patch, and the problems."""
    kept: list[list[Any]] = []
    problems: list[Problem] = []
    with path.open("wb") as file:
        for done, (frame, reach, size) in enumerate(frames):
            on_progress(done, total)
            assert frame.joints_mm is not None
            try:
                counts, box = cut_patch(frame.depth_mm, frame.camera, reach)
            except ValueError as error:
                problems.append(Problem(Path(frame.key), f"{error}, so its label is not used"))
                continue
            counts.tofile(file)
            kept.append([box, [float(v) for v in frame.camera], frame.joints_mm.tolist(), float(size)])
    return kept, problems


def _read(index_path: Path, pixels_path: Path, problems: list[Problem]) -> Patches:
    index = json.loads(index_path.read_text("utf-8"))
    problems.extend(Problem(Path(path), what, line) for path, what, line in index["problems"])
    if not index["patches"]:
        raise ValueError("No frame of --data has a label that a crop can be cut about; training needs at least one.")
    boxes, cameras, joints, sizes = zip(*index["patches"], strict=True)
    boxes = np.array(boxes, np.int64)
    ends = np.cumsum(boxes[:, 2] * boxes[:, 3])
    return Patches(
        np.memmap(pixels_path, np.uint16, "r"),
        boxes,
        np.array(cameras, np.float64),
        np.array(joints, np.float32),
        np.array(sizes, np.float64),
        np.concatenate([[0], ends[:-1]]),
    )
