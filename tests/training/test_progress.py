"""The live table of a training, and its lines where no terminal is."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from crossnets.training import progress


def run_two_stages(tmp_path: Path, console: Console) -> None:
    reporter = progress.Reporter(tmp_path, console, 0)
    try:
        with reporter.stage("warm_up", 4, 0):
            reporter.show(2, {"posterior": 0.25}, 100.0)
            reporter.validated(2, 2, 31.26, 31.26)
            reporter.validated(2, 4, 35.0, 31.26)
            reporter.show(4, {"posterior": 0.125}, 100.0)
        with reporter.stage("joint", 8, 3):
            reporter.show(5, {"d_real": 0.5}, 50.0)
            reporter.tell("Stage joint ends after step 5.")
    finally:
        reporter.close()


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


def test_the_table_has_a_row_for_each_stage(tmp_path: Path, said: io.StringIO) -> None:
    run_two_stages(tmp_path, Console(file=said, force_terminal=True, width=110, color_system=None))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.getvalue())
    head, *rows = text[text.rindex("stage ") :].splitlines()
    assert head.split() == ["stage", "steps", "left", "validation", "losses"]
    assert re.match(r"warm_up .* 4/4 .* 35\.0 mm +posterior 0\.125 \| 100 samples/s", rows[0])
    assert rows[1].strip() == "best 31.3"
    assert re.match(r"joint .* 5/8 .* d_real 0\.5 \| 50 samples/s", rows[2])
    assert "mm" not in rows[2]  # the joint stage was not validated yet
    assert "Stage joint ends after step 5." in text


def test_lines_where_no_terminal_is(tmp_path: Path, said: io.StringIO) -> None:
    run_two_stages(tmp_path, Console(file=said, force_terminal=False, width=110))
    lines = [line for line in said.getvalue().splitlines() if line]
    assert lines == [
        "warm_up 2/4 | validation 31.3 mm, best 31.3",
        "warm_up 4/4 | validation 35.0 mm, best 31.3",
        "warm_up 4/4 posterior 0.125 | 100 samples/s | validation 35.0 mm, best 31.3",
        "Stage joint ends after step 5.",
    ]
