"""Files of predicted joints: the field's text (u v d, one frame a line) and our own JSON lines (mm, with keys)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from crossnets.atomic import replacing
from crossnets.geometry.skeleton import SKELETONS, Skeleton
from crossnets.types import PredictedFrame

FORMAT, VERSION = "crossnets-predictions", 1


@dataclass(frozen=True)
class PredictionHeader:
    """First line of our own file."""

    skeleton: str
    centers: str
    """How crops were centred: `detector`, `image`, `label`, or another word of the writer."""
    model: str
    """Name of the model, version of the package and digest of the weights (`inference.loading.model_name`)."""
    refine: str = "none"
    """Refinement after the estimate: `update`, `energy` or `none`."""
    forced_marked: bool = False
    """Whether `PredictedFrame.forced` is set where `Tracker.predict` finds no hand. Older files do not say."""


@dataclass(frozen=True)
class PredictionFile:
    """Our own file, whole."""

    header: PredictionHeader
    skeleton: Skeleton
    frames: tuple[PredictedFrame, ...]


def read_uvd_text(path: Path, joints: Sequence[int]) -> Float[np.ndarray, "F J 3"]:
    """Read the field's format: a frame a line, `u v d` for each joint, in px, px and mm.

    Args:
        path: Text file; blank lines at its end are ignored.
        joints: Numbers of joints a line may have. The first line decides, and all others must agree.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, or a line has another length, no number, or a value that is not finite.
    """
    lines = _text(path).rstrip().splitlines()
    if not lines:
        raise ValueError(f"{path} is empty; expected one frame a line, u v d for each joint.")
    rows = [line.split() for line in lines]
    allowed = [3 * count for count in joints]
    if len(rows[0]) in allowed:
        allowed = [len(rows[0])]
    for number, row in enumerate(rows, start=1):
        if len(row) not in allowed:
            wanted = " or ".join(f"{count} ({count // 3} joints)" for count in allowed)
            raise ValueError(
                f"{path}:{number}: found {len(row)} numbers, expected {wanted}: u v d of each joint, spaces between."
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
    """Write the field's format with three decimals; the file appears whole or not at all."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as stream:
        for frame in uvd.reshape(len(uvd), -1):
            stream.write(" ".join(f"{value:.3f}" for value in frame) + "\n")


def is_prediction_file(path: Path) -> bool:
    """Whether a file is in our own format rather than the field's: its first character says so."""
    return _text(path, 1) == "{"


def write_predictions(path: Path, header: PredictionHeader, frames: Iterable[PredictedFrame]) -> int:
    """Write our own format; the file appears whole or not at all.

    Returns:
        Number of frames.

    Raises:
        ValueError: a frame's joints are not those of the header's skeleton, or are not finite.
    """
    count = 0
    with replacing(path) as part, part.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps({"format": FORMAT, "version": VERSION, **asdict(header)}, allow_nan=False) + "\n")
        for frame in frames:
            if frame.joints_mm is not None and len(frame.joints_mm) != len(SKELETONS[header.skeleton]):
                raise ValueError(
                    f"Frame {frame.key} has {len(frame.joints_mm)} joints, "
                    f"but {header.skeleton} has {len(SKELETONS[header.skeleton])}."
                )
            line = {
                "key": frame.key,
                "sequence": frame.sequence,
                "center_mm": _rounded(frame.center_mm),
                "joints_mm": _rounded(frame.joints_mm),
            }
            if frame.std_mm is not None:
                line["std_mm"] = _rounded(frame.std_mm)
            if frame.forced:
                line["forced"] = True
            stream.write(json.dumps(line, allow_nan=False) + "\n")
            count += 1
    return count


def read_predictions(path: Path) -> PredictionFile:
    """Read our own format.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not this format or version, or a line is broken. The message names it.
    """
    lines = _text(path).splitlines()
    head = _object(path, 1, lines[0] if lines else "")
    if (head.get("format"), head.get("version")) != (FORMAT, VERSION):
        raise ValueError(
            f"{path}:1: found format {head.get('format')!r}, version {head.get('version')!r}; "
            f"expected {FORMAT!r}, version {VERSION}."
        )
    if head.get("skeleton") not in SKELETONS:
        raise ValueError(f"{path}:1: found skeleton {head.get('skeleton')!r}, expected one of {', '.join(SKELETONS)}.")
    centers, model, refine = (str(head.get(name, "unknown")) for name in ("centers", "model", "refine"))
    refine = refine if "refine" in head else "none"
    header = PredictionHeader(head["skeleton"], centers, model, refine, head.get("forced_marked") is True)
    skeleton = SKELETONS[header.skeleton]
    frames = [_frame(path, number, line, len(skeleton)) for number, line in enumerate(lines[1:], start=2)]
    seen: set[str] = set()
    for number, frame in enumerate(frames, start=2):
        if frame.key in seen:
            raise ValueError(f"{path}:{number}: frame {frame.key!r} is there twice; expected each key once.")
        seen.add(frame.key)
    return PredictionFile(header, skeleton, tuple(frames))


def _frame(path: Path, number: int, line: str, joints: int) -> PredictedFrame:
    found = _object(path, number, line)
    if not isinstance(found.get("key"), str):
        raise ValueError(f"{path}:{number}: found no `key`, expected the frame's name as text.")
    return PredictedFrame(
        found["key"],
        str(found.get("sequence", "")),
        _array(path, number, "center_mm", found.get("center_mm"), (3,)),
        _array(path, number, "joints_mm", found.get("joints_mm"), (joints, 3)),
        _array(path, number, "std_mm", found.get("std_mm"), (joints,)),
        found.get("forced") is True,
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
        raise ValueError(f"{path}:{number}: `{name}` is not {wanted} finite numbers; write null where there is none.")
    return array


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{number}: this line is not JSON ({error}); was the file cut off?") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}:{number}: found {type(found).__name__}, expected a JSON object.")
    return found


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
    """Nested lists to a tenth of a micrometre; None stays None."""
    return None if values is None else np.round(values.astype(np.float64), 4).tolist()


def _text(path: Path, size: int = -1) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}. Expected predicted or labelled joints there.")
    try:
        with path.open(encoding="utf-8-sig") as stream:  # some editors begin a file with a mark
            return stream.read(size)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text ({error}); expected u v d for each joint, one frame a line.") from None
