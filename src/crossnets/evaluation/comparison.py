"""Several results on the same frames: their scores, paired differences, and tables of both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from crossnets import metrics
from crossnets.evaluation.evaluation import Compared, Evaluation, evaluate_compared
from crossnets.evaluation.protocols import subset_of
from crossnets.evaluation.table import mm

_RESAMPLES = 10_000
_SEED = 0
_LEAST_SEQUENCES = 8
"""With fewer sequences, contiguous blocks of frames are resampled instead. With fewer blocks there is no interval."""
_BLOCKS = 20
"""Number of such blocks in all, about."""
_QUANTILES = (0.025, 0.975)
HEADS = ("mean", "median", "root-aligned", "≤ 20 mm", "≤ 40 mm", "AUC frames", "difference", "95 % interval")
"""Columns of a table after the name."""


@dataclass(frozen=True)
class Difference:
    """Difference of a result from the first one in the mean joint error, over the frames that both predict.

    The interval is that of a bootstrap over sequences or blocks of frames, since frames of a video are not independent.
    """

    mean_mm: float
    """Below 0 the result is better than the first one."""
    low_mm: float | None
    high_mm: float | None
    """Ends of the interval. None if there are too few sequences or blocks to draw from."""
    frames: int

    @property
    def is_clear(self) -> bool:
        """Whether 0 is outside of the interval."""
        return (self.low_mm is not None and self.low_mm > 0) or (self.high_mm is not None and self.high_mm < 0)


@dataclass(frozen=True)
class Comparison:
    """Results on the same frames and joints."""

    names: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    differences: tuple[Difference | None, ...]
    """None for the first result, and for one that shares no predicted frame with it."""
    resampled: str
    """Units that the bootstrap draws, such as `9 sequences`."""

    def rows(self) -> list[tuple[str, list[str]]]:
        """Name and cells under `HEADS` of each row of a table."""
        parts = zip(self.names, self.evaluations, self.differences, strict=True)
        return [(name, _cells(evaluation, difference)) for name, evaluation, difference in parts]

    def to_dict(self) -> dict[str, Any]:
        """Scores and differences as strict JSON."""
        rows = zip(self.names, self.evaluations, self.differences, strict=True)
        return {
            "resampled": self.resampled,
            "results": [
                {"name": name, **evaluation.to_dict(), "difference_mm": None if one is None else vars(one)}
                for name, evaluation, one in rows
            ],
        }


def compare_results(dataset: str, names: Sequence[str], results: Sequence[Compared]) -> Comparison:
    """Score results on the joints that all of them have, and compare each with the first.

    Args:
        dataset: Name of the data set.
        names: A name for each result.
        results: Two or more results with the labels of the same frames in the same order.

    Raises:
        ValueError: there are fewer than two results, names are missing or not different, or no joint is common to all.
    """
    if len(results) < 2 or len(names) != len(results):
        raise ValueError(
            f"Found {len(results)} results and {len(names)} names, expected two or more, each with a name."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"The names {', '.join(names)} are not different. Give --names, one for each result.")
    common = [joint for joint in results[0].skeleton.joints if all(joint in one.skeleton.joints for one in results)]
    if not common:
        raise ValueError(f"No joint is common to all of {', '.join(names)}.")
    results = [_with_joints(one, common) for one in results]
    evaluations = tuple(evaluate_compared(dataset, one) for one in results)
    errors = [metrics.joint_errors_mm(one.predicted_mm, one.labels_mm).mean(axis=1) for one in results]
    groups, resampled = _groups(results[0].sequences)
    differences = (None, *(_difference(errors[0], other, groups) for other in errors[1:]))
    return Comparison(tuple(names), evaluations, differences, resampled)


def _with_joints(one: Compared, joints: Sequence[str]) -> Compared:
    rows = [one.skeleton.joints.index(joint) for joint in joints]
    if len(rows) == len(one.skeleton):
        return one
    note = f"Only the {len(rows)} joints that all results have are scored."
    return replace(
        one,
        predicted_mm=one.predicted_mm[:, rows],
        labels_mm=one.labels_mm[:, rows],
        skeleton=subset_of(one.skeleton, rows),
        std_mm=None if one.std_mm is None else one.std_mm[:, rows],
        notes=(*one.notes, note),
    )


def _groups(sequences: Sequence[str]) -> tuple[Int[np.ndarray, "F"], str]:
    """Number of the sequence or block of each frame, and what they are."""
    names = list(dict.fromkeys(sequences))
    number = np.array([names.index(name) for name in sequences])
    if len(names) >= _LEAST_SEQUENCES:
        return number, f"{len(names)} sequences"
    groups = np.empty(len(number), np.int64)
    count = 0
    for sequence in range(len(names)):
        rows = np.flatnonzero(number == sequence)
        blocks = min(len(rows), max(1, round(_BLOCKS * len(rows) / len(number))))
        groups[rows] = count + np.arange(len(rows)) * blocks // len(rows)
        count += blocks
    return groups, f"{count} {'block' if count == 1 else 'blocks'} of frames"


def _difference(
    first_mm: Float[np.ndarray, "F"], other_mm: Float[np.ndarray, "F"], groups: Int[np.ndarray, "F"]
) -> Difference | None:
    both = np.isfinite(first_mm) & np.isfinite(other_mm)
    if not both.any():
        return None
    gain = (other_mm - first_mm)[both]
    sums = np.bincount(groups[both], gain)
    counts = np.bincount(groups[both])
    sums = sums[counts > 0]
    counts = counts[counts > 0]
    if len(sums) < _LEAST_SEQUENCES:
        return Difference(float(gain.mean()), None, None, int(both.sum()))
    drawn = np.random.default_rng(_SEED).integers(len(sums), size=(_RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, _QUANTILES)
    return Difference(float(gain.mean()), float(low), float(high), int(both.sum()))


def _cells(evaluation: Evaluation, difference: Difference | None) -> list[str]:
    """Cells of a row under `HEADS`."""
    scores = evaluation.scores
    means = [mm(value) for value in (scores.mean_mm, scores.median_mm, scores.root_aligned_mean_mm)]
    within = [f"{100 * scores.frames_within_mm[t]:.1f} %" for t in (20, 40)]
    paired = ["", ""]
    if difference is not None:
        low = difference.low_mm
        high = difference.high_mm
        interval = "too few frames" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"
        paired = [f"{difference.mean_mm:+.2f}", interval]
    return [*means, *within, f"{scores.auc_frames:.3f}", *paired]


def markdown(comparison: Comparison) -> str:
    """The table as Markdown."""
    lines = [f"| | {' | '.join(HEADS)} |", f"|---|{'---|' * len(HEADS)}"]
    lines += [f"| {name.replace('|', chr(92) + '|')} | {' | '.join(cells)} |" for name, cells in comparison.rows()]
    return "\n".join(lines) + "\n"


def latex(comparison: Comparison) -> str:
    """The table as LaTeX, for the package booktabs."""
    heads = " & ".join(_escaped(head) for head in HEADS)
    lines = [rf"\begin{{tabular}}{{l{'r' * len(HEADS)}}}", r"\toprule", rf" & {heads} \\", r"\midrule"]
    for name, cells in comparison.rows():
        lines.append(rf"{_escaped(name)} & {' & '.join(map(_escaped, cells))} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "≤": r"$\leq$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {sign: rf"\{sign}" for sign in "&%$#_{}"}
    return "".join(special.get(sign, sign) for sign in text)
