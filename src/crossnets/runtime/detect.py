"""Hands in a whole frame, found by a trained network that needs no torch."""

import json
from pathlib import Path
from typing import Any

from crossnets.detection import Detection, DetectorModel, HandDetector
from crossnets.runtime.engines import Precision, Runtime, open_network

__all__ = ["Detection", "DetectorModel", "HandDetector", "load_detector"]

FORMAT, VERSION = "crossnets-detector", 1
INPUT, OUTPUT = "image", "maps"


def to_text(model: DetectorModel) -> str:
    """The description as JSON."""
    fields = {name: getattr(model, name) for name in DetectorModel.__dataclass_fields__}
    return json.dumps({"format": FORMAT, "version": VERSION, "model": fields})


def from_text(text: str | None, path: str) -> DetectorModel:
    """The inverse of `to_text`.

    Raises:
        ValueError: the file at `path` is no detector exported by this version of crossnets.
    """
    try:
        if text is None:
            raise ValueError("it carries no description")
        fields: dict[str, Any] = json.loads(text)
        found = fields.get("format"), fields.get("version")
        if found != (FORMAT, VERSION):
            raise ValueError(f"its description is {found[0]!r} version {found[1]!r}, not {FORMAT!r} version {VERSION}")
        return DetectorModel(**fields["model"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is no hand detector that `crossnets export` of this version made: {error}. Export the run again."
        ) from error


def load_detector(
    path: Path, runtime: Runtime = "auto", *, threads: int = 1, precision: Precision = "float32"
) -> HandDetector:
    """An exported detector, ready to find hands.

    Args:
        path: File that `crossnets export` made of a run of the preset detector.
        runtime: As of `engines.load_exported`.
        threads: Of the processor.
        precision: bfloat16 is OpenVINO's alone.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: the runtime that was asked for is not installed.
        ValueError: the file is no detector of ours, or the precision is not one of the runtime's.
    """
    text, run = open_network(path, runtime, threads=threads, precision=precision, names=(OUTPUT,))
    model = from_text(text, str(path))
    return HandDetector(lambda image: run(image)[0], model)
