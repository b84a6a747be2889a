"""Sweeps: reading the file, finished runs, the table of results."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from crossnets import cli
from crossnets.cli import sweep as command
from crossnets.cli.sweep import sweep
from crossnets.evaluation.sweep import Cell, read_results, read_sweep, scores_of, write_results
from crossnets.evaluation.sweep import words as words_of
from tests import commands
from tests.datasets.make import make_cvar

FILE = """
seeds = [1, 2]
labels = ["2%", "all"]
[train]
preset = "paper"
epochs = ["joint=22"]
[[fold]]
name = "P5"
train = { data = "cvar:{cvar}#P1,P4" }
test = "cvar:{cvar}#P5"
[[variant]]
name = "paper"
[[variant]]
name = "without L_smo"
train = { smoothness = false, epochs = ["joint=3", "warm_up=1"] }
"""


def written(folder: Path, text: str = FILE) -> Path:
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


def test_each_combination_is_a_run(tmp_path: Path) -> None:
    cells = read_sweep(written(tmp_path), {"cvar": "/data"})
    assert len(cells) == 8
    one = next(cell for cell in cells if cell.name == "P5-2pct-without_L_smo-seed2")
    assert one.train == words_of(
        {"preset": "paper", "epochs": ["joint=3", "warm_up=1"], "data": "cvar:/data#P1,P4", "smoothness": False}
        | {"labels": "2%", "seed": 2}
    )
    assert "--no-smoothness" in one.train
    assert one.evaluate == ("--data", "cvar:/data#P5")
    assert one.cost == 4
    whole = next(cell for cell in cells if cell.labels == "all")
    assert "--labels" not in whole.train
    assert whole.cost == 22


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeds = [", "is not valid TOML"),
        ("trian = 3", "found the key 'trian', expected some of evaluate"),
        ("seeds = [1]", "fold is empty"),
        (FILE.replace("seeds = [1, 2]", "seeds = []"), "seeds is empty"),
        (FILE.replace("seeds = [1, 2]", "seeds = [1, 1]"), "two runs are called P5-2pct-paper-seed1"),
        (FILE.replace("{cvar}", "{other}"), "needs a value for other. Give --set other=VALUE"),
        (FILE.replace('test = "cvar:{cvar}#P5"\n', ""), "fold P5 has no test"),
        (FILE.replace('name = "paper"', 'nome = "paper"'), "a variant has the key 'nome'"),
        (
            FILE.replace("[train]", '[train]\nbudget = "1.2.3s"'),
            r"sweep\.toml: found budget = '1\.2\.3s', expected a",
        ),
    ],
)
def test_invalid_file_raises(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_sweep(written(tmp_path, text), {"cvar": "/data"})


def test_experiments_of_the_repository_are_valid() -> None:
    runs = {"cvar.toml": 30, "cvar_crossing.toml": 30, "cvar_init.toml": 12, "nyu_motion.toml": 2}
    for path in (Path(__file__).parents[2] / "experiments").glob("*.toml"):
        assert len(read_sweep(path, {"cvar": "/data", "nyu": "/motion", "model": "/model"})) == runs[path.name]


def test_results_of_the_repository_fit_their_experiments() -> None:
    folder = Path(__file__).parents[2] / "experiments"
    for path in folder.glob("*.results.json"):
        cells = read_sweep(
            folder / f"{path.name.removesuffix('.results.json')}.toml",
            {"cvar": "/data", "nyu": "/motion", "model": "/model"},
        )
        assert len(read_results([path], cells)) == len(json.loads(path.read_text()))


def test_table_has_means_and_ranges_of_finished_runs(tmp_path: Path) -> None:
    cells = read_sweep(written(tmp_path), {"cvar": "/data"})
    for k, cell in enumerate(cells[:-1]):
        finish(tmp_path, cell, 30.0 + k)
    table = write_results(tmp_path, cells)
    assert "7 of 8 runs are finished." in table
    first = [k for k, cell in enumerate(cells) if (cell.labels, cell.variant) == ("2%", "paper")]
    low, high = 30.0 + min(first), 30.0 + max(first)
    assert f"| paper | {(low + high) / 2:.1f} ({low:.1f} to {high:.1f}) |" in table
    assert (tmp_path / "table.md").read_text() == table
    assert len(json.loads((tmp_path / "results.json").read_text())) == 7
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert scores_of(tmp_path, cells[-1]) is None


def test_runs_without_predictions_have_no_mean(tmp_path: Path) -> None:
    cells = read_sweep(written(tmp_path), {"cvar": "/data"})
    for cell in cells:
        nothing = cell.variant == "paper" or (cell.labels, cell.seed) == ("2%", 1)
        finish(tmp_path, cell, None if nothing else 30.0)
    table = write_results(tmp_path, cells)
    assert "8 of 8 runs are finished." in table
    assert "| paper | - | - |\n| without L_smo | 30.0 | 30.0 (30.0 to 30.0) |" in table
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert len(read_results([tmp_path / "results.json"], cells)) == 8


def finish(out: Path, cell: Cell, mean_mm: float | None) -> None:
    folder = out / cell.name / "score"
    folder.mkdir(parents=True)
    scores = {"mean_mm": mean_mm, "median_mm": 20.0, "root_aligned_mean_mm": 25.0}
    (folder / "scores.json").write_text(json.dumps(scores))


def test_results_of_another_machine_count_as_finished(tmp_path: Path) -> None:
    there = read_sweep(written(tmp_path), {"cvar": "/their/data"})
    finish(tmp_path / "there", there[0], 31.0)
    finish(tmp_path / "there", there[1], 33.0)
    write_results(tmp_path / "there", there)

    here = read_sweep(written(tmp_path), {"cvar": "/my/data"})
    known = read_results([tmp_path / "there" / "results.json"], here)
    assert sorted(known) == sorted(cell.name for cell in there[:2])
    finish(tmp_path / "here", here[0], 29.0)
    table = write_results(tmp_path / "here", here, known)
    rows = {row["run"]: row["mean_mm"] for row in json.loads((tmp_path / "here" / "results.json").read_text())}
    assert rows == {here[0].name: 29.0, here[1].name: 33.0}
    assert "2 of 8 runs are finished." in table


def test_results_of_other_arguments_are_refused(tmp_path: Path) -> None:
    cells = read_sweep(written(tmp_path), {"cvar": "/data"})
    finish(tmp_path, cells[0], 31.0)
    write_results(tmp_path, cells)
    changed = read_sweep(written(tmp_path, FILE.replace("joint=22", "joint=44")), {"cvar": "/data"})
    with pytest.raises(ValueError, match=r"joint=22.* but the experiment declares .*joint=44"):
        read_results([tmp_path / "results.json"], changed)


def test_measures_of_other_types_are_refused(tmp_path: Path) -> None:
    cells = read_sweep(written(tmp_path), {"cvar": "/data"})
    finish(tmp_path, cells[0], 31.0)
    write_results(tmp_path, cells)
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace("31.0", '"31.0"'))
    with pytest.raises(ValueError, match=r"results\.json: found mean_mm = '31\.0' of P5-.*, expected a number of mm"):
        read_results([path], cells)


@pytest.mark.parametrize("text", ["[", "{}x", '["a"]', '[{"run": "a"}]', "3"])
def test_files_without_results_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match="does not contain results of a sweep"):
        read_results([tmp_path / "results.json"], [])


def test_invalid_options_raise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--set cvar: expected NAME=VALUE"):
        sweep(written(tmp_path), tmp_path / "out", set=("cvar",))
    with pytest.raises(ValueError, match="--parallel 0"):
        sweep(written(tmp_path), tmp_path / "out", parallel=0)


_RUN = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[-1])
def stop(*_):
    (folder / "checkpoint").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
folder.mkdir()
(folder / "begun").touch()
time.sleep(60)
"""
"""Stands for a training, which writes a checkpoint before it ends."""


def test_sigterm_of_a_sweep_ends_its_trainings_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_COMMAND", _RUN)
    out = tmp_path / "out"
    words = ["sweep", str(written(tmp_path)), "--set", "cvar=/data", "--parallel", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["crossnets", *words])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

    def stop() -> None:
        deadline = time.monotonic() + 60
        while len(list(out.glob("*/begun"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    stopping = threading.Thread(target=stop)
    stopping.start()
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        stopping.join()
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 130
    assert "crossnets: stopped" in capsys.readouterr().err
    # The others of the eight runs do not begin.
    assert len(list(out.glob("*/begun"))) == len(list(out.glob("*/checkpoint"))) == 2


@pytest.mark.slow
def test_sweep_resumes_after_being_killed_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeps that are killed are real. The commands of the last one start at once, as forks."""
    make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.9, "P5": 1.1}, frames=8)
    tiny = '["pose_vae=1", "depth_gan=1", "warm_up=1", "joint=1"]'
    text = FILE.replace('labels = ["2%", "all"]', 'labels = ["50%"]').replace('["joint=22"]', tiny)
    text = text.replace('["joint=3", "warm_up=1"]', tiny)
    more = 'threads = 1\nbatch_size = ["depth_gan=8", "warm_up=8", "joint=8"]\n'
    file = written(tmp_path, text.replace("[[fold]]", f"{more}[[fold]]"))
    out = tmp_path / "out"
    words = ("sweep", str(file), "--set", f"cvar={tmp_path / 'cvar'}", "--out", str(out))
    command = [sys.executable, "-m", "crossnets", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for finished in (1, 2):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(out.glob("*/score/scores.json"))) < finished:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.kill()
        process.wait()

    def run_fork(_: object, command: Sequence[str], log: object) -> int:
        return commands.run(*command[command.index("-c") + 2 :]).returncode

    monkeypatch.setattr("crossnets.cli.sweep._Running.run", run_fork)
    sweep(file, out, set=(f"cvar={tmp_path / 'cvar'}",))
    table = capsys.readouterr().out
    assert "4 of 4 runs are finished." in table
    assert table.count("| without L_smo |") == 3
