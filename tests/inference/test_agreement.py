"""The same frame gives the same joints, to the bit, whoever asks: tracker, data set, commands, calibration."""

import json
from pathlib import Path

import numpy as np
import pytest

import crossnets
from crossnets.cli.evaluate import evaluate
from crossnets.cli.predict import predict_command
from crossnets.datasets.cvar import CVAR
from crossnets.datasets.recording import Recording
from crossnets.geometry.filled_holes import without_filling
from crossnets.geometry.skeleton import MSRA21
from crossnets.inference.hands import estimate_hands
from crossnets.inference.loading import candidates_of, open_estimator
from crossnets.inference.predict import predict_dataset, predict_frame, predict_frames
from crossnets.synth.sensor.hole_filling import LEFT, fill_holes
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.writing import write_dataset
from crossnets.types import HandFrame


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered frames in clutter. Hands are found in most of them."""
    out = tmp_path_factory.mktemp("frames") / "recording"
    write_dataset("recording", 12, out, camera="realsense-d435", clutter=True, progress=False)
    return out


def answers_of(frames: list[HandFrame]) -> list[np.ndarray | None]:
    """The likeliest hand of each frame by `Tracker.predict`. Every other path must give the same hand."""
    tracker = crossnets.load()
    estimator = open_estimator()
    candidates = candidates_of("auto", estimator)
    expected = []
    for frame in frames:
        hands = tracker.predict(frame.depth_mm, frame.camera)
        tracker.reset()
        tracked = tracker.track(frame.depth_mm.astype(np.uint16), frame.camera)
        assert len(tracked) == len(hands)
        for one, other in zip(hands, tracked, strict=True):
            np.testing.assert_array_equal(one.joints_mm, other.joints_mm)
        found = list(candidates.find(frame))
        if found:
            estimated = estimate_hands(estimator, frame, found)
            rows = estimated.hands[: tracker.hands]
            for one, row in zip(hands, rows, strict=True):
                np.testing.assert_array_equal(one.joints_mm, estimated.estimates.joints_mm[row])
        expected.append(hands[0].joints_mm if hands else None)
    for mm, predicted in zip(expected, predict_frames(estimator, frames, candidates), strict=True):
        assert (mm is None) == (predicted.joints_mm is None)
        if mm is not None:
            np.testing.assert_array_equal(mm, predicted.joints_mm)
    return expected


def test_rendered_frames(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Recording(recording)
    expected = answers_of([data[k] for k in range(len(data))])
    found = [mm is not None for mm in expected]
    assert sum(found) >= 8, "most hands are found"
    predict_command(
        Path(crossnets.weights.SHIPPED), [str(recording)], camera=None, out=tmp_path / "predicted",
        refinement="none", centers="auto", split="test", draw=False,
    )  # fmt: skip
    evaluate(data=str(recording), out=tmp_path / "evaluated", json=True)
    scores = json.loads(capsys.readouterr().out)
    assert scores["found"]["share"] == pytest.approx(np.mean(found))
    for folder, forces in (("predicted", False), ("evaluated", True)):
        lines = [json.loads(line) for line in (tmp_path / folder / "predictions.jsonl").read_text().splitlines()[1:]]
        for mm, line in zip(expected, lines, strict=True):
            assert (mm is None) == (line.get("forced", False) if forces else line["joints_mm"] is None)
            if mm is not None:
                np.testing.assert_array_equal(np.round(mm.astype(float), 4), line["joints_mm"])


@pytest.mark.filterwarnings("ignore:.*repeat the depth")
def test_frames_with_filled_holes(tmp_path: Path) -> None:
    """Without clutter everything around the hand is invalid, so that filling it is recognised."""
    config = SyntheticConfig(camera="realsense-d435", seed=9_330_000, noise=(1.0, 1.0), distance_mm=(400.0, 600.0))
    hands = SyntheticHands(config)
    images = np.stack([np.round(hands.frame(k).depth_mm) for k in range(4)]).astype(np.uint16)
    for image in images:
        fill_holes(image, LEFT)
        assert without_filling(image) is not image
    np.save(tmp_path / "filled.npy", images)
    camera = hands.frame(0).camera
    expected = []
    for image in images:
        (one,) = crossnets.load().predict(image, camera)
        (followed,) = crossnets.load().track(image, camera)
        np.testing.assert_array_equal(followed.joints_mm, one.joints_mm)
        expected.append(one.joints_mm)
    frames = [HandFrame(str(k), "", image.astype(np.float32), camera, None) for k, image in enumerate(images)]
    estimator = open_estimator()
    found = [one.joints_mm for one in predict_frames(estimator, frames, candidates_of("auto", estimator))]
    np.testing.assert_array_equal(found, expected)
    predict_command(
        Path(crossnets.weights.SHIPPED), [str(tmp_path / "filled.npy")], camera=",".join(map(repr, map(float, camera))),
        out=tmp_path / "predicted", refinement="none", centers="auto", split="test", draw=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "predicted" / "predictions.jsonl").read_text().splitlines()[1:]]
    np.testing.assert_array_equal([line["joints_mm"] for line in lines], np.round(np.float64(expected), 4))


def test_a_known_side_gives_the_same_hands_by_the_tracker_and_the_command(recording: Path) -> None:
    data = Recording(recording)
    estimator = open_estimator()
    candidates = candidates_of("auto", estimator)
    for side, mirrored in (("left", False), ("right", True)):
        tracker = crossnets.load(side=side, mirrored=mirrored)
        for frame in (data[k] for k in range(4)):
            hands = tracker.predict(frame)
            found = predict_frame(estimator, frame, candidates, hands=2, side=side, mirrored=mirrored)
            assert {hand.side for hand in hands} <= {side}
            for hand, other in zip(hands, found.hands, strict=True):
                np.testing.assert_array_equal(hand.joints_mm, other.joints_mm)
                assert (hand.side, hand.mirrored) == (other.side, other.mirrored)


@pytest.mark.real
def test_real_frames(real_data: Path) -> None:
    data = CVAR(real_data / "cvar", ["P4"])
    expected = answers_of([data[k] for k in range(0, len(data), 40)])
    assert all(mm is not None for mm in expected)
    estimator = open_estimator().speaking(data.skeleton)
    assert len(estimator.skeleton) == len(MSRA21)
    predictions = predict_dataset(estimator, data, candidates_of("auto", estimator), [])
    assert not next(iter(predictions)).forced
