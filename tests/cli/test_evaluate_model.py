"""The command on a data set, with a model that is none, and its table."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import crossnets
from crossnets.cli import evaluate as command
from crossnets.cli.evaluate import evaluate
from crossnets.datasets.dataset import HandDataset, Problem, readable_frames
from crossnets.evaluation.predictions import PredictionHeader, write_predictions, write_uvd_text
from crossnets.geometry.camera import project
from crossnets.geometry.skeleton import CVAR21, MSRA21, Skeleton
from crossnets.inference.loading import Candidates
from crossnets.types import PredictedFrame
from crossnets.weights import SHIPPED
from tests.evaluation.tiny import TinyDataset

from .test_evaluate import LABELS_MM, _json, _text


@pytest.fixture
def opened(tiny: TinyDataset, monkeypatch: pytest.MonkeyPatch) -> TinyDataset:
    """The tiny data set, whatever the command opens."""
    monkeypatch.setattr(command, "open_dataset", lambda *_: tiny)
    return tiny


@pytest.fixture
def loaded(opened: TinyDataset, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A model that knows the labels, 3 mm off; gives the paths it was loaded from."""
    paths: list[str] = []

    def load(path: Path, refinement: str) -> SimpleNamespace:
        paths.append(path.as_posix())
        found = SimpleNamespace(skeleton=CVAR21)
        found.speaking = lambda skeleton: found
        return found

    def predict_dataset(
        estimator: SimpleNamespace,
        dataset: HandDataset,
        candidates: Candidates,
        problems: list[Problem],
        refinement: str,
    ) -> Iterator[PredictedFrame]:
        for _, frame in readable_frames(dataset, problems):
            index = int(frame.key.split("/")[1])
            found = None if index == 7 else opened.joints_mm[index] + np.array([3, 0, 0], np.float32)
            center = np.array([0, 0, 450], np.float32)
            yield PredictedFrame(frame.key, frame.sequence, center, found, forced=index == 1)

    monkeypatch.setattr("crossnets.cli.evaluate.estimator_for", load)
    monkeypatch.setattr("crossnets.cli.evaluate.candidates_of", lambda *_, **__: Candidates("image", list, list))
    monkeypatch.setattr("crossnets.inference.predict.predict_dataset", predict_dataset)
    return paths


def test_a_model_is_predicted_to_a_file_that_is_then_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loaded: list[str]
) -> None:
    result = _json(capsys, "cvar", model="run", data="tiny", out=tmp_path / "out")
    assert loaded == ["run"]
    assert result["mean_mm"] == pytest.approx(3, abs=1e-3)
    assert (result["frames"], result["missed"], result["centers"], result["source"]) == (
        6,
        1,
        "image",
        f"run ({crossnets.__version__})",
    )
    assert list(result["sequences"]) == ["P1", "P4"]
    assert result["found"]["share"] == pytest.approx(4 / 6), "one frame has no prediction, in one it was forced"
    assert result["found"]["mean_mm"] == pytest.approx(3, abs=1e-3)
    assert any("Frames without a label, left out: 1." in note for note in result["notes"])
    assert any("broken or missing, left out: 1, such as 4.png: is missing" in note for note in result["notes"])
    assert json.loads((tmp_path / "out/scores.json").read_text()) == result
    again = _json(capsys, "cvar", predictions=(tmp_path / "out/predictions.jsonl",), data="tiny")
    assert again == result
    with pytest.raises(FileExistsError, match=r"predictions\.jsonl is there already and is not overwritten"):
        evaluate("cvar", model="run", data="tiny", out=tmp_path / "out")


def test_a_command_that_is_killed_while_it_prints_may_be_given_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "print_table", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate("cvar", data="tiny", model="run", out=tmp_path / "out")
    evaluate("cvar", data="tiny", model="run", out=tmp_path / "out")
    assert "Continuing with the predictions" in capsys.readouterr().err
    with pytest.raises(FileExistsError, match="is not overwritten"):
        evaluate("cvar", data="tiny", model="run", out=tmp_path / "out")


@pytest.mark.parametrize("part", ["frames", "validation"])
def test_sequences_that_a_run_was_trained_or_validated_on_are_told(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], loaded: list[str]
) -> None:
    used = {"name": "cvar", "frames": 2, "sequences": ["P4"]}
    data = {"frames": [{"name": "tiny", "frames": 9, "sequences": ["P4", "P5"]}]}
    data |= {"validation": used} if part == "validation" else {"frames": [*data["frames"], used]}
    (tmp_path / "config.json").write_text(json.dumps({"train": {}, "data": data, "plan": []}))
    result = _json(capsys, "cvar", model=str(tmp_path), data="tiny", out=tmp_path / "out")
    assert result["notes"][-1].startswith("Frames without a prediction")
    assert "The model was trained or validated on P4 of this data set, which is no test then." in result["notes"]


def test_a_refinement_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], loaded: list[str]) -> None:
    result = _json(capsys, "cvar", model="run", data="tiny", refine="energy", out=tmp_path / "out")
    assert result["source"] == f"run ({crossnets.__version__}), refined (energy)"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_number_of_the_table_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    labels = _text(tmp_path / "l.txt", LABELS_MM)
    monkeypatch.setattr(command, "Console", lambda **_: Console(width=width, force_terminal=False))
    evaluate("nyu", predictions=(labels,), labels=labels)
    said = capsys.readouterr().out
    assert "…" not in said
    assert "scale-aligned" in said
    assert "AUC joints" in said


def test_data_alone_scores_the_model_that_comes_with_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loaded: list[str]
) -> None:
    assert _json(capsys, "cvar", data="tiny", out=tmp_path)["mean_mm"] == pytest.approx(3, abs=1e-3)
    assert loaded == [SHIPPED.as_posix()]


def test_each_fold_is_predicted_by_its_own_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loaded: list[str]
) -> None:
    result = _json(capsys, "cvar", model="runs/{fold}/model", data="tiny", out=tmp_path)
    assert loaded == ["runs/P1/model", "runs/P4/model"]
    assert result["frames"] == 6
    assert result["sequence_mean_mm"] == pytest.approx(3, abs=1e-3)


def test_the_first_frames_of_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str], loaded: list[str]) -> None:
    assert _json(capsys, "cvar", model="run", data="tiny", first=2, out=tmp_path)["frames"] == 2
    with pytest.raises(ValueError, match="Asked for the first 9 frames, but there are 8"):
        evaluate("cvar", model="run", data="tiny", first=9, out=tmp_path / "b")
    message = (
        r"run .* has 2 frames, but the data set has 8, 6 of them .* 4 labelled frames are not predicted, such as cvar/3"
    )
    with pytest.raises(ValueError, match=message):
        evaluate("cvar", predictions=(tmp_path / "predictions.jsonl",), data="tiny")


def test_text_predictions_of_a_data_set_go_by_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], opened: TinyDataset
) -> None:
    write_uvd_text(tmp_path / "p.txt", project(opened.joints_mm.astype(np.float64), opened.camera))
    result = _json(capsys, "cvar", predictions=(tmp_path / "p.txt",), data="tiny")
    assert (result["frames"], result["missed"]) == (6, 0)
    assert result["mean_mm"] == pytest.approx(0, abs=0.01)
    write_uvd_text(tmp_path / "q.txt", project(opened.joints_mm[:4].astype(np.float64), opened.camera))
    with pytest.raises(ValueError, match=r"q has 4 frames, but the data set has 8\. .*--first 4"):
        evaluate("cvar", predictions=(tmp_path / "q.txt",), data="tiny")
    first = _json(capsys, "cvar", predictions=(tmp_path / "p.txt",), data="tiny", first=4)
    assert first["frames"] < 6


@pytest.mark.parametrize(("skeleton", "name", "message"), [(None, "cvar", "has no labels"), (CVAR21, "msra", "format")])
def test_data_that_cannot_be_scored(
    tmp_path: Path, opened: TinyDataset, skeleton: Skeleton | None, name: str, message: str
) -> None:
    opened.skeleton, opened.name = skeleton, name
    write_predictions(tmp_path / "p.jsonl", PredictionHeader("cvar21", "image", "m"), [])
    with pytest.raises(ValueError, match=message):
        evaluate("cvar", predictions=(tmp_path / "p.jsonl",), data="tiny")


def test_the_table_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = _text(tmp_path / "l.txt", LABELS_MM)
    evaluate("nyu", predictions=(labels,), labels=labels)
    printed = capsys.readouterr().out
    assert "l on nyu, 14 joints (nyu14)" in printed
    assert "100.0 %" in printed
    assert "The full protocol of nyu has 8252" in printed


def test_another_skeleton_scores_the_shared_joints_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], opened: TinyDataset
) -> None:
    predicted = opened.joints_mm + np.float32(2)
    frames = [PredictedFrame(f"cvar/{i}", "P1", None, joints) for i, joints in enumerate(predicted)]
    write_predictions(tmp_path / "p.jsonl", PredictionHeader(MSRA21.name, "image", "m"), frames)
    result = _json(capsys, "cvar", predictions=(tmp_path / "p.jsonl",), data="tiny")
    assert len(result["per_joint_mm"]) == 20
    assert result["mean_mm"] == pytest.approx(np.sqrt(12), abs=1e-3)
    assert any("Only 20 of the 21 joints of cvar21 are in msra21. Left out: palm" in note for note in result["notes"])
