"""Measure time and memory of packing frames into shards, and of reading them once.

    python scripts/shards_at_scale.py --frames 100000

Frames have 48 x 48 pixels and are drawn when they are packed. The script prints seconds per 1,000 frames, and the peak
memory of a process that packs and of one that reads. The folder is removed afterwards.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from crossnets.atomic import write_text
from crossnets.datasets.dataset import Problem
from crossnets.datasets.packing import PackConfig, pack
from crossnets.datasets.shards import Shards
from crossnets.geometry.skeleton import MSRA21, Skeleton
from crossnets.types import HandFrame, Pinhole

SIDE_PX = 48
CAMERA = Pinhole(60.0, 60.0, 23.5, 23.5)
_BLOBS = 21
_HAND_MM = 500.0
_NOISE_MM = 2.0


class Drawn:
    """Discs at 21 random joints, with noise. A frame depends on its index alone."""

    def __init__(self, frames: int) -> None:
        self.name = "drawn"
        self.skeleton: Skeleton | None = MSRA21
        self.camera = CAMERA
        self.problems: list[Problem] = []
        self._frames = frames
        self._v, self._u = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32)

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, index: int) -> HandFrame:
        index = range(self._frames)[index]
        rng = np.random.default_rng(index)
        joints_mm = rng.normal((0, 0, _HAND_MM), (60, 60, 20), (_BLOBS, 3)).astype(np.float32)
        u = CAMERA.fx_px * joints_mm[:, 0] / joints_mm[:, 2] + CAMERA.cx_px
        v = CAMERA.fy_px * joints_mm[:, 1] / joints_mm[:, 2] + CAMERA.cy_px
        distance = (self._u - u[:, None, None]) ** 2 + (self._v - v[:, None, None]) ** 2
        nearest = np.where(distance < 9, joints_mm[:, 2, None, None], np.inf).min(axis=0)
        depth_mm = np.where(np.isinf(nearest), 0, np.rint(nearest + rng.normal(0, _NOISE_MM, nearest.shape)))
        return HandFrame(f"drawn/{index}", self.sequence_of(index), depth_mm.astype(np.float32), CAMERA, joints_mm)

    def sequence_of(self, index: int) -> str:
        """Assign frames to ten sequences in turn."""
        return f"s{index % 10}"


def peak_mb() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(out: Path, frames: int, per_shard: int) -> dict[str, float]:
    """Pack all frames."""
    before = peak_mb()
    began = now()
    pack({"drawn": Drawn(frames)}, out, PackConfig(frames_per_shard=per_shard))
    return _measured(began, before, frames)


def read(out: Path) -> dict[str, float]:
    """Read all frames once in their order."""
    before = peak_mb()
    began = now()
    shards = Shards(out)
    tenth = max(len(shards) // 10, 1)
    marks = [time.process_time()]
    for index in range(len(shards)):
        shards[index]
        if (index + 1) % tenth == 0:
            marks.append(time.process_time())
    first, last = (1000 * (marks[k + 1] - marks[k]) / tenth for k in (0, len(marks) - 2))
    return {**_measured(began, before, len(shards)), "first_tenth": first, "last_tenth": last}


def now() -> tuple[float, float]:
    """Return elapsed seconds, and seconds of processor time, which other processes hardly change."""
    return time.perf_counter(), time.process_time()


def _measured(began: tuple[float, float], before_mb: float, frames: int) -> dict[str, float]:
    clock, processor = (1000 * (end - start) / frames for start, end in zip(began, now(), strict=True))
    memory = {"peak_mb": peak_mb(), "growth_mb": peak_mb() - before_mb}
    return {"s_per_1000": clock, "processor_s_per_1000": processor, **memory}


def main() -> None:
    """Pack, read, and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--per-shard", type=int, default=2000)
    parser.add_argument("--scratch", type=Path, default=None, help="folder for the temporary shards")
    parser.add_argument("--out", type=Path, default=None, help="file for the numbers as JSON")
    given = parser.parse_args()
    if given.frames < 1:
        parser.error("expected --frames of 1 or more")
    fresh = multiprocessing.get_context("spawn")  # each part runs in a new process with little memory
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        out = Path(folder) / "shards"
        numbers = {}
        for name, work, arguments in (("pack", write, (out, given.frames, given.per_shard)), ("read", read, (out,))):
            with fresh.Pool(1) as pool:
                numbers[name] = pool.apply(work, arguments)
            print(
                f"{name} {given.frames:,} frames: {numbers[name]['s_per_1000']:.2f} s per 1,000 "
                f"({numbers[name]['processor_s_per_1000']:.2f} of the processor), "
                f"peak {numbers[name]['peak_mb']:.0f} MB, of which {numbers[name]['growth_mb']:.1f} MB for this",
                flush=True,
            )
        first, last = numbers["read"]["first_tenth"], numbers["read"]["last_tenth"]
        print(f"read: {first:.2f} s of the processor per 1,000 in the first tenth, {last:.2f} in the last")
        megabytes = sum(path.stat().st_size for path in out.iterdir()) / 1e6
        print(f"{megabytes:.0f} MB in {len(list(out.glob('*.tar')))} shards", flush=True)
    if given.out is not None:
        write_text(given.out, json.dumps({"frames": given.frames, **numbers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
