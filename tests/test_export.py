"""Exported networks say what torch says, in every runtime that is installed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from crossnets import presets
from crossnets.data.synthetic import SyntheticConfig, SyntheticHands
from crossnets.export import to_onnx
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.skeleton import CVAR21, MSRA21
from crossnets.models.estimator import Estimator, EstimatorConfig
from crossnets.models.networks import NetworksConfig, build
from crossnets.render.skeleton_maps import skeleton_maps
from crossnets.runtime.description import KEY, from_text, to_text
from crossnets.runtime.engines import Runtime, load_exported
from crossnets.types import HandCrop

onnx = pytest.importorskip("onnx", reason="export needs crossnets[export]")
PRESETS = ("crossnets", "paper")


def estimator(preset: str) -> Estimator:
    """With weights that no layer leaves as they were."""
    ours = preset == "crossnets"
    networks: NetworksConfig = presets.crossnets_networks() if ours else presets.paper_networks(21)
    config = EstimatorConfig(
        preset=preset,
        skeleton="msra21",
        networks=networks,
        normalisation="metric" if ours else "per-frame",
        looks=2 if ours else 1,
    )
    built = build(networks, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in built.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=generator)
            elif name.endswith("running_mean") or name.endswith("bias"):
                value.normal_(0, 0.1, generator=generator)
    return Estimator(config, built, skeleton_maps(MSRA21) if ours else None)


def crops(count: int = 3) -> list[HandCrop]:
    hands = SyntheticHands(SyntheticConfig(seed=8))
    frames = [hands.frame(k) for k in range(count)]
    return [crop_hand(f.depth_mm, f.camera, f.joints_mm.mean(0), 250.0) for f in frames if f.joints_mm is not None]


@pytest.fixture(scope="module", params=PRESETS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Estimator, Path]:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    whole = estimator(request.param)
    to_onnx(whole, path)
    return whole, path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_every_runtime_agrees_with_torch(exported: tuple[Estimator, Path], runtime: Runtime) -> None:
    pytest.importorskip(runtime)
    whole, path = exported
    loaded = load_exported(path, runtime)
    assert loaded.model.looks == whole.config.looks
    for some in (crops(3), crops(1)):
        found, expected = loaded.estimate(some), whole.estimate(some)
        np.testing.assert_allclose(found.joints_mm, expected.joints_mm, atol=0.01)
        for a, b in zip(found[1:], expected[1:], strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                np.testing.assert_allclose(a, b, rtol=1e-3)
    if whole.maps:
        spoken = loaded.speaking(CVAR21).estimate(crops()).joints_mm
        np.testing.assert_allclose(spoken, whole.speaking(CVAR21).estimate(crops()).joints_mm, atol=0.01)


def test_the_description_goes_there_and_back(exported: tuple[Estimator, Path]) -> None:
    whole, path = exported
    (text,) = (entry.value for entry in onnx.load(path).metadata_props if entry.key == KEY)
    model, maps = from_text(text, "file")
    assert (model.preset, model.skeleton, model.cube_mm) == (whole.config.preset, "msra21", 250)
    assert set(maps) == set(whole.maps)


def test_files_of_others_are_refused(exported: tuple[Estimator, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    whole, path = exported
    with pytest.raises(FileNotFoundError, match="no exported network"):
        load_exported(tmp_path / "none.onnx", "onnxruntime")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ValueError, match="not a network that ONNX Runtime can read"):
        load_exported(tmp_path / "text.onnx", "onnxruntime")
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    with pytest.raises(ValueError, match=r"bare\.onnx was not made by `crossnets export`.*carries no description"):
        load_exported(tmp_path / "bare.onnx", "onnxruntime")
    other = json.loads(to_text(whole.model, {})) | {"version": 99}
    with pytest.raises(ValueError, match="version 99"):
        from_text(json.dumps(other), "file")
    with pytest.raises(ValueError, match="bfloat16 needs runtime='openvino'"):
        load_exported(path, "onnxruntime", precision="bfloat16")
