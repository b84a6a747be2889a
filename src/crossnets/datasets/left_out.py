"""Frames that are not used, although the data set has them: a file of their names, and the data set without them."""

from collections.abc import Sequence
from pathlib import Path

from crossnets.atomic import write_text
from crossnets.datasets.dataset import FrameError, HandDataset, Problem, printable
from crossnets.datasets.some_frames import SomeFrames
from crossnets.types import HandFrame

AS_ASKED = "left out, as asked"
"""Reason that is listed for the frames that were left out."""
_COMMENT = "#"
_MOST_BYTES = 1 << 28


def write_names(path: Path, problems: Sequence[Problem]) -> None:
    """Write the names of frames, one a line, each with the reason after a tab. `read_names` reads the file.

    Raises:
        OSError: the file cannot be written.
    """
    lines = [f"{problem.path.as_posix()}\t{printable(problem.what)}\n" for problem in problems]
    write_text(path, "".join([f"{_COMMENT} name of a frame, tab, reason\n", *lines]))


def read_names(path: Path) -> tuple[str, ...]:
    """Read names of frames, as `data info` prints them: one a line. Text after a tab and lines with # are ignored.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file is not text, or too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. Expected a text file with the name of a frame in each line.")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, expected names of frames, at most {_MOST_BYTES}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file ({error}). Expected the name of a frame in each line.") from None
    names = [line.partition("\t")[0].strip() for line in text.split("\n") if not line.startswith(_COMMENT)]
    return tuple(dict.fromkeys(name for name in names if name))


class WithoutFrames(SomeFrames):
    """Data set that has some of its frames left out. They are reported as frames that cannot be used."""

    def __init__(self, whole: HandDataset, names: frozenset[str]) -> None:
        super().__init__(whole, range(len(whole)))
        self._names = names

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame.

        Raises:
            FrameError: the frame is left out, or as for `HandDataset.__getitem__`.
        """
        frame = super().__getitem__(index)
        if frame.key in self._names:
            raise FrameError(Problem(Path(frame.key), AS_ASKED))
        return frame
