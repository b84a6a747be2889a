"""Conversion between formats, compared with the source frame by frame."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crossnets.cli.data import Convert, data
from crossnets.datasets.converting import SOURCE_KEYS_FILE, convert
from crossnets.datasets.dataset import HandDataset
from crossnets.datasets.image_sources import open_sources
from crossnets.datasets.opening import open_dataset
from crossnets.datasets.recording import Recording, RecordingWriter
from crossnets.datasets.recording_format import KEYS_FILE
from crossnets.datasets.writers import FIXED, set_writer
from crossnets.geometry.camera import CAMERAS, CameraPreset
from crossnets.geometry.skeleton import ICVL16, MSRA21, Skeleton
from crossnets.types import Lens
from tests.datasets.make import (
    Made,
    hands,
    make_cvar,
    make_icvl,
    make_msra,
    make_nyu,
    make_recording,
    make_shards,
    write_bin,
)


def make_fixed(name: str, root: Path) -> None:
    camera, skeleton = CAMERAS[FIXED[name][0]], FIXED[name][1]
    made = hands(skeleton, camera, 2)
    writer = set_writer(name, root, "test", 2, camera, skeleton)
    for joints_mm, depth_mm in zip(made.joints_mm, made.depth_mm, strict=True):
        writer.add(depth_mm, joints_mm)
    writer.close()


SOURCES: dict[str, Callable[[Path], object]] = {
    "nyu": make_nyu,
    "icvl": make_icvl,
    "msra": lambda root: make_msra(root, ("P0", "P1"), ("1", "5")),
    "cvar": lambda root: make_cvar(root, {"P1": 1.0, "P4": 0.8}),
    "hands17": lambda root: make_fixed("hands17", root),
    "ho3d": lambda root: make_fixed("ho3d", root),
    "h2o": lambda root: make_fixed("h2o", root),
    "recording": lambda root: make_recording(root / "one", unlabelled=(1,), unit=0.125),
    "shards": make_shards,
}


def record(root: Path, camera: CameraPreset, skeleton: Skeleton, frames: int = 3, depth_mm: float = 400.0) -> Made:
    made = hands(skeleton, camera, frames, depth_mm)
    with RecordingWriter(root, camera, skeleton) as writer:
        for joints, depth in zip(made.joints_mm, made.depth_mm, strict=True):
            writer.add(depth, joints)
    return made


def keys_of(dataset: HandDataset) -> list[str]:
    return [dataset[place].key for place in range(len(dataset))]


def assert_same(found: HandDataset, source: HandDataset, *, keys: bool) -> None:
    assert len(found) == len(source)
    for place in range(len(source)):
        one, other = found[place], source[place]
        assert_array_equal(one.depth_mm, other.depth_mm)
        assert one.camera == other.camera
        if keys:
            assert (one.key, one.sequence) == (other.key, other.sequence)
        assert (one.joints_mm is None) == (other.joints_mm is None)
        if one.joints_mm is not None and other.joints_mm is not None:
            assert_allclose(one.joints_mm, other.joints_mm, atol=0.01)


@pytest.mark.parametrize("name", SOURCES)
def test_every_format_becomes_a_recording_with_its_keys(tmp_path: Path, name: str) -> None:
    SOURCES[name](tmp_path / "source")
    source = open_dataset(f"{name}:{tmp_path / 'source'}", "test")
    converted = convert(source, "recording", tmp_path / "out", split="test")
    found = Recording(tmp_path / "out")
    assert_same(found, source, keys=True)
    assert found.skeleton == source.skeleton
    assert (converted.frames, converted.changed, converted.problems) == (len(source), 0, 0)
    assert not found.problems
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.unfinished"))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", FIXED)
def test_a_recording_becomes_every_format(tmp_path: Path, name: str, split: str) -> None:
    camera, skeleton = FIXED[name]
    record(tmp_path / "source", CAMERAS[camera], skeleton, 4)
    source = Recording(tmp_path / "source")
    converted = convert(source, name, tmp_path / "out", split="train" if split == "train" else "test")
    found = open_dataset(str(tmp_path / "out"), "train" if split == "train" else "test")
    assert found.name == name
    assert_same(found, source, keys=False)
    assert converted.changed == 0
    assert converted.joints_off_mm < 0.01
    listed = [json.loads(line) for line in (tmp_path / "out" / SOURCE_KEYS_FILE).read_text().splitlines()]
    assert [one["source"] for one in listed] == keys_of(source)
    assert [one["key"] for one in listed] == keys_of(found)


def test_sequences_become_folders(tmp_path: Path) -> None:
    source = make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.8}).root
    convert(open_dataset(f"cvar:{source}"), "recording", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["P1", "P4"]
    assert keys_of(Recording(tmp_path / "out", ("P4",))) == ["cvar/P4/000000", "cvar/P4/000001"]


def test_interrupted_sequences_share_a_folder(tmp_path: Path) -> None:
    class Mixed(Recording):
        def sequence_of(self, index: int) -> str:
            return ("a", "b", "a")[index]

    make_recording(tmp_path / "take")
    convert(Mixed(tmp_path / "take"), "recording", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".png") == [
        f"{number:06d}.png" for number in range(3)
    ]


def test_fractions_of_a_millimetre_are_kept(tmp_path: Path) -> None:
    made = make_msra(tmp_path / "msra")
    folder = tmp_path / "msra" / "P0" / "1"
    for number, depth_mm in enumerate(made.depth_mm):
        write_bin(folder / f"{number:06d}_depth.bin", np.where(depth_mm > 0, depth_mm + 0.25, 0).astype(np.float32))
    source = open_dataset(f"msra:{tmp_path / 'msra'}")
    assert convert(source, "recording", tmp_path / "out").changed == 0
    assert_same(Recording(tmp_path / "out"), source, keys=True)
    # MSRA's own format holds floating-point depth.
    assert convert(Recording(tmp_path / "out"), "msra", tmp_path / "msra-again").changed == 0
    assert_same(open_dataset(f"msra:{tmp_path / 'msra-again'}"), source, keys=False)


def test_depth_that_a_format_cannot_hold_is_reported(tmp_path: Path) -> None:
    record(tmp_path / "far", CAMERAS["icvl-senz3d"], ICVL16, 2, depth_mm=495.0)
    converted = convert(Recording(tmp_path / "far"), "icvl", tmp_path / "out", split="test")
    assert converted.changed == 1
    assert converted.depth_off_mm >= 500


def test_a_lens_is_kept(tmp_path: Path) -> None:
    camera = CAMERAS["msra-senz3d"]._replace(lens=Lens(0.1, -0.05, 0.001, 0.0))
    record(tmp_path / "lens", camera, MSRA21)
    source = Recording(tmp_path / "lens")
    convert(source, "recording", tmp_path / "out")
    found = Recording(tmp_path / "out")
    assert found.preset_of(0).lens == camera.lens
    assert_array_equal(found.as_taken(1)[0], source.as_taken(1)[0])
    assert_same(found, source, keys=True)
    with pytest.raises(ValueError, match=r"but msra always has .* and no lens"):
        convert(source, "msra", tmp_path / "msra")


def test_joints_in_another_order_are_reordered(tmp_path: Path) -> None:
    record(tmp_path / "msra", CAMERAS["realsense-sr300"], MSRA21)
    convert(Recording(tmp_path / "msra"), "hands17", tmp_path / "out")
    found, source = open_dataset(str(tmp_path / "out"))[0], Recording(tmp_path / "msra")[0]
    assert found.joints_mm is not None
    assert source.joints_mm is not None
    order = [MSRA21.joints.index(joint) for joint in FIXED["hands17"][1].joints]
    assert_allclose(found.joints_mm, source.joints_mm[order], atol=0.01)


def test_frames_without_a_label_are_left_out_of_benchmarks(tmp_path: Path) -> None:
    make_recording(tmp_path / "take", unlabelled=(1,))
    converted = convert(Recording(tmp_path / "take"), "msra", tmp_path / "out")
    assert (converted.frames, converted.problems) == (2, 1)
    assert "has no label" in (tmp_path / "out" / "problems.jsonl").read_text()


def test_broken_frames_are_left_out(tmp_path: Path) -> None:
    make_recording(tmp_path / "take")
    (tmp_path / "take" / "000001.png").write_bytes(b"broken")
    converted = convert(Recording(tmp_path / "take"), "recording", tmp_path / "out")
    assert (converted.frames, converted.problems) == (2, 1)
    assert keys_of(Recording(tmp_path / "out")) == ["recording/take/000000", "recording/take/000002"]


@pytest.mark.parametrize(
    ("camera", "skeleton", "to", "message"),
    [
        ("msra-senz3d", ICVL16, "msra", "The joints of icvl16 lack wrist, .* which msra21 has"),
        ("realsense-d435", MSRA21, "msra", "640x480 pixels, but msra always has"),
        ("msra-senz3d", MSRA21, "shards", "Cannot convert to 'shards'. Known: recording, nyu"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, camera: str, skeleton: Skeleton, to: str, message: str
) -> None:
    record(tmp_path / "take", CAMERAS[camera], skeleton, 1)
    with pytest.raises(ValueError, match=message):
        convert(Recording(tmp_path / "take"), to, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["take"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    make_recording(tmp_path / "take")
    source = Recording(tmp_path / "take")
    (tmp_path / "out").mkdir()
    convert(source, "recording", tmp_path / "out")
    with pytest.raises(FileExistsError, match="data sets are not overwritten"):
        convert(source, "recording", tmp_path / "out")
    (tmp_path / "other.part").mkdir()
    (tmp_path / "other.part" / "mine.txt").write_text("of somebody else")
    with pytest.raises(FileExistsError, match=r"other\.part is not an empty folder"):
        convert(source, "recording", tmp_path / "other")
    assert (tmp_path / "other.part" / "mine.txt").is_file()


def test_what_a_killed_conversion_left_is_removed(tmp_path: Path) -> None:
    make_recording(tmp_path / "take")
    source = Recording(tmp_path / "take")
    left = tmp_path / "out.part"
    (left / "whole" / "P1").mkdir(parents=True)
    (left / "whole" / "000000.png").write_bytes(b"half")
    (left / "conversion.unfinished").write_text("{}\n")
    convert(source, "recording", tmp_path / "out")
    assert_same(Recording(tmp_path / "out"), source, keys=True)
    assert not left.exists()


def test_labels_that_do_not_fit_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = hands(MSRA21, CAMERAS["msra-senz3d"], 6, 400.0)
    with RecordingWriter(tmp_path / "take", CAMERAS["msra-senz3d"], MSRA21) as writer:
        for joints, depth in zip(made.joints_mm, made.depth_mm, strict=True):
            writer.add(depth, joints / np.float32(1000))
    data(Convert(str(tmp_path / "take"), "recording", tmp_path / "out"))
    said = capsys.readouterr().out
    assert "6 frames as recording, 6 of them labelled" in said
    assert "Depth is that of the source in every pixel." in said
    assert "Likely cause: the labels are in metres instead of mm" in said


def test_images_without_labels_become_a_recording(images: Made, tmp_path: Path) -> None:
    (source,) = open_sources([str(images.root)], "msra-senz3d")
    convert(source, "recording", tmp_path / "out")
    found = Recording(tmp_path / "out")
    assert_same(found, source, keys=True)
    assert found.preset_of(0)[:4] == CAMERAS["msra-senz3d"][:4]


@pytest.mark.parametrize(
    "line",
    ["{}", "no JSON", '{"frame": "9.png", "key": "a", "sequence": "b"}', '{"frame": "000000.png", "key": 1}', "[1]"],
)
def test_broken_keys_are_refused(tmp_path: Path, line: str) -> None:
    make_recording(tmp_path / "take")
    (tmp_path / "take" / KEYS_FILE).write_text(line + "\n")
    with pytest.raises(ValueError, match=r"keys\.jsonl:1: found .*expected a line such as"):
        Recording(tmp_path / "take")


def test_a_key_belongs_to_one_frame(tmp_path: Path) -> None:
    make_recording(tmp_path / "take")
    lines = [json.dumps({"frame": f"00000{k}.png", "key": "same", "sequence": "s"}) for k in range(2)]
    (tmp_path / "take" / KEYS_FILE).write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"found the key 'same' twice in keys\.jsonl"):
        Recording(tmp_path / "take")


def test_a_format_that_states_its_camera_takes_another(tmp_path: Path) -> None:
    camera = CAMERAS["ho3d-sr300"]._replace(pinhole=CAMERAS["realsense-sr300"].pinhole)
    record(tmp_path / "source", camera, FIXED["ho3d"][1])
    converted = convert(Recording(tmp_path / "source"), "ho3d", tmp_path / "out")
    assert converted.changed == 0
    found = open_dataset(f"ho3d:{tmp_path / 'out'}")
    assert found[0].camera == camera.pinhole
