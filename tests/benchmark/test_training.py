"""The benchmark of training: its measurements and invalid options."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from crossnets.benchmark import training
from crossnets.benchmark.training import TrainingSpeedConfig, measure, training_command
from crossnets.geometry.skeleton import MSRA21
from crossnets.models.pose_vae import PoseVAE, PoseVAEConfig
from crossnets.training import presets
from crossnets.training.devices import Machine

MACHINE = Machine(device=torch.device("cpu"), workers=0)
HANDS = replace(presets.crossnets().rendered, sources=presets.crossnets().rendered.sources[:1])
TINY = TrainingSpeedConfig(seconds=0.01, batch_size=("joint=4", "pose_vae=4"), stages=("joint", "pose_vae"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_FRAMES", 8)
    monkeypatch.setattr(training, "_LEAST_STEPS", 2)
    monkeypatch.setattr(training, "_PEAK_S", 0.01)
    monkeypatch.setattr(training, "_PEAK_SIDES", {"cpu": 64})


def test_command_prints_a_row_for_each_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "speed.json"
    training_command([presets.paper(MSRA21)], HANDS, TINY, MACHINE, as_json=False, out=out)
    printed = capsys.readouterr().out
    written = json.loads(out.read_text())
    assert [row["stage"] for row in written["stages"]] == ["pose_vae", "joint"]
    vae, joint = written["stages"]
    assert joint["batch"] == 4
    assert joint["samples_per_s"] > 0
    assert joint["waiting"] is None
    # A step takes each weight once forwards and twice backwards, but the first layer's input needs no gradient.
    matrices = [p for p in PoseVAE(PoseVAEConfig(num_joints=21), torch.Generator()).parameters() if p.ndim == 2]
    weights = sum(p.numel() for p in matrices)
    assert 2 * weights < vae["macs_per_sample"] < 3 * weights
    assert joint["macs_per_sample"] > 1e8
    assert joint["share_of_peak"] == pytest.approx(
        joint["samples_per_s"] * joint["macs_per_sample"] / written["peak_macs_per_s"][joint["precision"]]
    )
    assert "paper: joint" in printed


def test_stage_of_the_same_name_is_measured_once() -> None:
    both = [presets.paper(MSRA21), replace(presets.crossnets(), rendered=HANDS)]
    only = replace(TINY, stages=("pose_vae",))
    found = measure(both, HANDS, only, MACHINE, Console(quiet=True))
    assert [(row.preset, row.stage) for row in found.stages] == [("paper", "pose_vae")]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (TrainingSpeedConfig(seconds=0.0), "seconds 0.0, expected more than 0"),
        (TrainingSpeedConfig(stages=("jiont",)), "jiont: expected some of pose_vae"),
        (TrainingSpeedConfig(batch_size=("joint=0",)), "--batch-size joint=0"),
    ],
)
def test_invalid_options_raise(config: TrainingSpeedConfig, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        measure([presets.paper(MSRA21)], HANDS, config, MACHINE, Console(quiet=True))
