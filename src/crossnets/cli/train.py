"""The command `train`. Its options depend on the preset, so that an option that a preset ignores does not exist."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from crossnets.cli.ending import end
from crossnets.geometry.crop import Normalisation
from crossnets.geometry.localise import Centers


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of every preset."""

    preset: Annotated[str, tyro.conf.arg(metavar="{paper,crossing,crossnets,detector}")] = "paper"
    """Networks, losses and schedule. `paper` trains on the frames of --data. `crossing`, too: it is the
    paper's idea by today's means, for few labels. `crossnets` renders hands, and takes real
    frames beside them. `detector`, which finds hands in whole frames, renders all its frames. Or a network of your own,
    by its registered name."""
    out: Path
    """Folder of the run: config, log.jsonl, TensorBoard events, checkpoint and model."""
    budget: Annotated[str | None, tyro.conf.arg(metavar="TIME")] = None
    """Shorten the stages to take about this long in all, such as 90s, 20m or 1.5h."""
    epochs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[STAGE=N ...]")] = ()
    """Rounds of single stages, such as depth_gan=50 joint=400, instead of the preset's."""
    batch_size: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[STAGE=N ...]")] = ()
    """Samples of an update in single stages, such as estimate=1024, instead of the preset's."""
    learning_rate: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[STAGE=RATE ...]")] = ()
    """Learning rate of single stages, such as estimate=0.004, instead of the preset's."""
    stages: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[STAGE ...]")] = ()
    """Train these stages alone, such as estimate. All stages by default."""
    init: Annotated[Path | None, tyro.conf.arg(metavar="MODEL")] = None
    """Run or model folder of the same networks whose weights the training starts from. If its skeleton is another,
    joints are matched by their place on the hand."""
    freeze: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME ...]")] = ()
    """Parts of the networks of --init that are not trained, such as disc.trunk (paper) or dense.stem (crossnets)."""
    extend: bool = False
    """Train a finished run longer, with a larger --budget or more --epochs."""
    seed: int = 42
    """Seed of weights, batches, noise and the choice of labels."""
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto"
    """auto takes bfloat16 where the device is fast at it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the networks. auto chooses the GPU if torch sees one."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Threads of the processor. All by default."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes that render hands ahead of the training. One for each core but one by default."""
    checkpoint_s: float = 60.0
    """Seconds between checkpoints."""

    def check(self) -> None:
        """Raise a ValueError for a number out of range."""
        if not 0 < self.checkpoint_s < math.inf:
            raise ValueError(f"--checkpoint-s {self.checkpoint_s}: expected seconds above 0.")
        if self.seed < 0:
            raise ValueError(f"--seed {self.seed}: expected 0 or more.")


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Real frames."""

    data: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """Labelled frames, such as cvar:PATH#P1,P4. `crossnets data info` prints what a folder holds."""
    unlabelled: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[SOURCE ...]")] = ()
    """More frames, whose labels, if any, are not read."""
    labels: str = "all"
    """How many of the labelled frames keep their label: all, a share such as 2%, or a number."""
    trust_labels: bool = False
    """Train even if the labels do not seem to fit the images, which a check of some frames finds out."""
    leave_out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Text file with names of frames that are not used, one a line. `data info --bad-labels FILE` writes one."""
    skip_bad_labels: bool = False
    """Check all labels before the training, and leave out the frames whose label does not fit. left_out.txt in the
    run's folder lists them, and a resumed run reads it."""
    validation: Annotated[str | None, tyro.conf.arg(metavar="SHARE|SOURCE")] = None
    """Labelled frames that are not trained on and whose error is logged: a share of --data such as 10%, which is held
    back by whole sequences, or a source of its own. The model with the lowest error is kept."""
    patience: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """End a stage early if N validations in a row bring no lower error. There are 20 in each stage."""

    def check(self) -> None:
        """Raise a ValueError for options that do not go together."""
        if self.patience is None:
            return
        if self.validation is None:
            raise ValueError(f"--patience {self.patience} counts validations, but --validation is not given.")
        if self.patience < 1:
            raise ValueError(f"--patience {self.patience}: expected 1 or more.")


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """How crops are cut for a network of your own."""

    normalisation: Normalisation = "metric"
    """Metric distances to the centre, or the paper's per-frame depth range."""
    centers: Centers = "image"
    """How cubes are centred: image (our finder), image-paper (the paper's), or label."""


@dataclass(frozen=True, kw_only=True)
class Ablations:
    """Terms that can be left out."""

    smoothness: bool = True
    """--no-smoothness leaves out L_smo."""
    adversarial: bool = True
    """--no-adversarial leaves out L_gan and the GAN's pre-training."""
    use_unlabelled: bool = True
    """--no-use-unlabelled leaves unlabelled frames out."""


@dataclass(frozen=True, kw_only=True)
class PaperOptions:
    """Choices that the paper leaves open, and its baseline."""

    normalisation: Normalisation = "per-frame"
    """The paper's per-frame depth range, or metric distances to the centre."""
    centers: Centers = "image"
    """How cubes are centred: image (our finder), image-paper (the paper's), or label (an oracle, which reads the
    label of every frame of --data, whatever --labels says)."""
    metric: Literal["separate", "combined"] = "separate"
    """The head that judges distances: separate (the paper's default), or combined (its variant)."""
    shared_latent: bool = True
    """--no-shared-latent regresses joints with the same encoder: the from-scratch baseline."""


@dataclass(frozen=True, kw_only=True)
class DrawingAblations:
    """Parts that can be left out."""

    use_unlabelled: bool = True
    """--no-use-unlabelled leaves unlabelled frames out."""
    adversarial: bool = True
    """--no-adversarial trains the generator without a discriminator."""


@dataclass(frozen=True, kw_only=True)
class CrossingAblations(DrawingAblations):
    """Parts that can be left out."""

    synthesised: bool = True
    """--no-synthesised does not show generated maps to the estimator."""
    augmentation: bool = True
    """--no-augmentation neither turns nor mirrors nor moves nor scales crops."""
    sampled_poses: bool = True
    """--no-sampled-poses trains the pose VAE on the poses of the labels alone."""


@dataclass(frozen=True, kw_only=True)
class RenderingOptions:
    """Rendered hands."""

    anny: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.0
    """Share of the hands, 0 to 1, that are meshes of the body model Anny. Needs the extra anny."""

    def check(self) -> None:
        """Raise a ValueError for a share out of range, and load Anny."""
        if not 0 <= self.anny <= 1:
            raise ValueError(f"--anny {self.anny}: expected a share from 0 to 1.")
        if self.anny:
            from crossnets.synth.hand.anny_hands import anny_model

            # Anny reads her assets once for a machine, which takes minutes. The rendering processes then find them.
            anny_model()


Run = tyro.conf.OmitArgPrefixes[RunOptions]
Data = tyro.conf.OmitArgPrefixes[DataOptions]
Leaving = tyro.conf.OmitArgPrefixes[Ablations]
Drawn = tyro.conf.OmitArgPrefixes[DrawingAblations]
Parts = tyro.conf.OmitArgPrefixes[CrossingAblations]
Paper = tyro.conf.OmitArgPrefixes[PaperOptions]
Rendering = tyro.conf.OmitArgPrefixes[RenderingOptions]
_DATA = DataOptions()
_ABLATIONS = Ablations()
_DRAWN = DrawingAblations()
_PARTS = CrossingAblations()
_PAPER = PaperOptions()
_RENDERING = RenderingOptions()
_CROPS = CropOptions()


def for_preset(words: list[str]) -> Callable[..., None]:
    """The command with the options of the preset that the words of the command line name."""
    named = "paper"
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--preset":
            named = following
        elif word.startswith("--preset="):
            named = word.removeprefix("--preset=")
    built_in = {
        "paper": train_paper,
        "crossing": train_crossing,
        "crossnets": train_crossnets,
        "detector": train_detector,
    }
    if named in built_in or words[1:2] != ["train"]:
        return built_in.get(named, train_paper)
    return _own_command(named, list(built_in))


def _own_command(name: str, built_in: list[str]) -> Callable[..., None]:
    """The command `train` for a network of the user's own, whose settings are options."""
    from crossnets.models import own

    if name not in own.names():
        known = [*built_in, *own.names()]
        near = get_close_matches(name, known, 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"Found --preset {name}, expected one of {', '.join(known)}.{meant}")
    kind = own.registered(name).settings
    defaults = kind()

    def train_own(run: RunOptions, data: DataOptions, crops: CropOptions, settings: Any) -> None:
        """Train a network of your own on labelled frames, or go on with the run in `out`.

        The same command resumes after a kill.

        Example: crossnets train --preset mine --data my-labelled --out runs/mine
        """
        from crossnets.training import presets

        configure = partial(
            presets.own,
            name=name,
            settings=settings,
            normalisation=crops.normalisation,
            centers=crops.centers,
            **_common(run),
        )
        _train(configure, run, data)

    without_prefix = tyro.conf.OmitArgPrefixes
    train_own.__annotations__ = {
        "run": without_prefix[RunOptions],
        "data": without_prefix[DataOptions],
        "crops": without_prefix[CropOptions],
        "settings": without_prefix[kind],
    }
    train_own.__defaults__ = (_DATA, _CROPS, defaults)
    return train_own


def train_paper(run: Run, data: Data = _DATA, choices: Paper = _PAPER, ablations: Leaving = _ABLATIONS) -> None:
    """Train a model, or go on with the run in `out`: the same command resumes after a kill.

    The options of another preset are listed by `crossnets train --preset NAME --help`.

    Example: crossnets train --data cvar:PATH#P1,P4 --labels 2% --budget 20m --out runs/few
    """
    from crossnets.training import presets

    configure = partial(
        presets.paper,
        normalisation=choices.normalisation,
        centers=choices.centers,
        metric=choices.metric,
        terms=_terms(ablations),
        shared_latent=choices.shared_latent,
        **_common(run),
    )
    _train(configure, run, data)


def train_crossing(run: Run, data: Data = _DATA, ablations: Parts = _PARTS) -> None:
    """Train a shared latent space by today's means on frames of which few may have labels.

    The same command resumes after a kill. Labelled hands count as right hands.

    Example: crossnets train --preset crossing --data cvar:PATH#P1,P4 --labels 2% --budget 20m --out runs/few
    """
    from crossnets.training import presets
    from crossnets.training.config import CrossingTerms

    terms = CrossingTerms(
        unlabelled=ablations.use_unlabelled,
        synthesised=ablations.synthesised,
        adversarial=ablations.adversarial,
        augmentation=ablations.augmentation,
        sampled_poses=ablations.sampled_poses,
    )
    _train(partial(presets.crossing, terms=terms, **_common(run)), run, data)


def train_crossnets(run: Run, data: Data = _DATA, rendering: Rendering = _RENDERING, ablations: Drawn = _DRAWN) -> None:
    """Train our own networks on rendered hands, and on real frames beside them if there are any.

    The same command resumes after a kill.

    Example: crossnets train --preset crossnets --budget 2h --out runs/ours
    """
    from crossnets.training import presets
    from crossnets.training.config import DrawingTerms

    terms = DrawingTerms(unlabelled=ablations.use_unlabelled, adversarial=ablations.adversarial)
    rendering.check()
    _train(presets.crossnets(terms=terms, anny=rendering.anny, **_common(run)), run, data)


def train_detector(run: Run, rendering: Rendering = _RENDERING) -> None:
    """Train the detector of hands on rendered whole frames.

    The same command resumes after a kill.

    Example: crossnets train --preset detector --budget 30m --out runs/detector
    """
    from crossnets.training import presets

    rendering.check()
    _train(presets.detector(anny=rendering.anny, **_common(run)), run, _DATA)


def _terms(ablations: Ablations) -> Any:
    from crossnets.training.config import Terms

    return Terms(
        smoothness=ablations.smoothness, adversarial=ablations.adversarial, unlabelled=ablations.use_unlabelled
    )


def _common(run: RunOptions) -> dict[str, Any]:
    run.check()
    return {"precision": run.precision, "seed": run.seed, "checkpoint_s": run.checkpoint_s}


def _train(configure: Any, run: RunOptions, data: DataOptions) -> None:
    from crossnets.training.devices import choose_machine
    from crossnets.training.loop import DivergedError, TrainingStoppedError
    from crossnets.training.session import train_command

    data.check()
    try:
        train_command(
            configure,
            data=data.data,
            unlabelled=data.unlabelled,
            labels=data.labels,
            trust_labels=data.trust_labels,
            leave_out=data.leave_out,
            skip_bad_labels=data.skip_bad_labels,
            validation=data.validation,
            patience=data.patience,
            budget=run.budget,
            epochs=run.epochs,
            batch_size=run.batch_size,
            learning_rate=run.learning_rate,
            stages=run.stages,
            init=run.init,
            freeze=run.freeze,
            extend=run.extend,
            out=run.out,
            threads=run.threads,
            machine=choose_machine(run.device, run.workers),
        )
    except TrainingStoppedError as stopped:
        end(str(stopped), 130)
    except DivergedError as error:
        end(str(error), 1)
