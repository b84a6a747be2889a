"""Damage rendered images as real cameras and scenes do, on the device of the training.

Depth cameras lose thin fingers at the edges of a hand, tear holes into surfaces, mix foreground with background, and
return single pixels far in front of everything. People hold objects. A rendered image shows only the noise of the
sensor's model. Each training step therefore damages a share of its images.

Every random number depends only on the seed, the row of the image and the pixel. The parameters of an image are drawn
on the processor, and fields of pixels come from an integer hash, which gives the same bits on every device. On the
processor, compiled loops (`damage_kernels`) replace the slowest of torch's operations, with the same bits.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from crossnets import ranks
from crossnets.geometry.thinned import INVERSE_MM, NEAREST_MM, RELIEF_MM, WINDOW_PX
from crossnets.synth.scenes import NONE
from crossnets.tensors import SceneBatch
from crossnets.training import damage_kernels

_HALF_MM = 120.0
"""Half the side of the cube that converts sizes in mm. Real cubes differ from it by at most a quarter."""
_EDGE_MM = 20.0
"""A larger step of depth between neighbouring pixels is an edge."""
_UNSEEN_MM = 1e5
"""Depth of invalid pixels in a search for the farthest depth."""
_SPHERES = 6
"""Number of spheres of a rod. The spheres of a ball coincide."""
_LEAST_LEFT = 0.3
"""Share of the valid pixels that edge loss and holes must leave. Otherwise the image gets neither of them."""
_TINY = 1e-12
"""Smaller than the rounding of squared lengths in a crop."""
_WORD = 0xFFFFFFFF
_SEEDS = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class CropDamage:
    """Share of the crops with each damage, 0 to 1, and its largest strength."""

    objects: float = 0.25
    """A ball or a rod between the fingers or in the palm."""
    mixing: float = 0.08
    """Each pixel becomes the mean of its neighbourhood, as by bilinear resizing or a blur."""
    coarse: float = 0.1
    """Blocks of two or three pixels have one depth."""
    noise: float = 0.2
    noise_mm: float = 7.0
    edges: float = 0.35
    edges_px: int = 7
    """Pixels within this distance of a farther surface are lost."""
    holes: float = 0.25
    holes_share: float = 0.15
    """Largest share of the image."""
    outliers: float = 0.1
    outliers_share: float = 0.01
    """Largest share of wrong pixels. They are nearer than the surface."""

    def __post_init__(self) -> None:
        _check(self, strengths=("noise_mm", "edges_px"))


@dataclass(frozen=True, kw_only=True)
class SceneDamage:
    """Like `CropDamage`, for whole thinned frames. A pixel of these stands for about four pixels of the camera."""

    objects: float = 0.15
    """A ball in the hand, or anywhere in a frame without hands."""
    mixing: float = 0.12
    """Each pixel becomes a weighted mean of its neighbourhood. In half of these images, invalid pixels count as 0 mm,
    as in a blur that ignores validity."""
    edges: float = 0.35
    edges_px: int = 3
    holes: float = 0.15
    holes_share: float = 0.1
    outliers: float = 0.12
    outliers_share: float = 0.01

    def __post_init__(self) -> None:
        _check(self, strengths=("edges_px",))


def _check(config: CropDamage | SceneDamage, strengths: tuple[str, ...]) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if not (value >= 0 if field.name in strengths else 0 <= value <= 1):
            raise ValueError(f"{field.name}={value}: expected {'0 or more' if field.name in strengths else '0 to 1'}.")


class _Draws:
    """Random numbers of some images of a batch. They are equal on every device."""

    def __init__(self, generator: torch.Generator, salt: int, rows: Int64[Tensor, "N"], device: torch.device) -> None:
        """`rows` are the changed images in the batch of all ranks."""
        self._generator = generator
        self._salt = salt
        self._device = device
        self._chosen = len(rows)
        own = rows % ranks.size() == ranks.rank()
        self._own = own.nonzero()[:, 0]
        self._numbers = rows[own].to(device)
        self.rows = rows[own].div(ranks.size(), rounding_mode="floor").to(device)
        """Rows of the changed images in this rank's part of the batch."""

    def rand(self, *shape: int) -> Float[Tensor, "..."]:
        """Draw uniform numbers for each image, shape (R, ...)."""
        return torch.rand(self._chosen, *shape, generator=self._generator)[self._own].to(self._device)

    def randn(self, *shape: int) -> Float[Tensor, "..."]:
        """Draw standard normal numbers for each image, shape (R, ...)."""
        return torch.randn(self._chosen, *shape, generator=self._generator)[self._own].to(self._device)

    def field(self, size: torch.Size) -> Float[Tensor, "R 1 H W"]:
        """Draw uniform numbers for each pixel."""
        height, width = size
        self._salt += 0x9E3779B9
        if _has_kernels(self._device):
            field = torch.empty(len(self._numbers), 1, height, width)
            salt = np.uint32(self._salt & _WORD)
            damage_kernels.hash_fields(self._numbers.numpy(), salt, field.flatten(1).numpy())
            return field
        pixels = torch.arange(height * width, device=self._device).view(1, 1, height, width)
        return hashed(self._numbers[:, None, None, None] * (height * width) + pixels, self._salt)

    def smooth(self, size: torch.Size, cells: int) -> Float[Tensor, "R 1 H W"]:
        """Draw a field that varies over a distance of `cells` pixels."""
        coarse = self.field(torch.Size(-(-side // cells) + 1 for side in size))
        return F.interpolate(coarse, size=tuple(size), mode="bilinear", align_corners=False)


Change: TypeAlias = Callable[[Float[Tensor, "R C H W"], _Draws], Float[Tensor, "R C H W"]]


class _Damages:
    """Applies one kind of damage after the other to random images of a batch."""

    def __init__(self, image: Float[Tensor, "B C H W"], seed: int) -> None:
        self.image = image.clone()
        self._seed = seed
        self._kinds = 0

    def apply(self, share: float, change: Change) -> Bool[Tensor, "B"]:
        """Change a share of the images and return which ones, on the processor.

        The images are chosen on the processor, so their rows are known without waiting for a GPU.
        """
        self._kinds += 1
        # Each kind of damage has its own generator, so a rank without changed images may skip its draws.
        salt = self._seed + 0x85EBCA6B * self._kinds
        generator = torch.Generator().manual_seed(salt & _SEEDS)
        chosen = torch.rand(ranks.size() * len(self.image), generator=generator) < share
        draws = _Draws(generator, salt, chosen.nonzero()[:, 0], self.image.device)
        if len(draws.rows):
            self.image.index_copy_(0, draws.rows, change(self.image[draws.rows], draws))
        return ranks.mine(chosen)


def _has_kernels(device: torch.device) -> bool:
    """Return whether the loops of `damage_kernels` are used on this device."""
    return device.type == "cpu"


def hashed(at: Int64[Tensor, "..."], salt: int) -> Float[Tensor, "..."]:
    """Hash integers to numbers in [0, 1) of 24 bits, by the finaliser lowbias32 (Wellons 2018) modulo 2^32."""
    x = (at * 0x9E3779B1 + (salt & _WORD)) & _WORD
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _WORD
    x = x ^ (x >> 16)
    return (x >> 8).float() * 2.0**-24


class _Rod(NamedTuple):
    centers: Float[Tensor, "R N 3"]
    radius: Float[Tensor, "R"]


@torch.no_grad()
def damage_crops(
    image: Float[Tensor, "B 1 S S"], joints: Float[Tensor, "B J 3"], config: CropDamage, seed: int
) -> Float[Tensor, "B 1 S S"]:
    """Damage metric crops in the order of the fields of `CropDamage`. Images that are not chosen stay unchanged.

    Args:
        image: Depth over half the cube, -1 to 1. Background and invalid pixels are 1.
        joints: Joints in crop coordinates. Objects are placed near them.
        config: Kinds of damage and their frequencies.
        seed: The only source of the random numbers.
    """
    damages = _Damages(image, seed)
    damages.apply(config.objects, lambda crops, draws: _with_rod(crops, _rod(draws, joints[draws.rows])))
    damages.apply(config.mixing, lambda crops, _: _window_means(_padded(crops), 3))
    damages.apply(config.coarse, _in_blocks)
    damages.apply(config.noise, lambda crops, draws: _noisy(crops, draws, config.noise_mm / _HALF_MM))
    before = damages.image.clone()
    torn = damages.apply(config.edges, lambda crops, draws: _edge_loss(crops, draws, config.edges_px))
    torn |= damages.apply(
        config.holes, lambda crops, draws: torch.where(_holes(crops, draws, config.holes_share), 1.0, crops)
    )
    rows = torn.nonzero()[:, 0].to(image.device)
    seen, left = ((crops[rows] < 1).sum(dim=(1, 2, 3), keepdim=True) for crops in (before, damages.image))
    rest = torch.where(left < _LEAST_LEFT * seen, before[rows], damages.image[rows])
    damages.image.index_copy_(0, rows, rest)
    damages.apply(config.outliers, lambda crops, draws: _with_outliers(crops, draws, config.outliers_share))
    return damages.image


@torch.no_grad()
def damage_scenes(batch: SceneBatch, config: SceneDamage, seed: int) -> Float[Tensor, "B 2 H W"]:
    """Damage images of the detector in the order of the fields of `SceneDamage`.

    The depth is damaged, and both channels are computed from it again. Images that are not chosen stay unchanged.
    """
    inverse = batch.image[:, :1]
    depth = torch.where(inverse > 0, INVERSE_MM / inverse.clamp_min(1e-6), 0.0)
    places = Places(batch.uvd[:, 0], batch.state[:, 0] != NONE, batch.focal_px)
    damaged, chosen = _damaged_depth(depth, places, config, seed)
    rows = chosen.nonzero()[:, 0].to(depth.device)
    damaged = damaged[rows]
    changed = (damaged != depth[rows]).any(dim=(1, 2, 3), keepdim=True)
    return batch.image.index_copy(0, rows, torch.where(changed, image_of(damaged), batch.image[rows]))


class Places(NamedTuple):
    """Places of the hands that damages are put near."""

    uvd: Float[Tensor, "B 3"]
    """Centre of the hand: column and row of the image, depth in mm."""
    there: Bool[Tensor, "B"]
    """Whether the image shows a hand at all."""
    focal_px: Float[Tensor, "B"]


@torch.no_grad()
def damage_depth(
    depth_mm: Float[Tensor, "B 1 H W"], places: Places, config: SceneDamage, seed: int
) -> Float[Tensor, "B 1 H W"]:
    """Damage depth images in the order of the fields of `SceneDamage`.

    Args:
        depth_mm: Depth in mm. Invalid pixels are 0.
        places: Where the hands are.
        config: Kinds of damage and their frequencies. Strengths in pixels are those of these images.
        seed: The only source of the random numbers.
    """
    return _damaged_depth(depth_mm, places, config, seed)[0]


def _damaged_depth(
    depth_mm: Float[Tensor, "B 1 H W"], places: Places, config: SceneDamage, seed: int
) -> tuple[Float[Tensor, "B 1 H W"], Bool[Tensor, "B"]]:
    """Return the damaged images, and on the processor which images were chosen for a damage."""
    damages = _Damages(depth_mm, seed)
    chosen = damages.apply(config.objects, lambda frames, draws: _with_ball(frames, draws, places))
    chosen |= damages.apply(config.mixing, _mixed)
    chosen |= damages.apply(config.edges, lambda frames, draws: _without_edges(frames, draws, config.edges_px))
    chosen |= damages.apply(
        config.holes, lambda frames, draws: torch.where(_holes(frames, draws, config.holes_share), 0.0, frames)
    )
    chosen |= damages.apply(config.outliers, lambda frames, draws: _nearer_scenes(frames, draws, config.outliers_share))
    return damages.image, chosen


def image_of(depth_mm: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 2 H W"]:
    """Compute `geometry.thinned.as_image` for a batch of thinned frames. Invalid pixels are 0."""
    seen = (depth_mm > 0).float()
    # Both means are over whole windows, including padding, so their ratio is the mean of the valid pixels.
    margin = 4 * (WINDOW_PX // 2,)
    total, share = (_window_means(F.pad(part, margin), WINDOW_PX) for part in (depth_mm, seen))
    relief = ((total / share.clamp_min(1e-6) - depth_mm) / RELIEF_MM).clamp(-1, 1)
    return torch.cat([INVERSE_MM / depth_mm.clamp_min(NEAREST_MM), relief], dim=1) * seen


def _with_ball(depth: Float[Tensor, "R 1 H W"], draws: _Draws, places: Places) -> Float[Tensor, "R 1 H W"]:
    """Add a ball with a radius of 15 to 45 mm. Its rays are parallel to the optical axis."""
    height, width = depth.shape[2:]
    uvd = places.uvd[draws.rows]
    focal = places.focal_px[draws.rows]
    around = torch.stack([focal / uvd[:, 2], focal / uvd[:, 2], torch.ones_like(focal)], dim=1)
    by_hand = uvd + 25.0 * around * draws.randn(3)
    anywhere = draws.rand(3) * torch.tensor([width, height, 1000.0], device=depth.device)
    anywhere[:, 2] += 300.0
    u, v, d = torch.where(places.there[draws.rows, None], by_hand, anywhere).unbind(-1)
    scale = d / focal  # mm per pixel
    radius = 15.0 + 30.0 * draws.rand()
    across = ((torch.arange(width, device=depth.device) - u[:, None]) * scale[:, None]).square()
    down = ((torch.arange(height, device=depth.device) - v[:, None]) * scale[:, None]).square()
    inside = radius.square()[:, None, None] - across[:, None, :] - down[:, :, None]
    surface = (d[:, None, None] - inside.clamp_min(0).sqrt())[:, None]
    hit = (inside > 0)[:, None] & (surface > 0) & ((depth == 0) | (surface < depth))
    return torch.where(hit, surface, depth)


def _mixed(depth: Float[Tensor, "R 1 H W"], draws: _Draws) -> Float[Tensor, "R 1 H W"]:
    """Take weighted means of 3 x 3 pixels. Half of the pixels that change much are lost, as in the test of support."""
    aside = (0.08 + 0.2 * draws.rand())[:, None, None, None]
    seen = (depth > 0).float()

    def smooth(image: Tensor) -> Tensor:
        padded = F.pad(image, (1, 1, 1, 1))
        rows = aside * (padded[:, :, :-2] + padded[:, :, 2:]) + (1 - 2 * aside) * padded[:, :, 1:-1]
        return aside * (rows[..., :-2] + rows[..., 2:]) + (1 - 2 * aside) * rows[..., 1:-1]

    knows = (draws.rand() < 0.5)[:, None, None, None]
    mean = smooth(depth)
    mean = torch.where(knows, mean / smooth(seen).clamp_min(1e-6) * seen, mean)
    lost = ((mean - depth).abs() > _EDGE_MM) & (draws.field(depth.shape[2:]) < 0.5)
    return torch.where(lost, 0.0, mean)


def _without_edges(depth: Float[Tensor, "R 1 H W"], draws: _Draws, most_px: int) -> Float[Tensor, "R 1 H W"]:
    """Remove pixels near a farther or invalid surface, if the step of depth is large."""
    far = torch.where(depth > 0, depth, _UNSEEN_MM)
    return torch.where(_farthest(far, draws, most_px) - far > _EDGE_MM, 0.0, depth)


def _nearer_scenes(depth: Float[Tensor, "R 1 H W"], draws: _Draws, most_share: float) -> Float[Tensor, "R 1 H W"]:
    """Add wrong pixels at 170 to 370 mm, or at the depth of the scene if that is nearer."""
    wrong = _outliers(depth, draws, most_share)
    near = NEAREST_MM + 200.0 * draws.field(depth.shape[2:])
    near = torch.where(depth > 0, torch.minimum(near, depth), near)
    return torch.where(wrong, near, depth)


def _padded(image: Float[Tensor, "R 1 H W"]) -> Float[Tensor, "R 1 h w"]:
    return F.pad(image, (1, 1, 1, 1), mode="replicate")


def _in_blocks(image: Float[Tensor, "R 1 H W"], draws: _Draws) -> Float[Tensor, "R 1 H W"]:
    """Replace each block of 2 x 2 or 3 x 3 pixels by its first pixel."""
    height, width = image.shape[2:]
    two, three = (
        image[:, :, ::by, ::by].repeat_interleave(by, 2).repeat_interleave(by, 3)[:, :, :height, :width]
        for by in (2, 3)
    )
    return torch.where((draws.rand() < 0.5)[:, None, None, None], two, three)


def _noisy(image: Float[Tensor, "R 1 H W"], draws: _Draws, most: float) -> Float[Tensor, "R 1 H W"]:
    """Add noise to valid pixels: a sum of four uniform numbers, which has a deviation of sqrt(1/3)."""
    total = draws.field(image.shape[2:])
    for _ in range(3):
        total += draws.field(image.shape[2:])
    strength = most * (0.15 + 0.85 * draws.rand())[:, None, None, None]
    noisy = total.sub_(2).mul_(strength * 3**0.5).add_(image).clamp_(-1, 0.999)
    return torch.where(image < 1, noisy, image)


def _edge_loss(image: Float[Tensor, "R 1 H W"], draws: _Draws, most_px: int) -> Float[Tensor, "R 1 H W"]:
    """Remove pixels near a farther surface, if the step of depth is large."""
    return torch.where(_farthest(image, draws, most_px) - image > _EDGE_MM / _HALF_MM, 1.0, image)


def _farthest(depth: Float[Tensor, "R 1 H W"], draws: _Draws, most_px: int) -> Float[Tensor, "R 1 H W"]:
    """Return the largest depth within a distance of 1 to `most_px` pixels, which is drawn for each image."""
    return _maxima(depth, 1 + (draws.rand() * most_px).long().clamp_max(most_px - 1), most_px)


def _maxima(image: Float[Tensor, "R 1 H W"], radii: Int64[Tensor, "R"], most_px: int) -> Float[Tensor, "R 1 H W"]:
    """Compute the maximum within a distance of 1 to `most_px` pixels, which differs between the images."""
    if _has_kernels(image.device):
        out = torch.empty_like(image)
        damage_kernels.spread_maxima(image[:, 0].numpy(), radii.numpy(), out[:, 0].numpy())
        return out
    # The maximum spreads by one pixel in each round. An image takes the maximum of its own round.
    farthest = image
    spread = image
    for number in range(1, most_px + 1):
        spread = F.max_pool2d(_padded(spread), 3, 1)
        farthest = torch.where((radii == number)[:, None, None, None], spread, farthest)
    return farthest


def _window_means(padded: Float[Tensor, "R 1 h w"], side: int) -> Float[Tensor, "R 1 H W"]:
    """Compute the mean of each whole window of `side` x `side` pixels."""
    if _has_kernels(padded.device):
        count, _, height, width = padded.shape
        out = torch.empty(count, 1, height - side + 1, width - side + 1)
        damage_kernels.window_means(padded[:, 0].numpy(), side, out[:, 0].numpy())
        return out
    return F.avg_pool2d(padded, side, 1)


def _holes(image: Float[Tensor, "R C H W"], draws: _Draws, most_share: float) -> Bool[Tensor, "R 1 H W"]:
    """Draw round holes of two sizes, at the lowest values of smooth fields."""
    mask = torch.zeros_like(image[:, :1], dtype=torch.bool)
    for cells in (12, 28):
        # A smooth field is below 0.2 in some 7 % of its pixels, and the share grows as the square of the limit.
        limit = 0.2 * (most_share / 0.14 * draws.rand()).sqrt()
        mask = mask | (draws.smooth(image.shape[2:], cells) < limit[:, None, None, None])
    return mask


def _with_outliers(image: Float[Tensor, "R 1 H W"], draws: _Draws, most_share: float) -> Float[Tensor, "R 1 H W"]:
    """Add wrong pixels between the front of the cube and the surface."""
    wrong = _outliers(image, draws, most_share)
    return torch.where(wrong, -1 + draws.field(image.shape[2:]) * (image + 1), image)


def _outliers(image: Float[Tensor, "R C H W"], draws: _Draws, most_share: float) -> Bool[Tensor, "R 1 H W"]:
    """Choose single pixels, and small patches in a third of the images."""
    share = (most_share * draws.rand().square() + most_share / 20)[:, None, None, None]
    seeds = draws.field(image.shape[2:])
    patches = _maxima((seeds < share / 12).float(), torch.full_like(draws.rows, 2), 2) > 0
    return (seeds > 1 - share) | (patches & (draws.rand() < 1 / 3)[:, None, None, None])


def _rod(draws: _Draws, joints: Float[Tensor, "R J 3"]) -> _Rod:
    """Draw a ball, a rod or a bottle near a random joint of each hand."""
    count = joints.shape[1]
    row = (draws.rand() * count).long().clamp_max(count - 1)
    near = joints.gather(1, row[:, None, None].expand(-1, 1, 3))[:, 0]
    center = 0.6 * near + 0.4 * joints.mean(dim=1) + 22.0 / _HALF_MM * draws.randn(3)
    ball = draws.rand() < 0.6
    radius = torch.where(ball, 20 + 25 * draws.rand(), 6 + 22 * draws.rand()) / _HALF_MM
    # Half the length of a rod is at most three radii, so that its spheres overlap.
    along = F.normalize(draws.randn(3), dim=1) * (3 * radius * draws.rand())[:, None]
    along = torch.where(ball[:, None], torch.zeros_like(along), along)
    places = torch.linspace(-1, 1, _SPHERES, device=joints.device)
    return _Rod(center[:, None] + places[:, None] * along[:, None], radius)


def _with_rod(image: Float[Tensor, "R 1 S S"], rod: _Rod) -> Float[Tensor, "R 1 S S"]:
    """Add an object. Its rays are parallel to the axis of the crop."""
    side = image.shape[-1]
    at = (torch.arange(side, device=image.device) + 0.5) * (2 / side) - 1
    squared = rod.radius.square()
    z = rod.centers[:, :, 2]
    across = (at - rod.centers[:, :, :1]).square()
    down = (at - rod.centers[:, :, 1:2]).square()
    nearest = image[:, 0].clone()
    for number in range(_SPHERES):
        surface = squared[:, None, None] - across[:, number, None, :] - down[:, number, :, None]
        missed = surface <= 0
        # The square root of 0 takes ten times as long as that of other numbers.
        surface.clamp_min_(_TINY).sqrt_().neg_().add_(z[:, number, None, None]).masked_fill_(missed, 1.0)
        torch.minimum(nearest, surface, out=nearest)
    return nearest.clamp_min_(-1)[:, None]
