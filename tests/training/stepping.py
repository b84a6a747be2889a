"""Frames, networks and single steps that several tests share."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from crossnets.models.depth_gan import MetricKind
from crossnets.models.networks import build
from crossnets.models.paper import CrossingNets
from crossnets.training import presets
from crossnets.training.batches import Draw
from crossnets.training.config import Terms
from crossnets.training.crops import TrainingFrames
from crossnets.training.make_stage import make_stage

JOINTS, BATCH = 16, 4

STAGES = {stage.name: stage for stage in (*presets.PAPER_STAGES, *presets.REGRESSION_STAGES)}
PARTS = ("vae", "ali", "gen", "disc.trunk", "disc.dis", "disc.met", "disc.pos")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_frames(unlabelled: int = BATCH) -> TrainingFrames:
    """Four labelled frames, and unlabelled ones that are much nearer."""
    random = np.random.default_rng(0)
    total = BATCH + unlabelled
    y = random.normal(size=(BATCH, JOINTS, 3)).astype(np.float32)
    t = random.normal(size=(BATCH, 3)).astype(np.float32)
    images = random.uniform(-1, 1, (total, 128, 128)).astype(np.float32)
    images[BATCH:] = images[BATCH:] * 0.3 - 0.6
    keys = tuple(str(i) for i in range(total))
    return TrainingFrames(images, keys, np.arange(BATCH), y, t, np.arange(BATCH, total), ())


FRAMES = make_frames()


def make_nets(metric: MetricKind = "separate") -> CrossingNets:
    nets = build(presets.paper_networks(JOINTS, metric), rng(3))
    assert isinstance(nets, CrossingNets)
    return nets


def make_draw(
    name: str, *, use_unlabelled: bool = True, frames: TrainingFrames = FRAMES, lr: float | None = None
) -> Draw:
    config = replace(STAGES[name], batch=BATCH)
    config = config if lr is None else replace(config, lr=lr)
    return Draw(frames, config, 0, 5, torch.device("cpu"), use_unlabelled)


def step(nets: CrossingNets, draw: Draw, terms: Terms | None = None) -> dict[str, float]:
    losses = make_stage(nets, draw.stage, terms or Terms()).step(draw, rng(11))
    return {name: float(value.detach()) for name, value in losses.items()}


def values(network: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def part_of(name: str) -> str:
    return next(part for part in PARTS if name.startswith(part))
