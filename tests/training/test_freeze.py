"""Parts of the networks that a training leaves as they are."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from crossnets.training import loop
from crossnets.training.config import PaperConfig
from crossnets.training.freeze import freeze
from crossnets.training.session import train_command
from tests.datasets.make import make_cvar
from tests.training import small
from tests.training.stepping import make_nets
from tests.training.test_best import MACHINE, assert_same, lines_of, weights_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cvar(tmp_path_factory.mktemp("cvar"), {"P1": 1.0, "P4": 0.8}, frames=4).root


def train(out: Path, data: Path, config: PaperConfig | None = None, **options: Any) -> None:
    settings = config or small.config()
    train_command(
        lambda _: settings, data=f"cvar:{data}", unlabelled=(), labels="4", budget=None, out=out, threads=None,
        machine=MACHINE, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def first(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "run"
    train(out, data)
    return out


def test_frozen_parts_stay_and_the_others_learn(data: Path, first: Path, tmp_path: Path) -> None:
    """Their running averages stay too, which predictions use."""
    frozen = ("disc.trunk", "ali")
    train(tmp_path, data, stages=("joint",), init=first, freeze=frozen)
    before, after = weights_of(first), weights_of(tmp_path)
    kept = {name for name in before if name.startswith((*frozen, "vae"))}  # the VAE learns in its own stage alone
    assert any(name.endswith("running_mean") for name in kept)
    assert_same(after, {name: before[name] for name in kept})
    changed = [name for name in before.keys() - kept if not torch.equal(before[name], after[name])]
    for part in ("gen", "disc.pos", "disc.met", "disc.dis"):
        assert any(name.startswith(part) for name in changed), part


def test_a_stopped_training_goes_on_with_frozen_parts(
    data: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: dict[str, Any] = {"stages": ("joint",), "init": first, "freeze": ("disc.trunk",)}
    train(tmp_path / "whole", data, **words)
    step = loop._step

    def stopping(session: loop._Session, *rest: Any) -> Any:
        session.stop.set()
        return step(session, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_step", stopping)
        with pytest.raises(loop.TrainingStoppedError):
            train(tmp_path / "run", data, **words)
    train(tmp_path / "run", data, **words)
    assert lines_of(tmp_path / "run") == lines_of(tmp_path / "whole")
    assert_same(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))
    with pytest.raises(ValueError, match=r"train.freeze.0: 'disc.trunk' there, None asked"):
        train(tmp_path / "run", data, **(words | {"freeze": ()}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": ("disc.trunk",)}, "--freeze disc.trunk keeps the weights of a model, which --init names"),
        ({"freeze": ("trunk",), "init": True}, "--freeze trunk: expected a part .* such as vae, ali, gen, disc, or a"),
        ({"freeze": ("",), "init": True}, "--freeze : expected a part of the networks"),
        (
            {"freeze": ("vae",), "init": True},
            "leaves nothing to train to the vae of the stage pose_vae.*--stages names",
        ),
        (
            {"freeze": ("ali", "gen"), "init": True, "stages": ("joint",)},
            "leaves nothing to train to the generator of the stage joint",
        ),
    ],
)
def test_what_cannot_be_frozen_is_refused(
    options: dict[str, Any], message: str, data: Path, first: Path, tmp_path: Path
) -> None:
    words = options | ({"init": first} if "init" in options else {})
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", data, **words)
    assert not (tmp_path / "run" / "config.json").exists()


def test_frozen_parts_normalise_as_in_predictions() -> None:
    nets = make_nets().train()
    freeze(nets, ["disc.trunk"])
    layers = {name: part for name, part in nets.named_modules() if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d)}
    assert {name.startswith("disc.trunk") for name in layers} == {True, False}
    assert all(layer.training != name.startswith("disc.trunk") for name, layer in layers.items())
