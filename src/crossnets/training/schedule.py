"""Steps of each stage, in full or within a time budget, and the learning rate at a step."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from crossnets.training.config import StageConfig, StageName

BUDGET_SHARES: dict[StageName, float] = {
    "pose_vae": 3,
    "depth_gan": 10,
    "warm_up": 7,
    "joint": 80,
    "regression": 100,
    "own": 100,
    "estimate": 240,
    "draw": 100,
    "detect": 100,
}
"""Shares of the stages in a time budget, in any unit.

Most of the time belongs to the stage that learns to predict. With 2 % of the labels of CVAR's P1 and P4, ten minutes in
14 GAN, 7 warm-up and 78 joint updates gave 31.7 mm on P5, from scratch 47.6. One factor for all stages leaves the joint
stage three updates in three minutes, and 62.5 mm.
"""
_MOST_LEAST = 0.3
"""Largest share of a budget that the least steps of a stage may take. The pose VAE would use up a short budget."""
EXTENDABLE: tuple[StageName, ...] = ("joint", "regression", "estimate", "draw", "detect", "own")
"""Stages that a finished run may be trained longer in. The others prepare what these rely on, such as the pose VAE,
whose latent space must not move afterwards."""
_RISE = 0.05
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_budget(text: str) -> float:
    """Seconds in a text such as `90s`, `20m` or `1.5h`.

    Raises:
        ValueError: the text is of another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or float(match[1]) == 0:
        raise ValueError(f"--budget {text}: expected a time such as 90s, 20m or 1.5h.")
    return float(match[1]) * _SECONDS[match[2]]


def with_epochs(stages: Sequence[StageConfig], texts: Sequence[str]) -> tuple[StageConfig, ...]:
    """The stages with other numbers of rounds, from texts such as `joint=400`. These stages have no least number of
    steps.

    Raises:
        ValueError: a text is of another form, names no stage, or names one twice.
    """
    asked: dict[str, int] = {}
    for text in texts:
        name, _, count = text.partition("=")
        if name not in {stage.name for stage in stages} or name in asked or not re.fullmatch(r"[1-9]\d*", count):
            known = ", ".join(f"{stage.name}={stage.epochs}" for stage in stages)
            raise ValueError(f"--epochs {text}: expected some of {known}, each once, with a number of 1 or more.")
        asked[name] = int(count)
    return tuple(
        replace(stage, epochs=asked[stage.name], min_steps=0) if stage.name in asked else stage for stage in stages
    )


def only_stages(stages: Sequence[StageConfig], names: Sequence[str]) -> tuple[StageConfig, ...]:
    """The stages of these names, in their order. All of them if no name is given.

    Raises:
        ValueError: a name is not that of a stage.
    """
    known = [stage.name for stage in stages]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"--stages {unknown[0]}: expected some of {', '.join(known)}.")
    return tuple(stage for stage in stages if not names or stage.name in names)


def with_numbers(
    stages: Sequence[StageConfig], texts: Sequence[str], option: str, field: Literal["batch", "lr"]
) -> tuple[StageConfig, ...]:
    """The stages with other batch sizes or learning rates, from texts such as `estimate=1024`.

    Raises:
        ValueError: a text is of another form, names no stage, or names one twice.
    """
    asked: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        shape = r"[1-9]\d*" if field == "batch" else r"\d*\.?\d+(e-?\d+)?"
        if name not in {s.name for s in stages} or name in asked or not re.fullmatch(shape, number):
            known = ", ".join(f"{stage.name}={getattr(stage, field)}" for stage in stages)
            kind = "a whole number of 1 or more" if field == "batch" else "a number above 0"
            raise ValueError(f"{option} {text}: expected some of {known}, each once, with {kind}.")
        asked[name] = int(number) if field == "batch" else float(number)
        if not 0 < asked[name] < math.inf:
            raise ValueError(f"{option} {text}: expected a number above 0.")
    return tuple(replace(stage, **{field: asked[stage.name]}) if stage.name in asked else stage for stage in stages)


def steps_per_epoch(stage: StageConfig, num_frames: int) -> int:
    """Updates in one round over all frames, labelled or not."""
    return max(1, round(num_frames / stage.batch))


def full_steps(stage: StageConfig, num_frames: int) -> int:
    """Updates of a stage in the whole schedule."""
    return max(stage.min_steps, round(stage.epochs * num_frames / stage.batch), 1)


def steps_within(
    stages: Sequence[StageConfig],
    num_frames: int,
    budget_s: float | None,
    seconds_per_step: Callable[[StageConfig], float],
) -> list[int]:
    """Steps of each stage: the whole schedule, or those that fit a budget.

    A budget is divided by `BUDGET_SHARES`. A stage whose share holds more than its whole schedule, or less than its
    `min_steps`, takes just these, and the others divide the rest. `min_steps` of a stage take at most `_MOST_LEAST` of
    the budget.
    """
    full = [full_steps(stage, num_frames) for stage in stages]
    if budget_s is None:
        return full
    seconds = {stage.name: seconds_per_step(stage) for stage in stages}
    affordable = [int(_MOST_LEAST * budget_s / seconds[stage.name]) for stage in stages]
    least = [max(min(stage.min_steps, most), 1) for stage, most in zip(stages, affordable, strict=True)]
    return _within(stages, least, full, budget_s, lambda stage: seconds[stage.name])


def extended_steps(
    stages: Sequence[StageConfig],
    done: Sequence[int],
    num_frames: int,
    more_s: float | None,
    seconds_per_step: Callable[[StageConfig], float],
) -> list[int]:
    """Steps of each stage of a run that is trained longer: the whole schedule, or as many more as fit `more_s` seconds.

    Args:
        stages: The longer schedule. Stages that are not in `EXTENDABLE` keep their steps.
        done: Steps of each stage that were done.
        num_frames: Frames of an epoch.
        more_s: Seconds that are left, or None for the whole schedule.
        seconds_per_step: Measures a stage. Only stages that have steps left are measured.
    """
    left = [
        max(0, full_steps(stage, num_frames) - steps) if stage.name in EXTENDABLE else 0
        for stage, steps in zip(stages, done, strict=True)
    ]
    rows = [row for row, steps in enumerate(left) if steps]
    if more_s is not None and rows:
        most = [left[row] for row in rows]
        more = _within([stages[row] for row in rows], [0] * len(rows), most, more_s, seconds_per_step)
        for row, steps in zip(rows, more, strict=True):
            left[row] = steps
    return [steps + some for steps, some in zip(done, left, strict=True)]


def _within(
    stages: Sequence[StageConfig],
    least: Sequence[int],
    most: Sequence[int],
    budget_s: float,
    seconds_per_step: Callable[[StageConfig], float],
) -> list[int]:
    """Steps of each stage that fit a budget, from `least` to `most`."""
    cost = [seconds_per_step(stage) for stage in stages]
    shares = [BUDGET_SHARES[stage.name] for stage in stages]

    def steps(level_s: float) -> list[int]:
        """Steps where each stage has `level_s` seconds for each unit of its share."""
        wanted = [int(level_s * share / seconds) for share, seconds in zip(shares, cost, strict=True)]
        return [min(many, max(few, n)) for few, n, many in zip(least, wanted, most, strict=True)]

    def takes_s(level_s: float) -> float:
        return sum(seconds * n for seconds, n in zip(cost, steps(level_s), strict=True))

    low = 0.0
    high = 2 * max(seconds * n / share for seconds, n, share in zip(cost, most, shares, strict=True))
    if takes_s(high) <= budget_s:
        return list(most)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if takes_s(middle) <= budget_s else (low, middle)
    return steps(low)


def learning_rate(stage: StageConfig, step: int, num_frames: int, total: int) -> float:
    """Rate at a step of `total`; spec 4: after each epoch, lr decay^(epoch (updates + 1) / 10000)."""
    if stage.schedule == "cosine":
        rise = max(1, round(_RISE * total))
        share = min(1.0, max(0, step - rise) / max(1, total - rise))
        return stage.lr * min(1.0, (step + 1) / rise) * (1 + math.cos(math.pi * share)) / 2
    updates = steps_per_epoch(stage, num_frames)
    return stage.lr * stage.decay ** (step // updates * (updates + 1) / 10_000)
