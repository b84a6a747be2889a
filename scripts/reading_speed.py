"""How fast a data set is read and cropped on one core, and whether the memory grows.

python scripts/reading_speed.py ho3d:PATH --frames 100000
python scripts/reading_speed.py ho3d:PATH --frames 2000 --opencv

Frames are read from the first on, again and again, and cropped about their label to 128 x 128. The times are those of
the processor, so that other programs on the machine change them little. They are medians of blocks of 20 frames.
`--opencv` reads every second block with OpenCV's decoder alone, to compare the two. Prints JSON.
"""

import argparse
import json
import resource
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from unittest import mock

import numpy as np

from crossnets.datasets import png
from crossnets.datasets.dataset import HandDataset
from crossnets.datasets.opening import open_dataset
from crossnets.geometry.crop import crop_hand

_CUBE_MM = 300.0
_BLOCK = 20
_WARM_UP = 200
"""Frames before the memory is measured the first time."""


def main() -> None:
    """Read, crop, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set such as ho3d:PATH")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--split", choices=["train", "test"], default="train")
    parser.add_argument("--opencv", action="store_true", help="compare with OpenCV's decoder")
    asked = parser.parse_args()
    dataset = open_dataset(asked.data, asked.split)
    ways = ["crossnets", "opencv"] if asked.opencv else ["crossnets"]
    blocks_ms: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    first_kb = 0
    for number, start in enumerate(range(0, asked.frames, _BLOCK)):
        way = ways[number % len(ways)]
        # Both ways read the same frames.
        first = (number // len(ways)) * _BLOCK
        with _decoder(way):
            blocks_ms[way].append(_block_ms(dataset, range(first, first + min(_BLOCK, asked.frames - start))))
        if not first_kb and start + _BLOCK >= min(_WARM_UP, asked.frames):
            first_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first_kb) / 1024
    found = {
        "frames": asked.frames,
        **_speed(blocks_ms["crossnets"]),
        **({"opencv": _speed(blocks_ms["opencv"])} if asked.opencv else {}),
        "memory_mb": round(first_kb / 1024, 1),
        "grown_mb": round(grown_mb, 1),
    }
    print(json.dumps(found))


def _decoder(way: str) -> AbstractContextManager[object]:
    """Turn the package's own decoder off if OpenCV's is asked for."""
    return mock.patch.object(png, "_plain_pixels", return_value=None) if way == "opencv" else nullcontext()


def _block_ms(dataset: HandDataset, numbers: range) -> tuple[float, float]:
    """Milliseconds of the processor for reading and for cropping a frame, as means over a block."""
    reading_s = cropping_s = 0.0
    for number in numbers:
        began = time.process_time()
        frame = dataset[number % len(dataset)]
        read = time.process_time()
        center_mm = np.float32([0, 0, 500]) if frame.joints_mm is None else frame.joints_mm.mean(axis=0)
        crop_hand(frame.depth_mm, frame.camera, center_mm, _CUBE_MM)
        reading_s += read - began
        cropping_s += time.process_time() - read
    return 1000 * reading_s / len(numbers), 1000 * cropping_s / len(numbers)


def _speed(blocks: list[tuple[float, float]]) -> dict[str, float]:
    reading_ms, cropping_ms = (statistics.median(times) for times in zip(*blocks, strict=True))
    return {
        "reading_ms": round(reading_ms, 2),
        "cropping_ms": round(cropping_ms, 2),
        "frames_per_s": round(1000 / (reading_ms + cropping_ms)),
    }


if __name__ == "__main__":
    main()
