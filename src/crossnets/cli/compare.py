"""The command `compare`: several models and prediction files on the same frames, on one page."""

import hashlib
import json as json_text
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from crossnets.atomic import write_text
from crossnets.cli.evaluate import Choice, evaluate, open_chosen, protocol_of
from crossnets.datasets.dataset import Problem, printable
from crossnets.evaluation import matching
from crossnets.evaluation.comparison import HEADS, Comparison, compare_results, latex, markdown
from crossnets.evaluation.evaluation import Compared
from crossnets.evaluation.protocols import DatasetName, read_list, scoring_camera
from crossnets.inference.loading import Finding, is_model, model_name

_TABLE_WIDTH = 140
_PREDICTIONS = "predictions.jsonl"


def compare(
    results: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="[RESULT ...]")]],
    data: str | None = None,
    labels: Path | None = None,
    dataset: DatasetName | None = None,
    names: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME ...]")] = (),
    centers: Finding = "auto",
    camera: str | None = None,
    list_file: Path | None = None,
    first: int | None = None,
    out: Path = Path("comparison"),
    json: bool = False,
) -> None:
    """Compare models and predictions on the same frames: one table and one page, with intervals of the differences.

    Example: crossnets compare runs/mine runs/other published.txt --data my-test --out comparison

    Args:
        results: Runs or model folders, folders that evaluate wrote, prediction files of ours, or text files (u v d).
            The others are compared with the first one.
        data: Data set with the labels: its folder, or a text such as cvar:PATH#P1,P4.
        labels: A text file of labels (u v d) instead of data, in the order of the predictions.
        dataset: Protocol: joints, camera, sequences. With --data it follows from the folder.
        names: Names of the results, in their order. Those of files and folders by default.
        centers: How hands are found for models, as for evaluate.
        camera: Camera of the text files or images: a name or fx,fy,cx,cy. The data set's by default.
        list_file: Paths of the labelled frames, one a line. Their first folder names the sequence.
        first: Compare only on this many first frames or label lines.
        out: Folder for index.html, table.md, table.tex and comparison.json. Predictions of models are kept in it, so
            the same command continues after a kill.
        json: Print JSON, and nothing else, to standard output.
    """
    if (data is None) == (labels is None):
        raise ValueError("Give either --data, the data set's folder, or --labels, a text file.")
    if names and len(names) != len(results):
        raise ValueError(f"Found {len(names)} names for {len(results)} results, expected one for each.")
    if len(results) < 2:
        raise ValueError(f"Found {len(results)} results, expected two or more to compare.")
    from crossnets.evaluation.report.comparison_page import comparison_page  # matplotlib, reported before any work

    protocol = protocol_of(dataset, data)
    given = None if camera is None else scoring_camera(camera)
    choice = Choice(protocol, given, list_file, first)
    titles = names or tuple(_name(text) for text in results)
    for text in results:  # before any of them predicts
        _check(text, data)
    files = [
        _predictions(text, title, out, dataset=dataset, data=data, centers=centers, camera=camera, first=first)
        for text, title in zip(results, titles, strict=True)
    ]
    comparison = compare_results(protocol.name, titles, _matched(choice, files, data, labels))
    text = json_text.dumps(comparison.to_dict(), indent=2, allow_nan=False)
    write_text(out / "comparison.json", text + "\n")
    write_text(out / "table.md", markdown(comparison))
    write_text(out / "table.tex", latex(comparison))
    write_text(out / "index.html", comparison_page(comparison))
    if json:
        print(text)
        return
    _print(comparison)
    print(f"Page: {out / 'index.html'}", file=sys.stderr)


def _name(text: str) -> str:
    """Name of a result by its file or folder."""
    path = Path(text)
    return path.parent.name if path.name == _PREDICTIONS and path.parent.name else path.stem


def _check(text: str, data: str | None) -> None:
    """Raise an error if a result is no file or folder that can be compared."""
    path = Path(text)
    if path.is_file() or (path / _PREDICTIONS).is_file():
        return
    if not is_model(path):
        raise FileNotFoundError(
            f"Found neither a model, an evaluation nor a prediction file at {text}. Give a run or model folder, a "
            "folder that `crossnets evaluate` wrote, or a file."
        )
    if data is None:
        raise ValueError(f"The model {text} needs images: give --data, the data set's folder, not --labels.")


def _predictions(
    text: str,
    title: str,
    out: Path,
    *,
    dataset: DatasetName | None,
    data: str | None,
    centers: Finding,
    camera: str | None,
    first: int | None,
) -> Path:
    """The prediction file of a result. A model predicts now, unless it did so before."""
    path = Path(text)
    if (path / _PREDICTIONS).is_file():
        return path / _PREDICTIONS
    if path.is_file():
        return path
    # Predictions of other weights, frames or settings must not be taken for these.
    asked = json_text.dumps([model_name(path), data, centers, camera, first])
    digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
    plain = "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in title)
    folder = out / "predictions" / f"{plain}-{digest}"
    if not (folder / "scores.json").is_file():
        print(f"Predicting with {text} ...", file=sys.stderr)
        with redirect_stdout(sys.stderr):
            evaluate(dataset, model=text, data=data, centers=centers, camera=camera, first=first, out=folder)
    return folder / _PREDICTIONS


def _matched(choice: Choice, files: Sequence[Path], data: str | None, labels: Path | None) -> list[Compared]:
    """Each result beside the labels of the same frames."""
    protocol = choice.protocol
    camera = choice.camera or protocol.camera
    if data is None:
        assert labels is not None
        listed = None if choice.list_file is None else read_list(choice.list_file)
        labelled = matching.read_label_file(labels, protocol, camera, listed, choice.first)
        predicted = [matching.read_predicted([file], protocol, camera) for file in files]
        lines = [matching.match_lines(one, labelled, choice.first) for one in predicted]
        return [matching.meet(one, labelled, camera) for one in lines]
    frames = open_chosen(choice, data)
    problems: list[Problem] = list(frames.problems)
    labelled = matching.read_labels(frames, protocol, problems)
    for problem in problems:
        print(problem, file=sys.stderr)
    found = [matching.read_predicted([file], protocol, camera) for file in files]
    rows = [matching.match_dataset(one, labelled, len(frames), choice.first) for one in found]
    return [matching.meet(one, labelled, frames.camera) for one in rows]


def _print(comparison: Comparison) -> None:
    console = Console()
    table = Table("", *HEADS)
    for name, cells in comparison.rows():
        table.add_row(printable(name), *cells)
    (console if console.is_terminal else Console(width=_TABLE_WIDTH)).print(table)
    print(
        "Errors are in mm. Differences are those of mean errors from the first row, with a bootstrap of "
        f"{comparison.resampled}."
    )
