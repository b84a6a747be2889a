"""HO-3D: coding of depth, OpenGL's axes, order of the joints, unlabelled evaluation frames, and damaged files."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossnets.datasets.dataset import FrameError
from crossnets.datasets.ho3d import HO3D
from crossnets.datasets.info import describe
from crossnets.datasets.opening import detect_format, open_dataset
from crossnets.datasets.writers import HO3DWriter, old_pickle
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.skeleton import FINGERS, HO3D_21, MSRA21
from crossnets.types import Pinhole
from tests.datasets.make import hands, mutations, write_frames

CAMERA = CAMERAS["ho3d-sr300"]
FRAMES = 3
UNIT_MM = 0.12498664727900177
FRAME = "train/SYN1/meta/0001.pkl"
IMAGE = "train/SYN1/depth/0001.png"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ho3d") / "set"
    made = hands(HO3D_21, CAMERA, FRAMES)
    write_frames((HO3DWriter(root, split, CAMERA.pinhole) for split in ("train", "test")), made)
    return root


def test_joints_are_in_the_order_of_the_tools() -> None:
    # The tools of the data set map the order to fingers from the thumb on, each from base to tip.
    order = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
    names = [HO3D_21.joints[joint] for joint in order]
    assert names[0] == "wrist"
    for number, finger in enumerate(FINGERS):
        own = names[1 + 4 * number : 5 + 4 * number]
        assert [name.split("_")[0] for name in own] == [finger] * 4
        assert own[-1] == f"{finger}_tip"
        parents = [HO3D_21.parents[HO3D_21.joints.index(name)] for name in own]
        assert [HO3D_21.joints[parent] for parent in parents] == ["wrist", *own[:-1]]
    assert MSRA21.order_of(HO3D_21) is not None


def test_frames_and_labels_come_back(root: Path) -> None:
    made = hands(HO3D_21, CAMERA, FRAMES)
    assert detect_format(root) == "ho3d"
    for split in ("train", "test"):
        dataset = open_dataset(str(root), split)
        assert dataset.problems == []
        assert dataset.camera == CAMERA.pinhole
        assert len(dataset) == FRAMES
        for index in range(FRAMES):
            frame = dataset[index]
            np.testing.assert_allclose(frame.joints_mm, made.joints_mm[index], atol=1e-3)
            np.testing.assert_allclose(frame.depth_mm, made.depth_mm[index], atol=UNIT_MM / 2 + 1e-3)
            np.testing.assert_array_equal(frame.depth_mm > 0, made.depth_mm[index] > 0)
            assert frame.camera == CAMERA.pinhole
    assert (dataset[0].key, dataset.sequence_of(0)) == ("ho3d/test/SYN1/0000", "SYN1")
    assert (root / "evaluation.txt").read_text() == "SYN1/0000\nSYN1/0001\nSYN1/0002\n"


def test_files_are_those_of_the_tools(root: Path) -> None:
    """Read a frame as the tools of the data set do."""
    made = hands(HO3D_21, CAMERA, FRAMES)
    rgb = np.asarray(Image.open(root / IMAGE)).astype(np.float64)
    depth_m = (rgb[..., 0] + 256 * rgb[..., 1]) * UNIT_MM / 1000
    np.testing.assert_allclose(depth_m * 1000, made.depth_mm[1], atol=UNIT_MM / 2 + 1e-3)
    data = (root / FRAME).read_bytes()
    assert b"numpy.core.multiarray" in data
    assert b"_core" not in data
    label = pickle.loads(data.replace(b"numpy.core.", b"numpy._core."), encoding="latin1")  # we wrote it
    joints_m = label["handJoints3D"] * np.array([1, -1, -1])
    uv = joints_m @ label["camMat"].T
    np.testing.assert_allclose(uv[:, :2] / uv[:, 2:], project(made.joints_mm[1], CAMERA.pinhole)[:, :2], atol=0.01)
    assert (label["handJoints3D"][:, 2] < 0).all()
    xyz = json.loads((root / "evaluation_xyz.json").read_text())
    np.testing.assert_allclose(xyz[1], label["handJoints3D"])


def test_each_frame_has_its_own_camera(root: Path) -> None:
    label = {"camMat": np.array([[600.0, 0, 300], [0, 601, 200], [0, 0, 1]]), "handJoints3D": None}
    (root / FRAME).write_bytes(old_pickle(label))
    dataset = HO3D(root, "train")
    assert dataset[1].camera == Pinhole(600.0, 601.0, 300.0, 200.0)
    assert dataset[1].joints_mm is None
    assert dataset[0].camera == CAMERA.pinhole
    with pytest.raises(ValueError, match="HO-3D states the camera of each frame"):
        HO3D(root, "train", camera=CAMERA)


def test_evaluation_frames_have_their_root_alone(root: Path) -> None:
    (root / "evaluation_xyz.json").unlink()
    dataset = HO3D(root, "test")
    assert not dataset.labelled
    assert len(dataset) == FRAMES
    assert dataset[1].joints_mm is None
    info = describe(f"ho3d:{root}", "test")
    assert (info.frames, info.labelled, info.problems) == (FRAMES, 0, ())


def test_sequences_are_chosen(root: Path) -> None:
    (root / "train" / "SYN1").rename(root / "train" / "SM1")
    (root / "train.txt").write_text("SM1/0000\nSYN1/0001\nSM1/0002\n")
    dataset = open_dataset(f"ho3d:{root}#SM1")
    assert [dataset[index].key for index in range(len(dataset))] == ["ho3d/train/SM1/0000", "ho3d/train/SM1/0002"]
    with pytest.raises(ValueError, match=r"sequences SM2 of .*, which has SM1, SYN1"):
        open_dataset(f"ho3d:{root}#SM2")


def test_views_of_several_cameras_are_one_recording(root: Path) -> None:
    (root / "train" / "SYN1").rename(root / "train" / "ABF10")
    (root / "train.txt").write_text("ABF10/0000\nABF14/0000\nSM1/0001\n")
    dataset = HO3D(root, "train")
    moments = [dataset.moment_of(index) for index in range(len(dataset))]
    assert moments == [("ABF1", "0000"), ("ABF1", "0000"), ("SM1", "0001")]


def test_info_reports_what_it_found(root: Path) -> None:
    (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:300])
    info = describe(str(root))
    assert (info.format, info.frames, info.labelled, info.skeleton) == ("ho3d", FRAMES - 1, FRAMES - 1, "ho3d-21")
    assert info.sizes == {"640x480": 2}
    assert len(info.problems) == 1
    assert "0001.png: the PNG is truncated or damaged" in str(info.problems[0])
    assert info.label_check is not None
    assert info.label_check.cause is None


def _relabel(root: Path, **changed: object) -> None:
    label = {"camMat": np.diag([614.0, 614.0, 1.0]), "handJoints3D": np.full((21, 3), -0.5)}
    (root / FRAME).write_bytes(old_pickle({**label, **changed}))


def _swap_red_and_blue(path: Path) -> None:
    Image.fromarray(np.asarray(Image.open(path))[..., ::-1]).save(path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: (root / FRAME).unlink(), r"0001\.pkl: the label is missing"),
        (lambda root: (root / FRAME).write_bytes(b""), r"0001\.pkl: the label file is empty"),
        (lambda root: (root / FRAME).write_bytes((root / FRAME).read_bytes()[:99]), "the pickle cannot be read"),
        (lambda root: (root / FRAME).write_bytes(b"cos\nsystem\n(S'ls'\ntR."), "names 'os.system'.*Nothing was run"),
        (lambda root: (root / FRAME).write_bytes(old_pickle({"a": 1})), "the label has no 'handJoints3D'; it has a"),
        (lambda root: _relabel(root, handJoints3D=np.zeros(3)), r"the shape \(3,\), expected 21 x 3"),
        (lambda root: _relabel(root, handJoints3D=np.full((21, 3), np.nan)), "joint 0 is not finite"),
        (lambda root: _relabel(root, handJoints3D=np.full((21, 3), 0.5)), "joint 0 has a depth of -500 mm"),
        (lambda root: _relabel(root, handJoints3D=np.full((21, 3), -500.0)), "expected at most 100000"),
        (lambda root: _relabel(root, camMat=None), "'camMat' is None"),
        (lambda root: _relabel(root, camMat=np.zeros((3, 3))), "'camMat' is no camera: .*intrinsic matrix"),
        (lambda root: (root / IMAGE).unlink(), r"0001\.png: the image is missing"),
        (lambda root: (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:200]), "truncated or damaged"),
        (lambda root: Image.new("I;16", (640, 480)).save(root / IMAGE), "16-bit grey, expected 8-bit RGB"),
        (lambda root: _swap_red_and_blue(root / IMAGE), r"0001\.png: .*Red and blue have been swapped"),
        (lambda root: Image.new("RGB", (320, 240)).save(root / IMAGE), "320x240 pixels, expected 640x480"),
    ],
)
def test_damaged_frame_is_reported(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(root)
    dataset = HO3D(root, "train")
    with pytest.raises(FrameError, match=says):
        dataset[1]
    assert dataset[0].joints_mm is not None


def test_blue_beside_red_is_not_a_swap(root: Path) -> None:
    expected = HO3D(root, "train")[1].depth_mm
    rgb = np.array(Image.open(root / IMAGE))
    rgb[..., 2] = 7
    Image.fromarray(rgb).save(root / IMAGE)
    np.testing.assert_array_equal(HO3D(root, "train")[1].depth_mm, expected)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0001", "expected a path such as SM1/0000"),
        ("../SYN1/0001", "expected a path inside the data set"),
        ("SYN1/00\x0001", "expected a path inside the data set"),
        ("SYN1/0000", "a second label of '0000.png'"),
    ],
)
def test_damaged_line_of_the_list_is_left_out(root: Path, line: str, says: str) -> None:
    (root / "train.txt").write_text(f"SYN1/0000\n{line}\nSYN1/0002\n")
    dataset = HO3D(root, "train")
    assert len(dataset) < FRAMES
    assert says in dataset.problems[0].what
    assert dataset.problems[0].line == 2


def test_missing_or_wrong_lists_stop(root: Path) -> None:
    path = root / "evaluation_xyz.json"
    for text, says in (
        ("[[", "is damaged"),
        ("[[[1, 2, 3]]]", "1 x 1 x 3 numbers, expected 3 x 21 x 3"),
        ("[" * 100_000, "is damaged"),
        ('{"a": 1}', "is damaged"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            HO3D(root, "test")
    (root / "train.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"label file .*train\.txt is empty"):
        HO3D(root, "train")
    (root / "train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no HO-3D labels at .*train\.txt"):
        HO3D(root, "train")


def test_a_bad_evaluation_label_leaves_out_its_frame(root: Path) -> None:
    path = root / "evaluation_xyz.json"
    joints = np.array(json.loads(path.read_text()))
    joints[1, 5, 2] = 0.4
    path.write_text(json.dumps(joints.tolist()))
    dataset = HO3D(root, "test")
    assert [dataset[index].key[-4:] for index in range(len(dataset))] == ["0000", "0002"]
    assert "joint 5 has a depth of -400 mm" in str(dataset.problems[0])


@pytest.mark.parametrize("name", [FRAME, IMAGE, "train.txt", "evaluation_xyz.json"])
def test_mutated_files_raise_no_foreign_exception(root: Path, name: str) -> None:
    for _ in mutations(root / name, 250):
        try:
            HO3D(root, "test" if name == "evaluation_xyz.json" else "train")[1]
        except (ValueError, OSError, FrameError, IndexError):  # fewer frames may be left
            continue
