"""Running averages of normalisation that are computed anew after a training in bfloat16."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from crossnets.inference import bundle
from crossnets.models.blocks import BN_EPS, BN_STEP, BatchNorm2d
from crossnets.models.crossnet import DensePosterior
from crossnets.training import loop, rendering
from crossnets.training.batch_norm import BATCHES, Averages
from crossnets.training.devices import Machine
from crossnets.training.session import train_command
from tests.datasets.make import make_cvar
from tests.training.test_crossing_stages import settings as crossing_settings
from tests.training.test_estimator_stage import settings, train

ALONE = Machine(device=torch.device("cpu"), workers=0)


def test_the_averages_are_those_of_the_images_alone() -> None:
    layer = BatchNorm2d(2, BN_EPS, BN_STEP)
    for _ in range(30):
        layer(torch.full((4, 2, 3, 3), 7.0) + torch.randn(4, 2, 3, 3))
    images = [torch.randn(4, 2, 3, 3) + number for number in range(BATCHES)]
    Averages((layer,), lambda: images).compute()
    assert layer.running_mean is not None
    assert layer.running_var is not None
    means = torch.stack([image.mean((0, 2, 3)) for image in images])
    variances = torch.stack([image.var((0, 2, 3)) for image in images])
    torch.testing.assert_close(layer.running_mean, means.mean(0))
    torch.testing.assert_close(layer.running_var, variances.mean(0))


def test_weights_and_frozen_parts_stay() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), BatchNorm2d(2, BN_EPS, BN_STEP), BatchNorm2d(2, BN_EPS, BN_STEP))
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Averages((network,), lambda: [torch.randn(4, 1, 5, 5)]).compute()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"2.running_mean", "2.running_var", "2.num_batches_tracked"}


def test_a_training_in_bfloat16_ends_with_averages_of_the_images_that_would_come_next(tmp_path: Path) -> None:
    config = settings()
    train(tmp_path, replace(config, precision="bf16-mixed"))
    networks = bundle.load(tmp_path).networks
    assert isinstance(networks, DensePosterior)
    convolution, norm = networks.dense.stem[:2]
    assert isinstance(norm, BatchNorm2d)
    assert norm.running_mean is not None
    means = []
    with rendering.stream(config.rendered, 4, 2, 2 + BATCHES, ALONE) as batches, torch.no_grad():
        for batch in batches:
            means.append(convolution(batch.image).mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)


def test_the_averages_of_a_float32_training_are_those_of_its_own_steps(tmp_path: Path) -> None:
    train(tmp_path, settings())
    assert int(bundle.load(tmp_path).networks.state_dict()["dense.stem.1.num_batches_tracked"]) == 2


def test_a_validation_sees_the_averages_that_are_computed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked = []
    data = make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.8}, frames=4).root

    def error_mm(session: loop._Session) -> float:
        tracked.append(int(session.networks.state_dict()["dense.stem.1.num_batches_tracked"]))
        return 10.0 + len(tracked)

    monkeypatch.setattr(loop._Session, "error_mm", error_mm)
    config = replace(crossing_settings(), precision="bf16-mixed")
    train_command(
        lambda _: config, data=f"cvar:{data}#P1", unlabelled=(), labels="all", validation=f"cvar:{data}#P4",
        budget=None, out=tmp_path / "run", threads=None, machine=ALONE,
    )  # fmt: skip
    assert len(tracked) > 2
    assert set(tracked) == {BATCHES}


def test_the_time_of_validations_includes_that_of_the_averages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.8}, frames=4).root
    seconds: list[float] = []
    monkeypatch.setattr(loop._Session, "error_mm", lambda session: 10.0)
    monkeypatch.setattr(
        loop, "_run_stages", lambda session, console: seconds.append(loop._seconds_of_validations(session))
    )
    for number, precision in enumerate(("32-true", "bf16-mixed")):
        config = replace(crossing_settings(), precision=precision)
        train_command(
            lambda _, config=config: config, data=f"cvar:{data}#P1", unlabelled=(), labels="all",
            validation=f"cvar:{data}#P4", budget=None, out=tmp_path / str(number), threads=None, machine=ALONE,
        )  # fmt: skip
    without, including = seconds
    assert including > 10 * without
