"""Make the mistakes that people make with depth cameras, and count those that give wrong joints without a word.

    python scripts/wrong_numbers.py --frames SR305 --out wrong.json

Each mistake is made on images of an SR305 (`--frames`, left out without it) and on rendered frames of three sensors.
The hands that `Tracker.predict` finds are compared with those of the unchanged images. A mistake is silent if the
joints are wrong, are stated with confidence, and nobody is told: no error, no warning of the tracker, no fault of
`crossnets doctor`.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

import crossnets
from crossnets.atomic import write_text
from crossnets.datasets.image_sources import open_sources
from crossnets.geometry.camera import as_camera
from crossnets.inference.doctor import diagnose
from crossnets.inference.hand import Hand
from crossnets.synth.hand.anthropometry import People
from crossnets.synth.sensor.hole_filling import FARTHEST, LEFT, NEAREST, fill_holes
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.types import HandFrame, Pinhole

SENSORS = ("realsense-d435", "cvar-senz3d", "azure-kinect-nfov")
SEED = 9_900_000
"""Seed of the first sensor's frames. No training and no other measurement uses them."""
WRONG_MM = 20.0
"""Joints that have moved farther in the median are wrong."""
SURE = 0.5
"""Joints with a higher median confidence are stated with confidence."""
SEEN = 0.25
"""Least share of the images with a hand in which a mistake can do harm."""
_BASELINE_MM = 55.0


@dataclass(frozen=True)
class Given:
    """What a user gives to `Tracker.predict`."""

    depth: np.ndarray
    camera: Any


@dataclass(frozen=True)
class Outcome:
    """What came of a mistake on the images of one source."""

    found: float
    """Share of the hands of the unchanged images that were found."""
    moved_mm: float | None
    """Median distance that the joints moved. None if no hand was found."""
    confidence: float | None
    refused: str = ""
    """The error, if there is one."""
    warned: str = ""
    """The first warning of the tracker."""
    doctor: tuple[str, ...] = ()
    """Checks of the doctor that are not ok."""

    @property
    def silent(self) -> bool:
        """Whether joints are wrong without a word."""
        wrong = self.moved_mm is not None and self.moved_mm > WRONG_MM and self.found >= SEEN
        sure = self.confidence is not None and self.confidence > SURE
        return wrong and sure and not (self.refused or self.warned or self.doctor)

    def word(self) -> str:
        """The outcome in a table."""
        if self.silent:
            return f"SILENT, {self.moved_mm:.0f} mm"
        if self.refused:
            return "refused"
        told = "warning" if self.warned else "doctor" if self.doctor else ""
        if self.moved_mm is None or self.found < SEEN:
            return f"{told or 'nothing said'}, {self.found:.0%} found"
        return f"{told or 'nothing said'}, {self.found:.0%}, {self.moved_mm:.0f} mm"


Mistake = Callable[[np.ndarray, Pinhole], Given]


def depth(change: Callable[[np.ndarray], np.ndarray]) -> Mistake:
    """A mistake in the depth alone."""
    return lambda mm, camera: Given(change(mm), camera)


def intrinsics(change: Callable[[Pinhole], Any]) -> Mistake:
    """A mistake in the camera alone."""
    return lambda mm, camera: Given(mm, change(camera))


def outliers(share: float) -> Mistake:
    """A share of all pixels is set to 60 to 170 mm."""

    def change(mm: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(0)
        wrong = rng.random(mm.shape) < share
        return np.where(wrong, rng.uniform(60, 170, mm.shape), mm).astype(np.float32)

    return depth(change)


def resized(factor: float) -> Mistake:
    """`cv2.resize` as it comes, which is bilinear, with the right intrinsics."""

    def change(mm: np.ndarray, camera: Pinhole) -> Given:
        fx, fy, cx, cy = camera
        x, y = (factor * (middle + 0.5) - 0.5 for middle in (cx, cy))
        return Given(np.asarray(cv2.resize(mm, None, fx=factor, fy=factor)), Pinhole(factor * fx, factor * fy, x, y))

    return change


def zoomed(factor: float) -> Mistake:
    """Focal lengths that are multiplied."""
    return intrinsics(lambda camera: camera._replace(fx_px=factor * camera.fx_px, fy_px=factor * camera.fy_px))


def counts(unit_mm: float) -> Mistake:
    """Whole numbers of another unit than mm."""
    return depth(lambda mm: np.rint(mm / unit_mm).clip(0, 65535).astype(np.uint16))


def metres(unseen: float, wrong: float) -> Mistake:
    """Floating-point metres, with a code for pixels without depth, and one pixel that is far away."""

    def change(mm: np.ndarray) -> np.ndarray:
        found = np.where(mm > 0, mm / 1000, unseen).astype(np.float32)
        found[0, 0] = wrong
        return found

    return depth(change)


def disparity(steps: float) -> Mistake:
    """Disparity of a stereo camera in parts of a pixel."""

    def change(mm: np.ndarray, camera: Pinhole) -> Given:
        px = camera.fx_px * _BASELINE_MM / np.maximum(mm, 1)
        return Given(np.where(mm > 0, np.rint(steps * px), 0).clip(0, 65535).astype(np.uint16), camera)

    return change


def kinect_raw(mm: np.ndarray) -> np.ndarray:
    """Raw 11-bit values of a Kinect v1, by the fit of the ROS driver: depth in m = 1 / (3.33 - 0.00307 value)."""
    values = (3.3309495 - 1000 / np.maximum(mm, 400)) / 0.0030711016
    return np.where(mm > 0, np.rint(values), 2047).astype(np.uint16)


def filled(way: int) -> Mistake:
    """librealsense's filter for holes."""

    def change(mm: np.ndarray) -> np.ndarray:
        whole = np.array(mm, np.float32)
        fill_holes(whole, way)
        return whole

    return depth(change)


def byte_order(mm: np.ndarray) -> np.ndarray:
    """Counts whose two bytes are swapped."""
    return np.rint(mm).astype(np.uint16).byteswap()


MISTAKES: dict[str, Mistake] = {
    "none": depth(lambda mm: mm),
    "0.05 % of the pixels at 60 to 170 mm": outliers(0.0005),
    "0.2 % of the pixels at 60 to 170 mm": outliers(0.002),
    "1 % of the pixels at 60 to 170 mm": outliers(0.01),
    "resized to half, bilinear": resized(0.5),
    "resized to double, bilinear": resized(2.0),
    "blurred 5 x 5": depth(lambda mm: np.asarray(cv2.GaussianBlur(mm, (5, 5), 0))),
    "holes filled from the left": filled(LEFT),
    "holes filled with the farthest": filled(FARTHEST),
    "holes filled with the nearest": filled(NEAREST),
    "focal length 1.6 times too small": zoomed(1 / 1.6),
    "focal length 1.3 times too small": zoomed(1 / 1.3),
    "focal length 1.3 times too large": zoomed(1.3),
    "focal length 1.6 times too large": zoomed(1.6),
    "half-size images, whole intrinsics": depth(lambda mm: np.ascontiguousarray(mm[::2, ::2])),
    "fx, cx, fy, cy": intrinsics(lambda camera: (camera.fx_px, camera.cx_px, camera.fy_px, camera.cy_px)),
    "cx and cy swapped": intrinsics(lambda camera: camera._replace(cx_px=camera.cy_px, cy_px=camera.cx_px)),
    "fy 1.5 times too large": intrinsics(lambda camera: camera._replace(fy_px=1.5 * camera.fy_px)),
    "intrinsics in image widths": intrinsics(lambda camera: tuple(number / 640 for number in camera)),
    "image transposed": lambda mm, camera: Given(np.ascontiguousarray(mm.T), camera),
    "cut to the middle, whole intrinsics": depth(lambda mm: np.ascontiguousarray(mm[:, mm.shape[1] // 4 :])),
    "counts of 0.1 mm": counts(0.1),
    "counts of 0.125 mm": counts(0.125),
    "counts of 0.25 mm": counts(0.25),
    "counts of 0.8 mm": counts(0.8),
    "centimetres": counts(10),
    "metres": metres(0.0, 0.0),
    "metres, one pixel at 25 m": metres(0.0, 25.0),
    "metres, 65.535 where nothing was seen": metres(65.535, 65.535),
    "metres, 1e6 where nothing was seen": metres(1e6, 1e6),
    "disparity in pixels": disparity(1),
    "disparity in eighths": disparity(8),
    "disparity in sixteenths": disparity(16),
    "raw values of a Kinect v1": depth(kinect_raw),
    "bytes swapped": depth(byte_order),
    "8 bits": depth(lambda mm: (mm / 8).clip(0, 255).astype(np.uint8)),
    "a unit beside counts of 0.125 mm": lambda mm, camera: Given(
        np.rint(mm / 0.125).clip(0, 65535).astype(np.uint16), ",".join(map(str, [*camera, 0.125]))
    ),
}


def rendered(camera: str, seed: int, count: int) -> list[HandFrame]:
    """Frames of one person before a camera, whose hands have the mean length."""
    person = People(sizes=0.0, shapes=0.0)
    stream = SyntheticHands(SyntheticConfig(camera=camera, seed=seed, people=person, clutter=Clutter()))
    frames = [stream.frame(index) for index in range(count)]
    return [replace(frame, joints_mm=None) for frame in frames]


def outcome(frames: Sequence[HandFrame], right: Sequence[Hand], mistake: Mistake) -> Outcome:
    """Make a mistake on images that show these hands."""
    tracker = crossnets.load()
    moved_mm: list[float] = []
    sure: list[float] = []
    given = [mistake(frame.depth_mm, frame.camera) for frame in frames if isinstance(frame.camera, Pinhole)]
    refused = ""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            for one, hand in zip(given, right, strict=True):
                found = tracker.predict(one.depth, one.camera)
                apart = [float(np.linalg.norm(other.joints_mm - hand.joints_mm, axis=1).mean()) for other in found]
                if not apart:
                    continue
                nearest = found[int(np.argmin(apart))]
                moved_mm.append(min(apart))
                if nearest.confidence is not None:
                    sure.append(float(nearest.confidence.mean()))
            tracker.check_scale()
        except ValueError as error:
            refused = str(error)
    return Outcome(
        len(moved_mm) / len(right),
        float(np.median(moved_mm)) if moved_mm else None,
        float(np.median(sure)) if sure else None,
        refused,
        str(warned[0].message) if warned else "",
        () if refused else doctor(frames, given),
    )


def doctor(frames: Sequence[HandFrame], given: Sequence[Given]) -> tuple[str, ...]:
    """Names of the doctor's checks that are not ok for what is given."""
    changed = [
        replace(frame, depth_mm=one.depth.astype(np.float32), camera=as_camera(one.camera).pinhole)
        for frame, one in zip(frames, given, strict=True)
    ]
    return tuple(check.name for check in diagnose(changed, None, crossnets.load().predict) if check.verdict != "ok")


def with_hands(frames: Sequence[HandFrame], most: int) -> tuple[list[HandFrame], list[Hand]]:
    """The first frames in which a hand is found, with its joints."""
    tracker = crossnets.load()
    found = [(frame, hands[0]) for frame in frames if (hands := tracker.predict(frame))][:most]
    return [frame for frame, _ in found], [hand for _, hand in found]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", help="folder of real images")
    parser.add_argument("--camera", default="realsense-sr305", help="camera of the real images")
    parser.add_argument("--count", type=int, default=20, help="images of each sensor")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    sources = {name: rendered(name, SEED + k, 2 * asked.count) for k, name in enumerate(SENSORS)}
    if asked.frames is not None:
        real = open_sources([asked.frames], asked.camera)
        sources = {"real": [source[index] for source in real for index in range(len(source))], **sources}
    table = Table("mistake", *sources)
    results: dict[str, dict[str, Any]] = {}
    shown = {name: with_hands(frames, asked.count) for name, frames in sources.items()}
    for name, mistake in MISTAKES.items():
        outcomes = {source: outcome(frames, hands, mistake) for source, (frames, hands) in shown.items()}
        results[name] = {source: {**asdict(one), "silent": one.silent} for source, one in outcomes.items()}
        table.add_row(name, *(one.word() for one in outcomes.values()))
        print(name, {source: one.word() for source, one in outcomes.items()}, flush=True)
        write_text(asked.out, json.dumps(results, indent=2) + "\n")
    Console(width=200).print(table)
    silent = sum(one["silent"] for row in results.values() for one in row.values())
    print(f"Wrong numbers without a word: {silent} of {(len(MISTAKES) - 1) * len(sources)}.")


if __name__ == "__main__":
    main()
