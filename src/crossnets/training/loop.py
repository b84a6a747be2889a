"""The only training loop: stages in order, checkpoints, exact resume."""

import copy
import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, NotRequired, TypeAlias, TypedDict, Unpack, overload

import numpy as np
import torch
from jaxtyping import Float32
from rich.console import Console
from torch import Tensor

from crossnets import ranks
from crossnets.geometry.skeleton import find_skeleton
from crossnets.inference import bundle
from crossnets.inference.torch_models import Detector, Estimator
from crossnets.models.dense_crossing import DenseCrossing
from crossnets.models.detector import DetectorNet
from crossnets.models.networks import Networks, build, differ_in_joints_alone, rearranged, without_hand_output
from crossnets.models.paper import CrossingNets
from crossnets.tensors import RenderedBatch, SceneBatch
from crossnets.training import checkpoints, progress, rendering, run, scenes, schedule
from crossnets.training.batch_norm import BATCHES, Averages
from crossnets.training.batches import Draw, Timed
from crossnets.training.config import CrossnetsConfig, DetectorTraining, FramesConfig, Precision, StageConfig, terms_of
from crossnets.training.crops import TrainingFrames, seed_of
from crossnets.training.devices import Machine, choose_machine, crops_on, set_up, threads_for
from crossnets.training.freeze import freeze, without_frozen
from crossnets.training.make_stage import make_stage
from crossnets.training.stage import DirectStage, Losses, Stage
from crossnets.training.validation import Validation

_CALIBRATION_STEPS = 3
_FETCHED_STEPS = 20
"""Steps on a GPU whose losses are fetched together: a fetch waits until all work before it is done."""
AnyTraining: TypeAlias = FramesConfig | CrossnetsConfig | DetectorTraining
Stream: TypeAlias = Iterator[RenderedBatch] | Iterator[SceneBatch] | None


class Options(TypedDict):
    """Options of `train`."""

    request: dict[str, Any]
    """Identity of the run. It is stored with the run and compared when the run is resumed."""
    budget_s: NotRequired[float | None]
    """Shorten the stages to take about this long in all."""
    console: NotRequired[Console | None]
    """Where progress is shown."""
    maps: NotRequired[dict[str, Float32[np.ndarray, "K J"]] | None]
    """From the networks' joints to those of other skeletons, for the model."""
    machine: NotRequired[Machine | None]
    """By default the GPU if torch sees one, and a rendering process for each core but one."""
    init: NotRequired[Path | None]
    """Run or model folder whose weights the training starts from."""
    validation: NotRequired[Validation | None]
    """Frames of the validation that the training's config asks for. The first rank alone needs them."""
    deadline_s: NotRequired[float]
    """Seconds after the start at which a stage ends, whatever its plan says, for trainings that a person waits for. A
    busy machine takes several times the planned time otherwise."""
    extend: NotRequired[bool]
    """Train a finished run longer, whose settings differ in the length of stages alone."""


class TrainingStoppedError(Exception):
    """The training was asked to stop. Its checkpoint is written."""


class DivergedError(Exception):
    """A loss or a weight became infinite or not a number."""


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """`auto`: bfloat16 where the device multiplies it fast, else float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        fast = able.get("avx512_bf16", False) or able.get("amx_bf16", False)
    return "bf16-mixed" if fast else "32-true"


def mixed_precision(device: torch.device, precision: Precision) -> torch.autocast:
    """bfloat16 where `precision` says so.

    Weights that were rounded once must not be kept: those of a pass without gradients, such as the generator's in the
    discriminator's step, would be taken again in the generator's own step, and no gradient would reach it.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed", cache_enabled=False)


@dataclass
class _Best:
    """The lowest validation error of a training so far."""

    error_mm: float | None = None
    fruitless: int = 0
    """As in `checkpoints.Place`."""
    weights: dict[str, Tensor] | None = None
    """Weights with that error, while a stage with validation runs. Outside of such stages the networks have them."""


@dataclass
class _Session:
    """State that the parts of one training share."""

    config: AnyTraining
    frames: TrainingFrames | None
    out: Path
    machine: Machine
    networks: Networks | DetectorNet
    maps: dict[str, Float32[np.ndarray, "K J"]]
    plan: list[int]
    started: float
    stop: threading.Event
    crops: Tensor | None
    """As returned by `devices.crops_on`."""
    validation: Validation | None
    """On the first rank of a training with validation."""
    begins_with_a_model: bool
    """Whether the training starts from another model's weights."""
    deadline_s: float | None = None
    """As in `Options`."""
    best: _Best = field(default_factory=_Best)
    starts: list[int] = field(default_factory=list)
    """Steps of each stage that were done before the run was extended."""
    extension: int = 0
    """As in `checkpoints.Place`."""

    def next_stage(self, number: int) -> int:
        """Number of the first stage from `number` on that has steps to do, or of all stages."""
        return next((n for n in range(number, len(self.plan)) if self.starts[n] < self.plan[n]), len(self.plan))

    @property
    def device(self) -> torch.device:
        return self.machine.device

    @property
    def epoch_frames(self) -> int:
        """Frames of one round."""
        if isinstance(self.config, DetectorTraining):
            return self.config.scenes.epoch_frames
        assert self.frames is not None
        return len(self.frames)

    def draw(self, stage: StageConfig, step: int, rendered: Stream) -> Draw:
        config = self.config
        return Draw(
            self.frames,
            stage,
            step,
            config.seed,
            self.device,
            terms_of(config).unlabelled,
            rendered,
            self.crops,
            crop_damage=config.rendered.damage if isinstance(config, CrossnetsConfig) else None,
            scene_damage=config.scenes.damage if isinstance(config, DetectorTraining) else None,
        )

    @contextmanager
    def stream(self, stage: StageConfig, first: int, total: int, machine: Machine | None = None) -> Iterator[Stream]:
        """The rendered hands of a stage. None for stages that take none."""
        config, machine = self.config, machine or self.machine
        if isinstance(config, CrossnetsConfig) and stage.name == "estimate":
            with rendering.stream(config.rendered, stage.batch, first, total, machine) as batches:
                yield batches
        elif isinstance(config, DetectorTraining):
            with scenes.stream(config.scenes, stage.batch, first, total, machine) as batches:
                yield batches
        else:
            yield None

    def stage(self, config: StageConfig, networks: Networks | DetectorNet) -> Stage:
        """The code of a stage, with fresh optimisers of what is not frozen."""
        return without_frozen(make_stage(networks, config, terms_of(self.config)), config.name)

    def averages(self, stage: Stage, config: StageConfig, total: int) -> Averages | None:
        """The running averages to compute again in a stage of `total` steps. None if they are right as they are.

        The images are those of the steps that would come next.
        """
        if self.config.precision != "bf16-mixed" or not isinstance(stage, DirectStage):
            return None

        def images() -> list[Tensor]:
            end = total + BATCHES
            with self.stream(config, total, end, replace(self.machine, workers=0)) as rendered:
                return [stage.images(self.draw(config, step, rendered)) for step in range(total, end)]

        return Averages(stage.direct, images)

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_s is not None and time.monotonic() - self.started > self.deadline_s

    def model(self) -> Estimator | Detector:
        """A copy of the best model so far, or without validation of the present one, on the processor."""
        networks = copy.deepcopy(self.networks).cpu()
        if self.best.weights is not None:
            networks.load_state_dict(self.best.weights)
        return self._model_of(networks)

    def error_mm(self) -> float:
        """Error of the model in its present state on the frames of the validation."""
        assert self.validation is not None
        estimator = self._model_of(copy.deepcopy(self.networks))
        assert isinstance(estimator, Estimator)
        return self.validation.error_mm(estimator)

    def _model_of(self, networks: Networks | DetectorNet) -> Estimator | Detector:
        """The model with these networks, which it puts into their state for predictions."""
        if isinstance(self.config, DetectorTraining):
            assert isinstance(networks, DetectorNet)
            return self.config.model(networks)
        assert not isinstance(networks, DetectorNet)
        return self.config.model(networks, self.maps)

    def generator(self, *parts: int | str) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self.config.seed, *parts))


@overload
def train(config: DetectorTraining, frames: None, out: Path, **options: Unpack[Options]) -> Detector: ...
@overload
def train(
    config: FramesConfig | CrossnetsConfig, frames: TrainingFrames, out: Path, **options: Unpack[Options]
) -> Estimator: ...
def train(
    config: AnyTraining, frames: TrainingFrames | None, out: Path, **options: Unpack[Options]
) -> Estimator | Detector:
    """Train into the run folder `out`, or resume from its checkpoint.

    Args:
        config: The training. Its precision must be resolved.
        frames: Crops and poses. None for a detector, which renders all its frames.
        out: The run folder.
        options: See `Options`.

    Raises:
        ValueError: `out` was begun with other settings, its checkpoint is damaged, `init` holds other networks, or
            nothing is left to train.
        TrainingStoppedError: on SIGINT or SIGTERM, after writing a checkpoint.
        DivergedError: a loss or a weight became infinite or not a number. The last checkpoint stays.
    """
    console = options.get("console") or Console(stderr=True)
    machine = options.get("machine") or choose_machine()
    init = options.get("init")
    assert config.precision != "auto"
    started = time.monotonic()
    set_up(machine.device, exact=config.precision == "32-true")
    networks = _networks(config)
    if isinstance(networks, CrossingNets | DenseCrossing):
        assert frames is not None
        networks.vae.init_from_pca(torch.from_numpy(frames.y if frames.poses is None else frames.poses.y))
    if init is not None:
        _start_from(init, networks, config)
    freeze(networks, config.freeze)
    networks.to(machine.device)
    crops = None if frames is None else crops_on(machine.device, frames)
    maps = options.get("maps") or {}
    with _stop_signals() as stop:
        validation = options.get("validation")
        session = _Session(
            config, frames, out, machine, networks, maps, [], started, stop, crops, validation, init is not None
        )
        session.deadline_s = options.get("deadline_s")
        for stage in config.stages:
            session.stage(stage, networks)  # refuses to freeze all that a stage trains
        found = _plan(session, options["request"], options.get("budget_s"), extend=options.get("extend", False))
        session.plan = found["plan"]
        session.extension = len(run.extensions(found))
        session.starts = run.extensions(found)[-1]["starts"] if session.extension else [0] * len(session.plan)
        _run_stages(session, console)
    return session.model()


def steps_between_validations(config: AnyTraining, stage: StageConfig, steps: int) -> int | None:
    """Steps from one validation to the next in a stage of this many steps. None for a stage without validation.

    Only stages that train what predicts joints are validated. The networks around the estimator of the preset
    `crossnets` do not change its joints.
    """
    if isinstance(config, DetectorTraining) or config.validation is None:
        return None
    validated = ("estimate",) if isinstance(config, CrossnetsConfig) else ("warm_up", "joint", "regression", "own")
    return config.validation.every(steps) if stage.name in validated else None


def _start_from(init: Path, networks: Networks | DetectorNet, config: AnyTraining) -> None:
    """Copy the weights of another model of the same networks. Joints are matched by their place on the hand."""
    found = bundle.load_detector(init) if isinstance(networks, DetectorNet) else bundle.load(init)
    if isinstance(config, DetectorTraining) or isinstance(found, Detector):
        fits = found.config.networks == config.networks
    else:
        fits = differ_in_joints_alone(found.config.networks, config.networks)
    if not fits:
        there, here = ({"networks": asdict(one.networks)} for one in (found.config, config))
        differing = run.differences(there, here).items()
        listed = "; ".join(f"{key}: {old!r} there, {new!r} here" for key, (old, new) in list(differing)[:6])
        raise ValueError(
            f"--init {init}: its networks are others than those of this training ({listed}). Start from a model of the "
            "same preset and sizes."
        )
    weights = without_hand_output(found.networks.state_dict())
    own = find_skeleton(config.skeleton)
    if isinstance(found, Estimator) and found.own_skeleton != own:
        ours, theirs = own.shared_with(found.own_skeleton)
        weights = rearranged(weights, len(own), ours, theirs)
    networks.load_state_dict(weights)


def _networks(config: AnyTraining) -> Networks | DetectorNet:
    """Networks with random weights."""
    generator = torch.Generator().manual_seed(seed_of(config.seed, "weights"))
    if isinstance(config, DetectorTraining):
        return DetectorNet(config.networks, generator)
    return build(config.networks, generator)


def _plan(session: _Session, request: dict[str, Any], budget_s: float | None, *, extend: bool) -> dict[str, Any]:
    """The run's config with the steps of each stage. A new or longer run determines them, a resumed run reads them."""
    found = ranks.shared(run.read(session.out))
    if found is not None and extend:
        return _extended(session, found, request, budget_s)
    if found is not None:
        run.check_same(session.out, found, request)
        return found
    for stage in session.config.stages:
        ranks.check_batch(stage.batch, f"The stage {stage.name}")
    if budget_s is not None:
        budget_s = _without_validations(session, budget_s)
    plan = schedule.steps_within(
        session.config.stages, session.epoch_frames, budget_s, lambda stage: _seconds_per_step(session, stage)
    )
    plan = ranks.shared(plan)
    if ranks.first():
        run.begin(session.out, request, plan, str(session.device))
    return {**request, "plan": plan}


def _extended(
    session: _Session, found: dict[str, Any], request: dict[str, Any], budget_s: float | None
) -> dict[str, Any]:
    """Store a longer plan for a finished run. From then on the run is not finished, and is resumed like any other.

    Raises:
        ValueError: other settings differ, or the run would not be longer.
    """
    stages = session.config.stages
    if not run.is_longer(found, request):
        run.check_same(session.out, found, request)
    place = checkpoints.load_place(session.out)
    assert place is not None
    more_s = None if budget_s is None else budget_s - place.elapsed_s
    if more_s is not None and more_s <= 0:
        raise ValueError(
            f"{session.out} was trained for {place.elapsed_s:.0f} s, which is not less than --budget. The budget of an "
            "extension includes the time until now: give a larger one."
        )
    ended = [checkpoints.end_step(session.out, stage.name) for stage in stages]
    done = [steps if end is None else end for end, steps in zip(ended, found["plan"], strict=True)]
    plan = schedule.extended_steps(
        stages,
        done,
        session.epoch_frames,
        None if more_s is None else _without_validations(session, more_s),
        lambda stage: _seconds_per_step(session, stage),
    )
    plan = ranks.shared(plan)
    if plan == done:
        names = " or ".join(stage.name for stage in stages if stage.name in schedule.EXTENDABLE) or "no stage"
        raise ValueError(
            f"{session.out} would not be trained longer: --epochs and --budget allow no more steps of {names} than "
            "were done. Give more of them."
        )
    longer = [steps > before for steps, before in zip(plan, done, strict=True)]
    starts = [before if more else steps for before, steps, more in zip(done, plan, longer, strict=True)]
    if ranks.first():
        return ranks.shared(run.extend(session.out, found, request, plan, starts))
    return ranks.shared(None)


def _seconds_per_step(session: _Session, config: StageConfig) -> float:
    """Seconds of the fastest of a few steps on a copy of the networks. Other load must not shorten a plan."""
    networks = copy.deepcopy(session.networks)
    stage = session.stage(config, networks)
    times = []
    with threads_for(config.name), session.stream(config, 0, 2) as batches:
        rendered: Any = None if batches is None else itertools.repeat(next(batches))
        for step in range(_CALIBRATION_STEPS):
            began = time.perf_counter()
            _step(session, stage, config, step, _CALIBRATION_STEPS, rendered)
            if session.device.type == "cuda":
                torch.cuda.synchronize(session.device)
            times.append(time.perf_counter() - began)
    return min(times)


def _without_validations(session: _Session, budget_s: float) -> float:
    """Time that is left for steps, at least half of a budget."""
    return max(budget_s / 2, budget_s - _seconds_of_validations(session))


def _seconds_of_validations(session: _Session) -> float:
    """Seconds that all validations of a training will take. Zero on ranks that do not validate."""
    if session.validation is None or isinstance(session.config, DetectorTraining) or session.config.validation is None:
        return 0.0
    validated = [
        stage for stage in session.config.stages if steps_between_validations(session.config, stage, 1) is not None
    ]
    seconds = len(validated) * _seconds_of(session.error_mm)
    for config in validated:
        stage = session.stage(config, copy.deepcopy(session.networks))
        averages = session.averages(stage, config, 0)
        if averages is not None:
            averages.compute()  # it reads its images the first time only
            seconds += _seconds_of(averages.compute)
    return session.config.validation.times * seconds


def _seconds_of(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _step(
    session: _Session,
    stage: Stage,
    config: StageConfig,
    step: int,
    total: int,
    rendered: Stream,
) -> Losses:
    """One update. The losses stay on the device, so that nothing waits for a GPU."""
    rate = schedule.learning_rate(config, step, session.epoch_frames, total)
    for optimiser in stage.optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = rate
    with mixed_precision(session.device, session.config.precision):
        losses = stage.step(session.draw(config, step, rendered), session.generator(config.name, step))
    return {name: value.detach() for name, value in losses.items()}


def _run_stages(session: _Session, console: Console) -> None:
    config, out = session.config, session.out
    found = checkpoints.load_place(out)
    place = found or checkpoints.Place(0, 0, 0.0)
    if place.extension < session.extension:  # the extension has no checkpoint of its own yet
        place = replace(place, stage=session.next_stage(0), step=0, fruitless=0, extension=session.extension)
    ranks.wait()  # until all have read the place that the first rank will go on from
    if ranks.first():
        first_event = progress.cut_log(out, place.stage, place.step, place.extension)
        reporter = progress.Reporter(out, console, first_event, place.extension)
    else:
        reporter = progress.Listener()
    session.networks.train()
    freeze(session.networks, config.freeze)
    try:
        if found is not None and place.stage < len(config.stages):
            step = place.step or session.starts[place.stage]
            console.print(f"Going on in {out} at stage {place.stage + 1}, step {step}.", highlight=False)
            for change in run.applied(run.read(out) or {}, config):
                console.print(f"Changed since the run began: {change}.", highlight=False)
            for change in run.changes(out, str(session.device)):
                console.print(f"Not bit for bit as it would have been: {change}.", highlight=False)
        if found is not None:
            checkpoints.restore(out, session.networks, None)
            session.best = _Best(place.best_mm, place.fruitless, checkpoints.load_best(out))
        number = place.stage
        while number < len(config.stages):
            resumed = place.step if number == place.stage else 0
            with threads_for(config.stages[number].name):
                _run_stage(session, reporter, number, resumed, place.elapsed_s)
            number = session.next_stage(number + 1)
    finally:
        reporter.close()
    ranks.wait()
    if ranks.first():
        run.remove_crops(out)
    console.print(f"Done: {out / 'model'}", highlight=False, soft_wrap=True)


def _run_stage(session: _Session, reporter: progress.Listener, number: int, resumed: int, before_s: float) -> None:
    """Run the steps of a stage from `resumed` on, or if that is 0, from its start."""
    config, total = session.config.stages[number], session.plan[number]
    stage = session.stage(config, session.networks)
    first = resumed or session.starts[number]
    _restore_optimisers(session, number, stage, resumed)
    saved = time.monotonic()

    def checkpoint(at_stage: int, at_step: int) -> None:
        report.flush()
        _check_sound(session.networks, config.name, at_step or total, session.out)
        if not ranks.first():
            return
        reporter.flush()
        elapsed = before_s + time.monotonic() - session.started
        best = session.best
        place = checkpoints.Place(at_stage, at_step, elapsed, best.error_mm, best.fruitless, session.extension)
        model = session.out / "model"
        if stage.trains_pose or model.is_dir() or at_stage == len(session.plan):  # before, it would say noise
            bundle.save(session.model(), model)
        checkpoints.save(session.out, place, session.networks, stage.optimisers if at_step else {}, best.weights)

    every = steps_between_validations(session.config, config, total)
    averages = session.averages(stage, config, total)
    ended = total
    with reporter.stage(config.name, total, first), session.stream(config, first, total) as batches:
        rendered: Any = None if batches is None else Timed(batches)
        report = _Report(session, reporter, number, rendered)
        if every is not None and not resumed:
            _begin_validations(session, reporter, number)
        for step in range(first, total):
            ends = session.is_late()
            report.add(step, _step(session, stage, config, step, total, rendered), last=ends or step + 1 == total)
            if every is not None and ((step + 1) % every == 0 or step + 1 == total):
                report.flush()
                ends = _validate(session, reporter, number, step + 1, averages) or ends
            if ends:
                ended = step + 1
                break
            due = time.monotonic() - saved > session.config.checkpoint_s and step + 1 < total
            stop = session.stop.is_set()
            if ranks.size() > 1:
                if not report.flushed:  # ranks agree where they exchange losses
                    continue
                stop, due = ranks.any_of([stop, due], session.device)
            if stop:
                checkpoint(number, step + 1)
                raise TrainingStoppedError(
                    f"Stopped in stage {config.name} after step {step + 1}; the same command goes on from there."
                )
            if due:
                checkpoint(number, step + 1)
                saved = time.monotonic()
    if every is not None:
        _end_validations(session)
    _finish(session, config, ended, stage, averages if every is None else None)
    checkpoint(session.next_stage(number + 1), 0)


def _restore_optimisers(session: _Session, number: int, stage: Stage, resumed: int) -> None:
    """Load those of the checkpoint for a stage that is resumed, and those of its end for one that is extended."""
    if resumed:
        checkpoints.restore(session.out, session.networks, stage.optimisers)
    elif session.starts[number]:
        checkpoints.restore_end(session.out, session.config.stages[number].name, stage.optimisers)


def _finish(session: _Session, config: StageConfig, ended: int, stage: Stage, averages: Averages | None) -> None:
    """Compute the running averages, if given, and keep what an extension needs of a stage of this many steps."""
    if averages is not None:
        averages.compute()
    if config.name in schedule.EXTENDABLE and ranks.first():
        checkpoints.save_end(session.out, config.name, ended, stage.optimisers)


def _begin_validations(session: _Session, reporter: progress.Listener, number: int) -> None:
    """Prepare a stage with validation. A model that the training starts from is the first that can be the best."""
    if session.best.error_mm is not None:
        session.best.weights = _copy_of(session.networks)
    elif session.begins_with_a_model:
        _validate(session, reporter, number, 0)


def _end_validations(session: _Session) -> None:
    """Let the networks have the weights with the lowest error, which later stages go on from."""
    assert session.best.weights is not None
    session.networks.load_state_dict(session.best.weights)
    session.best = _Best(session.best.error_mm)


def _copy_of(networks: Networks | DetectorNet) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in networks.state_dict().items()}


def _validate(
    session: _Session, reporter: progress.Listener, number: int, step: int, averages: Averages | None = None
) -> bool:
    """Compute the validation error after a step on the first rank, report it, and keep the weights of the lowest one.

    The running averages, if given, are computed again before.

    Returns whether the stage ends here, because the patience is exhausted. All ranks decide by the same error.
    """
    if averages is not None:
        averages.compute()
    error_mm = ranks.shared(session.error_mm() if ranks.first() else None)
    if not math.isfinite(error_mm):
        raise _diverged(session.config.stages[number].name, step, f"validation error = {error_mm} mm", session.out)
    best = session.best
    if best.error_mm is None or error_mm < best.error_mm:
        session.best = best = _Best(error_mm, 0, _copy_of(session.networks))
    else:
        best.fruitless += 1
    assert best.error_mm is not None
    reporter.validated(number, step, error_mm, best.error_mm)
    assert not isinstance(session.config, DetectorTraining)
    assert session.config.validation is not None
    patience = session.config.validation.patience
    ends = patience is not None and best.fruitless >= patience and step < session.plan[number]
    if ends:
        reporter.tell(
            f"Stage {session.config.stages[number].name} ends after step {step} of {session.plan[number]}: "
            f"{best.fruitless} validations brought no error below {best.error_mm:.1f} mm."
        )
    return ends


class _Report:
    """Collects the losses of every step, and fetches those of many steps at once from a GPU.

    On a processor each step is fetched by itself, so that a loss that is not a number ends the training at once.
    """

    def __init__(self, session: _Session, reporter: progress.Listener, number: int, rendered: Timed | None) -> None:
        self._out, self._reporter, self._number, self._rendered = session.out, reporter, number, rendered
        self._config = session.config.stages[number]
        self._every = 1 if session.device.type == "cpu" else max(self._config.log_every, _FETCHED_STEPS)
        self._pending: list[tuple[int, Losses]] = []
        self._total = session.plan[number]
        self._since = time.perf_counter()
        self._waited_s = 0.0

    def add(self, step: int, losses: Losses, *, last: bool) -> None:
        self._pending.append((step, losses))
        if len(self._pending) == self._every or last:
            self.flush()

    @property
    def flushed(self) -> bool:
        """Whether no losses are pending."""
        return not self._pending

    def flush(self) -> None:
        """Check all losses that are pending, and write those that the log asks for."""
        if not self._pending:
            return
        stacked = torch.stack([value.float() for _, losses in self._pending for value in losses.values()])
        values = ranks.mean_of(stacked).tolist()
        now, waited_s = time.perf_counter(), 0.0 if self._rendered is None else self._rendered.waited_s
        seconds = max(now - self._since, 1e-9)
        rate = self._config.batch * len(self._pending) / seconds
        waiting = None if self._rendered is None else (waited_s - self._waited_s) / seconds
        self._since, self._waited_s = now, waited_s
        found = iter(values)
        for step, losses in self._pending:
            numbers = {name: next(found) for name in losses}
            _check_finite(numbers, self._config.name, step, self._out)
            if (step + 1) % self._config.log_every == 0 or step + 1 == self._total:
                self._reporter.step(self._number, step + 1, numbers, rate, waiting)
                self._reporter.show(step + 1, numbers, rate)
        self._pending = []


def _check_finite(losses: dict[str, float], stage: str, step: int, out: Path) -> None:
    bad = [f"{name} = {value}" for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise _diverged(stage, step + 1, ", ".join(bad), out)


def _check_sound(networks: Networks | DetectorNet, stage: str, steps: int, out: Path) -> None:
    """Stop before weights are saved that are not numbers. A bad gradient spoils them a step before a loss shows it."""
    bad = [name for name, value in networks.state_dict().items() if not bool(value.isfinite().all())]
    if bad:
        raise _diverged(stage, steps, f"{len(bad)} tensors of weights, {bad[0]} first, are not all numbers", out)


def _diverged(stage: str, steps: int, found: str, out: Path) -> DivergedError:
    return DivergedError(
        f"Stage {stage} diverged at step {steps}: {found}. The last checkpoint in {out}, if there is one, is sound; "
        "try --precision 32-true, or look at the data with `crossnets data info`."
    )


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, instead of ending the process in the middle of a step."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Callable[..., Any] | int | None] = {
        number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
