"""Data that crosses modules as torch tensors."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Gaussian(NamedTuple):
    """A diagonal normal distribution of latents."""

    mean: Float[Tensor, "B Z"]
    logvar: Float[Tensor, "B Z"]
    """Log of the variance, not of the deviation."""


class PoseBatch(NamedTuple):
    """Poses as in `crossnets.geometry.pose`: units of 50 mm, axes of the camera."""

    y: Float[Tensor, "B J 3"]
    """Joints relative to the reference joint."""
    t: Float[Tensor, "B 3"]
    """Reference joint relative to the centre of the crop."""


class Batch(NamedTuple):
    """Labelled crops with their poses, and crops without labels beside them."""

    image: Float[Tensor, "B 1 S S"]
    """Normalised depth, -1 to 1, background +1."""
    pose: PoseBatch
    unlabelled: Float[Tensor, "U 1 S S"]
    """May be empty."""


class RenderedBatch(NamedTuple):
    """Crops of rendered hands, and everything that is known of them."""

    image: Float[Tensor, "B 1 S S"]
    """Metric depth, -1 to 1, background +1."""
    joints: Float[Tensor, "B J 3"]
    """Crop coordinates (`geometry.cube`)."""
    side: Float[Tensor, "B"]
    """1 a right hand, -1 a left one."""
    log_size: Float[Tensor, "B"]
    """Log of the hand's length over the cube's side."""

    def mirrored(self) -> "RenderedBatch":
        """The same hands in a mirror."""
        flip = self.joints.new_tensor([-1.0, 1.0, 1.0])
        return RenderedBatch(self.image.flip(-1), self.joints * flip, -self.side, self.log_size)


class RealBatch(NamedTuple):
    """Crops of real hands, each with its label and the view that it shows; lengths in halves of its cube."""

    image: Float[Tensor, "B 1 S S"]
    """Metric depth, -1 to 1, background +1."""
    joints: Float[Tensor, "B K 3"]
    """Labels in the camera frame."""
    focal: Float[Tensor, "B 2"]
    """The same as `geometry.cube.CropViews.focal_px`."""
    middle: Float[Tensor, "B 2"]
    """The same as `geometry.cube.CropViews.middle_px`."""
    depth: Float[Tensor, "B"]
    """Depth of the cube's centre."""
    weights: Float[Tensor, "K J"]
    """The label's joints as weighted means of a network's."""


class View(NamedTuple):
    """Maps between the camera frame and each of a batch of crops, as `geometry.cube.CropViews`."""

    focal: Float[Tensor, "B 2"]
    middle: Float[Tensor, "B 2"]
    center_mm: Float[Tensor, "B"]
    """Depth of the cube's centre."""
    half_mm: Float[Tensor, "B"]
    """Half the cube's side."""

    def into(self, points_mm: Float[Tensor, "B J 3"]) -> Float[Tensor, "B J 3"]:
        """Camera frame to crop coordinates."""
        uv = points_mm[..., :2] / points_mm[..., 2:] * self.focal[:, None] + self.middle[:, None]
        depth = (points_mm[..., 2:] - self.center_mm[:, None, None]) / self.half_mm[:, None, None]
        return torch.cat([uv, depth], dim=-1)

    def out_of(self, points: Float[Tensor, "B J 3"]) -> Float[Tensor, "B J 3"]:
        """The inverse of `into`."""
        z = points[..., 2:] * self.half_mm[:, None, None] + self.center_mm[:, None, None]
        xy = (points[..., :2] - self.middle[:, None]) / self.focal[:, None] * z
        return torch.cat([xy, z], dim=-1)


class ViewPairs(NamedTuple):
    """Two crops of each of a batch of unlabelled frames: as it is, and with the scene turned, moved and scaled."""

    image: Float[Tensor, "B 1 S S"]
    view: View
    changed_image: Float[Tensor, "B 1 S S"]
    changed_view: View
    turn: Float[Tensor, "B 2 2"]
    """Turn of x and y, with or without a mirror."""

    def changed(self, points: Float[Tensor, "B J 3"]) -> Float[Tensor, "B J 3"]:
        """Crop coordinates in the first crop to those of the same points in the second."""
        points_mm = self.view.out_of(points)
        across = torch.einsum("bij,bkj->bki", self.turn, points_mm[..., :2])
        return self.changed_view.into(torch.cat([across, points_mm[..., 2:]], dim=-1))


class SceneBatch(NamedTuple):
    """Thinned frames, and where up to two hands are in each."""

    image: Float[Tensor, "B 2 H W"]
    """Image of `geometry.thinned.as_image`."""
    uvd: Float[Tensor, "B 2 3"]
    """Centres: column and row of the image, depth in mm."""
    side: Float[Tensor, "B 2"]
    """1 a right hand, -1 a left one."""
    log_length: Float[Tensor, "B 2"]
    """As in `geometry.thinned.Maps`."""
    state: Float[Tensor, "B 2"]
    """As in `crossnets.synth.scenes.Scenes`."""
    focal_px: Float[Tensor, "B"]
    """Focal length of the thinned image."""

    def mirrored(self) -> "SceneBatch":
        """The same frames in a mirror."""
        u, v, d = self.uvd.unbind(-1)
        uvd = torch.stack([self.image.shape[-1] - 1 - u, v, d], dim=-1)
        return self._replace(image=self.image.flip(-1), uvd=uvd, side=-self.side)
