"""The networks of the preset `paper` against numpy, from arrays in the layout of the original code.

docs/method.md describes the layout. The arrays are random, and nothing here is computed by torch but the networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from crossnets.models.blocks import BatchNorm1d, BatchNorm2d
from crossnets.models.paper import CrossingNets
from tests.models.nets import JOINTS, make_nets

Arrays = list[np.ndarray]


@dataclass
class Layouts:
    """Draws the arrays of layers as Theano and Lasagne store them."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def dense(self, inputs: int, outputs: int, *, bias: bool = True) -> Arrays:
        """W of shape (inputs, outputs), and b."""
        weight = self.rng.normal(0, inputs**-0.5, (inputs, outputs))
        return [weight, self.rng.normal(0, 0.1, outputs)] if bias else [weight]

    def conv(self, inputs: int, outputs: int) -> Arrays:
        """W of shape (outputs, inputs, 6, 6) of a convolution, whose kernels are turned by half a turn."""
        return [self.rng.normal(0, (36 * inputs) ** -0.5, (outputs, inputs, 6, 6))]

    def deconv(self, inputs: int, outputs: int) -> Arrays:
        """W of shape (inputs, outputs, 6, 6) of the transposed convolution."""
        return [self.rng.normal(0, (9 * inputs) ** -0.5, (inputs, outputs, 6, 6))]

    def norm(self, size: int) -> Arrays:
        """Beta, gamma, mean and the inverse standard deviation."""
        rng = self.rng
        return [
            rng.normal(0, 0.3, size),
            rng.normal(1, 0.2, size),
            rng.normal(0, 0.3, size),
            rng.uniform(0.7, 1.4, size),
        ]


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (6, 6), axis=(2, 3))[:, :, ::2, ::2]
    return np.einsum("bchwij,ocij->bohw", windows, weight[:, :, ::-1, ::-1])


def convolve_transposed(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    count, _, height, width = x.shape
    out = np.zeros((count, weight.shape[1], 2 * height + 4, 2 * width + 4))
    for row in range(6):
        for column in range(6):
            part = np.einsum("bchw,co->bohw", x, weight[:, :, 5 - row, 5 - column])
            out[:, :, row : row + 2 * height : 2, column : column + 2 * width : 2] += part
    return out[:, :, 2:-2, 2:-2]


def normalise(x: np.ndarray, arrays: Arrays) -> np.ndarray:
    beta, gamma, mean, inv_std = (array.reshape(-1, *[1] * (x.ndim - 2)) for array in arrays)
    return (x - mean) * inv_std * gamma + beta


def leaky(x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x > 0, x, slope * x)


def load(module: nn.Module, arrays: Iterator[np.ndarray]) -> None:
    """Put arrays into the layers of a module, in the order of the layers."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            _set(layer.weight, next(arrays).T)
            if layer.bias is not None:
                _set(layer.bias, next(arrays))
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            _set(layer.weight, next(arrays)[:, :, ::-1, ::-1])
            if layer.bias is not None:
                _set(layer.bias, next(arrays))
        elif isinstance(layer, BatchNorm1d | BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            _set(layer.bias, next(arrays))
            _set(layer.weight, next(arrays))
            _set(layer.running_mean, next(arrays))
            _set(layer.running_var, next(arrays) ** -2.0 - layer.eps)


def _set(target: torch.Tensor, array: np.ndarray) -> None:
    assert target.shape == array.shape
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(array)))


def loaded(part: nn.Module, layers: list[Arrays]) -> None:
    arrays = iter([array for layer in layers for array in layer])
    load(part, arrays)
    assert next(arrays, None) is None


def run(network: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(x.astype(np.float32))).numpy()


def nets() -> CrossingNets:
    return make_nets().eval()


def conv_blocks(x: np.ndarray, layers: list[Arrays]) -> np.ndarray:
    for (weight,), norm in zip(layers[::2], layers[1::2], strict=True):
        x = leaky(normalise(convolve(x, weight), norm), 0.2)
    return x


def test_the_generator() -> None:
    draw = Layouts()
    ali = [draw.dense(23, 23, bias=False), draw.norm(23)]
    first = [draw.dense(23, 512, bias=False), draw.norm(512)]
    body = [part for _ in range(4) for part in (draw.deconv(32, 32), draw.norm(32))]
    last = [draw.deconv(32, 1), [np.array([0.8])]]
    networks = nets()
    loaded(networks.ali, ali)
    loaded(networks.gen, [*first, *body, *last])
    z = draw.rng.normal(0, 1, (3, 23))
    aligned = normalise(z @ ali[0][0], ali[1])
    maps = leaky(normalise(np.tanh(aligned) @ first[0][0], first[1]), 0.0).reshape(3, 32, 4, 4)
    for (weight,), norm in zip(body[::2], body[1::2], strict=True):
        maps = leaky(normalise(convolve_transposed(maps, weight), norm), 0.0)
    expected = np.tanh(convolve_transposed(maps, last[0][0]) + last[1][0])
    assert expected.std() > 0.1
    with torch.no_grad():
        found = networks.render(torch.from_numpy(z.astype(np.float32))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_discriminator_and_its_heads() -> None:
    draw = Layouts()
    trunk = [draw.conv(1, 32), draw.norm(32), draw.conv(32, 32), draw.norm(32)]
    networks = nets()
    disc = networks.disc
    loaded(disc.trunk, trunk)
    x = draw.rng.uniform(-1, 1, (2, 1, 128, 128))
    maps = conv_blocks(x, trunk)
    np.testing.assert_allclose(run(disc.trunk, x), maps, atol=1e-4)
    for head, hidden, size in ((disc.dis, None, 1), (disc.met, 512, 23), (disc.pos, 23, 23)):
        convs = [part for _ in range(3) for part in (draw.conv(32, 32), draw.norm(32))]
        top = [] if hidden is None else [draw.dense(512, hidden, bias=False), draw.norm(hidden)]
        end = draw.dense(hidden or 512, size)
        loaded(head, [*convs, *top, end])
        features = conv_blocks(maps, convs).reshape(2, 512)
        if top:
            features = leaky(normalise(features @ top[0][0], top[1]), 0.2)
        np.testing.assert_allclose(run(head, maps), features @ end[0] + end[1], atol=1e-4)


def test_the_pose_vae() -> None:
    draw = Layouts()
    vae = nets().vae
    pose = 3 * JOINTS
    hidden, mean, logvar = draw.dense(pose, 40), draw.dense(40, 20), draw.dense(40, 20)
    first, last = draw.dense(20, 40), draw.dense(40, pose)
    loaded(vae.encoder, [hidden])
    loaded(vae.mean, [mean])
    loaded(vae.logvar, [logvar])
    loaded(vae.decoder, [first, last])
    y = draw.rng.normal(0, 1, (4, pose))
    inside = leaky(y @ hidden[0] + hidden[1], 0.0)
    with torch.no_grad():
        posterior = vae.encode(torch.from_numpy(y.reshape(4, JOINTS, 3).astype(np.float32)))
        decoded = vae.decode(posterior.mean).numpy()
    np.testing.assert_allclose(posterior.mean.numpy(), inside @ mean[0] + mean[1], atol=1e-5)
    np.testing.assert_allclose(posterior.logvar.numpy(), inside @ logvar[0] + logvar[1], atol=1e-5)
    latent = inside @ mean[0] + mean[1]
    expected = leaky(latent @ first[0] + first[1], 0.01) @ last[0] + last[1]
    np.testing.assert_allclose(decoded.reshape(4, pose), expected, atol=1e-5)
