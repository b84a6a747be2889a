import json
from pathlib import Path

import numpy as np
import pytest

from crossnets.evaluation.matching import joined
from crossnets.evaluation.predictions import (
    PredictionFile,
    PredictionHeader,
    is_prediction_file,
    read_predictions,
    read_uvd_text,
    write_predictions,
    write_uvd_text,
)
from crossnets.geometry.skeleton import MSRA21
from crossnets.types import PredictedFrame

HEADER = PredictionHeader("nyu14", "image", "model-a", "energy")


def test_text_file_round_trip(tmp_path: Path) -> None:
    uvd = np.random.default_rng(0).uniform(0, 900, (7, 14, 3)).round(3)
    write_uvd_text(tmp_path / "new" / "a.txt", uvd)
    np.testing.assert_allclose(read_uvd_text(tmp_path / "new" / "a.txt", (14, 36)), uvd)
    assert not is_prediction_file(tmp_path / "new" / "a.txt")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.txt is empty"),
        ("1 2 3 4 5 6\n1 2 3\n", r"a\.txt:2: found 3 numbers, expected 6 \(2 joints\)"),
        ("1 2 3 4\n", r"a\.txt:1: found 4 numbers, expected 6 \(2 joints\) or 9 \(3 joints\)"),
        ("1 2 3 4 5 6\n\n1 2 3 4 5 6\n", r"a\.txt:2: found 0 numbers"),
        ("1 2 3 4 5 6\n1 2 3 4 5 x6\n", r"a\.txt:2: found 'x6', expected a number"),
        ("1 2 3 4 5 6\n1 2 nan 4 5 6\n1 2 inf 4 5 6\n", r"a\.txt:2: found a value that is not finite.*2 such lines"),
    ],
)
def test_error_in_text_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_uvd_text(tmp_path / "a.txt", (2, 3))


def test_missing_and_binary_files_raise(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No file .*none\.txt"):
        read_uvd_text(tmp_path / "none.txt", (2,))
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"b\.txt is not text"):
        read_uvd_text(tmp_path / "b.txt", (2,))


def test_json_lines_round_trip(tmp_path: Path) -> None:
    joints = np.random.default_rng(0).normal(size=(14, 3)).astype(np.float32) * 300
    frames = [
        PredictedFrame("nyu/1", "s1", np.array([1, 2, 600.5], np.float32), joints, np.full(14, 7.5, np.float32)),
        PredictedFrame("nyu/2", "s1", None, None),
        PredictedFrame("nyu/3", "s1", None, joints, forced=True),
    ]
    path = tmp_path / "p.jsonl"
    assert write_predictions(path, HEADER, iter(frames)) == 3
    assert is_prediction_file(path)
    back = read_predictions(path)
    assert back.header == HEADER
    assert [frame.key for frame in back.frames] == ["nyu/1", "nyu/2", "nyu/3"]
    assert [frame.forced for frame in back.frames] == [False, False, True]
    assert back.frames[0].joints_mm is not None
    np.testing.assert_allclose(back.frames[0].joints_mm, joints, atol=1e-4)
    np.testing.assert_allclose(back.frames[0].std_mm, 7.5)
    assert back.frames[1].std_mm is None
    assert back.frames[1].center_mm is None
    assert back.frames[1].joints_mm is None
    head = json.loads(path.read_text().splitlines()[0])
    assert head == {
        "format": "crossnets-predictions",
        "version": 1,
        "skeleton": "nyu14",
        "centers": "image",
        "model": "model-a",
        "refine": "energy",
        "forced_marked": False,
    }


@pytest.mark.parametrize("joints", [np.zeros((3, 3)), np.full((14, 3), np.nan)])
def test_failed_write_leaves_no_file(tmp_path: Path, joints: np.ndarray) -> None:
    frame = PredictedFrame("nyu/1", "s1", None, joints.astype(np.float32))
    with pytest.raises(ValueError, match=r"has 3 joints, but nyu14 has 14|JSON"):
        write_predictions(tmp_path / "p.jsonl", HEADER, [frame])
    assert not list(tmp_path.iterdir())


HEAD = '{"format": "crossnets-predictions", "version": 1, "skeleton": "nyu14", "centers": "image", "model": "m"}\n'
NONE = '{"key": "a", "sequence": "s", "center_mm": null, "joints_mm": null}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"p\.jsonl:1: this line is not JSON"),
        ("[1]\n", r"p\.jsonl:1: found list, expected a JSON object"),
        (
            '{"format": "x"}\n',
            r"p\.jsonl:1: found format 'x', version None\. Expected 'crossnets-predictions', v",
        ),
        (HEAD.replace("nyu14", "nyu15"), r"p\.jsonl:1: Unknown skeleton 'nyu15'. Known: .*nyu14"),
        (HEAD + NONE + NONE, r"p\.jsonl:3: the key 'a' is repeated"),
        (HEAD + NONE[:20], r"p\.jsonl:2: this line is not JSON .* cut off"),
        (HEAD + "{}\n", r"p\.jsonl:2: found no `key`"),
        (HEAD + '{"key": "a", "joints_mm": [[1, 2, 3]]}\n', r"p\.jsonl:2: `joints_mm` is not 14 x 3 finite numbers"),
        (HEAD + '{"key": "a", "center_mm": [1, NaN, 3]}\n', r"p\.jsonl:2: `center_mm` is not 3 finite numbers"),
        (HEAD + '{"key": "a", "joints_mm": [[1], [2, 3]]}\n', r"p\.jsonl:2: `joints_mm` is not"),
    ],
)
def test_error_in_json_lines_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_predictions(tmp_path / "p.jsonl")


def test_joints_beyond_all_hands_are_refused() -> None:
    far = np.zeros((21, 3), np.float32)
    far[3, 1] = 1e38
    header = PredictionHeader("msra21", "detector", "model")
    file = PredictionFile(header, MSRA21, (PredictedFrame("a", "", None, far, None),))
    with pytest.raises(ValueError, match=r"prediction of frame a has a joint at 1e\+38 mm. Expected joints in mm"):
        joined([file])
