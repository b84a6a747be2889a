"""Labels that do not fit their images: each mistake is named, and right labels raise no alarm."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossnets.cli.train import DataOptions, RunOptions, train_paper
from crossnets.datasets.dataset import HandDataset
from crossnets.datasets.info import describe
from crossnets.datasets.label_checks import LabelChecks, LabelReport, check_sample, wrong_order
from crossnets.datasets.opening import open_dataset
from crossnets.datasets.recording import RecordingWriter
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.skeleton import MEDIAPIPE21, MSRA21
from crossnets.synth.writing import write_dataset
from crossnets.types import HandFrame

FRAMES = 48
THUMB_FIRST = MSRA21.order_of(MEDIAPIPE21) or ()
TIPS_FIRST = [0, *(4 * finger + part for finger in range(5) for part in (4, 3, 2, 1))]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[HandFrame]:
    out = tmp_path_factory.mktemp("labels") / "recording"
    write_dataset("recording", FRAMES, out, camera="realsense-d435", clutter=True, progress=False)
    recording = open_dataset(f"recording:{out}")
    return [recording[index] for index in range(FRAMES)]


def checked(frames: list[HandFrame]) -> LabelReport:
    checks = LabelChecks(MSRA21, len(frames))
    for index, frame in enumerate(frames):
        checks.add(index, frame)
    return checks.report()


def changed(frames: list[HandFrame], change: Callable[[HandFrame, np.ndarray], np.ndarray]) -> list[HandFrame]:
    return [
        replace(frame, joints_mm=change(frame, frame.joints_mm).astype(np.float32))
        for frame in frames
        if frame.joints_mm is not None
    ]


def shifted(frames: list[HandFrame], steps: int) -> list[HandFrame]:
    return [replace(frame, joints_mm=frames[(k + steps) % FRAMES].joints_mm) for k, frame in enumerate(frames)]


def test_right_labels_raise_no_alarm(frames: list[HandFrame]) -> None:
    report = checked(frames)
    assert report.cause is None
    assert report.fit is not None
    assert report.fit > 0.7
    assert report.bad == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame, joints: joints / 1000, "metres instead of mm"),
        (lambda frame, joints: joints / 10, "centimetres instead of mm"),
        (lambda frame, joints: joints * [1, -1, 1], "y of the labels points up"),
        (lambda frame, joints: joints * [-1, 1, 1], "mirrored"),
        (lambda frame, joints: joints * [1, -1, -1], "OpenGL"),
        (lambda frame, joints: project(joints, frame.camera), "pixels instead of mm"),
        (lambda frame, joints: joints - [-40, 0, 0], r"moved by about \(40, "),
        (lambda frame, joints: joints - [0, 0, 40], r"moved by about \(-?0, -?0, -[345]0\)"),
        (lambda frame, joints: joints / [1.6, 1.6, 1], "focal length of the labels' camera is 1.6 times"),
        (lambda frame, joints: joints[list(THUMB_FIRST)], "fit it with the thumb first"),
        (lambda frame, joints: joints[TIPS_FIRST], "fit it with the tips first"),
        (lambda frame, joints: joints[::-1] * [3, 0.2, 1], "No common mistake explains it"),
    ],
)
def test_each_mistake_is_named(
    frames: list[HandFrame], change: Callable[[HandFrame, np.ndarray], np.ndarray], says: str
) -> None:
    cause = checked(changed(frames, change)).cause
    assert cause is not None
    assert re.search(says, cause), cause


@pytest.mark.parametrize(("steps", "says"), [(1, "1 frame later"), (-2, "2 frames earlier")])
def test_shifted_labels_are_named(frames: list[HandFrame], steps: int, says: str) -> None:
    cause = checked(shifted(frames, steps)).cause
    assert cause is not None
    assert says in cause


def test_mirrored_images_are_named(frames: list[HandFrame]) -> None:
    mirrored = [replace(frame, depth_mm=np.ascontiguousarray(frame.depth_mm[:, ::-1])) for frame in frames]
    cause = checked(mirrored).cause
    assert cause is not None
    assert "mirrored" in cause


def test_single_bad_frame_is_listed(frames: list[HandFrame]) -> None:
    wrong = [*frames]
    joints = frames[5].joints_mm
    assert joints is not None
    wrong[5] = replace(frames[5], joints_mm=joints - np.array([0, 0, 150], np.float32))
    report = checked(wrong)
    assert report.cause is None
    assert [problem.path for problem in report.bad] == [Path(frames[5].key)]


def test_skeletons_without_phalanges_have_no_order() -> None:
    three = replace(MSRA21, joints=("a", "b", "c"), parents=(-1, 0, 1))
    assert wrong_order(np.ones((2, 3, 3), np.float32), three) is None


def written(frames: list[HandFrame], folder: Path) -> Path:
    camera = CAMERAS["realsense-d435"]._replace(pinhole=frames[0].camera)
    with RecordingWriter(folder, camera, MSRA21) as writer:
        for frame in frames:
            writer.add(frame.depth_mm, frame.joints_mm)
    return folder


def test_info_reports_the_cause(frames: list[HandFrame], tmp_path: Path) -> None:
    info = describe(f"recording:{written(changed(frames, lambda _, joints: joints / 10), tmp_path / 'cm')}")
    assert info.label_check is not None
    assert "centimetres" in (info.label_check.cause or "")
    assert info.to_dict()["label_check"]["cause"] == info.label_check.cause


def test_train_stops_unless_labels_are_trusted(frames: list[HandFrame], tmp_path: Path) -> None:
    data = written(changed(frames, lambda _, joints: joints * [-1, 1, 1]), tmp_path / "mirrored")
    run = RunOptions(out=tmp_path / "run", budget="1s", threads=1, workers=0)
    with pytest.raises(ValueError, match=r"(?s)do not seem right.*mirrored.*--trust-labels"):
        train_paper(run, DataOptions(data=f"recording:{data}"))
    assert not (tmp_path / "run" / "model").exists()


def test_train_reports_single_bad_labels(
    frames: list[HandFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [*frames]
    joints = frames[5].joints_mm
    assert joints is not None
    wrong[5] = replace(frames[5], joints_mm=joints - np.array([0, 0, 150], np.float32))
    data = written(wrong, tmp_path / "one_bad")
    run = RunOptions(out=tmp_path / "run", epochs=("pose_vae=1",), stages=("pose_vae",), threads=1, workers=0)
    train_paper(run, DataOptions(data=f"recording:{data}"))
    told = capsys.readouterr().err
    assert "Labels that do not fit their images: 1 of 48 that were checked, first recording/one_bad/000005" in told


@pytest.mark.real
@pytest.mark.parametrize("sequence", ["P1", "P4", "P5"])
def test_real_labels_raise_no_alarm(real_data: Path, sequence: str) -> None:
    dataset: HandDataset = open_dataset(f"cvar:{real_data}/cvar#{sequence}")
    assert dataset.skeleton is not None
    report = check_sample(dataset, dataset.skeleton)
    assert report.cause is None
    assert report.bad == ()
