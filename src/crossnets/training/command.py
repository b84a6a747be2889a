"""`crossnets train`: data sets to a run folder."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from crossnets.data.dataset import HandDataset
from crossnets.data.loader import TrainingFrames, prepare
from crossnets.data.opening import open_dataset
from crossnets.geometry.skeleton import SKELETONS, Skeleton
from crossnets.models.crossing import CrossingNetsConfig
from crossnets.render.skeleton_maps import skeleton_maps
from crossnets.training import loop, rendering, run
from crossnets.training.config import TrainConfig
from crossnets.training.schedule import parse_budget, with_epochs
from crossnets.training.state import load_place

_PROBLEMS_SHOWN = 5


def train_command(
    configure: Callable[[Skeleton], TrainConfig] | TrainConfig,
    *,
    data: str | None,
    unlabelled: tuple[str, ...],
    labels: str,
    budget: str | None,
    epochs: tuple[str, ...] = (),
    out: Path,
    threads: int | None,
) -> None:
    """Open the data, crop it, train; or go on with the run in `out`.

    `configure` makes the training for the skeleton of the data, or is one that renders its own.

    Raises:
        ValueError: the data, the labels or the run folder are not what the arguments say.
        OSError: a folder is missing or unreadable.
    """
    console = Console(stderr=True)
    if threads is not None:
        torch.set_num_threads(threads)
    labelled = None if data is None else open_dataset(data)
    config = _config(configure, data, labelled, unlabelled)
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
    maps = None
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("rendering" if labelled is None else "cropping", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if labelled is None:
            assert config.rendered is not None
            skeleton = SKELETONS[config.skeleton]
            frames = rendering.kept(config.rendered, skeleton, out / "crops", show)
            maps = skeleton_maps(skeleton)
        else:
            assert data is not None
            sources = (data, *unlabelled)
            crops = out / "crops"
            frames = prepare(
                labelled, others, config.crop, labels=labels, seed=config.seed, cache=crops, sources=sources,
                on_progress=show,
            )  # fmt: skip
    _tell(console, config, frames, out)
    loop.train(config, frames, out, request=request, budget_s=budget_s, console=console, maps=maps)


def _config(
    configure: Callable[[Skeleton], TrainConfig] | TrainConfig,
    data: str | None,
    labelled: HandDataset | None,
    unlabelled: tuple[str, ...],
) -> TrainConfig:
    """The training, if its data fit it."""
    if isinstance(configure, TrainConfig):
        if labelled is not None or unlabelled:
            raise ValueError(
                f"The preset {configure.preset} trains on rendered hands alone so far: leave --data and --unlabelled "
                "out, or take --preset paper."
            )
        return configure
    if labelled is None:
        raise ValueError("Give labelled frames as --data, such as cvar:PATH#P1,P4; only --preset crossnets needs none.")
    if labelled.skeleton is None:
        raise ValueError(f"{data} has no labels, so nothing can be learned from it. Give it as --unlabelled.")
    config = configure(labelled.skeleton)
    if config.crop.centers == "label" and unlabelled:
        raise ValueError("--centers label needs a label on every frame, so it does not go with --unlabelled.")
    return config


def _tell(console: Console, config: TrainConfig, frames: TrainingFrames, out: Path) -> None:
    """Say what is trained on what; the frames left out are listed in problems.jsonl."""
    networks = config.networks
    shared = not isinstance(networks, CrossingNetsConfig) or networks.shared_latent
    used = len(frames.unlabelled) if config.terms.unlabelled and shared else 0
    what = "labelled" if config.rendered is None else "rendered"
    console.print(
        f"{config.preset} on {config.skeleton}: {len(frames.labelled)} {what} and {used} unlabelled frames, "
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
