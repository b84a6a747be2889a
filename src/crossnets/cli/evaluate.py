"""The command `evaluate`: predict to a file, score the file, print, report."""

import json as json_text
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from crossnets.atomic import UnfinishedMark, held, make_folder, write_text
from crossnets.datasets.dataset import HandDataset, Problem
from crossnets.datasets.ho3d import HO3D
from crossnets.datasets.opening import open_dataset
from crossnets.datasets.some_frames import restricted
from crossnets.evaluation import matching
from crossnets.evaluation.challenge import write_challenge
from crossnets.evaluation.evaluation import Evaluation, evaluate_compared
from crossnets.evaluation.groups import grouped
from crossnets.evaluation.predictions import PredictionHeader, read_predictions, write_predictions
from crossnets.evaluation.protocols import PROTOCOLS, DatasetName, Protocol, read_list, scoring_camera
from crossnets.evaluation.table import print_table
from crossnets.geometry.camera import CAMERAS
from crossnets.inference.loading import Finding, candidates_of, detector_of, estimator_for, model_name
from crossnets.types import Pinhole, PredictedFrame
from crossnets.weights import SHIPPED

_SHOWN_PROBLEMS = 5
_WITHOUT_SPLIT = ("cvar", "msra")
_TABLE_WIDTH = 140
"""Width of the table where standard output is not a terminal."""


@dataclass(frozen=True)
class Choice:
    """Which frames, and how to read them."""

    protocol: Protocol
    camera: Pinhole | None
    """The camera of the images. None takes the protocol's for text files and the reader's own for a data set."""
    list_file: Path | None
    first: int | None
    groups: Path | None = None


@dataclass(frozen=True)
class _Estimation:
    """How a model is used."""

    centers: Finding
    refine: Literal["none", "update", "energy"]


def evaluate(
    dataset: DatasetName | None = None,
    model: str | None = None,
    data: str | None = None,
    predictions: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="[FILE ...]")] = (),
    labels: Path | None = None,
    centers: Finding = "auto",
    refine: Literal["none", "update", "energy"] = "none",
    camera: str | None = None,
    list_file: Path | None = None,
    first: int | None = None,
    groups: Path | None = None,
    out: Path = Path("evaluation"),
    report: Path | None = None,
    json: bool = False,
) -> None:
    """Score a model, or predictions from files, as the papers on a data set do.

    Example: crossnets evaluate --data cvar:PATH#P5 --out P5 --report report

    Args:
        dataset: Protocol: joints, camera, sequences. With --data it follows from the folder.
        model: Run or model folder. By default --data is scored with the model of the package. {fold} in the name
            stands for the subject that is left out, with one model for each subject.
        data: Data set as released: its folder, or a text such as cvar:PATH#P1,P4.
        predictions: Text files (u v d) or our own files instead of a model, joined in this order.
        labels: A text file of labels (u v d) instead of data, in the order of the predictions.
        centers: How hands are found: by the detector of the package, our finder without a network, or the
            paper's. label takes the labelled joint, which nobody has in use and which makes results better than they
            are. auto takes the detector for models that refine their estimate, and for others the way that they were
            trained with.
        refine: Refinement after a model's estimate: the learned update of the paper, or its energy minimised.
        camera: Camera of the text files or images: a name or fx,fy,cx,cy. The data set's by default.
        list_file: Paths of the labelled frames, one a line. Their first folder names the sequence.
        first: Score only this many first frames or label lines.
        groups: Text file with a frame and the name of its group in each line, such as `image_D00000001.png seen`.
            Errors are reported by group instead of by sequence.
        out: Folder for a model's predictions and scores, and for the pred.json of HO-3D's challenge. Old predictions
            are not overwritten. The same command continues after a kill.
        report: Folder for a page with curves, bars and frames, index.html.
        json: Print JSON, and nothing else, to standard output.
    """
    if model is None and data is not None and not predictions:
        model = str(SHIPPED)
    _check(model, data, predictions, labels, list_file)
    protocol = protocol_of(dataset, data)
    chosen_camera = None if camera is None else scoring_camera(camera)
    choice = Choice(protocol, chosen_camera, list_file, first, groups)
    _run(choice, model, data, predictions, labels, _Estimation(centers, refine), out, report, json)


def _run(
    choice: Choice,
    model: str | None,
    data: str | None,
    predictions: tuple[Path, ...],
    labels: Path | None,
    how: _Estimation,
    out: Path,
    report: Path | None,
    json: bool,
) -> None:
    write_report = None
    seen = ()
    mark = None
    if report is not None:
        from crossnets.evaluation.report import write_report  # matplotlib, needed only here
    frames = None if data is None else open_chosen(choice, data)
    if model is not None:
        assert frames is not None
        work = _work(model, frames)
        seen = _seen_in_training(work)
        request = {
            "data": data,
            "frames": len(frames),
            "camera": choice.camera,
            "first": choice.first,
            "models": [model_name(Path(name)) for name, _ in work],
            **asdict(how),
        }
        mark = UnfinishedMark(out, "evaluation", request)
        predictions = (_predict(model, work, how, out, mark),)
        if isinstance(frames, HO3D):
            _write_challenge(out, frames, predictions[0])
            if not frames.labelled:
                mark.remove()
                return
    if frames is None:
        assert labels is not None
        evaluation = _score_text(choice, predictions, labels)
    else:
        evaluation = _score_dataset(choice, predictions, frames, seen)
    result = json_text.dumps(evaluation.to_dict(), indent=2, allow_nan=False)
    if mark is not None:
        write_text(out / "scores.json", result + "\n")
    if json:
        print(result)
    else:
        console = Console()
        print_table(evaluation, console if console.is_terminal else Console(width=_TABLE_WIDTH))
    if report is not None and write_report is not None:
        print(f"Report: {write_report(report, evaluation, frames)}", file=sys.stderr)
    # A command that is killed before its table or its report is whole may be given again.
    if mark is not None:
        mark.remove()


def _check(
    model: str | None, data: str | None, predictions: tuple[Path, ...], labels: Path | None, list_file: Path | None
) -> None:
    if (model is None) == (not predictions):
        raise ValueError("Give either --model (with --data), or --predictions (with --labels or --data).")
    if (data is None) == (labels is None):
        raise ValueError("Give either --data, the data set's folder, or --labels, a text file.")
    if model is not None and data is None:
        raise ValueError("A model needs images: give --data, the data set's folder, not --labels.")
    if data is not None and list_file is not None:
        raise ValueError("--list-file goes with --labels; --data knows its sequences.")


def protocol_of(dataset: DatasetName | None, data: str | None) -> Protocol:
    """The protocol that is named, or that of the data set. A recording's is its own joints and camera."""
    if dataset is not None:
        return PROTOCOLS[dataset]
    if data is None:
        raise ValueError(f"A text file of labels does not say whose it is: add --dataset {', '.join(PROTOCOLS)}.")
    whole = open_dataset(data, "test")
    if whole.name in PROTOCOLS:
        return PROTOCOLS[whole.name]
    if whole.skeleton is None:
        raise ValueError(f"{data} has no labels to score against. A recording's labels are in its labels.jsonl.")
    return Protocol(whole.name, whole.skeleton, whole.camera, ())


def open_chosen(choice: Choice, data: str) -> HandDataset:
    """The frames of a data set that are chosen."""
    preset = None
    if choice.camera is not None:
        own = next((p for p in CAMERAS.values() if p.pinhole == choice.protocol.camera), None)
        if own is None:
            raise ValueError(f"The files of {choice.protocol.name} state their camera. Leave --camera out.")
        preset = own._replace(pinhole=choice.camera)
    whole = open_dataset(data, "test", preset)
    if whole.name != choice.protocol.name:
        raise ValueError(f"{data} is of the format {whole.name}, but --dataset is {choice.protocol.name}.")
    return restricted(whole, None, choice.first)


def _score_text(choice: Choice, predictions: tuple[Path, ...], labels: Path) -> Evaluation:
    protocol, camera = choice.protocol, choice.camera or choice.protocol.camera
    listed = None if choice.list_file is None else read_list(choice.list_file)
    labelled = matching.read_label_file(labels, protocol, camera, listed, choice.first)
    if choice.groups is not None:
        labelled = grouped(labelled, choice.groups)
    predicted = matching.read_predicted(predictions, protocol, camera)
    matched = matching.match_lines(predicted, labelled, choice.first)
    return evaluate_compared(protocol.name, matching.meet(matched, labelled, camera))


def _score_dataset(
    choice: Choice, predictions: tuple[Path, ...], frames: HandDataset, seen: tuple[str, ...]
) -> Evaluation:
    predicted = matching.read_predicted(predictions, choice.protocol, choice.camera or choice.protocol.camera)
    problems = list(frames.problems)
    labelled = matching.read_labels(frames, choice.protocol, problems)
    if choice.groups is not None:
        labelled = grouped(labelled, choice.groups)
    matched = matching.match_dataset(predicted, labelled, len(frames), choice.first)
    compared = matching.meet(matched, labelled, frames.camera)
    if seen:
        note = f"The model was trained or validated on {', '.join(seen)} of this data set, which is no test then."
        compared = replace(compared, notes=(*compared.notes, note))
    if problems:
        for problem in problems[:_SHOWN_PROBLEMS]:
            print(problem, file=sys.stderr)
        note = f"Frames of the data set that are broken or missing, left out: {len(problems)}, such as {problems[0]}"
        compared = replace(compared, notes=(*compared.notes, note))
    return evaluate_compared(choice.protocol.name, compared)


def _work(model: str, frames: HandDataset) -> list[tuple[str, HandDataset]]:
    """Which model predicts which frames: `{fold}` in its name stands for the subject that it was not trained on."""
    folds = list(dict.fromkeys(map(frames.sequence_of, range(len(frames)))))
    if "{fold}" not in model:
        return [(model, frames)]
    return [(model.replace("{fold}", fold), restricted(frames, fold, None)) for fold in folds]


def _seen_in_training(work: list[tuple[str, HandDataset]]) -> tuple[str, ...]:
    """Sequences that their own model was trained or validated on, of data sets that do not come with a split."""
    seen: set[str] = set()
    for model, part in work:
        config = Path(model) / "config.json"
        if part.name not in _WITHOUT_SPLIT or not config.is_file():
            continue
        with suppress(ValueError, KeyError, TypeError):  # what is wrong with it is said where the model is loaded
            data = json_text.loads(config.read_text(encoding="utf-8"))["data"]
            used = [*data["frames"], *([data["validation"]] if "validation" in data else [])]
            names = {name for one in used if one["name"] == part.name for name in one["sequences"]}
            seen |= names & set(map(part.sequence_of, range(len(part))))
    return tuple(sorted(seen))


def _predict(
    model: str, work: list[tuple[str, HandDataset]], how: _Estimation, out: Path, mark: UnfinishedMark
) -> Path:
    """Predict into `out/predictions.jsonl`, and give its path. Predictions of the same request are kept if it was
    killed before its scores were written.

    Raises:
        BlockingIOError: another process predicts into `out`.
        FileExistsError: there are predictions already.
        ValueError: `out` holds the predictions of another request that was killed.
    """
    path = out / "predictions.jsonl"
    if path.exists():
        if mark.is_there():
            print(f"Continuing with the predictions in {path}.", file=sys.stderr)
            return path
        raise FileExistsError(
            f"{path} is there already and is not overwritten. "
            f"Score it with --predictions {path}, or give another --out."
        )
    make_folder(out)
    with held(out, "predicts into"):
        header, predicted = _predictions(model, work, how)
        mark.set()
        write_predictions(path, header, predicted)
    return path


def _write_challenge(out: Path, frames: HO3D, predictions: Path) -> None:
    """Write `out/pred.json` for HO-3D's challenge, and say what it lacks.

    Raises:
        ValueError: the model has other joints.
    """
    missed = write_challenge(out / "pred.json", frames, read_predictions(predictions))
    zero = f" {missed} frames without a prediction are zero." if missed else ""
    scored = "" if frames.labelled else " Nothing is scored here, because evaluation_xyz.json is missing."
    print(f"Joints for HO-3D's challenge: {out / 'pred.json'}. Vertices are zero.{zero}{scored}", file=sys.stderr)


def _predictions(
    name: str, work: list[tuple[str, HandDataset]], how: _Estimation
) -> tuple[PredictionHeader, Iterator[PredictedFrame]]:
    from crossnets.inference import predict

    estimators = [estimator_for(Path(model), how.refine).speaking(part.skeleton) for model, part in work]
    skeletons = {estimator.skeleton for estimator in estimators}
    if len(skeletons) > 1:
        names = ", ".join(sorted(skeleton.name for skeleton in skeletons))
        raise ValueError(f"The folds' models have different skeletons: {names}.")

    # A model for each fold has no one digest.
    named = name if "{fold}" in name else model_name(Path(name))
    found = [
        candidates_of(how.centers, estimator, detector=detector_of(Path(model)), skeleton=part.skeleton)
        for estimator, (model, part) in zip(estimators, work, strict=True)
    ]

    def frames() -> Iterator[PredictedFrame]:
        unreadable: list[Problem] = []  # they are found again, and reported, when the labels are read
        for estimator, candidates, (_, part) in zip(estimators, found, work, strict=True):
            yield from predict.predict_dataset(estimator, part, candidates, unreadable, how.refine)

    return PredictionHeader(skeletons.pop().saved(), found[0].how, named, how.refine, forced_marked=True), frames()
