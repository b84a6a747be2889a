"""Charts of the demo, in the style of report charts."""

from collections.abc import Sequence

import numpy as np

from crossnets.demo.measure import Result
from crossnets.demo.small import Learned
from crossnets.evaluation.report import charts

COLOURS = charts.PALETTE[:2]
"""Colours of the shipped model and of the model trained in the demo."""
_SMOOTHED = 9
"""Largest number of values in the running mean of the loss."""


def curves(results: Sequence[Result]) -> str:
    """Success curves of each model: solid for frames, dashed for joints."""
    return charts.compared_curves(_models(results))


def joints(results: Sequence[Result]) -> str:
    """Bars of the mean error of each joint, side by side for all models."""
    return charts.compared_joints(_models(results), results[0].evaluation.compared.skeleton)


def _models(results: Sequence[Result]) -> list[charts.Model]:
    """The model that is trained in the demo has the colour of its loss."""
    colours = COLOURS[-len(results) :]
    return [
        charts.Model(result.name, result.evaluation.scores, colour)
        for result, colour in zip(results, colours, strict=True)
    ]


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
