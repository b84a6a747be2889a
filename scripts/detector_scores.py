"""Measure the detector on rendered frames that no training uses, and on CVAR's real frames.

    python scripts/detector_scores.py --model RUN --cvar ../shared/data/cvar --out scores.json
    python scripts/detector_scores.py --cvar ../shared/data/cvar

With `--model`, the table has a row for each threshold of that detector. Without it, the only row is the result of
`crossnets.load().predict`: the detector of the package, followed by the estimator's decision. The columns are recall
and precision, the share of frames with a false detection, the distance of centres from the mean of the joints, and the
share of right sides. Choose a threshold on this table, write it into the model of the run with `--set-threshold`, and
export the run again.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

import crossnets
from crossnets.atomic import write_text
from crossnets.datasets.cvar import CVAR
from crossnets.geometry.camera import unproject
from crossnets.inference import bundle
from crossnets.inference.detector import Detection, HandDetector, load_detector
from crossnets.synth.scenes import PRESENT, PRESENT_MM2, UNCLEAR, SyntheticScenes
from crossnets.synth.stream import KINDS_OF_SENSOR, SyntheticHands
from crossnets.training import presets
from crossnets.types import Pinhole

SEED, PACKAGE_SEED = 9_000_000, 9_000_100
"""Seeds of the first camera's frames, for a detector and for the package. Presets use much smaller seeds."""
CVAR_SEQUENCES = ("P1", "P4", "P5")
LEAST = 0.05
"""Lowest score of a detection in the table."""
NEAR_MM, CVAR_NEAR_MM = 80.0, 60.0
"""A hand counts as detected if a detection is within this distance of the mean of its joints."""
UNCLEAR_MM, ERASED_MM = 150.0, 160.0
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


class Package:
    """The result of `crossnets.load().predict` in the form of a detector."""

    def __init__(self) -> None:
        self._tracker = crossnets.load(runtime="onnxruntime")

    def find(self, depth_mm: np.ndarray, camera: Pinhole) -> list[Detection]:
        """Return the hands of `Tracker.predict` as detections."""
        found = []
        for hand in self._tracker.predict(depth_mm, camera):
            assert hand.side_probability is not None
            right = hand.side_probability if hand.side == "right" else 1 - hand.side_probability
            found.append(Detection(hand.joints_mm.mean(axis=0), 1.0, right, hand.size_mm or 0.0))
        return found


class Case(NamedTuple):
    """A frame with its hands."""

    depth_mm: np.ndarray
    camera: Pinhole
    hands: list[tuple[np.ndarray, int]]
    """Centre in mm and side of each hand: 1 right, -1 left, 0 unknown."""
    unclear: list[np.ndarray]
    """Centres of hands that are hardly visible."""


@dataclass
class Seen:
    """Detections in one frame: score, distance to the hand, and whether the side is right.

    The distance of a false detection is infinite. The last value is None if the side is unknown.
    """

    hands: int
    found: list[tuple[float, float, bool | None]] = field(default_factory=list)


def whole_frames(camera: str, seed: int, count: int) -> Iterator[Case]:
    """Render frames of the sensor's size with its noise."""
    stream = SyntheticHands(presets.detector_scenes(camera, seed).hands)
    for index in range(count):
        scene = stream.scene(index)
        focal2 = scene.frame.camera.fx_px * scene.frame.camera.fy_px
        hands = []
        unclear = []
        for hand in scene.hands:
            center = hand.joints_mm.mean(axis=0)
            if hand.pixels * float(center[2]) ** 2 / focal2 >= PRESENT_MM2:
                hands.append((center, hand.side))
            elif hand.pixels:
                unclear.append(center)
        yield Case(scene.frame.depth_mm, scene.frame.camera, hands, unclear)


def empty_frames(camera: str, seed: int, count: int) -> Iterator[Case]:
    """Render the same frames without hands."""
    stream = SyntheticHands(presets.detector_scenes(camera, seed).hands)
    for index in range(count):
        frame = stream.empty_frame(index)
        yield Case(frame.depth_mm, frame.camera, [], [])


def scenes(camera: str, seed: int, count: int, *, empty: float) -> Iterator[Case]:
    """Render thinned frames as in the training, with hands at the edge, or frames without hands, most with a face."""
    stream = SyntheticScenes(replace(presets.detector_scenes(camera, seed), empty=empty))
    for start in range(0, count, 32):
        drawn = stream.draw(range(start, min(start + 32, count)))
        for b, (depth_mm, pinhole) in enumerate(zip(drawn.depth_mm, drawn.cameras, strict=True)):
            centers = [unproject(uvd.astype(np.float64), pinhole) for uvd in drawn.uvd[b]]
            states = drawn.state[b]
            hands = [(centers[k], int(drawn.side[b, k])) for k in (0, 1) if states[k] == PRESENT]
            yield Case(depth_mm, pinhole, hands, [centers[k] for k in (0, 1) if states[k] == UNCLEAR])


def real_frames(root: Path, sequence: str, count: int) -> Iterator[Case]:
    """Take evenly spaced frames of one of CVAR's sequences. Their sides are unknown."""
    data = CVAR(root, [sequence])
    for index in np.unique(np.linspace(0, len(data) - 1, count).astype(int)).tolist():
        frame = data[index]
        assert frame.joints_mm is not None
        yield Case(frame.depth_mm, frame.camera, [(frame.joints_mm.mean(axis=0), 0)], [])


def erased(case: Case) -> Case:
    """Erase the hands of a frame. All detections in the result are false."""
    depth = case.depth_mm.astype(np.float64)
    v, u = np.indices(depth.shape)
    points = unproject(np.stack([u, v, depth], axis=-1), case.camera)
    near = np.any([np.linalg.norm(points - center, axis=-1) < ERASED_MM for center, _ in case.hands], axis=0)
    return case._replace(depth_mm=np.where(near, 0, case.depth_mm).astype(case.depth_mm.dtype), hands=[])


def look(detector: HandDetector | Package, case: Case, near_mm: float, times: list[float]) -> Seen:
    """Detect hands, and assign to each hand the best detection near it."""
    began = time.perf_counter()
    found = detector.find(case.depth_mm, case.camera)
    times.append(1e3 * (time.perf_counter() - began))
    seen = Seen(len(case.hands))
    left = list(case.hands)
    for one in found:
        apart = [float(np.linalg.norm(one.center_mm - center)) for center, _ in left]
        if apart and min(apart) < near_mm:
            nearest = int(np.argmin(apart))
            _, side = left.pop(nearest)
            seen.found.append((one.score, apart[nearest], _right_side(one, side)))
        elif not any(np.linalg.norm(one.center_mm - center) < UNCLEAR_MM for center in case.unclear):
            seen.found.append((one.score, float("inf"), None))
    return seen


def _right_side(one: Detection, side: int) -> bool | None:
    return None if side == 0 else (one.side_right > 0.5) == (side > 0)


def row(frames: list[Seen], threshold: float) -> dict[str, float | None]:
    """Compute a row of the table for one kind of frame and one threshold."""
    kept = [[d for d in seen.found if d[0] > threshold] for seen in frames]
    right = [d for found in kept for d in found if np.isfinite(d[1])]
    wrong = sum(1 for found in kept for d in found if not np.isfinite(d[1]))
    hands = sum(seen.hands for seen in frames)
    apart = [d[1] for d in right]
    sides = [d[2] for d in right if d[2] is not None]

    def share(part: float, whole: float) -> float | None:
        return round(part / whole, 4) if whole else None

    return {
        "threshold": threshold,
        "recall": share(len(right), hands),
        "precision": share(len(right), len(right) + wrong),
        "frames with a false one": share(sum(any(not np.isfinite(d[1]) for d in f) for f in kept), len(frames)),
        "median mm": round(float(np.median(apart)), 1) if apart else None,
        "90 % mm": round(float(np.quantile(apart, 0.9)), 1) if apart else None,
        "side": share(sum(sides), len(sides)),
    }


def kinds(arguments: argparse.Namespace) -> dict[str, tuple[Callable[[], Iterator[Case]], float]]:
    """Return the kinds of frames by name, with their frames and the distance of a detected hand."""
    cameras = KINDS_OF_SENSOR
    each = arguments.frames // len(cameras)
    without = arguments.empty // len(cameras)

    first = PACKAGE_SEED if arguments.model is None else SEED

    def of_all(make: Callable[..., Iterator[Case]], count: int, **more: float) -> Callable[[], Iterator[Case]]:
        return lambda: (case for k, camera in enumerate(cameras) for case in make(camera, first + k, count, **more))

    listed: dict[str, tuple[Callable[[], Iterator[Case]], float]] = {
        "rendered, whole": (of_all(whole_frames, each), NEAR_MM),
        "rendered, thinned and cut": (of_all(scenes, each, empty=0.0), NEAR_MM),
        "empty, whole": (of_all(empty_frames, without), NEAR_MM),
        "empty, faces": (of_all(scenes, without, empty=1.0), NEAR_MM),
    }
    if arguments.cvar is not None:
        for name in CVAR_SEQUENCES:
            listed[f"CVAR {name}"] = (
                lambda name=name: real_frames(arguments.cvar, name, arguments.cvar_frames),
                CVAR_NEAR_MM,
            )
            listed[f"CVAR {name}, hand erased"] = (
                lambda name=name: map(erased, real_frames(arguments.cvar, name, arguments.cvar_frames)),
                CVAR_NEAR_MM,
            )
    return listed


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="run, model folder or exported file of a detector")
    parser.add_argument(
        "--frames", type=int, default=1000, help="number of rendered frames with hands, of all cameras together"
    )
    parser.add_argument("--empty", type=int, default=1000)
    parser.add_argument("--cvar", type=Path)
    parser.add_argument("--cvar-frames", type=int, default=300, help="number of frames of each sequence")
    parser.add_argument("--set-threshold", type=float)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.set_threshold is not None:
        if arguments.model is None:
            parser.error("--set-threshold needs a run. Give --model.")
        set_threshold(arguments.model, arguments.set_threshold)
        return
    detector = Package() if arguments.model is None else every_score(arguments.model)
    thresholds = (0.5,) if arguments.model is None else THRESHOLDS
    tables = {}
    for name, (make, near_mm) in kinds(arguments).items():
        times: list[float] = []
        frames = [look(detector, case, near_mm, times) for case in make()]
        rows = [row(frames, threshold) for threshold in thresholds]
        tables[name] = {"frames": len(frames), "median ms": round(float(np.median(times)), 3), "rows": rows}
        print(f"\n{name}: {len(frames)} frames, {tables[name]['median ms']} ms each")
        print("  ".join(rows[0]))
        for numbers in rows:
            print("  ".join("-" if value is None else f"{value:g}" for value in numbers.values()))
    if arguments.out is not None:
        write_text(arguments.out, json.dumps(tables, indent=2) + "\n")


def every_score(path: Path) -> HandDetector:
    """Load a detector with a low threshold, so that it also returns unlikely hands."""
    loaded = load_detector(path) if path.is_file() else bundle.load_detector(path)
    return HandDetector(loaded.maps, replace(loaded.model, threshold=LEAST))


def set_threshold(run: Path, threshold: float) -> None:
    """Write the threshold into the model of a run."""
    folder = bundle.model_folder(run)
    detector = bundle.load_detector(folder)
    detector.config = replace(detector.config, threshold=threshold)
    bundle.save(detector, folder)
    print(f"{folder} has the threshold {threshold}. Run `crossnets export {run}` again.")


if __name__ == "__main__":
    main()
