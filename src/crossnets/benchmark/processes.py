"""Memory and start-up time, measured in new processes."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossnets.benchmark import fresh
from crossnets.benchmark.engines import Engine, precision_of, runtime_of
from crossnets.benchmark.frames import RawFrame
from crossnets.benchmark.our_networks import NetworkFile

PREDICTIONS = 50
"""Number of predictions in each process before its memory is read."""


@dataclass(frozen=True)
class Start:
    """Start-up of one new process, or the medians over several."""

    import_s: float
    """Seconds of `import crossnets`."""
    load_s: float
    """Seconds of `crossnets.load`."""
    first_prediction_s: float
    """Seconds from before the import to the end of the first prediction."""
    first_prediction_cpu_s: float
    """The same interval in processor time."""
    resident_mb: float | None
    """Memory after the predictions, 10^6 bytes. None if the system does not report it."""
    most_resident_mb: float | None
    """Largest memory of the process, 10^6 bytes."""
    with_torch: bool
    """Whether torch was imported."""


def start(
    folder: Path, frame: RawFrame, estimator: NetworkFile, detector: NetworkFile, engine: Engine, times: int
) -> Start:
    """Start `times` new processes one after the other and return the medians of their measurements.

    Raises:
        RuntimeError: a process failed.
    """
    raw = folder / "frame.raw"
    raw.write_bytes(frame.depth_mm.tobytes())
    # With a shipped detector `fresh.py` calls `crossnets.load`, where None stands for the shipped estimator. With
    # another detector it opens both files itself and needs both paths.
    both_shipped = estimator.weights == "shipped" and detector.weights == "shipped"
    request = {
        "estimator": None if both_shipped else str(estimator.path),
        "detector": None if detector.weights == "shipped" else str(detector.path),
        "runtime": runtime_of(engine),
        "precision": precision_of(engine),
        "frame": str(raw),
        "shape": frame.depth_mm.shape,
        "camera": tuple(frame.camera),
        "center_mm": frame.center_mm.tolist(),
        "predictions": PREDICTIONS,
    }
    return _medians([_one(json.dumps(request)) for _ in range(times)])


def _one(request: str) -> Start:
    # Without -P the folder of the script would be on the import path, and its modules would hide others.
    command = [sys.executable, "-P", str(Path(fresh.__file__)), request]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if ended.returncode:
        raise RuntimeError(f"A process of the benchmark failed: {ended.stderr.strip()[-500:]}")
    return Start(**json.loads(ended.stdout.splitlines()[-1]))


def _medians(starts: Sequence[Start]) -> Start:
    middle: dict[str, Any] = {}
    for name in Start.__dataclass_fields__:
        values = [getattr(one, name) for one in starts]
        middle[name] = None if None in values else float(np.median(values))
    return Start(**middle | {"with_torch": any(one.with_torch for one in starts)})
