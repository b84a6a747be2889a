"""The file of HO-3D's challenge."""

import json
from pathlib import Path

import numpy as np
import pytest

from crossnets.cli import evaluate as command
from crossnets.cli.evaluate import evaluate
from crossnets.datasets.ho3d import HO3D
from crossnets.datasets.writers import HO3DWriter
from crossnets.evaluation.challenge import write_challenge
from crossnets.evaluation.predictions import PredictionHeader, read_predictions, write_predictions
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import CVAR21, HO3D_21, MSRA21
from crossnets.types import PredictedFrame
from tests.datasets.make import hands

CAMERA = CAMERAS["ho3d-sr300"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = hands(HO3D_21, CAMERA, 3)
    writer = HO3DWriter(tmp_path / "ho3d", "test", CAMERA.pinhole)
    for depth, joints in zip(made.depth_mm, made.joints_mm, strict=True):
        writer.add(depth, joints)
    writer.close()
    return tmp_path / "ho3d"


@pytest.fixture
def predictions(root: Path) -> Path:
    """Joints that are right, in the order of MSRA, without the second frame."""
    made = hands(HO3D_21, CAMERA, 3)
    order = [HO3D_21.joints.index(joint) for joint in MSRA21.joints]
    frames = [
        PredictedFrame(f"ho3d/test/SYN1/000{number}", "SYN1", None, None if number == 1 else joints[order])
        for number, joints in enumerate(made.joints_mm)
    ]
    path = root.parent / "out" / "predictions.jsonl"
    path.parent.mkdir()
    write_predictions(path, PredictionHeader("msra21", "image", "model"), frames)
    return path


def test_joints_are_in_metres_in_the_order_and_axes_of_the_challenge(root: Path, predictions: Path) -> None:
    path = root / "pred.json"
    assert write_challenge(path, HO3D(root, "test"), read_predictions(predictions)) == 1
    joints, vertices = json.loads(path.read_text())
    labels = json.loads((root / "evaluation_xyz.json").read_text())
    np.testing.assert_allclose(joints[0], labels[0], atol=1e-6)
    np.testing.assert_allclose(joints[2], labels[2], atol=1e-6)
    assert (np.array(joints)[[0, 2], :, 2] < 0).all()
    np.testing.assert_array_equal(joints[1], np.zeros((21, 3)))
    np.testing.assert_array_equal(vertices, np.zeros((3, 778, 3)))


def test_other_joints_are_refused(root: Path) -> None:
    path = root / "predictions.jsonl"
    write_predictions(path, PredictionHeader(CVAR21.name, "image", "model"), [])
    with pytest.raises(ValueError, match="joints of cvar21, expected those of ho3d-21"):
        write_challenge(root / "pred.json", HO3D(root, "test"), read_predictions(path))


@pytest.mark.parametrize("labelled", [True, False])
def test_evaluate_writes_it_with_and_without_labels(
    root: Path,
    predictions: Path,
    labelled: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not labelled:
        (root / "evaluation_xyz.json").unlink()
    monkeypatch.setattr(command, "_predict", lambda *_: predictions)
    monkeypatch.setattr(command, "model_name", lambda _: "model")
    out = predictions.parent
    evaluate(model="model", data=str(root), out=out)
    assert len(json.loads((out / "pred.json").read_text())[0]) == 3
    said = capsys.readouterr().err
    assert "1 frames without a prediction are zero" in said
    assert ("Nothing is scored here" in said) is not labelled
    assert (out / "scores.json").is_file() is labelled
    assert not list(out.glob("*.unfinished"))
    if labelled:
        scores = json.loads((out / "scores.json").read_text())
        assert scores["mean_mm"] == pytest.approx(0, abs=1e-3)
        assert scores["dataset"] == "ho3d"
        assert (scores["frames"], scores["missed"]) == (3, 1)
