"""Compare rendered motion with NYU's test sequences: speeds, and distances to the nearest labelled poses.

    python scripts/motion_statistics.py --nyu ../shared/data/nyu/nyu_test_uvd_36.npz --out motion.json

Joints are relative to NYU's reference joint, and are neither turned nor scaled. For "nearest", 2 % of the frames of a
sequence are drawn as labelled frames. The distance of another frame is the mean over all joints to the nearest labelled
frame. It shows whether 2 % of the labels cover all poses.

The frames are test frames. The numbers describe the motion, and no speed or hold was chosen by them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

from crossnets.atomic import write_text
from crossnets.evaluation.protocols import PROTOCOLS
from crossnets.geometry.camera import unproject
from crossnets.geometry.skeleton import NYU36
from crossnets.synth.clips import MotionSet, clips_of
from crossnets.synth.stream import SyntheticHands
from crossnets.synth.writing import config_of, moving

_SHARE = 0.02
_TRIES = 5
_REFERENCE = NYU36.reference


def statistics(joints_mm: Float[np.ndarray, "N J 3"], seed: int) -> dict[str, float]:
    """Compute the speed of the joints in mm per frame, and the distances in mm to the nearest of 2 % of the frames."""
    steps = np.linalg.norm(np.diff(joints_mm, axis=0), axis=-1).mean(axis=1)
    about = (joints_mm - joints_mm[:, _REFERENCE : _REFERENCE + 1]).astype(np.float32)
    rng = np.random.default_rng(seed)
    nearest = []
    for _ in range(_TRIES):
        labelled = np.zeros(len(about), bool)
        labelled[rng.choice(len(about), max(1, round(_SHARE * len(about))), replace=False)] = True
        chosen = about[labelled]
        nearest += [np.linalg.norm(chosen - one, axis=-1).mean(axis=1).min() for one in about[~labelled]]
    return {
        "frames": len(joints_mm),
        "median_mm_per_frame": float(np.median(steps)),
        "90%_mm_per_frame": float(np.quantile(steps, 0.9)),
        "still_share": float((steps < 1).mean()),
        "nearest_median_mm": float(np.median(nearest)),
        "nearest_90%_mm": float(np.quantile(nearest, 0.9)),
    }


def main() -> None:
    """Print the table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nyu", type=Path, required=True, help="npz with `uvd` (F, 36, 3) in px, px, mm")
    parser.add_argument("--frames", type=int, default=5812, help="number of rendered frames of each kind")
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args()

    real_mm = unproject(np.load(options.nyu)["uvd"].astype(float), PROTOCOLS["nyu"].camera)
    clips = clips_of("nyu", frames=options.frames)["train"]
    config = config_of("nyu", noise=0.0)
    sources = {
        "NYU, test 1": real_mm[:2440],
        "NYU, test 2": real_mm[2440:],
        "synthesize --motion": _labels(MotionSet(moving(config, clips)), options.frames),
        "synthesize": _labels(SyntheticHands(config), options.frames),
    }
    numbers = {name: statistics(joints_mm, seed=0) for name, joints_mm in sources.items()}
    table = Table("frames", *next(iter(numbers.values())))
    for name, row in numbers.items():
        table.add_row(name, *(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=140).print(table)
    if options.out is not None:
        write_text(options.out, json.dumps(numbers, indent=2) + "\n")


def _labels(hands: MotionSet | SyntheticHands, frames: int) -> np.ndarray:
    labels = [hands.frame(index).joints_mm for index in range(frames)]
    return np.stack([one for one in labels if one is not None]).astype(float)


if __name__ == "__main__":
    main()
