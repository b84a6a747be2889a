"""A declared skeleton from the recording to the model, after its file is gone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crossnets.cli.evaluate import evaluate
from crossnets.cli.predict import predict_command
from crossnets.datasets.info import describe
from crossnets.datasets.packing import PackConfig, pack
from crossnets.datasets.recording import Recording, RecordingWriter
from crossnets.datasets.shards import Shards
from crossnets.evaluation.predictions import read_predictions
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import CVAR21, MSRA21, Skeleton, find_skeleton
from crossnets.inference import bundle
from crossnets.inference.estimator import CropEstimator, CropModel, Raw
from crossnets.models.networks import build, differ_in_joints_alone, rearranged
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.skeleton_maps import reference_frames, skeleton_maps
from crossnets.synth.writing import write_dataset
from crossnets.training import presets, real_frames
from crossnets.training.config import PaperConfig
from crossnets.training.session import train_command
from crossnets.weights import SHIPPED
from tests.datasets.make import hands
from tests.geometry.glove import GLOVE, glove

CAMERA = CAMERAS["msra-senz3d"]


def record(root: Path, skeleton: Skeleton, frames: int = 6) -> Path:
    """A recording of MSRA's hand, with the labels of the joints that the skeleton shares, and the wrist for others."""
    made = hands(MSRA21, CAMERA, frames, 400.0)
    with RecordingWriter(root, CAMERA, skeleton) as writer:
        for joints_mm, depth_mm in zip(made.joints_mm, made.depth_mm, strict=True):
            rows = [MSRA21.joints.index(place) if place in MSRA21.joints else 0 for place in skeleton.places]
            writer.add(depth_mm, joints_mm[rows] + np.arange(len(rows), dtype=np.float32)[:, None] / 8)
    return root


def train(data: Path, out: Path, init: Path | None = None, steps: int = 1) -> Path:
    def configure(skeleton: Skeleton) -> PaperConfig:
        whole = presets.paper(skeleton, precision="32-true", centers="label", shared_latent=False)
        stages = tuple(replace(stage, batch=2, epochs=0, min_steps=steps) for stage in whole.stages)
        return replace(whole, stages=stages)

    train_command(
        configure, data=str(data), unlabelled=(), labels="all", trust_labels=True, budget=None, init=init, out=out,
        threads=1,
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the skeleton is removed after the recording."""
    folder = tmp_path_factory.mktemp("own")
    path = folder / "glove.json"
    path.write_text(json.dumps(GLOVE))
    record(folder / "take", find_skeleton(str(path)))
    path.unlink()
    return folder / "take"


@pytest.fixture(scope="module")
def run(recorded: Path) -> Path:
    return train(recorded, recorded.parent / "run")


def test_a_recording_carries_the_declaration(recorded: Path) -> None:
    dataset = Recording(recorded)
    assert dataset.skeleton == glove()
    assert json.loads((recorded / "labels.jsonl").read_text().split("\n")[0]) == {"skeleton": GLOVE | glove().saved()}
    info = describe(str(recorded))
    assert (info.skeleton, info.joints, info.labelled) == ("glove", glove().joints, 6)
    assert not info.problems


def test_labels_may_name_a_file_beside_them(recorded: Path, tmp_path: Path) -> None:
    copied = record(tmp_path / "take", glove(), 1)
    (copied / "mine.json").write_text(json.dumps(GLOVE))
    lines = (copied / "labels.jsonl").read_text().split("\n")
    (copied / "labels.jsonl").write_text("\n".join(['{"skeleton": "mine.json"}', *lines[1:]]))
    assert Recording(copied).skeleton == glove()
    (copied / "mine.json").unlink()
    with pytest.raises(ValueError, match=r"labels\.jsonl:1: .* There is no skeleton file .*take/mine\.json"):
        Recording(copied)


def test_recordings_of_two_declarations_are_not_mixed(tmp_path: Path) -> None:
    record(tmp_path / "a", glove(), 1)
    record(tmp_path / "b", glove(4), 1)
    with pytest.raises(ValueError, match="labelled with different skeletons: glove, glove"):
        Recording(tmp_path)


def test_shards_carry_the_declaration(recorded: Path, tmp_path: Path) -> None:
    pack({"take": Recording(recorded)}, tmp_path / "packed", PackConfig(frames_per_shard=4))
    dataset = Shards(tmp_path / "packed")
    assert dataset.skeleton == glove()
    labelled = dataset[0].joints_mm
    assert labelled is not None
    assert labelled.shape == (5, 3)


def test_a_run_and_its_model_carry_the_declaration(run: Path, recorded: Path, tmp_path: Path) -> None:
    assert find_skeleton(json.loads((run / "config.json").read_text())["train"]["skeleton"]) == glove()
    model = bundle.load(run)
    assert model.skeleton == glove()
    predict_command(
        run, [str(recorded)], camera=None, out=tmp_path / "found", refinement="none", centers="image", split="test",
        draw=False,
    )  # fmt: skip
    found = read_predictions(tmp_path / "found" / "predictions.jsonl")
    assert found.skeleton == glove()
    assert found.frames[0].joints_mm is not None


def test_a_run_is_evaluated(run: Path, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(model=str(run), data=str(recorded), centers="label", out=tmp_path / "scores", json=True)
    scores = json.loads(capsys.readouterr().out)
    assert scores["frames"] == 6
    assert list(scores["per_joint_mm"]) == list(glove().joints)


def test_the_model_of_the_package_outputs_declared_joints(recorded: Path, tmp_path: Path) -> None:
    path = tmp_path / "four.json"
    path.write_text(json.dumps({**GLOVE, "joints": GLOVE["joints"][:4]}))

    def predicted(out: str, skeleton: str | None) -> np.ndarray:
        predict_command(
            SHIPPED, [str(recorded)], camera=None, out=tmp_path / out, refinement="none", centers="image", split="test",
            draw=False, first=1, skeleton=skeleton,
        )  # fmt: skip
        joints_mm = read_predictions(tmp_path / out / "predictions.jsonl").frames[0].joints_mm
        assert joints_mm is not None
        return joints_mm

    own = predicted("own", None)
    np.testing.assert_allclose(predicted("four", str(path)), own[[0, 5, 4, 8]], atol=2e-4)
    (tmp_path / "five.json").write_text(json.dumps(GLOVE))
    with pytest.raises(ValueError, match=r"cannot output the joints of glove\. It outputs those of msra21, "):
        predicted("five", str(tmp_path / "five.json"))


def test_a_model_of_the_preset_paper_outputs_another_order() -> None:
    reordered = find_skeleton({**GLOVE, "joints": [GLOVE["joints"][k] for k in (0, 1, 3, 2, 4)]})
    joints_mm = np.arange(15, dtype=np.float32).reshape(1, 5, 3)
    model = CropModel(preset="paper", skeleton=glove().saved())
    estimator = CropEstimator(model, lambda images: Raw(joints_mm)).speaking(reordered)
    assert estimator.skeleton == reordered
    found = estimator.spoken(joints_mm)
    np.testing.assert_array_equal(found, joints_mm[:, [0, 1, 3, 2, 4]])


def test_init_matches_joints_by_their_place(run: Path, tmp_path: Path) -> None:
    """The new skeleton has other names, another order and a joint that the model lacks."""
    data = record(tmp_path / "data", CVAR21, 3)
    started = train(data, tmp_path / "started", init=run, steps=1)
    assert bundle.load(started).skeleton == CVAR21
    given = load_file(run / "model" / "weights.safetensors")["head.top.0.bias"]
    taken = load_file(started / "model" / "weights.safetensors")["head.top.0.bias"]
    ours, theirs = CVAR21.shared_with(glove())
    assert len(ours) == 3
    rows = torch.tensor([[3 + 3 * a + k, 3 + 3 * b + k] for a, b in zip(ours, theirs, strict=True) for k in range(3)])
    # One step of the optimiser moves a weight by its learning rate.
    torch.testing.assert_close(taken[rows[:, 0]], given[rows[:, 1]], atol=2e-3, rtol=0)
    assert float(taken.abs().max()) > 0


@pytest.mark.parametrize("shared", [True, False])
def test_rearranged_weights_give_the_same_joints(shared: bool) -> None:
    config, other = (presets.paper_networks(joints, shared_latent=shared) for joints in (21, 9))
    assert differ_in_joints_alone(config, other)
    assert differ_in_joints_alone(config, presets.paper_networks(5, shared_latent=shared)) is not shared
    old = build(config, torch.Generator().manual_seed(1)).eval()
    new = build(other, torch.Generator().manual_seed(2)).eval()
    new.load_state_dict(rearranged(old.state_dict(), 9, (8, 0, 3), (20, 2, 5)))
    image = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        before, after = old(image), new(image)
    torch.testing.assert_close(after.t, before.t)
    torch.testing.assert_close(after.y[:, [8, 0, 3]], before.y[:, [20, 2, 5]])
    assert not after.y[:, [1, 2, 4, 5, 6, 7]].any()


def test_declared_joints_lie_at_their_standard_joints() -> None:
    frames = reference_frames()
    four = glove(4)
    np.testing.assert_allclose(joints(frames, four), joints(frames, MSRA21)[:, [0, 5, 4, 8]], atol=1e-9)
    with pytest.raises(ValueError, match="The joints strap of glove correspond to no standard joint"):
        joints(frames, glove())


def test_the_preset_crossnets_learns_declared_labels() -> None:
    maps = skeleton_maps(MSRA21)
    weights = real_frames.label_weights(glove(4), MSRA21, maps)
    np.testing.assert_array_equal(weights, np.eye(21)[[0, 5, 4, 8]])
    assert real_frames.sizes_of(np.asarray(joints(reference_frames(), glove(4)), np.float32)[:3], glove(4)).shape == (
        3,
    )
    with pytest.raises(ValueError, match="The labels of --data have the skeleton glove, which the network cannot say"):
        real_frames.label_weights(glove(), MSRA21, maps)


def test_rendered_hands_get_declared_labels(tmp_path: Path) -> None:
    path = tmp_path / "four.json"
    path.write_text(json.dumps({**GLOVE, "joints": GLOVE["joints"][:4]}))
    write_dataset("recording", 1, tmp_path / "take", skeleton=str(path), progress=False)
    write_dataset("recording", 1, tmp_path / "msra", progress=False)
    found, other = Recording(tmp_path / "take"), Recording(tmp_path / "msra")
    assert found.skeleton == glove(4)
    four, all_mm = found[0].joints_mm, other[0].joints_mm
    assert four is not None
    assert all_mm is not None
    np.testing.assert_allclose(four, all_mm[[0, 5, 4, 8]], atol=1e-3)
