"""HTML of a report page, and the parts of a page that other pages use as well."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from crossnets.evaluation.evaluation import Evaluation
from crossnets.evaluation.report import charts
from crossnets.evaluation.report.examples import Example
from crossnets.evaluation.report.published import label_fractions, published_methods
from crossnets.evaluation.scores import AngleBin, Scores
from crossnets.evaluation.table import SHOWN_THRESHOLDS_MM, mm, summary_cells

_LEAST_BY_ANGLE = 200
"""With fewer frames most dots of a chart by angle would be single frames."""
_WITHIN = tuple(f"≤ {t} mm" for t in SHOWN_THRESHOLDS_MM)


def page(evaluation: Evaluation, worst: Sequence[Example], median: Sequence[Example]) -> str:
    """HTML of the report. The page loads no other files."""
    scores = evaluation.scores
    title = f"{evaluation.compared.source.partition(' (')[0]} on {_dataset_name(evaluation)}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(_circumstances(evaluation))}</p>',
        _tiles(scores),
        *(f'<p class="note">{escape(note)}</p>' for note in evaluation.notes),
        _summary(scores),
        *_comparison(evaluation),
        section_html(
            "Joints within a distance", "Each joint of each frame counts singly.", charts.joint_success_chart(scores)
        ),
        section_html("Error of each joint", "", _joint_chart(evaluation)),
        *_calibration(scores),
        *_angles(scores),
        gallery_html("Worst frames", worst),
        gallery_html("Median frames", median),
        _left_out(evaluation, bool(worst)),
        '<p class="soft">Made by crossnets. This page is a single file and loads no others.</p>',
    ]
    return page_html(title, body)


def _dataset_name(evaluation: Evaluation) -> str:
    """Name of a benchmark in capitals, or of the folder of a recording."""
    frames = evaluation.compared.frames
    if evaluation.dataset != "recording" or not frames:
        return evaluation.dataset.upper()
    folders = sorted({frame.sequence for frame in frames})
    return f"the recording {folders[0]}" if len(folders) == 1 else f"{len(folders)} recordings"


def _circumstances(evaluation: Evaluation) -> str:
    compared = evaluation.compared
    return (
        f"{compared.source}: {evaluation.scores.frames:,} frames, {len(compared.skeleton)} joints "
        f"({compared.skeleton.name}). Crop centres: {compared.centers}."
    )


def _tiles(scores: Scores) -> str:
    return tiles_html(
        (
            (f"{mm(scores.mean_mm)} mm", "mean joint error"),
            (f"{mm(scores.median_mm)} mm", "median joint error"),
            (f"{100 * scores.frames_within_mm[30]:.1f} %", "frames within 30 mm"),
            (f"{scores.auc_frames:.3f}", "AUC of frames, 0 to 80 mm"),
            (f"{scores.auc_joints:.3f}", "AUC of joints, 0 to 80 mm"),
        )
    )


def _summary(scores: Scores) -> str:
    heads = ("", "frames", "mean", "median", "root-aligned", "scale-aligned", *_WITHIN, "AUC frames", "AUC joints")
    rows = [("all", "all", summary_cells(scores))]
    if len(scores.sequences) > 1:
        rows += [("", name, summary_cells(part)) for name, part in scores.sequences.items()]
    body = "".join(row_html([name, *cells], style) for style, name, cells in rows)
    text = "Errors are in mm. A frame is within a distance if its worst joint is."
    if len(scores.sequences) > 2:
        text += f" Mean over sequences with equal weights: {mm(scores.sequence_mean_mm)} mm."
    return section_html("Summary", text, table_html(heads, body))


def _comparison(evaluation: Evaluation) -> Iterable[str]:
    scores = evaluation.scores
    dataset = evaluation.dataset
    methods = published_methods(dataset)
    text = "A frame is within t if its worst joint is. Dots are published numbers. The lines between them are a guide."
    alone = f"The package stores no published curves for {_dataset_name(evaluation)}, so this result stands alone."
    yield section_html("Frames within a distance", text if methods else alone, charts.success_chart(scores, methods))
    if methods:
        yield section_html(
            "Comparison with published results",
            "Means are comparable only if joints, frames and the cropping method agree.",
            _published_table(evaluation),
        )
    fractions = label_fractions(dataset)
    if fractions is not None:
        chart = charts.fraction_chart(fractions, scores.mean_mm, "this result")
        yield section_html("Fewer labels", f"{fractions.source}.", chart)


def _joint_chart(evaluation: Evaluation) -> str:
    skeleton = evaluation.compared.skeleton
    return charts.joint_chart([charts.JointBars(evaluation.scores.per_joint_mm, skeleton.colours)], skeleton)


def _published_table(evaluation: Evaluation) -> str:
    scores = evaluation.scores
    this_result = [evaluation.compared.source, "", mm(scores.mean_mm)]
    this_result += [f"{100 * scores.frames_within_mm[t]:.1f}" for t in SHOWN_THRESHOLDS_MM]
    rows = [(scores.mean_mm or 0.0, row_html([*this_result, ""], "ours"))]
    methods = published_methods(evaluation.dataset)
    sources = list(dict.fromkeys(method.source for method in methods))
    for method in methods:
        within = [method.within_percent.get(t) for t in SHOWN_THRESHOLDS_MM]
        cells = [method.name, str(method.year), f"{method.mean_mm:g}"]
        cells += ["-" if percent is None else f"{percent:.1f}" for percent in within]
        rows.append((method.mean_mm, row_html([*cells, f"({sources.index(method.source) + 1})"], "")))
    body = "".join(row for _, row in sorted(rows, key=lambda pair: -pair[0]))
    named = "; ".join(f"({number}) {source}" for number, source in enumerate(sources, start=1))
    table = table_html(("method", "year", "mean, mm", *(f"{name}, %" for name in _WITHIN), "source"), body)
    return f'{table}<p class="soft">Sources: {escape(named)}.</p>'


def _calibration(scores: Scores) -> Iterable[str]:
    if scores.coverage is not None:
        text = (
            "The model states a standard deviation for each joint. A Gaussian has 68 % of all coordinates within one "
            f"deviation and 95 % within two. This result has {100 * scores.coverage[10]:.0f} % and "
            f"{100 * scores.coverage[20]:.0f} %."
        )
        yield section_html("Calibration of the stated deviations", text, charts.calibration_chart(scores))


def _angles(scores: Scores) -> Iterable[str]:
    for name, bins in (("Yaw", scores.by_yaw), ("Pitch", scores.by_pitch)):
        if bins is not None and _frames(bins) >= _LEAST_BY_ANGLE:
            meaning = (
                "Direction of the fingers in the image. It is 0 straight up or down and positive to the right."
                if name == "Yaw"
                else "It is 0 for fingers parallel to the image and 90 for fingers that point at the camera."
            )
            meaning += f" Each dot covers two degrees. {_frames(bins):,} frames lie in this range."
            yield section_html(f"Error by {name.lower()}", meaning, charts.angle_chart(bins, name))


def _frames(bins: Sequence[AngleBin]) -> int:
    return sum(part.frames for part in bins)


def _left_out(evaluation: Evaluation, pictures: bool) -> str:
    """A sentence for each part of the page that these results cannot fill."""
    scores = evaluation.scores
    reasons = []
    if scores.coverage is None:
        reasons.append("The predictions state no deviations, so their calibration is not shown.")
    if scores.by_yaw is None or scores.by_pitch is None:
        reasons.append("The labels lack the joints of the palm, so errors by its angles are not shown.")
    elif few := [n for n in (_frames(scores.by_yaw), _frames(scores.by_pitch)) if n < _LEAST_BY_ANGLE]:
        reasons.append(
            f"Errors by the palm's angles need {_LEAST_BY_ANGLE} frames in the range of an angle. Only {min(few)} are."
        )
    if not pictures:
        reasons.append("Without the images of the data set, which --data names, no frames are shown.")
    if not reasons:
        return ""
    return section_html("Not shown", " ".join(reasons), "")


def gallery_html(title: str, examples: Sequence[Example]) -> str:
    """A section of frames with labelled and predicted skeletons. It is empty without examples."""
    if not examples:
        return ""
    figures = "".join(
        figure_html(
            example.key,
            "png",
            example.png_base64,
            (
                f"{example.mean_mm:.1f} mm, worst joint {example.worst_mm:.1f}",
                *(("the estimate is outside of this picture",) if example.outside else ()),
                example.key,
            ),
        )
        for example in examples
    )
    text = "Labels are thin and white. Predictions are in the colours of the fingers."
    return section_html(title, text, f'<div class="frames">{figures}</div>')


def page_html(title: str, body: Iterable[str], style: str = "") -> str:
    """A complete page. `body` holds its parts as HTML, and `style` adds CSS to that of reports."""
    shared = (files("crossnets.evaluation.report") / "style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{shared}{style}</style></head>\n"
        "<body><main>\n" + "\n".join(part for part in body if part) + "\n</main></body></html>\n"
    )


def tiles_html(tiles: Iterable[tuple[str, str]]) -> str:
    """A row of large values, each above its description."""
    inside = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in tiles
    )
    return f'<div class="tiles">{inside}</div>'


def figure_html(name: str, kind: str, data_base64: str, caption: Iterable[str]) -> str:
    """An embedded picture, which a click enlarges. `kind` is its format, and `caption` holds the lines below it."""
    lines = "<br>".join(map(escape, caption))
    # The page has no scripts. A hidden checkbox remembers whether the picture is enlarged.
    return (
        f'<figure><label><input type="checkbox" aria-label="enlarge {escape(name)}">'
        f'<img alt="{escape(name)}" src="data:image/{kind};base64,{data_base64}"></label>'
        f"<figcaption>{lines}</figcaption></figure>"
    )


def section_html(title: str, text: str, inside: str) -> str:
    """A section of a heading, a line of text if it is not empty, and HTML."""
    words = f'<p class="soft">{escape(text)}</p>' if text else ""
    return f"<section><h2>{escape(title)}</h2>{words}\n{inside}</section>"


def table_html(heads: Iterable[str], body: str) -> str:
    """A table, which scrolls sideways where it is wider than the page. `body` holds its rows as HTML."""
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def row_html(cells: Iterable[str], style: str) -> str:
    """A row of a table. `style` is its CSS class."""
    return f'<tr class="{style}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
