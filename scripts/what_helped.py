"""Make the table "What helped" of docs/synthetic.md: train the estimator with one part of the rendering changed.

    python scripts/what_helped.py --data ../shared/data/cvar --out runs/helped --epochs 6

Every row is a training of the stage `estimate` of the preset crossnets, in small batches, from the same seed, and with
the same number of samples (8,192 per epoch). It is scored on CVAR's development sequences with centres found in the
image. Rows are trained one after the other, and finished rows are skipped. The script writes table.md into --out.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crossnets.atomic import write_text
from crossnets.synth.hand.anthropometry import People
from crossnets.synth.hand.sampler import Views
from crossnets.synth.stream import SyntheticConfig
from crossnets.training import presets
from crossnets.training.config import CrossnetsConfig
from crossnets.training.session import train_command

SEQUENCES = ("P4", "P5", "P1")

Change = Callable[[SyntheticConfig], SyntheticConfig]
ROWS: dict[str, Change] = {
    "the preset": lambda source: source,
    "without the sensor's noise": lambda source: replace(source, noise=(0.0, 0.0)),
    "without clutter and forearms": lambda source: replace(source, clutter=None, people=People(cut_share=1.0)),
    "everyone in the mean hand's shape": lambda source: replace(source, people=People(shapes=0.0)),
    "hands and cubes of one size": lambda source: replace(
        source, people=People(sizes=0.0), cube_mm=(250.0, 250.0), again_share=0.0
    ),
    "views from anywhere alike": lambda source: replace(
        source, views=Views(front=0.0, above=0.0, egocentric=0.0, uniform=1.0)
    ),
    "without fists": lambda source: replace(source, without=("fist", "thumbs up", "pointing", "counting")),
    "centres always right": lambda source: replace(source, center_spread_mm=0.0),
    "without crops of a second pass": lambda source: replace(source, again_share=0.0),
    "without clutter (forearms alone)": lambda source: replace(source, clutter=None),
    "shapes twice as different as people's": lambda source: replace(source, people=People(shapes=2.0)),
}
BATCH, LR = 32, 2e-3
"""The batch is smaller than the preset's, so that a short training has enough steps."""


def config(change: Change, epochs: int, seed: int) -> CrossnetsConfig:
    """Return the training of the preset's estimator on changed hands."""
    whole = presets.crossnets(seed=seed)
    rendered = replace(whole.rendered, sources=tuple(map(change, whole.rendered.sources)))
    stages = tuple(
        replace(stage, epochs=epochs, batch=BATCH, lr=LR) for stage in whole.stages if stage.name == "estimate"
    )
    return replace(whole, rendered=rendered, stages=stages)


def evaluated(run: Path, data: str, sequence: str) -> dict[str, float]:
    """Evaluate a run on one sequence and return the scores."""
    out = run / f"evaluation-{sequence}"
    if not (out / "scores.json").is_file():
        words = ["evaluate", "--model", str(run), "--data", f"cvar:{data}#{sequence}", "--centers", "image"]
        command = [sys.executable, "-m", "crossnets", *words, "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "scores.json").read_text())


def main() -> None:
    """Train and score all rows, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of CVAR")
    parser.add_argument("--out", type=Path, default=Path("runs/helped"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    heads = [f"{name}, {what}" for name in SEQUENCES for what in ("mean", "median")]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for number, (name, change) in enumerate(ROWS.items()):
        run = given.out / f"{number:02d}"
        print(f"{name}: {run}", flush=True)
        train_command(
            config(change, given.epochs, given.seed), data=None, unlabelled=(), labels="all", budget=None, out=run,
            threads=given.threads,
        )  # fmt: skip
        scores = [evaluated(run, given.data, sequence) for sequence in SEQUENCES]
        cells = [f"{part[key]:.1f}" for part in scores for key in ("mean_mm", "median_mm")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        write_text(given.out / "table.md", "\n".join(lines) + "\n")
        print(lines[-1], flush=True)


if __name__ == "__main__":
    main()
