"""Charts of the demo, dressed as those of a report."""

from collections.abc import Sequence

import numpy as np

from crossnets.demo.measure import Result
from crossnets.demo.small import Learned
from crossnets.evaluation.report import charts
from crossnets.metrics import THRESHOLDS_MM

COLOURS = ("#2f81d8", "#e2703a")
"""Colours of the first and the second model."""
_SMOOTHED = 9


def curves(results: Sequence[Result]) -> str:
    """Frames (solid) and joints (dashed) within a distance, of each model."""
    figure, axes = charts.new_figure(7.6, 4.2)
    for colour, result in zip(COLOURS[-len(results) :], results, strict=True):
        scores = result.evaluation.scores
        axes.plot(THRESHOLDS_MM, 100 * scores.frames_within_mm, color=colour, linewidth=2.4, label=result.name)
        axes.plot(THRESHOLDS_MM, 100 * scores.joints_within_mm, "--", color=colour, linewidth=1.3)
    axes.set_ylabel("frames (dashed: joints) within t, %")
    charts.finish_curves(axes)
    return charts.to_svg(figure)


def joints(results: Sequence[Result]) -> str:
    """A bar for each joint's mean error and model."""
    skeleton = results[0].evaluation.compared.skeleton
    figure, axes = charts.new_figure(7.6, 0.9 + 0.12 * len(skeleton) * (1 + len(results)))
    rows, height = np.arange(len(skeleton)), 0.8 / len(results)
    most = 1.0
    for number, (colour, result) in enumerate(zip(COLOURS[-len(results) :], results, strict=True)):
        values = [result.evaluation.scores.per_joint_mm[name] or 0.0 for name in skeleton.joints]
        places = rows + (number - (len(results) - 1) / 2) * height
        axes.barh(places, values, color=colour, height=0.9 * height, label=result.name)
        for place, value in zip(places, values, strict=True):
            axes.text(value, place, f" {value:.1f}", va="center", color=charts.INK, fontsize=7)
        most = max(most, *values)
    axes.set_yticks(rows, [name.replace("_", " ") for name in skeleton.joints])
    axes.set_ylim(len(skeleton) - 0.4, -0.6)
    axes.set_xlim(0, 1.3 * most)
    axes.set_xlabel("mean error, mm")
    axes.grid(visible=False, axis="y")
    axes.legend(loc="upper right", frameon=False, labelcolor=charts.INK, fontsize=8.5)
    return charts.to_svg(figure)


def loss(learned: Learned) -> str:
    """The distance of the joints in each batch, faint, and its running mean."""
    figure, axes = charts.new_figure(7.6, 3.2)
    distance = np.array(learned.distance)
    axes.plot(learned.steps, distance, color=COLOURS[1], alpha=0.3, linewidth=1.0)
    width = max(1, min(_SMOOTHED, len(distance) // 5))
    mean = np.convolve(distance, np.ones(width) / width, mode="valid")
    axes.plot(learned.steps[width - 1 :], mean, color=COLOURS[1], linewidth=2.2)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step")
    axes.set_ylabel("distance, halves of the cube")
    return charts.to_svg(figure)
