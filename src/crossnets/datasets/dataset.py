"""Interface of all readers, and reports of broken files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from crossnets.atomic import write_text
from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import HandFrame, LensCamera, Pinhole


@dataclass(frozen=True)
class Problem:
    """A broken or missing file, label or frame of a data set, with its place on disk."""

    path: Path
    what: str
    """Description of the fault: the value that was found and the value that was expected."""
    line: int | None = None
    """Line of a text file or frame of a MATLAB file, counted from 1."""

    def __str__(self) -> str:
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return printable(f"{place}: {self.what}")

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {"path": str(self.path), "line": self.line, "what": self.what}


def printable(text: str) -> str:
    """Replace control characters by their escapes, so that the name of a file cannot command a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


PROBLEMS_FILE = "problems.jsonl"
"""File beside predictions, crops or shards that lists the frames that were left out."""


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write one JSON object per line. The file appears whole or not at all."""
    write_text(path, "".join(json.dumps(problem.to_dict()) + "\n" for problem in problems))


class FrameError(Exception):
    """A frame cannot be used. The other frames of the data set can."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@runtime_checkable
class HandDataset(Protocol):
    """A sequence of frames read from disk one at a time."""

    name: str
    """Format: nyu, icvl, msra, cvar, hands17, fpha, dexycb, ho3d, h2o3d, h2o, recording, shards, or image for single
    files."""
    skeleton: Skeleton | None
    """None when the data set has no labels."""
    camera: Pinhole
    problems: list[Problem]
    """Faults of the label files, found when the data set was opened. The affected frames are left out."""

    def __len__(self) -> int:
        """Number of frames that are not left out. Their images have not been opened yet."""
        ...

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame.

        Raises:
            IndexError: the index is past the end.
            FrameError: the image is missing or truncated, or has another format.
        """
        ...

    def sequence_of(self, index: int) -> str:
        """Subject or recording of a frame, without reading its image."""
        ...


@runtime_checkable
class CountedDepth(Protocol):
    """A data set whose images hold whole counts of a depth unit that is not always 1 mm."""

    def depth_unit_of(self, index: int) -> float:
        """Millimetres per count of a frame's image."""
        ...


@runtime_checkable
class StoredImages(Protocol):
    """A data set of images whose cameras are known as they were given, with their lens and depth unit."""

    def preset_of(self, index: int) -> CameraPreset:
        """Camera that took a frame."""
        ...

    def key_of(self, index: int) -> str:
        """Key of a frame, without reading its image."""
        ...

    def as_taken(
        self, index: int
    ) -> tuple[Float32[np.ndarray, "H W"], Pinhole | LensCamera, Float32[np.ndarray, "J 3"] | None]:
        """Depth of one frame in mm with the distortion of the lens, its camera, and its joints.

        Raises:
            FrameError: as for `HandDataset.__getitem__`.
        """
        ...


@runtime_checkable
class RepeatedMoments(Protocol):
    """A data set that shows a moment several times: in turned copies, or from several cameras."""

    def moment_of(self, index: int) -> tuple[str, str]:
        """Recording and name of the moment that a frame shows, without reading its image.

        Raises:
            ValueError: the files do not say it.
        """
        ...


BOTH_HANDS = ("h2o", "h2o3d")
"""Formats whose images show both hands. They have a frame for each hand, whose key ends with its side."""


def side_of(key: str) -> Literal["left", "right"] | None:
    """Side of the hand that a frame is about, by its key. None if its data set has one hand in an image."""
    data_set, side = key.partition("/")[0], key.rpartition("/")[2]
    if data_set not in BOTH_HANDS or side not in ("left", "right"):
        return None
    return "left" if side == "left" else "right"


@runtime_checkable
class SidedHands(Protocol):
    """A data set that states the side of each hand."""

    def side_of(self, index: int) -> Literal["left", "right"]:
        """Side of the hand of a frame, without reading its image."""
        ...


def declared_side(dataset: HandDataset, index: int, frame: HandFrame) -> Literal["left", "right"] | None:
    """Side of the hand that the data set states for a frame. None if it states none."""
    return dataset.side_of(index) if isinstance(dataset, SidedHands) else side_of(frame.key)


def readable_frames(dataset: HandDataset, problems: list[Problem]) -> Iterator[tuple[int, HandFrame]]:
    """Read every frame and yield it with its index. Errors of unreadable frames are appended to `problems`."""
    for index in range(len(dataset)):
        try:
            yield index, dataset[index]
        except FrameError as error:
            problems.append(error.problem)
