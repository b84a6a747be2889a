"""A source and a tracker whose every frame is known."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crossnets.cameras.frames import Closing, DepthFrame
from crossnets.datasets.recording import RecordingWriter
from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.skeleton import MSRA21, Skeleton
from crossnets.inference.hand import Hand
from crossnets.types import Pinhole
from crossnets.viewer.messages import pack
from crossnets.viewer.state import LiveState
from tests.datasets.make import hand_joints

CAMERA = CameraPreset(Pinhole(50.0, 50.0, 15.5, 11.5), 32, 24, 0.5, "test")


class Frames(Closing):
    """A source of `count` frames, or without end if None. The depth of frame n is 400 + n % 100 mm everywhere."""

    name, live = "frames", False
    skeleton: Skeleton | None = None
    preset = CAMERA

    def __init__(self, count: int | None = None, fps: float = 200.0, fails_at: int | None = None) -> None:
        self.count, self.fps, self.fails_at = count, fps, fails_at
        self.endless = count is None
        self.closed = False

    def __enter__(self) -> "Frames":
        return self

    def close(self) -> None:
        self.closed = True

    def __iter__(self) -> Iterator[DepthFrame]:
        number = 0
        while not self.closed and number != self.count:
            if number == self.fails_at:
                raise RuntimeError("the cable burns")
            depth_mm = np.full((24, 32), 400 + number % 100, np.float32)
            yield DepthFrame(depth_mm, CAMERA.pinhole, number / self.fps, number)
            number += 1


class OneHand:
    """Finds the same hand in every frame."""

    def __init__(self) -> None:
        self.stages_ms = {"find": 1.0, "network": 2.0}
        self.scale_faults: list[str] = []
        self.times: list[float] = []
        self.resets = 0

    def track(self, depth_mm: np.ndarray, camera: Pinhole, time_s: float | None = None) -> list[Hand]:
        assert time_s is not None
        assert not self.times or time_s > self.times[-1], "times grow"
        self.times.append(time_s)
        return [hand(camera)]

    def reset(self) -> None:
        self.resets += 1


def hand(camera: Pinhole) -> Hand:
    joints = hand_joints(MSRA21, (0.0, 0.0, 450.0))
    return Hand(joints, MSRA21, camera, np.full(21, 5.0, np.float32), "right", 0.9, 185.0, 0)


def said(state: LiveState, number: int | None = None) -> tuple[dict, bytes]:
    """A message taken apart."""
    return unpack(pack(state, number))


def unpack(message: bytes) -> tuple[dict, bytes]:
    import json

    length = int.from_bytes(message[:4], "little")
    assert length % 4 == 0
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def small_recording(folder: Path, count: int = 6) -> Path:
    with RecordingWriter(folder, CAMERA) as writer:
        for number in range(count):
            writer.add(np.full((24, 32), 400.0 + number, np.float32))
    return folder
