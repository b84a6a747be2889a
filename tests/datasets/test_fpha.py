"""FPHA: rows and images, both splits, and damaged files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossnets.datasets.dataset import FrameError
from crossnets.datasets.fpha import ACTIONS, FPHA
from crossnets.datasets.info import describe
from crossnets.datasets.opening import detect_format, open_dataset
from crossnets.datasets.writers import FPHAWriter
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.skeleton import HANDS17_21
from tests.datasets.make import Made, edit_line, edit_word, hand_depth, hands, mutations, write_frames, write_png16

CAMERA = CAMERAS["realsense-sr300"]
FRAMES = 12
"""Two for each action of the three subjects of a split."""


@pytest.fixture(scope="module")
def made() -> Made:
    return hands(HANDS17_21, CAMERA, FRAMES)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, made: Made) -> Path:
    root = tmp_path_factory.mktemp("fpha") / "set"
    write_frames((FPHAWriter(root, split, FRAMES) for split in ("train", "test")), made)
    return root


def _label(root: Path) -> Path:
    return root / "Hand_pose_annotation_v1_1" / "Subject_1" / "open_milk" / "1" / "skeleton.txt"


def _image(root: Path, number: int = 1) -> Path:
    return root / "Video_files" / "Subject_1" / "open_milk" / "1" / "depth" / f"depth_{number:04d}.png"


def test_frames_and_labels_come_back(written: Path, made: Made) -> None:
    assert detect_format(written) == "fpha"
    for split, subjects in (("train", "134"), ("test", "256")):
        dataset = open_dataset(str(written), "train" if split == "train" else "test")
        assert dataset.problems == []
        assert len(dataset) == FRAMES
        assert [dataset.sequence_of(index) for index in range(FRAMES)] == [
            f"Subject_{subject}" for subject in subjects for _ in range(4)
        ]
        for index in range(FRAMES):
            frame = dataset[index]
            assert frame.joints_mm is not None
            np.testing.assert_allclose(frame.joints_mm, made.joints_mm[index], atol=1e-3)
            np.testing.assert_array_equal(frame.depth_mm, made.depth_mm[index])
            assert frame.sequence == dataset.sequence_of(index)
    assert dataset[3].key == "fpha/Subject_2/put_salt/1/0001"


def test_joints_are_at_the_right_pixels_of_their_image(root: Path, made: Made) -> None:
    # The hand of the second image is moved far away. If the rows belonged to other images, its label would not fit.
    moved = made.joints_mm[1] + np.array([-120.0, -90.0, 80.0], np.float32)
    write_png16(_image(root), hand_depth(moved, HANDS17_21, CAMERA))
    words = " ".join(f"{value:.4f}" for value in moved.ravel())
    edit_line(_label(root), 2, (None, f"1 {words}"))
    frame = FPHA(root, "train")[1]
    assert frame.joints_mm is not None
    u, v, z = np.rint(project(frame.joints_mm.astype(np.float64), frame.camera)).astype(int).T
    np.testing.assert_allclose(frame.depth_mm[v, u], z, atol=12)


def test_number_of_a_row_names_its_image(root: Path) -> None:
    lines = _label(root).read_text().splitlines()
    _label(root).write_text("\n".join(reversed(lines)))
    (first, second) = (FPHA(root, "train")[index] for index in range(2))
    assert first.key.endswith("/0001")
    assert second.key.endswith("/0000")
    _label(root).write_text(lines[1])
    dataset = FPHA(root, "train")
    assert dataset[0].key.endswith("/0001")
    assert dataset.problems[0].what.startswith("1 images have no label in skeleton.txt, first depth_0000.png")


def test_splits_by_objects(root: Path) -> None:
    assert len({*ACTIONS["train"], *ACTIONS["test"]}) == 45
    for split, action in (("train", "put_salt"), ("test", "open_milk")):
        dataset = open_dataset(f"fpha:{root}#objects", "train" if split == "train" else "test")
        assert len(dataset) == FRAMES
        assert {dataset[index].key.split("/")[2] for index in range(FRAMES)} == {action}
        assert len({dataset.sequence_of(index) for index in range(FRAMES)}) == 6
    folder = _label(root).parent.parent
    folder.rename(folder.with_name("open_door"))
    dataset = FPHA(root, "test", ("objects",))
    assert "found the action 'open_door', whose object is unknown" in dataset.problems[0].what
    with pytest.raises(ValueError, match="expected one of subjects, objects, as in fpha:PATH#objects"):
        open_dataset(f"fpha:{root}#P1")


def test_first_release_of_the_labels(root: Path) -> None:
    (root / "Hand_pose_annotation_v1_1").rename(root / "Hand_pose_annotation_v1")
    assert detect_format(root) == "fpha"
    assert len(FPHA(root, "train")) == FRAMES


def test_description(written: Path) -> None:
    info = describe(f"fpha:{written}", "test")
    assert (info.format, info.frames, info.labelled, info.problems) == ("fpha", FRAMES, FRAMES, ())
    assert [sequence.name for sequence in info.sequences] == ["Subject_2", "Subject_5", "Subject_6"]
    assert info.skeleton == "hands17-21"
    assert info.label_check is not None
    assert info.label_check.cause is None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: edit_word(_label(root), 2, 5, "nan"), "not finite"),
        (lambda root: edit_word(_label(root), 2, 5, "1e9"), "expected at most 100000"),
        (lambda root: edit_word(_label(root), 2, 5, "left"), "where a number was expected"),
        (lambda root: edit_word(_label(root), 2, 3, "-4"), "a depth of"),
        (lambda root: edit_word(_label(root), 2, 5, ""), "found 62 numbers, expected 63"),
        (lambda root: edit_word(_label(root), 2, 0, "0"), "a second label of 'depth_0000.png'"),
        (lambda root: edit_word(_label(root), 2, 0, "1.5"), "found '1.5', expected the number of the frame, such as 1"),
        (lambda root: edit_word(_label(root), 2, 0, "inf"), "expected the number of the frame"),
    ],
)
def test_damaged_line_is_left_out_with_its_place(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(root)
    dataset = FPHA(root, "train")
    assert len(dataset) < FRAMES
    assert says in dataset.problems[0].what
    assert (dataset.problems[0].path, dataset.problems[0].line) == (_label(root), 2)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: _label(root).write_text("\n"), "skeleton.txt is empty"),
        (lambda root: _label(root).unlink(), "There are no FPHA labels at"),
        (lambda root: shutil.rmtree(_label(root).parent), "There are no FPHA labels at"),
    ],
)
def test_sequence_without_labels_is_reported(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(root)
    dataset = FPHA(root, "train")
    assert len(dataset) == FRAMES - 2
    (problem,) = dataset.problems
    assert says in problem.what


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "the image is missing"),
        (lambda path: path.write_bytes(b""), "the image file is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), r"depth_0001.png: .* truncated"),
        (
            lambda path: write_png16(path, np.ones((240, 320), np.uint16)),
            "found an image of 320x240 .* expected 640x480",
        ),
    ],
)
def test_damaged_image_is_reported(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(_image(root))
    with pytest.raises(FrameError, match=says):
        FPHA(root, "train")[1]


def test_split_without_sequences_stops(root: Path) -> None:
    for base in ("Video_files", "Hand_pose_annotation_v1_1"):
        for subject in "256":
            shutil.rmtree(root / base / f"Subject_{subject}")
    with pytest.raises(
        FileNotFoundError, match=r"no sequence of FPHA's test split .*Subject_2/put_salt/1/skeleton.txt"
    ):
        FPHA(root, "test")


@pytest.mark.parametrize("path_of", [_label, _image])
def test_mutated_files_raise_no_foreign_exception(root: Path, path_of: Callable[[Path], Path]) -> None:
    for _ in mutations(path_of(root), 500):
        try:
            dataset = FPHA(root, "train")
            for index in range(min(len(dataset), 2)):
                dataset[index]
        except (ValueError, OSError, FrameError):
            continue
