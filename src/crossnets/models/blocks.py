"""Shared layers: the 6x6 convolutions with batch normalisation of every network here (spec 2)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

BN_EPS = 1e-4
BN_STEP = 0.1
"""Step of the running averages."""
LEAK = 0.2
"""Slope of the discriminator's leaky ReLU."""


def conv(channels_in: int, channels_out: int) -> list[nn.Module]:
    """6x6 convolution that halves the side, batch normalisation, leaky ReLU."""
    return [
        nn.Conv2d(channels_in, channels_out, 6, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(channels_out, BN_EPS, BN_STEP),
        nn.LeakyReLU(LEAK),
    ]


def deconv(channels_in: int, channels_out: int) -> list[nn.Module]:
    """6x6 transposed convolution that doubles the side, batch normalisation, ReLU."""
    return [
        nn.ConvTranspose2d(channels_in, channels_out, 6, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(channels_out, BN_EPS, BN_STEP),
        nn.ReLU(),
    ]


def linear_bn(features_in: int, features_out: int) -> list[nn.Module]:
    """Linear layer without bias, and batch normalisation."""
    return [nn.Linear(features_in, features_out, bias=False), nn.BatchNorm1d(features_out, BN_EPS, BN_STEP)]


def init_normal(module: nn.Module, weight_std: float, generator: torch.Generator) -> None:
    """Draw weights from N(0, weight_std^2) and normalisation gains from N(1, 0.02^2); biases zero (spec 2.2, 2.3)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, weight_std, generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02, generator)
            nn.init.zeros_(layer.bias)


def channels_last(module: nn.Module) -> None:
    """Lay the weights of convolutions out so that processors convolve fastest."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


@contextmanager
def frozen_averages(*modules: nn.Module) -> Iterator[None]:
    """Within it, normalisation uses batch statistics but leaves its running averages alone.

    The averages are what prediction uses, and prediction sees real images: so passes of generated images
    through the discriminator run in here (spec 4 leaves the choice open).
    """
    layers = [m for module in modules for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    steps = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, step in zip(layers, steps, strict=True):
            layer.momentum = step
