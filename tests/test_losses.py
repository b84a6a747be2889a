import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.testing import assert_close

from crossnets import losses
from crossnets.tensors import Gaussian, PoseBatch


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_kl_agrees_with_torch() -> None:
    q = Gaussian(rand(5, 20), rand(5, 20, seed=1))
    exact = kl_divergence(Normal(q.mean, (q.logvar / 2).exp()), Normal(0.0, 1.0))
    assert_close(losses.kl_to_standard_normal(q), exact.sum(1))


def test_kl_is_zero_at_the_prior_alone() -> None:
    zero = torch.zeros(1, 20)
    assert losses.kl_to_standard_normal(Gaussian(zero, zero)) == 0
    assert losses.kl_to_standard_normal(Gaussian(zero, zero + 1)) > 0


def test_pose_reconstruction_is_the_likelihood_of_unit_variance() -> None:
    y_hat, y = rand(4, 16, 3), rand(4, 16, 3, seed=1)
    unit = Normal(y_hat, 1.0)
    likelihood = (unit.log_prob(y) - unit.log_prob(y_hat)).sum((1, 2))
    assert_close(losses.pose_reconstruction(y_hat, y), -likelihood)


def test_depth_reconstruction_counts_each_pixel_up_to_tau() -> None:
    x, x_self = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    x_self[0, 0] = torch.tensor([[0.5, 0.9], [-1.5, 2.0]])
    x_self[1, 0, 0, 0] = -1.0
    assert_close(losses.depth_reconstruction(x_self, x), torch.tensor([(0.25 + 0.81 + 1 + 1) / 4, 0.25]))
    assert_close(losses.depth_reconstruction(x_self, x, tau=4.0), torch.tensor([(0.25 + 0.81 + 2.25 + 4) / 4, 0.25]))


def test_a_truncated_pixel_pulls_no_more() -> None:
    x_self = torch.tensor([[[[0.5, 1.5]]]], requires_grad=True)
    losses.depth_reconstruction(x_self.mT @ torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 2, 2)).sum().backward()
    assert x_self.grad is not None
    assert_close(x_self.grad, torch.tensor([[[[0.5, 0.0]]]]))


@pytest.mark.parametrize("size", [1.0, 30.0, 300.0])
def test_judgements_are_cross_entropies(size: float) -> None:
    logit = size * rand(6, 1)
    ones = torch.ones(6)
    real = F.binary_cross_entropy_with_logits(logit[:, 0], ones, reduction="none")
    generated = F.binary_cross_entropy_with_logits(logit[:, 0], 0 * ones, reduction="none")
    assert_close(losses.judged_real(logit), real)
    assert_close(losses.judged_generated(logit), generated)


def test_feature_matching_compares_the_means_of_batches_of_any_size() -> None:
    generated = torch.tensor([[1.0, 0.0], [3.0, 2.0], [2.0, 4.0], [2.0, 2.0]])  # means 2, 2
    real = torch.tensor([[0.0, 5.0], [1.0, 6.0]])  # means 0.5, 5.5
    assert_close(losses.feature_matching(generated, real), torch.tensor([1.5, 3.5]))


def test_smoothness_by_hand() -> None:
    latent = torch.tensor([[1.0, -2.0], [0.5, 0.0]])
    estimated = torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    of_self = torch.tensor([[2.0, 0.0], [0.0, -3.0]])
    # Row 0: ((1 - 0)^2 + 2^2 + (-2 - 1)^2 + 0^2) / 2; row 1: 3^2 / 2.
    assert_close(losses.smoothness(latent, estimated, of_self), torch.tensor([7.0, 4.5]))


def test_posterior_is_the_mean_squared_error() -> None:
    z_hat, z = rand(4, 23), rand(4, 23, seed=1)
    found = losses.posterior(z_hat, z)
    assert found.shape == (4,)
    assert_close(found.mean(), F.mse_loss(z_hat, z))
    assert_close(found[2], F.mse_loss(z_hat[2], z[2]))


def test_regression_weighs_every_coordinate_alike() -> None:
    estimate = PoseBatch(torch.zeros(2, 3, 3), torch.zeros(2, 3))
    y, t = torch.zeros(2, 3, 3), torch.zeros(2, 3)
    y[0, 1, 2], t[1, 0] = 2.0, -3.0
    assert_close(losses.pose_regression(estimate, PoseBatch(y, t)), torch.tensor([4 / 12, 9 / 12]))
