"""RealSense through librealsense's software device: live, recorded to .db3 and played back."""

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossnets
from crossnets.cameras import SourceError, open_source
from crossnets.cameras.realsense import RealSense, open_camera
from crossnets.cameras.reconnecting import Retries, Retrying
from crossnets.cameras.record import record
from crossnets.cli.predict import predict
from crossnets.datasets.recording import Recording
from crossnets.evaluation.predictions import read_predictions
from crossnets.geometry.camera import CAMERAS
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.types import Lens, LensCamera, Pinhole
from tests.cameras.realsense_device import CX, CY, FX, FY, HEIGHT, SMALL, UNIT_MM, WIDTH, SoftwareCamera, record_file
from tests.cameras.ros_bag import write_ros_bag

QUICK = Retries(timeout_s=0.4, opening_s=1.0, retry_s=0.05, tries=1)


@pytest.fixture(scope="module")
def rs() -> Any:
    try:
        import pyrealsense2
    except ImportError as error:
        pytest.skip(f"pyrealsense2 is not here: {error}")
    return pyrealsense2


@pytest.fixture(scope="module")
def film(rs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.db3"
    record_file(rs, path, [None] * 40)
    return path


@pytest.fixture
def hand_before_a_camera(rs: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[np.ndarray]:
    """A depth image in mm, which a D435 that is plugged in sends again and again."""
    hands = SyntheticHands(SyntheticConfig(camera="realsense-d435", seed=10**12 + 23, distance_mm=(400.0, 600.0)))
    depth_mm = hands.frame(0).depth_mm.round().astype(np.uint16)
    going = threading.Event()
    going.set()
    senders: list[threading.Thread] = []

    class Plugged:
        """librealsense's context, in which each query finds the device as if it was plugged in anew."""

        def query_devices(self) -> list[Any]:
            camera = SoftwareCamera(rs, preset=CAMERAS["realsense-d435"])
            senders.append(camera.send_while(going, 0.03, depth_mm))
            return [camera.device]

    monkeypatch.setattr(rs, "context", Plugged)
    yield depth_mm
    going.clear()
    for sender in senders:
        sender.join()


def test_the_command_and_the_loop_follow_a_hand_before_a_camera(
    hand_before_a_camera: np.ndarray, tmp_path: Path
) -> None:
    (expected,) = crossnets.load().predict(hand_before_a_camera, "realsense-d435")
    predict(("realsense",), out=tmp_path / "out", first=2, draw=False)
    predict(("realsense:0123",), out=tmp_path / "left", first=1, draw=False, side="left")
    written = read_predictions(tmp_path / "out" / "predictions.jsonl").frames
    assert [frame.key for frame in written] == ["realsense/000000", "realsense/000001"]
    tracker = crossnets.load()
    source = crossnets.open("realsense")
    assert repr(source) == "<source realsense, not opened yet>"
    with source as camera:
        assert repr(camera) == "<source realsense: 640 x 480 pixels, fx 384.1, fy 384.1, cx 322.5, cy 240.6>"
        followed = [tracker.track(frame) for frame in islice(camera, 2)]
    predicted = [hands for _, hands in islice(crossnets.predict("realsense", side="left"), 1)]
    assert [hand.side for hands in followed for hand in hands] == [expected.side] * 2
    assert [hand.side for hands in predicted for hand in hands] == ["left"]
    found = [frame.joints_mm for frame in written] + [hands[0].joints_mm for hands in (followed[0], *predicted)]
    for joints_mm in found:
        # librealsense stores intrinsics in single precision, and the file has four decimals.
        np.testing.assert_allclose(joints_mm, expected.joints_mm, rtol=0, atol=0.01)
    assert '"side": "left"' in (tmp_path / "left" / "predictions.jsonl").read_text()


def test_live_frames_have_the_camera_and_millimetres(rs: Any) -> None:
    camera = SoftwareCamera(rs)
    going = threading.Event()
    going.set()
    with RealSense(camera.device, "software", recorded=False) as source:
        assert source.preset.pinhole == (FX, FY, CX, CY)
        assert (source.preset.width_px, source.preset.height_px, source.preset.depth_unit_mm) == (
            WIDTH,
            HEIGHT,
            UNIT_MM,
        )
        sender = camera.send_while(going)
        frames = list(islice(source, 5))
        going.clear()
        sender.join()
    for frame in frames:
        assert frame.depth_mm.shape == (HEIGHT, WIDTH)
        count = round(frame.time_s * 30 + (frames[0].depth_mm[0, 0] / UNIT_MM))
        assert frame.depth_mm[0, 0] == pytest.approx(count * UNIT_MM)
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("model", ["brown_conrady", "inverse_brown_conrady"])
def test_live_frames_have_the_lens(rs: Any, model: str) -> None:
    camera = SoftwareCamera(rs, (0.125, -0.0625, 0.0, 0.0, 0.25), model)
    going = threading.Event()
    going.set()
    with RealSense(camera.device, "software", recorded=False) as source:
        sender = camera.send_while(going)
        (frame,) = islice(source, 1)
        going.clear()
        sender.join()
    lens = Lens(0.125, -0.0625, 0.0, 0.0, 0.25, modified=model != "brown_conrady")
    assert frame.camera == LensCamera(Pinhole(FX, FY, CX, CY), lens, WIDTH, HEIGHT)
    assert source.preset.lens == lens


def test_a_fish_eye_is_refused(rs: Any) -> None:
    camera = SoftwareCamera(rs, (0.125, -0.0625, 0.0, 0.0, 0.25), "kannala_brandt4")
    with (
        pytest.raises(SourceError, match="Found the lens model kannala_brandt4"),
        RealSense(camera.device, "software", recorded=False),
    ):
        pass


def test_times_grow_though_the_clock_goes_back(rs: Any) -> None:
    camera = SoftwareCamera(rs)
    with RealSense(camera.device, "software", recorded=False) as source:
        for sent in (90, 1, 4):
            camera.sent = sent
            camera.send()
        times = [frame.time_s for frame in islice(source, 3)]
    assert times == pytest.approx([0, 1e-4, 0.1001], abs=1e-6)


def test_a_camera_that_does_not_start_is_closed_and_told(rs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> None:
        raise RuntimeError("busy")

    camera = SoftwareCamera(rs)
    source = RealSense(camera.device, "software", recorded=False)
    with monkeypatch.context() as patched:
        patched.setattr(rs.sensor, "start", busy)
        with pytest.raises(SourceError, match="software cannot be started: busy"), source:
            pass
    with RealSense(camera.device, "software", recorded=False):  # so it is free
        pass


def test_a_stalled_camera_is_opened_again_and_then_given_up(rs: Any) -> None:
    told: list[str] = []
    cameras: list[SoftwareCamera] = []

    def plug() -> RealSense:
        cameras.append(SoftwareCamera(rs))
        source = RealSense(cameras[-1].device, "software", recorded=False)
        if len(cameras) == 1:  # only the first gives frames
            threading.Timer(0.1, lambda: [cameras[0].send() for _ in range(3)]).start()
        return source

    with Retrying("software", plug, QUICK, told.append, held=8) as source:
        frames = []
        with pytest.raises(SourceError, match=r"software: no frame came for 1 s.*opened again 1 times"):
            frames.extend(iter(source))
    assert len(cameras) == 2
    assert told == ["software: no frame came for 0.4 s. Trying again in 0.05 s (try 1 of 1)."]


def test_playback_gives_every_frame_once(film: Path) -> None:
    with open_source(str(film)) as source:
        frames = list(source)
    assert [round(float(frame.depth_mm[0, 0]) / UNIT_MM) - 500 for frame in frames] == list(range(40))
    assert np.allclose([frame.time_s for frame in frames], np.arange(40) / 30, atol=1e-3)


def test_playback_becomes_our_recording(film: Path, tmp_path: Path) -> None:
    done = record(open_source(str(film)), tmp_path / "ours", frames=12)
    assert (done.frames, done.lost, done.interrupted) == (12, 0, False)
    ours = Recording(tmp_path / "ours")
    assert len(ours) == 12
    assert ours.camera == (FX, FY, CX, CY)
    assert (ours[3].depth_mm == 503 * UNIT_MM).all()


@pytest.mark.parametrize("kind", ["librealsense", "ros"])
def test_predict_of_a_file_gives_the_joints_of_python(rs: Any, kind: str, tmp_path: Path) -> None:
    preset = CAMERAS["realsense-d435"]
    hands = SyntheticHands(SyntheticConfig(camera="realsense-d435", seed=10**12 + 23, distance_mm=(400.0, 600.0)))
    depths_mm = [hands.frame(number).depth_mm.round().astype(np.uint16) for number in range(4)]
    path = tmp_path / "hands.db3"
    if kind == "ros":
        write_ros_bag(path, depths_mm, preset)
    else:
        record_file(rs, path, depths_mm, preset._replace(depth_unit_mm=1.0))
    predict((str(path),), out=tmp_path / "out", draw=False)
    tracker = crossnets.load()
    found = read_predictions(tmp_path / "out" / "predictions.jsonl").frames
    expected = [tracker.predict(depth_mm, preset.pinhole) for depth_mm in depths_mm]
    assert sum(map(bool, expected)) >= 3
    for frame, ours in zip(found, expected, strict=True):
        assert (frame.joints_mm is not None) == bool(ours)
        if frame.joints_mm is not None:
            # librealsense stores intrinsics in single precision, and the file has four decimals.
            np.testing.assert_allclose(frame.joints_mm, ours[0].joints_mm, rtol=0, atol=0.01)


def test_what_cannot_be_played_is_named(rs: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.db3"
    broken.write_bytes(b"no film")
    with pytest.raises(SourceError, match=r"librealsense cannot play .*broken\.db3"):
        open_source(str(broken))
    ros = tmp_path / "ros.db3"
    write_ros_bag(ros, [np.zeros((48, 64))], SMALL, images=False)
    with pytest.raises(SourceError, match="ROS 2 bag needs a depth image and its camera_info"):
        open_source(str(ros))
    old = tmp_path / "old.bag"
    old.write_bytes(b"#ROSBAG")
    with pytest.raises(SourceError, match="convert_bag_to_db3"):
        open_source(str(old))
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.db3"):
        open_source(str(tmp_path / "absent.db3"))


def test_no_camera_plugged_in(rs: Any) -> None:
    if len(rs.context().query_devices()):
        pytest.skip("a RealSense is plugged in")
    with pytest.raises(SourceError, match="found no RealSense camera with the serial number 77"):
        open_camera("77", print)
    with pytest.raises(SourceError, match="found no RealSense camera"), open_source("realsense", retries=QUICK):
        pass
