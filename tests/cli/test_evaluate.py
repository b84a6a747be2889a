"""The command against the field's files."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossnets.cli.evaluate import evaluate
from crossnets.evaluation.predictions import PredictionHeader, write_predictions, write_uvd_text
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.skeleton import NYU36
from crossnets.types import PredictedFrame

RNG = np.random.default_rng(5)
NYU_CAMERA = CAMERAS["nyu-kinect"].pinhole
LABELS_MM = RNG.normal(size=(6, 36, 3)) * 40 + [0, 0, 700]
EVALUATED = list(NYU36.evaluation)

PUBLISHED = [
    ("nyu", "CVPR18_NYU_V2V_PoseNet", 8.419),
    ("nyu", "CVWW15_NYU_Prior", 20.750),
    ("nyu", "CVWW15_NYU_Prior-Refinement", 19.726),
    ("nyu", "IJCAI16_NYU_DeepModel", 17.036),
    ("nyu", "ICCV15_NYU_Feedback", 15.973),
    ("nyu", "ICIP17_NYU_Guo_Basic", 14.588),
    ("nyu", "ICCVW17_NYU_DeepPrior++", 12.238),
    ("nyu", "WACV19_NYU_murauer_n72757_uvd", 9.466),
    ("nyu", "ArXiv_NYU_TriHorn_Net", 7.676),
    ("icvl", "CVPR14_LRF_Results", 12.578),
    ("icvl", "IJCAI16_ICVL_DeepModel", 11.561),
    ("icvl", "ICIP17_ICVL_Guo_Basic", 8.358),
    ("icvl", "CVPR18_ICVL_V2V_PoseNet", 6.284),
    ("icvl", "ArXiv_ICVL_TriHorn_Net", 5.736),
]


def _json(capsys: pytest.CaptureFixture[str], *args: Any, **kwargs: Any) -> dict[str, Any]:
    evaluate(*args, json=True, **kwargs)
    return json.loads(capsys.readouterr().out)


def _text(path: Path, joints_mm: np.ndarray) -> Path:
    write_uvd_text(path, project(joints_mm, NYU_CAMERA))
    return path


@pytest.mark.real
@pytest.mark.parametrize(("dataset", "name", "mean_mm"), PUBLISHED)
def test_published_files_give_published_means(
    dataset: Any, name: str, mean_mm: float, real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = real_data / "published" / dataset
    labels = folder / f"{dataset}_test_groundtruth_label.txt"
    result = _json(capsys, dataset, predictions=(folder / f"{name}.txt",), labels=labels)
    assert result["mean_mm"] == pytest.approx(mean_mm, abs=6e-4)
    assert result["notes"] == []
    assert result["frames"] == {"nyu": 8252, "icvl": 1596}[dataset]


@pytest.mark.real
def test_published_success_rates_and_sequences(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = real_data / "published/nyu"
    labels = folder / "nyu_test_groundtruth_label.txt"
    result = _json(capsys, "nyu", predictions=(folder / "CVPR18_NYU_V2V_PoseNet.txt",), labels=labels)
    within = [round(100 * result["frames_within_mm"][str(t)], 1) for t in (20, 30, 40, 50)]
    assert within == [71.2, 83.1, 88.1, 92.0]
    assert {name: round(part["mean_mm"], 1) for name, part in result["sequences"].items()} == {"s1": 4.2, "s2": 10.2}


@pytest.mark.real
def test_icvl_prior_needs_to_be_told(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = real_data / "published/icvl"
    files = {"predictions": (folder / "CVWW15_ICVL_Prior.txt",), "labels": folder / "icvl_test_groundtruth_label.txt"}
    with pytest.raises(ValueError, match=r"has 702 frames, but there are 1596 labels\..*--first 702"):
        evaluate("icvl", **files)
    result = _json(capsys, "icvl", first=702, **files)
    assert list(result["sequences"]) == ["seq1"]
    assert result["notes"] == ["702 frames. The full protocol of icvl has 1596."]


def test_all_36_joints_are_reduced_to_the_evaluated_and_give_angles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = _text(tmp_path / "labels.txt", LABELS_MM)
    predictions = (_text(tmp_path / "p.txt", LABELS_MM[:, EVALUATED] + [0, 0, 5.0]),)
    result = _json(capsys, "nyu", predictions=predictions, labels=labels)
    assert result["mean_mm"] == pytest.approx(5, abs=0.01)
    assert result["skeleton"] == "nyu14"
    assert result["by_yaw"] is not None
    assert result["notes"] == ["6 frames. The full protocol of nyu has 8252."]


def test_several_files_are_joined_and_a_list_names_sequences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = _text(tmp_path / "labels.txt", LABELS_MM)
    parts = (_text(tmp_path / "a.txt", LABELS_MM[:2]), _text(tmp_path / "b.txt", LABELS_MM[2:] + np.array([3.0, 0, 0])))
    (tmp_path / "list.txt").write_text("A/1.png\n" * 2 + "B/1.png\n" * 4)
    result = _json(capsys, "nyu", predictions=parts, labels=labels, list_file=tmp_path / "list.txt")
    assert {name: part["mean_mm"] for name, part in result["sequences"].items()} == {
        "A": 0,
        "B": pytest.approx(3, abs=0.01),
    }
    assert result["sequence_mean_mm"] == pytest.approx(1.5, abs=0.01)


def test_own_predictions_beside_a_label_file_share_joints_and_miss_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = _text(tmp_path / "labels.txt", LABELS_MM)
    frames = [
        PredictedFrame(str(i), "", None, None if i == 0 else joints)
        for i, joints in enumerate(LABELS_MM.astype(np.float32))
    ]
    write_predictions(tmp_path / "p.jsonl", PredictionHeader("nyu36", "label", "m"), frames)
    result = _json(capsys, "nyu", predictions=(tmp_path / "p.jsonl",), labels=labels)
    assert (result["missed"], result["source"], result["centers"]) == (1, "m", "label")
    assert result["mean_mm"] == pytest.approx(0, abs=0.01)
    assert any("Frames without a prediction: 1 of 6." in note for note in result["notes"])
    assert any("centred on the labels" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Give either --model"),
        ({"predictions": (Path("p"),), "model": "m"}, "Give either --model"),
        ({"predictions": (Path("p"),)}, "Give either --data"),
        ({"model": "m", "labels": Path("l")}, "A model needs images"),
        ({"predictions": (Path("p"),), "data": "d", "list_file": Path("l")}, "--list-file goes with --labels"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate("nyu", **given)


def test_a_report_without_matplotlib_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "crossnets.evaluation.report", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    labels = _text(tmp_path / "labels.txt", LABELS_MM)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'crossnets\[report\]'") as raised:
        evaluate("nyu", predictions=(labels,), labels=labels, report=tmp_path / "report")
    assert raised.value.name == "matplotlib"


def test_first_and_counts_are_checked(tmp_path: Path) -> None:
    labels, longer = _text(tmp_path / "l.txt", LABELS_MM), _text(tmp_path / "p.txt", np.tile(LABELS_MM, (2, 1, 1)))
    with pytest.raises(ValueError, match=r"p has 12 frames, but there are 6 labels\.$"):
        evaluate("nyu", predictions=(longer,), labels=labels)
    with pytest.raises(ValueError, match=r"--first is 9, but .*l\.txt has 6 frames"):
        evaluate("nyu", predictions=(longer,), labels=labels, first=9)


def test_a_part_of_the_labels_is_of_no_sequence_unless_it_is_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines of the middle of a file would be credited to its first sequence."""
    labels = _text(tmp_path / "l.txt", LABELS_MM)
    assert set(_json(capsys, "nyu", predictions=(labels,), labels=labels)["sequences"]) == {"all"}
    assert set(_json(capsys, "nyu", predictions=(labels,), labels=labels, first=6)["sequences"]) == {"s1"}


def test_depths_that_no_joint_has_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joints_mm = np.random.default_rng(0).normal((0, 0, 600), 30, (4, 36, 3))
    uvd = project(joints_mm, NYU_CAMERA)
    write_uvd_text(tmp_path / "good.txt", uvd)
    uvd[1, 5, 2] *= -1
    write_uvd_text(tmp_path / "behind.txt", uvd)
    good, behind = tmp_path / "good.txt", tmp_path / "behind.txt"
    with pytest.raises(ValueError, match=r"behind\.txt:2: joint 5 has a depth of -\d+.* mm, expected more than 0"):
        evaluate(dataset="nyu", predictions=(good,), labels=behind)
    uvd[2, 7, 0] = 1e300
    write_uvd_text(tmp_path / "huge.txt", uvd)
    with pytest.raises(ValueError, match=r"huge\.txt:3: joint 7 is at 1e\+300, .* none above 100000"):
        evaluate(dataset="nyu", predictions=(tmp_path / "huge.txt",), labels=good)
    write_uvd_text(tmp_path / "metres.txt", project(joints_mm, NYU_CAMERA) / np.array([1, 1, 1000]))
    result = _json(capsys, "nyu", predictions=(tmp_path / "metres.txt",), labels=good)
    assert "The median depth of the predictions is 0.6" in result["notes"][-1]
    (tmp_path / "list.txt").write_text("A/1.png\n" * 5)
    with pytest.raises(ValueError, match=r"names 5 frames, but .*good\.txt has 4"):
        evaluate(dataset="nyu", predictions=(good,), labels=good, list_file=tmp_path / "list.txt")
    evaluate(dataset="nyu", predictions=(behind,), labels=good, json=True)
    assert "at or behind the camera: 1. They are scored unchanged." in json.loads(capsys.readouterr().out)["notes"][-1]


def test_files_of_different_kinds_or_joints_are_refused(tmp_path: Path) -> None:
    labels, text = _text(tmp_path / "l.txt", LABELS_MM), _text(tmp_path / "p.txt", LABELS_MM)
    fewer = _text(tmp_path / "q.txt", LABELS_MM[:, EVALUATED])
    own, other = tmp_path / "o.jsonl", tmp_path / "o2.jsonl"
    write_predictions(own, PredictionHeader("nyu36", "image", "m"), [])
    write_predictions(other, PredictionHeader("nyu36", "label", "m"), [])
    for files, message in (
        ((text, own), "two formats, expected one"),
        ((text, fewer), "different numbers of joints"),
        ((own, other), "differ in skeleton, centres or refinement"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate("nyu", predictions=files, labels=labels)
