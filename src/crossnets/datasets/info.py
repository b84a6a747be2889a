"""Report on a data set: contents, broken files, and hands of unusual size."""

import json as json_module
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int64
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from crossnets.datasets.dataset import HandDataset, Problem, declared_side, printable, readable_frames
from crossnets.datasets.depth_checks import is_raw, unit_fault
from crossnets.datasets.hand_size import HandSize, hand_size, size_notes
from crossnets.datasets.label_checks import LabelChecks, LabelReport
from crossnets.datasets.left_out import write_names
from crossnets.datasets.opening import open_dataset
from crossnets.types import HandFrame, Pinhole

_SHOWN_PROBLEMS = 20
_SAMPLED = 24
"""Largest number of frames that are given to `check`."""
_HISTOGRAM_MM = 1 << 16
"""Number of bins of 1 mm. The last bin also counts all larger depths."""


@dataclass(frozen=True)
class SequenceInfo:
    """One subject or recording."""

    name: str
    frames: int
    labelled: int
    hand: HandSize | None
    """None if no frame is labelled."""


@dataclass(frozen=True)
class DatasetInfo:
    """Contents of a data set. Frames that cannot be read appear in `problems` only and are not counted."""

    spec: str
    format: str
    frames: int
    labelled: int
    sequences: tuple[SequenceInfo, ...]
    skeleton: str | None
    joints: tuple[str, ...]
    cameras: tuple[Pinhole, ...]
    """More than one if the cameras of the frames differ."""
    sizes: dict[str, int]
    """Number of frames of each image size, such as `320x240`."""
    depth_mm: tuple[float, float, float] | None
    """Nearest, median and farthest depth. The median is rounded to 1 mm. None if no pixel has depth."""
    blank: int
    """Number of frames in which no pixel has depth."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """Notes about depths, cameras and hands that are unusual, and may be wrong."""
    label_check: LabelReport | None = None
    """Whether the labels fit the images. None without labels."""

    @property
    def unlabelled(self) -> int:
        """Number of frames without joints."""
        return self.frames - self.labelled

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON. Lengths and depths are in mm."""
        nearest, median, farthest = self.depth_mm or (None, None, None)
        check = self.label_check
        return {
            "spec": self.spec,
            "format": self.format,
            "frames": self.frames,
            "labelled": self.labelled,
            "unlabelled": self.unlabelled,
            "blank": self.blank,
            "sequences": [_sequence_dict(sequence) for sequence in self.sequences],
            "skeleton": self.skeleton,
            "joints": list(self.joints),
            "cameras": [camera._asdict() for camera in self.cameras],
            "sizes": self.sizes,
            "depth_mm": {"nearest": nearest, "median": median, "farthest": farthest},
            "problems": [problem.to_dict() for problem in self.problems],
            "notes": list(self.notes),
            "label_check": None if check is None else {"fit": check.fit, "cause": check.cause, "side": check.side},
        }


def _sequence_dict(sequence: SequenceInfo) -> dict[str, Any]:
    hand = sequence.hand
    return {
        "name": sequence.name,
        "frames": sequence.frames,
        "labelled": sequence.labelled,
        "bones_mm": None if hand is None else hand.bones_mm,
        "fingers_mm": None if hand is None else hand.fingers_mm,
        "size_of_adult_mean": None if hand is None else hand.of_adult_mean,
    }


@dataclass
class _Statistics:
    """Statistics of the frames that have been read so far."""

    frames: Counter[str] = field(default_factory=Counter)
    joints_mm: dict[str, list[Float32[np.ndarray, "J 3"]]] = field(default_factory=lambda: defaultdict(list))
    sizes: Counter[str] = field(default_factory=Counter)
    cameras: dict[Pinhole, None] = field(default_factory=dict)
    """Used as a set that keeps its order."""
    histogram: Int64[np.ndarray, " D"] = field(default_factory=lambda: np.zeros(_HISTOGRAM_MM, np.int64))
    nearest: float = np.inf
    farthest: float = 0.0
    blank: int = 0
    raw: int = 0
    """Number of frames that look like raw values of a Kinect v1."""

    def add(self, frame: HandFrame) -> None:
        height, width = frame.depth_mm.shape
        self.frames[frame.sequence] += 1
        self.sizes[f"{width}x{height}"] += 1
        self.cameras[frame.camera] = None
        if frame.joints_mm is not None:
            self.joints_mm[frame.sequence].append(frame.joints_mm)
        valid_mm = frame.depth_mm[frame.depth_mm > 0]
        if not valid_mm.size:
            self.blank += 1
            return
        self.raw += is_raw(frame.depth_mm)
        self.nearest = min(self.nearest, float(valid_mm.min()))
        self.farthest = max(self.farthest, float(valid_mm.max()))
        bins = np.minimum(np.rint(valid_mm), _HISTOGRAM_MM - 1).astype(np.int64)
        self.histogram += np.bincount(bins, minlength=_HISTOGRAM_MM)

    def depth_mm(self) -> tuple[float, float, float] | None:
        if not self.farthest:
            return None
        # The median is read from the histogram, so the depths of all frames need not be held in memory.
        cumulated = self.histogram.cumsum()
        median = float(np.searchsorted(cumulated, (cumulated[-1] + 1) // 2))
        return self.nearest, median, self.farthest


def describe(
    spec: str,
    split: Literal["train", "test"] = "train",
    *,
    check: Callable[[Sequence[HandFrame]], Sequence[str]] | None = None,
    progress: bool = False,
) -> DatasetInfo:
    """Read every frame of a data set and summarise it.

    Args:
        spec: The data set.
        split: Its split, if it has one.
        check: Looks for faults in a sample of the frames, such as hands of impossible length. It returns notes.
        progress: Show a progress bar on the error output.

    Raises:
        OSError, ValueError: the data set cannot be opened. `open_dataset` lists the reasons.
    """
    dataset = open_dataset(spec, split)
    problems = list(dataset.problems)
    statistics = _Statistics()
    frames: Iterable[tuple[int, HandFrame]] = readable_frames(dataset, problems)
    if progress:
        frames = track(frames, "Reading", len(dataset), console=Console(stderr=True), transient=True)
    checks = LabelChecks(dataset.skeleton, len(dataset)) if dataset.skeleton else None
    every = math.ceil(len(dataset) / _SAMPLED)
    sample: list[HandFrame] = []
    for index, frame in frames:
        statistics.add(frame)
        if check is not None and index % every == 0:
            sample.append(frame)
        if checks is not None:
            checks.add(index, frame, declared_side(dataset, index, frame))
    label_check = checks.report() if checks is not None else None
    sequences = tuple(_sequence(name, statistics, dataset) for name in statistics.frames)
    return DatasetInfo(
        spec=spec,
        format=dataset.name,
        frames=statistics.frames.total(),
        labelled=sum(sequence.labelled for sequence in sequences),
        sequences=sequences,
        skeleton=dataset.skeleton.name if dataset.skeleton else None,
        joints=dataset.skeleton.joints if dataset.skeleton else (),
        cameras=tuple(statistics.cameras) or (dataset.camera,),
        sizes=dict(statistics.sizes),
        depth_mm=statistics.depth_mm(),
        blank=statistics.blank,
        problems=(*problems, *(() if label_check is None else label_check.bad)),
        notes=(
            *_unit_notes(statistics),
            *(check(sample) if check is not None and sample else ()),
            *size_notes({s.name: s.hand for s in sequences if s.hand is not None}),
        ),
        label_check=label_check,
    )


def _unit_notes(statistics: _Statistics) -> tuple[str, ...]:
    """A note if the depths cannot be in mm."""
    depth_mm = statistics.depth_mm()
    raw = statistics.raw > statistics.frames.total() / 2
    fault = None if depth_mm is None else unit_fault(depth_mm[1], raw=raw)
    return () if fault is None else (fault,)


def _sequence(name: str, statistics: _Statistics, dataset: HandDataset) -> SequenceInfo:
    joints = statistics.joints_mm.get(name, [])
    hand = hand_size(np.stack(joints), dataset.skeleton) if joints and dataset.skeleton else None
    return SequenceInfo(name, statistics.frames[name], len(joints), hand)


def render(info: DatasetInfo) -> RenderableType:
    """Lay out the description of a data set for the terminal."""
    if info.depth_mm is not None:
        depth = "nearest {:g} mm, median {:g} mm, farthest {:g} mm".format(*info.depth_mm)
    else:
        depth = "no pixel has depth" if info.frames else "no image was read"
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    sizes = ", ".join(f"{size} ({count})" for size, count in info.sizes.items())
    rows = {
        "data set": f"{info.spec} ({info.format})",
        "frames": f"{info.frames}: {info.labelled} labelled, {info.unlabelled} unlabelled",
        "joints": f"{len(info.joints)} ({info.skeleton})" if info.skeleton else "no labels",
        "camera": "; ".join(f"fx {c.fx_px:g} fy {c.fy_px:g} cx {c.cx_px:g} cy {c.cy_px:g} px" for c in info.cameras),
        "image size": sizes or "no image was read",
        "depth": depth,
    }
    check = info.label_check
    if check is not None and check.fit is not None:
        rows["labels"] = f"{check.fit:.0%} of the joints lie on the surface that the images show"
    if check is not None and check.side is not None:
        rows["hands"] = f"{check.side}, as the fingers of the labels bend"
    if info.blank:
        rows["blank frames"] = f"{info.blank}, in which no pixel has depth"
    for name, value in rows.items():
        table.add_row(name, _plain(value))
    parts: list[RenderableType] = [table, _sequence_table(info.sequences)]
    if check is not None and check.cause is not None:
        parts.append(f"[red]problem[/] {_plain(check.cause)}")
    parts += [f"[yellow]note[/] {_plain(note)}" for note in info.notes]
    parts += [f"[red]problem[/] {_plain(str(problem))}" for problem in info.problems[:_SHOWN_PROBLEMS]]
    if len(info.problems) > _SHOWN_PROBLEMS:
        parts.append(f"[red]problem[/] and {len(info.problems) - _SHOWN_PROBLEMS} more. --json lists all.")
    elif not info.problems and (check is None or check.cause is None):
        noted = " Read the notes above." if info.notes else ""
        parts.append(f"[green]No problem found in the files.[/]{noted}")
    return Group(*parts)


def _plain(text: str) -> str:
    """Text from files, which neither rich nor the terminal takes for commands."""
    return escape(printable(text))


def _sequence_table(sequences: tuple[SequenceInfo, ...]) -> Table:
    table = Table("sequence", "frames", "labelled", "fingers, knuckle to tip (mm)", "of an adult's mean")
    for sequence in sequences:
        hand = sequence.hand
        fingers = "" if hand is None else ", ".join(f"{name} {mm:.1f}" for name, mm in hand.fingers_mm.items())
        share = "" if hand is None or hand.of_adult_mean is None else f"{hand.of_adult_mean:.2f}"
        table.add_row(_plain(sequence.name), str(sequence.frames), str(sequence.labelled), fingers, share)
    return table


def info_command(
    path: str,
    json: bool = False,
    split: Literal["train", "test"] = "train",
    bad_labels: Path | None = None,
    check: Callable[[Sequence[HandFrame]], Sequence[str]] | None = None,
) -> None:
    """Read every frame of a data set and print its contents and its broken files.

    Args:
        path: Folder of the data set, or FORMAT:PATH, or FORMAT:PATH#PARTS.
        json: Print JSON instead of a table.
        split: For nyu, icvl, hands17, fpha, dexycb, ho3d, h2o3d and h2o. The other formats are released without a
            split.
        bad_labels: Text file to which the names of frames with bad labels are written.
        check: As for `describe`.
    """
    info = describe(path, split, check=check, progress=True)
    if bad_labels is not None:
        _write_bad(info, bad_labels)
    if json:
        print(json_module.dumps(info.to_dict(), indent=2))
    else:
        Console().print(render(info), soft_wrap=True)


def _write_bad(info: DatasetInfo, path: Path) -> None:
    """Write the names of frames with bad labels.

    Raises:
        ValueError: the labels are not checked one by one, because there are none or because most seem wrong.
    """
    check = info.label_check
    if check is None:
        raise ValueError(f"{info.spec} has no labels, so --bad-labels has nothing to check.")
    if check.cause is not None:
        raise ValueError(f"--bad-labels lists single frames, but most labels of {info.spec} seem wrong. {check.cause}")
    write_names(path, check.bad)
