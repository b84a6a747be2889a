"""Measure the error of joints under a lens, with and without its coefficients, and the time that coefficients take.

    python scripts/lens_error.py --out lens.json

The cameras are two published calibrations: the narrow mode of an Azure Kinect, and a Kinect v2. Hands lie all over the
image. Each hand is rendered through the lens and by a camera without distortion that covers the same rays, both with
the noise of the sensor. `Tracker.predict` of the package's model gets the images through the lens with the coefficients
and without them, and the other images with their intrinsics.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

import crossnets
from crossnets.atomic import write_text
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.lens import lens_of, lens_table
from crossnets.geometry.skeleton import MSRA21
from crossnets.synth.casting.raster import render, render_through_lens
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import forward
from crossnets.synth.hand.sampler import sample_views
from crossnets.synth.hand.surface import surface
from crossnets.synth.sensor import noise
from crossnets.types import LensCamera, Pinhole

AZURE = LensCamera(
    Pinhole(503.8, 503.8, 319.5, 287.5), lens_of([4.725, 3.209, 0, 0, 0.171, 5.056, 4.776, 0.886]), 640, 576
)
KINECT = LensCamera(Pinhole(368.0, 368.0, 255.5, 211.5), lens_of([0.084, -0.272, 0, 0, 0.102]), 512, 424)
CALIBRATIONS = {"azure-kinect-nfov": AZURE, "kinect-v2": KINECT}
DISTANCE_MM = (350.0, 600.0)
ASIDE = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8)
"""Bounds of the rows: distance from the axis over distance along it."""
WARM, TIMED = 20, 400


class Shown(NamedTuple):
    """One hand in the images of both cameras."""

    through_lens_mm: np.ndarray
    ideal_mm: np.ndarray
    joints_mm: np.ndarray


def shown(camera: LensCamera, count: int, seed: int) -> list[Shown]:
    """Render hands whose middles lie all over the image and whose joints are inside it."""
    table = lens_table(camera)
    height, width = table.pixel.shape
    rng = np.random.default_rng(seed)
    preset = CAMERAS["azure-kinect-nfov"]._replace(pinhole=table.ideal, width_px=width, height_px=height, lens=None)
    found: list[Shown] = []
    while len(found) < count:
        shape, pose, _ = sample_views(rng, 1, preset, distance_mm=DISTANCE_MM)
        frames = forward(shape, pose)
        joints_mm = np.asarray(joints(frames, MSRA21))[0]
        u, v = rng.integers(camera.width_px), rng.integers(camera.height_px)
        middle = joints_mm.mean(axis=0)
        move = np.append(table.rays[v, u], 1.0) * middle[2] - middle
        joints_mm = joints_mm + move
        if not inside(joints_mm, camera):
            continue
        moved = replace(pose, translation_mm=pose.translation_mm + move)
        one = surface(forward(shape, moved), shape).take(0)
        images = render_through_lens(one, camera, 3), render(one, table.ideal, width, height)
        sensor = noise.SENSORS["azure-kinect-nfov"]
        images[1][table.pixel < 0] = 0  # pixels that the lens does not see
        noisy = (noise.apply(image, table.ideal, sensor, len(found), 1.0) for image in images)
        found.append(Shown(*noisy, joints_mm))
    return found


def inside(joints_mm: np.ndarray, camera: LensCamera) -> bool:
    """Whether all joints are inside the image, at least 10 pixels from its edge."""
    pixels = project(joints_mm, camera)[:, :2]
    return bool(((pixels > 10) & (pixels < np.array([camera.width_px, camera.height_px]) - 10)).all())


def error_mm(tracker: crossnets.Tracker, depth_mm: np.ndarray, camera: object, joints_mm: np.ndarray) -> float:
    """Return the mean error of the joints of the likeliest hand. NaN if no hand is detected."""
    hands = tracker.predict(depth_mm, camera)
    return float(np.linalg.norm(hands[0].joints_mm - joints_mm, axis=1).mean()) if hands else np.nan


def fast_ms(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the 10th percentile of the time of each call, which other load hardly changes. The calls take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(WARM + TIMED):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: round(float(np.percentile(taken[WARM:], 10)), 3) for name, taken in times.items()}


def rows(tracker: crossnets.Tracker, camera: LensCamera, count: int, seed: int) -> list[dict[str, float]]:
    """Return the errors by distance from the axis, and of all hands."""
    table = lens_table(camera)
    hands = shown(camera, count, seed)
    middles = np.array([hand.joints_mm.mean(axis=0) for hand in hands])
    aside = np.linalg.norm(middles[:, :2], axis=1) / middles[:, 2]
    errors = np.array(
        [
            (
                error_mm(tracker, hand.ideal_mm, table.ideal, hand.joints_mm),
                error_mm(tracker, hand.through_lens_mm, camera, hand.joints_mm),
                error_mm(tracker, hand.through_lens_mm, camera.pinhole, hand.joints_mm),
            )
            for hand in hands
        ]
    )
    both = np.isfinite(errors).all(axis=1)
    parts = [(aside >= low) & (aside < high) for low, high in pairwise(ASIDE)]
    names = [f"{low:g} to {high:g}" for low, high in pairwise(ASIDE)]
    listed = []
    for name, part in zip([*names, "all"], [*parts, np.ones(count, bool)], strict=True):
        if (part & both).sum() < 10:
            continue
        ideal, with_lens, without = errors[part & both].mean(axis=0)
        paired = errors[part & both, 1] - errors[part & both, 0]
        missed = np.isnan(errors[part]).sum(axis=0)
        listed.append(
            {
                "aside": name,
                "hands": int(part.sum()),
                "ideal_mm": round(float(ideal), 2),
                "with_mm": round(float(with_lens), 2),
                "difference_mm": round(float(paired.mean()), 2),
                "deviation_of_mean_mm": round(float(paired.std() / np.sqrt(len(paired))), 2),
                "without_mm": round(float(without), 2),
                "missed": missed.tolist(),
            }
        )
    return listed


def times(camera: LensCamera, seed: int) -> dict[str, float]:
    """Measure milliseconds with and without the coefficients, of the same hand near the axis, where the crops agree."""
    image = min(shown(camera, 20, seed), key=lambda one: float(np.linalg.norm(one.joints_mm.mean(axis=0)[:2])))
    depth_mm = np.rint(image.through_lens_mm).astype(np.uint16)
    center_mm = image.joints_mm.mean(axis=0)
    calls: dict[str, Callable[[], object]] = {}
    for name, of in (("without", camera.pinhole), ("with", camera)):
        tracker = crossnets.load(hands=1)
        calls[f"crop, {name}"] = partial(crop_hand, depth_mm, of, center_mm, supported=True)
        calls[f"find, {name}"] = partial(tracker.finder, depth_mm, of)
        calls[f"predict, {name}"] = partial(tracker.predict, depth_mm, of)
        follower = crossnets.load(hands=1)
        calls[f"track, {name}"] = partial(follower.track, depth_mm, of)
    return fast_ms(calls)


def main() -> None:
    """Measure both cameras and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hands", type=int, default=200)
    parser.add_argument("--camera", choices=list(CALIBRATIONS), nargs="+", default=list(CALIBRATIONS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tracker = crossnets.load(hands=1)
    found = {
        name: {
            "errors": rows(tracker, CALIBRATIONS[name], given.hands, given.seed),
            "times": times(CALIBRATIONS[name], given.seed),
        }
        for name in given.camera
    }
    text = json.dumps(found, indent=2)
    write_text(given.out, text + "\n")
    print(text)


if __name__ == "__main__":
    main()
