"""Sweeps: grids of runs declared in a file, and tables of the scores of finished runs.

The file is TOML. `[train]` holds options of every training, `[evaluate]` those of every evaluation. Each `[[fold]]`
names training and test data. Each `[[variant]]` holds further options. `labels` and `seeds` are lists. Each combination
of fold, labels, variant and seed is one run.
"""

import itertools
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from crossnets.atomic import replacing, write_text
from crossnets.json_text import parse_json

SCORES = "scores.json"
_KEYS = {"train", "evaluate", "labels", "seeds", "fold", "variant"}
_MEASURES = {"mean_mm": "mean", "median_mm": "median", "root_aligned_mean_mm": "root-aligned"}
_ROW = ("run", "fold", "labels", "variant", "seed", "arguments", *_MEASURES)
"""Keys of a row of results.json."""
_UNKNOWN_COST = 1e12
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    fold: str
    labels: str
    variant: str
    seed: int
    train: tuple[str, ...]
    """Command line arguments of `crossnets train`, without --out."""
    evaluate: tuple[str, ...]
    """Command line arguments of `crossnets evaluate`, without --model and --out."""
    cost: float
    """Seconds of the budget, or the total number of rounds. Runs start in the order of their cost."""
    declared: tuple[str, ...] = ()
    """All arguments as the file declares them, with placeholders instead of paths of this machine."""

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        parts = (self.fold, self.labels.replace("%", "pct"), self.variant, f"seed{self.seed}")
        return "-".join(re.sub(r"[^\w.]+", "_", part) for part in parts)


def read_sweep(path: Path, values: Mapping[str, str]) -> list[Cell]:
    """Read the runs that a file declares, in its order.

    Args:
        path: TOML file.
        values: Values of placeholders such as {cvar} in the strings of the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not valid TOML, or it has an unknown key, an empty list, two runs of the same name, or
            a placeholder without a value, or a value has another type or form.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No experiment file at {path}. The folder experiments/ has examples.")
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}.") from error
    unknown = sorted(set(declared) - _KEYS)
    if unknown:
        raise ValueError(f"{path}: found the key {unknown[0]!r}, expected some of {', '.join(sorted(_KEYS))}.")
    folds = declared.get("fold", [])
    variants = declared.get("variant", [{"name": "all"}])
    labels = declared.get("labels", ["all"])
    seeds = declared.get("seeds", [42])
    for name, entries in (("fold", folds), ("variant", variants), ("labels", labels), ("seeds", seeds)):
        if not isinstance(entries, list) or not entries:
            raise ValueError(f"{path}: {name} is empty, expected at least one entry.")
    for name in ("train", "evaluate"):
        _require(path, name, declared.get(name, {}), dict, "a table")
    for entry in (*folds, *variants):
        _require(path, "the fold or variant", entry, dict, "a table")
        for name, kind in (("name", str), ("test", str), ("train", dict)):
            _require(path, name, entry.get(name, kind()), kind, "a text" if kind is str else "a table")
    for name, entries, kind in (("labels", labels, str), ("seeds", seeds, int)):
        for entry in entries:
            _require(path, name, entry, kind, "texts such as 2%" if kind is str else "whole numbers")
    cells = [
        _cell(path, declared.get("train", {}), declared.get("evaluate", {}), *combination)
        for combination in itertools.product(folds, labels, variants, seeds)
    ]
    names = [cell.name for cell in cells]
    if held := [name for cell in cells for name in (cell.name, *cell.train, *cell.evaluate) if "\0" in name]:
        raise ValueError(f"{path}: found the text {held[0][:80]!r}, but no name or argument holds a null byte.")
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(f"{path}: two runs are called {repeated}. Folds, variants, labels and seeds must all differ.")
    return [
        replace(
            cell,
            train=_filled(cell.train, values, path),
            evaluate=_filled(cell.evaluate, values, path),
            declared=cell.train + cell.evaluate,
        )
        for cell in cells
    ]


def _require(path: Path, name: str, value: object, kind: type, expected: str) -> None:
    """Refuse a value of another type.

    Raises:
        ValueError: it has another type.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{path}: found {name} = {str(value)[:80]!r}, expected {expected}.")


def _cell(
    path: Path,
    train: dict[str, Any],
    evaluate: dict[str, Any],
    fold: dict[str, Any],
    labels: str,
    variant: dict[str, Any],
    seed: int,
) -> Cell:
    for kind, entry, allowed in (("fold", fold, {"name", "train", "test"}), ("variant", variant, {"name", "train"})):
        unknown = sorted(set(entry) - allowed)
        if unknown or "name" not in entry:
            problem = f"the key {unknown[0]!r}" if unknown else "no name"
            raise ValueError(f"{path}: a {kind} has {problem}, expected {', '.join(sorted(allowed))}.")
    if "test" not in fold:
        raise ValueError(f"{path}: fold {fold['name']} has no test. Give the data on which its runs are scored.")
    options = {**train, **fold.get("train", {}), **variant.get("train", {}), "labels": labels, "seed": seed}
    if labels == "all":
        options.pop("labels")
    return Cell(
        fold["name"],
        labels,
        variant["name"],
        seed,
        words(options),
        words({**evaluate, "data": fold["test"]}),
        _cost(path, options),
    )


def words(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Convert options to command line arguments. Booleans become --x or --no-x. Lists become several arguments."""
    result: list[str] = []
    for name, value in options.items():
        dashed = name.replace("_", "-")
        if isinstance(value, bool):
            result.append(f"--{dashed}" if value else f"--no-{dashed}")
        else:
            entries = value if isinstance(value, list) else [value]
            result += [f"--{dashed}", *map(str, entries)]
    return tuple(result)


def _filled(arguments: tuple[str, ...], values: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """Replace the placeholders in all arguments."""
    names = re.findall(r"\{(\w+)\}", " ".join(arguments))
    missing = next((name for name in names if name not in values), None)
    if missing is not None:
        raise ValueError(f"{path} needs a value for {missing}. Give --set {missing}=VALUE.")
    return tuple(re.sub(r"\{(\w+)\}", lambda match: values[match[1]], argument) for argument in arguments)


def _cost(path: Path, options: Mapping[str, Any]) -> float:
    """Seconds of the budget if there is one, else the sum of the rounds of all stages, else `_UNKNOWN_COST`."""
    asked = str(options.get("budget", ""))
    budget = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", asked)
    if budget is not None:
        return float(budget[1]) * _UNITS[budget[2]]
    if asked and "{" not in asked:
        raise ValueError(f"{path}: found budget = {asked[:80]!r}, expected a time such as 90s, 20m or 1.5h.")
    epochs = options.get("epochs", [])
    rounds = [re.fullmatch(r"\w+=(\d+)", str(text)) for text in (epochs if isinstance(epochs, list) else [epochs])]
    return sum(float(match[1]) for match in rounds if match) or _UNKNOWN_COST


def read_results(paths: Iterable[Path], cells: Iterable[Cell]) -> dict[str, dict[str, Any]]:
    """Read the rows of runs that other machines or earlier sweeps finished, by the names of the runs.

    Rows of runs that the experiment does not have are left out.

    Args:
        paths: Files results.json that `write_results` wrote.
        cells: Runs of the experiment.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file does not contain results, or a row belongs to a run with other arguments.
    """
    by_name = {cell.name: cell for cell in cells}
    known: dict[str, dict[str, Any]] = {}
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"There are no results at {path}. Give a results.json that a sweep wrote.")
        try:
            rows = {row["run"]: {key: row[key] for key in _ROW} for row in parse_json(path.read_text(encoding="utf-8"))}
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} does not contain results of a sweep ({error!r}).") from error
        for name, row in rows.items():
            _check_measures(path, row)
            if name in by_name and row["arguments"] != list(by_name[name].declared):
                raise ValueError(
                    f"{path}: {name} ran with {_said(row['arguments'])}, but the experiment declares "
                    f"{' '.join(by_name[name].declared)}. Delete the row, or restore the experiment."
                )
            if name in by_name:
                known[name] = row
    return known


def _check_measures(path: Path, row: dict[str, Any]) -> None:
    """Refuse measures that are not numbers. A run without predictions has None.

    Raises:
        ValueError: a measure is something else.
    """
    for measure in _MEASURES:
        if type(row[measure]) not in (int, float, NoneType):
            raise ValueError(
                f"{path}: found {measure} = {str(row[measure])[:80]!r} of {row['run']}, expected a number of mm, or "
                "null for a run without predictions."
            )


def _said(arguments: Any) -> str:
    """Arguments for a message."""
    return " ".join(map(str, arguments)) if isinstance(arguments, list) else str(arguments)


def scores_of(out: Path, cell: Cell) -> dict[str, Any] | None:
    """Scores of a finished run. None if the run is not finished."""
    path = out / cell.name / "score" / SCORES
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_results(out: Path, cells: Iterable[Cell], known: Mapping[str, dict[str, Any]] | None = None) -> str:
    """Write results.json and table.md of the finished runs. Several shares of labels also give curves.png.

    Args:
        out: Folder of the sweep.
        cells: Runs of the experiment.
        known: Rows of runs that were finished elsewhere, from `read_results`. A run in `out` replaces its row.

    Returns:
        The table, in Markdown.
    """
    cells = list(cells)
    known = known or {}
    rows = []
    for cell in cells:
        scores = scores_of(out, cell)
        if scores is not None:
            rows.append(
                {"run": cell.name, "fold": cell.fold, "labels": cell.labels, "variant": cell.variant}
                | {"seed": cell.seed, "arguments": list(cell.declared)}
                | {name: scores[name] for name in _MEASURES}
            )
        elif cell.name in known:
            rows.append(known[cell.name])
    write_text(out / "results.json", json.dumps(rows, indent=2) + "\n")
    table = _table(cells, rows)
    write_text(out / "table.md", table)
    if len({cell.labels for cell in cells}) > 1 and rows:
        _draw_curves(out / "curves.png", cells, rows)
    return table


def _table(cells: list[Cell], rows: list[dict[str, Any]]) -> str:
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    columns = list(dict.fromkeys((cell.fold, cell.labels) for cell in cells))
    lines = []
    for measure, title in _MEASURES.items():
        heads = [f"{fold}, {labels} labels" for fold, labels in columns]
        lines += [f"**{title}** (mm, mean over seeds, least and most in brackets)", ""]
        lines += ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for variant in variants:
            cellwise = [_entry(_values(rows, measure, variant, *column)) for column in columns]
            lines.append(f"| {variant} | " + " | ".join(cellwise) + " |")
        lines.append("")
    lines.append(f"{len(rows)} of {len(cells)} runs are finished.")
    return "\n".join(lines) + "\n"


def _values(rows: list[dict[str, Any]], measure: str, variant: str, fold: str, labels: str) -> list[float]:
    """A measure of all seeds of a cell. Runs without predictions have none, and are left out."""
    matching = [row for row in rows if (row["variant"], row["fold"], row["labels"]) == (variant, fold, labels)]
    return [row[measure] for row in matching if row[measure] is not None]


def _entry(values: list[float]) -> str:
    if not values:
        return "-"
    mean = f"{np.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


def _share(labels: str) -> float:
    """Share of the labels in per cent."""
    if labels == "all":
        return 100.0
    return float(labels.rstrip("%"))


def _draw_curves(path: Path, cells: list[Cell], rows: list[dict[str, Any]]) -> None:
    """Mean error against the share of labels, one panel for each fold."""
    from matplotlib.figure import Figure

    folds = list(dict.fromkeys(cell.fold for cell in cells))
    figure = Figure(figsize=(4.5 * len(folds), 3.6), layout="constrained")
    for axes, fold in zip(figure.subplots(1, len(folds), squeeze=False)[0], folds, strict=True):
        for variant in dict.fromkeys(cell.variant for cell in cells):
            shares = sorted({cell.labels for cell in cells}, key=_share)
            points = [(_share(s), _values(rows, "mean_mm", variant, fold, s)) for s in shares]
            points = [(share, values) for share, values in points if values]
            axes.plot([share for share, _ in points], [np.mean(values) for _, values in points], "o-", label=variant)
        axes.set_xscale("log")
        axes.set_xlabel("labels, %")
        axes.set_ylabel("mean error, mm")
        axes.set_title(fold)
        axes.legend(fontsize="small")
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=130)
