"""Hands found in depth that was resized, blurred, filled or has wrong pixels, without and with the removal of pixels.

    python scripts/mixed_pixels.py --out mixed.json
    python scripts/mixed_pixels.py --frames FOLDER --camera realsense-sr305 --out mixed.json   # real images as well

Rendered frames of three sensors show hands before desks, people and things. A hand is found if the mean of its joints
is within 80 mm of the truth. Real images have no labels, so their hands are compared with those of the image as it is,
and the distance that the joints moved is given. The time is that of a search of the whole image on one core.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

import crossnets
from crossnets.atomic import write_text
from crossnets.datasets.image_sources import open_sources
from crossnets.geometry import crop, thinned
from crossnets.inference import tracker as tracker_module
from crossnets.synth.sensor.hole_filling import FARTHEST, LEFT, NEAREST, fill_holes
from crossnets.types import LensCamera, Pinhole

SENSORS = ("realsense-d435", "cvar-senz3d", "azure-kinect-nfov")
SEED = 9_800_000
NEAR_MM = 80.0
"""A hand is found if the mean of its joints is nearer to the truth."""
_WRONG_MM = (60.0, 170.0)


@dataclass(frozen=True)
class Shot:
    """An image, and the joints or the middles of its hands."""

    depth_mm: np.ndarray
    camera: Pinhole
    hands: list[np.ndarray]
    """Joints (J, 3) of real images as predicted, middles (1, 3) of rendered ones."""


# --- damages ---


def resized(factor: float) -> Callable[[Shot], Shot]:
    """`cv2.resize` as it comes, which is bilinear."""

    def change(shot: Shot) -> Shot:
        depth_mm = cv2.resize(shot.depth_mm, None, fx=factor, fy=factor)
        fx, fy, cx, cy = shot.camera
        moved = [factor * (middle + 0.5) - 0.5 for middle in (cx, cy)]
        return Shot(np.asarray(depth_mm), Pinhole(factor * fx, factor * fy, *moved), shot.hands)

    return change


def with_depth(change: Callable[[np.ndarray], Any]) -> Callable[[Shot], Shot]:
    """A damage that keeps the camera."""
    return lambda shot: Shot(np.asarray(change(shot.depth_mm), np.float32), shot.camera, shot.hands)


def outliers(share: float) -> Callable[[np.ndarray], np.ndarray]:
    """A share of all pixels is set to 60 to 170 mm."""
    rng = np.random.default_rng(0)

    def change(depth_mm: np.ndarray) -> np.ndarray:
        wrong = rng.random(depth_mm.shape) < share
        return np.where(wrong, rng.uniform(*_WRONG_MM, depth_mm.shape), depth_mm)

    return change


def filled(way: int) -> Callable[[np.ndarray], np.ndarray]:
    """Holes are filled as by librealsense's filter."""

    def change(depth_mm: np.ndarray) -> np.ndarray:
        depth_mm = np.array(depth_mm, np.float32)
        fill_holes(depth_mm, way)
        return depth_mm

    return change


DAMAGES: dict[str, Callable[[Shot], Shot]] = {
    "as it is": lambda shot: shot,
    "0.05 % outliers": with_depth(outliers(0.0005)),
    "0.2 % outliers": with_depth(outliers(0.002)),
    "1 % outliers": with_depth(outliers(0.01)),
    "resize to half": resized(0.5),
    "resize to double": resized(2.0),
    "GaussianBlur 5 x 5": with_depth(lambda depth_mm: cv2.GaussianBlur(depth_mm, (5, 5), 0)),
    "holes filled from the left": with_depth(filled(LEFT)),
    "holes filled with the farthest": with_depth(filled(FARTHEST)),
    "holes filled with the nearest": with_depth(filled(NEAREST)),
}


# --- rules ---


def _none(depth_mm: np.ndarray, stride: int = 1, **_: int) -> np.ndarray:
    return np.zeros(depth_mm[stride // 2 :: stride, stride // 2 :: stride].shape, np.uint8)


@contextmanager
def rule(name: str) -> Iterator[None]:
    """Whether pixels are removed, as now, or none is."""
    with ExitStack() as stack:
        if name == "none":
            for module in (crop, thinned):
                stack.enter_context(patch.object(module, "unsupported", _none))
            stack.enter_context(patch.object(crop, "remove_wrong", lambda cut_mm: None))
            stack.enter_context(patch.object(tracker_module, "without_filling", lambda depth_mm: depth_mm))
        yield


RULES = ("none", "now")


# --- measuring ---


def rendered(camera: str, seed: int, count: int) -> list[Shot]:
    """Frames with hands that can be seen."""
    from detector_scores import whole_frames  # a script beside this one

    cases = whole_frames(camera, seed, count)
    return [Shot(case.depth_mm, case.camera, [center[None] for center, _ in case.hands]) for case in cases]


def real(folder: str, camera: str, tracker: crossnets.Tracker) -> list[Shot]:
    """Images of a folder with their likeliest hands."""
    shots = []
    for frame in itertools.chain.from_iterable(open_sources([folder], camera)):
        assert not isinstance(frame.camera, LensCamera)
        hands = tracker.predict(frame.depth_mm, frame.camera)
        shots.append(Shot(frame.depth_mm, frame.camera, [hand.joints_mm for hand in hands[:1]]))
    return shots


def score(shots: Sequence[Shot], tracker: crossnets.Tracker) -> dict[str, float | int]:
    """Hands found, and how far from the truth they are."""
    apart_mm: list[float] = []
    for shot in shots:
        found = [hand.joints_mm for hand in tracker.predict(shot.depth_mm, shot.camera)]
        for hand in shot.hands:
            middles = [float(np.linalg.norm(one.mean(axis=0) - hand.mean(axis=0))) for one in found]
            best = int(np.argmin(middles)) if middles else -1
            if best >= 0 and middles[best] < NEAR_MM:
                whole = len(hand) == len(found[best])
                moved = np.linalg.norm(found[best] - hand, axis=1).mean() if whole else middles[best]
                apart_mm.append(float(moved))
    hands = sum(len(shot.hands) for shot in shots)
    return {"found": len(apart_mm), "hands": hands, "median_mm": round(float(np.median(apart_mm or [np.nan])), 1)}


def search_ms(shots: Sequence[Shot], tracker: crossnets.Tracker, rounds: int) -> dict[str, float]:
    """Processor time of a search under each rule: the median over images of the best of some rounds, taken in turn."""
    best = {name: np.full(len(shots), np.inf) for name in RULES}
    for _, name in itertools.product(range(rounds), RULES):
        with rule(name):
            for number, shot in enumerate(shots):
                depth_mm = np.asarray(shot.depth_mm, np.uint16)
                began = time.process_time()
                tracker.finder(depth_mm, shot.camera)
                best[name][number] = min(best[name][number], 1e3 * (time.process_time() - began))
    return {name: round(float(np.median(times)), 3) for name, times in best.items()}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=25, help="rendered frames of each sensor")
    parser.add_argument("--frames", default=None, help="folder of real images")
    parser.add_argument("--camera", default="realsense-sr305", help="of the real images")
    parser.add_argument("--rounds", type=int, default=10, help="of the timing")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tracker = crossnets.load()
    sets = {name: rendered(name, SEED + row, given.count) for row, name in enumerate(SENSORS)}
    if given.frames is not None:
        sets["real"] = real(given.frames, given.camera, tracker)
    results: dict[str, Any] = {}
    for name, damage in DAMAGES.items():
        damaged = {title: [damage(shot) for shot in shots] for title, shots in sets.items()}
        for title, removed in itertools.product(damaged, RULES):
            with rule(removed):
                row = score(damaged[title], tracker)
            results.setdefault(name, {}).setdefault(title, {})[removed] = row
            print(name, title, removed, row, flush=True)
        write_text(given.out, json.dumps(results, indent=2) + "\n")
    results["search_ms"] = {title: search_ms(shots[:10], tracker, given.rounds) for title, shots in sets.items()}
    print(results["search_ms"])
    write_text(given.out, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
