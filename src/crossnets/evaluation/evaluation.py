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
    """Predictions beside labels, frame by frame, of the joints that are scored."""

    predicted_mm: Float[np.ndarray, "F J 3"]
    """NaN throughout a frame without a prediction."""
    labels_mm: Float[np.ndarray, "F J 3"]
    sequences: tuple[str, ...]
    skeleton: Skeleton
    camera: Pinhole
    centers: str
    """Where the predictions' crops were centred; `unknown` for text files, which do not say."""
    source: str
    """The model, or the file of predictions."""
    angles: PalmAngles | None = None
    """Directions of the labels' palms, where their joints are labelled but not scored."""
    frames: tuple[PredictedFrame, ...] | None = None
    """The predictions with their keys, where these are known."""
    indices: tuple[int, ...] | None = None
    """Index of each frame in the data set, if there is one."""
    notes: tuple[str, ...] = ()
    std_mm: Float[np.ndarray, "F J"] | None = None
    """Standard deviation of each predicted joint in each axis; None where the predictions do not say."""
    found: Bool[np.ndarray, "F"] | None = None
    """Frames in which `Tracker.predict` finds a hand; None where the predictions do not say."""


@dataclass(frozen=True)
class Evaluation:
    """Scores with their circumstances."""

    dataset: str
    compared: Compared
    scores: Scores

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks that a reader of the numbers needs."""
        if not self.scores.missed:
            return self.compared.notes
        missed = f"Frames without a prediction: {self.scores.missed} of {self.scores.frames}. "
        return (*self.compared.notes, missed + "They count as outside every threshold, and are in no mean.")

    @property
    def title(self) -> str:
        """One line: source, data set, joints, centres."""
        compared = self.compared
        joints = f"{len(compared.skeleton)} joints ({compared.skeleton.name})"
        return f"{compared.source} on {self.dataset}, {joints}, centres: {compared.centers}"

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON: the scores' keys, and where they come from."""
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
