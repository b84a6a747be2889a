"""The preset `crossnets` with real frames beside its rendered ones."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crossnets.datasets.cvar import CVAR
from crossnets.geometry.cube import CropViews, into_cubes, views_at
from crossnets.geometry.skeleton import CVAR21, ICVL16, MSRA21, SKELETONS, Skeleton
from crossnets.inference import bundle
from crossnets.inference.loading import candidates_of
from crossnets.inference.predict import predict_frames
from crossnets.models.networks import build
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.synth.stream import SyntheticConfig
from crossnets.tensors import RealBatch
from crossnets.training import loop, presets, real_frames, rendering
from crossnets.training.augment import RealConfig, RealCrops, RealHands
from crossnets.training.batches import Draw
from crossnets.training.config import CrossnetsConfig, DetectorTraining, RenderedConfig
from crossnets.training.crops import TrainingFrames
from crossnets.training.devices import Machine
from crossnets.training.estimator_stage import real_distances
from crossnets.training.make_stage import make_stage
from crossnets.training.session import train_command
from crossnets.types import Pinhole
from tests.datasets.make import hand_joints, make_cvar, make_recording

SOURCE = SyntheticConfig(camera="cvar-senz3d", seed=9, noise=(0.0, 0.0))
RENDERED = RenderedConfig(sources=(SOURCE,), kept_frames=16)
MAPS = skeleton_maps(MSRA21)
REAL = RealConfig(crops=3)
CAMERA = Pinhole(240.0, 200.0, 160.0, 120.0)


def settings(steps: int = 2) -> CrossnetsConfig:
    whole = presets.crossnets(precision="32-true", checkpoint_s=0.0)
    batches = {"pose_vae": 8, "estimate": 4, "draw": 4}
    stages = tuple(replace(s, batch=batches[s.name], epochs=0, min_steps=steps, log_every=1) for s in whole.stages)
    return replace(whole, stages=stages, rendered=RENDERED, real=REAL)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cvar(tmp_path_factory.mktemp("cvar"), {"P1": 1.0, "P4": 0.8}, frames=5).root


@pytest.fixture(scope="module")
def frames(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingFrames:
    return prepared(data, tmp_path_factory.mktemp("crops"))


def prepared(data: Path, cache: Path, labels: str = "40%") -> TrainingFrames:
    weights = real_frames.label_weights(CVAR21, MSRA21, MAPS)
    taught = real_frames.Labels(CVAR(data), labels, 1, REAL, weights)
    rendered = rendering.kept(RENDERED, MSRA21, cache)
    return real_frames.with_real_frames(rendered, taught, [], settings().crop, cache=cache, sources=("here",))


def train(
    out: Path,
    data: str | None,
    unlabelled: tuple[str, ...] = (),
    config: CrossnetsConfig | DetectorTraining | None = None,
) -> None:
    labels = "all" if data is None else "20%"
    train_command(
        config or settings(), data=data, unlabelled=unlabelled, labels=labels, budget=None, out=out, threads=None,
        machine=Machine(device=torch.device("cpu"), workers=0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real") / "run"
    train(out, f"cvar:{data}")
    return out


def lines_of(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in ("stage", "step", "losses")} for line in lines]


def draw(frames: TrainingFrames, step: int = 0, stage: str = "estimate", *, use_unlabelled: bool = True) -> Draw:
    config = next(s for s in settings().stages if s.name == stage)
    return Draw(frames, config, step, 7, torch.device("cpu"), use_unlabelled)


def test_real_crops_are_a_loss_of_their_own_and_the_run_says_what_they_are(run: Path, data: Path) -> None:
    lines = lines_of(run)
    assert list(dict.fromkeys(line["stage"] for line in lines)) == [s.name for s in presets.CROSSNETS_STAGES]
    of_estimate = [line["losses"] for line in lines if line["stage"] == "estimate"]
    assert all(set(losses) == {"joints", "votes", "spread", "side", "size", "real"} for losses in of_estimate)
    found = json.loads((run / "config.json").read_text())
    assert found["train"]["real"]["crops"] == 3
    frames = found["data"].pop("frames")
    assert [(entry["name"], entry["frames"]) for entry in frames] == [("cvar", len(CVAR(data)))]
    assert found["data"] == {"data": f"cvar:{data}", "unlabelled": [], "labels": "20%", "budget": None}
    assert not (run / "crops").exists()
    estimator = bundle.load(run).speaking(CVAR21)
    (found,) = predict_frames(
        estimator, [CVAR(data)[0]], candidates_of("label", estimator, skeleton=CVAR21), force=True
    )
    assert found.joints_mm is not None
    assert np.isfinite(found.joints_mm).all()


@pytest.mark.parametrize("stop_at", [3, 4, 6])
def test_a_training_goes_on_where_it_stopped(
    stop_at: int, data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, taken = loop._step, []

    def stopping(session: loop._Session, *rest: object) -> dict[str, float]:
        taken.append(1)
        if len(taken) == stop_at:
            session.stop.set()
        return step(session, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(loop, "_step", stopping)
    with pytest.raises(loop.TrainingStoppedError):
        train(tmp_path, f"cvar:{data}")
    monkeypatch.undo()
    train(tmp_path, f"cvar:{data}")
    assert lines_of(tmp_path) == lines_of(run)
    one, other = (load_file(folder / "model" / "weights.safetensors") for folder in (run, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_other_labels_are_another_run(run: Path, data: Path) -> None:
    with pytest.raises(ValueError, match=r"other settings \(data\.labels: '20%' there, 'all' asked\)"):
        train_command(
            settings(), data=f"cvar:{data}", unlabelled=(), labels="all", budget=None, out=run, threads=None
        )  # fmt: skip


def test_a_part_of_the_labels_teaches_and_every_real_frame_is_an_image(frames: TrainingFrames) -> None:
    assert frames.real is not None
    assert len(frames.real.patches) == 4  # 40 % of ten
    assert len(frames) == len(frames.labelled) == 16  # an epoch is the rendered hands
    np.testing.assert_array_equal(frames.unlabelled, np.arange(16, 26))
    assert len(frames.keys) == 26
    assert frames.keys[16].startswith("cvar/P1/")


def test_labels_of_patches_are_those_of_their_frames(data: Path, tmp_path: Path) -> None:
    found, whole = prepared(data, tmp_path, "all"), CVAR(data)
    assert found.real is not None
    patches = found.real.patches
    for row in range(10):
        frame = whole[row]
        np.testing.assert_array_equal(patches.joints_mm[row], frame.joints_mm)
        left, top, width, height = patches.boxes[row]
        part = frame.depth_mm[top : top + height, left : left + width]
        np.testing.assert_array_equal(patches.image(row)[0], part)  # whole millimetres
    assert patches.sizes[5] / patches.sizes[0] == pytest.approx(0.8, abs=1e-3)
    assert 0.7 < patches.sizes[0] < 1.4
    again = prepared(data, tmp_path, "30%")
    assert again.real is not None
    assert len(again.real.patches) == 3


def test_images_of_real_frames_are_their_crops(frames: TrainingFrames) -> None:
    assert frames.beside is not None
    rows = np.array([20, 3, 16, 25, 0])
    expected = [frames.beside[4], frames.images[3], frames.beside[0], frames.beside[9], frames.images[0]]
    np.testing.assert_array_equal(frames.crops(rows), np.stack(expected))
    assert (frames.beside < 1).any(axis=(1, 2)).all()


def test_unlabelled_frames_are_in_the_batches_of_the_gan(frames: TrainingFrames) -> None:
    assert frames.beside is not None
    real_ones = {image.tobytes() for image in frames.beside}
    seen = torch.cat([draw(frames, step, "draw").images() for step in range(7)])  # 28 of 26 in a round
    assert {image.numpy().tobytes() for image in seen[:26, 0]} >= real_ones
    batch = draw(frames, 0, "draw").paired()
    assert len(batch.image) == len(batch.unlabelled) == 4
    assert {image.numpy().tobytes() for image in batch.unlabelled[:, 0]} <= real_ones
    assert not {image.numpy().tobytes() for image in batch.image[:, 0]} & real_ones
    assert not len(draw(frames, 0, "draw", use_unlabelled=False).paired().unlabelled)


def same(a: RealBatch | None, b: RealBatch | None) -> bool:
    assert a is not None
    assert b is not None
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_real_crops_depend_on_seed_and_step_alone(frames: TrainingFrames) -> None:
    one = draw(frames, 3)
    assert same(one.real(), draw(frames, 3).real())
    assert not same(one.real(), draw(frames, 4).real())
    assert not same(one.real(), replace(one, seed=8).real())
    assert draw(replace(frames, real=None)).real() is None
    found = one.real()
    assert found is not None
    assert found.image.shape == (3, 1, 128, 128)
    assert found.joints.shape == (3, 21, 3)


def test_all_labelled_frames_take_their_turn(frames: TrainingFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    take = RealHands.draw

    def note(self: RealHands, rng: np.random.Generator, rows: np.ndarray) -> RealCrops:
        seen.extend(rows.tolist())
        return take(self, rng, rows)

    monkeypatch.setattr(RealHands, "draw", note)
    for step in range(4):
        draw(frames, step).real()
    assert sorted(seen) == sorted(3 * [0, 1, 2, 3])  # 12 crops of 4 frames


def batch_of(joints_mm: np.ndarray, label_mm: np.ndarray, weights: np.ndarray) -> tuple[torch.Tensor, RealBatch]:
    """A network's joints as it would say them in a crop, and the label beside it."""
    cube = np.array([260.0])
    views: CropViews = views_at([CAMERA], joints_mm.mean(axis=0)[None], cube)
    found = torch.from_numpy(into_cubes(joints_mm[None].astype(np.float64), views)).float()
    parts = (np.zeros((1, 1, 8, 8)), label_mm[None] / 130, views.focal_px, views.middle_px, views.center_mm / 130)
    return found, RealBatch(*(torch.from_numpy(np.asarray(p, np.float32)) for p in (*parts, weights)))


@pytest.mark.parametrize("skeleton", [MSRA21, CVAR21, ICVL16, SKELETONS["nyu14"]], ids=lambda s: s.name)
def test_the_label_of_a_real_crop_is_reached_through_the_map(skeleton: Skeleton) -> None:
    weights = real_frames.label_weights(skeleton, MSRA21, MAPS)
    own = hand_joints(MSRA21, (60.0, -40.0, 320.0)).astype(np.float64)
    label = weights @ own
    found, batch = batch_of(own, label, weights)
    assert float(real_distances(found, batch).max()) < 2e-4
    moved = label + np.array([0.0, 13.0, 0.0])
    found, batch = batch_of(own, moved, weights)
    torch.testing.assert_close(real_distances(found, batch), torch.full((1, len(skeleton)), 0.1), atol=1e-3, rtol=0)


def test_the_loss_of_real_crops_is_float32_in_a_mixed_step() -> None:
    weights = real_frames.label_weights(CVAR21, MSRA21, MAPS)
    own = hand_joints(MSRA21, (10.0, 30.0, 700.0)).astype(np.float64)
    found, batch = batch_of(own, weights @ own, weights)
    with torch.autocast("cpu", torch.bfloat16):
        assert float(real_distances(found, batch).max()) < 5e-4


def test_an_estimator_learns_real_labels_by_heart(frames: TrainingFrames) -> None:
    config = settings()
    nets = build(config.networks, torch.Generator().manual_seed(0))
    stage = make_stage(nets, replace(config.stages[1], lr=3e-3), config.terms)
    hands = rendering.renderings(RENDERED, 4)
    batch = hands[0]
    batch = type(batch)(*(part.float() for part in batch))
    errors = []
    for _ in range(40):
        one = replace(draw(frames, 0), stream=iter([batch]))  # the same crops again and again
        errors.append(float(stage.step(one, torch.Generator())["real"].detach()))
    assert errors[-1] < 0.5 * errors[0]


def test_a_skeleton_without_a_map_is_refused() -> None:
    stick = Skeleton("stick2", ("wrist", "tip"), (-1, 0), reference=0, center=0)
    known = "msra21, nyu36, nyu14, icvl16, cvar21"
    with pytest.raises(ValueError, match=f"skeleton stick2, which the network cannot say. It knows {known}."):
        real_frames.label_weights(stick, MSRA21, MAPS)


def test_sizes_are_those_of_hands() -> None:
    rendered = hand_joints(CVAR21)[None]
    one, other, huge = (real_frames.sizes_of(scale * rendered, CVAR21)[0] for scale in (1.0, 0.7, 30.0))
    assert other == pytest.approx(0.7 * one, rel=1e-4)
    assert huge == 2.0


def test_unlabelled_frames_alone_need_no_data(data: Path, tmp_path: Path) -> None:
    config = replace(settings(1), stages=settings(1).stages[2:3])
    train(tmp_path, None, (f"cvar:{data}",), config)
    found = json.loads((tmp_path / "config.json").read_text())
    assert found["train"]["real"] is None
    assert [line["stage"] for line in lines_of(tmp_path)] == ["draw"]


def test_data_without_labels_is_refused(tmp_path: Path) -> None:
    root = make_recording(tmp_path / "data", 3, None).root
    with pytest.raises(ValueError, match=r"has no labels, so nothing can be learned from it\. Give it as --unl"):
        train(tmp_path / "run", str(root))


def test_a_preset_that_takes_no_frames_says_so(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="The preset detector trains on rendered frames alone"):
        train(tmp_path / "run", f"cvar:{data}", (), presets.detector(precision="32-true"))


def test_no_threads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--threads 0: expected 1 or more"):
        train_command(settings(), data=None, unlabelled=(), labels="all", budget=None, out=tmp_path, threads=0)


def test_real_crops_are_cut_as_rendered_ones() -> None:
    whole = presets.crossnets()
    assert whole.real is None
    found = real_frames.real_config(whole.rendered, whole.crop)
    assert (found.cube_mm, found.center_spread_mm, found.first_mm) == ((190.0, 290.0), 10.0, 250.0)


@pytest.mark.real
def test_cvar(real_data: Path, tmp_path: Path) -> None:
    """Labels of changed crops lie in them, and on what they show about as often as in the frames."""
    labelled = CVAR(real_data / "cvar", ("P4", "P5"))
    weights = real_frames.label_weights(CVAR21, MSRA21, MAPS)
    taught = real_frames.Labels(labelled, "64", 1, RealConfig(crops=64), weights)
    rendered = rendering.kept(RENDERED, MSRA21, tmp_path)
    found = real_frames.with_real_frames(rendered, taught, [], settings().crop, cache=tmp_path, sources=("here",))
    batch = draw(found).real()
    assert batch is not None
    uv = batch.joints[..., :2] / batch.joints[..., 2:] * batch.focal[:, None] + batch.middle[:, None]
    depth = batch.joints[..., 2] - batch.depth[:, None]
    inside = (uv.abs() < 1).all(-1) & (depth.abs() < 1)
    assert inside.float().mean() > 0.97
    column, row = ((uv + 1) * 64 - 0.5).round().long().clamp(0, 127).unbind(-1)
    shown = batch.image[:, 0][torch.arange(64)[:, None], row, column]
    assert (shown < 1)[inside].float().mean() > 0.9
