"""Draw 40 real and 40 rendered hand crops side by side, to compare them by eye.

    python scripts/sheets.py cvar:../shared/data/cvar#P1,P4,P5 --camera cvar-senz3d --out sheet.png

Real crops are centred by the detector. The picture contains real frames, so keep it out of the project.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from crossnets.datasets.dataset import Problem, readable_frames
from crossnets.datasets.opening import open_dataset
from crossnets.draw import depth_to_rgb
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.crop import crop_hand
from crossnets.inference.detector import load_detector
from crossnets.inference.loading import DETECTOR
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.weights import SHIPPED

COLUMNS, ROWS, CELL_PX, GAP_PX = 5, 8, 160, 12


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--camera", required=True, choices=list(CAMERAS))
    parser.add_argument("--cube", type=float, default=250.0, help="side of the real cubes in mm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    count = COLUMNS * ROWS
    rng = np.random.default_rng(given.seed)
    detector = load_detector(SHIPPED / DETECTOR, "onnxruntime")
    dataset = open_dataset(given.data)
    order = set(rng.permutation(len(dataset))[: 2 * count].tolist())
    real = []
    problems = list[Problem]()
    for index, frame in readable_frames(dataset, problems):
        found = detector(frame.depth_mm, frame.camera) if index in order else []
        if found:
            real.append(crop_hand(frame.depth_mm, frame.camera, found[0].center_mm, given.cube).depth_mm)
    for problem in problems:
        print(f"Left out: {problem}", file=sys.stderr)
    real = [real[k] for k in rng.permutation(len(real))[:count]]
    config = SyntheticConfig(camera=given.camera, seed=given.seed, noise=(0.5, 1.5), clutter=Clutter())
    rendered = list(SyntheticHands(config).crops(np.arange(count)).depth_mm)
    sheet = np.concatenate([_sheet(real), _sheet(rendered)], axis=1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(given.out)
    print(f"{given.out}: {len(real)} real crops left, {len(rendered)} rendered ones right")


def _sheet(crops: list[np.ndarray]) -> np.ndarray:
    sheet = np.full((ROWS * CELL_PX, COLUMNS * CELL_PX + GAP_PX, 3), 40, np.uint8)
    for number, crop in enumerate(crops):
        row, column = divmod(number, COLUMNS)
        picture = cv2.resize(depth_to_rgb(crop), (CELL_PX, CELL_PX), interpolation=cv2.INTER_NEAREST)
        sheet[row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX] = picture
    return sheet


if __name__ == "__main__":
    main()
