"""Compare the joints of all runtimes on the same crops of data sets.

    python scripts/runtimes_agree.py cvar:CVAR SR305/datasets/custom --camera realsense-sr305

The script prints the mean and the largest distance of joints between each runtime and torch in float32.
"""

import argparse
import sys

import numpy as np

from crossnets.datasets.dataset import Problem, readable_frames
from crossnets.datasets.image_sources import open_sources
from crossnets.datasets.opening import open_dataset
from crossnets.geometry.crop import crop_hand
from crossnets.inference import bundle
from crossnets.inference.engines import Runtime
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.loading import Arithmetic, candidates_of, open_estimator
from crossnets.types import HandCrop
from crossnets.weights import SHIPPED

RUNTIMES: tuple[tuple[Runtime, Arithmetic], ...] = (
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("onnxruntime", "int8"),
    ("openvino", "int8"),
)
_BATCH = 32


def crops_of(text: str, camera: str | None) -> list[HandCrop]:
    """Crop every frame in which a hand is detected."""
    estimator = open_estimator(SHIPPED, "onnxruntime")
    candidates = candidates_of("detector", estimator)
    sources = [open_dataset(text)] if ":" in text else open_sources([text], camera)
    crops = []
    problems = list[Problem]()
    for source in sources:
        for _, frame in readable_frames(source, problems):
            found = [*candidates.find(frame), *candidates.more(frame)]
            if found:
                crops.append(crop_hand(frame.depth_mm, frame.camera, found[0].center_mm))
    for problem in problems:
        print(f"Left out: {problem}", file=sys.stderr)
    if not crops:
        raise SystemExit(f"No hand was detected in the frames of {text}. Give other frames.")
    return crops


def joints_mm(estimator: CropEstimator, crops: list[HandCrop]) -> np.ndarray:
    """Estimate the joints of all crops in batches."""
    parts = [crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)]
    return np.concatenate([estimator.estimate(part).joints_mm for part in parts])


def main() -> None:
    """Compare all runtimes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--camera", default=None, help="camera of images without a camera file")
    given = parser.parse_args()
    for text in given.data:
        crops = crops_of(text, given.camera)
        exact = joints_mm(bundle.load(SHIPPED), crops)
        print(f"{text}: {len(crops)} frames")
        for runtime, precision in RUNTIMES:
            apart = np.linalg.norm(joints_mm(open_estimator(SHIPPED, runtime, 1, precision), crops) - exact, axis=-1)
            print(f"  {runtime:<12} {precision:<9} {apart.mean():.2g} mm mean, {apart.max():.2g} most")


if __name__ == "__main__":
    main()
