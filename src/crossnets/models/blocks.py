"""Shared layers, such as the 6x6 convolutions with batch normalisation of the paper (spec 2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from crossnets import ranks

BN_EPS = 1e-4
BN_STEP = 0.1
"""Step of the running averages after 1 / BN_STEP batches. Before that they are plain means."""
LEAK = 0.2
"""Slope of the discriminator's leaky ReLU."""


class _EarlyMean:
    """Running averages that do not depend on their start, so that a head can be used after a few steps of training."""

    momentum: float | None
    num_batches_tracked: Tensor | None
    track_running_stats: bool
    training: bool
    _batches: int | None = None
    """Copy of `num_batches_tracked` outside the device, so that a step never waits for a GPU. None before it is
    read."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            if self._batches is None:
                self._batches = int(self.num_batches_tracked)
            self.momentum = max(BN_STEP, 1 / (1 + self._batches))
            self._batches += self.track_running_stats
        if self.training and ranks.size() > 1:
            return self._synchronised(input)
        return super().forward(input)  # pyright: ignore[reportAttributeAccessIssue] - torch's class defines it

    def _synchronised(self, input: Tensor) -> Tensor:
        """Normalise by the statistics of all ranks, in float32. torch's SyncBatchNorm needs a GPU."""
        assert isinstance(self, nn.BatchNorm1d | nn.BatchNorm2d)
        x = input.float()
        dims = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        mean = ranks.total(x.mean(dims)) / ranks.size()
        centred = x - mean.view(shape)
        variance = ranks.total(centred.square().mean(dims)) / ranks.size()
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            count = ranks.size() * x.numel() / x.shape[1]
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum or 0.0)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum or 0.0)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked += 1
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)

    def reset_running_stats(self) -> None:
        """Forget all batches. The next ones are averaged as if they were the first."""
        self._batches = None
        super().reset_running_stats()  # pyright: ignore[reportAttributeAccessIssue] - as in `forward`

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._batches = None
        super()._load_from_state_dict(*args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue] - as in `forward`


class BatchNorm1d(_EarlyMean, nn.BatchNorm1d):
    """Batch normalisation of features (spec 2)."""


class BatchNorm2d(_EarlyMean, nn.BatchNorm2d):
    """Batch normalisation of maps (spec 2)."""


class ImageConv2d(nn.Conv2d):
    """Convolution of images with one channel."""

    # The layouts of an image with one channel differ in a stride that torch ignores, so the convolution returns maps in
    # the slower layout. They are the largest maps, and the next layer copies them. In bfloat16 the image therefore gets
    # the strides of the faster layout. In float32 the results stay the same to the bit: torch's normalisation of the
    # faster layout adds up one pixel after the other, which is less exact.
    def forward(self, input: Tensor) -> Tensor:
        """Convolve images of shape (B, 1, H, W)."""
        if input.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            input = input.contiguous().flatten(1).unflatten(1, (*input.shape[2:], 1)).permute(0, 3, 1, 2)
        return super().forward(input)


def conv(channels_in: int, channels_out: int) -> list[nn.Module]:
    """Return a 6x6 convolution that halves the side, batch normalisation, and leaky ReLU."""
    kind = ImageConv2d if channels_in == 1 else nn.Conv2d
    return [
        kind(channels_in, channels_out, 6, stride=2, padding=2, bias=False),
        BatchNorm2d(channels_out, BN_EPS, BN_STEP),
        nn.LeakyReLU(LEAK),
    ]


def deconv(channels_in: int, channels_out: int) -> list[nn.Module]:
    """Return a 6x6 transposed convolution that doubles the side, batch normalisation, and ReLU."""
    return [
        nn.ConvTranspose2d(channels_in, channels_out, 6, stride=2, padding=2, bias=False),
        BatchNorm2d(channels_out, BN_EPS, BN_STEP),
        nn.ReLU(),
    ]


def linear_bn(features_in: int, features_out: int) -> list[nn.Module]:
    """Return a linear layer without bias, and batch normalisation."""
    return [nn.Linear(features_in, features_out, bias=False), BatchNorm1d(features_out, BN_EPS, BN_STEP)]


def init_normal(module: nn.Module, weight_std: float, generator: torch.Generator) -> None:
    """Draw weights from N(0, weight_std^2) and gains from N(1, 0.02^2), and set biases to zero (spec 2.2, 2.3)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, weight_std, generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, BatchNorm1d | BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02, generator)
            nn.init.zeros_(layer.bias)


def channels_last(module: nn.Module) -> None:
    """Change the memory layout of convolution weights to the fastest one."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


@contextmanager
def frozen_averages(*modules: nn.Module) -> Iterator[None]:
    """Context in which normalisation uses batch statistics and does not update its running averages.

    Prediction uses the averages and gets real images. Generated images therefore pass the discriminator within this
    context (spec 4 leaves the choice open).
    """
    layers = [m for module in modules for m in module.modules() if isinstance(m, BatchNorm1d | BatchNorm2d)]
    tracked = [layer.track_running_stats for layer in layers]
    try:
        for layer in layers:
            layer.track_running_stats = False
        yield
    finally:
        for layer, before in zip(layers, tracked, strict=True):
            layer.track_running_stats = before
