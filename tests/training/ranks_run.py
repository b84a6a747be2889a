"""One rank of a training of few steps, started by torchrun: `ranks_run.py STAGE OUT STEPS`."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from crossnets import ranks
from crossnets.geometry.skeleton import MSRA21
from crossnets.models.dense import DenseConfig
from crossnets.models.detector import DetectorNetConfig
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.synth.stream import SyntheticConfig
from crossnets.training import loop, presets, rendering
from crossnets.training.config import CrossnetsConfig, DetectorTraining, RenderedConfig, StageConfig
from crossnets.training.damage import CropDamage
from crossnets.training.machine import Machine
from crossnets.training.run import request_of

SOURCES = tuple(SyntheticConfig(camera=name, seed=9) for name in ("realsense-sr300", "cvar-senz3d"))
BATCH = 16


def crossnets(steps: int, only: str) -> CrossnetsConfig:
    """One stage of the preset, with a small estimator."""
    whole = presets.crossnets(precision="32-true", checkpoint_s=0.0)
    stages = tuple(
        replace(s, batch=BATCH, epochs=0, min_steps=steps, log_every=1) for s in whole.stages if s.name == only
    )
    dense = DenseConfig(num_joints=len(MSRA21), widths=(4, 6, 8, 8), depths=(1, 1, 1, 1))
    rendered = RenderedConfig(sources=SOURCES, kept_frames=64, uses=2, damage=CropDamage())
    return replace(whole, stages=stages, rendered=rendered, networks=replace(whole.networks, dense=dense))


def detector(steps: int) -> DetectorTraining:
    """The detector, small."""
    whole = presets.detector(precision="32-true", checkpoint_s=0.0)
    stage = StageConfig(name="detect", batch=BATCH, lr=1e-3, epochs=0, min_steps=steps)
    networks = DetectorNetConfig(widths=(8, 8, 8, 8), depths=(1, 1, 1))
    scenes = replace(whole.scenes, sources=whole.scenes.sources[:2])
    return replace(whole, stages=(stage,), networks=networks, scenes=scenes)


def main() -> None:
    name, out, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    machine = Machine(device=torch.device("cpu"), workers=0)
    with ranks.joined(machine.device):
        console = Console(quiet=True)
        if name == "detect":
            config = detector(steps)
            options = loop.Options(request=request_of(config, {}), console=console, machine=machine)
            loop.train(config, None, out, **options)
            return
        config = crossnets(steps, name)
        if not ranks.first():
            ranks.wait()
        frames = rendering.kept(config.rendered, MSRA21, out / "crops")
        if ranks.first():
            ranks.wait()
        options = loop.Options(request=request_of(config, {}), console=console, machine=machine)
        options["maps"] = skeleton_maps(MSRA21)
        loop.train(config, frames, out, **options)


if __name__ == "__main__":
    main()
