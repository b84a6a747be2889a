"""HTML page of a comparison: the table, and all curves and bars over each other."""

from html import escape

from crossnets.evaluation.comparison import HEADS, Comparison
from crossnets.evaluation.report import charts
from crossnets.evaluation.report.page import page_html, row_html, section_html, table_html
from crossnets.evaluation.table import mm

_DIFFERENCES = (
    "Errors are in mm. The difference is that of the mean joint error from the first row, over the frames that both "
    "predict. Below 0 a row is better. The interval is that of a bootstrap of {resampled}. If 0 lies inside, the "
    "frames do not tell which is better."
)


def comparison_page(comparison: Comparison) -> str:
    """HTML of the page. It loads no other files."""
    first = comparison.evaluations[0]
    body = "".join(row_html([name, *cells], "") for name, cells in comparison.rows())
    models = [
        charts.Model(name, evaluation.scores)
        for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True)
    ]
    count = first.scores.frames
    frames = f"{count:,} {'frame' if count == 1 else 'frames'}, {len(first.compared.skeleton)} joints"
    notes = dict.fromkeys(
        f"{name}: {note}"
        for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True)
        for note in evaluation.notes
    )
    title = f"{len(comparison.names)} results on {first.dataset}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(frames)}. {escape(_centers(comparison))}</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        section_html("Summary", _DIFFERENCES.format(resampled=comparison.resampled), table_html(("", *HEADS), body)),
        section_html(
            "Frames and joints within a distance",
            "A frame is within t if its worst joint is. Dashed curves count each joint singly.",
            charts.compared_curves(models),
        ),
        section_html("Error of each joint", "", charts.compared_joints(models, first.compared.skeleton)),
        _sequences(comparison),
        '<p class="soft">Made by crossnets. This page is a single file and loads no others.</p>',
    ]
    return page_html(title, parts)


def _centers(comparison: Comparison) -> str:
    centers = [evaluation.compared.centers for evaluation in comparison.evaluations]
    if len(set(centers)) == 1:
        return f"Crop centres: {centers[0]}."
    listed = ", ".join(f"{name} {how}" for name, how in zip(comparison.names, centers, strict=True))
    return f"Crop centres differ: {listed}."


def _sequences(comparison: Comparison) -> str:
    names = list(comparison.evaluations[0].scores.sequences)
    if len(names) < 2:
        return ""
    rows = [
        row_html([sequence, *(mm(one.scores.sequences[sequence].mean_mm) for one in comparison.evaluations)], "")
        for sequence in names
    ]
    return section_html("Mean error by sequence, mm", "", table_html(("", *comparison.names), "".join(rows)))
