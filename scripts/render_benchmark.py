"""Speed of the depth camera on one thread: crops a second with and without noise, milliseconds for a 640x480 frame.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python scripts/render_benchmark.py

Prints medians over repetitions of processor time of this thread, which other load does not stretch, and of wall-clock
time. The surface is a stand-in of a hand's size: palm, fingers and webs, 31 hulls, the last four of them a forearm. A
mesh ray-caster of the same surface is not compared here yet.
"""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from crossnets.geometry.camera import CAMERAS
from crossnets.render.noise import SENSORS, apply, render_noisy_crops
from crossnets.render.raster import render, render_crops
from crossnets.render.spheremesh import SphereMesh, Topology

_KNUCKLES = (3, 4, 5, 6)
_DISTANCE_MM = 500.0


def stand_in(random: np.random.Generator) -> SphereMesh:
    """A hand and forearm of 18 capsules and 13 wedges, fingers bent at random and the whole turned at random."""
    centers = [[-30, 50, 0], [-10, 55, 0], [12, 55, 0], [-35, 0, 0], [-12, -5, -3], [10, -3, -3], [30, 3, 0]]
    radii = [12.0] * 7
    capsules, wedges = [(3, 4), (4, 5), (5, 6)], [(0, 3, 4), (0, 1, 4), (1, 4, 5), (1, 2, 5), (2, 5, 6)]
    chains = [(k, (0.15 * i - 0.22, -1.0, 0.0), (42, 26, 20), (9, 8, 7)) for i, k in enumerate(_KNUCKLES)]
    for start, way, lengths, thickness in [*chains, (0, (-0.7, -0.7, -0.2), (40, 30, 25), (12, 10, 8))]:
        last, at, (x, y, z) = start, np.array(centers[start], float), way
        for length, radius in zip(lengths, thickness, strict=True):
            bend = random.uniform(0, 0.8)
            y, z = y * np.cos(bend) - z * np.sin(bend), y * np.sin(bend) + z * np.cos(bend)
            at = at + length * np.array([x, y, z])
            centers.append(list(at))
            radii.append(radius)
            capsules.append((last, len(centers) - 1))
            last = len(centers) - 1
    wedges += [(3, 7, 4), (4, 10, 5), (5, 13, 6), (0, 19, 3)]
    wrist = len(centers)
    centers += [[-20, 90, 5], [15, 90, 5], [-25, 300, 20], [25, 300, 20]]
    radii += [20, 20, 30, 30]
    wedges += [(wrist, wrist + 1, wrist + 2), (wrist + 1, wrist + 2, wrist + 3), (0, 2, wrist), (2, wrist, wrist + 1)]
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    return SphereMesh(
        np.array(centers) @ turn + np.array([0, 0, _DISTANCE_MM]),
        np.array(radii, float),
        Topology(np.array(capsules), np.array(wedges)),
    )


def median(work: Callable[[], object], repetitions: int) -> tuple[float, float]:
    """Seconds of processor and of wall-clock time; the first call, which may compile, does not count."""
    work()
    times = []
    for _ in range(repetitions):
        wall, processor = time.perf_counter(), time.thread_time()
        work()
        times.append((time.thread_time() - processor, time.perf_counter() - wall))
    processor, wall = np.median(times, axis=0)
    return float(processor), float(wall)


def machine() -> str:
    """The processor's name, where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or 'unknown processor'}, one thread"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=64, help="crops in a batch")
    parser.add_argument("--repetitions", type=int, default=15)
    options = parser.parse_args()
    made = [stand_in(np.random.default_rng(seed)) for seed in range(options.crops)]
    batch = SphereMesh(np.stack([m.centers_mm for m in made]), np.stack([m.radii_mm for m in made]), made[0].topology)
    centers, cubes = np.tile([0, 0, _DISTANCE_MM], (options.crops, 1)), np.full(options.crops, 250.0)
    print(f"{machine()}; medians of {options.repetitions}; 128x128 crops in batches of {options.crops}")
    print(f"{'':44}{'processor':>12}{'wall clock':>12}")

    def show(name: str, work: Callable[[], object], factor: float, rate: bool) -> None:
        values = [factor / s if rate else factor * s for s in median(work, options.repetitions)]
        print(f"{name:44}" + "".join(f"{value:12,.0f}" if rate else f"{value:12.2f}" for value in values))

    for name in ("icvl-senz3d", "nyu-kinect"):
        camera = CAMERAS[name].pinhole
        show(f"crops/s, {name}", lambda c=camera: render_crops(batch, c, centers, cubes), options.crops, rate=True)
    seeds = np.arange(options.crops)
    for name in ("icvl-senz3d", "nyu-kinect", "realsense-sr305", "realsense-d435", "azure-kinect-nfov"):
        camera, model = CAMERAS[name].pinhole, SENSORS[name]
        show(
            f"noisy crops/s, {name}",
            lambda c=camera, m=model: render_noisy_crops(batch, c, centers, cubes, m, seeds),
            options.crops,
            rate=True,
        )
    camera, model = CAMERAS["nyu-kinect"].pinhole, SENSORS["nyu-kinect"]
    image = render(made[0], camera, 640, 480)
    show("ms, 640x480, hand and forearm", lambda: render(made[0], camera, 640, 480), 1e3, rate=False)
    show("ms, noise of that frame", lambda: apply(image, camera, model, 0), 1e3, rate=False)


if __name__ == "__main__":
    main()
