"""Parts of scripts whose errors would show only after hours of training or scoring."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from crossnets.inference import bundle
from crossnets.inference.detector import Detection, load_detector
from crossnets.inference.loading import DETECTOR
from crossnets.synth.hand.gestures import FAMILIES
from crossnets.synth.stream import SyntheticHands
from crossnets.tensors import RenderedBatch
from crossnets.training import presets
from crossnets.types import Pinhole
from crossnets.weights import SHIPPED
from tests.datasets.make import make_cvar
from tests.loading import module_at

SCRIPTS = Path(__file__).parent.parent / "scripts"
CAMERA = Pinhole(475.0, 475.0, 320.0, 240.0)


def script(name: str) -> ModuleType:
    return module_at(SCRIPTS / f"{name}.py")


def test_every_row_of_what_helped_is_a_different_training() -> None:
    rows = script("what_helped")
    configs = [rows.config(change, 3, 42) for change in rows.ROWS.values()]
    assert configs[0].rendered == presets.crossnets().rendered
    assert len({repr(config) for config in configs}) == len(configs)
    assert {tuple((stage.name, stage.epochs) for stage in config.stages) for config in configs} == {(("estimate", 3),)}


def test_hands_of_each_geometry_have_the_gestures_and_views_of_the_training() -> None:
    measured = script("anny_hands")
    cells = measured.cells(2000)
    assert sum(number for *_, number in cells) == 2000
    fists = sum(number for gesture, _, number in cells if gesture == "fist")
    assert fists == pytest.approx(2000 * FAMILIES["fist"][0], abs=2)
    front = sum(number for _, view, number in cells if view == "front")
    assert front == pytest.approx(600, abs=10)
    (one, *_), (other, *_) = (measured.streams(kind, "fist", "front", 8) for kind in measured.KINDS)
    assert one.config == replace(other.config, anny=0.0)
    assert other.config.anny == 1.0


def test_missed_hands_have_no_error() -> None:
    measured = script("anny_hands")
    seen = measured.Record("Anny", "fist", "front", 10.0, True, True, 8.0, 9.0)
    missed = replace(seen, found=False, side=False, error_mm=float("nan"), placed_mm=11.0)
    assert measured.row([seen, missed]) == ["50", "100", "8.0", "8.0", "8", "10.0", "10.0"]
    assert measured.row([missed]) == ["0", "", "", "", "", "11.0", "11.0"]


def test_unknown_sides_do_not_count_as_right() -> None:
    scores = script("detector_scores")

    class Finder:
        """Detects the right hand, and a hand at an empty place."""

        def find(self, depth_mm: np.ndarray, camera: Pinhole) -> list[Detection]:
            places = ((0.9, [0, 0, 500]), (0.5, [300, 0, 500]))
            return [Detection(np.array(at, np.float32), score, 0.9, 180.0) for score, at in places]

    def row(threshold: float, *sides: int) -> dict[str, float | None]:
        cases = [scores.Case(np.zeros((2, 2)), CAMERA, [(np.array([5.0, 0, 500]), side)], []) for side in sides]
        return scores.row([scores.look(Finder(), case, 60.0, []) for case in cases], threshold)

    assert row(0.4, 0)["side"] is None
    assert row(0.4, 1, -1, 0)["side"] == 0.5
    both = row(0.4, 1)
    assert (both["recall"], both["precision"], both["frames with a false one"], both["median mm"]) == (1, 0.5, 1, 5)
    assert row(0.6, 1)["precision"] == 1


def test_filters_of_librealsense_change_images_as_documented() -> None:
    pytest.importorskip("pyrealsense2", exc_type=ImportError)
    filters = script("camera_filters")
    depth_mm = np.full((48, 64), 500, np.float32)
    depth_mm[20:24, 30:34] = 0
    camera = Pinhole(50.0, 51.0, 31.5, 23.5)
    sensor = filters.Sensor(camera, 64, 48, 0.25)
    try:
        same, found = sensor.filtered(depth_mm, [])
        filled, _ = sensor.filtered(depth_mm, filters.FILTERS["hole_filling 0 (left)"]())
        half, halved = sensor.filtered(depth_mm, filters.FILTERS["decimation, magnitude 2"]())
        back, _ = sensor.filtered(depth_mm, filters.FILTERS["disparity and back"]())
    finally:
        sensor.close()
    np.testing.assert_array_equal(same, depth_mm)
    assert found == camera
    assert (filled == 500).all()
    assert half.shape == (24, 32)
    assert halved.fx_px == 25
    np.testing.assert_allclose(back, depth_mm, atol=0.5)


def test_reading_speed_counts_frames_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_cvar(tmp_path)
    monkeypatch.setattr("sys.argv", ["reading_speed.py", f"cvar:{tmp_path}", "--frames", "25", "--opencv"])
    script("reading_speed").main()
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 25
    assert found["opencv"]["reading_ms"] > 0
    assert found["reading_ms"] > 0
    assert found["cropping_ms"] > 0
    assert found["memory_mb"] > 1


def test_the_unfolded_detector_agrees_with_the_exported_one() -> None:
    image = torch.rand(3, 2, 64, 80, generator=torch.Generator().manual_seed(1))
    network = script("unfold_detector").unfolded(SHIPPED / DETECTOR, image)
    with torch.no_grad():
        maps = network(image).numpy()
        trained = network.train()(image).numpy()
    exported = load_detector(SHIPPED / DETECTOR).maps(image.numpy())
    np.testing.assert_allclose(maps, exported, atol=1e-4)
    np.testing.assert_allclose(trained, exported, atol=1e-3)  # its statistics are those of these images


def test_both_directions_of_a_perfect_latent_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that returns the images that were encoded overlaps them, and leaves the estimator's own error."""
    both = script("both_directions")
    estimator = bundle.load()
    space = estimator.latent_networks()
    seen: list[torch.Tensor] = []
    rendered = both.rendered

    def remembered(hands: SyntheticHands, rows: np.ndarray) -> RenderedBatch:
        batch = rendered(hands, rows)
        seen.append(batch.image.float())
        return batch

    monkeypatch.setattr(both, "rendered", remembered)
    monkeypatch.setattr(space, "render", lambda z: seen[-1])
    found = both.measure(estimator, 7)
    assert sum(map(len, seen)) == 7
    assert found.overlap == 1
    assert found.depth_mm == 0
    assert 0 < found.cycle_mm < 40
    monkeypatch.setattr(space, "render", lambda z: torch.ones_like(seen[-1]))
    assert both.measure(estimator, 7).overlap == 0


def test_values_are_compared_by_the_true_value() -> None:
    compare = script("gestures").by_truth
    values = np.array([[0.0, 0.1, 0.3, 0.6], [0.2, 0.3, 0.3, 0.5]])
    assert compare(values, (0.0, 0.25, 0.5, 0.55), 2) == [
        {"from": 0.0, "count": 2, "true": 0.05, "estimated": 0.25, "error_deviation": 0.0},
        {"from": 0.25, "count": 1, "true": 0.3, "estimated": 0.3, "error_deviation": 0.0},
    ]


def test_a_mistake_is_silent_if_joints_are_wrong_and_sure_and_nobody_is_told() -> None:
    measured = script("wrong_numbers")
    silent = measured.Outcome(found=1.0, moved_mm=60.0, confidence=0.9)
    assert silent.silent
    assert silent.word() == "SILENT, 60 mm"
    for told in ({"warned": "too long"}, {"refused": "metres"}, {"doctor": ("hand length",)}):
        assert not replace(silent, **told).silent
    for harmless in ({"moved_mm": 5.0}, {"confidence": 0.1}, {"found": 0.1}, {"moved_mm": None}):
        assert not replace(silent, **harmless).silent


def test_classic_mistakes_are_made_and_told() -> None:
    measured = script("wrong_numbers")
    frames, hands = measured.with_hands(measured.rendered("realsense-d435", 3, 8), 4)
    outcomes = {
        name: measured.outcome(frames, hands, measured.MISTAKES[name])
        for name in ("none", "metres", "focal length 1.6 times too small", "raw values of a Kinect v1")
    }
    assert outcomes["none"].word() == "nothing said, 100%, 0 mm"
    assert "metres" in outcomes["metres"].refused
    assert "mm long" in outcomes["focal length 1.6 times too small"].warned
    assert "raw values" in outcomes["raw values of a Kinect v1"].warned
    assert not any(outcome.silent for outcome in outcomes.values())
