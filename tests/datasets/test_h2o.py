"""H2O: two hands of an image, published lists, order of the joints, and damaged files."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossnets.datasets.dataset import FrameError, side_of
from crossnets.datasets.h2o import H2O
from crossnets.datasets.info import describe
from crossnets.datasets.opening import detect_format, open_dataset
from crossnets.datasets.writers import H2OWriter
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.skeleton import FINGERS, MEDIAPIPE21
from crossnets.training.validation import hold_back
from tests.datasets.make import Made, edit_word, hands, mutations, write_frames, write_png16

CAMERA = CAMERAS["h2o-azure-kinect"]
FRAMES = 3
TAKE = "subject1/h1/0/cam4"
LABEL = f"{TAKE}/hand_pose/000001.txt"
IMAGE = f"{TAKE}/depth/000001.png"
LIST = "label_split/pose_train.txt"


@functools.cache
def _made() -> Made:
    return hands(MEDIAPIPE21, CAMERA, FRAMES)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("h2o") / "set"
    made = _made()
    write_frames((H2OWriter(root, split, CAMERA.pinhole) for split in ("train", "test")), made)
    return root


def _with_left(root: Path, number: int = 1) -> np.ndarray:
    """Label the left hand of an image too. Returns its joints in mm."""
    path = root / TAKE / "hand_pose" / f"{number:06d}.txt"
    words = path.read_text().split()
    right_m = np.array(words[65:], np.float64).reshape(21, 3)
    left_m = right_m * [-1, 1, 1] + [-0.1, 0, 0]
    path.write_text(" ".join(["1", *(repr(float(one)) for one in left_m.ravel()), *words[64:]]) + " ")
    return left_m * 1000


def test_joints_are_in_the_order_of_openpose() -> None:
    assert MEDIAPIPE21.joints[0] == "wrist"
    assert [name.split("_")[0] for name in MEDIAPIPE21.joints[1:]] == [finger for finger in FINGERS for _ in range(4)]
    assert MEDIAPIPE21.joints[4::4] == tuple(f"{finger}_tip" for finger in FINGERS)


def test_frames_and_labels_come_back(root: Path) -> None:
    made = _made()
    assert detect_format(root) == "h2o"
    for split in ("train", "test"):
        dataset = open_dataset(str(root), split)
        assert dataset.problems == []
        assert dataset.camera == CAMERA.pinhole
        assert len(dataset) == FRAMES
        for index in range(FRAMES):
            frame = dataset[index]
            assert frame.joints_mm is not None
            np.testing.assert_allclose(frame.joints_mm, made.joints_mm[index], atol=1e-3)
            np.testing.assert_allclose(frame.depth_mm, np.rint(made.depth_mm[index]))
            uv = project(frame.joints_mm, frame.camera)[:, :2]
            np.testing.assert_allclose(uv, project(made.joints_mm[index], CAMERA.pinhole)[:, :2], atol=0.01)
    assert (dataset[0].key, dataset.sequence_of(0)) == ("h2o/test/subject4/h1/0/cam4/000000/right", "subject4_h1")


def test_files_are_those_of_the_description(root: Path) -> None:
    assert (root / LIST).read_text().splitlines()[1] == f"{TAKE}/rgb/000001.png"
    words = (root / LABEL).read_text().split()
    assert (len(words), words[0], words[64]) == (128, "0", "1")
    assert set(words[:64]) == {"0", "0.0"}
    made = _made()
    np.testing.assert_allclose(np.array(words[65:], float).reshape(21, 3) * 1000, made.joints_mm[1], atol=1e-3)
    intrinsics = [float(word) for word in (root / TAKE / "cam_intrinsics.txt").read_text().split()]
    assert intrinsics == [*CAMERA.pinhole, 1280, 720]


def test_an_image_of_two_hands_gives_two_frames(root: Path) -> None:
    left_mm = _with_left(root)
    dataset = H2O(root, "train")
    keys = [dataset[index].key for index in range(len(dataset))]
    assert [key.rsplit("/", 2)[1:] for key in keys] == [
        ["000000", "right"],
        ["000001", "left"],
        ["000001", "right"],
        ["000002", "right"],
    ]
    assert [side_of(key) for key in keys] == ["right", "left", "right", "right"]
    assert side_of("recording/left") is None
    left, right = dataset[1], dataset[2]
    np.testing.assert_allclose(left.joints_mm, left_mm, atol=1e-3)
    np.testing.assert_array_equal(left.depth_mm, right.depth_mm)
    left.depth_mm[:] = 0  # each frame has an image of its own
    assert right.depth_mm.any()
    assert dataset[2].depth_mm.any()
    assert dataset.moment_of(1) == dataset.moment_of(2) == ("subject1/h1/0", "000001")


def test_both_hands_of_an_image_are_held_back_together(root: Path) -> None:
    for number in range(FRAMES):
        _with_left(root, number)
    held = hold_back(H2O(root, "train"), 0.34, 0)
    keys = [
        [part[index].key.rsplit("/", 1)[0] for index in range(len(part))] for part in (held.training, held.validation)
    ]
    assert not set(keys[0]) & set(keys[1])
    assert sorted(map(len, keys)) == [2, 4]


def test_parts_are_chosen(root: Path) -> None:
    (root / "subject1" / "k2").mkdir()
    shutil.copytree(root / "subject1" / "h1" / "0", root / "subject1" / "k2" / "3")
    (root / LIST).write_text(f"{TAKE}/rgb/000001.png\nsubject1/k2/3/cam4/rgb/000002.png\n")
    dataset = open_dataset(f"h2o:{root}#subject1_k2")
    assert [dataset[index].key for index in range(len(dataset))] == ["h2o/train/subject1/k2/3/cam4/000002/right"]
    with pytest.raises(ValueError, match=r"subjects and scenes o1 of .*, which has subject1_h1, subject1_k2"):
        open_dataset(f"h2o:{root}#o1")
    (root / "label_split" / "pose_val.txt").write_text(f"{TAKE}/rgb/000002.png\n")
    dataset = open_dataset(f"h2o:{root}#val")
    assert [dataset[index].key for index in range(len(dataset))] == ["h2o/train/subject1/h1/0/cam4/000002/right"]
    with pytest.raises(ValueError, match="H2O states the camera"):
        H2O(root, "train", camera=CAMERA)


def test_folders_of_the_downloads(root: Path) -> None:
    (root / "subject1").rename(root / "subject1_ego")
    (root / "label_split").rename(root / "pose_lists")
    assert detect_format(root) == "h2o"
    assert H2O(root, "train")[0].key == "h2o/train/subject1/h1/0/cam4/000000/right"


def test_info_reports_what_it_found(root: Path) -> None:
    (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:300])
    (root / TAKE / "hand_pose" / "000002.txt").write_text("1 2 3")
    info = describe(str(root))
    assert (info.format, info.frames, info.labelled, info.skeleton) == ("h2o", 1, 1, "mediapipe21")
    assert info.sizes == {"1280x720": 1}
    said = "\n".join(map(str, info.problems))
    assert "000002.txt: found 3 numbers, expected 64 for each of two hands" in said
    assert "000001.png: the PNG is truncated or damaged" in said


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: (root / LABEL).unlink(), r"000001\.txt: the label is missing"),
        (lambda root: (root / LABEL).write_bytes(b""), r"000001\.txt: the label file is empty"),
        (lambda root: edit_word(root / LABEL, 1, 100, ""), "found 127 numbers, expected 64"),
        (lambda root: edit_word(root / LABEL, 1, 70, "x"), "found 'x' where a number was expected"),
        (lambda root: edit_word(root / LABEL, 1, 70, "nan"), "joint 1 is not finite"),
        (lambda root: edit_word(root / LABEL, 1, 70, "450"), "expected at most 100000"),
        (lambda root: edit_word(root / LABEL, 1, 70, "-0.4"), "joint 1 has a depth of -400 mm"),
        (lambda root: edit_word(root / LABEL, 1, 64, "0.5"), "found '0.5' for the right hand, expected 1 or 0"),
        (lambda root: edit_word(root / LABEL, 1, 0, "?"), r"found '\?' for the left hand, expected 1 or 0"),
        (lambda root: edit_word(root / LIST, 2, 0, "subject1/000001.png"), "expected a path such as subject1/h1/0"),
        (lambda root: edit_word(root / LIST, 2, 0, f"/{TAKE}/rgb/1.png"), "expected a path inside the data set"),
        (lambda root: edit_word(root / LIST, 2, 0, f"{TAKE}/rgb/000000.png"), "a second label of"),
    ],
)
def test_damaged_label_is_left_out(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(root)
    dataset = H2O(root, "train")
    assert len(dataset) < FRAMES
    (problem,) = dataset.problems
    with pytest.raises(FrameError, match=says):
        raise FrameError(problem)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: (root / IMAGE).unlink(), r"000001\.png: the image is missing"),
        (lambda root: (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:200]), "truncated or damaged"),
        (lambda root: write_png16(root / IMAGE, np.ones((480, 640))), "640x480 pixels, expected 1280x720"),
        (lambda root: (root / TAKE / "cam_intrinsics.txt").unlink(), "the file of intrinsics is missing"),
        (lambda root: edit_word(root / TAKE / "cam_intrinsics.txt", 1, 5, ""), "expected six numbers: fx fy cx cy"),
        (lambda root: edit_word(root / TAKE / "cam_intrinsics.txt", 1, 0, "-600"), "focal lengths positive"),
        (lambda root: edit_word(root / TAKE / "cam_intrinsics.txt", 1, 4, "1e9"), "images of 1e[+]09 x 720 pixels"),
        (lambda root: edit_word(root / TAKE / "cam_intrinsics.txt", 1, 4, "nan"), "images of nan x 720 pixels"),
    ],
)
def test_damaged_frame_is_reported(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(root)
    dataset = H2O(root, "train")
    assert len(dataset) == FRAMES
    with pytest.raises(FrameError, match=says):
        dataset[1]


def test_missing_or_empty_lists_stop(root: Path) -> None:
    (root / LIST).write_text("\n")
    with pytest.raises(ValueError, match=r"label file .*pose_train\.txt is empty"):
        H2O(root, "train")
    (root / LIST).unlink()
    with pytest.raises(FileNotFoundError, match=r"no list of H2O's frames at any of .*pose_lists/pose_train\.txt"):
        H2O(root, "train")


@pytest.mark.parametrize("name", [LABEL, IMAGE, LIST, f"{TAKE}/cam_intrinsics.txt"])
def test_mutated_files_raise_no_foreign_exception(root: Path, name: str) -> None:
    for _ in mutations(root / name, 250):
        try:
            H2O(root, "train")[1]
        except (ValueError, OSError, FrameError, IndexError):  # fewer frames may be left
            continue
