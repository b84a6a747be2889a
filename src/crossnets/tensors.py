"""Data that crosses modules as torch tensors."""

from typing import NamedTuple

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
    """In crop coordinates (`geometry.cube`)."""
    side: Float[Tensor, "B"]
    """1 a right hand, -1 a left one."""
    log_size: Float[Tensor, "B"]
    """Log of the hand's length over the cube's side."""

    def mirrored(self) -> "RenderedBatch":
        """The same hands in a mirror."""
        flip = self.joints.new_tensor([-1.0, 1.0, 1.0])
        return RenderedBatch(self.image.flip(-1), self.joints * flip, -self.side, self.log_size)
