"""Commands: parse, call, print."""

import json as json_module
import os
import platform
import sys
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

from crossnets.data.dataset import FrameError
from crossnets.data.info import info_command
from crossnets.evaluation.command import evaluate
from crossnets.geometry.crop import Normalisation
from crossnets.geometry.localise import Centers

TRACEBACK = "CROSSNETS_TRACEBACK"


def train(
    data: str,
    out: Path,
    preset: Literal["paper"] = "paper",
    unlabelled: tuple[str, ...] = (),
    labels: str = "all",
    budget: str | None = None,
    seed: int = 42,
    normalisation: Normalisation = "per-frame",
    centers: Centers = "image",
    metric: Literal["separate", "combined"] = "separate",
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto",
    threads: int | None = None,
    checkpoint_s: float = 60.0,
    smoothness: bool = True,
    adversarial: bool = True,
    use_unlabelled: bool = True,
    shared_latent: bool = True,
) -> None:
    """Train a model, or go on with the run in `out`: the same command resumes after a kill.

    Args:
        data: Labelled frames, such as cvar:PATH#P1,P4; `crossnets data info` says what a folder holds.
        out: Folder of the run: config, log.jsonl, TensorBoard events, checkpoint and model.
        preset: Which networks, losses and schedule.
        unlabelled: More frames, whose labels, if any, are not read.
        labels: How many of the labelled frames keep their label: `all`, a share such as 2%, or a number.
        budget: Shorten all stages by one factor to take about this long: 90s, 20m, 1.5h.
        seed: Of weights, batches, noise and the choice of labels.
        normalisation: The paper's per-frame depth range, or metric distances to the centre.
        centers: Where cubes are centred: image (our finder), image-paper (the paper's), label (an oracle).
        metric: The head that judges distances: separate (the paper's default), or combined (its variant).
        precision: auto takes bfloat16 where this processor is fast at it.
        threads: Of the processor; all by default.
        checkpoint_s: Seconds between checkpoints.
        smoothness: --no-smoothness leaves out L_smo.
        adversarial: --no-adversarial leaves out L_gan and the GAN's pre-training.
        use_unlabelled: --no-use-unlabelled leaves unlabelled frames out.
        shared_latent: --no-shared-latent regresses joints with the same encoder: the from-scratch baseline.
    """
    from crossnets import presets
    from crossnets.training.command import train_command
    from crossnets.training.config import Terms

    terms = Terms(smoothness=smoothness, adversarial=adversarial, unlabelled=use_unlabelled)
    train_command(
        lambda skeleton: presets.paper(
            skeleton,
            normalisation=normalisation,
            centers=centers,
            metric=metric,
            terms=terms,
            shared_latent=shared_latent,
            precision=precision,
            seed=seed,
            checkpoint_s=checkpoint_s,
        ),
        data=data,
        unlabelled=unlabelled,
        labels=labels,
        budget=budget,
        out=out,
        threads=threads,
    )


def info(
    preset: Literal["paper"] = "paper",
    joints: int = 21,
    shared_latent: bool = True,
    metric: Literal["separate", "combined"] = "separate",
    json: bool = False,
) -> None:
    """Print parameters and multiply-adds of a preset's networks.

    Args:
        preset: Which networks.
        joints: Of the skeleton: 16 (ICVL), 21 (MSRA, CVAR), 36 (NYU).
        shared_latent: --no-shared-latent shows the from-scratch baseline.
        metric: The head that judges distances.
        json: Print JSON alone.
    """
    from crossnets import presets
    from crossnets.models.complexity import complexity

    parts = complexity(presets.paper_networks(joints, metric, shared_latent=shared_latent))
    if json:
        networks = {name: {"parameters": c.parameters, "macs": c.macs} for name, c in parts.items()}
        print(json_module.dumps({"preset": preset, "joints": joints, "networks": networks}, indent=2))
        return
    table = Table("network", "parameters", "multiply-adds", title=f"preset {preset}, {joints} joints, 128x128")
    for name, cost in parts.items():
        table.add_row(name, f"{cost.parameters:,}", f"{cost.macs:,}")
    Console().print(table)


def data(
    action: tyro.conf.Positional[Literal["info"]],
    path: tyro.conf.Positional[str],
    split: Literal["train", "test"] = "train",
    json: bool = False,
) -> None:
    """Say what a data set's folder holds: frames, labels, joints, camera, depth range, bones, and what is broken.

    Args:
        action: What to do.
        path: A folder, or FORMAT:FOLDER#PARTS, such as cvar:PATH#P1,P4.
        split: For NYU and ICVL.
        json: Print JSON alone.
    """
    assert action == "info"
    info_command(path, json, split)


def _with_huge_pages() -> None:
    """Start again with glibc's huge pages, which the processor must know of from the start; 1.2 times the speed."""
    wanted = "glibc.malloc.hugetlb=1"
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if sys.argv[1:2] != ["train"] or platform.libc_ver()[0] != "glibc" or "glibc.malloc.hugetlb" in tunables:
        return
    os.environ["GLIBC_TUNABLES"] = f"{tunables}:{wanted}" if tunables else wanted
    os.execv(sys.executable, [sys.executable, "-m", "crossnets", *sys.argv[1:]])


def main() -> None:
    """Run the command line; a mistake of the user ends in one message and exit code 2."""
    commands = {"train": train, "evaluate": evaluate, "info": info, "data": data}
    _with_huge_pages()
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="crossnets")
    except (ValueError, OSError, FrameError) as error:
        if os.environ.get(TRACEBACK):
            raise
        Console(stderr=True).print(f"crossnets: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
