"""Labels that do not fit their images: each mistake is named, and right labels raise no alarm."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from crossnets.cli.train import DataOptions, RunOptions, train_paper
from crossnets.datasets.dataset import HandDataset
from crossnets.datasets.info import describe, info_command
from crossnets.datasets.label_bones import rigid_bones
from crossnets.datasets.label_checks import LabelChecks, LabelReport, check_labels, is_off, wrong_order
from crossnets.datasets.opening import open_dataset
from crossnets.datasets.packing import PackConfig, pack
from crossnets.datasets.recording import Recording, RecordingWriter
from crossnets.evaluation.matching import read_labels
from crossnets.evaluation.protocols import Protocol
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.skeleton import MEDIAPIPE21, MSRA21, NYU36, SKELETONS
from crossnets.synth.writing import Format, write_dataset
from crossnets.types import HandFrame

FRAMES = 48
THUMB_FIRST = MSRA21.order_of(MEDIAPIPE21) or ()
SHUFFLED = np.random.default_rng(0).permutation(21)
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
        (
            lambda frame, joints: joints[np.random.default_rng(0).permutation(21)],
            "do not have the proportions of a hand",
        ),
        (lambda frame, joints: joints * [1, 1, -1] + [0, 0, 2 * joints[0, 2]], "relative to wrist point the other way"),
        (lambda frame, joints: joints[0] + 0.4 * (joints - joints[0]), "The fingers are 0.3. of an adult's mean"),
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


def test_labels_beside_hands_without_surroundings_are_named(tmp_path: Path) -> None:
    write_dataset("nyu", FRAMES, tmp_path / "nyu", progress=False)
    dataset = open_dataset(f"nyu:{tmp_path / 'nyu'}")
    checks = LabelChecks(NYU36, FRAMES)
    right = [dataset[index] for index in range(FRAMES)]
    for index, frame in enumerate(changed(right, lambda _, joints: joints - [-40, 0, 0])):
        checks.add(index, frame)
    cause = checks.report().cause
    assert cause is not None
    assert "moved by about (40, 0, " in cause


def test_single_bad_frame_is_listed(frames: list[HandFrame]) -> None:
    wrong = [*frames]
    joints = frames[5].joints_mm
    assert joints is not None
    wrong[5] = replace(frames[5], joints_mm=joints - np.array([0, 0, 150], np.float32))
    report = checked(wrong)
    assert report.cause is None
    assert [problem.path for problem in report.bad] == [Path(frames[5].key)]


BROKEN: dict[str, Callable[[list[HandFrame], int], np.ndarray]] = {
    "another frame": lambda frames, row: frames[(row + FRAMES // 2) % FRAMES].joints_mm,
    "nearer": lambda frames, row: frames[row].joints_mm - [0, 0, 150],
    "one joint": lambda frames, row: frames[row].joints_mm + 200 * np.eye(21)[:, [12]] * [0, 1, 0],
    "half as large": lambda frames, row: frames[row].joints_mm * 0.45 + frames[row].joints_mm[0] * 0.55,
    "one point": lambda frames, row: frames[row].joints_mm * 0 + frames[row].joints_mm[0],
    "another order": lambda frames, row: frames[row].joints_mm[np.random.default_rng(row).permutation(21)],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_five_percent_of_broken_labels_are_listed(frames: list[HandFrame], kind: str) -> None:
    rows = (10, 25, 40)
    wrong = [*frames]
    for row in rows:
        wrong[row] = replace(frames[row], joints_mm=BROKEN[kind](frames, row).astype(np.float32))
    report = checked(wrong)
    assert report.cause is None
    assert [problem.path for problem in report.bad] == [Path(frames[row].key) for row in rows]


def test_bones_that_bend_are_not_judged(frames: list[HandFrame]) -> None:
    places = ("wrist", "thumb_tip", "index_tip", "middle_tip", "ring_tip", "little_tip")
    six = replace(MSRA21, name="six", joints=places, parents=(-1, 0, 0, 0, 0, 0), standard=places)
    checks = LabelChecks(six, FRAMES)
    for row, frame in enumerate(frames):
        assert frame.joints_mm is not None
        joints_mm = frame.joints_mm[[MSRA21.joints.index(place) for place in places]]
        checks.add(row, replace(frame, joints_mm=joints_mm))
    assert checks.report().bad == ()


@pytest.mark.parametrize(("name", "rigid"), [("msra21", 20), ("icvl16", 15), ("nyu36", 35), ("nyu14", 4)])
def test_rigid_bones_of_skeletons(name: str, rigid: int) -> None:
    assert len(rigid_bones(SKELETONS[name])) == rigid


def test_an_image_that_lost_the_hand_does_not_judge_its_label(frames: list[HandFrame]) -> None:
    lost = np.zeros_like(frames[3].depth_mm)
    joints = frames[3].joints_mm
    assert joints is not None
    for shown, off in ((2, False), (100, True)):
        lost[:shown, :shown] = 2000
        assert is_off(replace(frames[3], depth_mm=lost), joints) == off


def test_the_other_side_than_the_data_set_states_is_named(tmp_path: Path) -> None:
    write_dataset("h2o", 24, tmp_path / "h2o", progress=False)
    report = check_h2o(tmp_path / "h2o")
    assert (report.cause, report.side) == (None, "right")
    # The second hand of a label file is the right one.
    for path in (tmp_path / "h2o").rglob("hand_pose/*.txt"):
        words = path.read_text().split()
        path.write_text(" ".join([*words[64:], *words[:64]]))
    report = check_h2o(tmp_path / "h2o")
    assert report.cause is not None
    assert "those of the other hand than the data set says" in report.cause


def check_h2o(folder: Path) -> LabelReport:
    dataset = open_dataset(f"h2o:{folder}")
    assert dataset.skeleton is not None
    return check_labels(dataset, dataset.skeleton)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in get_args(Format) if name != "recording"])
def test_files_of_every_format_raise_no_alarm(name: Format, tmp_path: Path) -> None:
    write_dataset(name, 60, tmp_path / name, progress=False)
    info = describe(f"{name}:{tmp_path / name}")
    assert info.label_check is not None
    assert info.label_check.cause is None
    assert info.label_check.bad == ()
    assert info.label_check.side == ("left" if name == "icvl" else "right")


def test_skeletons_without_phalanges_have_no_order() -> None:
    three = replace(MSRA21, joints=("a", "b", "c"), parents=(-1, 0, 1))
    assert wrong_order(np.ones((2, 3, 3), np.float32), three) is None


def written(frames: list[HandFrame], folder: Path) -> Path:
    camera = CAMERAS["realsense-d435"]._replace(pinhole=frames[0].camera)
    with RecordingWriter(folder, camera, MSRA21) as writer:
        for frame in frames:
            writer.add(frame.depth_mm, frame.joints_mm)
    return folder


def test_evaluation_notes_labels_that_seem_wrong(frames: list[HandFrame], tmp_path: Path) -> None:
    mirrored = changed(frames, lambda _, joints: joints * np.array([-1, 1, 1]))
    protocol = Protocol("recording", MSRA21, frames[0].camera, ())
    right = read_labels(Recording(written(frames, tmp_path / "right")), protocol, [])
    wrong = read_labels(Recording(written(mirrored, tmp_path / "mirrored")), protocol, [])
    assert right.notes == ()
    (note,) = wrong.notes
    assert "labels seem wrong" in note
    assert "mirrored" in note


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


@pytest.fixture(scope="module")
def with_bad(frames: list[HandFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of which two labels are those of other hands."""
    wrong = [*frames]
    for row in (5, 20):
        wrong[row] = replace(frames[row], joints_mm=frames[row].joints_mm - np.float32([0, 0, 150]))
    return written(wrong, tmp_path_factory.mktemp("bad") / "bad")


def quick(out: Path) -> RunOptions:
    return RunOptions(out=out, epochs=("pose_vae=1",), stages=("pose_vae",), threads=1, workers=0)


def left_out(run: Path) -> list[str]:
    lines = (run / "problems.jsonl").read_text().splitlines()
    problems = [json.loads(line) for line in lines]
    return sorted(problem["path"] for problem in problems if problem["what"] == "left out, as asked")


BAD = ["recording/bad/000005", "recording/bad/000020"]


def test_train_reports_single_bad_labels(with_bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_paper(quick(tmp_path / "run"), DataOptions(data=f"recording:{with_bad}"))
    told = capsys.readouterr().err
    assert f"Labels that do not fit their images: 2 of 48 that were checked, first {BAD[0]}" in told
    assert "--skip-bad-labels leaves them out" in told


@pytest.mark.parametrize("packed", [False, True])
def test_train_skips_bad_labels_and_resumes_with_the_same_frames(
    with_bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, packed: bool
) -> None:
    source = f"recording:{with_bad}"
    if packed:
        pack({source: open_dataset(source)}, tmp_path / "shards", PackConfig())
        source = f"shards:{tmp_path / 'shards'}"
    run = tmp_path / "run"
    train_paper(quick(run), DataOptions(data=source, skip_bad_labels=True))
    assert left_out(run) == BAD
    assert "44 labelled" in capsys.readouterr().err
    # A run that goes on leaves out the frames of its list, whatever the check would find now.
    (run / "left_out.txt").write_text("\n".join([*BAD, "recording/bad/000007"]))
    (run / "checkpoint.safetensors").unlink()
    with pytest.raises(ValueError, match=r"data\.skip_bad_labels: True there, None asked"):
        train_paper(quick(run), DataOptions(data=source))
    train_paper(quick(run), DataOptions(data=source, skip_bad_labels=True))
    assert "43 labelled" in capsys.readouterr().err


def test_train_leaves_out_the_frames_that_info_lists(
    with_bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"recording:{with_bad}"
    names = tmp_path / "bad.txt"
    info_command(source, bad_labels=names)
    assert [line.partition("\t")[0] for line in names.read_text().splitlines()[1:]] == BAD
    with names.open("a") as file:
        file.write("recording/bad/000099\n")
    run = tmp_path / "run"
    train_paper(quick(run), DataOptions(data=source, leave_out=names))
    assert left_out(run) == BAD
    told = capsys.readouterr().err
    assert (
        "1 of the 3 names of --leave-out are not among the frames of the training, first recording/bad/000099" in told
    )
    assert "Labels that do not fit" not in told
    names.write_text(BAD[0])
    with pytest.raises(ValueError, match=r"begun with other settings \(data\.leave_out\.digest"):
        train_paper(quick(run), DataOptions(data=source, leave_out=names))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There is no .*expected|Expected a text file with the name of a frame"),
        (b"\xff\xfe\x00", "is not a text file"),
        (b"5\n7\n", "2 of the 2 names of --leave-out are not among the frames of the training, first 5"),
    ],
)
def test_unusable_names_are_refused(with_bad: Path, tmp_path: Path, text: bytes | None, message: str) -> None:
    names = tmp_path / "names.txt"
    if text is not None:
        names.write_bytes(text)
    with pytest.raises((OSError, ValueError), match=message):
        train_paper(quick(tmp_path / "run"), DataOptions(data=f"recording:{with_bad}", leave_out=names))


def test_bad_labels_are_not_listed_where_most_are_wrong(frames: list[HandFrame], tmp_path: Path) -> None:
    data = written(changed(frames, lambda _, joints: joints / 10), tmp_path / "cm")
    with pytest.raises(ValueError, match=r"most labels of .*centimetres"):
        info_command(f"recording:{data}", bad_labels=tmp_path / "bad.txt")


@pytest.mark.real
@pytest.mark.parametrize("sequence", ["P1", "P4", "P5"])
def test_real_labels_raise_no_alarm(real_data: Path, sequence: str) -> None:
    dataset: HandDataset = open_dataset(f"cvar:{real_data}/cvar#{sequence}")
    assert dataset.skeleton is not None
    report = check_labels(dataset, dataset.skeleton)
    assert report.cause is None
    assert report.bad == ()
