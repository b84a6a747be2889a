"""The preset `crossnets`, small: its terms, and a whole training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from crossnets.geometry.skeleton import CVAR21, ICVL16, MSRA21
from crossnets.inference import bundle
from crossnets.inference.loading import candidates_of
from crossnets.inference.predict import predict_frames
from crossnets.models.dense import Votes
from crossnets.models.networks import build
from crossnets.synth.hand import anny_hands
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.tensors import RenderedBatch
from crossnets.training import loop, presets, rendering
from crossnets.training.batches import Draw
from crossnets.training.config import CrossnetsConfig, RenderedConfig
from crossnets.training.crops import TrainingFrames
from crossnets.training.devices import Machine
from crossnets.training.estimator_stage import SIDE, SIZE, SPREAD, VOTES, estimation_terms
from crossnets.training.make_stage import make_stage
from crossnets.training.run import request_of
from tests.synth.anny_stand_in import stand_in

SOURCE = SyntheticConfig(camera="realsense-sr300", seed=9, noise=(0.0, 0.0))


def settings(steps: int = 2) -> CrossnetsConfig:
    whole = presets.crossnets(precision="32-true", checkpoint_s=0.0)
    batches = {"pose_vae": 8, "estimate": 4, "draw": 4}
    stages = tuple(replace(s, batch=batches[s.name], epochs=0, min_steps=steps) for s in whole.stages)
    rendered = RenderedConfig(sources=(SOURCE,), kept_frames=16)
    return replace(whole, stages=stages, rendered=rendered)


def train(out: Path, config: CrossnetsConfig) -> None:
    frames = rendering.kept(config.rendered, MSRA21, out / "crops")
    maps = skeleton_maps(MSRA21)
    alone = Machine(device=torch.device("cpu"), workers=0)
    quiet = Console(quiet=True)
    loop.train(config, frames, out, request=request_of(config, {}), console=quiet, maps=maps, machine=alone)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crossnets")
    train(out, settings())
    return out


def test_a_share_of_the_hands_can_be_meshes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = stand_in()
    monkeypatch.setattr(anny_hands, "anny_model", lambda: described)
    source = replace(SOURCE, anny=0.5)
    config = settings()
    train(tmp_path / "mixed", replace(config, rendered=replace(config.rendered, sources=(source,))))
    lines = [json.loads(line) for line in (tmp_path / "mixed" / "log.jsonl").read_text().splitlines()]
    (estimate,) = [line for line in lines if line["stage"] == "estimate"]
    assert np.isfinite(list(estimate["losses"].values())).all()
    saved = json.loads((tmp_path / "mixed" / "config.json").read_text())
    assert saved["train"]["rendered"]["sources"][0]["anny"] == 0.5


def test_all_stages_run_and_the_losses_are_logged(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(line["stage"] for line in lines)) == [s.name for s in presets.CROSSNETS_STAGES]
    (estimate,) = [line for line in lines if line["stage"] == "estimate"]
    assert set(estimate["losses"]) == {"joints", "votes", "spread", "side", "size"}


def test_the_model_refines_and_predicts_other_skeletons(run: Path) -> None:
    estimator = bundle.load(run)
    assert estimator.config.passes == 2
    hands = SyntheticHands(SOURCE)
    frames = [hands.frame(k) for k in range(3)]
    for skeleton in (MSRA21, CVAR21, ICVL16):
        speaking = estimator.speaking(skeleton)
        assert speaking.skeleton == skeleton
        for found in predict_frames(speaking, frames, candidates_of("label", speaking, skeleton=MSRA21), force=True):
            assert found.joints_mm is not None
            assert found.joints_mm.shape == (len(skeleton), 3)
            assert np.isfinite(found.joints_mm).all()
    assert estimator.skeleton == MSRA21


def test_an_estimator_learns_a_batch_by_heart() -> None:
    config = settings()
    nets = build(config.networks, torch.Generator().manual_seed(0))
    stage = make_stage(nets, replace(config.stages[1], lr=3e-3), config.terms)
    batch = rendering.rendered(SyntheticHands(SOURCE), np.arange(8))
    batch = RenderedBatch(*(part.float() for part in batch))
    rows, none = np.zeros(0, np.int64), np.zeros((0, 21, 3), np.float32)
    nothing = TrainingFrames(np.zeros((0, 128, 128), np.float32), (), rows, none, none[:, 0], rows, ())
    errors = []
    for step in range(60):
        draw = Draw(nothing, config.stages[1], step, 0, torch.device("cpu"), False, iter([batch]))
        errors.append(float(stage.step(draw, torch.Generator())["joints"].detach()))
    assert errors[-1] < 0.4 * errors[0]


def test_the_terms_are_what_they_say() -> None:
    places = torch.zeros(1, 2, 2, 3)
    places[0, 0, 0] = torch.tensor([0.6, 0.0, 0.8])  # one vote 1 away, the other right
    weights = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]])
    votes = Votes(
        weights, places, torch.tensor([[np.log(0.25), 0.0]]).float(), torch.tensor([0.0]), torch.tensor([0.5])
    )
    batch = RenderedBatch(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 3), torch.ones(1), torch.tensor([0.1]))
    terms = {name: float(value) for name, value in estimation_terms(votes, batch).items()}
    assert terms["joints"] == pytest.approx(0.25 / 2, abs=1e-4)
    assert terms["votes"] == pytest.approx(VOTES * 0.25 / 2, abs=1e-4)
    assert terms["spread"] == pytest.approx(SPREAD * (1 + np.log(0.25) + 0) / 2, abs=1e-4)
    assert terms["side"] == pytest.approx(SIDE * np.log(2))
    assert terms["size"] == pytest.approx(SIZE * 0.4)


def test_the_joints_do_not_learn_from_their_spread() -> None:
    places = torch.rand(1, 2, 2, 3, requires_grad=True)
    log_spread = torch.zeros(1, 2, requires_grad=True)
    votes = Votes(torch.full((1, 2, 2), 0.5), places, log_spread, torch.zeros(1), torch.zeros(1))
    batch = RenderedBatch(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 3), torch.ones(1), torch.zeros(1))
    estimation_terms(votes, batch)["spread"].backward()
    assert places.grad is None
    assert log_spread.grad is not None
