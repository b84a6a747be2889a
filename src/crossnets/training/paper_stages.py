"""One update of each stage of spec 4: which terms are weighed, whose parameters they reach."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Adam

from crossnets import losses, ranks
from crossnets.models.blocks import frozen_averages
from crossnets.models.dense_crossing import DenseCrossing
from crossnets.models.paper import CrossingNets, Regressor
from crossnets.tensors import Batch, PoseBatch
from crossnets.training.batches import Draw
from crossnets.training.config import StageConfig, Terms
from crossnets.training.stage import Losses, descend, only_trains

BETAS = (0.5, 0.999)
WALK_LENGTH = 5


def random_walk(z: Float[Tensor, "B Z"], generator: torch.Generator) -> Float[Tensor, "B Z"]:
    """z^: random convex combinations of five latents of the batch, drawn with replacement (spec 3)."""
    z = ranks.gathered(z)
    rows = torch.randint(len(z), (len(z), WALK_LENGTH), generator=generator).to(z.device)
    weights = torch.rand(rows.shape, generator=generator).to(z)
    weights = weights / weights.sum(1, keepdim=True)
    return ranks.mine((weights[..., None] * z[rows]).sum(1))


def noisy_latent(
    nets: CrossingNets | DenseCrossing, pose: PoseBatch, generator: torch.Generator
) -> Float[Tensor, "B Z"]:
    """z = [z_y ; t] with the VAE's noise. The VAE is frozen after its own stage (spec 3)."""
    with torch.no_grad():
        return torch.cat([nets.vae.sample(nets.vae.encode(pose.y), generator), pose.t], dim=1)


class PoseVAEStage:
    """Stage A: the pose VAE alone, sums over the batch (spec 3.1 and 4)."""

    trains_pose: ClassVar[bool] = False

    def __init__(self, nets: CrossingNets | DenseCrossing, config: StageConfig, kl_weight: float = 1.0) -> None:
        self.nets = nets
        self.kl_weight = kl_weight
        self.optimisers = {"vae": Adam(nets.vae.parameters(), config.lr, BETAS, fused=True)}

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One update of encoder and decoder."""
        vae, y = self.nets.vae, draw.poses().y
        q = vae.encode(y)
        y_hat = vae.decode(vae.sample(q, generator))
        # Sums over the batch of all ranks: `descend` takes the mean of the ranks' gradients.
        terms = {
            "kl": self.kl_weight * ranks.size() * losses.kl_to_standard_normal(q).sum(),
            "reconstruction": ranks.size() * losses.pose_reconstruction(y_hat, y).sum(),
        }
        descend(self.optimisers["vae"], terms)
        return {name: value / (ranks.size() * len(y)) for name, value in terms.items()}


class DepthGANStage:
    """Stage B: Gen and Dis on depth alone, latents uniform in (-1, 1) (spec 4)."""

    trains_pose: ClassVar[bool] = False

    def __init__(self, nets: CrossingNets, config: StageConfig) -> None:
        self.nets = nets
        disc = [*nets.disc.trunk.parameters(), *nets.disc.dis.parameters()]
        self.optimisers = {
            "discriminator": Adam(disc, config.lr, BETAS, fused=True),
            "generator": Adam(nets.gen.parameters(), config.lr, BETAS, fused=True),
        }

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One step of the discriminator, then one of the generator."""
        gen, disc = self.nets.gen, self.nets.disc
        x = draw.images()
        uniform = torch.rand(ranks.size() * len(x), self.nets.config.latent_dim, generator=generator)
        z = 2 * ranks.mine(uniform).to(x) - 1
        with torch.no_grad(), frozen_averages(gen):
            x_hat = gen(z)
        real = losses.judged_real(disc.dis(disc.trunk(x)).float()).mean()
        with frozen_averages(disc):
            generated = losses.judged_generated(disc.dis(disc.trunk(x_hat)).float()).mean()
        terms_d = {"d_real": real, "d_generated": generated}
        descend(self.optimisers["discriminator"], terms_d)
        with frozen_averages(disc), only_trains(self.nets, gen.parameters()):
            features_hat = disc.dis.features(disc.trunk(gen(z))).float()
            with torch.no_grad():
                features = disc.dis.features(disc.trunk(x)).float()
            terms_g = {"g_features": losses.feature_matching(features_hat, features).mean()}
            descend(self.optimisers["generator"], terms_g)
        return {**terms_d, **terms_g}


class WarmUpStage:
    """Stage C1: Ali alone with Gen frozen, and the heads Met and Pos alone with the trunk frozen (spec 4)."""

    trains_pose: ClassVar[bool] = True

    def __init__(self, nets: CrossingNets, config: StageConfig, terms: Terms) -> None:
        self.nets, self.terms = nets, terms
        self.heads = [*nets.disc.metric_parameters(), *nets.disc.pos.parameters()]
        self.optimisers = {
            "alignment": Adam(nets.ali.parameters(), config.lr, BETAS, fused=True),
            "heads": Adam(self.heads, config.lr, BETAS, fused=True),
        }

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One step of Ali, then one of the heads."""
        nets, batch = self.nets, draw.labelled()
        x = batch.image
        z = noisy_latent(nets, batch.pose, generator)
        z_hat = random_walk(z, generator)
        with only_trains(nets, nets.ali.parameters()):
            _, x_self = render_both(nets, z_hat, z)
            terms_a = {"reconstruction": losses.depth_reconstruction(x_self.float(), x).mean()}
            descend(self.optimisers["alignment"], terms_a)
        with only_trains(nets, self.heads):
            terms_h = latent_terms(nets, x, z, z_hat, self.terms.smoothness)
            descend(self.optimisers["heads"], terms_h)
        return {**terms_a, **terms_h}


def render_both(nets: CrossingNets, z_hat: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """x^ and x_self, through Ali and Gen as one batch, so that normalisation keeps their distances."""
    x_hat, x_self = nets.render(torch.cat([z_hat, z])).chunk(2)
    return x_hat, x_self


def latent_terms(nets: CrossingNets, x: Tensor, z: Tensor, z_hat: Tensor, smooth: bool) -> Losses:
    """L_pos and L_smo of real images and fixed generated ones: what the warm-up's heads learn from."""
    disc = nets.disc
    maps = disc.trunk(x)
    terms = {"posterior": losses.posterior(disc.pos(maps).float(), z).mean()}
    if smooth:
        with torch.no_grad(), frozen_averages(nets):
            x_hat, x_self = render_both(nets, z_hat, z)
        terms["smoothness"] = smoothness_term(nets, disc.met(maps), x_hat, x_self, z - z_hat)
    return terms


def smoothness_term(
    nets: CrossingNets,
    met_x: Float[Tensor, "B K"],
    x_hat: Float[Tensor, "B 1 S S"],
    x_self: Float[Tensor, "B 1 S S"],
    latent_difference: Float[Tensor, "B Z"],
) -> Float[Tensor, ""]:
    """L_smo, with a pass of its own through trunk and Met for each of the two generated batches (spec 4)."""
    disc = nets.disc
    with frozen_averages(disc):
        to_hat = disc.difference(met_x.float(), disc.metric(x_hat).float()).float()
        to_self = disc.difference(met_x.float(), disc.metric(x_self).float()).float()
    return losses.smoothness(latent_difference, to_hat, to_self).mean()


class JointStage:
    """Stage C2: discriminator and generator in turn, on the same batch and the same noise (spec 3 and 4).

    Labelled and unlabelled frames go through the discriminator by themselves, so that in training unlabelled ones reach
    the adversarial terms alone, through batch normalisation too. The running averages, which prediction uses, see both.
    """

    trains_pose: ClassVar[bool] = True

    def __init__(self, nets: CrossingNets, config: StageConfig, terms: Terms) -> None:
        self.nets, self.terms = nets, terms
        self.generating = [*nets.ali.parameters(), *nets.gen.parameters()]
        self.optimisers = {
            "discriminator": Adam(nets.disc.parameters(), config.lr, BETAS, fused=True),
            "generator": Adam(self.generating, config.lr, BETAS, fused=True),
        }

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """L_D + L_pos + L_smo for the discriminator, then L_G + L_recons + L_smo for Ali and Gen.

        Ali and Gen do not change between the two updates, so their images are generated once. The discriminator learns
        from them without gradients for the generator, whose own update goes on with the same pass.
        """
        batch = draw.paired() if self.terms.adversarial else draw.labelled()
        z = noisy_latent(self.nets, batch.pose, generator)
        z_hat = random_walk(z, generator)
        x_hat, x_self = render_both(self.nets, z_hat, z)
        terms_d = self._discriminate(batch, z, z_hat, x_hat.detach(), x_self.detach())
        descend(self.optimisers["discriminator"], terms_d)
        with only_trains(self.nets, self.generating), frozen_averages(self.nets.disc):
            terms_g = self._generate(batch, z, z_hat, x_hat, x_self)
            descend(self.optimisers["generator"], terms_g)
        return {**terms_d, **terms_g}

    def _discriminate(self, batch: Batch, z: Tensor, z_hat: Tensor, x_hat: Tensor, x_self: Tensor) -> Losses:
        disc = self.nets.disc
        maps = disc.trunk(batch.image)
        terms = {"posterior": losses.posterior(disc.pos(maps).float(), z).mean()}
        if self.terms.adversarial:
            logits = [disc.dis(maps)]
            if len(batch.unlabelled):
                logits.append(disc.dis(disc.trunk(batch.unlabelled)))
            terms["d_real"] = losses.judged_real(torch.cat(logits).float()).mean()
            with frozen_averages(disc):
                generated = disc.dis(disc.trunk(torch.cat([x_hat, x_self]))).float()
            terms["d_generated"] = losses.judged_generated(generated).mean()
        if self.terms.smoothness:
            terms["smoothness"] = smoothness_term(self.nets, disc.met(maps), x_hat, x_self, z - z_hat)
        return terms

    def _generate(self, batch: Batch, z: Tensor, z_hat: Tensor, x_hat: Tensor, x_self: Tensor) -> Losses:
        disc, x = self.nets.disc, batch.image
        terms = {"g_reconstruction": losses.depth_reconstruction(x_self.float(), x).mean()}
        if not (self.terms.adversarial or self.terms.smoothness):
            return terms
        # The discriminator has just changed, so real images pass its trunk again, once for both terms.
        with torch.no_grad():
            maps = disc.trunk(x)
        if self.terms.adversarial:
            with torch.no_grad():
                features = [disc.dis.features(maps).float()]
                if len(batch.unlabelled):
                    features.append(disc.dis.features(disc.trunk(batch.unlabelled)).float())
            generated = disc.dis.features(disc.trunk(torch.cat([x_hat, x_self]))).float()
            terms["g_features"] = losses.feature_matching(generated, torch.cat(features)).mean()
        if self.terms.smoothness:
            with torch.no_grad():
                met_x = disc.met(maps)
            terms["g_smoothness"] = smoothness_term(self.nets, met_x, x_hat, x_self, z - z_hat)
        return terms


class RegressionStage:
    """The baseline: joints straight from the image, labelled frames only."""

    trains_pose: ClassVar[bool] = True

    def __init__(self, nets: Regressor, config: StageConfig) -> None:
        self.nets = nets
        self.optimisers = {"regressor": Adam(nets.parameters(), config.lr, BETAS, fused=True)}

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One update."""
        batch = draw.labelled()
        pose = self.nets(batch.image)
        found = PoseBatch(pose.y.float(), pose.t.float())
        terms = {"regression": losses.pose_regression(found, batch.pose).mean()}
        descend(self.optimisers["regressor"], terms)
        return terms
