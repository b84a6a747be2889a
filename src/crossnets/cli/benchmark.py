"""Commands that measure speed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Measure what predictions cost on this machine, and which share of the processor's peak they reach.

    Our networks alone, other networks in ONNX files, whole frames from a raw 640x480 image to joints in mm, new
    processes, and products of matrices for the peak are timed in turns. It takes two minutes.

    Example: crossnets benchmark latency --out latency.json
    """

    frames: int = 32
    """Rendered images for whole frames."""
    runtimes: tuple[Literal["onnxruntime", "openvino", "openvino-bf16"], ...] = ()
    """Runtimes. All that are installed by default."""
    networks: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="[FILE ...]")] = ()
    """ONNX files of other networks, timed beside ours. scripts/peers.py writes those of published architectures."""
    seconds: float = 60.0
    """Seconds of timing. Preparation takes about as long again."""
    json: bool = False
    """Print JSON alone."""
    out: Path | None = None
    """A file for the JSON."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Measure how fast each stage of a training runs on this machine, and whether it waits for rendered data.

    Example: crossnets benchmark training --presets crossnets --batch-size estimate=1024
    """

    presets: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[PRESET ...]")] = ("paper", "crossnets", "detector")
    """Presets whose stages are measured, or networks of your own. Stages that `paper` has too are left out of
    `crossnets`."""
    stages: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[STAGE ...]")] = ()
    """Measure these stages alone, such as estimate."""
    batch_size: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[STAGE=N ...]")] = ()
    """Samples of an update in single stages, such as estimate=1024, instead of the preset's."""
    seconds: float = 20.0
    """Seconds of each stage. A slow stage takes longer, since a few steps are the least."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the networks. auto chooses the GPU if torch sees one."""
    threads: int | None = None
    """Threads of the processor. All by default."""
    workers: int | None = None
    """Processes that render hands ahead of the training. One for each core but one by default."""
    json: bool = False
    """Print JSON alone."""
    out: Path | None = None
    """A file for the JSON."""


def benchmark(
    action: Annotated[
        Annotated[Latency, tyro.conf.subcommand("latency", prefix_name=False)]
        | Annotated[Training, tyro.conf.subcommand("training", prefix_name=False)],
        tyro.conf.arg(name=""),
    ],
) -> None:
    """Measure the speed of predictions or of trainings.

    Example: crossnets benchmark latency
    """
    if isinstance(action, Latency):
        _latency(action)
    else:
        _training(action)


def _latency(asked: Latency) -> None:
    # A missing package is reported now, not after the first minute.
    import numba  # noqa: F401
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import torch  # noqa: F401

    from crossnets.benchmark.latency import LatencyConfig, Presets, latency_command
    from crossnets.geometry.skeleton import MSRA21
    from crossnets.training import presets

    measured = Presets(
        estimators=(presets.paper(MSRA21), presets.crossnets()), shipped="crossnets", detector=presets.detector()
    )
    config = LatencyConfig(
        frames=asked.frames,
        engines=asked.runtimes,
        networks=asked.networks,
        seconds=asked.seconds,
    )
    latency_command(measured, config, as_json=asked.json, out=asked.out)


def _training(asked: Training) -> None:
    import torch

    from crossnets.benchmark.training import TrainingSpeedConfig, training_command
    from crossnets.geometry.skeleton import MSRA21
    from crossnets.models.own import registered
    from crossnets.training import presets
    from crossnets.training.devices import choose_machine
    from crossnets.training.loop import TrainingStoppedError

    if asked.threads is not None:
        if asked.threads < 1:
            raise ValueError(f"--threads {asked.threads}: expected 1 or more, or none given for all of the processor.")
        torch.set_num_threads(asked.threads)
    rendered = presets.crossnets()
    whole: dict[str, Any] = {"paper": presets.paper(MSRA21), "crossnets": rendered, "detector": presets.detector()}
    if not asked.presets:
        raise ValueError("Found no presets, expected one or more of paper, crossnets and detector.")
    for name in asked.presets:
        if name not in whole:
            whole[name] = presets.own(MSRA21, name=name, settings=registered(name).settings())
    trainings = [whole[name] for name in dict.fromkeys(asked.presets)]
    config = TrainingSpeedConfig(seconds=asked.seconds, batch_size=asked.batch_size, stages=asked.stages)
    machine = choose_machine(asked.device, asked.workers)
    try:
        training_command(trainings, rendered.rendered, config, machine, as_json=asked.json, out=asked.out)
    except TrainingStoppedError as stopped:  # Ctrl-C, which a training takes as the wish to stop
        raise KeyboardInterrupt from stopped
