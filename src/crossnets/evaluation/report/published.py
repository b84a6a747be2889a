"""Published results to compare with. Each number has its source."""

import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class PublishedMethod:
    """Published results of one method on one data set."""

    name: str
    year: int
    mean_mm: float
    within_percent: dict[int, float]
    """Percentage of frames whose largest joint error is at most t mm, for each published t."""
    source: str
    drawn: bool
    """Whether charts draw the method in a colour of its own. Other methods are grey."""


@dataclass(frozen=True)
class LabelFractions:
    """Mean error of Crossing Nets by the percentage of training frames with labels."""

    mean_mm: dict[int, float]
    total: int
    """Number of training frames."""
    source: str


def published_methods(dataset: str) -> tuple[PublishedMethod, ...]:
    """Methods with a published mean error on a data set, from largest to smallest error."""
    rows = _table().get(dataset, {}).get("methods", ())
    methods = [
        PublishedMethod(**{**row, "within_percent": {int(t): float(v) for t, v in row["within_percent"].items()}})
        for row in rows
    ]
    return tuple(sorted(methods, key=lambda method: -method.mean_mm))


def label_fractions(dataset: str) -> LabelFractions | None:
    """Published semi-supervised results on a data set. None if there are none."""
    entry = _table().get(dataset, {}).get("label_fraction")
    if entry is None:
        return None
    means = {int(percent): float(mean) for percent, mean in entry["mean_mm"].items()}
    return LabelFractions(means, entry["total"], entry["source"])


def _table() -> dict:
    return json.loads((files("crossnets.evaluation.report") / "published.json").read_text(encoding="utf-8"))
