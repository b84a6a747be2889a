"""The page around the charts and pictures."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from crossnets.evaluation.evaluation import Evaluation
from crossnets.evaluation.report import charts
from crossnets.evaluation.report.examples import Example
from crossnets.evaluation.report.published import label_fractions, published_methods
from crossnets.evaluation.scores import Scores
from crossnets.evaluation.table import SHOWN_THRESHOLDS_MM, mm, summary_cells

_WITHIN = tuple(f"≤ {t} mm" for t in SHOWN_THRESHOLDS_MM)


def page(evaluation: Evaluation, worst: Sequence[Example], median: Sequence[Example]) -> str:
    """The whole page as HTML that loads nothing."""
    scores, compared = evaluation.scores, evaluation.compared
    style = (files("crossnets.evaluation.report") / "style.css").read_text(encoding="utf-8")
    body = [
        f"<h1>{escape(compared.source)}</h1>",
        f'<p class="soft">{escape(_circumstances(evaluation))}</p>',
        _tiles(scores),
        *(f'<p class="note">{escape(note)}</p>' for note in evaluation.notes),
        _summary(scores),
        *_comparison(evaluation),
        _section(
            "Joints within a distance", "Every joint of every frame for itself.", charts.joint_success_chart(scores)
        ),
        _section("Error of each joint", "", charts.joint_chart(scores.per_joint_mm, compared.skeleton)),
        *_angles(scores),
        _gallery("Worst frames", worst),
        _gallery("Middling frames", median),
        '<p class="soft">Made by crossnets. This page is one file and loads nothing.</p>',
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(compared.source)} on {escape(evaluation.dataset)}</title>\n<style>\n{style}</style></head>\n"
        "<body><main>\n" + "\n".join(part for part in body if part) + "\n</main></body></html>\n"
    )


def _circumstances(evaluation: Evaluation) -> str:
    compared = evaluation.compared
    return (
        f"{evaluation.dataset.upper()}, {evaluation.scores.frames:,} frames, {len(compared.skeleton)} joints "
        f"({compared.skeleton.name}). Crop centres: {compared.centers}."
    )


def _tiles(scores: Scores) -> str:
    tiles = (
        (f"{mm(scores.mean_mm)} mm", "mean joint error"),
        (f"{mm(scores.median_mm)} mm", "median joint error"),
        (f"{100 * scores.frames_within_mm[30]:.1f} %", "frames within 30 mm"),
        (f"{scores.auc_frames:.3f}", "AUC of frames, 0 to 80 mm"),
        (f"{scores.auc_joints:.3f}", "AUC of joints, 0 to 80 mm"),
    )
    cells = "".join(f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for value, name in tiles)
    return f'<div class="tiles">{cells}</div>'


def _summary(scores: Scores) -> str:
    heads = ("", "frames", "mean", "median", "root-aligned", "scale-aligned", *_WITHIN, "AUC frames", "AUC joints")
    rows = [("all", "all", summary_cells(scores))]
    if len(scores.sequences) > 1:
        rows += [("", name, summary_cells(part)) for name, part in scores.sequences.items()]
    body = "".join(_row([name, *cells], style) for style, name, cells in rows)
    text = "Errors in mm. A frame is within a distance when its worst joint is."
    if len(scores.sequences) > 2:
        text += f" Mean over sequences, each with the same weight: {mm(scores.sequence_mean_mm)} mm."
    return _section("Summary", text, _table(heads, body))


def _comparison(evaluation: Evaluation) -> Iterable[str]:
    scores, dataset = evaluation.scores, evaluation.dataset
    methods = published_methods(dataset)
    text = "A frame is within t when its worst joint is. Dots are published numbers; lines only join them."
    yield _section("Frames within a distance", text if methods else "", charts.success_chart(scores, methods))
    if methods:
        yield _section(
            "Beside published results",
            "Means comparable only where joints, frames and the way of cropping agree.",
            _published_table(evaluation),
        )
    fractions = label_fractions(dataset)
    if fractions is not None:
        chart = charts.fraction_chart(fractions, scores.mean_mm, "this result")
        yield _section("Fewer labels", f"{fractions.source}.", chart)


def _published_table(evaluation: Evaluation) -> str:
    scores = evaluation.scores
    own = [evaluation.compared.source, "", mm(scores.mean_mm)]
    own += [f"{100 * scores.frames_within_mm[t]:.1f}" for t in SHOWN_THRESHOLDS_MM]
    rows = [(scores.mean_mm or 0.0, _row([*own, ""], "ours"))]
    methods = published_methods(evaluation.dataset)
    sources = list(dict.fromkeys(method.source for method in methods))
    for method in methods:
        within = [method.within_percent.get(t) for t in SHOWN_THRESHOLDS_MM]
        cells = [method.name, str(method.year), f"{method.mean_mm:g}"]
        cells += ["-" if percent is None else f"{percent:.1f}" for percent in within]
        rows.append((method.mean_mm, _row([*cells, f"({sources.index(method.source) + 1})"], "")))
    body = "".join(row for _, row in sorted(rows, key=lambda pair: -pair[0]))
    named = "; ".join(f"({number}) {source}" for number, source in enumerate(sources, start=1))
    table = _table(("method", "year", "mean, mm", *(f"{name}, %" for name in _WITHIN), "source"), body)
    return f'{table}<p class="soft">Sources: {escape(named)}.</p>'


def _angles(scores: Scores) -> Iterable[str]:
    for name, bins in (("Yaw", scores.by_yaw), ("Pitch", scores.by_pitch)):
        if bins is not None and any(part.frames for part in bins):
            meaning = (
                "Direction of the fingers in the image: 0 straight up or down, positive to the right."
                if name == "Yaw"
                else "0: the fingers lie across the view; 90: they point at the camera."
            )
            meaning += f" Two degrees a dot; {sum(part.frames for part in bins):,} frames lie in this range."
            yield _section(f"Error by {name.lower()}", meaning, charts.angle_chart(bins, name))


def _gallery(title: str, examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    figures = "".join(
        f'<figure><img alt="{escape(example.key)}" src="data:image/png;base64,{example.png_base64}">'
        f"<figcaption>{example.mean_mm:.1f} mm, worst joint {example.worst_mm:.1f}<br>{escape(example.key)}"
        "</figcaption></figure>"
        for example in examples
    )
    text = "Truth thin and white, prediction in the fingers' colours."
    return _section(title, text, f'<div class="frames">{figures}</div>')


def _section(title: str, text: str, inside: str) -> str:
    words = f'<p class="soft">{escape(text)}</p>' if text else ""
    return f"<section><h2>{escape(title)}</h2>{words}\n{inside}</section>"


def _table(heads: Iterable[str], body: str) -> str:
    return (
        f"<table><thead><tr>{''.join(f'<th>{escape(h)}</th>' for h in heads)}</tr></thead><tbody>{body}</tbody></table>"
    )


def _row(cells: Iterable[str], style: str) -> str:
    return f'<tr class="{style}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
