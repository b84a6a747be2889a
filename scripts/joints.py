"""The picture of the joints in docs/runtime.md: the mean rendered hand with both orders of the joints.

python scripts/joints.py --out docs/joints.png
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from crossnets.geometry.skeleton import MEDIAPIPE21, MSRA21
from crossnets.synth.hand.anthropometry import mean_shape
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import ANGLES, DEVIATION, HandPose, forward

_SPREAD_DEG = np.array([16.0, 2.0, -11.0, -24.0])


def main() -> None:
    """Draw the hand from the palm's side, with the name and both numbers of each joint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    angles = np.zeros((1, len(ANGLES)))
    angles[:, DEVIATION] = _SPREAD_DEG
    pose = HandPose(np.eye(3)[None], np.zeros((1, 3)), np.deg2rad(angles))
    # The fingers point to +y, and the palm faces the reader.
    places = np.asarray(joints(forward(mean_shape(1), pose), MSRA21))[0, :, :2]
    mpl.rcParams.update({"font.size": 8.5, "text.color": "#333333"})
    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    axes = figure.subplots()
    for row, (name, parent) in enumerate(zip(MSRA21.joints, MSRA21.parents, strict=True)):
        colour = MSRA21.colours[row]
        if parent >= 0:
            axes.plot(*places[[parent, row]].T, color=colour, lw=3, zorder=1)
        axes.plot(*places[row], "o", color=colour, ms=6, zorder=2)
        finger, _, part = name.partition("_")
        text = f"{part or finger} {row} | {MEDIAPIPE21.joints.index(name)}"
        # A white ground keeps numbers readable where they cross the bone of the next finger.
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.annotate(text, places[row], xytext=(7, 0), textcoords="offset points", va="center", bbox=ground)
        if part == "tip":
            axes.annotate(finger, places[row], xytext=(0, 8), textcoords="offset points", ha="center", color=colour)
    axes.set_title("a right hand seen on its palm: part, row in msra21 | row in mediapipe21", color="#333333")
    axes.set_aspect("equal")
    axes.margins(0.12, 0.05)
    axes.axis("off")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.out, dpi=100)
    Image.open(given.out).convert("RGB").quantize(64).save(given.out, optimize=True)
    print(f"{given.out}: {given.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
