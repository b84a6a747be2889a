"""Conversion of a data set into another format, with its frames in order, and comparison of the two."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from crossnets.atomic import UnfinishedMark, locked, make_folder, staying, write_text
from crossnets.datasets.dataset import (
    PROBLEMS_FILE,
    CountedDepth,
    FrameError,
    HandDataset,
    Problem,
    StoredImages,
    declared_side,
    write_problems,
)
from crossnets.datasets.file_checks import natural_order
from crossnets.datasets.label_checks import LabelChecks, LabelReport
from crossnets.datasets.opening import open_dataset
from crossnets.datasets.packing import to_counts
from crossnets.datasets.recording import RecordingWriter
from crossnets.datasets.recording_format import KEYS_FILE, MAX_COUNT, keys_text
from crossnets.datasets.writers import FIXED, OWN_CAMERA, WITH_SPLIT, require_new_folder, set_writer
from crossnets.geometry.camera import CAMERAS, CameraPreset
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import HandFrame

SOURCE_KEYS_FILE = "source-keys.jsonl"
"""Key of each written frame and key of its source, for formats that make keys of their own."""
JOINTS_OFF_MM = 0.1
"""A written joint farther from its source than this is an error."""
_MARK = "conversion"
_WHOLE = "whole"
_ONE_UNIT = ("nyu", "icvl", "cvar", "hands17", "fpha", "dexycb", "ho3d", "h2o3d", "h2o", "recording", "image")
"""Formats whose images hold whole counts of one unit."""


@dataclass(frozen=True)
class Converted:
    """Result of a conversion. The written frames were read again and compared with their sources."""

    frames: int
    labelled: int
    problems: int
    """Frames and label lines that are left out."""
    changed: int
    """Frames in which a depth differs from its source."""
    depth_off_mm: float
    """Largest difference of a depth."""
    joints_off_mm: float
    """Largest distance of a joint from its source."""
    labels: LabelReport | None
    """Whether the written labels fit the images. None without labels."""


class _Frame(NamedTuple):
    """A frame as it was taken."""

    key: str
    sequence: str
    depth_mm: Float32[np.ndarray, "H W"]
    camera: CameraPreset
    joints_mm: Float32[np.ndarray, "J 3"] | None


def convert(
    dataset: HandDataset,
    to: str,
    out: Path,
    *,
    split: Literal["train", "test"] = "train",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Converted:
    """Write a data set in another format and compare what was written with its source.

    Everything is written into a folder beside `out`, which gets its name at the end. What a killed call left there is
    removed by the next one.

    Args:
        dataset: The source.
        to: Format: recording, nyu, icvl, msra, cvar, hands17, fpha, dexycb, ho3d or h2o.
        out: A new or empty folder.
        split: Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D and H2O that is written.
        on_progress: Called with the number of frames that are done and the total. Each counts twice, as it is written
            and compared.

    Raises:
        BlockingIOError: another process converts into `out`.
        FileExistsError: `out` is not empty.
        ValueError: the format is unknown, or it cannot hold the joints, the camera or the depths of the source, no
            frame can be written, or what was written does not come back.
    """
    if to != "recording" and to not in FIXED:
        raise ValueError(f"Cannot convert to {to!r}. Known: recording, {', '.join(FIXED)}.")
    out = out.resolve() if out.name in ("", "..") else out
    require_new_folder(out)
    rows = None if to == "recording" else _rows_for(dataset.skeleton, *FIXED[to])
    total = 2 * len(dataset)
    problems = list(dataset.problems)
    with _in_one_piece(out) as part:
        if rows is None:
            written = _write_recordings(dataset, part, problems, lambda done: on_progress(done, total))
        else:
            written = _write_set(dataset, to, part, split, rows, problems, lambda done: on_progress(done, total))
        if not written:
            reason = f" The first problem: {problems[0]}" if problems else ""
            raise ValueError(f"Not one frame can be written as {to}.{reason}")
        result = open_dataset(f"{to}:{part}", split)
        found = _compare(dataset, written, result, rows, len(problems), lambda done: on_progress(done, total))
        if rows is not None:
            pairs = ({"key": key, "source": source} for key, source in found.keys)
            write_text(part / SOURCE_KEYS_FILE, "".join(json.dumps(pair) + "\n" for pair in pairs))
        if problems:
            write_problems(part / PROBLEMS_FILE, problems)
    return found.converted


@contextmanager
def _in_one_piece(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `out` at the end, and is removed on an error.

    It is inside of another folder, which says by its mark that it is ours.

    Raises:
        BlockingIOError, FileExistsError: as for `convert`.
    """
    part = out.with_name(f"{out.name}.part")
    mark = UnfinishedMark(part, _MARK, {})
    if part.exists() and not mark.is_there():
        require_new_folder(part)
    make_folder(part)
    with locked(part, "converts into"):
        try:
            with staying(part):
                mark.set()
                shutil.rmtree(part / _WHOLE, ignore_errors=True)
                yield part / _WHOLE
                if out.is_dir():
                    out.rmdir()
                (part / _WHOLE).rename(out)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _taken(dataset: HandDataset, index: int) -> _Frame:
    """Read one frame, with the distortion of its lens if the data set has it.

    Raises:
        FrameError: it cannot be read.
    """
    frame = dataset[index]
    unit_mm = dataset.depth_unit_of(index) if isinstance(dataset, CountedDepth) else 1.0
    depth_mm = frame.depth_mm
    pinhole = frame.camera
    lens = None
    if isinstance(dataset, StoredImages) and dataset.preset_of(index).lens is not None:
        depth_mm = dataset.as_taken(index)[0]
        pinhole = dataset.preset_of(index).pinhole
        lens = dataset.preset_of(index).lens
    height, width = depth_mm.shape
    camera = CameraPreset(pinhole, width, height, unit_mm, dataset.name, lens)
    return _Frame(frame.key, frame.sequence, depth_mm, camera, frame.joints_mm)


def _readable(dataset: HandDataset, indices: Sequence[int], problems: list[Problem]) -> Iterator[tuple[int, _Frame]]:
    for index in indices:
        try:
            yield index, _taken(dataset, index)
        except FrameError as error:
            problems.append(error.problem)


# --- recordings ---


def _write_recordings(
    dataset: HandDataset, root: Path, problems: list[Problem], on_progress: Callable[[int], None]
) -> list[int]:
    """Write one recording, or one for each sequence. Return the indices of the frames that were written."""
    written: list[int] = []
    for name, indices in _folders(dataset).items():
        written += _write_recording(dataset, indices, root / name, problems, on_progress)
    return written


def _folders(dataset: HandDataset) -> dict[str, list[int]]:
    """Indices of the frames of each recording by its folder, in an order that a reader keeps.

    There is a folder for each sequence if their names are in natural order and no sequence is interrupted by another.
    Otherwise all frames are in one folder, whose name is empty.
    """
    runs: list[tuple[str, list[int]]] = []
    for index in range(len(dataset)):
        sequence = dataset.sequence_of(index)
        if not runs or runs[-1][0] != sequence:
            runs.append((sequence, []))
        runs[-1][1].append(index)
    names = [name for name, _ in runs]
    in_order = sorted(set(names), key=natural_order) == names
    if len(runs) < 2 or not in_order or not all(_is_folder_name(name) for name in names):
        return {"": list(range(len(dataset)))}
    return dict(runs)


def _is_folder_name(name: str) -> bool:
    return bool(name) and name.isprintable() and not set(name) & set('/\\:#,"') and not name.startswith(".")


def _write_recording(
    dataset: HandDataset,
    indices: Sequence[int],
    folder: Path,
    problems: list[Problem],
    on_progress: Callable[[int], None],
) -> list[int]:
    """Write the frames into one folder. Return the indices of those that were written.

    Raises:
        ValueError: the frames have different cameras.
    """
    frames = _readable(dataset, indices, problems)
    first = next(frames, None)
    if first is None:
        return []
    unit_mm = _unit_mm(dataset, indices, first[1])
    camera = first[1].camera._replace(depth_unit_mm=unit_mm)
    places: dict[str, tuple[str, str]] = {}
    written: list[int] = []
    with RecordingWriter(folder, camera, dataset.skeleton, f"converted from {dataset.name}") as writer:
        for index, frame in (first, *frames):
            if frame.camera[:3] != camera[:3] or frame.camera.lens != camera.lens:
                raise ValueError(
                    f"{frame.key} has the camera {frame.camera.pinhole} with {frame.camera.width_px}x"
                    f"{frame.camera.height_px} pixels, but {first[1].key} has {camera.pinhole} with {camera.width_px}x"
                    f"{camera.height_px}. A recording has one camera. Convert the parts of the source one by one."
                )
            name = writer.add(frame.depth_mm, frame.joints_mm).name
            places[name] = frame.key, frame.sequence
            written.append(index)
            on_progress(index + 1)
    write_text(folder / KEYS_FILE, keys_text(places))
    return written


def _unit_mm(dataset: HandDataset, indices: Sequence[int], first: _Frame) -> float:
    """The depth unit of a recording, which reproduces every depth exactly if one unit can."""
    if dataset.name in _ONE_UNIT:
        return first.camera.depth_unit_mm
    units: set[float] = set()
    farthest_mm = 0.0
    for _, frame in _readable(dataset, indices, []):
        units.add(to_counts(frame.depth_mm, frame.camera.depth_unit_mm)[1])
        farthest_mm = max(farthest_mm, float(frame.depth_mm.max(initial=0.0)))
    finest = min(units)
    if farthest_mm / finest <= MAX_COUNT:
        return finest
    return 2.0 ** int(np.frexp(farthest_mm / MAX_COUNT)[1])


# --- formats of benchmarks ---


def _rows_for(skeleton: Skeleton | None, camera: str, wanted: Skeleton) -> list[int]:
    """Index of each wanted joint in a skeleton.

    Raises:
        ValueError: a joint is missing.
    """
    if skeleton is None:
        raise ValueError(
            "The source has no labels, which only a recording can do without. Convert it with --to recording."
        )
    missing = [place for place in wanted.places if place not in skeleton.places]
    if missing:
        raise ValueError(
            f"The joints of {skeleton.name} lack {', '.join(missing[:5])}, which {wanted.name} has. Convert the source "
            "with --to recording, which takes any skeleton."
        )
    return [skeleton.places.index(place) for place in wanted.places]


def _write_set(
    dataset: HandDataset,
    to: str,
    root: Path,
    split: Literal["train", "test"],
    rows: list[int],
    problems: list[Problem],
    on_progress: Callable[[int], None],
) -> list[int]:
    """Write a split in the format of a benchmark. Return the indices of the frames that were written.

    Raises:
        ValueError: a frame has another camera than the format.
    """
    frames = _readable(dataset, range(len(dataset)), problems)
    first = next(frames, None)
    if first is None:
        return []
    camera = CAMERAS[FIXED[to][0]]
    if to in OWN_CAMERA:
        camera = camera._replace(pinhole=first[1].camera.pinhole)
    if to == "icvl" and split == "test" and len(dataset) < 2:
        raise ValueError("ICVL has two test sequences, so one frame is too few. Use --split train, or another format.")
    writer = set_writer(to, root, split if to in WITH_SPLIT else "train", len(dataset), camera, FIXED[to][1])
    written: list[int] = []
    for index, frame in (first, *frames):
        if frame.camera.lens is not None or frame.camera[:3] != camera[:3]:
            expected = f"the first frame of {to} has" if to in OWN_CAMERA else f"{to} always has"
            raise ValueError(
                f"{frame.key} has the camera {frame.camera.pinhole} with {frame.camera.width_px}x"
                f"{frame.camera.height_px} pixels, but {expected} {camera.pinhole} with {camera.width_px}x"
                f"{camera.height_px} and no lens. Convert the source with --to recording, which takes any camera."
            )
        if frame.joints_mm is None:
            problems.append(Problem(Path(frame.key), f"the frame has no label, which {to} cannot do without"))
            continue
        writer.add(frame.depth_mm, frame.joints_mm[rows])
        written.append(index)
        on_progress(index + 1)
    writer.close()
    return written


# --- comparison ---


class _Comparison(NamedTuple):
    converted: Converted
    keys: list[tuple[str, str]]
    """Key of each written frame, and of its source."""


def _compare(
    dataset: HandDataset,
    written: Sequence[int],
    result: HandDataset,
    rows: list[int] | None,
    problems: int,
    on_progress: Callable[[int], None],
) -> _Comparison:
    """Compare every written frame with its source, and check the labels.

    Raises:
        ValueError: a frame does not come back, or a joint is off.
    """
    if len(result) != len(written) or result.problems:
        reason = f" The first problem: {result.problems[0]}" if result.problems else ""
        raise ValueError(f"Of {len(written)} frames that were written {len(result)} come back.{reason}")
    checks = None if result.skeleton is None else LabelChecks(result.skeleton, len(result))
    keys: list[tuple[str, str]] = []
    labelled = 0
    changed = 0
    depth_off_mm = 0.0
    joints_off_mm = 0.0
    for place, index in enumerate(written):
        source, frame = _taken(dataset, index), _taken(result, place)
        keys.append((frame.key, source.key))
        off_mm = float(np.abs(source.depth_mm - frame.depth_mm).max(initial=0.0))
        changed += off_mm > 0
        depth_off_mm = max(depth_off_mm, off_mm)
        if (source.joints_mm is None) != (frame.joints_mm is None):
            raise ValueError(f"The label of {source.key} does not come back from {frame.key}.")
        if source.joints_mm is not None and frame.joints_mm is not None:
            labelled += 1
            expected = source.joints_mm if rows is None else source.joints_mm[rows]
            joints_off_mm = max(joints_off_mm, float(np.linalg.norm(expected - frame.joints_mm, axis=-1).max()))
            if joints_off_mm > JOINTS_OFF_MM:
                raise ValueError(f"The joints of {source.key} come back {joints_off_mm:.3f} mm off from {frame.key}.")
        if checks is not None:
            checked = result[place] if frame.camera.lens is not None else _as_frame(frame)
            checks.add(place, checked, declared_side(result, place, checked))
        on_progress(len(dataset) + index + 1)
    report = None if checks is None else checks.report()
    return _Comparison(Converted(len(written), labelled, problems, changed, depth_off_mm, joints_off_mm, report), keys)


def _as_frame(frame: _Frame) -> HandFrame:
    return HandFrame(frame.key, frame.sequence, frame.depth_mm, frame.camera.pinhole, frame.joints_mm)
