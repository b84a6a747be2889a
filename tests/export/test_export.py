"""Exported networks agree with torch in every installed runtime."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossnets.export import exporting
from crossnets.export.exporting import export_command
from crossnets.export.int8 import to_int8
from crossnets.export.networks import to_onnx, to_openvino
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.skeleton import CVAR21, MSRA21
from crossnets.inference import bundle, loading
from crossnets.inference.description import KEY, from_text, to_text
from crossnets.inference.engines import Runtime, check_settings, load_exported
from crossnets.inference.estimator import CropEstimator, CropModel, Raw
from crossnets.inference.loading import candidates_of, open_estimator
from crossnets.inference.torch_models import Estimator, EstimatorConfig
from crossnets.models.dense_crossing import DenseCrossingConfig
from crossnets.models.networks import NetworksConfig, build
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.training import presets
from crossnets.types import HandCrop
from tests.datasets.make import make_recording
from tests.loading import module_at

onnx = pytest.importorskip("onnx", reason="export needs crossnets[export]")
PRESETS = ("crossnets", "paper")


def estimator(preset: str, small: bool = False) -> Estimator:
    """With weights that no layer leaves as they were."""
    ours = preset == "crossnets"
    networks: NetworksConfig = presets.crossnets_networks() if ours else presets.paper_networks(21)
    if small:
        assert isinstance(networks, DenseCrossingConfig)
        networks = replace(networks, dense=replace(networks.dense, widths=(4, 6, 8, 8), depths=(1, 1, 1, 1)))
    config = EstimatorConfig(
        preset=preset,
        skeleton="msra21",
        networks=networks,
        normalisation="metric" if ours else "per-frame",
        passes=2 if ours else 1,
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
    assert loaded.model.passes == whole.config.passes
    for some in (crops(3), crops(1)):
        found, expected = loaded.estimate(some), whole.estimate(some)
        np.testing.assert_allclose(found.joints_mm, expected.joints_mm, atol=0.01)
        for a, b in zip(found[1:], expected[1:], strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                np.testing.assert_allclose(a, b, rtol=1e-3)
    images = whole.arrays(crops(2))
    first = loaded.run(images[:1])
    kept = first.joints.copy()
    assert not np.array_equal(loaded.run(images[1:]).joints, kept)
    np.testing.assert_array_equal(first.joints, kept, "the next call does not change earlier results")
    if whole.maps:
        spoken = loaded.speaking(CVAR21).estimate(crops()).joints_mm
        np.testing.assert_allclose(spoken, whole.speaking(CVAR21).estimate(crops()).joints_mm, atol=0.01)


def test_the_description_goes_there_and_back(exported: tuple[Estimator, Path]) -> None:
    whole, path = exported
    (text,) = (entry.value for entry in onnx.load(path).metadata_props if entry.key == KEY)
    model, maps = from_text(text, "file")
    assert (model.preset, model.skeleton, model.cube_mm) == (whole.config.preset, "msra21", 250)
    assert set(maps) == set(whole.maps)


def test_files_of_other_programs_raise(exported: tuple[Estimator, Path], tmp_path: Path) -> None:
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
    with pytest.raises(ValueError, match=r"bare\.onnx was not made by `crossnets export`.*it has no description"):
        load_exported(tmp_path / "bare.onnx", "onnxruntime")
    other = json.loads(to_text(whole.model, {})) | {"version": 99}
    with pytest.raises(ValueError, match="version 99"):
        from_text(json.dumps(other), "file")
    with pytest.raises(ValueError, match="bfloat16 needs runtime='openvino'"):
        load_exported(path, "onnxruntime", precision="bfloat16")


def test_files_of_openvino_agree(exported: tuple[Estimator, Path], tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    whole, path = exported
    folder = tmp_path / "new"
    to_openvino(path, folder / "model.xml")
    assert sorted(file.name for file in folder.iterdir()) == ["model.bin", "model.xml"]
    found = load_exported(folder / "model.xml", "openvino").estimate(crops())
    np.testing.assert_allclose(found.joints_mm, whole.estimate(crops()).joints_mm, atol=0.01)


def test_inner_convolutions_are_integers_and_votes_are_floats(exported: tuple[Estimator, Path], tmp_path: Path) -> None:
    whole, path = exported
    if whole.config.preset != "crossnets":
        pytest.skip("one preset is enough")
    small = tmp_path / "small.onnx"
    to_int8(path, small, whole.arrays(crops(12)))
    assert small.stat().st_size < 0.6 * path.stat().st_size
    graph = onnx.load(small).graph
    dequantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    in_integers = [node.input[1] in dequantised for node in convolutions]
    assert sum(in_integers) >= 24
    assert not any(in_integers[:2])
    channels = {weights.name: weights.dims[0] for weights in graph.initializer if len(weights.dims) == 4}
    floats = [channels[node.input[1]] for node in convolutions if node.input[1] in channels]
    assert 5 * 21 in floats, "the votes"
    found = load_exported(small, "onnxruntime").estimate(crops()).joints_mm
    apart = np.linalg.norm(found - whole.estimate(crops()).joints_mm, axis=-1)
    assert 0 < apart.mean() < 5


def test_the_paper_s_first_convolutions_stay_floats_too(exported: tuple[Estimator, Path], tmp_path: Path) -> None:
    whole, path = exported
    if whole.config.preset != "paper":
        pytest.skip("the other preset has a test of its own")
    small = tmp_path / "small.onnx"
    to_int8(path, small, whole.arrays(crops(12)))
    graph = onnx.load(small).graph
    dequantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    in_integers = [node.input[1] in dequantised for node in graph.node if node.op_type == "Conv"]
    assert in_integers == [False, False, True, True, True]


def test_a_network_without_inner_convolutions_raises(tmp_path: Path) -> None:
    peers = module_at(Path(__file__).parents[2] / "scripts" / "peers.py")
    g = peers.Graph("few", (1, 128, 128))
    onnx.save_model(g.finish(g.relu(g.conv(g.relu(g.conv(peers.INPUT, 2, 3)), 2, 3))), str(tmp_path / "few.onnx"))
    with pytest.raises(ValueError, match=r"few\.onnx has no convolution that can become integers\. Export it without"):
        to_int8(tmp_path / "few.onnx", tmp_path / "small.onnx", np.zeros((2, 1, 128, 128), np.float32))
    assert not (tmp_path / "small.onnx").exists()


def test_a_network_of_other_weights_raises(exported: tuple[Estimator, Path], tmp_path: Path) -> None:
    whole, _ = exported
    bundle.save(whole, tmp_path)
    to_onnx(whole, tmp_path / "model.onnx", tmp_path / "weights.safetensors")
    assert open_estimator(tmp_path, "onnxruntime").model.preset == whole.config.preset
    weights = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(weights[:-1] + b"?")
    with pytest.raises(ValueError, match=r"model\.onnx was exported from other weights than"):
        open_estimator(tmp_path, "onnxruntime")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "threads=0: expected 1 or more"),
        ({"precision": "int8"}, "is a single file whose number format was chosen at its export"),
    ],
)
def test_settings_that_there_are_not(settings: dict[str, Any], message: str, exported: tuple[Estimator, Path]) -> None:
    with pytest.raises(ValueError, match=message):
        open_estimator(exported[1], **settings)
    with pytest.raises(ValueError, match="precision='bf16': expected float32, bfloat16"):
        check_settings("auto", 1, "bf16")
    with pytest.raises(ValueError, match="runtime='tensorrt': expected auto, onnxruntime, openvino"):
        check_settings("tensorrt", 1, "float32")


def test_settings_of_runtimes_need_an_exported_network(exported: tuple[Estimator, Path], tmp_path: Path) -> None:
    bundle.save(exported[0], tmp_path)
    with pytest.raises(ValueError, match="was not exported, so PyTorch runs it in float32"):
        open_estimator(tmp_path, "onnxruntime")


def test_openvino_s_files_are_not_for_onnx_runtime(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("<net/>")
    with pytest.raises(ValueError, match="OpenVINO's format, which ONNX Runtime cannot read"):
        open_estimator(tmp_path / "model.xml", "onnxruntime")


def test_a_missing_model_is_reported_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"No model at .*nope\.onnx"):
        open_estimator(tmp_path / "nope.onnx")


def test_a_model_gets_the_centres_that_it_was_trained_with() -> None:
    for trained, found in (("image", "image"), ("image-paper", "image-paper"), ("label", "image")):
        model = CropModel(preset="paper", skeleton="cvar21", normalisation="per-frame", centers=trained)
        assert candidates_of("auto", CropEstimator(model, Raw)).how == found


def test_real_frames_are_compared_and_damaged_frames_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_recording(tmp_path / "rec", frames=3, skeleton=MSRA21).root
    (root / "000001.png").write_bytes(b"no image")
    compared = exporting._real(str(root), 200.0)
    assert (len(compared.crops), compared.skeleton, compared.what) == (2, MSRA21, f"2 frames of {root}")
    assert {crop.cube_mm for crop in compared.crops} == {200.0}
    assert compared.joints_mm is not None
    assert compared.joints_mm.shape == (2, 21, 3)
    said = capsys.readouterr().err
    assert said.startswith("Left out 1 damaged frames, such as ")
    assert "000001.png: the file is not a PNG" in said


def test_rendered_hands_are_cropped_as_the_model_crops() -> None:
    compared = exporting.rendered(4, "compare", 180.0)
    assert [crop.cube_mm for crop in compared.crops] == [180.0] * 4
    assert len({crop.camera for crop in compared.crops}) == 4


def test_the_command_reports_the_error_of_an_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_CALIBRATION", 32)
    bundle.save(estimator("crossnets", small=True), tmp_path)
    export_command(tmp_path, "onnx", True, None, None)
    said = capsys.readouterr().out
    assert re.search(r"model\.int8\.onnx: [\d.]+ MB\nONNX Runtime against torch on 128 rendered hands: ", said)
    assert re.search(r"Mean error: [\d.]+ mm in torch, [\d.]+ exported, [+-]", said)
    with pytest.raises(ValueError, match=r"a file for onnx ends in \.onnx"):
        export_command(tmp_path, "onnx", False, None, tmp_path / "model.xml")
