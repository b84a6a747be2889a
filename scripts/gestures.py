"""Error rates of the gestures on rendered hands.

    python scripts/gestures.py --out gestures.json

The truth is the gesture of the true joints (`inference.articulation`). The answer is the gesture of the estimated
joints in one image, without a track. Hands are drawn from all families of gestures and rendered before a simulated D435
at 400 to 700 mm, from all sides. A hand that is not found counts as missed. "Facing" hands show their palm or back: the
normal of the true palm is within 45 degrees of the line of sight.

The last rows compare estimated and true joints: the bend of fingers in degrees (mcp, pip and dip in all), and the
distance of the tips of thumb and index finger as a share of the palm's length. The rule of gestures
was chosen with `--seed 2000017000000`, and docs/runtime.md has the rates of the default seed.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from json import dumps
from pathlib import Path
from typing import get_args

import numpy as np

import crossnets
from crossnets.atomic import write_text
from crossnets.inference.articulation import Articulated, Gesture
from crossnets.synth.stream import SyntheticConfig, SyntheticHands

CAMERA = "realsense-d435"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=10**12 + 17 * 10**6)
    parser.add_argument("--model", default=None)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    hands = SyntheticHands(SyntheticConfig(camera=CAMERA, seed=given.seed, distance_mm=(400.0, 700.0)))
    tracker = crossnets.load(given.model, hands=1)
    pairs: dict[str, Counter[tuple[str, str]]] = {"all": Counter(), "facing": Counter()}
    angles: list[float] = []
    bends: list[np.ndarray] = []
    tips: list[tuple[float, float]] = []
    for index in range(given.frames):
        frame = hands.frame(index)
        assert frame.joints_mm is not None
        true = Articulated(frame.joints_mm, hands.skeleton)
        found = tracker.predict(frame)
        answer = "not found" if not found else found[0].gesture or "none"
        palm = true.palm(right=True)  # the sign of the normal does not matter here
        sight = palm.position_mm / np.linalg.norm(palm.position_mm)
        facing = abs(float(palm.normal @ sight)) > np.cos(np.pi / 4)
        for views in ("all", "facing") if facing else ("all",):
            pairs[views][true.gesture() or "none", answer] += 1
        if found:
            estimated = Articulated(found[0].joints_mm, found[0].skeleton)
            angles.append(float(np.abs(estimated.flexions_deg - true.flexions_deg).mean()))
            bends.append(np.stack([one.flexions_deg[1:].sum(axis=1) for one in (true, estimated)]))
            tips.append((tips_apart(true), tips_apart(estimated)))
    whole = {
        views: {"gestures": rates(of), "pairs": sorted([*pair, n] for pair, n in of.items())}
        for views, of in pairs.items()
    }
    for views, of in pairs.items():
        print(views, "not found:", sum(n for (_, answer), n in of.items() if answer == "not found"), "of", of.total())
        for gesture, row in rates(of).items():
            print(f"  {gesture}: {row}")
    print(f"flexion error: mean {np.mean(angles):.1f} degrees")
    compared = {
        "bends": by_truth(np.concatenate(bends, axis=1), range(0, 251, 50), 1),
        "tips": by_truth(np.array(tips).T, (0, 0.25, 0.35, 0.5, 0.75, np.inf), 2),
    }
    for name, rows in compared.items():
        for row in rows:
            print(f"  {name}: {row}")
    numbers = {"flexion_error_deg": float(np.mean(angles)), **compared}
    write_text(given.out, dumps(whole | numbers, indent=2) + "\n")


def tips_apart(hand: Articulated) -> float:
    """Distance of the tips of thumb and index finger over the palm's length."""
    return hand.pinch_mm()["index"] / float(np.linalg.norm(hand.fingers_mm[2, 0] - hand.wrist_mm))


def by_truth(values: np.ndarray, limits: Sequence[float], digits: int) -> list[dict[str, float]]:
    """Means of true and estimated values and the deviation of the error, by the true value.

    Args:
        values: (2, n), true and estimated.
        limits: Ascending limits of the true values. Each row has those from one limit to the next.
        digits: Digits after the point.
    """
    table = []
    for least, most in pairwise(limits):
        true, estimated = values[:, (values[0] >= least) & (values[0] < most)]
        if len(true):
            table.append(
                {
                    "from": least,
                    "count": len(true),
                    "true": round(float(true.mean()), digits),
                    "estimated": round(float(estimated.mean()), digits),
                    "error_deviation": round(float((estimated - true).std()), digits),
                }
            )
    return table


def rates(pairs: Counter[tuple[str, str]]) -> dict[str, dict[str, float | None]]:
    """Number of frames of each gesture, share of them that is missed, and share of its answers that is wrong."""
    table = {}
    for gesture in get_args(Gesture):
        frames = sum(count for (truth, _), count in pairs.items() if truth == gesture)
        answers = sum(count for (_, answer), count in pairs.items() if answer == gesture)
        right = pairs[gesture, gesture]
        table[gesture] = {
            "frames": frames,
            "missed": round(1 - right / frames, 3) if frames else None,
            "wrong": round(1 - right / answers, 3) if answers else None,
        }
    return table


if __name__ == "__main__":
    main()
