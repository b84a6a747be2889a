"""The state for viewers: kept frames, pause, recordings, and a source that ends or fails."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossnets.cameras.frames import DepthFrame
from crossnets.datasets.recording import Recording, RecordingWriter
from crossnets.geometry.lens import ideal_image
from crossnets.types import Lens, LensCamera, Pinhole
from crossnets.viewer import reading as module
from crossnets.viewer.reading import Reading
from crossnets.viewer.state import LiveState, to_counts
from tests.viewer.stand_ins import CAMERA, Frames, OneHand, hand, said


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.005)


@contextmanager
def reading(source: Frames, tracker: OneHand | None, record_to: Path, keep_s: float = 0.2) -> Iterator[LiveState]:
    state = LiveState("frames", None if tracker is None else "one hand", keep_s)
    running = Reading(source, lambda: Frames(source.count, source.fps), tracker, state, record_to)
    running.start()
    try:
        yield state
    finally:
        running.close()


def last(state: LiveState) -> int:
    return state.look()[3][2]


def test_frames_are_kept_for_some_seconds(tmp_path: Path) -> None:
    with reading(Frames(), OneHand(), tmp_path) as state:
        until(lambda: last(state) > 80, "frames come")
        state.update(paused=True)
        time.sleep(0.05)
        head, image = said(state)
        kept = head["kept"]
        assert 0.15 < kept["seconds"] <= 0.2
        assert kept["last"] - kept["first"] in range(35, 42)
        middle, older = said(state, kept["first"] + 7)
        assert middle["frame"]["number"] == kept["first"] + 7
        counts = np.frombuffer(older, "<u2")
        assert (counts == 4 * (400 + middle["frame"]["number"] % 100)).all()
        assert len(image) == 2 * 24 * 32
        assert said(state, 0)[0]["frame"]["number"] == kept["first"], "a dropped frame becomes the oldest kept one"


def test_a_message_contains_everything_of_a_frame(tmp_path: Path) -> None:
    with reading(Frames(), OneHand(), tmp_path) as state:
        until(lambda: last(state) > 10, "frames come")
        head, _ = said(state)
    frame = head["frame"]
    assert (frame["width"], frame["height"], frame["unit_mm"]) == (32, 24, 0.25)
    assert frame["camera"] == list(CAMERA.pinhole)
    assert frame["stages_ms"] == {"find": 1.0, "network": 2.0}
    assert frame["fps"] > 5
    (found,) = frame["hands"]
    assert (found["side"], len(found["joints_px"]), len(found["confidence"])) == ("right", 21, 21)
    assert len(found["bones"]) == 20
    assert len(found["colours"]) == 21
    assert (head["source"], head["model"], head["paused"], head["recording"]) == ("frames", "one hand", False, None)


def test_a_warning_of_the_tracker_is_in_the_messages(tmp_path: Path) -> None:
    tracker = OneHand()
    with reading(Frames(), tracker, tmp_path) as state:
        until(lambda: last(state) > 2, "frames come")
        assert said(state)[0]["warning"] == ""
        tracker.scale_faults = ["The hands are 300 mm long.", "A disparity image."]
        until(lambda: said(state)[0]["warning"] != "", "the warning comes")
        assert said(state)[0]["warning"] == "The hands are 300 mm long. A disparity image."


def test_pause_holds_and_goes_on(tmp_path: Path) -> None:
    tracker = OneHand()
    with reading(Frames(), tracker, tmp_path) as state:
        until(lambda: last(state) > 5, "frames come")
        state.update(paused=True)
        time.sleep(0.1)
        held = last(state)
        time.sleep(0.2)
        assert last(state) == held
        state.update(paused=False)
        until(lambda: last(state) > held + 5, "frames come again")


def test_recording_asked_for_while_paused_begins_on_resume(tmp_path: Path) -> None:
    slow = Frames()
    with reading(slow, OneHand(), tmp_path) as state:
        until(lambda: last(state) > 2, "frames come")
        state.update(paused=True)
        state.want_recording(True)  # while the next frame is being read
        time.sleep(0.3)
        assert state.status.recording is None
        state.want_recording(False)
        state.update(paused=False)
        held = last(state)
        until(lambda: last(state) > held + 2, "frames come again")
        assert not list(tmp_path.glob("live-*"))


def test_a_recording_begins_again_at_its_end(tmp_path: Path) -> None:
    tracker = OneHand()
    with reading(Frames(10, fps=400), tracker, tmp_path) as state:
        until(lambda: len(tracker.times) > 35, "it is played several times")
        assert tracker.resets >= 3
        assert state.status.message == ""


def test_recordings_can_be_read(tmp_path: Path) -> None:
    with reading(Frames(), None, tmp_path / "records") as state:
        until(lambda: last(state) > 2, "frames come")
        for _ in range(2):
            state.want_recording(True)
            until(lambda: state.status.recording is not None and state.status.recorded >= 5, "frames are written")
            state.want_recording(False)
            until(lambda: state.status.recording is None, "it ends")
        state.want_recording(True)
        until(lambda: state.status.recording is not None and state.status.recorded >= 3, "a third begins")
    folders = sorted((tmp_path / "records").iterdir())
    assert len(folders) == 3, "closing ends the third"
    assert state.status.saved in map(str, folders)
    for folder in folders:
        frames = Recording(folder)
        assert frames.camera == CAMERA.pinhole
        depths = np.array([frames[index].depth_mm[0, 0] for index in range(len(frames))])
        assert len(frames) >= 3
        assert (np.diff(depths) % 100 == 1).all(), "no frame is lost"


def test_closing_waits_until_a_slow_disk_has_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAVING_S", 0.2)
    monkeypatch.setattr(module, "_WRITER_HOLDS", 12)
    write = RecordingWriter.add

    def slowly(*args: Any) -> Path:
        time.sleep(0.08)
        return write(*args)

    monkeypatch.setattr(RecordingWriter, "add", slowly)
    with reading(Frames(), None, tmp_path) as state:
        state.want_recording(True)
        until(lambda: state.status.recorded >= 2, "frames are written")
    assert state.status.saved is not None
    assert len(Recording(state.status.saved)) == state.status.recorded


def test_a_failing_writer_does_not_block_other_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Path:
        raise MemoryError

    monkeypatch.setattr(module, "_WRITER_HOLDS", 2)
    monkeypatch.setattr(RecordingWriter, "add", fails)
    with reading(Frames(), None, tmp_path) as state:
        state.want_recording(True)
        until(lambda: state.status.record_error, "the error is shown")
        assert state.status.record_error == "Recording ended: MemoryError"
        before = last(state)
        until(lambda: last(state) > before, "frames still come")


def test_a_read_only_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with reading(Frames(), None, tmp_path / "file" / "records") as state:
        until(lambda: last(state) > 2, "frames come")
        state.want_recording(True)
        until(lambda: state.status.record_error, "the error is shown")
        until(lambda: state.status.recording is None, "it ends")
        assert state.status.record_error.startswith("Recording ended: ")
        assert not state.wants_recording
        before = last(state)
        until(lambda: last(state) > before, "frames still come")


def test_a_failure_is_shown_and_the_frames_stay(tmp_path: Path) -> None:
    with reading(Frames(fails_at=12), None, tmp_path) as state:
        until(lambda: state.status.message, "the failure is reported")
        assert state.status.message == "Stopped: the cable burns"
        assert said(state)[0]["frame"]["number"] == 11


def test_a_source_without_a_frame_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with reading(Frames(0), None, tmp_path) as state:
        until(lambda: state.status.message, "it is reported")
        assert state.status.message == "Stopped: frames gave no frame."
    assert capsys.readouterr().err == "Stopped: frames gave no frame.\n"


def test_a_camera_that_returns_during_a_pause_is_not_reported_as_lost(tmp_path: Path) -> None:
    camera = Frames()
    camera.live = True
    with reading(camera, None, tmp_path) as state:
        until(lambda: last(state) > 2, "frames come")
        state.update(paused=True, message="unplugged")
        until(lambda: not state.status.message, "the next frame clears it")
        assert state.status.paused


def test_waiting_readers_wake_up() -> None:
    state = LiveState("frames", None, 1.0)
    threading.Timer(0.1, lambda: state.update(message="new")).start()
    began = time.monotonic()
    state.wait(state.version, 5.0)
    assert 0.05 < time.monotonic() - began < 2
    state.wait(state.version, 0.05)
    version = state.version
    state.update(message="new")
    assert state.version == version, "nothing new"
    threading.Timer(0.1, state.close).start()
    state.wait(state.version, 5.0)
    assert time.monotonic() - began < 3


def test_a_source_that_starts_again_drops_kept_frames() -> None:
    state = LiveState("frames", None, 9.0)
    pinhole = Pinhole(1.0, 1.0, 0.0, 0.0)
    for number, time_s in enumerate([1.0, 2.0, 0.5]):
        state.add(DepthFrame(np.ones((2, 2), np.uint16), pinhole, time_s, number), (hand(pinhole),), {}, 1.0)
    assert state.look()[3] == (0.0, 2, 2)


@pytest.mark.parametrize(
    ("mm", "count"), [(0.0, 0), (100.1, 400), (16383.0, 65532), (17000.0, 0), (np.nan, 0), (-5.0, 0)]
)
def test_depth_as_counts(mm: float, count: int) -> None:
    assert (to_counts(np.full((2, 2), mm, np.float32)) == count).all()


def test_the_page_gets_images_without_the_distortion_of_a_lens() -> None:
    camera = LensCamera(CAMERA.pinhole, Lens(0.1, -0.05, 0.0, 0.0), CAMERA.width_px, CAMERA.height_px)
    depth_mm = np.random.default_rng(0).integers(300, 900, (CAMERA.height_px, CAMERA.width_px)).astype(np.uint16)
    state = LiveState("test", None, 10.0)
    state.add(DepthFrame(depth_mm, camera, 0.0, 0), (replace(hand(CAMERA.pinhole), camera=camera),), {}, 30.0)
    _, _, moment, _ = state.look()
    assert moment is not None
    ideal_mm, pinhole = ideal_image(depth_mm, camera)
    np.testing.assert_array_equal(moment.counts, to_counts(ideal_mm))
    assert moment.camera == moment.hands[0].camera == pinhole
