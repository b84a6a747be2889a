"""HANDS17: order of the joints, unlabelled test frames, and damaged files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossnets.datasets.dataset import FrameError
from crossnets.datasets.hands17 import Hands17
from crossnets.datasets.opening import detect_format, open_dataset
from crossnets.datasets.writers import Hands17Writer
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import FINGERS, HANDS17_21, MSRA21
from tests.datasets.make import edit_word, hands, mutations, write_frames, write_png16

CAMERA = CAMERAS["realsense-sr300"]
FRAMES = 3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hands17") / "set"
    made = hands(HANDS17_21, CAMERA, FRAMES)
    write_frames((Hands17Writer(root, split) for split in ("train", "test")), made)
    return root


def test_joints_are_in_the_order_of_the_challenge() -> None:
    assert HANDS17_21.joints[:4] == ("wrist", "thumb_cmc", "index_mcp", "middle_mcp")
    assert HANDS17_21.joints[6:12] == ("thumb_mcp", "thumb_ip", "thumb_tip", "index_pip", "index_dip", "index_tip")
    for finger in FINGERS:
        tip = HANDS17_21.joints.index(f"{finger}_tip")
        chain = [tip]
        while HANDS17_21.parents[chain[-1]] >= 0:
            chain.append(HANDS17_21.parents[chain[-1]])
        names = [HANDS17_21.joints[joint] for joint in chain]
        assert names[-1] == "wrist"
        assert all(name.startswith(f"{finger}_") for name in names[:-1])
        assert len(names) == 5
    assert MSRA21.order_of(HANDS17_21) is not None


def test_frames_and_labels_come_back(root: Path) -> None:
    made = hands(HANDS17_21, CAMERA, FRAMES)
    assert detect_format(root) == "hands17"
    for split in ("train", "test"):
        dataset = open_dataset(str(root), split)
        assert dataset.problems == []
        assert len(dataset) == FRAMES
        for index in range(FRAMES):
            frame = dataset[index]
            np.testing.assert_allclose(frame.joints_mm, made.joints_mm[index], atol=1e-3)
            np.testing.assert_allclose(frame.depth_mm, np.rint(made.depth_mm[index]))
    assert dataset[0].key == "hands17/test/image_D00000001"


def test_test_frames_without_labels_are_unlabelled(root: Path) -> None:
    (root / "frame" / "Test_Annotation.txt").unlink()
    dataset = Hands17(root, "test")
    assert dataset.skeleton is None
    assert len(dataset) == FRAMES
    assert dataset[1].joints_mm is None


def _label(root: Path) -> Path:
    return root / "training" / "Training_Annotation.txt"


def _image(root: Path) -> Path:
    return root / "training" / "images" / "image_D00000002.png"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: edit_word(_label(root), 2, 5, "nan"), "not finite"),
        (lambda root: edit_word(_label(root), 2, 5, "1e9"), "expected at most 100000"),
        (lambda root: edit_word(_label(root), 2, 5, "left"), "where a number was expected"),
        (lambda root: edit_word(_label(root), 2, 3, "-4"), "a depth of"),
        (lambda root: edit_word(_label(root), 2, 0, "../a.png"), "expected a path inside the data set"),
        (lambda root: edit_word(_label(root), 2, 0, "a\0.png"), "expected a path inside the data set"),
        (lambda root: edit_word(_label(root), 2, 0, "image_D00000001.png"), "a second label"),
        (
            lambda root: _label(root).write_text(_label(root).read_text().replace("\t", " ", 1)[:-30]),
            "numbers, expected 63",
        ),
    ],
)
def test_damaged_line_is_left_out_with_its_place(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(root)
    dataset = Hands17(root, "train")
    assert len(dataset) < FRAMES
    assert says in dataset.problems[0].what
    assert dataset.problems[0].line is not None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "the image is missing"),
        (lambda path: path.write_bytes(b""), "the image file is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "image_D00000002.png"),
        (lambda path: write_png16(path, np.ones((240, 320), np.uint16)), "640"),
    ],
)
def test_damaged_image_is_reported(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(_image(root))
    with pytest.raises(FrameError, match=says):
        Hands17(root, "train")[1]


def test_missing_or_empty_labels_stop(root: Path) -> None:
    _label(root).write_text("\n")
    with pytest.raises(ValueError, match=r"label file .* is empty"):
        Hands17(root, "train")
    _label(root).unlink()
    with pytest.raises(FileNotFoundError, match="no HANDS17 labels"):
        Hands17(root, "train")
    with pytest.raises(ValueError, match="HANDS17, which has none"):
        open_dataset(f"hands17:{root}#P1")


def test_images_without_a_label_are_reported(root: Path) -> None:
    (root / "training" / "images" / "image_D00000010.png").write_bytes(_image(root).read_bytes())
    (root / "training" / "images" / "image_D00000009.png").write_bytes(_image(root).read_bytes())
    dataset = Hands17(root, "train")
    assert len(dataset) == FRAMES
    (problem,) = dataset.problems
    assert problem.what.startswith("2 images have no label in Training_Annotation.txt, first image_D00000009.png")


@pytest.mark.parametrize("path_of", [_label, _image])
def test_mutated_files_raise_no_foreign_exception(root: Path, path_of: Callable[[Path], Path]) -> None:
    for _ in mutations(path_of(root), 500):
        try:
            dataset = Hands17(root, "train")
            for index in range(len(dataset)):
                dataset[index]
        except (ValueError, OSError, FrameError):
            continue
