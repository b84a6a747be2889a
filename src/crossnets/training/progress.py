"""Progress of a training for a person, a log file and TensorBoard."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from torch.utils.tensorboard import SummaryWriter

from crossnets.atomic import write_text
from crossnets.json_text import parse_json

LOG = "log.jsonl"
_PLAIN_EVERY_S = 15.0


def cut_log(run: Path, stage: int, step: int, extension: int = 0) -> int:
    """Drop the lines after a checkpoint, which a resumed training writes again; returns how many stay.

    `extension` is that of `state.Place`. Lines of an extension follow all lines before it.
    """
    path = run / LOG
    if not path.is_file():
        return 0
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = parse_json(line)
            at = entry.get("extension", 0), entry["stage_number"], entry["step"]
            # The validation before a stage's first step is not in the checkpoint at the stage's start.
            if at <= (extension, stage, step) and (step > 0 or at != (extension, stage, 0)):
                kept.append(line)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # the line that a kill cut short, or a damaged one
    write_text(path, "".join(f"{line}\n" for line in kept))
    return len(kept)


class Listener:
    """Takes the progress of a training and writes nothing, as on all ranks but the first."""

    @contextmanager
    def stage(self, name: str, total: int, done: int) -> Iterator[None]:
        """Begin one stage."""
        yield

    def step(
        self, stage: int, step: int, losses: dict[str, float], samples_per_s: float, waiting: float | None = None
    ) -> None:
        """Write one step."""

    def validated(self, stage: int, step: int, error_mm: float, best_mm: float) -> None:
        """Write the validation error after a step, and show it and the lowest one from then on."""

    def tell(self, message: str) -> None:
        """Show a message."""

    def show(self, step: int, losses: dict[str, float], samples_per_s: float) -> None:
        """Show one step."""

    def flush(self) -> None:
        """Bring what was written to the disk."""

    def close(self) -> None:
        """Close all files."""


class _Stages(Progress):
    """A live table with a row for each stage."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """The rows, under a header."""
        table = super().make_tasks_table(tasks)
        table.show_header = True
        for column, name in zip(table.columns, ("stage", "", "steps", "left", "validation", "losses"), strict=True):
            column.header = name
        return table


class Reporter(Listener):
    """Writes log.jsonl and TensorBoard events, and draws a live table, or on no terminal a line now and then."""

    def __init__(self, run: Path, console: Console, first_event: int, extension: int = 0) -> None:
        self._every_line = {"extension": extension} if extension else {}
        self._console = console
        self._log = (run / LOG).open("a", encoding="utf-8")
        self._hook = threading.excepthook
        threading.excepthook = self._without_writers
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=first_event)
        self._event = first_event
        self._told = time.monotonic()
        self._validation = ""
        self._progress = _Stages(
            TextColumn("{task.description:<11}", table_column=Column(min_width=11, no_wrap=True)),
            BarColumn(bar_width=12, table_column=Column(min_width=12)),
            MofNCompleteColumn(table_column=Column(min_width=11, no_wrap=True)),
            TimeRemainingColumn(table_column=Column(min_width=7, no_wrap=True)),
            TextColumn("{task.fields[validation]}", table_column=Column(min_width=10, no_wrap=True)),
            TextColumn("{task.fields[losses]}", table_column=Column(ratio=1, overflow="fold")),
            expand=True,
            console=console,
            disable=not console.is_terminal,
        )

    @contextmanager
    def stage(self, name: str, total: int, done: int) -> Iterator[None]:
        """Draw one stage."""
        self._name, self._total = name, total
        self._validation = ""
        self._task = self._progress.add_task(name, total=total, completed=done, validation="", losses="")
        self._progress.start()
        yield
        self._progress.stop_task(self._task)
        self._progress.refresh()

    def step(
        self, stage: int, step: int, losses: dict[str, float], samples_per_s: float, waiting: float | None = None
    ) -> None:
        """Write one step's losses, and the share of the time that was spent waiting for rendered data."""
        entry = {"stage": self._name, "stage_number": stage, "step": step, **self._every_line, "losses": losses}
        speed = {"samples_per_s": round(samples_per_s, 1)}
        if waiting is not None:
            speed["waiting"] = round(waiting, 3)
            self._board.add_scalar(f"{self._name}/waiting", waiting, self._event)
        self._log.write(json.dumps({**entry, **speed}) + "\n")
        for key, value in losses.items():
            self._board.add_scalar(f"{self._name}/{key}", value, self._event)
        self._board.add_scalar(f"{self._name}/samples_per_s", samples_per_s, self._event)
        self._event += 1

    def validated(self, stage: int, step: int, error_mm: float, best_mm: float) -> None:
        """Write the validation error after a step, and show it and the lowest one from then on."""
        entry = {"stage": self._name, "stage_number": stage, "step": step, **self._every_line}
        self._log.write(json.dumps({**entry, "validation_mm": error_mm, "best_mm": best_mm}) + "\n")
        self._board.add_scalar(f"{self._name}/validation_mm", error_mm, self._event)
        self._event += 1
        self._validation = f" | validation {error_mm:.1f} mm, best {best_mm:.1f}"
        self._progress.update(self._task, validation=f"{error_mm:.1f} mm\nbest {best_mm:.1f}")
        if not self._console.is_terminal:
            told = f"{self._name} {step}/{self._total}{self._validation}"
            self._console.print(told, markup=False, highlight=False, soft_wrap=True)

    def tell(self, message: str) -> None:
        """Show a message."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def show(self, step: int, losses: dict[str, float], samples_per_s: float) -> None:
        """Move the bar."""
        named = " ".join(f"{key} {value:.4g}" for key, value in losses.items())
        text = f"{named} | {samples_per_s:.0f} samples/s"
        self._progress.update(self._task, completed=step, losses=text)
        if not self._console.is_terminal and (step == self._total or time.monotonic() - self._told > _PLAIN_EVERY_S):
            self._told = time.monotonic()
            told = f"{self._name} {step}/{self._total} {text}{self._validation}"
            self._console.print(told, highlight=False, soft_wrap=True)

    def flush(self) -> None:
        """Bring the log to the disk, before a checkpoint refers to it."""
        self._log.flush()
        self._board.flush()

    def close(self) -> None:
        """Close the table and the files."""
        self._progress.stop()
        self._log.close()
        try:
            self._board.close()
        finally:
            threading.excepthook = self._hook

    def _without_writers(self, args: threading.ExceptHookArgs) -> None:
        """Print no traceback of the thread that writes events. Its next call in the training raises the same error."""
        if not (isinstance(args.exc_value, OSError) and type(args.thread).__module__.startswith("tensorboard.")):
            self._hook(args)
