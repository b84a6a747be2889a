"""Targets of a detector decode to the hands they are made of; its training goes on after a stop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from crossnets.geometry.camera import project
from crossnets.geometry.thinned import LENGTH_MM, Maps, nearest_around, stride_of
from crossnets.inference.detector import decode
from crossnets.models.detector import DetectorNetConfig
from crossnets.synth.scenes import PRESENT, UNCLEAR, SyntheticScenes
from crossnets.tensors import SceneBatch
from crossnets.training import loop, presets
from crossnets.training.config import DetectorTraining, Precision, StageConfig
from crossnets.training.detector_stage import Targets, detection_terms, nearest_depth, targets_of
from crossnets.training.devices import Machine
from crossnets.training.run import request_of
from crossnets.training.scenes import rendered_scenes, stream

SCENES = SyntheticScenes(presets.detector_scenes("realsense-sr300", 5))
INDICES = np.arange(48)


@pytest.fixture(scope="module")
def batch() -> SceneBatch:
    return SceneBatch(*(part.float() for part in rendered_scenes(SCENES, INDICES)))


def perfect(targets: Targets) -> Maps:
    """The maps of a network that has learned these by heart."""
    maps = targets.maps.numpy().copy()
    maps[:, 0] = np.where(maps[:, 0] >= 1, 8.0, 8.0 * maps[:, 0] - 6)
    maps[:, 4] = 10 * maps[:, 4] - 5
    return Maps(*np.moveaxis(maps, 1, 0))


def test_hands_come_back_out_of_their_targets(batch: SceneBatch) -> None:
    drawn, targets = SCENES.draw(INDICES), targets_of(batch)
    maps, hands = perfect(targets), 0
    for b, camera in enumerate(drawn.cameras):
        assert stride_of(camera) == 1  # an image that is thinned already
        alone = Maps(*(part[b : b + 1] for part in maps))
        found = decode(alone, batch.image[b : b + 1].numpy(), camera, 0.9)[0]
        present = [k for k in (0, 1) if drawn.state[b, k] == PRESENT]
        assert len(found) == len(present)
        for k in present:
            one = min(found, key=lambda d: np.linalg.norm(project(d.center_mm, camera) - drawn.uvd[b, k]))
            np.testing.assert_allclose(project(one.center_mm, camera), drawn.uvd[b, k], atol=0.6)
            assert (one.side_right > 0.5) == (drawn.side[b, k] > 0)
            assert one.length_mm == pytest.approx(drawn.length_mm[b, k], rel=1e-3)
            hands += 1
    assert hands > 20


def test_a_mirror_mirrors_the_targets(batch: SceneBatch) -> None:
    one, other = targets_of(batch), targets_of(batch.mirrored())
    flipped = other.maps.flip(-1)
    torch.testing.assert_close(flipped[:, 0], one.maps[:, 0], atol=1e-4, rtol=0)
    weight = one.weight
    torch.testing.assert_close(flipped[:, 1] * weight, -one.maps[:, 1] * weight, atol=1e-3, rtol=0)
    torch.testing.assert_close(flipped[:, 4] * weight, (1 - one.maps[:, 4]) * weight)
    for k in (2, 3, 5):
        torch.testing.assert_close(flipped[:, k] * weight, one.maps[:, k] * weight, atol=1e-3, rtol=0)
    again = batch.mirrored().mirrored()
    torch.testing.assert_close(again.uvd, batch.uvd)
    assert torch.equal(again.image, batch.image)


def test_depth_starts_where_the_decoder_starts(batch: SceneBatch) -> None:
    found = nearest_depth(batch.image[:2])
    for row, column in ((0, 0), (7, 20), (31, 39), (16, 3)):
        expected = nearest_around(batch.image[1, 0].numpy(), row, column)
        assert float(found[1, row, column]) == pytest.approx(expected, rel=1e-5)


def one_hand(state: int) -> SceneBatch:
    """At 600 mm, in the middle of a frame that shows nothing else."""
    return SceneBatch(
        torch.zeros(1, 2, 64, 64),
        torch.tensor([[[33.0, 30.0, 600.0], [0.0, 0.0, 1.0]]]),
        torch.tensor([[1.0, 1.0]]),
        torch.zeros(1, 2),
        torch.tensor([[float(state), 0.0]]),
        torch.tensor([118.0]),
    )


def test_nothing_is_asked_around_a_hand_that_is_hardly_seen() -> None:
    present, unclear = targets_of(one_hand(PRESENT)), targets_of(one_hand(UNCLEAR))
    assert int((present.maps[:, 0] >= 1).sum()) == 1
    assert bool(present.asked.all())
    assert not unclear.maps[:, 0].any()
    assert not unclear.weight.any()
    reach = 0.6 * 118 * LENGTH_MM / 600 / 4
    assert int((~unclear.asked).sum()) == pytest.approx(np.pi * reach**2, rel=0.2)


def test_a_hand_at_the_very_edge_has_a_cell() -> None:
    batch = one_hand(PRESENT)._replace(uvd=torch.tensor([[[63.8, 63.6, 600.0], [0.0, 0.0, 1.0]]]))
    for seen, cell in ((batch, [0, 15, 15]), (batch.mirrored(), [0, 15, 0])):
        targets = targets_of(seen)
        (found,) = (targets.maps[:, 0] >= 1).nonzero().tolist()
        assert found == cell
        _, row, column = found
        for k, axis in ((1, 0), (2, 1)):
            place = float(targets.maps[0, k, row, column]) + (column, row)[axis]
            assert 4 * place + 1.5 == pytest.approx(float(seen.uvd[0, 0, axis]), abs=1e-4)


def test_a_frame_without_hands_has_losses_too() -> None:
    targets = targets_of(one_hand(0))
    maps = torch.full((1, 6, 16, 16), -8.0, requires_grad=True)
    terms = detection_terms(maps, targets)
    assert float(terms["false"].detach()) < 1e-3
    assert all(float(terms[name].detach()) == 0 for name in terms if name != "false")
    wrong = detection_terms(torch.zeros(1, 6, 16, 16), targets)
    assert float(wrong["false"]) > 10


def test_the_best_maps_have_the_least_loss(batch: SceneBatch) -> None:
    targets = targets_of(batch)
    best = detection_terms(torch.from_numpy(np.stack(perfect(targets), axis=1)), targets)
    assert float(best["place"] + best["depth"] + best["length"]) < 1e-4
    assert float(best["found"]) < 0.01
    assert float(best["side"]) < 0.01


ALONE = Machine(device=torch.device("cpu"), workers=0)


def small(checkpoint_s: float = 0.0, steps: int = 4) -> DetectorTraining:
    whole = presets.detector(precision="32-true", checkpoint_s=checkpoint_s)
    stage = StageConfig(name="detect", batch=4, lr=1e-3, epochs=0, schedule="cosine", min_steps=steps)
    networks = DetectorNetConfig(widths=(8, 8, 8, 8), depths=(1, 1, 1))
    scenes = replace(whole.scenes, sources=whole.scenes.sources[:2])
    return replace(whole, stages=(stage,), networks=networks, scenes=scenes)


def test_a_stream_that_goes_on_gives_what_it_would_have_given() -> None:
    config = small().scenes
    with stream(config, 4, 0, 3, ALONE) as batches:
        whole = list(batches)
    with stream(config, 4, 1, 3, ALONE) as batches:
        rest = list(batches)
    for one, other in zip(whole[1:], rest, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(whole[0].image, whole[2].image)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_training_goes_on_where_it_stopped(
    precision: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, quiet = replace(small(), precision=precision), Console(quiet=True)
    whole = loop.train(config, None, tmp_path / "whole", request=request_of(config, {}), console=quiet, machine=ALONE)
    step, taken = loop._step, []

    def stopping(session: loop._Session, *rest: object) -> dict[str, torch.Tensor]:
        taken.append(1)
        if len(taken) == 2:
            session.stop.set()
        return step(session, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(loop, "_step", stopping)
    out = tmp_path / "parts"
    with pytest.raises(loop.TrainingStoppedError, match="after step 2"):
        loop.train(config, None, out, request=request_of(config, {}), console=quiet, machine=ALONE)
    resumed = loop.train(config, None, out, request=request_of(config, {}), console=quiet, machine=ALONE)
    one, other = (load_file(folder / "model" / "weights.safetensors") for folder in (tmp_path / "whole", out))
    assert all(torch.equal(one[name], other[name]) for name in one)
    images = np.zeros((1, 2, 32, 32), np.float32)
    np.testing.assert_array_equal(whole.maps(images), resumed.maps(images))
