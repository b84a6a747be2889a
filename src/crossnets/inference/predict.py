"""Predict the hands in frames, by the same path as `Tracker.predict`."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossnets.cameras import DepthSource
from crossnets.datasets.dataset import HandDataset, Problem, readable_frames, side_of
from crossnets.geometry.filled_holes import without_filling
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.hand import Hand, Side, side_in_image
from crossnets.inference.hands import (
    DepthWatch,
    EstimatedHands,
    SizeWatch,
    Surroundings,
    SurroundingsWatch,
    estimate_hands,
    hand_of,
    hand_of_side,
    surroundings_of,
)
from crossnets.inference.loading import Candidates, load
from crossnets.inference.sources import frames_of, open_frames
from crossnets.inference.tracker import Camera, Tracker
from crossnets.types import HandFrame, PredictedFrame, Refinement


@dataclass(frozen=True)
class PredictedHands(PredictedFrame):
    """Prediction for one frame with all its hands."""

    hands: tuple[Hand, ...] = ()
    """The hands that `Tracker.predict` gives, the likeliest first. Its joints are those of the frame."""
    around: Surroundings | None = None
    """Depth around the first hand, which tells images of disparity from images of depth."""


def predict(
    source: str | Path | Sequence[str | Path],
    camera: Camera = None,
    *,
    model: str | Path | None = None,
    hands: int = 2,
    side: Side | None = None,
    mirrored: bool = False,
) -> Iterator[tuple[HandFrame, list[Hand]]]:
    """Predict all frames of a source: `for frame, hands in crossnets.predict("my-recording")`.

    Frames that cannot be read are left out with a warning.

    Args:
        source: Any source of `crossnets predict`: PNGs, folders, recordings, data sets, shards, .npy, .db3, realsense.
        camera: Camera of PNGs without camera.json and of .npy files, in any form that `Tracker.predict` takes.
        model: A run, a model folder or an exported file. The model of the package is the default.
        hands: Largest number of hands in a frame.
        side: The side of all hands, if it is known.
        mirrored: Whether the images are mirrored, see `load`.

    Raises:
        OSError: a file, folder, camera or model is missing.
        TypeError: the source is an image instead of a name.
        ValueError: the source is unknown, or images are given without a camera.
    """
    if isinstance(source, np.ndarray):
        raise TypeError(
            f"Found an array of shape {source.shape}, expected the name of a source. For one depth image call "
            "crossnets.load().predict(depth_mm, camera)."
        )
    texts = [source] if isinstance(source, str | Path) else list(source)
    sources = open_frames([str(text) for text in texts], camera)
    tracker = load(model, hands=hands, side=side, mirrored=mirrored)
    return _predicted_by(tracker, sources)


def _predicted_by(
    tracker: Tracker, sources: Sequence[HandDataset | DepthSource]
) -> Iterator[tuple[HandFrame, list[Hand]]]:
    for source in sources:
        problems: list[Problem] = []
        for _, frame in frames_of(source, problems):
            _warn(problems)
            yield frame, tracker.predict(frame)
        _warn(problems)
    tracker.check_scale()


def _warn(problems: list[Problem]) -> None:
    """Warn of each frame that could not be read, and forget it."""
    for problem in problems:
        warnings.warn(f"Left out a frame that cannot be read: {problem}", stacklevel=3)
    problems.clear()


def predict_dataset(
    estimator: CropEstimator,
    dataset: HandDataset,
    candidates: Candidates,
    problems: list[Problem],
    refinement: Refinement = "none",
) -> Iterator[PredictedFrame]:
    """Predict every readable frame of a data set in which each frame shows a hand.

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
) -> Iterator[PredictedHands]:
    """Predict each frame. `predict_frame` describes the arguments and errors."""
    sizes = SizeWatch()
    depths = DepthWatch()
    surroundings = SurroundingsWatch()
    for frame in frames:
        depths.see(frame.depth_mm)
        found = predict_frame(estimator, frame, candidates, refinement=refinement, force=force)
        if found.hands:
            depths.hand()
            sizes.see(found.hands[0].size_mm)
            surroundings.count(found.around)
        yield found
    sizes.finish()
    depths.finish()
    surroundings.finish()


def predict_frame(
    estimator: CropEstimator,
    frame: HandFrame,
    candidates: Candidates,
    *,
    refinement: Refinement = "none",
    force: bool = False,
    hands: int = 1,
    side: Side | None = None,
    mirrored: bool = False,
) -> PredictedHands:
    """Predict the hands in one frame.

    Where the images of a data set show both hands (`side_of`), hands of the frame's side precede the others.

    Args:
        estimator: Estimates joints in crops.
        frame: A frame of a reader.
        candidates: Finds the places where hands may be.
        refinement: The refinement of the latent that follows the last pass.
        force: Return the likeliest candidate if no candidate is a hand, because benchmarks need an answer per frame.
        hands: Largest number of hands.
        side: The side of all hands, if it is known.
        mirrored: Whether the image is mirrored, see `load`.

    Raises:
        ValueError: centres of labels are requested and the frame has no label, or the model cannot refine.
    """
    frame = replace(frame, depth_mm=without_filling(frame.depth_mm))
    found = list(candidates.find(frame))
    estimated = estimate_hands(estimator, frame, found) if found else None
    if estimated is not None and estimated.hands:
        rows = _wanted_first(estimator, frame, estimated)
        seen = side_in_image(side, mirrored=mirrored)
        found_hands = (_hand(estimator, frame, estimated, row, refinement, seen) for row in rows[:hands])
        listed = tuple(hand.with_known(side=side, mirrored=mirrored) for hand in found_hands)
        predicted = _predicted(frame, estimated, rows[0], listed[0], listed)
        return replace(predicted, around=surroundings_of(frame.depth_mm, listed[0]))
    if force and (found := [*found, *candidates.more(frame)]):
        estimated = estimate_hands(estimator, frame, found)
        if (row := estimated.likeliest) is not None:
            return _predicted(frame, estimated, row, _hand(estimator, frame, estimated, row, refinement), ())
    return PredictedHands(frame.key, frame.sequence, None, None)


def _wanted_first(estimator: CropEstimator, frame: HandFrame, estimated: EstimatedHands) -> list[int]:
    """Rows of the hands, the likeliest first. Hands of the side that the frame is about precede the others."""
    side = side_of(frame.key)
    if side is None:
        return list(estimated.hands)
    sides = {row: hand_of(estimator, frame.camera, estimated.estimates, row).side for row in estimated.hands}
    return sorted(estimated.hands, key=lambda row: sides[row] != side)


def _hand(
    estimator: CropEstimator,
    frame: HandFrame,
    estimated: EstimatedHands,
    row: int,
    refinement: Refinement,
    side: Side | None = None,
) -> Hand:
    """Return one row of the estimates, with the side of the image if it is known, refined in the latent space on
    request."""
    hand = hand_of(estimator, frame.camera, estimated.estimates, row)
    if refinement == "none":
        return hand_of_side(estimator, frame, estimated.crops[row], hand, side)
    return replace(hand, joints_mm=estimator.joints_mm([estimated.crops[row]], refinement)[0], std_mm=None)


def _predicted(
    frame: HandFrame, estimated: EstimatedHands, row: int, hand: Hand, hands: tuple[Hand, ...]
) -> PredictedHands:
    center_mm = estimated.crops[row].center_mm
    forced = not hands
    return PredictedHands(frame.key, frame.sequence, center_mm, hand.joints_mm, hand.std_mm, forced, hands)
