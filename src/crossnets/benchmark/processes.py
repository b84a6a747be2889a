"""Memory and start-up, each measured in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossnets.benchmark import fresh
from crossnets.benchmark.engines import Engine, precision_of, runtime_of
from crossnets.benchmark.frames import RawFrame
from crossnets.benchmark.ours import NetworkFile

PREDICTIONS = 50
"""Predictions in each process before its memory is read."""


@dataclass(frozen=True)
class Start:
    """Start-up of one new process, or medians over several."""

    import_s: float
    """`import crossnets`."""
    load_s: float
    """`crossnets.load`."""
    first_prediction_s: float
    """Seconds from before the import to the end of the first prediction."""
    first_prediction_cpu_s: float
    """The same by processor time."""
    resident_mb: float
    """Memory after the predictions, 10^6 bytes."""
    most_resident_mb: float
    with_torch: bool
    """Whether anything imported torch."""


def start(
    folder: Path, frame: RawFrame, estimator: NetworkFile, detector: NetworkFile, engine: Engine, times: int
) -> Start:
    """Medians over new processes.

    Raises:
        RuntimeError: a process failed.
    """
    raw = folder / "frame.raw"
    raw.write_bytes(frame.depth_mm.tobytes())
    asked = {
        "estimator": None if estimator.weights == "shipped" else str(estimator.path),
        "detector": None if detector.weights == "shipped" else str(detector.path),
        "runtime": runtime_of(engine),
        "precision": precision_of(engine),
        "frame": str(raw),
        "shape": frame.depth_mm.shape,
        "camera": tuple(frame.camera),
        "center_mm": frame.center_mm.tolist(),
        "predictions": PREDICTIONS,
    }
    if asked["detector"] is not None:
        asked["estimator"] = str(estimator.path)
    return _medians([_one(json.dumps(asked)) for _ in range(times)])


def _one(asked: str) -> Start:
    # -P: the modules beside the script are no top-level ones.
    command = [sys.executable, "-P", str(Path(fresh.__file__)), asked]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if ended.returncode:
        raise RuntimeError(f"A process that should predict failed: {ended.stderr.strip()[-500:]}")
    return Start(**json.loads(ended.stdout.splitlines()[-1]))


def _medians(starts: Sequence[Start]) -> Start:
    middle = {
        name: float(np.median([getattr(one, name) for one in starts]))
        for name in Start.__dataclass_fields__
        if name != "with_torch"
    }
    return Start(**middle, with_torch=any(one.with_torch for one in starts))
