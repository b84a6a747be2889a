"""The table of docs/results.md on CVAR: every row is one `crossnets train` and one `crossnets evaluate`.

    python scripts/cvar_table.py --data ../shared/data/cvar --out runs/cvar --budget 6m

Trains one run after the other and skips those that are there, so it can be stopped and started again. It writes
table.md into --out. The folds hold out one sequence each. No label of the held-out sequence is used; only the settings
of the finder that says where hands are were chosen on these three sequences.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from crossnets.atomic import write_text

FOLDS = {"P5": "P1,P4", "P4": "P1,P5", "P1": "P4,P5"}
"""Held-out sequence to the training sequences."""

CONFIGURATIONS = (
    ("paper", "all", ()),
    ("from scratch", "all", ("--no-shared-latent",)),
    ("paper", "2%", ()),
    ("from scratch", "2%", ("--no-shared-latent",)),
    ("without L_smo", "2%", ("--no-smoothness",)),
    ("without L_gan", "2%", ("--no-adversarial",)),
    ("without unlabelled frames", "2%", ("--no-use-unlabelled",)),
)

COLUMNS = (
    "held out", "method", "labels", "mean mm", "median", "root-aligned", "scale-aligned", "frames within 40 mm", "steps"
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One trained and scored model."""

    held_out: str
    name: str
    labels: str
    flags: tuple[str, ...]
    data: str
    out: Path
    budget: str

    @property
    def run(self) -> Path:
        """Folder of the run."""
        slug = f"{self.name} {self.labels}".lower().replace(" ", "-").replace("%", "pc")
        return self.out / f"{self.held_out}-{slug}"

    @property
    def train(self) -> list[str]:
        """Words of the training command."""
        data = f"cvar:{self.data}#{FOLDS[self.held_out]}"
        return ["train", "--data", data, "--labels", self.labels, "--budget", self.budget, *self.flags,
                "--out", str(self.run)]  # fmt: skip

    @property
    def evaluate(self) -> list[str]:
        """Words of the scoring command."""
        data = f"cvar:{self.data}#{self.held_out}"
        return ["evaluate", "--dataset", "cvar", "--model", str(self.run), "--data", data,
                "--out", str(self.run / "evaluation")]  # fmt: skip


def rows(data: str, out: Path, budget: str, folds: list[str]) -> list[Row]:
    """All rows, the ablations last."""
    every = [
        Row(held_out, name, labels, flags, data, out, budget)
        for held_out in folds
        for name, labels, flags in CONFIGURATIONS
    ]
    return sorted(every, key=lambda row: row.name.startswith("without"))


def crossnets(words: list[str]) -> None:
    """Run the command line of this environment; an error ends the script."""
    print("crossnets", *words, flush=True)
    subprocess.run([sys.executable, "-m", "crossnets", *words], check=True, stdout=subprocess.DEVNULL)


def line(row: Row) -> str:
    """A line of the table."""
    scores = json.loads((row.run / "evaluation" / "scores.json").read_text())
    plan = "/".join(str(n) for n in json.loads((row.run / "config.json").read_text())["plan"])
    numbers = (scores[key] for key in ("mean_mm", "median_mm", "root_aligned_mean_mm", "scale_aligned_mean_mm"))
    within = 100 * scores["frames_within_mm"]["40"]
    cells = [row.held_out, row.name, row.labels, *(f"{n:.1f}" for n in numbers), f"{within:.0f} %", plan]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Train, score, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CVAR's folder")
    parser.add_argument("--out", type=Path, default=Path("runs/cvar"))
    parser.add_argument("--budget", default="6m")
    parser.add_argument("--folds", nargs="+", default=list(FOLDS), choices=list(FOLDS))
    given = parser.parse_args()
    chosen = rows(given.data, given.out, given.budget, given.folds)
    for row in chosen:
        crossnets(row.train)
        if not (row.run / "evaluation" / "scores.json").is_file():
            crossnets(row.evaluate)
        write_table(given.out / "table.md", chosen)
    print((given.out / "table.md").read_text())


def write_table(path: Path, chosen: list[Row]) -> None:
    """The rows that are scored, fold by fold."""
    scored = [row for row in chosen if (row.run / "evaluation" / "scores.json").is_file()]
    scored.sort(key=lambda row: list(FOLDS).index(row.held_out))
    rule = "---".join("|" * (len(COLUMNS) + 1))
    write_text(path, "\n".join([f"| {' | '.join(COLUMNS)} |", rule, *map(line, scored)]) + "\n")


if __name__ == "__main__":
    main()
