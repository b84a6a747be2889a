"""Charts as SVG elements that take their ink from the page, so that they suit its light and dark dress."""

import io
import re
from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from crossnets.evaluation.report.published import LabelFractions, PublishedMethod
from crossnets.evaluation.scores import AngleBin, Scores
from crossnets.geometry.skeleton import Skeleton
from crossnets.metrics import SIGMAS, THRESHOLDS_MM, gaussian_coverage

INK = "#0a0b0c"
"""Replaced by the page's text colour."""
_OURS, _CROSSING_NETS = "#2f81d8", "#e2703a"
_SEQUENCE_STYLES = ("--", ":", "-.")
_OTHERS = ("#4c9f70", "#a06cd5", "#c2993a", "#c75b7a")


def success_chart(scores: Scores, published: Sequence[PublishedMethod]) -> str:
    """FS(t) of all frames and of up to three sequences, with the published points."""
    figure, axes = new_figure(7.6, 4.6)
    others = [method for method in published if method.within_percent and not method.drawn]
    for number, method in enumerate(others):
        label = "other published methods" if number == 0 else None
        _published_line(axes, method, INK, label, alpha=0.22, linewidth=1.0)
    colours = iter(_OTHERS)
    for method in (method for method in published if method.drawn):
        crossing = method.name == "Crossing Nets"
        colour = _CROSSING_NETS if crossing else next(colours)
        _published_line(axes, method, colour, f"{method.name}, {method.year}", 0.9, 2.0 if crossing else 1.2)
    _own_curves(axes, scores, frames=True)
    axes.set_ylabel("frames within t, %")
    finish_curves(axes)
    return to_svg(figure)


def joint_success_chart(scores: Scores) -> str:
    """JS(t) of all frames and of up to three sequences."""
    figure, axes = new_figure(7.6, 3.6)
    _own_curves(axes, scores, frames=False)
    axes.set_ylabel("joints within t, %")
    finish_curves(axes)
    return to_svg(figure)


def joint_chart(per_joint_mm: dict[str, float | None], skeleton: Skeleton) -> str:
    """A bar for each joint's mean error, in its finger's colour."""
    figure, axes = new_figure(7.6, 0.9 + 0.24 * len(skeleton))
    values = [per_joint_mm[name] or 0.0 for name in skeleton.joints]
    rows = np.arange(len(skeleton))
    axes.barh(rows, values, color=skeleton.colours, height=0.72)
    for row, value in enumerate(values):
        axes.text(value, row, f" {value:.1f}", va="center", color=INK, fontsize=8.5)
    axes.set_yticks(rows, [name.replace("_", " ") for name in skeleton.joints])
    axes.set_ylim(len(skeleton) - 0.4, -0.6)
    axes.set_xlim(0, max(*values, 1.0) * 1.1)
    axes.set_xlabel("mean error, mm")
    axes.grid(visible=False, axis="y")
    return to_svg(figure)


def angle_chart(bins: Sequence[AngleBin], name: str) -> str:
    """Mean error against one angle of the palm, above the number of frames."""
    figure = _empty_figure(7.6, 3.6)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middles = [(part.from_deg + part.to_deg) / 2 for part in bins]
    means = [np.nan if part.mean_mm is None else part.mean_mm for part in bins]
    axes.plot(middles, means, color=_OURS, linewidth=1.8, marker="o", markersize=3)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("mean error, mm")
    counts.bar(middles, [part.frames for part in bins], width=1.7, color=INK, alpha=0.35)
    counts.set_ylabel("frames")
    counts.set_xlabel(f"{name} of the palm, degrees")
    counts.set_xlim(bins[0].from_deg, bins[-1].to_deg)
    for one in (axes, counts):
        _dress(one)
    return to_svg(figure)


def calibration_chart(scores: Scores) -> str:
    """Coordinates within k deviations, of all frames and of up to three sequences, beside what a Gaussian has."""
    figure, axes = new_figure(7.6, 3.6)
    should = [100 * gaussian_coverage(float(sigmas)) for sigmas in SIGMAS]
    axes.plot(SIGMAS, should, color=INK, alpha=0.5, linewidth=1.2, label="as it should be")
    parts = list(scores.sequences.items()) if 1 < len(scores.sequences) <= len(_SEQUENCE_STYLES) else []
    styles = _SEQUENCE_STYLES[: len(parts)]
    shown = [(name, part, style, 1.2) for (name, part), style in zip(parts, styles, strict=True)]
    for name, part, style, width in [*shown, ("this result", scores, "-", 2.4)]:
        if part.coverage is not None:
            axes.plot(SIGMAS, 100 * part.coverage, style, color=_OURS, linewidth=width, label=name)
    axes.set_xlim(0, SIGMAS[-1])
    axes.set_ylim(0, 100.5)
    axes.set_xlabel("error over the deviation that was stated")
    axes.set_ylabel("coordinates within, %")
    _legend(axes, "lower right")
    return to_svg(figure)


def fraction_chart(fractions: LabelFractions, mean_mm: float | None, source: str) -> str:
    """Crossing Nets' error by the share of labels, with this result as a line."""
    figure, axes = new_figure(7.6, 3.0)
    percents = sorted(fractions.mean_mm)
    means = [fractions.mean_mm[percent] for percent in percents]
    axes.semilogx(percents, means, color=_CROSSING_NETS, marker="o", markersize=4, label="Crossing Nets, 2017")
    if mean_mm is not None:
        axes.axhline(mean_mm, color=_OURS, linewidth=1.6, label=source)
    axes.set_xticks(percents, [f"{percent} %" for percent in percents])
    axes.minorticks_off()
    axes.set_xlabel(f"labelled part of {fractions.total:,} training frames")
    axes.set_ylabel("mean error, mm")
    axes.set_ylim(0, 1.15 * max(*means, mean_mm or 0.0))
    _legend(axes, "lower left")
    return to_svg(figure)


def _own_curves(axes: Axes, scores: Scores, frames: bool) -> None:
    parts = list(scores.sequences.items()) if 1 < len(scores.sequences) <= len(_SEQUENCE_STYLES) else []
    for style, (name, part) in zip(_SEQUENCE_STYLES[: len(parts)], parts, strict=True):
        curve, area = _curve(part, frames)
        axes.plot(THRESHOLDS_MM, curve, style, color=_OURS, linewidth=1.2, label=f"{name}: area {area:.3f}")
    curve, area = _curve(scores, frames)
    axes.plot(THRESHOLDS_MM, curve, color=_OURS, linewidth=2.4, label=f"this result: area {area:.3f}")


def _curve(scores: Scores, frames: bool) -> tuple[Float[np.ndarray, "81"], float]:
    if frames:
        return 100 * scores.frames_within_mm, scores.auc_frames
    return 100 * scores.joints_within_mm, scores.auc_joints


def _published_line(
    axes: Axes, method: PublishedMethod, colour: str, label: str | None, alpha: float, linewidth: float
) -> None:
    thresholds = sorted(method.within_percent)
    percents = [method.within_percent[t] for t in thresholds]
    axes.plot(
        thresholds, percents, color=colour, alpha=alpha, linewidth=linewidth, marker="o", markersize=3.2, label=label
    )


def finish_curves(axes: Axes) -> None:
    """Axes and legend of curves over the largest allowed error."""
    axes.set_xlim(0, 80)
    axes.set_ylim(0, 100.5)
    axes.set_xlabel("largest allowed error t, mm")
    _legend(axes, "lower right")


def _legend(axes: Axes, place: Literal["lower left", "lower right"]) -> None:
    axes.legend(loc=place, frameon=False, labelcolor=INK, fontsize=8.5)


def _empty_figure(width_in: float, height_in: float) -> Figure:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    return figure


def new_figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, in inches."""
    figure = _empty_figure(width_in, height_in)
    axes = figure.subplots()
    _dress(axes)
    return figure, axes


def _dress(axes: Axes) -> None:
    """A quiet frame: two spines, a faint grid, text in the page's ink."""
    axes.patch.set_alpha(0)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=INK, alpha=0.12, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=8.5, length=3)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(9)


def to_svg(figure: Figure) -> str:
    """The bare element: no metadata, no name spaces (HTML needs none), ink as `currentColor`, text as text."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "crossnets"}):
        figure.savefig(stream, format="svg", transparent=True)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'^<svg width="[^"]*" height="[^"]*"', '<svg role="img"', text)
    return text.replace(INK, "currentColor")
