"""Measure whether memory and time grow over a long run.

    python scripts/soak.py --frames 1000000 --out soak.json

Frames of 640 x 480 pixels show rendered hands with clutter and noise. They are rendered once and shown repeatedly to
one tracker. Every 200th frame is empty, so that hands are lost and detected again. The script prints memory and time
for each part of the run.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

import crossnets
from crossnets.atomic import write_text
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter

CAMERA = "realsense-d435"
_PARTS = 20
_EMPTY_EVERY = 200
_MB = 1e6


def resident_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MB


def main() -> None:
    """Run the tracker and write the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--kept", type=int, default=256, help="number of rendered frames")
    parser.add_argument("--model", default=None)
    parser.add_argument("--runtime", default="auto", choices=["auto", "onnxruntime", "openvino"])
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "int8"])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.frames < _PARTS or given.kept < 1:
        parser.error(f"expected --frames of {_PARTS} or more, and --kept of 1 or more")
    hands = SyntheticHands(SyntheticConfig(camera=CAMERA, seed=4, noise=(0.5, 1.5), clutter=Clutter()))
    frames = [hands.frame(k).depth_mm.astype(np.uint16) for k in range(given.kept)]
    empty = np.zeros_like(frames[0])
    tracker = crossnets.load(given.model, runtime=given.runtime, precision=given.precision, smooth=True)
    for frame in frames:  # one-time work is done before the measurement
        tracker.track(frame, CAMERA)
    lines = []
    found = 0
    part = given.frames // _PARTS
    for number in range(_PARTS):
        began = time.perf_counter()
        for k in range(part):
            image = empty if k % _EMPTY_EVERY == 0 else frames[k // 8 % given.kept]
            found += bool(tracker.track(image, CAMERA))
        ms = 1e3 * (time.perf_counter() - began) / part
        lines.append({"frames": (number + 1) * part, "resident_mb": resident_mb(), "ms_a_frame": ms})
        print(f"{lines[-1]['frames']:>9,} frames  {lines[-1]['resident_mb']:7.1f} MB  {ms:.3f} ms a frame", flush=True)
    growth = lines[-1]["resident_mb"] - lines[0]["resident_mb"]
    print(
        f"Memory grew by {growth:.1f} MB between the first and the last {part:,} frames. Frames with a hand: {found:,}."
    )
    write_text(given.out, json.dumps({"parts": lines, "growth_mb": growth, "with_a_hand": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
