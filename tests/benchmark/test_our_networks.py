"""Our own networks in the benchmark."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from crossnets.benchmark import our_networks
from crossnets.benchmark.frames import raw_frames
from crossnets.benchmark.onnx_graphs import cost
from crossnets.benchmark.our_networks import KnownHand, detector_file, estimator_file, tracker_for
from crossnets.benchmark.whole_frames import WholeFrames
from crossnets.inference.detector import DetectorModel, HandDetector
from crossnets.models.complexity import complexity
from crossnets.training import presets

pytest.importorskip("onnxruntime")


def test_known_hand_is_detected_at_its_place() -> None:
    (frame,) = raw_frames(1)
    assert frame.depth_mm.dtype == np.uint16
    assert frame.depth_mm.shape == (480, 640)
    detector = HandDetector(
        lambda images: np.zeros((len(images), 6, images.shape[2] // 4, images.shape[3] // 4), np.float32),
        DetectorModel(preset="detector"),
    )
    known = KnownHand(detector)
    known.center_mm = frame.center_mm
    (found,) = known(frame.depth_mm, frame.camera)
    np.testing.assert_allclose(found.center_mm, frame.center_mm, atol=0.5)


@pytest.mark.slow
def test_random_weights_have_the_cost_of_the_networks_and_plausible_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(our_networks, "SHIPPED", tmp_path / "a copy without weights")
    detector = detector_file(presets.detector(), tmp_path)
    config = presets.crossnets()
    file = estimator_file(config, tmp_path, may_be_shipped=False)
    counted = cost(onnx.load(file.path), (1, 128, 128))
    expected = complexity(config.networks)["test"]
    assert counted.macs == expected.macs
    assert 0.99 * expected.parameters < counted.parameters <= expected.parameters, "normalisation may be folded"
    frames = raw_frames(2)
    tracker, known = tracker_for(file, detector, "onnxruntime")
    assert known is not None
    known.center_mm = frames[0].center_mm
    (hand,) = tracker.predict(frames[0].depth_mm, frames[0].camera)
    np.testing.assert_allclose(hand.joints_mm.mean(axis=0), frames[0].center_mm, atol=5)
    whole = WholeFrames(frames, file, detector, "onnxruntime")
    for mode in ("predict", "track"):
        stages = whole.case(mode).call()
        assert stages is not None
        assert all(ms > 0 for ms in stages.values())
