"""Whole frames to joints in the camera frame: find the hand, crop, estimate."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from crossnets.datasets.dataset import HandDataset, Problem, readable_frames
from crossnets.geometry.localise import Centers, center_of
from crossnets.geometry.skeleton import Skeleton
from crossnets.inference.detector import Finder
from crossnets.inference.estimator import CropEstimator, hand_odds
from crossnets.types import HandFrame, PredictedFrame, Refinement

_BATCH = 32


def predict_dataset(
    estimator: CropEstimator,
    dataset: HandDataset,
    centers: Centers,
    problems: list[Problem],
    refinement: Refinement = "none",
    finder: Finder | None = None,
) -> Iterator[PredictedFrame]:
    """Predict every readable frame of a data set, each of which shows a hand; what cannot be read is appended to
    `problems`."""
    frames = (frame for _, frame in readable_frames(dataset, problems))
    yield from predict_frames(
        estimator, frames, centers, dataset.skeleton, refinement=refinement, finder=finder, sure_of_a_hand=True
    )


def predict_frames(
    estimator: CropEstimator,
    frames: Iterable[HandFrame],
    centers: Centers = "image",
    skeleton: Skeleton | None = None,
    *,
    refinement: Refinement = "none",
    finder: Finder | None = None,
    sure_of_a_hand: bool = False,
) -> Iterator[PredictedFrame]:
    """Predict frames in order, a few at a time.

    Args:
        estimator: What estimates.
        frames: From a reader.
        centers: Where crops are centred; `label` is an oracle.
        skeleton: Of the frames' labels, needed for `label`.
        refinement: What follows the estimate.
        finder: Finds the hands in an image, instead of `centers`; of several the likeliest is taken.
        sure_of_a_hand: Take what was found however unlikely it is.

    Raises:
        ValueError: `label` on a frame without one, or a refinement on a model without a latent space.
    """
    rest = iter(frames)
    while some := list(islice(rest, _BATCH)):
        if finder is None:
            centred = [(frame, center_of(frame, skeleton, centers)) for frame in some]
            found = [[] if center_mm is None else [_Candidate(frame, center_mm)] for frame, center_mm in centred]
        else:
            found = [
                [_Candidate(frame, one.center_mm, one.score) for one in finder(frame.depth_mm, frame.camera)]
                for frame in some
            ]
        answers = iter(_estimate(estimator, [one for listed in found for one in listed], refinement))
        for frame, listed in zip(some, found, strict=True):
            estimates = [next(answers) for _ in listed]
            best = max(range(len(listed)), key=lambda k: estimates[k].odds, default=None)
            if best is None or not (finder is None or sure_of_a_hand or estimates[best].odds > 0):
                yield PredictedFrame(frame.key, frame.sequence, None, None)
                continue
            answer = estimates[best]
            yield PredictedFrame(frame.key, frame.sequence, listed[best].center_mm, answer.joints_mm, answer.std_mm)


class _Candidate(NamedTuple):
    """Where a hand may be."""

    frame: HandFrame
    center_mm: Float32[np.ndarray, "3"]
    score: float = 0.5


class _Answer(NamedTuple):
    """What is estimated there."""

    joints_mm: Float32[np.ndarray, "J 3"]
    std_mm: Float32[np.ndarray, "J"] | None
    odds: float


def _estimate(estimator: CropEstimator, seen: list[_Candidate], refinement: Refinement) -> list[_Answer]:
    """Joints and their deviations at these places; a refinement follows the last look."""
    if not seen:
        return []
    found, crops = estimator.estimate_frames([one.frame for one in seen], [one.center_mm for one in seen])
    odds = hand_odds(found, [one.score for one in seen]).tolist()
    joints_mm = found.joints_mm if refinement == "none" else estimator.joints_mm(crops, refinement)
    stated = [None] * len(crops) if found.std_mm is None or refinement != "none" else found.std_mm
    return [_Answer(*answer) for answer in zip(joints_mm, stated, odds, strict=True)]
