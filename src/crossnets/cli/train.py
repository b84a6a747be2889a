"""Commands that train, and what they train."""

import math
from functools import partial
from pathlib import Path
from typing import Literal

from crossnets.cli.ending import end
from crossnets.geometry.crop import Normalisation
from crossnets.geometry.localise import Centers


def train(
    out: Path,
    data: str | None = None,
    preset: Literal["paper", "crossnets", "detector"] = "paper",
    unlabelled: tuple[str, ...] = (),
    labels: str = "all",
    budget: str | None = None,
    epochs: tuple[str, ...] = (),
    batch_size: tuple[str, ...] = (),
    learning_rate: tuple[str, ...] = (),
    stages: tuple[str, ...] = (),
    init: Path | None = None,
    seed: int = 42,
    normalisation: Normalisation = "per-frame",
    centers: Centers = "image",
    metric: Literal["separate", "combined"] = "separate",
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int | None = None,
    workers: int | None = None,
    checkpoint_s: float = 60.0,
    smoothness: bool = True,
    adversarial: bool = True,
    use_unlabelled: bool = True,
    shared_latent: bool = True,
) -> None:
    """Train a model, or go on with the run in `out`: the same command resumes after a kill.

    Args:
        out: Folder of the run: config, log.jsonl, TensorBoard events, checkpoint and model.
        data: Labelled frames, such as cvar:PATH#P1,P4; `crossnets data info` says what a folder holds.
        preset: Which networks, losses and schedule: paper needs --data; crossnets renders hands, and takes real frames
            beside them; detector, which finds hands in whole frames, renders all. Options that a preset has no use
            for are refused.
        unlabelled: More frames, whose labels, if any, are not read.
        labels: How many of the labelled frames keep their label: `all`, a share such as 2%, or a number.
        budget: Shorten the stages to take about this long in all, such as 90s, 20m or 1.5h.
        epochs: Rounds of single stages, such as depth_gan=50 joint=400, instead of the preset's.
        batch_size: Samples of an update in single stages, such as estimate=1024, instead of the preset's.
        learning_rate: Of single stages, such as estimate=0.004, instead of the preset's.
        stages: Train these stages alone, such as estimate; all by default.
        init: Run or model folder of the same networks whose weights the training starts from.
        seed: Of weights, batches, noise and the choice of labels.
        normalisation: The paper's per-frame depth range, or metric distances to the centre.
        centers: Where cubes are centred: image (our finder), image-paper (the paper's), label (an oracle: it reads the
            label of every frame of --data, whatever --labels says).
        metric: The head that judges distances: separate (the paper's default), or combined (its variant).
        precision: auto takes bfloat16 where the device is fast at it.
        device: Where the networks run; auto is the GPU if torch sees one.
        threads: Of the processor; all by default.
        workers: Processes that render hands ahead of the training; one for each core but one by default.
        checkpoint_s: Seconds between checkpoints.
        smoothness: --no-smoothness leaves out L_smo.
        adversarial: --no-adversarial leaves out L_gan and the GAN's pre-training.
        use_unlabelled: --no-use-unlabelled leaves unlabelled frames out.
        shared_latent: --no-shared-latent regresses joints with the same encoder: the from-scratch baseline.
    """
    from crossnets.training import presets
    from crossnets.training.config import Terms
    from crossnets.training.loop import DivergedError, TrainingStoppedError
    from crossnets.training.machine import choose_machine
    from crossnets.training.session import train_command

    if not 0 < checkpoint_s < math.inf:
        raise ValueError(f"--checkpoint-s {checkpoint_s}: expected seconds above 0.")
    if seed < 0:
        raise ValueError(f"--seed {seed}: expected 0 or more.")
    _refuse_useless(
        preset,
        {
            "--normalisation": normalisation != "per-frame",
            "--centers": centers != "image",
            "--metric": metric != "separate",
            "--no-shared-latent": not shared_latent,
            "--no-smoothness": not smoothness,
            "--no-adversarial": not adversarial,
            "--no-use-unlabelled": not use_unlabelled,
        },
    )
    terms = Terms(smoothness=smoothness, adversarial=adversarial, unlabelled=use_unlabelled)
    paper = partial(
        presets.paper,
        normalisation=normalisation,
        centers=centers,
        metric=metric,
        terms=terms,
        shared_latent=shared_latent,
        precision=precision,
        seed=seed,
        checkpoint_s=checkpoint_s,
    )
    rendering = presets.detector if preset == "detector" else partial(presets.crossnets, terms=terms)
    ours = rendering(precision=precision, seed=seed, checkpoint_s=checkpoint_s)
    try:
        train_command(
            paper if preset == "paper" else ours,
            data=data,
            unlabelled=unlabelled,
            labels=labels,
            budget=budget,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            stages=stages,
            init=init,
            out=out,
            threads=threads,
            machine=choose_machine(device, workers),
        )
    except TrainingStoppedError as stopped:
        end(str(stopped), 130)
    except DivergedError as error:
        end(str(error), 1)


_ONLY_PAPER = ("--normalisation", "--centers", "--metric", "--no-shared-latent")
_WITHOUT_USE = {
    "paper": (),
    "crossnets": _ONLY_PAPER,
    "detector": (*_ONLY_PAPER, "--no-smoothness", "--no-adversarial", "--no-use-unlabelled"),
}


def _refuse_useless(preset: str, given: dict[str, bool]) -> None:
    """What would change nothing is refused: nobody takes the run for what it is not."""
    useless = [option for option in _WITHOUT_USE[preset] if given[option]]
    if useless:
        raise ValueError(
            f"--preset {preset} has no use for {', '.join(useless)}: leave it out, or take --preset paper."
        )
