"""Measure the speed of the rendered depth camera on one thread, and of a mesh ray-caster (Embree) with the same hands.

    OMP_NUM_THREADS=1 python scripts/render_benchmark.py

Hands are sampled as for training: `sample_views`, forward kinematics, surface. The script prints medians of the
processor time of this process and of the elapsed time. Other load changes the processor time only by shared caches and
clock rates. A crop is a cube of 250 mm around the middle knuckle, with 128x128 pixels.

The mesh ray-caster gets the same rays. Each hull of the sphere-mesh becomes the convex hull of points on its spheres.
If hulls overlap, the nearest hit counts in both ray-casters. Embree needs `pip install -e '.[bench]'`, and its lines
are left out without it. A new pose needs a new mesh, so the cost of Embree is casting and building its tree.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull

from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import MSRA21
from crossnets.processor import processor_name
from crossnets.synth.casting.raster import cast, crop_grid, pixel_slopes, render, render_crops
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import forward
from crossnets.synth.hand.sampler import sample_views
from crossnets.synth.hand.surface import surface
from crossnets.synth.sensor.noise import SENSORS, apply, render_noisy_crops
from crossnets.synth.stream import KINDS_OF_SENSOR, SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter

CUBE_MM = 250.0
AGREE_MM = 0.5
_CAMERA = "nyu-kinect"
"""Camera of the frames, of the comparison and of the steps."""
_FRAME_MM, _FOREARM_MM = (400.0, 600.0), 150.0
"""Depth of the hands in whole frames, and least length of their forearms."""
_FRAMES = 16
"""Number of whole frames, each with another hand, and of hands for the mesh ray-caster."""
_POINTS = 1000
"""Number of points on each sphere of a hull. The convex hull keeps the outer ones."""


def scenes(seed: int, count: int, camera: str, **options: Any) -> tuple[SphereMesh, np.ndarray, np.ndarray]:
    """Sample a batch of hands. Return it with the middle knuckles (B, 3) and the lengths of the forearms (B,)."""
    shape, pose, _ = sample_views(np.random.default_rng(seed), count, CAMERAS[camera], **options)
    frames = forward(shape, pose)
    return surface(frames, shape), joints(frames, MSRA21)[:, MSRA21.center], shape.forearm_mm


def median(work: Callable[[], object], repetitions: int) -> tuple[float, float]:
    """Measure seconds of processor time and of elapsed time. The first call may compile and does not count."""
    work()
    times = []
    for _ in range(repetitions):
        wall = time.perf_counter()
        processor = time.process_time()
        work()
        times.append((time.process_time() - processor, time.perf_counter() - wall))
    processor, wall = np.median(times, axis=0)
    return float(processor), float(wall)


class Lines:
    """Prints a line for each measurement."""

    def __init__(self, repetitions: int) -> None:
        self._repetitions = repetitions
        print(f"{processor_name()}, one thread, medians of {repetitions}")
        print(f"{'':50}{'processor':>12}{'wall clock':>12}")

    def rate(self, name: str, count: int, work: Callable[[], object]) -> float:
        """Measure how many items per second of processor time `work` handles. One call handles `count` items."""
        processor, wall = (count / s for s in median(work, self._repetitions))
        print(f"{name:50}{processor:12,.0f}{wall:12,.0f}", flush=True)
        return processor

    def each(self, name: str, count: int, work: Callable[[], object]) -> float:
        """Measure milliseconds of processor time per item. One call of `work` handles `count` items."""
        processor, wall = (1e3 * s / count for s in median(work, self._repetitions))
        print(f"{name:50}{processor:12.2f}{wall:12.2f}", flush=True)
        return processor


def time_crops(lines: Lines, count: int) -> None:
    """Measure crops without and with noise."""
    cubes = np.full(count, CUBE_MM)
    seeds = np.arange(count)
    for name in ("icvl-senz3d", "nyu-kinect"):
        camera = CAMERAS[name].pinhole
        meshes, centers, _ = scenes(0, count, name)
        lines.rate(f"crops/s, {name}", count, lambda c=camera, m=meshes, p=centers: render_crops(m, c, p, cubes))
    for name in ("icvl-senz3d", "nyu-kinect", "realsense-sr305", "realsense-d435", "azure-kinect-nfov"):
        camera = CAMERAS[name].pinhole
        model = SENSORS[name]
        meshes, centers, _ = scenes(0, count, name)
        lines.rate(
            f"noisy crops/s, {name}",
            count,
            lambda c=camera, m=meshes, p=centers, n=model: render_noisy_crops(m, c, p, cubes, n, seeds),
        )


def time_training_crops(lines: Lines, count: int) -> None:
    """Measure crops with clutter and noise as in the training of `crossnets`. Each repetition renders other crops."""
    for name in KINDS_OF_SENSOR:
        config = SyntheticConfig(
            camera=name, noise=(0.5, 1.5), cube_mm=(190.0, 290.0), center_spread_mm=10.0, again_share=0.5,
            clutter=Clutter(),
        )  # fmt: skip
        hands = SyntheticHands(config)
        starts = itertools.count(0, count)
        lines.rate(
            f"crops/s with clutter, as trained on, {name}",
            count,
            lambda hands=hands, starts=starts: hands.crops(next(starts) + np.arange(count)),
        )


def time_steps(lines: Lines, count: int, name: str) -> None:
    """Measure the steps of a crop, and the whole."""
    camera = CAMERAS[name].pinhole
    model = SENSORS[name]
    preset = CAMERAS[name]
    cubes = np.full(count, CUBE_MM)
    seeds = np.arange(count)
    shape, pose, _ = sample_views(np.random.default_rng(0), count, preset)
    meshes, centers, _ = scenes(0, count, name)
    lines.each("ms a hand, sampling", count, lambda: sample_views(np.random.default_rng(0), count, preset))
    lines.each("ms a hand, kinematics and surface", count, lambda: surface(forward(shape, pose), shape))
    plain = lines.each(f"ms a crop, casting, {name}", count, lambda: render_crops(meshes, camera, centers, cubes))
    noisy = lines.each(
        f"ms a crop, casting and noise, {name}",
        count,
        lambda: render_noisy_crops(meshes, camera, centers, cubes, model, seeds),
    )
    print(f"{'  of which noise':50}{noisy - plain:12.2f}")

    def everything() -> None:
        made, at, _ = scenes(0, count, name)
        render_noisy_crops(made, camera, at, cubes, model, seeds)

    lines.rate(f"crops/s, sampling to noise, {name}", count, everything)


def frame_hands() -> tuple[SphereMesh, np.ndarray]:
    """Sample hands with forearms at the distance of a user. Return them with their middle knuckles."""
    meshes, centers, forearm_mm = scenes(1, 20 * _FRAMES, _CAMERA, distance_mm=_FRAME_MM)
    chosen = np.flatnonzero(forearm_mm >= _FOREARM_MM)[:_FRAMES]
    return meshes.take(chosen.tolist()), centers[chosen]


def time_frames(lines: Lines) -> None:
    """Measure whole frames of hands with forearms."""
    hands, _ = frame_hands()
    camera = CAMERAS[_CAMERA].pinhole
    model = SENSORS[_CAMERA]
    singles = [hands.take(k) for k in range(_FRAMES)]
    lines.each(
        "ms, 640x480, hand and forearm",
        _FRAMES,
        lambda: [render(hand, camera, 640, 480) for hand in singles],
    )
    images = [render(hand, camera, 640, 480) for hand in singles]
    lines.each("ms, noise of such a frame", _FRAMES, lambda: [apply(image, camera, model, 0) for image in images])


def ball(points: int) -> np.ndarray:
    """(N, 3): points that cover the unit sphere evenly (Fibonacci lattice)."""
    step = np.arange(points) + 0.5
    z = 1 - 2 * step / points
    turn = np.pi * (1 + np.sqrt(5)) * step
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=-1)


def triangles(mesh: SphereMesh) -> np.ndarray:
    """(T, 3, 3) float32: triangles of the convex hulls of all capsules and wedges."""
    unit = ball(_POINTS)
    parts = []
    for hull in (*mesh.topology.capsules, *mesh.topology.wedges):
        points = (mesh.centers_mm[hull][:, None] + mesh.radii_mm[hull][:, None, None] * unit).reshape(-1, 3)
        parts.append(points[ConvexHull(points).simplices])
    return np.concatenate(parts).astype(np.float32)


def rays_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H W, 3) float32: directions (x, y, 1). The length along such a ray is the depth."""
    columns, rows = np.meshgrid(x, y)
    return np.stack([columns, rows, np.ones_like(rows)], axis=-1).reshape(-1, 3).astype(np.float32)


def compare(lines: Lines) -> None:
    """Compare time and depth of both ray-casters for the same rays and hands."""
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError:
        print("No comparison with a mesh ray-caster: embreex is not installed. Run: pip install -e '.[bench]'")
        return

    def tree(faces: np.ndarray) -> Any:
        scene = EmbreeScene()
        TriangleMesh(scene, faces)
        return scene

    hands, centers = frame_hands()
    camera = CAMERAS[_CAMERA].pinhole
    grid = crop_grid(camera, centers, np.full(_FRAMES, CUBE_MM))
    x, y = pixel_slopes(camera, 640, 480)
    sets = {
        "crops": (grid.x, grid.y),
        "640x480 frames": (np.tile(x, (_FRAMES, 1)), np.tile(y, (_FRAMES, 1))),
    }
    meshes = [triangles(hands.take(k)) for k in range(_FRAMES)]
    trees = [tree(mesh) for mesh in meshes]
    print(f"The same {_FRAMES} hands without noise, as meshes of {np.mean([len(m) for m in meshes]):,.0f} triangles")
    lines.each("ms a hand, Embree, building its tree", _FRAMES, lambda: [tree(mesh) for mesh in meshes])
    for what, (xs, ys) in sets.items():
        rays = [rays_of(*pair) for pair in zip(xs, ys, strict=True)]
        origin = np.zeros_like(rays[0])

        def embree(rays: list[np.ndarray] = rays, origin: np.ndarray = origin) -> list[np.ndarray]:
            return [t.run(origin, r, query="DISTANCE") for t, r in zip(trees, rays, strict=True)]

        ours = lines.each(f"ms each, {what}, this ray-caster", _FRAMES, lambda xs=xs, ys=ys: cast(hands, xs, ys))
        theirs = lines.each(f"ms each, {what}, Embree", _FRAMES, embree)
        print(f"{'  Embree takes so many times as long':50}{theirs / ours:12.1f}")
        print(agreement(cast(hands, xs, ys).depth_mm.reshape(_FRAMES, -1), np.array(embree())))


def agreement(ours_mm: np.ndarray, theirs_mm: np.ndarray) -> str:
    """Describe the share of hand pixels on which both ray-casters agree."""
    theirs_mm = np.where(theirs_mm < 1e6, theirs_mm, 0)
    hand = (ours_mm > 0) | (theirs_mm > 0)
    both = (ours_mm > 0) & (theirs_mm > 0)
    apart = np.abs(ours_mm - theirs_mm)
    share = 100 * (both & (apart <= AGREE_MM)).sum() / hand.sum()
    one = 100 * (hand & ~both).sum() / hand.sum()
    return (
        f"  depths agree within {AGREE_MM} mm on {share:.2f} % of {hand.sum():,} hand pixels. Only one sees {one:.2f} "
        f"%. The median difference is {np.median(apart[both]):.4f} mm"
    )


def main() -> None:
    """Measure and print all lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=256, help="number of crops in a batch")
    parser.add_argument("--repetitions", type=int, default=15)
    options = parser.parse_args()
    lines = Lines(options.repetitions)
    time_crops(lines, options.crops)
    time_training_crops(lines, options.crops)
    time_steps(lines, options.crops, _CAMERA)
    time_frames(lines)
    compare(lines)


if __name__ == "__main__":
    main()
