"""How large the deviations of an estimator have to be stated so that they hold, from labelled frames."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32

from crossnets.inference.estimator import CropEstimator
from crossnets.types import DepthImage

ONE_SIGMA = 0.6827
"""Share of a Gaussian within one deviation of its mean."""


def std_per_spread(
    estimator: CropEstimator,
    images: Sequence[DepthImage],
    centers_mm: Sequence[Float32[np.ndarray, "3"]],
    joints_mm: Float[np.ndarray, "N J 3"],
) -> float:
    """`CropModel.std_per_spread` with which 68.27 % of these frames' coordinates are within one deviation.

    Args:
        estimator: As it is; what it states now does not matter.
        images: Frames that it was not trained on.
        centers_mm: Of the hands in them, as they will be found.
        joints_mm: Their labels, in the estimator's skeleton.

    Raises:
        ValueError: the estimator states no deviations.
    """
    now = estimator.model.std_per_spread
    ratios = []
    for image, center_mm, truth in zip(images, centers_mm, joints_mm, strict=True):
        found, _ = estimator.estimate_frames([image], [center_mm])
        if found.std_mm is None:
            raise ValueError(f"A model of the preset {estimator.model.preset} states no deviations to calibrate.")
        ratios.append(np.abs(found.joints_mm[0] - truth) / found.std_mm[0][:, None])
    return now * float(np.quantile(ratios, ONE_SIGMA))
