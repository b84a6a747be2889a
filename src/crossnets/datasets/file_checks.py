"""Checks of folders, label files and label lines that the readers share."""

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float32, Float64, UInt16

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.geometry.camera import CameraPreset, without_lens

NOTHING_SEEN = 32001
"""Value that a Senz3D writes for pixels without depth."""
MAX_IMAGE_BYTES = 1 << 28
"""A larger image file is refused before it is read."""
MAX_PIXELS = 1 << 24
"""4,096 x 4,096 pixels. The largest that is known is an Azure Kinect's depth aligned to its colour, 4,096 x 3,072."""
_NUMBER = re.compile(r"([0-9]+)")
FARTHEST_MM = 1e5
"""A coordinate above 100 m is a typing error. The limit also keeps float32 from overflowing."""


@dataclass(frozen=True)
class Row:
    """One valid frame of a label file. Its image has not been opened."""

    key: str
    sequence: str
    image: Path
    joints_mm: Float32[np.ndarray, "J 3"] | None


def counts_to_mm(counts: UInt16[np.ndarray, "H W"], unit_mm: float) -> Float32[np.ndarray, "H W"]:
    """Convert depth counts to mm. If the unit is 1 mm, `NOTHING_SEEN` becomes 0."""
    depth_mm = counts.astype(np.float32)
    if unit_mm == 1:
        depth_mm[counts == NOTHING_SEEN] = 0
    else:
        depth_mm *= np.float32(unit_mm)
    return depth_mm


class SharedImage:
    """Depth of an image that shows two hands. It is decoded once if the frames of both are read one after the other."""

    def __init__(self) -> None:
        self._kept: tuple[Path, Float32[np.ndarray, "H W"]] | None = None

    def depth_mm(
        self, image: Path, read: Callable[[], Float32[np.ndarray, "H W"]], *, is_again: bool
    ) -> Float32[np.ndarray, "H W"]:
        """Depth in mm, as an array of its own. `is_again` says that the next frame shows the same image.

        Raises:
            FrameError: as `read` does.
        """
        kept = self._kept
        self._kept = None
        depth_mm = kept[1] if kept is not None and kept[0] == image else read()
        if is_again:
            self._kept = image, depth_mm.copy()
        return depth_mm


class Rows:
    """Collects the frames of label files by their keys. If a frame has two labels, neither is used."""

    def __init__(self, problems: list[Problem]) -> None:
        """Start without frames. Broken lines are appended to `problems`."""
        self._by_key: dict[str, Row | None] = {}
        self._problems = problems

    def read(self, path: Path, lines: Sequence[tuple[int, str]], parse: Callable[[int, list[str]], Row]) -> None:
        """Add the frames of numbered lines of a label file. Blank lines are skipped.

        Args:
            path: The label file, for messages.
            lines: Line numbers and texts.
            parse: Makes a row of a line number and the words of the line, or raises FrameError.
        """
        for number, line in lines:
            if not line.strip():
                continue
            try:
                self._add(parse(number, line.split()), path, number)
            except FrameError as error:
                self._problems.append(error.problem)

    def kept(self) -> list[Row]:
        """The rows of frames with exactly one label, in file order."""
        return [row for row in self._by_key.values() if row is not None]

    def _add(self, row: Row, path: Path, line: int) -> None:
        if row.key in self._by_key:
            self._by_key[row.key] = None
            raise second_label(row.image.name, path, line)
        self._by_key[row.key] = row


def broken(path: Path, what: str, line: int | None = None) -> FrameError:
    """Make the error that reports a fault of a file. `what` describes the fault."""
    return FrameError(Problem(path, what, line))


def second_label(image: str, path: Path, line: int) -> FrameError:
    """Make the error that reports a frame with more than one label."""
    return broken(path, f"a second label of {image!r}, so the frame is left out", line)


# --- Folders, cameras and label files. A fault here stops the opening of the data set. ---


def require_folder(root: Path, holds: str) -> None:
    """Check that `root` is a folder that can be listed and is not empty. `holds` names the expected contents.

    Raises:
        FileNotFoundError: the folder does not exist or is empty.
        NotADirectoryError: `root` is a file.
        PermissionError: the folder cannot be read.
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
    return f"{path} cannot be read: permission denied. Grant yourself read access (chmod u+rX)."


def matching_camera(preset: CameraPreset, given: CameraPreset | None, dataset: str) -> CameraPreset:
    """Choose the camera to read a published data set with: `given` if there is one, otherwise the preset.

    Raises:
        ValueError: the image size or depth unit of `given` differs from the files of the data set, or it has a lens.
    """
    if given is None:
        return preset
    if (given.width_px, given.height_px, given.depth_unit_mm) != (preset.width_px, preset.height_px, 1.0):
        raise ValueError(
            f"The camera is for {given.width_px}x{given.height_px} images with a depth unit of {given.depth_unit_mm} "
            f"mm, but {dataset} has {preset.width_px}x{preset.height_px} images in mm. Give a camera of that size."
        )
    return without_lens(given, f"{dataset}'s camera")


def choose(wanted: Sequence[str] | None, available: Sequence[str], what: str, root: Path) -> tuple[str, ...]:
    """Check the parts of a data set that the user selects. None selects all available parts.

    Raises:
        ValueError: a wanted part is not available or is named twice, or the selection is empty.
    """
    if wanted is None:
        return tuple(available)
    unknown = [name for name in wanted if name not in available]
    if unknown or not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(
            f"Asked for {what} {', '.join(unknown or wanted) or '(none)'} of {root}, "
            f"which has {', '.join(available)}. Name each of those at most once, or omit the names to read all."
        )
    return tuple(wanted)


def read_lines(path: Path, dataset: str) -> list[str]:
    """Read the lines of a label file without line ends. Bytes that are not UTF-8 become replacement characters.

    Raises:
        FileNotFoundError: the file does not exist.
        PermissionError: the file cannot be read.
        ValueError: the file is empty, or it is a device or a pipe.
    """
    with _explained(path, dataset):
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise _empty(path, dataset)
    return [line.rstrip("\r") for line in text.split("\n")]


@contextmanager
def _explained(path: Path, dataset: str) -> Iterator[None]:
    """Explain why a label file cannot be opened, and refuse one that may never end."""
    try:
        if _is_endless(path.stat()):
            raise ValueError(f"{path} is a device or a pipe; expected a plain file with {dataset} labels.")
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There are no {dataset} labels at {path}. See docs/datasets.md for the files and where they go."
        ) from error
    except PermissionError as error:
        raise PermissionError(_denied(path)) from error


def _empty(path: Path, dataset: str) -> ValueError:
    return ValueError(f"The {dataset} label file {path} is empty. Get the file from the data set's release again.")


def numbered_rows(path: Path, dataset: str) -> list[tuple[int, str]]:
    """Read (line number, text) of the lines of a label file that are not blank.

    Raises:
        OSError, ValueError: see `read_lines`.
    """
    return list(iterate_rows(path, dataset))


def iterate_rows(path: Path, dataset: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of the lines of a label file that are not blank. The file is not held in memory.

    Raises:
        OSError, ValueError: see `read_lines`.
    """
    empty = True
    with _explained(path, dataset):
        opened = path.open("rb")
    with opened as file:
        for number, data in enumerate(file, 1):
            text = data.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").rstrip("\r\n")
            if text.strip():
                empty = False
                yield number, text
    if empty:
        raise _empty(path, dataset)


def counted_rows(path: Path, dataset: str, problems: list[Problem]) -> list[tuple[int, str]] | None:
    """Read (line number, text) of each row of a label file whose first line is the number of rows.

    A wrong count is appended to `problems`, and the rows are still used. A blank line between rows is returned as a
    row, because the position of a row may determine its image. A file that cannot be read is appended to `problems`
    too. The result is then None, and the other label files of the data set can still be used.
    """
    try:
        return _rows_below_count(read_lines(path, dataset), path, problems)
    except (OSError, ValueError) as error:
        problems.append(Problem(path, str(error)))
        return None


def _rows_below_count(lines: list[str], path: Path, problems: list[Problem]) -> list[tuple[int, str]]:
    while not lines[-1].strip():
        lines.pop()
    rows = list(enumerate(lines, 1))
    head = lines[0].split()
    # If the first line has as many words as the second, it is a row and the count is missing. Any other first line
    # that is not a number is treated as a damaged count.
    if len(head) > 1 and len(lines) > 1 and len(head) == len(lines[1].split()):
        problems.append(Problem(path, f"found {len(head)} words, expected the number of rows alone", 1))
        return rows
    if len(head) != 1 or not head[0].isdecimal():
        problems.append(Problem(path, f"found {lines[0][:40]!r}, expected the number of rows", 1))
    elif int(head[0]) != len(rows) - 1:
        problems.append(Problem(path, f"the first line counts {head[0]} rows, but {len(rows) - 1} follow", 1))
    return rows[1:]


# --- Single frames. A fault here leaves out the frame. ---


def parse_joints(words: Sequence[str], num_joints: int, path: Path, line: int) -> Float64[np.ndarray, "{num_joints} 3"]:
    """Parse the coordinates of a label line. `sound_joints` checks their values.

    Raises:
        FrameError: the number of coordinates is wrong, or a word is not a number.
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
    """Describe why joints (x y z or u v d) are not a valid label. None if they are valid."""
    if not np.isfinite(joints).all():
        return f"joint {int(np.flatnonzero(~np.isfinite(joints).all(axis=1))[0])} is not finite"
    if (np.abs(joints) > FARTHEST_MM).any():
        return f"a coordinate of {np.abs(joints).max():.3g}, expected at most {FARTHEST_MM:.0f}"
    if (joints[:, 2] <= 0).any():
        index = int(joints[:, 2].argmin())
        return f"joint {index} has a depth of {joints[index, 2] + 0.0:g} mm, expected more than 0"
    return None


def sound_joints(joints: Float64[np.ndarray, "J 3"], path: Path, line: int | None = None) -> Float64[np.ndarray, "J 3"]:
    """Return the joints (x y z or u v d) unchanged if `joint_fault` accepts them.

    Raises:
        FrameError: a coordinate is not finite or too large, or a joint is not in front of the camera.
    """
    fault = joint_fault(joints)
    if fault:
        raise broken(path, fault, line)
    return joints


def size_fault(width_px: int, height_px: int) -> str | None:
    """Describe why a file may not claim images of this size. None if it may.

    A small file can claim any size, so readers ask before they allocate memory for the pixels.
    """
    if width_px >= 1 and height_px >= 1 and width_px * height_px <= MAX_PIXELS:
        return None
    return f"found an image of {width_px:.10g}x{height_px:.10g}, expected 1 to {MAX_PIXELS} pixels"


def relative_image(name: str, path: Path, line: int) -> PurePosixPath:
    """Parse the image path of a label line. A leading `./` is removed.

    Raises:
        FrameError: the path is empty, absolute or leaves its folder, or has a null byte, which no file name has.
    """
    image = PurePosixPath(name.replace("\\", "/"))
    if not image.name or "\0" in name or image.is_absolute() or ".." in image.parts:
        raise broken(path, f"found the image path {name!r}, expected a path inside the data set", line)
    return image


def report_unlabelled(folder: Path, labelled: set[str], path: Path, problems: list[Problem]) -> None:
    """Report images of a folder that a label file does not name. They are left out.

    Args:
        folder: Folder of the images. If it is missing, each frame reports its missing image instead.
        labelled: Names of the images that have a label.
        path: The label file, for the message.
        problems: The report is appended to these.
    """
    if not folder.is_dir():
        return
    # One listing of the folder is enough, even for a million images.
    with os.scandir(folder) as entries:
        unlabelled = [entry.name for entry in entries if entry.name.endswith(".png") and entry.name not in labelled]
    if unlabelled:
        first = min(unlabelled, key=natural_order)
        what = f"{len(unlabelled)} images have no label in {path.name}, first {first}, so they are left out"
        problems.append(Problem(folder, what))


def natural_order(name: str) -> tuple[tuple[str | int, ...], str]:
    """Key that sorts names by the numbers in them: depth_2 comes before depth_10, and 10.png before a.png."""
    # The parts alternate between text and digits, so that a number is always compared with a number.
    parts = _NUMBER.split(name)
    return tuple(part if index % 2 == 0 else int(part) for index, part in enumerate(parts)), name


def read_image_bytes(path: Path) -> bytes:
    """Read a whole image file, as `read_file` does."""
    return read_file(path, "the image", MAX_IMAGE_BYTES)


def read_file(path: Path, what: str, max_bytes: int) -> bytes:
    """Read a whole file. `what` names it in messages, such as `the image`.

    Raises:
        FrameError: the file is missing or empty, has more than `max_bytes`, or cannot be read.
    """
    try:
        state = path.stat()
        if _is_endless(state) or state.st_size > max_bytes:
            found = "it is not a plain file" if _is_endless(state) else f"found {state.st_size} bytes"
            raise broken(path, f"{found}; expected a plain file of at most {max_bytes} bytes")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise broken(path, f"{what} is missing") from error
    except OSError as error:
        raise broken(path, f"{what} cannot be read: {error.strerror}") from error
    if not data:
        raise broken(path, f"{what} file is empty")
    return data


def _is_endless(state: os.stat_result) -> bool:
    """Whether a file is a device or a pipe. Reading it, such as through a link to /dev/zero, might never end."""
    return not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode))
