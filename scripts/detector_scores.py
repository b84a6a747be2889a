"""How well hands are found: on rendered frames of other seeds than the training's, and on CVAR's real ones.

    python scripts/detector_scores.py --model RUN --cvar ../shared/data/cvar --out scores.json
    python scripts/detector_scores.py --cvar ../shared/data/cvar

With a detector, a table for each of its thresholds; without, one row: what `crossnets.load().predict` says, which is
the detector of the package with the estimator's word on it. Hands found, what was found that is none, how far centres
are from the mean of the joints, sides told rightly, frames without hands in which one is found. A threshold is chosen
on this table, and `--set-threshold` writes it into the model of the run; export it afterwards.
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
from crossnets.synth.scenes import PRESENT, UNCLEAR, SyntheticScenes
from crossnets.synth.stream import KINDS_OF_SENSOR, SyntheticHands
from crossnets.training import presets
from crossnets.types import Pinhole

SEED, PACKAGE_SEED = 9_000_000, 9_000_100
"""Of the first camera's frames, for a detector and for the package; presets keep far below."""
CVAR_SEQUENCES = ("P1", "P4", "P5")
LEAST = 0.05
"""Score from which detections are kept for the table."""
NEAR_MM, CVAR_NEAR_MM = 80.0, 60.0
"""A detection nearer than this to the mean of a hand's joints has found it."""
UNCLEAR_MM, ERASED_MM = 150.0, 160.0
LEAST_MM2 = 1500.0
"""A hand of which less is seen is not asked for."""
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


class Package:
    """What a user gets, as a detector."""

    def __init__(self) -> None:
        self._tracker = crossnets.load(runtime="onnxruntime")

    def find(self, depth_mm: np.ndarray, camera: Pinhole) -> list[Detection]:
        """The hands of `Tracker.predict`."""
        found = []
        for hand in self._tracker.predict(depth_mm, camera):
            assert hand.side_probability is not None
            right = hand.side_probability if hand.side == "right" else 1 - hand.side_probability
            found.append(Detection(hand.joints_mm.mean(axis=0), 1.0, right, hand.size_mm or 0.0))
        return found


class Case(NamedTuple):
    """A frame, and the hands in it."""

    depth_mm: np.ndarray
    camera: Pinhole
    hands: list[tuple[np.ndarray, int]]
    """Centre in mm, and side: 1 right, -1 left, 0 not known."""
    unclear: list[np.ndarray]
    """Centres of hands that are hardly seen."""


@dataclass
class Seen:
    """What was found in one frame: for each detection its score, distance to its hand, and whether the side is right;
    infinite where it is none, and None where nobody knows the side."""

    hands: int
    found: list[tuple[float, float, bool | None]] = field(default_factory=list)


def whole_frames(camera: str, seed: int, count: int) -> Iterator[Case]:
    """Frames of the sensor's size, through its noise."""
    stream = SyntheticHands(presets.detector_scenes(camera, seed).hands)
    for index in range(count):
        scene = stream.scene(index)
        focal2 = scene.frame.camera.fx_px * scene.frame.camera.fy_px
        hands = []
        unclear = []
        for hand in scene.hands:
            center = hand.joints_mm.mean(axis=0)
            if hand.pixels * float(center[2]) ** 2 / focal2 >= LEAST_MM2:
                hands.append((center, hand.side))
            elif hand.pixels:
                unclear.append(center)
        yield Case(scene.frame.depth_mm, scene.frame.camera, hands, unclear)


def empty_frames(camera: str, seed: int, count: int) -> Iterator[Case]:
    """The same without hands."""
    stream = SyntheticHands(presets.detector_scenes(camera, seed).hands)
    for index in range(count):
        frame = stream.empty_frame(index)
        yield Case(frame.depth_mm, frame.camera, [], [])


def scenes(camera: str, seed: int, count: int, *, empty: float) -> Iterator[Case]:
    """Frames as in training, thinned, with hands at the edge; or all of them without hands, most with a face."""
    stream = SyntheticScenes(replace(presets.detector_scenes(camera, seed), empty=empty))
    for start in range(0, count, 32):
        drawn = stream.draw(range(start, min(start + 32, count)))
        for b, (depth_mm, pinhole) in enumerate(zip(drawn.depth_mm, drawn.cameras, strict=True)):
            centers = [unproject(uvd.astype(np.float64), pinhole) for uvd in drawn.uvd[b]]
            states = drawn.state[b]
            hands = [(centers[k], int(drawn.side[b, k])) for k in (0, 1) if states[k] == PRESENT]
            yield Case(depth_mm, pinhole, hands, [centers[k] for k in (0, 1) if states[k] == UNCLEAR])


def real_frames(root: Path, sequence: str, count: int) -> Iterator[Case]:
    """Evenly out of one of CVAR's sequences; sides are not labelled."""
    data = CVAR(root, [sequence])
    for index in np.unique(np.linspace(0, len(data) - 1, count).astype(int)).tolist():
        frame = data[index]
        assert frame.joints_mm is not None
        yield Case(frame.depth_mm, frame.camera, [(frame.joints_mm.mean(axis=0), 0)], [])


def erased(case: Case) -> Case:
    """The frame with nothing left where its hand is: what is found there is none."""
    depth = case.depth_mm.astype(np.float64)
    v, u = np.indices(depth.shape)
    points = unproject(np.stack([u, v, depth], axis=-1), case.camera)
    near = np.any([np.linalg.norm(points - center, axis=-1) < ERASED_MM for center, _ in case.hands], axis=0)
    return case._replace(depth_mm=np.where(near, 0, case.depth_mm).astype(case.depth_mm.dtype), hands=[])


def look(detector: HandDetector | Package, case: Case, near_mm: float, times: list[float]) -> Seen:
    """Find, and give each hand the best detection near it."""
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
    """The numbers of one kind of frame at a threshold."""
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
    """Names of the kinds of frames, what makes them, and how near is found."""
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
    """Print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a detector: run, model folder, or exported file")
    parser.add_argument("--frames", type=int, default=1000, help="rendered ones with hands, of all cameras together")
    parser.add_argument("--empty", type=int, default=1000)
    parser.add_argument("--cvar", type=Path)
    parser.add_argument("--cvar-frames", type=int, default=300, help="of each sequence")
    parser.add_argument("--set-threshold", type=float)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.set_threshold is not None:
        if arguments.model is None:
            parser.error("--set-threshold writes into a run; name it with --model.")
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
    """A detector that gives what it hardly believes too."""
    loaded = load_detector(path) if path.is_file() else bundle.load_detector(path)
    return HandDetector(loaded.maps, replace(loaded.model, threshold=LEAST))


def set_threshold(run: Path, threshold: float) -> None:
    """Write the threshold into the model of a run."""
    folder = bundle.model_folder(run)
    detector = bundle.load_detector(folder)
    detector.config = replace(detector.config, threshold=threshold)
    bundle.save(detector, folder)
    print(f"{folder} finds hands from a score of {threshold} on; run `crossnets export {run}` again.")


if __name__ == "__main__":
    main()
