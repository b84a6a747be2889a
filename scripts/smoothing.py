"""Measure the One-Euro filter: jitter of still hands, and lag of moving hands.

    python scripts/smoothing.py --out smoothing.json

The tracker of the package follows rendered hands at 30 frames a second, with and without `smooth`. A still hand has
other noise in every frame. A moving hand goes to and fro at up to 0.5 m/s.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import crossnets
from crossnets.atomic import write_text
from crossnets.synth.casting.raster import render_patches
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.sensor import noise
from crossnets.synth.stream import SyntheticConfig, SyntheticHands

CAMERA, FRAMES_PER_S, FRAMES, WARM = "realsense-d435", 30.0, 75, 15
SWAY_MM, SWAY_HZ = 80.0, 1.0


def frames(hands: SyntheticHands, index: int, moving: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Render depth images. Return them with the joints in them."""
    picture = hands.picture(index)
    width = hands.preset.width_px
    height = hands.preset.height_px
    joints_mm, _ = picture.hands[0]
    shown = []
    for number in range(FRAMES):
        phase = 2 * np.pi * SWAY_HZ * number / FRAMES_PER_S
        offset = np.array([SWAY_MM * np.sin(phase) if moving else 0.0, 0.0, 0.0])
        mesh = SphereMesh(picture.mesh.centers_mm + offset, picture.mesh.radii_mm, picture.mesh.topology)
        exact = render_patches(mesh, hands.camera, width, height).depth_mm[0]
        depth = noise.apply(exact, hands.camera, noise.SENSORS[CAMERA], number, 1.0)
        shown.append((depth, joints_mm + offset))
    return shown


def follow(tracker: crossnets.Tracker, shown: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """(F, J, 3): estimated and true joints of the frames after the first ones. NaN if no hand is detected."""
    tracker.reset()
    found = []
    for number, (depth_mm, _) in enumerate(shown):
        hands = tracker.track(depth_mm, CAMERA, number / FRAMES_PER_S)
        found.append(hands[0].joints_mm if hands else np.full((21, 3), np.nan))
    return np.stack(found)[WARM:], np.stack([truth for _, truth in shown])[WARM:]


def lag_ms(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the lag of the estimates in ms, from the phase of the motion in x."""
    time_s = np.arange(WARM, FRAMES) / FRAMES_PER_S
    wave = np.exp(-2j * np.pi * SWAY_HZ * time_s)
    phases = [np.angle(((x - x.mean()) * wave).sum()) for x in (found[..., 0].mean(1), truth[..., 0].mean(1))]
    behind = (phases[1] - phases[0] + np.pi) % (2 * np.pi) - np.pi
    return 1e3 * float(behind) / (2 * np.pi * SWAY_HZ)


def main() -> None:
    """Measure both trackers and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hands", type=int, default=12)
    parser.add_argument("--model", default=None)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    config = SyntheticConfig(camera=CAMERA, seed=10**12 + 9 * 10**6, noise=(1.0, 1.0), distance_mm=(400.0, 700.0))
    hands = SyntheticHands(config)
    trackers = {name: crossnets.load(given.model, hands=1, smooth=name == "smoothed") for name in ("plain", "smoothed")}
    values: dict[str, dict[str, list[float]]] = {name: {"jitter": [], "lag": [], "error": []} for name in trackers}
    for index in range(given.hands):
        still, moving = (frames(hands, index, moving) for moving in (False, True))
        for name, tracker in trackers.items():
            at_rest, _ = follow(tracker, still)
            carried, truth = follow(tracker, moving)
            if np.isnan(at_rest).any() or np.isnan(carried).any():
                continue
            values[name]["jitter"].append(float(np.linalg.norm(at_rest.std(axis=0), axis=-1).mean()))
            values[name]["lag"].append(lag_ms(carried, truth))
            values[name]["error"].append(float(np.linalg.norm(carried - truth, axis=-1).mean()))
    table = {name: {what: float(np.median(part)) for what, part in parts.items()} for name, parts in values.items()}
    for name, parts in table.items():
        count = len(values[name]["jitter"])
        print(
            f"{name:<9} {count} of {given.hands} hands followed throughout: jitter {parts['jitter']:.2f} mm, "
            f"{parts['lag']:.0f} ms behind, error while moving {parts['error']:.1f} mm"
        )
    write_text(given.out, json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
