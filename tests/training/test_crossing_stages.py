"""The preset `crossing`: its frames, its stages and its model."""

import json
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from crossnets.datasets.opening import open_dataset
from crossnets.geometry.skeleton import CVAR21
from crossnets.inference import bundle
from crossnets.inference.loading import estimator_for
from crossnets.latent.mappings import walk
from crossnets.models.dense_crossing import DenseCrossing, DenseCrossingConfig
from crossnets.models.networks import build, config_from
from crossnets.training import loop, presets
from crossnets.training.augment import Changes
from crossnets.training.batches import Draw
from crossnets.training.config import CrossingConfig, CrossingTerms
from crossnets.training.crops import TrainingFrames
from crossnets.training.crossing_frames import crossing_frames
from crossnets.training.crossing_stages import CrossingStage
from crossnets.training.real_frames import labelled_batch, view_pairs
from crossnets.training.run import request_of
from crossnets.training.session import train_command
from tests import commands
from tests.datasets.make import make_cvar

STEPS = {"pose_vae": 20, "warm_up": 3, "joint": 4}
CPU = torch.device("cpu")


def settings(terms: CrossingTerms | None = None) -> CrossingConfig:
    whole = presets.crossing(CVAR21, terms=terms or CrossingTerms(), precision="32-true", checkpoint_s=0.0)
    stages = tuple(replace(s, batch=4, epochs=0, min_steps=STEPS[s.name], log_every=1) for s in whole.stages)
    return replace(whole, stages=stages)


def prepared(data: Path, cache: Path, config: CrossingConfig, labels: str = "4") -> TrainingFrames:
    dataset = open_dataset(f"cvar:{data}")
    return crossing_frames(dataset, [], config, labels=labels, cache=cache, sources=(f"cvar:{data}",))


def train(data: Path, out: Path) -> None:
    config = settings()
    frames = prepared(data, out / "crops", config)
    loop.train(config, frames, out, request=request_of(config, {"labels": "4"}), console=Console(quiet=True))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cvar(tmp_path_factory.mktemp("cvar"), {"P1": 1.0, "P4": 0.8}, frames=4).root


@pytest.fixture(scope="module")
def frames(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingFrames:
    return prepared(data, tmp_path_factory.mktemp("crops"), settings())


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert start_training(data, out).wait().returncode == 0
    return out


def start_training(data: Path, out: Path) -> commands.Started:
    return commands.start(str(data), str(out), program="tests.training.test_crossing_stages")


def losses_of(run: Path) -> list[tuple[str, int, dict[str, float]]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(line["stage"], line["step"], line["losses"]) for line in lines]


def draw_of(frames: TrainingFrames, config: CrossingConfig, stage: str, step: int = 0) -> Draw:
    chosen = next(s for s in config.stages if s.name == stage)
    return Draw(frames, chosen, step, 5, CPU, config.terms.unlabelled)


def networks() -> DenseCrossing:
    nets = build(settings().networks, torch.Generator().manual_seed(1))
    assert isinstance(nets, DenseCrossing)
    return nets


def step(nets: DenseCrossing, frames: TrainingFrames, config: CrossingConfig, stage: str, number: int = 0) -> set[str]:
    draw = draw_of(frames, config, stage, number)
    losses = CrossingStage(nets, draw.stage, config.terms).step(draw, torch.Generator().manual_seed(2))
    assert all(value.isfinite() for value in losses.values())
    return set(losses)


def test_joints_of_one_view_are_those_of_the_other(frames: TrainingFrames) -> None:
    """A label as the teacher would see it in a frame is the label in the changed crop."""
    hands = frames.real
    assert hands is not None
    rows = np.arange(4)
    changes = hands.changes(np.random.default_rng(0), rows)
    labelled = labelled_batch(hands, rows, changes, CPU)
    # The same frames as unlabelled ones, whose centre is the mean of the joints.
    joints_mm = hands.patches.joints_mm
    centred = replace(hands, patches=replace(hands.patches, joints_mm=joints_mm.mean(axis=1, keepdims=True)))
    pairs = view_pairs(centred, rows, changes, 250.0, CPU)
    torch.testing.assert_close(pairs.changed_image, labelled.image)
    seen = pairs.view.into(torch.from_numpy(joints_mm[rows]))
    torch.testing.assert_close(pairs.changed(seen), labelled.joints, atol=1e-4, rtol=0)


def test_mirrored_hands_are_left_hands(frames: TrainingFrames) -> None:
    hands = frames.real
    assert hands is not None
    turns = np.stack([np.eye(2), np.diag([-1.0, 1.0])])
    centers = hands.patches.joints_mm[[0, 0]].mean(axis=1, dtype=np.float64)
    centers[1, 0] *= -1
    batch = labelled_batch(hands, np.array([0, 0]), Changes(turns, centers, np.full(2, 250.0)), CPU)
    assert batch.side.tolist() == [1.0, -1.0]
    # Cubes are cut in whole pixels of the image, one of which is 0.05 here.
    torch.testing.assert_close(batch.joints[1], batch.joints[0] * torch.tensor([-1.0, 1.0, 1.0]), atol=0.05, rtol=0)


def test_crops_of_several_data_sets_are_of_the_right_frames(data: Path, tmp_path: Path) -> None:
    """The first data set has one frame, so that the numbers of the second one's frames go on from it."""
    config = settings()
    one, other = (open_dataset(f"cvar:{data}#{name}") for name in ("P1", "P4"))
    frames = crossing_frames(one, [other], config, labels="1", cache=tmp_path, sources=("a", "b"))
    assert frames.others is not None
    assert len(frames.others.patches) == len(one) + len(other) - 1
    for row, key in enumerate(np.array(frames.keys)[frames.unlabelled].tolist()):
        dataset = other if "P4" in key else one
        index = next(number for number in range(len(dataset)) if dataset[number].key == key)
        image, camera = frames.others.patches.image(row)
        left, top = (int(v) for v in frames.others.patches.boxes[row, :2])
        source = dataset[index]
        part = source.depth_mm[top : top + image.shape[0], left : left + image.shape[1]]
        near = image > 0
        assert near.any()
        np.testing.assert_allclose(image[near], part[near], atol=0.07)
        assert camera.cx_px == pytest.approx(source.camera.cx_px - left)


def test_the_warm_up_has_labelled_frames_alone(frames: TrainingFrames) -> None:
    config = settings()
    assert step(networks(), frames, config, "warm_up") == {
        "joints", "votes", "spread", "side", "size", "g_reconstruction"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("terms", "missing"),
    [
        (CrossingTerms(), set[str]()),
        (CrossingTerms(unlabelled=False), {"unlabelled"}),
        (CrossingTerms(synthesised=False), {"synthesised"}),
        (CrossingTerms(adversarial=False), {"g_adversarial", "d_real", "d_generated"}),
    ],
)
def test_an_ablation_leaves_the_other_terms(frames: TrainingFrames, terms: CrossingTerms, missing: set[str]) -> None:
    config = settings(terms)
    found = set.union(*(step(networks(), frames, config, "joint", number) for number in (0, 1)))
    everything = {
        "joints", "votes", "spread", "side", "size", "unlabelled", "synthesised",
        "g_reconstruction", "g_adversarial", "d_real", "d_generated",
    }  # fmt: skip
    assert found == everything - missing


def test_generator_and_discriminator_take_turns(frames: TrainingFrames) -> None:
    for number, learns, rests in ((0, "gen", "dis"), (1, "dis", "gen")):
        nets = networks()
        before = {name: value.detach().clone() for name, value in nets.named_parameters()}
        step(nets, frames, settings(), "joint", number)
        changed = {
            name.split(".")[0] for name, value in nets.named_parameters() if not torch.equal(value, before[name])
        }
        assert {learns, "dense", "teacher"} <= changed
        assert rests not in changed
        assert "vae" not in changed


def test_the_estimator_learns_nothing_from_a_teacher_s_gradient(frames: TrainingFrames) -> None:
    nets = networks()
    step(nets, frames, settings(), "joint")
    assert nets.teacher is not None
    assert all(parameter.grad is None for parameter in nets.teacher.parameters())
    assert all(parameter.grad is None for parameter in nets.vae.parameters())


def test_without_augmentation_crops_are_as_they_are(data: Path, tmp_path: Path) -> None:
    config = settings(CrossingTerms(augmentation=False))
    frames = prepared(data, tmp_path, config)
    hands = frames.real
    assert hands is not None
    changes = hands.changes(np.random.default_rng(0), np.arange(4))
    assert np.array_equal(changes.turn, np.tile(np.eye(2), (4, 1, 1)))
    middle = hands.patches.joints_mm.mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(changes.centers_mm, middle, atol=1e-3)


def test_sampled_poses_are_half_of_the_vae_s(data: Path, tmp_path: Path) -> None:
    """Poses of four labels lie in few directions, whatever their turn; sampled hands do not."""
    kept = {}
    for name, sampled in (("both", True), ("labels", False)):
        config = settings(CrossingTerms(sampled_poses=sampled))
        poses = prepared(data, tmp_path / name, config).poses
        assert poses is not None
        assert poses.y.shape == (8192, 21, 3)
        assert not poses.y[:, CVAR21.reference].any()
        lengths = np.linalg.norm(poses.y[:, 1] - poses.y[:, 2], axis=-1) / np.linalg.norm(poses.y, axis=(1, 2))
        kept[name] = len(np.unique(lengths.round(5)))
    assert kept["labels"] <= 100
    assert kept["both"] > 1000


def test_a_killed_training_goes_on_as_if_it_had_not_been(data: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start_training(data, out)
    deadline = time.monotonic() + 200
    while not (out / "log.jsonl").is_file() or '"stage": "joint"' not in (out / "log.jsonl").read_text():
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait().returncode == -signal.SIGKILL
    assert start_training(data, out).wait().returncode == 0
    assert losses_of(out) == losses_of(whole)
    killed, straight = (load_file(run / "model" / "weights.safetensors") for run in (out, whole))
    assert all(torch.equal(killed[name], straight[name]) for name in straight)
    assert not (out / "crops").exists()


def test_a_model_predicts_draws_and_refuses_to_refine(data: Path, whole: Path) -> None:
    estimator = bundle.load(whole)
    assert isinstance(estimator.networks, DenseCrossing)
    assert estimator.model.passes == 2
    assert estimator.config.networks == settings().networks
    nets = estimator.latent_networks()
    z = torch.zeros(2, estimator.networks.config.latent_dim)
    path = walk(nets, z[0], z[1] + 1, 3)
    assert path.depth.shape == (3, 128, 128)
    assert path.pose.y.shape == (3, 21, 3)
    with pytest.raises(ValueError, match="A model of the preset crossing has no metric head"):
        estimator_for(whole, "update")


def test_a_latent_gives_back_its_pose(whole: Path) -> None:
    """The pose VAE is hardly trained here, so only the offset returns exactly."""
    nets = bundle.load(whole).networks
    assert isinstance(nets, DenseCrossing)
    joints = torch.rand(2, 21, 3) - 0.5
    z = nets.encode_pose(nets.pose(joints))
    returned = nets.joints(nets.decode_pose(z))
    reference = CVAR21.reference
    torch.testing.assert_close(nets.decode_pose(z).t, nets.pose(joints).t)
    assert returned.shape == joints.shape
    assert (returned[:, reference] - joints[:, reference]).abs().max() < 0.5


def test_configurations_that_do_not_fit_are_refused() -> None:
    good = settings().networks
    assert config_from(json.loads(json.dumps(fields_of(good)))) == good
    with pytest.raises(ValueError, match="expected the same joints"):
        replace(good, pose_vae=replace(good.pose_vae, num_joints=20))
    with pytest.raises(ValueError, match="between joints below 21"):
        replace(good, bones=((0, 21),))


def fields_of(config: DenseCrossingConfig) -> dict[str, object]:
    return asdict(config)


def test_the_command_trains_validates_and_finishes(data: Path, tmp_path: Path) -> None:
    train_command(
        lambda skeleton: replace(settings(), skeleton=skeleton.saved()), data=f"cvar:{data}", unlabelled=(),
        labels="3", trust_labels=True, validation="50%", budget=None, out=tmp_path / "run", threads=None,
    )  # fmt: skip
    assert bundle.load(tmp_path / "run").skeleton == CVAR21


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]))
