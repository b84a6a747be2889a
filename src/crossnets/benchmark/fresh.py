"""Script that measures import, loading and prediction in a new process. It prints one line of JSON.

Its argument is a JSON object with these keys: estimator and detector (paths, or null for the files of the package),
runtime, precision, frame (path of raw uint16 depth), shape, camera (fx, fy, cx, cy in pixels), center_mm (centre of the
hand) and predictions (their number). A given detector has random weights. It runs, but its output is replaced by the
centre of the hand.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Predict, then print the measurements."""
    request: dict[str, Any] = json.loads(sys.argv[1])
    raw = Path(request["frame"]).read_bytes()
    began = time.perf_counter()
    cpu_began = time.process_time()
    import crossnets

    imported = time.perf_counter()
    tracker = _tracker(request)
    loaded = time.perf_counter()
    import numpy as np

    depth_mm = np.frombuffer(raw, np.uint16).reshape(request["shape"])
    camera = crossnets.Pinhole(*request["camera"])
    tracker.predict(depth_mm, camera)
    if not tracker.stages_ms["network"]:
        raise RuntimeError("No hand was found, so the network did not run.")
    predicted = time.perf_counter()
    cpu_predicted = time.process_time()
    for _ in range(request["predictions"] - 1):
        tracker.predict(depth_mm, camera)
    resident_mb, most_resident_mb = _resident_mb()
    measured = {
        "import_s": imported - began,
        "load_s": loaded - imported,
        "first_prediction_s": predicted - began,
        "first_prediction_cpu_s": cpu_predicted - cpu_began,
        "resident_mb": resident_mb,
        "most_resident_mb": most_resident_mb,
        "with_torch": "torch" in sys.modules,
    }
    print(json.dumps(measured))


def _tracker(request: dict[str, Any]) -> Any:
    import crossnets

    options = {"runtime": request["runtime"], "threads": 1, "precision": request["precision"]}
    if request["detector"] is None:
        return crossnets.load(request["estimator"], **options)
    import numpy as np

    from crossnets.inference.detector import Detection, load_detector
    from crossnets.inference.engines import load_exported

    detector = load_detector(Path(request["detector"]), **options)
    center_mm = np.array(request["center_mm"], np.float32)

    def finder(depth_mm: Any, camera: Any) -> list[Any]:
        detector.find(depth_mm, camera)
        return [Detection(center_mm, 1.0, 0.5, 180.0)]

    return crossnets.Tracker(load_exported(Path(request["estimator"]), **options), finder)


def _resident_mb() -> tuple[float | None, float | None]:
    """Current and largest memory of this process in 10^6 bytes.

    Both are the largest on systems without /proc, and None on Windows.
    """
    path = Path("/proc/self/status")
    if path.is_file():
        rows = dict(line.split(":", 1) for line in path.read_text("utf-8").splitlines() if ":" in line)
        now, most = (1.024e-3 * int(rows[name].split()[0]) for name in ("VmRSS", "VmHWM"))
        return now, most
    try:
        import resource
    except ImportError:
        return None, None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1e-6 if sys.platform == "darwin" else 1.024e-3)
    return most, most


if __name__ == "__main__":
    main()
