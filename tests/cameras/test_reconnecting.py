"""A camera that is unplugged, stalls or changes: told, opened again, given up; never a hang."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from crossnets.cameras.frames import Closing, DepthFrame, SourceError
from crossnets.cameras.reconnecting import Retries, Retrying
from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import Pinhole

CAMERA = Pinhole(50.0, 50.0, 15.5, 11.5)
RETRIES = Retries(timeout_s=0.15, opening_s=0.3, retry_s=0.02, tries=2)


class FakeCamera(Closing):
    """Plays a script: a size is a frame, an error is raised, "stall" waits until closed, "hang" for ever."""

    name, live, endless = "fake", True, True
    skeleton: Skeleton | None = None
    preset = CameraPreset(CAMERA, 32, 24, 1.0, "test")

    def __init__(self, *script: tuple[int, int] | Exception | str, camera: Pinhole = CAMERA) -> None:
        self.script, self.camera = script, camera
        self.closed = threading.Event()

    def __enter__(self) -> "FakeCamera":
        return self

    def close(self) -> None:
        self.closed.set()

    def __iter__(self) -> Iterator[DepthFrame]:
        for number, step in enumerate(self.script):
            if isinstance(step, Exception):
                raise step
            if step == "stall":
                self.closed.wait()
                return
            if step == "hang":
                time.sleep(30)
            if isinstance(step, tuple):
                time.sleep(0.005)
                yield DepthFrame(np.full(step[::-1], 500, np.uint16), self.camera, number / 30, number)


OK = (32, 24)


def play(*cameras: FakeCamera, tries: int | None = 2, held: int = 16) -> tuple[list[DepthFrame], list[str], str]:
    """Frames, what was told, and how it ended."""
    told: list[str] = []
    plugged = iter(cameras)
    retries = Retries(timeout_s=0.15, opening_s=0.3, retry_s=0.02, tries=tries)

    def plug() -> FakeCamera:
        camera = next(plugged, None)
        if camera is None:
            raise SourceError("found no camera")
        return camera

    frames: list[DepthFrame] = []
    began = time.monotonic()
    try:
        with Retrying("fake", plug, retries, told.append, held) as source:
            frames.extend(iter(source))
        end = ""
    except SourceError as error:
        end = str(error)
    assert time.monotonic() - began < 8
    return frames, told, end


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (SourceError("it was unplugged"), "it was unplugged"),
        (RuntimeError("usb -4"), "the camera failed with RuntimeError: usb -4"),
        ("stall", "no frame came for 0.15 s"),
        ((16, 12), "a frame of 16x12 pixels came, expected 32x24 as before"),
        ("end", "the camera sends no more frames"),
    ],
)
def test_each_fault_is_told_and_the_camera_opened_again(fault: tuple[int, int] | Exception | str, message: str) -> None:
    first = FakeCamera(OK, OK, OK, fault)
    frames, told, end = play(first, FakeCamera(OK, OK))
    assert len(frames) == 5
    assert told[0] == f"fake: {message}. Trying again in 0.02 s (try 1 of 2)."
    assert first.closed.is_set()
    assert [frame.number for frame in frames] == list(range(5))
    times = [frame.time_s for frame in frames]
    assert all(a < b for a, b in pairwise(times)), "times grow over the retry"
    assert "found no camera. It was opened again 2 times in a row without success" in end


def test_another_camera_of_the_same_size_is_refused() -> None:
    """Its frames would be written down, and become millimetres, with the intrinsics of the first."""
    frames, told, _ = play(
        FakeCamera(OK, SourceError("it was unplugged")), FakeCamera(OK, camera=Pinhole(70, 70, 16, 12))
    )
    assert len(frames) == 1
    assert "a frame of another camera came, with fx, fy, cx, cy of 70.0, 70.0, 16.0, 12.0, expected 50.0" in told[1]


def test_a_driver_that_hangs_is_left_behind() -> None:
    frames, told, _ = play(FakeCamera(OK, "hang"), FakeCamera(OK, OK))
    assert len(frames) == 3
    assert "no frame came" in told[0]


def test_good_frames_give_all_tries_back() -> None:
    unplugged = SourceError("it was unplugged")
    cameras = [FakeCamera(OK, unplugged) for _ in range(6)]
    frames, told, end = play(*cameras)
    assert len(frames) == 6
    assert [note[-11:] for note in told[:6]] == ["try 1 of 2)."[-11:]] * 6
    assert "found no camera" in end


def test_the_first_time_it_is_not_tried_again() -> None:
    assert play() == ([], [], "found no camera")
    assert play(FakeCamera("stall"))[1:] == ([], "no frame came for 0.3 s")
    assert play(FakeCamera("hang"))[1:] == ([], "no frame came for 0.3 s")


def test_a_missing_package_is_not_hidden() -> None:
    def plug() -> FakeCamera:
        raise ModuleNotFoundError("no", name="pyrealsense2")

    with pytest.raises(ModuleNotFoundError), Retrying("fake", plug, RETRIES, print):
        pass


def test_a_slow_reader_loses_the_oldest_frames() -> None:
    camera = FakeCamera(*[OK] * 30, "stall")
    with Retrying("fake", lambda: camera, RETRIES, print, held=2) as source:
        time.sleep(0.4)
        stream = iter(source)
        late = [next(stream) for _ in range(3)]
    assert source.lost >= 26
    assert late[2].time_s >= 28 / 30


def close_soon(source: Retrying, after_s: float) -> threading.Timer:
    timer = threading.Timer(after_s, source.close)
    timer.start()
    return timer


@pytest.mark.parametrize("plug", [lambda: FakeCamera(OK, "stall"), lambda: FakeCamera(OK, SourceError("gone"))])
def test_closing_from_another_thread_ends_a_wait(plug: Callable[[], FakeCamera]) -> None:
    retries = Retries(timeout_s=20.0, retry_s=20.0, tries=None)
    with Retrying("fake", plug, retries, lambda _: None) as source:
        timer = close_soon(source, 0.2)
        began = time.monotonic()
        frames = list(source)
        timer.join()
    assert len(frames) == 1
    assert time.monotonic() - began < 5


def test_impossible_waits_are_refused() -> None:
    with pytest.raises(ValueError, match="expected timeouts above 0 s"):
        Retries(timeout_s=0.0)
    with pytest.raises(ValueError, match=r"a pause of 0 to \d+ s"):
        Retries(retry_s=math.inf)
