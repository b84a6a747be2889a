"""Measure the effects of librealsense's filters: detected hands, errors of joints, invalid pixels, and doctor's
verdict.

    python scripts/camera_filters.py --out filters.json
    python scripts/camera_filters.py --frames FOLDER --camera realsense-sr305 --out filters.json   # also on real images

A rendered hand moves before a RealSense D435, with the noise of this camera and a wall 350 mm behind the hand. Pixels
around the hand are invalid, because one of the two infrared cameras does not see them. The frames pass through the
filters of pyrealsense2. `Tracker.predict` gets the result with the intrinsics that the filter reports. Real images have
no labels, so their joints are compared with those of the unfiltered images. Real images are not consecutive, so each of
them starts with a new filter. The temporal filter therefore does not change them.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyrealsense2 as rs

import crossnets
from crossnets.atomic import write_text
from crossnets.cameras.virtual import VirtualCamera
from crossnets.datasets.image_sources import open_sources
from crossnets.geometry.camera import CAMERAS, parse_camera
from crossnets.inference.doctor import diagnose
from crossnets.types import HandFrame, Pinhole

NEAR_MM = 80.0
"""A hand counts as detected if the mean of its joints is within this distance of the truth."""
WALL_MM, SHADOW_PX = 350.0, 4
BASELINE_MM = 50.0
_EVERY = 3
"""One in this number of frames is searched for hands. All frames pass through the filters."""


def made(kind: Any, **options: float) -> Any:
    """Create a filter with options of `rs.option`."""
    block = kind()
    for name, value in options.items():
        block.set_option(getattr(rs.option, name), value)
    return block


def there_and_back(*between: Callable[[], Any]) -> list[Any]:
    """Create filters of disparity instead of depth, as librealsense's programs apply them."""
    return [rs.disparity_transform(True), *(make() for make in between), rs.disparity_transform(False)]


FILTERS: dict[str, Callable[[], list[Any]]] = {
    "none": list,
    "decimation, magnitude 2": lambda: [made(rs.decimation_filter, filter_magnitude=2)],
    "decimation, magnitude 4": lambda: [made(rs.decimation_filter, filter_magnitude=4)],
    "spatial": lambda: [rs.spatial_filter()],
    "spatial, holes_fill 2": lambda: [made(rs.spatial_filter, holes_fill=2)],
    "spatial, holes_fill 3": lambda: [made(rs.spatial_filter, holes_fill=3)],
    "spatial, holes_fill 5 (unlimited)": lambda: [made(rs.spatial_filter, holes_fill=5)],
    "temporal": lambda: [rs.temporal_filter()],
    "temporal, holes_fill 8 (always)": lambda: [made(rs.temporal_filter, holes_fill=8)],
    "hole_filling 0 (left)": lambda: [made(rs.hole_filling_filter, holes_fill=0)],
    "hole_filling 1 (farthest)": lambda: [made(rs.hole_filling_filter, holes_fill=1)],
    "hole_filling 2 (nearest)": lambda: [made(rs.hole_filling_filter, holes_fill=2)],
    "threshold, 0.15 to 4 m": lambda: [rs.threshold_filter()],
    "disparity and back": there_and_back,
    "spatial on disparity": lambda: there_and_back(rs.spatial_filter),
    "spatial and temporal on disparity": lambda: there_and_back(rs.spatial_filter, rs.temporal_filter),
}


class Sensor:
    """A software device of librealsense, which converts depth images to frames."""

    def __init__(self, camera: Pinhole, width: int, height: int, unit_mm: float) -> None:
        self._size = (width, height)
        self._unit_mm = unit_mm
        self._sent = 0
        self._device = rs.software_device()
        self._sensor = self._device.add_sensor("Depth")
        numbers = rs.intrinsics()
        numbers.width = width
        numbers.height = height
        numbers.fx, numbers.fy, numbers.ppx, numbers.ppy = camera
        numbers.model = rs.distortion.none
        numbers.coeffs = [0.0] * 5
        stream = rs.video_stream()
        stream.type = rs.stream.depth
        stream.index = 0
        stream.uid = 0
        stream.width = width
        stream.height = height
        stream.fps = 30
        stream.bpp = 2
        stream.fmt = rs.format.z16
        stream.intrinsics = numbers
        self._profile = self._sensor.add_video_stream(stream)
        self._sensor.add_read_only_option(rs.option.depth_units, unit_mm / 1000)
        self._sensor.add_read_only_option(rs.option.stereo_baseline, BASELINE_MM)
        self._queue = rs.frame_queue(2, keep_frames=True)
        self._sensor.open(self._profile)
        self._sensor.start(self._queue)

    def frame(self, depth_mm: np.ndarray) -> Any:
        """Convert an image to a frame."""
        frame = rs.software_video_frame()
        frame.stride = 2 * self._size[0]
        frame.bpp = 2
        frame.pixels = np.ascontiguousarray(np.rint(depth_mm / self._unit_mm), np.uint16)
        frame.timestamp = 1000 / 30 * self._sent
        frame.frame_number = self._sent
        frame.domain = rs.timestamp_domain.hardware_clock
        frame.profile = self._profile.as_video_stream_profile()
        frame.depth_units = self._unit_mm / 1000
        self._sensor.on_video_frame(frame)
        self._sent += 1
        return self._queue.wait_for_frame()

    def close(self) -> None:
        """Stop the stream."""
        self._sensor.stop()
        self._sensor.close()

    def filtered(self, depth_mm: np.ndarray, blocks: Sequence[Any]) -> tuple[np.ndarray, Pinhole]:
        """Filter an image. Return the result in mm with its intrinsics."""
        frame = self.frame(depth_mm)
        for block in blocks:
            frame = block.process(frame)
        found = frame.profile.as_video_stream_profile().get_intrinsics()
        counts = np.array(frame.as_video_frame().get_data())
        return (counts * self._unit_mm).astype(np.float32), Pinhole(found.fx, found.fy, found.ppx, found.ppy)


@dataclass(frozen=True)
class Shot:
    """One image with its label."""

    depth_mm: np.ndarray
    joints_mm: np.ndarray | None


def rendered(count: int, seed: int) -> Iterator[Shot]:
    """Render a moving hand before a wall, with a gap of invalid pixels between both."""
    near = np.ones((2 * SHADOW_PX + 1, 2 * SHADOW_PX + 1), np.uint8)
    with VirtualCamera("realsense-d435", seed) as camera:
        for frame in islice(camera, count):
            assert frame.joints_mm is not None
            free = cv2.dilate((frame.depth_mm > 0).astype(np.uint8), near) == 0
            wall_mm = float(frame.joints_mm[:, 2].max()) + WALL_MM
            yield Shot(np.where(free, np.float32(wall_mm), frame.depth_mm), frame.joints_mm)


@dataclass
class Row:
    """Results of one filter."""

    found: int
    frames: int
    error_mm: float | None
    invalid: float
    doctor: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Convert the row to JSON."""
        error = None if self.error_mm is None else round(self.error_mm, 1)
        shares = {"found": round(self.found / self.frames, 3), "invalid": round(self.invalid, 3)}
        return {**shares, "error_mm": error, "doctor": self.doctor}


def measure(
    shots: Sequence[Shot],
    sensor: Sensor,
    make: Callable[[], list[Any]],
    tracker: crossnets.Tracker,
    *,
    consecutive: bool,
) -> Row:
    """Filter all images, and compare the likeliest hand of some images with the truth."""
    blocks = make()
    found: dict[str, list[crossnets.Hand]] = {}
    errors: list[float] = []
    seen: list[HandFrame] = []
    for number, shot in enumerate(shots):
        if not consecutive:
            blocks = make()
        depth_mm, camera = sensor.filtered(shot.depth_mm, blocks)
        if consecutive and number % _EVERY:
            continue
        seen.append(HandFrame(str(number), "", depth_mm, camera, None))
        hands = found[str(number)] = tracker.predict(depth_mm, camera)
        if hands and shot.joints_mm is not None:
            error = np.linalg.norm(hands[0].joints_mm - shot.joints_mm, axis=-1)
            if error.mean() < NEAR_MM:
                errors.append(float(error.mean()))
    checks = diagnose(seen, None, lambda frame: found[frame.key])
    bad = [f"{check.name}: {check.found}" for check in checks if check.verdict != "ok" and check.name != "new frames"]
    invalid = float(np.mean([(frame.depth_mm == 0).mean() for frame in seen]))
    return Row(len(errors), len(seen), float(np.mean(errors)) if errors else None, invalid, bad)


def real(folder: str, camera: str, tracker: crossnets.Tracker) -> list[Shot]:
    """Read the images of a folder, with the joints of their likeliest hand as labels."""
    shots = []
    for source in open_sources([folder], camera):
        for frame in (source[index] for index in range(len(source))):
            hands = tracker.predict(frame.depth_mm, frame.camera)
            shots.append(Shot(frame.depth_mm, hands[0].joints_mm if hands else None))
    return shots


def main() -> None:
    """Measure all filters and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=120, help="rendered frames")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--frames", default=None, help="folder of real images")
    parser.add_argument("--camera", default="realsense-sr305", help="camera of the real images")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tracker = crossnets.load(runtime="onnxruntime")
    preset = CAMERAS["realsense-d435"]
    sets = {"rendered": (list(rendered(given.count, given.seed)), preset, True)}
    if given.frames is not None:
        sets["real"] = (real(given.frames, given.camera, tracker), parse_camera(given.camera), False)
    results: dict[str, Any] = {}
    for name, (shots, camera, consecutive) in sets.items():
        height, width = shots[0].depth_mm.shape
        results[name] = {}
        for title, make in FILTERS.items():
            sensor = Sensor(camera.pinhole, width, height, camera.depth_unit_mm)
            row = measure(shots, sensor, make, tracker, consecutive=consecutive).to_dict()
            sensor.close()
            results[name][title] = row
            print(name, title, row, flush=True)
        write_text(given.out, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
