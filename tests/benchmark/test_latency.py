"""The whole benchmark with tiny networks."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from crossnets import cli
from crossnets.benchmark import latency
from crossnets.benchmark.frames import raw_frames
from crossnets.benchmark.latency import LatencyConfig, Presets, latency_command
from crossnets.benchmark.our_networks import NetworkFile, with_hand
from crossnets.benchmark.whole_frames import WholeFrames
from crossnets.geometry.skeleton import MSRA21
from crossnets.inference import description
from crossnets.inference import detector as detect
from crossnets.inference.detector import DetectorModel
from crossnets.inference.estimator import CropModel
from crossnets.training import presets
from tests.loading import module_at

pytest.importorskip("onnxruntime")
peers = module_at(Path(__file__).parents[2] / "scripts" / "peers.py")
TINY = LatencyConfig(frames=2, engines=("onnxruntime",), seconds=0.001, process_runs=1, gemm=(32, 2))


def described(model: onnx.ModelProto, key: str, text: str) -> onnx.ModelProto:
    entry = model.metadata_props.add()
    entry.key = key
    entry.value = text
    return model


def tiny_estimator(folder: Path) -> NetworkFile:
    g = peers.Graph("tiny", (1, 128, 128))
    flat = g.dense(g.pool(g.conv(peers.INPUT, 4, 5, stride=4), 4), 63)
    joints = g.node("Reshape", [flat, g.constant(np.array([1, 21, 3], np.int64))], (21, 3))
    text = description.to_text(CropModel(preset="tiny", skeleton="msra21"), {})
    onnx.save_model(described(g.finish(joints), description.KEY, text), str(folder / "tiny.onnx"))
    return NetworkFile("tiny", folder / "tiny.onnx", "random")


def tiny_detector(folder: Path, threshold: float = 0.4) -> NetworkFile:
    g = peers.Graph("detector", (2, 128, 160))
    maps = g.conv(g.pool(g.conv(peers.INPUT, 4, 3), 4), 6, 1)
    text = detect.to_text(DetectorModel(preset="detector", threshold=threshold))
    model = described(g.finish(maps, detect.OUTPUT), description.KEY, text)
    onnx.save_model(model, str(folder / "detector.onnx"))
    return NetworkFile("detector", folder / "detector.onnx", "random")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[Presets]:
    monkeypatch.setattr(latency, "estimator_file", lambda preset, folder, may_be_shipped: tiny_estimator(folder))
    monkeypatch.setattr(latency, "detector_file", lambda preset, folder: tiny_detector(folder))
    return iter([Presets(estimators=(presets.paper(MSRA21),), shipped="none", detector=presets.detector())])


@pytest.fixture
def deep_prior(tmp_path: Path) -> Path:
    path = tmp_path / "DeepPrior.onnx"
    onnx.save_model(peers.deep_prior(), str(path))
    return path


def test_json_of_a_benchmark(
    tiny: Iterator[Presets], deep_prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latency.json"
    latency_command(next(tiny), replace(TINY, networks=(deep_prior,)), as_json=True, out=out)
    written = json.loads(capsys.readouterr().out)
    assert written == json.loads(out.read_text())
    assert (written["format"], written["version"], written["threads"], written["frames"]) == (
        "crossnets-latency",
        1,
        1,
        2,
    )
    assert written["machine"]["processor"]
    assert written["machine"]["packages"]["onnxruntime"]
    assert written["peak_gflops"]["onnxruntime"] > 0
    assert [row["name"] for row in written["networks"]] == ["tiny", "detector", "DeepPrior"]
    assert [row["weights"] for row in written["networks"]] == ["random", "random", "given"]
    for row in written["networks"]:
        assert row["macs"] > 0
        assert row["calls"] >= 3
        assert 0 < row["least_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert row["share_of_peak"] > 0
    assert [(row["preset"], row["engine"], row["mode"]) for row in written["whole_frames"]] == [
        ("tiny", "onnxruntime", "predict"),
        ("tiny", "onnxruntime", "track"),
    ]
    for row in written["whole_frames"]:
        assert set(row["stages_ms"]) == {"find", "crop", "network", "joints"}
        assert row["share_with_hand"] == 1, "the detector with random weights returns the known place of the hand"
    predict, track = written["whole_frames"]
    assert track["stages_ms"]["find"] < predict["stages_ms"]["find"] / 5
    (process,) = written["processes"]
    assert not process["with_torch"]
    assert 0 < process["import_s"] < process["first_prediction_s"]
    assert 10 < process["resident_mb"] <= process["most_resident_mb"]
    assert len(written["goals"]) == 6


def test_printed_tables(tiny: Iterator[Presets], deep_prior: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latency_command(next(tiny), replace(TINY, networks=(deep_prior,)), as_json=False, out=None)
    text = capsys.readouterr().out
    for words in ("Networks alone", "DeepPrior", "2,076,308", "Whole frames", "New processes", "1,000 frames/s"):
        assert words in text


def test_output_of_a_shipped_detector_is_used(tmp_path: Path) -> None:
    """The detector finds no hand, so the network must not run."""
    blind = replace(tiny_detector(tmp_path, threshold=1 - 1e-9), weights="shipped")
    frames = raw_frames(1)
    whole = WholeFrames(frames, tiny_estimator(tmp_path), blind, "onnxruntime")
    stages = whole.case("predict").call()
    assert stages is not None
    assert stages["find"] > 0 == stages["network"]
    assert whole.share_with_hand("predict") == 0
    with pytest.raises(ValueError, match=r"finds no hand in 1 rendered frames\. Increase --frames"):
        with_hand(frames, blind)


def test_invalid_options_raise(tmp_path: Path, tiny: Iterator[Presets]) -> None:
    measured = next(tiny)
    with pytest.raises(ValueError, match=r"--frames 0, expected 1 or more"):
        latency_command(measured, LatencyConfig(frames=0), as_json=True, out=None)
    with pytest.raises(ValueError, match=r"--seconds 0.0, expected more than 0"):
        latency_command(measured, LatencyConfig(seconds=0.0), as_json=True, out=None)
    with pytest.raises(IsADirectoryError, match=r"is a folder\. Give a file"):
        latency_command(measured, TINY, as_json=True, out=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no network .*missing\.onnx\. `python scripts/peers\.py"):
        latency_command(measured, replace(TINY, networks=(tmp_path / "missing.onnx",)), as_json=True, out=None)
    text = tmp_path / "text.onnx"
    text.write_text("not a network")
    with pytest.raises(ValueError, match=r"Found two networks called text"):
        latency_command(measured, replace(TINY, networks=(text, text)), as_json=True, out=None)
    with pytest.raises(ValueError, match=r"text\.onnx is not an ONNX file"):
        latency_command(measured, replace(TINY, networks=(text,)), as_json=True, out=None)


def test_unknown_action_and_missing_runtime_exit_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["crossnets", "benchmark", "speed"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "speed" in capsys.readouterr().err
    monkeypatch.setattr("crossnets.benchmark.engines.find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["crossnets", "benchmark", "latency", "--runtimes", "openvino"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "openvino is not installed" in capsys.readouterr().err
