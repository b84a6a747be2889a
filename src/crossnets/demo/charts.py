"""Charts of the demo, in the style of report charts."""

from collections.abc import Sequence

import numpy as np

from crossnets.demo.measure import Result
from crossnets.demo.small import Learned
from crossnets.evaluation.report import charts
from crossnets.metrics import THRESHOLDS_MM

COLOURS = ("#2f81d8", "#e2703a")
"""Colours of the shipped model and of the model trained in the demo."""
_SMOOTHED = 9
"""Largest number of values in the running mean of the loss."""


def curves(results: Sequence[Result]) -> str:
    """Success curves of each model: solid for frames, dashed for joints."""
    figure, axes = charts.new_figure(7.6, 4.2)
    for colour, result in zip(COLOURS[-len(results) :], results, strict=True):
        scores = result.evaluation.scores
        axes.plot(THRESHOLDS_MM, 100 * scores.frames_within_mm, color=colour, linewidth=2.4, label=result.name)
        axes.plot(THRESHOLDS_MM, 100 * scores.joints_within_mm, "--", color=colour, linewidth=1.3)
    axes.set_ylabel("frames (dashed: joints) within t, %")
    charts.finish_curves(axes)
    return charts.to_svg(figure)


def joints(results: Sequence[Result]) -> str:
    """Bars of the mean error of each joint, side by side for all models."""
    models = [
        charts.JointBars(result.evaluation.scores.per_joint_mm, colour, result.name)
        for colour, result in zip(COLOURS[-len(results) :], results, strict=True)
    ]
    return charts.joint_chart(models, results[0].evaluation.compared.skeleton)


def loss(learned: Learned) -> str:
    """Mean joint distance of each batch as a faint line, and its running mean."""
    figure, axes = charts.new_figure(7.6, 3.2)
    distance = np.array(learned.distance)
    axes.plot(learned.steps, distance, color=COLOURS[1], alpha=0.3, linewidth=1.0)
    width = max(1, min(_SMOOTHED, len(distance) // 5))
    mean = np.convolve(distance, np.ones(width) / width, mode="valid")
    axes.plot(learned.steps[width - 1 :], mean, color=COLOURS[1], linewidth=2.2)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step")
    axes.set_ylabel("distance in half cube sides")
    return charts.to_svg(figure)
