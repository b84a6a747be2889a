"""Scores as a table on the console."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossnets.datasets.dataset import printable
from crossnets.evaluation.evaluation import Evaluation
from crossnets.evaluation.scores import Scores

SHOWN_THRESHOLDS_MM = (20, 30, 40, 50)
"""Thresholds that are common in tables of papers."""
_NUM_ERRORS = 5
"""Number of columns in the first part of a table that is split."""
_COLUMNS = (
    *("frames", "mean", "median", "root-aligned", "scale-aligned"),
    *(f"≤ {t} mm" for t in SHOWN_THRESHOLDS_MM),
    *("AUC frames", "AUC joints"),
)
_WIDE = 138
"""Width of all columns in characters. On a narrower console the table is split in two, so that no number is cut."""


def print_table(evaluation: Evaluation, console: Console) -> None:
    """Print one row for all frames and one for each sequence, then notes on how to read them."""
    scores = evaluation.scores
    parts = scores.sequences if len(scores.sequences) > 1 else {}
    console.print(Text(printable(evaluation.title), style="bold"))
    whole = slice(0, len(_COLUMNS))
    halves = (slice(0, _NUM_ERRORS), slice(_NUM_ERRORS, len(_COLUMNS)))
    for columns in (whole,) if console.width >= _WIDE else halves:
        table = Table("frames of")
        for name in _COLUMNS[columns]:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_row("all", *summary_cells(scores)[columns], style="bold", end_section=bool(parts))
        for name, part in parts.items():
            table.add_row(Text(printable(name)), *summary_cells(part)[columns])
        console.print(table)
    if len(parts) > 2 and scores.sequence_mean_mm is not None:
        console.print(f"Mean over the {len(parts)} sequences with equal weights: {mm(scores.sequence_mean_mm)}")
    console.print("Errors are in mm. A frame is within t if its worst joint is.", style="dim")
    areas = f"{scores.near_area:.3f}, root-aligned {scores.root_aligned_near_area:.3f}"
    procrustes = f"Procrustes-aligned {scores.procrustes_near_area:.3f} (mean {mm(scores.procrustes_mean_mm)})"
    console.print(f"AUC joints from 0 to 50 mm: absolute {areas}, {procrustes}.", style="dim")
    if scores.found is not None:
        share = f"`Tracker.predict` finds a hand in {100 * scores.found.share:.1f} % of the frames"
        errors = f"mean {mm(scores.found.mean_mm)}, median {mm(scores.found.median_mm)}"
        console.print(f"{share}: {errors}. In other frames the most likely candidate is scored.", style="dim")
    if scores.coverage is not None:
        within = f"{100 * scores.coverage[10]:.0f} % within one, {100 * scores.coverage[20]:.0f} % within two"
        console.print(f"Errors within the stated deviations: {within}. A Gaussian has 68 % and 95 %.", style="dim")
    for note in evaluation.notes:
        console.print(f"Note: {printable(note)}", style="yellow", markup=False)


def summary_cells(scores: Scores) -> list[str]:
    """Cells of one row: frames, mean, median, root-aligned, scale-aligned, the shown thresholds, both areas."""
    means = (scores.mean_mm, scores.median_mm, scores.root_aligned_mean_mm, scores.scale_aligned_mean_mm)
    within = (f"{100 * scores.frames_within_mm[t]:.1f} %" for t in SHOWN_THRESHOLDS_MM)
    return [f"{scores.frames:,}", *map(mm, means), *within, f"{scores.auc_frames:.3f}", f"{scores.auc_joints:.3f}"]


def mm(value: float | None) -> str:
    """Millimetres with two decimals. None is a dash."""
    return "-" if value is None else f"{value:.2f}"
