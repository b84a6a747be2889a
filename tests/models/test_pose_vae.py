import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from crossnets.models.pose_vae import PoseVAE, PoseVAEConfig
from crossnets.tensors import Gaussian, PoseBatch
from tests.models.nets import JOINTS, linears, make_nets, rng


@torch.no_grad()
def test_pose_vae_agrees_with_the_layers_of_the_paper() -> None:
    vae = make_nets().vae
    for p in vae.parameters():
        nn.init.normal_(p, 0, 0.3, rng(p.numel()))
    y, z = torch.randn(5, JOINTS, 3, generator=rng(3)), torch.randn(5, 20, generator=rng(4))
    first, mean, logvar, up, last = linears(vae)
    hidden = F.relu(y.flatten(1) @ first.weight.T + first.bias)
    q = vae.encode(y)
    assert_close(q.mean, hidden @ mean.weight.T + mean.bias)
    assert_close(q.logvar, hidden @ logvar.weight.T + logvar.bias)
    assert vae.mean is mean
    flat = F.leaky_relu(z @ up.weight.T + up.bias, 0.01) @ last.weight.T + last.bias
    assert_close(vae.decode(z), flat.reshape(5, JOINTS, 3))


def _poses(count: int) -> Tensor:
    """Poses whose principal directions differ in length, far from zero on the mean."""
    generator = rng(9)
    lengths = torch.linspace(2, 0.05, 3 * JOINTS)
    turned, _ = torch.linalg.qr(torch.randn(3 * JOINTS, 3 * JOINTS, generator=generator))
    flat = (torch.randn(count, 3 * JOINTS, generator=generator) * lengths) @ turned.T
    return (flat + 5 * torch.randn(3 * JOINTS, generator=generator)).reshape(count, JOINTS, 3)


def _leading_directions(y: Tensor, count: int) -> np.ndarray:
    _, vectors = np.linalg.eigh(np.cov(y.flatten(1).double().numpy().T))
    return vectors.T[::-1][:count]


@pytest.mark.parametrize(("poses", "expected"), [(400, 40), (41, 40), (40, 39), (5, 4), (1, 0)])
def test_outer_matrices_begin_as_principal_directions(poses: int, expected: int) -> None:
    config = PoseVAEConfig(num_joints=JOINTS)
    drawn, vae = PoseVAE(config, rng()), PoseVAE(config, rng())
    y = _poses(poses)
    vae.init_from_pca(y)
    before, after = drawn.state_dict(), vae.state_dict()
    first, last = after["encoder.0.weight"], after["decoder.2.weight"]
    assert torch.equal(first[:expected], last[:, :expected].T)
    if expected:
        along = (first[:expected].double().numpy() * _leading_directions(y, expected)).sum(1)
        np.testing.assert_allclose(np.abs(along), 1, atol=1e-3)
    assert torch.equal(first[expected:], before["encoder.0.weight"][expected:])
    assert torch.equal(last[:, expected:], before["decoder.2.weight"][:, expected:])
    others = before.keys() - {"encoder.0.weight", "decoder.2.weight"}
    assert all(torch.equal(before[name], after[name]) for name in others)


def test_the_noise_of_the_pose_vae_is_a_twentieth_of_its_deviation() -> None:
    vae = make_nets().vae
    logvar = torch.tensor([0.0, math.log(4.0), -2.0]).repeat(20_000, 1)
    mean = torch.tensor([1.0, -2.0, 0.0]).expand_as(logvar)
    noise = vae.sample(Gaussian(mean, logvar), rng()) - mean
    assert_close(noise.std(0), torch.tensor([0.05, 0.1, 0.05 * math.exp(-1)]), rtol=0.03, atol=0)
    assert_close(noise.mean(0), torch.zeros(3), rtol=0, atol=0.003)


def test_noise_depends_on_the_generator_alone() -> None:
    vae, q = make_nets().vae, Gaussian(torch.zeros(2, 20), torch.zeros(2, 20))
    assert torch.equal(vae.sample(q, rng(1)), vae.sample(q, rng(1)))
    assert not torch.equal(vae.sample(q, rng(1)), vae.sample(q, rng(2)))


def test_prediction_is_without_noise() -> None:
    nets = make_nets()
    pose = PoseBatch(torch.randn(3, JOINTS, 3, generator=rng()), torch.randn(3, 3, generator=rng(1)))
    z = nets.encode_pose(pose)
    assert torch.equal(z[:, :20], nets.vae.encode(pose.y).mean)
    assert torch.equal(z[:, 20:], pose.t)
    back = nets.decode_pose(z)
    assert torch.equal(back.t, pose.t)
    assert torch.equal(back.y, nets.vae.decode(z[:, :20]))
