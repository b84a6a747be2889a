import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossnets.geometry.crop import crop_hand
from crossnets.geometry.skeleton import ICVL16
from crossnets.inference import bundle
from crossnets.inference.torch_models import Estimator, EstimatorConfig
from crossnets.models.blocks import BatchNorm2d
from crossnets.models.depth_gan import MetricKind
from crossnets.models.networks import build
from crossnets.training import presets
from crossnets.types import HandCrop, Pinhole


def make_estimator(metric: MetricKind = "separate", *, shared_latent: bool = True, seed: int = 1) -> Estimator:
    """Settings other than the defaults, and running averages other than the start."""
    networks = build(
        presets.paper_networks(len(ICVL16), metric, shared_latent=shared_latent), torch.Generator().manual_seed(seed)
    )
    for layer in networks.modules():
        if isinstance(layer, BatchNorm2d):
            assert layer.running_mean is not None
            layer.running_mean += 0.1 * seed
    config = EstimatorConfig(
        preset="paper",
        skeleton="icvl16",
        networks=networks.config,
        cube_mm=230.0,
        normalisation="metric",
        centers="image-paper",
    )
    return Estimator(config, networks)


def make_crops() -> list[HandCrop]:
    depth_mm = np.random.default_rng(0).uniform(350, 450, (240, 320)).astype(np.float32)
    camera = Pinhole(241.42, 241.42, 160.0, 120.0)
    centers = np.array([[0.0, 0.0, 400.0], [30.0, -10.0, 420.0]])
    return [crop_hand(depth_mm, camera, center, 230.0) for center in centers]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle.save(make_estimator(), tmp_path / "model")
    return tmp_path / "model"


def edit(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


@pytest.mark.parametrize(("metric", "shared_latent"), [("separate", True), ("combined", True), ("separate", False)])
def test_a_loaded_model_predicts_the_same(metric: MetricKind, shared_latent: bool, tmp_path: Path) -> None:
    estimator = make_estimator(metric, shared_latent=shared_latent)
    bundle.save(estimator, tmp_path)
    loaded = bundle.load(tmp_path)
    assert loaded.config == estimator.config
    assert not loaded.networks.training
    np.testing.assert_array_equal(loaded.joints_mm(make_crops()), estimator.joints_mm(make_crops()))
    before, after = estimator.networks.state_dict(), loaded.networks.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@torch.no_grad()
def test_joints_are_the_pose_in_millimetres_about_the_centre_of_the_crop() -> None:
    """50 (y + t) + c (spec 5)."""
    estimator, crops = make_estimator(), make_crops()
    pose = estimator.networks(estimator.images(crops))
    expected = 50 * (pose.y + pose.t[:, None]).numpy() + np.stack([crop.center_mm for crop in crops])[:, None]
    np.testing.assert_allclose(estimator.joints_mm(crops), expected, atol=1e-3)


def test_two_files_are_written_without_pickle(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"config.json", "weights.safetensors"}
    assert not any(b"torch" in path.read_bytes() for path in folder.iterdir())


def test_loading_never_unpickles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("unpickled")

    for name in ("torch.load", "pickle.load", "pickle.loads", "pickle.Unpickler"):
        monkeypatch.setattr(name, refuse)
    assert bundle.load(folder).skeleton is ICVL16


def test_saving_again_replaces(folder: Path) -> None:
    other = make_estimator(seed=2)
    bundle.save(other, folder)
    np.testing.assert_array_equal(bundle.load(folder).joints_mm(make_crops()), other.joints_mm(make_crops()))
    assert len(list(folder.iterdir())) == 2


def test_a_run_folder_leads_to_its_model(folder: Path) -> None:
    (folder.parent / "config.json").write_text("{}")  # the run's own
    assert bundle.load(folder.parent).config == make_estimator().config


@pytest.mark.parametrize("missing", ["config.json", "weights.safetensors"])
def test_a_missing_file_is_named(missing: str, folder: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"No model at .*{missing} is missing. Give a run folder"):
        bundle.load(folder if missing == "config.json" else folder.parent)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No model at"):
        bundle.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"format": "onnx"}, "its format is 'onnx' version 1, not 'crossnets-bundle' version 1"),
        ({"version": 2}, "its format is 'crossnets-bundle' version 2, not"),
        ({"format": None}, "its format is None"),
        ({"skeleton": "octopus"}, "Unknown skeleton 'octopus'. Known: nyu36"),
        ({"skeleton": "cvar21"}, "The networks have 16 joints, but the skeleton cvar21 has 21"),
        ({"networks": {}}, "pose_vae"),
        ({"networks": None}, "is not a model description"),
        ({"learning_rate": 1}, "learning_rate"),
    ],
)
def test_a_description_of_another_version_raises(fields: dict[str, Any], found: str, folder: Path) -> None:
    edit(folder, **fields)
    with pytest.raises(ValueError, match=r"config\.json is not a model description of this version") as error:
        bundle.load(folder)
    assert found in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null"])
def test_a_damaged_description_raises(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is not a model description of this version"):
        bundle.load(folder)


def test_networks_that_cannot_be_built_raise(folder: Path) -> None:
    networks = json.loads((folder / "config.json").read_text())["networks"]
    edit(folder, networks=networks | {"pose_vae": networks["pose_vae"] | {"hidden_dim": -3}})
    with pytest.raises(ValueError, match=r"config\.json describes networks of sizes that cannot be built: .* written"):
        bundle.load(folder)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_weights_raise(kept: int, folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"weights\.safetensors does not contain the networks"):
        bundle.load(folder)


@pytest.mark.parametrize(
    "other", [make_estimator(shared_latent=False), make_estimator("combined")], ids=["baseline", "combined"]
)
def test_weights_of_other_networks_raise(other: Estimator, folder: Path, tmp_path: Path) -> None:
    bundle.save(other, tmp_path / "other")
    (tmp_path / "other" / "weights.safetensors").replace(folder / "weights.safetensors")
    expected = (
        r"weights.safetensors does not contain the networks that .*config.json describes \(preset paper, icvl16\)"
    )
    with pytest.raises(ValueError, match=expected):
        bundle.load(folder)


def test_a_failed_save_leaves_the_model_that_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(weights: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    before = (folder / "weights.safetensors").read_bytes()
    monkeypatch.setattr(bundle, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        bundle.save(make_estimator(seed=2), folder)
    assert (folder / "weights.safetensors").read_bytes() == before
    assert len(list(folder.iterdir())) == 2


def test_the_baseline_refuses_refinement() -> None:
    estimator = make_estimator(shared_latent=False)
    with pytest.raises(ValueError, match="without the shared latent space"):
        estimator.joints_mm(make_crops(), "update")


def test_the_crop_of_the_description_is_used() -> None:
    estimator = make_estimator()
    per_frame = Estimator(replace(estimator.config, normalisation="per-frame"), estimator.networks)
    assert not np.array_equal(estimator.images(make_crops()), per_frame.images(make_crops()))
