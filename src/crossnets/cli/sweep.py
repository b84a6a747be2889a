"""The command `sweep`: run the trainings and evaluations of an experiment, and tabulate them."""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from crossnets.atomic import held, make_folder
from crossnets.cli.ending import end
from crossnets.evaluation.sweep import SCORES, Cell, read_results, read_sweep, scores_of, write_results

_COMMAND = """
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
from crossnets.cli import main
main()
"""
"""Runs a command that ends when the sweep is killed (PR_SET_PDEATHSIG, SIGKILL). A sweep that starts again then finds
no training that is still running."""


def sweep(
    file: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]],
    out: Path = Path("sweep"),
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME=VALUE ...]")] = (),
    parallel: int = 1,
    known: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="[FILE ...]")] = (),
    table: bool = False,
) -> None:
    """Run what is not finished of an experiment, the shortest run first, and write the table of all scores.

    The same command goes on after a kill.

    Example: crossnets sweep experiments/cvar.toml --set cvar=PATH --out runs/cvar

    Args:
        file: Experiment, such as experiments/cvar.toml.
        out: Folder with a folder for each run, results.json, table.md and curves.png.
        set: Values of the file's placeholders, such as cvar=PATH.
        parallel: Runs at a time.
        known: Files results.json of other machines or earlier sweeps. Their runs count as finished.
        table: Write the table of the runs that are finished, and run nothing.
    """
    values = {}
    for text in set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text}: expected NAME=VALUE, such as cvar=PATH.")
        values[name] = value
    if parallel < 1:
        raise ValueError(f"--parallel {parallel}: expected 1 or more.")
    cells = read_sweep(file, values)
    finished = read_results(known, cells)
    make_folder(out)
    with held(out, "sweeps into"):
        _sweep(out, cells, finished, parallel, table)


def _sweep(out: Path, cells: Sequence[Cell], finished: dict[str, dict[str, Any]], parallel: int, table: bool) -> None:
    """Run what is missing, and write the results."""
    missing = [cell for cell in cells if scores_of(out, cell) is None and cell.name not in finished]
    failed = [] if table else _run(out, missing, len(cells), parallel)
    print(write_results(out, cells, finished))
    if failed:
        end(f"{len(failed)} runs failed: {', '.join(failed)}. Their output is in {out}/NAME.log.", 1)


def _run(out: Path, cells: Sequence[Cell], total: int, parallel: int) -> list[str]:
    """Run these cells. Returns the names of those that failed."""
    console = Console(stderr=True)
    failed: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
        ThreadPoolExecutor(parallel) as pool,
    ):
        task = bar.add_task("runs", total=total, completed=total - len(cells))
        shortest_first = sorted(cells, key=lambda cell: cell.cost)
        running = _Running()
        waiting = {pool.submit(_run_cell, out, cell, running): cell for cell in shortest_first}
        try:
            for done in as_completed(waiting):
                cell = waiting[done]
                code = done.result()
                if code:
                    failed.append(cell.name)
                console.print(f"{cell.name}: {'finished' if not code else f'failed ({code})'}", highlight=False)
                bar.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            running.end()
            raise
    return failed


class _Running:
    """The commands that run now. A sweep that is stopped ends them, since SIGTERM reaches the sweep alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def run(self, command: Sequence[str], log: IO[str]) -> int:
        """Run a command to its end. Returns its exit code."""
        with self._lock:
            if self._ended:
                return -signal.SIGTERM
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            self._processes.add(process)
        code = process.wait()
        with self._lock:
            self._processes.discard(process)
        return code

    def end(self) -> None:
        """Ask all commands to end, and let none begin. A training writes a checkpoint first."""
        with self._lock:
            self._ended = True
            for process in self._processes:
                process.terminate()


def _run_cell(out: Path, cell: Cell, running: _Running) -> int:
    """Train, or resume, and evaluate one cell. Returns the exit code of the command that failed, or 0."""
    run, score = out / cell.name, out / cell.name / "score"
    if score.is_dir() and not (score / SCORES).is_file():
        shutil.rmtree(score)  # of an evaluation that was killed
    commands = (
        ("train", *cell.train, "--out", str(run)),
        ("evaluate", "--model", str(run), *cell.evaluate, "--out", str(score)),
    )
    with (out / f"{cell.name}.log").open("a", encoding="utf-8") as log:
        for command in commands:
            code = running.run([sys.executable, "-c", _COMMAND, *command], log)
            if code:
                return code
    return 0
