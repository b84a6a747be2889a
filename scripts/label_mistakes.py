"""Is each common mistake in all labels of a data set named?

python scripts/label_mistakes.py cvar:PATH#P4 nyu:PATH

Each mistake is made in every label, one after the other, and the labels are checked as by `crossnets data info`.
Prints JSON for each data set: the likely cause that is named for each mistake, or null.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from crossnets.datasets.dataset import readable_frames
from crossnets.datasets.label_checks import LabelChecks
from crossnets.datasets.opening import open_dataset
from crossnets.geometry.camera import project
from crossnets.types import HandFrame

_MOST = 200
"""Frames of a data set. Neighbours stay together."""
_CHANGES: dict[str, Callable[[HandFrame, np.ndarray], np.ndarray]] = {
    "right": lambda frame, joints: joints,
    "y up": lambda frame, joints: joints * [1, -1, 1],
    "x left": lambda frame, joints: joints * [-1, 1, 1],
    "pixels": lambda frame, joints: project(joints, frame.camera),
    "centimetres": lambda frame, joints: joints / 10,
    "metres": lambda frame, joints: joints / 1000,
    "40 mm off in x": lambda frame, joints: joints - [-40, 0, 0],
    "40 mm off in z": lambda frame, joints: joints - [0, 0, 40],
    "OpenGL": lambda frame, joints: joints * [1, -1, -1],
    "focal length times 1.6": lambda frame, joints: joints / [1.6, 1.6, 1],
    "depths turned round": lambda frame, joints: joints * [1, 1, -1] + [0, 0, 2 * joints[0, 2]],
    "random order": lambda frame, joints: joints[np.random.default_rng(0).permutation(len(joints))],
}


def main() -> None:
    """Make the mistakes, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="data sets with labels, such as nyu:PATH")
    for spec in parser.parse_args().data:
        print(json.dumps({spec: causes(spec)}), flush=True)


def causes(spec: str) -> dict[str, str | None]:
    """Return the cause that is named for each mistake."""
    dataset = open_dataset(spec)
    if dataset.skeleton is None:
        raise ValueError(f"{spec} has no labels.")
    labelled = [(index, frame) for index, frame in readable_frames(dataset, []) if frame.joints_mm is not None]
    indices = [index for index, _ in labelled[:_MOST]]
    frames = [frame for _, frame in labelled[:_MOST]]
    made = {name: [_changed(frame, change) for frame in frames] for name, change in _CHANGES.items()}
    made["images mirrored"] = [replace(frame, depth_mm=frame.depth_mm[:, ::-1].copy()) for frame in frames]
    for name, steps in (("label of the next frame", 1), ("label of two frames before", -2)):
        labels = [frames[(number + steps) % len(frames)].joints_mm for number in range(len(frames))]
        made[name] = [replace(frame, joints_mm=joints) for frame, joints in zip(frames, labels, strict=True)]
    found: dict[str, str | None] = {}
    for name, shown in made.items():
        checks = LabelChecks(dataset.skeleton, len(shown))
        for index, frame in zip(indices, shown, strict=True):
            checks.add(index, frame)
        found[name] = checks.report().cause
    return found


def _changed(frame: HandFrame, change: Callable[[HandFrame, np.ndarray], np.ndarray]) -> HandFrame:
    assert frame.joints_mm is not None
    return replace(frame, joints_mm=change(frame, frame.joints_mm.astype(np.float64)).astype(np.float32))


if __name__ == "__main__":
    main()
