import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crossnets.datasets.dataset import FrameError
from crossnets.datasets.recording import Recording, RecordingWriter
from crossnets.geometry.camera import CAMERAS, CameraPreset, camera_named
from crossnets.geometry.lens import ideal_image
from crossnets.geometry.skeleton import CVAR21, MSRA21
from crossnets.types import Lens, LensCamera, Pinhole
from tests.datasets.make import edit_line, make_recording

CAMERA = CAMERAS["msra-senz3d"]


def change_camera(root: Path, **fields: object) -> None:
    path = root / "camera.json"
    old = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in {**old, **fields}.items() if v is not None}))


def test_round_trip(tmp_path: Path) -> None:
    made = make_recording(tmp_path / "a", frames=3, unlabelled=(1,))
    dataset = Recording(tmp_path / "a")
    assert dataset.problems == []
    assert dataset.skeleton == MSRA21
    assert dataset.camera == CAMERA.pinhole
    assert [dataset[i].key for i in range(3)] == [f"recording/a/00000{i}" for i in range(3)]
    assert [dataset.sequence_of(i) for i in range(3)] == ["a"] * 3
    for i in range(3):
        frame = dataset[i]
        assert_array_equal(frame.depth_mm, made.depth_mm[i])
        if i == 1:
            assert frame.joints_mm is None
        else:
            assert frame.joints_mm is not None
            assert_allclose(frame.joints_mm, made.joints_mm[i], atol=1e-3)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        *(f"00000{i}.png" for i in range(3)),
        "camera.json",
        "labels.jsonl",
    ]


def test_fractions_of_a_millimetre_survive(tmp_path: Path) -> None:
    depth = np.full((240, 320), 600.375, np.float32)
    with RecordingWriter(tmp_path / "a", CAMERA._replace(depth_unit_mm=0.125)) as writer:
        writer.add(depth)
    dataset = Recording(tmp_path / "a")
    assert_array_equal(dataset[0].depth_mm, depth)
    assert dataset.skeleton is None
    assert dataset[0].joints_mm is None


def test_folder_of_recordings(tmp_path: Path) -> None:
    make_recording(tmp_path / "b", frames=1)
    make_recording(tmp_path / "a", frames=2, skeleton=None)
    (tmp_path / "notes").mkdir()
    dataset = Recording(tmp_path)
    assert [dataset[i].key for i in range(3)] == ["recording/a/000000", "recording/a/000001", "recording/b/000000"]
    assert [dataset.sequence_of(i) for i in range(3)] == ["a", "a", "b"]
    assert len(Recording(tmp_path, ("b",))) == 1
    with pytest.raises(ValueError, match=r"the sequences c of .* which has a, b"):
        Recording(tmp_path, ("c",))
    make_recording(tmp_path / "c", frames=1, skeleton=CVAR21)
    with pytest.raises(ValueError, match="different skeletons: msra21, cvar21"):
        Recording(tmp_path)


def test_frames_are_ordered_by_number(tmp_path: Path) -> None:
    make_recording(tmp_path / "a", frames=3, skeleton=None)
    for old, new in (("000000", "0"), ("000001", "20"), ("000002", "100")):
        (tmp_path / "a" / f"{old}.png").rename(tmp_path / "a" / f"{new}.png")
    dataset = Recording(tmp_path / "a")
    assert [dataset[i].key for i in range(3)] == ["recording/a/0", "recording/a/20", "recording/a/100"]


def test_missing_camera_json_yields_an_example(tmp_path: Path) -> None:
    make_recording(tmp_path / "a", skeleton=None)
    (tmp_path / "a/camera.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds 3 PNGs but no camera\.json") as caught:
        Recording(tmp_path / "a")
    advice = json.loads(str(caught.value).split("\n", 1)[1])
    assert advice["format"] == "crossnets-recording"
    assert (advice["width_px"], advice["height_px"]) == (320, 240)
    dataset = Recording(tmp_path / "a", camera=CAMERA, depth_unit_mm=0.5)
    assert dataset[0].depth_mm.max() < 400
    (tmp_path / "a/camera.json").write_text(json.dumps(advice | {"fx_px": 241.42, "fy_px": 241.42}))
    assert Recording(tmp_path / "a").camera == CAMERA.pinhole


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": None}, r"camera\.json: found format None, expected \"format\": \"crossnets-recording\""),
        ({"version": 3}, "found version 3; this crossnets reads 1 and 2"),
        ({"fx_px": None}, "found fx_px None, expected a number"),
        ({"fy_px": "wide"}, "found fy_px 'wide', expected a number"),
        ({"cx_px": float("nan")}, "found cx_px nan, expected a number"),
        ({"cy_px": True}, "found cy_px True, expected a number"),
        ({"fx_px": -5.0}, "found fx_px -5, expected more than 0"),
        ({"depth_unit_mm": 0}, "found depth_unit_mm 0, expected more than 0"),
        ({"width_px": 320.5}, "found an image of 320.5x240, expected whole numbers of pixels"),
        ({"height_px": 0}, "found an image of 320x0, expected 1 to 16777216 pixels"),
        ({"width_px": 8192, "height_px": 8192}, "found an image of 8192x8192, expected 1 to 16777216 pixels"),
        ({"width_px": 1e300}, r"found width_px 1e\+300, expected a number below 1000000"),
    ],
)
def test_broken_camera(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    make_recording(tmp_path / "a")
    change_camera(tmp_path / "a", **fields)
    with pytest.raises(ValueError, match=message):
        Recording(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100000])
def test_camera_json_must_be_an_object(tmp_path: Path, text: str) -> None:
    make_recording(tmp_path / "a")
    (tmp_path / "a/camera.json").write_text(text)
    with pytest.raises(ValueError, match=r"camera\.json( is not JSON|: found format 'list')"):
        Recording(tmp_path / "a")


LABELS = [
    ("}", "", "found .*, expected .*joints_mm"),
    ('"frame"', '"image"', "found .*, expected .*joints_mm"),
    ('"000000.png"', "7", "found the frame 7, expected the name of a PNG"),
    ('"000000.png"', '"000009.png"', "the image '000009.png' is missing"),
    ('"000000.png"', '"000001.png"', "a second label of '000001.png'"),
    ("[[", "[[0.0, 0.0, 500.0], [", r"found joints of shape \(22, 3\); expected 21 joints x 3 of msra21"),
    ("[[", "[[NaN, 0, 500], [", "found joints of shape"),
    ("[[", "[[1, ", "not a table of numbers"),
    ("[[", '["x", [', "not a table of numbers"),
]


@pytest.mark.parametrize(("old", "new", "message"), LABELS)
def test_broken_label_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    make_recording(tmp_path / "a", frames=2)
    path = tmp_path / "a/labels.jsonl"
    edit_line(path, 2, (old, new))
    dataset = Recording(tmp_path / "a")
    (problem,) = dataset.problems
    assert problem.path == path
    assert problem.line in (2, 3)
    with pytest.raises(FrameError, match=message):
        raise FrameError(problem)


@pytest.mark.parametrize("sound_first", [True, False])
def test_frame_with_two_labels_is_left_out_in_any_order(sound_first: bool, tmp_path: Path) -> None:
    root = make_recording(tmp_path / "a").root
    head, first, *others = (root / "labels.jsonl").read_text().splitlines()
    broken = first.replace("[[", "[[NaN, 0, 500], [")
    pair = [first, broken] if sound_first else [broken, first]
    (root / "labels.jsonl").write_text("\n".join([head, *pair, *others]) + "\n")
    dataset = Recording(root)
    assert "recording/a/000000" not in [dataset[index].key for index in range(len(dataset))]
    assert len(dataset) == len(others)


def test_current_folder_is_read_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_recording(tmp_path / "a").root)
    assert Recording(".")[0].key == "recording/a/000000"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -600.0, 1e40])
def test_impossible_joint_leaves_out_the_frame(tmp_path: Path, value: float) -> None:
    make_recording(tmp_path / "a", frames=2)
    path = tmp_path / "a/labels.jsonl"
    head, first, second, *_ = path.read_text().split("\n")
    label = json.loads(first)
    label["joints_mm"][4][2] = value
    path.write_text("\n".join([head, json.dumps(label), second]))
    dataset = Recording(tmp_path / "a")
    assert (dataset.problems[0].line, len(dataset)) == (2, 1)
    assert dataset[0].key == "recording/a/000001"


@pytest.mark.parametrize("head", ["", "{}", '{"skeleton": "octopus8"}', "[]", '{"skeleton": ["msra21"]}'])
def test_unknown_skeleton(tmp_path: Path, head: str) -> None:
    make_recording(tmp_path / "a")
    edit_line(tmp_path / "a/labels.jsonl", 1, (None, head))
    with pytest.raises(ValueError, match=r"labels\.jsonl:1: found .*skeleton.*nyu36"):
        Recording(tmp_path / "a")


def test_unclosed_recording_is_reported(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a", CAMERA, MSRA21)
    writer.add(np.full((240, 320), 500, np.float32), np.full((21, 3), 500, np.float32))
    dataset = Recording(tmp_path / "a")
    assert "was not closed. Rename this file to labels.jsonl" in dataset.problems[0].what
    assert dataset[0].joints_mm is None
    writer.close()
    writer.close()
    assert Recording(tmp_path / "a")[0].joints_mm is not None


def test_writer_refuses_invalid_frames_and_folders(tmp_path: Path) -> None:
    depth = np.full((240, 320), 500, np.float32)
    with pytest.raises(ValueError, match="found fx_px 0, expected more than 0"):
        RecordingWriter(tmp_path / "b", CAMERA._replace(pinhole=Pinhole(0.0, 1.0, 1.0, 1.0)))
    assert not (tmp_path / "b").exists()
    with RecordingWriter(tmp_path / "a", CAMERA, MSRA21) as writer:
        with pytest.raises(ValueError, match=r"shape \(2, 2\), expected \(240, 320\)"):
            writer.add(depth[:2, :2])
        for bad in (np.float32(np.nan), np.float32(-1), np.float32(70000)):
            with pytest.raises(ValueError, match="from 0 to 65535 mm"):
                writer.add(depth * 0 + bad)
        with pytest.raises(ValueError, match="Found 14 joints, expected 21"):
            writer.add(depth, np.full((14, 3), 500, np.float32))
        with pytest.raises(ValueError, match="joint 0 is not finite"):
            writer.add(depth, np.full((21, 3), np.nan, np.float32))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["camera.json"]
    with pytest.raises(FileExistsError, match="is not empty"):
        RecordingWriter(tmp_path / "a", CAMERA)
    with pytest.raises(FileNotFoundError, match=r"camera\.json but no PNG"):
        Recording(tmp_path / "a")


@pytest.mark.filterwarnings("ignore:.*principal point")
def test_image_of_another_size(tmp_path: Path) -> None:
    make_recording(tmp_path / "a")
    change_camera(tmp_path / "a", width_px=640, height_px=480)
    with pytest.raises(FrameError, match="320x240 pixels, expected 640x480"):
        Recording(tmp_path / "a")[0]


def test_each_recording_has_its_camera(tmp_path: Path) -> None:
    make_recording(tmp_path / "a", frames=1)
    make_recording(tmp_path / "b", frames=1)
    change_camera(tmp_path / "b", fx_px=300.0, fy_px=300.0)
    dataset = Recording(tmp_path)
    assert [dataset[i].camera.fx_px for i in (0, 1)] == [241.42, 300.0]


def test_an_unlikely_camera_is_warned_about(tmp_path: Path) -> None:
    make_recording(tmp_path / "a")
    change_camera(tmp_path / "a", cx_px=20.0)
    with pytest.warns(UserWarning, match=r"a/camera.json: The principal point \(20, 120\) lies far from the middle"):
        Recording(tmp_path / "a")


def test_invalid_depth_unit_is_refused(tmp_path: Path) -> None:
    make_recording(tmp_path / "a")
    with pytest.raises(ValueError, match=r"depth_unit_mm=0.0; expected"):
        Recording(tmp_path / "a", depth_unit_mm=0.0)


@pytest.mark.real
def test_real_sr305(real_data: Path) -> None:
    camera = CameraPreset(Pinhole(476.007, 476.007, 313.683, 242.755), 640, 480, 0.125, "its readme.txt")
    root = real_data / "sr305/datasets/custom"
    with pytest.raises(FileNotFoundError, match=r"no camera\.json"):
        Recording(root)
    dataset = Recording(root, camera=camera)
    frames = [dataset[i] for i in range(len(dataset))]
    assert len(frames) == 19
    assert {frame.sequence for frame in frames} == {"20210326-230536", "20210326-231615"}
    depth = np.concatenate([frame.depth_mm[frame.depth_mm > 0] for frame in frames])
    # The readme of the recordings states this farthest depth.
    assert depth.max() < 1500
    assert (depth % 1 != 0).any()


LENS = Lens(0.1, -0.05, 0.001, 0.002, 0.01)


@pytest.mark.parametrize("lens", [LENS, LENS._replace(modified=True), camera_named("azure-kinect-nfov").lens])
def test_a_lens_is_stored_and_taken_out_of_the_frames(tmp_path: Path, lens: Lens) -> None:
    camera = CAMERA._replace(lens=lens)
    depth = np.random.default_rng(0).integers(300, 900, (240, 320)).astype(np.float32)
    with RecordingWriter(tmp_path / "a", camera) as writer:
        writer.add(depth)
    fields = json.loads((tmp_path / "a" / "camera.json").read_text())
    assert fields["version"] == 2
    assert fields["lens"]["coefficients"] == list(lens[:8])
    dataset = Recording(tmp_path / "a")
    taken = LensCamera(CAMERA.pinhole, lens, 320, 240)
    raw, found, _ = dataset.as_taken(0)
    assert found == taken
    assert_array_equal(raw, depth)
    ideal_mm, pinhole = ideal_image(depth, taken)
    assert_array_equal(dataset[0].depth_mm, ideal_mm)
    assert dataset[0].camera == dataset.camera == pinhole


def test_a_camera_without_a_lens_is_written_as_before(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a", CAMERA):
        pass
    fields = json.loads((tmp_path / "a" / "camera.json").read_text())
    assert fields["version"] == 1
    assert "lens" not in fields


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"lens": {"coefficients": [0.1, 0, 0, 0]}}, "found a lens in version 1"),
        ({"version": 2, "lens": {"coefficients": [0.1, 0, 0]}}, "Expected 4, 5 or 8 finite numbers"),
        ({"version": 2, "lens": {"coefficients": ["a"] * 4}}, "Expected 4, 5 or 8 finite numbers"),
        ({"version": 2, "lens": {}}, "Expected 4, 5 or 8 finite numbers"),
        ({"version": 2, "lens": [0.1, 0, 0, 0]}, "found the lens"),
        ({"version": 2, "lens": {"model": "fisheye", "coefficients": [0.1] * 4}}, "found the lens"),
        ({"version": 2, "lens": {"coefficients": [-5.0, 0, 0, 0]}}, "fold the image over"),
        ({"version": True}, "found version True"),
    ],
)
def test_a_broken_lens(tmp_path: Path, fields: dict[str, object], says: str) -> None:
    make_recording(tmp_path / "a")
    change_camera(tmp_path / "a", **fields)
    with pytest.raises(ValueError, match=says):
        Recording(tmp_path / "a")
