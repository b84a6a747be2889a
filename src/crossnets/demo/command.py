"""The command `demo`: render, estimate, train, score, and show it all on one page."""

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
from crossnets.demo.walk import Walk, film
from crossnets.inference import bundle
from crossnets.inference.torch_models import Estimator
from crossnets.training.config import CrossnetsConfig
from crossnets.training.run import environment
from crossnets.training.schedule import parse_budget
from crossnets.weights import SHIPPED

MARK = "demo.json"
"""File that marks a folder as that of a demo. Only such a folder is written to again."""
_MADE = ("index.html", "walk.gif", "numbers.json")
_MOST_FRAMES = 2000
"""They are kept in memory, 1.3 MB each."""


class _Steps:
    """The steps of a demo: a bar for each, and how long it took."""

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
    """Run everything and write `out/index.html`; returns its path.

    Args:
        config: The training whose cameras, clutter and seed are taken, and of which a smaller one is done.
        out: A new folder, or that of an earlier demo, which is replaced.
        budget: Time for the training, such as 60s.
        frames: Hands to estimate.
        model: Instead of the shipped weights.
        open_page: In a browser, if there is a display and a person in front of it.

    Raises:
        FileExistsError: `out` holds something else than a demo.
        FileNotFoundError: there is no model at `model`.
        ValueError: a number or the budget is not what can be done, or the model predicts other joints.
    """
    parse_budget(budget)
    if not 2 <= frames <= _MOST_FRAMES:
        raise ValueError(f"Found --frames {frames}; expected 2 to {_MOST_FRAMES}.")
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
            results.append(measure(name, shipped, hands, show))
    with steps.step(f"training from scratch for {budget}", bar=False):
        learned = train_small(config, out / "run", budget, console)
    name = f"trained here, {budget}"
    with steps.step("estimating, " + name) as show:
        results.append(measure(name, learned.estimator, hands, show))
    demo = _finish(out, steps, hands, results, shipped, learned, notes, started)
    _print_table(demo)
    path = out / "index.html"
    print(f"Page: {path}")
    _show(path, open_page)
    return path


def _model(model: Path | None) -> tuple[Estimator | None, tuple[str, ...]]:
    """The model that is shown beside the one trained here, and what must be said about it."""
    if model is not None:
        return bundle.load(model), ()
    if (SHIPPED / "weights.safetensors").is_file():
        return bundle.load(SHIPPED), ()
    return None, ("No weights come with this version, so the demo shows only the model that it trains itself.",)


def _clear(out: Path) -> None:
    """Make the folder, or empty that of an earlier demo of what a demo makes.

    Raises:
        FileExistsError: it holds something else.
    """
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; give a folder as --out.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise FileExistsError(f"{out} holds files, but no demo, and is not overwritten. Give --out a new folder.")
    write_text(out / MARK, json.dumps({"format": "crossnets-demo", "version": 1}) + "\n")
    shutil.rmtree(out / "run", ignore_errors=True)
    for name in _MADE:
        (out / name).unlink(missing_ok=True)


def _finish(
    out: Path,
    steps: _Steps,
    hands: HeldOutHands,
    results: list[Result],
    shipped: Estimator | None,
    learned: Learned,
    notes: tuple[str, ...],
    started: dict,
) -> Demo:
    """Draw everything, and write the page and its numbers."""
    with steps.step("drawing"):
        walk: Walk | None = None
        if shipped is not None:
            walk = film(shipped, hands, results[0], out / "walk.gif")
        shown = galleries(hands, results)
        share_found = hands.share_found()
    command = shlex.join(["crossnets", *sys.argv[1:]]) if sys.argv[1:2] == ["demo"] else "crossnets demo"
    demo = Demo(hands, tuple(results), learned, walk, notes, share_found, steps.seconds, started, command)
    write_text(out / "numbers.json", json.dumps(numbers(demo), indent=2, allow_nan=False) + "\n")
    write_text(out / "index.html", page(demo, shown))
    return demo


def _print_table(demo: Demo) -> None:
    """The errors, on standard output."""
    console = Console()
    table = Table(title=f"{len(demo.hands)} rendered hands that no training has seen", title_justify="left")
    for number, head in enumerate(HEADS):
        table.add_column(head, justify="right" if number else "left", no_wrap=True)
    for result in demo.results:
        table.add_row(result.name, *cells(result))
    (console if console.is_terminal else Console(width=110)).print(table)
    total, constant = sum(demo.steps_s.values()), demo.hands.mean_pose_error_mm()
    print(
        "≤ 40 mm: frames whose worst joint is. Crops centred on the labelled hand, moved at random by "
        f"{demo.hands.spread_mm:g} mm.\nAlways answering the mean pose would give {constant:.2f} mm "
        f"in the mean. All in {total:.0f} s."
    )


def _show(path: Path, wanted: bool) -> None:
    """Open the page in a browser, where a person would see it."""
    shown = platform.system() in ("Darwin", "Windows") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if wanted and shown and sys.stdout.isatty():
        webbrowser.open(path.absolute().as_uri())
