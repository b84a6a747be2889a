"""Paired differences of several results, and the command `compare`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossnets.cli.compare import compare
from crossnets.evaluation.comparison import compare_results, latex, markdown
from crossnets.evaluation.evaluation import Compared
from crossnets.evaluation.protocols import PROTOCOLS, subset_of
from crossnets.evaluation.report.comparison_page import comparison_page
from crossnets.geometry.camera import project
from crossnets.geometry.skeleton import ICVL16
from crossnets.synth.writing import write_dataset
from crossnets.weights import SHIPPED

FRAMES = 240
RNG = np.random.default_rng(4)
LABELS_MM = RNG.uniform(-60, 60, (FRAMES, 16, 3)) + np.array([0, 0, 400.0])


def result(error_mm: float, sequences: Sequence[str] = ("a",) * FRAMES, missing: Sequence[int] = ()) -> Compared:
    """Predictions with this error in x for every joint, and a little noise that differs from frame to frame."""
    noise = np.random.default_rng(round(10 * error_mm)).normal(0, 1.0, (FRAMES, 1, 1))
    predicted = LABELS_MM + np.array([error_mm, 0, 0]) + noise * np.array([1.0, 0, 0])
    predicted[list(missing)] = np.nan
    return Compared(predicted, LABELS_MM, tuple(sequences), ICVL16, PROTOCOLS["icvl"].camera, "image", "test")


def test_differences_are_those_of_the_mean_errors() -> None:
    comparison = compare_results("icvl", ["one", "two", "same"], [result(10.0), result(6.0), result(10.0)])
    none, two, same = comparison.differences
    assert none is None
    assert two is not None
    assert same is not None
    means = [evaluation.scores.mean_mm for evaluation in comparison.evaluations]
    assert means[0] is not None
    assert means[1] is not None
    assert two.mean_mm == pytest.approx(means[1] - means[0])
    assert two.low_mm is not None
    assert two.high_mm is not None
    assert two.low_mm < two.mean_mm < two.high_mm < -3.5
    assert two.is_clear
    assert (same.mean_mm, same.low_mm, same.high_mm) == (0.0, 0.0, 0.0)
    assert not same.is_clear
    assert comparison.resampled == "20 blocks of frames"


def test_only_frames_that_both_predict_are_paired() -> None:
    first = result(10.0, missing=range(100))
    other = result(6.0, missing=range(90, 120))
    difference = compare_results("icvl", ["a", "b"], [first, other]).differences[1]
    assert difference is not None
    assert difference.frames == FRAMES - 120
    assert compare_results("icvl", ["a", "b"], [first, result(6.0, missing=range(100, FRAMES))]).differences[1] is None


def test_few_frames_have_no_interval() -> None:
    short = [
        replace(one, predicted_mm=one.predicted_mm[:7], labels_mm=one.labels_mm[:7], sequences=one.sequences[:7])
        for one in (result(10.0), result(6.0))
    ]
    comparison = compare_results("icvl", ["a", "b"], short)
    difference = comparison.differences[1]
    assert difference is not None
    assert difference.mean_mm < -3
    assert (difference.low_mm, difference.high_mm) == (None, None)
    assert not difference.is_clear
    assert comparison.rows()[1][1][-1] == "too few frames"


def test_many_sequences_are_resampled_as_wholes() -> None:
    sequences = [f"s{index // 24}" for index in range(FRAMES)]
    one, two = result(5.0, sequences), result(5.0, sequences)
    # The second result is worse in one sequence alone: one of ten, which the bootstrap draws more or less often.
    two.predicted_mm[:24, :, 0] += 20
    comparison = compare_results("icvl", ["one", "two"], [one, two])
    difference = comparison.differences[1]
    assert comparison.resampled == "10 sequences"
    assert difference is not None
    assert difference.mean_mm == pytest.approx(2.0, abs=0.05)
    assert difference.low_mm == pytest.approx(0, abs=0.01)
    assert difference.high_mm is not None
    assert difference.high_mm > 5


def test_results_meet_on_their_common_joints() -> None:
    few = result(6.0)
    rows = [0, 3, 6]
    skeleton = subset_of(ICVL16, rows)
    few = replace(few, predicted_mm=few.predicted_mm[:, rows], labels_mm=few.labels_mm[:, rows], skeleton=skeleton)
    comparison = compare_results("icvl", ["all", "few"], [result(10.0), few])
    assert all(len(one.compared.skeleton) == 3 for one in comparison.evaluations)
    assert "Only the 3 joints that all results have are scored." in comparison.evaluations[0].notes


@pytest.mark.parametrize(
    ("names", "message"), [(["one"], "2 results and 1 names"), (["one", "one"], "are not different"), ([], "0 names")]
)
def test_names_are_needed(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_results("icvl", names, [result(1.0), result(2.0)])


def test_tables_and_page_hold_every_result() -> None:
    comparison = compare_results("icvl", ["a_b|c & 5 %", "<i>two"], [result(10.0), result(6.0)])
    mean = f"{comparison.evaluations[1].scores.mean_mm:.2f}"
    table = markdown(comparison)
    assert table.count("\n") == 4
    assert r"| a_b\|c & 5 % |" in table
    tex = latex(comparison)
    assert r"a\_b|c \& 5 \% & " in tex
    assert r"$\leq$ 20 mm" in tex
    page = comparison_page(comparison)
    for text in (table, tex, page):
        assert mean in text
    assert page.count("<svg") == 2
    assert "&lt;i&gt;two" in page
    assert "<i>two" not in page
    assert "bootstrap of 20 blocks of frames" in page


def test_the_command_compares_text_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = _text(tmp_path / "labels.txt", LABELS_MM)
    files = [_text(tmp_path / f"by-{e}.txt", LABELS_MM + np.array([e, 0, 0])) for e in (8.0, 5.0, 2.0)]
    compare(tuple(map(str, files)), labels=labels, dataset="icvl", first=FRAMES, out=tmp_path / "out", json=True)
    printed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in printed["results"]] == ["by-8", "by-5", "by-2"]
    differences = [row["difference_mm"] for row in printed["results"]]
    assert differences[0] is None
    assert [round(one["mean_mm"], 1) for one in differences[1:]] == [-3.0, -6.0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.json", "index.html", "table.md", "table.tex",
    ]  # fmt: skip


def _text(path: Path, joints_mm: np.ndarray) -> Path:
    uvd = project(joints_mm, PROTOCOLS["icvl"].camera)
    path = path.with_name(path.name.replace(".0.", "."))
    path.write_text("".join(" ".join(f"{value:.4f}" for value in row.ravel()) + "\n" for row in uvd))
    return path


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    labels = _text(tmp_path / "labels.txt", LABELS_MM)
    with pytest.raises(ValueError, match="Give either --data"):
        compare((str(labels), str(labels)))
    with pytest.raises(ValueError, match="Found 1 results, expected two"):
        compare((str(labels),), labels=labels, dataset="icvl")
    with pytest.raises(ValueError, match="Found 1 names for 2 results"):
        compare((str(labels), str(labels)), labels=labels, dataset="icvl", names=("one",))
    with pytest.raises(FileNotFoundError, match="neither a model, an evaluation nor a prediction file"):
        compare((str(labels), str(tmp_path / "nowhere")), labels=labels, dataset="icvl", out=tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="neither a model, an evaluation nor a prediction file"):
        compare((str(SHIPPED), str(tmp_path / "nowhere")), data=str(tmp_path), dataset="icvl", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()  # no model has predicted before the error


def test_models_predict_once_for_each_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset("recording", 6, tmp_path / "hands", camera="realsense-d435", progress=False)
    data = f"recording:{tmp_path / 'hands'}"
    out = tmp_path / "out"
    whole = (str(SHIPPED), str(SHIPPED))
    for first, folders in ((3, 2), (3, 2), (5, 4)):
        compare(whole, data=data, names=("a", "b"), first=first, out=out, json=True)
        printed = json.loads(capsys.readouterr().out)
        assert [row["frames"] for row in printed["results"]] == [first, first]
        assert printed["results"][1]["difference_mm"]["mean_mm"] == 0
        assert len(list((out / "predictions").iterdir())) == folders
    # An evaluation's folder gives the same numbers without predicting again.
    (folder, *_) = sorted((out / "predictions").glob("a-*"))
    first = len((folder / "predictions.jsonl").read_text().splitlines()) - 1
    compare(
        (str(folder), str(folder / "predictions.jsonl")), data=data, names=("a", "b"), first=first, out=out, json=True
    )
    again = json.loads(capsys.readouterr().out)
    assert again["results"][0]["mean_mm"] == json.loads((folder / "scores.json").read_text())["mean_mm"]
