"""Formats, films, sources and processes of the command `predict`."""

import csv
import json
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import crossnets
from crossnets.cli.pictures import Film, overlay
from crossnets.cli.predict import _Predictor, predict, predict_command
from crossnets.datasets.recording import Recording
from crossnets.evaluation.predictions import read_predictions
from crossnets.inference.predict import PredictedHands
from crossnets.synth.writing import write_dataset
from crossnets.weights import SHIPPED
from tests.datasets.make import make_recording

OPTIONS: dict[str, Any] = {
    **{"camera": None, "refinement": "none", "centers": "auto", "split": "test", "draw": False},
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered frames in clutter."""
    out = tmp_path_factory.mktemp("frames") / "recording"
    write_dataset("recording", 6, out, camera="realsense-d435", clutter=True, progress=False)
    return out


@pytest.fixture(scope="module")
def expected(recording: Path) -> list[list[crossnets.Hand]]:
    tracker = crossnets.load()
    data = Recording(recording)
    hands = [tracker.predict(data[index]) for index in range(len(data))]
    assert sum(map(len, hands)) >= 4
    return hands


def test_few_frames_of_another_scale_are_warned_about(recording: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", np.stack([Recording(recording)[k].depth_mm for k in range(3)]))
    fx, fy, cx, cy = Recording(recording).camera
    wrong = f"{fx / 2},{fy / 2},{cx},{cy}"
    with pytest.warns(UserWarning, match=r"The hands are \d+ mm long in the median"):
        assert len(list(crossnets.predict(tmp_path / "depth.npy", wrong))) == 3


def test_json_lines_have_all_that_python_gives(
    recording: Path, expected: list[list[crossnets.Hand]], tmp_path: Path
) -> None:
    predict_command(SHIPPED, [str(recording)], out=tmp_path, **OPTIONS)
    head, *lines = map(json.loads, (tmp_path / "predictions.jsonl").read_text().splitlines())
    hand = next(hands[0] for hands in expected if hands)
    assert head["joints"] == list(hand.skeleton.joints)
    for line, hands in zip(lines, expected, strict=True):
        whole = [{"skeleton": head["skeleton"], "joints": head["joints"], **entry} for entry in line["hands"]]
        assert whole == [one.to_dict() for one in hands]
    frames = read_predictions(tmp_path / "predictions.jsonl").frames
    assert [frame.joints_mm is None for frame in frames] == [not hands for hands in expected]


def test_sides_that_the_user_knows_are_those_of_python(recording: Path, tmp_path: Path) -> None:
    frame = Recording(recording)[0]
    for name, known in (("mirrored", {"mirrored": True}), ("left", {"side": "left"})):
        predict_command(SHIPPED, [str(recording)], out=tmp_path / name, **OPTIONS, **known, first=1)
        line = json.loads((tmp_path / name / "predictions.jsonl").read_text().splitlines()[1])
        expected = crossnets.load(**known).predict(frame)
        assert expected
        assert [hand["side"] for hand in line["hands"]] == [hand.side for hand in expected]
        assert {hand["mirrored"] for hand in line["hands"]} == {name == "mirrored"}
        np.testing.assert_allclose(line["hands"][0]["joints_mm"], expected[0].joints_mm, atol=0.006)


def test_csv_has_a_row_for_each_joint(recording: Path, expected: list[list[crossnets.Hand]], tmp_path: Path) -> None:
    predict_command(SHIPPED, [str(recording)], out=tmp_path, **OPTIONS, format="csv")
    with (tmp_path / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(max(1, sum(len(hand.joints_mm) for hand in hands)) for hands in expected)
    found = [row for row in rows if row["hand"]]
    mm = np.array([[float(row[f"{axis}_mm"]) for axis in "xyz"] for row in found])
    np.testing.assert_allclose(mm, np.concatenate([h.joints_mm for hands in expected for h in hands]), atol=0.006)
    assert [row["side"] for row in found[::21]] == [hand.side for hands in expected for hand in hands]
    assert len({row["key"] for row in rows}) == len(expected)


def test_arrays_are_read_without_pickles(recording: Path, expected: list[list[crossnets.Hand]], tmp_path: Path) -> None:
    predict_command(SHIPPED, [str(recording)], out=tmp_path, **OPTIONS, format="npz")
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as arrays:
        owners = [number for number, hands in enumerate(expected) for _ in hands]
        assert arrays["frame"].tolist() == owners
        assert len(arrays["keys"]) == len(expected)
        for joints_mm, hand in zip(arrays["joints_mm"], [h for hands in expected for h in hands], strict=True):
            np.testing.assert_array_equal(joints_mm, hand.joints_mm)


def test_several_processes_write_the_same_file(recording: Path, tmp_path: Path) -> None:
    (recording / "000003.png").rename(tmp_path / "kept.png")
    (recording / "000003.png").write_bytes((tmp_path / "kept.png").read_bytes()[:300])
    try:
        for workers in (1, 2):
            out = tmp_path / str(workers)
            predict_command(SHIPPED, [str(recording)], out=out, **OPTIONS | {"draw": True}, workers=workers)
    finally:
        (tmp_path / "kept.png").replace(recording / "000003.png")
    for name in ("predictions.jsonl", "problems.jsonl"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    pictures = [sorted(path.name for path in (tmp_path / one / "overlays").iterdir()) for one in "12"]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 5


def test_arrays_and_nested_folders_are_sources(
    recording: Path, expected: list[list[crossnets.Hand]], tmp_path: Path
) -> None:
    data = Recording(recording)
    depth = np.stack([data[index].depth_mm for index in range(len(data))])
    np.save(tmp_path / "depth.npy", depth)
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for path in (deep / "000000.png", tmp_path / "a" / "d" / "000001.png"):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(depth[0].round().astype(np.uint16)).save(path)
    frames = list(crossnets.predict([tmp_path / "depth.npy", tmp_path / "a"], "realsense-d435"))
    assert len(frames) == len(expected) + 2
    for (_, hands), others in zip(frames, expected, strict=False):
        assert [hand.to_dict() for hand in hands] == [hand.to_dict() for hand in others]
    assert [frame.key.partition("/a/")[2] for frame, _ in frames[-2:]] == ["b/c/000000.png", "d/000001.png"]


@pytest.mark.parametrize(
    "camera",
    ["384,384,320,240", crossnets.Pinhole(384.0, 384.0, 320.0, 240.0), np.array([384.0, 384, 320, 240])],
    ids=["text", "pinhole", "array"],
)
def test_predict_takes_cameras_in_all_forms(camera: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", np.zeros((480, 640), np.uint16))
    ((frame, hands),) = crossnets.predict(tmp_path / "depth.npy", camera)
    assert (frame.camera, hands) == (crossnets.Pinhole(384.0, 384.0, 320.0, 240.0), [])


def test_arrays_that_hold_no_depth_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "colour.npy", np.zeros((4, 4, 3, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"holds uint8 of shape \(4, 4, 3, 3\), expected uint16 or floating-point depth"
    ):
        next(crossnets.predict(tmp_path / "colour.npy", "realsense-d435"))
    np.save(tmp_path / "metres.npy", np.full((480, 640), 0.5, np.float32))
    with pytest.warns(UserWarning, match="Multiply metres by 1000"):
        assert not list(crossnets.predict(tmp_path / "metres.npy", "400,400,320,240"))


@pytest.mark.parametrize("workers", [1, 2])
def test_far_depths_without_hands_are_warned_about(tmp_path: Path, workers: int) -> None:
    # Counts of 0.1 mm that are taken for millimetres: a wall at 0.5 m seems to be at 5 m.
    np.save(tmp_path / "small_counts.npy", np.full((3, 240, 320), 5000, np.uint16))
    sources = [str(tmp_path / "small_counts.npy")]
    options = OPTIONS | {"camera": "241,241,160,120"}
    with pytest.warns(UserWarning, match="depth counts are smaller than 1 mm"):
        predict_command(SHIPPED, sources, out=tmp_path / "out", **options, workers=workers)


def test_a_camera_is_predicted_up_to_the_given_number(tmp_path: Path) -> None:
    predict_command(SHIPPED, ["virtual"], out=tmp_path, **OPTIONS, first=3)
    assert len(read_predictions(tmp_path / "predictions.jsonl").frames) == 3
    with pytest.raises(ValueError, match="a camera gives its frames one by one"):
        predict_command(SHIPPED, ["virtual"], out=tmp_path / "two", **OPTIONS, workers=2)


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_films_show_every_frame(recording: Path, tmp_path: Path, name: str) -> None:
    film = Film(tmp_path / name, 15.0)
    predict_command(SHIPPED, [str(recording)], out=tmp_path / "out", **OPTIONS, film=film)
    if name.endswith("gif"):
        with Image.open(tmp_path / name) as image:
            assert getattr(image, "n_frames", 1) == 6
    else:
        reader = cv2.VideoCapture(str(tmp_path / name))
        assert sum(iter(lambda: reader.read()[0], False)) == 6
        reader.release()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "out"])
    with pytest.raises(FileExistsError, match="is not overwritten"):
        Film(tmp_path / name, 15.0)


@pytest.mark.parametrize("where", ["_tell", "Film.__exit__"])
def test_a_command_that_ended_after_its_predictions_may_be_given_again(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    words = {"out": out, "draw": False, "video": tmp_path / "film.mp4"}
    with monkeypatch.context() as patched:
        patched.setattr(f"crossnets.cli.predict.{where}", stopped)
        with pytest.raises(KeyboardInterrupt):
            predict((str(recording),), **words)
    before = (out / "predictions.jsonl").read_text()
    assert words["video"].exists() == (where == "_tell")
    with pytest.raises(ValueError, match=r"unfinished prediction of another command: first was .None., is .2."):
        predict((str(recording),), **words, first=2)
    predict((str(recording),), **words)
    assert (out / "predictions.jsonl").read_text() == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["film.mp4", "out", "predictions.jsonl"]
    with pytest.raises(FileExistsError, match="is not overwritten"):
        predict((str(recording),), **words)


def test_a_gif_without_pillow_names_its_extra(recording: Path, tmp_path: Path) -> None:
    words = ["predict", str(recording), "--out", str(tmp_path / "out"), "--video", str(tmp_path / "film.gif")]
    code = (
        f"import sys; sys.modules['PIL'] = None; sys.argv = ['crossnets', *{words!r}]\n"
        "from crossnets.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "pip install '.[gif]' in " in done.stderr
    assert "A film that ends in .mp4 needs no extra." in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_no_film(tmp_path: Path) -> None:
    with suppress(RuntimeError), Film(tmp_path / "film.mp4", 30.0) as film:
        film.add(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_small_hands_are_enlarged_in_a_corner(recording: Path, expected: list[list[crossnets.Hand]]) -> None:
    index = next(number for number, hands in enumerate(expected) if hands)
    hand, frame = expected[index][0], Recording(recording)[index]
    centred_mm = hand.joints_mm - hand.joints_mm.mean(axis=0)
    for distance_mm, enlarged in ((120, False), (2000, True)):
        joints_mm = (centred_mm + np.array([0, 0, distance_mm])).astype(np.float32)
        found = PredictedHands(frame.key, "", np.zeros(3, np.float32), joints_mm)
        assert has_inset(overlay(frame, found, hand.skeleton)) == enlarged


def has_inset(picture: np.ndarray) -> bool:
    """Whether a corner of 192 x 192 pixels has a bright border."""
    corners = [
        picture[rows, columns]
        for rows in (slice(192), slice(-192, None))
        for columns in (slice(192), slice(-192, None))
    ]
    return any((corner[[0, -1]] == 235).all() and (corner[:, [0, -1]] == 235).all() for corner in corners)


def test_ctrl_c_ends_a_camera_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, count = _Predictor.answer, iter(range(10))

    def interrupted(self: _Predictor, frame: crossnets.HandFrame) -> Any:
        if next(count) == 1:
            signal.raise_signal(signal.SIGINT)
        return answer(self, frame)

    monkeypatch.setattr(_Predictor, "answer", interrupted)
    before = signal.getsignal(signal.SIGINT)
    predict_command(SHIPPED, ["virtual"], out=tmp_path, **OPTIONS)
    assert len(read_predictions(tmp_path / "predictions.jsonl").frames) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_worker_that_the_system_kills_is_told(tmp_path: Path) -> None:
    """As it does with the largest process when memory runs out."""
    ended = threading.Event()

    def kill_one() -> None:
        while not ended.is_set():
            for worker in multiprocessing.active_children()[:1]:
                worker.kill()
            time.sleep(0.01)

    make_recording(tmp_path / "frames", frames=4)
    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        with pytest.raises(OSError, match="One of the 2 processes died, perhaps for lack of memory"):
            predict_command(SHIPPED, [str(tmp_path / "frames")], out=tmp_path / "out", **OPTIONS, workers=2)
    finally:
        ended.set()
        killer.join()
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
