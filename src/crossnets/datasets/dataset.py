"""The interface of all readers, and how a broken file is reported."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from crossnets.atomic import write_text
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import HandFrame, Pinhole


@dataclass(frozen=True)
class Problem:
    """One broken or missing thing of a data set, named so that a person finds it."""

    path: Path
    what: str
    """What was found and what was expected."""
    line: int | None = None
    """Line of a text file, from 1; in a MATLAB file the frame, from 1."""

    def __str__(self) -> str:
        return f"{self.path}{'' if self.line is None else f':{self.line}'}: {self.what}"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {"path": str(self.path), "line": self.line, "what": self.what}


PROBLEMS_FILE = "problems.jsonl"
"""File beside predictions or crops that lists the frames that were left out."""


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """One JSON object a line; the file appears whole or not at all."""
    write_text(path, "".join(json.dumps(problem.to_dict()) + "\n" for problem in problems))


class FrameError(Exception):
    """A frame that cannot be used. The data set's other frames can."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@runtime_checkable
class HandDataset(Protocol):
    """A sequence of frames read from disk one at a time."""

    name: str
    """Format: nyu, icvl, msra, cvar or recording."""
    skeleton: Skeleton | None
    """None when the data set has no labels."""
    camera: Pinhole
    problems: list[Problem]
    """Found in the label files when the data set was opened. Those frames are left out."""

    def __len__(self) -> int:
        """Number of frames whose label line is sound; their images are not opened yet."""
        ...

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame.

        Raises:
            IndexError: past the end.
            FrameError: the image is missing, truncated or of another format.
        """
        ...

    def sequence_of(self, index: int) -> str:
        """Subject or recording of a frame, without reading its image."""
        ...


def readable_frames(dataset: HandDataset, problems: list[Problem]) -> Iterator[tuple[int, HandFrame]]:
    """Every frame that can be read, with its index; what cannot is appended to `problems`."""
    for index in range(len(dataset)):
        try:
            yield index, dataset[index]
        except FrameError as error:
            problems.append(error.problem)
