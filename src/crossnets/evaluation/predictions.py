"""Files of predicted joints: the field's text (u v d, one frame per line) and our JSON lines (mm, with keys)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from crossnets.atomic import replacing
from crossnets.geometry.skeleton import SavedSkeleton, Skeleton, find_skeleton
from crossnets.inference.hand import Hand
from crossnets.inference.predict import PredictedHands
from crossnets.json_text import parse_json
from crossnets.types import PredictedFrame

FORMAT = "crossnets-predictions"
VERSION = 1


@dataclass(frozen=True)
class PredictionHeader:
    """First line of a file in our own format."""

    skeleton: SavedSkeleton
    centers: str
    """How crops were centred: `detector`, `image`, `label`, or another name that the writer chose."""
    model: str
    """Name of the model, version of the package and digest of the weights (`inference.loading.model_name`)."""
    refine: str = "none"
    """Refinement after the estimate: `update`, `energy` or `none`."""
    forced_marked: bool = False
    """Whether `PredictedFrame.forced` marks frames in which `Tracker.predict` finds no hand. Older files lack it."""


@dataclass(frozen=True)
class PredictionFile:
    """Contents of a file in our own format."""

    header: PredictionHeader
    skeleton: Skeleton
    frames: tuple[PredictedFrame, ...]


def read_uvd_text(path: Path, joints: Sequence[int]) -> Float[np.ndarray, "F J 3"]:
    """Read the field's format: one frame per line, `u v d` for each joint, in px, px and mm.

    Args:
        path: Text file. Blank lines at its end are ignored.
        joints: Allowed numbers of joints. All lines must have as many as the first.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is empty. Or a line has another length, a word that is not a number, or a value that is
            not finite.
    """
    lines = _text(path).rstrip().splitlines()
    if not lines:
        raise ValueError(f"{path} is empty. Expected one frame per line, u v d for each joint.")
    rows = [line.split() for line in lines]
    allowed = [3 * count for count in joints]
    if len(rows[0]) in allowed:
        allowed = [len(rows[0])]
    for number, row in enumerate(rows, start=1):
        if len(row) not in allowed:
            wanted = " or ".join(f"{count} ({count // 3} joints)" for count in allowed)
            raise ValueError(
                f"{path}:{number}: found {len(row)} numbers, expected {wanted}: "
                "u v d of each joint, separated by spaces."
            )
    values = _numbers(path, rows)
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if broken.size:
        raise ValueError(
            f"{path}:{broken[0] + 1}: found a value that is not finite, expected numbers only "
            f"({broken.size} such lines)."
        )
    return values.reshape(len(rows), -1, 3)


def write_uvd_text(path: Path, uvd: Float[np.ndarray, "F J 3"]) -> None:
    """Write the field's format with three decimals. The file appears whole or not at all."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as stream:
        for frame in uvd.reshape(len(uvd), -1):
            stream.write(" ".join(f"{value:.3f}" for value in frame) + "\n")


def is_prediction_file(path: Path) -> bool:
    """Whether a file is in our own format rather than the field's. Only our own format begins with a brace."""
    return _text(path, 1) == "{"


def write_predictions(
    path: Path, header: PredictionHeader, frames: Iterable[PredictedFrame], *, every_hand: bool = False
) -> int:
    """Write our own format. The file appears whole or not at all.

    Args:
        path: The file.
        header: Its first line.
        frames: The predictions.
        every_hand: Write all hands of each `PredictedHands` with side, confidence, pixels and size, and the names of
            the joints in the header. Readers of version 1 ignore them.

    Returns:
        Number of frames.

    Raises:
        ValueError: a frame has another number of joints than the header's skeleton, or a joint that is not finite.
    """
    count = 0
    skeleton = find_skeleton(header.skeleton)
    with replacing(path) as part, part.open("w", encoding="utf-8") as stream:
        first: dict[str, Any] = {"format": FORMAT, "version": VERSION, **asdict(header)}
        if every_hand:
            first["joints"] = list(skeleton.joints)
        stream.write(json.dumps(first, allow_nan=False) + "\n")
        for frame in frames:
            if frame.joints_mm is not None and len(frame.joints_mm) != len(skeleton):
                raise ValueError(
                    f"Frame {frame.key} has {len(frame.joints_mm)} joints, but {skeleton.name} has {len(skeleton)}."
                )
            line: dict[str, Any] = {
                "key": frame.key,
                "sequence": frame.sequence,
                "center_mm": _rounded(frame.center_mm),
                "joints_mm": _rounded(frame.joints_mm),
            }
            if frame.std_mm is not None:
                line["std_mm"] = _rounded(frame.std_mm)
            if frame.forced:
                line["forced"] = True
            if every_hand and isinstance(frame, PredictedHands):
                line["hands"] = [_hand_entry(hand) for hand in frame.hands]
            stream.write(json.dumps(line, allow_nan=False) + "\n")
            count += 1
    return count


def _hand_entry(hand: Hand) -> dict[str, Any]:
    """A hand in the file. The header has its skeleton and joints."""
    entry = hand.to_dict()
    del entry["skeleton"], entry["joints"]
    return entry


def read_predictions(path: Path) -> PredictionFile:
    """Read our own format.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the format or version is wrong, or a line is broken. The message names the line.
    """
    lines = _text(path).splitlines()
    head = _object(path, 1, lines[0] if lines else "")
    if (head.get("format"), head.get("version")) != (FORMAT, VERSION):
        raise ValueError(
            f"{path}:1: found format {head.get('format')!r}, version {head.get('version')!r}. "
            f"Expected {FORMAT!r}, version {VERSION}."
        )
    try:
        skeleton = find_skeleton(head.get("skeleton"))
    except ValueError as error:
        raise ValueError(f"{path}:1: {error}") from None
    header = PredictionHeader(
        skeleton=head["skeleton"],
        centers=str(head.get("centers", "unknown")),
        model=str(head.get("model", "unknown")),
        refine=str(head.get("refine", "none")),
        forced_marked=head.get("forced_marked") is True,
    )
    frames = [_frame(path, number, line, len(skeleton)) for number, line in enumerate(lines[1:], start=2)]
    keys: set[str] = set()
    for number, frame in enumerate(frames, start=2):
        if frame.key in keys:
            raise ValueError(f"{path}:{number}: the key {frame.key!r} is repeated. Expected each key once.")
        keys.add(frame.key)
    return PredictionFile(header, skeleton, tuple(frames))


def _frame(path: Path, number: int, line: str, joints: int) -> PredictedFrame:
    entry = _object(path, number, line)
    if not isinstance(entry.get("key"), str):
        raise ValueError(f"{path}:{number}: found no `key`, expected the name of the frame as text.")
    return PredictedFrame(
        entry["key"],
        str(entry.get("sequence", "")),
        _array(path, number, "center_mm", entry.get("center_mm"), (3,)),
        _array(path, number, "joints_mm", entry.get("joints_mm"), (joints, 3)),
        _array(path, number, "std_mm", entry.get("std_mm"), (joints,)),
        entry.get("forced") is True,
    )


def _array(path: Path, number: int, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if value is None:
        return None
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        array = np.empty(0, np.float32)
    if array.shape != shape or not np.isfinite(array).all():
        wanted = " x ".join(map(str, shape))
        raise ValueError(f"{path}:{number}: `{name}` is not {wanted} finite numbers. Write null for a missing value.")
    return array


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise ValueError(f"{path}:{number}: this line is not JSON ({error}). The file may be cut off.") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}:{number}: found {type(value).__name__}, expected a JSON object.")
    return value


def _numbers(path: Path, rows: list[list[str]]) -> Float[np.ndarray, "F N"]:
    try:
        return np.array([[float(word) for word in row] for row in rows])
    except ValueError:
        for number, row in enumerate(rows, start=1):
            for word in row:
                try:
                    float(word)
                except ValueError:
                    raise ValueError(f"{path}:{number}: found {word!r}, expected a number.") from None
        raise


def _rounded(values: Float[np.ndarray, "*N"] | None) -> Any:
    """Nested lists, rounded to a tenth of a micrometre. None stays None."""
    return None if values is None else np.round(values.astype(np.float64), 4).tolist()


def _text(path: Path, size: int = -1) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}. Expected a file of predicted or labelled joints.")
    try:
        # Some editors write a byte order mark, which "utf-8-sig" skips.
        with path.open(encoding="utf-8-sig") as stream:
            return stream.read(size)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text ({error}). Expected u v d for each joint, one frame per line.") from None
