"""`crossnets train`: data sets to a run folder."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from rich.console import Console
from rich.progress import Progress

from crossnets import ranks
from crossnets.datasets.dataset import PROBLEMS_FILE, HandDataset, write_problems
from crossnets.datasets.label_checks import check_sample
from crossnets.datasets.opening import open_dataset
from crossnets.geometry.skeleton import Skeleton, find_skeleton
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.training import loop, real, rendering, run
from crossnets.training.config import (
    CrossnetsConfig,
    DetectorTraining,
    FramesConfig,
    OwnConfig,
    PaperConfig,
    TrainConfig,
    terms_of,
)
from crossnets.training.crops import TrainingFrames, identity, parse_labels, prepare
from crossnets.training.machine import Machine, choose_machine
from crossnets.training.schedule import only_stages, parse_budget, with_epochs, with_numbers
from crossnets.training.state import load_place

_PROBLEMS_SHOWN = 5


def train_command(
    configure: Callable[[Skeleton], FramesConfig] | CrossnetsConfig | DetectorTraining,
    *,
    data: str | None,
    unlabelled: tuple[str, ...],
    labels: str,
    trust_labels: bool = False,
    budget: str | None,
    epochs: tuple[str, ...] = (),
    batch_size: tuple[str, ...] = (),
    learning_rate: tuple[str, ...] = (),
    stages: tuple[str, ...] = (),
    init: Path | None = None,
    out: Path,
    threads: int | None,
    machine: Machine | None = None,
) -> None:
    """Open the data, crop it and train, or resume the run in `out`.

    `configure` makes the training for the skeleton of the data, or it is a training that renders its data.

    Raises:
        ValueError: the data, the labels or the run folder are not what the arguments say, the labels do not fit the
            images, or a number is out of range.
        OSError: a folder is missing or unreadable.
    """
    machine = machine or choose_machine()
    with ranks.joined(machine.device):
        _train(
            configure,
            data=data,
            unlabelled=unlabelled,
            labels=labels,
            trust_labels=trust_labels,
            budget=budget,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            stages=stages,
            init=init,
            out=out,
            threads=threads,
            machine=machine,
        )


def _train(
    configure: Callable[[Skeleton], FramesConfig] | CrossnetsConfig | DetectorTraining,
    *,
    data: str | None,
    unlabelled: tuple[str, ...],
    labels: str,
    trust_labels: bool,
    budget: str | None,
    epochs: tuple[str, ...],
    batch_size: tuple[str, ...],
    learning_rate: tuple[str, ...],
    stages: tuple[str, ...],
    init: Path | None,
    out: Path,
    threads: int | None,
    machine: Machine,
) -> None:
    console = Console(stderr=True, quiet=not ranks.first())
    if threads is not None:
        if threads < 1:
            raise ValueError(f"--threads {threads}: expected 1 or more, or none given for all of the processor.")
        torch.set_num_threads(threads)
    parse_labels(labels)
    if data is None and labels != "all":
        raise ValueError(f"--labels {labels} chooses among the labelled frames of --data, which is not given.")
    labelled = None if data is None else open_dataset(data)
    others = [open_dataset(spec) for spec in unlabelled]
    config = _config(configure, data, labelled, unlabelled)
    chosen = with_epochs(only_stages(config.stages, stages), epochs)
    chosen = with_numbers(chosen, batch_size, "--batch-size", "batch")
    chosen = with_numbers(chosen, learning_rate, "--learning-rate", "lr")
    config = replace(config, stages=chosen, precision=loop.resolve_precision(config.precision, machine.device))
    frames = [identity(dataset) for dataset in ([] if labelled is None else [labelled]) + others]
    asked = {"data": data, "unlabelled": unlabelled, "labels": labels, "budget": budget, "frames": frames}
    if init is not None:
        asked["init"] = str(init)
    if labelled is not None and labelled.skeleton is not None and labelled.skeleton.standard:
        asked["skeleton"] = labelled.skeleton.saved()
    request = run.request_of(config, asked)
    budget_s = None if budget is None else parse_budget(budget)
    with run.held(out) if ranks.first() else nullcontext(run.read(out)) as found:
        if found is not None:
            run.check_same(out, found, request)
        place = ranks.shared(load_place(out))
        if found is None and labelled is not None and ranks.first() and not trust_labels:
            _check_labels(labelled, data, console)
        if found is None and ranks.first():
            run.remove_crops(out)  # left by a start that ended before the run began
        if place is not None and place.stage == len(config.stages):
            console.print(f"{out} is finished. Its model is in {out / 'model'}.", highlight=False, soft_wrap=True)
            return
        options = loop.Options(request=request, budget_s=budget_s, console=console, machine=machine, init=init)
        if isinstance(config, DetectorTraining):
            cameras = ", ".join(source.hands.camera for source in config.scenes.sources)
            _say(console, f"{config.preset} on frames rendered for {cameras}", config, machine)
            loop.train(config, None, out, **options)
            return
        options["maps"] = skeleton_maps(find_skeleton(config.skeleton)) if isinstance(config, CrossnetsConfig) else None
        sources = (*(() if data is None else (data,)), *unlabelled)
        if not ranks.first():
            ranks.wait()  # the first rank writes the crops, the others read them
        crops = _frames(config, labelled, others, options["maps"], labels, out / run.CROPS, sources, console)
        if ranks.first():
            ranks.wait()
        _tell(console, config, crops, out, machine)
        loop.train(config, crops, out, **options)


def _check_labels(labelled: HandDataset, data: str | None, console: Console) -> None:
    """Stop if most labels of a sample do not fit their images. Single ones are reported and used."""
    assert labelled.skeleton is not None
    report = check_sample(labelled, labelled.skeleton)
    if report.cause is not None:
        raise ValueError(
            f"The labels of {data} do not seem right. {report.cause} `crossnets data info` checks all frames. "
            "--trust-labels trains on them as they are."
        )
    if report.bad:
        console.print(
            f"Labels that do not fit their images: {len(report.bad)} of {report.frames} that were checked, first "
            f"{report.bad[0]}. They are used. `crossnets data info` lists all.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _frames(
    config: FramesConfig | CrossnetsConfig,
    labelled: HandDataset | None,
    others: list[HandDataset],
    maps: dict[str, Float32[np.ndarray, "K J"]] | None,
    labels: str,
    crops: Path,
    sources: tuple[str, ...],
    console: Console,
) -> TrainingFrames:
    """Render or read the frames, or both, into the folder `crops`."""
    own = find_skeleton(config.skeleton)
    taught = None
    if isinstance(config, CrossnetsConfig) and config.real is not None:
        assert maps is not None
        assert labelled is not None
        assert labelled.skeleton is not None
        weights = real.label_weights(labelled.skeleton, own, maps)
        taught = real.Labels(labelled, labels, config.seed, config.real, weights)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("cropping" if isinstance(config, FramesConfig) else "rendering", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if isinstance(config, FramesConfig):
            assert labelled is not None
            return prepare(
                labelled, others, config.crop, labels=labels, seed=config.seed, cache=crops, sources=sources,
                on_progress=show,
            )  # fmt: skip
        frames = rendering.kept(config.rendered, own, crops, show)
        if not sources:
            return frames
        bar.update(task, description="cropping")
        return real.with_real_frames(
            frames, taught, others, config.crop, cache=crops, sources=sources, on_progress=show
        )


def _config(
    configure: Callable[[Skeleton], FramesConfig] | CrossnetsConfig | DetectorTraining,
    data: str | None,
    labelled: HandDataset | None,
    unlabelled: tuple[str, ...],
) -> loop.AnyTraining:
    """The training with settings that depend on its data."""
    if labelled is not None and labelled.skeleton is None:
        raise ValueError(f"{data} has no labels, so nothing can be learned from it. Give it as --unlabelled.")
    if isinstance(configure, DetectorTraining):
        if labelled is not None or unlabelled:
            raise ValueError(
                f"The preset {configure.preset} trains on rendered frames alone: leave --data and --unlabelled out, "
                "or take --preset paper or crossnets."
            )
        return configure
    if isinstance(configure, CrossnetsConfig):
        asked = configure.real or real.real_config(configure.rendered, configure.crop)
        return replace(configure, real=None if labelled is None else asked)
    if labelled is None or labelled.skeleton is None:
        raise ValueError("Give labelled frames as --data, such as cvar:PATH#P1,P4; --preset paper needs them.")
    config = configure(labelled.skeleton)
    if isinstance(config, OwnConfig) and unlabelled:
        raise ValueError(f"The network {config.preset} learns from labelled frames alone: leave --unlabelled out.")
    if config.crop.centers == "label" and unlabelled:
        raise ValueError("--centers label needs a label on every frame, so it does not go with --unlabelled.")
    return config


def _where(machine: Machine) -> str:
    """The device in words."""
    if machine.device.type == "cuda":
        return torch.cuda.get_device_name(machine.device)
    return f"{torch.get_num_threads()} threads"


def _say(console: Console, what: str, config: TrainConfig, machine: Machine) -> None:
    console.print(f"{what}, {config.precision}, {_where(machine)}", highlight=False)


def _tell(
    console: Console, config: FramesConfig | CrossnetsConfig, frames: TrainingFrames, out: Path, machine: Machine
) -> None:
    """Print the frames and the device of the training. Frames that are left out are listed in problems.jsonl."""
    scratch = isinstance(config, PaperConfig) and not config.networks.shared_latent
    used = len(frames.unlabelled) if terms_of(config).unlabelled and not scratch else 0
    what = f"{len(frames.labelled)} {'labelled' if isinstance(config, FramesConfig) else 'rendered'}"
    if frames.real is not None:
        what = f"{what}, {len(frames.real.patches)} labelled real"
        used = max(0, used - len(frames.real.patches))
    _say(
        console,
        f"{config.preset} on {find_skeleton(config.skeleton).name}: {what} and {used} unlabelled frames",
        config,
        machine,
    )
    if frames.problems and ranks.first():
        path = out / PROBLEMS_FILE
        write_problems(path, frames.problems)
        console.print(f"{len(frames.problems)} frames or label lines are left out, listed in {path}:", highlight=False)
        for problem in frames.problems[:_PROBLEMS_SHOWN]:
            console.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
