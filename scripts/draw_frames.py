"""Draw a sheet of whole frames with all hands that the package detects in them.

python scripts/draw_frames.py ../shared/data/sr305/datasets/custom --camera realsense-sr305 --out docs/sr305.png
"""

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import crossnets
from crossnets.datasets.dataset import Problem, readable_frames
from crossnets.datasets.image_sources import open_sources
from crossnets.draw import depth_to_rgb
from crossnets.geometry.localise import FAR_MM

_INK, _DARK, _GAP_PX = (240, 240, 240), 19, 4


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", help="images, a folder of them, a recording or a data set")
    parser.add_argument("--camera", default=None, help="camera of images without a camera file")
    parser.add_argument("--model", default=None)
    parser.add_argument("--masked", action="store_true", help="erase the detected hands and search again")
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--width", type=int, default=320, help="width of a frame in the sheet in pixels")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tracker = crossnets.load(given.model)
    cells = []
    counts = []
    problems = list[Problem]()
    for source in open_sources([given.frames], given.camera):
        for _, frame in readable_frames(source, problems):
            depth_mm = frame.depth_mm.copy()
            hands = tracker.predict(depth_mm, frame.camera)
            if given.masked:
                for hand in hands:
                    _erase(depth_mm, hand)
                hands = tracker.predict(depth_mm, frame.camera)
            counts.append(len(hands))
            cells.append(_cell(depth_mm, hands, given.width))
    for problem in problems:
        print(f"Left out: {problem}", file=sys.stderr)
    if not cells:
        sys.exit(f"None of the frames of {given.frames} could be read.")
    while len(cells) % given.columns:
        cells.append(np.full_like(cells[0], _DARK))
    rows = [np.concatenate(cells[k : k + given.columns], axis=1) for k in range(0, len(cells), given.columns)]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)[:-_GAP_PX, :-_GAP_PX]).quantize(128).save(given.out, optimize=True)
    print(json.dumps({"frames": len(counts), "hands in a frame": counts, "picture": str(given.out)}))


def _erase(depth_mm: np.ndarray, hand: crossnets.Hand) -> None:
    """Erase pixels in the box of a hand that are not behind it."""
    height, width = depth_mm.shape
    left, top, right, bottom = (round(edge) for edge in hand.box)
    part = depth_mm[max(0, top) : min(height, bottom), max(0, left) : min(width, right)]
    part[part < hand.joints_mm[:, 2].max() + 60] = 0


def _cell(depth_mm: np.ndarray, hands: list[crossnets.Hand], width_px: int) -> np.ndarray:
    picture = depth_to_rgb(np.where(depth_mm <= FAR_MM, depth_mm, np.float32(0)))
    for hand in hands:
        picture = hand.draw(picture)
        left, top = (round(edge) for edge in hand.box[:2])
        text = hand.side or ""
        if hand.confidence is not None:
            text += f", {100 * hand.confidence.mean():.0f} %"
        place = (max(left, 8), max(top - 10, 24))
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.8, _INK, 2, cv2.LINE_AA)
    size = (width_px, round(width_px * depth_mm.shape[0] / depth_mm.shape[1]))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(picture, 0, _GAP_PX, 0, _GAP_PX, cv2.BORDER_CONSTANT, value=(_DARK,) * 3)


if __name__ == "__main__":
    main()
