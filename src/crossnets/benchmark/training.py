"""The command `benchmark training`: the speed of every stage of a training on this machine.

Each stage is trained for a few seconds by the same loop as `crossnets train`, and its log is read. So the numbers
contain the drawing of batches, the rendering processes, and the copies to the device.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from crossnets.benchmark.machine import Machine as Described
from crossnets.benchmark.machine import machine as describe
from crossnets.benchmark.output import publish, require_file
from crossnets.geometry.skeleton import find_skeleton
from crossnets.training import loop, rendering
from crossnets.training.config import CrossnetsConfig, DetectorTraining, FramesConfig, Precision, RenderedConfig
from crossnets.training.crops import TrainingFrames
from crossnets.training.devices import Machine
from crossnets.training.progress import LOG
from crossnets.training.run import request_of
from crossnets.training.schedule import only_stages, with_numbers

_FRAMES = 1024
"""Rendered crops for the stages that go over the same frames."""
_LEAST_STEPS = 4
_MOST_STEPS = 2000
_PEAK_S = 1.0
_PEAK_SIDES = {"cpu": 2048, "cuda": 8192}
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK_MEMORY = "5"
"""Linux resets a process's peak memory when this is written into clear_refs (man 5 proc)."""


@dataclass(frozen=True, kw_only=True)
class TrainingSpeedConfig:
    """Measurements of a benchmark and their duration."""

    seconds: float = 20.0
    """Seconds of each stage, half of them in the preset's precision and half in float32."""
    batch_size: tuple[str, ...] = ()
    """Batch sizes of single stages, such as estimate=1024, instead of the preset's."""
    stages: tuple[str, ...] = ()
    """Names of the stages to measure. Empty stands for all stages."""


@dataclass(frozen=True)
class StageSpeed:
    """Speed of one stage."""

    preset: str
    stage: str
    batch: int
    precision: Precision
    samples_per_s: float
    """Speed that `crossnets train` reaches."""
    float32_samples_per_s: float
    """The same loop in float32. Streams are measured during their head start, so it does not wait for data."""
    waiting: float | None
    """Share of the time that a step waits for rendered data. None for stages without a stream."""
    macs_per_sample: float
    """Multiply-adds of convolutions and matrix products of a step, forwards and backwards, over the batch."""
    share_of_peak: float
    """Reached multiply-adds over those of large matrix products in the same precision."""
    memory_mb: float | None
    """Peak memory of the training's own process, or of the GPU if there is one. None if the system does not report
    it."""


@dataclass(frozen=True)
class TrainingSpeed:
    """All measurements, and the machine on which they were made."""

    machine: Described
    device: str
    threads: int
    workers: int
    peak_macs_per_s: dict[Precision, float]
    stages: tuple[StageSpeed, ...]


def training_command(
    trainings: Sequence[loop.AnyTraining],
    hands: RenderedConfig,
    config: TrainingSpeedConfig,
    machine: Machine,
    *,
    as_json: bool,
    out: Path | None,
) -> None:
    """Measure, print, and write.

    Args:
        trainings: Presets whose stages are measured.
        hands: Rendered hands for the stages that go over the same frames.
        config: Measurements and their duration.
        machine: Device and number of rendering processes.
        as_json: Whether to print JSON instead of a table.
        out: Optional file for the JSON.

    Raises:
        OSError: the file cannot be written.
        ValueError: a number is out of range, or a stage has another name.
    """
    require_file(out)
    found = measure(trainings, hands, config, machine, Console(stderr=True))
    publish(asdict(found), lambda console: print_speed(found, console), as_json=as_json, out=out)


def measure(
    trainings: Sequence[loop.AnyTraining],
    hands: RenderedConfig,
    config: TrainingSpeedConfig,
    machine: Machine,
    console: Console,
) -> TrainingSpeed:
    """Run all measurements.

    Raises:
        ValueError: as for `training_command`.
    """
    if not 0 < config.seconds < float("inf"):
        raise ValueError(f"Found --seconds {config.seconds}, expected more than 0.")
    single = _single_stages(trainings, config)
    described = describe()
    precision = loop.resolve_precision("auto", machine.device)
    kinds: list[Precision] = list(dict.fromkeys((precision, "32-true")))
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn(), console=console, transient=True
    )
    with tempfile.TemporaryDirectory() as folder, bar:
        task = bar.add_task("peak", total=len(single) + 1)
        peaks: dict[Precision, float] = {kind: peak_macs_per_s(machine.device, kind) for kind in kinds}
        kept = replace(hands, kept_frames=_FRAMES)
        work = _Work(Path(folder), machine, kept, precision, peaks[precision], config.seconds)
        stages = []
        for training in single:
            bar.update(task, advance=1, description=f"{training.preset}: {training.stages[0].name}")
            stages.append(work.speed(training))
    return TrainingSpeed(
        described, _name(machine.device), torch.get_num_threads(), machine.workers, peaks, tuple(stages)
    )


def _single_stages(trainings: Sequence[loop.AnyTraining], config: TrainingSpeedConfig) -> list[loop.AnyTraining]:
    """A training of one stage for each stage to measure. Of stages with the same name only the first is taken."""
    known = [stage for training in trainings for stage in training.stages]
    # Names that no preset has are reported here.
    only_stages(known, config.stages)
    with_numbers(tuple({stage.name: stage for stage in known}.values()), config.batch_size, "--batch-size", "batch")
    result: list[loop.AnyTraining] = []
    taken: set[str] = set()
    for training in trainings:
        for stage in training.stages:
            if stage.name in taken or (config.stages and stage.name not in config.stages):
                continue
            taken.add(stage.name)
            texts = [text for text in config.batch_size if text.partition("=")[0] == stage.name]
            result.append(replace(training, stages=with_numbers((stage,), texts, "--batch-size", "batch")))
    return result


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"


def peak_macs_per_s(device: torch.device, precision: Precision, side: int | None = None) -> float:
    """Multiply-adds a second of the fastest product of two square matrices."""
    side = side or _PEAK_SIDES[device.type]
    kind = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    a, b = (torch.randn(side, side, dtype=kind, device=device) for _ in range(2))
    fastest_s = float("inf")
    end = time.perf_counter() + _PEAK_S
    with torch.no_grad():
        while time.perf_counter() < end:
            began = time.perf_counter()
            _ = a @ b
            _wait(device)
            fastest_s = min(fastest_s, time.perf_counter() - began)
    return side**3 / fastest_s


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class _Work:
    """Trainings in a temporary folder."""

    folder: Path
    machine: Machine
    hands: RenderedConfig
    precision: Precision
    peak: float
    seconds: float
    runs: int = 0

    def speed(self, training: loop.AnyTraining) -> StageSpeed:
        """Measure the only stage of a training."""
        stage = training.stages[0]
        counter = FlopCounterMode(display=False)
        with counter:
            first = self._train(training, "32-true", 2)
        macs = counter.get_total_flops() / 2 / len(first) / stage.batch
        step_s = stage.batch / max(line["samples_per_s"] for line in first)
        steps = round(min(max(self.seconds / 2 / step_s, _LEAST_STEPS), _MOST_STEPS))
        plain = self._train(training, "32-true", steps)
        reset_peak_memory(self.machine.device)
        lines = self._train(training, self.precision, steps + self._ahead(training))
        memory_mb = peak_memory_mb(self.machine.device)
        # The first steps warm caches up, and they use the stream's head start up.
        late = lines[-max(1, steps // 2) :]
        rate = statistics.median(line["samples_per_s"] for line in late)
        return StageSpeed(
            training.preset,
            stage.name,
            stage.batch,
            self.precision,
            rate,
            statistics.median(line["samples_per_s"] for line in plain[len(plain) // 2 :]),
            statistics.mean(line["waiting"] for line in late) if "waiting" in late[0] else None,
            macs,
            rate * macs / self.peak,
            memory_mb,
        )

    def _ahead(self, training: loop.AnyTraining) -> int:
        """Steps that a stream is ahead by when it starts. It is measured after this head start is used up."""
        stage = training.stages[0].name
        if isinstance(training, CrossnetsConfig) and stage == "estimate":
            return rendering.AHEAD * self.machine.workers * training.rendered.uses
        if isinstance(training, DetectorTraining):
            return rendering.AHEAD * self.machine.workers * training.scenes.uses
        return 0

    def _train(self, training: loop.AnyTraining, precision: Precision, steps: int) -> list[dict[str, Any]]:
        """Train the stage for some steps. Returns the lines of the log."""
        stage = replace(training.stages[0], epochs=0, min_steps=steps, log_every=1)
        out = self.folder / str(self.runs)
        self.runs += 1
        out.mkdir()
        config = replace(training, stages=(stage,), precision=precision, checkpoint_s=3600.0)
        request = request_of(config, {})
        options = loop.Options(request=request, console=Console(quiet=True), machine=self.machine)
        if isinstance(config, DetectorTraining):
            loop.train(config, None, out, **options)
        else:
            loop.train(config, self._frames(config), out, **options)
        return [json.loads(line) for line in (out / LOG).read_text("utf-8").splitlines()]

    def _frames(self, config: FramesConfig | CrossnetsConfig) -> TrainingFrames:
        """Rendered crops with labels of the preset's skeleton. They are rendered once."""
        return rendering.kept(self.hands, find_skeleton(config.skeleton), self.folder)


def reset_peak_memory(device: torch.device) -> None:
    """Let `peak_memory_mb` count from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR_REFS.exists():
        _CLEAR_REFS.write_text(_RESET_PEAK_MEMORY, "utf-8")


def peak_memory_mb(device: torch.device) -> float | None:
    """Peak memory since the last reset. None if the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if not _CLEAR_REFS.exists():
        return None
    lines = (line.partition(":") for line in _STATUS.read_text("utf-8").splitlines())
    return next(float(value.split()[0]) * 1.024e-3 for key, _, value in lines if key == "VmHWM")


def print_speed(found: TrainingSpeed, console: Console) -> None:
    """Print the table."""
    where = found.device
    if where == "processor":
        where = f"{found.machine.processor}, {found.threads} threads"
    console.print(f"{where}, rendering processes: {found.workers}, torch {torch.__version__}", highlight=False)
    peaks = (f"{2e-9 * peak:,.0f} GFLOPS in {kind}" for kind, peak in found.peak_macs_per_s.items())
    console.print(f"Products of matrices: {', '.join(peaks)}", highlight=False)
    table = Table(title="Training", title_justify="left", title_style="bold")
    heads = ("batch", "samples/s", "of float32", "waiting", "Mmacs/sample", "of the peak", "MB")
    table.add_column("stage")
    for head in heads:
        table.add_column(head, justify="right")
    for row in found.stages:
        table.add_row(
            f"{row.preset}: {row.stage}",
            str(row.batch),
            f"{row.samples_per_s:,.0f}",
            f"{row.samples_per_s / row.float32_samples_per_s:.2f}",
            "" if row.waiting is None else f"{row.waiting:.0%}",
            f"{row.macs_per_sample / 1e6:,.1f}",
            f"{row.share_of_peak:.0%}",
            "" if row.memory_mb is None else f"{row.memory_mb:,.0f}",
        )
    console.print(table)
    console.print(
        "Samples/s are medians, in the precision that `crossnets train` chooses here. The next column divides them by "
        "those of the same loop in float32. Waiting is the share of the time that a step waits for rendered data. The "
        "peak is the rate of large matrix products in the same precision.",
        style="dim",
    )
