"""Loss terms of the paper (spec 3), one value per sample unless the docstring says otherwise."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from crossnets import ranks
from crossnets.tensors import Gaussian, PoseBatch


def kl_to_standard_normal(q: Gaussian) -> Float[Tensor, "B"]:
    r"""KL(q || N(0, I)) in nats, summed over Z (spec 3.1).

    $\tfrac12 \sum_z (\mu_z^2 + e^{s_z} - s_z - 1)$
    """
    return 0.5 * (q.mean**2 + q.logvar.exp() - q.logvar - 1).sum(-1)


def pose_reconstruction(y_hat: Float[Tensor, "B J 3"], y: Float[Tensor, "B J 3"]) -> Float[Tensor, "B"]:
    """Half the squared distance, summed over the pose, in units of 50 mm (spec 3.1)."""
    return 0.5 * ((y_hat - y) ** 2).flatten(1).sum(-1)


def depth_reconstruction(
    x_self: Float[Tensor, "B 1 S S"], x: Float[Tensor, "B 1 S S"], tau: float = 1.0
) -> Float[Tensor, "B"]:
    """L_recons: squared error of each pixel, at most tau, averaged (spec 3.2)."""
    return ((x - x_self) ** 2).clamp(max=tau).flatten(1).mean(-1)


def judged_real(logit: Float[Tensor, "B 1"]) -> Float[Tensor, "B"]:
    """Binary cross-entropy of Dis against "real" (spec 3.3)."""
    return F.softplus(-logit).squeeze(1)


def judged_generated(logit: Float[Tensor, "B 1"]) -> Float[Tensor, "B"]:
    """Binary cross-entropy of Dis against "generated" (spec 3.3)."""
    return F.softplus(logit).squeeze(1)


def feature_matching(generated: Float[Tensor, "B F"], real: Float[Tensor, "C F"]) -> Float[Tensor, "F"]:
    """L_G: distance of the two batches' mean features, one value per feature (spec 3.4)."""
    return (ranks.batch_mean(real) - ranks.batch_mean(generated)).abs()


def smoothness(
    latent_difference: Float[Tensor, "B Z"],
    estimated_difference: Float[Tensor, "B Z"],
    self_difference: Float[Tensor, "B Z"],
) -> Float[Tensor, "B"]:
    """L_smo: ((z - z^) - (Met(x) - Met(x^)))^2 + (Met(x) - Met(x_self))^2, averaged over Z (spec 3.5)."""
    return ((latent_difference - estimated_difference) ** 2 + self_difference**2).mean(-1)


def posterior(z_hat: Float[Tensor, "B Z"], z: Float[Tensor, "B Z"]) -> Float[Tensor, "B"]:
    """L_pos: squared error of the estimated latent, averaged over Z (spec 3.6)."""
    return ((z_hat - z) ** 2).mean(-1)


def pose_regression(estimate: PoseBatch, truth: PoseBatch) -> Float[Tensor, "B"]:
    """Squared error of the joints and the offset, averaged, in units of 50 mm: the baseline's only term."""
    error = torch.cat([(estimate.y - truth.y).flatten(1), estimate.t - truth.t], dim=1)
    return (error**2).mean(-1)
