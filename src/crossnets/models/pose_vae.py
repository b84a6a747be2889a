"""Pose VAE: joints about the reference joint to a 20-d latent and back (spec 2.1)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossnets import ranks
from crossnets.tensors import Gaussian, PoseBatch


@dataclass(frozen=True, kw_only=True)
class PoseVAEConfig:
    """Sizes of spec 2.1."""

    num_joints: int
    hidden_dim: int = 40
    latent_dim: int = 20
    noise_std: float = 0.05
    """Deviation of e in z = mu + exp(s / 2) e. The textbook has 1, and the authors use less on purpose (spec 3.1)."""

    def __post_init__(self) -> None:
        if self.num_joints < 2:
            raise ValueError(f"num_joints={self.num_joints}, but a pose needs at least 2 joints.")
        if not 1 <= self.latent_dim <= 3 * self.num_joints:
            raise ValueError(
                f"latent_dim={self.latent_dim}, but {self.num_joints} joints allow 1 to {3 * self.num_joints}."
            )


class PoseVAE(nn.Module):
    """Two small perceptrons without normalisation. They are fast and always compute in float32."""

    def __init__(self, config: PoseVAEConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        pose = 3 * config.num_joints
        hidden = config.hidden_dim
        z = config.latent_dim
        self.encoder = nn.Sequential(nn.Linear(pose, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, z)
        self.logvar = nn.Linear(hidden, z)
        self.decoder = nn.Sequential(nn.Linear(z, hidden), nn.LeakyReLU(0.01), nn.Linear(hidden, pose))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0.0, 0.01, generator)
                nn.init.zeros_(layer.bias)

    def encode(self, y: Float[Tensor, "B J 3"]) -> Gaussian:
        """Compute the posterior of the latent of a pose."""
        with torch.autocast(y.device.type, enabled=False):
            hidden = self.encoder(y.flatten(1).float())
            return Gaussian(self.mean(hidden), self.logvar(hidden))

    def sample(self, q: Gaussian, generator: torch.Generator) -> Float[Tensor, "B Z"]:
        """Draw z = mu + exp(s / 2) e with e ~ N(0, noise_std^2)."""
        count, dim = q.mean.shape
        e = ranks.mine(torch.randn((ranks.size() * count, dim), generator=generator)).to(q.mean)
        return q.mean + (q.logvar / 2).exp() * self.config.noise_std * e

    def decode(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B J 3"]:
        """Compute the pose at a latent."""
        with torch.autocast(z.device.type, enabled=False):
            return self.decoder(z.float()).unflatten(-1, (self.config.num_joints, 3))

    @torch.no_grad()
    def init_from_pca(self, y: Float[Tensor, "N J 3"]) -> None:
        """Replace the first encoder and last decoder matrix by the leading principal directions of `y` (spec 2.1).

        Fewer poses than hidden units give fewer directions, and the other rows keep their random values. As in the
        paper, the mean of the PCA is not added to a bias.
        """
        flat = y.flatten(1).double()
        _, _, directions = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
        count = min(self.config.hidden_dim, len(directions), max(len(flat) - 1, 0))
        first = self.encoder[0]
        last = self.decoder[2]
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        first.weight[:count] = directions[:count].to(first.weight)
        last.weight[:, :count] = directions[:count].T.to(last.weight)


class PoseSpace:
    """Latents z = [z_y ; t] of poses, for networks with a pose VAE."""

    vae: PoseVAE

    @property
    def latent_dim(self) -> int:
        """Size of z = [z_y ; t]."""
        return self.vae.config.latent_dim + 3

    def encode_pose(self, pose: PoseBatch) -> Float[Tensor, "B Z"]:
        """The latent of a pose, without noise."""
        return torch.cat([self.vae.encode(pose.y).mean, pose.t], dim=1)

    def decode_pose(self, z: Float[Tensor, "B Z"]) -> PoseBatch:
        """The pose at a latent."""
        split = self.vae.config.latent_dim
        return PoseBatch(self.vae.decode(z[:, :split]), z[:, split:])
