"""The thread that reads the camera, tracks hands, and records."""

import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from crossnets.cameras.frames import DepthFrame, DepthSource
from crossnets.cameras.pacing import paced
from crossnets.datasets.recording import RecordingWriter
from crossnets.inference.hand import Hand
from crossnets.types import LensCamera, Pinhole
from crossnets.viewer.state import LiveState

_HOLD_S = 0.1
_FPS_OVER_S = 1.5
_WRITER_HOLDS = 60
_BETWEEN_LOOPS_S = 0.04
_LEAVING_S = 10.0
"""A thread that neither ends nor writes a frame for so long is abandoned."""


@runtime_checkable
class Tracks(Protocol):
    """The interface of a `Tracker`."""

    stages_ms: dict[str, float]

    @property
    def scale_faults(self) -> list[str]:
        """See `Tracker.scale_faults`."""
        ...

    def track(self, depth_mm: np.ndarray, camera: Pinhole | LensCamera, time_s: float | None = None) -> list[Hand]:
        """See `Tracker.track`."""
        ...

    def reset(self) -> None:
        """See `Tracker.reset`."""
        ...


class Reading:
    """Reads a source until it is closed. Finite sources start again at their end."""

    def __init__(
        self,
        source: DepthSource,
        again: Callable[[], DepthSource],
        tracker: Tracks | None,
        state: LiveState,
        record_to: Path,
    ) -> None:
        """`source` is already open, so that a missing camera is reported at once. `again` opens the source once
        more."""
        self._again = again
        self._source = source
        self._tracker = tracker
        self._state = state
        self._record_to = record_to
        self._recorder: Recorder | None = None
        self._arrivals: deque[float] = deque()
        self._offset_s = self._last_s = 0.0
        self._thread = threading.Thread(target=self._run, name="reading", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread after it has finished a recording, however long that takes."""
        self._state.close()
        self._source.close()
        written = -1
        while self._thread.is_alive() and self._state.status.recorded != written:
            written = self._state.status.recorded
            self._thread.join(_LEAVING_S)

    def _run(self) -> None:
        try:
            while not self._state.closed:
                came = self._play()
                if self._source.endless or self._state.closed:
                    break
                if not came:
                    raise ValueError(f"{self._source.name} gave no frame.")
                self._source.close()
                self._source = self._again()
                self._source.__enter__()
                self._offset_s = self._last_s + _BETWEEN_LOOPS_S
                if self._tracker is not None:
                    self._tracker.reset()
            if not self._state.closed:
                self._state.update(message="The source has ended.")
        except Exception as error:  # the page must show any error
            self._state.update(message=f"Stopped: {error}")
            print(f"Stopped: {error}", file=sys.stderr)
            if not isinstance(error, OSError | ValueError):  # an error that no user causes
                traceback.print_exc()
        finally:
            self._stop_recording()
            self._source.close()

    def _play(self) -> bool:
        """Show the frames of the source until it ends or is closed. Return whether there were any."""
        came = False
        for frame in paced(self._source, self._wait):
            came = True
            if self._state.closed:
                break
            self._state.update(message="")
            # A recording that is requested while a stored source is paused starts on resume.
            waits = self._state.status.paused and not self._source.live
            self._follow_record_button(None if waits else frame)
            if self._source.live:
                if self._state.status.paused:  # the camera and a recording continue
                    continue
            else:
                while self._state.wait_while_paused(_HOLD_S):
                    self._follow_record_button(None)
            self._show(frame)
        return came

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._state.closed and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _HOLD_S))

    def _show(self, frame: DepthFrame) -> None:
        time_s = self._offset_s + frame.time_s
        hands: tuple[Hand, ...] = ()
        stages: dict[str, float] = {}
        if self._tracker is not None:
            hands = tuple(self._tracker.track(frame.depth_mm, frame.camera, time_s))
            stages = dict(self._tracker.stages_ms)
            self._state.update(warning=" ".join(self._tracker.scale_faults))
        now = time.monotonic()
        self._arrivals.append(now)
        while now - self._arrivals[0] > _FPS_OVER_S:
            self._arrivals.popleft()
        span = now - self._arrivals[0]
        fps = (len(self._arrivals) - 1) / span if span > 0 else 0.0
        shown = DepthFrame(frame.depth_mm, frame.camera, time_s, frame.number, frame.joints_mm)
        self._last_s = time_s
        self._state.add(shown, hands, stages, fps)

    def _follow_record_button(self, frame: DepthFrame | None) -> None:
        wanted = self._state.wants_recording
        if self._recorder is not None and (not wanted or self._recorder.failed):
            self._stop_recording()
        elif wanted and frame is not None:
            if self._recorder is None:
                name = datetime.now().strftime("live-%Y%m%d-%H%M%S")
                self._recorder = Recorder(self._source, unused(self._record_to / name), self._state)
            self._recorder.add(frame)

    def _stop_recording(self) -> None:
        if self._recorder is None:
            return
        recorder = self._recorder
        self._recorder = None
        recorder.close()
        self._state.want_recording(False)
        saved = str(recorder.folder) if recorder.count else self._state.status.saved
        error = f"Recording ended: {recorder.failed}" if recorder.failed else ""
        self._state.update(recording=None, recorded=recorder.count, saved=saved, record_error=error)


class Recorder:
    """Writes frames in a separate thread, because compressing an image takes longer than estimating a hand."""

    def __init__(self, source: DepthSource, folder: Path, state: LiveState) -> None:
        self.folder = folder
        self.count = 0
        self.failed = ""
        self._state = state
        self._make: Callable[[], RecordingWriter] = lambda: RecordingWriter(
            folder, source.preset, source.skeleton, name=source.name
        )
        self._queue: queue.Queue[DepthFrame | None] = queue.Queue(_WRITER_HOLDS)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()
        state.update(recording=str(folder), recorded=0, record_error="")

    def add(self, frame: DepthFrame) -> None:
        """Write the next frame. This waits while too many frames are not written yet."""
        self._put(frame)

    def close(self) -> None:
        """Write the waiting frames, then end."""
        self._put(None)
        self._thread.join()

    def _put(self, item: DepthFrame | None) -> None:
        while not self.failed:
            try:
                self._queue.put(item, timeout=_HOLD_S)
                return
            except queue.Full:
                continue

    def _run(self) -> None:
        try:
            with self._make() as writer:
                while (frame := self._queue.get()) is not None:
                    writer.add(frame.depth_mm.astype(np.float32), frame.joints_mm)
                    self.count += 1
                    self._state.update(recorded=self.count)
        # Any error, such as a full disk, must reach the thread that adds frames, which would wait forever.
        except Exception as error:
            self.failed = str(error) or type(error).__name__


def unused(folder: Path) -> Path:
    """Return the folder, with a number at its end if it already exists."""
    free = folder
    number = 1
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free
