"""Training of a model that is small enough to learn within a minute."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from crossnets.geometry.skeleton import find_skeleton
from crossnets.inference.torch_models import Estimator
from crossnets.training import loop, rendering
from crossnets.training.config import CrossnetsConfig, StageConfig
from crossnets.training.devices import choose_machine
from crossnets.training.progress import LOG
from crossnets.training.run import request_of
from crossnets.training.schedule import parse_budget

_WIDTHS = (12, 32, 64, 96)
_DEPTHS = (1, 1, 1, 1)
_KEPT = 256
"""Number of rendered hands to store. It is small because only the pose VAE, which is not trained here, uses them."""
_MIN_STEPS = 20
_SHARE = 0.8
"""Share of the budget for training steps. Rendering takes time that the plan of a training does not count."""
_LATE = 1.2
"""The training ends after this many times the budget, also on a busy machine."""
_ENDLESS = 10**6
"""Number of rounds that no budget allows. The budget ends the training."""


@dataclass(frozen=True)
class Learned:
    """Model and losses of a training."""

    estimator: Estimator
    steps: list[int]
    distance: list[float]
    """Mean joint distance in each batch of new hands, in half sides of the crop's cube."""
    samples: int
    cube_mm: tuple[float, float]
    """Smallest and largest side of the crops' cubes."""


def small(config: CrossnetsConfig) -> CrossnetsConfig:
    """Reduce a configuration to the estimator, with fewer channels and small batches.

    Small batches allow more steps, which matter most in a training of a minute. The model makes one pass only. After
    so short a training, a crop around its own estimate is worse than the first crop.
    """
    stage = StageConfig(name="estimate", batch=16, lr=3e-3, epochs=_ENDLESS, schedule="cosine", min_steps=_MIN_STEPS)
    dense = replace(config.networks.dense, widths=_WIDTHS, depths=_DEPTHS)
    return replace(
        config,
        networks=replace(config.networks, dense=dense),
        stages=(stage,),
        rendered=replace(config.rendered, kept_frames=_KEPT, uses=2, damage=None),
        precision=loop.resolve_precision(config.precision, choose_machine().device),
        checkpoint_s=3600.0,
        passes=1,
    )


def train_small(config: CrossnetsConfig, run: Path, budget: str, console: Console) -> Learned:
    """Train in the new folder `run` and show the loss.

    Raises:
        ValueError: the budget is not a valid time.
        TrainingStoppedError, DivergedError: as for `loop.train`.
    """
    began = time.monotonic()
    config = small(config)
    frames = rendering.kept(config.rendered, find_skeleton(config.skeleton), run / "crops")
    request = request_of(config, {"demo": budget})
    seconds = parse_budget(budget)
    estimator = loop.train(
        config,
        frames,
        run,
        request=request,
        budget_s=_SHARE * seconds,
        deadline_s=_LATE * seconds - (time.monotonic() - began),
        console=console,
    )
    lines = [json.loads(line) for line in (run / LOG).read_text(encoding="utf-8").splitlines()]
    steps = [line["step"] for line in lines]
    distance = [line["losses"]["joints"] for line in lines]
    samples = steps[-1] * config.stages[0].batch
    return Learned(estimator, steps, distance, samples, config.rendered.sources[0].cube_mm)
