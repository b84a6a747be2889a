"""Draw the picture of the README: hands that the package detects in rendered frames that no training uses.

python scripts/picture.py --out docs/hands.png
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import crossnets
from crossnets.draw import depth_to_rgb, draw_skeleton
from crossnets.geometry.localise import FAR_MM
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter

CAMERAS = ("realsense-sr300", "realsense-d435")
_HELD_OUT = 10**12 + 5 * 10**6
_CELL_PX, _GAP_PX = 240, 6
_AROUND = 2.0
"""Ratio of the side of the shown part of a frame to that of the hand's box."""
_INK, _DARK = (240, 240, 240), 19


def main() -> None:
    """Draw the first frames of each camera."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--model", default=None)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tracker = crossnets.load(given.model)
    rows = []
    for number, camera in enumerate(CAMERAS):
        config = SyntheticConfig(
            camera=camera, seed=_HELD_OUT + number, noise=(1.0, 1.0), distance_mm=(380.0, 650.0), clutter=Clutter()
        )
        hands = SyntheticHands(config)
        rows.append(np.concatenate([_cell(tracker, hands, k, camera) for k in range(given.columns)], axis=1))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)[:-_GAP_PX, :-_GAP_PX]).quantize(256).save(given.out, optimize=True)
    print(f"{given.out}: {given.out.stat().st_size / 1e3:.0f} kB")


def _cell(tracker: crossnets.Tracker, hands: SyntheticHands, index: int, camera: str) -> np.ndarray:
    """Draw the part of a frame around the first detected hand, or the whole frame without a detected hand."""
    depth_mm = hands.frame(index).depth_mm
    found = tracker.predict(depth_mm, camera)
    height, width = depth_mm.shape
    middle = np.array([width / 2, height / 2])
    side = float(height)
    if found:
        left, top, right, bottom = found[0].box
        middle = np.array([left + right, top + bottom]) / 2
        side = _AROUND * max(right - left, bottom - top)
    scale = _CELL_PX / side
    shift = _CELL_PX / 2 - scale * middle
    affine = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    seen = np.where(depth_mm <= FAR_MM, depth_mm, np.float32(0))
    picture = depth_to_rgb(cv2.warpAffine(seen, affine, (_CELL_PX, _CELL_PX), flags=cv2.INTER_NEAREST))
    for hand in found:
        picture = draw_skeleton(picture, scale * hand.joints_px + shift, hand.skeleton)
    if found and found[0].confidence is not None:
        text = f"{found[0].side}, {100 * found[0].confidence.mean():.0f} %"
        cv2.putText(picture, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    return cv2.copyMakeBorder(picture, 0, _GAP_PX, 0, _GAP_PX, cv2.BORDER_CONSTANT, value=(_DARK,) * 3)


if __name__ == "__main__":
    main()
