"""Measure a model on hands of the body model Anny beside the hands of this package, by gesture and by view.

    pip install '.[anny]'
    python scripts/anny_hands.py --out anny.json                       # the model that comes with the package
    python scripts/anny_hands.py --model FOLDER --out new.json
    python scripts/anny_hands.py --read anny.json                      # print the tables again
    python scripts/anny_hands.py --speed                               # crops a second, without noise and surroundings

Both kinds of hands have the sensors, noise, surroundings, distances and lengths of the preset's training, and equal
numbers of each gesture and view, in the shares of the training. Their seeds are far from those of trainings, so that no
training saw a shape. A hand counts as found if the mean of its joints in the results of `Tracker.predict` is within 80
mm of the truth. Errors are means over the 21 joints of a hand in mm. Those "at places" are of all hands, in crops whose
centres are 10 mm off at random in each axis.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import crossnets
from crossnets.atomic import write_text
from crossnets.inference.detector import Detection
from crossnets.inference.hands import estimate_hands
from crossnets.synth.hand.gestures import FAMILIES
from crossnets.synth.hand.sampler import Views
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.training import presets
from crossnets.types import HandFrame

SEED = 2 * 10**12
"""First seed. A training would reach it with --seed 500000000000."""
NEAR_MM = 80.0
KINDS = {"this package": 0.0, "Anny": 1.0}
VIEWS = ("front", "above", "egocentric", "uniform")
ANGLES = {"palm or back": (0.0, 30.0), "oblique": (30.0, 60.0), "side or along": (60.0, 90.0)}
"""Angle between the ray to the hand and the normal of its palm."""
SPEED_CROPS = 1024


@dataclass(frozen=True)
class Record:
    """Results of one hand."""

    kind: str
    gesture: str
    view: str
    angle_deg: float
    found: bool
    side: bool
    """Whether a found hand has the right side."""
    error_mm: float
    """Error of a found hand."""
    placed_mm: float
    """Error at a given place."""


def cells(count: int) -> list[tuple[str, str, int]]:
    """Divide the hands among gestures and views, by the shares of the preset's training."""
    views = presets.crossnets().rendered.sources[0].views
    assert views is not None
    shares = [(family, view, share * getattr(views, view)) for family, (share, _) in FAMILIES.items() for view in VIEWS]
    # Rounding the running sums keeps the total.
    ends = np.rint(count * np.cumsum([share for *_, share in shares]) / sum(share for *_, share in shares)).astype(int)
    numbers = np.diff(ends, prepend=0)
    return [(family, view, int(number)) for (family, view, _), number in zip(shares, numbers, strict=True)]


def streams(kind: str, gesture: str, view: str, cell: int) -> list[SyntheticHands]:
    """Return the stream of each camera for one gesture and view."""
    sources = presets.crossnets().rendered.sources
    views = Views(**{name: float(name == view) for name in VIEWS})
    others = tuple(name for name in FAMILIES if name != gesture)
    return [
        SyntheticHands(
            replace(source, seed=SEED + len(sources) * cell + number, views=views, without=others, anny=KINDS[kind])
        )
        for number, source in enumerate(sources)
    ]


def angle_deg(joints_mm: np.ndarray) -> float:
    """Return the angle between the ray to the hand and the normal of its palm, 0 to 90."""
    # MSRA's order is the wrist, then the fingers from index to little finger, then the thumb.
    normal = np.cross(joints_mm[1] - joints_mm[0], joints_mm[13] - joints_mm[0])
    ray = joints_mm.mean(axis=0)
    return float(np.rad2deg(np.arccos(abs(normal @ ray) / np.linalg.norm(normal) / np.linalg.norm(ray))))


def frames(kind: str, count: int) -> Iterator[tuple[str, str, HandFrame]]:
    """Render all frames of one kind of hands. Cameras take turns."""
    for cell, (gesture, view, number) in enumerate(cells(count)):
        cameras = streams(kind, gesture, view, cell)
        for index in range(number):
            # The first camera differs between cells, because small cells do not reach every camera equally often.
            turn, camera = divmod(index, len(cameras))
            yield gesture, view, cameras[(camera + cell) % len(cameras)].frame(turn)


def record(tracker: crossnets.Tracker, kind: str, gesture: str, view: str, frame: HandFrame) -> Record:
    """Measure one hand."""
    truth = frame.joints_mm
    assert truth is not None
    best = min(
        tracker.predict(frame.depth_mm, frame.camera),
        key=lambda hand: float(np.linalg.norm(hand.joints_mm.mean(axis=0) - truth.mean(axis=0))),
        default=None,
    )
    found = best is not None and bool(np.linalg.norm(best.joints_mm.mean(axis=0) - truth.mean(axis=0)) < NEAR_MM)
    rng = np.random.default_rng([SEED, round(1000 * float(truth[0, 2]))])
    center = (truth.mean(axis=0) + 10.0 * rng.standard_normal(3)).astype(np.float32)
    placed = estimate_hands(tracker.estimator, frame, [Detection.at(center)]).estimates.joints_mm[0]
    return Record(
        kind=kind,
        gesture=gesture,
        view=view,
        angle_deg=angle_deg(truth),
        found=found,
        side=found and best is not None and best.side == frame.sequence,
        error_mm=_error(best.joints_mm, truth) if found and best is not None else float("nan"),
        placed_mm=_error(placed, truth),
    )


def _error(joints_mm: np.ndarray, truth_mm: np.ndarray) -> float:
    return float(np.linalg.norm(joints_mm - truth_mm, axis=1).mean())


def row(records: list[Record]) -> list[str]:
    """Return the cells of a table for one kind of hands."""
    found = [one for one in records if one.found]
    errors = np.array([one.error_mm for one in found])
    placed = np.array([one.placed_mm for one in records])
    if not found:
        return ["0", "", "", "", "", f"{placed.mean():.1f}", f"{np.median(placed):.1f}"]
    return [
        f"{100 * len(found) / len(records):.0f}",
        f"{100 * np.mean([one.side for one in found]):.0f}",
        f"{errors.mean():.1f}",
        f"{np.median(errors):.1f}",
        f"{np.quantile(errors, 0.9):.0f}",
        f"{placed.mean():.1f}",
        f"{np.median(placed):.1f}",
    ]


def tables(records: list[Record]) -> None:
    """Print a table of both kinds of hands for all hands, each gesture, each view and each angle."""
    groups = {"all": records}
    groups |= {name: [one for one in records if one.gesture == name] for name in FAMILIES}
    groups |= {f"view {name}": [one for one in records if one.view == name] for name in VIEWS}
    groups |= {
        f"seen from: {name}": [one for one in records if low <= one.angle_deg < high or one.angle_deg == high == 90.0]
        for name, (low, high) in ANGLES.items()
    }
    table = Table("hands", "of", "number", "found %", "side %", "mean", "median", "90 % below", "at places", "median")
    for name, group in groups.items():
        for kind in KINDS:
            of_kind = [one for one in group if one.kind == kind]
            if of_kind:
                table.add_row(name, kind, str(len(of_kind)), *row(of_kind))
    Console(width=140).print(table)


def speed() -> None:
    """Print the number of crops that one core renders in a second, without noise and surroundings."""
    for kind, share in KINDS.items():
        hands = SyntheticHands(SyntheticConfig(anny=share, noise=(0.0, 0.0), seed=SEED))
        indices = np.arange(SPEED_CROPS)
        hands.crops(indices)
        # The hands are drawn and posed now, so the second round only renders.
        began = time.process_time()
        hands.crops(indices)
        rendered = time.process_time() - began
        fresh = SyntheticHands(SyntheticConfig(anny=share, noise=(0.0, 0.0), seed=SEED + 1))
        began = time.process_time()
        fresh.crops(indices)
        whole = time.process_time() - began
        print(f"{kind}: {SPEED_CROPS / rendered:.0f} crops/s, {SPEED_CROPS / whole:.0f} with sampling and posing")


def main() -> None:
    """Measure both kinds of hands, and print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a model, that of the package by default")
    parser.add_argument("--hands", type=int, default=2000, help="number of hands of each kind")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path, help="file that another run of this script wrote")
    parser.add_argument("--speed", action="store_true", help="measure the speed of rendering instead")
    given = parser.parse_args()
    if given.speed:
        speed()
        return
    if given.read is not None:
        tables([Record(**one) for one in json.loads(given.read.read_text())])
        return
    tracker = crossnets.load(given.model, runtime="onnxruntime")
    console = Console(stderr=True)
    records = []
    for kind in KINDS:
        for gesture, view, frame in track(frames(kind, given.hands), kind, total=given.hands, console=console):
            records.append(record(tracker, kind, gesture, view, frame))
    tables(records)
    if given.out is not None:
        write_text(given.out, json.dumps([asdict(one) for one in records]) + "\n")


if __name__ == "__main__":
    main()
