"""How fast a data set is read and cropped on one core, and whether the memory grows.

python scripts/reading_speed.py ho3d:PATH --frames 100000

Frames are read from the first on, again and again, and cropped about their label to 128 x 128. The times are those of
the processor, so that other programs on the machine change them little. Prints JSON.
"""

import argparse
import json
import resource
import time

import numpy as np

from crossnets.datasets.opening import open_dataset
from crossnets.geometry.crop import crop_hand

_CUBE_MM = 300.0
_WARM_UP = 200
"""Frames before the memory is measured the first time."""


def main() -> None:
    """Read, crop, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set such as ho3d:PATH")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--split", choices=["train", "test"], default="train")
    asked = parser.parse_args()
    dataset = open_dataset(asked.data, asked.split)
    reading_s = cropping_s = 0.0
    first_kb = 0
    for number in range(asked.frames):
        began = time.process_time()
        frame = dataset[number % len(dataset)]
        read = time.process_time()
        center_mm = np.float32([0, 0, 500]) if frame.joints_mm is None else frame.joints_mm.mean(axis=0)
        crop_hand(frame.depth_mm, frame.camera, center_mm, _CUBE_MM)
        reading_s += read - began
        cropping_s += time.process_time() - read
        if number == min(_WARM_UP, asked.frames - 1):
            first_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first_kb) / 1024
    found = {
        "frames": asked.frames,
        "reading_ms": round(1000 * reading_s / asked.frames, 3),
        "cropping_ms": round(1000 * cropping_s / asked.frames, 3),
        "frames_per_s": round(asked.frames / (reading_s + cropping_s), 1),
        "memory_mb": round(first_kb / 1024, 1),
        "grown_mb": round(grown_mb, 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
