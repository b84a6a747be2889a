"""Published numbers to compare with: figures only, each with its source."""

import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class PublishedMethod:
    """Published facts about one method on one data set."""

    name: str
    year: int
    mean_mm: float
    within_percent: dict[int, float]
    """Percent of frames whose largest error is at most t mm, for the t that are known."""
    source: str
    drawn: bool
    """Whether charts show it with its own colour."""


@dataclass(frozen=True)
class LabelFractions:
    """Mean error of Crossing Nets by the percentage of training frames with labels."""

    mean_mm: dict[int, float]
    total: int
    """Training frames."""
    source: str


def published_methods(dataset: str) -> tuple[PublishedMethod, ...]:
    """Methods with a published mean on a data set, best last; none where nothing is known."""
    rows = _table().get(dataset, {}).get("methods", ())
    methods = [
        PublishedMethod(**{**row, "within_percent": {int(t): float(v) for t, v in row["within_percent"].items()}})
        for row in rows
    ]
    return tuple(sorted(methods, key=lambda method: -method.mean_mm))


def label_fractions(dataset: str) -> LabelFractions | None:
    """The semi-supervised results, where there are some."""
    found = _table().get(dataset, {}).get("label_fraction")
    if found is None:
        return None
    means = {int(percent): float(mean) for percent, mean in found["mean_mm"].items()}
    return LabelFractions(means, found["total"], found["source"])


def _table() -> dict:
    return json.loads((files("crossnets.evaluation.report") / "published.json").read_text(encoding="utf-8"))
