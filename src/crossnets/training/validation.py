"""Labelled frames that a training is validated on: the part that is held back, and a model's error on it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt16

from crossnets.datasets.dataset import FrameError, HandDataset, Problem, RepeatedMoments
from crossnets.datasets.opening import parse_spec
from crossnets.datasets.some_frames import SomeFrames
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.localise import center_of
from crossnets.geometry.skeleton import Skeleton
from crossnets.inference.estimator import CropEstimator
from crossnets.metrics import joint_errors_mm
from crossnets.training.crops import CropConfig, seed_of
from crossnets.training.kept_frames import Reach, cut_patch, patch_camera, patch_mm
from crossnets.types import HandCrop, HandFrame, Pinhole

MOST_FRAMES = 512
"""Frames that are validated on. A validation of them takes seconds on a processor."""
_BLOCKS = 4
"""Blocks that a share of a single recording consists of. Only the frames at their ends have neighbours that train."""
_MOVED_MM = 60.0
"""Largest distance of a second pass's centre from the mean of the label's joints, in each axis. A crop that lies
further away belongs to a wrong estimate, and shows less than the whole frame would."""
_CUBE_MM = 300.0
"""Largest side of a second pass's cube that is shown completely."""
_BATCH = 64


def parse_share(text: str) -> float | None:
    """A share such as `10%`, above 0 and below 1. None if the text names a data source.

    Raises:
        ValueError: the text is a number but no such share.
    """
    match = re.fullmatch(r"([-+]?[\d.]+(?:e[-+]?\d+)?)(%?)", text)
    if match is None or (not match[2] and Path(text).exists()):
        return None
    try:
        share = float(match[1]) / 100 if match[2] else 0.0
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ValueError(
            f"--validation {text}: expected a share of --data above 0 and below 100 such as 10%, or a data source."
        )
    return share


class HeldBack(NamedTuple):
    """The two parts of a data set."""

    training: HandDataset
    validation: HandDataset


def hold_back(dataset: HandDataset, share: float, seed: int) -> HeldBack:
    """Hold a share of a data set's frames back: whole recordings or, of a single one, contiguous blocks.

    Neighbouring frames of a video are nearly the same, so they must not be divided at random. Rotated copies of a frame
    and views of other cameras stay together.

    Raises:
        ValueError: the recordings or frames cannot be divided so.
    """
    moments = [moment_of(dataset, index) for index in range(len(dataset))]
    frames: dict[str, int] = {}
    for recording, _ in moments:
        frames[recording] = frames.get(recording, 0) + 1
    if len(frames) > 1:
        chosen = _recordings(frames, share, seed)
        held = [recording in chosen for recording, _ in moments]
    else:
        names = list(dict.fromkeys(moments))
        blocks = {names[row] for row in _blocks(len(names), share)}
        held = [moment in blocks for moment in moments]
    training = tuple(index for index, one in enumerate(held) if not one)
    validation = tuple(index for index, one in enumerate(held) if one)
    return HeldBack(SomeFrames(dataset, training), SomeFrames(dataset, validation))


def moment_of(dataset: HandDataset, index: int) -> tuple[str, str]:
    """Recording and moment of a frame. Frames with the same pair show the same hand at the same time."""
    if isinstance(dataset, RepeatedMoments):
        return dataset.moment_of(index)
    return dataset.sequence_of(index), str(index)


def recordings_of(dataset: HandDataset) -> set[str]:
    """Recordings that the frames of a data set belong to."""
    return {moment_of(dataset, index)[0] for index in range(len(dataset))}


def check_apart(held: HandDataset, source: str, trained: Sequence[tuple[str, HandDataset]]) -> None:
    """Refuse to validate on recordings that are trained on, with or without their labels.

    Args:
        held: Frames of the validation.
        source: Name of their data source.
        trained: Names of the data sources that are trained on, each with its frames.

    Raises:
        ValueError: a recording is among both.
    """
    recordings = recordings_of(held)
    folder = parse_spec(source)[1].resolve()
    for name, dataset in trained:
        shared = sorted(recordings & recordings_of(dataset)) if parse_spec(name)[1].resolve() == folder else []
        if shared:
            raise ValueError(
                f"--validation: {', '.join(shared[:5])} of {source} are also trained on, as {name}. Validate on other "
                "sequences, such as --data cvar:PATH#P1,P4 --validation cvar:PATH#P5, or on a share such as 10%."
            )


def _recordings(frames: Mapping[str, int], share: float, seed: int) -> set[str]:
    """Recordings, in random order, that bring the number of frames nearer to the share."""
    names = sorted(frames)
    wanted = share * sum(frames.values())
    chosen: set[str] = set()
    held = 0
    for row in np.random.default_rng(seed_of(seed, "validation")).permutation(len(names)).tolist():
        count = frames[names[row]]
        if abs(held + count - wanted) < abs(held - wanted):
            chosen.add(names[row])
            held += count
    if not chosen:
        least = min(frames.values()) / sum(frames.values())
        raise ValueError(
            f"--validation {100 * share:g}%: the data has {len(names)} sequences, which are not divided, and the "
            f"shortest has {least:.1%} of the frames. Give a larger share, or a data source for the validation."
        )
    if len(chosen) == len(names):
        raise ValueError(
            f"--validation {100 * share:g}% would hold back all {len(names)} sequences of the data. Give a smaller "
            "share."
        )
    return chosen


def _blocks(count: int, share: float) -> set[int]:
    """Rows of `count` that are held back: blocks that end equal parts of them."""
    held = round(share * count)
    if not 1 <= held < count:
        raise ValueError(
            f"--validation {100 * share:g}% of {count} frames is {held} frames, expected 1 to {count - 1}. Give "
            "another share, or a data source for the validation."
        )
    blocks = min(_BLOCKS, held)
    rows: set[int] = set()
    for number in range(blocks):
        end = count * (number + 1) // blocks
        length = held * (number + 1) // blocks - held * number // blocks
        rows.update(range(end - length, end))
    return rows


class _Frame(NamedTuple):
    """The part of a frame that its crops show, with its label."""

    counts: UInt16[np.ndarray, "h w"]
    """Depth in units of `kept_frames.UNIT_MM`."""
    camera: Pinhole
    center_mm: Float[np.ndarray, "3"]
    """Centre of the first crop."""
    joints_mm: Float32[np.ndarray, "J 3"]


@dataclass(frozen=True)
class Validation:
    """Labelled frames that a training is validated on."""

    frames: tuple[_Frame, ...]
    skeleton: Skeleton
    problems: tuple[Problem, ...]
    """Frames left out, and why."""

    def error_mm(self, estimator: CropEstimator) -> float:
        """Mean distance of the evaluated joints from their labels, without alignment, as `evaluate` reports it."""
        speaking = estimator.speaking(self.skeleton)
        joints = list(self.skeleton.evaluation or range(len(self.skeleton)))
        total = 0.0
        for start in range(0, len(self.frames), _BATCH):
            frames = self.frames[start : start + _BATCH]
            crops = _crops(frames, [(frame.center_mm, speaking.model.cube_mm) for frame in frames])
            estimates = speaking.estimate(crops)
            for _ in range(speaking.model.passes - 1):
                crops = _crops(frames, speaking.refined_cubes(crops, estimates))
                estimates = speaking.estimate(crops)
            labels = np.stack([frame.joints_mm for frame in frames])
            errors = joint_errors_mm(estimates.joints_mm[:, joints], labels[:, joints])
            total += float(errors.mean(axis=1).sum())
        return total / len(self.frames)


def _crops(frames: Sequence[_Frame], cubes: Sequence[tuple[Float[np.ndarray, "3"], float]]) -> tuple[HandCrop, ...]:
    return tuple(
        crop_hand(patch_mm(frame.counts), frame.camera, center_mm, side_mm, supported=True)
        for frame, (center_mm, side_mm) in zip(frames, cubes, strict=True)
    )


def read_validation(
    dataset: HandDataset,
    crop: CropConfig,
    passes: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Validation:
    """Read up to `MOST_FRAMES` labelled frames of a data set, the same ones each time.

    The first crop of a model with one pass is centred as its training's crops are. That of a model which refines its
    estimate is centred on the mean of the label's joints, so that the error is that of the estimator alone.

    Raises:
        ValueError: no frame has a label and a hand that was found.
    """
    assert dataset.skeleton is not None
    frames: list[_Frame] = []
    problems: list[Problem] = []
    most = min(MOST_FRAMES, len(dataset))
    for row in np.random.default_rng(0).permutation(len(dataset)).tolist():
        if len(frames) == most:
            break
        on_progress(len(frames), most)
        try:
            frame = dataset[row]
        except FrameError as error:
            problems.append(error.problem)
            continue
        if frame.joints_mm is None:
            continue
        try:
            frames.append(_cut(frame, frame.joints_mm, dataset.skeleton, crop, passes))
        except ValueError as error:
            problems.append(Problem(Path(frame.key), f"{error}, so the frame is left out of the validation"))
    if not frames:
        told = f" Left out: {len(problems)}, first {problems[0]}" if problems else ""
        raise ValueError(f"No frame of --validation has a label and a hand that was found.{told}")
    return Validation(tuple(frames), dataset.skeleton, tuple(problems))


def _cut(
    frame: HandFrame, joints_mm: Float32[np.ndarray, "J 3"], skeleton: Skeleton, crop: CropConfig, passes: int
) -> _Frame:
    """The part of a frame that crops can show.

    Raises:
        ValueError: no hand is found, or it is too near.
    """
    if passes > 1:
        center_mm = joints_mm.mean(axis=0, dtype=np.float64)
        reach = Reach(center_mm, _MOVED_MM, _CUBE_MM)
    else:
        found = center_of(frame, skeleton, crop.centers)
        if found is None:
            raise ValueError("no hand was found in the image")
        center_mm = found.astype(np.float64)
        reach = Reach(center_mm, 0.0, crop.cube_mm)
    counts, (left, top, _, _) = cut_patch(frame.depth_mm, frame.camera, reach)
    return _Frame(counts, patch_camera(frame.camera, left, top), center_mm, joints_mm)
