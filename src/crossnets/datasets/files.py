"""Checks that the readers share: folders, label files and label lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float32, Float64, UInt16

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.geometry.camera import CameraPreset

NOTHING_SEEN = 32001
"""Value of a Senz3D for pixels without depth."""
_FARTHEST_MM = 1e5
"""A joint farther than 100 m is a typing error. The limit also keeps float32 from overflowing."""


@dataclass(frozen=True)
class Row:
    """One sound frame of a label file. Its image has not been opened."""

    key: str
    sequence: str
    image: Path
    joints_mm: Float32[np.ndarray, "J 3"] | None


def counts_to_mm(counts: UInt16[np.ndarray, "H W"], unit_mm: float) -> Float32[np.ndarray, "H W"]:
    """Depth counts in mm; what a Senz3D writes where it saw nothing, 32 m in its unit of 1 mm, is 0."""
    depth_mm = counts.astype(np.float32) * np.float32(unit_mm)
    if unit_mm == 1:
        depth_mm[counts == NOTHING_SEEN] = 0
    return depth_mm


class Rows:
    """Frames of label files, by their keys: of two labels of one frame nobody knows which is right."""

    def __init__(self) -> None:
        self._by_key: dict[str, Row | None] = {}

    def add(self, row: Row, path: Path, line: int) -> None:
        """Keep a row.

        Raises:
            FrameError: there was a row of this frame; neither is kept.
        """
        if row.key in self._by_key:
            self._by_key[row.key] = None
            raise broken(path, f"a second label of {row.image.name!r}; the frame is left out", line)
        self._by_key[row.key] = row

    def kept(self) -> list[Row]:
        """The rows of frames with one label, in their order."""
        return [row for row in self._by_key.values() if row is not None]


def broken(path: Path, what: str, line: int | None = None) -> FrameError:
    """The error that says `what` is wrong with a file."""
    return FrameError(Problem(path, what, line))


# --- folders, cameras and label files: what is wrong here stops the opening ---


def require_folder(root: Path, holds: str) -> None:
    """Check that `root` is a folder that can be listed and is not empty. `holds` names the expected contents.

    Raises:
        FileNotFoundError: there is no such folder, or it is empty.
        NotADirectoryError: it is a file.
        PermissionError: it may not be read.
    """
    expected = f"Expected a folder that holds {holds}. See docs/datasets.md for the files and where they go."
    try:
        if not root.exists():
            raise FileNotFoundError(f"There is no folder {root}. {expected}")
        if not root.is_dir():
            raise NotADirectoryError(f"{root} is a file. {expected}")
        if next(root.iterdir(), None) is None:
            raise FileNotFoundError(f"The folder {root} is empty. {expected}")
    except PermissionError as error:
        raise PermissionError(f"{_denied(root)} {expected}") from error


def _denied(path: Path) -> str:
    return f"{path} may not be read: permission denied. Give yourself the right to read it (chmod u+rX)."


def matching_camera(preset: CameraPreset, given: CameraPreset | None, dataset: str) -> CameraPreset:
    """The camera a published data set is read with: `given`, or else its preset.

    Raises:
        ValueError: `given` has another image size or depth unit than the data set's files.
    """
    if given is None:
        return preset
    if (given.width_px, given.height_px, given.depth_unit_mm) != (preset.width_px, preset.height_px, 1.0):
        raise ValueError(
            f"The camera is for {given.width_px}x{given.height_px} images with a depth unit of {given.depth_unit_mm} "
            f"mm, but {dataset} has {preset.width_px}x{preset.height_px} images in mm. Give a camera of that size."
        )
    return given


def choose(wanted: Sequence[str] | None, available: Sequence[str], what: str, root: Path) -> tuple[str, ...]:
    """`wanted`, or all that is available.

    Raises:
        ValueError: something wanted is not there, or wanted twice.
    """
    if wanted is None:
        return tuple(available)
    unknown = [name for name in wanted if name not in available]
    if unknown or not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(
            f"Asked for {what} {', '.join(unknown or wanted) or '(none)'} of {root}, "
            f"which has {', '.join(available)}. Name some of those, each once, or none for all."
        )
    return tuple(wanted)


def read_lines(path: Path, dataset: str) -> list[str]:
    """Lines of a label file without line ends. Bytes that are not text appear as replacement characters.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        ValueError: it is empty.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There are no {dataset} labels at {path}. See docs/datasets.md for the files and where they go."
        ) from error
    except PermissionError as error:
        raise PermissionError(_denied(path)) from error
    if not text.strip():
        raise ValueError(f"The {dataset} label file {path} is empty. Get the file from the data set's release again.")
    return [line.rstrip("\r") for line in text.split("\n")]


def numbered_rows(lines: Sequence[str], start: int = 1) -> list[tuple[int, str]]:
    """(line number, text) of the lines that are not blank."""
    return [(number, line) for number, line in enumerate(lines, start) if line.strip()]


def counted_rows(path: Path, dataset: str, problems: list[Problem]) -> list[tuple[int, str]]:
    """(line number, text) of each row of a label file whose first line is the number of rows.

    A count that is off is a problem, not an error: the rows are still there. A blank line between rows is given as a
    row, because a row's place may say which image it belongs to.

    Raises:
        OSError, ValueError: as `read_lines`.
    """
    lines = read_lines(path, dataset)
    while not lines[-1].strip():
        lines.pop()
    rows = list(enumerate(lines, 1))
    head = lines[0].split()
    # A first line as long as the second is a row: the count is missing. Any other is taken for a spoilt count.
    if len(head) > 1 and len(lines) > 1 and len(head) == len(lines[1].split()):
        problems.append(Problem(path, f"found {len(head)} words, expected the number of rows alone", 1))
        return rows
    if len(head) != 1 or not head[0].isdecimal():
        problems.append(Problem(path, f"found {lines[0][:40]!r}, expected the number of rows", 1))
    elif int(head[0]) != len(rows) - 1:
        problems.append(Problem(path, f"the first line counts {head[0]} rows, but {len(rows) - 1} follow", 1))
    return rows[1:]


# --- one frame: what is wrong here leaves out the frame ---


def parse_joints(words: Sequence[str], num_joints: int, path: Path, line: int) -> Float64[np.ndarray, "{num_joints} 3"]:
    """The coordinates of a label line, as written; `sound_joints` checks their values.

    Raises:
        FrameError: the line has another number of coordinates, or something that is no number.
    """
    if len(words) != 3 * num_joints:
        raise broken(path, f"found {len(words)} numbers, expected {3 * num_joints} ({num_joints} joints x 3)", line)
    try:
        values = [float(word) for word in words]
    except ValueError:
        word = next(word for word in words if not _is_number(word))
        raise broken(path, f"found {word!r} where a number was expected", line) from None
    return np.array(values).reshape(num_joints, 3)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def joint_fault(joints: Float64[np.ndarray, "J 3"]) -> str | None:
    """Why joints (x y z or u v d) cannot be a label; None when they can."""
    if not np.isfinite(joints).all():
        return f"joint {int(np.flatnonzero(~np.isfinite(joints).all(axis=1))[0])} is not finite"
    if (np.abs(joints) > _FARTHEST_MM).any():
        return f"a coordinate of {np.abs(joints).max():.3g}, expected at most {_FARTHEST_MM:.0f}"
    if (joints[:, 2] <= 0).any():
        index = int(joints[:, 2].argmin())
        return f"joint {index} has a depth of {joints[index, 2] + 0.0:g} mm, expected more than 0"
    return None


def sound_joints(joints: Float64[np.ndarray, "J 3"], path: Path, line: int | None = None) -> Float64[np.ndarray, "J 3"]:
    """The same joints (x y z or u v d), if they are finite and in front of the camera.

    Raises:
        FrameError: they are not.
    """
    fault = joint_fault(joints)
    if fault:
        raise broken(path, fault, line)
    return joints


def relative_image(name: str, path: Path, line: int) -> PurePosixPath:
    """The image path of a label line, without a leading `./`.

    Raises:
        FrameError: it is empty, absolute or leaves its folder.
    """
    image = PurePosixPath(name.replace("\\", "/"))
    if not image.name or image.is_absolute() or ".." in image.parts:
        raise broken(path, f"found the image path {name!r}, expected a path inside the data set", line)
    return image


def read_image_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        FrameError: it is missing, empty or may not be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise broken(path, "the image is missing") from error
    except OSError as error:
        raise broken(path, f"the image cannot be read: {error.strerror}") from error
    if not data:
        raise broken(path, "the image file is empty")
    return data
