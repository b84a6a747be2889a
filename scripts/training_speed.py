"""Samples a second of a training step of each stage, and how much the stream of rendered hands slows one down.

    python scripts/training_speed.py [--data cvar:../shared/data/cvar#P1,P4]

On all threads of torch, in one run. With --data: the stages of the preset `paper`, in float32
and bfloat16, on those frames. Always: the stage `estimate` of the preset `crossnets`, with the live stream and with one
batch that is kept in memory, in turns, so that other load on the machine meets both. Start it with
GLIBC_TUNABLES=glibc.malloc.hugetlb=1, as `crossnets train` starts itself, to measure what a training gets.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from crossnets.datasets.opening import open_dataset
from crossnets.geometry.skeleton import MSRA21
from crossnets.models.networks import build
from crossnets.processor import processor_name
from crossnets.tensors import RenderedBatch
from crossnets.training import presets, rendering
from crossnets.training.batches import Draw
from crossnets.training.config import CrossnetsConfig, PaperConfig, StageConfig
from crossnets.training.crops import TrainingFrames, prepare
from crossnets.training.loop import mixed_precision, resolve_precision
from crossnets.training.machine import Machine
from crossnets.training.stages import make_stage

_CPU = torch.device("cpu")
_ROUNDS = 3
MACHINE = Machine(device=torch.device("cpu"), workers=1)
_AHEAD = 40
"""Steps before the stream is measured: more than it can be ahead by."""


class Steps:
    """Steps of one stage, with fresh networks."""

    def __init__(self, config: PaperConfig | CrossnetsConfig, stage: StageConfig, frames: TrainingFrames) -> None:
        self.config, self.stage, self.frames, self.done = config, stage, frames, 0
        networks = build(config.networks, torch.Generator().manual_seed(0)).train()
        self.steps = make_stage(networks, stage, config.terms)

    def seconds(self, batches: Iterator[RenderedBatch] | None = None) -> float:
        """Of the next step, with the drawing of its batch."""
        began = time.perf_counter()
        draw = Draw(self.frames, self.stage, self.done, 0, _CPU, True, batches)
        with mixed_precision(_CPU, self.config.precision):
            losses = self.steps.step(draw, torch.Generator().manual_seed(self.done))
        for value in losses.values():
            value.item()  # waits for it, as the log of a training does
        self.done += 1
        return time.perf_counter() - began


def paper(data: str, steps: int, cache: Path, table: Table) -> None:
    """The preset `paper` on real frames."""
    labelled = open_dataset(data)
    assert labelled.skeleton is not None, f"{data} has no labels"
    config = presets.paper(labelled.skeleton)
    frames = prepare(labelled, [], config.crop, labels="all", seed=0, cache=cache)
    for stage in config.stages:
        rates = []
        for precision in ("32-true", "bf16-mixed"):
            timed = Steps(replace(config, precision=precision), stage, frames)
            timed.seconds()
            count = 50 * steps if stage.name == "pose_vae" else steps
            rates.append(stage.batch / statistics.median(timed.seconds() for _ in range(count)))
        table.add_row(f"paper: {stage.name}, batches of {stage.batch}", *(f"{rate:,.0f}" for rate in rates))


def live(steps: int, cache: Path) -> tuple[float, float]:
    """Samples a second of the stage `estimate` with a kept batch and with the stream."""
    config = presets.crossnets(precision=resolve_precision("auto", MACHINE.device))
    few = replace(config.rendered, kept_frames=256)
    frames = rendering.kept(few, MSRA21, cache)
    stage = next(stage for stage in config.stages if stage.name == "estimate")
    timed, kept_s, live_s = Steps(config, stage, frames), [], []
    for _ in range(_ROUNDS):
        with rendering.stream(config.rendered, stage.batch, 0, _AHEAD + steps, MACHINE) as batches:
            for _ in range(_AHEAD):  # what the stream got ahead by while it started does not count
                batch = next(batches)
                timed.seconds(iter([batch]))
            live_s += [timed.seconds(batches) for _ in range(steps)]
        kept_s += [timed.seconds(iter([batch])) for _ in range(steps)]
    return stage.batch / statistics.mean(kept_s), stage.batch / statistics.mean(live_s)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="labelled frames, for the preset paper")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    console = Console()
    tunables = os.environ.get("GLIBC_TUNABLES", "none")
    console.print(f"{processor_name()}, {torch.get_num_threads()} threads, GLIBC_TUNABLES: {tunables}")
    with tempfile.TemporaryDirectory() as folder:
        if given.data is not None:
            table = Table("step of", "float32", "bfloat16", title="samples a second, medians")
            paper(given.data, given.steps, Path(folder) / "paper", table)
            console.print(table)
        kept, streamed = live(2 * given.steps, Path(folder) / "crossnets")
    console.print(
        f"crossnets: estimate, one batch kept in memory: {kept:,.0f} samples a second; with the live stream: "
        f"{streamed:,.0f}, {streamed / kept:.0%} of it (means, waiting included)"
    )


if __name__ == "__main__":
    main()
