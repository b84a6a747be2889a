"""State that all viewers share: the last seconds of frames, which can be asked for again, and the status."""

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
"""Unit of the depth counts that are kept and sent: finer than any sensor, up to 16 m."""
_MOST_BYTES = 400_000_000
"""Memory of the images that are kept. Large images shorten the time."""


@dataclass(frozen=True)
class Moment:
    """One frame and the hands in it."""

    number: int
    """Number from 0, over all frames that were shown."""
    time_s: float
    counts: UInt16[np.ndarray, "H W"]
    """Depth in units of 0.25 mm; 0 is nothing seen."""
    camera: Pinhole
    hands: tuple[Hand, ...]
    stages_ms: dict[str, float]
    fps: float


@dataclass(frozen=True)
class Status:
    """Status besides the frames."""

    source: str
    model: str | None
    """None if frames are shown alone."""
    paused: bool = False
    message: str = ""
    """The last thing that went wrong; empty while all is well."""
    record_error: str = ""
    """Why the last recording ended by itself."""
    recording: str | None = None
    """Folder that is written to."""
    recorded: int = 0
    """Frames in it; of the last one, when it has ended."""
    saved: str | None = None
    """Folder of the last recording that has ended."""


class LiveState:
    """Shared by the thread that reads the camera and those that serve viewers; every change has a higher version."""

    def __init__(self, source: str, model: str | None, keep_s: float) -> None:
        """`keep_s` seconds of frames are kept."""
        self._changed = threading.Condition()
        self._moments: deque[Moment] = deque()
        self._keep_s = keep_s
        self._next = 0
        self.version = 0
        self.status = Status(source, model)
        self.wants_recording = False
        """Set by viewers. The thread that reads the camera follows."""
        self.closed = False

    def add(self, frame: DepthFrame, hands: tuple[Hand, ...], stages_ms: dict[str, float], fps: float) -> None:
        """Show the next frame. Those that are too old are forgotten."""
        depth_mm, camera = ideal_image(frame.depth_mm, frame.camera)
        if camera != frame.camera:  # the page computes pixels and points without a lens
            hands = tuple(replace(hand, camera=camera) for hand in hands)
        counts = to_counts(depth_mm)
        moment = Moment(self._next, frame.time_s, counts, camera, hands, stages_ms, fps)
        with self._changed:
            kept = self._moments
            if kept and moment.time_s <= kept[-1].time_s:  # the source has begun again
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
        """Ask for a recording to begin or to end."""
        with self._changed:
            self.wants_recording = wanted
            self._touch()

    def close(self) -> None:
        """Wake all waiting readers."""
        with self._changed:
            self.closed = True
            self._touch()

    def wait(self, after: int, timeout_s: float) -> None:
        """Until something newer than this version, or until the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.version > after or self.closed, timeout_s)

    def wait_while_paused(self, timeout_s: float) -> bool:
        """Whether frames are still paused after at most this time."""
        with self._changed:
            self._changed.wait_for(lambda: not self.status.paused or self.closed, timeout_s)
            return self.status.paused and not self.closed

    def look(self, number: int | None = None) -> tuple[int, Status, Moment | None, tuple[float, int, int]]:
        """Version, status, the moment of that number (the last by default, or if it was forgotten), and the kept
        range.

        What is kept: seconds, and the first and the last number. Both are -1 where there is nothing.
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
    """Depth in units of 0.25 mm; what is farther than 16 m or no number is 0."""
    counts = np.rint(depth_mm.astype(np.float32) / np.float32(UNIT_MM))
    return np.where((counts > 0) & (counts <= 65535), counts, np.float32(0)).astype(np.uint16)
