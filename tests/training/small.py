"""A training small enough for tests, also as a program: python -m tests.training.small DATA OUT."""

import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from crossnets.datasets.opening import open_dataset
from crossnets.geometry.skeleton import CVAR21
from crossnets.inference.torch_models import Estimator
from crossnets.training import loop, presets
from crossnets.training.config import PaperConfig, Precision, Terms
from crossnets.training.crops import TrainingFrames, prepare
from crossnets.training.run import request_of


def config(shared_latent: bool = True, terms: Terms | None = None, precision: Precision = "32-true") -> PaperConfig:
    """The preset `paper` with batches of 4 and 4 steps a stage (the VAE: 40), a checkpoint after every step."""
    whole = presets.paper(
        CVAR21, terms=terms or Terms(), shared_latent=shared_latent, precision=precision, checkpoint_s=0.0
    )
    stages = tuple(
        replace(stage, batch=4, epochs=0, min_steps=40 if stage.name == "pose_vae" else 4) for stage in whole.stages
    )
    return replace(whole, stages=stages)


def frames(data: Path, out: Path, labels: str = "4") -> TrainingFrames:
    """Of a tiny CVAR folder; those without a label stay unlabelled."""
    settings = config()
    return prepare(open_dataset(f"cvar:{data}"), [], settings.crop, labels=labels, seed=1, cache=out / "crops")


def train(data: Path, out: Path, settings: PaperConfig | None = None, labels: str = "4") -> Estimator:
    """Train, or go on, in `out`."""
    settings = settings or config()
    request = request_of(settings, {"labels": labels})
    quiet = Console(quiet=True)
    return loop.train(settings, frames(data, out, labels), out, request=request, console=quiet)


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]))
