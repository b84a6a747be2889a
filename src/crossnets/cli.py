"""Commands: parse, call, print."""

import json as json_module
import os
import platform
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import tyro
from rich.console import Console
from rich.table import Table

from crossnets.data.dataset import FrameError
from crossnets.data.info import info_command
from crossnets.evaluation.command import evaluate
from crossnets.geometry.crop import Normalisation
from crossnets.geometry.localise import Centers
from crossnets.weights import SHIPPED

TRACEBACK = "CROSSNETS_TRACEBACK"


def demo(
    out: Path = Path("demo"),
    budget: str = "60s",
    frames: int = 200,
    seed: int = 0,
    model: Path | None = None,
    open_page: bool = True,
) -> None:
    """Show it all in a few minutes: render hands, estimate them, train a small model, score, and write one page.

    Args:
        out: Folder for index.html, and the run of the small model; that of an earlier demo is replaced.
        budget: Time for the training: 60s, 5m.
        frames: Hands that are estimated.
        seed: Of the hands and of the training.
        model: Run or model folder, instead of the model that comes with the package.
        open_page: --no-open-page only names the page, as is done without a display.
    """
    from crossnets import presets
    from crossnets.demo.command import demo_command
    from crossnets.training.loop import DivergedError, TrainingStoppedError

    try:
        demo_command(
            presets.crossnets(seed=seed), out=out, budget=budget, frames=frames, model=model, open_page=open_page
        )
    except TrainingStoppedError:
        _end("The demo was stopped; the next one begins anew.", 130)
    except DivergedError as error:
        _end(str(error), 1)


def train(
    out: Path,
    data: str | None = None,
    preset: Literal["paper", "crossnets"] = "paper",
    unlabelled: tuple[str, ...] = (),
    labels: str = "all",
    budget: str | None = None,
    epochs: tuple[str, ...] = (),
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
        out: Folder of the run: config, log.jsonl, TensorBoard events, checkpoint and model.
        data: Labelled frames, such as cvar:PATH#P1,P4; `crossnets data info` says what a folder holds.
        preset: Which networks, losses and schedule: paper needs --data, crossnets renders its own and takes of the
            options below only budget, epochs, seed, precision, threads and checkpoint-s.
        unlabelled: More frames, whose labels, if any, are not read.
        labels: How many of the labelled frames keep their label: `all`, a share such as 2%, or a number.
        budget: Shorten all stages by one factor to take about this long: 90s, 20m, 1.5h.
        epochs: Rounds of single stages, such as depth_gan=50 joint=400, instead of the preset's.
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
    from crossnets.training.loop import DivergedError, TrainingStoppedError

    paper = partial(
        presets.paper,
        normalisation=normalisation,
        centers=centers,
        metric=metric,
        terms=Terms(smoothness=smoothness, adversarial=adversarial, unlabelled=use_unlabelled),
        shared_latent=shared_latent,
        precision=precision,
        seed=seed,
        checkpoint_s=checkpoint_s,
    )
    ours = presets.crossnets(precision=precision, seed=seed, checkpoint_s=checkpoint_s)
    try:
        train_command(
            paper if preset == "paper" else ours,
            data=data,
            unlabelled=unlabelled,
            labels=labels,
            budget=budget,
            epochs=epochs,
            out=out,
            threads=threads,
        )
    except TrainingStoppedError as stopped:
        _end(str(stopped), 130)
    except DivergedError as error:
        _end(str(error), 1)


def info(
    preset: Literal["paper", "crossnets"] = "paper",
    joints: int = 21,
    shared_latent: bool = True,
    metric: Literal["separate", "combined"] = "separate",
    json: bool = False,
) -> None:
    """Print parameters and multiply-adds of a preset's networks.

    Args:
        preset: Which networks.
        joints: Of the skeleton: 16 (ICVL), 21 (MSRA, CVAR), 36 (NYU). The preset crossnets always has 21.
        shared_latent: --no-shared-latent shows the from-scratch baseline.
        metric: The head that judges distances.
        json: Print JSON alone.
    """
    from crossnets import presets
    from crossnets.models.complexity import complexity

    paper = presets.paper_networks(joints, metric, shared_latent=shared_latent)
    joints = joints if preset == "paper" else 21
    parts = complexity(paper if preset == "paper" else presets.crossnets_networks())
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


def predict(
    frames: tyro.conf.Positional[tuple[str, ...]],
    camera: str | None = None,
    out: Path = Path("predictions"),
    refine: Literal["none", "update", "energy"] = "none",
    centers: Literal["image", "image-paper"] = "image",
    split: Literal["train", "test"] = "test",
    draw: bool = True,
) -> None:
    """Estimate the joints in depth images: a file of millimetres, and a picture of each frame.

    Args:
        frames: 16-bit depth PNGs, folders of them, recordings, or data sets such as cvar:PATH#P5. Before them a run or
            model folder; without one, the model that comes with the package is used.
        camera: Of PNGs without camera.json: a name such as realsense-d435, or fx,fy,cx,cy in pixels and optionally mm
            per depth count. Recordings and data sets know their own.
        out: Folder for predictions.jsonl (a header, then a frame a line), which is never overwritten, and overlays/.
        refine: After the estimate: the paper's learned update, or its energy minimised.
        centers: How the hand is found: our finder or the paper's.
        split: Of NYU and ICVL.
        draw: --no-draw leaves the pictures out.
    """
    from crossnets.predict_command import may_be_model, predict_command

    model, *rest = frames if frames and may_be_model(frames[0]) else (SHIPPED, *frames)
    if not rest:
        raise ValueError("Found no frames; give PNGs, folders or data sets, after the model if you give one.")
    predict_command(
        Path(model), rest, camera=camera, out=out, refinement=refine, centers=centers, split=split, draw=draw
    )


def generate(
    action: tyro.conf.Positional[Literal["pose-to-depth", "depth-to-pose", "walk"]],
    model: tyro.conf.Positional[Path],
    data: str,
    frame: str | None = None,
    start: Annotated[str | None, tyro.conf.arg(name="from")] = None,
    end: Annotated[str | None, tyro.conf.arg(name="to")] = None,
    steps: int = 9,
    by_image: bool = False,
    split: Literal["train", "test"] = "test",
    out: Path = Path("generated"),
) -> None:
    """Draw what a model makes of its latent space: a depth map from a pose, a pose from a depth map, or a walk.

    Args:
        action: pose-to-depth starts from the label of a frame, depth-to-pose from its image; walk goes straight from
            the latent of one frame to that of another, and draws a depth map and a pose at each step.
        model: Run or model folder.
        data: Data set with the frames, such as cvar:PATH#P5.
        frame: Of the first two actions: its key, such as cvar/P5/000100, or its index from 0.
        start: Where a walk starts: key or index.
        end: Where it ends.
        steps: Of a walk, with both ends.
        by_image: A walk between what is estimated from the two images, instead of between their labels.
        split: Of NYU and ICVL.
        out: Folder for ACTION.png and, for a walk, walk.gif; old ones are replaced.
    """
    from crossnets.generate_command import generate_command

    paths = generate_command(
        action,
        model,
        data=data,
        split=split,
        frame=frame,
        start=start,
        end=end,
        steps=steps,
        by_image=by_image,
        out=out,
    )
    for path in paths:
        print(path)


def synthesize(
    as_format: Annotated[Literal["nyu", "icvl", "msra", "cvar", "recording"], tyro.conf.arg(name="as")],
    frames: int,
    out: Path,
    seed: int = 0,
    noise: float = 1.0,
    camera: str | None = None,
    skeleton: str | None = None,
    left_share: float | None = None,
    test_frames: int | None = None,
) -> None:
    """Render hands with exact labels into a data set of a benchmark's own format.

    Args:
        as_format: Whose files; ICVL shows left hands, the others but recordings right ones.
        frames: Of the training split, or of all.
        out: A new folder; an old one is not overwritten.
        seed: The same seed gives the same frames.
        noise: Strength of the sensor's noise; 0 for exact depth.
        camera: Of a recording: a preset such as realsense-d435.
        skeleton: Of a recording's labels: nyu36, nyu14, icvl16, msra21 or cvar21.
        left_share: Share of left hands, 0 to 1.
        test_frames: Of the test split of nyu and icvl; a tenth of --frames unless given.
    """
    from crossnets.data.synthesize import synthesize as write

    counts = write(
        as_format,
        frames,
        out,
        seed=seed,
        noise=noise,
        camera=camera,
        skeleton=skeleton,
        left_share=left_share,
        test_frames=test_frames,
    )
    print(f"{out}: {', '.join(f'{count} {split}' for split, count in counts.items())}")


def _with_huge_pages() -> None:
    """Start again with glibc's huge pages, which a process must ask for at its start; up to 1.2 times the speed."""
    wanted = "glibc.malloc.hugetlb=1"
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    trains = sys.argv[1:2] in (["train"], ["demo"])
    if not trains or platform.libc_ver()[0] != "glibc" or "glibc.malloc.hugetlb" in tunables:
        return
    os.environ["GLIBC_TUNABLES"] = f"{tunables}:{wanted}" if tunables else wanted
    os.execv(sys.executable, [sys.executable, "-m", "crossnets", *sys.argv[1:]])


def _end(message: str, code: int) -> NoReturn:
    """Say why, and end the process."""
    Console(stderr=True).print(f"crossnets: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def main() -> None:
    """Run the command line; a mistake of the user ends in one message and exit code 2."""
    commands = {
        "demo": demo,
        "train": train,
        "evaluate": evaluate,
        "predict": predict,
        "generate": generate,
        "info": info,
        "data": data,
        "synthesize": synthesize,
    }
    _with_huge_pages()
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="crossnets")
    except ModuleNotFoundError as error:
        extra = "render" if error.name in ("numba", "array_api_compat") else "train"
        if (error.name or "").startswith("crossnets"):
            raise
        _end(f"{error.name} is not installed, but this command needs it: pip install 'crossnets[{extra}]'.", 2)
    except BrokenPipeError:  # who read our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError, FrameError) as error:
        if os.environ.get(TRACEBACK):
            raise
        _end(str(error), 2)
