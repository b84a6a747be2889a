"""The scale with which stated deviations hold, from labelled frames."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from crossnets.inference.detector import Detection
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.hands import estimate_hands
from crossnets.types import DepthImage

ONE_SIGMA = 0.6827
"""Share of a Gaussian within one deviation of its mean."""
_NEAR_MM = 60.0
"""A hand whose mean joint is within this distance of the labelled one is the labelled hand."""


def std_per_spread(
    estimator: CropEstimator,
    images: Sequence[DepthImage],
    find: Callable[[DepthImage], Sequence[Detection]],
    joints_mm: Float[np.ndarray, "N J 3"],
) -> float:
    """`CropModel.std_per_spread` with which 68.27 % of the coordinates of found hands are within one deviation.

    Hands are found as `Tracker.predict` finds them. Frames in which the labelled hand is not found do not count.

    Args:
        estimator: The model. What it states now does not matter.
        images: Frames that it was not trained on.
        find: Finds the candidates in a frame.
        joints_mm: Labels of the frames, in the estimator's skeleton.

    Raises:
        ValueError: the estimator states no deviations, or finds no labelled hand.
    """
    now = estimator.model.std_per_spread
    ratios = []
    for image, truth in zip(images, joints_mm, strict=True):
        candidates = find(image)
        if not candidates:
            continue
        estimated = estimate_hands(estimator, image, candidates)
        joints, std = estimated.estimates.joints_mm, estimated.estimates.std_mm
        if std is None:
            raise ValueError(f"A model of the preset {estimator.model.preset} states no deviations to calibrate.")
        for row in estimated.hands:
            if np.linalg.norm(joints[row].mean(axis=0) - truth.mean(axis=0)) < _NEAR_MM:
                ratios.append(np.abs(joints[row] - truth) / std[row][:, None])
    if not ratios:
        raise ValueError(f"In none of the {len(images)} frames the labelled hand was found, so nothing is calibrated.")
    return now * float(np.quantile(np.stack(ratios), ONE_SIGMA))
