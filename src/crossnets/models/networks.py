"""Build the networks of any preset, and adapt their weights to other joints."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from crossnets.models.crossnet import CrossNet, CrossNetConfig
from crossnets.models.dense import DenseConfig
from crossnets.models.dense_crossing import DenseCrossing, DenseCrossingConfig
from crossnets.models.own import OwnNetworks, OwnNetworksConfig, own_config
from crossnets.models.paper import CrossingNets, CrossingNetsConfig, Regressor
from crossnets.models.pose_vae import PoseVAEConfig

Networks: TypeAlias = CrossingNets | Regressor | CrossNet | DenseCrossing | OwnNetworks
NetworksConfig: TypeAlias = CrossingNetsConfig | CrossNetConfig | DenseCrossingConfig | OwnNetworksConfig


def build(config: NetworksConfig, generator: torch.Generator) -> Networks:
    """Build the networks of a configuration with new random weights."""
    if isinstance(config, OwnNetworksConfig):
        return OwnNetworks(config, generator)
    if isinstance(config, CrossNetConfig):
        return CrossNet(config, generator)
    if isinstance(config, DenseCrossingConfig):
        return DenseCrossing(config, generator)
    return CrossingNets(config, generator) if config.shared_latent else Regressor(config, generator)


def config_from(fields: dict[str, Any]) -> NetworksConfig:
    """Restore a configuration from the fields of `dataclasses.asdict`.

    Raises:
        TypeError, ValueError, KeyError: the fields do not belong to a configuration.
    """
    if "own" in fields:
        return own_config(**fields)
    if "dense" not in fields:
        return _crossing(fields)
    sizes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields["dense"].items()
    }
    dense = DenseConfig(**sizes)
    if "bones" in fields:
        bones = tuple((index(first), index(second)) for first, second in fields["bones"])
        vae = PoseVAEConfig(**fields["pose_vae"])
        return DenseCrossingConfig(**{**fields, "dense": dense, "pose_vae": vae, "bones": bones})
    rest = {name: value for name, value in fields.items() if name not in ("dense", "crossing")}
    return CrossNetConfig(dense=dense, crossing=_crossing(fields["crossing"]), **rest)


def _crossing(fields: dict[str, Any]) -> CrossingNetsConfig:
    rest = {name: value for name, value in fields.items() if name != "pose_vae"}
    return CrossingNetsConfig(pose_vae=PoseVAEConfig(**fields["pose_vae"]), **rest)


class _JointAxis(NamedTuple):
    """Place of the joints in a tensor of weights: x, y and z of one joint after the other."""

    axis: int
    first: int = 0
    """Index of the first joint's x."""


_JOINT_AXES = {
    "vae.encoder.0.weight": _JointAxis(1),
    "vae.decoder.2.weight": _JointAxis(0),
    "vae.decoder.2.bias": _JointAxis(0),
    "head.top.0.weight": _JointAxis(0, 3),
    "head.top.0.bias": _JointAxis(0, 3),
}
"""Tensors of `CrossingNets` and `Regressor` whose size depends on the joints."""


def differ_in_joints_alone(one: NetworksConfig, other: NetworksConfig) -> bool:
    """Whether `rearranged` adapts weights of one network to the other. True if both are equal.

    An output for hands makes no difference (`without_hand_output`).
    """
    one, other = (
        replace(config, dense=replace(config.dense, hand=False)) if isinstance(config, DenseCrossingConfig) else config
        for config in (one, other)
    )
    if not (isinstance(one, CrossingNetsConfig) and isinstance(other, CrossingNetsConfig)):
        return one == other
    if not one.shared_latent:  # a regression has no pose VAE
        return replace(one, pose_vae=other.pose_vae) == other
    most = max(one.pose_vae.num_joints, other.pose_vae.num_joints)
    alike = [replace(config, pose_vae=replace(config.pose_vae, num_joints=most)) for config in (one, other)]
    return alike[0] == alike[1]


def without_hand_output(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of `DenseCrossing` without those of the output for hands, which fits the other weights as they are."""
    return {name: value for name, value in weights.items() if not name.startswith("dense.hand.")}


def rearranged(
    weights: Mapping[str, Tensor], num_joints: int, ours: Sequence[int], theirs: Sequence[int]
) -> dict[str, Tensor]:
    """Adapt weights of `CrossingNets` or `Regressor` to other joints.

    Args:
        weights: The weights, by name.
        num_joints: Number of joints of the result.
        ours: Indices in the result of the joints that are kept. The weights of other joints are 0.
        theirs: Indices of the same joints in `weights`.
    """
    result = dict(weights)
    xyz = torch.arange(3)
    to = (3 * torch.tensor(ours)[:, None] + xyz).flatten()
    taken = (3 * torch.tensor(theirs)[:, None] + xyz).flatten()
    for name, (axis, first) in _JOINT_AXES.items():
        if name not in weights:
            continue
        old = weights[name]
        size = list(old.shape)
        size[axis] = first + 3 * num_joints
        new = old.new_zeros(size)
        # The part before the joints, such as the translation, is unchanged.
        new.narrow(axis, 0, first).copy_(old.narrow(axis, 0, first))
        new.index_copy_(axis, first + to, old.index_select(axis, first + taken))
        result[name] = new
    return result
