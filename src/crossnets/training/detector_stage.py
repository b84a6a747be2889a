"""The stage that trains the detector of hands on rendered frames, each seen once and once in a mirror."""

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, AdamW

from crossnets import ranks
from crossnets.geometry.thinned import AROUND_PX, CELL_PX, DEPTH_UNIT_MM, FALLBACK_MM, INVERSE_MM, LENGTH_MM
from crossnets.models.detector import DetectorNet
from crossnets.synth.scenes import PRESENT, UNCLEAR
from crossnets.tensors import SceneBatch
from crossnets.training.batches import Draw
from crossnets.training.config import StageConfig
from crossnets.training.stage import Losses, descend

PLACE, DEPTH, SIDE, LENGTH = 0.3, 0.5, 0.3, 0.3
"""Weights of the terms beside the score."""
WEIGHT_DECAY = 0.01
_SPREAD, _SPREAD_CELLS = 0.12, (0.7, 2.0)
"""Deviation of a target's bell over the hand's length, and its least and most."""
_LEARNS = 0.3
"""Cells where the bell is higher than this learn what the hand is like."""
_UNCLEAR_REACH = 0.6
"""The score of cells within this many lengths of a hardly visible hand does not count."""
_EPS = 1e-6


class DetectStage:
    """Scores, places, depths, sides and lengths of hands in frames."""

    trains_pose: ClassVar[bool] = True

    def __init__(self, nets: DetectorNet, config: StageConfig) -> None:
        self.nets = nets
        optimiser = AdamW(nets.parameters(), config.lr, weight_decay=WEIGHT_DECAY, fused=True)
        self.optimisers: dict[str, Adam] = {"detector": optimiser}
        self.direct = (nets,)

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One update."""
        batch = draw.scenes()
        terms = detection_terms(self.nets(batch.image), targets_of(batch))
        descend(self.optimisers["detector"], terms)
        return terms

    def images(self, draw: Draw) -> Float[Tensor, "B C H W"]:
        """Rendered frames."""
        return draw.scenes().image


class Targets(NamedTuple):
    """Targets of the maps, one value a cell."""

    maps: Float[Tensor, "B 6 h w"]
    """The targets of `geometry.thinned.Maps`. The score is a bell around each hand, 1 in the cell of its centre."""
    asked: Bool[Tensor, "B h w"]
    """Cells where the score counts."""
    weight: Float[Tensor, "B h w"]
    """Weight of everything but the score."""


def targets_of(batch: SceneBatch) -> Targets:
    """The maps that decode to the hands of these frames."""
    height, width = (side // CELL_PX for side in batch.image.shape[2:])
    at = torch.arange(max(height, width), device=batch.image.device, dtype=torch.float32)
    u, v, d = batch.uvd.unbind(-1)
    # As `inference.detector.cell_px`, the other way round.
    columns, rows = ((place - (CELL_PX - 1) / 2) / CELL_PX for place in (u, v))
    long = batch.focal_px[:, None] * LENGTH_MM * batch.log_length.exp() / d / CELL_PX
    spread = (_SPREAD * long).clamp(*_SPREAD_CELLS)
    present, unclear = batch.state == PRESENT, batch.state == UNCLEAR
    # A centre in the outer half of the last pixel is nearest to a cell beyond the map: the last one is its own.
    here = _squares(columns.round().clamp(0, width - 1), rows.round().clamp(0, height - 1), at, height, width)
    bell = torch.exp(-here / (2 * spread**2)[..., None, None]) * present[..., None, None]
    near = _squares(columns, rows, at, height, width) < (_UNCLEAR_REACH * long)[..., None, None].square()
    best, which = bell.max(dim=1)
    asked = ~(near & unclear[..., None, None]).any(dim=1) | (best > _LEARNS)

    def of_hand(values: Float[Tensor, "B 2"]) -> Float[Tensor, "B h w"]:
        return values[..., None, None].expand(-1, -1, height, width).gather(1, which[:, None])[:, 0]

    maps = (  # in the order of `Maps`
        best,
        of_hand(columns) - at[:width],
        of_hand(rows) - at[:height, None],
        (of_hand(d) - nearest_depth(batch.image)) / DEPTH_UNIT_MM,
        (of_hand(batch.side) > 0).float(),
        of_hand(batch.log_length),
    )
    return Targets(torch.stack(maps, dim=1), asked, best * (best > _LEARNS))


def _squares(
    columns: Float[Tensor, "B 2"], rows: Float[Tensor, "B 2"], at: Float[Tensor, "N"], height: int, width: int
) -> Float[Tensor, "B 2 h w"]:
    """Squared distance of each cell from these places, in cells."""
    across = (at[:width] - columns[..., None]).square()
    down = (at[:height] - rows[..., None]).square()
    return down[..., None] + across[..., None, :]


def nearest_depth(image: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B h w"]:
    """`geometry.thinned.nearest_around` for every cell, in mm."""
    most = F.max_pool2d(image[:, :1].float(), AROUND_PX, CELL_PX, (AROUND_PX - CELL_PX) // 2)[:, 0]
    return torch.where(most > 0, INVERSE_MM / most.clamp_min(_EPS), torch.full_like(most, FALLBACK_MM))


def detection_terms(found: Float[Tensor, "B 6 h w"], targets: Targets) -> Losses:
    """Loss terms of the detector.

    The score's is CenterNet's (Zhou et al. 2019, Eq. 1), a sum over cells for each hand; of the others it is the mean
    over the cells near a hand, each weighed by its bell.
    """
    found, truth = found.float(), targets.maps
    score, bell = found[:, 0], truth[:, 0]
    log_yes, log_no = F.logsigmoid(score), F.logsigmoid(-score)
    hit = bell >= 1
    right = -log_yes * (1 - log_yes.exp()).square() * hit
    wrong = -log_no * log_yes.exp().square() * (1 - bell) ** 4 * (targets.asked & ~hit)
    # Hands and cells of all ranks. The mean of the ranks' terms is then the term of the whole batch.
    hands = ranks.total(hit.sum().float()).clamp_min(1) / ranks.size()
    cells = ranks.total(targets.weight.sum()).clamp_min(1) / ranks.size()
    apart = (found - truth).abs() * targets.weight[:, None]
    side = F.binary_cross_entropy_with_logits(found[:, 4], truth[:, 4], targets.weight, reduction="sum")
    return {
        "found": right.sum() / hands,
        "false": wrong.sum() / hands,
        "place": PLACE * apart[:, 1:3].sum() / cells,
        "depth": DEPTH * apart[:, 3].sum() / cells,
        "side": SIDE * side / cells,
        "length": LENGTH * apart[:, 5].sum() / cells,
    }
