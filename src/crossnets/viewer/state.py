"""State that all viewers share: the frames of the last seconds, and the status."""

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt16

from crossnets.cameras.frames import DepthFrame
from crossnets.geometry.lens import ideal_image
from crossnets.inference.hand import Hand
from crossnets.types import Pinhole

UNIT_MM = 0.25
"""Unit of the depth counts that are kept and sent. It is finer than any sensor's, and counts reach 16 m."""
_MOST_BYTES = 400_000_000
"""Largest memory of the kept images. Larger images are kept for a shorter time."""


@dataclass(frozen=True)
class Moment:
    """One frame and the hands in it."""

    number: int
    """Number of the frame from 0, over all shown frames."""
    time_s: float
    counts: UInt16[np.ndarray, "H W"]
    """Depth in units of 0.25 mm. Invalid pixels are 0."""
    camera: Pinhole
    hands: tuple[Hand, ...]
    stages_ms: dict[str, float]
    fps: float


@dataclass(frozen=True)
class Status:
    """Status besides the frames."""

    source: str
    model: str | None
    """None if frames are shown without hands."""
    paused: bool = False
    message: str = ""
    """The last error. Empty without an error."""
    warning: str = ""
    """Fault of the camera or the depth unit that makes joints wrong. Empty if none is known."""
    record_error: str = ""
    """Error that ended the last recording."""
    recording: str | None = None
    """Folder of the present recording."""
    recorded: int = 0
    """Number of frames of the present recording, or of the last one."""
    saved: str | None = None
    """Folder of the last finished recording."""


class LiveState:
    """State shared by the thread that reads the camera and those that serve viewers. Each change increases the
    version."""

    def __init__(self, source: str, model: str | None, keep_s: float) -> None:
        """`keep_s` is the number of seconds for which frames are kept."""
        self._changed = threading.Condition()
        self._moments: deque[Moment] = deque()
        self._keep_s = keep_s
        self._next = 0
        self.version = 0
        self.status = Status(source, model)
        self.wants_recording = False
        """Set by viewers. The thread that reads the camera starts and ends recordings accordingly."""
        self.closed = False

    def add(self, frame: DepthFrame, hands: tuple[Hand, ...], stages_ms: dict[str, float], fps: float) -> None:
        """Show the next frame, and drop frames that are too old."""
        depth_mm, camera = ideal_image(frame.depth_mm, frame.camera)
        if camera != frame.camera:  # the page projects points without a lens
            hands = tuple(replace(hand, camera=camera) for hand in hands)
        counts = to_counts(depth_mm)
        moment = Moment(self._next, frame.time_s, counts, camera, hands, stages_ms, fps)
        with self._changed:
            kept = self._moments
            if kept and moment.time_s <= kept[-1].time_s:  # the source has started again
                kept.clear()
            kept.append(moment)
            most = max(1, _MOST_BYTES // counts.nbytes)
            while len(kept) > most or moment.time_s - kept[0].time_s > self._keep_s:
                kept.popleft()
            self._next += 1
            self._touch()

    def update(self, **fields: Any) -> None:
        """Change the status."""
        with self._changed:
            changed = replace(self.status, **fields)
            if changed != self.status:
                self.status = changed
                self._touch()

    def want_recording(self, wanted: bool) -> None:
        """Request that a recording starts or ends."""
        with self._changed:
            self.wants_recording = wanted
            self._touch()

    def close(self) -> None:
        """Wake all waiting readers."""
        with self._changed:
            self.closed = True
            self._touch()

    def wait(self, after: int, timeout_s: float) -> None:
        """Wait until the state is newer than this version, or until the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.version > after or self.closed, timeout_s)

    def wait_while_paused(self, timeout_s: float) -> bool:
        """Wait at most this time while frames are paused. Return whether they still are."""
        with self._changed:
            self._changed.wait_for(lambda: not self.status.paused or self.closed, timeout_s)
            return self.status.paused and not self.closed

    def look(self, number: int | None = None) -> tuple[int, Status, Moment | None, tuple[float, int, int]]:
        """Return version, status, a moment, and the kept range.

        The moment is the one with this number, or the last one by default. For a number that is no longer kept it is
        the nearest one. The kept range consists of its seconds and of the first and last number, which are -1 without
        frames.
        """
        with self._changed:
            kept = self._moments
            if not kept:
                return self.version, self.status, None, (0.0, -1, -1)
            first, last = kept[0], kept[-1]
            moment = last
            if number is not None:
                moment = kept[min(max(number - first.number, 0), len(kept) - 1)]
            return self.version, self.status, moment, (last.time_s - first.time_s, first.number, last.number)

    def _touch(self) -> None:
        self.version += 1
        self._changed.notify_all()


def to_counts(depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> UInt16[np.ndarray, "H W"]:
    """Convert depth to units of 0.25 mm. Depth beyond 16 m and NaN become 0."""
    counts = np.rint(depth_mm.astype(np.float32) / np.float32(UNIT_MM))
    return np.where((counts > 0) & (counts <= 65535), counts, np.float32(0)).astype(np.uint16)
