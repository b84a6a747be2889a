"""The stages of the presets `crossing` and `crossnets` in which generator and discriminator learn."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, AdamW

from crossnets import losses, ranks
from crossnets.geometry.crop import CUBE_MM
from crossnets.models.blocks import frozen_averages
from crossnets.models.dense_crossing import DenseCrossing
from crossnets.tensors import PoseBatch, RenderedBatch
from crossnets.training.batches import Draw, part_of
from crossnets.training.config import CrossingTerms, DrawingTerms, StageConfig
from crossnets.training.estimator_stage import VOTES, WEIGHT_DECAY, distances, estimation_terms, vote_distances
from crossnets.training.paper_stages import BETAS, noisy_latent, random_walk
from crossnets.training.stage import Losses, descend, only_trains

KL_WEIGHT = 0.001
"""Weight of the KL term of the pose VAE. With the paper's weight of 1, decoded poses are 12 mm from those that were
encoded. That is more than a finger's radius, so the generator would draw fingers beside those of its images."""
TEACHER_DECAY = 0.99
"""Share of the past in the average of the estimators."""
SURE = 0.1
"""A joint with this expected error, in halves of the cube's side, weighs half as much as one that is sure."""
RAMP_STEPS = 100
"""Steps after which unlabelled frames and generated maps have their whole weight."""
SYNTHESISED = 0.5
"""Weight of the estimator's distances in generated maps."""
ADVERSARIAL = 0.01
"""Weight of the discriminator's judgement in the generator's loss."""


class Drawing:
    """Updates of generator and discriminator in turn."""

    def __init__(self, nets: DenseCrossing, lr: float, *, adversarial: bool) -> None:
        self.nets = nets
        self.adversarial = adversarial
        self.optimisers: dict[str, Adam] = {"generator": Adam(nets.gen.parameters(), lr, BETAS, fused=True)}
        if adversarial:
            self.optimisers["discriminator"] = Adam(nets.dis.parameters(), lr, BETAS, fused=True)

    def joints(self, z: Float[Tensor, "N Z"], count: int, generator: torch.Generator) -> Float[Tensor, "M J 3"]:
        """Return joints to draw: those at these latents, and on all ranks `count` on random walks between them."""
        nets = self.nets
        z_hat = random_walk(z, generator)[: max(1, count // ranks.size())]
        with torch.no_grad():
            return nets.joints(nets.decode_pose(torch.cat([z, z_hat])))

    def update(
        self, real: Float[Tensor, "N 1 S S"], drawn: Float[Tensor, "M J 3"], step: int
    ) -> tuple[Losses, Float[Tensor, "R 1 S S"]]:
        """Update the generator, or in every second step the discriminator instead.

        Args:
            real: Real images.
            drawn: Joints at the latents of the real images, and at others.
            step: Number of the step.

        Returns:
            The loss terms, and the maps at the other latents, without gradients.
        """
        nets = self.nets
        if self.adversarial and step % 2 == 1:
            with torch.no_grad(), frozen_averages(nets.gen):
                x_hat = nets.gen(drawn[len(real) :])
            # The hinge loss (Lim & Ye 2017) learns nothing more from patches that are told apart by a margin.
            terms = {
                "d_real": F.relu(1 - nets.dis(real).float()).mean(),
                "d_generated": F.relu(1 + nets.dis(x_hat).float()).mean(),
            }
            descend(self.optimisers["discriminator"], terms)
            return terms, x_hat
        x_self, x_hat = nets.gen(drawn).tensor_split([len(real)])
        terms = {"g_reconstruction": losses.depth_reconstruction(x_self.float(), real).mean()}
        if self.adversarial:
            with only_trains(nets, nets.gen.parameters()):
                terms["g_adversarial"] = -ADVERSARIAL * nets.dis(x_hat).float().mean()
        descend(self.optimisers["generator"], terms)
        return terms, x_hat.detach()


class CrossingStage:
    """Training of the estimator beside the generator and the discriminator.

    The warm-up has labelled frames alone. Then come unlabelled frames, whose joints in one view the teacher estimates
    and the estimator finds in another, and generated maps of poses on random walks in the latent space.
    """

    trains_pose: ClassVar[bool] = True

    def __init__(self, nets: DenseCrossing, config: StageConfig, terms: CrossingTerms) -> None:
        assert nets.teacher is not None
        self.nets = nets
        self.teacher = nets.teacher
        self.terms = terms
        self.whole = config.name == "joint"
        dense = AdamW(nets.dense.parameters(), config.lr, weight_decay=WEIGHT_DECAY, fused=True)
        self.drawing = Drawing(nets, config.lr, adversarial=self.whole and terms.adversarial)
        self.optimisers: dict[str, Adam] = {"estimator": dense, **self.drawing.optimisers}
        self.direct = (nets.dense,)

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One update."""
        nets = self.nets
        labelled = draw.augmented()
        images = [labelled.image]
        joints = [labelled.joints]
        pairs = draw.pairs(CUBE_MM) if self.whole else None
        sure = None
        if pairs is not None:
            teacher = self.teacher.eval()
            with torch.no_grad():
                votes = teacher(pairs.image)
                taught = pairs.changed(votes.joints.float())
            sure = SURE / (SURE + votes.log_spread.float().exp())
            images.append(pairs.changed_image)
            joints.append(taught)
        ramp = min(1.0, (draw.step + 1) / RAMP_STEPS)
        real = torch.cat(images)
        z = noisy_latent(nets, nets.pose(torch.cat(joints)), generator)
        drawn = self.drawing.joints(z, part_of(draw.stage.batch), generator)
        learned, x_hat = self.drawing.update(real, drawn, draw.step)
        terms = self._estimator_terms(labelled, real, joints[-1], sure, ramp)
        if self.whole and self.terms.synthesised:
            terms["synthesised"] = ramp * SYNTHESISED * self._synthesised(x_hat, drawn[len(z) :])
        descend(self.optimisers["estimator"], terms)
        self._teach(draw.step)
        return {**terms, **learned}

    def images(self, draw: Draw) -> Float[Tensor, "N 1 S S"]:
        """Real images of an update, as the estimator gets them."""
        labelled = draw.augmented().image
        pairs = draw.pairs(CUBE_MM) if self.whole else None
        return labelled if pairs is None else torch.cat([labelled, pairs.changed_image])

    def _estimator_terms(
        self,
        labelled: RenderedBatch,
        real: Float[Tensor, "N 1 S S"],
        taught: Float[Tensor, "U J 3"],
        sure: Float[Tensor, "U J"] | None,
        ramp: float,
    ) -> Losses:
        """Loss terms of real images. Labelled and unlabelled ones are one batch for the normalisation."""
        count = len(labelled.image)
        votes = self.nets.dense(real)
        terms = estimation_terms(votes.rows(slice(count)), labelled)
        if sure is not None:
            rest = votes.rows(slice(count, None))
            error = distances(rest.joints, taught) + VOTES * vote_distances(rest, taught)
            terms["unlabelled"] = ramp * (sure * error).mean()
        return terms

    def _synthesised(self, x_hat: Float[Tensor, "R 1 S S"], joints: Float[Tensor, "R J 3"]) -> Float[Tensor, ""]:
        """Distance of the joints that the estimator finds in generated maps from those that the maps were made of."""
        with frozen_averages(self.nets.dense):
            votes = self.nets.dense(x_hat)
        return (distances(votes.joints, joints) + VOTES * vote_distances(votes, joints)).mean()

    @torch.no_grad()
    def _teach(self, step: int) -> None:
        """Move the teacher towards the estimator. In the warm-up it begins as a plain mean."""
        decay = TEACHER_DECAY if self.whole else min(TEACHER_DECAY, (step + 1) / (step + 10))
        student = self.nets.dense.state_dict()
        for name, value in self.teacher.state_dict().items():
            if value.is_floating_point():
                value.lerp_(student[name], 1 - decay)
            else:
                value.copy_(student[name])


class DrawStage:
    """Training of the generator and the discriminator of the preset `crossnets`, whose estimator has learned before.

    The generator draws the poses of rendered hands, and those that the estimator finds in unlabelled frames.
    """

    trains_pose: ClassVar[bool] = False

    def __init__(self, nets: DenseCrossing, config: StageConfig, terms: DrawingTerms) -> None:
        self.nets = nets
        self.drawing = Drawing(nets, config.lr, adversarial=terms.adversarial)
        self.optimisers = self.drawing.optimisers

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One update."""
        nets = self.nets
        batch = draw.paired()
        real = batch.image
        pose = batch.pose
        if len(batch.unlabelled):
            real = torch.cat([real, batch.unlabelled])
            with torch.no_grad():
                found = nets.pose(nets.dense.eval()(batch.unlabelled).joints.float())
            pose = PoseBatch(*(torch.cat(parts) for parts in zip(pose, found, strict=True)))
        drawn = self.drawing.joints(noisy_latent(nets, pose, generator), part_of(draw.stage.batch), generator)
        return self.drawing.update(real, drawn, draw.step)[0]
