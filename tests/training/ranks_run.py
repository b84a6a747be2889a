"""One rank of trainings of few steps, started by torchrun: `ranks_run.py OUT STEPS PRESET:STAGE... [float64]`.

The training of each stage has the folder of its name in OUT.
With `float64` all networks compute in double precision. Differences between numbers of processes then come from the
algorithm and not from rounding, which the updates of Adam and of a GAN amplify by a factor of a million in 50 steps.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from torch.utils.hooks import RemovableHandle

from crossnets import ranks
from crossnets.geometry.skeleton import MSRA21
from crossnets.models.dense import DenseConfig
from crossnets.models.detector import DetectorNetConfig
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.synth.stream import SyntheticConfig
from crossnets.training import loop, presets, rendering
from crossnets.training.config import (
    CrossnetsConfig,
    DetectorTraining,
    PaperConfig,
    RenderedConfig,
    StageConfig,
)
from crossnets.training.damage import CropDamage
from crossnets.training.devices import Machine
from crossnets.training.run import request_of

SOURCES = tuple(SyntheticConfig(camera=name, seed=9) for name in ("realsense-sr300", "cvar-senz3d"))
BATCH = 4
SMALL = DenseConfig(num_joints=len(MSRA21), widths=(4, 6, 8, 8), depths=(1, 1, 1, 1))
RENDERED = RenderedConfig(sources=SOURCES, kept_frames=64, uses=2, damage=CropDamage())


def one_stage(stages: tuple[StageConfig, ...], steps: int, only: str) -> tuple[StageConfig, ...]:
    """The stage of this name with small batches."""
    return tuple(replace(s, batch=BATCH, epochs=0, min_steps=steps, log_every=1) for s in stages if s.name == only)


def double() -> None:
    """Let networks and losses compute in double precision from now on. Data and random draws stay as they are."""
    build = loop._networks
    hooks: list[RemovableHandle] = []

    def networks(config: loop.AnyTraining) -> torch.nn.Module:
        # Some networks are called while they are built, still in single precision.
        while hooks:
            hooks.pop().remove()
        found = build(config).double()
        hooks.append(torch.nn.modules.module.register_module_forward_pre_hook(widened))
        return found

    def widened(_: torch.nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(
            value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
            for value in inputs
        )

    def float32_at_least(value: torch.Tensor) -> torch.Tensor:
        return value if value.dtype == torch.float64 else value.to(torch.float32)

    loop._networks = networks
    torch.Tensor.float = float32_at_least  # losses are computed in `float`


def paper(steps: int, only: str) -> PaperConfig:
    """One stage of the preset with the paper's networks."""
    whole = presets.paper(MSRA21, precision="32-true", checkpoint_s=0.0)
    return replace(whole, stages=one_stage(whole.stages, steps, only))


def crossnets(steps: int, only: str) -> CrossnetsConfig:
    """One stage of the preset, with a small estimator."""
    whole = presets.crossnets(precision="32-true", checkpoint_s=0.0)
    networks = replace(whole.networks, dense=SMALL)
    return replace(whole, stages=one_stage(whole.stages, steps, only), rendered=RENDERED, networks=networks)


def detector(steps: int) -> DetectorTraining:
    """The detector, small."""
    whole = presets.detector(precision="32-true", checkpoint_s=0.0)
    stage = StageConfig(name="detect", batch=BATCH, lr=1e-3, epochs=0, min_steps=steps)
    networks = DetectorNetConfig(widths=(8, 8, 8, 8), depths=(1, 1, 1))
    scenes = replace(whole.scenes, sources=whole.scenes.sources[:2])
    return replace(whole, stages=(stage,), networks=networks, scenes=scenes)


def train(out: Path, steps: int, stage: str, machine: Machine) -> None:
    """Train one stage."""
    preset, name = stage.split(":")
    console = Console(quiet=True)
    if preset == "detector":
        config = detector(steps)
        options = loop.Options(request=request_of(config, {}), console=console, machine=machine)
        loop.train(config, None, out, **options)
        return
    config = paper(steps, name) if preset == "paper" else crossnets(steps, name)
    if not ranks.first():
        ranks.wait()
    frames = rendering.kept(RENDERED, MSRA21, out / "crops")
    if ranks.first():
        ranks.wait()
    options = loop.Options(request=request_of(config, {}), console=console, machine=machine)
    options["maps"] = skeleton_maps(MSRA21)
    loop.train(config, frames, out, **options)


def main() -> None:
    out, steps, *stages = sys.argv[1:]
    torch.set_num_threads(1)
    if stages[-1] == "float64":
        stages.pop()
        double()
    machine = Machine(device=torch.device("cpu"), workers=0)
    with ranks.joined(machine.device):
        for stage in stages:
            train(Path(out) / stage.split(":")[1], int(steps), stage, machine)


if __name__ == "__main__":
    main()
