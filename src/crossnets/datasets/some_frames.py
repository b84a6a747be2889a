"""Subsets of a data set: one sequence, or the first frames."""

from collections.abc import Sequence

from crossnets.datasets.dataset import HandDataset
from crossnets.types import HandFrame


class SomeFrames:
    """Data set of some frames of another data set."""

    def __init__(self, whole: HandDataset, indices: Sequence[int]) -> None:
        self.name = whole.name
        self.skeleton = whole.skeleton
        self.camera = whole.camera
        self.problems = whole.problems
        self._whole = whole
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> HandFrame:
        return self._whole[self._indices[index]]

    def sequence_of(self, index: int) -> str:
        """Name of the subject or recording of a frame."""
        return self._whole.sequence_of(self._indices[index])


def restricted(dataset: HandDataset, sequence: str | None, first: int | None) -> HandDataset:
    """Restrict a data set to one sequence, then to its first frames. None leaves the respective restriction out.

    Raises:
        ValueError: there are fewer than `first` frames.
    """
    if sequence is None and first is None:
        return dataset
    indices = tuple(i for i in range(len(dataset)) if sequence is None or dataset.sequence_of(i) == sequence)
    if first is not None and not 1 <= first <= len(indices):
        raise ValueError(
            f"Asked for the first {first} frames, but there are {len(indices)}. Expected 1 to {len(indices)}."
        )
    return SomeFrames(dataset, indices[:first])
