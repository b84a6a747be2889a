"""Errors and times of one model on the held-out hands."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossnets.demo.hands import HeldOutHands
from crossnets.evaluation.evaluation import Compared, Evaluation, evaluate_compared
from crossnets.inference.detector import Detection
from crossnets.inference.hands import estimate_hands
from crossnets.inference.loading import load
from crossnets.inference.torch_models import Estimator

_TIMED = 50
"""Largest number of frames that are timed."""


@dataclass(frozen=True)
class Result:
    """Results of one model."""

    name: str
    evaluation: Evaluation
    ms_per_frame: float
    """Median time of `crossnets.load(MODEL).predict(depth, camera)`, which finds the hands and estimates them."""
    parameters: int
    """Number of parameters of the networks that estimate joints."""

    @property
    def within_40(self) -> float:
        """Share of frames whose worst joint is within 40 mm."""
        return float(self.evaluation.scores.frames_within_mm[40])


def measure(
    name: str,
    estimator: Estimator,
    folder: Path,
    hands: HeldOutHands,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Estimate and score every frame.

    Args:
        name: Name of the model on the page.
        estimator: The model.
        folder: The model's run or model folder, which a tracker is loaded from to measure times.
        hands: The frames.
        on_progress: Called with the number of estimated frames and of all frames.

    Raises:
        ValueError: the joints of the model differ from those of the labels.
    """
    assert hands.skeleton is not None
    estimator = estimator.speaking(hands.skeleton)
    if estimator.skeleton != hands.skeleton:
        raise ValueError(
            f"The model predicts the joints of {estimator.skeleton.name}, but the rendered hands have those of "
            f"{hands.skeleton.name}. Give a model of the preset crossnets as --model."
        )
    joints = []
    for index in range(len(hands)):
        joints.append(_estimate(estimator, hands, index))
        on_progress(index + 1, len(hands))
    compared = Compared(
        predicted_mm=np.stack(joints),
        labels_mm=hands.joints_mm,
        sequences=tuple(frame.sequence for frame in hands.frames),
        skeleton=hands.skeleton,
        camera=hands.camera,
        centers="mean of the joints, moved at random",
        source=name,
        indices=tuple(range(len(hands))),
    )
    networks = getattr(estimator.networks, "dense", estimator.networks)
    parameters = sum(parameter.numel() for parameter in networks.parameters())
    return Result(name, evaluate_compared(hands.name, compared), _ms_per_frame(folder, hands), parameters)


def _estimate(estimator: Estimator, hands: HeldOutHands, index: int) -> np.ndarray:
    """Joints of one frame, estimated from a crop around the given centre."""
    estimated = estimate_hands(estimator, hands[index], [Detection.at(hands.centers_mm[index])])
    return estimated.estimates.joints_mm[0]


def _ms_per_frame(folder: Path, hands: HeldOutHands) -> float:
    """Median time in ms in which a tracker finds and estimates the hands of a frame."""
    tracker = load(folder)
    # The first prediction is slower than the others, so it is not timed.
    tracker.predict(hands[0])
    times = []
    for index in range(min(len(hands), _TIMED)):
        began = time.perf_counter()
        tracker.predict(hands[index])
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times))
