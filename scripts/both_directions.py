"""Measure both directions of a latent space on rendered hands that no training uses.

    python scripts/both_directions.py [MODEL] [--hands 1000]

Each hand is encoded, and a depth map is generated from its latent. Printed are the overlap of the silhouettes (area of
the intersection over that of the union), the difference of the depths inside both, and the cycle error: the distance of
the joints that the estimator finds in the generated map from those that the map was made from. The model of the package
is measured by default.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from crossnets.inference import bundle
from crossnets.inference.torch_models import Estimator
from crossnets.models.crossnet import DensePosterior
from crossnets.synth.stream import SyntheticHands
from crossnets.training.presets import crossnets
from crossnets.training.rendering import rendered
from crossnets.weights import SHIPPED

_BACKGROUND = 0.9
"""Larger values of a map count as background, which itself is +1."""
_FIRST = 2 * 10**12
"""First seed. Trainings and `HeldOutHands` use smaller ones."""
_PIECE = 50


class Measured(NamedTuple):
    """Means over all hands."""

    overlap: float
    depth_mm: float
    cycle_mm: float
    decoded_mm: float
    """Distance of the joints at a hand's latent from those of the hand."""


@torch.inference_mode()
def measure(estimator: Estimator, count: int) -> Measured:
    """Measure a model with a dense estimator on `count` hands of all sensors, without surroundings."""
    networks = estimator.networks
    assert isinstance(networks, DensePosterior)
    space = networks.latent_space
    sources = crossnets().rendered.sources
    found: list[list[np.ndarray]] = []
    for number, source in enumerate(sources):
        hands = SyntheticHands(replace(source, seed=_FIRST + number, clutter=None))
        share = count // len(sources) + (number < count % len(sources))
        for first in range(0, share, _PIECE):
            rows = np.arange(first, min(share, first + _PIECE))
            batch = rendered(hands, rows)
            image = batch.image.float()
            joints = batch.joints.float()
            half_mm = torch.from_numpy(hands.crops(rows).cube_mm / 2).float()[:, None]
            z = space.encode_pose(networks.pose(joints))
            generated = space.render(z).float()
            decoded = networks.joints(space.decode_pose(z))
            seen = image < _BACKGROUND
            drawn = generated < _BACKGROUND
            # In a crop the background is exactly +1. The estimator takes less for a surface at the back of the cube.
            again = networks(torch.where(drawn, generated, torch.ones_like(generated))).joints.float()
            both = (seen & drawn).flatten(1)
            union = (seen | drawn).flatten(1).sum(1).clamp(min=1)
            apart = (image - generated).abs().flatten(1) * both
            found.append(
                [
                    (both.sum(1) / union).numpy(),
                    (half_mm[:, 0] * apart.sum(1) / both.sum(1).clamp(min=1)).numpy(),
                    (half_mm * (again - decoded).norm(dim=-1)).mean(1).numpy(),
                    (half_mm * (decoded - joints).norm(dim=-1)).mean(1).numpy(),
                ]
            )
    return Measured(*(float(np.concatenate(column).mean()) for column in zip(*found, strict=True)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=SHIPPED, help="run or model folder")
    parser.add_argument("--hands", type=int, default=1000)
    given = parser.parse_args()
    if given.hands < 1:
        parser.error(f"--hands {given.hands}: expected 1 or more.")
    result = measure(bundle.load(given.model), given.hands)
    table = Table("hands", "overlap of silhouettes", "depth inside both, mm", "cycle error, mm", "latent to joints, mm")
    numbers = (f"{result.overlap:.3f}", f"{result.depth_mm:.1f}", f"{result.cycle_mm:.1f}", f"{result.decoded_mm:.1f}")
    table.add_row(str(given.hands), *numbers)
    Console().print(table)


if __name__ == "__main__":
    main()
