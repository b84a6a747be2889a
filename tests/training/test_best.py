"""The model with the lowest validation error is kept, and a stage without progress ends early."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from crossnets.cli.train import DataOptions
from crossnets.inference import bundle
from crossnets.training import checkpoints, loop
from crossnets.training.config import CrossnetsConfig, PaperConfig
from crossnets.training.devices import Machine
from crossnets.training.session import train_command
from tests.datasets.make import make_cvar
from tests.training import small
from tests.training.test_real_frames import settings

MACHINE = Machine(device=torch.device("cpu"), workers=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cvar(tmp_path_factory.mktemp("cvar"), {"P1": 1.0, "P4": 0.8}, frames=4).root


def regression(steps: int) -> PaperConfig:
    whole = small.config(shared_latent=False)
    return replace(whole, stages=(replace(whole.stages[0], min_steps=steps),))


def train(
    out: Path, data: Path, config: PaperConfig | CrossnetsConfig, patience: int | None = None, init: Path | None = None
) -> None:
    configure = config if isinstance(config, CrossnetsConfig) else lambda _: config
    train_command(
        configure, data=f"cvar:{data}#P1", unlabelled=(), labels="all", validation=f"cvar:{data}#P4", patience=patience,
        budget=None, init=init, out=out, threads=None, machine=MACHINE,
    )  # fmt: skip


class Errors:
    """Validation errors by the number of steps that a network has learned for. The weights are kept by that number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, part: str, errors_mm: list[float], begun: int = 0) -> None:
        self.weights: dict[int, dict[str, Tensor]] = {}

        def error_mm(session: loop._Session) -> float:
            found = session.networks.state_dict()
            counted = next(
                value for name, value in found.items() if name.startswith(part) and name.endswith("batches_tracked")
            )
            step = int(counted) - begun
            self.weights[step] = {name: value.clone() for name, value in found.items()}
            return errors_mm[step - 1] if step else 5.0

        monkeypatch.setattr(loop._Session, "error_mm", error_mm)


def weights_of(run: Path) -> dict[str, Tensor]:
    return load_file(run / "model" / "weights.safetensors")


def lines_of(run: Path) -> list[dict[str, Any]]:
    """The log without what depends on the speed."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("samples_per_s", "waiting")} for line in lines]


def validations(run: Path) -> list[tuple[int, float, float]]:
    lines = [line for line in lines_of(run) if "validation_mm" in line]
    return [(line["step"], line["validation_mm"], line["best_mm"]) for line in lines]


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_model_with_the_lowest_error_is_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = Errors(monkeypatch, "trunk", [50.0, 30.0, 40.0, 35.0])
    train(tmp_path, data, regression(4))
    assert validations(tmp_path) == [(1, 50.0, 50.0), (2, 30.0, 30.0), (3, 40.0, 30.0), (4, 35.0, 30.0)]
    assert_same(weights_of(tmp_path), errors.weights[2])
    assert not all(torch.equal(errors.weights[4][name], value) for name, value in errors.weights[2].items())
    assert bundle.load(tmp_path).skeleton.name == "cvar21"
    place = checkpoints.load_place(tmp_path)
    assert place is not None
    assert (place.stage, place.best_mm, place.fruitless) == (1, 30.0, 0)


def test_a_stage_ends_when_its_patience_is_exhausted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = Errors(monkeypatch, "trunk", [50.0, 30.0, 40.0, 35.0, 30.0, 10.0, 10.0, 10.0])
    train(tmp_path, data, regression(8), patience=3)
    assert [step for step, _, _ in validations(tmp_path)] == [1, 2, 3, 4, 5]
    assert_same(weights_of(tmp_path), errors.weights[2])
    told = "Stage regression ends after step 5 of 8: 3 validations brought no error below 30.0 mm."
    assert told in capsys.readouterr().err
    assert json.loads((tmp_path / "config.json").read_text())["train"]["validation"] == {"times": 20, "patience": 3}
    train(tmp_path, data, regression(8), patience=3)
    assert "is finished" in capsys.readouterr().err


@pytest.mark.parametrize("stop_at", [1, 2, 4, 5])
def test_a_stopped_training_keeps_its_best_model_and_its_patience(
    stop_at: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Errors(monkeypatch, "trunk", [50.0, 30.0, 40.0, 35.0, 31.0, 10.0])
    train(tmp_path / "whole", data, regression(6), patience=3)
    step = loop._step
    taken = []

    def stopping(session: loop._Session, *rest: Any) -> Any:
        taken.append(1)
        if len(taken) == stop_at:
            session.stop.set()
        return step(session, *rest)

    monkeypatch.setattr(loop, "_step", stopping)
    if stop_at < 5:
        with pytest.raises(loop.TrainingStoppedError):
            train(tmp_path / "run", data, regression(6), patience=3)
        part, written = checkpoints.load_best(tmp_path / "run"), weights_of(tmp_path / "run")
        assert part is not None
        assert_same(written, part)
    train(tmp_path / "run", data, regression(6), patience=3)
    assert lines_of(tmp_path / "run") == lines_of(tmp_path / "whole")
    assert_same(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))
    one, other = (checkpoints.load_place(tmp_path / name) for name in ("run", "whole"))
    assert one is not None
    assert other is not None
    assert replace(one, elapsed_s=0.0) == replace(other, elapsed_s=0.0)
    assert checkpoints.load_best(tmp_path / "run") is None


def test_a_model_that_training_makes_worse_is_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Errors(monkeypatch, "trunk", [50.0, 30.0])
    train(tmp_path / "first", data, regression(2))
    Errors(monkeypatch, "trunk", [50.0, 30.0], begun=2)
    step = loop._step

    def stopping(session: loop._Session, *rest: Any) -> Any:
        session.stop.set()
        return step(session, *rest)

    monkeypatch.setattr(loop, "_step", stopping)
    with pytest.raises(loop.TrainingStoppedError):
        train(tmp_path / "again", data, regression(2), init=tmp_path / "first")
    monkeypatch.setattr(loop, "_step", step)
    train(tmp_path / "again", data, regression(2), init=tmp_path / "first")
    assert validations(tmp_path / "again") == [(0, 5.0, 5.0), (1, 50.0, 5.0), (2, 30.0, 5.0)]
    assert_same(weights_of(tmp_path / "again"), weights_of(tmp_path / "first"))


def test_later_stages_go_on_from_the_best_estimator(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = Errors(monkeypatch, "dense", [20.0, 30.0, 40.0])
    config = settings(3)
    train(tmp_path, data, replace(config, stages=config.stages[1:3]))
    assert [line["stage"] for line in lines_of(tmp_path) if "validation_mm" in line] == ["estimate"] * 3
    found = weights_of(tmp_path)
    dense = [name for name in found if name.startswith("dense")]
    assert_same(found, {name: errors.weights[1][name] for name in dense})
    generator = [name for name in found if name.startswith("crossing.gen") and name.endswith("weight")]
    assert not any(torch.equal(found[name], errors.weights[1][name]) for name in generator)


def test_a_checkpoint_of_an_older_version_is_resumed(data: Path, tmp_path: Path) -> None:
    train(tmp_path, data, regression(1))
    tensors = load_file(tmp_path / checkpoints.FILE)
    save_file(tensors, tmp_path / checkpoints.FILE, {"place": json.dumps({"stage": 1, "step": 0, "elapsed_s": 3.5})})
    assert checkpoints.load_place(tmp_path) == checkpoints.Place(1, 0, 3.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (DataOptions(patience=3), "--patience 3 counts validations, but --validation is not given"),
        (DataOptions(patience=0, validation="10%"), "--patience 0: expected 1 or more"),
    ],
)
def test_patience_needs_validations(options: DataOptions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        options.check()
