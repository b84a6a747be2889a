"""Count parameters and multiply-adds of each network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from crossnets.geometry.crop import CROP_PX
from crossnets.models.crossnet import CrossNet
from crossnets.models.dense_crossing import DenseCrossing
from crossnets.models.networks import NetworksConfig, build
from crossnets.models.own import OwnNetworks
from crossnets.models.paper import CrossingNets, Regressor


@dataclass(frozen=True)
class Complexity:
    """Cost of one part for one sample."""

    parameters: int
    """Number of trainable parameters."""
    macs: int
    """Multiply-adds of convolutions and linear layers."""


def _measure(modules: list[nn.Module], call: Callable[[], object]) -> Complexity:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        call()
    return Complexity(sum(p.numel() for m in modules for p in m.parameters()), counter.get_total_flops() // 2)


def complexity(config: NetworksConfig) -> dict[str, Complexity]:
    """Return the cost of each part as listed in spec 2 and 9. `test` contains the parts that prediction needs."""
    networks = build(config, torch.Generator().manual_seed(0)).eval()
    image = torch.zeros(1, 1, CROP_PX, CROP_PX)
    if isinstance(networks, Regressor | OwnNetworks):
        return {"test": _measure([networks], lambda: networks(image))}
    if isinstance(networks, CrossNet):
        parts = _paper_parts(networks.crossing, image)
        return {**parts, "test": _measure([networks.dense], lambda: networks(image))}
    if isinstance(networks, DenseCrossing):
        vae = networks.vae
        joints = torch.zeros(1, config.num_joints, 3)
        return {
            "encoder": _measure([vae.encoder, vae.mean, vae.logvar], lambda: vae.encode(joints)),
            "decoder": _measure([vae.decoder], lambda: vae.decode(torch.zeros(1, vae.config.latent_dim))),
            "generator": _measure([networks.gen], lambda: networks.gen(joints)),
            "discriminator": _measure([networks.dis], lambda: networks.dis(image)),
            "test": _measure([networks.dense], lambda: networks(image)),
        }
    return _paper_parts(networks, image)


def _paper_parts(nets: CrossingNets, image: Tensor) -> dict[str, Complexity]:
    vae = nets.vae
    disc = nets.disc
    y = torch.zeros(1, vae.config.num_joints, 3)
    z = torch.zeros(1, nets.config.latent_dim)
    maps = disc.trunk(image)
    met: list[nn.Module] = [disc.met] if disc.metric_kind == "separate" else [disc.met, disc.met_pair]

    def metric(maps: Tensor) -> Tensor:
        found = disc.met(maps)
        return found if disc.metric_kind == "separate" else disc.difference(found, found)

    return {
        "encoder": _measure([vae.encoder, vae.mean, vae.logvar], lambda: vae.encode(y)),
        "decoder": _measure([vae.decoder], lambda: vae.decode(z[:, :-3])),
        "alignment": _measure([nets.ali], lambda: nets.ali(z)),
        "generator": _measure([nets.gen], lambda: nets.gen(z)),
        "trunk": _measure([disc.trunk], lambda: disc.trunk(image)),
        "dis_head": _measure([disc.dis], lambda: disc.dis(maps)),
        "met_head": _measure(met, lambda: metric(maps)),
        "pos_head": _measure([disc.pos], lambda: disc.pos(maps)),
        "discriminator": _measure([disc], lambda: (disc.dis(m := disc.trunk(image)), metric(m), disc.pos(m))),
        "test": _measure([disc.trunk, disc.pos, vae.decoder], lambda: nets(image)),
    }
