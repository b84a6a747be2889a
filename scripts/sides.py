"""Measure how steady the side of a moving hand is, image by image and followed.

    python scripts/sides.py --out sides.json

Clips of one rendered hand, by turns right and left, which moves from gesture to gesture before a simulated D435 at 30
frames a second, 400 to 700 mm away. The hand is seen from the front in four tenths of its poses, from above in one, as
worn on the head in two, and from anywhere in three.

`predict` takes each image by itself, and `track` settles the side by a vote over the track. Each row has the share of
the images in which the hand is found, the share of those with the right side, and the changes of the side a minute.

`--hands 2500` then renders single hands 400 to 1,000 mm away, and prints the mean error of those that are taken for a
hand of the other side, with and without `load(side=...)`.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from json import dumps
from pathlib import Path

import numpy as np

import crossnets
from crossnets.atomic import write_text
from crossnets.cameras import DepthFrame
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import MSRA21
from crossnets.metrics import joint_errors_mm
from crossnets.synth import motion
from crossnets.synth.hand.anthropometry import sample_shape
from crossnets.synth.hand.sampler import Views
from crossnets.synth.sensor import noise
from crossnets.synth.stream import SyntheticConfig, SyntheticHands

CAMERA = "realsense-d435"
SEED = 10**12 + 18 * 10**6
VIEWS = Views(front=0.4, above=0.1, egocentric=0.2, uniform=0.3)
MOTION = motion.MotionConfig(distance_mm=(400.0, 700.0), views=VIEWS)


@dataclass
class Tally:
    """Counts of images and sides over all clips."""

    images: int = 0
    found: int = 0
    right_side: int = 0
    changes: int = 0

    def add(self, said: list[str | None], truth: str) -> None:
        """Count one clip. None is an image without a hand."""
        sides = [side for side in said if side is not None]
        self.images += len(said)
        self.found += len(sides)
        self.right_side += sides.count(truth)
        self.changes += sum(one != other for one, other in pairwise(sides))

    def row(self) -> dict[str, float]:
        """Shares, and changes a minute of the images in which the hand is found."""
        minutes = max(self.found, 1) / motion.FPS / 60
        return {
            "images": self.images,
            "found": self.found / max(self.images, 1),
            "right side": self.right_side / max(self.found, 1),
            "changes a minute": self.changes / minutes,
        }


def clip(number: int, frames: int) -> Iterator[DepthFrame]:
    """Render a clip. Odd numbers show left hands."""
    rng = np.random.default_rng([SEED, number])
    camera = CAMERAS[CAMERA]
    shape = sample_shape(rng, 1, left_share=float(number % 2))
    for index, pose in enumerate(islice(motion.poses(rng, shape, camera, MOTION), frames)):
        exact_mm, joints_mm = motion.picture(shape, pose, camera, MSRA21)
        depth_mm = noise.apply(exact_mm, camera.pinhole, noise.SENSORS[CAMERA], (number << 32) + index, 1.0)
        yield DepthFrame(depth_mm, camera.camera, index / motion.FPS, index, joints_mm)


def known_side(hands: int, model: str | None) -> dict[str, float]:
    """Count hands that are taken for the other side, and whose joints change if it is known, with their errors."""
    rendered = SyntheticHands(SyntheticConfig(camera=CAMERA, seed=SEED, distance_mm=(400.0, 1000.0)))
    unknown = crossnets.load(model, hands=1)
    known = {side: crossnets.load(model, hands=1, side=side) for side in ("left", "right")}
    found = 0
    errors_mm: list[tuple[float, ...]] = []
    changed_mm: list[tuple[float, ...]] = []
    for number in range(hands):
        frame = rendered.frame(number)
        assert frame.joints_mm is not None
        for hand in unknown.predict(frame):
            found += 1
            if hand.side == frame.sequence:
                continue
            (better,) = known[frame.sequence].predict(frame)
            both_mm = np.stack([hand.joints_mm, better.joints_mm])
            pair = tuple(joint_errors_mm(both_mm, np.stack([frame.joints_mm] * 2)).mean(axis=1).tolist())
            errors_mm.append(pair)
            if not np.array_equal(hand.joints_mm, better.joints_mm):
                changed_mm.append(pair)
    counts: dict[str, float] = {"found": found, "other side": len(errors_mm), "changed": len(changed_mm)}
    for name, pairs in (("other side", errors_mm), ("changed", changed_mm)):
        if pairs:
            without, with_side = np.mean(pairs, axis=0).tolist()
            counts |= {f"{name}, mm": without, f"{name}, mm with side": with_side}
    return counts


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--hands", type=int, default=0)
    parser.add_argument("--model", default=None)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tracker = crossnets.load(given.model, hands=1)
    tallies = {"predict": Tally(), "track": Tally()}
    for number in range(given.clips):
        tracker.reset()
        said: dict[str, list[str | None]] = {name: [] for name in tallies}
        for frame in clip(number, round(given.seconds * motion.FPS)):
            for name, hands in (("predict", tracker.predict(frame)), ("track", tracker.track(frame))):
                said[name].append(hands[0].side if hands else None)
        for name, tally in tallies.items():
            tally.add(said[name], "left" if number % 2 else "right")
    rows = {name: tally.row() for name, tally in tallies.items()}
    if given.hands:
        rows["known side"] = known_side(given.hands, given.model)
    for name, row in rows.items():
        print(f"{name:<8}", {what: round(value, 3) for what, value in row.items()})
    write_text(given.out, dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
