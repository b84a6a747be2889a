"""Calibrate the deviations that a model estimates, with labelled frames."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from crossnets.inference.detector import Detection
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.hands import estimate_hands
from crossnets.types import DepthImage

ONE_SIGMA = 0.6827
"""Probability that a Gaussian is within one deviation of its mean."""
_NEAR_MM = 60.0
"""A hand whose mean joint is within this distance of the labelled one is the labelled hand."""


def std_per_spread(
    estimator: CropEstimator,
    images: Sequence[DepthImage],
    find: Callable[[DepthImage], Sequence[Detection]],
    joints_mm: Float[np.ndarray, "N J 3"],
) -> float:
    """Return the `CropModel.std_per_spread` with which 68.27 % of the coordinates are within one deviation.

    Hands are detected as by `Tracker.predict`. Frames in which the labelled hand is not detected do not count.

    Args:
        estimator: The model. The result does not depend on its present scale.
        images: Frames that were not used for training.
        find: Finds the candidates in a frame.
        joints_mm: Labels of the frames in the estimator's skeleton.

    Raises:
        ValueError: the model does not estimate deviations, or no labelled hand is detected.
    """
    now = estimator.model.std_per_spread
    ratios = []
    for image, truth in zip(images, joints_mm, strict=True):
        candidates = find(image)
        if not candidates:
            continue
        estimated = estimate_hands(estimator, image, candidates)
        joints = estimated.estimates.joints_mm
        std = estimated.estimates.std_mm
        if std is None:
            raise ValueError(
                f"A model of the preset {estimator.model.preset} does not estimate deviations to calibrate."
            )
        for row in estimated.hands:
            if np.linalg.norm(joints[row].mean(axis=0) - truth.mean(axis=0)) < _NEAR_MM:
                ratios.append(np.abs(joints[row] - truth) / std[row][:, None])
    if not ratios:
        raise ValueError(f"The labelled hand was not detected in any of the {len(images)} frames. Give other frames.")
    return now * float(np.quantile(np.stack(ratios), ONE_SIGMA))
