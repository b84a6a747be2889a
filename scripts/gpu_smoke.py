"""Train every stage on the processor and on the GPU, compare the losses, then time every stage on the GPU.

    python scripts/gpu_smoke.py --out smoke          # on a GPU
    python scripts/gpu_smoke.py --out smoke --tiny   # without a GPU: a few steps on the processor, twice

The first table compares float32 losses of the same steps on both devices. They may differ by rounding, which a training
amplifies. The table therefore shows the difference at the first step and the largest one of all steps. The second table
is that of `crossnets benchmark training` on the GPU.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from crossnets.benchmark.training import TrainingSpeedConfig, training_command
from crossnets.geometry.skeleton import MSRA21
from crossnets.synth.writing import write_dataset as synthesize
from crossnets.training import presets
from crossnets.training.config import CrossnetsConfig, StageConfig, TrainConfig
from crossnets.training.devices import Machine, choose_machine
from crossnets.training.progress import LOG
from crossnets.training.session import train_command


def shortened(config: TrainConfig, steps: int, batches: dict[str, int], kept_frames: int) -> TrainConfig:
    """Return the training with this number of steps in each stage, and with every step in the log."""

    def short(stage: StageConfig) -> StageConfig:
        batch = batches.get(stage.name, stage.batch)
        return replace(stage, batch=batch, epochs=0, min_steps=steps, log_every=1)

    if isinstance(config, CrossnetsConfig):
        config = replace(config, rendered=replace(config.rendered, kept_frames=kept_frames))
    return replace(config, stages=tuple(map(short, config.stages)), checkpoint_s=3600.0)


def configs(steps: int, precision: str, batches: dict[str, int], kept_frames: int, only: list[str]) -> dict:
    """Return the trainings by name. That of `paper` is a function of the skeleton of its data."""
    cut = partial(shortened, steps=steps, batches=batches, kept_frames=kept_frames)
    whole = {
        "paper": lambda skeleton: cut(presets.paper(skeleton, precision=precision)),
        "crossnets": cut(presets.crossnets(precision=precision)),
        "detector": cut(presets.detector(precision=precision)),
    }
    return {name: config for name, config in whole.items() if name in only}


def train(config: object, data: str | None, out: Path, machine: Machine) -> list[dict]:
    """Train, and return the lines of the log."""
    train_command(config, data=data, unlabelled=(), labels="all", budget=None, out=out, threads=None, machine=machine)
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()]


def by_stage(lines: list[dict]) -> dict[str, list[dict]]:
    """Group the lines by their stage."""
    found: dict[str, list[dict]] = {}
    for line in lines:
        found.setdefault(line["stage"], []).append(line)
    return found


def apart(one: dict, other: dict) -> float:
    """Return the largest difference between the losses of two steps, relative to the larger of 1e-2 and the loss."""
    return max(abs(one["losses"][k] - other["losses"][k]) / max(abs(one["losses"][k]), 1e-2) for k in one["losses"])


def main() -> None:
    """Train, compare and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--presets", nargs="+", default=["paper", "crossnets", "detector"])
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of timing for each stage")
    parser.add_argument("--batch-size", nargs="*", default=[], help="batch sizes for the timing, such as estimate=1024")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=120)
    gpu = choose_machine("cpu" if given.tiny else "cuda", 0 if given.tiny else None)
    cpu = Machine(device=torch.device("cpu"), workers=gpu.workers)
    if not (given.out / "frames").is_dir():
        synthesize("recording", 32 if given.tiny else 600, given.out / "frames", progress=False)
    data = f"recording:{given.out / 'frames'}"
    stages = ("pose_vae", "depth_gan", "warm_up", "joint", "estimate", "draw", "detect")
    small = dict.fromkeys(stages, 8 if given.tiny else 32)
    compared = Table("preset", "stage", "first step", "largest", title="losses on both devices, relative difference")
    for name, config in configs(2 if given.tiny else 20, "32-true", small, 64, given.presets).items():
        its_data = data if name == "paper" else None
        one = by_stage(train(config, its_data, given.out / f"{name}-cpu", cpu))
        other = by_stage(train(config, its_data, given.out / f"{name}-gpu", gpu))
        for stage in one:
            pairs = [apart(a, b) for a, b in zip(one[stage], other[stage], strict=True)]
            compared.add_row(name, stage, f"{pairs[0]:.1e}", f"{max(pairs):.1e}")
    console.print(compared)
    whole = {"paper": presets.paper(MSRA21), "crossnets": presets.crossnets(), "detector": presets.detector()}
    batches = [f"{stage}=8" for stage in small] if given.tiny else given.batch_size
    speeds = TrainingSpeedConfig(seconds=0.1 if given.tiny else given.seconds, batch_size=tuple(batches))
    trainings = [whole[name] for name in given.presets]
    out = given.out / "speed.json"
    training_command(trainings, whole["crossnets"].rendered, speeds, gpu, as_json=False, out=out)
    if gpu.device.type == "cuda":
        console.print(f"{torch.cuda.get_device_name()}: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most")


if __name__ == "__main__":
    main()
