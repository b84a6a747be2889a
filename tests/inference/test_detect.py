"""Exported detectors agree with torch in every installed runtime."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crossnets.export.exporting import export_command
from crossnets.export.networks import detector_to_onnx
from crossnets.geometry.thinned import as_image, stride_of, thin
from crossnets.inference.detector import DetectorModel, from_text, load_detector, to_text
from crossnets.inference.engines import Runtime, load_exported
from crossnets.inference.torch_models import Detector, DetectorConfig
from crossnets.models.detector import DetectorNet, DetectorNetConfig
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter

onnx = pytest.importorskip("onnx", reason="export needs crossnets[export]")
RUNTIMES = ("onnxruntime", "openvino")


def made() -> Detector:
    """With weights that no layer leaves as they were."""
    networks = DetectorNet(DetectorNetConfig(), torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in networks.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=generator)
            elif name.endswith("running_mean") or name.endswith("bias"):
                value.normal_(0, 0.1, generator=generator)
            elif name.endswith("weight") and value.ndim == 1:
                value.uniform_(0.5, 1.5, generator=generator)
    return Detector(DetectorConfig(preset="detector", networks=networks.config, threshold=0.35), networks)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, Path]:
    path = tmp_path_factory.mktemp("export") / "detector.onnx"
    whole = made()
    detector_to_onnx(whole, path)
    return whole, path


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_agrees_with_torch(exported: tuple[Detector, Path], runtime: Runtime) -> None:
    pytest.importorskip(runtime)
    whole, path = exported
    loaded = load_detector(path, runtime)
    assert loaded.model == DetectorModel(preset="detector", threshold=0.35)
    frame = SyntheticHands(SyntheticConfig(seed=8, clutter=Clutter())).frame(0)
    image = as_image(thin(frame.depth_mm, stride_of(frame.camera)))[None]
    # Weights are kept as float16.
    np.testing.assert_allclose(loaded.maps(image), whole.maps(image), atol=1e-2)
    for size in ((64, 96), (144, 160), (64, 96)):
        other = np.random.default_rng(1).random((1, 2, *size), dtype=np.float32)
        np.testing.assert_allclose(loaded.maps(other), whole.maps(other), atol=5e-3)
    found, expected = loaded.find(frame.depth_mm, frame.camera), whole.find(frame.depth_mm, frame.camera)
    assert len(found) == len(expected)


@pytest.mark.parametrize("error", ["ImportError", "OSError"])
def test_onnx_runtime_is_taken_for_an_openvino_that_does_not_load(
    exported: tuple[Detector, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "openvino.py").write_text(f"raise {error}('libtbb.so.12: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    detector, path = exported
    images = np.zeros((1, 2, 128, 160), np.float32)
    found = load_detector(path, "auto").maps(images)
    np.testing.assert_allclose(found, detector.maps(images), atol=5e-3)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_low_scores_give_an_empty_list(exported: tuple[Detector, Path], runtime: Runtime) -> None:
    pytest.importorskip(runtime)
    detector = load_detector(exported[1], runtime)
    detector.model = DetectorModel(preset="detector", threshold=0.999999)
    for depth in (np.zeros((480, 640), np.uint16), np.full((480, 640), 800, np.uint16)):
        assert detector.find(depth, SyntheticHands(SyntheticConfig()).camera) == []


def test_the_file_is_small(exported: tuple[Detector, Path]) -> None:
    assert exported[1].stat().st_size < 400_000


def test_the_description_goes_there_and_back() -> None:
    model = DetectorModel(preset="detector", threshold=0.2)
    assert from_text(to_text(model), "file") == model
    with pytest.raises(ValueError, match="it has no description"):
        from_text(None, "file")
    with pytest.raises(ValueError, match="version 99"):
        from_text(to_text(model).replace('"version": 1', '"version": 99'), "file")


def test_files_of_other_programs_raise(exported: tuple[Detector, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(FileNotFoundError, match="no exported network"):
        load_detector(tmp_path / "none.onnx", "onnxruntime")
    with pytest.raises(ValueError, match="was not made by `crossnets export`"):
        load_exported(exported[1], "onnxruntime")
    proto = onnx.load(exported[1])
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    with pytest.raises(ValueError, match=r"bare\.onnx is not a detector that `crossnets export`"):
        load_detector(tmp_path / "bare.onnx", "onnxruntime")


def test_the_command_exports_a_run_of_a_detector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    from crossnets.inference import bundle

    bundle.save(made(), tmp_path / "model")
    export_command(tmp_path, "onnx", False, None, None)
    assert "Against torch on 64 rendered frames" in capsys.readouterr().out
    assert load_detector(tmp_path / "model" / "detector.onnx", "onnxruntime").model.threshold == 0.35
