"""Error rates of the gestures on rendered hands.

    python scripts/gestures.py --out gestures.json

The truth is the gesture of the true joints (`inference.articulation`). The answer is the gesture of the estimated
joints in one image, without a track. Hands are drawn from all families of gestures and rendered before a simulated D435
at 400 to 700 mm, from all sides. A hand that is not found counts as missed. "Facing" hands show their palm or back: the
normal of the true palm is within 45 degrees of the line of sight.

The last rows compare the bend of fingers (mcp, pip and dip in all) of estimated and true joints. The rule of gestures
was chosen with `--seed 2000017000000`, and docs/runtime.md has the rates of the default seed.
"""

import argparse
from collections import Counter
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
    whole = {
        views: {"gestures": rates(of), "pairs": sorted([*pair, n] for pair, n in of.items())}
        for views, of in pairs.items()
    }
    for views, of in pairs.items():
        print(views, "not found:", sum(n for (_, answer), n in of.items() if answer == "not found"), "of", of.total())
        for gesture, row in rates(of).items():
            print(f"  {gesture}: {row}")
    print(f"flexion error: mean {np.mean(angles):.1f} degrees")
    rows = by_bend(np.concatenate(bends, axis=1))
    for row in rows:
        print(f"  fingers: {row}")
    numbers = {"flexion_error_deg": float(np.mean(angles)), "bends": rows}
    write_text(given.out, dumps(whole | numbers, indent=2) + "\n")


def by_bend(bends_deg: np.ndarray) -> list[dict[str, float]]:
    """Means of true and estimated bends of fingers, and the deviation of the error, by true bend.

    Args:
        bends_deg: (2, n), true and estimated.
    """
    table = []
    for least in range(0, 250, 50):
        true, estimated = bends_deg[:, (bends_deg[0] >= least) & (bends_deg[0] < least + 50)]
        if len(true):
            error = estimated - true
            table.append(
                {
                    "from_deg": least,
                    "fingers": len(true),
                    "true_deg": round(float(true.mean()), 1),
                    "estimated_deg": round(float(estimated.mean()), 1),
                    "error_deviation_deg": round(float(error.std()), 1),
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
