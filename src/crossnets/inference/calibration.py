"""Calibrate the deviations that a model estimates, with labelled frames."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from crossnets.inference.detector import Detection
from crossnets.inference.estimator import CropEstimator, Deviations, side_doubt
from crossnets.inference.hands import estimate_hands
from crossnets.types import DepthImage

ONE_SIGMA = 0.6827
"""Probability that a Gaussian is within one deviation of its mean."""
_NEAR_MM = 60.0
"""A hand whose mean joint is within this distance of the labelled one is the labelled hand."""
_LEAST_MM = 1e-3
"""Least expected error, which is a divisor."""
_FLOORS_MM = np.arange(0.0, 10.1, 0.5)
_OF_DOUBT = np.arange(0.0, 3.01, 0.1)
"""Values of `std_floor_mm` and `std_of_doubt` that are tried."""
_DOUBTFUL = 0.2
"""Least doubt about the side in a hand whose side is called doubtful: 5 % for the other side."""
_FEWEST = 20
"""With fewer doubtful hands than this `std_of_doubt` is 0."""
_GROUPS = 4
"""Groups of joints by expected error, in each of which the deviations are to hold."""


class Errors(NamedTuple):
    """Hands that were detected: what the network expected, and what was wrong."""

    expected_mm: Float[np.ndarray, "N J"]
    off_mm: Float[np.ndarray, "N J 3"]
    """Absolute errors in each axis."""
    doubt: Float[np.ndarray, "N"]
    """As in `side_doubt`. 0 if the network does not estimate sides."""


def deviations(
    estimator: CropEstimator,
    images: Sequence[DepthImage],
    find: Callable[[DepthImage], Sequence[Detection]],
    joints_mm: Float[np.ndarray, "N J 3"],
) -> Deviations:
    """Return the values with which 68.27 % of the coordinates are within one deviation.

    That holds for all joints together. Among the values for which it does, those are chosen for which it holds best in
    each of four groups of joints by their expected error, and among hands whose side is doubtful. Hands are detected as
    by `Tracker.predict`. Frames in which the labelled hand is not detected do not count.

    Args:
        estimator: The model. The result does not depend on its present deviations.
        images: Frames that were not used for training.
        find: Finds the candidates in a frame.
        joints_mm: Labels of the frames in the estimator's skeleton.

    Raises:
        ValueError: the model does not estimate deviations, or no labelled hand is detected.
    """
    return fitted(_errors(estimator, images, find, joints_mm))


def fitted(errors: Errors) -> Deviations:
    """Return the values that hold for these errors, as in `deviations`."""
    best = None
    for of_doubt in _OF_DOUBT if np.sum(errors.doubt >= _DOUBTFUL) >= _FEWEST else _OF_DOUBT[:1]:
        for floor_mm in _FLOORS_MM:
            per_spread = _per_spread(errors, float(floor_mm), float(of_doubt))
            if per_spread is None:
                continue
            found = Deviations(per_spread, float(floor_mm), float(of_doubt))
            off = _off(errors, found)
            if best is None or off < best[0]:
                best = (off, found)
    assert best is not None  # a floor of 0 always has its ratio
    return best[1]


def _errors(
    estimator: CropEstimator,
    images: Sequence[DepthImage],
    find: Callable[[DepthImage], Sequence[Detection]],
    joints_mm: Float[np.ndarray, "N J 3"],
) -> Errors:
    model = estimator.model
    rows = []
    for image, truth in zip(images, joints_mm, strict=True):
        candidates = find(image)
        if not candidates:
            continue
        estimated = estimate_hands(estimator, image, candidates)
        joints = estimated.estimates.joints_mm
        std = estimated.estimates.std_mm
        if std is None:
            raise ValueError(f"A model of the preset {model.preset} does not estimate deviations to calibrate.")
        right = estimated.estimates.right
        doubt = np.zeros(len(joints)) if right is None else side_doubt(right)
        # The inverse of `Deviations.std_mm`.
        certain = std / (1 + model.std_of_doubt * doubt[:, None])
        expected = np.sqrt(np.maximum(certain**2 - model.std_floor_mm**2, _LEAST_MM**2)) / model.std_per_spread
        for row in estimated.hands:
            if np.linalg.norm(joints[row].mean(axis=0) - truth.mean(axis=0)) < _NEAR_MM:
                rows.append((expected[row], np.abs(joints[row] - truth), doubt[row]))
    if not rows:
        raise ValueError(f"The labelled hand was not detected in any of the {len(images)} frames. Give other frames.")
    return Errors(*(np.array(part, np.float64) for part in zip(*rows, strict=True)))


def _per_spread(errors: Errors, floor_mm: float, of_doubt: float) -> float | None:
    """The ratio with which the deviations hold for all joints together. None if the floor alone is too much."""
    # An error is within one deviation if the square of the ratio is at least this large. That is a number below 0
    # where the floor alone is larger than the error.
    off = errors.off_mm / (1 + of_doubt * errors.doubt[:, None, None])
    least = (off**2 - floor_mm**2) / errors.expected_mm[:, :, None] ** 2
    square = np.quantile(least, ONE_SIGMA)
    return float(np.sqrt(square)) if square > 0 else None


def _off(errors: Errors, found: Deviations) -> float:
    """Sum of squares of how far the shares within one deviation are from the right one in each group."""
    within = errors.off_mm <= found.std_mm(errors.expected_mm, errors.doubt)[:, :, None]
    of_joints = within.reshape(-1, 3).mean(axis=1)
    groups = np.array_split(np.argsort(errors.expected_mm, axis=None, kind="stable"), _GROUPS)
    shares = [of_joints[group].mean() for group in groups]
    doubtful: Bool[np.ndarray, N] = errors.doubt >= _DOUBTFUL
    if doubtful.any():
        shares.append(within[doubtful].mean())
    return float(np.sum((np.array(shares) - ONE_SIGMA) ** 2))
