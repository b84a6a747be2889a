import numpy as np
import torch

from crossnets.geometry.pose import pose_in_crop
from crossnets.models.complexity import complexity
from crossnets.models.dense import DenseConfig, DenseNet
from crossnets.models.dense_crossing import DenseCrossing
from crossnets.models.networks import build
from crossnets.training import presets
from tests.models.nets import rng


def make(joints: int = 5, seed: int = 0) -> DenseNet:
    return DenseNet(DenseConfig(num_joints=joints), rng(seed)).eval()


def blob(column: int, row: int, depth: float) -> torch.Tensor:
    """A crop with one small surface."""
    image = torch.ones(1, 1, 128, 128)
    image[:, :, row : row + 8, column : column + 8] = depth
    return image


def test_the_preset_stays_within_its_multiply_adds() -> None:
    cost = complexity(presets.crossnets_networks())["test"]
    assert cost.macs <= 70_000_000
    assert 4 * cost.parameters < 8e6


def test_votes_start_from_the_place_and_its_depth() -> None:
    network = make()
    with torch.no_grad():
        network.votes.weight.zero_()  # no offset anywhere
        network.votes.bias.zero_() if network.votes.bias is not None else None
        votes = network(blob(column=40, row=96, depth=-0.3))
    place = 16 * (96 // 8) + 40 // 8
    expected = torch.tensor([(5.5 / 8) - 1, (12.5 / 8) - 1, -0.3])
    torch.testing.assert_close(votes.places[0, 0, place], expected, atol=1e-5, rtol=0)
    assert float(votes.places[0, 0, 0, 2]) == 0, "without a valid pixel, depth is relative to the middle of the cube"
    torch.testing.assert_close(votes.weights.sum(-1), torch.ones(1, 5))


def test_joints_are_weighted_means_of_votes() -> None:
    votes = make()(torch.rand(2, 1, 128, 128, generator=rng(3)) * 2 - 1)
    expected = (votes.weights[..., None] * votes.places).sum(2)
    torch.testing.assert_close(votes.joints, expected)
    assert votes.joints.shape == (2, 5, 3)
    assert votes.log_spread.shape == (2, 5)
    assert votes.side.shape == votes.log_size.shape == (2,)


def test_the_same_seed_gives_the_same_weights() -> None:
    one, other, third = make(), make(), make(seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.votes.weight, third.votes.weight)


def test_the_latent_of_an_image_is_that_of_its_estimated_pose() -> None:
    nets = build(presets.crossnets_networks(), rng())
    assert isinstance(nets, DenseCrossing)
    nets.eval()
    image = torch.rand(3, 1, 128, 128, generator=rng(1)) * 2 - 1
    with torch.no_grad():
        joints = nets(image).joints
        z = nets.estimate_latent(image)
        y, t = pose_in_crop(joints.numpy(), nets.config.reference)
        torch.testing.assert_close(z[:, -3:], torch.from_numpy(t))
        torch.testing.assert_close(z[:, :-3], nets.vae.encode(torch.from_numpy(y)).mean)
        torch.testing.assert_close(nets.joints(nets.pose(joints)), joints, atol=1e-6, rtol=0)
    assert np.all(y[:, nets.config.reference] == 0)
