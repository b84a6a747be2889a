"""Read predictions and labels from files or a data set, and match them frame by frame and joint by joint."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from crossnets import metrics
from crossnets.datasets.dataset import HandDataset, Problem, declared_side, readable_frames
from crossnets.datasets.label_checks import LabelChecks, in_sample
from crossnets.evaluation.evaluation import Compared
from crossnets.evaluation.predictions import PredictionFile, is_prediction_file, read_predictions, read_uvd_text
from crossnets.evaluation.protocols import Protocol, subset_of
from crossnets.geometry.camera import unproject
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import Pinhole, PredictedFrame

_LABEL_CENTERS = (
    "The crops were centred on the labels, which are unavailable in practice. "
    "Results are better than with centres detected in the image."
)

_FARTHEST = 1e5
"""A coordinate beyond this, in px or mm, is an error in the file. Some label files of data sets have such errors."""
_METRES_MM = 50.0
"""Depth cameras cannot measure this near. A file whose joints lie nearer is probably in another unit than mm."""


@dataclass(frozen=True)
class Predicted:
    """Joints from one or more files, in file order."""

    joints_mm: Float[np.ndarray, "F J 3"]
    """A frame without a prediction is NaN throughout."""
    skeleton: Skeleton
    centers: str
    source: str
    frames: tuple[PredictedFrame, ...] | None = None
    """Predictions with their keys. None for text files, which have no keys."""
    forced_marked: bool = False
    """Whether `PredictedFrame.forced` is known."""

    @property
    def found(self) -> Bool[np.ndarray, "F"] | None:
        """Frames in which `Tracker.predict` finds a hand. None if the files do not mark them."""
        if self.frames is None or not self.forced_marked:
            return None
        return np.array([frame.joints_mm is not None and not frame.forced for frame in self.frames], np.bool_)

    @property
    def std_mm(self) -> Float[np.ndarray, "F J"] | None:
        """Standard deviation of each joint in each axis. It is NaN in frames without one and None if all lack it."""
        if self.frames is None or all(frame.std_mm is None for frame in self.frames):
            return None
        std_mm = np.full(self.joints_mm.shape[:2], np.nan)
        for row, frame in enumerate(self.frames):
            if frame.std_mm is not None:
                std_mm[row] = frame.std_mm
        return std_mm


@dataclass(frozen=True)
class Labelled:
    """Labels of all labelled frames."""

    joints_mm: Float[np.ndarray, "F J 3"]
    skeleton: Skeleton
    sequences: tuple[str, ...]
    keys: tuple[str, ...] = ()
    indices: tuple[int, ...] | None = None
    """Index of each frame in the data set. None for a text file."""
    notes: tuple[str, ...] = ()


def read_predicted(paths: Sequence[Path], protocol: Protocol, camera: Pinhole) -> Predicted:
    """Read prediction files and concatenate them. All must be text, or all must be in our own format.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is broken, or the files are of different kinds.
    """
    is_own = [is_prediction_file(path) for path in paths]
    source = paths[0].stem if len(paths) == 1 else f"{paths[0].stem} and {len(paths) - 1} more"
    if not any(is_own):
        parts, skeletons = zip(*(read_text_mm(path, protocol, camera) for path in paths), strict=True)
        if len(set(skeletons)) > 1:
            raise ValueError(f"The files {', '.join(map(str, paths))} have different numbers of joints.")
        return Predicted(np.concatenate(parts), skeletons[0], "unknown", source)
    if not all(is_own):
        kinds = ", ".join(
            f"{path} ({'JSON lines' if ours else 'text'})" for path, ours in zip(paths, is_own, strict=True)
        )
        raise ValueError(f"Found files in two formats, expected one: {kinds}.")
    return joined([read_predictions(path) for path in paths])


def joined(files: Sequence[PredictionFile]) -> Predicted:
    """Concatenate files in our own format.

    Raises:
        ValueError: the files differ in skeleton, centres or refinement.
    """
    heads = {(file.skeleton, file.header.centers, file.header.refine) for file in files}
    if len(heads) > 1:
        listed = sorted((skeleton.name, centers, refine) for skeleton, centers, refine in heads)
        raise ValueError(f"The files differ in skeleton, centres or refinement: {listed}. Score each separately.")
    frames = tuple(frame for file in files for frame in file.frames)
    for frame in frames:
        if frame.joints_mm is not None and np.abs(frame.joints_mm).max() > _FARTHEST:
            raise ValueError(
                f"The prediction of frame {frame.key} has a joint at {np.abs(frame.joints_mm).max():.4g} mm. Expected "
                f"joints in mm, none farther than {_FARTHEST:.0f}."
            )
    joints_mm = np.full((len(frames), len(files[0].skeleton), 3), np.nan)
    for row, frame in enumerate(frames):
        if frame.joints_mm is not None:
            joints_mm[row] = frame.joints_mm
    models = ", ".join(dict.fromkeys(file.header.model for file in files))
    if files[0].header.refine != "none":
        models += f", refined ({files[0].header.refine})"
    marked = all(file.header.forced_marked for file in files)
    return Predicted(joints_mm, files[0].skeleton, files[0].header.centers, models, frames, marked)


def read_text_mm(path: Path, protocol: Protocol, camera: Pinhole) -> tuple[Float[np.ndarray, "F J 3"], Skeleton]:
    """Read a text file in mm. Its number of joints decides between the annotated and the evaluated skeleton."""
    skeletons = {len(s): s for s in (protocol.skeleton.evaluated(), protocol.skeleton)}
    uvd = read_uvd_text(path, tuple(skeletons))
    line, joint, _ = np.unravel_index(np.abs(uvd).argmax(), uvd.shape)
    if np.abs(uvd[line, joint]).max() > _FARTHEST:
        raise ValueError(
            f"{path}:{line + 1}: joint {joint} is at {', '.join(f'{value:.4g}' for value in uvd[line, joint])}. "
            f"Expected u and v in px and d in mm, none above {_FARTHEST:.0f}."
        )
    joints_mm = unproject(uvd, camera)
    return joints_mm, skeletons[joints_mm.shape[1]]


def read_label_file(
    path: Path, protocol: Protocol, camera: Pinhole, listed: Sequence[str] | None, first: int | None
) -> Labelled:
    """Read labels in the field's format, all lines or the first `first`.

    The position of a line decides its sequence if the file is the whole test set, or if `first` or a list is given.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is broken or has fewer than `first` lines.
    """
    joints_mm, skeleton = read_text_mm(path, protocol, camera)
    behind = np.argwhere(joints_mm[..., 2] <= 0)
    if len(behind):
        line, joint = behind[0].tolist()
        raise ValueError(
            f"{path}:{line + 1}: joint {joint} has a depth of {joints_mm[line, joint, 2]:g} mm, expected more than 0. "
            "In these files z points away from the camera."
        )
    if first is not None and not 1 <= first <= len(joints_mm):
        raise ValueError(f"--first is {first}, but {path} has {len(joints_mm)} frames. Expected 1 to {len(joints_mm)}.")
    if listed is not None and len(listed) != len(joints_mm):
        raise ValueError(
            f"The list names {len(listed)} frames, but {path} has {len(joints_mm)}. Expected one name for each line."
        )
    whole = first is not None or listed is not None or len(joints_mm) == protocol.frames
    joints_mm = joints_mm[:first]
    notes = _partial(len(joints_mm), protocol)
    sequences = protocol.sequences(len(joints_mm), listed) if whole else ("all",) * len(joints_mm)
    return Labelled(joints_mm, skeleton, sequences, notes=notes)


def read_labels(dataset: HandDataset, protocol: Protocol, problems: list[Problem]) -> Labelled:
    """Read the labels of every readable frame of a data set. Unreadable frames are appended to `problems`.

    The labels of some frames are compared with their images. A note tells if most seem wrong.

    Raises:
        ValueError: the data set has no labels.
    """
    if dataset.skeleton is None:
        raise ValueError("The data set has no labels to score against.")
    checks = LabelChecks(dataset.skeleton, len(dataset))
    rows = []
    for index, frame in readable_frames(dataset, problems):
        rows.append((index, frame.key, frame.sequence, frame.joints_mm))
        if in_sample(index, len(dataset)):
            checks.add(index, frame, declared_side(dataset, index, frame))
    labelled = [(i, key, sequence, joints_mm) for i, key, sequence, joints_mm in rows if joints_mm is not None]
    if not labelled:
        reason = f" Left out: {len(problems)}, first {problems[0]}" if problems else ""
        raise ValueError(f"No frame of the data set has a label and a readable image. Nothing can be scored.{reason}")
    indices, keys, sequences, joints = zip(*labelled, strict=True)
    notes = _partial(len(rows), protocol)
    if len(rows) > len(labelled):
        notes += (f"Frames without a label, left out: {len(rows) - len(labelled)}.",)
    cause = checks.report().cause
    if cause is not None:
        notes += (f"The labels seem wrong, so the errors may be too. {cause}",)
    return Labelled(np.stack(joints).astype(np.float64), dataset.skeleton, sequences, keys, indices, notes)


def match_lines(predicted: Predicted, labelled: Labelled, first: int | None) -> Predicted:
    """Match predictions to the labels of a text file by the order of their lines.

    Raises:
        ValueError: there are more or fewer predictions than labels. The message states both counts.
    """
    count = len(predicted.joints_mm)
    expected = len(labelled.joints_mm)
    if first is not None and count > expected:
        return _rows(predicted, range(expected))
    if count != expected:
        hint = f" If they are for the first {count} of the labels, add --first {count}." if count < expected else ""
        raise ValueError(f"{predicted.source} has {count} frames, but there are {expected} labels.{hint}")
    return predicted


def match_dataset(predicted: Predicted, labelled: Labelled, frames: int, first: int | None) -> Predicted:
    """Match predictions to the labelled frames of a data set by key. Text files have no keys and are matched by order.

    Args:
        predicted: Predictions for every frame of the data set.
        labelled: Labelled frames of the data set.
        frames: Number of all frames of the data set, labelled or not.
        first: Requested number of first frames. Further lines of a text file belong to later frames and are ignored.

    Raises:
        ValueError: there are predictions for other frames. The message states both counts.
    """
    count = len(predicted.joints_mm)
    if predicted.frames is None:
        assert labelled.indices is not None
        if count != frames and not (first is not None and count > frames):
            hint = f" If they are for the first {count} of them, add --first {count}." if count < frames else ""
            raise ValueError(f"{predicted.source} has {count} frames, but the data set has {frames}.{hint}")
        return _rows(predicted, labelled.indices)
    row_of = {frame.key: row for row, frame in enumerate(predicted.frames)}
    absent = [key for key in labelled.keys if key not in row_of]
    if absent:
        raise ValueError(
            f"{predicted.source} has {count} frames, but the data set has {frames}, {len(labelled.keys)} of them with "
            f"labels. {len(absent)} labelled frames are not predicted, such as {absent[0]}. Write a line with null for "
            "a frame in which prediction failed, or choose frames with --first."
        )
    return _rows(predicted, [row_of[key] for key in labelled.keys])


def meet(predicted: Predicted, labelled: Labelled, camera: Pinhole) -> Compared:
    """Select the joints that papers report and that both predictions and labels have."""
    full = labelled.skeleton
    angles = None if full.palm_frame is None else metrics.palm_angles(labelled.joints_mm, full.palm_frame)
    evaluated = full.evaluated()
    of_full = [full.joints.index(name) for name in evaluated.joints]
    of_label, of_prediction = evaluated.shared_with(predicted.skeleton)
    skeleton = subset_of(evaluated, of_label)
    notes = list(labelled.notes)
    if len(skeleton) < len(evaluated):
        left_out = ", ".join(name for name in evaluated.joints if name not in skeleton.joints)
        notes.append(
            f"Only {len(skeleton)} of the {len(evaluated)} joints of {evaluated.name} are in "
            f"{predicted.skeleton.name}. Left out: {left_out}. The errors are not comparable with published numbers. "
            f"Aligned errors use {skeleton.joints[skeleton.reference]}."
        )
    behind = int((predicted.joints_mm[..., 2] <= 0).any(axis=1).sum())
    for kind, joints_mm in (("labels", labelled.joints_mm), ("predictions", predicted.joints_mm)):
        depth_mm = float(np.nanmedian(joints_mm[..., 2])) if np.isfinite(joints_mm).any() else np.inf
        if 0 < depth_mm < _METRES_MM:
            notes.append(f"The median depth of the {kind} is {depth_mm:.3g} mm. They may be in another unit than mm.")
    if behind:
        notes.append(f"Frames with a predicted joint at or behind the camera: {behind}. They are scored unchanged.")
    if predicted.centers == "label":
        notes.append(_LABEL_CENTERS)
    std_mm = predicted.std_mm
    return Compared(
        predicted_mm=predicted.joints_mm[:, list(of_prediction)],
        labels_mm=labelled.joints_mm[:, of_full][:, list(of_label)],
        sequences=labelled.sequences,
        skeleton=skeleton,
        camera=camera,
        centers=predicted.centers,
        source=predicted.source,
        angles=angles,
        frames=predicted.frames,
        indices=labelled.indices,
        notes=tuple(notes),
        std_mm=None if std_mm is None else std_mm[:, list(of_prediction)],
        found=predicted.found,
    )


def _rows(predicted: Predicted, rows: Sequence[int]) -> Predicted:
    frames = None if predicted.frames is None else tuple(predicted.frames[row] for row in rows)
    return replace(predicted, joints_mm=predicted.joints_mm[list(rows)], frames=frames)


def _partial(count: int, protocol: Protocol) -> tuple[str, ...]:
    if protocol.frames in (None, count):
        return ()
    return (f"{count} frame{'' if count == 1 else 's'}. The full protocol of {protocol.name} has {protocol.frames}.",)
