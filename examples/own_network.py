"""A network of your own, with all commands of the package.

    crossnets synthesize --as recording --motion --frames 2000 --out hands
    python examples/own_network.py train --preset small --data recording:hands --out runs/small
    python examples/own_network.py evaluate --model runs/small --data cvar:PATH#P5
    python examples/own_network.py export runs/small --out small.onnx
    crossnets live --model small.onnx

Settings are options of the training: `--preset small --channels 64`. The exported file needs this program no more.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from crossnets.cli import main
from crossnets.models.own import Found, network


@dataclass(frozen=True)
class SmallSettings:
    """Settings of the network."""

    channels: int = 16
    """Channels of the first layer. Each layer has twice as many as the one before."""
    bone_weight: float = 0.5
    """Weight of the loss term on distances between joints."""


@network("small", SmallSettings)
class Small(nn.Module):
    """Five convolutions, then a linear layer to the joints and their expected errors."""

    def __init__(self, settings: SmallSettings, num_joints: int) -> None:
        super().__init__()
        self.settings = settings
        self.num_joints = num_joints
        widths = [1, *(settings.channels * 2**level for level in range(5))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.last = nn.Linear(4 * 4 * widths[-1], 4 * num_joints)

    def forward(self, image: Tensor) -> Found:
        """Joints in mm from the crop's centre, and the log of their expected distance from the truth in mm."""
        out = self.last(self.convolutions(image).flatten(1))
        joints = out[:, : 3 * self.num_joints].unflatten(1, (self.num_joints, 3))
        return Found(100 * joints, out[:, 3 * self.num_joints :] + 3)

    def loss(self, found: Found, joints_mm: Tensor) -> dict[str, Tensor]:
        """Terms whose sum is minimised: distances of joints, their expectation, and distances between joints."""
        assert found.log_spread is not None
        distance = ((found.joints_mm.float() - joints_mm).square().sum(-1) + 1e-4).sqrt()
        log_spread = found.log_spread.float()
        bones = (found.joints_mm.float().diff(dim=1) - joints_mm.diff(dim=1)).abs().mean()
        return {
            "joints": distance.mean(),
            "spread": (distance.detach() * (-log_spread).exp() + log_spread).mean(),
            "bones": self.settings.bone_weight * bones,
        }


if __name__ == "__main__":
    main()
