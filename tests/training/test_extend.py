"""A finished run is trained longer."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from crossnets.training import checkpoints, loop, schedule
from crossnets.training.config import CrossnetsConfig, PaperConfig
from crossnets.training.session import train_command
from tests.datasets.make import make_cvar
from tests.training import small
from tests.training.test_best import MACHINE, Errors, assert_same, lines_of, regression, weights_of
from tests.training.test_real_frames import settings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cvar(tmp_path_factory.mktemp("cvar"), {"P1": 1.0, "P4": 0.8}, frames=4).root


def train(out: Path, data: Path, config: PaperConfig | CrossnetsConfig, **options: Any) -> None:
    configure = config if isinstance(config, CrossnetsConfig) else lambda _: config
    words = {"budget": None} | options
    train_command(
        configure, data=f"cvar:{data}#P1", unlabelled=(), labels="all", out=out, threads=None, machine=MACHINE, **words
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(out, data, regression(6))
    return out


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    step = loop._step
    taken = []

    def stopping(session: loop._Session, *rest: Any) -> Any:
        taken.append(1)
        if len(taken) == steps:
            session.stop.set()
        return step(session, *rest)

    monkeypatch.setattr(loop, "_step", stopping)


def plan_of(run: Path) -> list[int]:
    return json.loads((run / "config.json").read_text())["plan"]


@pytest.mark.parametrize("stop_at", [0, 1])
def test_an_extended_run_is_as_if_it_had_been_longer(
    stop_at: int, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, data, regression(3))
    assert plan_of(tmp_path) == [3]
    if stop_at:
        with monkeypatch.context() as patched:
            stop_after(patched, stop_at)
            with pytest.raises(loop.TrainingStoppedError):
                train(tmp_path, data, regression(6), extend=True)
    train(tmp_path, data, regression(6), extend=True)
    assert plan_of(tmp_path) == [6]
    lines = lines_of(tmp_path)
    assert [line.pop("extension", 0) for line in lines] == [0, 0, 0, 1, 1, 1]
    assert lines == lines_of(whole)
    assert_same(weights_of(tmp_path), weights_of(whole))


def test_a_run_that_was_extended_is_finished(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, data, regression(1))
    train(tmp_path, data, regression(2), extend=True)
    capsys.readouterr()
    train(tmp_path, data, regression(2), extend=True)
    train(tmp_path, data, regression(2))
    assert capsys.readouterr().err.count("is finished") == 2
    train(tmp_path, data, regression(3), extend=True)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2, 3]
    found = json.loads((tmp_path / "config.json").read_text())
    assert found["extensions"] == [{"plan": [1], "starts": [1]}, {"plan": [2], "starts": [2]}]


def test_stages_that_are_not_extended_are_left_as_they_are(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those after an extended stage do not begin anew, wherever the extension is interrupted."""
    config = replace(settings(2), stages=settings(2).stages[1:3])
    train(tmp_path, data, config)
    before = weights_of(tmp_path)
    estimate, draw = config.stages
    longer = replace(config, stages=(replace(estimate, min_steps=4), draw))
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(loop.TrainingStoppedError):
            train(tmp_path, data, longer, extend=True)
    train(tmp_path, data, longer, extend=True)
    steps = [(line["stage"], line["step"]) for line in lines_of(tmp_path)]
    assert steps == [
        *((name, n) for name in ("estimate", "draw") for n in (1, 2)),
        ("estimate", 3),
        ("estimate", 4),
    ]
    found = weights_of(tmp_path)
    assert all(torch.equal(found[name], value) for name, value in before.items() if not name.startswith("dense"))
    assert not all(torch.equal(found[name], value) for name, value in before.items())
    assert checkpoints.load_place(tmp_path) == replace(
        checkpoints.load_place(tmp_path) or checkpoints.Place(0, 0, 0.0), stage=2, step=0
    )
    assert not (tmp_path / "crops").exists()


def test_a_stage_that_ended_early_goes_on_where_it_ended(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = Errors(monkeypatch, "trunk", [50.0, 30.0, 40.0, 45.0])
    words = {"validation": f"cvar:{data}#P4", "patience": 2}
    train(tmp_path, data, regression(6), **words)
    assert checkpoints.end_step(tmp_path, "regression") == 4
    assert_same(weights_of(tmp_path), errors.weights[2])
    # The extension goes on from the weights of step 2, whose normalisation has counted two steps, at step 5.
    again = Errors(monkeypatch, "trunk", [0.0, 0.0, 35.0, 31.0, 20.0])
    train(tmp_path, data, regression(9), extend=True, **words)
    steps = [(line["step"], line["validation_mm"]) for line in lines_of(tmp_path) if "validation_mm" in line]
    assert steps == [(1, 50.0), (2, 30.0), (3, 40.0), (4, 45.0), (5, 35.0), (6, 31.0)]
    assert_same(weights_of(tmp_path), errors.weights[2])
    assert set(again.weights) == {3, 4}


def test_only_a_longer_training_is_an_extension(data: Path, whole: Path, tmp_path: Path) -> None:
    before = load_file(whole / checkpoints.FILE)
    with pytest.raises(ValueError, match=r"min_steps: 6 there, 7 asked.*To train it longer, add --extend"):
        train(whole, data, regression(7))
    with pytest.raises(ValueError, match=r"would not be trained longer: .* no more steps of regression"):
        train(whole, data, regression(5), extend=True)
    with pytest.raises(
        ValueError, match=r"train.seed: 42 there, 7 asked.*--extend changes --budget, and --epochs of jo"
    ):
        train(whole, data, replace(regression(7), seed=7), extend=True)
    with pytest.raises(ValueError, match=r"was trained for \d+ s, which is not less than --budget"):
        train(whole, data, regression(7), budget="0.001s", extend=True)
    with pytest.raises(ValueError, match=r"--extend trains a finished run longer, but .* has none"):
        train(tmp_path / "new", data, regression(7), extend=True)
    assert_same(load_file(whole / checkpoints.FILE), before)
    assert plan_of(whole) == [6]


def test_a_run_that_is_not_finished_is_not_extended(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(loop.TrainingStoppedError):
            train(tmp_path, data, regression(3))
    with pytest.raises(ValueError, match="It is not finished: --extend trains finished runs longer"):
        train(tmp_path, data, regression(4), extend=True)
    train(tmp_path, data, regression(3), extend=True)  # the same settings are resumed
    assert plan_of(tmp_path) == [3]


def test_stages_that_others_rely_on_are_not_extended(data: Path, tmp_path: Path) -> None:
    config = small.config()
    train(tmp_path, data, config)
    vae = replace(config.stages[0], min_steps=50)
    with pytest.raises(
        ValueError, match=r"stages.0.min_steps: 40 there, 50 asked.*--epochs of joint, regression, estimate"
    ):
        train(tmp_path, data, replace(config, stages=(vae, *config.stages[1:])), extend=True)


def test_steps_of_an_extension() -> None:
    stages = [replace(stage, epochs=10, min_steps=0, batch=10) for stage in settings().stages]
    names = [stage.name for stage in stages]
    assert names == ["pose_vae", "estimate", "draw"]
    done = [5, 60, 20]
    assert schedule.extended_steps(stages, done, 100, None, lambda stage: 1.0) == [5, 100, 100]
    found = schedule.extended_steps(stages, done, 100, 20.0, lambda stage: 1.0)
    assert found[0] == 5
    assert 16 <= found[1] - 60 + found[2] - 20 <= 20
    assert (found[1] - 60) == pytest.approx(2.4 * (found[2] - 20), abs=3)  # the shares of a budget
    assert schedule.extended_steps(stages, [100] * 3, 100, 20.0, lambda stage: 1 / 0) == [100] * 3
