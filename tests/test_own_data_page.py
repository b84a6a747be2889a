"""The commands of docs/own-data.md, at tiny size."""

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crossnets import cli
from crossnets.datasets.own_readers import VARIABLE
from crossnets.datasets.recording import Recording
from crossnets.evaluation.predictions import read_predictions
from crossnets.geometry.skeleton import Skeleton
from crossnets.training import presets
from crossnets.training.config import PaperConfig
from crossnets.weights import SHIPPED
from tests.training.test_real_frames import settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "own-data.md").read_text()
FRAMES = 12
paper = presets.paper
crossnets = settings(1)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith("crossnets ")]


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    cli.main()


def tiny_paper(skeleton: Skeleton, **choices: object) -> PaperConfig:
    whole = paper(skeleton, **choices)  # pyright: ignore[reportArgumentType]
    return replace(whole, stages=tuple(replace(stage, batch=4, epochs=0, min_steps=1) for stage in whole.stages))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with trainings of one step."""
    monkeypatch.chdir(tmp_path)
    # Otherwise a training starts the process again.
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    monkeypatch.setattr(presets, "paper", tiny_paper)
    monkeypatch.setattr(presets, "crossnets", lambda **_: crossnets)
    return tmp_path


@pytest.mark.slow
def test_the_page_leads_from_a_table_to_a_model(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = blocks("python")[0]
    assert '"recording", 300,' in program
    exec(program.replace('"recording", 300,', f'"recording", {FRAMES},'), {})
    own = [command for command in commands() if "people" not in command]
    assert len(own) == 7
    for command in own:
        run(command.replace("src/crossnets/weights", str(SHIPPED)), monkeypatch)
    mine = Recording("mine")
    assert len(mine) == FRAMES
    assert mine.skeleton is not None
    assert mine.skeleton.joints == ("W", "T", "I", "M", "R", "L")
    for found in ("found", "found-by-package"):
        assert read_predictions(place / found / "predictions.jsonl").skeleton == mine.skeleton
    for run_folder in ("own", "tuned"):
        assert (place / "runs" / run_folder / "model" / "weights.safetensors").is_file()


@pytest.mark.slow
def test_the_page_uses_a_reader(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"export {VARIABLE}=examples/own_dataset.py" in PAGE
    monkeypatch.setenv(VARIABLE, str(ROOT / "examples" / "own_dataset.py"))
    program = blocks("python")[-1]
    assert '"recording", 100,' in program
    exec(program.replace('"recording", 100,', '"recording", 4,'), {})
    own = [command for command in commands() if "people:npz" in command]
    assert len(own) == 4
    for command in own:
        run(command, monkeypatch)
    assert len(Recording("my-recording")) == 4
