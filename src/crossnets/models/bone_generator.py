"""Generator of depth maps from joints, and the discriminator of its maps: those of the preset `crossing`.

The paper's generator draws a whole hand from a vector, and needs many images to learn where a finger goes. This one is
given maps of the bones, so that it only learns what surfaces around bones look like.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from crossnets.models.blocks import LEAK, channels_last
from crossnets.models.dense import Bottleneck, convolution, initialise

MAP = 32
"""Side of the maps of the bones. Crops are four times as large."""
_WIDTH = 0.08
"""Deviation in crop coordinates of a bone's map across the bone: 10 mm in a cube of 250 mm, the radius of a finger."""


class BoneGenerator(nn.Module):
    """Joints in crop coordinates to a depth map of 128 x 128 pixels."""

    places: Tensor

    def __init__(self, bones: tuple[tuple[int, int], ...], generator: torch.Generator, channels: int = 64) -> None:
        """`bones` are pairs of indices of joints."""
        super().__init__()
        self.bones = bones
        at = (torch.arange(MAP) + 0.5) * (2 / MAP) - 1
        rows, columns = torch.meshgrid(at, at, indexing="ij")
        self.register_buffer("places", torch.stack([columns, rows], dim=-1).reshape(-1, 2), persistent=False)
        fine = channels // 4
        self.body = nn.Sequential(
            *convolution(2 * len(bones), channels, 3),
            *(Bottleneck(channels, channels // 2) for _ in range(2)),
            nn.Conv2d(channels, 4 * fine, 1),
            nn.PixelShuffle(2),
            *convolution(fine, fine, 3),
        )
        self.last = nn.Conv2d(fine, 4, 3, padding=1)
        initialise(self, generator)
        nn.init.normal_(self.last.weight, 0.0, 0.01, generator)
        nn.init.constant_(self.last.bias, 1.0)  # pyright: ignore[reportArgumentType] - maps begin near background
        channels_last(self)

    def forward(self, joints: Float[Tensor, "B J 3"]) -> Float[Tensor, "B 1 128 128"]:
        """A depth map, -1 to 1, for the joints of each hand."""
        fine = self.body(self.maps(joints).contiguous(memory_format=torch.channels_last))
        # As in the paper's generator, tanh is computed in float32 so that its slope is never rounded to 0.
        return torch.tanh(F.pixel_shuffle(self.last(fine).float(), 2))

    def maps(self, joints: Float[Tensor, "B J 3"]) -> Float[Tensor, "B M 32 32"]:
        """Two maps for each bone: how near each place is to the bone, 0 to 1, and the same times the bone's depth."""
        first, second = torch.tensor(self.bones, device=joints.device).T
        start = joints[:, first].float()
        along = joints[:, second].float() - start
        # The nearest point of the bone, in the image, to each place.
        relative = self.places - start[:, :, None, :2]
        length = along[..., :2].square().sum(-1, keepdim=True) + 1e-6
        share = ((relative * along[:, :, None, :2]).sum(-1) / length).clamp(0, 1)
        away = relative - share[..., None] * along[:, :, None, :2]
        near = torch.exp(-away.square().sum(-1) / (2 * _WIDTH**2))
        depth = start[:, :, None, 2] + share * along[:, :, None, 2]
        return torch.cat([near, near * depth], dim=1).unflatten(2, (MAP, MAP))


class PatchDiscriminator(nn.Module):
    """Judges parts of a depth map, 22 pixels wide, as real or generated. Spectral norms keep its slope bounded.

    After Isola et al. 2017 (patches) and Miyato et al. 2018 (spectral normalisation).
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 24, 4, 2, 1), nn.Conv2d(24, 48, 4, 2, 1), nn.Conv2d(48, 96, 4, 2, 1)]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(96, 1, 1)
        initialise(self, generator)
        with torch.random.fork_rng(devices=[]):  # spectral_norm draws its start from torch's own state
            torch.manual_seed(generator.initial_seed())
            for layer in (*layers, self.last):
                spectral_norm(layer)

    def forward(self, image: Float[Tensor, "B 1 128 128"]) -> Float[Tensor, "B 1 16 16"]:
        """Above 0 where a map looks real."""
        for layer in self.layers:
            image = F.leaky_relu(layer(image), LEAK)
        return self.last(image)
