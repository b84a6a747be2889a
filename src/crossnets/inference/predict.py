"""Frames of a data set to predictions, through the same path as `Tracker.predict`."""

from collections.abc import Iterable, Iterator

from crossnets.datasets.dataset import HandDataset, Problem, readable_frames
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.hands import DepthWatch, EstimatedHands, SizeWatch, estimate_hands
from crossnets.inference.loading import Candidates
from crossnets.types import HandFrame, PredictedFrame, Refinement


def predict_dataset(
    estimator: CropEstimator,
    dataset: HandDataset,
    candidates: Candidates,
    problems: list[Problem],
    refinement: Refinement = "none",
) -> Iterator[PredictedFrame]:
    """Predict every readable frame of a data set of which each frame shows a hand.

    Frames that cannot be read are appended to `problems`.
    """
    frames = (frame for _, frame in readable_frames(dataset, problems))
    yield from predict_frames(estimator, frames, candidates, refinement=refinement, force=True)


def predict_frames(
    estimator: CropEstimator,
    frames: Iterable[HandFrame],
    candidates: Candidates,
    *,
    refinement: Refinement = "none",
    force: bool = False,
) -> Iterator[PredictedFrame]:
    """Predict one hand in each frame, the likeliest one.

    Args:
        estimator: Estimates joints in crops.
        frames: Frames of a reader.
        candidates: Finds the places where hands may be.
        refinement: The refinement of the latent that follows the last pass.
        force: Give the likeliest candidate where no candidate is a hand, as benchmarks want an answer for each frame.

    Raises:
        ValueError: centres are those of labels and a frame has none, or the model cannot refine.
    """
    sizes, depths = SizeWatch(), DepthWatch()
    for frame in frames:
        depths.see(frame.depth_mm)
        found = list(candidates.find(frame))
        estimated = estimate_hands(estimator, frame, found) if found else None
        if estimated is not None and estimated.hands:
            depths.hand()
            if estimated.estimates.size_mm is not None:
                sizes.see(float(estimated.estimates.size_mm[estimated.hands[0]]))
            yield _predicted(estimator, frame, estimated, estimated.hands[0], refinement)
            continue
        if force and (found := [*found, *candidates.more(frame)]):
            estimated = estimate_hands(estimator, frame, found)
            if estimated.likeliest is not None:
                yield _predicted(estimator, frame, estimated, estimated.likeliest, refinement, forced=True)
                continue
        yield PredictedFrame(frame.key, frame.sequence, None, None)
    sizes.finish()
    depths.finish()


def _predicted(
    estimator: CropEstimator,
    frame: HandFrame,
    estimated: EstimatedHands,
    row: int,
    refinement: Refinement,
    *,
    forced: bool = False,
) -> PredictedFrame:
    """One row of the estimates, refined in the latent space if that is asked for."""
    crop, std_mm = estimated.crops[row], estimated.estimates.std_mm
    if refinement == "none":
        joints_mm = estimated.estimates.joints_mm[row]
        stated = None if std_mm is None else std_mm[row]
    else:
        joints_mm = estimator.joints_mm([crop], refinement)[0]
        stated = None
    return PredictedFrame(frame.key, frame.sequence, crop.center_mm, joints_mm, stated, forced)
