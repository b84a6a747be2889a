import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from rich.console import Console
from scipy.io import savemat

from crossnets.cli.data import Info, data
from crossnets.datasets.hand_size import HandSize, common_factor, hand_size
from crossnets.datasets.info import describe, info_command, render
from crossnets.datasets.nyu import NYU
from crossnets.datasets.recording import RecordingWriter
from crossnets.datasets.recording_format import camera_fields
from crossnets.geometry.camera import CAMERAS, unproject
from crossnets.geometry.skeleton import ICVL16, NYU36
from crossnets.types import HandFrame, Pinhole
from tests.datasets.make import hand_joints, make_cvar, make_icvl, make_recording


def rendered(spec: str, width: int = 200) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(render(describe(spec, "test")), soft_wrap=True)
    return captured.get()


def test_adult_hand_is_not_noted(tmp_path: Path) -> None:
    made = make_cvar(tmp_path)
    info = describe(f"cvar:{tmp_path}")
    assert (info.frames, info.labelled, info.unlabelled, info.blank) == (2, 2, 0, 0)
    assert (info.skeleton, len(info.joints), info.sizes) == ("cvar21", 21, {"320x240": 2})
    assert info.notes == ()
    assert info.problems == ()
    valid_mm = made.depth_mm[made.depth_mm > 0]
    assert info.depth_mm is not None
    assert_allclose(info.depth_mm, (valid_mm.min(), np.median(valid_mm), valid_mm.max()), atol=1)
    hand = info.sequences[0].hand
    assert hand is not None
    assert hand.of_adult_mean == pytest.approx(1.0, abs=0.001)
    assert hand.fingers_mm["middle"] == pytest.approx(92.31, abs=0.01)


def test_scaled_sequence_is_noted(tmp_path: Path) -> None:
    make_cvar(tmp_path, {"P1": 1.0, "P4": 0.7, "P5": 1.4})
    notes = describe(f"cvar:{tmp_path}").notes
    assert notes[0].startswith("P4: the fingers are 0.70 of an adult's mean")
    assert "This may be a child's hand, but another depth unit" in notes[0]
    assert notes[1].startswith("P5: the fingers are 1.40 of an adult's mean")
    assert notes[2].startswith("P4: the bones are 0.700 of those of P1")
    assert notes[3].startswith("P5: the bones are 1.400 of those of P1")
    assert len(notes) == 4


def test_bones_of_two_people_do_not_share_a_factor() -> None:
    bones = {f"bone{i}": 30.0 for i in range(20)}
    other = {name: 30.0 * (0.7 + 0.02 * i) for i, name in enumerate(bones)}
    assert common_factor(HandSize(other, {}, None), HandSize(bones, {}, None)) is None
    assert common_factor(HandSize({"a": 1.0}, {}, None), HandSize({"a": 2.0}, {}, None)) is None


def test_labels_without_knuckles_are_not_compared_with_adults() -> None:
    assert hand_size(hand_joints(ICVL16)[None], ICVL16).of_adult_mean is None
    assert hand_size(hand_joints(NYU36)[None], NYU36).of_adult_mean == pytest.approx(1.0, abs=0.001)


def test_broken_frames_are_listed_and_not_counted(tmp_path: Path) -> None:
    make_cvar(tmp_path, frames=3)
    (tmp_path / "P1/000000_depth.png").unlink()
    (tmp_path / "P1/000001_depth.png").write_bytes(b"x")
    info = describe(f"cvar:{tmp_path}")
    assert info.frames == 1
    assert [str(problem) for problem in info.problems] == [
        f"{tmp_path}/P1/joint.txt:2: the image 000000_depth.png of this row is missing",
        f"{tmp_path}/P1/000001_depth.png: the file is not a PNG",
    ]
    text = rendered(f"cvar:{tmp_path}")
    assert "000000_depth.png of this row is missing" in text


def test_data_set_without_a_readable_image(tmp_path: Path) -> None:
    make_icvl(tmp_path, frames=13)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    info = describe(f"icvl:{tmp_path}", "test")
    assert (info.frames, info.depth_mm, len(info.problems)) == (0, None, 26)
    text = rendered(f"icvl:{tmp_path}")
    assert "no image was read" in text
    assert "and 6 more" in text


def test_unlabelled_recordings_are_counted(tmp_path: Path) -> None:
    make_recording(tmp_path / "a", skeleton=None)
    make_recording(tmp_path / "b", unlabelled=(0, 2))
    info = describe(f"recording:{tmp_path}")
    assert (info.labelled, info.unlabelled, info.skeleton) == (1, 5, "msra21")
    assert "no labels" in rendered(f"recording:{tmp_path}/a")


def test_json_and_table_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_icvl(tmp_path)
    info_command(f"icvl:{tmp_path}", json=True, split="test")
    out = capsys.readouterr().out
    found = json.loads(out)
    assert found["frames"] == 4
    assert [s["name"] for s in found["sequences"]] == ["seq1", "seq2"]
    assert found["cameras"][0]["fx_px"] == 240.99
    assert found["problems"] == []
    info_command(f"icvl:{tmp_path}", split="test")
    assert "No problem found" in capsys.readouterr().out


@pytest.mark.real
def test_real_cvar(real_data: Path) -> None:
    """The hand of P1 is larger than an adult's, and those of P4 and P5 are 0.70 of it."""
    info = describe(f"cvar:{real_data}/cvar")
    assert {s.name: s.frames for s in info.sequences} == {"P1": 328, "P4": 381, "P5": 371}
    assert [str(p).rpartition("cvar/")[2] for p in info.problems] == [
        "P1/joint.txt:3: the image 000001_depth.png of this row is missing"
    ]
    shares = [s.hand.of_adult_mean for s in info.sequences if s.hand and s.hand.of_adult_mean]
    assert_allclose(shares, [1.29, 0.90, 0.90], atol=0.01)
    assert [note[:35] for note in info.notes] == [
        "P1: the fingers are 1.29 of an adul",
        "P4: the bones are 0.700 of those of",
        "P5: the bones are 0.700 of those of",
    ]


@pytest.mark.real
def test_real_nyu_frame(real_data: Path, tmp_path: Path) -> None:
    """Reads the original image of frame 1 with its original label, written in the format of NYU."""
    uvd = np.load(real_data / "nyu/nyu_test_uvd_36.npz")["uvd"][0].astype(float)
    xyz = unproject(uvd, CAMERAS["nyu-kinect"].pinhole)
    folder = tmp_path / "test"
    folder.mkdir()
    savemat(folder / "joint_data.mat", {"joint_xyz": np.broadcast_to(xyz * [1, -1, 1], (3, 1, 36, 3))})
    (folder / "depth_1_0000001.png").write_bytes((real_data / "nyu/depth_1_0000001.png").read_bytes())
    frame = NYU(tmp_path, "test")[0]
    u, v = np.rint(uvd[:, :2]).astype(int).T
    below_surface_mm = uvd[:, 2] - frame.depth_mm[v, u]
    # Joints lie inside the hand, and the camera measured its surface.
    assert abs(np.median(below_surface_mm)) < 30


def test_depths_in_metres_are_noted(tmp_path: Path) -> None:
    make_recording(tmp_path / "rec", skeleton=None)
    path = tmp_path / "rec" / "camera.json"
    fields = json.loads(path.read_text())
    fields["depth_unit_mm"] = 0.001
    path.write_text(json.dumps(fields))
    (note,) = describe(f"recording:{tmp_path / 'rec'}").notes
    assert "looks like metres" in note
    assert "1 if counts are millimetres, not 0.001" in note


def test_a_sample_of_the_frames_is_checked(tmp_path: Path) -> None:
    make_recording(tmp_path / "rec", frames=50)
    given: list[str] = []

    def check(frames: Sequence[HandFrame]) -> list[str]:
        given.extend(frame.key for frame in frames)
        return ["The hands are 300 mm long."]

    info = describe(f"recording:{tmp_path / 'rec'}", check=check)
    assert given == [f"recording/rec/{number:06d}" for number in range(0, 50, 3)]
    assert "The hands are 300 mm long." in info.notes


def test_raw_values_of_a_kinect_are_noted(tmp_path: Path) -> None:
    camera = CAMERAS["kinect-v1"]
    raw = np.full((480, 640), 700, np.float32)
    raw[:, :40] = 2047
    with RecordingWriter(tmp_path / "rec", camera) as writer:
        for _ in range(3):
            writer.add(raw)
    (note,) = describe(f"recording:{tmp_path / 'rec'}").notes
    assert "raw values of a Kinect v1" in note
    text = rendered(f"recording:{tmp_path / 'rec'}")
    assert "Read the notes above" in text


@pytest.mark.real
def test_the_command_notes_hands_of_impossible_length(
    tmp_path: Path, real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, notes in ((1.6, 1), (1.0, 0)):
        folder = tmp_path / str(wrong)
        folder.mkdir()
        for path in sorted((real_data / "sr305").rglob("*.png")):
            (folder / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
        camera = CAMERAS["realsense-sr305"]
        fx, fy, cx, cy = camera.pinhole
        camera = camera._replace(pinhole=Pinhole(fx / wrong, fy / wrong, cx, cy))
        (folder / "camera.json").write_text(json.dumps(camera_fields(camera, None)))
        data(Info(str(folder), json=True))
        found = json.loads(capsys.readouterr().out)["notes"]
        assert len([note for note in found if "from the wrist to the middle finger's tip" in note]) == notes
        assert len(found) == notes
