"""Charts as SVG elements. They use the text colour of the page, which differs in its light and dark mode."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from crossnets.evaluation.report.published import LabelFractions, PublishedMethod
from crossnets.evaluation.scores import AngleBin, Scores
from crossnets.geometry.skeleton import Skeleton
from crossnets.metrics import SIGMAS, THRESHOLDS_MM, gaussian_coverage

INK = "#0a0b0c"
"""Placeholder that `to_svg` replaces with the page's text colour."""
_OURS, _CROSSING_NETS = "#2f81d8", "#e2703a"
_SEQUENCE_STYLES = ("--", ":", "-.")
_LEGEND_SIZE = 8.5
_OTHERS = ("#4c9f70", "#a06cd5", "#c2993a", "#c75b7a")
PALETTE = (_OURS, _CROSSING_NETS, *_OTHERS)
"""Colours of several results, in their order."""


def success_chart(scores: Scores, published: Sequence[PublishedMethod]) -> str:
    """FS(t) of all frames and of up to three sequences, with published results."""
    figure, axes = new_figure(7.6, 4.6)
    others = [method for method in published if method.within_percent and not method.drawn]
    for number, method in enumerate(others):
        label = "other published methods" if number == 0 else None
        _published_line(axes, method, INK, label, alpha=0.22, linewidth=1.0)
    colours = iter(_OTHERS)
    for method in (method for method in published if method.drawn):
        is_crossing_nets = method.name == "Crossing Nets"
        colour = _CROSSING_NETS if is_crossing_nets else next(colours)
        _published_line(axes, method, colour, f"{method.name}, {method.year}", 0.9, 2.0 if is_crossing_nets else 1.2)
    _plot_success(axes, scores, frames=True)
    axes.set_ylabel("frames within t, %")
    finish_curves(axes)
    return to_svg(figure)


def joint_success_chart(scores: Scores) -> str:
    """JS(t) of all frames and of up to three sequences."""
    figure, axes = new_figure(7.6, 3.6)
    _plot_success(axes, scores, frames=False)
    axes.set_ylabel("joints within t, %")
    finish_curves(axes)
    return to_svg(figure)


class JointBars(NamedTuple):
    """Mean errors of the joints for one model."""

    per_joint_mm: Mapping[str, float | None]
    colours: Any
    """One colour of matplotlib, or one for each joint."""
    label: str | None = None
    """Entry in the legend."""


def joint_chart(models: Sequence[JointBars], skeleton: Skeleton) -> str:
    """Bars of the mean error of each joint, side by side for all models. Labelled models get a legend."""
    figure, axes = new_figure(7.6, 0.9 + 0.12 * len(skeleton) * (1 + len(models)))
    labelled = any(model.label is not None for model in models)
    rows = np.arange(len(skeleton))
    height = 0.8 / len(models)
    largest = 1.0
    for number, model in enumerate(models):
        values = [model.per_joint_mm[name] or 0.0 for name in skeleton.joints]
        places = rows + (number - (len(models) - 1) / 2) * height
        axes.barh(places, values, color=model.colours, height=0.9 * height, label=model.label)
        for place, value in zip(places, values, strict=True):
            axes.text(value, place, f" {value:.1f}", va="center", color=INK, fontsize=7 if labelled else 8.5)
        largest = max(largest, *values)
    axes.set_yticks(rows, [name.replace("_", " ") for name in skeleton.joints])
    axes.set_ylim(len(skeleton) - 0.4, -0.6)
    axes.set_xlim(0, largest * 1.1)
    axes.set_xlabel("mean error, mm")
    axes.grid(visible=False, axis="y")
    if labelled:
        # A legend inside would cover the bars of a model with large errors.
        _legend(figure, "outside upper left")
    return to_svg(figure)


class Model(NamedTuple):
    """One of several results in a chart."""

    name: str
    scores: Scores
    colour: str | None = None
    """None takes the next of `PALETTE`."""


def compared_curves(models: Sequence[Model]) -> str:
    """Success curves of each model: solid for frames, dashed for joints."""
    figure, axes = new_figure(7.6, 4.2)
    for model, colour in zip(models, _colours(models), strict=True):
        scores = model.scores
        axes.plot(THRESHOLDS_MM, 100 * scores.frames_within_mm, color=colour, linewidth=2.2, label=model.name)
        axes.plot(THRESHOLDS_MM, 100 * scores.joints_within_mm, "--", color=colour, linewidth=1.3)
    axes.set_ylabel("frames (dashed: joints) within t, %")
    finish_curves(axes)
    return to_svg(figure)


def compared_joints(models: Sequence[Model], skeleton: Skeleton) -> str:
    """Bars of the mean error of each joint, side by side for all models."""
    bars = [
        JointBars(model.scores.per_joint_mm, colour, model.name)
        for model, colour in zip(models, _colours(models), strict=True)
    ]
    return joint_chart(bars, skeleton)


def _colours(models: Sequence[Model]) -> list[str]:
    return [model.colour or PALETTE[number % len(PALETTE)] for number, model in enumerate(models)]


def angle_chart(bins: Sequence[AngleBin], name: str) -> str:
    """Mean error against one angle of the palm, and below it the number of frames."""
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
    for panel in (axes, counts):
        _style(panel)
    return to_svg(figure)


def calibration_chart(scores: Scores) -> str:
    """Coordinates within k deviations, of all frames and of up to three sequences, compared with a Gaussian."""
    figure, axes = new_figure(7.6, 3.6)
    expected = [100 * gaussian_coverage(float(sigmas)) for sigmas in SIGMAS]
    axes.plot(SIGMAS, expected, color=INK, alpha=0.5, linewidth=1.2, label="Gaussian")
    for name, part, style, width in _curves(scores):
        if part.coverage is not None:
            axes.plot(SIGMAS, 100 * part.coverage, style, color=_OURS, linewidth=width, label=name)
    axes.set_xlim(0, SIGMAS[-1])
    axes.set_ylim(0, 100.5)
    axes.set_xlabel("error / stated deviation")
    axes.set_ylabel("coordinates within, %")
    _legend(axes, "lower right")
    return to_svg(figure)


def fraction_chart(fractions: LabelFractions, mean_mm: float | None, source: str) -> str:
    """Mean error of Crossing Nets by share of labels. A horizontal line shows this result."""
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


def _curves(scores: Scores) -> list[tuple[str, Scores, str, float]]:
    """Name, scores, line style and line width of the curves of a chart: up to three sequences, then all frames."""
    parts = scores.sequences.items() if 1 < len(scores.sequences) <= len(_SEQUENCE_STYLES) else ()
    styled = [(name, part, style, 1.2) for (name, part), style in zip(parts, _SEQUENCE_STYLES, strict=False)]
    return [*styled, ("this result", scores, "-", 2.4)]


def _plot_success(axes: Axes, scores: Scores, frames: bool) -> None:
    for name, part, style, width in _curves(scores):
        curve = part.frames_within_mm if frames else part.joints_within_mm
        area = part.auc_frames if frames else part.auc_joints
        axes.plot(THRESHOLDS_MM, 100 * curve, style, color=_OURS, linewidth=width, label=f"{name}: area {area:.3f}")


def _published_line(
    axes: Axes, method: PublishedMethod, colour: str, label: str | None, alpha: float, linewidth: float
) -> None:
    thresholds = sorted(method.within_percent)
    percents = [method.within_percent[t] for t in thresholds]
    axes.plot(
        thresholds, percents, color=colour, alpha=alpha, linewidth=linewidth, marker="o", markersize=3.2, label=label
    )


def finish_curves(axes: Axes) -> None:
    """Set the axes and the legend of curves over the largest allowed error."""
    axes.set_xlim(0, 80)
    axes.set_ylim(0, 100.5)
    axes.set_xlabel("largest allowed error t, mm")
    # A legend inside would cover the curve of a model with large errors.
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, labelcolor=INK, fontsize=_LEGEND_SIZE
    )


def _legend(of: Axes | Figure, place: Literal["lower left", "lower right", "outside upper left"]) -> None:
    of.legend(loc=place, frameon=False, labelcolor=INK, fontsize=_LEGEND_SIZE)


def _empty_figure(width_in: float, height_in: float) -> Figure:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    return figure


def new_figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """A transparent figure of the given size with one pair of axes."""
    figure = _empty_figure(width_in, height_in)
    axes = figure.subplots()
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    """Draw two spines, a faint grid, and text in the colour of the page."""
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
    """The SVG element without metadata and name spaces, which HTML does not need. Text stays text."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "crossnets"}):
        figure.savefig(stream, format="svg", transparent=True)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'^<svg width="[^"]*" height="[^"]*"', '<svg role="img"', text)
    return text.replace(INK, "currentColor")
