"""Untrained networks and images that several tests share."""

import torch
from torch import Tensor, nn

from crossnets.models.depth_gan import MetricKind
from crossnets.models.networks import build
from crossnets.models.paper import CrossingNets, CrossingNetsConfig
from crossnets.models.pose_vae import PoseVAEConfig

JOINTS = 16


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_nets(metric: MetricKind = "separate", seed: int = 0) -> CrossingNets:
    networks = build(CrossingNetsConfig(pose_vae=PoseVAEConfig(num_joints=JOINTS), metric=metric), rng(seed))
    assert isinstance(networks, CrossingNets)
    return networks


def images(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 1, 128, 128, generator=rng(seed)) * 2 - 1


def linears(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
