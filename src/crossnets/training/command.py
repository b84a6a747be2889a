"""`crossnets train`: data sets to a run folder."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from crossnets.data.loader import TrainingFrames, prepare
from crossnets.data.opening import open_dataset
from crossnets.geometry.skeleton import Skeleton
from crossnets.training import loop, run
from crossnets.training.config import TrainConfig
from crossnets.training.schedule import parse_budget, with_epochs
from crossnets.training.state import load_place

_PROBLEMS_SHOWN = 5


def train_command(
    configure: Callable[[Skeleton], TrainConfig],
    *,
    data: str,
    unlabelled: tuple[str, ...],
    labels: str,
    budget: str | None,
    epochs: tuple[str, ...] = (),
    out: Path,
    threads: int | None,
) -> None:
    """Open the data, crop it, train; or go on with the run in `out`.

    Raises:
        ValueError: the data, the labels or the run folder are not what the arguments say.
        OSError: a folder is missing or unreadable.
    """
    console = Console(stderr=True)
    if threads is not None:
        torch.set_num_threads(threads)
    labelled = open_dataset(data)
    if labelled.skeleton is None:
        raise ValueError(f"{data} has no labels, so nothing can be learned from it. Give it as --unlabelled.")
    config = configure(labelled.skeleton)
    if config.crop.centers == "label" and unlabelled:
        raise ValueError("--centers label needs a label on every frame, so it does not go with --unlabelled.")
    stages = with_epochs(config.stages, epochs)
    config = replace(config, stages=stages, precision=loop.resolve_precision(config.precision))
    request = run.request_of(config, {"data": data, "unlabelled": unlabelled, "labels": labels, "budget": budget})
    budget_s = None if budget is None else parse_budget(budget)
    found = run.read(out)
    if found is not None:
        run.check_same(out, found, request)
        place = load_place(out)
        if place is not None and place.stage == len(config.stages):
            console.print(f"{out} is finished; its model is in {out / 'model'}.", highlight=False, soft_wrap=True)
            return
    if found is None:
        shutil.rmtree(out / "crops", ignore_errors=True)  # of a start that ended before the run began
    others = [open_dataset(spec) for spec in unlabelled]
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("cropping", total=None)
        frames = prepare(
            labelled,
            others,
            config.crop,
            labels=labels,
            seed=config.seed,
            cache=out / "crops",
            sources=(data, *unlabelled),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _tell(console, config, frames, out)
    loop.train(config, frames, out, request=request, budget_s=budget_s, console=console)


def _tell(console: Console, config: TrainConfig, frames: TrainingFrames, out: Path) -> None:
    """Say what is trained on what; the frames left out are listed in problems.jsonl."""
    used = len(frames.unlabelled) if config.terms.unlabelled and config.networks.shared_latent else 0
    console.print(
        f"{config.preset} on {config.skeleton}: {len(frames.labelled)} labelled and {used} unlabelled frames, "
        f"{config.precision}, {torch.get_num_threads()} threads",
        highlight=False,
    )
    if frames.problems:
        path = out / "problems.jsonl"
        lines = [{"path": str(p.path), "line": p.line, "what": p.what} for p in frames.problems]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        console.print(f"{len(lines)} frames or label lines are left out, listed in {path}:", highlight=False)
        for problem in frames.problems[:_PROBLEMS_SHOWN]:
            console.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
