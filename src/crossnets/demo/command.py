"""The command `demo`: render, estimate, train, score, and show all results on one page."""

import json
import os
import platform
import shlex
import shutil
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from crossnets.atomic import write_text
from crossnets.demo.hands import HeldOutHands
from crossnets.demo.measure import Result, measure
from crossnets.demo.page import HEADS, Demo, cells, galleries, numbers, page
from crossnets.demo.small import Learned, train_small
from crossnets.inference import bundle
from crossnets.inference.torch_models import Estimator
from crossnets.training.config import CrossnetsConfig
from crossnets.training.run import environment
from crossnets.training.schedule import parse_budget
from crossnets.weights import SHIPPED

MARK = "demo.json"
"""File that marks the folder of a demo. Other folders with files are not overwritten."""
_OUTPUTS = ("index.html", "numbers.json")
_MOST_FRAMES = 2000
"""Largest number of frames. They are held in memory and take 1.3 MB each."""


class _Steps:
    """Steps of a demo, with their times and progress bars."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, *, bar: bool = True) -> Iterator[Callable[[int, int], None]]:
        """Time one step. `bar` draws a progress bar from the reported counts."""
        began = time.perf_counter()
        quiet = not self._console.is_terminal
        if bar:
            columns = (TextColumn("{task.description:<32}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(*columns, console=self._console, transient=True, disable=quiet) as progress:
                task = progress.add_task(name, total=None)
                yield lambda done, total: progress.update(task, completed=done, total=total)
        else:
            self._console.print(f"{name} ...", highlight=False)
            yield lambda done, total: None
        self.seconds[name] = time.perf_counter() - began
        self._console.print(f"{name}: {self.seconds[name]:.1f} s", highlight=False)


def demo_command(
    config: CrossnetsConfig, *, out: Path, budget: str, frames: int, model: Path | None, open_page: bool
) -> Path:
    """Run the demo and write `out/index.html`.

    Args:
        config: Training that defines cameras, clutter and seed. The demo trains a smaller version of it.
        out: A new folder, or the folder of an earlier demo, which is replaced.
        budget: Time for the training, such as 60s.
        frames: Number of hands to estimate.
        model: Run or model folder to use instead of the shipped weights.
        open_page: Whether to open the page in a browser if a display and a terminal are present.

    Returns:
        Path of the page.

    Raises:
        FileExistsError: `out` contains other files than those of a demo.
        FileNotFoundError: `model` does not exist.
        ValueError: the number of frames or the budget is invalid, or the model predicts other joints.
    """
    parse_budget(budget)
    if not 2 <= frames <= _MOST_FRAMES:
        raise ValueError(f"Found --frames {frames}, expected 2 to {_MOST_FRAMES}.")
    shipped, notes = _model(model)
    _clear(out)
    console = Console(stderr=True)
    steps = _Steps(console)
    for note in notes:
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    started = environment("cuda" if torch.cuda.is_available() else "cpu")
    with steps.step(f"rendering {frames} hands") as show:
        hands = HeldOutHands(config, frames, show)
    results: list[Result] = []
    if shipped is not None:
        name = "shipped model" if model is None else f"given model {model.name}"
        with steps.step("estimating, " + name) as show:
            results.append(measure(name, shipped, model or SHIPPED, hands, show))
    with steps.step(f"training from scratch for {budget}", bar=False):
        learned = train_small(config, out / "run", budget, console)
    name = f"trained here, {budget}"
    with steps.step("estimating, " + name) as show:
        results.append(measure(name, learned.estimator, out / "run", hands, show))
    demo = _finish(out, steps, hands, results, learned, notes, started)
    _print_table(demo)
    path = out / "index.html"
    print(f"Page: {path}")
    _show(path, open_page)
    return path


def _model(model: Path | None) -> tuple[Estimator | None, tuple[str, ...]]:
    """Load the model that is compared with the one trained in the demo, and notes about it."""
    if model is not None:
        return bundle.load(model), ()
    if (SHIPPED / "weights.safetensors").is_file():
        return bundle.load(SHIPPED), ()
    return None, ("This version has no weights, so the demo shows only the model that it trains.",)


def _clear(out: Path) -> None:
    """Create the folder, or delete the outputs of an earlier demo in it.

    Raises:
        FileExistsError: the folder contains other files than those of a demo.
    """
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file. Give a folder as --out.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise FileExistsError(f"{out} is not empty and does not contain a demo. Give a new folder as --out.")
    write_text(out / MARK, json.dumps({"format": "crossnets-demo", "version": 1}) + "\n")
    shutil.rmtree(out / "run", ignore_errors=True)
    for name in _OUTPUTS:
        (out / name).unlink(missing_ok=True)


def _finish(
    out: Path,
    steps: _Steps,
    hands: HeldOutHands,
    results: list[Result],
    learned: Learned,
    notes: tuple[str, ...],
    started: dict,
) -> Demo:
    """Draw all pictures, then write the page and its numbers."""
    with steps.step("drawing"):
        shown = galleries(hands, results)
        share_found = hands.share_found()
    command = shlex.join(["crossnets", *sys.argv[1:]]) if sys.argv[1:2] == ["demo"] else "crossnets demo"
    demo = Demo(hands, tuple(results), learned, notes, share_found, steps.seconds, started, command)
    write_text(out / "numbers.json", json.dumps(numbers(demo), indent=2, allow_nan=False) + "\n")
    write_text(out / "index.html", page(demo, shown))
    return demo


def _print_table(demo: Demo) -> None:
    """Print the errors to standard output."""
    console = Console()
    table = Table(title=f"{len(demo.hands)} rendered hands that no training uses", title_justify="left")
    for number, head in enumerate(HEADS):
        table.add_column(head, justify="right" if number else "left", no_wrap=True)
    for result in demo.results:
        table.add_row(result.name, *cells(result))
    (console if console.is_terminal else Console(width=110)).print(table)
    print(
        "≤ 40 mm is the share of frames whose worst joint is within 40 mm. Crops are centred on the labelled hand plus "
        f"random offsets with a deviation of {demo.hands.spread_mm:g} mm in each axis.\nThe mean pose as a constant "
        f"estimate has a mean error of {demo.hands.mean_pose_error_mm():.2f} mm. "
        f"The demo took {sum(demo.steps_s.values()):.0f} s."
    )


def _show(path: Path, wanted: bool) -> None:
    """Open the page in a browser if a display and a terminal are present."""
    windowed = platform.system() in ("Darwin", "Windows")
    has_display = windowed or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if wanted and has_display and sys.stdout.isatty():
        webbrowser.open(path.absolute().as_uri())
