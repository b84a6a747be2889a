"""The picture that defines the angles of docs/runtime.md: flexion and spread of the mean rendered hand.

python scripts/angles.py --out docs/angles.png
"""

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from crossnets.geometry.skeleton import FINGERS, MSRA21
from crossnets.inference.articulation import Articulated
from crossnets.synth.hand.anthropometry import mean_shape
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import ANGLES, DEVIATION, DIP, FLEXION, PIP, HandPose, forward

_BONE, _HELP, _ANGLE, _TEXT = "#7d838c", "#a9aeb6", "#c0392b", "#333333"
_SPREAD_DEG = np.array([11.0, 2.0, -7.0, -16.0])


def main() -> None:
    """Draw the index finger from the side, and the hand from the palm's side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    mpl.rcParams.update({"font.size": 9.5, "text.color": _TEXT})
    figure = Figure(figsize=(8.8, 4.3), layout="constrained")
    side, front = figure.subplots(1, 2, width_ratios=(1.15, 1))
    flexion(side)
    spread(front)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.out, dpi=100)
    # 32 colours are enough for lines and text, and make the file a third as large.
    Image.open(given.out).convert("RGB").quantize(32).save(given.out, optimize=True)
    print(f"{given.out}: {given.out.stat().st_size / 1e3:.0f} kB")


def hand(flexion_deg: float, pip_deg: float, spread_deg: np.ndarray) -> Articulated:
    """The mean right hand. Its fingers point to +y, and its palm faces +z."""
    angles = np.zeros((1, len(ANGLES)))
    angles[:, FLEXION] = flexion_deg
    angles[:, PIP] = pip_deg
    angles[:, DIP] = 0.6 * pip_deg
    angles[:, DEVIATION] = spread_deg
    pose = HandPose(np.eye(3)[None], np.zeros((1, 3)), np.deg2rad(angles))
    return Articulated(np.asarray(joints(forward(mean_shape(1), pose), MSRA21), np.float32)[0], MSRA21)


def flexion(axes: Axes) -> None:
    """The index finger in the plane in which it bends, with the angle of each joint."""
    found = hand(28.0, 45.0, np.zeros(4))
    angles = found.angles_deg()
    points_mm = np.stack([found.wrist_mm, *found.fingers_mm[1]]) - found.wrist_mm
    along = points_mm[1] / np.linalg.norm(points_mm[1])
    below = points_mm[-1] - (points_mm[-1] @ along) * along
    flat = np.stack([points_mm @ along, points_mm @ below / -np.linalg.norm(below)], axis=1)
    axes.plot(*flat.T, "o-", color=_BONE, lw=3.5, ms=7)
    for at, part in ((1, "mcp"), (2, "pip"), (3, "dip")):
        before = flat[at] - flat[at - 1]
        name = f"index_{part} {angles[f'index_{part}']:.0f}°"
        mark(axes, flat[at], before, flat[at + 1] - flat[at], name, beside=True)
    axes.annotate("wrist", flat[0], xytext=(0, -9), textcoords="offset points", ha="center", va="top")
    axes.annotate("index_tip", flat[4], xytext=(-8, -2), textcoords="offset points", ha="right", va="center")
    axes.set_title("flexion: the index finger from the side", color=_TEXT)
    finish(axes)


def spread(axes: Axes) -> None:
    """The open hand from the palm's side, with the angles between neighbouring fingers."""
    found = hand(0.0, 6.0, _SPREAD_DEG)
    angles = found.angles_deg()
    wrist = found.wrist_mm[:2]
    fingers = found.fingers_mm[..., :2]
    for points in fingers:
        axes.plot(*np.vstack([wrist, points]).T, "o-", color=_BONE, lw=3.5, ms=6)
    for (row, one), (_, other) in pairwise(enumerate(FINGERS)):
        name = f"{angles[f'spread_{one}_{other}']:.0f}°"
        if one == "thumb":
            mark(axes, fingers[0, 0], fingers[1, 0] - wrist, fingers[0, 1] - fingers[0, 0], name, beside=False)
        else:
            second = fingers[row + 1]
            mark(axes, second[0], fingers[row, 1] - fingers[row, 0], second[1] - second[0], name, beside=False)
    for row, finger in enumerate(FINGERS):
        away = fingers[row, 3] - fingers[row, 2]
        at = fingers[row, 3] + 9 * away / np.linalg.norm(away)
        axes.annotate(finger, at, ha="center", va="center")
    axes.annotate("wrist", wrist, xytext=(0, -9), textcoords="offset points", ha="center", va="top")
    axes.set_title("spread: an open right hand seen on its palm", color=_TEXT)
    finish(axes)


def mark(axes: Axes, at: np.ndarray, start: np.ndarray, end: np.ndarray, name: str, beside: bool) -> None:
    """Draw the angle at a point between two directions. The first one is dashed, and the name stands at its end."""
    radius_mm = 15.0 if beside else 24.0
    first, second = (np.arctan2(way[1], way[0]) for way in (start, end))
    turn = (second - first + np.pi) % (2 * np.pi) - np.pi
    arc = first + np.linspace(0, 1, 40) * turn
    dashed = at + np.outer([0, 1.6 * radius_mm], [np.cos(first), np.sin(first)])
    axes.plot(*dashed.T, "--", color=_HELP, lw=1.4, zorder=1)
    axes.plot(*(at[:, None] + radius_mm * np.stack([np.cos(arc), np.sin(arc)])), color=_ANGLE, lw=1.8, zorder=3)
    where = {"ha": "left", "va": "center"} if beside else {"ha": "center", "va": "bottom"}
    axes.annotate(
        name, dashed[1], xytext=(3, 0) if beside else (0, 2), textcoords="offset points", color=_ANGLE, **where
    )


def finish(axes: Axes) -> None:
    """The same scale in both directions, and nothing but the drawing."""
    axes.set_aspect("equal")
    axes.margins(0.09)
    axes.axis("off")


if __name__ == "__main__":
    main()
