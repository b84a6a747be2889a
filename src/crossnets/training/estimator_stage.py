"""The stage that trains the dense estimator: rendered hands, each seen once and once in a mirror, and real ones."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, AdamW

from crossnets.models.dense import Votes
from crossnets.models.dense_crossing import DenseCrossing
from crossnets.tensors import RealBatch, RenderedBatch
from crossnets.training.batches import Draw
from crossnets.training.config import StageConfig
from crossnets.training.stage import Losses, descend

VOTES, SPREAD, SIDE, SIZE = 0.5, 0.02, 0.02, 0.2
"""Weights of the terms beside the distance of the joints."""
WEIGHT_DECAY = 0.01


class EstimateStage:
    """Joints, their spread, the hand's side and size from crops of rendered hands."""

    trains_pose: ClassVar[bool] = True

    def __init__(self, nets: DenseCrossing, config: StageConfig) -> None:
        self.nets = nets
        optimiser = AdamW(nets.dense.parameters(), config.lr, weight_decay=WEIGHT_DECAY, fused=True)
        self.optimisers: dict[str, Adam] = {"estimator": optimiser}
        self.direct = (nets.dense,)

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One update."""
        batch, real = draw.rendered(), draw.real()
        if real is None:
            terms = estimation_terms(self.nets.dense(batch.image), batch)
            descend(self.optimisers["estimator"], terms)
            return terms
        count = len(batch.image)
        votes = self.nets.dense(torch.cat([batch.image, real.image]))  # together, for the normalisation
        terms = estimation_terms(votes.rows(slice(count)), batch)
        distance = real_distances(votes.rows(slice(count, None)).joints, real).mean()
        share = len(real.image) / count  # a real crop weighs as much as a rendered one
        descend(self.optimisers["estimator"], {**terms, "real": share * distance})
        return {**terms, "real": distance}

    def images(self, draw: Draw) -> Float[Tensor, "B 1 S S"]:
        """Crops of rendered hands, and of real ones if there are any."""
        rendered, real = draw.rendered().image, draw.real()
        return rendered if real is None else torch.cat([rendered, real.image])


def distances(found: Float[Tensor, "B J 3"], truth: Float[Tensor, "B J 3"]) -> Float[Tensor, "B J"]:
    """Euclidean, in halves of the cube. Its gradient is finite where they meet."""
    return ((found - truth).square().sum(-1) + 1e-8).sqrt()


def vote_distances(votes: Votes, truth: Float[Tensor, "B J 3"]) -> Float[Tensor, "B J"]:
    """Mean distance of single votes, each weighed as it is in its joint. In halves of the cube."""
    of_votes = ((votes.places - truth[:, :, None]).square().sum(-1) + 1e-8).sqrt()
    return (votes.weights * of_votes).sum(-1)


def estimation_terms(votes: Votes, batch: RenderedBatch) -> Losses:
    """Loss terms of the estimator. Distances are in halves of the cube.

    `joints` is the mean distance of the joints, `votes` that of single votes, each weighed as it is in the joint, so
    that every place that takes part learns where the joint is (dense supervision). `spread` is the likelihood of the
    distances under an exponential distribution of that mean. The joints do not learn from it.
    """
    error = distances(votes.joints, batch.joints)
    spread = error.detach() * (-votes.log_spread).exp() + votes.log_spread
    return {
        "joints": error.mean(),
        "votes": VOTES * vote_distances(votes, batch.joints).mean(),
        "spread": SPREAD * spread.mean(),
        "side": SIDE * F.binary_cross_entropy_with_logits(votes.side, (batch.side > 0).float()),
        "size": SIZE * (votes.log_size - batch.log_size).abs().mean(),
    }


def real_distances(found: Float[Tensor, "B J 3"], batch: RealBatch) -> Float[Tensor, "B K"]:
    """Distances of the labels from a network's joints in crop coordinates, in halves of the cube.

    Weighted means hold in the camera frame, not in the crop, whose perspective is undone first.
    """
    z = found[..., 2:].float() + batch.depth[:, None, None]
    xy = (found[..., :2].float() - batch.middle[:, None]) / batch.focal[:, None] * z
    joints = (batch.weights[:, :, None] * torch.cat([xy, z], dim=-1)[:, None]).sum(2)  # float32, whatever the precision
    return distances(joints, batch.joints)
