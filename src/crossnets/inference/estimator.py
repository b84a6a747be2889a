"""Joints in the camera frame from hand crops, with any runtime. numpy only."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, get_args

import numpy as np
from jaxtyping import Float, Float32

from crossnets.geometry.crop import CUBE_MM, HAND_IN_CUBE, Normalisation, normalise
from crossnets.geometry.cube import out_of_cubes, views_of
from crossnets.geometry.localise import Centers
from crossnets.geometry.skeleton import SavedSkeleton, Skeleton, find_skeleton, weights_between
from crossnets.types import HandCrop, Refinement

GAUSSIAN_STD = float(np.sqrt(np.pi / 8))
"""Standard deviation in one axis over the mean distance, for a Gaussian that is the same in all three axes."""
_LEAST_CUBE, _MOST_CUBE = 0.4, 1.5
"""Bounds of a cube's side, over the model's own."""


@dataclass(frozen=True, kw_only=True)
class CropModel:
    """How crops are cut for a network, and the skeleton of its joints."""

    preset: str
    skeleton: SavedSkeleton
    cube_mm: float = CUBE_MM
    normalisation: Normalisation = "per-frame"
    centers: Centers = "image"
    """How the cubes of the training frames were centred."""
    passes: int = 1
    """Passes over a frame. Each one after the first crops about the joints of the last, in the estimated size."""
    std_per_spread: float = GAUSSIAN_STD
    """Standard deviation of a joint in each axis, over the distance from the truth that the network expects."""

    def __post_init__(self) -> None:
        if self.normalisation not in get_args(Normalisation) or self.centers not in get_args(Centers):
            raise ValueError(
                f"No crop is normalised {self.normalisation!r} or centred {self.centers!r}. Expected "
                f"{' or '.join(get_args(Normalisation))}, and {', '.join(get_args(Centers))}."
            )
        if not isinstance(self.cube_mm, int | float) or not self.cube_mm > 0:
            raise ValueError(f"The cube's side is {self.cube_mm!r}, expected millimetres above 0.")
        find_skeleton(self.skeleton)
        if self.passes not in (1, 2, 3):
            raise ValueError(f"Found passes={self.passes!r}, expected 1, 2 or 3.")
        if not (isinstance(self.std_per_spread, float) and 0 < self.std_per_spread < np.inf):
            raise ValueError(f"std_per_spread={self.std_per_spread!r}: expected a finite number above 0.")


def current_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a saved `CropModel` under their present names. Files before version 0.2 call `passes` `looks`."""
    return {{"looks": "passes"}.get(name, name): value for name, value in fields.items()}


class Raw(NamedTuple):
    """Outputs of a network for a batch of images."""

    joints: Float[np.ndarray, "B J 3"]
    """Crop coordinates (`geometry.cube`) if all other fields are given, else mm from the crop's centre."""
    log_spread: Float[np.ndarray, "B J"] | None = None
    """Log of the expected distance of a joint from the truth: in halves of the cube if the other fields are given, else
    in mm."""
    side: Float[np.ndarray, "B"] | None = None
    """Logit: above 0 a right hand."""
    log_size: Float[np.ndarray, "B"] | None = None
    """Log of the hand's length over the cube's side."""


class Estimates(NamedTuple):
    """Estimates for a batch of crops. None where the network does not estimate a quantity."""

    joints_mm: Float32[np.ndarray, "B J 3"]
    """Camera frame."""
    std_mm: Float32[np.ndarray, "B J"] | None = None
    """Standard deviation of each joint in each axis."""
    right: Float32[np.ndarray, "B"] | None = None
    """Probability of a right hand."""
    size_mm: Float32[np.ndarray, "B"] | None = None
    """Length of the hand, wrist to tip of the middle finger."""


Speaker = TypeVar("Speaker", bound="CropEstimator")


class CropEstimator:
    """A network, with the crop and skeleton it was trained for."""

    def __init__(
        self,
        model: CropModel,
        network: Callable[[Float32[np.ndarray, "B 1 S S"]], Raw],
        maps: Mapping[str, Float32[np.ndarray, "K J"]] | None = None,
    ) -> None:
        """`maps`: joints of other skeletons as weighted means of the network's own, by name."""
        self.model, self._network, self.maps = model, network, dict(maps or {})
        self.own_skeleton = find_skeleton(model.skeleton)
        """The joints of the network."""
        self._speaks: Skeleton | None = None
        self._weights: Float32[np.ndarray, "K J"] | None = None

    @property
    def skeleton(self) -> Skeleton:
        """The joints it predicts."""
        return self.own_skeleton if self._speaks is None else self._speaks

    def speaking(self: Speaker, skeleton: Skeleton | None) -> Speaker:
        """The same, predicting the joints of another skeleton if it knows it; else itself."""
        if skeleton is None or skeleton == self.own_skeleton:
            return self
        weights = weights_between(self.own_skeleton, skeleton, self.maps)
        if weights is None:
            return self
        other = copy.copy(self)
        other._speaks = skeleton
        other._weights = weights
        return other

    def for_cubes(self: Speaker) -> Speaker:
        """The estimator of all passes but the last, whose joints place the next cubes.

        A declared skeleton may have few joints, whose mean is far from the middle of the hand. The network's own joints
        are taken instead.
        """
        if self._speaks is None or not self._speaks.standard:
            return self
        other = copy.copy(self)
        other._speaks = None
        other._weights = None
        return other

    def arrays(self, crops: Sequence[HandCrop]) -> Float32[np.ndarray, "B 1 S S"]:
        """Crops as the network takes them, -1 to 1."""
        images = [normalise(crop, self.model.normalisation) for crop in crops]
        return images[0][None, None] if len(images) == 1 else np.stack(images)[:, None]

    def estimate(self, crops: Sequence[HandCrop]) -> Estimates:
        """Joints of each crop, and what else the network says."""
        return self.read(self.run(self.arrays(crops)), crops)

    def joints_mm(self, crops: Sequence[HandCrop], refinement: Refinement = "none") -> Float32[np.ndarray, "B J 3"]:
        """Joints of each crop, in the camera frame.

        Raises:
            ValueError: a refinement is asked of what cannot refine.
        """
        if refinement != "none":
            raise ValueError("An exported network only estimates; refining needs the run folder, and crossnets[train].")
        return self.estimate(crops).joints_mm

    def run(self, images: Float32[np.ndarray, "B 1 S S"]) -> Raw:
        """The network alone."""
        return self._network(images)

    def read(self, raw: Raw, crops: Sequence[HandCrop]) -> Estimates:
        """Outputs of the network for these crops, converted to millimetres."""
        if raw.log_spread is None or raw.side is None or raw.log_size is None:
            centers_mm = np.stack([crop.center_mm for crop in crops])
            std_mm = None
            if raw.log_spread is not None:
                std_mm = self._spread(np.exp(raw.log_spread)) * self.model.std_per_spread
            return Estimates(self.spoken(raw.joints + centers_mm[:, None]), std_mm)
        half_mm = np.array([crop.cube_mm / 2 for crop in crops], np.float32)
        return Estimates(
            self.spoken(out_of_cubes(raw.joints, views_of(crops))),
            self._spread(np.exp(raw.log_spread)) * (self.model.std_per_spread * half_mm[:, None]),
            (1 / (1 + np.exp(-raw.side))).astype(np.float32),
            (2 * half_mm * np.exp(raw.log_size)).astype(np.float32),
        )

    def cube_for(self, size_mm: float) -> float:
        """Side in mm of the cube for a hand of this length."""
        least, most = _LEAST_CUBE * self.model.cube_mm, _MOST_CUBE * self.model.cube_mm
        return float(np.clip(size_mm / HAND_IN_CUBE, least, most))

    def refined_cubes(
        self, crops: Sequence[HandCrop], found: Estimates
    ) -> list[tuple[Float32[np.ndarray, "3"], float]]:
        """Centres and sides of the next pass's cubes: about the estimated joints, in the estimated size."""
        cubes = []
        for row, crop in enumerate(crops):
            middle = found.joints_mm[row].mean(axis=0)
            good = np.isfinite(middle).all() and middle[2] > 0
            cube_mm = crop.cube_mm if found.size_mm is None else self.cube_for(float(found.size_mm[row]))
            cubes.append((middle if good else crop.center_mm, cube_mm))
        return cubes

    def spoken(self, joints_mm: Float[np.ndarray, "B J 3"]) -> Float32[np.ndarray, "B K 3"]:
        """The network's joints as those that are predicted."""
        if self._weights is None:
            return joints_mm.astype(np.float32)
        return np.einsum("kj,bjc->bkc", self._weights, joints_mm).astype(np.float32)

    def _spread(self, spread: Float[np.ndarray, "B J"]) -> Float32[np.ndarray, "B K"]:
        """Deviations of joints converted to another skeleton. Errors of the averaged joints are assumed to be fully
        correlated."""
        if self._weights is None:
            return spread.astype(np.float32)
        shares = np.abs(self._weights)
        return (spread @ (shares / shares.sum(axis=1, keepdims=True)).T).astype(np.float32)
