"""All networks that a preset can name."""

from typing import Any, TypeAlias

import torch

from crossnets.models.crossing import CrossingNets, CrossingNetsConfig, Regressor
from crossnets.models.crossnet import CrossNet, CrossNetConfig
from crossnets.models.dense import DenseConfig
from crossnets.models.own import OwnNetworks, OwnNetworksConfig, own_config
from crossnets.models.pose_vae import PoseVAEConfig

Networks: TypeAlias = CrossingNets | Regressor | CrossNet | OwnNetworks
NetworksConfig: TypeAlias = CrossingNetsConfig | CrossNetConfig | OwnNetworksConfig


def build(config: NetworksConfig, generator: torch.Generator) -> Networks:
    """The networks of a configuration, with fresh weights."""
    if isinstance(config, OwnNetworksConfig):
        return OwnNetworks(config, generator)
    if isinstance(config, CrossNetConfig):
        return CrossNet(config, generator)
    return CrossingNets(config, generator) if config.shared_latent else Regressor(config, generator)


def config_from(fields: dict[str, Any]) -> NetworksConfig:
    """The configuration that `dataclasses.asdict` made these fields of.

    Raises:
        TypeError, ValueError, KeyError: the fields are of no configuration.
    """
    if "own" in fields:
        return own_config(**fields)
    if "dense" not in fields:
        return _crossing(fields)
    dense: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields["dense"].items()
    }
    rest = {name: value for name, value in fields.items() if name not in ("dense", "crossing")}
    return CrossNetConfig(dense=DenseConfig(**dense), crossing=_crossing(fields["crossing"]), **rest)


def _crossing(fields: dict[str, Any]) -> CrossingNetsConfig:
    rest = {name: value for name, value in fields.items() if name != "pose_vae"}
    return CrossingNetsConfig(pose_vae=PoseVAEConfig(**fields["pose_vae"]), **rest)
