"""The example network through all commands, and what registration refuses."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import crossnets
from crossnets.cli.train import for_preset
from crossnets.datasets.recording import Recording
from crossnets.inference import bundle
from crossnets.models import own
from crossnets.models.networks import build, config_from
from crossnets.models.own import Found, OwnNetworks, OwnNetworksConfig, network
from crossnets.synth.writing import write_dataset
from tests import commands

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_network.py"


def run(*words: str, program: Path = EXAMPLE) -> commands.Ended:
    return commands.run(*words, program=program)


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("own") / "hands"
    write_dataset("recording", 24, out, motion=True, progress=False)
    return out


@pytest.mark.slow
def test_the_example_is_trained_resumed_evaluated_exported_and_predicts(hands: Path, tmp_path: Path) -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 80
    words = ["train", "--preset", "small", "--data", f"recording:{hands}", "--epochs", "own=20"]
    words += ["--batch-size", "own=8", "--channels", "8", "--checkpoint-s", "0.01", "--precision", "32-true"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = run(*words, "--out", str(whole))
    assert done.returncode == 0, done.stderr
    # The process ends in the middle, as by a kill, and the same command goes on.
    stopping = tmp_path / "stopping.py"
    stopping.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(EXAMPLE.parent)!r})\n"
        "import own_network\n"
        "steps = []\n"
        "loss = own_network.Small.loss\n"
        "def counted(self, found, joints_mm):\n"
        "    steps.append(1)\n"
        "    if len(steps) > 30: os._exit(9)\n"
        "    return loss(self, found, joints_mm)\n"
        "own_network.Small.loss = counted\n"
        "own_network.main()\n"
    )
    assert run(*words, "--out", str(killed), program=stopping).returncode == 9
    assert run(*words, "--out", str(killed)).returncode == 0
    weights = [(folder / "model" / "weights.safetensors").read_bytes() for folder in (whole, killed)]
    assert weights[0] == weights[1]

    score = tmp_path / "score"
    scored = run("evaluate", "--model", str(whole), "--data", f"recording:{hands}", "--out", str(score), "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["mean_mm"] < 60
    exported = run("export", str(whole), "--out", str(tmp_path / "small.onnx"))
    assert exported.returncode == 0, exported.stderr

    # The exported file needs the program no more, and gives the same joints and deviations.
    frame = Recording(hands)[3]
    tracker = crossnets.load(tmp_path / "small.onnx")
    (hand, *_) = tracker.predict(frame)
    assert hand.std_mm is not None
    assert hand.size_mm is None
    assert (hand.std_mm > 0).all()
    lines = (score / "predictions.jsonl").read_text().splitlines()
    (line,) = (json.loads(text) for text in lines if frame.key in text)
    np.testing.assert_allclose(line["joints_mm"], hand.joints_mm, atol=0.05)

    other = commands.run("evaluate", "--model", str(whole), "--data", f"recording:{hands}", folder=tmp_path)
    assert other.returncode == 2
    assert "No network is registered as 'small'. Run the command by the program that registers it" in other.stderr


@dataclass(frozen=True)
class Settings:
    width: int = 4
    sizes: tuple[int, ...] = (1, 2)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_registered", {})


class Plain(nn.Module):
    """Joints only, without a loss of its own."""

    def __init__(self, settings: Settings, num_joints: int) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.linear = nn.Linear(64, 3 * num_joints)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.linear(image[:, 0, ::16, ::16].flatten(1)).unflatten(1, (self.num_joints, 3))


def made() -> OwnNetworks:
    network("plain", Settings)(Plain)
    config = OwnNetworksConfig(own="plain", num_joints=21, settings=Settings())
    networks = build(config, torch.Generator().manual_seed(3))
    assert isinstance(networks, OwnNetworks)
    return networks


@pytest.mark.usefixtures("registry")
def test_settings_come_back_from_a_file() -> None:
    config = made().config
    fields = json.loads(json.dumps({"own": "plain", "num_joints": 21, "settings": {"width": 4, "sizes": [1, 2]}}))
    assert config_from(fields) == config
    with pytest.raises(ValueError, match="differ from those of the registered network in depth"):
        config_from({**fields, "settings": {**fields["settings"], "depth": 3}})


@pytest.mark.usefixtures("registry")
def test_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = made(), made()
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(next(first.parameters()), next(second.parameters()))


@pytest.mark.usefixtures("registry")
def test_the_default_loss_falls_and_teaches_spreads_apart_from_joints() -> None:
    networks = made()
    truth = torch.randn(5, 21, 3)
    exact = networks.loss(Found(truth, torch.zeros(5, 21)), truth)
    off = networks.loss(Found(truth + 3.0, torch.zeros(5, 21)), truth)
    assert exact["joints"] < 0.02
    assert off["joints"].item() == pytest.approx(27**0.5, rel=1e-4)
    joints = (truth + 3.0).requires_grad_()
    spread = torch.full((5, 21), 1.0, requires_grad=True)
    networks.loss(Found(joints, spread), truth)["spread"].backward()
    assert joints.grad is None
    assert spread.grad is not None
    assert (spread.grad < 0).all()  # e is smaller than the error of 5.2 mm
    assert list(networks.loss(Found(truth), truth)) == ["joints"]


@pytest.mark.usefixtures("registry")
def test_joints_of_another_shape_are_refused() -> None:
    class Wrong(Plain):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return super().forward(image)[:, :20]

    network("wrong", Settings)(Wrong)
    networks = build(OwnNetworksConfig(own="wrong", num_joints=21, settings=Settings()), torch.Generator())
    with pytest.raises(ValueError, match=r"returned .*20, 3.*, expected joints of shape \(B, 21, 3\)"):
        networks(torch.zeros(2, 1, 128, 128))


@pytest.mark.usefixtures("registry")
def test_names_and_settings_are_checked() -> None:
    @dataclass(frozen=True)
    class Needy:
        width: int

    with pytest.raises(ValueError, match="need defaults"):
        network("needy", Needy)
    with pytest.raises(ValueError, match="expected a dataclass"):
        network("dict", dict)
    with pytest.raises(ValueError, match="expected letters"):
        network("../paper", Settings)
    with pytest.raises(ValueError, match="'paper' is taken"):
        network("paper", Settings)(Plain)
    network("plain", Settings)(Plain)
    with pytest.raises(ValueError, match="'plain' is taken"):
        network("plain", Settings)(nn.Linear)


@pytest.mark.usefixtures("registry")
def test_installed_packages_register_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "installed"

        def load(self) -> None:
            network("installed", Settings)(Plain)

    monkeypatch.setattr(own, "entry_points", lambda group: [Point()] if group == "crossnets.networks" else [])
    assert own.names() == ["installed"]
    assert own.registered("installed").module is Plain


@pytest.mark.usefixtures("registry")
def test_a_mistyped_preset_is_guessed() -> None:
    network("small", Settings)(Plain)
    with pytest.raises(ValueError, match=r"--preset smal, expected one of paper, .*, small\. Did you mean 'small'"):
        for_preset(["crossnets", "train", "--preset", "smal"])
    assert for_preset(["crossnets", "evaluate", "--preset", "smal"]) is for_preset(["crossnets", "train"])


@pytest.mark.usefixtures("registry")
def test_a_model_folder_names_its_network_and_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                **{"format": "crossnets-bundle", "version": 1, "preset": "x", "skeleton": "msra21"},
                "networks": {"own": "os", "num_joints": 21, "settings": {}},
            }
        )
    )
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="No network is registered as 'os'"):
        bundle.load(tmp_path)
