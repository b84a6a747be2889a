"""Errors by groups of frames that a file names, such as seen and unseen subjects."""

import json
from pathlib import Path

import numpy as np
import pytest

from crossnets.cli.evaluate import evaluate
from crossnets.datasets.opening import open_dataset
from crossnets.evaluation.groups import grouped
from crossnets.evaluation.matching import Labelled
from crossnets.evaluation.predictions import PredictionHeader, write_predictions
from crossnets.geometry.skeleton import HANDS17_21
from crossnets.synth.writing import write_dataset
from crossnets.types import PredictedFrame

KEYS = ("hands17/test/image_D00000001", "hands17/test/image_D00000002", "hands17/other/image_D00000002")


def labelled(keys: tuple[str, ...] = KEYS) -> Labelled:
    count = len(keys) or 3
    return Labelled(np.ones((count, 21, 3)), HANDS17_21, ("all",) * count, keys)


def written(folder: Path, text: str) -> Path:
    path = folder / "groups.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "image_D00000001.png seen\ntest/image_D00000002.png\tunseen\nhands17/other/image_D00000002 seen\n",
        "image_D00000001,seen\n\ntest/image_D00000002.PNG,unseen\nother/image_D00000002 , seen",
    ],
)
def test_frames_are_named_by_the_end_of_their_keys(tmp_path: Path, text: str) -> None:
    found = grouped(labelled(), written(tmp_path, text))
    assert found.sequences == ("seen", "unseen", "seen")
    assert found.notes == ()


def test_frames_that_the_file_does_not_name_are_a_group(tmp_path: Path) -> None:
    found = grouped(labelled(), written(tmp_path, "image_D00000001 seen"))
    assert found.sequences == ("seen", "no group", "no group")
    assert "does not name: 2." in found.notes[0]


def test_labels_without_names_take_groups_by_their_order(tmp_path: Path) -> None:
    path = written(tmp_path, "1 seen\n2 unseen\n3 seen")
    assert grouped(labelled(()), path).sequences == ("seen", "unseen", "seen")
    path.write_text("1 seen\n")
    with pytest.raises(ValueError, match=r"1 lines, but there are 3 labels"):
        grouped(labelled(()), path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("seen", "groups.txt:1: found 'seen', expected the name of a frame and its group"),
        ("image_D00000001 seen\nimage_D00000001.png unseen", "is in two groups, seen and unseen"),
        ("image_D00000002 seen", "image_D00000002 is the end of 2 names of frames"),
        ("image_7 seen", "names none of the 3 labelled frames"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grouped(labelled(), written(tmp_path, text))


def test_errors_of_hands17_by_seen_and_unseen_subjects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = f"hands17:{tmp_path / 'set'}"
    write_dataset("hands17", 1, tmp_path / "set", test_frames=4, progress=False)
    dataset = open_dataset(data, "test")
    frames = [dataset[row] for row in range(4)]
    predicted = []
    for row, frame in enumerate(frames):
        assert frame.joints_mm is not None
        off_mm = np.float32([10, 0, 0] if row < 3 else [20, 0, 0])
        predicted.append(PredictedFrame(frame.key, frame.sequence, None, frame.joints_mm + off_mm))
    write_predictions(tmp_path / "predictions.jsonl", PredictionHeader("hands17-21", "image", "test"), iter(predicted))
    names = [
        f"{frame.key.rpartition('/')[2]}.png {'unseen' if row == 3 else 'seen'}" for row, frame in enumerate(frames)
    ]
    groups = written(tmp_path, "\n".join(names))
    evaluate(data=data, predictions=(tmp_path / "predictions.jsonl",), groups=groups, json=True)
    found = json.loads(capsys.readouterr().out)
    means = {name: (part["frames"], round(part["mean_mm"], 2)) for name, part in found["sequences"].items()}
    assert means == {"seen": (3, 10.0), "unseen": (1, 20.0)}
    evaluate(data=data, predictions=(tmp_path / "predictions.jsonl",), groups=groups, report=tmp_path / "report")
    assert "unseen" in capsys.readouterr().out
    assert "unseen" in (tmp_path / "report" / "index.html").read_text()
