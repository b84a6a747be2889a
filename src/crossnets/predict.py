"""Whole frames to joints in the camera frame: find the hand, crop, estimate."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from jaxtyping import Float32

from crossnets.data.dataset import HandDataset, Problem, readable_frames
from crossnets.detection import Finder
from crossnets.estimation import CropEstimator, Refinement
from crossnets.geometry.localise import Centers, center_of
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import HandFrame, PredictedFrame

_BATCH = 32


def predict_dataset(
    estimator: CropEstimator,
    dataset: HandDataset,
    centers: Centers,
    problems: list[Problem],
    refinement: Refinement = "none",
    finder: Finder | None = None,
) -> Iterator[PredictedFrame]:
    """Predict every readable frame; what cannot be read is appended to `problems`."""
    frames = (frame for _, frame in readable_frames(dataset, problems))
    yield from predict_frames(estimator, frames, centers, dataset.skeleton, refinement, finder)


def predict_frames(
    estimator: CropEstimator,
    frames: Iterable[HandFrame],
    centers: Centers = "image",
    skeleton: Skeleton | None = None,
    refinement: Refinement = "none",
    finder: Finder | None = None,
) -> Iterator[PredictedFrame]:
    """Predict frames in order, a few at a time.

    Args:
        estimator: What estimates.
        frames: From a reader.
        centers: Where crops are centred; `label` is an oracle.
        skeleton: Of the frames' labels, needed for `label`.
        refinement: What follows the estimate.
        finder: Finds the hands in an image, the surest first, which is taken; instead of `centers`.

    Raises:
        ValueError: `label` on a frame without one, or a refinement on a model without a latent space.
    """
    rest = iter(frames)
    while some := list(islice(rest, _BATCH)):
        found = [_found(frame, skeleton, centers, finder) for frame in some]
        seen = [(frame, center_mm) for frame, center_mm in zip(some, found, strict=True) if center_mm is not None]
        joints = iter(_estimate(estimator, seen, refinement))
        for frame, center_mm in zip(some, found, strict=True):
            of_frame = (None, None) if center_mm is None else next(joints)
            yield PredictedFrame(frame.key, frame.sequence, center_mm, *of_frame)


def _found(
    frame: HandFrame, skeleton: Skeleton | None, centers: Centers, finder: Finder | None
) -> Float32[np.ndarray, "3"] | None:
    if finder is None:
        return center_of(frame, skeleton, centers)
    detections = finder(frame.depth_mm, frame.camera)
    return detections[0].center_mm if detections else None


def _estimate(
    estimator: CropEstimator, seen: list[tuple[HandFrame, Float32[np.ndarray, "3"]]], refinement: Refinement
) -> list[tuple[Float32[np.ndarray, "J 3"], Float32[np.ndarray, "J"] | None]]:
    """Joints and their deviations of frames with the centres of their hands; a refinement follows the last look."""
    if not seen:
        return []
    found, crops = estimator.estimate_frames([frame for frame, _ in seen], [center_mm for _, center_mm in seen])
    if refinement != "none":
        return [(joints, None) for joints in estimator.joints_mm(crops, refinement)]
    return list(zip(found.joints_mm, [None] * len(crops) if found.std_mm is None else found.std_mm, strict=True))
