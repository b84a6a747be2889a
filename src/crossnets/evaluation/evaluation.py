"""Results of an evaluation: scores, and the predictions and labels behind them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from crossnets.evaluation.scores import Scores, score
from crossnets.geometry.skeleton import Skeleton
from crossnets.metrics import PalmAngles
from crossnets.types import Pinhole, PredictedFrame


@dataclass(frozen=True)
class Compared:
    """Predictions and labels of the scored joints, frame by frame."""

    predicted_mm: Float[np.ndarray, "F J 3"]
    """A frame without a prediction is NaN throughout."""
    labels_mm: Float[np.ndarray, "F J 3"]
    sequences: tuple[str, ...]
    skeleton: Skeleton
    camera: Pinhole
    centers: str
    """How the crops were centred. Text files do not contain this, so they have `unknown`."""
    source: str
    """Name of the model or of the prediction file."""
    angles: PalmAngles | None = None
    """Palm directions of the labels. None if the joints of the palm are not labelled."""
    frames: tuple[PredictedFrame, ...] | None = None
    """Predictions with their keys. None if the keys are unknown."""
    indices: tuple[int, ...] | None = None
    """Index of each frame in the data set. None without a data set."""
    notes: tuple[str, ...] = ()
    std_mm: Float[np.ndarray, "F J"] | None = None
    """Standard deviation of each predicted joint in each axis. None if the predictions do not state it."""
    found: Bool[np.ndarray, "F"] | None = None
    """Frames in which `Tracker.predict` finds a hand. None if the predictions do not mark them."""


@dataclass(frozen=True)
class Evaluation:
    """Scores, with the predictions and labels that they were computed from."""

    dataset: str
    compared: Compared
    scores: Scores

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks that are needed to interpret the scores."""
        if not self.scores.missed:
            return self.compared.notes
        missed = f"Frames without a prediction: {self.scores.missed} of {self.scores.frames}. "
        return (*self.compared.notes, missed + "They count as outside every threshold and are left out of all means.")

    @property
    def title(self) -> str:
        """Source, data set, joints and centres in one line."""
        compared = self.compared
        joints = f"{len(compared.skeleton)} joints ({compared.skeleton.name})"
        return f"{compared.source} on {self.dataset}, {joints}, centres: {compared.centers}"

    def to_dict(self) -> dict[str, Any]:
        """Scores and their origin as strict JSON."""
        compared = self.compared
        return {
            "dataset": self.dataset,
            "source": compared.source,
            "centers": compared.centers,
            "skeleton": compared.skeleton.name,
            "camera": list(compared.camera),
            "notes": list(self.notes),
            **self.scores.to_dict(),
        }


def evaluate_compared(dataset: str, compared: Compared) -> Evaluation:
    """Score predictions against labels."""
    scores = score(
        compared.predicted_mm,
        compared.labels_mm,
        compared.sequences,
        compared.skeleton,
        angles=compared.angles,
        std_mm=compared.std_mm,
        found=compared.found,
    )
    return Evaluation(dataset, compared, scores)
