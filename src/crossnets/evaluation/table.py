"""Scores as a table for people."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossnets.evaluation.evaluation import Evaluation
from crossnets.evaluation.scores import Scores

SHOWN_THRESHOLDS_MM = (20, 30, 40, 50)
"""Thresholds the papers' tables give."""
_NUM_ERRORS = 5
_COLUMNS = (
    *("frames", "mean", "median", "root-aligned", "scale-aligned"),
    *(f"≤ {t} mm" for t in SHOWN_THRESHOLDS_MM),
    *("AUC frames", "AUC joints"),
)
_WIDE = 138
"""Characters that all columns take; on less they are two tables, so that no number is cut."""


def print_table(evaluation: Evaluation, console: Console) -> None:
    """Print one row for all frames and one for each sequence, then what a reader must know about them."""
    scores = evaluation.scores
    parts = scores.sequences if len(scores.sequences) > 1 else {}
    console.print(Text(evaluation.title, style="bold"))
    whole = slice(0, len(_COLUMNS))
    shown = (whole,) if console.width >= _WIDE else (slice(0, _NUM_ERRORS), slice(_NUM_ERRORS, len(_COLUMNS)))
    for columns in shown:
        table = Table("frames of")
        for name in _COLUMNS[columns]:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_row("all", *summary_cells(scores)[columns], style="bold", end_section=bool(parts))
        for name, part in parts.items():
            table.add_row(name, *summary_cells(part)[columns])
        console.print(table)
    if len(parts) > 2 and scores.sequence_mean_mm is not None:
        console.print(f"Mean over the {len(parts)} sequences, each with the same weight: {mm(scores.sequence_mean_mm)}")
    console.print("Errors in mm; a frame is within t when its worst joint is.", style="dim")
    if scores.found is not None:
        found = f"`Tracker.predict` finds a hand in {100 * scores.found.share:.1f} % of the frames"
        errors = f"mean {mm(scores.found.mean_mm)}, median {mm(scores.found.median_mm)}"
        console.print(f"{found}: {errors} there. In the others the likeliest candidate is scored.", style="dim")
    if scores.coverage is not None:
        within = f"{100 * scores.coverage[10]:.0f} % within one, {100 * scores.coverage[20]:.0f} % within two"
        console.print(f"Of the stated deviations, {within}; a Gaussian has 68 and 95.", style="dim")
    for note in evaluation.notes:
        console.print(f"Note: {note}", style="yellow", markup=False)


def summary_cells(scores: Scores) -> list[str]:
    """Frames, mean, median, root-aligned, scale-aligned, the shown thresholds, both areas."""
    means = (scores.mean_mm, scores.median_mm, scores.root_aligned_mean_mm, scores.scale_aligned_mean_mm)
    within = (f"{100 * scores.frames_within_mm[t]:.1f} %" for t in SHOWN_THRESHOLDS_MM)
    return [f"{scores.frames:,}", *map(mm, means), *within, f"{scores.auc_frames:.3f}", f"{scores.auc_joints:.3f}"]


def mm(value: float | None) -> str:
    """Millimetres to the hundredth, or a dash."""
    return "-" if value is None else f"{value:.2f}"
