"""Run by path in a new process: what importing, loading and predicting take. Prints one line of JSON.

Its argument is JSON: estimator and detector (paths, or null for what the package loads by itself), runtime, precision,
frame (path of raw uint16), shape, camera (fx, fy, cx, cy in pixels), center_mm (of the hand: a given detector has
random weights, so it runs and is not listened to), predictions (how many).
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Predict, and tell."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    raw = Path(asked["frame"]).read_bytes()
    began, cpu_began = time.perf_counter(), time.process_time()
    import crossnets

    imported = time.perf_counter()
    tracker = _tracker(asked)
    loaded = time.perf_counter()
    import numpy as np

    depth_mm = np.frombuffer(raw, np.uint16).reshape(asked["shape"])
    camera = crossnets.Pinhole(*asked["camera"])
    tracker.predict(depth_mm, camera)
    if not tracker.stages_ms["network"]:
        raise RuntimeError("No hand was found, so the network did not run.")
    predicted, cpu_predicted = time.perf_counter(), time.process_time()
    for _ in range(asked["predictions"] - 1):
        tracker.predict(depth_mm, camera)
    now_mb, most_mb = _resident_mb()
    found = {
        "import_s": imported - began,
        "load_s": loaded - imported,
        "first_prediction_s": predicted - began,
        "first_prediction_cpu_s": cpu_predicted - cpu_began,
        "resident_mb": now_mb,
        "most_resident_mb": most_mb,
        "with_torch": "torch" in sys.modules,
    }
    print(json.dumps(found))


def _tracker(asked: dict[str, Any]) -> Any:
    import crossnets

    options = {"runtime": asked["runtime"], "threads": 1, "precision": asked["precision"]}
    if asked["detector"] is None:
        return crossnets.load(asked["estimator"], **options)
    import numpy as np

    from crossnets.inference.detector import Detection, load_detector
    from crossnets.inference.engines import load_exported

    detector = load_detector(Path(asked["detector"]), **options)
    center_mm = np.array(asked["center_mm"], np.float32)

    def finder(depth_mm: Any, camera: Any) -> list[Any]:
        detector.find(depth_mm, camera)
        return [Detection(center_mm, 1.0, 0.5, 180.0)]

    return crossnets.Tracker(load_exported(Path(asked["estimator"]), **options), finder)


def _resident_mb() -> tuple[float, float]:
    """Memory of this process in 10^6 bytes: now, and at most; the same twice where the system tells no more."""
    path = Path("/proc/self/status")
    if path.is_file():
        rows = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        now, most = (1.024e-3 * int(rows[name].split()[0]) for name in ("VmRSS", "VmHWM"))
        return now, most
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1e-6 if sys.platform == "darwin" else 1.024e-3)
    return most, most


if __name__ == "__main__":
    main()
