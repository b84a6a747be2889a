"""Measure how damages, distances and views change the results of a model, on rendered hands that no training uses.

    python scripts/weak_places.py --out now.json                       # the model that comes with the package
    python scripts/weak_places.py --model FOLDER --out new.json --compare now.json    # its own detector, if any

Hands are rendered for a RealSense D435 at 640x480, with a forearm and without surroundings, 400 to 700 mm away. The
direction of view is within 30 degrees of the normal of the palm or of the back of the hand. Rows state other settings.
Each damage is applied to the whole depth image with NumPy and OpenCV, independently of the training's code, apart from
the filling of holes, whose function is tested against librealsense. The results are those of
`crossnets.load().predict`. A hand counts as found if the mean of its joints is within 80 mm of the truth.
"side" is the share of found hands with the right side. Errors are means over the 21 joints of found hands in mm.
"false" is the number of hands farther than 80 mm from the truth, per hundred frames.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import crossnets
from crossnets.atomic import write_text
from crossnets.synth.hand.gestures import FAMILIES
from crossnets.synth.hand.sampler import Views
from crossnets.synth.sensor.hole_filling import FARTHEST, LEFT, NEAREST, fill_holes
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.types import Pinhole

SEED = 9_500_000
"""Presets use much smaller seeds."""
NEAR_MM = 80.0
ANYWHERE = Views(front=0.0, above=0.0, egocentric=0.0, uniform=1.0)
PLAIN = SyntheticConfig(
    camera="realsense-d435", seed=SEED, noise=(1.0, 1.0), distance_mm=(400.0, 700.0), views=ANYWHERE
)
Damage = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    name: str
    damage: Damage | None = None
    """Function from depth in mm, joints in mm and random numbers to damaged depth in mm."""
    config: SyntheticConfig = PLAIN
    within_deg: float = 30.0
    """Largest angle between the ray to the hand and the normal of its palm."""
    thin: int = 1
    """Step between the kept pixels."""


def noisy(deviation_mm: float) -> Damage:
    """Add Gaussian noise to every valid pixel."""
    return lambda depth, joints, rng: np.where(depth > 0, depth + deviation_mm * rng.standard_normal(depth.shape), 0)


def edges_lost(pixels: int) -> Damage:
    """Remove pixels within this distance of a surface that is 20 mm farther or invalid."""

    def damage(depth: np.ndarray, joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        far = np.where(depth > 0, depth, 1e5).astype(np.float32)
        farthest = cv2.dilate(far, np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8))
        return np.where(farthest - far > 20, 0, depth)

    return damage


def holes(share: float, side: int) -> Damage:
    """Remove discs until they cover this share of the image."""

    def damage(depth: np.ndarray, joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mask = np.zeros(depth.shape, np.uint8)
        for _ in range(int(share * depth.size / (np.pi / 4 * side**2))):
            at = rng.integers(depth.shape[1]), rng.integers(depth.shape[0])
            cv2.circle(mask, (int(at[0]), int(at[1])), side // 2, 1, -1)
        return np.where(mask > 0, 0, depth)

    return damage


def ball(diameter_mm: float) -> Damage:
    """Add a ball at the middle of the fingers, shifted a little at random."""

    def damage(depth: np.ndarray, joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        center = joints[[6, 7, 10, 11]].mean(axis=0) + rng.normal(0, 12, 3)
        rows, columns = np.indices(depth.shape)
        rays = np.stack([(columns - CAMERA.cx_px) / CAMERA.fx_px, (rows - CAMERA.cy_px) / CAMERA.fy_px], axis=-1)
        length2 = (rays**2).sum(-1) + 1
        along = rays @ center[:2] + center[2]
        inside = along**2 - length2 * (center @ center - (diameter_mm / 2) ** 2)
        surface = (along - np.sqrt(np.maximum(inside, 0))) / length2
        return np.where((inside > 0) & ((depth == 0) | (surface < depth)), surface, depth)

    return damage


def plane(behind_mm: float) -> Damage:
    """Add a wall behind the farthest joint."""

    def damage(depth: np.ndarray, joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        wall = joints[:, 2].max() + behind_mm
        return np.where((depth == 0) | (depth > wall), wall + rng.normal(0, 1, depth.shape), depth)

    return damage


def flying(share: float) -> Damage:
    """Move edge pixels to a random depth up to 60 mm behind the hand."""

    def damage(depth: np.ndarray, joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen = (depth > 0).astype(np.uint8)
        edge = (cv2.dilate(seen, np.ones((3, 3), np.uint8)) > seen) & (rng.random(depth.shape) < share)
        near = cv2.dilate(depth.astype(np.float32), np.ones((3, 3), np.uint8))
        return np.where(edge, near + rng.uniform(0, 60, depth.shape), depth)

    return damage


def outliers(share: float) -> Damage:
    """Set random pixels to 60 to 170 mm."""
    return lambda depth, joints, rng: np.where(
        rng.random(depth.shape) < share, rng.uniform(60, 170, depth.shape), depth
    )


def blurred(depth: np.ndarray, joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply a Gaussian blur, which mixes surfaces with invalid pixels."""
    return cv2.GaussianBlur(depth.astype(np.float32), (5, 5), 0)


def holes_filled(way: int) -> Damage:
    """Fill invalid pixels as librealsense's filter does. Here everything around the hand is invalid."""

    def damage(depth: np.ndarray, joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        filled = depth.copy()
        fill_holes(filled, way)
        return filled

    return damage


def at_distance(metres: float) -> SyntheticConfig:
    """Settings of hands at this distance, or up to 3 % farther."""
    return replace(PLAIN, distance_mm=(1000 * metres, 1030 * metres))


HANDS = SyntheticHands(PLAIN)
CAMERA = HANDS.camera
ROWS = (
    Row("as they are"),
    Row("at 0.27 m", config=at_distance(0.27)),
    Row("at 0.9 m", config=at_distance(0.9)),
    Row("at 1.25 m", config=at_distance(1.25)),
    Row("half resolution", thin=2),
    Row("a plane 60 mm behind", plane(60)),
    Row("a plane 25 mm behind", plane(25)),
    Row("flying pixels, half of the edges", flying(0.5)),
    Row("noise of 3 mm", noisy(3)),
    Row("noise of 6 mm", noisy(6)),
    Row("depth 3 % too large", lambda depth, joints, rng: 1.03 * depth),
    Row("6 % of the image in holes of 16 pixels", holes(0.06, 16)),
    Row("edges lost, 3 pixels", edges_lost(3)),
    Row("edges lost, 5 pixels", edges_lost(5)),
    Row("a ball of 60 mm between the fingers", ball(60)),
    Row("views twice as wide", within_deg=60.0),
    Row("views three times as wide", within_deg=90.0),
    Row("0.2 % of the pixels at 60 to 170 mm", outliers(0.002)),
    Row("blurred 5x5", blurred),
    Row("holes filled from the left", holes_filled(LEFT)),
    Row("holes filled with the farthest", holes_filled(FARTHEST)),
    Row("holes filled with the nearest", holes_filled(NEAREST)),
    Row("people and things around", config=replace(PLAIN, clutter=Clutter())),
)


def family_rows() -> tuple[Row, ...]:
    """Rows for each family of gestures, without damage and with lost edges."""
    rows = []
    for name in FAMILIES:
        config = replace(PLAIN, without=tuple(other for other in FAMILIES if other != name))
        rows += [Row(name, config=config), Row(f"{name}, edges lost, 5 pixels", edges_lost(5), config)]
    return tuple(rows)


def angle_deg(joints_mm: np.ndarray) -> float:
    """Return the angle between the ray to the hand and the normal of its palm, 0 to 90."""
    # MSRA's order is the wrist, then the fingers from index to little finger, then the thumb.
    wrist = joints_mm[0]
    index = joints_mm[1]
    little = joints_mm[13]
    normal = np.cross(index - wrist, little - wrist)
    ray = joints_mm.mean(axis=0)
    return float(np.rad2deg(np.arccos(abs(normal @ ray) / np.linalg.norm(normal) / np.linalg.norm(ray))))


def measure(tracker: crossnets.Tracker, row: Row, count: int, progress: Console) -> dict[str, float]:
    """Measure one row."""
    hands = SyntheticHands(row.config)
    errors = []
    sides = []
    false = 0
    chosen = (k for k in range(10**9) if angle_deg(hands.picture(k).hands[0][0]) <= row.within_deg)
    for _, index in zip(track(range(count), row.name, console=progress, transient=True), chosen, strict=False):
        frame = hands.frame(index)
        assert frame.joints_mm is not None
        rng = np.random.default_rng([SEED, index])
        depth = frame.depth_mm.astype(np.float64)
        camera = frame.camera
        if row.damage is not None:
            depth = row.damage(depth, frame.joints_mm, rng)
        if row.thin > 1:
            depth = depth[:: row.thin, :: row.thin]
            camera = Pinhole(*((value - (k > 1) * (row.thin - 1) / 2) / row.thin for k, value in enumerate(camera)))
        found = tracker.predict(np.round(depth).astype(np.uint16), camera)
        apart = [float(np.linalg.norm(hand.joints_mm.mean(0) - frame.joints_mm.mean(0))) for hand in found]
        false += sum(distance > NEAR_MM for distance in apart) - (len(hands.picture(index).hands) - 1)
        if not apart or min(apart) > NEAR_MM:
            continue
        hand = found[int(np.argmin(apart))]
        errors.append(float(np.linalg.norm(hand.joints_mm - frame.joints_mm, axis=1).mean()))
        sides.append(hand.side == frame.sequence)
    return {
        "found": len(errors) / count,
        "side": float(np.mean(sides)) if sides else float("nan"),
        "median_mm": float(np.median(errors)) if errors else float("nan"),
        "p90_mm": float(np.quantile(errors, 0.9)) if errors else float("nan"),
        "false": max(0, false) / count,
    }


def main() -> None:
    """Measure all rows, and print and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a model, that of the package by default")
    parser.add_argument("--hands", type=int, default=240, help="number of hands in each row")
    parser.add_argument("--families", action="store_true", help="measure rows by family of gestures instead")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compare", type=Path, help="file that another run of this script wrote")
    given = parser.parse_args()
    tracker = crossnets.load(given.model, runtime="onnxruntime")
    console = Console()
    errors = Console(stderr=True)
    old = json.loads(given.compare.read_text()) if given.compare else {}
    table = Table("frames", "found %", "side %", "median", "90 % below", "false %")
    rows = {}
    for row in family_rows() if given.families else ROWS:
        rows[row.name] = found = measure(tracker, row, given.hands, errors)

        def cell(key: str, scale: float, digits: int, name: str = row.name, now: dict[str, float] = found) -> str:
            before = f"{scale * old[name][key]:.{digits}f} → " if name in old else ""
            return f"{before}{scale * now[key]:.{digits}f}"

        table.add_row(
            row.name, cell("found", 100, 0), cell("side", 100, 0), cell("median_mm", 1, 1), cell("p90_mm", 1, 0),
            cell("false", 100, 0),
        )  # fmt: skip
    console.print(table)
    if given.out is not None:
        write_text(given.out, json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
