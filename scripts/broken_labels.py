"""How many single broken labels the checks of labels list, and whether they list right ones.

python scripts/broken_labels.py cvar:PATH#P4 nyu:PATH

Every twentieth label is broken, in one way after the other. Prints JSON for each data set: of each way the number of
broken labels, how many of them are listed, and how many others.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from crossnets.datasets.dataset import declared_side, readable_frames
from crossnets.datasets.label_checks import LabelChecks
from crossnets.datasets.opening import open_dataset
from crossnets.types import HandFrame

_EVERY = 20
_FIRST = 7
_SEED = 1


def _one_joint(joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    joints = joints.copy()
    joints[rng.integers(len(joints))] += [0, 150, 0]
    return joints


def _at_origin(joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    joints = joints.copy()
    joints[-1] = 0.5
    return joints


_BROKEN: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "right": lambda joints, rng: joints,
    "nearer by 150 mm": lambda joints, rng: joints - np.array([0, 0, 150]),
    "farther by 60 mm": lambda joints, rng: joints + np.array([0, 0, 60]),
    "to the side by 50 mm": lambda joints, rng: joints + np.array([50, 0, 0]),
    "mirrored": lambda joints, rng: joints * np.array([-1, 1, 1]),
    "0.45 as large": lambda joints, rng: joints[0] + 0.45 * (joints - joints[0]),
    "centimetres": lambda joints, rng: joints / 10,
    "one joint 150 mm off": _one_joint,
    "one joint at the origin": _at_origin,
    "another order": lambda joints, rng: joints[rng.permutation(len(joints))],
    "all in one place": lambda joints, rng: np.tile(joints[0], (len(joints), 1)),
    "depths turned round": lambda joints, rng: joints * np.array([1, 1, -1]) + np.array([0, 0, 2 * joints[0, 2]]),
}


def main() -> None:
    """Break, check, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="data sets with labels, such as nyu:PATH")
    for spec in parser.parse_args().data:
        print(json.dumps({spec: _counts(spec)}))


def _counts(spec: str) -> dict[str, dict[str, int]]:
    dataset = open_dataset(spec)
    if dataset.skeleton is None:
        raise ValueError(f"{spec} has no labels.")
    labelled = [(index, frame) for index, frame in readable_frames(dataset, []) if frame.joints_mm is not None]
    frames = [frame for _, frame in labelled]
    sides = [declared_side(dataset, index, frame) for index, frame in labelled]
    counts: dict[str, dict[str, int]] = {}
    for name in [*_BROKEN, "label of another frame"]:
        rng = np.random.default_rng(_SEED)
        checks = LabelChecks(dataset.skeleton, len(frames))
        broken: set[str] = set()
        for index, (frame, side) in enumerate(zip(frames, sides, strict=True)):
            shown = frame
            if index % _EVERY == _FIRST and name != "right":
                shown = replace(frame, joints_mm=_broken(name, frames, index, rng).astype(np.float32))
                broken.add(frame.key)
            checks.add(index, shown, side)
        listed = {str(problem.path) for problem in checks.report().bad}
        counts[name] = {"broken": len(broken), "listed": len(listed & broken), "others": len(listed - broken)}
    return counts


def _broken(name: str, frames: list[HandFrame], index: int, rng: np.random.Generator) -> np.ndarray:
    other = frames[(index + len(frames) // 2) % len(frames)].joints_mm
    own = frames[index].joints_mm
    assert own is not None
    assert other is not None
    return other if name == "label of another frame" else _BROKEN[name](own, rng)


if __name__ == "__main__":
    main()
