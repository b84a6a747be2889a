"""H2O-3D: two frames of each image, and hands that are labelled in part."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossnets.datasets.dataset import FrameError, side_of
from crossnets.datasets.ho3d import H2O3D
from crossnets.datasets.info import describe
from crossnets.datasets.opening import detect_format, open_dataset
from crossnets.datasets.writers import HO3DWriter, old_pickle
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import HO3D_21
from crossnets.synth.stream import SyntheticHands
from crossnets.synth.writing import config_of, write_dataset
from crossnets.training.validation import hold_back
from tests.datasets.make import Made, hands, mutations

CAMERA = CAMERAS["ho3d-sr300"]
MATRIX = np.array([[614.627, 0, 320.262], [0, 614.101, 238.469], [0, 0, 1]])
LEFT_MM = np.array([-150.0, 0.0, 20.0])
"""Place of the left hand beside the right one."""


def _label(root: Path, folder: str, number: int, **values: object) -> None:
    (root / folder / "SYN1" / "meta" / f"{number:04d}.pkl").write_bytes(old_pickle({"camMat": MATRIX, **values}))


@pytest.fixture
def made() -> Made:
    return hands(HO3D_21, CAMERA, 2)


@pytest.fixture
def root(tmp_path: Path, made: Made) -> Path:
    """Files of HO-3D with labels of H2O-3D: an image of two hands, and one whose left hand is labelled in part."""
    root = tmp_path / "set"
    for split, folder in (("train", "train"), ("test", "evaluation")):
        writer = HO3DWriter(root, split, CAMERA.pinhole)
        for number, (depth, joints) in enumerate(zip(made.depth_mm, made.joints_mm, strict=True)):
            writer.add(depth, joints)
            right_m = joints.astype(np.float64) / 1000 * [1, -1, -1]
            left_m = (joints.astype(np.float64) + LEFT_MM) / 1000 * [1, -1, -1]
            if split == "test":
                _label(root, folder, number, leftHandJoints3D=left_m[0], rightHandJoints3D=right_m[0])
                continue
            flags = np.ones(21)
            flags[4] = number == 0
            valid = {"jointValidRight": np.ones(21), "jointValidLeft": flags}
            _label(root, folder, number, leftHandJoints3D=left_m, rightHandJoints3D=right_m, **valid)
        writer.close()
    (root / "evaluation_xyz.json").unlink()
    return root


def test_an_image_gives_a_frame_for_each_hand(root: Path, made: Made) -> None:
    assert detect_format(root) == "h2o3d"
    dataset = open_dataset(str(root))
    assert (dataset.name, len(dataset), dataset.problems) == ("h2o3d", 4, [])
    frames = [dataset[index] for index in range(4)]
    assert [frame.key for frame in frames] == [
        f"h2o3d/train/SYN1/{name}" for name in ("0000/left", "0000/right", "0001/left", "0001/right")
    ]
    assert [side_of(frame.key) for frame in frames] == ["left", "right"] * 2
    left, right, partly, last = (frame.joints_mm for frame in frames)
    np.testing.assert_allclose(left, made.joints_mm[0] + LEFT_MM, atol=1e-3)
    np.testing.assert_allclose(right, made.joints_mm[0], atol=1e-3)
    np.testing.assert_allclose(last, made.joints_mm[1], atol=1e-3)
    assert partly is None, "one of its joints is not labelled"
    np.testing.assert_array_equal(frames[0].depth_mm, frames[1].depth_mm)
    np.testing.assert_allclose(frames[0].depth_mm, made.depth_mm[0], atol=0.0635)


def test_rendered_hands_come_back(tmp_path: Path) -> None:
    assert write_dataset("h2o3d", 3, tmp_path, test_frames=2, progress=False) == {"train": 3, "test": 2}
    rendered = SyntheticHands(config_of("h2o3d"))
    for split, first in (("train", 0), ("test", 3)):
        dataset = open_dataset(str(tmp_path), "train" if first == 0 else "test")
        assert (dataset.name, dataset.problems) == ("h2o3d", [])
        for index in range(len(dataset)):
            hand = rendered.frame(first + index // 2)
            frame = dataset[index]
            np.testing.assert_allclose(frame.depth_mm, hand.depth_mm, atol=0.0635)
            labelled = split == "train" and side_of(frame.key) == "right"
            assert (frame.joints_mm is not None) == labelled
            if labelled:
                np.testing.assert_allclose(frame.joints_mm, hand.joints_mm, atol=1e-3)
    with pytest.raises(ValueError, match="--left-share does not apply to h2o3d"):
        config_of("h2o3d", left_share=0.5)


def test_test_frames_are_unlabelled(root: Path) -> None:
    info = describe(f"h2o3d:{root}", "test")
    assert (info.frames, info.labelled, info.problems) == (4, 0, ())


def test_both_hands_are_held_back_together(root: Path) -> None:
    held = hold_back(H2O3D(root, "train"), 0.5, 0)
    parts = (held.training, held.validation)
    images = [[part[index].key.rpartition("/")[0] for index in range(len(part))] for part in parts]
    assert [len(part) for part in images] == [2, 2]
    assert all(one == other for one, other in images)


def test_files_of_the_other_set_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"was given as ho3d.*looks like h2o3d"):
        open_dataset(f"ho3d:{root}")
    _label(root, "train", 1, handJoints3D=np.full((21, 3), -0.5))
    with pytest.raises(FrameError, match="the label has no 'leftHandJoints3D'; it has camMat, handJoints3D"):
        H2O3D(root, "train")[2]


FRAME = "train/SYN1/meta/0001.pkl"
IMAGE = "train/SYN1/depth/0001.png"


def _relabel(root: Path, **changed: object) -> None:
    joints_m = np.full((21, 3), -0.5)
    label = {"leftHandJoints3D": joints_m, "rightHandJoints3D": joints_m}
    _label(root, "train", 1, **{**label, **changed})


def _swap_red_and_blue(path: Path) -> None:
    Image.fromarray(np.asarray(Image.open(path))[..., ::-1]).save(path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: (root / FRAME).unlink(), r"0001\.pkl: the label is missing"),
        (lambda root: (root / FRAME).write_bytes(b""), r"0001\.pkl: the label file is empty"),
        (lambda root: (root / FRAME).write_bytes((root / FRAME).read_bytes()[:99]), "the pickle cannot be read"),
        (lambda root: (root / FRAME).write_bytes(b"cos\nsystem\n(S'ls'\ntR."), "names 'os.system'.*Nothing was run"),
        (lambda root: _relabel(root, jointValidLeft=np.ones(4)), r"'jointValidLeft' has the shape \(4,\), expected 21"),
        (lambda root: _relabel(root, leftHandJoints3D=np.zeros(3)), r"the shape \(3,\), expected 21 x 3"),
        (lambda root: _relabel(root, leftHandJoints3D=np.full((21, 3), np.nan)), "joint 0 is not finite"),
        (lambda root: _relabel(root, leftHandJoints3D=np.full((21, 3), 0.5)), "joint 0 has a depth of -500 mm"),
        (lambda root: _relabel(root, leftHandJoints3D=np.full((21, 3), -500.0)), "expected at most 100000"),
        (lambda root: _relabel(root, camMat=np.zeros((3, 3))), "'camMat' is no camera"),
        (lambda root: (root / IMAGE).unlink(), r"0001\.png: the image is missing"),
        (lambda root: (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:200]), "truncated or damaged"),
        (lambda root: Image.new("I;16", (640, 480)).save(root / IMAGE), "16-bit grey, expected 8-bit RGB"),
        (lambda root: _swap_red_and_blue(root / IMAGE), r"0001\.png: .*Red and blue have been swapped"),
    ],
)
def test_damaged_frame_is_reported(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(root)
    dataset = H2O3D(root, "train")
    with pytest.raises(FrameError, match=says):
        dataset[2]
    assert dataset[0].joints_mm is not None


@pytest.mark.parametrize("name", [FRAME, IMAGE, "train.txt"])
def test_mutated_files_raise_no_foreign_exception(root: Path, name: str) -> None:
    for _ in mutations(root / name, 100):
        try:
            dataset = H2O3D(root, "train")
            for index in range(2, len(dataset)):
                dataset[index]
        except (ValueError, OSError, FrameError):
            continue
