"""Tests of the NYU reader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from scipy.io import loadmat, savemat

from crossnets.datasets.dataset import FrameError
from crossnets.datasets.nyu import NYU
from tests.datasets.make import make_nyu, write_png16
from tests.datasets.test_readers import check_round_trip


def test_nyu_round_trip(tmp_path: Path) -> None:
    made = make_nyu(tmp_path, "test", frames=3)
    dataset = NYU(tmp_path, "test")
    check_round_trip(dataset, made)
    assert dataset[2].key == "nyu/test/1/0000003"
    check_round_trip(NYU(tmp_path / "dataset", "test"), made)


def test_nyu_cameras(tmp_path: Path) -> None:
    make_nyu(tmp_path, "train", frames=2, cameras=(1, 3))
    dataset = NYU(str(tmp_path), "train", (3, 1))
    assert [dataset[i].key for i in range(4)] == [f"nyu/train/{c}/000000{n}" for c in (3, 1) for n in (1, 2)]
    near, far = dataset[2].joints_mm, dataset[0].joints_mm
    assert near is not None
    assert far is not None
    assert_allclose(far - near, np.broadcast_to([0, 0, 100], near.shape), atol=0.01)
    with pytest.raises(ValueError, match="expected one or more of 1, 2 and 3"):
        NYU(tmp_path, "train", (4,))


def test_nyu_second_subject_starts_at_2441(tmp_path: Path) -> None:
    make_nyu(tmp_path, "test", frames=1)
    path = tmp_path / "dataset/test/joint_data.mat"
    savemat(path, {"joint_xyz": np.repeat(loadmat(path)["joint_xyz"], 2442, axis=1)})
    dataset = NYU(tmp_path, "test")
    assert [dataset.sequence_of(i) for i in (0, 2439, 2440, 2441)] == ["s1", "s1", "s2", "s2"]
    with pytest.raises(FrameError, match=r"depth_1_0002442\.png: the image is missing"):
        dataset[-1]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_nyu_label_that_is_not_finite(tmp_path: Path, value: float) -> None:
    made = make_nyu(tmp_path)
    path = tmp_path / "dataset/test/joint_data.mat"
    joints = loadmat(path)["joint_xyz"]
    joints[0, 0, 7, 1] = value
    savemat(path, {"joint_xyz": joints})
    dataset = NYU(tmp_path, "test")
    assert [dataset[i].key for i in range(len(dataset))] == ["nyu/test/1/0000002"]
    assert dataset[0].joints_mm is not None
    assert_allclose(dataset[0].joints_mm, made.joints_mm[1], atol=0.01)
    (problem,) = dataset.problems
    assert (problem.path, problem.line) == (path, 1)
    assert "frame 1 of camera 1: joint 7 is not finite" in problem.what


def test_nyu_label_with_depth_zero(tmp_path: Path) -> None:
    make_nyu(tmp_path)
    path = tmp_path / "dataset/test/joint_data.mat"
    joints = loadmat(path)["joint_xyz"]
    joints[0, 1, 2, 2] = 0
    savemat(path, {"joint_xyz": joints})
    dataset = NYU(tmp_path, "test")
    message = "frame 2 of camera 1: joint 2 has a depth of 0 mm, expected more than 0"
    assert str(dataset.problems[0]) == f"{path}:2: {message}"


def test_nyu_unusable_label_file(tmp_path: Path) -> None:
    make_nyu(tmp_path)
    path = tmp_path / "dataset/test/joint_data.mat"
    with pytest.raises(FileNotFoundError, match=r"no NYU labels at .*joint_data\.mat.*must hold dataset/train"):
        NYU(tmp_path, "train")
    savemat(path, {"joint_xyz": np.ones((3, 2, 31, 3))})
    with pytest.raises(ValueError, match=r"\(3, 2, 31, 3\); expected .*36, 3"):
        NYU(tmp_path, "test")
    savemat(path, {"joint_uvd": np.ones((3, 2, 36, 3))})
    with pytest.raises(ValueError, match="does not contain joint_xyz"):
        NYU(tmp_path, "test")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"joint_data\.mat (cannot be read as a MATLAB file|does not contain)"):
        NYU(tmp_path, "test")


def test_nyu_grey_image(tmp_path: Path) -> None:
    made = make_nyu(tmp_path)
    write_png16(tmp_path / "dataset/test/depth_1_0000001.png", made.depth_mm[0])
    with pytest.raises(FrameError, match="found an image in 16-bit grey, expected 8-bit RGB"):
        NYU(tmp_path, "test")[0]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "the image is missing"),
        (lambda path: path.write_bytes(b""), "the image file is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "truncated or damaged"),
        (lambda path: Image.new("RGB", (320, 240)).save(path), "320x240 pixels, expected 640x480"),
    ],
)
def test_nyu_damaged_image(tmp_path: Path, damage: Callable[[Path], object], says: str) -> None:
    make_nyu(tmp_path)
    damage(tmp_path / "dataset/test/depth_1_0000001.png")
    with pytest.raises(FrameError, match=rf"depth_1_0000001\.png: .*{says}"):
        NYU(tmp_path, "test")[0]


def test_nyu_image_with_red_and_blue_swapped_is_an_error(tmp_path: Path) -> None:
    make_nyu(tmp_path, "test", frames=1)
    path = tmp_path / "dataset/test/depth_1_0000001.png"
    with Image.open(path) as image:
        swapped = np.asarray(image)[..., ::-1].copy()
    Image.fromarray(swapped).save(path)
    with pytest.raises(FrameError, match=r"red channel is not 0.*Red and blue may have been swapped"):
        NYU(tmp_path, "test")[0]
