"""Estimate joints in the camera frame from hand crops, with any runtime."""

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
"""Ratio of the standard deviation in one axis to the mean distance, for a Gaussian that is equal in all three axes."""
_LEAST_CUBE = 0.4
_MOST_CUBE = 1.5
"""Bounds of the side of a cube, relative to the model's cube."""


class Deviations(NamedTuple):
    """The rule that turns errors that a network expects into standard deviations in each axis."""

    std_per_spread: float
    std_floor_mm: float
    std_of_doubt: float

    def std_mm(
        self, expected_mm: Float[np.ndarray, "B J"], doubt: Float[np.ndarray, "B"]
    ) -> Float32[np.ndarray, "B J"]:
        """Return the standard deviations of joints with these expected errors, in hands with this `side_doubt`."""
        std = np.hypot(expected_mm * self.std_per_spread, self.std_floor_mm)
        return (std * (1 + self.std_of_doubt * doubt[:, None])).astype(np.float32)


def side_doubt(right: Float[np.ndarray, "B"]) -> Float[np.ndarray, "B"]:
    """Return 1 where a right hand is as likely as a left one, and 0 where the side is certain.

    A hand taken for one of the other side has its fingers in the opposite order, and errors of centimetres.
    """
    return 4 * right * (1 - right)


@dataclass(frozen=True, kw_only=True)
class CropModel:
    """Description of a network: how its crops are cut, and the skeleton of its joints."""

    preset: str
    skeleton: SavedSkeleton
    cube_mm: float = CUBE_MM
    normalisation: Normalisation = "per-frame"
    centers: Centers = "image"
    """How the cubes of the training frames were centred."""
    passes: int = 1
    """Passes over a frame. Each further pass crops around the joints of the one before, in the estimated size."""
    std_per_spread: float = GAUSSIAN_STD
    """Ratio of the standard deviation of a joint in each axis to the error that the network expects."""
    std_floor_mm: float = 0.0
    """Least standard deviation, from errors that the network does not expect, such as those of a camera's scale."""
    std_of_doubt: float = 0.0
    """Share by which standard deviations grow where both sides of the hand are equally likely (`side_doubt`)."""

    def __post_init__(self) -> None:
        if self.normalisation not in get_args(Normalisation) or self.centers not in get_args(Centers):
            raise ValueError(
                f"Found the normalisation {self.normalisation!r} and the centres {self.centers!r}. Expected "
                f"{' or '.join(get_args(Normalisation))}, and {', '.join(get_args(Centers))}."
            )
        if not isinstance(self.cube_mm, int | float) or not self.cube_mm > 0:
            raise ValueError(f"The cube's side is {self.cube_mm!r}, expected millimetres above 0.")
        find_skeleton(self.skeleton)
        if self.passes not in (1, 2, 3):
            raise ValueError(f"Found passes={self.passes!r}, expected 1, 2 or 3.")
        if not (isinstance(self.std_per_spread, float) and 0 < self.std_per_spread < np.inf):
            raise ValueError(f"Found std_per_spread={self.std_per_spread!r}, expected a finite number above 0.")
        for name in ("std_floor_mm", "std_of_doubt"):
            value = getattr(self, name)
            if not (isinstance(value, float) and 0 <= value < np.inf):
                raise ValueError(f"Found {name}={value!r}, expected a finite number, 0 or above.")

    @property
    def deviations(self) -> Deviations:
        """The rule for standard deviations."""
        return Deviations(self.std_per_spread, self.std_floor_mm, self.std_of_doubt)


def current_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the fields of a saved `CropModel`. Files before version 0.2 call `passes` `looks`."""
    return {{"looks": "passes"}.get(name, name): value for name, value in fields.items()}


class Raw(NamedTuple):
    """Outputs of a network for a batch of images."""

    joints: Float[np.ndarray, "B J 3"]
    """Crop coordinates (`geometry.cube`) if all other fields are given, else mm from the crop's centre."""
    log_spread: Float[np.ndarray, "B J"] | None = None
    """Log of the expected error of a joint, in halves of the cube if the other fields are given, else in mm."""
    side: Float[np.ndarray, "B"] | None = None
    """Logit: above 0 a right hand."""
    log_size: Float[np.ndarray, "B"] | None = None
    """Log of the hand's length over the cube's side."""
    hand: Float[np.ndarray, "B"] | None = None
    """Logit: above 0 the crop shows a hand."""


class Estimates(NamedTuple):
    """Estimates for a batch of crops. A quantity that the network does not estimate is None."""

    joints_mm: Float32[np.ndarray, "B J 3"]
    """Joints in the camera frame."""
    std_mm: Float32[np.ndarray, "B J"] | None = None
    """Standard deviation of each joint in each axis."""
    right: Float32[np.ndarray, "B"] | None = None
    """Probability of a right hand."""
    size_mm: Float32[np.ndarray, "B"] | None = None
    """Length of the hand from the wrist to the tip of the middle finger."""
    hand: Float32[np.ndarray, "B"] | None = None
    """Logit that the crop shows a hand."""


Speaker = TypeVar("Speaker", bound="CropEstimator")


class CropEstimator:
    """A network with the crop and skeleton of its training."""

    def __init__(
        self,
        model: CropModel,
        network: Callable[[Float32[np.ndarray, "B 1 S S"]], Raw],
        maps: Mapping[str, Float32[np.ndarray, "K J"]] | None = None,
    ) -> None:
        """`maps` give the joints of other skeletons, by name, as weighted means of the network's joints."""
        self.model = model
        self._network = network
        self.maps = dict(maps or {})
        self.own_skeleton = find_skeleton(model.skeleton)
        """Skeleton of the network's joints."""
        self._speaks: Skeleton | None = None
        self._weights: Float32[np.ndarray, "K J"] | None = None

    @property
    def skeleton(self) -> Skeleton:
        """Skeleton of the predicted joints."""
        return self.own_skeleton if self._speaks is None else self._speaks

    def speaking(self: Speaker, skeleton: Skeleton | None) -> Speaker:
        """Return an estimator of the joints of another skeleton, or this one if they cannot be computed."""
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
        """Return the estimator of all passes before the last one. Its joints place the next cubes.

        A declared skeleton may have few joints, and their mean may be far from the middle of the hand. Such an
        estimator therefore returns the network's joints.
        """
        if self._speaks is None or not self._speaks.standard:
            return self
        other = copy.copy(self)
        other._speaks = None
        other._weights = None
        return other

    def arrays(self, crops: Sequence[HandCrop]) -> Float32[np.ndarray, "B 1 S S"]:
        """Convert crops to the input of the network, -1 to 1."""
        images = [normalise(crop, self.model.normalisation) for crop in crops]
        return images[0][None, None] if len(images) == 1 else np.stack(images)[:, None]

    def estimate(self, crops: Sequence[HandCrop]) -> Estimates:
        """Estimate joints and all other quantities of each crop."""
        return self.read(self.run(self.arrays(crops)), crops)

    def joints_mm(self, crops: Sequence[HandCrop], refinement: Refinement = "none") -> Float32[np.ndarray, "B J 3"]:
        """Estimate the joints of each crop in the camera frame.

        Raises:
            ValueError: a refinement is requested, and the model cannot refine.
        """
        if refinement != "none":
            raise ValueError(
                "An exported network cannot refine. Give the run folder instead, and install crossnets[train]."
            )
        return self.estimate(crops).joints_mm

    def run(self, images: Float32[np.ndarray, "B 1 S S"]) -> Raw:
        """Run the network."""
        return self._network(images)

    def read(self, raw: Raw, crops: Sequence[HandCrop]) -> Estimates:
        """Convert the outputs of the network for these crops to millimetres."""
        if raw.log_spread is None or raw.side is None or raw.log_size is None:
            centers_mm = np.stack([crop.center_mm for crop in crops])
            std_mm = None
            if raw.log_spread is not None:
                no_doubt = np.zeros(len(raw.joints))
                std_mm = self.model.deviations.std_mm(self._spread(np.exp(raw.log_spread)), no_doubt)
            return Estimates(self.spoken(raw.joints + centers_mm[:, None]), std_mm)
        half_mm = np.array([crop.cube_mm / 2 for crop in crops], np.float32)
        right = 1 / (1 + np.exp(-raw.side))
        return Estimates(
            self.spoken(out_of_cubes(raw.joints, views_of(crops))),
            self.model.deviations.std_mm(self._spread(np.exp(raw.log_spread)) * half_mm[:, None], side_doubt(right)),
            right.astype(np.float32),
            (2 * half_mm * np.exp(raw.log_size)).astype(np.float32),
            None if raw.hand is None else raw.hand.astype(np.float32),
        )

    def cube_for(self, size_mm: float) -> float:
        """Return the side in mm of the cube for a hand of this length."""
        least = _LEAST_CUBE * self.model.cube_mm
        most = _MOST_CUBE * self.model.cube_mm
        return float(np.clip(size_mm / HAND_IN_CUBE, least, most))

    def refined_cubes(
        self, crops: Sequence[HandCrop], found: Estimates
    ) -> list[tuple[Float32[np.ndarray, "3"], float]]:
        """Return centres and sides of the cubes of the next pass: around the estimated joints, in the estimated
        size."""
        cubes = []
        for row, crop in enumerate(crops):
            middle = found.joints_mm[row].mean(axis=0)
            good = np.isfinite(middle).all() and middle[2] > 0
            cube_mm = crop.cube_mm if found.size_mm is None else self.cube_for(float(found.size_mm[row]))
            cubes.append((middle if good else crop.center_mm, cube_mm))
        return cubes

    def spoken(self, joints_mm: Float[np.ndarray, "B J 3"]) -> Float32[np.ndarray, "B K 3"]:
        """Convert the joints of the network to the predicted skeleton."""
        if self._weights is None:
            return joints_mm.astype(np.float32)
        return np.einsum("kj,bjc->bkc", self._weights, joints_mm).astype(np.float32)

    def _spread(self, spread: Float[np.ndarray, "B J"]) -> Float32[np.ndarray, "B K"]:
        """Convert deviations to the predicted skeleton. Errors of averaged joints are assumed to be fully
        correlated."""
        if self._weights is None:
            return spread.astype(np.float32)
        shares = np.abs(self._weights)
        return (spread @ (shares / shares.sum(axis=1, keepdims=True)).T).astype(np.float32)
