"""Whole frames to joints in the camera frame: find the hand, crop, estimate."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from jaxtyping import Float32

from crossnets.data.dataset import HandDataset, Problem, readable_frames
from crossnets.geometry.localise import Centers, center_of
from crossnets.geometry.skeleton import Skeleton
from crossnets.models.estimator import Estimator
from crossnets.models.refine import Refinement
from crossnets.types import HandFrame, PredictedFrame

_BATCH = 32


def predict_dataset(
    estimator: Estimator,
    dataset: HandDataset,
    centers: Centers,
    problems: list[Problem],
    refinement: Refinement = "none",
) -> Iterator[PredictedFrame]:
    """Predict every readable frame; what cannot be read is appended to `problems`."""
    frames = (frame for _, frame in readable_frames(dataset, problems))
    yield from predict_frames(estimator, frames, centers, dataset.skeleton, refinement)


def predict_frames(
    estimator: Estimator,
    frames: Iterable[HandFrame],
    centers: Centers = "image",
    skeleton: Skeleton | None = None,
    refinement: Refinement = "none",
) -> Iterator[PredictedFrame]:
    """Predict frames in order, a few at a time.

    Args:
        estimator: What estimates.
        frames: From a reader.
        centers: Where crops are centred; `label` is an oracle.
        skeleton: Of the frames' labels, needed for `label`.
        refinement: What follows the estimate.

    Raises:
        ValueError: `label` on a frame without one, or a refinement on a model without a latent space.
    """
    rest = iter(frames)
    while some := list(islice(rest, _BATCH)):
        found = [center_of(frame, skeleton, centers) for frame in some]
        seen = [(frame, center_mm) for frame, center_mm in zip(some, found, strict=True) if center_mm is not None]
        joints = iter(_estimate(estimator, seen, refinement))
        for frame, center_mm in zip(some, found, strict=True):
            yield PredictedFrame(frame.key, frame.sequence, center_mm, None if center_mm is None else next(joints))


def _estimate(
    estimator: Estimator, seen: list[tuple[HandFrame, Float32[np.ndarray, "3"]]], refinement: Refinement
) -> Float32[np.ndarray, "B J 3"]:
    """Joints of frames with the centres of their hands; a refinement follows the last look."""
    if not seen:
        return np.zeros((0, len(estimator.skeleton), 3), np.float32)
    found, crops = estimator.estimate_frames([frame for frame, _ in seen], [center_mm for _, center_mm in seen])
    return found.joints_mm if refinement == "none" else estimator.joints_mm(crops, refinement)
