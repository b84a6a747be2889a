"""`crossnets train`: data sets to a run folder."""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from rich.console import Console
from rich.progress import Progress

from crossnets import ranks
from crossnets.datasets.dataset import PROBLEMS_FILE, HandDataset, Problem, write_problems
from crossnets.datasets.label_checks import check_labels
from crossnets.datasets.left_out import AS_ASKED, WithoutFrames, read_names, write_names
from crossnets.datasets.opening import open_dataset
from crossnets.geometry.skeleton import Skeleton, find_skeleton, weights_between
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.training import loop, real_frames, rendering, run
from crossnets.training.checkpoints import Place, load_place
from crossnets.training.config import (
    CrossingConfig,
    CrossnetsConfig,
    DetectorTraining,
    FramesConfig,
    OwnConfig,
    PaperConfig,
    TrainConfig,
    ValidationConfig,
    terms_of,
)
from crossnets.training.crops import TrainingFrames, identity, parse_labels, prepare
from crossnets.training.crossing_frames import crossing_frames
from crossnets.training.devices import Machine, choose_machine
from crossnets.training.schedule import EXTENDABLE, only_stages, parse_budget, with_epochs, with_numbers
from crossnets.training.validation import Validation, check_apart, hold_back, parse_share, read_validation

_PROBLEMS_SHOWN = 5
_SEQUENCES_SHOWN = 8


def train_command(
    configure: Callable[[Skeleton], FramesConfig] | CrossnetsConfig | DetectorTraining,
    *,
    data: str | None,
    unlabelled: tuple[str, ...],
    labels: str,
    trust_labels: bool = False,
    leave_out: Path | None = None,
    skip_bad_labels: bool = False,
    validation: str | None = None,
    patience: int | None = None,
    budget: str | None,
    epochs: tuple[str, ...] = (),
    batch_size: tuple[str, ...] = (),
    learning_rate: tuple[str, ...] = (),
    stages: tuple[str, ...] = (),
    init: Path | None = None,
    freeze: tuple[str, ...] = (),
    extend: bool = False,
    out: Path,
    threads: int | None,
    machine: Machine | None = None,
) -> None:
    """Open the data, crop it and train, or resume the run in `out`.

    `configure` makes the training for the skeleton of the data, or it is a training that renders its data.

    Raises:
        ValueError: the data, the labels, the validation or the run folder are not what the arguments say, the labels do
            not fit the images, or a number is out of range.
        OSError: a folder is missing or unreadable.
    """
    machine = machine or choose_machine()
    with ranks.joined(machine.device):
        if threads is not None:
            if threads < 1:
                raise ValueError(f"--threads {threads}: expected 1 or more, or none given for all of the processor.")
            torch.set_num_threads(threads)
        config, opened = _opened(configure, data, unlabelled, labels, validation)
        opened = replace(opened, **_left_out(opened, leave_out, skip_bad_labels=skip_bad_labels))
        chosen = with_epochs(only_stages(config.stages, stages), epochs)
        chosen = with_numbers(chosen, batch_size, "--batch-size", "batch")
        chosen = with_numbers(chosen, learning_rate, "--learning-rate", "lr")
        precision = loop.resolve_precision(config.precision, machine.device)
        config = replace(config, stages=chosen, precision=precision, freeze=freeze)
        if freeze and init is None:
            raise ValueError(f"--freeze {freeze[0]} keeps the weights of a model, which --init names. It is not given.")
        if isinstance(config, FramesConfig | CrossnetsConfig) and validation is not None:
            config = replace(config, validation=ValidationConfig(patience=patience))
            _check_validated(config)
        asked = opened.request() | {"budget": budget} | ({} if init is None else {"init": str(init)})
        console = Console(stderr=True, quiet=not ranks.first())
        options = loop.Options(
            request=run.request_of(config, asked),
            budget_s=None if budget is None else parse_budget(budget),
            console=console,
            machine=machine,
            init=init,
            extend=extend,
        )
        if extend and run.read(out) is None:
            raise ValueError(
                f"--extend trains a finished run longer, but {out} has none. Leave it out, or check --out."
            )
        with run.held(out) if ranks.first() else nullcontext(run.read(out)) as found:
            _train(config, opened, out, options, found, console, machine, trust_labels=trust_labels)


@dataclass(frozen=True, kw_only=True)
class _Data:
    """The data sets of a training."""

    data: str | None
    unlabelled: tuple[str, ...]
    labels: str
    validation: str | None
    """As on the command line."""
    labelled: HandDataset | None
    """All of `data`."""
    taught: HandDataset | None
    """The part of it that is trained on."""
    others: list[HandDataset]
    held: HandDataset | None
    """The frames of the validation."""
    left_out: tuple[str, ...] = ()
    """Names of frames that are not used."""
    skip_bad: bool = False
    """Whether frames whose label is found to be bad are not used either."""

    def request(self) -> dict[str, Any]:
        """Identity of the data. A resume must ask for the same."""
        frames = [identity(dataset) for dataset in ([] if self.labelled is None else [self.labelled]) + self.others]
        asked = {"data": self.data, "unlabelled": self.unlabelled, "labels": self.labels, "frames": frames}
        labelled = self.labelled
        if labelled is not None and labelled.skeleton is not None and labelled.skeleton.standard:
            asked["skeleton"] = labelled.skeleton.saved()
        if self.left_out:
            digest = hashlib.blake2b("\n".join(sorted(self.left_out)).encode(), digest_size=8).hexdigest()
            asked["leave_out"] = {"names": len(self.left_out), "digest": digest}
        if self.skip_bad:
            asked["skip_bad_labels"] = True
        if self.held is None:
            return asked
        return asked | {"validation": {"source": self.validation, **identity(self.held)}}

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the data sets that are trained on."""
        return (*(() if self.data is None else (self.data,)), *self.unlabelled)

    def without(self, names: tuple[str, ...]) -> "_Data":
        """The data sets without the frames of these names."""
        if not names:
            return self
        left_out = frozenset(names)

        def rest(dataset: HandDataset | None) -> HandDataset | None:
            return None if dataset is None else WithoutFrames(dataset, left_out)

        return replace(
            self,
            labelled=rest(self.labelled),
            taught=rest(self.taught),
            others=[WithoutFrames(dataset, left_out) for dataset in self.others],
            held=rest(self.held),
        )


def _left_out(data: _Data, leave_out: Path | None, *, skip_bad_labels: bool) -> dict[str, Any]:
    """Fields of the data that say which frames are not used."""
    if data.data is None and skip_bad_labels:
        raise ValueError("--skip-bad-labels looks for them in the labelled frames of --data, which is not given.")
    if not data.sources and leave_out is not None:
        raise ValueError(f"--leave-out {leave_out} names frames of --data and --unlabelled, which are not given.")
    return {"left_out": () if leave_out is None else read_names(leave_out), "skip_bad": skip_bad_labels}


def _opened(
    configure: Callable[[Skeleton], FramesConfig] | CrossnetsConfig | DetectorTraining,
    data: str | None,
    unlabelled: tuple[str, ...],
    labels: str,
    validation: str | None,
) -> tuple[loop.AnyTraining, _Data]:
    """Open the data sets, and hold frames of the validation back. Returns the training with settings of its data."""
    parse_labels(labels)
    share = None if validation is None else parse_share(validation)
    for option, value, given in (("--labels", labels, labels != "all"), ("--validation", validation, share)):
        if data is None and given:
            raise ValueError(f"{option} {value} chooses among the labelled frames of --data, which is not given.")
    labelled = None if data is None else open_dataset(data)
    others = [open_dataset(spec) for spec in unlabelled]
    config = _config(configure, data, labelled, unlabelled)
    taught = labelled
    held = None
    if validation is not None:
        if isinstance(config, DetectorTraining):
            raise ValueError(f"--validation: the preset {config.preset} estimates no joints whose errors are in mm.")
        trained = list(zip(unlabelled, others, strict=True))
        if share is None:
            held = open_dataset(validation)
            source = validation
            if data is not None and labelled is not None:
                trained.append((data, labelled))
        else:
            assert data is not None
            assert labelled is not None
            taught, held = hold_back(labelled, share, config.seed)
            source = data
        check_held(held, validation, config)
        check_apart(held, source, trained)
    return config, _Data(
        data=data, unlabelled=unlabelled, labels=labels, validation=validation, labelled=labelled, taught=taught,
        others=others, held=held,
    )  # fmt: skip


def check_held(held: HandDataset, validation: str, config: FramesConfig | CrossnetsConfig) -> None:
    """Refuse frames that the networks cannot be validated on.

    Raises:
        ValueError: the frames have no labels, or labels of joints that the networks do not give.
    """
    if held.skeleton is None:
        raise ValueError(f"--validation {validation} has no labels, so no error can be computed on it.")
    own = find_skeleton(config.skeleton)
    maps = skeleton_maps(own) if isinstance(config, CrossnetsConfig) else {}
    if held.skeleton != own and weights_between(own, held.skeleton, maps) is None:
        known = ", ".join(sorted({own.name, *maps}))
        raise ValueError(
            f"The labels of --validation have the skeleton {held.skeleton.name}, with joints that the networks do not "
            f"give. Expected {known}, or a declared skeleton whose joints have standard joints of these."
        )


def _check_validated(config: loop.AnyTraining) -> None:
    """Refuse a validation of stages that do not train what predicts joints."""
    if all(loop.steps_between_validations(config, stage, 1) is None for stage in config.stages):
        names = ", ".join(stage.name for stage in config.stages)
        raise ValueError(f"--validation: the stages {names} do not train what predicts joints. Leave it out.")


def _train(
    config: loop.AnyTraining,
    data: _Data,
    out: Path,
    options: loop.Options,
    found: dict[str, Any] | None,
    console: Console,
    machine: Machine,
    *,
    trust_labels: bool,
) -> None:
    """Train in `out`, or resume the run that was found there."""
    place = ranks.shared(load_place(out))
    finished = found is not None and place is not None and _is_finished(config, found, place)
    options["extend"] = _extends(out, found, options["request"], finished=finished, asked=options.get("extend", False))
    if found is None and ranks.first():
        if not trust_labels or data.skip_bad:
            bad = _check_labels(data.without(data.left_out), console, trust=trust_labels)
            if data.skip_bad:
                write_names(out / run.LEFT_OUT, bad)
        run.remove_crops(out)  # left by a start that ended before the run began
    if finished and not options["extend"]:
        console.print(f"{out} is finished. Its model is in {out / 'model'}.", highlight=False, soft_wrap=True)
        return
    if isinstance(config, DetectorTraining):
        cameras = ", ".join(source.hands.camera for source in config.scenes.sources)
        _say(console, f"{config.preset} on frames rendered for {cameras}", config, machine)
        loop.train(config, None, out, **options)
        return
    options["maps"] = skeleton_maps(find_skeleton(config.skeleton)) if isinstance(config, CrossnetsConfig) else None
    data = data.without((*data.left_out, *_skipped(data, out)))
    if not ranks.first():
        ranks.wait()  # the first rank writes the crops, the others read them
    crops = _frames(config, data, options["maps"], out / run.CROPS, console)
    if ranks.first():
        ranks.wait()
    _check_names(data, crops.problems, console)
    _tell(console, config, crops, out, machine)
    if data.held is not None and ranks.first():
        options["validation"] = _validation(config, data.held, console)
    loop.train(config, crops, out, **options)


def _is_finished(config: loop.AnyTraining, found: dict[str, Any], place: Place) -> bool:
    return place.stage == len(config.stages) and place.extension == len(run.extensions(found))


def _extends(out: Path, found: dict[str, Any] | None, request: dict[str, Any], *, finished: bool, asked: bool) -> bool:
    """Whether a finished run is to be trained longer. A run that is not finished, or not longer, is only resumed.

    Raises:
        ValueError: the settings are others than those of the run.
    """
    if found is None:
        return False
    longer = run.is_longer(found, request)
    if longer and asked and finished:
        return True
    hint = ""
    if longer and finished:
        hint = " To train it longer, add --extend."
    elif longer and asked:
        hint = " It is not finished: --extend trains finished runs longer."
    elif asked:
        hint = f" --extend changes --budget, and --epochs of {', '.join(EXTENDABLE)}, alone."
    run.check_same(out, found, request, hint)
    return False


def _skipped(data: _Data, out: Path) -> tuple[str, ...]:
    """Names of the frames with bad labels, which were found when the run began."""
    if not data.skip_bad:
        return ()
    return ranks.shared(read_names(out / run.LEFT_OUT) if ranks.first() else None)


def _check_names(data: _Data, problems: tuple[Problem, ...], console: Console) -> None:
    """Say which frames that were to be left out are not among those of the training.

    Raises:
        ValueError: none is.
    """
    names = {problem.path.as_posix() for problem in problems if problem.what == AS_ASKED}
    others = [name for name in data.left_out if name not in names]
    if not others:
        return
    told = (
        f"{len(others)} of the {len(data.left_out)} names of --leave-out are not among the frames of the training, "
        f"first {others[0]}."
    )
    if len(others) == len(data.left_out) and data.held is None:
        raise ValueError(f"{told} Expected names as `crossnets data info --bad-labels FILE` writes them.")
    console.print(told, markup=False, highlight=False, soft_wrap=True)


def _check_labels(data: _Data, console: Console, *, trust: bool) -> list[Problem]:
    """Check the labels that are trained on and those of a validation with a source of its own.

    Returns the frames whose label is bad: all if they are to be skipped, else those of a sample.
    """
    bad: list[Problem] = []
    # Frames of a share are held back from the data, so their labels are among those of the data.
    apart = data.validation is not None and parse_share(data.validation) is None
    for labelled, source in ((data.labelled, data.data), (data.held if apart else None, data.validation)):
        if labelled is not None:
            bad += _check_labels_of(labelled, source, console, trust=trust, skip=data.skip_bad)
    return bad


def _check_labels_of(
    labelled: HandDataset, data: str | None, console: Console, *, trust: bool, skip: bool
) -> tuple[Problem, ...]:
    """Stop if most labels do not fit their images. Single ones are reported, and returned."""
    assert labelled.skeleton is not None
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("checking labels", total=None)
        report = check_labels(
            labelled,
            labelled.skeleton,
            every_frame=skip,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if report.cause is not None and not trust:
        raise ValueError(
            f"The labels of {data} do not seem right. {report.cause} `crossnets data info` checks all frames. "
            "--trust-labels trains on them as they are."
        )
    if report.bad:
        told = (
            "They are left out."
            if skip
            else "They are used. `crossnets data info` lists all, and --skip-bad-labels leaves them out."
        )
        console.print(
            f"Labels that do not fit their images: {len(report.bad)} of {report.frames} that were checked, first "
            f"{report.bad[0]}. {told}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return report.bad


def _frames(
    config: FramesConfig | CrossnetsConfig,
    data: _Data,
    maps: dict[str, Float32[np.ndarray, "K J"]] | None,
    crops: Path,
    console: Console,
) -> TrainingFrames:
    """Render or read the frames, or both, into the folder `crops`."""
    own = find_skeleton(config.skeleton)
    labelled, others, labels, sources = data.taught, data.others, data.labels, data.sources
    taught = None
    if isinstance(config, CrossnetsConfig) and config.real is not None:
        assert maps is not None
        assert labelled is not None
        assert labelled.skeleton is not None
        weights = real_frames.label_weights(labelled.skeleton, own, maps)
        taught = real_frames.Labels(labelled, labels, config.seed, config.real, weights)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("cropping" if isinstance(config, FramesConfig) else "rendering", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if isinstance(config, FramesConfig):
            assert labelled is not None
            if isinstance(config, CrossingConfig):
                return crossing_frames(
                    labelled, others, config, labels=labels, cache=crops, sources=sources, on_progress=show
                )
            return prepare(
                labelled, others, config.crop, labels=labels, seed=config.seed, cache=crops, sources=sources,
                on_progress=show,
            )  # fmt: skip
        frames = rendering.kept(config.rendered, own, crops, show)
        if not sources:
            return frames
        bar.update(task, description="cropping")
        return real_frames.with_real_frames(
            frames, taught, others, config.crop, cache=crops, sources=sources, on_progress=show
        )


def _validation(config: FramesConfig | CrossnetsConfig, held: HandDataset, console: Console) -> Validation:
    """Read the frames of the validation, and say which they are."""
    passes = config.passes if isinstance(config, CrossnetsConfig | CrossingConfig) else 1
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("validation", total=None)
        found = read_validation(
            held, config.crop, passes, lambda done, total: bar.update(task, completed=done, total=total)
        )
    names = sorted({held.sequence_of(index) for index in range(len(held))})
    shown = ", ".join(names[:_SEQUENCES_SHOWN]) + (" ..." if len(names) > _SEQUENCES_SHOWN else "")
    told = f"validation on {len(found.frames)} of {len(held)} frames of {shown}"
    console.print(told, markup=False, highlight=False, soft_wrap=True)
    if found.problems:
        left_out = f"{len(found.problems)} frames are left out of the validation, first {found.problems[0]}"
        console.print(left_out, markup=False, highlight=False, soft_wrap=True)
    return found


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
        asked = configure.real or real_frames.real_config(configure.rendered, configure.crop)
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
