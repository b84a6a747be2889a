"""DexYCB: splits by subject, camera and sequence, both hands, missing labels, and damaged files."""

import shutil
from collections.abc import Callable, Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from crossnets.datasets.dataset import FrameError
from crossnets.datasets.dexycb import SERIALS, SETUPS, SUBJECTS, DexYCB, read_intrinsics, read_joints, read_meta
from crossnets.datasets.info import describe
from crossnets.datasets.opening import detect_format, open_dataset
from crossnets.datasets.writers import DexYCBWriter
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.skeleton import MEDIAPIPE21
from crossnets.synth.writing import config_of
from crossnets.types import Pinhole
from tests.datasets.make import Made, edit_line, hands, mutations, write_png16

CAMERA = CAMERAS["dexycb-d415"]
FRAMES = {"train": 20, "test": 16}
"""One for each sequence that the writer fills."""
FOLDER = f"{SUBJECTS[0]}/20200709_000000"


@pytest.fixture(scope="module")
def made() -> Made:
    return hands(MEDIAPIPE21, CAMERA, FRAMES["train"])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, made: Made) -> Path:
    root = tmp_path_factory.mktemp("dexycb") / "set"
    for split, frames in FRAMES.items():
        writer = DexYCBWriter(root, split, frames)
        for index in range(frames):
            writer.add(made.depth_mm[index], made.joints_mm[index])
        writer.close()
    return root


def _meta(root: Path) -> Path:
    return root / FOLDER / "meta.yml"


def _intrinsics(root: Path) -> Path:
    return root / "calibration" / "intrinsics" / f"{SERIALS[0]}_640x480.yml"


def _image(root: Path) -> Path:
    return root / FOLDER / SERIALS[0] / "aligned_depth_to_color_000000.png"


def _label(root: Path) -> Path:
    return root / FOLDER / SERIALS[0] / "labels_000000.npz"


@pytest.fixture
def root(written: Path) -> Iterator[Path]:
    """The files, which are put right after the test. Copying two thousand of them for each test would take long."""
    right = {
        path: path.read_bytes() for path in (_meta(written), _intrinsics(written), _image(written), _label(written))
    }
    yield written
    for path, data in right.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _save(path: Path, joints: np.ndarray) -> None:
    np.savez_compressed(path, joint_3d=joints)


def test_splits_are_those_of_the_toolkit() -> None:
    sizes = {
        setup: {split: tuple(map(len, part)) for split, part in splits.items()} for setup, splits in SETUPS.items()
    }
    assert sizes == {
        "s0": {"train": (10, 8, 80), "val": (2, 8, 20), "test": (8, 8, 20)},
        "s1": {"train": (7, 8, 100), "val": (1, 8, 100), "test": (2, 8, 100)},
        "s2": {"train": (10, 6, 100), "val": (10, 1, 100), "test": (10, 1, 100)},
        "s3": {"train": (10, 8, 75), "val": (10, 8, 10), "test": (10, 8, 15)},
    }
    for splits in SETUPS.values():
        frames = [set(product(*part)) for part in splits.values()]
        assert sum(map(len, frames)) == 10 * 8 * 100
        assert all(not one & other for one, other in combinations(frames, 2))
    assert SETUPS["s0"]["test"].sequences[:2] == (4, 9)
    assert SETUPS["s3"]["test"].sequences[:6] == (35, 36, 37, 38, 39, 55)


def test_frames_and_labels_come_back(written: Path, made: Made) -> None:
    assert detect_format(written) == "dexycb"
    for split, frames in FRAMES.items():
        dataset = open_dataset(str(written), "train" if split == "train" else "test")
        assert dataset.problems == []
        assert len(dataset) == frames
        for index in range(frames):
            frame = dataset[index]
            assert frame.joints_mm is not None
            np.testing.assert_allclose(frame.joints_mm, made.joints_mm[index], atol=1e-3)
            np.testing.assert_array_equal(frame.depth_mm, made.depth_mm[index])
            assert frame.camera == CAMERA.pinhole
            u, v, z = np.rint(project(frame.joints_mm.astype(np.float64), frame.camera)).astype(int).T
            np.testing.assert_allclose(frame.depth_mm[v, u], z, atol=12)
    assert dataset[0].key == "dexycb/20200820-subject-03/20200820_000004/840412060917/000000"
    assert dataset.sequence_of(15) == SUBJECTS[9]


@pytest.mark.parametrize(
    ("parts", "split", "frames"),
    [
        ("s1", "train", 24),
        ("s1", "test", 8),
        ("s1-val", "train", 4),
        ("s2", "test", 4),
        ("s3", "test", 18),
        (f"s0,{SERIALS[1]},{SERIALS[2]}", "train", 6),
    ],
)
def test_parts_select_frames(written: Path, parts: str, split: str, frames: int) -> None:
    dataset = open_dataset(f"dexycb:{written}#{parts}", "train" if split == "train" else "test")
    assert (len(dataset), dataset.problems) == (frames, [])


def test_unknown_parts_and_cameras_are_refused(written: Path) -> None:
    for parts in ("s4", "s0,s1", "836"):
        with pytest.raises(ValueError, match="Expected at most one of s0, s1, s2, s3, s0-val"):
            open_dataset(f"dexycb:{written}#{parts}")
    with pytest.raises(ValueError, match=r"cameras are in .*intrinsics. Omit --camera"):
        open_dataset(f"dexycb:{written}", camera=CAMERA)
    with pytest.raises(FileNotFoundError, match=r"no sequence of DexYCB's s0-val \(test\)"):
        open_dataset(f"dexycb:{written}#s0-val", "test")
    with pytest.raises(ValueError, match="--left-share does not apply to dexycb"):
        config_of("dexycb", left_share=0.5)


def test_views_of_a_moment_stay_together(written: Path) -> None:
    dataset = DexYCB(written, "train")
    assert dataset.moment_of(0) == (FOLDER, "0")
    assert DexYCB(written, "train", ("s2",)).moment_of(0) == (SERIALS[0], f"{FOLDER}/0")


def test_left_hands_and_missing_labels(root: Path) -> None:
    edit_line(_meta(root), 5, ("right", "left"))
    _save(_label(root), np.full((1, 21, 3), -1, np.float32))
    dataset = DexYCB(root, "train")
    assert (dataset.side_of(0), dataset.side_of(1)) == ("left", "right")
    assert dataset[0].joints_mm is None
    assert dataset[0].depth_mm.any()
    info = describe(f"dexycb:{root}")
    assert (info.frames, info.labelled, info.problems) == (20, 19, ())
    assert info.skeleton == "mediapipe21"
    assert info.label_check is not None
    assert info.label_check.cause is None


def test_lists_in_brackets_and_on_lines(tmp_path: Path) -> None:
    path = tmp_path / "meta.yml"
    path.write_text(
        f"extrinsics: '20200702_151821'\nmano_calib: [20200709-subject-01_left]\nmano_sides: [left]\nnum_frames: 72\n"
        f"serials: ['{SERIALS[0]}', '{SERIALS[1]}',\n  '{SERIALS[2]}']\nycb_grasp_ind: 0\nycb_ids: [2, 5, 9]\n"
    )
    assert read_meta(path) == (SERIALS[:3], 72, "left")
    path.write_text(f'num_frames: 72  # all\nserials:\n- "{SERIALS[0]}"\n- "{SERIALS[1]}"\nmano_sides:\n  - right')
    assert read_meta(path) == (SERIALS[:2], 72, "right")
    path.write_text(
        "depth: {fx: 1.0, fy: 1.0, ppx: 1.0, ppy: 1.0}\ncolor: {fx: 617.5, fy: 618, ppx: 3.1e2, ppy: 240.5}\n"
    )
    assert read_intrinsics(path) == Pinhole(617.5, 618.0, 310.0, 240.5)
    path.write_text(
        "color:\n  coeffs: [0.0]\n  fx: 617.5\n  fy: 618.0\n  ppx: 310.0\n  ppy: 240.5\ndepth:\n  fx: 1.0\n"
    )
    assert read_intrinsics(path) == Pinhole(617.5, 618.0, 310.0, 240.5)


@pytest.mark.parametrize(
    ("damage", "says", "path_of"),
    [
        (lambda root: _meta(root).unlink(), "the description is missing", _meta),
        (lambda root: _meta(root).write_bytes(b""), "the description file is empty", _meta),
        (lambda root: edit_line(_meta(root), 3, (": 1", ": -1")), "found num_frames '-1', expected a number", _meta),
        (lambda root: edit_line(_meta(root), 3, (": 1", ": 999999999")), "expected a number up to 100000", _meta),
        (lambda root: edit_line(_meta(root), 3, (None, "")), "found no key 'num_frames'", _meta),
        (lambda root: edit_line(_meta(root), 2, ("836", "936")), "found the serials '936", _meta),
        (lambda root: edit_line(_meta(root), 5, ("right", "[left, right]")), "expected left or right", _meta),
        (lambda root: _intrinsics(root).unlink(), "the description is missing", _intrinsics),
        (lambda root: edit_line(_intrinsics(root), 1, ("color", "depth")), "found no key 'color'", _intrinsics),
        (lambda root: edit_line(_intrinsics(root), 2, ("fx", "f")), "found the colour camera fx nan", _intrinsics),
        (lambda root: edit_line(_intrinsics(root), 4, (": 3", ": 9")), "ppx 919.5, ppy 239.5; expected", _intrinsics),
    ],
)
def test_damaged_description_is_reported(
    root: Path, damage: Callable[[Path], object], says: str, path_of: Callable[[Path], Path]
) -> None:
    damage(root)
    dataset = DexYCB(root, "train")
    assert len(dataset) < FRAMES["train"]
    assert says in dataset.problems[0].what
    assert dataset.problems[0].path == path_of(root)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: _image(root).unlink(), "the image is missing"),
        (lambda root: _image(root).write_bytes(b""), "the image file is empty"),
        (lambda root: _image(root).write_bytes(_image(root).read_bytes()[:200]), r"color_000000.png: .* truncated"),
        (lambda root: write_png16(_image(root), np.ones((240, 320), np.uint16)), "320x240 .* expected 640x480"),
        (lambda root: _label(root).unlink(), "the label is missing"),
        (lambda root: _label(root).write_bytes(b""), "the label file is empty"),
        (lambda root: _label(root).write_bytes(_label(root).read_bytes()[:99]), r"npz: found no joint_3d .*zip"),
        (lambda root: np.savez(_label(root), joint_2d=np.ones(2)), r"found no joint_3d .*expected numbers of shape"),
        (lambda root: _save(_label(root), np.ones((21, 3))), r"float64 and shape \(21, 3\) .*expected \(1, 21, 3\)"),
        (lambda root: _save(_label(root), np.ones((9, 21, 30))), "joint_3d has 45488 bytes"),
        (lambda root: _save(_label(root), np.full((1, 21, 3), None)), "found joint_3d of object"),
        (lambda root: _save(_label(root), np.full((1, 21, 3), np.nan, np.float32)), "joint 0 is not finite"),
        (lambda root: _save(_label(root), np.full((1, 21, 3), 600.0)), "expected at most 100000"),
        (lambda root: _save(_label(root), np.full((1, 21, 3), -0.6, np.float32)), "a depth of -600 mm"),
    ],
)
def test_damaged_frame_is_reported(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(root)
    with pytest.raises(FrameError, match=says):
        DexYCB(root, "train")[0]


def test_missing_folders_are_reported(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(_image(root).parent)
    (problem,) = DexYCB(root, "train").problems
    assert problem.what == "the folder of a camera that meta.yml names is missing"
    shutil.copytree(root / SUBJECTS[1], tmp_path / SUBJECTS[1])
    shutil.copytree(root / "calibration", tmp_path / "calibration")
    shutil.rmtree(tmp_path / SUBJECTS[1] / "20200813_000099")
    problems = [str(problem) for problem in DexYCB(tmp_path, "train").problems]
    assert len(problems) == 10
    assert f"{SUBJECTS[0]}: found 0 sequences, expected 100" in problems[0]
    assert f"{SUBJECTS[1]}: found 99 sequences, expected 100. The splits go by the order" in problems[1]


@pytest.mark.parametrize(
    ("path_of", "read"),
    [(_meta, read_meta), (_intrinsics, read_intrinsics), (_label, read_joints)],
)
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_raise_no_foreign_exception(
    root: Path, tmp_path: Path, path_of: Callable[[Path], Path], read: Callable[[Path], object]
) -> None:
    path = Path(shutil.copy(path_of(root), tmp_path))
    for _ in mutations(path, 400):
        try:
            read(path)
        except FrameError:
            continue
